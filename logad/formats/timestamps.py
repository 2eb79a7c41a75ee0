"""The forms in which logs write a moment, as regexes and as formats that polars parses."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Final, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.errors import UsageError

Lacks = Literal["", "year", "date"]
MONTH: Final = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
WEEKDAY: Final = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK: Final = r"\d{2}:\d{2}:\d{2}"
_FRACTION: Final = r"(?:[.,]\d{1,9})?"
_ZONE: Final = r"(?: ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))?"
_ZONES: Final = ("", "%#z", " %#z")
_SAME_TIME: Final = pl.Datetime("us", "UTC")


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """One way to write a moment: how it looks, and the `strptime` formats (chrono's dialect) that read it."""

    name: str
    pattern: str
    formats: tuple[str, ...] = ()  # none: a number of seconds, milli-, micro- or nanoseconds since 1970
    lacks: Lacks = ""


class Calendar(NamedTuple):
    """Where a clock without a year (or a date) stands: year (or day number) and last month (or hour)."""

    base: int
    last: int


def _written(name: str, pattern: str, *formats: str, lacks: Lacks = "") -> TimeFormat:
    zoned = tuple(form + zone for form, zone in product(formats, _ZONES))
    return TimeFormat(name, pattern, zoned, lacks)


_CLOCK_FORMAT: Final = "%H:%M:%S%.f"
FORMATS: Final[tuple[TimeFormat, ...]] = (
    _written(
        "ISO 8601",
        rf"\d{{4}}-\d{{2}}-\d{{2}}[T ]{_CLOCK}(?:[.,]\d{{1,9}}|:\d{{3}}\b)?{_ZONE}",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S:%3f",
    ),
    _written(
        "year/month/day", rf"\d{{4}}/\d{{2}}/\d{{2}}[T ]{_CLOCK}{_FRACTION}{_ZONE}", "%Y/%m/%d %H:%M:%S%.f"
    ),
    TimeFormat(
        "ISO date with dots", r"\d{4}-\d{2}-\d{2}-\d{2}\.\d{2}\.\d{2}\.\d{6}", ("%Y-%m-%d-%H.%M.%S%.f",)
    ),
    _written(
        "weekday, month, day, year",
        rf"{WEEKDAY} {MONTH} [ \d]\d {_CLOCK}(?:\.\d{{1,9}})?(?: UTC| GMT)? \d{{4}}",
        "%a %b %e %H:%M:%S%.f %Y",
        "%a %b %e %H:%M:%S UTC %Y",
        "%a %b %e %H:%M:%S GMT %Y",
    ),
    TimeFormat("HTTP date", rf"{WEEKDAY}, \d{{2}} {MONTH} \d{{4}} {_CLOCK} GMT", ("%a. %d %b %Y %H:%M:%SZ",)),
    TimeFormat(
        "day/month/year:clock",
        rf"\d{{2}}/{MONTH}/\d{{4}}:{_CLOCK}(?:\.\d{{1,9}})? [+-]\d{{4}}",
        ("%d/%b/%Y:%H:%M:%S%.f %z",),
    ),
    _written(
        "day-month-year",
        rf"\d{{2}}[- ]{MONTH}[- ]\d{{4}} {_CLOCK}{_FRACTION}{_ZONE}",
        "%d-%b-%Y %H:%M:%S%.f",
        "%d %b %Y %H:%M:%S%.f",
    ),
    TimeFormat(
        "month day year",
        rf"{MONTH} [ \d]?\d,? \d{{4}} {_CLOCK}(?:\.\d{{1,9}})?",
        ("%b %e %Y %H:%M:%S%.f", "%b %e. %Y %H:%M:%S%.f"),
    ),
    TimeFormat(
        "month day", rf"{MONTH} [ \d]?\d {_CLOCK}(?:\.\d{{1,9}})?", ("%b %e %H:%M:%S%.f",), lacks="year"
    ),
    TimeFormat("yy/mm/dd", rf"\d{{2}}/\d{{2}}/\d{{2}} {_CLOCK}{_FRACTION}", ("%y/%m/%d %H:%M:%S%.f",)),
    TimeFormat(
        "mm/dd/yyyy, twelve hours",
        r"\d{1,2}/\d{1,2}/\d{4},? \d{1,2}:\d{2}:\d{2} (?i:[ap]m)",
        ("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y. %I:%M:%S %p"),
    ),
    TimeFormat(
        "mm/dd/yyyy", rf"\d{{2}}/\d{{2}}/\d{{4}}[, ]{{1,2}}{_CLOCK}{_FRACTION}", ("%m/%d/%Y %H:%M:%S%.f",)
    ),
    TimeFormat("dd.mm.yyyy", rf"\d{{2}}\.\d{{2}}\.\d{{4}} {_CLOCK}{_FRACTION}", ("%d.%m.%Y %H:%M:%S%.f",)),
    TimeFormat("yymmdd HHMMSS", r"\d{6} \d{6}", ("%y%m%d %H%M%S",)),
    TimeFormat("yymmdd", r"\d{6} [ \d]\d:\d{2}:\d{2}", ("%y%m%d %k:%M:%S",)),
    TimeFormat(
        "yyyymmdd",
        r"\d{8}[T -]?(?:\d{6}|\d{1,2}:\d{1,2}:\d{1,2})(?:[.,:]\d{1,6})?Z?",
        (
            "%Y%m%dT%H%M%SZ",
            "%Y%m%dT%H%M%S",
            "%Y%m%d-%H%M%S",
            "%Y%m%d%H%M%S",
            "%Y%m%d-%H:%M:%S%.f",
            "%Y%m%d %H:%M:%S%.f",
            "%Y%m%dT%H:%M:%S%.f",
            "%Y%m%d %H%M%S%.f",
        ),
    ),
    TimeFormat("mm-dd", rf"\d{{2}}-\d{{2}} {_CLOCK}{_FRACTION}", ("%m-%d %H:%M:%S%.f",), lacks="year"),
    TimeFormat("mm.dd", rf"\d{{2}}\.\d{{2}} {_CLOCK}{_FRACTION}", ("%m.%d %H:%M:%S%.f",), lacks="year"),
    TimeFormat("mmdd", rf"\d{{4}} {_CLOCK}\.\d{{6}}", ("%m%d %H:%M:%S%.f",), lacks="year"),
    TimeFormat("seconds since 1970", r"[12]\d{9}(?:\.\d{1,9})?"),
    TimeFormat("milliseconds since 1970", r"[12]\d{12}"),
    TimeFormat("micro- or nanoseconds since 1970", r"[12]\d{15}(?:\d{3})?"),
    TimeFormat("time of day", rf"{_CLOCK}{_FRACTION}", (_CLOCK_FORMAT,), lacks="date"),
)

# What a text that holds a time of the format holds, all digits written as 0.
_HELD: Final = {
    "ISO 8601": "0000-00-00",
    "year/month/day": "0000/00/00",
    "ISO date with dots": "0000-00-00-00.00.00.000000",
    "weekday, month, day, year": "0 00:00:00",
    "HTTP date": " 0000 00:00:00 GMT",
    "day/month/year:clock": "/0000:00:00:00",
    "day-month-year": "0000 00:00:00",
    "month day year": " 0000 00:00:00",
    "month day": "0 00:00:00",
    "yy/mm/dd": "00/00/00 00:00:00",
    "mm/dd/yyyy, twelve hours": "/0000",
    "mm/dd/yyyy": "00/00/0000",
    "dd.mm.yyyy": "00.00.0000 00:00:00",
    "yymmdd HHMMSS": "000000 000000",
    "yymmdd": "000000 ",
    "yyyymmdd": "00000000",
    "mm-dd": "00-00 00:00:00",
    "mm.dd": "00.00 00:00:00",
    "mmdd": "0000 00:00:00.000000",
    "seconds since 1970": "0" * 10,
    "milliseconds since 1970": "0" * 13,
    "micro- or nanoseconds since 1970": "0" * 16,
    "time of day": "00:00:00",
}
_ZEROS: Final = str.maketrans("123456789", "0" * 9)

# Dates whose order of day and month only the values tell: tried in this order against the sample.
_VARIANTS: Final[dict[str, tuple[str, ...]]] = {
    "yy/mm/dd": ("%y/%m/%d %H:%M:%S%.f", "%m/%d/%y %H:%M:%S%.f", "%d/%m/%y %H:%M:%S%.f"),
    "mm/dd/yyyy, twelve hours": (
        "%m/%d/%Y %I:%M:%S %p",
        "%d/%m/%Y %I:%M:%S %p",
        "%m/%d/%Y. %I:%M:%S %p",
        "%d/%m/%Y. %I:%M:%S %p",
    ),
    "mm/dd/yyyy": ("%m/%d/%Y %H:%M:%S%.f", "%d/%m/%Y %H:%M:%S%.f"),
}
_DAY_WIDTH: Final = len("mm/dd/yyyy")
_GIVEN: Final = ", as given"
_DIRECTIVES: Final = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "m": r"\d{2}",
    "d": r"\d{2}",
    "e": r"[ \d]?\d",
    "H": r"\d{2}",
    "I": r"\d{2}",
    "M": r"\d{2}",
    "S": r"\d{2}",
    "f": r"\d{6}",
    "z": r"(?:Z|[+-]\d{2}:?\d{2})",
    "b": MONTH,
    "B": r"[A-Z][a-z]+",
    "a": WEEKDAY,
    "A": r"[A-Z][a-z]+",
    "p": r"(?i:[ap]m)",
    "j": r"\d{3}",
    "T": _CLOCK,
    "F": r"\d{4}-\d{2}-\d{2}",
    "s": r"\d{10}(?:\.\d+)?",
    "%": "%",
}


