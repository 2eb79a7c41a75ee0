"""Drives everything that reads a finite input once: records, templates, windows, models, verdicts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol, TypeVar

import numpy as np
import polars as pl

from logad import choosing, skimming, sources, windowing
from logad.contracts import Source
from logad.detection import detect
from logad.errors import InputError
from logad.judge import Judge, JudgeConfig, learn
from logad.mining import Miner
from logad.options import Reading
from logad.recall import told_source
from logad.recording import Layout, Recorder
from logad.skimming import SCHEMA, Skimmer
from logad.stretches import Skimmed
from logad.tallying import Tally
from logad.telemetry import Telemetry
from logad.texts import Texts
from logad.types import Buffer, Template, Verdict, WindowKind
from logad.windows import Windowing, Windows

SAMPLE_BYTES = 1 << 20
"""A stream's format is detected from so much of its beginning."""
SNIFFED_BYTES = 8192
"""A zero byte among so many first ones means that this is no text."""

_Piece = TypeVar("_Piece", covariant=True)  # noqa: PLC0105  (its name says what it is)
_SAY_TIME: Final = "say how the time is written with --time-format"


@dataclass(frozen=True, slots=True)
class Observer:
    """Who is told how far the work is; both callables may do nothing."""

    note: Callable[[str, str], None] = lambda _name, _text: None  # what was found out, and what was mended
    progress: Callable[[int], None] = lambda _bytes: None  # bytes read so far
    telemetry: Telemetry | None = None  # counts the run, so that an error does not lose the counts


QUIET: Final = Observer()


@dataclass(slots=True)
class Corpus:
    """The mined records of some sources."""

    records: pl.DataFrame  # SCHEMA, `template` and `place`, in order of time where all streams have it
    texts: Texts = field(default_factory=Texts)  # of the records, by their `place`
    layouts: dict[str, Layout] = field(default_factory=dict)
    faults: list[InputError] = field(default_factory=list)  # sources that could not be read
    vocabulary: tuple[Template, ...] | None = None  # of the records; None: the miner's


def read(
    specs: Sequence[str], reading: Reading, miner: Miner, telemetry: Telemetry, observer: Observer
) -> Corpus:
    """Read the sources to their ends; the format of each stream is detected once.

    Templates that turned out to be one while reading are still apart: see `settle`.

    Raises:
        InputError: no source could be read, or none holds a record.
    """
    corpus = Corpus(pl.DataFrame())

    def begun(layout: Layout, miner: Miner, telemetry: Telemetry, tell: Callable[[str], None]) -> _Framing:
        kind = _Skimming if skimming.suits(layout) else _Recording
        return _Framing(kind(layout, miner, telemetry, tell), corpus.texts, telemetry)

    frames: list[pl.DataFrame] = list(_pieces(specs, reading, miner, telemetry, observer, corpus, begun))
    corpus.records = _in_time(_concatenated(frames), len(corpus.layouts))
    corpus.records = _within(corpus.records, reading, telemetry)
    telemetry.templates = len(miner.vocabulary)
    if corpus.records.is_empty():
        raise _nothing(specs, corpus, telemetry, observer)
    return corpus


def tallied(  # noqa: PLR0913, PLR0917  (what a run is made of)
    specs: Sequence[str],
    reading: Reading,
    miner: Miner,
    telemetry: Telemetry,
    observer: Observer,
    tally: Tally,
    *,
    timed: bool = False,
) -> Corpus:
    """Count the templates of the sources; the corpus has no records.

    With `timed` the miner is told the times of records, which takes reading each of them.

    Raises:
        InputError: no source could be read, or none holds a record.
    """
    if reading.since is not None or reading.until is not None:
        corpus = read(specs, reading, miner, telemetry, observer)
        tally.read(corpus.records, corpus.texts.messages)
        return corpus
    corpus = Corpus(pl.DataFrame())

    def begun(
        layout: Layout, miner: Miner, telemetry: Telemetry, tell: Callable[[str], None]
    ) -> "_Reading[pl.DataFrame | tuple[Skimmed, Skimmer]]":
        if not timed and skimming.suits(layout):
            return _Skimming(layout, miner, telemetry, tell, timed=False)
        return _Recording(layout, miner, telemetry, tell)

    for piece in _pieces(specs, reading, miner, telemetry, observer, corpus, begun):
        if isinstance(piece, pl.DataFrame):
            tally.read(piece)
        else:
            tally.skimmed(*piece)
    if not telemetry.records:
        raise _nothing(specs, corpus, telemetry, observer)
    return corpus


