"""Reads what people know of their logs, by session, line or time, and says which windows it is about."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from logad.errors import InputError, UsageError
from logad.types import WindowKind
from logad.windows import NO_TIME, Windows

Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]
_Key = TypeVar("_Key")

_WORDS: Final[Mapping[str, bool]] = {
    "1": True,
    "true": True,
    "anomaly": True,
    "0": False,
    "false": False,
    "normal": False,
}
_EXPECTED: Final = "1 or 0, true or false, Anomaly or Normal"
_BY_LINE: Final = "line"
_BY_TIME: Final = ("start", "end")


@dataclass(frozen=True, slots=True)
class Truth:
    """What labels say of some windows, one entry a window."""

    anomalous: Flags
    known: Flags  # whether the labels say anything of it; the others are no part of any figure
    assumed: Flags  # windows without a label that are taken as normal, for only anomalies are labelled
    unmatched: int  # labels that are about none of the windows
    labels: int

    def of(self, rows: Numbers) -> "Truth":
        """The truth of some of the windows; what labels match none of is told of all."""
        return replace(
            self, anomalous=self.anomalous[rows], known=self.known[rows], assumed=self.assumed[rows]
        )


class Labels(Protocol):
    """Labels of one sort."""

    def of(self, windows: Windows) -> Truth:
        """What they say of each window.

        Raises:
            UsageError: they cannot be about windows of this kind.
        """
        ...


@dataclass(frozen=True, slots=True)
class KeyLabels:
    """Which sessions are anomalous, by key; a session with several labels is if one of them says so."""

    where: str
    keys: Mapping[str, bool]

    def of(self, windows: Windows) -> Truth:
        """Sessions whose key has no label are unknown, or normal where only anomalies are labelled."""
        if windows.kind is not WindowKind.SESSION:
            raise UsageError(
                self.where,
                f"its first column names sessions, and these are windows of {windows.kind}",
                "sessions, or labels with the columns line or start,end",
                "say what the key of a session is with --session-regex",
            )
        keys = windows.table["key"].to_list()
        labelled = np.fromiter((key in self.keys for key in keys), np.bool_, len(keys))
        anomalous = np.fromiter((self.keys.get(key, False) for key in keys), np.bool_, len(keys))
        unmatched = len(self.keys.keys() - set(keys))
        return _truth(anomalous, labelled, self.keys.values(), unmatched)


@dataclass(frozen=True, slots=True)
class LineLabels:
    """Which physical lines are anomalous; a window is if any line of any record of it is."""

    where: str
    lines: Mapping[int, bool]

    def of(self, windows: Windows) -> Truth:
        """Windows without a labelled line are unknown, or normal where only anomalies are labelled.

        A window without any line is normal.
        """
        rows = np.unique(windows.rows[windows.rows >= 0])
        records = windows.records[rows].select("source", "line", "lines")
        if records["source"].n_unique() > 1:
            raise UsageError(
                self.where,
                f"lines of {records['source'].n_unique()} sources cannot be told apart by their numbers",
                "one source, or labels by session or by time",
            )
        first = records["line"].to_numpy()
        last = first + records["lines"].cast(int).to_numpy() - 1
        labelled, anomalous = (
            _held(np.sort(np.fromiter(chosen, np.int64)), first, last)
            for chosen in (self.lines.keys(), (line for line, label in self.lines.items() if label))
        )
        place = np.searchsorted(rows, windows.rows)
        each = [
            np.bincount(windows.owner[flags[place]], minlength=len(windows)) > 0
            for flags in (anomalous, labelled)
        ]
        lines = np.fromiter(self.lines, np.int64)
        order = np.argsort(first, kind="stable")
        within = np.searchsorted(first[order], lines, side="right") - 1
        found = (within >= 0) & (lines <= last[order][np.maximum(within, 0)]) if len(order) else lines < 0
        empty = np.diff(windows.offsets) == 0
        return _truth(each[0], each[1] | empty, self.lines.values(), int((~found).sum()))


@dataclass(frozen=True, slots=True)
class TimeLabels:
    """When something was anomalous: half-open intervals, microseconds since the epoch, shape (labels, 2)."""

    where: str
    intervals: Numbers

    def of(self, windows: Windows) -> Truth:
        """Spans of time that overlap an interval are anomalous, other windows if a record lies in one."""
        hits = np.zeros(len(self.intervals), dtype=np.bool_)
        anomalous = np.zeros(len(windows), dtype=np.bool_)
        spans = windows.kind is WindowKind.TIME
        timed = windows.times != NO_TIME
        if not spans and not timed.any():
            raise UsageError(self.where, "no record has a time", "labels by line or by session")
        if spans:
            begins, ends = (windows.table[name].dt.epoch("us").to_numpy() for name in _BY_TIME)
        for number, (start, end) in enumerate(self.intervals.tolist()):
            if spans:
                inside = (begins < end) & (ends > start)
            else:
                events = timed & (windows.times >= start) & (windows.times < end)
                inside = np.bincount(windows.owner[events], minlength=len(windows)) > 0
            hits[number] = inside.any()
            anomalous |= inside
        everything = np.ones(len(windows), dtype=np.bool_)
        return Truth(anomalous, everything, ~everything, int((~hits).sum()), len(hits))


def read(path: str | Path, zone: str = "UTC") -> Labels:
    r"""The labels of a CSV file with a header; times that name no zone are in `zone`.

    The last column is the label. A column `line` makes it one of lines, `start` and `end` of intervals (all
    anomalous where there is no further column); otherwise the first column is the key of a session.

    Raises:
        InputError: the file cannot be read, or a row is not what its header promises; it says which.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "labels.csv"
    >>> _ = path.write_text("BlockId,Label\nblk_1,Normal\nblk_2,Anomaly\n")
    >>> read(path).keys
    {'blk_1': False, 'blk_2': True}
    """
    where = str(path)
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = [name.strip().lower() for name in next(rows, [])]
            return _parsed(where, header, _numbered(where, rows, len(header)), _zone(zone))
    except OSError as error:
        raise InputError(where, (error.strerror or str(error)).lower(), "a CSV file of labels") from None
    except UnicodeDecodeError:
        raise InputError(where, "not UTF-8", "a CSV file of labels in UTF-8") from None


def _parsed(where: str, header: list[str], rows: Iterator[tuple[int, list[str]]], zone: ZoneInfo) -> Labels:
    if len(header) < 2:  # noqa: PLR2004  (what is labelled, and the label)
        found = f"the header has {len(header)} column" + ("" if len(header) == 1 else "s")
        raise InputError(f"{where}, line 1", found, "a header with at least two columns, the last the label")
    if _BY_LINE in header[:-1]:
        column = header.index(_BY_LINE)
        return LineLabels(where, _collected(where, rows, column, _line))
    if set(_BY_TIME) <= set(header):
        return TimeLabels(where, _intervals(where, header, rows, zone))
    return KeyLabels(where, _collected(where, rows, 0, str))


def _numbered(where: str, rows: Iterator[list[str]], width: int) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty with the line that each ends on."""
    reader = rows
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise InputError(f"{where}, line {_at(reader)}", str(error), "a CSV file (RFC 4180)") from None
        if row is None:
            return
        if not row:
            continue
        if len(row) != width:
            found = f"{len(row)} columns"
            raise InputError(f"{where}, line {_at(reader)}", found, f"{width}, as the header has")
        yield _at(reader), [value.strip() for value in row]


