"""Mines linear relations between the counts of templates: equal, in proportion, at most, or a sum."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from logad.contracts import State

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

EQUAL, AT_MOST, SUM, BALANCED = 0, 1, 2, 3
SUPPORT: Final = 0.98  # share of the windows it concerns in which a relation holds
LEAST: Final = 30  # such windows, at least
MOST_TEMPLATES: Final = 120  # the most common ones, whose pairs are looked at
MOST_ROWS: Final = 3000  # distinct count vectors looked at, the heaviest
MOST_FACTOR: Final = 4
PARTS: Final = 12  # templates looked at as parts of one sum
HALF: Final = 0.5  # a bound that is met with equality in fewer windows says little
CLOSER: Final = 0.25  # variance of a difference against that of independent Poisson counts
RATIOS: Final = (0.2, 5.0)
BALANCED_WINDOWS: Final = 48
BALANCED_MEAN: Final = 0.5  # lines a window
NEAR: Final = 0.02  # a ratio so near to a small fraction is meant to be it
EDGE: Final = 0.005  # quantile of the usual range


@dataclass(frozen=True, slots=True)
class Relations:
    """What the counts n of templates i, j and k obey, one relation a row.

    EQUAL n_i = c n_j; AT_MOST n_i <= n_j; SUM n_i + n_j = n_k;
    BALANCED low <= `balance`(n_i, n_j, c) <= high.
    """

    kind: Counts
    left: Counts  # template i
    right: Counts  # template j
    whole: Counts  # template k of a sum, else -1
    factor: Floats  # c
    low: Floats
    high: Floats
    windows: Counts  # the windows it concerns: any side occurs
    broken: Counts  # those in which it does not hold

    def __len__(self) -> int:
        return len(self.kind)

    @classmethod
    def of(cls, found: list[tuple[float, ...]]) -> Self:
        """From rows of the nine columns."""
        table = np.asarray(found, dtype=np.float64).reshape(-1, 9)
        kind, left, right, whole, windows, broken = table[:, [0, 1, 2, 3, 7, 8]].astype(np.int64).T
        factor, low, high = table[:, [4, 5, 6]].T
        return cls(kind, left, right, whole, factor, low, high, windows, broken)

    def state(self) -> State:
        """The columns by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def restored(cls, state: State) -> Self:
        """From what `state` gave."""
        return cls(**{name: state[name] for name in cls.__slots__})

    def violation(self, counts: Counts, at: int) -> Floats:
        """How badly each count vector breaks relation `at`, in nats; shape (rows,), 0 where it holds.

        -ln of how rarely the relation is broken, and for ranges more the farther outside.
        """
        rarely = -np.log((self.broken[at] + 0.5) / (self.windows[at] + 1))
        excess = self._excess(counts, at)
        return np.where(excess > 0, rarely + np.log1p(excess), 0.0)

    def _excess(self, counts: Counts, at: int) -> Floats:
        """How far each row is outside the relation: 0 holds, an exact relation is broken by 1."""
        left, right = counts[:, self.left[at]], counts[:, self.right[at]]
        if self.kind[at] == EQUAL:
            return np.where(left != self.factor[at] * right, 1.0, 0.0)
        if self.kind[at] == AT_MOST:
            return np.where(left > right, 1.0, 0.0)
        if self.kind[at] == SUM:
            return np.where(left + right != counts[:, self.whole[at]], 1.0, 0.0)
        ratio = balance(left, right, self.factor[at])
        width = max(self.high[at] - self.low[at], 0.25)
        over = np.maximum(ratio - self.high[at], self.low[at] - ratio) / width
        return np.where((left + right > 0) & (over > 0), over, 0.0)


def balance(left: Counts, right: Counts, factor: float) -> Floats:
    """The difference of two counts in units of its Poisson deviation."""
    scaled = factor * right
    ratio: Floats = (left - scaled) / np.sqrt(left + scaled + 1)
    return ratio


def mined_exact(counts: Counts, weights: Counts) -> Relations:
    """Relations that hold exactly in nearly all windows: what sessions obey (Lou et al. 2010, section 4).

    Equal templates form classes; each class is tied to its most frequent member, and only that one takes part
    in bounds and sums, so that one deviation does not break the same relation twice.
    """
    counts, weights, codes = _looked_at(counts, weights)
    present = counts > 0
    found: list[tuple[float, ...]] = []
    mass = weights @ present
    leaders: list[int] = []
    order = np.argsort(-mass, kind="stable")
    for member in order:
        tie = _equal_to_a_leader(counts, weights, present, int(member), leaders)
        if tie is None:
            leaders.append(int(member))
        else:
            left, right, factor, windows, broken = tie
            found.append((EQUAL, codes[left], codes[right], -1, factor, 0, 0, windows, broken))
    bounds = _bounds(counts, weights, present, leaders)
    summed: set[tuple[int, int]] = set()
    for left, right, whole, windows, broken in _sums(counts, weights, present, bounds):
        found.append((SUM, codes[left], codes[right], codes[whole], 1, 0, 0, windows, broken))
        summed |= {(left, whole), (right, whole)}
    for left, right, met, windows, broken in bounds:
        if met >= HALF and (left, right) not in summed:
            found.append((AT_MOST, codes[left], codes[right], -1, 1, 0, 0, windows, broken))
    return Relations.of(found)


