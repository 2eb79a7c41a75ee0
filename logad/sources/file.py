"""Log files: a path, a glob or a folder, with rotations and archives, read once or followed."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from heapq import heappop, heappush
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Final

from logad.contracts import Counters, PartConfig, Source
from logad.errors import InputError
from logad.sources._cutting import BUFFER_BYTES, Block
from logad.sources._streams import LIVE, Finder, Stream, rotation
from logad.sources._texts import NOTHING, Cursor, Mark, Text, begins, identity
from logad.types import Buffer
from logad.windows import NO_TIME

POLL_SECONDS: Final = 0.2
_POLLS_PER_LISTING: Final = 5  # files are looked for once a second, open ones read five times


class FileSource(Source):
    """Reads log files in buffers of about 4 MiB; resumes at the byte, across rotation by renaming or copying.

    Args:
        spec: a path, a glob or a folder.
        config: without options.
        telemetry: counts `bytes` of text, and as notes `hidden_skipped`, `binary_skipped` and
            `unreadable_skipped` (files), `archive_truncated`, `archive_damaged`, `replaced_characters`,
            `line_truncated`, `shrunk`, `truncated` (a followed file begun anew), `cursor_lost`, `vanished`.
        also: further files of the same stream.
        sleep: waits between polls.
        buffer_bytes: the size of buffers; a longer line is cut to a quarter of it.
    """

    name: ClassVar[str] = "file"

    def __init__(  # noqa: PLR0913  (the last four have defaults that only open_sources and tests change)
        self,
        spec: str,
        config: PartConfig,
        telemetry: Counters,
        *,
        also: Sequence[str] = (),
        sleep: Callable[[float], None] = time.sleep,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        super().__init__(spec, config, telemetry)
        self._finder = Finder(spec, telemetry.notes, tuple(Path(path) for path in also))
        self._sleep = sleep
        self._buffer_bytes = buffer_bytes
        self._tails: dict[str, _Tail] = {}

    def streams(self) -> list[str]:
        """The names of the streams that are there now.

        Raises:
            InputError: there is no such file or folder, it cannot be read, or it holds no logs.
        """
        return [stream.name for stream in self._finder.streams()]

    def set_apart(self, prefix: str) -> None:
        """Put this before the names of all streams, for another source has equal ones."""
        self._finder.prefix = prefix

    def read(self, cursors: Mapping[str, str]) -> Iterator[Buffer]:
        """What the files hold now, stream after stream."""
        for stream in self._finder.streams():
            yield from self._read_stream(stream, cursors.get(stream.name))

    def follow(self, cursors: Mapping[str, str]) -> Iterator[Buffer | None]:
        """What the files hold, then what is appended; new files, rotations and truncation are noticed."""
        try:
            yield from self._polls(cursors)
        finally:
            self.close()

    def close(self) -> None:
        """Close what is followed."""
        for tail in self._tails.values():
            tail.close()
        self._tails.clear()

    def start(self, stream: Stream, saved: str | None) -> Text | None:
        """The file to begin with, at the cursor's place or at its start; None where there is none."""
        if saved is None:
            return self.first(stream)
        cursor = Cursor.load(saved)
        if cursor.offset:
            if text := self._found(stream, cursor):
                return text
            self.telemetry.notes["cursor_lost"] += 1
        if cursor.before.size:
            for path, successor in pairwise(stream.files):
                if begins(path, cursor.before):
                    return self.open(stream, successor, cursor.before)
        return self.first(stream)

    def relisted(self, stream: Stream) -> Stream:
        """The stream with the files that are there at this moment."""
        try:
            now = [found for found in self._finder.streams() if found.name == stream.name]
        except InputError:
            now = []
        return now[0] if now else stream

    def first(self, stream: Stream) -> Text | None:
        """The oldest file that was asked for."""
        for path in stream.files:
            if path in stream.asked and (text := self.open(stream, path, NOTHING)):
                return text
        return None

    def open(self, stream: Stream, path: Path, before: Mark) -> Text | None:
        """A file at its start; None, and a note, where it cannot be opened any more."""
        try:
            return Text(path, stream.names[path], self.telemetry.notes, self._buffer_bytes, before)
        except FileNotFoundError:
            self.telemetry.notes["vanished"] += 1
        except PermissionError:
            self.telemetry.notes["unreadable_skipped"] += 1
        return None

    def buffer(self, stream: Stream, text: Text, block: Block, *, final: bool = False) -> Buffer:
        """A block as the rest of the program takes it."""
        self.telemetry.bytes += len(block.data)
        return Buffer(
            stream=stream.name,
            source=text.name,
            data=block.data,
            first_line=block.first_line,
            cursor=text.cursor(block.after).dump(),
            final=final,
            modified=text.modified,
        )

    def ending(self, stream: Stream, text: Text) -> Iterator[Buffer]:
        """The last buffers of a file."""
        blocks = list(text.ending())
        for number, block in enumerate(blocks, 1):
            yield self.buffer(stream, text, block, final=number == len(blocks))

    def _found(self, stream: Stream, cursor: Cursor) -> Text | None:
        """The cursor's file at its place: the one with its inode, else the newest that says the same."""
        same = (cursor.device, cursor.inode)
        there = [(identity(path) or ())[:2] == same for path in stream.files]
        by_inode = [path for path, hit in zip(stream.files, there, strict=True) if hit]
        by_text = [path for path, hit in zip(stream.files, there, strict=True) if not hit]
        for path in [*by_inode, *reversed(by_text)]:
            name = stream.names[path]
            if text := Text.resumed(path, name, cursor, self.telemetry.notes, self._buffer_bytes):
                return text
        return None

    def _polls(self, cursors: Mapping[str, str]) -> Iterator[Buffer | None]:
        streams = self._finder.streams()
        polls = 0
        while True:
            got = False
            for buffer in self._poll_once(streams, cursors):
                got = True
                yield buffer
            if not got:
                yield None
                self._sleep(POLL_SECONDS)
            polls += 1
            if polls % _POLLS_PER_LISTING == 0:
                # all may be gone for the moment, as between a rotation and the next line
                with suppress(InputError):
                    streams = self._finder.streams()

    def _poll_once(self, streams: Sequence[Stream], cursors: Mapping[str, str]) -> Iterator[Buffer]:
        """What is new in each stream since the last poll, from the one furthest behind in time first."""
        polls: list[tuple[str, Iterator[Buffer]]] = []
        for stream in streams:
            tail = self._tails.setdefault(stream.name, _Tail(self, cursors.get(stream.name)))
            polls.append((stream.name, tail.poll(stream)))
        order = [(NO_TIME, 0, place) for place in range(len(polls))]  # sorted, so a heap
        while order:
            behind, turns, place = heappop(order)
            name, poll = polls[place]
            if (newest := self.newest.get(name, NO_TIME)) > behind:  # it has been told meanwhile
                heappush(order, (newest, turns, place))
            elif (buffer := next(poll, None)) is not None:
                yield buffer
                heappush(order, (newest, turns + 1, place))

    def _read_stream(self, stream: Stream, saved: str | None) -> Iterator[Buffer]:
        text = self.start(stream, saved)
        if text is None:
            return
        later = stream.files[stream.files.index(text.path) + 1 :]
        before = yield from self._read_file(stream, text)
        for path in later:
            if text := self.open(stream, path, before):
                before = yield from self._read_file(stream, text)

    def _read_file(self, stream: Stream, text: Text) -> Generator[Buffer, None, Mark]:
        with closing(text):
            for block in text.blocks_as_opened():
                yield self.buffer(stream, text, block)
            yield from self.ending(stream, text)
            return Mark.of(text.position.head)


