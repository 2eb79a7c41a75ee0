"""Cuts what the sources yield into batches, the streams that are furthest behind in time first."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from logad.contracts import Clock, Source
from logad.errors import InputError
from logad.intake import Intake
from logad.runs import StreamOptions
from logad.telemetry import Telemetry
from logad.types import Buffer
from logad.windows import NO_TIME

_BATCH_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Batch:
    """What is taken in at once."""

    buffers: Sequence[Buffer]
    silent_seconds: float = 0.0  # since anything came
    cut_short: bool = False  # its streams may hold more at this moment


@dataclass(slots=True, eq=False)
class _Reader:
    """An open source and how far it is."""

    source: Source
    buffers: Iterator[Buffer | None]
    streams: dict[str, int] = field(default_factory=dict)  # stream -> buffers it gave
    newest: int = NO_TIME  # of the stream it read last, microseconds
    turns: int = 0
    new: bool = True  # its last buffer was a stream's first: others may not have been heard of


class Feed:
    """Batches of buffers, until the sources end or fall silent.

    A finite input is one batch. What lies there when a source is followed is read in the order of its times:
    always from the stream whose newest time is the oldest, so that none comes late however much there is.
    """

    def __init__(
        self,
        options: StreamOptions,
        sources: Sequence[Source],
        clock: Clock,
        intake: Intake,
        telemetry: Telemetry,
    ) -> None:
        self._options = options
        self._clock = clock
        self._intake = intake
        self._telemetry = telemetry
        self.faults: list[InputError] = []  # sources that could not be read; the others go on
        cursors = intake.cursors()
        self._open = [
            _Reader(source, source.follow(cursors) if options.follow else source.read(cursors))
            for source in sources
        ]
        self._behind = list(self._open)  # those that still hold what was there at the start

    def __iter__(self) -> Iterator[Batch]:
        if not self._options.follow:
            held: list[Buffer] = []
            while self._open:
                held += self._round(self._open)
            yield Batch(held)
            return
        yield from self._backlog()
        yield from self._live()

    def _backlog(self) -> Iterator[Batch]:
        """What is there already."""
        held: list[Buffer] = []
        size, began = 0, self._clock.now()
        while self._behind:
            first = min(self._behind, key=lambda reader: (reader.newest, reader.turns))
            fresh = self._round([first])
            if not fresh and first in self._behind:
                self._behind.remove(first)
            held += fresh
            size += sum(len(buffer.data) for buffer in fresh)
            aged = (self._clock.now() - began).total_seconds() >= _BATCH_SECONDS
            due = size >= self._options.batch_bytes or (held and aged)
            if due and not any(reader.new for reader in self._behind):
                yield Batch(held, cut_short=True)
                self._catch_up()
                held, size, began = [], 0, self._clock.now()
        if held:  # the last lines of a stream may not be records yet: no stream is at its end
            yield Batch(held, cut_short=True)
            self._catch_up()

    def _live(self) -> Iterator[Batch]:
        """What is appended."""
        limit = self._options.until_idle_seconds
        held: list[Buffer] = []
        last = self._clock.now()
        began = time.monotonic()  # how long a batch gathers is the machine's matter, not the log's
        while self._open:
            fresh = self._round(self._open)
            now = self._clock.now()
            if fresh:
                began = began if held else time.monotonic()
                last = now
                held += fresh
            full = sum(len(buffer.data) for buffer in held) >= self._options.batch_bytes
            if held and (full or not fresh or time.monotonic() - began >= _BATCH_SECONDS):
                yield Batch(held, cut_short=full)
                held = []
                self._catch_up()
                last = self._clock.now() if not fresh else last
            elif not fresh:
                silent = (now - last).total_seconds()
                yield Batch([], silent)
                if limit is not None and silent >= limit:
                    return
        if held:
            yield Batch(held)

    def _catch_up(self) -> None:
        """Note how far the streams are now."""
        newest = self._intake.newest()
        for reader in self._open:
            reader.source.newest = newest
            if reader.streams:
                reader.newest = newest.get(next(reversed(reader.streams)), NO_TIME)

    def _round(self, readers: Sequence[_Reader]) -> list[Buffer]:
        """The next buffer of each of them that has one; sources that ended are left."""
        fresh: list[Buffer] = []
        with self._telemetry.stage("read"):
            for reader in list(readers):
                try:
                    buffer = next(reader.buffers)
                except (StopIteration, InputError) as end:
                    self._open.remove(reader)
                    if reader in self._behind:
                        self._behind.remove(reader)
                    if isinstance(end, InputError):
                        self.faults.append(end)
                    continue
                if buffer is not None:
                    fresh.append(buffer)
                    reader.turns += 1
                    turns = reader.streams.pop(buffer.stream, 0)
                    reader.streams[buffer.stream] = turns + 1
                    reader.new = not turns
        return fresh