def settle(corpora: Sequence[Corpus], miner: Miner, telemetry: Telemetry, *, alone: bool = False) -> None:
    """Take together the templates that turned out to be one, in everything that was read with this miner.

    Where these corpora are `alone`, so that no other records have the miner's codes, only the templates that
    are left have one, in the same order.
    """
    with telemetry.stage("mine"):
        for corpus in corpora:
            corpus.records = miner.settled(corpus.records)
        used = pl.concat([corpus.records["template"] for corpus in corpora]).unique().sort().to_numpy()
        telemetry.templates = len(used)
        known = miner.vocabulary
        if not alone or len(used) == len(known):
            return
        codes = np.zeros(len(known), dtype=np.int32)
        codes[used] = np.arange(len(used))
        for corpus in corpora:
            corpus.vocabulary = tuple(
                replace(known[code], code=place) for place, code in enumerate(used.tolist())
            )
            mined = pl.Series("template", codes[corpus.records["template"].to_numpy()])
            corpus.records = corpus.records.with_columns(mined)


def windows_of(corpus: Corpus, chosen: Windowing, miner: Miner, telemetry: Telemetry) -> Windows:
    """All windows of the records.

    Raises:
        InputError: no record has what makes a window: a time, or a session key.
    """
    vocabulary = miner.vocabulary if corpus.vocabulary is None else corpus.vocabulary
    with telemetry.stage("window"):
        windows = windowing.cut(corpus.records, chosen, vocabulary, telemetry, corpus.texts)
    if not len(windows):
        found = f"none of {corpus.records.height:,} records has a key"
        advice = "leave the option out to have windows chosen"
        raise InputError(chosen.describe(), found, "records that say which session they belong to", advice)
    return windows


def chosen_windowing(corpus: Corpus, reading: Reading, telemetry: Telemetry) -> Windowing:
    """The windowing the user asked for, else the one that suits the records.

    Windows of time that were asked for leave out streams without any; each of these is a fault.
    """
    asked = reading.windowing
    if asked is not None and asked.kind is WindowKind.TIME:
        corpus.records = _timed(corpus, telemetry)
    if asked is not None:
        return asked
    first = corpus.records["place"].head(choosing.SAMPLE).to_numpy()
    return choosing.choose(corpus.records, corpus.texts.raw(first))


def judged(
    windows: Windows, judge: Judge, telemetry: Telemetry, *, every: bool, context: str
) -> list[Verdict]:
    """The verdicts on these windows in their order: the anomalous ones, or all."""
    with telemetry.stage("detect"):
        verdicts = list(judge.verdicts(windows, every=every, context=context))
    telemetry.windows += len(windows)
    telemetry.anomalous += sum(verdict.anomalous for verdict in verdicts)
    return verdicts


def learned(windows: Windows, config: JudgeConfig, seed: int, telemetry: Telemetry) -> Judge:
    """A judge fitted on these windows."""
    with telemetry.stage("detect"):
        return learn(windows, config, seed)


class _Recording:
    """A stream read record by record."""

    def __init__(
        self, layout: Layout, miner: Miner, telemetry: Telemetry, _tell: Callable[[str], None]
    ) -> None:
        self._recorder = Recorder(layout, telemetry)
        self._miner = miner
        self._telemetry = telemetry

    def push(self, buffer: Buffer) -> Iterator[pl.DataFrame]:
        with self._telemetry.stage("parse"):
            records = self._recorder.push(buffer)
        yield self._mined(records)

    def flush(self) -> Iterator[pl.DataFrame]:
        yield self._mined(self._recorder.flush())

    def rest(self) -> None:
        """A recorder holds nothing that it does not need."""

    def _mined(self, records: pl.DataFrame) -> pl.DataFrame:
        with self._telemetry.stage("mine"):
            return self._miner.assign(records)


