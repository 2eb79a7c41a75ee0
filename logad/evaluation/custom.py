"""Knows what windows usually hold, so that what is planted into them is nothing that they hold anyway."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from logad.evaluation.rewriting import messages
from logad.types import WindowKind
from logad.windows import Windows

Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]

ALWAYS: Final = 0.99
"""What so many of the windows that are alike have belongs to them; the rest may be anomalies themselves."""
ENOUGH: Final = 20
"""Windows or records from which on there is a custom."""

_SAMPLE: Final = 2_000  # records of a template whose numbers are looked at
_COUNTING: Final = 0.9  # correlation with the order of records: a counter, though threads interleave
_BOUNDED: Final = 100.0  # times the median: a number that goes further has no usual range
_NUMBER: Final = re.compile(r"(?<![\w.:/-])(\d+(?:\.\d+)?)(?=[A-Za-z%]{0,5}(?![\w:/-]|\.\d))")


@dataclass(frozen=True, slots=True)
class ValuePlace:
    """A number in the messages of a template that has a usual range."""

    place: int  # which number of the message, from 0
    numbers: int  # how many the message has
    highest: float


class Custom:
    """What is usual in some windows; windows of a service are compared with each other, sessions with all."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self.lengths = np.diff(windows.offsets)
        services = windows.table["service"].to_numpy()
        whole = windows.kind is WindowKind.SESSION
        self._groups = (
            np.zeros(len(windows), np.int64) if whole else np.unique(services, return_inverse=True)[1]
        )
        self._weights: dict[int, Numbers] = {}
        self._highest: dict[tuple[int, int], int] = {}
        self._values: dict[int, ValuePlace | None] = {}

    @cached_property
    def _held(self) -> Flags:
        return self.windows.distinct.counts > 0

    @cached_property
    def _vectors(self) -> frozenset[bytes]:
        return frozenset(row.tobytes() for row in self.windows.distinct.counts)

    @cached_property
    def _pairs(self) -> Numbers:
        windows = self.windows
        same = windows.owner[1:] == windows.owner[:-1]
        codes = windows.events.astype(np.int64)
        pairs: Numbers = np.unique(codes[:-1][same] * len(windows.vocabulary) + codes[1:][same])
        return pairs

    def group(self, window: int) -> Numbers:
        """The windows that a window is compared with, itself among them, in order."""
        return np.flatnonzero(self._groups == self._groups[window])

    def seen(self, codes: NDArray[np.int32]) -> bool:
        """Whether some window holds exactly these, in whatever order."""
        counts = np.bincount(codes, minlength=len(self.windows.vocabulary)).astype(np.int64)
        return counts.tobytes() in self._vectors

    def follows(self, before: int, after: int) -> bool:
        """Whether the second template ever comes right after the first."""
        pair = before * len(self.windows.vocabulary) + after
        place = int(np.searchsorted(self._pairs, pair))
        return place < len(self._pairs) and int(self._pairs[place]) == pair

    def belonging(self, window: int) -> list[int]:
        """The templates of a window that nearly all windows have which hold the others of it."""
        distinct, weights = self.windows.distinct, self._weight(window)
        present = np.flatnonzero(self._held[distinct.inverse[window]])
        found = []
        for code in present.tolist():
            alike = self._held[:, present[present != code]].all(axis=1)
            many = int(weights[alike].sum())
            if len(present) > 1 and many >= ENOUGH:
                having = int(weights[alike & self._held[:, code]].sum())
                if having >= ALWAYS * many:
                    found.append(code)
        return found

    def most(self, window: int, code: int) -> int:
        """How often a template comes at most in nearly all windows that have it."""
        key = int(self._groups[window]), code
        if key not in self._highest:
            counts, weights = self.windows.distinct.counts[:, code], self._weight(window)
            chosen = (counts > 0) & (weights > 0)
            self._highest[key] = _quantile(counts[chosen], weights[chosen])
        return self._highest[key]

    def longest(self, window: int) -> int:
        """How many records nearly all windows have at most."""
        return int(np.quantile(self.lengths[self.group(window)], ALWAYS, method="higher"))

    def value(self, code: int) -> ValuePlace | None:
        """The number of a template's messages with the steadiest range, if any has one.

        Counters and identifiers have none: numbers that rise with time, or large ones that mostly differ.
        """
        if code not in self._values:
            self._values[code] = self._steadiest(code)
        return self._values[code]

    def _steadiest(self, code: int) -> ValuePlace | None:
        rows = self.windows.rows[(self.windows.events == code) & (self.windows.rows >= 0)]
        if len(rows) < ENOUGH:
            return None
        rows = np.sort(rows[np.unique(np.linspace(0, len(rows) - 1, _SAMPLE).astype(np.int64))])
        texts = messages(self.windows, rows).to_list()
        found = [[float(match) for match in _NUMBER.findall(text)] for text in texts]
        lengths = [len(numbers) for numbers in found]
        usual = max(set(lengths), key=lengths.count)
        table = np.asarray([numbers for numbers in found if len(numbers) == usual])
        best: tuple[float, ValuePlace] | None = None
        for place in range(usual if len(table) >= ENOUGH else 0):
            values = table[:, place]
            highest, median = float(values.max()), float(np.median(values))
            different = len(np.unique(values))
            rising = different > ENOUGH and np.corrcoef(values, np.arange(len(values)))[0, 1] > _COUNTING
            named = different > len(values) / 2 and highest > 1e6  # noqa: PLR2004  (an identifier)
            if median <= 0 or highest > _BOUNDED * median or rising or named:
                continue
            if best is None or highest / median < best[0]:
                best = highest / median, ValuePlace(place, usual, highest)
        return best[1] if best else None

    def _weight(self, window: int) -> Numbers:
        """How many of the windows it is compared with have each distinct vector."""
        group = int(self._groups[window])
        if group not in self._weights:
            distinct = self.windows.distinct
            inverse = distinct.inverse[self._groups == group]
            self._weights[group] = np.bincount(inverse, minlength=len(distinct.weights)).astype(np.int64)
        return self._weights[group]


def with_value(message: str, place: ValuePlace, times: float) -> str | None:
    """The message with a number so many times the highest; None where it has not the usual numbers."""
    matches = list(_NUMBER.finditer(message))
    if len(matches) != place.numbers:
        return None
    match = matches[place.place]
    value = place.highest * times
    told = f"{value:.3f}" if "." in match[1] else f"{round(value)}"
    return message[: match.start(1)] + told + message[match.end(1) :]


def _quantile(values: Numbers, weights: Numbers) -> int:
    """The least value that the share ALWAYS does not exceed."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return int(values[order][np.searchsorted(reached, ALWAYS * reached[-1])])
