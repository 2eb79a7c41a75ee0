"""Templates of a service that keep step with another, and windows in which one of them stays behind."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from logad.contracts import State
from logad.detectors._baseline import Floats, Ints

LEAST: Final = 0.2  # lines of a partner for each of the other
MOST: Final = 1.05
CLOSE: Final = 0.25  # of the variance of independent lines that their difference may have
LEAST_VARIANCE: Final = 0.05
OFTEN: Final = 0.5  # lines a window
WINDOWS: Final = 144  # that must have been seen
MISSING: Final = 4  # lines that stay out, at least ...
RATIO: Final = 0.75  # ... so that at most this share comes
LONGER: Final = 1.5  # times the deficit that all but one in a thousand windows had
MANY: Final = 32  # series of a service that are compared


@dataclass(frozen=True, slots=True)
class Partners:
    """Pair i: `behind[i]` comes `ratio[i]` times as often as `ahead[i]`."""

    behind: Ints
    ahead: Ints
    ratio: Floats
    spread: Floats  # variance of the difference over the lines expected
    usual: Floats  # standard deviations that the deficit of a window hardly ever exceeds

    @classmethod
    def none(cls) -> "Partners":
        """Of nothing."""
        flat = np.zeros(0, dtype=np.int64)
        return cls(flat, flat, np.zeros(0), np.zeros(0), np.zeros(0))

    def state(self) -> State:
        """The arrays, named `partner_...`."""
        return {f"partner_{name}": getattr(self, name) for name in self.__slots__}

    @classmethod
    def restored(cls, state: State) -> "Partners":
        """From what `state` gave."""
        return cls(*(state[f"partner_{name}"] for name in cls.__slots__))


def partners_of(tables: "list[tuple[Ints, Ints]]") -> Partners:
    """The closest partner of each series; a table is the series of a service and (windows, series) counts."""
    found: list[tuple[int, int, float, float, float]] = []
    for series, counts in tables:
        means = counts.mean(axis=0) if len(counts) else np.zeros(len(series))
        often = np.flatnonzero(means >= OFTEN)
        often = often[np.argsort(-means[often], kind="stable")][:MANY]
        if len(counts) < WINDOWS or len(often) < 2:  # noqa: PLR2004  (a pair)
            continue
        x = counts[:, often].astype(np.float64)
        total = x.sum(axis=0)
        ratio = total[:, None] / total[None, :]
        gram = x.T @ x
        own = np.diag(gram)
        squares = own[:, None] - 2 * ratio * gram + ratio**2 * own[None, :]
        spread = squares / total[:, None]
        spread[(ratio < LEAST) | (ratio > MOST) | np.eye(len(often), dtype=np.bool_)] = np.inf
        for behind in range(len(often)):
            ahead = int(np.argmin(spread[behind]))
            if spread[behind, ahead] < CLOSE:
                rate = float(ratio[behind, ahead])
                wide = max(float(spread[behind, ahead]), LEAST_VARIANCE)
                lag = deviations(x[:, behind], rate * x[:, ahead], wide)
                usual = max(float(np.quantile(lag, 0.999)), 0.0)
                found.append((int(series[often[behind]]), int(series[often[ahead]]), rate, wide, usual))
    if not found:
        return Partners.none()
    behind_, ahead_, *rest = zip(*found, strict=True)
    return Partners(np.asarray(behind_), np.asarray(ahead_), *(np.asarray(column) for column in rest))


def deviations(count: Floats, expected: Floats, spread: Floats | float) -> Floats:
    """By how many standard deviations lines are missing."""
    lag: Floats = (expected - count) / np.sqrt(spread * (expected + 1))
    return lag


def left_behind(partners: Partners, at: int, count: Ints, ahead: Ints) -> tuple[Ints, Floats, Floats]:
    """In which entries the partner of pair `at` stays out: entry, lines expected, -ln p."""
    expected = partners.ratio[at] * ahead
    lag = deviations(count.astype(np.float64), expected, partners.spread[at])
    few = (count <= RATIO * expected) & (expected - count >= MISSING)
    rows = np.flatnonzero(few & (lag > LONGER * partners.usual[at]))
    return rows, expected[rows], lag[rows] ** 2 / 2
