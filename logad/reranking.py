"""Learns from people's labels which verdicts they want to hear of; off until that is shown to help."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from logad.evaluation.metrics import average_precision
from logad.types import AnomalyType, Verdict

NORMAL: Final = "normal"
ANOMALY: Final = "anomaly"
FEWEST: Final = 20
"""Anomalies, and as many normal ones, before anything is learned; verdicts of one incident count once."""
_FOLDS: Final = 5
_REPEATS: Final = 4
_RESAMPLES: Final = 200
_DEVIATIONS: Final = 2.0  # of the gain: it must be above zero by so many
_LEAST_TAIL: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Example:
    """A verdict that a person labelled; those with one `group` belong to one incident."""

    verdict: Verdict
    anomaly: bool
    group: str


def examples(labelled: Iterable[tuple[Verdict, str, str]]) -> list[Example]:
    """From verdict, label and incident, in order; of several labels of a verdict the last counts."""
    last = {verdict.id: Example(verdict, label == ANOMALY, incident) for verdict, label, incident in labelled}
    return list(last.values())


@dataclass(frozen=True, slots=True)
class Trial:
    """What cross-validation says of a re-ranker: average precision by the score alone, and by it."""

    anomalies: int  # incidents labelled so
    normal: int
    by_score: float | None = None  # None: too few labels to try
    reranked: float | None = None
    spread: float | None = None  # two standard deviations of the gain, over resampled incidents

    @property
    def gain(self) -> float | None:
        """What re-ranking adds to average precision."""
        return None if self.by_score is None or self.reranked is None else self.reranked - self.by_score

    @property
    def helps(self) -> bool:
        """Whether the gain is above zero by more than its spread."""
        return self.gain is not None and self.spread is not None and self.gain > self.spread

    def describe(self) -> str:
        """The outcome in a line.

        >>> Trial(3, 25).describe()
        'off: 3 anomalies and 25 normal ones are labelled, it takes 20 of each'
        >>> Trial(30, 25, 0.8, 0.95, 0.06).describe()
        'on: average precision 0.95, by score alone 0.80 (gain +0.15, give or take 0.06)'
        """
        if self.gain is None or self.spread is None:
            some = f"{self.anomalies:,} anomalies and {self.normal:,} normal ones are labelled"
            return f"off: {some}, it takes {FEWEST} of each"
        told = f"average precision {self.reranked:.2f}, by score alone {self.by_score:.2f}"
        return (
            f"{'on' if self.helps else 'off'}: {told} (gain {self.gain:+.2f}, give or take {self.spread:.2f})"
        )


class Reranker:
    """Logistic regression on the scores of the detectors and a few facts of a verdict."""

    def __init__(self, names: tuple[str, ...], trial: Trial, model: Any) -> None:  # noqa: ANN401  (scikit-learn's)
        self.trial = trial
        self._names = names
        self._model = model  # None: it does not help

    @classmethod
    def learned(cls, examples: Sequence[Example], seed: int = 0) -> Self:
        """Try it by cross-validation over incidents, and learn from all examples if it helps.

        The same examples in the same order and the same seed give the same re-ranker.
        """
        names = tuple(sorted({name for each in examples for name in each.verdict.detectors}))
        anomaly = np.asarray([each.anomaly for each in examples], dtype=np.bool_)
        groups = np.asarray([each.group for each in examples])
        few = Trial(len(set(groups[anomaly])), len(set(groups[~anomaly])))
        if min(few.anomalies, few.normal) < FEWEST:
            return cls(names, few, None)
        facts = np.stack([_facts(each.verdict, names) for each in examples])
        score = np.asarray([each.verdict.score for each in examples])
        trial = _tried(facts, anomaly, groups, score, seed)
        return cls(names, trial, _model().fit(facts, anomaly) if trial.helps else None)

    def relevance(self, verdict: Verdict) -> float | None:
        """The probability that a person calls it an anomaly; None while re-ranking does not help."""
        if self._model is None:
            return None
        return float(self._model.predict_proba(_facts(verdict, self._names)[None, :])[0, 1])


def _facts(verdict: Verdict, names: Sequence[str]) -> NDArray[np.float64]:
    """What a verdict is judged by, shape (6 + names,)."""
    top = verdict.reasons[0].type if verdict.reasons else None
    told = [
        verdict.score,
        -np.log10(max(verdict.tail_probability, _LEAST_TAIL)),
        np.log1p(verdict.window.records),
        len(verdict.reasons),
        top is AnomalyType.POINT,
        top is AnomalyType.CONTEXTUAL,
    ]
    return np.asarray([*told, *(verdict.detectors.get(name, 0.0) for name in names)], dtype=np.float64)


def _model() -> Any:  # noqa: ANN401  (scikit-learn has no types)
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  (costs 1 s to import, needed rarely)
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def _tried(
    facts: NDArray[np.float64],
    anomaly: NDArray[np.bool_],
    groups: NDArray[np.str_],
    score: NDArray[np.float64],
    seed: int,
) -> Trial:
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict  # noqa: PLC0415

    held_out = np.zeros(len(score))
    for repeat in range(_REPEATS):
        folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed + repeat)
        predicted = cross_val_predict(
            _model(), facts, anomaly, groups=groups, cv=folds, method="predict_proba"
        )
        held_out += predicted[:, 1] / _REPEATS

    def measured(rows: NDArray[np.int64]) -> tuple[float, float]:
        once, again = (average_precision(by[rows], anomaly[rows]) or 0.0 for by in (score, held_out))
        return once, again

    by_score, reranked = measured(np.arange(len(score)))
    rng = np.random.default_rng(seed)
    kept = [np.unique(groups[which]) for which in (anomaly, ~anomaly)]
    members = {group: np.flatnonzero(groups == group) for group in np.unique(groups)}
    gains = []
    for _ in range(_RESAMPLES):
        drawn = [group for some in kept for group in rng.choice(some, len(some))]
        once, again = measured(np.concatenate([members[group] for group in drawn]))
        gains.append(again - once)
    spread = _DEVIATIONS * float(np.std(gains))
    return Trial(len(kept[0]), len(kept[1]), by_score, reranked, spread)
