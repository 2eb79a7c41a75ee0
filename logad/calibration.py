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


@dataclass(frozen=True)
class Calibration:
    """The distinct scores of the reference windows, ascending, and how many windows are at or above each.

    Source: conformal p-values (Vovk et al. 2005; Laxhammar and Falkman 2010).
    """

    scores: NDArray[np.float64]
    at_or_above: NDArray[np.int64]

    @classmethod
    def of(cls, scores: Scores) -> "Calibration":
        """Calibrates against the scores of reference windows."""
        distinct, counts = np.unique(_rounded(scores), return_counts=True)
        return cls(distinct, np.cumsum(counts[::-1])[::-1].astype(np.int64))

    def tail_probabilities(self, scores: Scores) -> Scores:
        """(1 + reference windows at least as strange) / (1 + reference windows).

        >>> Calibration.of(np.array([1.0, 2.0, 2.0])).tail_probabilities(np.array([0.0, 2.0, 3.0])).tolist()
        [1.0, 0.75, 0.25]
        """
        at = np.searchsorted(self.scores, _rounded(scores))
        above = np.append(self.at_or_above, 0)[at]
        total = int(self.at_or_above[0]) if len(self.at_or_above) else 0
        return np.asarray((1.0 + above) / (1.0 + total))

    def state(self) -> State:
        """The calibration as arrays."""
        return {"scores": self.scores, "at_or_above": self.at_or_above}


def _rounded(scores: Scores) -> Scores:
    """Scores without their last digits, which depend on how many windows were scored at once."""
    mantissa, exponent = np.frexp(scores)
    return np.asarray(np.round(np.ldexp(np.round(mantissa, 9), exponent), 9))


def shared_scores(probability: Scores, need: Scores | float) -> Scores:
    """Scores in 0..1 that mean the same for every detector: CUT where the probability is what it may spend.

    `need` is the share of normal windows that may alarm.

    >>> shared_scores(np.array([1.0, 0.01, 0.0025, 0.0]), 0.01).tolist()
    [0.0, 0.5, 0.75, 1.0]
    """
    need = np.broadcast_to(np.clip(need, 1e-12, 1 - 1e-12), probability.shape)
    strange = 1 - (1 - CUT) * np.sqrt(np.minimum(1.0, probability / need))
    usual = CUT * (1 - (np.maximum(probability, need) - need) / (1 - need))
    return np.asarray(np.where(probability < need, strange, usual))
