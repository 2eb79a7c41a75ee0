"""How often a statistic of windows gets so large: an exponential tail that the largest values do not move."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from logad.contracts import Scores

SET_ASIDE: Final = 0.02  # of the largest values: known to be large, not how large ...
SET_ASIDE_OF_FEW: Final = 0.1  # ... or this share, if it is ...
AT_LEAST: Final = 5  # ... no more than so many
SHOWN: Final = 3  # for each value set aside so many show the tail ...
FEWEST: Final = 10  # ... and no fewer than this
PRIOR: Final = 3.0  # of them are worth a tail that falls by e for each nat; all chosen on planted anomalies


def set_aside(many: int) -> int:
    """How many of so many values are set aside: some of them may be anomalies.

    >>> [set_aside(many) for many in (1, 20, 100, 1000)]
    [1, 2, 5, 20]
    """
    return max(int(np.ceil(SET_ASIDE * many)), min(int(np.ceil(SET_ASIDE_OF_FEW * many)), AT_LEAST))


@dataclass(frozen=True, slots=True)
class FarTail:
    """P(S > s) = share * exp(-(s - threshold) / excess) above the threshold, but no less than exp(-s).

    S is in nats: it never is surer than it says. The mean excess is that of values censored at the largest
    kept one (type II; Epstein and Sobel 1953), so that anomalies among the largest ones change it little,
    and where there are none it is right all the same.
    """

    threshold: float
    share: float
    excess: float

    @classmethod
    def of(cls, values: Scores) -> Self:
        """Learn from one value a window."""
        many = len(values)
        aside = set_aside(many)
        ordered = np.sort(values)
        kept = many - aside
        if kept < 1:
            return cls(0.0, 1.0, 1.0)
        shown = min(max(FEWEST, SHOWN * aside), kept - 1)
        threshold, top = float(ordered[kept - 1 - shown]), float(ordered[kept - 1])
        beyond = ordered[kept - shown : kept] - threshold
        excess = (float(beyond.sum()) + aside * (top - threshold) + PRIOR) / (shown + PRIOR)
        return cls(threshold, ((ordered > threshold).sum() + 1) / (many + 1), excess)

    def probability(self, values: Scores) -> Scores:
        """How often a window is at least so strange; up to the threshold drawn from 1 to what it is there."""
        beyond = self.share * np.exp((self.threshold - values) / self.excess)
        usual = 1 - (1 - self.share) * values / max(self.threshold, 1e-9)
        tail = np.where(values > self.threshold, beyond, usual)
        return np.asarray(np.clip(np.maximum(tail, np.exp(-values)), 0.0, 1.0))
