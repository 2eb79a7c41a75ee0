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
MOST_TEMPLATES: Final = 120  # the most common ones, whose exact relations are looked for
MOST_BALANCED: Final = 400  # the same for ranges, which are mined in one matrix product
MOST_ROWS: Final = 3000  # distinct count vectors looked at, the heaviest
MOST_FACTOR: Final = 4
PARTS: Final = 12  # templates looked at as parts of one sum
HALF: Final = 0.5  # a bound that is met with equality in fewer windows says little
CLOSER: Final = 0.25  # variance of a difference against that of independent Poisson counts
MOST_RATIO: Final = 5.0
BALANCED_WINDOWS: Final = 48  # windows that hold a template before it is held to a range
NEAR: Final = 0.02  # a ratio so near to a small fraction is meant to be it
EDGE: Final = 0.005  # quantile at each end of the usual range ...
EDGE_SD: Final = 2.58  # ... which a normal deviate has so many standard deviations out
LEAST_WIDTH: Final = 0.25  # of a usual range
LINES: Final = 4  # missing at least before a balance is broken ...
SHARE: Final = 0.75  # ... and no more than this share of what the other side calls for
MOST_NATS: Final = 50.0


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

        An exact relation weighs -ln of how rarely it is broken; a range the more, the farther outside.
        """
        left, right = counts[:, self.left[at]], counts[:, self.right[at]]
        if self.kind[at] == BALANCED:
            return self._imbalance(left, right, at)
        if self.kind[at] == EQUAL:
            broken = left != self.factor[at] * right
        elif self.kind[at] == AT_MOST:
            broken = left > right
        else:
            broken = left + right != counts[:, self.whole[at]]
        rarely = -np.log((self.broken[at] + 0.5) / (self.windows[at] + 1))
        return np.where(broken, rarely, 0.0)

    def _imbalance(self, left: Counts, right: Counts, at: int) -> Floats:
        """Half the square of how many deviations a balance is off, where it leaves its usual range."""
        ratio, called = balance(left, right, self.factor[at]), self.factor[at] * right
        unit = max(self.high[at] - self.low[at], LEAST_WIDTH) / (2 * EDGE_SD)
        over = np.maximum(ratio - self.high[at], self.low[at] - ratio)
        fewer, more = np.minimum(left, called), np.maximum(left, called)
        broken = (over > 0) & (more - fewer >= LINES) & (fewer <= SHARE * more)
        return np.where(broken, np.minimum((over / unit + EDGE_SD) ** 2 / 2, MOST_NATS), 0.0)


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
    counts, weights, codes = _looked_at(counts, weights, MOST_TEMPLATES)
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
    counts, weights, codes = _looked_at(counts, weights, MOST_BALANCED)
    total = weights.sum()
    caps = np.asarray([_quantile(column[column > 0], weights[column > 0], 1 - EDGE) for column in counts.T])
    clipped = np.minimum(counts, caps).astype(np.float64) if len(codes) else counts.astype(np.float64)
    mean = weights @ clipped / max(total, 1)
    centred = clipped - mean
    covariance = (centred * weights[:, None]).T @ centred / max(total, 1)
    variance = np.diag(covariance)
    found: list[tuple[float, ...]] = []
    busy = np.flatnonzero(weights @ (counts > 0) >= BALANCED_WINDOWS)
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


def _looked_at(counts: Counts, weights: Counts, most: int) -> tuple[Counts, Counts, Counts]:
    """The heaviest rows, and the columns of templates common enough to relate."""
    lot = np.random.default_rng(0).permutation(len(weights))  # equally heavy rows from all over the input
    rows = np.lexsort((lot, -weights))[:MOST_ROWS]
    mass = weights @ (counts > 0) if len(weights) else np.zeros(counts.shape[1], dtype=np.int64)
    common = np.argsort(-mass, kind="stable")[:most]
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
    means, variances = mean[busy], variance[busy]
    factor = means[:, None] / means[None, :]
    spread = variances[:, None] - 2 * factor * covariance[np.ix_(busy, busy)] + factor**2 * variances[None, :]
    independent = means[:, None] + factor**2 * means[None, :]
    earlier = np.arange(len(busy))[:, None] < np.arange(len(busy))[None, :]
    close = (spread < CLOSER * independent) & (factor <= MOST_RATIO)
    close &= (factor > 1) | ((factor == 1) & earlier)
    left, right = np.nonzero(close)
    order = np.argsort((spread / independent)[left, right], kind="stable")
    return [(int(busy[one]), int(busy[other])) for one, other in zip(left[order], right[order], strict=True)]


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
