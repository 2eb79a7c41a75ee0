"""What is told of the lines of a text."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Numbered:
    """The lines of a text, or of a part of it, with the numbers of their shapes."""

    ids: NDArray[np.int32]  # one a line
    starts: NDArray[np.int32]  # where each line begins in the text
    firsts: NDArray[
        np.int32
    ]  # for each shape that is new here, in order of its number: where its line begins
    ends: NDArray[np.int32]  # and where that line ends, without its newline
    anew: bool = False  # the numbers begin again at 0
