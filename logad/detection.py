"""Detects the layout of a stream from a sample of it: once, for it is then locked."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from logad.errors import InputError, UsageError
from logad.formats import envelopes, layouts, lines, timestamps
from logad.formats.envelopes import Envelope
from logad.formats.layouts import Header
from logad.formats.multiline import Starts
from logad.recording import Layout, header_parts, levels, opening, services, times_of
from logad.rules import Format

SNIFFED_BYTES: Final = 8192
"""A zero byte among so many first ones means that it is no text."""
_MOST_LINES: Final = 2_000
_RUN_LINES: Final = 16
"""So many lines in a row are looked at, for a record may have several."""
_TOLD_LINES: Final = 500
"""So many tell the share of records with a time or level; of services the more lines tell, the better."""
_CALENDAR_LINES: Final = 5_000
_FILLED: Final = re.compile(r"\S").search


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the user says where the detection guesses wrong; None leaves it to the detection."""

    time_format: str | None = None
    timezone: str = "UTC"
    message_field: str | None = None
    service_field: str | None = None
    multiline: str | None = None  # a regex that a record's first line holds
    encoding: str | None = None


def detect(
    sample: bytes,
    stream: str,
    overrides: Overrides,
    modified: datetime | None,
    formats: Sequence[Format] = (),
) -> Layout:
    r"""The layout of a stream, from its first bytes: up to a megabyte of them.

    `modified`, when the file last changed, gives the year or date where the log has none; None means now.
    `formats` are tried before a header is learned, unless a time format is given.

    >>> layout = detect(b"2024-01-02 03:04:05 INFO ready\n", "web.log", Overrides(), None)
    >>> layout.describe()[2]
    'time       ISO 8601, read as UTC, in 1 of 1 records'

    Raises:
        InputError: the sample is no text.
        UsageError: an override names no encoding, time zone, format or regex that is known.
    """
    _check(overrides)
    if b"\0" in sample[:SNIFFED_BYTES]:  # pipes cannot be looked at before they are read, as files are
        raise InputError(stream, "binary", "text, plain or compressed", "convert it, or leave it out")
    whole = sample[: sample.rfind(b"\n") + 1] or sample
    encoding = overrides.encoding or lines.detect_encoding(whole)
    written = whole.removeprefix(lines.BYTE_ORDER_MARK).removesuffix(b"\n").split(b"\n")
    looked = _spread(written)
    texts = _texts(looked, encoding)
    given = timestamps.given(overrides.time_format) if overrides.time_format else None
    envelope = envelopes.detect(texts.to_list(), overrides.message_field, overrides.service_field, given)
    parts = envelopes.unwrap(texts, envelope).filter("sound")
    learned = list(filter(_FILLED, parts["inner"].to_list()))
    known = None if given else layouts.ruled(learned, formats)
    header, rule = known or (layouts.learn(learned, given, wrapped=bool(envelope.time_format)), "")
    layout = Layout(
        stream=stream,
        encoding=encoding,
        envelope=envelope,
        header=header,
        zone=overrides.timezone,
        starts=_starts(envelope, header, overrides),
        multiline=overrides.multiline,
    )
    if header.lacks:
        first = envelopes.unwrap(_texts(written[:_CALENDAR_LINES], encoding), envelope).filter("sound")
        clocks = header_parts(first["inner"], header)["time_inner"].drop_nulls().to_list()
        calendar = timestamps.first_calendar(clocks, header.times[0], modified or datetime.now(UTC))
        layout = replace(layout, calendar=calendar)
    some = len(looked) < len(written)
    if some and envelope.kind == "plain" and not header.serves:
        parts = parts.gather_every(math.ceil(len(parts) / _TOLD_LINES))
    parts = parts.hstack(header_parts(parts["inner"], header))
    encoded = encoding + " with byte order mark" * sample.startswith(lines.BYTE_ORDER_MARK)
    return replace(layout, facts=_facts(layout, parts, rule, encoded, some=some))


