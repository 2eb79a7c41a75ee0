"""What every reading command and function accepts, and its check."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypedDict
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from logad.detection import Overrides
from logad.durations import parse_duration
from logad.errors import UsageError
from logad.types import WindowKind
from logad.windows import Windowing


class ReadOptions(TypedDict, total=False):
    """Options that all readers share, named as on the command line; all may be left out."""

    window: str | None  # a span of time such as "5m"
    window_records: int | None
    session_regex: str | None
    session_field: str | None
    session_timeout: str | None
    since: str | None  # ISO time, or an age such as "2h"
    until: str | None
    time_format: str | None
    timezone: str | None
    message_field: str | None
    service_field: str | None
    multiline: str | None
    encoding: str | None
    seed: int
    config: str | Path | None
    state_dir: str | Path | None


_FIRST_MOMENT: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of a range of time: a moment, or an age counted back from the last record or from now."""

    moment: datetime | None = None
    age: timedelta | None = None

    def resolve(self, newest: datetime) -> datetime:
        """The moment, counted back from `newest` where it is an age."""
        if self.moment is not None:
            return self.moment
        age = self.age or timedelta()
        return newest - age if newest - _FIRST_MOMENT > age else _FIRST_MOMENT


@dataclass(frozen=True, slots=True)
class Reading:
    """The checked options."""

    overrides: Overrides
    windowing: Windowing | None  # None: chosen from the data
    session_timeout_seconds: float | None
    since: Bound | None
    until: Bound | None
    seed: int


_ASKED: Final = "asked for"
LONGEST_SPAN_DAYS: Final = 36_525
"""Windows and ages reach no further: a century."""
WINDOW_OPTIONS: Final = ("window", "window_records", "session_regex", "session_field")


def checked(options: ReadOptions) -> Reading:
    """The options, parsed.

    Raises:
        UsageError: an option cannot be understood, or two exclude each other.

    >>> checked({"window": "5m"}).windowing.span_seconds
    300.0
    """
    timeout = _seconds("--session-timeout", options.get("session_timeout"))
    overrides = Overrides(
        time_format=options.get("time_format"),
        timezone=options.get("timezone") or "UTC",
        message_field=options.get("message_field"),
        service_field=options.get("service_field"),
        multiline=options.get("multiline"),
        encoding=options.get("encoding"),
    )
    return Reading(
        overrides,
        _windowing(options, timeout),
        timeout,
        _bound("--since", options.get("since"), overrides.timezone),
        _bound("--until", options.get("until"), overrides.timezone),
        _seed(options.get("seed", 0)),
    )


def _windowing(options: ReadOptions, timeout: float | None) -> Windowing | None:
    named = {name: value for name in WINDOW_OPTIONS if (value := options.get(name)) is not None}
    flags = [f"--{name.replace('_', '-')}" for name in named]
    if len(named) > 1:
        raise UsageError(" and ".join(flags), "given together", "one of them: they exclude each other")
    if span := _seconds("--window", options.get("window")):
        return Windowing(WindowKind.TIME, span_seconds=span, reason=_ASKED)
    if (size := options.get("window_records")) is not None:
        if size < 1:
            raise UsageError("--window-records", str(size), "a number of records from 1")
        return Windowing(WindowKind.RECORDS, size=size, reason=_ASKED)
    if named:
        if not all(named.values()):
            raise UsageError(flags[0], "empty", "what finds the key of a session")
        regex = options.get("session_regex")
        if regex is not None:
            try:
                re.compile(regex)
            except re.error as error:
                raise UsageError(f"--session-regex {regex}", str(error), "a regular expression") from None
        return Windowing(
            WindowKind.SESSION,
            key_regex=regex,
            key_field=options.get("session_field"),
            timeout_seconds=timeout,
            reason=_ASKED,
        )
    return None


def _seconds(flag: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UsageError(flag, str(error).removeprefix("found ")) from None
    if seconds <= 0:
        raise UsageError(flag, text, "a duration above zero")
    if seconds > LONGEST_SPAN_DAYS * 86_400:
        raise UsageError(flag, text, f"a duration of at most {LONGEST_SPAN_DAYS}d")
    return seconds


def _bound(flag: str, text: str | None, zone: str) -> Bound | None:
    if text is None:
        return None
    try:
        age = parse_duration(text)
    except ValueError:
        pass
    else:
        if age > LONGEST_SPAN_DAYS * 86_400:
            raise UsageError(flag, text, f"an age of at most {LONGEST_SPAN_DAYS}d")
        return Bound(age=timedelta(seconds=age))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(flag, repr(text), "an ISO time or an age such as 2h or 7d") from None
    if moment.tzinfo is None:
        try:
            moment = moment.replace(tzinfo=ZoneInfo(zone))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            expected = "a name of the time zone database, such as UTC or Europe/Berlin"
            raise UsageError("--timezone", f"{zone!r} is not known", expected) from None
    return Bound(moment=moment)


def _seed(seed: int) -> int:
    if not 0 <= seed < 1 << 32:
        raise UsageError("--seed", str(seed), "a whole number from 0 to 4294967295")
    return seed
