"""Steps of a service that follow one another though they hardly ever do."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from logad.contracts import State
from logad.detectors._baseline import Floats, Ints, mid_tail
from logad.detectors._seen import Seen
from logad.windows import tallied

RARELY: Final = 0.2  # of what chance would bring: a pair of steps seen no more often than that is odd
BY_CHANCE: Final = 20.0  # pairs that chance should have brought, at least
USUALLY: Final = 0.95  # quantile of the share of odd pairs in windows ...
FULL: Final = 10  # ... of at least so many pairs
LEAST_SHARE: Final = 0.005
PHI: Final = 0.2
CLUMP: Final = 2  # odd pairs that one step in a wrong place makes, at least
FEWEST: Final = 4  # odd pairs of a finding
RATIO: Final = 3.0  # times as many as usual
MOST: Final = 200  # templates of a service beyond which its order is not looked at
"""RARELY, USUALLY, FEWEST and RATIO were chosen on shop seeds 0-3."""


@dataclass(frozen=True, slots=True)
class Orders:
    """Which pairs of series are odd, and the share of them that is usual in each service."""

    odd: Ints  # first * series + second, sorted
    series: int
    share: Floats  # (services,): NaN where too little was seen

    @classmethod
    def none(cls) -> "Orders":
        """Of nothing."""
        return cls(np.zeros(0, dtype=np.int64), 0, np.zeros(0))

    def state(self) -> State:
        """The arrays, named `order_...`."""
        return {f"order_{name}": np.asarray(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def restored(cls, state: State) -> "Orders":
        """From what `state` gave."""
        return cls(state["order_odd"], int(state["order_series"]), state["order_share"])


@dataclass(frozen=True, slots=True)
class Steps:
    """Neighbours in windows, of known series: pair i is `pairs[i]`, its second event at `places[i]`."""

    pairs: NDArray[np.int64]  # first * series + second
    places: Ints  # among all events
    owner: Ints  # the window of each event

    @classmethod
    def of(cls, owner: Ints, lines: NDArray[np.int32], series: int) -> "Steps":
        """All neighbours of known series (-1: unknown)."""
        chosen = owner[1:] == owner[:-1]
        if len(lines) and lines.min() < 0:
            chosen &= (lines[1:] >= 0) & (lines[:-1] >= 0)
        places = np.flatnonzero(chosen) + 1
        return cls(lines[places - 1].astype(np.int64) * series + lines[places], places, owner)

    @property
    def rows(self) -> Ints:
        """The window of each."""
        return self.owner[self.places]


def orders_of(seen: Seen, steps: Steps) -> Orders:
    """What is odd among these steps of what was seen, all of whose series are known."""
    names, owners = seen.names, seen.names.owners
    width = len(owners)
    there, often = tallied(steps.pairs, width**2)
    odd = [np.zeros(0, dtype=np.int64)]
    for number in range(len(names.services)):
        series = np.flatnonzero((owners == number) & (names.codes < names.width))
        if not 0 < len(series) <= MOST:
            continue
        windows, counts = seen.table(series)
        begins, ends = seen.windows.offsets[windows], seen.windows.offsets[windows + 1]
        filled = np.flatnonzero(begins < ends)
        before, after = counts, counts.copy()  # a window's last event is before none, its first after none
        before[filled, np.searchsorted(series, seen.lines[ends[filled] - 1])] -= 1
        after[filled, np.searchsorted(series, seen.lines[begins[filled]])] -= 1
        chance = (before / np.maximum(before.sum(axis=1, keepdims=True), 1)).T @ after
        first, second = np.nonzero(chance >= BY_CHANCE)
        pairs = series[first] * width + series[second]
        place = np.minimum(np.searchsorted(there, pairs), max(len(there) - 1, 0))
        came = np.where(there[place] == pairs, often[place], 0)
        odd.append(pairs[came <= RARELY * chance[first, second]])
    found = Orders(np.sort(np.concatenate(odd)), width, np.zeros(0))
    pairs, strange = counted(found, steps, len(seen.service))
    share = np.full(len(names.services), np.nan)
    for number in range(len(share)):
        full = (seen.service == number) & (pairs >= FULL)
        if full.sum() >= FULL:
            share[number] = max(LEAST_SHARE, float(np.quantile(strange[full] / pairs[full], USUALLY)))
    return Orders(found.odd, width, share)


def is_odd(orders: Orders, steps: Steps) -> NDArray[np.bool_]:
    """Which steps are odd."""
    if not len(orders.odd):
        return np.zeros(len(steps.pairs), dtype=np.bool_)
    if orders.series**2 <= len(steps.pairs):
        table = np.zeros(orders.series**2, dtype=np.bool_)
        table[orders.odd] = True
        return table[steps.pairs]
    place = np.minimum(np.searchsorted(orders.odd, steps.pairs), len(orders.odd) - 1)
    return np.asarray(orders.odd[place] == steps.pairs)


def counted(orders: Orders, steps: Steps, windows: int) -> tuple[Ints, Ints]:
    """Pairs of each window, and how many of them are odd."""
    strange = steps.owner[steps.places[is_odd(orders, steps)]]
    return np.bincount(steps.rows, minlength=windows), np.bincount(strange, minlength=windows)


def out_of_order(orders: Orders, steps: Steps, service: Ints) -> tuple[Ints, Ints, Floats, Floats]:
    """Windows with too many odd pairs: row, how many, how many are usual, -ln p."""
    pairs, strange = counted(orders, steps, len(service))
    known = (service >= 0) & (len(orders.share) > 0)
    share = np.where(known, orders.share[np.maximum(service, 0)] if len(orders.share) else np.nan, np.nan)
    usual: Floats = np.nan_to_num(share * pairs, nan=np.inf)
    rows: Ints = np.flatnonzero((strange >= FEWEST) & (strange >= RATIO * usual))
    if not len(rows):
        return rows, strange[rows], usual[rows], usual[rows]
    tails = mid_tail(usual[rows] / CLUMP, np.full(len(rows), PHI), strange[rows] // CLUMP, upper=True)
    return rows, strange[rows], usual[rows], -np.log(tails)
