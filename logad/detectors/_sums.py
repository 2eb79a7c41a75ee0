"""Sums over the last windows: what is too little in each of them may be too much in all together."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from logad.contracts import State
from logad.detectors._baseline import Floats, Ints, mid_tail

WINDOWS: Final = 12  # that are summed of a series with less than a line a window ...
FEWER: Final = 6  # ... and of one with less than BUSY
BUSY: Final = 5.0
LAST: Final = 3  # windows that must hold their part of the sum
NOW: Final = 1.5  # times the mean that the last window must hold
AGE: Final = 576  # windows: while the rhythm of the day is not known, each morning is a rise
INDEPENDENT: Final = 3.0  # windows of the sum that are busy or not on their own; chosen on shop seeds 0-3


@dataclass(frozen=True, slots=True)
class Recent:
    """Non-zero counts of the last hour: `values[i]` lines of series `series[i]` in the window ending then."""

    series: Ints
    ends: Ints  # microseconds
    values: Ints

    @classmethod
    def none(cls) -> "Recent":
        """Of nothing."""
        return cls(*(np.zeros(0, dtype=np.int64) for _ in cls.__slots__))

    def joined(self, other: "Recent") -> "Recent":
        """These counts, then the others."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__slots__)
        return Recent(*(np.concatenate(pair) for pair in pairs))

    def between(self, after: int, until: int) -> "Recent":
        """Those of windows that end after one moment and not after another."""
        chosen = (self.ends > after) & (self.ends <= until)
        return Recent(*(getattr(self, name)[chosen] for name in self.__slots__))

    def state(self) -> State:
        """The arrays, named `recent_...`."""
        return {f"recent_{name}": getattr(self, name) for name in self.__slots__}

    @classmethod
    def restored(cls, state: State) -> "Recent":
        """From what `state` gave."""
        return cls(*(state[f"recent_{name}"] for name in cls.__slots__))


def widths(levels: Floats) -> Ints:
    """Of how many windows the sum of a series with this mean is taken; 0: of none."""
    return np.where(levels < 1, WINDOWS, np.where(levels < BUSY, FEWER, 0))


def sums(counts: Recent, many: Ints, span: int) -> Ints:
    """For each count the sum over the last `many` windows of its series, its own included."""
    if not len(counts.ends):
        return np.zeros(0, dtype=np.int64)
    place = (counts.ends - counts.ends.min()) // span + WINDOWS
    keys = counts.series * (int(place.max()) + 1) + place
    order = np.argsort(keys, kind="stable")
    ordered, running = keys[order], np.concatenate([[0], np.cumsum(counts.values[order])])
    until = np.searchsorted(ordered, keys, side="right")
    since = np.searchsorted(ordered, keys - many, side="right")
    total: Ints = running[until] - running[since]
    return total


def surprise(total: Ints, means: Floats, phi: Floats) -> Floats:
    """-ln of the upper tail of sums with these means."""
    return -np.log(mid_tail(means, phi / INDEPENDENT, total, upper=True))
