"""Turns buffers of bytes into records, as the stream's layout says."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.formats import envelopes, lines, multiline, timestamps
from logad.formats.envelopes import Envelope
from logad.formats.layouts import Header
from logad.formats.multiline import Starts
from logad.formats.timestamps import Calendar, TimeFormat
from logad.telemetry import Telemetry
from logad.types import RECORD_SCHEMA, Buffer, Level

MOST_TEXT: Final = 64 * 1024
MOST_RAW: Final = 1024 * 1024
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

        >>> Layout("/x/web.log.gz", "utf-8", Envelope("plain"), Header(), "UTC", "indent").stem
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
        blank, starts = opening(parts, layout)
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
        times, self._calendar = times_of(firsts, self._layout, self._calendar)
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


def opening(parts: pl.DataFrame, layout: Layout) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which lines are blank and which begin a record, given the parts of each."""
    text = parts["raw"] if layout.envelope.every_line else parts["inner"]
    blank = ~text.str.contains(r"\S").to_numpy()
    return blank, multiline.start_rows(parts, blank, layout.starts, layout.multiline)


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


def times_of(
    firsts: pl.DataFrame, layout: Layout, calendar: Calendar | None
) -> tuple[pl.Series, Calendar | None]:
    """The time of each line that begins a record, given its parts, and where the calendar then stands.

    It is the envelope's; where that gives none, the header's.
    """
    found = pl.Series("time", [None], dtype=RECORD_SCHEMA["time"]).new_from_index(0, len(firsts))
    if layout.envelope.time_format:
        form = timestamps.named(layout.envelope.time_format)
        found, _ = timestamps.parse(firsts["time"], form, layout.zone)
    forms = layout.header.times
    if layout.envelope.time_format or layout.envelope.every_line:
        forms = tuple(form for form in forms if not form.lacks)  # else the wrapped text's clock, without date
    return header_times(found, firsts["time_inner"], forms, layout.zone, calendar)


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
