"""What stands out in windows, what came of it before, and whether it comes back."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from logad.detectors._baseline import Floats, Ints

Flags = NDArray[np.bool_]

DAY: Final = 86_400_000_000  # microseconds
EPISODE: Final = 12  # windows within which exceedances belong together
LASTING: Final = 24  # windows of which EPISODE that stand out make the next one no news
NOTABLE: Final = 3.0  # -ln p above which a count is an exceedance
CERTAIN: Final = 20.0  # -ln p above which it is hardly part of normal life
UP, DOWN, SUM, SILENT, OVERDUE, ORDER, PARTNER, BEYOND = 1, -1, 2, 0, 3, 4, 5, 6
"""What a finding is: more or fewer lines than usual, more over several windows, none of a service, none of
what comes at regular times, steps in another order, a template that comes less often beside its partner than
usual, or more often."""


@dataclass(frozen=True, slots=True)
class Found:
    """Counts that stand out: count i is of series `series[i]` in window `rows[i]`."""

    rows: Ints
    series: Ints
    values: Ints
    means: Floats
    surprise: Floats  # -ln p of the negative binomial
    times: Ints  # when the window ends, microseconds

    def strength(self, side: int) -> Floats:
        """How many times more, or fewer, than usual; one line is added to both."""
        ratio: Floats = (self.values + 1) / (self.means + 1)
        return 1 / ratio if side in {DOWN, PARTNER} else ratio

    @classmethod
    def none(cls) -> "Found":
        """Nothing."""
        flat, real = np.zeros(0, dtype=np.int64), np.zeros(0)
        return cls(flat, flat, flat, real, real, flat)

    @classmethod
    def joined(cls, parts: "list[Found]") -> "Found":
        """All counts of the parts."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))

    def only(self, chosen: Flags) -> "Found":
        """Some of the counts."""
        return Found(*(getattr(self, name)[chosen] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Judged:
    """What is strange about some windows: finding i is about window `rows[i]`."""

    rows: Ints
    series: Ints
    direction: Ints
    values: Floats  # lines; seconds for what is silent or overdue
    means: Floats  # lines; seconds of the longest silence before
    tails: Floats  # probability, for all series of all services together

    @classmethod
    def none(cls) -> "Judged":
        """Nothing."""
        flat, real = np.zeros(0, dtype=np.int64), np.zeros(0)
        return cls(flat, flat, flat, real, real, real)

    @classmethod
    def of(cls, found: Found, direction: int, tails: Floats) -> "Judged":
        """Counts that stand out, with their tails."""
        many = np.full(len(found.rows), direction)
        return cls(found.rows, found.series, many, found.values.astype(np.float64), found.means, tails)

    @classmethod
    def joined(cls, parts: "list[Judged]") -> "Judged":
        """All findings of the parts."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))


def exceedances(found: Found, width: int, ages: Ints) -> Floats:
    """Share and mean excess of counts with surprise above NOTABLE, (series, 2), shrunk to the model's."""
    weight = np.where(found.surprise > CERTAIN, 0.1, 1.0) * (found.surprise > NOTABLE)
    excess = np.clip(found.surprise - NOTABLE, 0, 15)
    many = np.bincount(found.series, weight, minlength=width)
    total = np.bincount(found.series, weight * excess, minlength=width)
    return np.stack([(many + 10) / (ages + 200), np.maximum(1, (total + 22.5) / (many + 15))], axis=1)


def recalibrated(surprise: Floats, rate: Floats) -> Floats:
    """Surprise in nats after the exceedances of its series (share and scale, (findings, 2))."""
    share, scale = rate.T
    drawn = -np.log(share) + (surprise - NOTABLE) / scale
    nats: Floats = np.where(surprise > NOTABLE, drawn, surprise)
    return nats


def comes_back(  # noqa: PLR0913, PLR0917  (one count, what came before it, and how both are to be read)
    past: Floats, found: Found, episodes: Flags, place: int, side: int, span: int
) -> bool:
    """Whether the like stood at this time of another day, in two other episodes, or for the last hour.

    `past` is (series, time, value, strength) of earlier episodes; those of `found` count too.
    """
    now, value, strength = found.times[place], found.values[place], found.strength(side)
    mine = past[0] == found.series[place]
    earlier = (found.series == found.series[place]) & (found.times < now) & episodes
    times = np.concatenate([past[1][mine], found.times[earlier]])
    values = np.concatenate([past[2][mine], found.values[earlier]])
    strengths = np.concatenate([past[3][mine], strength[earlier]])
    apart = np.abs(times - now)
    offset = np.abs((times - now + DAY / 2) % DAY - DAY / 2)
    like = values <= 1.5 * value + 1 if side in {DOWN, PARTNER} else values >= value / 2
    if (like & (offset <= 2 * span) & (apart > DAY / 2)).any():
        return True
    going_on = np.unique(times[(apart <= LASTING * span) & (times < now)])
    if len(going_on) >= EPISODE:  # that is how things are now, until the next fit learns it
        return True
    if side in {PARTNER, BEYOND}:
        return False
    others = np.unique(times[(strengths >= strength[place] / 2) & (apart > EPISODE * span)])
    return bool((np.diff(others) > EPISODE * span).any())
