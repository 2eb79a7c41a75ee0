"""Numbers the shapes of lines in threads: equal shapes have equal numbers, whichever thread saw them."""

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import compress
from typing import Final

import numpy as np
from numpy.typing import NDArray

from logad.kernel.numbered import Numbered
from logad.shapes import Shapes

THREADS: Final = min(
    4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
)
_SHORT: Final = 1 << 16  # bytes
_NONE: Final = -1
_RETURN: Final = ord("\r")
_NO_NUMBERS: Final = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a text, or of a part of it, with the numbers of their shapes."""

    ids: NDArray[np.int32]  # one a line
    starts: NDArray[np.int32]  # where each line begins in the text
    firsts: NDArray[np.int32]  # where the first line of each shape that is new here begins, in order
    ends: NDArray[np.int32]  # and where that line ends, without its newline
    anew: bool = False  # the numbers begin again at 0


class Numbering:
    r"""Gives every line the number of its shape, in order of first appearance, however the text is cut.

    Texts are taken and given in the same order; meanwhile threads work on them, each with `Shapes` of its
    own. No more shapes are held than one of these holds: before one more all are forgotten and the numbers
    begin anew, so that nothing that comes in makes this grow.

    >>> numbering = Numbering()
    >>> numbering.submit(b"took 5 ms\nfailed\ntook 71 ms\n")
    >>> numbering.submit(b"took 9 ms\ndone")
    >>> [(part.ids.tolist(), part.firsts.tolist()) for part in numbering.next()]
    [([0, 1, 0], [0, 10])]
    >>> [(part.ids.tolist(), part.firsts.tolist()) for part in numbering.next()]
    [([0, 2], [10])]
    """

    def __init__(self, shapes: Callable[[], Shapes] = Shapes, *, threads: int = THREADS) -> None:
        self._hands = [_Hand(shapes()) for _ in range(threads)]
        self._turn = 0
        self._underway: deque[tuple[bytes, _Hand, Callable[[], list[Numbered]]]] = deque()
        self._numbers: dict[int | str, int] = {}

    def submit(self, text: bytes) -> None:
        """Have a text numbered; a short one where nothing else is under way is not worth a thread."""
        if len(text) < _SHORT and not self._underway:
            hand = self._hands[0]
            parts = hand.number(text)
            self._underway.append((text, hand, lambda: parts))
        else:
            hand = self._hands[self._turn]
            self._turn = (self._turn + 1) % len(self._hands)
            self._underway.append((text, hand, hand.submit(text)))

    def next(self) -> list[Lines]:
        """The lines of the oldest text that was not given yet, in parts."""
        text, hand, numbered = self._underway.popleft()
        return [self._common(text, hand, part) for part in numbered()]

    def close(self) -> None:
        """End the threads."""
        for hand in self._hands:
            hand.close()

    def _common(self, text: bytes, hand: "_Hand", part: Numbered) -> Lines:
        """A part with the numbers that all threads' shapes have in common."""
        hand.learn(part)
        rows, local = hand.unnumbered(part)
        numbers = self._of(hand, local)
        anew = len(self._numbers) + int((numbers == _NONE).sum()) > hand.shapes.most
        if anew:
            self._numbers.clear()
            for each in self._hands:
                each.forget()
            rows, local = hand.unnumbered(part)
            numbers = self._of(hand, local)
        fresh = numbers == _NONE
        told = range(len(self._numbers), len(self._numbers) + int(fresh.sum()))
        numbers[fresh] = told
        new = compress(local, fresh.tolist())
        self._numbers.update(zip((hand.keys[shape] for shape in new), told, strict=True))
        hand.common[local] = numbers
        begins, ends = _ends(text, part.starts, rows[fresh])
        return Lines(hand.common[part.ids], part.starts, begins, ends, anew)

    def _of(self, hand: "_Hand", local: Sequence[int]) -> NDArray[np.int32]:
        """The common numbers of a thread's shapes, _NONE for one that is new."""
        return np.asarray([self._numbers.get(hand.keys[shape], _NONE) for shape in local], dtype=np.int32)


class _Hand:
    """A thread with shapes of its own, and what numbers these have in common with the others'."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self._thread = ThreadPoolExecutor(max_workers=1)
        self.keys: list[int | str] = []  # by its own numbers
        self.common = _NO_NUMBERS  # by its own numbers, _NONE where there is none

    def number(self, text: bytes) -> list[Numbered]:
        return list(self.shapes.number(text))

    def submit(self, text: bytes) -> Callable[[], list[Numbered]]:
        return self._thread.submit(self.number, text).result

    def learn(self, part: Numbered) -> None:
        """Take the shapes that are new in a part."""
        if part.anew:
            self.keys, self.common = [], _NO_NUMBERS
        if part.fresh:
            self.keys += part.fresh
            self.common = np.concatenate([self.common, np.full(len(part.fresh), _NONE, dtype=np.int32)])

    def forget(self) -> None:
        """There are no common numbers any more."""
        self.common[:] = _NONE

    def unnumbered(self, part: Numbered) -> tuple[NDArray[np.int64], list[int]]:
        """The first line of each shape without a common number, in order, and the shape's own number."""
        if not (self.common == _NONE).any():
            return np.zeros(0, dtype=np.int64), []
        rows = np.flatnonzero(self.common[part.ids] == _NONE)
        local, first = np.unique(part.ids[rows], return_index=True)
        order = np.argsort(first)
        return rows[first[order]], local[order].tolist()

    def close(self) -> None:
        self._thread.shutdown()


def _ends(
    text: bytes, starts: NDArray[np.int32], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Where lines begin and end, without their newlines."""
    begins, ends = starts[rows], starts[np.minimum(rows + 1, len(starts) - 1)] - np.int32(1)
    if rows.size and rows[-1] == len(starts) - 1:
        end = text.find(b"\n", int(begins[-1]))
        ends[-1] = end if end >= 0 else len(text)
    before = np.frombuffer(text, dtype=np.uint8)[np.maximum(ends - 1, 0)] if rows.size else ends
    return begins, ends - ((before == _RETURN) & (ends > begins)).astype(np.int32)
