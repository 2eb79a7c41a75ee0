"""Numbers the shapes of lines: equal numbers for lines that differ in their values only."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from logad.canonical import canonical

WORTH_LOADING: Final = 1 << 18
"""From so many bytes on, loading the compiled pass costs less than it saves."""
WORTH_COMPILING: Final = 1 << 23
"""The same where it must be compiled first."""
MOST: Final = 1 << 17
_BEFORE: Final = 64  # bytes in front of a text, more than the compiled pass looks at
_BEHIND: Final = 128  # and behind it
_NEWLINE: Final = ord("\n")


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


class _Pass(Protocol):
    @property
    def began(self) -> bool: ...
    def number(self, text: bytes) -> Iterator[Numbered]: ...


class Shapes:
    r"""Gives every line the number of its shape, in order of first appearance, however the text is cut.

    At most `most` shapes are held: before one more all are forgotten and the numbers begin anew, so that
    nothing that comes in makes this grow. Once much text has come, the compiled pass takes over where it can
    be had; `tell` is called when it must be compiled first. Nothing but the speed depends on that.

    >>> shapes = Shapes()
    >>> [part.ids.tolist() for part in shapes.number(b"took 5 ms\nfailed\ntook 71 ms\n")]
    [[0, 1, 0]]
    >>> [(part.ids.tolist(), part.firsts.tolist()) for part in shapes.number(b"took 9 ms\ndone")]
    [([0, 2], [10])]
    """

    def __init__(
        self,
        most: int = MOST,
        *,
        worth_loading: int = WORTH_LOADING,
        worth_compiling: int = WORTH_COMPILING,
        tell: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._most = most
        self._tell = tell
        self._waiting = {
            False: worth_loading,
            True: worth_compiling,
        }  # may it be compiled -> bytes until then
        self._pass: _Pass = _Plain(most)

    def number(self, text: bytes) -> Iterator[Numbered]:
        """The lines of a text, in parts: each but the first begins the numbers anew."""
        for compiling, waiting in list(self._waiting.items()):
            self._waiting[compiling] = waiting - len(text)
            if waiting <= len(text):
                del self._waiting[compiling]
                self._take_over(compiling=compiling)
        if text:
            yield from self._pass.number(text)

    def _take_over(self, *, compiling: bool) -> None:
        """Go on with the compiled pass, unless it would have to be compiled, or cannot be had."""
        try:
            from logad.kernel.loading import compiled  # noqa: PLC0415  (costs nothing where it is not needed)

            line_shapes = compiled(self._tell if compiling else None)
        except (ImportError, OSError, RuntimeError) as error:
            self._tell(f"cannot be compiled here, so this is slower: {error}")
            self._waiting.clear()
        else:
            if line_shapes is not None:
                self._pass = _Compiled(self._most, line_shapes, anew=self._pass.began)
                self._waiting.clear()


class _Plain:
    """The same numbers by regular expressions, a line at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[str, int] = {}

    @property
    def began(self) -> bool:
        return bool(self._known)

    def number(self, text: bytes) -> Iterator[Numbered]:
        begun, anew = 0, False
        while begun < len(text):
            ids: list[int] = []
            starts: list[int] = []
            firsts: list[int] = []
            ends: list[int] = []
            while begun < len(text):
                end = text.find(b"\n", begun)
                following = end + 1 if end >= 0 else len(text)
                end = end if end >= 0 else len(text)
                end -= text.endswith(b"\r", begun, end)
                shape = canonical(text[begun:end].decode("utf-8", "surrogateescape"))
                known = self._known.get(shape)
                if known is None:
                    if len(self._known) >= self._most:
                        break
                    known = self._known[shape] = len(self._known)
                    firsts.append(begun)
                    ends.append(end)
                ids.append(known)
                starts.append(begun)
                begun = following
            yield Numbered(_array(ids), _array(starts), _array(firsts), _array(ends), anew)
            if begun < len(text):
                self._known, anew = {}, True


class _Compiled:
    """The same numbers by the compiled pass: gives it room to look around in, and a table."""

    def __init__(self, most: int, line_shapes: Callable[..., int], *, anew: bool) -> None:
        self._line_shapes = line_shapes
        self._most = most
        entries = 2 << most.bit_length()  # at most half of them are ever taken
        self._keys = np.zeros(entries, dtype=np.uint64)
        self._numbers = np.zeros(entries, dtype=np.int32)
        self._counters = np.zeros(2, dtype=np.int64)  # shapes known, bytes done by the last call
        self._room = np.empty(0, dtype=np.uint8)
        self._anew = anew

    @property
    def began(self) -> bool:
        return bool(self._counters[0])

    def number(self, text: bytes) -> Iterator[Numbered]:
        size = self._laid_out(text)
        lines = int(np.count_nonzero(self._room[_BEFORE : _BEFORE + size] == _NEWLINE))
        done = 0
        while done < size:
            part = self._part(done, size - done, lines)
            lines -= len(part.ids)
            done += int(self._counters[1])
            yield part
            if done < size:
                self._forget()

    def _laid_out(self, text: bytes) -> int:
        """Copy the text between bytes that may be looked at; its size with a newline at the end."""
        size = len(text) + (text[-1] != _NEWLINE)
        if len(self._room) < _BEFORE + size + _BEHIND:
            self._room = np.empty(_BEFORE + size + _BEHIND, dtype=np.uint8)
            self._room[:_BEFORE] = _NEWLINE
        self._room[_BEFORE : _BEFORE + len(text)] = np.frombuffer(text, dtype=np.uint8)
        self._room[_BEFORE + len(text) : _BEFORE + size + _BEHIND] = _NEWLINE
        return size

    def _part(self, done: int, size: int, lines: int) -> Numbered:
        ids, starts = np.empty(lines, dtype=np.int32), np.empty(lines, dtype=np.int32)
        known = int(self._counters[0])
        room = min(lines, self._most - known)
        firsts, lengths = np.empty(room, dtype=np.int32), np.empty(room, dtype=np.int32)
        count = self._line_shapes(
            self._room.ctypes.data + _BEFORE + done,
            size,
            *(each.ctypes.data for each in (ids, starts, self._keys, self._numbers)),
            len(self._keys) - 1,
            *(each.ctypes.data for each in (firsts, lengths, self._counters)),
            self._most,
        )
        fresh = int(self._counters[0]) - known
        firsts = firsts[:fresh] + done
        anew, self._anew = self._anew, False
        return Numbered(ids[:count], starts[:count] + done, firsts, firsts + lengths[:fresh], anew)

    def _forget(self) -> None:
        self._keys[:] = 0
        self._counters[0] = 0
        self._anew = True


def _array(values: list[int]) -> NDArray[np.int32]:
    return np.asarray(values, dtype=np.int32)
