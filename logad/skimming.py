"""Reads plain-text logs by the shapes of their lines: each distinct shape is parsed and mined once."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.clocks import Clock, varies
from logad.formats import envelopes, lines, multiline
from logad.mining import Miner
from logad.numbering import Numbering
from logad.recording import (
    MOST_TEXT,
    Layout,
    Recorder,
    header_parts,
    levels,
    services,
)
from logad.shapes import Shapes
from logad.stretches import FLAGS, UNKNOWN, Facts, Skimmed, Stretch
from logad.telemetry import Telemetry
from logad.types import RECORD_SCHEMA, Buffer

SCHEMA: Final[dict[str, pl.DataType]] = {
    name: kind for name, kind in RECORD_SCHEMA.items() if name not in {"raw", "text"}
}
"""Columns of records without what they say."""

_TOGETHER: Final = 16 << 20  # bytes whose new shapes are parsed together, while as many are numbered
_ENCODINGS: Final = frozenset({"utf-8", "cp1252", "latin-1", "ascii"})  # ASCII letters are what they seem
_NO_LINES: Final = np.zeros(0, dtype=np.int32)
_NO_TEXT: Final = pl.Series("raw", [], dtype=pl.String)
_NOTHING_WHOLE: Final = pl.DataFrame(schema={"row": pl.Int64, "raw": pl.String, "level": pl.UInt8})
_Waiting = tuple[Buffer, bytes]


def suits(layout: Layout) -> bool:
    """Whether streams of this layout can be read so: plain text whose records tell themselves apart."""
    plain = layout.envelope.kind == "plain" and layout.envelope.within is None
    return plain and layout.encoding in _ENCODINGS and layout.starts != "given"


class Skimmer:
    """Reads one stream; gives the records that a `Recorder` and the miner's `assign` would give.

    A line's shape decides whether it begins a record, its level, and the template of a record that it is all
    of; records of several lines are read as a whole. Shapes are numbered while the next bytes are read. Where
    `records` is not asked for, leave out what it takes to be fast: `timed`.
    """

    def __init__(
        self,
        layout: Layout,
        miner: Miner,
        telemetry: Telemetry,
        tell: Callable[[str], None] = lambda _: None,
        *,
        timed: bool = True,
    ) -> None:
        self._layout = layout
        self._miner = miner
        self._telemetry = telemetry
        self._tell = tell
        self._waiting: list[_Waiting] = []
        self._carried: Stretch | None = None  # the lines of a last record that may go on
        self._numberings = 0
        self._forget()
        self._names: dict[str, int] = {}
        self._timed = timed
        self._clock = Clock(layout)

    @property
    def services(self) -> list[str]:
        """The services named so far, in order of appearance."""
        return list(self._names)

    def push(self, buffer: Buffer) -> Iterator[Skimmed]:
        """Take a buffer; the records that are complete and were not given yet, once there are many."""
        if self._waiting and self._waiting[-1][0].source != buffer.source:
            yield from self.flush()
        self._take(buffer)
        if buffer.final:
            yield from self.flush()
        elif sum(len(text) for _, text in self._waiting) >= 2 * _TOGETHER:
            yield from self._given(self._older(), final=False)

    def flush(self) -> Iterator[Skimmed]:
        """All that is left, the last record taken as complete."""
        waiting, self._waiting = self._waiting, []
        yield from self._given(waiting, final=True)

    def rest(self) -> None:
        """Give back what is held only to be fast, once all was given and another stream is read."""
        if not self._waiting and self._carried is None:
            self._numbering.close()
            self._forget()

    def _forget(self) -> None:
        self._numbering = Numbering(partial(Shapes, tell=self._tell))
        self._facts = Facts.none()
        self._first = 0  # of the facts: the first of those that the numbers of shapes count from
        self._numberings += 1

    def read(self, raw: Sequence[bytes]) -> pl.DataFrame:
        """Records of this stream, given all lines of each."""
        telemetry = Telemetry()
        recorder = Recorder(self._layout, telemetry)
        stream = self._layout.stream
        records = recorder.push(Buffer(stream, stream, b"".join(raw), 0, "", final=True))
        if len(records) != len(raw):  # one that was cut for its length goes on with lines like any other
            each = [Buffer(stream, stream, one, 0, "", final=True) for one in raw]
            records = pl.concat([records.clear(), *(recorder.push(buffer) for buffer in each)])
        self._telemetry.notes["record_truncated"] += telemetry.notes["record_truncated"]
        return records

    def texts(self, raw: Sequence[bytes]) -> pl.Series:
        """The messages of records of this stream, given all lines of each."""
        return self.read(raw)["text"]

    def raw(self, skimmed: Skimmed, chosen: NDArray[np.int64]) -> pl.Series:
        """Some of the records as they stood in their source."""
        stretch, rows = skimmed.stretch, skimmed.rows[chosen]
        if len(chosen) == len(stretch.shapes):  # decoding all at once is faster
            encoding = self._layout.encoding
            every = (lines.split_lines(text, encoding)[0] for text in stretch.texts)
            raw = pl.concat([_NO_TEXT, *every]).gather(rows)
        else:
            raw = self._lines(stretch.raw_lines(rows, np.ones_like(rows)))
        several = np.flatnonzero(np.isin(rows, skimmed.whole["row"].to_numpy()))
        if several.size:
            known = skimmed.whole["raw"].gather(
                np.searchsorted(skimmed.whole["row"].to_numpy(), rows[several])
            )
            raw = raw.scatter(several, known)
        return raw

    def records(self, skimmed: Skimmed) -> pl.DataFrame:
        """The records with their times as a frame, without what they say."""
        rows, stretch = skimmed.rows, skimmed.stretch
        count = len(rows)
        shapes = stretch.shapes[rows]
        level = self._facts.levels[shapes]
        if len(skimmed.whole):
            known = skimmed.whole.filter(pl.col("row").is_in(rows))
            level[np.searchsorted(rows, known["row"].to_numpy())] = known["level"].to_numpy()
        times = self._clock.read(
            stretch, rows, self._facts.times[shapes], lambda some: self.raw(skimmed, some)
        )
        untimed = times.null_count()
        if untimed:
            self._telemetry.notes["without_time"] += untimed
        stream = pl.Series([self._layout.stream], dtype=pl.String)
        source = pl.Series([stretch.source], dtype=pl.String)
        names = pl.Series(self.services, dtype=pl.String)
        return pl.DataFrame(
            {
                "time": times,
                "service": names.gather(skimmed.services),
                "level": level,
                "stream": stream.new_from_index(0, count),
                "source": source.new_from_index(0, count),
                "line": skimmed.numbers,
                "lines": pl.Series(skimmed.spans, dtype=pl.UInt32),
                "document": pl.Series([None], dtype=pl.String).new_from_index(0, count),
                "template": skimmed.templates,
            },
            schema={**SCHEMA, "template": pl.Int32()},
        )

    def _take(self, buffer: Buffer) -> None:
        text = buffer.data
        if buffer.first_line == 1:
            text = text.removeprefix(lines.BYTE_ORDER_MARK)
        mended = lines.count_mended(text, self._layout.encoding)
        if mended:
            self._telemetry.notes["invalid_bytes"] += mended
        self._numbering.submit(text)
        self._waiting.append((buffer, text))

    def _older(self) -> list[_Waiting]:
        """The first half of what waits; the rest is being numbered."""
        size, count = 0, 0
        while size < _TOGETHER:
            size += len(self._waiting[count][1])
            count += 1
        older, self._waiting = self._waiting[:count], self._waiting[count:]
        return older

    def _given(self, waiting: Sequence[_Waiting], *, final: bool) -> Iterator[Skimmed]:
        with self._telemetry.stage("parse"):
            stretch = self._stretch(waiting)
            rows, spans, end = self._records(stretch, final=final)
        if rows.size:
            with self._telemetry.stage("mine"):
                mined = self._mined(stretch, rows, spans)
            yield mined
        self._carry(stretch, end)

    def _stretch(self, waiting: Sequence[_Waiting]) -> Stretch:
        """The lines that were carried over and those that wait, their new shapes parsed."""
        texts: list[bytes] = []
        starts: list[NDArray[np.int32]] = []
        shapes: list[NDArray[np.int32]] = []
        numbers: list[NDArray[np.int64]] = []
        fresh: list[bytes] = []
        source = ""
        if self._carried is not None:
            texts += self._carried.texts
            starts += self._carried.starts
            shapes.append(self._carried.shapes)
            numbers.append(self._carried.numbers)
            source = self._carried.source
        count = len(self._facts)
        for buffer, text in waiting:
            parts = self._numbering.next()
            for part in parts:
                self._first = count if part.anew else self._first
                count += len(part.firsts)
                shapes.append(part.ids + np.int32(self._first))
                fresh += [
                    text[begin:end]
                    for begin, end in zip(part.firsts.tolist(), part.ends.tolist(), strict=True)
                ]
            texts.append(text)
            starts.append(np.concatenate([_NO_LINES, *(part.starts for part in parts)]))
            first = buffer.first_line
            counted = np.arange(first, first + len(starts[-1]), dtype=np.int64)
            numbers.append(counted if first else np.zeros_like(counted))
            source = buffer.source
        if fresh:
            self._facts = self._facts.followed(self._parsed(fresh))
        bounds = np.cumsum([0, *(len(begins) for begins in starts)], dtype=np.int64)
        shape_of = np.concatenate([_NO_LINES, *shapes])
        number_of = np.concatenate([np.zeros(0, dtype=np.int64), *numbers])
        return Stretch(tuple(texts), tuple(starts), bounds, shape_of, source, number_of, self._numberings)

    def _carry(self, stretch: Stretch, begin: int) -> None:
        """Let the lines from `begin` on wait for what follows them, and forget the shapes that are void."""
        self._carried = None
        kept = np.zeros(0, dtype=np.int64)
        if begin < len(stretch.shapes):
            shapes = stretch.shapes[begin:]
            if self._first:
                used, places = np.unique(shapes, return_inverse=True)
                kept, shapes = used.astype(np.int64), places.astype(np.int32)
            text = stretch.text(begin, len(stretch.shapes))
            starts = np.fromiter((0, *_line_ends(text)), dtype=np.int32)[: len(shapes)]
            bounds = np.asarray([0, len(shapes)], dtype=np.int64)
            numbers = stretch.numbers[begin:]
            self._carried = Stretch(
                (text,), (starts,), bounds, shapes, stretch.source, numbers, self._numberings
            )
        if self._first:
            self._numberings += 1
            self._facts = self._facts.take(np.concatenate([kept, np.arange(self._first, len(self._facts))]))
            self._first = len(kept)

    def _parsed(self, fresh: Sequence[bytes]) -> Facts:
        """What these lines, each of another shape, are by themselves."""
        parts = self._parts(fresh)
        flags = multiline.line_flags(parts, self._layout.starts, None)
        blank = ~parts["inner"].str.contains(r"\S")
        named = services(parts, self._layout)
        stem = self._layout.stem
        codes = [
            UNKNOWN if name != stem and varies(name) else self._names.setdefault(name, len(self._names))
            for name in named
        ]
        text = parts.select(pl.coalesce("text", "inner")).to_series()
        return Facts(
            {name: flag.to_numpy() for name, flag in zip(FLAGS, [*flags.get_columns(), blank], strict=True)},
            levels(parts).cast(pl.UInt8).to_numpy(),
            np.asarray(codes, dtype=np.int32),
            self._clock.places(parts) if self._timed else np.full(len(parts), UNKNOWN, dtype=np.int32),
            np.full(len(fresh), UNKNOWN, dtype=np.int32),
            text.to_list(),
        )

    def _records(self, stretch: Stretch, *, final: bool) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """First line and number of lines of each complete record, and where the one begins that may go on."""
        flags = self._facts.flags
        end = len(stretch.shapes)
        blank = None
        if (flags["opens"] & ~flags["blank"]).all():
            rows = np.arange(end)
        else:
            told = {name: flags[name][stretch.shapes] for name in FLAGS}
            blank = told["blank"]
            rows = np.flatnonzero(multiline.opening_rows(**told, starts=self._layout.starts))
        if rows.size and not final and self._layout.starts != "line":
            end = int(rows[-1])
            rows = rows[:-1]
        spans = np.ones(len(rows), dtype=np.int64)
        if blank is not None and rows.size:
            filled = np.where(blank[:end], rows[0], np.arange(end))
            spans = np.maximum.reduceat(filled, rows) + 1 - rows
        lasted = int(spans.sum())
        self._telemetry.drop("empty", end - lasted)
        self._telemetry.accept(len(rows), lasted)
        cut = int((spans >= multiline.MOST_LINES).sum())
        if cut:
            self._telemetry.notes["record_cut"] += cut
        return rows, spans, end

    def _mined(self, stretch: Stretch, rows: NDArray[np.int64], spans: NDArray[np.int64]) -> Skimmed:
        """The records with their templates; what has a template already is not mined again."""
        shapes = stretch.shapes[rows]
        facts = self._facts
        apart = spans > 1
        long = stretch.longer(MOST_TEXT)
        if long.size:
            apart |= np.isin(rows, long)
        several = np.flatnonzero(apart)
        if not several.size and (facts.templates != UNKNOWN).all():
            return self._kept(stretch, rows, spans, shapes, facts.templates[shapes], _NOTHING_WHOLE)
        alone = np.flatnonzero(~apart)
        first = np.full(len(facts), -1, dtype=np.int64)  # for each shape, the first record that it is all of
        first[shapes[alone][::-1]] = alone[::-1]
        new = np.flatnonzero((first >= 0) & (facts.templates == UNKNOWN))
        whole = self.read(stretch.raw_lines(rows[several], spans[several]))
        distinct = pl.DataFrame(
            {
                "text": [*(facts.texts[shape] for shape in new.tolist()), *whole["text"]],
                "level": np.concatenate([facts.levels[new], whole["level"].to_numpy()]),
                "len": np.concatenate(
                    [np.bincount(shapes[alone], minlength=len(facts))[new], np.ones(len(several))]
                ),
                "at": np.concatenate([first[new], several]),
            },
            schema={"text": pl.String, "level": pl.UInt8, "len": pl.UInt32, "at": pl.Int64},
        ).with_row_index("row")
        distinct = (
            distinct.sort("at").with_columns(template=self._miner.codes(distinct.sort("at"))).sort("row")
        )
        codes = distinct["template"].to_numpy()
        facts.templates[new] = codes[: len(new)]
        for shape in new.tolist():
            facts.texts[shape] = ""
        templates = facts.templates[shapes]
        templates[several] = codes[len(new) :]
        whole = whole.with_columns(row=pl.Series(rows[several], dtype=pl.Int64))
        return self._kept(stretch, rows, spans, shapes, templates, whole)

    def _kept(  # noqa: PLR0913, PLR0917  (what a record has)
        self,
        stretch: Stretch,
        rows: NDArray[np.int64],
        spans: NDArray[np.int64],
        shapes: NDArray[np.int32],
        templates: NDArray[np.int32],
        whole: pl.DataFrame,
    ) -> Skimmed:
        """The records that no rule says to ignore."""
        kept = self._miner.kept(templates)
        if not kept.all():
            rows, spans, shapes, templates = rows[kept], spans[kept], shapes[kept], templates[kept]
        return Skimmed(stretch, rows, spans, templates, self._named(stretch, rows, shapes), whole)

    def _named(
        self, stretch: Stretch, rows: NDArray[np.int64], shapes: NDArray[np.int32]
    ) -> NDArray[np.int32]:
        """The service of each record: of its shape, or read where lines of one shape name different ones."""
        named = self._facts.services[shapes]
        unknown = np.flatnonzero(named == UNKNOWN)
        if unknown.size:
            ones = np.ones(len(unknown), dtype=np.int64)
            found = services(self._parts(stretch.raw_lines(rows[unknown], ones)), self._layout)
            named[unknown] = [self._names.setdefault(name, len(self._names)) for name in found]
        return named

    def _lines(self, raw: Sequence[bytes]) -> pl.Series:
        """Lines as text."""
        whole = b"".join(line.rstrip(b"\n") + b"\n" for line in raw)
        return lines.split_lines(whole, self._layout.encoding)[0]

    def _parts(self, raw: Sequence[bytes]) -> pl.DataFrame:
        """The parts of lines."""
        parts = envelopes.unwrap(self._lines(raw), self._layout.envelope)
        return parts.hstack(header_parts(parts["inner"], self._layout.header))


def _line_ends(text: bytes) -> list[int]:
    return [match.end() for match in re.finditer(rb"\n", text)]
