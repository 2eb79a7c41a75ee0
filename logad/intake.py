"""Turns buffers of several streams into mined records in order of time, and tells how far time has come."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.detection import Overrides, detect
from logad.lineage import Descent
from logad.mining import Miner
from logad.recording import Layout, Recorder
from logad.steps import StreamState
from logad.telemetry import Telemetry
from logad.types import RECORD_SCHEMA, Buffer
from logad.windows import NO_TIME

SAMPLE_BYTES: Final = 1 << 20
"""A stream's format is detected from so much of its beginning, then kept for ever."""
LAG_MICROSECONDS: Final = 30_000_000
"""A stream further behind the others than this does not hold them back."""
GRACE_MICROSECONDS: Final = 5_000_000
"""So much later than its time a line of one of several streams may come and not be late."""
ENDLESS: Final = int(np.iinfo(np.int64).max)
"""A single stream waits for no other."""


@dataclass(slots=True)
class _Stream:
    layout: Layout
    recorder: Recorder
    cursor: str
    newest: int = NO_TIME  # the greatest time seen, microseconds

    def first_time(self) -> int:
        """The time of a first record that is held back, for others must wait for it too; it stays held."""
        copy = Recorder(self.layout, Telemetry(), state=self.recorder.state())
        times = copy.flush()["time"].drop_nulls().dt.epoch("us")
        return int(times[0]) if len(times) else NO_TIME


