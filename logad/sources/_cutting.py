"""Cuts a stream of bytes into blocks of whole lines, in bounded memory however long a line is."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np

BUFFER_BYTES: Final = 4 << 20
_NEWLINE: Final = ord("\n")
_COUNTED: Final = (
    1 << 17
)  # bytes looked at together: what is written about them stays in the processor's cache
MARK_BYTES: Final = 1024  # what a fingerprint looks at


@dataclass(frozen=True, slots=True)
class Position:
    """Where reading resumes in one text."""

    offset: int = 0  # bytes of text behind, uncompressed and without a byte order mark
    line: int = 1  # physical number of the next line
    skipping: bool = False  # inside a line that was cut: the rest of it is passed over
    head: bytes = b""  # the first bytes behind, up to MARK_BYTES
    tail: bytes = b""  # the last bytes behind, up to MARK_BYTES

    def past(self, passed: bytes, lines: int, *, skipping: bool = False) -> "Position":
        """The position after these bytes."""
        tail = passed[-MARK_BYTES:]
        if len(tail) < MARK_BYTES:
            tail = (self.tail + tail)[-MARK_BYTES:]
        return Position(
            self.offset + len(passed),
            self.line + lines,
            skipping,
            (self.head + passed[: MARK_BYTES - len(self.head)]) if len(self.head) < MARK_BYTES else self.head,
            tail,
        )


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines, the number of the first and the position after the last."""

    data: bytes
    first_line: int
    after: Position


class Cutter:
    r"""Holds bytes back until lines are whole; a line longer than the buffer is cut to a quarter of it.

    The rest of such a line is passed over and noted as `line_truncated`; it never becomes a second line.

    >>> cutter = Cutter(Counter(), buffer_bytes=8)
    >>> cutter.add(b"ab\ncdef")
    >>> cutter.lines()
    Block(data=b'ab\n', first_line=1, after=Position(offset=3, line=2, ..., tail=b'ab\n'))
    >>> cutter.rest().data
    b'cdef'
    """

    def __init__(
        self, notes: Counter[str], position: Position | None = None, buffer_bytes: int = BUFFER_BYTES
    ) -> None:
        self.position = position or Position()
        self.buffer_bytes = buffer_bytes
        self._notes = notes
        self._held = bytearray()

    @property
    def held(self) -> bytes:
        """What waits for its newline."""
        return bytes(self._held)

    def add(self, data: bytes) -> None:
        """Take more bytes; call `full` until it gives None before the next."""
        if self.position.skipping:
            end = data.find(b"\n") + 1
            self.position = self.position.past(data[:end] if end else data, 0, skipping=not end)
            data = data[end:] if end else b""
        self._held += data

    def cut(self, data: bytes) -> Block | None:
        """Take more bytes like `add`; where they are many, give their lines but the last at once."""
        end = 0
        if len(data) >= self.buffer_bytes // 2:
            end = data.rfind(b"\n", 0, max(0, data.rfind(b"\n"))) + 1
        if not end or self.position.skipping or len(self._held) + end > self.buffer_bytes:
            self.add(data)
            return None
        whole = b"".join((self._held, memoryview(data)[:end]))
        self._held = bytearray(data[end:])
        first_line = self.position.line
        self.position = self.position.past(whole, _newlines(whole))
        return Block(whole, first_line, self.position)

    def full(self) -> Block | None:
        """A block of about `buffer_bytes`, once more than that is held."""
        if len(self._held) <= self.buffer_bytes:
            return None
        end = self._held.rfind(b"\n", 0, self.buffer_bytes) + 1
        if end:
            return self._take(end)
        return self._cut_line()

    def lines(self) -> Block | None:
        """The whole lines held."""
        end = self._held.rfind(b"\n") + 1
        return self._take(end) if end else None

    def rest(self) -> Block | None:
        """All that is held, for no more comes."""
        return self._take(len(self._held)) if self._held else None

    def _take(self, end: int) -> Block:
        with memoryview(self._held) as view:
            data = bytes(view[:end])
        del self._held[:end]
        first_line = self.position.line
        self.position = self.position.past(data, _newlines(data))
        return Block(data, first_line, self.position)

    def _cut_line(self) -> Block:
        self._notes["line_truncated"] += 1
        keep = max(1, self.buffer_bytes // 4)
        held = bytes(self._held)
        self._held.clear()
        first_line = self.position.line
        end = held.find(b"\n") + 1
        passed = held[:end] if end else held
        self.position = self.position.past(passed, 1, skipping=not end)
        self._held += held[end:] if end else b""
        return Block(held[:keep] + b"\n", first_line, self.position)


def _newlines(data: bytes) -> int:
    """How many there are; `bytes.count` takes several times as long."""
    found = np.empty(min(len(data), _COUNTED), dtype=np.bool_)
    text = np.frombuffer(data, dtype=np.uint8)
    count = 0
    for begin in range(0, len(data), _COUNTED):
        part = text[begin : begin + _COUNTED]
        count += int(np.count_nonzero(np.equal(part, _NEWLINE, out=found[: len(part)])))
    return count


def fingerprint(data: bytes) -> str:
    """A short hash of bytes, to know them again.

    >>> fingerprint(b"2024-01-01 start")
    '149467a9c0917588'
    """
    return hashlib.blake2b(data, digest_size=8).hexdigest()
