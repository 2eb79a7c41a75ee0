"""Drives watch and backtest: one loop from buffers to the ledger's transaction, then to people and sinks."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad import alerting, choosing, incidents
from logad.alerting import Config as AlertingConfig
from logad.contracts import Clock, Notifier, Sink, Source
from logad.delivery import OutputFile, Sinks, deliver
from logad.errors import InputError, UsageError
from logad.incidents import Config as IncidentConfig
from logad.intake import Intake, empty_records
from logad.judge import Judge, JudgeConfig, learn
from logad.learning import Closed, View, session_timeout
from logad.ledger import Ledger
from logad.mining import Miner
from logad.recording import Layout, Overrides
from logad.redaction import Config as RedactionConfig
from logad.redaction import Redactor
from logad.rules import Rules
from logad.steps import Alert, OutboxRow, Step
from logad.telemetry import Telemetry
from logad.types import Buffer, Incident, Verdict, WindowKind
from logad.windows import NO_TIME, Windowing, Windows

SAMPLE_RECORDS: Final = 20_000
"""The views are chosen from so many of the first records at most ..."""
FEWEST_RECORDS: Final = 1_000
"""... and from so many at least, unless nothing more comes for two seconds."""
BATCH_BYTES: Final = 32 << 20
"""So much is read, at most, before it is judged and made durable."""

_BEAT: Final = 10_000_000  # microseconds: windows close at whole beats of the log's clock
_BATCH_SECONDS: Final = 1.0
_FLUSH_SECONDS: Final = 1.0
_CHOOSE_SECONDS: Final = 2.0
_NEAR: Final = timedelta(minutes=10)
_GRACE: Final = timedelta(seconds=10)

EventKind = Literal["layout", "view", "learning", "learned", "verdict", "incident", "fault"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run, for whoever shows it."""

    kind: EventKind
    text: str
    verdict: Verdict | None = None
    change: incidents.Change | None = None


