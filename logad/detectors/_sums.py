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
FEW: Final = 5  # lines by which the rest of a service must be known
MOST_BESIDE: Final = 2.0  # times busier or quieter that the rest of a service is believed to be
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

    def before(self, ends: Ints, span: int) -> "Recent":
        """What came in the hour before the first of the windows that end then."""
        first = int(ends.min(initial=np.iinfo(np.int64).max)) - span
        return self._between(first - WINDOWS * span, first)

    def last(self, ends: Ints, span: int) -> "Recent":
        """What came in the hour until the last of the windows that end then; all, where there is none."""
        last = int(ends.max(initial=0))
        return self._between(last - WINDOWS * span, last) if len(ends) else self

    def _between(self, after: int, until: int) -> "Recent":
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


def sums(counts: Recent, series: Ints, ends: Ints, many: Ints, span: int) -> Ints:
    """The lines of each series over the last `many` windows, of which the last ends at `ends`."""
    if not len(counts.ends) or not len(ends):
        return np.zeros(len(ends), dtype=np.int64)
    base = min(int(counts.ends.min()), int(ends.min()))
    width = (max(int(counts.ends.max()), int(ends.max())) - base) // span + WINDOWS + 1
    keys = counts.series * width + (counts.ends - base) // span + WINDOWS
    order = np.argsort(keys, kind="stable")
    ordered, running = keys[order], np.concatenate([[0], np.cumsum(counts.values[order])])
    asked = series * width + (ends - base) // span + WINDOWS
    until = np.searchsorted(ordered, asked, side="right")
    since = np.searchsorted(ordered, asked - many, side="right")
    total: Ints = running[until] - running[since]
    return total


def beside(others: Ints, expected: Floats) -> Floats:
    """How much busier than usual the rest of the service is, within what can be told: a factor."""
    factor: Floats = (others + FEW) / (np.maximum(expected, 0.0) + FEW)
    return np.clip(factor, 1 / MOST_BESIDE, MOST_BESIDE)


def surprise(total: Ints, means: Floats, phi: Floats) -> Floats:
    """-ln of the upper tail of sums with these means."""
    return -np.log(mid_tail(means, phi / INDEPENDENT, total, upper=True))