def _at(reader: Iterator[list[str]]) -> int:
    return int(getattr(reader, "line_num", 0))


def _collected(
    where: str, rows: Iterator[tuple[int, list[str]]], column: int, parse: Callable[[str], _Key]
) -> dict[_Key, bool]:
    """The label of each thing, anomalous if any label of it is."""
    found: dict[_Key, bool] = {}
    for number, row in rows:
        try:
            thing = parse(row[column])
        except ValueError as error:
            raise InputError(f"{where}, line {number}", f"found {row[column]!r}", str(error)) from None
        found[thing] = _label(where, number, row[-1]) or found.get(thing, False)
    if not found:
        raise InputError(where, "no labels below the header", "at least one row")
    return found


def _intervals(
    where: str, header: Sequence[str], rows: Iterator[tuple[int, list[str]]], zone: ZoneInfo
) -> Numbers:
    columns = [header.index(name) for name in _BY_TIME]
    labelled = header[-1] not in _BY_TIME
    found = []
    for number, row in rows:
        if labelled and not _label(where, number, row[-1]):
            continue
        start, end = (_moment(where, number, row[column], zone) for column in columns)
        if end <= start:
            told = f"the interval ends at {row[columns[1]]}"
            raise InputError(f"{where}, line {number}", told, f"a time after its start, {row[columns[0]]}")
        found.append((start, end))
    if not found:
        raise InputError(where, "no anomalous interval below the header", "at least one row")
    return np.asarray(found, dtype=np.int64)


def _label(where: str, number: int, text: str) -> bool:
    label = _WORDS.get(text.lower())
    if label is None:
        raise InputError(f"{where}, line {number}", f"the label is {text!r}", _EXPECTED)
    return label


def _line(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("the number of a line, from 1")
    return int(text)


def _moment(where: str, number: int, text: str, zone: ZoneInfo) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        expected = "an ISO time such as 2024-03-04T12:00:00Z"
        raise InputError(f"{where}, line {number}", f"the time is {text!r}", expected) from None
    moment = moment.replace(tzinfo=zone) if moment.tzinfo is None else moment
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        expected = "a name of the time zone database, such as UTC or Europe/Berlin"
        raise UsageError("--timezone", f"{name!r} is not known", expected) from None


def _held(lines: Numbers, first: Numbers, last: Numbers) -> Flags:
    """Whether each range of lines, both ends included, holds one of these lines, which are sorted."""
    return np.searchsorted(lines, last, side="right") > np.searchsorted(lines, first, side="left")


def _truth(anomalous: Flags, labelled: Flags, told: Iterable[bool], unmatched: int) -> Truth:
    labels = list(told)
    everything = np.ones(len(anomalous), dtype=np.bool_)
    if all(labels):
        return Truth(anomalous, everything, ~labelled, unmatched, len(labels))
    return Truth(anomalous, labelled, ~everything, unmatched, len(labels))
