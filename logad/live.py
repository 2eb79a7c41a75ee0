"""Watches live logs, and replays history through the very same path."""

import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Unpack

from logad import registry, stream
from logad.alerting import Config as AlertingConfig
from logad.choices import Choice, choices
from logad.contracts import Clock, Notifier, Sink
from logad.durations import parse_duration
from logad.errors import UsageError
from logad.incidents import Change
from logad.ledger import Ledger
from logad.options import ReadOptions
from logad.preparation import LEDGER, Setup
from logad.recall import told_source
from logad.rendering import Renderer
from logad.sources import open_sources
from logad.steps import Step
from logad.stream import Event, StreamOptions, StreamSummary, Warmup
from logad.telemetry import Telemetry
from logad.types import Verdict


class WallClock:
    """The clock on the wall."""

    def now(self) -> datetime:
        """The present moment, in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


WALL: Final = WallClock()


@dataclass(frozen=True, slots=True)
class WatchResult:
    """What a watch came to when it ended."""

    summary: StreamSummary
    stats: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """The verdicts of a replay, in order of closing, and the alerts it would have sent."""

    verdicts: tuple[Verdict, ...]
    summary: StreamSummary
    stats: Mapping[str, Any]
    choices: tuple[Choice, ...]  # what other budgets and costs would have meant


def watch(  # noqa: PLR0913  (one parameter an option)
    *sources: str | Path,
    from_: str = "start",
    until_idle: str | None = None,
    dry_run: bool = False,
    every: bool = False,
    output: str | Path | None = None,
    warmup: str | None = None,
    alert_budget: str | None = None,
    cost_false_alarm: float | None = None,
    cost_miss: float | None = None,
    on_event: Callable[[Event], None] = lambda _event: None,
    write: Callable[[str], object] | None = None,
    clock: Clock = WALL,
    telemetry: Telemetry | None = None,
    **options: Unpack[ReadOptions],
) -> WatchResult:
    """Judge these logs live, until they end or are idle; survives any crash.

    Sources, notifiers and sinks come from the configuration where none are named. Everything it knows is in
    the ledger of the state folder: started again, it goes on where it was.

    Raises:
        UsageError, ConfigError, InputError: as for `scan`.
        StateError: the ledger is damaged, or another process uses it.
    """
    setup = Setup.of(options, telemetry)
    specs = [str(source) for source in sources] or list(setup.settings.sources)
    if not specs:
        raise UsageError("watch", "no source", "a SOURCE, or `sources:` in the configuration")
    if from_ not in ("start", "end"):
        raise UsageError("--from", from_, "start or end")
    alerting = _alerting(setup, alert_budget, cost_false_alarm, cost_miss)
    arranged = replace(
        _arranged(setup, warmup, alerting),
        follow=True,
        from_end=from_ == "end",
        until_idle_seconds=None if until_idle is None else _seconds("--until-idle", until_idle),
        dry_run=dry_run,
        every=every,
        output=Path(output) if output is not None else None,
    )
    opened, faults = open_sources(specs, setup.telemetry, setup.settings.source_options)
    if not opened:
        raise faults[0]
    with ExitStack() as held:
        ledger = held.enter_context(Ledger(setup.settings.state_dir / LEDGER))
        ledger.commit(Step(meta={"sources": json.dumps([told_source(spec) for spec in specs])}))
        sinks = _sinks(setup)
        for sink in sinks.values():
            held.callback(sink.close)
        summary = stream.run(
            arranged,
            opened,
            clock,
            ledger,
            rules=setup.rules,
            notifiers=_notifiers(setup, write),
            sinks=sinks,
            telemetry=setup.telemetry,
            on_event=on_event,
            mutes=setup.mutes,
        )
    unread = (*faults, *summary.unread)
    return WatchResult(replace(summary, unread=unread), setup.telemetry.as_dict())


def backtest(  # noqa: PLR0913  (one parameter an option)
    *sources: str | Path,
    every: bool = False,
    warmup: str | None = None,
    alert_budget: str | None = None,
    cost_false_alarm: float | None = None,
    cost_miss: float | None = None,
    on_event: Callable[[Event], None] = lambda _event: None,
    telemetry: Telemetry | None = None,
    **options: Unpack[ReadOptions],
) -> BacktestResult:
    r"""History replayed on its own clock, each window judged only by what came before it.

    It takes the path that `watch` takes, alerts nobody and leaves nothing behind.

    Raises:
        UsageError, ConfigError, InputError: as for `scan`.

    >>> import pathlib, tempfile
    >>> log = pathlib.Path(tempfile.mkdtemp()) / "app.log"
    >>> lines = (f"2024-01-01 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02} INFO beat\n" for n in range(9000))
    >>> _ = log.write_text("".join(lines))
    >>> backtest(log, window="1m").summary.anomalous
    0
    """
    setup = Setup.of(options, telemetry)
    specs = [str(source) for source in sources]
    opened, faults = open_sources(specs, setup.telemetry, setup.settings.source_options)
    if not opened:
        raise faults[0]
    alerting = _alerting(setup, alert_budget, cost_false_alarm, cost_miss)
    arranged = replace(_arranged(setup, warmup, alerting), dry_run=True, every=every)
    changes: list[Change] = []

    def noted(event: Event) -> None:
        if event.change is not None:
            changes.append(event.change)
        on_event(event)

    with Ledger(None) as ledger:
        summary = stream.run(
            arranged,
            opened,
            WALL,
            ledger,
            rules=setup.rules,
            notifiers={},
            sinks={},
            telemetry=setup.telemetry,
            on_event=noted,
        )
        found = ledger.verdicts(anomalous=None if every else True)
    unread = (*faults, *summary.unread)
    verdicts = tuple(verdict for _, verdict in found)
    chosen = choices(changes, setup.rules, alerting)
    return BacktestResult(verdicts, replace(summary, unread=unread), setup.telemetry.as_dict(), chosen)


def _alerting(
    setup: Setup, budget: str | None, cost_false_alarm: float | None, cost_miss: float | None
) -> AlertingConfig:
    """What is sent, by the configuration and the options over it."""
    alerting = setup.settings.alerting
    costs = (cost_false_alarm, cost_miss)
    if costs == (None, None):
        if budget is None:
            return alerting
        none = {"cost_false_alarm": None, "cost_miss": None}
        return alerting.model_copy(update={"budget_per_day": _budget(budget), **none})
    if budget is not None:
        raise UsageError("--alert-budget and costs", "given together", "one of them: they exclude each other")
    if cost_false_alarm is None or cost_miss is None or min(cost_false_alarm, cost_miss) <= 0:
        found = f"{cost_false_alarm} and {cost_miss}"
        raise UsageError("--cost-false-alarm and --cost-miss", found, "both, above zero")
    return alerting.model_copy(update={"cost_false_alarm": cost_false_alarm, "cost_miss": cost_miss})


def _arranged(setup: Setup, warmup: str | None, alerting: AlertingConfig) -> StreamOptions:
    reading, settings = setup.reading, setup.settings
    return StreamOptions(
        follow=False,
        overrides=reading.overrides,
        windowing=reading.windowing,
        session_timeout_seconds=reading.session_timeout_seconds,
        warmup=Warmup.parsed(warmup),
        since=reading.since,
        until=reading.until,
        seed=reading.seed,
        judge=setup.judging(trusted=False),
        alerting=alerting,
        incidents=settings.incidents,
        redaction=settings.redaction,
        context=setup.context,
    )


def _budget(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)/day", text.strip())
    if match is None:
        raise UsageError("--alert-budget", repr(text), "incidents a day, such as 5/day")
    return float(match[1])


def _seconds(flag: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(flag, str(error).removeprefix("found ")) from None


def _notifiers(setup: Setup, write: Callable[[str], object] | None) -> dict[str, Notifier]:
    """The configured notifiers; standard output where there is none and someone reads it."""
    renderer = Renderer(setup.settings.templates, place=setup.place)
    chosen: dict[str, Notifier] = {}
    for number, choice in enumerate(setup.settings.notifiers):
        name = choice.type if choice.type not in chosen else f"{choice.type}-{number}"
        chosen[name] = registry.part("notifiers", choice.type)(choice.config, renderer)
    if not chosen and write is not None:
        part = registry.part("notifiers", "stdout")
        chosen["stdout"] = part(part.Config(), renderer, write)
    return chosen


def _sinks(setup: Setup) -> dict[str, Sink]:
    chosen: dict[str, Sink] = {}
    for number, choice in enumerate(setup.settings.sinks):
        name = choice.type if choice.type not in chosen else f"{choice.type}-{number}"
        chosen[name] = registry.part("sinks", choice.type)(choice.config, setup.telemetry)
    return chosen
