"""Steps of a service that follow one another though they hardly ever do."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from logad.contracts import State
from logad.detectors._baseline import Floats, Ints, mid_tail

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
    """Neighbours in windows: pair i is `before[i]`, then `after[i]` (series), in window `rows[i]`."""

    rows: Ints
    before: Ints
    after: Ints
    places: Ints  # where the second event stands among all events

    @classmethod
    def of(cls, owner: Ints, series: Ints) -> "Steps":
        """All neighbours of known series (-1: unknown)."""
        chosen = (owner[1:] == owner[:-1]) & (series[1:] >= 0) & (series[:-1] >= 0)
        places = np.flatnonzero(chosen)
        return cls(owner[places], series[places], series[places + 1], places + 1)


def orders_of(steps: Steps, service: Ints, owners: Ints) -> Orders:
    """What is odd among these steps; `service` is of each window, `owners` of each series."""
    width = len(owners)
    odd = [np.zeros(0, dtype=np.int64)]
    of_step = owners[steps.before] if width else steps.before
    for number in np.flatnonzero(np.bincount(of_step)).tolist():
        mine = np.flatnonzero(of_step == number)
        names, before, after = _renumbered(width, steps.before[mine], steps.after[mine])
        many = len(names)
        if many > MOST:
            continue
        full, window = _renumbered(len(service), steps.rows[mine])
        windows = len(full)
        left, right = (
            np.bincount(window * many + side, minlength=windows * many).reshape(windows, many)
            for side in (before, after)
        )
        chance = (left / np.maximum(left.sum(axis=1, keepdims=True), 1)).T @ right
        seen = np.bincount(before * many + after, minlength=many**2).reshape(many, many)
        first, second = np.nonzero((chance >= BY_CHANCE) & (seen <= RARELY * chance))
        odd.append(names[first] * width + names[second])
    found = Orders(np.sort(np.concatenate(odd)), width, np.zeros(0))
    pairs, strange = counted(found, steps, len(service))
    share = np.full(int(owners.max(initial=-1)) + 1, np.nan)
    for number in range(len(share)):
        full = (service == number) & (pairs >= FULL)
        if full.sum() >= FULL:
            share[number] = max(LEAST_SHARE, float(np.quantile(strange[full] / pairs[full], USUALLY)))
    return Orders(found.odd, width, share)


def _renumbered(most: int, *columns: Ints) -> tuple[Ints, ...]:
    """The distinct numbers below `most` in some columns, ascending, and each column by their places."""
    there = np.zeros(most, dtype=np.bool_)
    for column in columns:
        there[column] = True
    place = np.cumsum(there) - 1
    return np.flatnonzero(there), *(place[column] for column in columns)


def is_odd(orders: Orders, steps: Steps) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which steps are odd."""
    keys = steps.before * orders.series + steps.after
    place = np.minimum(np.searchsorted(orders.odd, keys), max(len(orders.odd) - 1, 0))
    return orders.odd[place] == keys if len(orders.odd) else np.zeros(len(keys), dtype=np.bool_)


def counted(orders: Orders, steps: Steps, windows: int) -> tuple[Ints, Ints]:
    """Pairs of each window, and how many of them are odd."""
    return np.bincount(steps.rows, minlength=windows), np.bincount(
        steps.rows[is_odd(orders, steps)], minlength=windows
    )


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
