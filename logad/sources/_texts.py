"""An open log file, read as text from where a cursor says."""

import json
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from logad.errors import InputError
from logad.sources._cutting import MARK_BYTES, Block, Cutter, Position, fingerprint
from logad.sources._decoding import Decoder

READ_BYTES: Final = 1 << 20
_UTF8_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Mark:
    """A run of bytes to know again: how many, and their hash."""

    size: int
    hash: str

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The mark of these bytes."""
        return cls(len(data), fingerprint(data))

    def fits(self, data: bytes) -> bool:
        """Whether these are the bytes."""
        return len(data) == self.size and fingerprint(data) == self.hash


NOTHING: Final = Mark.of(b"")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a stream resumes: which file, known by inode and by what it says, and where in its text."""

    device: int
    inode: int
    offset: int
    line: int
    skipping: bool
    head: Mark
    tail: Mark
    before: Mark  # the head of the file that was finished before this one; size 0 where there was none

    def dump(self) -> str:
        """As JSON.

        >>> mark = Mark.of(b"a")
        >>> cursor = Cursor(1, 2, 1, 1, False, mark, mark, Mark.of(b""))
        >>> Cursor.load(cursor.dump()) == cursor
        True
        """
        marks = [(mark.size, mark.hash) for mark in (self.head, self.tail, self.before)]
        state = [self.device, self.inode, self.offset, self.line, self.skipping]
        return json.dumps([*state, *marks], separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Self:
        """From JSON.

        Raises:
            InputError: this is no cursor of a file.
        """
        try:
            device, inode, offset, line, skipping, *marks = json.loads(text)
            head, tail, before = (Mark(*mark) for mark in marks)
        except (ValueError, TypeError):
            raise InputError("cursor", repr(text[:80]), "a cursor that a file source gave") from None
        return cls(device, inode, offset, line, skipping, head, tail, before)


class Text:
    """One open file; gives blocks of whole lines, from the start or from where a cursor says.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(
        self, path: Path, name: str, notes: Counter[str], buffer_bytes: int, before: Mark = NOTHING
    ) -> None:
        self.path = path
        self.name = name  # as evidence shows it, also after a rotation renamed it
        self.before = before
        self._notes = notes
        self._file = path.open("rb", buffering=0)
        opened = os.fstat(self._file.fileno())
        self.identity = (opened.st_dev, opened.st_ino)
        self.regular = stat.S_ISREG(opened.st_mode)
        self.modified = datetime.fromtimestamp(opened.st_mtime, UTC) if self.regular else None
        self._size = opened.st_size
        self._raw = 0  # bytes of the file behind
        self._decoder = Decoder(notes)
        self._cutter = Cutter(notes, buffer_bytes=buffer_bytes)
        self._looked: Any = None  # what `changed` saw last

    @classmethod
    def resumed(
        cls, path: Path, name: str, cursor: Cursor, notes: Counter[str], buffer_bytes: int
    ) -> Self | None:
        """The file at a cursor's position, if it is the cursor's file, whatever it is called now."""
        try:
            text = cls(path, name, notes, buffer_bytes, cursor.before)
        except OSError:
            return None
        if text.regular and (text._seek(cursor) or text._decode_to(cursor)):
            return text
        text.close()
        return None

    def cursor(self, position: Position) -> Cursor:
        """The cursor for a position in this file."""
        return Cursor(
            *self.identity,
            position.offset,
            position.line,
            position.skipping,
            Mark.of(position.head),
            Mark.of(position.tail),
            self.before,
        )

    @property
    def position(self) -> Position:
        """After the last block."""
        return self._cutter.position

    def blocks(self) -> Iterator[Block]:
        """Full blocks of what the file holds; what is left waits for `lines` or `ending`."""
        return self._blocks(None)

    def blocks_as_opened(self) -> Iterator[Block]:
        """Like `blocks`, up to the size that the file had when it was opened."""
        yield from self._blocks(self._size if self.regular else None)
        if self.regular and self._raw < self._size:
            self._notes["shrunk"] += 1

    def lines(self) -> Iterator[Block]:
        """The whole lines that are left."""
        yield from filter(None, [self._cutter.lines()])

    def ending(self) -> Iterator[Block]:
        """All that is left, for no more comes; the last line may lack its newline."""
        yield from self._cut(self._decoder.finish())
        yield from filter(None, [self._cutter.rest()])

    def changed(self) -> bool:
        """Whether the file is another than when this was asked last."""
        now = os.fstat(self._file.fileno())
        looked, self._looked = self._looked, (now.st_size, now.st_mtime_ns)
        return bool(looked != self._looked)

    def overwritten(self) -> bool:
        """Whether what was read is no longer there: cut off, or begun anew."""
        if not self.regular:
            return False
        if os.fstat(self._file.fileno()).st_size < self._raw:
            return True
        if not self._decoder.plain:
            return False
        here, held = self.position, self._cutter.held
        seen = (here.tail + held[-MARK_BYTES:])[-MARK_BYTES:]
        place = self._decoder.marked + here.offset + len(held) - len(seen)
        return os.pread(self._file.fileno(), len(seen), place) != seen

    def complete(self) -> bool:
        """Whether the file is an archive with its end mark."""
        return self._decoder.compressed and not self._decoder.truncated

    def copied_to(self, path: Path) -> bool:
        """Whether another file holds what was read of this one, as its compressed copy does."""
        copy = Text.resumed(path, self.name, self.cursor(self.position), Counter(), self._cutter.buffer_bytes)
        if copy is not None:
            copy.close()
        return copy is not None

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def _blocks(self, end: int | None) -> Iterator[Block]:
        yield from self._cut(iter([b""]))  # a cursor inside an archive may leave more than a buffer
        while end is None or self._raw < end:
            size = (
                READ_BYTES if self._decoder.compressed else self._cutter.buffer_bytes - len(self._cutter.held)
            )
            raw = self._read(max(1, size if end is None else min(size, end - self._raw)))
            if not raw:
                return
            yield from self._cut(self._decoder.push(raw))

    def _cut(self, pieces: Iterator[bytes]) -> Iterator[Block]:
        for piece in pieces:
            if block := self._cutter.cut(piece):
                yield block
            while block := self._cutter.full():
                yield block

    def _read(self, size: int) -> bytes:
        try:
            raw = self._file.read(size)
        except OSError as error:
            raise InputError(
                str(self.path), f"cannot be read: {error.strerror}", "", "check the disk"
            ) from None
        self._raw += len(raw)
        return raw

    def _seek(self, cursor: Cursor) -> bool:
        """Go straight to the position where the text is the file's bytes; False where it is not."""
        if Decoder.packed(os.pread(self._file.fileno(), MARK_BYTES, 0)):
            return False  # a text of few bytes may be those that the archive begins with
        marked = len(_UTF8_MARK) if os.pread(self._file.fileno(), 3, 0) == _UTF8_MARK else 0
        head = os.pread(self._file.fileno(), cursor.head.size, marked)
        tail = os.pread(self._file.fileno(), cursor.tail.size, marked + cursor.offset - cursor.tail.size)
        if not (cursor.head.fits(head) and cursor.tail.fits(tail)):
            return False
        self._raw = self._file.seek(marked + cursor.offset)
        self._decoder = Decoder.plain_from(marked, self._notes)
        self._go_on(cursor, head, tail, b"")
        return True

    def _decode_to(self, cursor: Cursor) -> bool:
        """Decode up to the position; False where the text on the way is not the cursor's."""
        head, tail, offset = b"", b"", 0
        self._file.seek(0)
        self._decoder = Decoder(Counter())  # what it notes on the way was noted before
        while offset < cursor.offset and (raw := self._read(READ_BYTES)):
            rest = b""
            for piece in self._decoder.push(raw):
                passed = piece[: cursor.offset - offset]
                rest += piece[len(passed) :]
                offset += len(passed)
                tail = (tail + passed[-MARK_BYTES:])[-MARK_BYTES:]
                head += passed[: cursor.head.size - len(head)]
            if len(head) == cursor.head.size and not cursor.head.fits(head):
                return False
            if offset == cursor.offset:
                if not cursor.tail.fits(tail[len(tail) - cursor.tail.size :]):
                    return False
                self._decoder.note_in(self._notes)
                self._go_on(cursor, head, tail, rest)
                return True
        return False

    def _go_on(self, cursor: Cursor, head: bytes, tail: bytes, rest: bytes) -> None:
        position = Position(cursor.offset, cursor.line, cursor.skipping, head, tail)
        self._cutter = Cutter(self._notes, position, self._cutter.buffer_bytes)
        self._cutter.add(rest)


def identity(path: Path) -> tuple[int, int, int] | None:
    """Device, inode and size of a file; None where it is gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size


def begins(path: Path, mark: Mark) -> bool:
    """Whether the text of a file begins with the bytes of a mark."""
    decoder, head = Decoder(Counter()), b""
    try:
        with path.open("rb") as file:
            while len(head) < mark.size and (raw := file.read(4 * MARK_BYTES)):
                for piece in decoder.push(raw):
                    head += piece[: mark.size - len(head)]
    except OSError:
        return False
    return mark.fits(head)
