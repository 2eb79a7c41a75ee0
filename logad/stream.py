"""Drives watch and backtest: one loop from batches of buffers to the ledger's transaction."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad import alerting, choosing
from logad.alerting import Mutes
from logad.consequences import Consequences
from logad.contracts import Clock, Notifier, Sink, Source
from logad.delivery import Outlets, OutputFile
from logad.errors import InputError, UsageError
from logad.feed import Batch, Feed
from logad.heeding import Labels
from logad.intake import Intake, empty_records, merged
from logad.judge import learn
from logad.learning import Closed, Judging, View
from logad.ledger import Ledger
from logad.lineage import FollowingMutes
from logad.mining import Miner
from logad.recording import Layout
from logad.redaction import Redactor
from logad.rules import Rules
from logad.runs import BATCH_BYTES, Event, EventKind, StreamOptions, StreamSummary, Warmup
from logad.telemetry import Telemetry
from logad.types import WindowKind
from logad.windows import NO_TIME, Windowing, Windows

__all__ = ["BATCH_BYTES", "Event", "EventKind", "StreamOptions", "StreamSummary", "Warmup", "run"]

SAMPLE_RECORDS: Final = 20_000
"""The views are chosen from so many of the first records, or from all where no more are there ..."""
FEWEST_RECORDS: Final = 1_000
"""... or, while more comes line by line, from what came within a minute, if that is as much as this."""

_BEAT: Final = 10_000_000  # microseconds: windows close at whole beats of the log's clock
_FLUSH_SECONDS: Final = 1.0
_CHOOSE_SECONDS: Final = 2.0  # of silence
_CHOOSE_LATEST: Final = timedelta(minutes=1)
_NEAR: Final = timedelta(minutes=10)
_GRACE: Final = timedelta(seconds=10)


def run(  # noqa: PLR0913  (everything that touches the world is passed in)
    options: StreamOptions,
    sources: Sequence[Source],
    clock: Clock,
    ledger: Ledger,
    *,
    rules: Rules,
    notifiers: Mapping[str, Notifier],
    sinks: Mapping[str, Sink],
    telemetry: Telemetry,
    on_event: Callable[[Event], None] = lambda _event: None,
    mutes: Mutes | None = None,
) -> StreamSummary:
    """Judge what the sources hold and, following, what is appended, until they end or fall silent.

    All that a step learned, judged and decided is one transaction of the ledger, the cursors too: a process
    killed at any moment and started again gives the verdicts of one that was not, each once. What is there
    when it starts gives those of a replay, however it is cut into batches. Both are exact for one stream; for
    several where each is in order of time and templates do not hang on the order in which lines are first
    seen. An end (not a kill) judges what is open: sessions go on as revisions after it, spans of time do not.
    `mutes` may change while it runs; None: those of the rules.

    Raises:
        InputError: the sources ended without a record, or none can be read.
        UsageError: a share as warm-up, where the sources have no end; windows other than the ledger's.
        StateError: the ledger cannot be written.
        DeliveryError: the output file cannot be written.
    """
    if options.follow and options.warmup.share is not None:
        raise UsageError("--warmup", f"{options.warmup.share:.0%}", "records or time: a watch has no end")
    listening = {} if options.dry_run else notifiers
    with ExitStack() as held:
        for source in sources:
            held.callback(source.close)
        state = _Run(options, clock, ledger, rules, mutes or rules, listening, telemetry, on_event)
        output = None
        if options.output is not None:
            output = held.enter_context(OutputFile(options.output, ledger, every=options.every))
        outlets = Outlets(ledger, clock, output, sinks, listening, telemetry)
        state.tell_faults(outlets.drain())
        feed = Feed(options, sources, clock, state.intake, telemetry)
        for batch in feed:
            state.take(batch)
            state.tell_faults(outlets.drain())
        state.tell_faults(str(fault) for fault in feed.faults)
        if not state.finish() and (feed.faults or not options.follow):
            raise next(iter(feed.faults), InputError("sources", "no records", "at least one line of log"))
        state.tell_faults(outlets.drain(last=True))
    return state.summary(tuple(feed.faults))


class _Run:
    """The state of a run between two transactions."""

    def __init__(  # noqa: PLR0913, PLR0917  (as for `run`)
        self,
        options: StreamOptions,
        clock: Clock,
        ledger: Ledger,
        rules: Rules,
        mutes: Mutes,
        notifiers: Mapping[str, Notifier],
        telemetry: Telemetry,
        on_event: Callable[[Event], None],
    ) -> None:
        self._options = options
        self._clock = clock
        self._ledger = ledger
        self._telemetry = telemetry
        self._tell = on_event
        self._views: list[View] = []
        self._held: list[pl.DataFrame] = []  # until the views are chosen; no cursor moves meanwhile
        self._held_since = clock.now()
        self._faults: list[str] = []
        self._passing_over = options.from_end and not ledger.streams()
        self._heard: dict[str, datetime] = {}  # streams whose last record may go on, and when they spoke
        self._more = False  # whether there may be more to read of the last batch's streams
        self._started = clock.now()
        place = json.loads(ledger.meta("place") or "{}")
        self._restoring = False  # a view takes up where it was
        self._watermark: int = place.get("watermark", NO_TIME)
        self._records: int = place.get("records", 0)  # taken in all, for the warm-up
        self._began: int | None = place.get("began")  # time of the first record, microseconds
        self._warm: bool = place.get("warm", not options.warmup.asked)
        redact = Redactor(options.redaction).text if options.redaction.enabled else None
        miner = Miner.rebuilt(
            ledger.shapes(),
            rules,
            telemetry,
            crowds=ledger.crowds(),
            lineage=ledger.lineage(),
            redact=redact,
        )
        followed = FollowingMutes(mutes, miner.family)
        self._labels = Labels(ledger, json.loads(ledger.meta("heeded") or "{}"))
        self._consequences = Consequences(options, ledger, followed, notifiers, place.get("index", 0))
        self.intake = Intake(miner, options.overrides, telemetry, self._told_layout)
        self.intake.restore(ledger.streams(), place.get("newest", {}))
        self._heard |= dict.fromkeys(self.intake.unfinished(), self._started)
        chosen = [Windowing.from_dict(each) for each in json.loads(ledger.meta("views") or "[]")]
        if chosen and options.windowing is not None:
            _same_windows(chosen, options.windowing)
        self._open_views(chosen)

    def take(self, batch: Batch) -> None:
        """One batch, or a moment of silence."""
        quiet = self._quiet(batch)
        self._more = batch.cut_short
        if batch.buffers or quiet or not self._options.follow:
            finite = not self._options.follow
            records = self.intake.take(batch.buffers, flush=None if finite else quiet, whole=finite)
            records = self._within(records)
            if self._views:
                self._judge(records)
            elif not records.is_empty():
                self._held_since = self._held_since if self._held else self._clock.now()
                self._held.append(records)
        elif self._passing_over:
            self._within(self.intake.take([], flush=None))  # the last line too was there
            self._passing_over = False
            self._commit([])
        if self._held and not self._views and self._enough(batch):
            self._choose()
        if batch.silent_seconds and self._views:
            self._pass_time()

    def _quiet(self, batch: Batch) -> list[str]:
        """Streams whose last line is a whole record: silent for a second or, in a backlog, at their ends."""
        now = self._clock.now()
        self._heard |= {buffer.stream: now for buffer in batch.buffers}
        if batch.cut_short:
            quiet = list(self.intake.passed_by(batch.buffers) & self._heard.keys())
        else:
            silent = {name: (now - heard).total_seconds() for name, heard in self._heard.items()}
            quiet = [name for name, seconds in silent.items() if seconds > _FLUSH_SECONDS]
        for name in quiet:
            del self._heard[name]
        return sorted(quiet)

    def finish(self) -> bool:
        """Nothing more comes: judge what is still open. Whether there ever was a record."""
        records = self._within(self.intake.take([], flush=None))
        if not self._views:
            self._held.append(records)
            if all(frame.is_empty() for frame in self._held):
                return False
            self._choose()
            records = empty_records()
        self._judge(records, final=True)
        if (step := self._consequences.last_digest()) is not None:
            self._ledger.commit(step)
        return True

    def tell_faults(self, faults: Iterable[str]) -> None:
        """Something outside failed; the run goes on."""
        for fault in faults:
            self._faults.append(fault)
            self._tell(Event("fault", fault))

    def summary(self, unread: tuple[InputError, ...]) -> StreamSummary:
        """What the run came to."""
        windows, anomalous = self._telemetry.windows, self._telemetry.anomalous
        return StreamSummary(
            windows,
            anomalous,
            len(self._ledger.incidents()),
            alerting.per_day(self._ledger.alerts()),
            tuple(view.windowing for view in self._views),
            tuple(self._faults),
            unread,
        )

    # Views ----------------------------------------------------------------------------------------

    def _enough(self, batch: Batch) -> bool:
        """Whether what is held decides the views: those of a replay, however a backlog is cut."""
        asked = self._options.windowing
        if asked is not None and (asked.kind is not WindowKind.SESSION or not self._options.patient):
            return True
        held = sum(frame.height for frame in self._held)
        if held >= SAMPLE_RECORDS:
            times = pl.concat(frame["time"].dt.epoch("us") for frame in self._held).fill_null(NO_TIME)
            if (times <= self.intake.reached(more=batch.cut_short)).sum() >= SAMPLE_RECORDS:
                return True
        long = not batch.cut_short and self._clock.now() - self._held_since > _CHOOSE_LATEST
        return (long and held >= FEWEST_RECORDS) or batch.silent_seconds > _CHOOSE_SECONDS

    def _choose(self) -> None:
        """Choose the views from what is held, then judge that."""
        held, self._held = merged(self._held, whole=not self._options.follow), []
        sample = held.head(SAMPLE_RECORDS)
        asked = self._options.windowing
        chosen = [asked] if asked is not None else list(choosing.views(sample))
        for number, windowing in enumerate(chosen):
            if windowing.kind is WindowKind.SESSION and windowing.timeout_seconds is None:
                seconds = self._options.session_timeout_seconds or choosing.session_timeout(sample, windowing)
                chosen[number] = replace(windowing, timeout_seconds=seconds)
        self._open_views(chosen)
        self._judge(held)

    def _open_views(self, chosen: Sequence[Windowing]) -> None:
        for number, windowing in enumerate(chosen):
            view = View(
                number,
                windowing,
                partial(self._teach, f"{number}-{windowing.kind}"),
                self._telemetry,
                self._options.context,
                asked_warmup=self._options.warmup.asked,
                patient=self._options.patient,
            )
            self._restoring = True
            self._views.append(view.restored(self._ledger, self.intake.miner.vocabulary))
            self._restoring = False
            self._tell(Event("view", windowing.describe()))
            self._tell(Event("learned" if view.judge else "learning", view.progress(warmup_over=self._warm)))

    def _teach(self, view: str, windows: Windows) -> Judging:
        judge = learn(windows, self._options.judge, self._options.seed)
        return self._labels.heed(view, judge, windows, again=self._restoring)

    def _told_layout(self, stream: str, layout: Layout) -> None:
        for line in layout.describe():
            self._tell(Event("layout", f"{stream}: {line}"))

    # Judging --------------------------------------------------------------------------------------

    def _judge(self, records: pl.DataFrame, *, final: bool = False) -> None:
        """Give records to the views, close what is complete, and make it all durable."""
        learned = [view.judge for view in self._views]
        closed = self._pushed(records, more=self._more and not final)
        if final:
            if self._options.follow:  # no stream is waited for any more
                ends = [newest // _BEAT * _BEAT for newest in self.intake.newest().values()]
                self._watermark = max([self._watermark, *ends])
                closed += [each for view in self._views for each in self._closed(view)]
            closed += [each for view in self._views for each in self._closed(view, final=True)]
        self._commit(closed)
        for view, before in zip(self._views, learned, strict=True):
            if view.judge is not None and before is None:
                self._tell(Event("learned", view.progress(warmup_over=self._warm)))
            elif view.judge is None and final:
                self._tell(Event("learning", view.unjudged(warmup_over=self._warm)))

    def _pushed(self, records: pl.DataFrame, *, more: bool) -> list[Closed]:
        """Give records to the views, as time passes; what closed."""
        closed: list[Closed] = []
        live = self._options.follow
        marks, cuts = self.intake.watermarks(records, self._watermark, _BEAT, live=live, more=more)
        warm_at = None if self._warm else self._warmup_end(records, marks)
        begin = 0
        for place in sorted({*cuts.tolist(), *([] if warm_at is None else [warm_at]), records.height}):
            if place:
                self._watermark = int(marks[place - 1])
            for view in self._views:
                view.push(records[begin:place])
                runs_end = place == warm_at and view.windowing.kind is WindowKind.RECORDS
                closed += self._closed(view, final=runs_end)
            if place == warm_at:
                self._end_warmup()
            begin = place
        self._records += records.height
        return closed

    def _end_warmup(self) -> None:
        self._warm = True
        for view in self._views:
            view.end_warmup()
            if view.judge is None:
                self._tell(Event("learning", view.progress(warmup_over=True)))

    def _closed(self, view: View, *, final: bool = False) -> list[Closed]:
        timed = self._watermark != NO_TIME and view.windowing.kind is not WindowKind.RECORDS
        watermark = self._watermark if timed else None
        vocabulary = self.intake.miner.vocabulary
        return view.close(vocabulary, watermark, final=final, warmup_over=self._warm)

    def _pass_time(self) -> None:
        """In silence time passes on the clock, if the log's times are near it: silence is judged too."""
        newest = max(self.intake.newest().values(), default=None)
        now = self._clock.now()
        if (
            newest is None
            or not self.intake.settled
            or abs(now - datetime.fromtimestamp(newest / 1e6, UTC)) > _NEAR
        ):
            return
        mark = round((now - _GRACE).timestamp() * 1e6) // _BEAT * _BEAT
        if mark > self._watermark:
            self._watermark = mark
            self._commit([each for view in self._views for each in self._closed(view)])

    def _warmup_end(self, records: pl.DataFrame, marks: NDArray[np.int64]) -> int | None:
        """The first record of this batch that is no longer warm-up; None where all of them are."""
        warmup = self._options.warmup
        if warmup.seconds is not None:
            times = records["time"].drop_nulls().dt.epoch("us")
            if self._began is None and len(times):
                self._began = int(times[0])
            if self._began is None:
                return None
            place = int(np.searchsorted(marks, self._began + warmup.seconds * 1e6))
        elif warmup.share is not None:
            place = round(warmup.share * records.height)
        else:
            place = max(0, (warmup.records or 0) - self._records)
        return place if place < records.height else None

    def _within(self, records: pl.DataFrame) -> pl.DataFrame:
        """What the user asked for; the rest is counted."""
        options = self._options
        if self._passing_over:
            return self._dropped(records, pl.lit(value=False), "before_start")
        newest = self._started if options.follow else records["time"].max()
        if (options.since is None and options.until is None) or not isinstance(newest, datetime):
            return records
        time = pl.col("time").forward_fill().over("stream")
        inside = pl.lit(value=True)
        if options.since is not None:
            inside &= time >= options.since.resolve(newest)
        if options.until is not None:
            inside &= time < options.until.resolve(newest)
        return self._dropped(records, inside.fill_null(value=False), "out_of_range")

    def _dropped(self, records: pl.DataFrame, kept: pl.Expr, reason: str) -> pl.DataFrame:
        inside = records.filter(kept)
        outside = records.height - inside.height
        self._telemetry.records -= outside
        self._telemetry.drop(reason, outside, lines=0)
        return inside

    # The transaction ------------------------------------------------------------------------------

    def _commit(self, closed: list[Closed]) -> None:
        """One transaction for all that changed; then tell."""
        now = None if self._watermark == NO_TIME else datetime.fromtimestamp(self._watermark / 1e6, UTC)
        outcome = self._consequences.of(closed, now)
        step = replace(
            outcome.step,
            streams=self.intake.states(),
            shapes=self.intake.new_shapes(),
            crowds=self.intake.new_crowds(),
            lineage=self.intake.new_lineage(),
            views={view.name: view.taken_state() for view in self._views},
            meta={
                "place": json.dumps(self._place()),
                "heeded": json.dumps(self._labels.heeded),
                "views": json.dumps([view.windowing.as_dict() for view in self._views]),
            },
        )
        repeated = self._ledger.commit(step)
        if repeated:
            self._telemetry.notes["verdict_repeated"] += repeated
        self._telemetry.windows += sum(not verdict.learning for verdict in outcome.verdicts)
        self._telemetry.anomalous += sum(verdict.anomalous for verdict in outcome.verdicts)
        for verdict in outcome.verdicts:
            self._tell(Event("verdict", verdict.service, verdict=verdict))
        for change in outcome.changes:
            self._tell(Event("incident", change.incident.title, change=change))

    def _place(self) -> dict[str, object]:
        return {
            "watermark": self._watermark,
            "newest": self.intake.newest(),
            "records": self._records,
            "began": self._began,
            "warm": self._warm,
            "index": self._consequences.index,
        }


def _same_windows(chosen: Sequence[Windowing], asked: Windowing) -> None:
    """Refuse to go on with other windows than those that the ledger's judges were learned from."""
    (first, *more) = chosen
    parts = ("kind", "span_seconds", "size", "key_regex", "key_field")
    if more or any(getattr(first, part) != getattr(asked, part) for part in parts):
        told = " and ".join(each.describe() for each in chosen)
        raise UsageError(asked.describe(), f"this ledger has {told}", "the same", "or another --state-dir")
