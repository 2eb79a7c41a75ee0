"""How high the numbers of a template usually are in a window of time, and windows in which that shifts."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Final

import numpy as np

from logad.contracts import State
from logad.detectors._baseline import Floats, Ints
from logad.detectors._value_ranges import Ranges, series_of, spread_out
from logad.windows import MOST_VALUES, Windows

FEWEST: Final = 3  # numbers that make a level
AGE: Final = 24  # levels of a series before one of them is judged
MEMORY: Final = 288  # levels that the running mean and variance remember
CLIP: Final = 4.0  # deviations from the middle at which a number counts no more
LEARNED: Final = 3.0  # standard deviations beyond which a level teaches no more than that
SUSPICIOUS: Final = 8.0  # -ln p above which a level teaches nothing until it lasts
ACCEPTED: Final = 12  # such levels in a row are the new level
LEAST_VARIANCE: Final = 1e-4
LEAST_SPREAD: Final = 0.05  # of numbers, on the scale
MOST: Final = 300.0  # nats
_DENSE: Final = 4  # cells a key for a table of all there may be
_ARRAYS: Final = ("keys", "grain", "middle", "spread", "within")


@dataclass(frozen=True, slots=True)
class Path:
    """Where each series stands in time."""

    mean: Floats
    variance: Floats  # between windows, beyond what so few numbers make
    age: Floats  # levels seen
    run: Floats  # suspicious levels in a row, negative where they are too low
    sums: Floats  # of those levels


@dataclass(frozen=True, slots=True)
class Levels:
    """The series that have levels: numbers of a template in the windows of a service."""

    keys: Ints  # (series,) of `_keys`, ascending
    grain: Floats  # (series,): numbers are compared on the scale asinh(v / grain), half of what is usual
    middle: Floats  # (series,): on the scale, as is the spread
    spread: Floats  # (series,)
    within: Floats  # (series,): variance of the numbers of a window around their mean
    start: Path  # before what was learned from
    now: Path  # after what was seen last

    @classmethod
    def none(cls) -> "Levels":
        """Of nothing."""
        nothing = np.zeros(0)
        path = Path(*(nothing for _ in fields(Path)))
        return cls(np.zeros(0, dtype=np.int64), nothing, nothing, nothing, nothing, path, path)

    def at(self, path: Path) -> "Levels":
        """The same, later."""
        return replace(self, now=path)

    def series(self, ranges: Ranges, level: int) -> int:
        """Of which numbers a series is the level."""
        place = int(self.keys[level]) % max(len(ranges.index), 1)
        return int(ranges.index[place])

    def scaled(self, level: int | Ints, values: Floats) -> Floats:
        """Numbers on the scale of their series, from its middle."""
        return np.asarray(np.arcsinh(values / self.grain[level]) - self.middle[level])

    def unscaled(self, level: int, on_scale: float) -> float:
        """The number that stands there on the scale of its series, from its middle."""
        return float(np.sinh(on_scale + self.middle[level]) * self.grain[level])

    def state(self) -> State:
        """The arrays, named `level_...`."""
        paths = {"start": self.start, "now": self.now}
        return {
            **{f"level_{name}": getattr(self, name) for name in _ARRAYS},
            **{
                f"level_{which}_{each.name}": getattr(path, each.name)
                for which, path in paths.items()
                for each in fields(Path)
            },
        }

    @classmethod
    def restored(cls, state: State) -> "Levels":
        """From what `state` gave."""
        start, now = (
            Path(*(state[f"level_{which}_{each.name}"] for each in fields(Path)))
            for which in ("start", "now")
        )
        keys, grain, middle, spread, within = (state[f"level_{name}"] for name in _ARRAYS)
        return cls(keys, grain, middle, spread, within, start, now)


@dataclass(frozen=True, slots=True)
class Measured:
    """Levels of windows, by series and then in order of time."""

    rows: Ints
    series: Ints
    means: Floats  # of the numbers, on the scale
    many: Floats  # numbers


def learned(windows: Windows, ranges: Ranges, service: Ints) -> tuple[Levels, Measured]:
    """The series of these windows that have enough levels, before and after them; and those levels."""
    found = [
        (number * len(ranges.index) + code * MOST_VALUES + slot, *np.quantile(some, (0.1, 0.5, 0.9)))
        for code, slot, values, owners in series_of(windows)
        if ranges.index[code * MOST_VALUES + slot] >= 0
        for number, some in _by_service(values, service[owners])
    ]
    every, low, middle, high = np.asarray(sorted(found), dtype=np.float64).reshape(-1, 4).T
    keys: Ints = every.astype(np.int64)
    grain = np.maximum(np.abs(middle) / 2, ranges.grain[ranges.index[keys % max(len(ranges.index), 1)]])
    low, middle, high = (np.arcsinh(quantile / grain) for quantile in (low, middle, high))
    spread = np.maximum((high - low) / 2.56, LEAST_SPREAD)
    bare = replace(Levels.none(), keys=keys, grain=grain, middle=middle, spread=spread)
    measured, within = _measured(windows, ranges, service, bare)
    kept = np.bincount(measured.series, minlength=len(keys)) >= AGE
    arrays = (keys[kept], grain[kept], middle[kept], spread[kept])
    bare, within = Levels(*arrays, within[kept], bare.start, bare.now), within[kept]
    mine, moved = kept[measured.series], np.cumsum(kept) - 1
    series = moved[measured.series[mine]]
    measured = Measured(measured.rows[mine], series, measured.means[mine], measured.many[mine])
    start = _start(measured, within)
    levels = replace(bare, start=start)
    return levels.at(judged(levels, start, measured)[2]), measured


def measured(windows: Windows, ranges: Ranges, service: Ints, levels: Levels) -> Measured:
    """The levels of known series in windows."""
    if not len(levels.keys):
        nothing = np.zeros(0, dtype=np.int64)
        return Measured(nothing, nothing, np.zeros(0), np.zeros(0))
    return _measured(windows, ranges, service, levels)[0]


def judged(levels: Levels, path: Path, measured: Measured) -> tuple[Floats, Floats, Path]:
    """How far each level is from what was usual before it, how surprising that is, and what is usual then.

    The first is on the scale of the numbers, the second in nats, 0 where too little was seen before.
    """
    off, nats = np.zeros(len(measured.rows)), np.zeros(len(measured.rows))
    noise = (levels.within[measured.series] / measured.many + LEAST_VARIANCE).tolist()
    means = measured.means.tolist()
    places, begins = np.unique(measured.series, return_index=True)
    edges = pairwise([*begins.tolist(), len(measured.rows)])
    after = {each.name: getattr(path, each.name).copy() for each in fields(Path)}
    for series, (begin, end) in zip(places.tolist(), edges, strict=True):
        mean, variance, age, run, total = (float(column[series]) for column in after.values())
        for at in range(begin, end):
            gap, spread = means[at] - mean, variance + noise[at]
            strange = min(gap * gap / spread / 2, MOST) if age >= AGE else 0.0
            off[at], nats[at] = gap, strange
            if strange > SUSPICIOUS:
                sign = 1.0 if gap > 0 else -1.0
                run, total = (run + sign, total + means[at]) if run * sign > 0 else (sign, means[at])
                if abs(run) >= ACCEPTED:
                    mean, run, total = total / abs(run), 0.0, 0.0
                continue
            run, total, age = 0.0, 0.0, age + 1
            most = LEARNED * spread**0.5
            gap = min(max(gap, -most), most)
            share = max(1 / age, 1 / MEMORY)
            mean += share * gap
            variance = max(variance + share * (gap * gap - noise[at] - variance), 0.0)
        for column, value in zip(after.values(), (mean, variance, age, run, total), strict=True):
            column[series] = value
    return off, nats, Path(**after)


def _start(measured: Measured, within: Floats) -> Path:
    """The middle of the first day's levels and how they spread, as if AGE of them had been seen."""
    many = len(within)
    edges = np.concatenate([[0], np.cumsum(np.bincount(measured.series, minlength=many))])
    mean, variance = np.zeros(many), np.zeros(many)
    for series in range(many):
        mine = slice(edges[series], min(edges[series + 1], edges[series] + MEMORY))
        levels = measured.means[mine]
        mean[series] = np.median(levels)
        noise = np.median(within[series] / measured.many[mine])
        variance[series] = max((1.48 * np.median(np.abs(levels - mean[series]))) ** 2 - noise, 0.0)
    nothing = np.zeros(many)
    return Path(mean, variance, np.full(many, float(AGE)), nothing, nothing)


