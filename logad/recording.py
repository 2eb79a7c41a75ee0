"""Turns buffers of bytes into records: the layout is detected once per stream, then locked."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.errors import InputError, UsageError
from logad.formats import envelopes, layouts, lines, multiline, timestamps
from logad.formats.envelopes import Envelope
from logad.formats.layouts import Header
from logad.formats.multiline import Starts
from logad.formats.timestamps import Calendar, TimeFormat
from logad.rules import Format
from logad.telemetry import Telemetry
from logad.types import RECORD_SCHEMA, Buffer, Level

MOST_TEXT: Final = 64 * 1024
MOST_RAW: Final = 1024 * 1024
_SAMPLE_LINES: Final = 5_000
_LEARNED_LINES: Final = 2_000
_GROUPS: Final = {
    "time": "time_inner",
    "level": "level_inner",
    "service": "service_inner",
    "spaced": "spaced",
    "header": "header",
}
_SUFFIX: Final = re.compile(
    r"\.(?:gz|bz2|xz|zst|zstd|log|txt|out|err|json|jsonl|ndjson|\d+|\d{4}-?\d{2}-?\d{2})$", re.IGNORECASE
)


SNIFFED_BYTES: Final = 8192
"""A zero byte among so many first ones means that it is no text."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the user says where the detection guesses wrong; None leaves it to the detection."""

    time_format: str | None = None
    timezone: str = "UTC"
    message_field: str | None = None
    service_field: str | None = None
    multiline: str | None = None  # a regex that a record's first line holds
    encoding: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """How one stream writes its records."""

    stream: str
    encoding: str
    envelope: Envelope
    header: Header
    zone: str
    starts: Starts
    multiline: str | None = None
    calendar: Calendar | None = None
    facts: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """The service of records that name none: the stream's name without folders and endings.

        >>> replace(detect(b"", "/var/log/web.log", Overrides(), None), stream="/x/web.log.gz").stem
        'web'
        """
        name = self.stream.rstrip("/").rsplit("/", 1)[-1]
        while (shorter := _SUFFIX.sub("", name)) not in ("", name):
            name = shorter
        return "stdin" if name in ("", "-") else name

    def as_dict(self) -> dict[str, Any]:
        """As JSON can keep it."""
        return {
            "stream": self.stream,
            "encoding": self.encoding,
            "envelope": self.envelope.as_dict(),
            "header": self.header.as_dict(),
            "zone": self.zone,
            "starts": self.starts,
            "multiline": self.multiline,
            "calendar": list(self.calendar) if self.calendar else None,
            "facts": list(self.facts),
        }

    @staticmethod
    def from_dict(stored: dict[str, Any]) -> "Layout":
        """The layout that `as_dict` described, also after a way through JSON."""
        parts = {
            "envelope": Envelope.from_dict(stored["envelope"]),
            "header": Header.from_dict(stored["header"]),
            "calendar": Calendar(*stored["calendar"]) if stored["calendar"] else None,
            "facts": tuple(stored["facts"]),
        }
        return Layout(**(stored | parts))

    def describe(self) -> list[str]:
        """What was detected, a line each: encoding, format, time, level, service, records."""
        return list(self.facts)


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
    column, _ = lines.split_lines(whole.removeprefix(lines.BYTE_ORDER_MARK), encoding)
    column = column.head(_SAMPLE_LINES)
    filled = column.filter(column.str.contains(r"\S"))
    given = timestamps.given(overrides.time_format) if overrides.time_format else None
    envelope = envelopes.detect(filled.to_list(), overrides.message_field, overrides.service_field, given)
    parts = envelopes.unwrap(filled, envelope)
    inner = parts.filter("sound")["inner"]
    learned = inner.filter(inner.str.contains(r"\S")).gather_every(1 + len(inner) // _LEARNED_LINES)
    known = None if given else layouts.ruled(learned.to_list(), formats)
    header, rule = known or (
        layouts.learn(learned.to_list(), given, wrapped=bool(envelope.time_format)),
        "",
    )
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
        texts = header_parts(inner, header)["time_inner"].drop_nulls().to_list()
        layout = replace(
            layout, calendar=timestamps.first_calendar(texts, header.times[0], modified or datetime.now(UTC))
        )
    records = Recorder(layout, Telemetry()).push(Buffer(stream, stream, whole, 1, "", final=True))
    marked = sample.startswith(lines.BYTE_ORDER_MARK)
    return replace(layout, facts=_facts(layout, records, rule, with_mark=marked))


class Recorder:
    """Cuts one stream's buffers into records, in order; holds back a last record that may go on.

    Every line it is given becomes part of one record or one counted drop. However the bytes are cut into
    buffers (at line ends), the records are the same.
    """

    def __init__(self, layout: Layout, telemetry: Telemetry, state: bytes | None = None) -> None:
        self._layout = layout
        self._telemetry = telemetry
        self._calendar = layout.calendar
        self._pending = pl.Series("raw", [], dtype=pl.String)
        self._source = ""
        self._first_line = 0
        if state:
            stored = json.loads(state)
            self._pending = pl.Series("raw", stored["pending"], dtype=pl.String)
            self._source = stored["source"]
            self._first_line = stored["first_line"]
            self._calendar = Calendar(*stored["calendar"]) if stored["calendar"] else None

    def push(self, buffer: Buffer) -> pl.DataFrame:
        """The records that this buffer completes (RECORD_SCHEMA), in the order of their lines."""
        content = buffer.data
        if buffer.first_line == 1:
            content = content.removeprefix(lines.BYTE_ORDER_MARK)
        fresh, mended = lines.split_lines(content, self._layout.encoding)
        if mended:
            self._telemetry.notes["invalid_bytes"] += mended
        done = []
        if len(self._pending) and buffer.source != self._source:
            done.append(self.flush())
        if not len(self._pending):
            self._source, self._first_line = buffer.source, buffer.first_line
        self._pending = self._pending.append(fresh)
        done.append(self._advance(final=buffer.final))
        return pl.concat(done)

    def flush(self) -> pl.DataFrame:
        """The record held back, taken as complete."""
        return self._advance(final=True)

    @property
    def unfinished(self) -> bool:
        """Whether a last record is held back, since it may go on."""
        return len(self._pending) > 0

    def state(self) -> bytes:
        """What a recorder in another process needs to go on from here."""
        stored = {
            "pending": self._pending.to_list(),
            "source": self._source,
            "first_line": self._first_line,
            "calendar": list(self._calendar) if self._calendar else None,
        }
        return json.dumps(stored).encode()

    def _advance(self, *, final: bool) -> pl.DataFrame:
        """The complete records among the pending lines; what may go on stays pending."""
        layout = self._layout
        parts = envelopes.unwrap(self._pending, layout.envelope)
        parts = parts.hstack(header_parts(parts["inner"], layout.header))
        numbers = np.arange(len(parts), dtype=np.int64)
        sound = parts["sound"].to_numpy()
        if not sound.all():
            numbers = numbers[sound]
            parts = parts.filter(pl.Series(sound))
        text = parts["raw"] if layout.envelope.every_line else parts["inner"]
        blank = ~text.str.contains(r"\S").to_numpy()
        starts = multiline.start_rows(parts, blank, layout.starts, layout.multiline)
        opens = np.flatnonzero(starts)
        end = len(parts)
        held = len(self._pending)
        if not final and not layout.envelope.every_line and opens.size:
            end = int(opens[-1])
            held = int(numbers[end])
            opens = opens[:-1]
        self._telemetry.drop("undecodable", int((~sound[:held]).sum()))
        records = self._assemble(parts.head(end), opens, blank[:end], numbers[:end])
        self._pending = self._pending.slice(held)
        if self._first_line:
            self._first_line += held
        return records

    def _assemble(
        self,
        parts: pl.DataFrame,
        opens: NDArray[np.int64],
        blank: NDArray[np.bool_],
        numbers: NDArray[np.int64],
    ) -> pl.DataFrame:
        """Records of the groups that open at these rows; blank rows at a group's end belong to none."""
        rows = len(parts)
        if not opens.size:
            self._telemetry.drop("empty", rows)
            return pl.DataFrame(schema=RECORD_SCHEMA)
        filled = np.where(blank, opens[0], np.arange(rows))
        ends = np.maximum.reduceat(filled, opens) + 1
        spans = ends - opens
        self._telemetry.drop("empty", rows - int(spans.sum()))
        self._telemetry.accept(len(opens), int(spans.sum()))
        cut = int((spans >= multiline.MOST_LINES).sum())
        if cut:
            self._telemetry.notes["record_cut"] += cut
        firsts = parts[opens]
        raw, text = firsts["raw"], pl.select(pl.coalesce(firsts["text"], firsts["inner"])).to_series()
        if (spans > 1).any():
            raw, text = multiline.joined(parts, opens, spans, raw, text)
        raw, text = self._bounded(raw, text)
        times = self._times(firsts)
        untimed = times.null_count()
        if untimed:
            self._telemetry.notes["without_time"] += untimed
        first_line = self._first_line
        line = numbers[opens] + first_line if first_line else np.zeros(len(opens), dtype=np.int64)
        document = firsts["document"]
        return pl.DataFrame(
            {
                "time": times,
                "service": services(firsts, self._layout),
                "level": levels(firsts),
                "text": text,
                "raw": raw,
                "stream": pl.Series([self._layout.stream], dtype=pl.String).new_from_index(0, len(opens)),
                "source": firsts["source"].fill_null(self._source),
                "line": pl.Series(line).set(document.is_not_null(), 0),
                "lines": pl.Series(spans, dtype=pl.UInt32),
                "document": document,
            },
            schema=RECORD_SCHEMA,
        )

    def _bounded(self, raw: pl.Series, text: pl.Series) -> tuple[pl.Series, pl.Series]:
        long = (text.str.len_chars() > MOST_TEXT) | (raw.str.len_chars() > MOST_RAW)
        if not long.any():
            return raw, text
        self._telemetry.notes["record_truncated"] += int(long.sum())
        return raw.str.head(MOST_RAW), text.str.head(MOST_TEXT)

    def _times(self, firsts: pl.DataFrame) -> pl.Series:
        """The envelope's time; where it gives none, the header's."""
        layout = self._layout
        found = pl.Series("time", [None], dtype=RECORD_SCHEMA["time"]).new_from_index(0, len(firsts))
        if layout.envelope.time_format:
            found, _ = timestamps.parse(
                firsts["time"], timestamps.named(layout.envelope.time_format), layout.zone
            )
        forms = layout.header.times
        if layout.envelope.time_format or layout.envelope.every_line:
            forms = tuple(
                form for form in forms if not form.lacks
            )  # else the wrapped text's clock, without date
        found, self._calendar = header_times(found, firsts["time_inner"], forms, layout.zone, self._calendar)
        return found


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


def header_parts(inner: pl.Series, header: Header) -> pl.DataFrame:
    """Each line's header parts, named as in _GROUPS, and `text`, what follows it; null where no header is."""
    found = {name: pl.Series([None], dtype=pl.String).new_from_index(0, len(inner)) for name in _GROUPS}
    left = pl.Series(range(0))
    for number, pattern in enumerate(header.patterns):
        target = inner.gather(left) if number else inner
        groups = target.str.extract_groups(pattern).struct.unnest()
        for name in groups.columns:
            found[name] = found[name].scatter(left, groups[name]) if number else groups[name]
        left = found["header"].is_null().arg_true()
        if not len(left):
            break
    parts = pl.DataFrame([column.alias(_GROUPS[name]) for name, column in found.items()])
    # A regex that captured the text too would walk through all of it.
    text = pl.when(pl.col("header").is_not_null()).then(pl.lit(inner).str.strip_prefix(pl.col("header")))
    return parts.with_columns(text=text)


def header_times(
    found: pl.Series,
    texts: pl.Series,
    forms: Sequence[TimeFormat],
    zone: str,
    calendar: Calendar | None,
) -> tuple[pl.Series, Calendar | None]:
    """The times found, where there is none those of these texts, and where the calendar then stands."""
    for form in forms:
        if not found.null_count():
            break
        read, calendar = timestamps.parse(texts, form, zone, calendar)
        found = pl.select(pl.coalesce(found, read)).to_series()
    return found, calendar


def services(firsts: pl.DataFrame, layout: Layout) -> pl.Series:
    """The service of each line that begins a record, given its parts."""
    service = firsts["service"]
    if layout.header.serves:
        named = pl.coalesce(pl.col("service_inner"), pl.col("spaced"))
        named = named.str.strip_chars("/ -").str.extract(r"([^/]+)$", 1)
        named = pl.when(named.str.len_bytes() > 0).then(named)
        service = firsts.select(pl.coalesce(pl.col("service"), named)).to_series()
    return service.fill_null(layout.stem)


def levels(firsts: pl.DataFrame) -> pl.Series:
    """The Level of each line that begins a record, given its parts."""
    own = envelopes.level_of(pl.col("level_inner"))
    return firsts.select(pl.coalesce(pl.col("level"), own).fill_null(int(Level.UNKNOWN))).to_series()


def _facts(layout: Layout, records: pl.DataFrame, rule: str, *, with_mark: bool) -> tuple[str, ...]:
    """The layout in words, with what the sample's records say of it."""
    total = max(len(records), 1)
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
    timed = len(records) - records["time"].null_count()
    name = envelope.time_format or " or ".join(form.name for form in layout.header.times)
    place = f' in "{".".join(envelope.time)}"' if envelope.time and envelope.kind != "cri" else ""
    time = (
        f"{name}{place}, read as {layout.zone}, in {timed:,} of {len(records):,} records" if timed else "none"
    )
    if timed and layout.header.lacks and not envelope.time_format:
        time += f"; the {layout.header.lacks} is taken from the file's age"
    levels = int((records["level"] > 0).sum())
    services = records["service"].n_unique()
    named = f"{services:,} services" if services > 1 else "1 service"
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
        f"encoding   {layout.encoding}" + (" with byte order mark" if with_mark else ""),
        f"format     {form}",
        f"time       {time}",
        f"level      in {100 * levels // total} % of records" if levels else "level      none",
        f"service    {service}",
        f"records    {starts}{more}",
    )
