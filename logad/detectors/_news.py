"""How rare first sightings are, in a system and in each of its services."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from logad.contracts import Scores
from logad.detectors._history import NEVER, SLOT, WARNING, History, Moments
from logad.windows import Windows

MEMORY_WINDOWS: Final = 576.0  # half-life of the rate of first sightings: two days of five minutes
BORROWED: Final = 30.0  # windows of other services that speak for one; chosen on plants in TrainTicket
YOUNG: Final = 50  # windows of a service in which all that merely informs may be new
TOGETHER: Final = 3 * SLOT  # what is new in a service so close in time is one thing; of shop seeds 0-3


@dataclass(frozen=True, slots=True)
class Sightings:
    """First sightings: template `codes[i]` in window `rows[i]` at `moments[i]`, `lines[i]` times there."""

    rows: NDArray[np.int64]
    codes: NDArray[np.int64]
    moments: Moments
    lines: NDArray[np.int64]

    @classmethod
    def of(cls, windows: Windows, moments: Moments, history: History) -> "Sightings":
        """Windows that hold a template's first event of all."""
        places = np.flatnonzero(moments == history.first[windows.events])
        codes, first = np.unique(windows.events[places], return_index=True)
        places = places[first]
        rows = windows.owner[places]
        lines = [
            int((windows.events[windows.span(row)] == code).sum())
            for row, code in zip(rows.tolist(), codes.tolist(), strict=True)
        ]
        return cls(rows, codes.astype(np.int64), moments[places], np.asarray(lines, dtype=np.int64))

    def only(self, chosen: NDArray[np.bool_]) -> "Sightings":
        """Some of them."""
        return Sightings(*(getattr(self, name)[chosen] for name in self.__slots__))


def grave_rate(history: History, windows: Windows, moments: Moments) -> Scores:
    """The share of earlier windows that brought a first sighting at least as grave as a warning.

    Earlier windows fade with a half-life of MEMORY_WINDOWS; (n + .5) / (windows + 1).
    """
    grave = np.flatnonzero(windows.severities >= WARNING)
    homes = np.unique(history.home[grave][history.home[grave] < NEVER])
    fade = 0.5 ** (1 / MEMORY_WINDOWS)
    begins = np.searchsorted(history.windows, moments, side="right") - 1
    ranks = np.searchsorted(history.windows, homes)
    ages = begins[:, None] - ranks[None, :]
    seen = np.where(ages > 0, fade ** np.maximum(ages, 0), 0.0).sum(axis=1)
    past = (1 - fade**begins) / (1 - fade)
    rate: Scores = (seen + 0.5) / (past + 1)
    return rate


def plain_rate(history: History, windows: Windows, codes: NDArray[np.int64]) -> Scores:
    """How likely each first sight of a template that merely informs was, in a window of its service.

    The share of windows that hold such a template which stands in no other window (the estimate of Good and
    Turing 1953, by incidence as in Chao and Lee 1992): (n + .5) / (windows + 1) of the service; less where
    that of the other services is less, BORROWED of whose windows speak for it. In a young service it is 1.
    """
    severities = windows.severities
    plain = np.flatnonzero((severities < WARNING) & (history.home[: len(severities)] < NEVER))
    moments, keepers = history.home[codes], history.keeper[codes]
    once, past = _once(history, plain, moments), np.searchsorted(history.windows, moments)
    rate = np.ones(len(codes))
    for keeper in np.unique(keepers).tolist():
        mine = keepers == keeper
        own = _once(history, plain[history.keeper[plain] == keeper], moments[mine])
        many = np.searchsorted(history.windows[history.owners == keeper], moments[mine])
        others = (once[mine] - own + 0.5) / (past[mine] - many + 1)
        usual = np.minimum((own + 0.5) / (many + 1), (own + BORROWED * others) / (many + BORROWED))
        rate[mine] = np.where(many < YOUNG, 1.0, usual)
    return rate


def _once(history: History, codes: NDArray[np.int64], moments: Moments) -> NDArray[np.int64]:
    """How many of the templates stood in just one window before each moment."""
    begun, repeated = np.sort(history.home[codes]), np.sort(history.second[codes])
    return np.searchsorted(begun, moments) - np.searchsorted(repeated, moments)


def alone(history: History, codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether nothing else was new in the service of each template's first sight, then or shortly before."""
    known = np.flatnonzero(history.home < NEVER)
    order = known[np.lexsort((history.home[known], history.keeper[known]))]
    gaps = np.diff(history.home[order])
    same = np.diff(history.keeper[order]) == 0
    followed = np.zeros(len(history.home), dtype=np.bool_)
    followed[order[1:][same & (gaps <= TOGETHER)]] = True
    followed[order[:-1][same & (gaps == 0)]] = True
    lonely: NDArray[np.bool_] = ~followed[codes]
    return lonely
