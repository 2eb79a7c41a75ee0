"""Raw bytes, compressed or UTF-16 as they may be, become the bytes of the text, a piece at a time."""

import bz2
import codecs
import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol, Self

STEP_BYTES: Final = (
    1024  # of compressed input at once: bounds what a bomb makes, and what a damaged step loses
)
SNIFF_BYTES: Final = 8192  # of text, looked at to tell text from binary

_MARKS: Final = {  # longest first: UTF-32's mark begins with UTF-16's
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


class _Inflater(Protocol):
    """One member of an archive, as the standard library and zstandard have them."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _zstd() -> Any:  # noqa: ANN401  (zstandard's own type is not exported)
    import zstandard  # noqa: PLC0415  (only archives of this kind need it)

    return zstandard.ZstdDecompressor().decompressobj()


_MEMBERS: Final[dict[bytes, Callable[[], _Inflater]]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lzma.LZMADecompressor,
    b"\x28\xb5\x2f\xfd": _zstd,
}


class Decoder:
    r"""Turns raw bytes into UTF-8 (or whatever single-byte text they are), told by their first bytes.

    Gzip, bzip2, xz and zstd are unpacked, member after member; UTF-16 and UTF-32 with a byte order mark
    become UTF-8; a mark is left out. Damage is counted in `notes`, and what could be read before it is kept.

    >>> import gzip
    >>> decoder = Decoder(Counter())
    >>> b"".join(decoder.push(gzip.compress("\ufeffgrün\n".encode("utf-16-le")))) == "grün\n".encode()
    True
    """

    def __init__(self, notes: Counter[str]) -> None:
        self.compressed = False
        self.damaged = False
        self.marked = 0  # bytes of the mark, where the text is otherwise as it stands in the file
        self.transcoded = False
        self._notes = notes
        self._head: bytes | None = b""  # None once the container is known
        self._text_head: bytes | None = b""  # None once the encoding is known
        self._new_member: Callable[[], _Inflater] | None = None
        self._member: _Inflater | None = None
        self._started = False  # whether the present member has had input
        self._transcoder: codecs.IncrementalDecoder | None = None

    @classmethod
    def plain_from(cls, marked: int, notes: Counter[str]) -> Self:
        """A decoder in the middle of text that is to stay as it is."""
        decoder = cls(notes)
        decoder.marked = marked
        decoder._head = decoder._text_head = None
        return decoder

    def note_in(self, notes: Counter[str]) -> None:
        """Count in `notes` from here on."""
        self._notes = notes

    @property
    def plain(self) -> bool:
        """Whether byte N of the text is byte N + `marked` of the file."""
        return not (self.compressed or self.transcoded)

    def push(self, raw: bytes) -> Iterator[bytes]:
        """The text that these next bytes complete."""
        if self.damaged:
            return
        if self._head is not None:
            raw = self._head + raw
            if any(len(raw) < len(magic) and magic.startswith(raw) for magic in _MEMBERS):
                self._head = raw
                return
            self._choose_container(raw)
        if self._new_member is None:
            yield from self._text(raw)
        else:
            for piece in self._inflate(raw):
                yield from self._text(piece)

    def finish(self) -> Iterator[bytes]:
        """What was held back, now that no more bytes come; an archive that lacks its end is noted."""
        if self._head:
            head = self._head
            self._choose_container(head)
            yield from self._text(head)
        if self._text_head:
            head, self._text_head = self._text_head, None
            yield head
        if self._transcoder is not None:
            yield from filter(None, [self._transcode(b"", final=True)])
        if self.truncated:
            self.damaged = True
            self._notes["archive_truncated"] += 1

    @property
    def truncated(self) -> bool:
        """Whether a compressed file stops before its end mark."""
        return not self.damaged and self._started and not (self._member is not None and self._member.eof)

    def _choose_container(self, head: bytes) -> None:
        self._head = None
        for magic, member in _MEMBERS.items():
            if head.startswith(magic):
                self.compressed, self._new_member, self._member = True, member, member()

    @staticmethod
    def packed(head: bytes) -> bool:
        """Whether a file that begins so is compressed."""
        return head.startswith(tuple(_MEMBERS))

    def _inflate(self, raw: bytes) -> Iterator[bytes]:
        assert self._new_member is not None
        assert self._member is not None
        position = 0
        while position < len(raw):
            step = raw[position : position + STEP_BYTES]
            position += len(step)
            while step:
                if self._member.eof:
                    step = step.lstrip(b"\0")  # padding between members, as tape archives have it
                    if not step:
                        break
                    self._member = self._new_member()
                self._started = True
                try:
                    piece = self._member.decompress(step)
                except Exception as error:
                    if type(error).__name__ not in {"error", "OSError", "LZMAError", "ZstdError"}:
                        raise
                    self.damaged = True
                    self._notes["archive_damaged"] += 1
                    return
                if piece:
                    yield piece
                step = self._member.unused_data if self._member.eof else b""

    def _text(self, data: bytes) -> Iterator[bytes]:
        if self._text_head is not None:
            data = self._text_head + data
            if any(len(data) < len(mark) and mark.startswith(data) for mark in _MARKS):
                self._text_head = data
                return
            self._text_head = None
            for mark, encoding in _MARKS.items():
                if data.startswith(mark):
                    data = data[len(mark) :]
                    if encoding == "utf-8":
                        self.marked = len(mark)
                    else:
                        self.transcoded = True
                        self._transcoder = codecs.getincrementaldecoder(encoding)("replace")
                    break
        if self._transcoder is not None:
            data = self._transcode(data, final=False)
        if data:
            yield data

    def _transcode(self, data: bytes, *, final: bool) -> bytes:
        assert self._transcoder is not None
        text = self._transcoder.decode(data, final)
        replaced = text.count("\ufffd")
        if replaced:
            self._notes["replaced_characters"] += replaced
        return text.encode("utf-8", "replace")