class _Skimming:
    """A stream read by the shapes of its lines."""

    def __init__(
        self,
        layout: Layout,
        miner: Miner,
        telemetry: Telemetry,
        tell: Callable[[str], None],
        *,
        timed: bool = True,
    ) -> None:
        self._skimmer = Skimmer(layout, miner, telemetry, tell, timed=timed)

    def push(self, buffer: Buffer) -> Iterator[tuple[Skimmed, Skimmer]]:
        for piece in self._skimmer.push(buffer):
            yield piece, self._skimmer

    def flush(self) -> Iterator[tuple[Skimmed, Skimmer]]:
        for piece in self._skimmer.flush():
            yield piece, self._skimmer

    def rest(self) -> None:
        self._skimmer.rest()


class _Framing:
    """What is read of a stream as frames; the texts are kept elsewhere."""

    def __init__(self, stream: "_Recording | _Skimming", texts: Texts, telemetry: Telemetry) -> None:
        self._stream = stream
        self._texts = texts
        self._telemetry = telemetry

    def push(self, buffer: Buffer) -> Iterator[pl.DataFrame]:
        return map(self._framed, self._stream.push(buffer))

    def flush(self) -> Iterator[pl.DataFrame]:
        return map(self._framed, self._stream.flush())

    def rest(self) -> None:
        self._stream.rest()

    def _framed(self, piece: "pl.DataFrame | tuple[Skimmed, Skimmer]") -> pl.DataFrame:
        with self._telemetry.stage("parse"):
            return self._texts.read(piece) if isinstance(piece, pl.DataFrame) else self._texts.skimmed(*piece)


class _Reading(Protocol[_Piece]):
    """A stream of some layout: what its buffers complete, and at the end what is left.

    It may `rest` while another stream is read.
    """

    def push(self, buffer: Buffer) -> Iterator[_Piece]: ...
    def flush(self) -> Iterator[_Piece]: ...
    def rest(self) -> None: ...


def _pieces(  # noqa: PLR0913, PLR0917  (what a run is made of)
    specs: Sequence[str],
    reading: Reading,
    miner: Miner,
    telemetry: Telemetry,
    observer: Observer,
    corpus: Corpus,
    begin: Callable[[Layout, Miner, Telemetry, Callable[[str], None]], _Reading[_Piece]],
) -> Iterator[_Piece]:
    """What the streams of the sources hold, read as `begin` says; layouts and faults go to the corpus."""
    opened, corpus.faults = sources.open_sources(specs, telemetry)
    for source in opened:
        streams: dict[str, _Reading[_Piece]] = {}
        last = ""
        try:
            for buffer in _buffers(source, telemetry):
                if last in streams and last != buffer.stream:
                    streams[last].rest()
                last = buffer.stream
                stream = streams.get(last)
                if stream is None:
                    layout = _detected(buffer, reading, miner, telemetry)
                    corpus.layouts[buffer.stream] = layout
                    _tell(layout, buffer.stream, corpus, observer)
                    tell = partial(observer.note, "compiler")
                    stream = streams[buffer.stream] = begin(layout, miner, telemetry, tell)
                yield from stream.push(buffer)
                observer.progress(telemetry.bytes)
        except InputError as fault:
            corpus.faults.append(fault)
        finally:
            source.close()
        for stream in streams.values():
            yield from stream.flush()


def _detected(buffer: Buffer, reading: Reading, miner: Miner, telemetry: Telemetry) -> Layout:
    modified = buffer.modified or datetime.now(UTC)
    sample = buffer.data[:SAMPLE_BYTES]
    with telemetry.stage("parse"):
        return detect(sample, buffer.stream, reading.overrides, modified, miner.rules.formats)


