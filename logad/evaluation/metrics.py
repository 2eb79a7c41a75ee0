"""Measures scores against the truth: precision, recall, the areas under their curves."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Flags = NDArray[np.bool_]

MOST_POINTS: Final = 101
"""A curve has at most so many thresholds, evenly taken from those there are."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of one judgement; what cannot be said, for there is nothing to divide by, is 0 or None."""

    windows: int
    anomalous: int
    tp: int
    fp: int
    fn: int
    tn: int
    pr_auc: float | None  # average precision; None without an anomalous window
    roc_auc: float | None  # None without windows of both sorts

    @property
    def precision(self) -> float:
        """The share of what is flagged that is anomalous; 0 where nothing is flagged."""
        return _share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """The share of what is anomalous that is flagged; 0 where nothing is anomalous."""
        return _share(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall: 2 TP / (2 TP + FP + FN)."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    def as_dict(self) -> dict[str, Any]:
        """As `logad.evaluation/1` writes it."""
        return {
            "windows": self.windows,
            "anomalous": self.anomalous,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "pr_auc": self.pr_auc,
            "roc_auc": self.roc_auc,
            "confusion": {"tp": self.tp, "fp": self.fp, "fn": self.fn, "tn": self.tn},
        }


@dataclass(frozen=True, slots=True)
class Point:
    """What a threshold would have given: windows whose score reaches it are flagged."""

    threshold: float
    flagged: int
    precision: float
    recall: float
    f1: float


def measure(scores: Scores, anomalous: Flags, cut: float) -> Measured:
    """The figures of scores, shape (windows,); a window above the cut is flagged.

    >>> measure(np.array([0.9, 0.6, 0.2]), np.array([True, False, False]), 0.5).precision
    0.5
    """
    flagged = scores > cut
    hits, found, wanted = int((flagged & anomalous).sum()), int(flagged.sum()), int(anomalous.sum())
    return Measured(
        len(scores),
        wanted,
        hits,
        found - hits,
        wanted - hits,
        len(scores) - found - wanted + hits,
        average_precision(scores, anomalous),
        area_under_roc(scores, anomalous),
    )


def average_precision(scores: Scores, anomalous: Flags) -> float | None:
    """The area under the steps of precision over recall: sum of (R_n - R_(n-1)) P_n over the distinct scores.

    Windows with one score are flagged together, so that their order does not matter. Scores without any
    information give the share of anomalous windows.

    >>> average_precision(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False]))
    0.8333333333333333
    """
    if not anomalous.any():
        return None
    _, flagged, hits = _steps(scores, anomalous)
    recalled = np.diff(hits, prepend=0) / hits[-1]
    return float(np.sum(recalled * hits / flagged))


def area_under_roc(scores: Scores, anomalous: Flags) -> float | None:
    """How often an anomalous window has the higher score than a normal one, ties counting a half.

    This is the statistic of Mann and Whitney (1947) over the number of pairs.

    >>> area_under_roc(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False]))
    0.875
    """
    wanted = int(anomalous.sum())
    others = len(anomalous) - wanted
    if not wanted or not others:
        return None
    _, flagged, hits = _steps(scores, anomalous)
    new_hits, misses = np.diff(hits, prepend=0), flagged - hits
    new_misses = np.diff(misses, prepend=0)
    pairs = float(np.sum(new_hits * (others - misses + new_misses / 2)))
    return pairs / (wanted * others)


def curve(scores: Scores, anomalous: Flags) -> tuple[Point, ...]:
    """What each threshold would have given, the highest first: the distinct scores, thinned where many."""
    thresholds, flagged, hits = _steps(scores, anomalous)
    wanted = int(anomalous.sum())
    chosen = np.unique(np.linspace(0, len(thresholds) - 1, MOST_POINTS).round().astype(np.int64))
    return tuple(
        Point(
            float(thresholds[step]),
            int(flagged[step]),
            _share(int(hits[step]), int(flagged[step])),
            _share(int(hits[step]), wanted),
            _share(2 * int(hits[step]), int(flagged[step]) + wanted),
        )
        for step in (chosen if len(thresholds) else ())
    )


def _steps(scores: Scores, anomalous: Flags) -> tuple[Scores, NDArray[np.int64], NDArray[np.int64]]:
    """The distinct scores downwards, how many windows reach each, and how many of these are anomalous."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else order
    return ranked[last], last + 1, np.cumsum(anomalous[order])[last].astype(np.int64)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
