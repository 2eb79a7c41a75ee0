"""Templates of a service that keep step with another, and windows in which they lose it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from logad.contracts import State
from logad.detectors._baseline import Floats, Ints, mid_tail

MOST: Final = 5.0  # lines of a template for each of its partner, or the reverse
CLOSE: Final = 0.2  # of the variance of independent lines that their difference may have
LEAST_VARIANCE: Final = 0.02
WINDOWS: Final = 20  # with either that must have been seen
UNLIKE: Final = 0.03  # share of these windows that does not tell how close they are
MATES: Final = 3  # partners of a series, at most: the one may be missing with the other
OFF: Final = 3  # lines missing or too many, at least ...
RATIO: Final = 0.75  # ... so that at most this share comes, or is expected
LONGER: Final = 1.5  # times the deviation that all but RARE of the windows ...
RARE: Final = 0.03
FEW: Final = 1  # ... and so many more did not exceed
PHI: Final = 0.1  # dispersion of the lines by which partners differ
MANY: Final = 48  # series of a service that are compared


@dataclass(frozen=True, slots=True)
class Partners:
    """Pair i: `series[i]` comes `ratio[i]` times as often as `beside[i]`."""

    series: Ints  # each at most MATES times
    beside: Ints
    ratio: Floats
    spread: Floats  # variance of the difference over that of independent lines
    least: Floats  # standard deviations by which it is hardly ever too low ...
    most: Floats  # ... or too high

    @classmethod
    def none(cls) -> "Partners":
        """Of nothing."""
        flat = np.zeros(0, dtype=np.int64)
        return cls(flat, flat, np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0))

    def state(self) -> State:
        """The arrays, named `partner_...`."""
        return {f"partner_{name}": getattr(self, name) for name in self.__slots__}

    @classmethod
    def restored(cls, state: State) -> "Partners":
        """From what `state` gave."""
        return cls(*(state[f"partner_{name}"] for name in cls.__slots__))


@dataclass(frozen=True, slots=True)
class Table:
    """The counts of some series of one service in all of its windows."""

    series: Ints
    rows: Ints  # of the windows
    counts: Ints  # (windows, series)


def partners_of(tables: Iterable[Table]) -> Partners:
    """The closest partners of each series that has close ones."""
    found: list[tuple[int, int, float, float, float, float]] = []
    for table in tables:
        filled = (table.counts > 0).sum(axis=0)
        often = np.flatnonzero(filled >= WINDOWS)
        often = often[np.argsort(-filled[often], kind="stable")][:MANY]
        if len(often) < 2:  # noqa: PLR2004  (a pair)
            continue
        x = table.counts[:, often].astype(np.float64)
        alike = _alike(x)
        for mine in range(len(often)):
            candidates = np.argsort(-alike[mine], kind="stable")[: min(MATES, len(often) - 1)]
            for other in candidates.tolist():
                spread, ratio = _closeness(x[:, mine], x[:, other])
                if spread >= CLOSE:
                    continue
                wide = max(spread, LEAST_VARIANCE)
                off = np.sort(deviations(x[:, mine], x[:, other], ratio, wide))
                rank = min(FEW + int(RARE * len(off)), len(off) - 1)
                names = int(table.series[often[mine]]), int(table.series[often[other]])
                found.append((*names, ratio, wide, float(-off[rank]), float(off[-1 - rank])))
    if not found:
        return Partners.none()
    series, beside, *rest = zip(*found, strict=True)
    return Partners(np.asarray(series), np.asarray(beside), *(np.asarray(column) for column in rest))


def _alike(x: Floats) -> Floats:
    """Correlation of the logarithms of counts, in which one burst weighs little; -1 with themselves."""
    logs = np.log1p(x)
    logs -= logs.mean(axis=0)
    gram = logs.T @ logs
    own = np.sqrt(np.maximum(np.diag(gram), 1e-12))
    alike: Floats = gram / np.outer(own, own)
    np.fill_diagonal(alike, -1.0)
    return alike


def _closeness(mine: Floats, other: Floats) -> tuple[float, float]:
    """How much of the variance of independent lines is left beside a partner, and the ratio to it."""
    filled = (mine > 0) | (other > 0)
    mine, other = mine[filled], other[filled]
    both = (mine > 0) & (other > 0)
    if not both.any():
        return np.inf, 1.0
    ratio = float(np.median(mine[both] / other[both]))
    kept = np.argsort(deviations(mine, other, ratio, 1.0) ** 2, kind="stable")
    kept = kept[: len(kept) - 1 - int(UNLIKE * len(kept))]
    mine, other = mine[kept], other[kept]
    total = float(other.sum())
    if total <= 0:
        return np.inf, 1.0
    ratio = float(mine.sum()) / total
    if not 1 / MOST <= ratio <= MOST:
        return np.inf, 1.0
    return float(((mine - ratio * other) ** 2).sum() / (mine.sum() + ratio**2 * total)), ratio


def deviations(count: Floats, beside: Floats, ratio: Floats | float, spread: Floats | float) -> Floats:
    """By how many standard deviations lines are too many, or missing."""
    expected = ratio * beside
    off: Floats = (count - expected) / np.sqrt(spread * (1 + ratio) * (expected + 1))
    return off


@dataclass(frozen=True, slots=True)
class Unlike:
    """Windows in which a series is too far off from its partner."""

    rows: Ints
    series: Ints
    values: Ints
    expected: Floats
    surprise: Floats  # -ln p


def out_of_step(partners: Partners, tables: Iterable[Table], *, more: bool) -> Iterator[Unlike]:
    """Where series come more often beside their partners than they should, or less often."""
    for table in tables:
        mine = np.flatnonzero(np.isin(partners.series, table.series))
        if not len(mine):
            continue
        at, beside = (
            np.searchsorted(table.series, part[mine]) for part in (partners.series, partners.beside)
        )
        counts = table.counts[:, at]
        others, ratio = table.counts[:, beside].astype(np.float64), partners.ratio[mine]
        expected = ratio * others
        off = counts - expected if more else expected - counts
        less, most = (expected, counts) if more else (counts, expected)
        places, pair = np.nonzero((off >= OFF) & (less <= RATIO * most))
        lag = deviations(
            counts[places, pair].astype(np.float64),
            others[places, pair],
            ratio[pair],
            partners.spread[mine][pair],
        )
        usual = (partners.most if more else partners.least)[mine][pair]
        far = np.abs(lag) > LONGER * usual
        places, pair = places[far], pair[far]
        differ = partners.spread[mine][pair] * (1 + ratio[pair]) * (expected[places, pair] + 1)
        lines = np.round(off[places, pair]).astype(np.int64)
        yield Unlike(
            table.rows[places],
            partners.series[mine][pair],
            counts[places, pair],
            expected[places, pair],
            -np.log(mid_tail(differ, PHI + 0 * differ, lines, upper=True)) if len(lines) else differ,
        )