class _Tail:
    """One followed stream: the open file, and where to go when it is rotated away."""

    def __init__(self, source: FileSource, saved: str | None) -> None:
        self._source = source
        self._saved = saved
        self._text: Text | None = None
        self._files: list[
            tuple[Path, tuple[int, int, int] | None]
        ] = []  # in vain looked through for the next

    def poll(self, stream: Stream) -> Iterator[Buffer]:
        """What is new since the last poll."""
        if self._text is None:
            self._text = self._source.start(stream, self._saved)
        while (text := self._text) is not None:
            changed = text.changed()
            if changed and text.overwritten():
                stream = self._source.relisted(stream)  # the copy may be younger than the listing
                self._begin_anew(stream, text)
                continue
            if changed or not text.regular:
                yield from self._new_lines(stream, text)
                if text.complete():
                    yield from self._source.ending(stream, text)
            if _place(stream, text) is not None and _after(stream, text) is None:
                return
            stream = self._source.relisted(stream)  # several rotations may have passed since the listing
            files = [(path, identity(path)) for path in stream.files]
            successor = _after(stream, text) if files != self._files else None
            self._files = [] if successor else files
            if successor is None:
                return
            yield from self._new_lines(stream, text)  # written between the look above and the rotation
            yield from self._source.ending(stream, text)
            before = Mark.of(text.position.head)
            self._text = self._source.open(stream, successor, before)
            if self._text is None:
                self._saved = self._cursor(text)
            text.close()

    def close(self) -> None:
        """Give the file back."""
        if self._text is not None:
            self._text.close()

    def _new_lines(self, stream: Stream, text: Text) -> Iterator[Buffer]:
        for blocks in (text.blocks(), text.lines()):
            for block in blocks:
                yield self._source.buffer(stream, text, block)

    def _begin_anew(self, stream: Stream, text: Text) -> None:
        """Copied away and cut off: go on in the copy, if there is one; else at the start of the file."""
        self._source.telemetry.notes["truncated"] += 1
        self._saved = self._cursor(text)
        text.close()
        self._text = self._source.start(stream, self._saved)

    @staticmethod
    def _cursor(text: Text) -> str | None:
        return text.cursor(text.position).dump() if text.position.offset or text.before.size else None


def _place(stream: Stream, text: Text) -> int | None:
    """Where the open file stands in its stream now, under whatever name; None where it is gone."""
    for place, path in enumerate(stream.files):
        if (found := identity(path)) and found[:2] == text.identity:
            return place
    return None


def _after(stream: Stream, text: Text) -> Path | None:
    """The next file that holds something; while that is empty, the open one may still grow."""
    place = _place(stream, text)
    if place is None and text.position.offset:
        place = next((n for n, path in enumerate(stream.files) if text.copied_to(path)), None)  # compressed
    if place is None:  # deleted
        age = rotation(text.path.name)[1]
        later = [path for path in stream.files if rotation(path.name)[1] > age or _live(path)]
    else:
        later = list(stream.files[place + 1 :])
    return next((path for path in later if (found := identity(path)) and found[2]), None)


def _live(path: Path) -> bool:
    return rotation(path.name)[1][0] == LIVE
