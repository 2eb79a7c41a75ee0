"""How long nothing is written inside a window, and when that is longer than the other windows explain."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from logad.contracts import State
from logad.detectors._far_tail import FEWEST, SHOWN, set_aside
from logad.windows import NO_TIME, Windows

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LEAST_EXPONENT: Final = 1.0  # however far pauses spread, the longest is not often surpassed tenfold
GRAIN: Final = 1.0  # second: what is added to each pause; shorter ones are none
USUAL_EXPONENT: Final = 2.0  # of the tail, and ...
PRIOR: Final = 3.0  # ... how many windows that is worth
MOST_OUTLIERS: Final = 0.02  # of windows, one at least: more of them are no outliers but another sort
LEAST_TIMES: Final = (
    3.0  # a pause below so many times another is nothing new; all chosen on planted anomalies
)
_SECOND: Final = 1e6


@dataclass(frozen=True, slots=True)
class Pauses:
    """The longest pause of each window falls by a power law; the ratio between neighbours tells outliers.

    Of a power law with exponent a, the j-th longest of n is r times the next with probability r^(-j a)
    (Renyi 1953), so j windows far above all others are as telling as one, and do not hide each other.
    """

    longest: Floats  # seconds, the longest first: those that may be outliers and the next one
    exponent: float
    windows: int

    @classmethod
    def of(cls, windows: Windows) -> Self:
        """Learn from the longest pause of each window."""
        owner, _, seconds = pauses(windows)
        most = np.zeros(len(windows))
        np.maximum.at(most, owner, seconds)
        ordered = np.sort(most)[::-1]
        aside = set_aside(len(most))
        shown = np.log(ordered[aside : aside + max(FEWEST, SHOWN * aside) + 1] + GRAIN)
        beyond = (
            float((shown[:-1] - shown[-1]).sum()) + aside * float(shown[0] - shown[-1]) if len(shown) else 0.0
        )
        many = max(len(shown) - 1, 0)
        exponent = (many + PRIOR) / (beyond + PRIOR / USUAL_EXPONENT)
        exponent = max(exponent, LEAST_EXPONENT)
        odd = max(int(np.ceil(MOST_OUTLIERS * len(most))), 1)
        return cls(ordered[: odd + 1].copy(), exponent, len(most) if len(owner) else 0)

    def surprise(self, seconds: Floats) -> tuple[Floats, Floats]:
        """-ln of how often a window has such a pause, and the pause that the usual ones do not exceed."""
        nats, usual = np.zeros(len(seconds)), np.full(len(seconds), np.inf)
        if not self.windows:
            return nats, usual
        long = np.flatnonzero(seconds + GRAIN >= LEAST_TIMES * (self.longest[-1] + GRAIN))
        nats[long], usual[long] = self._of_long(seconds[long])
        return nats, usual

    def _of_long(self, seconds: Floats) -> tuple[Floats, Floats]:
        nats, usual = np.zeros(len(seconds)), np.full(len(seconds), np.inf)
        bounds = np.append(np.inf, self.longest)
        for many, (above, below) in enumerate(pairwise(bounds)):
            ratio = (np.minimum(seconds, above) + GRAIN) / (below + GRAIN)
            rank = max(many, 1)  # a new window, longer than all, is the first
            cost = np.log(rank * (rank + 1) * rank / self.windows)
            found = np.where(ratio >= LEAST_TIMES, rank * self.exponent * np.log(ratio) - cost, 0.0)
            usual = np.where(found > nats, below, usual)
            nats = np.maximum(nats, found)
        return nats, usual

    def state(self, prefix: str) -> State:
        """The columns, named after the prefix."""
        return {
            f"{prefix}/longest": self.longest,
            f"{prefix}/tail": np.asarray([self.exponent, self.windows], dtype=np.float64),
        }

    @classmethod
    def restored(cls, state: State, prefix: str) -> Self:
        """From what `state` gave."""
        exponent, windows = state[f"{prefix}/tail"].tolist()
        return cls(state[f"{prefix}/longest"], exponent, int(windows))


def pauses(windows: Windows) -> tuple[Ints, Ints, Floats]:
    """Window, place and seconds since the one before of each event that is not the first of its window."""
    times = windows.times
    inside = np.flatnonzero((np.diff(windows.owner) == 0) & (times[1:] != NO_TIME) & (times[:-1] != NO_TIME))
    owner = windows.owner[inside + 1]
    seconds = np.maximum(times[inside + 1] - times[inside], 0) / _SECOND
    return owner, inside + 1 - windows.offsets[owner], seconds