@dataclass(frozen=True, slots=True)
class Warmup:
    """What only teaches; without any of the three it is learned."""

    records: int | None = None
    seconds: float | None = None
    share: float | None = None  # of all records, where the sources are finite

    @property
    def asked(self) -> bool:
        """Whether the user said when to begin."""
        return self.records is not None or self.seconds is not None or self.share is not None


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What a run does; `follow` tells watch from backtest."""

    follow: bool
    overrides: Overrides = field(default_factory=Overrides)
    windowing: Windowing | None = None
    session_timeout_seconds: float | None = None
    warmup: Warmup = Warmup()
    since: datetime | None = None
    until: datetime | None = None
    from_end: bool = False  # a first start passes over what is there
    until_idle_seconds: float | None = None
    dry_run: bool = False
    output: Path | None = None
    every: bool = False  # the output file holds all verdicts, not only anomalous ones
    seed: int = 0
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    incidents: IncidentConfig = field(default_factory=IncidentConfig)
    alerting: AlertingConfig = field(default_factory=AlertingConfig)
    redaction: RedactionConfig = field(default_factory=RedactionConfig)
    context: str = ""  # what else decides the verdicts: goes into their ids
    links: Mapping[str, str] = field(default_factory=dict)
    batch_bytes: int = BATCH_BYTES


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """What a run came to; `per_day` is day -> tier -> incidents that people would have been told of."""

    windows: int
    anomalous: int
    incidents: int
    per_day: Mapping[str, Mapping[str, int]]
    views: tuple[Windowing, ...]
    faults: tuple[str, ...]  # what failed on the way: notifiers, sinks, sources
    unread: tuple[InputError, ...]  # sources that could not be read


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
) -> StreamSummary:
    """Judge what the sources hold and, following, what is appended, until they end or fall silent.

    All that a step learned, judged and decided is one transaction of the ledger, the cursors too: a process
    killed at any moment and started again gives the verdicts of one that was not, each once. Exact for one
    stream; how several streams interleave is not known to a later process.

    Raises:
        InputError: the sources ended without a record, or none can be read.
        UsageError: a share as warm-up, where the sources have no end.
        StateError: the ledger cannot be written.
        DeliveryError: the output file cannot be written.
    """
    if options.follow and options.warmup.share is not None:
        raise UsageError("--warmup", f"{options.warmup.share:.0%}", "records or time: a watch has no end")
    state = _Run(
        options,
        clock,
        ledger,
        rules=rules,
        notifiers={} if options.dry_run else notifiers,
        telemetry=telemetry,
        on_event=on_event,
    )
    with ExitStack() as held:
        for source in sources:
            held.callback(source.close)
        out = _Out(options, clock, ledger, state, sinks, telemetry, held)
        out.drain()
        feed = _Feed(options, sources, clock, state.intake.cursors(), telemetry)
        for buffers, silent in feed:
            state.take(buffers, silent)
            out.drain()
        for fault in feed.faults:
            state.fault(str(fault))
        if not state.finish() and (feed.faults or not options.follow):
            raise next(iter(feed.faults), InputError("sources", "no records", "at least one line of log"))
        out.drain(last=True)
    return state.summary(tuple(feed.faults))


class _Out:
    """What leaves the program after each transaction: the output file, the sinks, the messages."""

    def __init__(  # noqa: PLR0913, PLR0917  (as for `run`)
        self,
        options: StreamOptions,
        clock: Clock,
        ledger: Ledger,
        state: "_Run",
        sinks: Mapping[str, Sink],
        telemetry: Telemetry,
        held: ExitStack,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._state = state
        self._telemetry = telemetry
        self._sinks = Sinks(sinks, telemetry)
        self._output = None
        if options.output is not None:
            output = OutputFile(options.output, _line, ledger, every=options.every)
            self._output = held.enter_context(output)

    def drain(self, *, last: bool = False) -> None:
        """Bring everything outside up to the ledger; with `last`, sinks that wait are tried once more."""
        with self._telemetry.stage("write"):
            if self._output is not None:
                self._output.drain()
            now = self._clock.now()
            for fault in self._sinks.drain(self._ledger, now, last=last):
                self._state.fault(fault)
            for row in deliver(self._ledger, self._state.notifiers, now, self._telemetry):
                if row.why:
                    self._state.fault(f"{row.notifier}: {row.why}")


class _Feed:
    """Batches of buffers with the seconds of silence since the last; ends where the sources do."""

    def __init__(
        self,
        options: StreamOptions,
        sources: Sequence[Source],
        clock: Clock,
        cursors: Mapping[str, str],
        telemetry: Telemetry,
    ) -> None:
        self._options = options
        self._clock = clock
        self._telemetry = telemetry
        self.faults: list[InputError] = []  # sources that could not be read; the others go on
        if options.follow:
            self._open: list[Iterator[Buffer | None]] = [source.follow(cursors) for source in sources]
        else:
            self._open = [source.read(cursors) for source in sources]

    def __iter__(self) -> Iterator[tuple[list[Buffer], float]]:
        if not self._options.follow:  # a finite input is one batch: its streams are merged by time
            held = []
            while self._open:
                held += self._round()
            yield held, 0.0
            return
        limit = self._options.until_idle_seconds
        caught_up = False  # what lies there at the start is merged before it is judged
        held = []
        began = last = self._clock.now()
        while self._open:
            fresh = self._round()
            now = self._clock.now()
            if fresh:
                began = began if held else now
                last = now
                held += fresh
            full = sum(len(buffer.data) for buffer in held) >= self._options.batch_bytes
            aged = caught_up and (now - began).total_seconds() >= _BATCH_SECONDS
            if held and (full or aged or not fresh):
                yield held, 0.0
                held = []
                last = self._clock.now() if not fresh else last
            elif not fresh:
                caught_up = True
                silent = (now - last).total_seconds()
                yield [], silent
                if limit is not None and silent >= limit:
                    return
        if held:
            yield held, 0.0

    def _round(self) -> list[Buffer]:
        """The next buffer of each source that has one; sources that ended are left."""
        fresh: list[Buffer] = []
        with self._telemetry.stage("read"):
            for buffers in list(self._open):
                try:
                    buffer = next(buffers)
                except StopIteration:
                    self._open.remove(buffers)
                    continue
                except InputError as fault:
                    self._open.remove(buffers)
                    self.faults.append(fault)
                    continue
                if buffer is not None:
                    fresh.append(buffer)
        return fresh


class _Run:
    """The state of a run between two transactions."""

    def __init__(  # noqa: PLR0913  (as for `run`)
        self,
        options: StreamOptions,
        clock: Clock,
        ledger: Ledger,
        *,
        rules: Rules,
        notifiers: Mapping[str, Notifier],
        telemetry: Telemetry,
        on_event: Callable[[Event], None],
    ) -> None:
        self._options = options
        self._clock = clock
        self._ledger = ledger
        self._rules = rules
        self.notifiers = notifiers
        self._telemetry = telemetry
        self._tell = on_event
        self._redactor = Redactor(options.redaction)
        self._views: list[View] = []
        self._held: list[pl.DataFrame] = []  # until the views are chosen; no cursor moves meanwhile
        self._faults: list[str] = []
        self._passing_over = options.from_end and not ledger.streams()
        self._flushed = False
        place = json.loads(ledger.meta("place") or "{}")
        self._watermark: int = place.get("watermark", NO_TIME)
        self._records: int = place.get("records", 0)  # taken in all, for the warm-up
        self._began: int | None = place.get("began")  # time of the first record, microseconds
        self._warm: bool = place.get("warm", not options.warmup.asked)
        self._index: int = place.get("index", 0)
        self._known: dict[str, Incident] = {}  # those that may still change
        self._alerts = ledger.alerts()
        miner = Miner.rebuilt(ledger.shapes(), rules, telemetry)
        self.intake = Intake(miner, options.overrides, telemetry, self._told_layout)
        self.intake.restore(ledger.streams(), place.get("newest", {}))
        chosen = [Windowing.from_dict(each) for each in json.loads(ledger.meta("views") or "[]")]
        self._open_views(chosen)

    def take(self, buffers: Sequence[Buffer], silent: float) -> None:
        """One batch, or a moment of silence."""
        flush = not self._options.follow or (silent > _FLUSH_SECONDS and not self._flushed)
        if buffers or flush:
            self._flushed = flush
            finite = not self._options.follow
            records = self._within(self.intake.take(buffers, flush=flush, whole=finite))
            if self._views:
                self._judge(records)
            elif not records.is_empty():
                self._held.append(records)
        elif self._passing_over:
            self._within(self.intake.take([], flush=True))  # the last line too was there
            self._passing_over = False
            self._commit([])
        enough = sum(frame.height for frame in self._held) >= FEWEST_RECORDS
        if self._held and not self._views and (enough or silent > _CHOOSE_SECONDS):
            self._choose()
        if silent and self._views:
            self._pass_time()

    def finish(self) -> bool:
        """Nothing more comes: judge what is still open. Whether there ever was a record."""
        records = self._within(self.intake.take([], flush=True))
        if not self._views:
            self._held.append(records)
            if all(frame.is_empty() for frame in self._held):
                return False
            self._choose()
            records = empty_records()
        self._judge(records, final=True)
        return True

    def fault(self, text: str) -> None:
        """Something outside failed; the run goes on."""
        self._faults.append(text)
        self._tell(Event("fault", text))

    def summary(self, unread: tuple[InputError, ...]) -> StreamSummary:
        """What the run came to."""
        windows, anomalous = self._ledger.counts()
        return StreamSummary(
            windows,
            anomalous,
            len(self._ledger.incidents()),
            alerting.per_day(self._alerts),
            tuple(view.windowing for view in self._views),
            tuple(self._faults),
            unread,
        )

    # Views ----------------------------------------------------------------------------------------

    def _choose(self) -> None:
        """Choose the views from what is held, then judge that."""
        held, self._held = pl.concat(self._held), []
        sample = held.head(SAMPLE_RECORDS)
        asked = self._options.windowing
        chosen = [asked] if asked is not None else list(choosing.views(sample))
        for number, windowing in enumerate(chosen):
            if windowing.kind is WindowKind.SESSION and windowing.timeout_seconds is None:
                seconds = self._options.session_timeout_seconds or session_timeout(sample, windowing)
                chosen[number] = replace(windowing, timeout_seconds=seconds)
        self._open_views(chosen)

        self._judge(held)

    def _open_views(self, chosen: Sequence[Windowing]) -> None:
        for number, windowing in enumerate(chosen):
            view = View(
                number,
                windowing,
                self._teach,
                self._telemetry,
                self._options.context,
                asked_warmup=self._options.warmup.asked,
            )
            self._views.append(view.restored(self._ledger, self.intake.miner.vocabulary))
            self._tell(Event("view", windowing.describe()))
            self._tell(Event("learned" if view.judge else "learning", view.progress()))

    def _teach(self, windows: Windows) -> Judge:
        return learn(windows, self._options.judge, self._options.seed)

    def _told_layout(self, stream: str, layout: Layout) -> None:
        for line in layout.describe():
            self._tell(Event("layout", f"{stream}: {line}"))

    # Judging --------------------------------------------------------------------------------------

    def _judge(self, records: pl.DataFrame, *, final: bool = False) -> None:
        """Give records to the views, close what is complete, and make it all durable."""
        closed: list[Closed] = []
        learned = [view.judge for view in self._views]
        live = self._options.follow
        marks, cuts = self.intake.watermarks(records, self._watermark, _BEAT, live=live)
        warm_at = None if self._warm else self._warmup_end(records, marks)
        places = sorted({*cuts.tolist(), *([] if warm_at is None else [warm_at]), records.height})
        begin = 0
        for place in places:
            if place:
                self._watermark = int(marks[place - 1])
            for view in self._views:
                view.push(records[begin:place])
                runs_end = place == warm_at and view.windowing.kind is WindowKind.RECORDS
                closed += self._closed(view, final=runs_end)
            if place == warm_at:
                self._warm = True
                for view in self._views:
                    view.end_warmup()
            begin = place
        self._records += records.height
        if final:
            for view in self._views:
                closed += self._closed(view, final=True)
        self._commit(closed)
        for view, before in zip(self._views, learned, strict=True):
            if view.judge is not None and before is None:
                self._tell(Event("learned", view.progress()))

    def _closed(self, view: View, *, final: bool = False) -> list[Closed]:
        timed = self._watermark != NO_TIME and view.windowing.kind is not WindowKind.RECORDS
        watermark = self._watermark if timed else None
        vocabulary = self.intake.miner.vocabulary
        return view.close(vocabulary, watermark, final=final, warmup_over=self._warm)

    def _pass_time(self) -> None:
        """In silence time passes on the clock, if the log's times are near it: silence is judged too."""
        newest = max(self.intake.newest().values(), default=None)
        now = self._clock.now()
        if newest is None or abs(now - datetime.fromtimestamp(newest / 1e6, UTC)) > _NEAR:
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
        if options.since is None and options.until is None:
            return records
        time = pl.col("time").forward_fill().over("stream")
        inside = pl.lit(value=True)
        if options.since is not None:
            inside &= time >= options.since
        if options.until is not None:
            inside &= time < options.until
        return self._dropped(records, inside.fill_null(value=False), "out_of_range")

    def _dropped(self, records: pl.DataFrame, kept: pl.Expr, reason: str) -> pl.DataFrame:
        inside = records.filter(kept)
        outside = records.height - inside.height
        self._telemetry.records -= outside
        self._telemetry.drop(reason, outside, lines=0)
        return inside

    # The transaction ------------------------------------------------------------------------------

    def _commit(self, closed: list[Closed]) -> None:
        """Number, redact, group and decide; then one transaction; then tell."""
        closed = sorted(closed, key=lambda each: (each.at, each.view, each.row))
        verdicts = [self._numbered(each) for each in closed]
        now = None if self._watermark == NO_TIME else datetime.fromtimestamp(self._watermark / 1e6, UTC)
        self._known = self._live_incidents(now)
        changes: list[incidents.Change] = []
        for at, group in groupby(zip(closed, verdicts, strict=True), key=lambda pair: pair[0].at):
            found = [verdict for _, verdict in group if verdict.anomalous]
            if found:
                moment = datetime.fromtimestamp(at / 1e6, UTC) if at else None
                changes += self._grouped(found, moment)
        if now is not None:
            changes += self._grouped([], now)
        sent = alerting.decide(changes, self._alerts, self._rules, self._options.alerting)
        due = alerting.digest_due(self._alerts, now, self._options.alerting) if now is not None else []
        members = {verdict: change.incident.id for change in changes for verdict in change.verdicts}
        names = {view.number: view.name for view in self._views}
        repeated = self._ledger.commit(
            Step(
                streams=self.intake.states(),
                shapes=self.intake.new_shapes(),
                views={view.name: view.taken_state() for view in self._views},
                verdicts=[
                    (names[each.view], verdict) for each, verdict in zip(closed, verdicts, strict=True)
                ],
                incidents=list({change.incident.id: change.incident for change in changes}.values()),
                members=members,
                alerts=[each.alert for each in sent],
                digested=[alert.seq for alert in due],
                outbox=self._messages(sent, due),
                meta={
                    "place": json.dumps(self._place()),
                    "views": json.dumps([view.windowing.as_dict() for view in self._views]),
                },
            )
        )
        if repeated:
            self._telemetry.notes["verdict_repeated"] += repeated
        self._alerts = self._ledger.alerts() if sent or due else self._alerts
        self._telemetry.windows += sum(not verdict.learning for verdict in verdicts)
        self._telemetry.anomalous += sum(verdict.anomalous for verdict in verdicts)
        for verdict in verdicts:
            self._tell(Event("verdict", verdict.service, verdict=verdict))
        for change in changes:
            self._tell(Event("incident", change.incident.title, change=change))

    def _numbered(self, closed: Closed) -> Verdict:
        verdict = closed.verdict
        index = None
        if not verdict.learning:
            index, self._index = self._index, self._index + 1
        return self._redactor.verdict(replace(verdict, window=replace(verdict.window, index=index)))

    def _grouped(self, verdicts: Sequence[Verdict], moment: datetime | None) -> list[incidents.Change]:
        config = self._options.incidents
        changes = incidents.group(list(self._known.values()), verdicts, moment, config)
        self._known.update({change.incident.id: change.incident for change in changes})
        return changes

    def _live_incidents(self, now: datetime | None) -> dict[str, Incident]:
        """Those that may still change, as they stand: a person may have muted one meanwhile."""
        hours = self._options.incidents.reopen_hours + self._options.incidents.quiet_minutes / 60
        since = None if now is None else now - timedelta(hours=hours)
        return {each.id: each for each in self._ledger.live_incidents(since)}

    def _messages(self, sent: Sequence[alerting.Sent], due: Sequence[Alert]) -> list[OutboxRow]:
        links = self._options.links
        rows = [
            OutboxRow(name, each.incident.id, notifier.render(each.incident, links))
            for each in sent
            if each.at_once
            for name, notifier in self.notifiers.items()
        ]
        found = (self._known.get(each.incident) or self._ledger.incident(each.incident) for each in due)
        waiting = {incident.id: incident for incident in found if incident is not None}
        if waiting:
            rows += [
                OutboxRow(name, f"digest-{due[0].seq}", notifier.digest(list(waiting.values()), links))
                for name, notifier in self.notifiers.items()
            ]
        return rows

    def _place(self) -> dict[str, object]:
        return {
            "watermark": self._watermark,
            "newest": self.intake.newest(),
            "records": self._records,
            "began": self._began,
            "warm": self._warm,
            "index": self._index,
        }


def _line(verdict: Verdict) -> bytes:
    return (json.dumps(verdict.as_dict(), ensure_ascii=False) + "\n").encode("utf-8", "replace")