def given(text: str) -> TimeFormat:
    r"""The format a user wrote in the dialect of `strptime`; `%f` is any fraction of a second.

    >>> given("%d|%m|%Y %H:%M:%S,%f").pattern
    '\\d{2}\\|\\d{2}\\|\\d{4}\\ \\d{2}:\\d{2}:\\d{2}[.,]\\d{1,9}'

    Raises:
        UsageError: it holds a directive that is not known, or none at all.
    """
    if text == "%s":
        return TimeFormat(text + _GIVEN, _DIRECTIVES["s"])
    pieces = re.findall(r"[.,]%f|%.|[^%]|%$", text)
    unknown = [piece for piece in pieces if piece[0] == "%" and piece[1:] not in _DIRECTIVES]
    if unknown or "%" not in text:
        known = ", ".join(f"%{letter}" for letter in _DIRECTIVES if letter != "%")
        found = f"unknown directive {unknown[0]!r}" if unknown else f"no directive in {text!r}"
        raise UsageError("--time-format", found, f"a strptime format made of {known}")
    pattern = "".join(
        r"[.,]\d{1,9}"
        if piece[1:] == "%f"
        else (_DIRECTIVES[piece[1:]] if piece[0] == "%" else re.escape(piece))
        for piece in pieces
    )
    chrono = "".join("%.f" if piece[1:] == "%f" else piece for piece in pieces)
    chrono = chrono.replace("%z", "%#z").replace("%f", "%6f")
    # As _strptime writes a text before it reads it.
    chrono = re.sub(r"^(%Y.%m.%d|%F)T", r"\1 ", chrono.replace(",", ".", 1))
    chrono = re.sub(r" ?(?:UTC|GMT)$", "Z", chrono)
    dated = re.search("%[YyFs]", text)
    lacks: Lacks = "" if dated else ("year" if re.search("%[mbBj]", text) else "date")
    return TimeFormat(text + _GIVEN, pattern, (chrono,), lacks)