def _spread(written: list[bytes]) -> list[bytes]:
    """All lines, or of many some runs of them from everywhere."""
    step = _RUN_LINES * math.ceil(len(written) / _MOST_LINES)
    return [line for first in range(0, len(written), step) for line in written[first : first + _RUN_LINES]]


def _texts(written: list[bytes], encoding: str) -> pl.Series:
    """These lines as text, save blank ones."""
    texts = lines.decoded(b"\n".join(written), encoding).split("\n")
    filled = [text.removesuffix("\r") for text in texts if _FILLED(text)]
    return pl.Series("raw", filled, dtype=pl.String)


def _check(overrides: Overrides) -> None:
    if overrides.encoding:
        lines.check_encoding(overrides.encoding)
    try:
        ZoneInfo(overrides.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        expected = "a name of the time zone database, such as UTC or Europe/Berlin"
        raise UsageError("--timezone", f"{overrides.timezone!r} is not known", expected) from None
    if overrides.multiline:
        try:
            pl.Series([""]).str.contains(overrides.multiline)
        except pl.exceptions.ComputeError as error:
            reason = str(error).splitlines()[-1].strip()
            expected = "a regex without look-around or back-references"
            raise UsageError("--multiline", f"{overrides.multiline!r}: {reason}", expected) from None


def _starts(envelope: Envelope, header: Header, overrides: Overrides) -> Starts:
    if envelope.every_line:
        return "line"
    if overrides.multiline:
        return "given"
    return "header" if header.times else "indent"


def _facts(layout: Layout, parts: pl.DataFrame, rule: str, encoded: str, *, some: bool) -> tuple[str, ...]:
    """The layout in words, with what all or `some` lines of the sample, given their parts, say of it."""
    firsts = parts.filter(opening(parts, layout)[1].tolist())
    times, _ = times_of(firsts, layout, layout.calendar)
    total = len(firsts)
    envelope = layout.envelope
    kinds = {
        "plain": "plain text",
        "json": "JSON lines",
        "docker": "JSON lines of Docker",
        "logfmt": "logfmt",
        "cri": "lines of a container runtime (CRI)",
    }
    form = kinds[envelope.kind] + (", documents of OpenSearch" if envelope.documents else "")
    if envelope.within:
        form += ", JSON lines in them" if envelope.within.kind == "json" else ", logfmt in them"
    if envelope.message:
        form += ", message in " + ", ".join(f'"{".".join(path)}"' for path in envelope.message)
    if layout.header.patterns and envelope.kind != "plain":
        form += ", each with a header of its own"
    if rule:
        form += f", by the rule {rule!r}"
    timed = total - times.null_count()
    name = envelope.time_format or " or ".join(form.name for form in layout.header.times)
    place = f' in "{".".join(envelope.time)}"' if envelope.time and envelope.kind != "cri" else ""
    share = f"{100 * timed // max(total, 1)} % of" if some else f"{timed:,} of {total:,}"
    time = f"{name}{place}, read as {layout.zone}, in {share} records" if timed else "none"
    if timed and layout.header.lacks and not envelope.time_format:
        time += f"; the {layout.header.lacks} is taken from the file's age"
    levelled = int((levels(firsts) > 0).sum())
    count = services(firsts, layout).n_unique()
    named = f"{count:,} service{'s' * (count > 1)}{' or more' * some}"
    if envelope.service:
        suffix = " without replica hash" if envelope.pods else ""
        service = f'"{".".join(envelope.service)}"{suffix}, {named}'
    elif layout.header.serves:
        source = {
            "program": "program's name",
            "file": "file named in each line",
            "compose": "container's name",
        }
        service = f"the {source[layout.header.serves]}, {named}"
    else:
        service = f"{layout.stem}, the name of the stream"
    starts = {
        "line": "every line",
        "header": "start at a timestamp",
        "indent": "start at a line that is not indented",
        "given": f"start at {layout.multiline}",
    }[layout.starts]
    more = "" if layout.starts == "line" else "; other lines continue the record above"
    return (
        f"encoding   {encoded}",
        f"format     {form}",
        f"time       {time}",
        f"level      in {100 * levelled // total} % of records" if levelled else "level      none",
        f"service    {service}",
        f"records    {starts}{more}",
    )
