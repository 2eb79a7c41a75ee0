"""Standard input, plain or compressed: read to its end, or followed as it comes."""

import os
import select
import sys
from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

from logad.contracts import Counters, PartConfig, Source
from logad.errors import InputError
from logad.sources._cutting import BUFFER_BYTES, Block, Cutter
from logad.sources._decoding import Decoder
from logad.types import Buffer

READ_BYTES: Final = 1 << 18
POLL_SECONDS: Final = 0.2
_STREAM: Final = "stdin"


class StdinSource(Source):
    """Reads a pipe once: there is no way back, so a cursor only goes on with the numbers of the lines.

    Args:
        spec: `-`.
        config: without options.
        telemetry: counts `bytes`.
        descriptor: the open file to read; that of standard input if None.
        buffer_bytes: the size of buffers; a longer line is cut to a quarter of it.
    """

    name: ClassVar[str] = "stdin"

    def __init__(
        self,
        spec: str,
        config: PartConfig,
        telemetry: Counters,
        *,
        descriptor: int | None = None,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        super().__init__(spec, config, telemetry)
        self._descriptor = descriptor
        self._decoder = Decoder(telemetry.notes)
        self._cutter = Cutter(telemetry.notes, buffer_bytes=buffer_bytes)

    def read(self, cursors: Mapping[str, str]) -> Iterator[Buffer]:
        """All that comes until the end, in full buffers."""
        del cursors
        descriptor = self._opened()
        while raw := _read(descriptor):
            yield from self._full(self._decoder.push(raw))
        yield from self._ending()

    def follow(self, cursors: Mapping[str, str]) -> Iterator[Buffer | None]:
        """Whole lines as they come, None where none come; ends with the input."""
        del cursors
        descriptor = self._opened()
        while True:
            ready, _, _ = select.select([descriptor], [], [], POLL_SECONDS)
            if not ready:
                yield None
                continue
            raw = _read(descriptor)
            if not raw:
                break
            yield from self._full(self._decoder.push(raw))
            if block := self._cutter.lines():
                yield self._buffer(block)
        yield from self._ending()

    def _opened(self) -> int:
        if self._descriptor is not None:
            return self._descriptor
        try:
            return sys.stdin.fileno()
        except (AttributeError, ValueError, OSError):
            raise InputError(
                "standard input", "closed", "a pipe or a file", "give a path, or pipe something in"
            ) from None

    def _full(self, pieces: Iterator[bytes]) -> Iterator[Buffer]:
        for piece in pieces:
            self._cutter.add(piece)
            while block := self._cutter.full():
                yield self._buffer(block)

    def _ending(self) -> Iterator[Buffer]:
        yield from self._full(self._decoder.finish())
        if block := self._cutter.rest():
            yield self._buffer(block, final=True)

    def _buffer(self, block: Block, *, final: bool = False) -> Buffer:
        self.telemetry.bytes += len(block.data)
        cursor = f'{{"offset":{block.after.offset}}}'
        return Buffer(_STREAM, _STREAM, block.data, block.first_line, cursor, final)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, READ_BYTES)
    except OSError as error:
        raise InputError("standard input", f"cannot be read: {error.strerror}", "a pipe or a file") from None
