"""Changes windows as if their source had said something else; nothing is read, parsed or mined again."""

from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.measuring import Measures, measured
from logad.types import Template, WindowKind
from logad.windows import MOST_VALUES, NO_TIME, Texts, Windows

Numbers = NDArray[np.int64]

_EPOCH: Final = "us"


class Messages(Texts, Protocol):
    """Texts that also know what records say without their headers."""

    def messages(self, places: Numbers) -> pl.Series:
        """The messages of the records at these places."""
        ...


def messages(windows: Windows, rows: Numbers) -> pl.Series:
    """What some of the records behind windows say, without their headers."""
    if windows.texts is None:
        return windows.records["text"].gather(rows)
    return cast("Messages", windows.texts).messages(windows.records["place"].gather(rows).to_numpy())


@dataclass(frozen=True, slots=True)
class Content:
    """The events of one window: template codes, times in microseconds, rows of the records, their numbers."""

    codes: NDArray[np.int32]
    times: Numbers
    rows: Numbers
    values: Measures

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, chosen: Numbers) -> "Content":
        """The chosen events, in the order given."""
        return Content(self.codes[chosen], self.times[chosen], self.rows[chosen], self.values[chosen])

    def inserted(self, at: int, other: "Content") -> "Content":
        """The other events in front of the one at `at`."""
        joined = (
            np.concatenate([own[:at], new, own[at:]])
            for own, new in zip(self.columns(), other.columns(), strict=True)
        )
        return Content(*joined)

    def columns(self) -> tuple[NDArray[Any], ...]:
        """All four in their order."""
        return self.codes, self.times, self.rows, self.values


class Rewriter:
    """Collects changes to windows; the windows themselves stay as they are."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._changed: dict[int, Content] = {}
        self._vocabulary = list(windows.vocabulary)
        self._donors: list[int] = []  # records that new ones are like
        self._codes: list[int] = []
        self._raw: list[str] = []
        self._values = _untold(len(windows.events)) if windows.values is None else windows.values
        self._pauses: list[tuple[int, int]] = []  # event, microseconds by which it and all later ones shift

    def content(self, window: int) -> Content:
        """What a window holds by now."""
        span, windows = self._windows.span(window), self._windows
        found = self._changed.get(window)
        return found or Content(
            windows.events[span], windows.times[span], windows.rows[span], self._values[span]
        )

    def put(self, window: int, content: Content) -> None:
        """Let a window hold this."""
        self._changed[window] = content

    def template(self, text: str, severity: int) -> int:
        """The code of a template that the vocabulary has not."""
        code = len(self._vocabulary)
        self._vocabulary.append(
            Template(code, f"planted-{code}", text, severity, alarming=severity >= 3)  # noqa: PLR2004  (an error)
        )
        return code

    def record(self, donor: int, code: int, message: str) -> int:
        """The row of a new record that is like the donor in all but its message and template."""
        rows = np.asarray([donor], dtype=np.int64)
        raw, own = self._windows.raw(rows)[0], messages(self._windows, rows)[0]
        self._donors.append(donor)
        self._codes.append(code)
        self._raw.append(raw.replace(own, message, 1) if own and own in raw else message)
        return self._windows.records.height + len(self._donors) - 1

    def values(self, code: int, message: str) -> Measures:
        """The numbers that a message of this template tells, shape (1, MOST_VALUES)."""
        record = pl.DataFrame({"text": [message], "template": [code]})
        found = measured(record, tuple(self._vocabulary))
        return _untold(1) if found is None else found

    def pause(self, window: int, event: int, microseconds: int) -> None:
        """Let this event of a window, and all that follows in the log, come so much later."""
        self._pauses.append((int(self._windows.offsets[window]) + event, microseconds))

    def windows(self) -> Windows:
        """The windows as changed: those that were not touched hold the very same events."""
        old = self._windows
        pieces, lengths, begin = [], np.diff(old.offsets).astype(np.int64), 0
        times = self._paused()
        for window in sorted(self._changed):
            before = slice(begin, old.offsets[window])
            pieces.append(Content(old.events[before], times[before], old.rows[before], self._values[before]))
            pieces.append(self._changed[window])
            lengths[window], begin = len(self._changed[window]), int(old.offsets[window + 1])
        pieces.append(Content(old.events[begin:], times[begin:], old.rows[begin:], self._values[begin:]))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        columns = zip(*(piece.columns() for piece in pieces), strict=True)
        events, moments, rows, values = (np.concatenate(parts) for parts in columns)
        table = old.table.with_columns(pl.Series("records", lengths))
        changed = replace(
            old,
            table=table if old.kind is WindowKind.TIME else _spanned(table, offsets, moments),
            offsets=offsets,
            events=events,
            times=moments,
            rows=rows,
            vocabulary=tuple(self._vocabulary),
            values=None if old.values is None else values,
        )
        return self._with_records(changed)

    def _paused(self) -> Numbers:
        if not self._pauses:
            return self._windows.times
        shift = np.zeros(len(self._windows.times), dtype=np.int64)
        for event, microseconds in self._pauses:
            shift[event:] += microseconds
        return np.where(self._windows.times == NO_TIME, NO_TIME, self._windows.times + shift)

    def _with_records(self, changed: Windows) -> Windows:
        """The same windows with the new records behind them."""
        if not self._donors:
            return changed
        added = changed.records[self._donors]
        if "template" in added.columns:
            added = added.with_columns(pl.Series("template", self._codes, dtype=pl.Int32))
        if changed.texts is None:
            added = added.with_columns(pl.Series("raw", self._raw))
            return replace(changed, records=pl.concat([changed.records, added]))
        base = int(cast("int", changed.records["place"].max())) + 1
        places = pl.int_range(base, base + added.height, dtype=pl.Int64, eager=True).alias("place")
        texts = _WithNew(changed.texts, base, pl.Series(self._raw, dtype=pl.String))
        return replace(changed, records=pl.concat([changed.records, added.with_columns(places)]), texts=texts)


def _untold(count: int) -> Measures:
    """The numbers of so many events that tell none."""
    return np.full((count, MOST_VALUES), np.nan, dtype=np.float32)


class _WithNew:
    """Texts of a corpus and, behind them, of records that were never in it."""

    def __init__(self, texts: Texts, base: int, raw: pl.Series) -> None:
        self._texts = texts
        self._base = base
        self._raw = raw

    def raw(self, places: Numbers) -> pl.Series:
        """The records as they stood in their source, or would."""
        new = places >= self._base
        found = np.empty(len(places), dtype=object)
        found[~new] = self._texts.raw(places[~new]).to_list()
        found[new] = self._raw.gather(places[new] - self._base).to_list()
        return pl.Series(found.tolist(), dtype=pl.String)


def _spanned(table: pl.DataFrame, offsets: Numbers, times: Numbers) -> pl.DataFrame:
    """The table with the first and last times that its windows have now; what has none keeps its own."""
    filled = np.flatnonzero(np.diff(offsets))
    earliest = np.where(times == NO_TIME, np.iinfo(np.int64).max, times)
    columns = []
    for name, reduce, source in (("start", np.minimum, earliest), ("end", np.maximum, times)):
        bounds = table[name].dt.epoch(_EPOCH).to_numpy().copy() if not table[name].has_nulls() else None
        if bounds is None:
            return table
        bounds[filled] = reduce.reduceat(source, offsets[filled])
        columns.append(pl.Series(name, bounds).cast(pl.Datetime("us", "UTC")))
    return table.with_columns(columns)