def _nothing(specs: Sequence[str], corpus: Corpus, telemetry: Telemetry, observer: Observer) -> InputError:
    """Why there are no records."""
    if corpus.faults:
        for other in corpus.faults[1:]:
            observer.note("unread", str(other))
        return corpus.faults[0]
    what = ", ".join(f"{count:,} {reason}" for reason, count in sorted(telemetry.dropped.items()))
    found = f"no records ({what})" if what else "no records"
    return InputError(", ".join(told_source(spec) for spec in specs), found, "at least one line of log")


def _buffers(source: Source, telemetry: Telemetry) -> Iterator[Buffer]:
    """What a source holds; what it gave up itself is counted."""
    buffers = iter(source.read({}))
    while True:
        try:
            with telemetry.stage("read"):
                buffer = next(buffers, None)
        except OSError as error:
            why = f"cannot be read: {(error.strerror or str(error)).lower()}"
            raise InputError(
                error.filename or source.name, why, "a source that can be read to its end"
            ) from None
        if buffer is None:
            return
        for reason, count in buffer.dropped.items():
            telemetry.drop(reason, count)
        yield buffer


def _tell(layout: Layout, stream: str, corpus: Corpus, observer: Observer) -> None:
    """What was detected, once for streams that are alike."""
    told = layout.describe()
    if any(other.describe() == told for name, other in corpus.layouts.items() if name != stream):
        return
    observer.note("stream", stream)
    for line in told:
        name, _, text = line.partition(" ")
        observer.note(name, text.strip())


def _concatenated(frames: list[pl.DataFrame]) -> pl.DataFrame:
    filled = [frame for frame in frames if not frame.is_empty()]
    if not filled:
        return pl.DataFrame(schema={**SCHEMA, "template": pl.Int32(), "place": pl.Int64()})
    return pl.concat(filled)


def _in_time(records: pl.DataFrame, streams: int) -> pl.DataFrame:
    """Several streams merged by time where each has one; otherwise one after the other."""
    if streams < 2:  # noqa: PLR2004
        return records
    timed = records.group_by("stream").agg(pl.col("time").is_not_null().any())["time"].all()
    if not timed:
        return records
    order = pl.col("time").forward_fill().backward_fill().over("stream")
    return records.with_columns(order.alias("_order")).sort("_order", maintain_order=True).drop("_order")


def _timed(corpus: Corpus, telemetry: Telemetry) -> pl.DataFrame:
    """The records of the streams that have times; one without any is a fault, its records are dropped."""
    records = corpus.records
    untimed = records.group_by("stream", maintain_order=True).agg(pl.len(), pl.col("time").is_null().all())
    untimed = untimed.filter("time")
    if untimed["len"].sum() == records.height:
        return records  # windowing says so
    for stream, count, _ in untimed.iter_rows():
        telemetry.records -= count
        telemetry.drop("without_time", count, lines=0)
        corpus.faults.append(
            InputError(stream, "no record has a time", "logs with times for --window", _SAY_TIME)
        )
    return records.join(untimed, on="stream", how="anti", maintain_order="left")


def _within(records: pl.DataFrame, reading: Reading, telemetry: Telemetry) -> pl.DataFrame:
    """The records of the range of time asked for; the others are counted as dropped."""
    if records.is_empty() or (reading.since is None and reading.until is None):
        return records
    newest = records["time"].max()
    if not isinstance(newest, datetime):
        raise InputError("--since and --until", "no record has a time", "logs with times", _SAY_TIME)
    inside = pl.lit(value=True)
    time = pl.col("time").forward_fill().over("stream")
    if reading.since is not None:
        inside &= time >= reading.since.resolve(newest)
    if reading.until is not None:
        inside &= time < reading.until.resolve(newest)
    kept = records.filter(inside.fill_null(value=False))
    outside = records.height - kept.height
    telemetry.records -= outside
    telemetry.drop("out_of_range", outside, lines=0)
    return kept