class Intake:
    """The streams of a live run: their locked layouts, pending lines, cursors and times."""

    def __init__(
        self,
        miner: Miner,
        overrides: Overrides,
        telemetry: Telemetry,
        on_layout: Callable[[str, Layout], None],
    ) -> None:
        self.miner = miner
        self._overrides = overrides
        self._telemetry = telemetry
        self._on_layout = on_layout
        self._streams: dict[str, _Stream] = {}
        self._mined = len(miner.shapes())
        self._crowded = len(miner.crowds())
        self._descended = len(miner.lineage())
        self._read_from = NO_TIME  # the least of the times at which the streams stood that were read last

    def restore(self, streams: Mapping[str, StreamState], newest: Mapping[str, int]) -> None:
        """Take up the streams where the ledger's last step left them."""
        for name, state in streams.items():
            layout = Layout.from_dict(state.layout)
            recorder = Recorder(layout, self._telemetry, state=state.recorder)
            self._streams[name] = _Stream(layout, recorder, state.cursor, newest.get(name, NO_TIME))

    def cursors(self) -> dict[str, str]:
        """How far each stream was taken in."""
        return {name: stream.cursor for name, stream in self._streams.items()}

    def newest(self) -> dict[str, int]:
        """The greatest time each stream has told, microseconds; streams without times are left out."""
        return {name: stream.newest for name, stream in self._streams.items() if stream.newest != NO_TIME}

    @property
    def settled(self) -> bool:
        """Whether no stream holds a record back."""
        return not self._unfinished()

    def unfinished(self) -> list[str]:
        """The streams that hold a record back."""
        return [name for name, stream in self._streams.items() if stream.recorder.unfinished]

    def _unfinished(self) -> list[int]:
        """How far the streams are that hold a record back."""
        streams = self._streams.values()
        return [each.newest for each in streams if each.recorder.unfinished and each.newest != NO_TIME]

    def states(self) -> dict[str, StreamState]:
        """What the ledger keeps of each stream."""
        return {
            name: StreamState(stream.cursor, stream.layout.as_dict(), stream.recorder.state())
            for name, stream in self._streams.items()
        }

    def new_shapes(self) -> list[tuple[str, int]]:
        """What the miner has learned since the last call."""
        shapes = self.miner.shapes(self._mined)
        self._mined += len(shapes)
        return shapes

    def new_crowds(self) -> bytes:
        """What the miner has learned of words at places since the last call."""
        crowds = self.miner.crowds(self._crowded)
        self._crowded += len(crowds)
        return crowds

    def new_lineage(self) -> list[Descent]:
        """Which templates gave way to which since the last call."""
        lineage = self.miner.lineage(self._descended)
        self._descended += len(lineage)
        return lineage

    def take(
        self, buffers: Sequence[Buffer], *, flush: Collection[str] | None, whole: bool = False
    ) -> pl.DataFrame:
        """The records that are complete now, mined, streams merged by time.

        The last records of the streams to `flush` (None: of all) are complete. With `whole` nothing ever
        follows: all is put in order of time.
        """
        frames: dict[str, list[pl.DataFrame]] = {}
        self._read_from = self._standing(buffers)
        with self._telemetry.stage("parse"):
            for buffer in buffers:
                for reason, count in buffer.dropped.items():
                    self._telemetry.drop(reason, count)
                stream = self._streams.get(buffer.stream) or self._begin(buffer, buffers)
                frames.setdefault(buffer.stream, []).append(stream.recorder.push(buffer))
                stream.cursor = buffer.cursor
            for name in self._streams if flush is None else flush:
                frames.setdefault(name, []).append(self._streams[name].recorder.flush())
        records = merged([pl.concat(parts) for parts in frames.values()], whole=whole)
        with self._telemetry.stage("mine"):
            mined = self.miner.assign(records)
        for name, newest in records.group_by("stream").agg(pl.col("time").dt.epoch("us").max()).iter_rows():
            if newest is not None:
                self._streams[name].newest = max(self._streams[name].newest, newest)
        told = set(records["stream"].unique())
        for name, stream in self._streams.items():
            if stream.newest == NO_TIME and name not in told and stream.recorder.unfinished:
                stream.newest = stream.first_time()
        return mined

    def passed_by(self, buffers: Sequence[Buffer]) -> set[str]:
        """Streams at their ends: further behind than those of the buffers, and what is so is read first."""
        standing = self._standing(buffers)
        return {name for name, newest in self.newest().items() if newest < standing}

    def _standing(self, buffers: Sequence[Buffer]) -> int:
        """The least of the times at which the streams of the buffers stand."""
        newest = self.newest()
        return min((newest.get(each.stream, NO_TIME) for each in buffers), default=NO_TIME)

    def reached(self, *, more: bool) -> int:
        """The time up to which all is here of streams that are followed, microseconds; see `watermarks`."""
        newest = list(self.newest().values())
        if len(newest) <= 1:
            return ENDLESS
        if more:
            return min(each for each in newest if each >= self._read_from)
        latest = max(newest)
        holding = [*self._unfinished(), *(each for each in newest if each >= latest - LAG_MICROSECONDS)]
        return min(*holding, latest - GRACE_MICROSECONDS)

    def watermarks(
        self, records: pl.DataFrame, before: int, beat: int, *, live: bool, more: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How far time has come after each record, in whole beats, and where a late record makes a cut.

        The watermark is the greatest time so far. Of streams that are followed `live` it waits for those that
        are less than 30 seconds behind, and for those whose last record is still held back; where there may
        be `more` to read, for all that may have more: those that stood where the last ones read stood, or
        later, for what is furthest behind is read first. A record older than the watermark before it is late:
        what is before it must be closed first, so that it is late however the input was cut. Times are
        microseconds.
        """
        times = records["time"].dt.epoch("us").fill_null(NO_TIME).to_numpy()
        passed = np.maximum.accumulate(times)
        if live:
            passed = np.minimum(passed, self.reached(more=more))
        passed = np.where(passed == NO_TIME, NO_TIME, passed // beat * beat)
        marks = np.maximum(passed, before)
        earlier = np.concatenate([[before], marks[:-1]]).astype(np.int64)
        late = np.flatnonzero((times < earlier) & (times != NO_TIME))
        _, first = np.unique(earlier[late], return_index=True)
        return marks, late[first]

    def _begin(self, buffer: Buffer, buffers: Iterable[Buffer]) -> _Stream:
        """Detect the format from all that is there of the stream's beginning."""
        sample = b"".join(each.data for each in buffers if each.stream == buffer.stream)[:SAMPLE_BYTES]
        formats = self.miner.rules.formats
        modified = buffer.modified or datetime.now(UTC)
        layout = detect(sample, buffer.stream, self._overrides, modified, formats)
        self._on_layout(buffer.stream, layout)
        stream = _Stream(layout, Recorder(layout, self._telemetry), buffer.cursor)
        self._streams[buffer.stream] = stream
        return stream


def empty_records() -> pl.DataFrame:
    """Mined records, none."""
    return pl.DataFrame(schema={**RECORD_SCHEMA, "template": pl.Int32()})


def merged(frames: list[pl.DataFrame], *, whole: bool) -> pl.DataFrame:
    """Streams merged by time, each in its own order unless it is `whole`; without times as they come."""
    frames = [frame for frame in frames if not frame.is_empty()]
    if not frames:
        return empty_records().drop("template")
    if len(frames) == 1 and not whole:
        return frames[0]
    records = pl.concat(frames)
    time = pl.col("time") if whole else pl.col("time").cum_max()
    order = time.forward_fill().backward_fill().over("stream")
    ordered = records.with_columns(order.alias("_order")).sort("_order", "stream", maintain_order=True)
    return ordered.drop("_order")
