"""What range the numbers of templates have, and how improbable a number beyond it is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from logad.contracts import State
from logad.detectors._baseline import Floats, Ints
from logad.windows import MOST_VALUES, Windows, tallied

FEWEST: Final = 20  # numbers, and ...
FEWEST_WINDOWS: Final = 10  # ... windows that hold them, from which on there is a usual range
RARE: Final = 0.002  # of a series' windows, and one at least: what so few have is no habit
TAIL: Final = 0.1  # of the numbers, and at most ...
MOST_IN_TAIL: Final = 500  # ... so many, show how the range ends
PRIOR: Final = 4.0  # numbers of a tail that the usual one is worth
PRIOR_SCALE: Final = 0.25  # of the usual tail, in logarithms: a new number goes a quarter further than known
CERTAIN: Final = 0.99  # quantile beyond which numbers grow with time if many more do later
TOWARDS_0: Final = (
    2.0  # least scale where 0 lies ahead: smaller numbers are no rarer, but a logarithm has no end
)
MOST_READ: Final = 50_000  # numbers that tell what is usual
_SAMPLE: Final = 2_000  # numbers that tell whether nearly all differ
_COUNTING: Final = (
    0.9  # correlation of ranks with the order of lines: what rises so steadily counts something
)
_FREQUENT: Final = 0.1  # of lines: what so many tell is a measure, though the others differ
_LARGE: Final = 1e6  # whole numbers beyond it that mostly differ are names
_EVEN: Final = 0.08  # distance from the uniform distribution below which numbers are drawn evenly

SIDES: Final = (1.0, -1.0)
HIGH, LOW = 0, 1
_AT_ONCE: Final = 1 << 17  # events whose numbers are looked at together
_ROUNDED: Final = 1e-9  # of a bound: what its way back from the scale may lose
"""Columns of what is told of both ends of a range."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """The usual ranges of series; a series is a template's code and the slot of its number.

    Numbers are compared on the scale asinh(v / grain): logarithmic far from 0, straight near it.
    """

    index: Ints  # (codes * MOST_VALUES,): the series of each code and slot, -1 where it has no usual range
    grain: Floats  # (series,)
    windows: Ints  # (series,): how many hold one
    bound: Floats  # (series, 2): on the scale, turned round for LOW: what is known well
    share: Floats  # (series, 2): of its windows that have a number beyond
    scale: Floats  # (series, 2): how far numbers go beyond, in the mean
    weight: Floats  # (series, 2): how well that is known
    usual: Floats  # (series, 5): quantiles .01, .05, .5, .95, .99

    @classmethod
    def of(cls, windows: Windows) -> "Ranges":
        """The ranges of the numbers in these windows; a few that are anomalies do not matter."""
        index = np.full(len(windows.vocabulary) * MOST_VALUES, -1, dtype=np.int64)
        found: list[tuple[float, ...]] = []
        for code, slot, values, owners in series_of(windows):
            row = _learned(values, owners)
            if row is not None:
                index[code * MOST_VALUES + slot] = len(found)
                found.append(row)
        told = np.asarray(found, dtype=np.float64).reshape(len(found), 15)
        bound, share, scale, weight = (told[:, at : at + 2] for at in (2, 4, 6, 8))
        many = told[:, 1].astype(np.int64)
        return cls(index, told[:, 0], many, bound, share, scale, weight, told[:, 10:])

    @classmethod
    def none(cls) -> "Ranges":
        """Of nothing."""
        nothing, ends = np.zeros(0, dtype=np.int64), np.zeros((0, 2))
        return cls(nothing, np.zeros(0), nothing, ends, ends, ends, ends, np.zeros((0, 5)))

    def __len__(self) -> int:
        return len(self.grain)

    @property
    def codes(self) -> Ints:
        """The template of each series."""
        return np.flatnonzero(self.index >= 0) // MOST_VALUES

    @property
    def slots(self) -> Ints:
        """Which of its template's numbers each series is."""
        return np.flatnonzero(self.index >= 0) % MOST_VALUES

    def pieces(self, windows: Windows) -> Iterator["Numbers"]:
        """The numbers of known series in windows, a piece that fits into the cache at a time."""
        if windows.values is None or not len(self.grain):
            return
        width = len(self.index) // MOST_VALUES
        of_code = np.append(
            self.index.astype(np.int32).reshape(width, MOST_VALUES), [[-1] * MOST_VALUES], axis=0
        )
        for begin in range(0, len(windows.events), _AT_ONCE):
            piece = slice(begin, begin + _AT_ONCE)
            values = windows.values[piece]
            series = of_code[np.minimum(windows.events[piece], width)]
            event, slot = np.nonzero((series >= 0) & np.isfinite(values))
            yield Numbers(begin + event, series[event, slot], values[event, slot].astype(np.float64))

    def numbers(self, windows: Windows) -> "Numbers":
        """The numbers of known series in windows, all at once."""
        return Numbers.joined(self.pieces(windows))

    def present(self, windows: Windows) -> Ints:
        """How many series each window has, shape (windows,)."""
        numbers, many = self.numbers(windows), max(len(self), 1)
        pairs, _ = tallied(windows.owner[numbers.events] * many + numbers.series, len(windows) * many)
        return np.bincount(pairs // many, minlength=len(windows))

    def scaled(self, series: Ints, values: Floats) -> Floats:
        """The numbers on the scale of their series."""
        on_scale: Floats = np.arcsinh(values / self.grain[series])
        return on_scale

    def far(self, pieces: Iterable["Numbers"]) -> "Far":
        """The numbers beyond what is known well, each with its surprise."""
        high, low = (sign * np.sinh(self.bound[:, at]) * self.grain for at, sign in enumerate(SIDES))
        high, low = high - _ROUNDED * np.abs(high), low + _ROUNDED * np.abs(low)
        found = Numbers.joined(
            piece.only((piece.values >= high[piece.series]) | (piece.values <= low[piece.series]))
            for piece in pieces
        )
        events, series, values = found.events, found.series, found.values
        on_scale = self.scaled(series, values)
        off = np.stack([sign * on_scale - self.bound[series, at] for at, sign in enumerate(SIDES)])
        side = off.argmax(axis=0)
        off = off.max(axis=0, initial=-np.inf)
        chosen = np.flatnonzero(off > 0)
        series, side, off = series[chosen], side[chosen], off[chosen]
        weight, scale = self.weight[series, side], self.scale[series, side]
        nats = weight * np.log1p(off / (weight * scale)) - np.log(self.share[series, side])
        return Far(events[chosen], series, side, values[chosen], off, nats)

    def state(self) -> State:
        """The arrays, named `range_...`."""
        return {f"range_{name}": getattr(self, name) for name in self.__slots__}

    @classmethod
    def restored(cls, state: State) -> "Ranges":
        """From what `state` gave."""
        return cls(*(state[f"range_{name}"] for name in cls.__slots__))


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers of windows: `values[i]` stands in event `events[i]` and is of series `series[i]`."""

    events: Ints
    series: Ints
    values: Floats

    @classmethod
    def joined(cls, parts: Iterable["Numbers"]) -> "Numbers":
        """Numbers after one another."""
        nothing = np.zeros(0, dtype=np.int64)
        every = [cls(nothing, nothing, np.zeros(0)), *parts]
        return cls(
            np.concatenate([part.events for part in every]),
            np.concatenate([part.series for part in every]),
            np.concatenate([part.values for part in every]),
        )

    def only(self, chosen: NDArray[np.bool_]) -> "Numbers":
        """The chosen ones."""
        return Numbers(self.events[chosen], self.series[chosen], self.values[chosen])


@dataclass(frozen=True, slots=True)
class Far:
    """Numbers beyond what is known well."""

    events: Ints
    series: Ints
    side: Ints  # HIGH or LOW
    values: Floats
    off: Floats  # how far beyond, on the scale
    nats: Floats  # -ln of the probability that a window with this series has such a number


def series_of(windows: Windows) -> Iterator[tuple[int, int, Floats, Ints]]:
    """Code, slot, numbers in order and their windows, of each series that has enough of them."""
    if windows.values is None or not len(windows.events):
        return
    width = len(windows.vocabulary)
    there = np.isfinite(windows.values)
    kept = np.flatnonzero(there.any(axis=1) & (windows.events < width))
    codes = windows.events[kept]
    order = kept[np.argsort(codes.astype(np.uint16) if width <= 1 << 16 else codes, kind="stable")]
    edges = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=width))])
    for code in np.flatnonzero(np.diff(edges) >= FEWEST).tolist():
        mine = order[edges[code] : edges[code + 1]]
        for slot in range(MOST_VALUES):
            chosen = mine[there[mine, slot]]
            if len(chosen) >= FEWEST:
                values = windows.values[chosen, slot].astype(np.float64)
                yield code, slot, values, windows.owner[chosen]


def _learned(values: Floats, owners: Ints) -> tuple[float, ...] | None:
    """A row of what `Ranges` tells; None where there are too few windows, or the numbers are names."""
    many = 1 + int((np.diff(owners) != 0).sum())
    if many < FEWEST_WINDOWS or _names(values):
        return None
    some = values[spread_out(len(values))]
    grain = _grain(some)
    on_scale = np.arcsinh(values / grain)
    ends = [_end(sign * on_scale, owners, many) for sign in SIDES]
    usual = np.quantile(some, (0.01, 0.05, 0.5, 0.95, 0.99))
    return (grain, many, *(end[place] for place in range(4) for end in ends), *usual)


def spread_out(many: int, most: int = MOST_READ) -> Ints:
    """At most so many places, from the first to the last."""
    return np.linspace(0, many - 1, min(many, most)).astype(np.int64)


def _grain(values: Floats) -> float:
    """1 for whole numbers; less where there are smaller ones that are no 0."""
    sizes = np.abs(values[values != 0])
    return min(1.0, float(np.quantile(sizes, 0.05))) if len(sizes) else 1.0


def _names(values: Floats) -> bool:
    """Whether these count on, or are whole numbers that mostly differ, large ones or evenly drawn."""
    changed = values[np.concatenate([[True], np.diff(values) != 0])]
    some = changed[spread_out(len(changed), _SAMPLE)]
    different, ranks, counts = np.unique(some, return_inverse=True, return_counts=True)
    if len(different) > 1 and np.corrcoef(ranks, np.arange(len(some)))[0, 1] > _COUNTING:
        return True
    mostly = len(different) > len(some) / 2 and counts.max() < _FREQUENT * len(some)
    if len(some) < FEWEST or not mostly or (different != np.round(different)).any():
        return False
    low, high = np.quantile(some, (0.02, 0.98))
    if high > _LARGE or high <= low:
        return bool(high > _LARGE)
    inside = np.sort(some[(some >= low) & (some <= high)])
    even = (inside - low) / (high - low)
    return bool(np.abs(even - np.linspace(0, 1, len(even))).max() < _EVEN)


def _end(on_scale: Floats, owners: Ints, many: int) -> tuple[float, float, float, float]:
    """Bound, share of windows beyond it, scale and weight of the upper end of some numbers.

    What lies beyond the bound may be anomalies: one number, however often it came, tells nothing of how far
    numbers go, and of how often they do the square root (it may be one fault or a habit).
    """
    tail = min(max(int(TAIL * len(on_scale)), 5), MOST_IN_TAIL)
    top = np.argpartition(on_scale, -tail)[-tail:]
    top = top[np.argsort(-on_scale[top], kind="stable")]
    begin = float(on_scale[top[-1]])
    _, first = np.unique(owners[top], return_index=True)
    rare = max(1, int(RARE * many))
    bound = float(on_scale[top[np.sort(first)[rare]]]) if len(first) > rare else begin
    numbers = on_scale[top]
    beyond = np.unique(numbers[numbers > bound])
    within = numbers[(numbers > begin) & (numbers <= bound)]
    excess = np.concatenate([within, beyond[:-1]]) - begin
    scale = max(_drawn(excess), _drawn(beyond[:-1] - bound))
    if len(within):
        scale = max(scale, (bound - begin) / np.log(1 + len(within) / (len(beyond) + 1)))
    if bound < 0:
        scale = max(scale, TOWARDS_0)
    risen = _risen(on_scale)
    odd = len(np.unique(owners[top[numbers > bound]]))
    share = many if risen > 0 else max(len(beyond), odd**0.5, 1.0)
    return bound, share / (many + 1), max(scale, risen), PRIOR + len(excess) / 2


def _drawn(excess: Floats) -> float:
    """The mean of an exponential distribution with this median, drawn towards the usual one."""
    known = len(excess) / 2
    middle = float(np.median(excess)) / np.log(2) if len(excess) else 0.0
    return float((known * middle + PRIOR * PRIOR_SCALE) / (known + PRIOR))


def _risen(on_scale: Floats) -> float:
    """How much further the numbers of the second half go, where far too many do; else 0."""
    on_scale = on_scale[spread_out(len(on_scale))]
    half = len(on_scale) // 2
    highest = max(half - 2, 0) if half < 1 / (1 - CERTAIN) else int(CERTAIN * half)
    first, second = (
        float(np.partition(part, highest)[highest]) for part in (on_scale[:half], on_scale[-half:])
    )
    many, share = (on_scale[-half:] > first).sum(), ((on_scale[:half] > first).sum() + 1) / half
    return max(second - first, 0.0) if many > 3 * share * half + 4 else 0.0  # three times, and a few
