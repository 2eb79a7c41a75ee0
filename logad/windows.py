"""Windows: what is judged, as count vectors and as ordered template codes, in arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.durations import format_duration
from logad.hashing import mixed
from logad.types import Template, WindowKind

NO_TIME: Final = np.iinfo(np.int64).min
"""Stands in `times` for an event without a time."""

LATER: Final = np.iinfo(np.int64).max
"""Later than any event."""

MOST_VALUES: Final = 3
"""Numbers kept of each event: `logad.measuring` tells which of its template's."""

_COUNT_BITS: Final = 32
_DENSE: Final = 4  # cells a key for a table of all there may be

WINDOW_SCHEMA: Final[dict[str, pl.DataType]] = {
    "service": pl.String(),
    "key": pl.String(),  # null but for sessions
    "start": pl.Datetime("us", "UTC"),  # the span's start for time windows, else the first record's time
    "end": pl.Datetime("us", "UTC"),  # the span's end (exclusive) for time windows, else the last record's
    "first_line": pl.Int64(),  # null where there are no lines
    "last_line": pl.Int64(),
    "records": pl.Int64(),
    "revision": pl.Int64(),
    "learning": pl.Boolean(),
}


@dataclass(frozen=True, slots=True)
class Distinct:
    """The distinct count vectors of some windows: row r of `counts` stands `weights[r]` times."""

    counts: NDArray[np.int64]  # (distinct windows, templates)
    weights: NDArray[np.int64]  # (distinct windows,)
    inverse: NDArray[np.int64]  # (windows,): the row of `counts` that each window has
    first: NDArray[np.int64]  # (distinct windows,): the first window that has it


class Occurrences(NamedTuple):
    """How often templates came in windows; each array (pairs of window and template,)."""

    window: NDArray[np.int64]
    code: NDArray[np.int64]
    times: NDArray[np.int64]  # how often


class Bounds(NamedTuple):
    """The first and last moment in windows, microseconds; LATER and NO_TIME where no event has a time."""

    first: NDArray[np.int64]  # (windows,)
    last: NDArray[np.int64]

    def of_groups(self, group: NDArray[np.int64]) -> "Bounds":
        """The same of groups of windows: window w is of group `group[w]`."""
        groups = int(group.max(initial=-1)) + 1
        first, last = np.full(groups, LATER), np.full(groups, NO_TIME)
        np.minimum.at(first, group, self.first)
        np.maximum.at(last, group, self.last)
        return Bounds(first, last)


class Texts(Protocol):
    """The texts of records that are not in their frame."""

    def raw(self, places: NDArray[np.int64]) -> pl.Series:
        """The records as they stood in their source, by the column `place` of the frame."""
        ...