def named(name: str) -> TimeFormat:
    """The format of this name, also one that was given."""
    if name.endswith(_GIVEN):
        return given(name.removesuffix(_GIVEN))
    return next(form for form in FORMATS if form.name == name)


def possible(texts: Sequence[str]) -> list[TimeFormat]:
    """The formats in which any of these texts may hold a time: the others none of them does.

    >>> [form.name for form in possible(["17/06/09 20:10:40 INFO started"])]
    ['yy/mm/dd', 'time of day']
    """
    zeros = "\n".join(texts).translate(_ZEROS)
    held = [form for form in FORMATS if _HELD[form.name] in zeros]
    month = bool(re.search(MONTH, zeros))
    return [form for form in held if month or MONTH not in form.pattern]


def settled(form: TimeFormat, texts: list[str]) -> TimeFormat:
    """The format with the order of day and month that reads all (or most) of these texts."""
    variants = _VARIANTS.get(form.name)
    if variants is None or not texts:
        return form
    samples = {text[:_DAY_WIDTH]: text for text in texts}  # the hour says nothing of the order
    counts = Counter(text[:_DAY_WIDTH] for text in texts)
    written = [(text, counts[day]) for day, text in samples.items() if re.fullmatch(form.pattern, text)]
    column = pl.Series([text for text, _ in written], dtype=pl.String)
    weights = np.array([count for _, count in written])

    def unread(variant: str) -> int:
        return int(weights[_strptime(column, (variant,), "UTC").is_null().to_numpy()].sum())

    best = next((variant for variant in variants if not unread(variant)), None) or min(variants, key=unread)
    return TimeFormat(best.replace("%.f", ""), form.pattern, (best,), form.lacks)


