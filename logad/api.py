"""The public functions, twins of the commands."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Unpack

from logad import batch, config, models, rules
from logad.batch import Observer
from logad.checkup import doctor
from logad.errors import InputError, UsageError
from logad.handling import ack, list_incidents, mute
from logad.judge import Judge
from logad.lineage import Descent
from logad.listing import MinedTemplate, listed
from logad.live import BacktestResult, WatchResult, backtest, watch
from logad.mining import Miner
from logad.options import WINDOW_OPTIONS, ReadOptions
from logad.preparation import Setup
from logad.quality import Finding, findings
from logad.redaction import Redactor
from logad.rendering import ScanSummary
from logad.retelling import explain
from logad.tallying import Assignments, Tally
from logad.telemetry import Telemetry
from logad.types import Verdict
from logad.windows import Windowing

__all__ = [
    "BacktestResult",
    "Observer",
    "ScanResult",
    "TemplatesResult",
    "TrainResult",
    "WatchResult",
    "ack",
    "backtest",
    "doctor",
    "explain",
    "list_incidents",
    "mute",
    "scan",
    "templates",
    "train",
    "watch",
]

QUIET: Final = Observer()


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


@dataclass(frozen=True, slots=True)
class TemplatesResult:
    """What `templates` found."""

    templates: tuple[MinedTemplate, ...]  # most frequent first
    assignments: Assignments | None  # one row per record in input order, where they were asked for
    faults: tuple[InputError, ...]
    stats: Mapping[str, Any]
    rules: rules.Rules  # by which they were mined
    redact: Callable[[str], str]  # takes secrets out of what is shown
    lineage: tuple[Descent, ...]  # which ids gave way to which while reading, in order

    def quality(self) -> tuple[Finding, ...]:
        """What does not look right with the templates, and rules that mend it; looked into when asked for."""
        return findings(self.templates, self.rules, self.redact)


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
    if baseline and model is not None:
        raise UsageError("--baseline and --model", "given together", "one of them: they exclude each other")
    if baseline_clean and not baseline:
        raise UsageError("--baseline-clean", "no --baseline", "the baseline that it vouches for")
    setup = Setup.of(options, observer.telemetry)
    stored = None
    if model is not None:
        stored = models.load(setup.store, model)
        miner = Miner.rebuilt(
            stored.shapes,
            setup.rules,
            setup.telemetry,
            crowds=stored.crowds,
            lineage=stored.lineage or None,
        )
        setup = setup.with_windowing(_as_trained(stored, model, setup, options))
    else:
        miner = Miner(rules=setup.rules, telemetry=setup.telemetry)
    reference = None
    if baseline:
        whole = replace(setup.reading, since=None, until=None)  # these narrow what is judged, not by what
        reference = batch.read([str(path) for path in baseline], whole, miner, Telemetry(), observer)
    corpus = setup.read(sources, miner, observer)
    if reference is not None:
        corpus.faults += reference.faults
    if stored is None:
        batch.settle([corpus, *([reference] if reference else [])], miner, setup.telemetry)
    windowing = batch.chosen_windowing(corpus, setup.reading, setup.telemetry)
    observer.note("windows", windowing.describe())
    windows = batch.windows_of(corpus, windowing, miner, setup.telemetry)
    if stored is not None:
        judge = Judge.restored(stored.judge)
    else:
        learned_from = windows
        if reference is not None:
            learned_from = batch.windows_of(reference, windowing, miner, Telemetry())
        judge = batch.learned(
            learned_from,
            setup.judging(trusted=baseline_clean),
            setup.reading.seed,
            setup.telemetry,
        )
    verdicts = batch.judged(windows, judge, setup.telemetry, every=every, context=setup.context)
    if stored is not None:
        ref = models.find(setup.store, model or "")
        verdicts = [replace(found, model_id=ref.id, model_version=ref.version) for found in verdicts]
    doubts = tuple(judge.doubts)
    setup.remember(verdicts, [str(source) for source in sources], observer)
    summary = setup.summary(corpus, windowing, doubts)
    return ScanResult(tuple(verdicts), summary, windowing, tuple(corpus.faults), setup.telemetry.as_dict())


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
    corpus = setup.read(sources, miner, observer)
    batch.settle([corpus], miner, setup.telemetry)
    windowing = batch.chosen_windowing(corpus, setup.reading, setup.telemetry)
    observer.note("windows", windowing.describe())
    windows = batch.windows_of(corpus, windowing, miner, setup.telemetry)
    judge = batch.learned(windows, setup.judging(trusted=clean), setup.reading.seed, setup.telemetry)
    odd = len(batch.judged(windows, judge, setup.telemetry, every=False, context=setup.context))
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
    tally.read(corpus.records)
    mined = listed(tally.templates(miner.standing()), miner.vocabulary, {}, setup.rules, redact)
    quality = findings(mined, setup.rules, redact)
    summary = setup.summary(corpus, windowing, tuple(judge.doubts))
    faults = tuple(corpus.faults)
    return TrainResult(ref, len(windows), odd, summary, windowing, faults, stats.as_dict(), quality)


def templates(
    *sources: str | Path,
    assignments: bool = False,
    lineage: bool = False,
    observer: Observer = QUIET,
    **options: Unpack[ReadOptions],
) -> TemplatesResult:
    r"""The templates of these logs: id, count, text, services, parameters; with `assignments` of each record.

    With `lineage` it is known when a template gave way to another; logs are then read record by record.

    Raises:
        UsageError, InputError, ConfigError: as for `scan`.

    >>> import pathlib, tempfile
    >>> log = pathlib.Path(tempfile.mkdtemp()) / "app.log"
    >>> _ = log.write_text("connected to 10.0.0.1\nconnected to 10.0.0.2\n")
    >>> [(mined.count, mined.template.text) for mined in templates(log).templates]
    [(2, 'connected to <IP>')]
    """
    setup = Setup.of(options, observer.telemetry)
    miner = Miner(rules=setup.rules, telemetry=setup.telemetry)
    given = Assignments() if assignments else None
    tally = Tally(given)
    specs = [str(source) for source in sources]
    corpus = batch.tallied(specs, setup.reading, miner, setup.telemetry, observer, tally, timed=lineage)
    standing, vocabulary = miner.standing(), miner.vocabulary
    redact = Redactor(setup.settings.redaction).text
    mined = listed(tally.templates(standing), vocabulary, miner.aliases(), setup.rules, redact)
    if given is not None:
        given.settle(standing, vocabulary)
    setup.telemetry.templates = len(mined)
    faults = tuple(corpus.faults)
    stats = setup.telemetry.as_dict()
    return TemplatesResult(mined, given, faults, stats, setup.rules, redact, tuple(miner.lineage()))


def _as_trained(stored: models.Model, name: str, setup: Setup, options: ReadOptions) -> Windowing:
    """The windowing that a model was trained on; no other can be asked for."""
    trained = Windowing.from_dict(stored.windowing)
    asked = setup.reading.windowing
    if asked is not None and any(options.get(option) is not None for option in WINDOW_OPTIONS):
        same = replace(asked, reason=trained.reason, timeout_seconds=trained.timeout_seconds)
        if same != trained:
            raise UsageError(
                asked.describe(), f"model {name} judges {trained.describe()}", "the same windows"
            )
    return trained


def template_folders(path: str | Path | None) -> tuple[Path, ...]:
    """The user's folders of message templates, from the configuration."""
    return config.load(Path(path) if path else None, os.environ).templates


def rules_in_force(path: str | Path | None) -> rules.Rules:
    """The shipped rules with those of the configuration on top."""
    return rules.load(config.load(Path(path) if path else None, os.environ).rules)
