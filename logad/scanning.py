"""Learns what is normal in finite logs: to judge them by it, or to keep it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Unpack

import polars as pl

from logad import batch, models
from logad.batch import QUIET, Corpus, Observer
from logad.cases import Case
from logad.choices import Choice, choices, moved
from logad.durations import format_duration
from logad.errors import InputError, StateError
from logad.listing import listed
from logad.mining import Miner
from logad.options import ReadOptions
from logad.preparation import SCANS, Setup
from logad.quality import Finding, findings
from logad.recall import remember
from logad.redaction import Redactor
from logad.rendering import ScanSummary
from logad.tallying import Tally
from logad.types import Verdict
from logad.windows import Windowing


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What `scan` found."""

    verdicts: tuple[
        Verdict, ...
    ]  # in the order of the windows; only the anomalous ones unless all were asked for
    summary: ScanSummary
    windowing: Windowing
    faults: tuple[InputError, ...]  # sources that could not be read
    stats: Mapping[str, Any]  # the counters of `--stats`

    @property
    def anomalous(self) -> tuple[Verdict, ...]:
        """The verdicts above the cut, strangest first."""
        found = [verdict for verdict in self.verdicts if verdict.anomalous]
        return tuple(sorted(found, key=lambda verdict: -verdict.score))


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What `train` learned."""

    model: models.ModelRef
    windows: int
    odd: int  # windows that look anomalous beside the others
    summary: ScanSummary
    windowing: Windowing
    faults: tuple[InputError, ...]
    stats: Mapping[str, Any]
    quality: tuple[Finding, ...]  # what does not look right with the templates
    choices: tuple[Choice, ...]  # what budgets and costs would have meant for what looks odd


def scan(
    *sources: str | Path,
    baseline: Sequence[str | Path] = (),
    baseline_clean: bool = False,
    model: str | None = None,
    every: bool = False,
    observer: Observer = QUIET,
    **options: Unpack[ReadOptions],
) -> ScanResult:
    r"""Anomalies in these logs, explained, without labels, model or configuration.

    What is normal is learned from the sources themselves, or from `baseline` (which may hold anomalies,
    unless `baseline_clean` vouches for it), or taken from a stored `model`. With `every`, all windows have a
    verdict.

    Raises:
        UsageError: options that cannot be understood or exclude each other.
        InputError: no source could be read, or none holds a record; single faults are in `faults`.
        ConfigError: the configuration file has faults.
        StateError: the model is missing or damaged.

    >>> import pathlib, tempfile
    >>> log = pathlib.Path(tempfile.mkdtemp()) / "app.log"
    >>> lines = (f"2024-01-01 00:{n // 60:02}:{n % 60:02} INFO beat {n}\n" for n in range(600))
    >>> _ = log.write_text("".join(lines))
    >>> result = scan(log, window_records=20)
    >>> result.summary.windows, result.verdicts
    (30, ())
    """
    case = Case.of(sources, baseline, trusted=baseline_clean, model=model, observer=observer, options=options)
    setup, judge = case.setup, case.judge()
    verdicts = batch.judged(case.windows, judge, setup.telemetry, every=every, context=setup.context)
    if (ref := case.model) is not None:
        verdicts = [replace(found, model_id=ref.id, model_version=ref.version) for found in verdicts]
    _remember(setup, verdicts, [str(source) for source in sources], observer)
    summary = _summary(setup, case.corpus, case.windowing, tuple(judge.doubts))
    return ScanResult(
        tuple(verdicts), summary, case.windowing, tuple(case.corpus.faults), setup.telemetry.as_dict()
    )


def train(
    *sources: str | Path,
    model: str,
    clean: bool = False,
    observer: Observer = QUIET,
    **options: Unpack[ReadOptions],
) -> TrainResult:
    r"""A model of what is normal in these logs, kept in the store under a name and a new version.

    With `clean` the user vouches for every record. `scan(..., model=NAME)` judges by it.

    Raises:
        UsageError, InputError, ConfigError: as for `scan`.

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> lines = (f"2024-01-01 00:{n // 60:02}:{n % 60:02} INFO beat {n}\n" for n in range(600))
    >>> _ = (folder / "app.log").write_text("".join(lines))
    >>> train(folder / "app.log", model="app", window_records=20, state_dir=folder).model.version
    1
    """
    models.check_name(model)
    setup = Setup.of(options, observer.telemetry)
    miner = Miner(rules=setup.rules, telemetry=setup.telemetry)
    specs = [str(source) for source in sources]
    corpus = batch.read(specs, setup.reading, miner, setup.telemetry, observer)
    batch.settle([corpus], miner, setup.telemetry)
    windowing = batch.chosen_windowing(corpus, setup.reading, setup.telemetry)
    observer.note("windows", windowing.describe())
    windows = batch.windows_of(corpus, windowing, miner, setup.telemetry)
    judge = batch.learned(windows, setup.judging(trusted=clean), setup.reading.seed, setup.telemetry)
    odd = batch.judged(windows, judge, setup.telemetry, every=False, context=setup.context)
    stats = setup.telemetry
    learned = models.Model(
        windowing=windowing.as_dict(),
        shapes=miner.shapes(),
        crowds=miner.crowds(),
        lineage=miner.lineage(),
        judge=judge.state(),
        layouts={stream: layout.as_dict() for stream, layout in corpus.layouts.items()},
        counts={"records": stats.records, "windows": len(windows), "templates": stats.templates},
        doubts=judge.doubts,
        config_digest=setup.context,
    )
    ref = models.save(setup.store, model, learned, datetime.now(UTC))
    redact = Redactor(setup.settings.redaction).text
    tally = Tally()
    tally.read(corpus.records, corpus.texts.messages)
    mined = listed(tally.templates(miner.standing()), miner.vocabulary, {}, setup.rules, redact)
    quality = findings(mined, setup.rules, redact)
    summary = _summary(setup, corpus, windowing, tuple(judge.doubts))
    faults = tuple(corpus.faults)
    settings = setup.settings
    chosen = choices(moved(odd, len(windows), settings.incidents), setup.rules, settings.alerting)
    return TrainResult(
        ref, len(windows), len(odd), summary, windowing, faults, stats.as_dict(), quality, chosen
    )


def _summary(setup: Setup, corpus: Corpus, windowing: Windowing, doubts: tuple[str, ...]) -> ScanSummary:
    """What the reader is told beside the findings."""
    stats = setup.telemetry.as_dict()
    return ScanSummary(
        windows=setup.telemetry.windows,
        anomalous=setup.telemetry.anomalous,
        records=setup.telemetry.records,
        templates=setup.telemetry.templates,
        span=_span(corpus.records),
        seconds=stats["seconds"]["total"],
        doubts=doubts,
        windowing=windowing.describe(),
    )


def _remember(setup: Setup, verdicts: Sequence[Verdict], sources: Sequence[str], observer: Observer) -> None:
    """Keep the anomalous verdicts for `explain`, without secrets; a scan does not fail for want of it."""
    redactor = Redactor(setup.settings.redaction)
    found = [redactor.verdict(verdict) for verdict in verdicts if verdict.anomalous]
    if found:
        try:
            remember(setup.settings.state_dir / SCANS, found, sources)
        except StateError as error:
            observer.note("explain", f"will not know these findings: {error}")


def _span(records: pl.DataFrame) -> str:
    first, last = records["time"].min(), records["time"].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return ""
    lasted = format_duration((last - first).total_seconds())
    return f"{first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC ({lasted})"
