"""Turns raw scores into tail probabilities against a reference, and those into one score in 0..1."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from logad.contracts import Scores, State

CUT: Final = 0.5
"""A score above this is anomalous."""


KNOWABLE: Final = 100
"""Windows seen n times over: from n windows a tail can be drawn out so far and no farther."""


def least_knowable(windows: int) -> float:
    """The least tail probability that can be told after so many windows: 1 / (100 n).

    A fitted tail may go beyond what was seen, as far as its shape can be trusted. Below one window in a
    hundred times the past, 1e-9 and 1e-40 are the same statement: "never, as far as one can tell".

    >>> least_knowable(200)
    5e-05
    """
    return 1 / (KNOWABLE * max(windows, 1))


def ranked(probability: Scores, least: float) -> Scores:
    """Probabilities in their order, those below `least` drawn up to it: what cannot be known still ranks.

    >>> ranked(np.array([0.1, 1e-4, 1e-8, 1e-80]), 1e-4).round(6).tolist()
    [0.1, 0.0001, 6.8e-05, 1e-05]
    """
    beyond = np.log(least / np.clip(probability, 1e-300, least))
    return np.where(probability < least, least / (1 + 0.05 * beyond), probability)


TAIL_SHARE: Final = 0.1
"""The strangest of the reference windows, by which the tail beyond them all is fitted ..."""
FEWEST_IN_TAIL: Final = 10
"""... if they are so many."""


@dataclass(frozen=True)
class Calibration:
    """The distinct scores of the reference windows, ascending, and how many windows are at or above each.

    Beyond the strangest of them a tail is drawn out, a generalized Pareto distribution of the excess over a
    high quantile; what it says there is extrapolated.

    Source: conformal p-values (Vovk et al. 2005; Laxhammar and Falkman 2010); peaks over threshold (Pickands
    1975), fitted by probability-weighted moments (Hosking and Wallis 1987).
    """

    scores: NDArray[np.float64]
    at_or_above: NDArray[np.int64]
    tail: NDArray[np.float64]  # threshold, scale and shape; empty where there were too few windows

    @classmethod
    def of(cls, scores: Scores) -> "Calibration":
        """Calibrates against the scores of reference windows."""
        rounded = _rounded(scores)
        distinct, counts = np.unique(rounded, return_counts=True)
        return cls(distinct, np.cumsum(counts[::-1])[::-1].astype(np.int64), _tail(np.sort(rounded)))

    def tail_probabilities(self, scores: Scores) -> Scores:
        """(1 + reference windows at least as strange) / (1 + reference windows), less beyond them all.

        >>> Calibration.of(np.array([1.0, 2.0, 2.0])).tail_probabilities(np.array([0.0, 2.0, 3.0])).tolist()
        [1.0, 0.75, 0.25]
        """
        scores = _rounded(scores)
        at = np.searchsorted(self.scores, scores)
        above = np.append(self.at_or_above, 0)[at]
        total = int(self.at_or_above[0]) if len(self.at_or_above) else 0
        probability = np.asarray((1.0 + above) / (1.0 + total))
        if len(self.tail):
            strangest = np.maximum(scores, self.scores[-1])
            probability = probability * self._beyond(strangest) / self._beyond(self.scores[-1:])
        return probability

    def _beyond(self, scores: Scores) -> Scores:
        """The share of what exceeds the threshold that exceeds these scores."""
        threshold, scale, shape = self.tail
        excess = (scores - threshold) / scale
        return np.asarray(np.exp(-excess) if shape < _STRAIGHT else (1 + shape * excess) ** (-1 / shape))

    def state(self) -> State:
        """The calibration as arrays."""
        return {"scores": self.scores, "at_or_above": self.at_or_above, "tail": self.tail}


_STRAIGHT: Final = 1e-6  # a shape below this is none: the tail is exponential


def _tail(scores: Scores) -> NDArray[np.float64]:
    """Threshold, scale and shape of the tail of ascending scores; nothing where there is none to be seen.

    A shape below 0 would end the tail somewhere: it is taken as 0.
    """
    most = int(TAIL_SHARE * len(scores))
    if most < FEWEST_IN_TAIL:
        return np.zeros(0)
    threshold = scores[-most - 1]
    excess = scores[-most:] - threshold
    mean = float(excess.mean())
    if mean <= 0:
        return np.zeros(0)
    lower = float((excess * (most - 1 - np.arange(most))).sum()) / (most * (most - 1))
    shape = float(np.clip(2 - mean / max(mean - 2 * lower, 1e-12 * mean), 0.0, 0.9))
    return np.asarray([threshold, mean * (1 - shape), shape])


def _rounded(scores: Scores) -> Scores:
    """Scores without their last digits, which depend on how many windows were scored at once."""
    mantissa, exponent = np.frexp(scores)
    return np.asarray(np.round(np.ldexp(np.round(mantissa, 9), exponent), 9))


SCALE: Final = ((0.04, 0.9), (0.2, 0.7), (1.0, CUT))
"""Of what a detector may spend, so much leads to such a score: the tiers of the interface in shares."""


def shared_scores(probability: Scores, need: Scores | float) -> Scores:
    """Scores in 0..1 that mean the same for every detector: CUT where the probability is what it may spend.

    `need` is the share of normal windows that may alarm. A fifth of it is .7 and a 25th .9, straight on
    the scale of logarithms between them.

    >>> shared_scores(np.array([1.0, 0.01, 0.002, 0.0004, 0.0]), 0.01).round(6).tolist()
    [0.0, 0.5, 0.7, 0.9, 1.0]
    """
    need = np.broadcast_to(np.clip(need, 1e-12, 1 - 1e-12), probability.shape)
    ratio = np.minimum(1.0, probability / need)
    spent, scores = np.asarray(SCALE).T
    strange = np.interp(np.log(np.maximum(ratio, spent[0])), np.log(spent), scores)
    strange = np.where(ratio < spent[0], 1 - (1 - scores[0]) * ratio / spent[0], strange)
    usual = CUT * (1 - (np.maximum(probability, need) - need) / (1 - need))
    return np.asarray(np.where(probability < need, strange, usual))