def _by_service(values: Floats, services: Ints) -> Iterator[tuple[int, Floats]]:
    """Some of the numbers of each service."""
    if (services == services[0]).all():
        yield int(services[0]), values[spread_out(len(values))]
        return
    for number in np.unique(services).tolist():
        mine = np.flatnonzero(services == number)
        yield number, values[mine[spread_out(len(mine))]]


def _measured(windows: Windows, ranges: Ranges, service: Ints, levels: Levels) -> tuple[Measured, Floats]:
    """The levels of these windows, and the variance of numbers within windows by series."""
    many, wide_as = len(levels.keys), max(len(windows), 1)
    places = [np.zeros(0, dtype=np.int64)]
    there, on_scale = list(places), [np.zeros(0)]
    of_series = np.flatnonzero(ranges.index >= 0)
    for numbers in ranges.pieces(windows) if many else ():
        owners = windows.owner[numbers.events]
        keys = service[owners] * len(ranges.index) + of_series[numbers.series]
        place = np.minimum(np.searchsorted(levels.keys, keys), many - 1)
        known = np.flatnonzero(levels.keys[place] == keys)
        place, owners = place[known], owners[known]
        wide = CLIP * levels.spread[place]
        places.append(place)
        there.append(place * wide_as + owners)
        on_scale.append(np.clip(levels.scaled(place, numbers.values[known]), -wide, wide))
    place, scaled = np.concatenate(places), np.concatenate(on_scale)
    cells, cell = numbered(np.concatenate(there), many * wide_as)
    counts = np.bincount(cell, minlength=len(cells)).astype(np.float64)
    means = np.bincount(cell, scaled, minlength=len(cells)) / np.maximum(counts, 1)
    series, rows = np.divmod(cells, wide_as)
    squares = np.bincount(place, (scaled - means[cell]) ** 2, minlength=many)
    free = np.bincount(place, minlength=many) - np.bincount(series, minlength=many)
    within = squares / np.maximum(free, 1)
    enough = counts >= FEWEST
    told = Measured(rows[enough], series[enough], means[enough], counts[enough])
    return told, within


def numbered(keys: Ints, size: int) -> tuple[Ints, Ints]:
    """The distinct keys, ascending, and the place of each key among them; all lie in 0 until `size`."""
    if size > _DENSE * max(len(keys), 1):
        distinct, places = np.unique(keys, return_inverse=True)
        return distinct, places
    found = np.bincount(keys, minlength=size) > 0
    return np.flatnonzero(found), (np.cumsum(found) - 1)[keys]