@dataclass(frozen=True)
class Windows:
    """Windows of one kind in order; nothing in it may be written to.

    Events of window w are `events[offsets[w]:offsets[w + 1]]`, in order; `times` (microseconds since
    the epoch, UTC, or NO_TIME) and `rows` (rows of `records`, or -1) run beside them.
    """

    kind: WindowKind
    table: pl.DataFrame  # WINDOW_SCHEMA, one row a window
    offsets: NDArray[np.int64]  # (windows + 1,)
    events: NDArray[np.int32]  # template codes
    times: NDArray[np.int64]
    rows: NDArray[np.int64]
    vocabulary: tuple[Template, ...]  # code -> template; codes in `events` are below its length
    records: (
        pl.DataFrame
    )  # the records behind the windows, for evidence (RECORD_SCHEMA, see `texts`); may be empty
    until: int | None = None  # the last moment of the input, microseconds; None: that of the last event
    texts: Texts | None = None  # None: `records` has a column `raw`
    values: NDArray[np.float32] | None = None  # (events, MOST_VALUES), NaN for none; None: there are none

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """The window of each event, shape (events,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @cached_property
    def occurrences(self) -> Occurrences:
        """Which templates each window has, in order of window and code."""
        width = max(len(self.vocabulary), 1)
        pairs, counts = tallied(self.owner * width + self.events, len(self) * width)
        window, code = np.divmod(pairs, width)
        return Occurrences(window, code, counts)

    @cached_property
    def bounds(self) -> Bounds:
        """The first and last moment in each window."""
        first, last = np.full(len(self), LATER), np.full(len(self), NO_TIME)
        filled = np.flatnonzero(np.diff(self.offsets))
        if len(filled):
            begins = self.offsets[filled]
            untimed = self.times == NO_TIME
            early = np.where(untimed, LATER, self.times) if untimed.any() else self.times
            first[filled] = np.minimum.reduceat(early, begins)
            last[filled] = np.maximum.reduceat(self.times, begins)
        return Bounds(first, last)

    @cached_property
    def distinct(self) -> Distinct:
        """Distinct count vectors with their weights, in order of first appearance."""
        owner, code, times = self.occurrences
        sums = np.zeros(len(owner) + 1, dtype=np.uint64)
        np.cumsum(mixed(code << _COUNT_BITS | times), out=sums[1:])
        edges = np.searchsorted(owner, np.arange(len(self) + 1))
        _, first, inverse = np.unique(
            sums[edges[1:]] - sums[edges[:-1]], return_index=True, return_inverse=True
        )
        order = np.argsort(first)  # of appearance
        first, inverse = first[order], np.argsort(order)[inverse]
        counts = np.zeros((len(first), len(self.vocabulary)), dtype=np.int64)
        for row, window in enumerate(first.tolist()):
            held = slice(edges[window], edges[window + 1])
            counts[row, code[held]] = times[held]
        return Distinct(counts, np.bincount(inverse, minlength=len(first)), inverse, first)

    @cached_property
    def severities(self) -> NDArray[np.int64]:
        """The severity class (0..3) of each template of the vocabulary."""
        return np.asarray([template.severity for template in self.vocabulary], dtype=np.int64)

    @cached_property
    def alarming(self) -> NDArray[np.bool_]:
        """Which templates of the vocabulary are errors by their level and by their words."""
        return np.asarray([template.alarming for template in self.vocabulary], dtype=np.bool_)

    def raw(self, rows: NDArray[np.int64] | Sequence[int]) -> pl.Series:
        """Some of the records as they stood in their source."""
        rows = np.asarray(rows, dtype=np.int64)
        if self.texts is None:
            return self.records["raw"].gather(rows)
        return self.texts.raw(self.records["place"].gather(rows).to_numpy())

    def span(self, window: int) -> slice:
        """Where the events of a window stand."""
        return slice(int(self.offsets[window]), int(self.offsets[window + 1]))

    def take(self, chosen: NDArray[np.int64] | Sequence[int]) -> "Windows":
        """The chosen windows, in the order given."""
        chosen = np.asarray(chosen, dtype=np.int64)
        lengths = np.diff(self.offsets)[chosen]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        positions = np.arange(offsets[-1]) + np.repeat(self.offsets[chosen] - offsets[:-1], lengths)
        return Windows(
            self.kind,
            self.table[chosen],
            offsets,
            self.events[positions],
            self.times[positions],
            self.rows[positions],
            self.vocabulary,
            self.records,
            self.until,
            self.texts,
            None if self.values is None else self.values.take(positions, axis=0),
        )

    def without_records(self) -> "Windows":
        """The same windows without the records behind them: what a learner keeps."""
        rows = np.full(len(self.rows), -1, dtype=np.int64)
        empty = self.records.clear()
        return replace(self, rows=rows, records=empty)


def tallied(keys: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct keys, ascending, and how often each is there; all lie in 0 until `size`.

    >>> tallied(np.array([4, 1, 4]), 5)
    (array([1, 4]), array([1, 2]))
    """
    if size <= _DENSE * len(keys):
        every = np.bincount(keys, minlength=size)
        found = np.flatnonzero(every)
        return found, every[found].astype(np.int64)
    found, counts = np.unique(keys, return_counts=True)
    return found, counts.astype(np.int64)


def joined(parts: Sequence[Windows]) -> Windows:
    """Windows of one kind after one another; the last part's vocabulary must contain the earlier ones.

    Only the last part keeps the records behind it.
    """
    if len(parts) == 1:
        return parts[0]
    last = parts[-1]
    parts = [*(part.without_records() for part in parts[:-1]), last]
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return Windows(
        last.kind,
        pl.concat([part.table for part in parts]),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([part.events for part in parts]),
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.rows for part in parts]),
        last.vocabulary,
        last.records,
        last.until,
        last.texts,
        _values(parts),
    )


def _values(parts: Sequence[Windows]) -> NDArray[np.float32] | None:
    if all(part.values is None for part in parts):
        return None
    return np.concatenate(
        [
            np.full((len(part.events), MOST_VALUES), np.nan, dtype=np.float32)
            if part.values is None
            else part.values
            for part in parts
        ]
    )


@dataclass(frozen=True, slots=True)
class Windowing:
    """What makes a window, and why: exactly one of a span of time, a number of records, a session key."""

    kind: WindowKind
    span_seconds: float | None = None  # time windows
    size: int | None = None  # record windows
    key_regex: str | None = None  # sessions: the first group, or the whole match, is the key
    key_field: str | None = None  # sessions: a JSON field, or the name in `name=value`
    timeout_seconds: float | None = None  # sessions: silence that completes one; None: only the end does
    reason: str = ""

    def describe(self) -> str:
        """The choice in one line.

        >>> Windowing(WindowKind.TIME, span_seconds=300, reason="asked for").describe()
        'windows of 5m per service (asked for)'
        """
        what = {
            WindowKind.TIME: lambda: f"windows of {format_duration(self.span_seconds or 0)} per service",
            WindowKind.RECORDS: lambda: f"windows of {self.size} records",
            WindowKind.SESSION: lambda: f"sessions by {self.key_field or self.key_regex}",
        }[self.kind]()
        if self.timeout_seconds is not None:
            what += f", complete after {format_duration(self.timeout_seconds)} of silence"
        return f"{what} ({self.reason})" if self.reason else what

    def as_dict(self) -> dict[str, Any]:
        """JSON that `from_dict` takes back."""
        return {**asdict(self), "kind": str(self.kind)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Windowing":
        """Take back what `as_dict` gave."""
        return cls(**{**values, "kind": WindowKind(values["kind"])})
