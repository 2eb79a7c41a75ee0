"""Evaluates the judgement of finite logs: against labels, against planted anomalies, or both."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Unpack

import numpy as np
from numpy.typing import NDArray

from logad.batch import QUIET, Observer
from logad.calibration import CUT
from logad.cases import Case
from logad.errors import InputError, UsageError
from logad.evaluation import labels as reading
from logad.evaluation import protocols, trials
from logad.evaluation.metrics import Measured, Point, curve, measure
from logad.options import ReadOptions
from logad.preparation import Setup
from logad.runs import Warmup
from logad.windows import Windowing, Windows

SCHEMA: Final = "logad.evaluation/1"
TIERS: Final[Mapping[str, float]] = {"index": CUT, "digest": 0.7, "page": 0.9}
"""The severities with the score that each lies above."""
PERIODS: Final = 4
"""The time from the first window to the last is looked at in so many equal parts."""

_ERROR: Final = 3  # severity class
Flags = NDArray[np.bool_]
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Labelled:
    """How the judgement compares with labels."""

    all: Measured
    baselines: Mapping[str, Measured]  # on the same windows: `flag_all` and `severity_words`
    tiers: Mapping[str, Measured]  # were only windows of this severity or above flagged
    curve: tuple[Point, ...]
    services: Mapping[str, Measured]
    periods: Mapping[str, Measured]  # by when they begin
    folds: Mapping[str, Measured]  # where parts were judged one after the other
    labels: int
    unlabelled: int  # windows that the labels say nothing of: in no figure
    assumed_normal: int  # windows without a label that count as normal, for only anomalies are labelled
    unmatched: int  # labels that are about none of the windows

    def as_dict(self) -> dict[str, Any]:
        """As `logad.evaluation/1` writes it."""
        return {
            **self.all.as_dict(),
            "baselines": {name: each.as_dict() for name, each in self.baselines.items()},
            "tiers": {name: each.as_dict() for name, each in self.tiers.items()},
            "labels": self.labels,
            "unlabelled": self.unlabelled,
            "assumed_normal": self.assumed_normal,
            "unmatched_labels": self.unmatched,
            "services": {name: each.as_dict() for name, each in self.services.items()},
            "periods": {name: each.as_dict() for name, each in self.periods.items()},
            **({"folds": {name: each.as_dict() for name, each in self.folds.items()}} if self.folds else {}),
            "curve": [asdict(point) for point in self.curve],
        }


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """What `evaluate` measured."""

    labelled: Labelled | None  # None: no labels were given
    planted: trials.Trials | None  # None: nothing was planted
    windows: int
    windowing: Windowing
    protocol: str  # what taught, and what was judged
    doubts: tuple[str, ...]
    faults: tuple[InputError, ...]  # sources that could not be read
    stats: Mapping[str, Any]  # the counters of `--stats`

    def as_dict(self) -> dict[str, Any]:
        """As `logad.evaluation/1` writes it."""
        return {
            "schema": SCHEMA,
            "windows": self.windows,
            **(self.labelled.as_dict() if self.labelled else {}),
            **({"injection": self.planted.as_dict()} if self.planted else {}),
            "protocol": self.protocol,
            "windowing": self.windowing.describe(),
            "doubts": list(self.doubts),
        }


def evaluate(  # noqa: PLR0913  (each an option of the command)
    *sources: str | Path,
    labels: str | Path | None = None,
    inject: bool = False,
    baseline: Sequence[str | Path] = (),
    baseline_clean: bool = False,
    model: str | None = None,
    warmup: str | None = None,
    folds: int | None = None,
    observer: Observer = QUIET,
    **options: Unpack[ReadOptions],
) -> EvaluationResult:
    r"""How good the judgement of these logs is: against `labels`, or, with `inject`, on planted anomalies.

    They are judged as `scan` judges them: by themselves, by a `baseline`, or by a stored `model`. With
    `warmup` (records `10000r`, time `2h`, or a share `50%`) what comes first teaches, as it stood then, and
    windows that begin later are judged; with `folds` the records are cut into one part more, and each but the
    first is judged by all before it (cross-validation in time). Labels are used for nothing but the figures;
    with `inject` too, what they call anomalous is left alone.

    Raises:
        UsageError: options that cannot be understood or exclude each other, or labels of other windows.
        InputError: no source could be read, or none holds a record, or the labels cannot be read.
        ConfigError: the configuration file has faults.
        StateError: the model is missing or damaged.

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> lines = [f"2024-01-01 00:{n // 60:02}:{n % 60:02} INFO beat {n}" for n in range(900)]
    >>> lines[450] = "2024-01-01 00:07:30 ERROR disk failed"
    >>> _ = (folder / "app.log").write_text("\n".join(lines))
    >>> _ = (folder / "labels.csv").write_text("line,label\n451,1\n")
    >>> found = evaluate(folder / "app.log", labels=folder / "labels.csv", window_records=20)
    >>> found.labelled.all.precision, found.labelled.all.recall
    (1.0, 1.0)
    """
    if labels is None and not inject:
        raise UsageError(
            "evaluate", "neither --labels nor --inject", "what to compare with: one of them, or both"
        )
    protocols_asked = [baseline, model, warmup, folds]
    if sum(bool(each) for each in protocols_asked) > 1:
        raise UsageError(
            "--baseline, --model, --warmup and --folds",
            "given together",
            "one of them: they exclude each other",
        )
    if inject and folds is not None:
        raise UsageError("--inject", "given with --folds", "anomalies planted into what one judge judges")
    first = Warmup.parsed(warmup)
    truth_of = None
    if labels is not None:
        truth_of = reading.read(labels, Setup.of(options).reading.overrides.timezone)
    case = Case.of(sources, baseline, trusted=baseline_clean, model=model, observer=observer, options=options)
    telemetry = case.setup.telemetry
    rounds, protocol = protocols.rounds(case, first, folds)
    rows = np.concatenate([each.rows for each in rounds])
    windows = case.windows.take(rows)
    truth = None if truth_of is None else truth_of.of(case.windows).of(rows)
    scores, doubts = _scores(case, rounds)
    flagged = scores > CUT
    telemetry.windows += len(windows)
    telemetry.anomalous += int(flagged.sum())
    planted = None
    if inject:
        bad = np.zeros(len(windows), np.bool_) if truth is None else truth.anomalous & truth.known
        bench = trials.Bench(rounds[0].judge_of, flagged, bad, case.setup.reading.seed)
        planted = trials.tried(windows, bench, lambda kind: observer.note("plant", kind))
    names = [each.name for each in rounds for _ in each.rows] if folds is not None else []
    return EvaluationResult(
        None if truth is None else compared(windows, scores, truth, names),
        planted,
        len(windows),
        case.windowing,
        protocol,
        doubts,
        tuple(case.corpus.faults),
        telemetry.as_dict(),
    )


def _scores(case: Case, rounds: Sequence[protocols.Round]) -> tuple[Scores, tuple[str, ...]]:
    """The scores of the windows of all rounds, one after the other, and the doubts of the last judge."""
    scores = []
    for each in rounds:
        windows = case.windows.take(each.rows)
        judge = each.judge_of(windows)
        with case.setup.telemetry.stage("detect"):
            scores.append(judge.judge(windows).score)
    return np.concatenate(scores), tuple(judge.doubts)


def compared(windows: Windows, scores: Scores, truth: reading.Truth, folds: Sequence[str] = ()) -> Labelled:
    """The scores of windows, one each, against the truth; `folds` names the one of each window, if any."""
    known = np.flatnonzero(truth.known)
    chosen, scores, anomalous = windows.take(known), scores[known], truth.anomalous[known]
    words = np.bincount(chosen.owner[chosen.severities[chosen.events] >= _ERROR], minlength=len(chosen))
    return Labelled(
        measure(scores, anomalous, CUT),
        {
            "flag_all": measure(np.ones(len(scores)), anomalous, CUT),
            "severity_words": measure((words > 0).astype(np.float64), anomalous, CUT),
        },
        {name: measure(scores, anomalous, above) for name, above in TIERS.items()},
        curve(scores, anomalous),
        dict(sorted(_parts(chosen.table["service"].to_list(), scores, anomalous).items())),
        dict(sorted(_parts(_periods(chosen), scores, anomalous).items())),
        _parts([folds[row] for row in known.tolist()], scores, anomalous) if folds else {},
        truth.labels,
        len(windows) - len(known),
        int(truth.assumed.sum()),
        truth.unmatched,
    )


def _parts(names: Sequence[str], scores: Scores, anomalous: Flags) -> dict[str, Measured]:
    """The figures of the windows of each name, in order of their first windows."""
    each = np.asarray(names, dtype=object)
    return {
        name: measure(scores[each == name], anomalous[each == name], CUT) for name in dict.fromkeys(names)
    }


def _periods(windows: Windows) -> list[str]:
    """When the part of the time begins that each window begins in; without times, which part of the order."""
    starts = windows.table["start"].dt.epoch("us")
    if starts.null_count() or not len(starts):
        parts = np.arange(len(windows)) * PERIODS // max(len(windows), 1)
        return [f"part {part + 1} of {PERIODS}" for part in parts.tolist()]
    begun = starts.to_numpy()
    low, high = int(begun.min()), int(begun.max())
    parts = np.minimum((begun - low) * PERIODS // max(high - low, 1), PERIODS - 1)
    moments = [
        f"{datetime.fromtimestamp((low + part * (high - low) // PERIODS) / 1e6, UTC):%Y-%m-%d %H:%M}"
        for part in range(PERIODS)
    ]
    return [moments[part] for part in parts.tolist()]
