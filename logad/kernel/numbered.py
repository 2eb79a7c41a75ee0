"""What the compiled passes and their callers agree on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REACH = 256
"""A time begins at most so many bytes into a line."""
NOWHERE = -1
"""A place where no time is, or no number."""
SLOW = -2
"""A place whose number is read in another way."""
NUMBERS = 3
"""Numbers read of a line at most."""


def place(blanks: int, more: int) -> int:
    """Where a time begins in a line: so many bytes behind so many blanks; NOWHERE where that is too far."""
    return blanks << 16 | more if blanks < REACH and more < REACH else NOWHERE


def number_place(runs: int, *, fraction: bool, lettered: bool) -> int:
    """Where a number begins in a line: behind so many runs of letters and digits.

    It goes on behind a point with a fraction, and letters may follow it at once.
    """
    return runs << 2 | fraction << 1 | lettered


@dataclass(frozen=True, slots=True)
class Numbered:
    """The lines of a text, or of a part of it, with the numbers of their shapes."""

    ids: NDArray[np.int32]  # one a line
    starts: NDArray[np.int32]  # where each line begins in the text
    fresh: Sequence[
        int | str
    ]  # a key of each shape that is new here, in order of numbers; equal ones are equal
    anew: bool = False  # the numbers begin again at 0