def mined_ranges(counts: Counts, weights: Counts) -> Relations:
    """Pairs whose counts go together within a usual range: what windows obey that cut through pairs."""
    counts, weights, codes = _looked_at(counts, weights)
    total = weights.sum()
    caps = np.asarray([_quantile(column, weights, 1 - EDGE) for column in counts.T])
    clipped = np.minimum(counts, caps).astype(np.float64) if len(codes) else counts.astype(np.float64)
    mean = weights @ clipped / max(total, 1)
    centred = clipped - mean
    covariance = (centred * weights[:, None]).T @ centred / max(total, 1)
    variance = np.diag(covariance)
    found: list[tuple[float, ...]] = []
    busy = np.flatnonzero(mean >= BALANCED_MEAN)
    tied: set[int] = set()
    for left, right in _close_pairs(busy, mean, variance, covariance):
        if left in tied:
            continue
        factor = _plain(mean[left] / mean[right])
        concerned = (counts[:, left] > 0) | (counts[:, right] > 0)
        windows = int(weights[concerned].sum())
        if windows < BALANCED_WINDOWS:
            continue
        ratio = balance(counts[concerned, left], counts[concerned, right], factor)
        low, high = (_quantile(ratio, weights[concerned], edge) for edge in (EDGE, 1 - EDGE))
        outside = int(weights[concerned][(ratio < low) | (ratio > high)].sum())
        found.append((BALANCED, codes[left], codes[right], -1, factor, low, high, windows, outside))
        tied.add(left)
    return Relations.of(found)


def _looked_at(counts: Counts, weights: Counts) -> tuple[Counts, Counts, Counts]:
    """The heaviest rows, and the columns of templates common enough to relate."""
    rows = np.argsort(-weights, kind="stable")[:MOST_ROWS]
    mass = weights @ (counts > 0) if len(weights) else np.zeros(counts.shape[1], dtype=np.int64)
    common = np.argsort(-mass, kind="stable")[:MOST_TEMPLATES]
    common = np.sort(common[mass[common] >= LEAST])
    return counts[np.ix_(rows, common)], weights[rows], common


def _equal_to_a_leader(
    counts: Counts, weights: Counts, present: NDArray[np.bool_], member: int, leaders: list[int]
) -> tuple[int, int, int, int, int] | None:
    """The leader that the member equals, up to a small factor on either side."""
    for leader in leaders:
        for left, right in ((member, leader), (leader, member)):
            both = weights @ counts[:, right]
            factor = round(float(weights @ counts[:, left]) / max(float(both), 1.0))
            if not 1 <= factor <= MOST_FACTOR:
                continue
            concerned = present[:, left] | present[:, right]
            windows = int(weights[concerned].sum())
            broken = int(weights[counts[:, left] != factor * counts[:, right]].sum())
            if windows >= LEAST and broken <= (1 - SUPPORT) * windows:
                return left, right, factor, windows, broken
    return None


def _bounds(
    counts: Counts, weights: Counts, present: NDArray[np.bool_], leaders: list[int]
) -> list[tuple[int, int, float, int, int]]:
    """Pairs of leaders with n_i <= n_j: i, j, share met with equality, windows, broken."""
    found: list[tuple[int, int, float, int, int]] = []
    for left in leaders:
        rows = np.flatnonzero(present[:, left])
        mass = weights[rows]
        windows = int(mass.sum())
        if windows < LEAST:
            continue
        mine, others = counts[rows, left][:, None], counts[rows][:, leaders]
        broken, met = mass @ (mine > others), mass @ (mine == others)
        found += [
            (left, leaders[at], float(met[at] / windows), windows, int(broken[at]))
            for at in np.flatnonzero(broken <= (1 - SUPPORT) * windows)
            if leaders[at] != left
        ]
    return found


def _sums(
    counts: Counts,
    weights: Counts,
    present: NDArray[np.bool_],
    bounds: list[tuple[int, int, float, int, int]],
) -> list[tuple[int, int, int, int, int]]:
    """Triples of leaders with n_i + n_j = n_k: i, j, k, windows, broken."""
    parts: dict[int, list[int]] = {}
    for left, right, *_ in sorted(bounds, key=lambda bound: -bound[3]):
        parts.setdefault(right, []).append(left)
    found = []
    for whole, candidates in sorted(parts.items()):
        members = candidates[:PARTS]
        for place, left in enumerate(members):
            for right in members[place + 1 :]:
                concerned = present[:, whole] | present[:, left] | present[:, right]
                windows = int(weights[concerned].sum())
                broken = int(weights[counts[:, left] + counts[:, right] != counts[:, whole]].sum())
                if broken <= (1 - SUPPORT) * windows:
                    found.append((left, right, whole, windows, broken))
    return found


def _close_pairs(busy: Counts, mean: Floats, variance: Floats, covariance: Floats) -> list[tuple[int, int]]:
    """Pairs whose difference varies far less than independent counts would, closest first."""
    found = []
    for left in busy:
        for right in busy:
            ratio = mean[left] / mean[right]
            if left == right or mean[left] > mean[right] or not RATIOS[0] <= ratio <= RATIOS[1]:
                continue
            factor = _plain(ratio)
            spread = variance[left] - 2 * factor * covariance[left, right] + factor**2 * variance[right]
            independent = mean[left] + factor**2 * mean[right]
            if spread < CLOSER * independent and (left < right or mean[left] < mean[right]):
                found.append((float(spread / independent), int(left), int(right)))
    return [(left, right) for _, left, right in sorted(found)]


def _plain(ratio: float) -> float:
    """The ratio, or the small fraction that it all but is."""
    for below in (1, 2, 3, 4):
        if abs(ratio - round(ratio * below) / below) < NEAR and round(ratio * below):
            return round(ratio * below) / below
    return float(ratio)


def _quantile(values: NDArray[np.int64] | Floats, weights: Counts, share: float) -> float:
    """The value that the given share of the weight does not exceed."""
    order = np.argsort(values, kind="stable")
    mass = np.cumsum(weights[order])
    if not len(mass):
        return 0.0
    return float(values[order][min(np.searchsorted(mass, share * mass[-1]), len(mass) - 1)])
