"""How many lines a window of a series usually has: level, hour of the day and dispersion, robustly."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from logad.contracts import Scores

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

HOURS: Final = 24
ROUNDS: Final = 4  # rounds of clipping, then estimating again
CLIP_SD: Final = 4.0  # counts beyond so many standard deviations teach no more than that
ORDINARY: Final = 0.95  # counts up to this quantile are never clipped
PRIOR_PHI: Final = 0.25
PRIOR_WINDOWS: Final = 24.0
LEAST_PHI: Final = 0.002
MOST_CLUSTERED: Final = 200.0
TWO_DAYS: Final = 2 * 86_400_000_000  # microseconds: an hour of the day needs a second look


@dataclass(frozen=True, slots=True)
class Counts:
    """Non-zero counts of series in windows; zeros are implied."""

    series: Ints  # (counts,)
    hours: Ints  # (counts,): hour of the day of the window
    values: Ints  # (counts,): at least 1
    windows: Ints  # (series, 24): how many windows of each hour there were for each series to stand in


@dataclass(frozen=True, slots=True)
class Baseline:
    """The mean of series s at hour h is `means[s, h]`, the variance mean + phi mean^2: negative binomial.

    Lines that come together make the variance a multiple of the mean, busy times make it grow with the mean's
    square; phi[s, h] holds both.
    """

    means: Floats  # (series, 24)
    phi: Floats  # (series, 24), uncertainty of the mean included
    clustered: Floats  # (series,): variance over mean, the lines that come together

    def surprise_above(self, series: Ints, hours: Ints, values: Ints) -> Scores:
        """-ln of the mid-p upper tail at the values."""
        return -np.log(self._mid_tail(series, hours, values, upper=True))

    def surprise_below(self, series: Ints, hours: Ints, values: Ints) -> Scores:
        """-ln of the mid-p lower tail at the values."""
        return -np.log(self._mid_tail(series, hours, values, upper=False))

    def deviation(self, series: Ints, hours: Ints) -> Floats:
        """The standard deviation of each series at each hour."""
        mean = self.means[series, hours]
        deviation: Floats = np.sqrt(mean + self.phi[series, hours] * mean**2)
        return deviation

    def _mid_tail(self, series: Ints, hours: Ints, values: Ints, *, upper: bool) -> Floats:
        return mid_tail(self.means[series, hours], self.phi[series, hours], values, upper=upper)


def mid_tail(mean: Floats, phi: Floats, values: Ints, *, upper: bool) -> Floats:
    """P(X > x) + P(X = x) / 2 of a negative binomial, or the same below, by the incomplete beta function."""
    from scipy.special import betainc  # noqa: PLC0415  (costs .3 s to import, needed rarely)

    size = 1 / phi
    success = mean / (size + mean)
    at_least = np.where(values > 0, betainc(np.maximum(values, 1), size, success), 1.0)
    more = betainc(values + 1, size, success)
    if upper:
        tail = (at_least + more) / 2
    else:
        at_most = betainc(size, values + 1, 1 - success)
        less = np.where(values > 0, betainc(size, np.maximum(values, 1), 1 - success), 0.0)
        tail = (at_most + less) / 2
    floored: Floats = np.clip(tail, 1e-300, 1.0)
    return floored


def learned(counts: Counts, spanned: int) -> Baseline:
    """The baseline of the counts over `spanned` microseconds; bursts in up to 5 % of windows do not move it.

    The dispersion is shrunk towards PRIOR_PHI with the weight of PRIOR_WINDOWS windows, and widened by the
    uncertainty of the mean, (1 / mean + phi) / windows: a negative binomial prediction.
    """
    width, windows = len(counts.windows), counts.windows
    total = np.maximum(windows.sum(axis=1), 1)
    ordinary = _quantiles(counts, total)
    cap = ordinary.astype(np.float64)
    by_hour = spanned >= TWO_DAYS
    cell = counts.series * HOURS + counts.hours
    means, phi = np.zeros((width, HOURS)), np.full(width, PRIOR_PHI)
    for _ in range(ROUNDS):
        clipped = np.minimum(counts.values, cap[counts.series])
        first = np.bincount(cell, clipped, minlength=width * HOURS).reshape(width, HOURS)
        second = np.bincount(cell, clipped**2, minlength=width * HOURS).reshape(width, HOURS)
        level = np.maximum(first.sum(axis=1), 0.5) / total
        together = 1 + np.minimum(phi * level, MOST_CLUSTERED)
        prior = 2 * together[:, None]
        ratio = (first + prior) / (level[:, None] * windows + prior) if by_hour else np.ones((width, HOURS))
        means = level[:, None] * ratio
        squares = (second - 2 * means * first + windows * means**2).sum(axis=1)
        excess = squares - (windows * means).sum(axis=1)
        weight = total * np.minimum(level**2, 1)
        phi = (excess * np.minimum(1 / level**2, 1) + PRIOR_PHI * PRIOR_WINDOWS) / (weight + PRIOR_WINDOWS)
        phi = np.maximum(phi, LEAST_PHI)
        cap = np.maximum(ordinary, level + CLIP_SD * np.sqrt(level + phi * level**2) + 2)
    level = means.mean(axis=1)
    excess = second - 2 * means * first + windows * means**2 - windows * means
    uncertain = (1 / level + phi) / total
    return Baseline(
        means,
        _by_hour(means, excess, windows, phi) + uncertain[:, None],
        1 + np.minimum(phi * level, MOST_CLUSTERED),
    )


def _by_hour(means: Floats, excess: Floats, windows: Ints, phi: Floats) -> Floats:
    """The dispersion at each hour: at quiet ones lines that come together weigh more.

    `excess` / (windows mean) is a line over the mean: what comes together, and phi times the mean. It is
    drawn with the dispersion of the whole day as PRIOR_WINDOWS windows at the mean, and never less than it.
    """
    ratio = np.divide(excess, windows * means, out=np.zeros_like(means), where=windows > 0)
    weight = windows * np.minimum(means, 1.0)
    total = weight.sum(axis=1, keepdims=True) + PRIOR_WINDOWS
    level = means.mean(axis=1, keepdims=True)
    center = ((weight * means).sum(axis=1, keepdims=True) + PRIOR_WINDOWS * level) / total
    mean_ratio = (weight * ratio).sum(axis=1, keepdims=True) + PRIOR_WINDOWS * phi[:, None] * level
    mean_ratio /= total
    along = (weight * (means - center) ** 2).sum(axis=1, keepdims=True) + PRIOR_WINDOWS * level**2
    slope = (weight * (means - center) * ratio).sum(axis=1, keepdims=True) + PRIOR_WINDOWS * level**2 * phi[
        :, None
    ]
    slope = np.clip(slope / along, 0.0, phi[:, None])
    together = np.maximum(mean_ratio - slope * center, 0.0)
    dispersion: Floats = np.maximum(phi[:, None], slope + together / means)
    return dispersion


def _quantiles(counts: Counts, total: Ints) -> Ints:
    """The ORDINARY quantile of each series, its windows without a line counted as 0."""
    width = len(counts.windows)
    order = np.lexsort((counts.values, counts.series))
    ends = np.cumsum(np.bincount(counts.series, minlength=width))
    place = ends - (total - np.floor(ORDINARY * (total - 1)).astype(np.int64))
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    if not len(order):
        return np.zeros(width, dtype=np.int64)
    values = counts.values[order][np.clip(place, 0, len(order) - 1)]
    return np.where(place >= starts, values, 0)
