"""Since when each series is there, and which of them have come to stay."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from logad.detectors._baseline import HOURS, Ints

AGE: Final = 24  # windows of a series before anything about it is judged
LATE: Final = 288  # windows that its service must have had before a series can be called new
STAYS: Final = (
    0.5  # share of the windows since its first one in which what has come to stay stands; seeds 0-3
)
"""Of `benchmarks/shop_windows.py`, as all that is chosen on seeds."""


@dataclass(frozen=True, slots=True)
class Course:
    """The windows of each service, one entry a window in order of time, and what stands in them."""

    service: Ints
    hours: Ints  # of the day
    ends: Ints  # microseconds


@dataclass(frozen=True, slots=True)
class Ages:
    """What is known of the age of each series at the fit."""

    births: Ints  # (series,): the end of its first window where it was new then, else the least integer
    windows: Ints  # (series, 24): the windows of each hour that tell how often it comes


def ages_of(course: Course, series: Ints, rows: Ints, groups: Ints) -> Ages:
    """The ages of series from their non-zero counts: `series[i]` stands in window `rows[i]`.

    A series of which nothing was seen for LATE windows of its service was new in its first window. If it has
    stood in half of the windows since, then only those tell how often it comes: a new version of a program
    writes other lines. If there are not even AGE of them, nothing tells that yet.
    """
    width, never = len(groups), np.iinfo(np.int64).min
    order = np.argsort(course.ends, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    windows = np.zeros((width, HOURS), dtype=np.int64)
    births = np.full(width, never)
    stood = np.bincount(series, minlength=width)
    for group in np.unique(groups):
        mine = order[course.service[order] == group]
        rank[mine] = np.arange(len(mine))
        windows[groups == group] = np.bincount(course.hours[mine], minlength=HOURS)
    first = np.full(width, len(order))
    np.minimum.at(first, series, rank[rows])
    for each in np.flatnonzero((first >= LATE) & (stood > 0)):
        mine = order[course.service[order] == groups[each]]
        births[each] = course.ends[mine[first[each]]]
        since = len(mine) - first[each]
        if since < AGE or stood[each] >= STAYS * since:
            windows[each] = np.bincount(course.hours[mine[first[each] :]], minlength=HOURS)
    return Ages(births, windows)


def young(births: Ints, ends: Ints, span: int) -> NDArray[np.bool_]:
    """Whether windows that end then are among the first AGE ones of series that were new at `births`."""
    known = births > np.iinfo(np.int64).min
    within: NDArray[np.bool_] = known & (ends < np.where(known, births, 0) + AGE * span)
    return within
