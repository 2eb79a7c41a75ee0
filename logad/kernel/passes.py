"""The compiled passes as plain functions of bytes: they give them room to look around in."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from logad.kernel.loading import Passes, compiled
from logad.kernel.numbered import REACH, Numbered

BEFORE: Final = 64  # bytes in front of a text, more than the passes look at
BEHIND: Final = 128  # and behind it
_NEWLINE: Final = ord("\n")
_FARTHEST: Final = 2 * REACH + 64  # bytes from a line's begin to behind its time
IN_PLACE: Final = (
    1 << 16
)  # from so many bytes on, all but the first and last lines of a text are read where they are
_MOST_GROWTH: Final = 3  # a single digit is written as three


class LineTable:
    """Numbers the shapes of lines; holds at most `most`, then forgets all and begins anew."""

    def __init__(self, passes: Passes, most: int, *, anew: bool = False) -> None:
        self._line_shapes = passes.line_shapes
        self._most = most
        entries = 2 << most.bit_length()  # at most half of them are ever taken
        self._keys = np.zeros(entries, dtype=np.uint64)
        self._numbers = np.zeros(entries, dtype=np.int32)
        self._fresh = np.empty(most, dtype=np.uint64)
        self._counters = np.zeros(2, dtype=np.int64)  # shapes known, bytes done by the last call
        self._room = np.empty(0, dtype=np.uint8)
        self._ids, self._starts = np.empty((2, 0), dtype=np.int32)
        self._anew = anew

    def number(self, text: bytes) -> Iterator[Numbered]:
        """The lines of a text that is not empty, in parts: each but the first begins the numbers anew."""
        if len(self._ids) <= len(text):  # a line has at least its newline; pages not written cost nothing
            self._ids, self._starts = np.empty((2, len(text) + 1), dtype=np.int32)
        count, known = 0, int(self._counters[0])
        for address, begin, size in self._laid_out(text):
            done = 0
            while True:
                count += self._lines(address + done, size - done, begin + done, count, known)
                done += int(self._counters[1])
                if done == size:
                    break
                yield self._part(count, known)
                count, known = 0, 0
                self._keys[:] = 0
                self._counters[0] = 0
                self._anew = True
        yield self._part(count, known)

    def _laid_out(self, text: bytes) -> Iterator[tuple[int, int, int]]:
        """Address, place in the text and size of pieces of whole lines that may be looked around from.

        A line in the middle of the text may where it is; first and last lines are copied into room.
        """
        first, last = 0, 0
        if len(text) >= IN_PLACE:
            first = text.find(b"\n", BEFORE) + 1
            last = text.rfind(b"\n", 0, max(0, len(text) - BEHIND)) + 1
        for begin, end in (
            ((0, first), (first, last), (last, len(text))) if 0 < first < last else ((0, len(text)),)
        ):
            if 0 < begin < end < len(text):
                yield np.frombuffer(text, dtype=np.uint8).ctypes.data + begin, begin, end - begin
            else:
                self._room, size = _laid_out(text[begin:end], self._room)
                yield self._room.ctypes.data + BEFORE, begin, size

    def _lines(self, address: int, size: int, begin: int, count: int, known: int) -> int:
        """How many lines were done, behind those that were."""
        fresh = int(self._counters[0]) - known
        lines = self._line_shapes(
            address,
            size,
            self._ids[count:].ctypes.data,
            self._starts[count:].ctypes.data,
            self._keys.ctypes.data,
            self._numbers.ctypes.data,
            len(self._keys) - 1,
            self._fresh[fresh:].ctypes.data,
            self._counters.ctypes.data,
            self._most,
        )
        self._starts[count : count + lines] += begin
        return lines

    def _part(self, count: int, known: int) -> Numbered:
        fresh = self._fresh[: int(self._counters[0]) - known].tolist()
        anew, self._anew = self._anew, False
        return Numbered(self._ids[:count].copy(), self._starts[:count].copy(), fresh, anew)


@dataclass(frozen=True, slots=True)
class Compiled:
    """The other passes."""

    _passes: Passes

    @classmethod
    def found(cls) -> Self | None:
        """The passes where an earlier run has left them."""
        try:
            passes = compiled()
        except (ImportError, OSError, RuntimeError):
            return None
        return None if passes is None else cls(passes)

    def flatten(self, text: bytes) -> bytes:
        """The canonical form of a text, which may have many lines."""
        room, _ = _laid_out(text, np.empty(0, dtype=np.uint8))
        out = np.empty(_MOST_GROWTH * len(text) + BEHIND, dtype=np.uint8)
        written = self._passes.flatten(room.ctypes.data + BEFORE, len(text), out.ctypes.data)
        return out[:written].tobytes()

    def moments(
        self, text: bytes, lines: NDArray[np.int32], places: NDArray[np.int32], letters: bytes
    ) -> NDArray[np.int64]:
        """The times in some lines of a text, microseconds since 1970, or the least integer.

        `lines` are where these begin in the text, `places` where in each a time does, as `numbered.place`
        tells. What the letters mean, is told by `logad.kernel.times.moments`. None is read at a place
        below 0.
        """
        found = np.full(len(places), np.iinfo(np.int64).min)
        last = text.rfind(b"\n", 0, max(0, len(text) - _FARTHEST)) + 1  # what begins there is read in a copy
        for begin, part, chosen in (
            (0, text, (places >= 0) & (lines < last)),
            (last, text[last:] + b"\n" * _FARTHEST, (places >= 0) & (lines >= last)),
        ):
            if chosen.any():
                found[chosen] = self._moments(part, lines[chosen] - begin, places[chosen], letters)
        return found

    def numbers(  # noqa: PLR0913, PLR0917  (as the pass takes them)
        self,
        text: bytes,
        starts: NDArray[np.int32],
        shapes: NDArray[np.int32],
        first: int,
        rows: NDArray[np.int64],
        places: NDArray[np.int32],
        factors: NDArray[np.float64],
        out: NDArray[np.float32],
    ) -> int:
        """Write the numbers in some lines of a text into `out`; how many of the lines could not be read.

        `rows` are these lines, ascending; the text's first is line `first`. `starts` are where the lines
        of the text begin, `shapes` has the shape of each line there is. Of each shape `places` tells where
        its numbers stand, as `numbered.number_place` does, and `factors` what one is worth. What is not
        read is infinite. All arrays are contiguous.
        """
        last = text.rfind(b"\n", 0, max(0, len(text) - BEHIND)) + 1  # what begins there is read in a copy
        whole = int(np.searchsorted(rows, first + np.searchsorted(starts, last)))
        unread = 0
        for part, begin, limit, chosen in (
            (text, 0, last, slice(0, whole)),
            (text[last:] + b"\n" * BEHIND, last, len(text) - last, slice(whole, len(rows))),
        ):
            if chosen.start == chosen.stop:
                continue
            address = np.frombuffer(part, dtype=np.uint8).ctypes.data
            unread += self._passes.numbers(
                address - begin,
                starts.ctypes.data,
                shapes.ctypes.data,
                first,
                rows[chosen].ctypes.data,
                chosen.stop - chosen.start,
                places.ctypes.data,
                factors.ctypes.data,
                address + limit,
                out[chosen].ctypes.data,
            )
        return unread

    def _moments(
        self, text: bytes, lines: NDArray[np.int32], places: NDArray[np.int32], letters: bytes
    ) -> NDArray[np.int64]:
        """The same for lines that are at least _FARTHEST from the end."""
        begins = np.ascontiguousarray(lines, dtype=np.int32)
        chosen = np.ascontiguousarray(places, dtype=np.int32)
        read = np.empty(len(chosen), dtype=np.int64)
        written, told = np.frombuffer(text, dtype=np.uint8), np.frombuffer(letters, dtype=np.uint8)
        self._passes.moments(
            written.ctypes.data,
            begins.ctypes.data,
            chosen.ctypes.data,
            len(chosen),
            told.ctypes.data,
            len(told),
            read.ctypes.data,
        )
        return read


def _laid_out(text: bytes, room: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    """A copy of the text between bytes that may be looked at; its size with a newline at the end."""
    size = len(text) + (not text.endswith(b"\n"))
    if len(room) < BEFORE + size + BEHIND:
        room = np.empty(BEFORE + size + BEHIND, dtype=np.uint8)
        room[:BEFORE] = _NEWLINE
    room[BEFORE : BEFORE + len(text)] = np.frombuffer(text, dtype=np.uint8)
    room[BEFORE + len(text) : BEFORE + size + BEHIND] = _NEWLINE
    return room, size
