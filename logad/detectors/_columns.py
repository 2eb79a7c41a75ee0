"""Turns count vectors into the scaled rows that estimators which know nothing of logs are fitted on."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from logad.contracts import State
from logad.features import presence_weights
from logad.windows import Distinct

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Columns:
    """One column for each template whose count varies among the windows learned from.

    A value is asinh(z), z the standardised log count weighted by inverse document frequency: near the mean
    it is z, far out its logarithm, so that a template of one window in ten thousand, a hundred deviations
    out, does not drown all others. What does not vary, unseen templates included, teaches an estimator
    nothing, and many fail on it: `beside` judges those templates.
    """

    weights: Floats  # (templates,) inverse document frequency
    mean: Floats  # (templates,) of weighted log counts
    spread: Floats  # (templates,) their standard deviation; 0: the count never varied
    usual: Ints  # (templates,) median count
    unseen_weight: Floats  # () of a count that never varied, the more windows there were the heavier

    @classmethod
    def of(cls, distinct: Distinct) -> Self:
        """Learn the scale of each template's counts from distinct vectors and their weights."""
        counts, total = distinct.counts, max(int(distinct.weights.sum()), 1)
        share = distinct.weights / total
        weights = presence_weights(counts, distinct.weights)
        values = np.log1p(counts) * weights
        mean = share @ values
        varies = (counts != counts[:1]).any(axis=0)
        spread = np.where(varies, np.sqrt(share @ (values - mean) ** 2), 0.0)
        return cls(weights, mean, spread, _medians(distinct), np.array(np.log(total + 1.0) + 0.1))

    def rows(self, counts: Ints) -> Floats:
        """The columns of windows with these count vectors, shape (rows, templates that vary)."""
        varying = np.flatnonzero(self.spread > 0)
        known = self._known(counts)[:, varying]
        values = np.log1p(known) * self.weights[varying]
        return np.arcsinh((values - self.mean[varying]) / self.spread[varying])

    def beside(self, counts: Ints) -> Floats:
        """How far counts that never varied lie from what they were, in log counts, shape (rows,)."""
        fixed = np.flatnonzero(self.spread <= 0)
        moved = np.abs(np.log1p(self._known(counts)[:, fixed]) - np.log1p(self.usual[fixed]))
        unseen = np.log1p(counts[:, len(self.usual) :])
        return np.asarray(self.unseen_weight * (moved.sum(axis=1) + unseen.sum(axis=1)))

    def usual_of(self, width: int) -> Ints:
        """The median count of each of `width` templates; 0 of those never seen."""
        return np.pad(self.usual, (0, max(width - len(self.usual), 0)))[:width]

    def unusual(self, counts: Ints) -> Ints:
        """The templates in which one window's counts are not the usual ones, the farthest first."""
        usual = self.usual_of(len(counts))
        codes = np.flatnonzero(counts != usual)
        far = np.abs(np.log1p(counts[codes]) - np.log1p(usual[codes]))
        weight = np.full(len(counts), float(self.unseen_weight))
        known = min(len(counts), len(self.usual))
        varying = np.flatnonzero(self.spread[:known] > 0)
        weight[varying] = self.weights[varying] / self.spread[varying]
        return np.asarray(codes[np.argsort(-np.arcsinh(far * weight[codes]), kind="stable")])

    def _known(self, counts: Ints) -> Ints:
        """The counts of the templates known at `of`, missing ones 0."""
        known = counts[:, : len(self.usual)]
        return np.pad(known, ((0, 0), (0, len(self.usual) - known.shape[1])))

    def state(self) -> State:
        """Scales and usual counts."""
        return {f"columns/{name}": value for name, value in vars(self).items()}

    @classmethod
    def restored(cls, state: State) -> Self:
        """Take back what `state` gave."""
        return cls(**{name: state[f"columns/{name}"] for name in cls.__dataclass_fields__})


def drawn(weights: Ints, most: int, seed: int) -> Ints:
    """Rows to fit on, each as often as it is to stand in the sample, at most `most` in all; ascending.

    Where there are more windows, half of the sample holds distinct vectors once each (drawn by their weights
    where even they are too many), so that rare normal ones are known; the rest is in proportion to weights.

    >>> drawn(np.array([3, 1]), 10, 0).tolist()
    [0, 0, 0, 1]
    >>> drawn(np.array([1000, 1]), 4, 0).tolist()
    [0, 0, 0, 1]
    """
    total = int(weights.sum())
    if total <= most:
        return np.repeat(np.arange(len(weights)), weights)
    random = np.random.default_rng(seed)
    once = np.arange(len(weights))
    if len(once) > most // 2:
        once = random.choice(once, most // 2, replace=False, p=weights / total)
    ticks = (np.arange(most - len(once)) + random.random()) * (total / (most - len(once)))
    return np.sort(np.concatenate([once, np.searchsorted(np.cumsum(weights), ticks, side="right")]))


def _medians(distinct: Distinct) -> Ints:
    """The (lower) median count of each template over all windows."""
    counts, weights = distinct.counts, distinct.weights
    medians = np.zeros(counts.shape[1], dtype=np.int64)
    half = weights.sum() / 2
    for code in np.flatnonzero((counts > 0).T.astype(np.float64) @ weights > half):  # a few; the rest have 0
        order = np.argsort(counts[:, code], kind="stable")
        medians[code] = counts[order[np.searchsorted(np.cumsum(weights[order]), half)], code]
    return medians
