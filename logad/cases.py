"""Reads what is to be judged, and what it is to be judged by."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from logad import batch, models
from logad.batch import Corpus, Observer
from logad.contracts import State
from logad.errors import UsageError
from logad.judge import Judge
from logad.mining import Miner
from logad.options import WINDOW_OPTIONS, ReadOptions
from logad.preparation import Setup
from logad.telemetry import Telemetry
from logad.windows import Windowing, Windows


@dataclass(frozen=True)
class Case:
    """Windows to be judged: by themselves, by those of a baseline, or by a stored model."""

    setup: Setup
    corpus: Corpus
    windowing: Windowing
    windows: Windows
    baseline: Windows | None
    trusted: bool  # whether the user vouches for the baseline
    stored: State | None  # what a model's judge left behind
    model: models.ModelRef | None

    @classmethod
    def of(  # noqa: PLR0913  (what a run is made of)
        cls,
        sources: Sequence[str | Path],
        baseline: Sequence[str | Path],
        *,
        trusted: bool,
        model: str | None,
        observer: Observer,
        options: ReadOptions,
    ) -> "Case":
        """Read the sources and what they are judged by.

        Raises:
            UsageError: options that cannot be understood or exclude each other.
            InputError: no source could be read, or none holds a record; single faults are in `corpus`.
            ConfigError: the configuration file has faults.
            StateError: the model is missing or damaged.
        """
        if baseline and model is not None:
            raise UsageError(
                "--baseline and --model", "given together", "one of them: they exclude each other"
            )
        if trusted and not baseline:
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
        specs = [str(source) for source in sources]
        corpus = batch.read(specs, setup.reading, miner, setup.telemetry, observer)
        if reference is not None:
            corpus.faults += reference.faults
        if stored is None:
            corpora = [corpus, *([reference] if reference else [])]
            batch.settle(corpora, miner, setup.telemetry, alone=True)
        windowing = batch.chosen_windowing(corpus, setup.reading, setup.telemetry)
        observer.note("windows", windowing.describe())
        windows = batch.windows_of(corpus, windowing, miner, setup.telemetry)
        by = None
        if reference is not None:
            by = batch.windows_of(reference, windowing, miner, Telemetry())
        ref = models.find(setup.store, model) if model is not None else None
        return cls(setup, corpus, windowing, windows, by, trusted, stored.judge if stored else None, ref)

    def judge(self) -> Judge:
        """Who judges these windows."""
        if self.stored is not None:
            return Judge.restored(self.stored)
        return self.learned(self.windows if self.baseline is None else self.baseline)

    def learned(self, windows: Windows) -> Judge:
        """Who would judge them, were it these windows that teach."""
        config = self.setup.judging(trusted=self.trusted)
        return batch.learned(windows, config, self.setup.reading.seed, self.setup.telemetry)


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