def parse(
    texts: pl.Series, form: TimeFormat, zone: str, calendar: Calendar | None = None
) -> tuple[pl.Series, Calendar | None]:
    """Moments in UTC (null where a text is none), and where the calendar then stands.

    A time without a zone is read in `zone`. A format without a year or date needs a `calendar` and moves it
    on: from December to January, or past midnight, the next year or day begins.

    >>> parse(pl.Series(["17/06/09 20:10:40"]), FORMATS[9], "UTC")[0].to_list()
    [datetime.datetime(2017, 6, 9, 20, 10, 40, tzinfo=zoneinfo.ZoneInfo(key='UTC'))]
    """
    if not form.formats:
        return _since_epoch(texts), calendar
    if not form.lacks:
        return _strptime(texts, form.formats, zone), calendar
    assert calendar is not None
    positions = _positions(texts, form)
    valid = np.flatnonzero(positions >= 0)
    if not valid.size:
        return pl.Series(texts.name, [None] * len(texts), dtype=_SAME_TIME), calendar
    half = 6 if form.lacks == "year" else 12
    steps = np.diff(positions[valid], prepend=calendar.last)
    bases = calendar.base + np.cumsum((steps <= -half).astype(np.int64) - (steps >= half))
    column = np.full(len(texts), calendar.base, dtype=np.int64)
    column[valid] = bases
    dated = _with_base(texts, form, column)
    formats = tuple(("%Y " if form.lacks == "year" else "%Y-%m-%d ") + text for text in form.formats)
    return _strptime(dated, formats, zone), Calendar(int(bases[-1]), int(positions[valid[-1]]))


def letters(form: TimeFormat, zone: str) -> bytes | None:
    """The format as `logad.kernel.passes.moments` reads it, or None: there is more to it than that.

    >>> letters(FORMATS[0], "UTC"), letters(FORMATS[-1], "UTC")
    (b'Y-m-dTH:M:Sf', None)
    """
    if form.lacks or zone != "UTC":
        return None
    if not form.formats:
        return b"s" if form.pattern.startswith(r"[12]\d{9}(") else None
    told = form.formats[0].replace("%.f", "%f")
    pieces = re.findall(r"%.|[^%]", told)
    if any(piece[0] == "%" and piece[1] not in "YymdHMSbf" for piece in pieces) or re.search(
        "[A-Za-z]", re.sub("%.", "", told)
    ):
        return None
    blank = "T" if "[T ]" in form.pattern else " "
    return "".join(piece[-1] if piece != " " else blank for piece in pieces).encode()


def first_calendar(texts: list[str], form: TimeFormat, modified: datetime) -> Calendar:
    """The latest calendar with which the last of these texts lies at most a day after `modified`.

    Where the date is missing, the last of them lies on that day.

    >>> syslog = next(form for form in FORMATS if form.name == "month day")
    >>> first_calendar(["Dec 31 23:59:59", "Jan  1 00:00:01"], syslog, datetime(2024, 1, 2, tzinfo=UTC))
    Calendar(base=2023, last=12)
    """
    column = pl.Series(texts, dtype=pl.String)
    positions = _positions(column, form)
    seen = positions[positions >= 0]
    first = int(seen[0]) if seen.size else 0
    moment = modified.astimezone(UTC)
    latest = moment.year + 1 if form.lacks == "year" else moment.date().toordinal() + 1
    limit = moment + timedelta(days=1)
    if form.lacks == "date":
        limit = moment.replace(hour=23, minute=59, second=59, microsecond=999_999)
    for base in range(latest, latest - 12, -1):
        moments = parse(column, form, "UTC", Calendar(base, first))[0].drop_nulls()
        if not len(moments) or moments[-1] <= limit:
            return Calendar(base, first)
    return Calendar(latest - 1, first)


