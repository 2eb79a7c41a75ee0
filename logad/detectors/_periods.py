"""What comes at regular times, and when it is overdue."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from logad.contracts import State
from logad.detectors._baseline import Floats, Ints
from logad.windows import NO_TIME, Windows

FEWEST: Final = 20  # gaps by which a series is called regular
LEAST_PERIOD: Final = 5e6  # microseconds
LONG_PERIOD: Final = 1.8e9
SHORTEST, LONGEST = 0.7, 1.4  # times the median, of the gaps but a tenth
LATE: Final = 2.5  # periods after which it is overdue ...
LATE_LONG: Final = 1.6  # ... or so many, of a long one
LONGER: Final = 1.5  # times the longest gap but RARE
RARE: Final = 0.001  # of the gaps, and one at least, may be longer: there the line was missing
ALARMS: Final = 6  # windows for which that is news


@dataclass(frozen=True, slots=True)
class Periods:
    """The regular series and how long they may keep silent."""

    series: Ints
    limits: Floats  # microseconds without a line after which one is overdue
    waited: Floats  # microseconds since its last line at the end of what was seen; NaN where it never came
    ended: int  # the end of the last window that was seen

    @classmethod
    def none(cls) -> "Periods":
        """Of nothing."""
        return cls(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), int(NO_TIME))

    def state(self) -> State:
        """The arrays, named `period_...`."""
        return {f"period_{name}": np.asarray(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def restored(cls, state: State) -> "Periods":
        """From what `state` gave."""
        arrays = {name: state[f"period_{name}"] for name in cls.__slots__ if name != "ended"}
        return cls(**arrays, ended=int(state["period_ended"]))


@dataclass(frozen=True, slots=True)
class Overdue:
    """Windows at whose end something regular is overdue."""

    rows: Ints
    series: Ints
    waited: Floats  # microseconds
    limits: Floats


@dataclass(frozen=True, slots=True)
class Lines:
    """Events by series: event i is of series `series[i]` (-1: of none that is known)."""

    windows: Windows
    series: NDArray[np.int32]
    service: Ints  # of each window
    owners: Ints  # (series,): their services
    covered: NDArray[np.bool_]  # whether the input covers the span of each window


def periods_of(lines: Lines) -> Periods:
    """The regular series among these lines."""
    slow = _slow(lines)
    timed = slow[lines.series] & (lines.windows.times != NO_TIME)
    series, times = lines.series[timed], lines.windows.times[timed]
    order = np.argsort(series, kind="stable")
    edges = np.searchsorted(series[order], np.arange(len(lines.owners) + 1))
    chosen, limits = [], []
    for each in range(len(lines.owners)):
        mine = np.sort(times[order[edges[each] : edges[each + 1]]])
        gaps = np.diff(mine)
        if len(gaps) < FEWEST:
            continue
        period = float(np.median(gaps))
        low, high = np.quantile(gaps, (0.1, 0.9))
        if period >= LEAST_PERIOD and low > SHORTEST * period and high < LONGEST * period:
            late = LATE if period < LONG_PERIOD else LATE_LONG
            chosen.append(each)
            rare = 2 + int(RARE * len(gaps))
            limits.append(max(late * period, LONGER * float(np.partition(gaps, -rare)[-rare])))
    start = Periods(
        np.asarray(chosen, dtype=np.int64), np.asarray(limits), np.full(len(chosen), np.nan), int(NO_TIME)
    )
    return followed(start, lines)[0]


def _slow(lines: Lines) -> NDArray[np.bool_]:
    """Which series may come at periods of LEAST_PERIOD or more: half of the gaps fit into the time there is.

    One more stands for the events of no series that is known.
    """
    times, series = lines.windows.times, lines.series
    if (times == NO_TIME).any():
        series, times = series[times != NO_TIME], times[times != NO_TIME]
    count = np.bincount(series + 1, minlength=len(lines.owners) + 1)
    spanned = int(times.max()) - int(times.min()) if len(times) else 0
    slow = (count - 1) * LEAST_PERIOD <= 2 * spanned
    return np.append(slow[1:], [False])


def followed(periods: Periods, lines: Lines) -> tuple[Periods, Overdue]:
    """What is overdue in these windows, and what is known after them.

    A clock runs while anyone writes; where nobody did for a whole span, all begin anew.
    """
    windows = lines.windows
    starts = windows.table["start"].dt.timestamp("us").fill_null(0).to_numpy()
    ends = windows.table["end"].dt.timestamp("us").fill_null(0).to_numpy()
    if not len(windows) or not len(periods.series):
        nothing = np.zeros(0, dtype=np.int64)
        return periods, Overdue(nothing, nothing, np.zeros(0), np.zeros(0))
    goes_on = periods.ended <= starts.min()
    first, last = _heard(lines, starts, ends)
    dead = first == last
    parts, waits = [], []
    place = np.full(len(lines.owners) + 1, -1)  # the last one stands for what is of no series
    place[periods.series] = np.arange(len(periods.series))
    events = np.flatnonzero(place[lines.series] >= 0)
    of_series = place[lines.series[events]]
    events = events[np.argsort(of_series, kind="stable")]
    edges = np.concatenate([[0], np.cumsum(np.bincount(of_series, minlength=len(periods.series)))])
    for at, series in enumerate(periods.series):
        rows = np.flatnonzero(lines.service == lines.owners[series])
        waited = periods.waited[at] if goes_on else np.nan
        came = np.full(len(windows), NO_TIME)
        mine = events[edges[at] : edges[at + 1]]
        np.maximum.at(came, windows.owner[mine], windows.times[mine])
        came[dead] = last[dead]
        here = came[rows] != NO_TIME
        alive = np.cumsum(last[rows] - first[rows])
        since = np.where(here, alive - (last[rows] - came[rows]), np.nan)  # on that clock
        known = np.maximum.accumulate(np.where(here, np.arange(len(rows)), -1))
        heard = np.where(known >= 0, since[known], -waited)
        wait = alive - heard
        beyond = wait - periods.limits[at]
        alarm = (beyond > 0) & (beyond <= ALARMS * (ends[rows] - starts[rows]))
        parts.append(
            (rows[alarm], np.full(alarm.sum(), series), wait[alarm], periods.limits[at] + 0 * wait[alarm])
        )
        waits.append(wait[-1] if len(rows) else waited)
    found = Overdue(*(np.concatenate([part[place] for part in parts]) for place in range(4)))
    ended = max(periods.ended, int(ends.max()))
    return replace(periods, waited=np.asarray(waits, dtype=np.float64), ended=ended), found


def _heard(lines: Lines, starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """The part of each window's span in which the input was there; nothing of it where nobody wrote."""
    windows = lines.windows
    spans, span = np.unique(starts, return_inverse=True)
    first, last = windows.bounds.of_groups(span)
    empty = last == NO_TIME
    first, last = np.where(empty, spans, first)[span], np.where(empty, spans, last)[span]
    return np.where(lines.covered, starts, first), np.where(lines.covered, ends, last)
