"""Says in a sentence what is strange about the volume of a window."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from logad.detectors._baseline import Ints
from logad.detectors._findings import BEYOND, ORDER, OVERDUE, PARTNER, SILENT, SUM
from logad.detectors._phrases import counted, duration, number, quoted, times
from logad.types import AnomalyType, Contribution
from logad.windows import Windows

HARDLY: Final = 0.05  # lines a window that a sentence calls hardly any
EVIDENCE: Final = 3
SECOND: Final = 1e6


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is strange about a window; `code` is None where it is about its whole service."""

    row: int
    code: int | None
    direction: int
    value: float
    mean: float
    weight: float
    hourly: bool = False  # whether the mean depends on the hour of the day
    spanned: float = 0.0  # seconds that were seen before
    partner: int | None = None  # the template that it stays behind
    windows: int = 1  # of which the value is the sum
    places: Ints | None = None  # of the events that prove it, in their window


def told(windows: Windows, found: Finding) -> Contribution:
    """The finding in words, with the events that prove it."""
    service = windows.table["service"][found.row]
    events = windows.events[windows.span(found.row)]
    places = found.places
    if places is None:
        places = np.arange(len(events)) if found.code is None else np.flatnonzero(events == found.code)
    what = service if found.code is None else quoted(windows, found.code)
    expected, actual = number(round(found.mean, 1)), number(found.value)
    kind = AnomalyType.CONTEXTUAL
    if found.direction == SILENT:
        expected, actual = f"at most {duration(found.mean)}", duration(found.value)
        before = f"its longest silence in {duration(found.spanned)} was {duration(found.mean)}"
        text = f"{what} has been silent for {actual}; {before}"
    elif found.direction == OVERDUE:
        expected, actual = f"at most {duration(found.mean / SECOND)}", duration(found.value / SECOND)
        text = f"{what} has not come for {actual}; it comes regularly, {expected} apart"
    elif found.direction == ORDER:
        kind = AnomalyType.COLLECTIVE
        usual = number(round(found.mean, 1)) if found.mean >= HARDLY else "hardly any"
        text = f"{service} took {counted(int(found.value), 'step')} in an unusual order; usually {usual}"
    elif found.direction in {PARTNER, BEYOND} and found.partner is not None:
        kind = AnomalyType.COLLECTIVE
        beside = quoted(windows, found.partner)
        text = f"{what} came {times(int(found.value))}; beside {beside} it usually comes {expected} times"
    else:
        came = (
            f"wrote {counted(int(found.value), 'line')}"
            if found.code is None
            else f"came {times(int(found.value))}"
        )
        within = ""
        if found.direction == SUM:
            span = windows.table["end"][found.row] - windows.table["start"][found.row]
            within = f" within {duration(span.total_seconds() * found.windows)}"
        usual = expected if found.mean >= HARDLY else "none"
        text = f"{what} {came}{within}; usually {usual}{' at this hour' if found.hourly else ''}"
    shown = tuple(int(place) for place in places[:EVIDENCE])
    return Contribution(found.weight, text, kind, found.code, expected, actual, shown)