def _positions(texts: pl.Series, form: TimeFormat) -> NDArray[np.int64]:
    """The month (or hour) of each text; -1 where it is none."""
    if form.lacks == "year":
        leap = "2000 " + texts  # a leap year, so that 29 February is a date
        moments = _strptime(leap, tuple("%Y " + text for text in form.formats), "UTC")
        return moments.dt.month().cast(pl.Int64).fill_null(-1).to_numpy()
    moments = _strptime("2000-01-01 " + texts, tuple("%Y-%m-%d " + text for text in form.formats), "UTC")
    return moments.dt.hour().cast(pl.Int64).fill_null(-1).to_numpy()


def _with_base(texts: pl.Series, form: TimeFormat, bases: NDArray[np.int64]) -> pl.Series:
    distinct = np.unique(bases).tolist()
    if form.lacks == "year":
        names = {base: f"{base:04} " for base in distinct}
    else:
        names = {base: f"{date.fromordinal(max(base, 1)).isoformat()} " for base in distinct}
    return pl.Series(bases).replace_strict(names, return_dtype=pl.String) + texts


def _strptime(texts: pl.Series, formats: tuple[str, ...], zone: str) -> pl.Series:
    """Each text by the first format that reads it; a text is tried with the others only where one fails."""
    clean = texts.str.replace(",", ".", literal=True).str.replace(r"^(\d{4}\S{6})T", "${1} ")
    clean = clean.str.replace(r" ?(?:UTC|GMT)$", "Z").str.replace(r"^(\d{8}.\d+:\d+:\d+):(\d+)$", "${1}.$2")
    found = pl.Series(texts.name, [None], dtype=_SAME_TIME).new_from_index(0, len(texts))
    for form in formats:
        missing = found.is_null() & clean.is_not_null()
        if not missing.any():
            break
        whole = missing.all()
        read = _read(clean if whole else clean.filter(missing), form, zone)
        found = read if whole else found.scatter(missing.arg_true(), read)
    return found


def _read(texts: pl.Series, form: str, zone: str) -> pl.Series:
    if form.endswith("z"):
        zoned = texts.str.to_datetime(form, time_unit="us", strict=False)
        return zoned.dt.convert_time_zone("UTC") if isinstance(zoned.dtype, pl.Datetime) else zoned
    naive = texts.str.to_datetime(form, time_unit="us", strict=False)
    if zone == "UTC":
        return naive.dt.replace_time_zone(zone)
    # An hour that a clock skipped is read as the hour after it.
    later = (naive + timedelta(hours=1)).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    zoned = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").fill_null(later)
    return zoned.dt.convert_time_zone("UTC")


def _since_epoch(texts: pl.Series) -> pl.Series:
    """Numbers since 1970: up to 11 digits are seconds, up to 14 milli-, up to 17 micro-, else nanoseconds."""
    numbers = pl.col("text").cast(pl.Float64, strict=False)
    digits = pl.col("text").str.len_bytes()
    micros = (
        pl.when(numbers.abs() < 1e11)  # noqa: PLR2004  (the docstring's digits)
        .then(numbers * 1e6)
        .when(numbers.abs() < 1e14)  # noqa: PLR2004
        .then(numbers * 1e3)
        .when(numbers.abs() < 1e17)  # noqa: PLR2004
        .then(numbers)
        .otherwise(numbers / 1e3)
    )
    sound = numbers.is_finite() & (digits > 0)
    frame = texts.alias("text").to_frame()
    moments = pl.when(sound).then(micros.round().cast(pl.Int64, strict=False)).cast(_SAME_TIME)
    return frame.select(moments.alias(texts.name or "time")).to_series()
