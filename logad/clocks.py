"""Reads the times of records by the shapes of their lines: where a time stands is found once a shape."""

import re
from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.canonical import canonical
from logad.formats import timestamps
from logad.kernel.numbered import place
from logad.recording import Layout, header_parts, header_times
from logad.shapes import moments
from logad.stretches import UNKNOWN, UNTIMED, Stretch
from logad.types import RECORD_SCHEMA
from logad.windows import NO_TIME

_VALUE: Final = re.compile(r"[0-9]{2}|0x0")  # in a canonical text


class Clock:
    """The times of one stream, whose years and days of months go on from record to record."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._calendar = layout.calendar
        self._headers = [re.compile(pattern) for pattern in layout.header.patterns]
        forms = layout.header.times
        self._letters = timestamps.letters(forms[0], layout.zone) if forms else None

    def places(self, parts: pl.DataFrame) -> NDArray[np.int32]:
        """Where the time begins in lines of these shapes, given the parts of one line of each."""
        places = np.full(len(parts), UNKNOWN, dtype=np.int32)
        if self._letters is None:
            return places
        time = pl.col("time_inner")
        before = pl.col("raw").str.split_exact(time, 1).struct.field("field_0")
        once = pl.col("raw").str.count_matches(time, literal=True) == 1
        timed = parts.select("raw", time, before=pl.when(time.is_not_null()).then(before), once=once)
        for row, (line, moment, ahead, single) in enumerate(timed.iter_rows()):
            if moment is None:
                places[row] = UNTIMED
            elif single or self._begins(line) == len(ahead):
                *blanks, rest = ahead.split(" ")
                # Blanks stand in the same places in all lines of a shape; values between them may be longer.
                if not rest or not varies(rest):
                    places[row] = place(len(blanks), len(rest.encode()))
        return places

    def read(
        self,
        stretch: Stretch,
        rows: NDArray[np.int64],
        places: NDArray[np.int32],
        raw: Callable[[NDArray[np.int64]], pl.Series],
    ) -> pl.Series:
        """The time of each record: read where its shape has it, else as any header is read.

        `rows` are the first lines of the records, `places` where the times begin in these; `raw` gives the
        texts of some of the records.
        """
        layout = self._layout
        found = np.full(len(rows), NO_TIME)
        unread = np.arange(len(rows))
        if self._letters is not None:
            for text, starts, begin, end in zip(
                stretch.texts, stretch.starts, stretch.bounds, stretch.bounds[1:], strict=False
            ):
                here = slice(*np.searchsorted(rows, (begin, end)))
                found[here] = moments(text, starts[rows[here] - begin], places[here], self._letters)
            unread = np.flatnonzero((found == NO_TIME) & (places != UNTIMED))
        times = pl.Series("time", found)
        if (found == NO_TIME).any():
            times = times.set(pl.Series(found == NO_TIME), None)
        times = times.cast(RECORD_SCHEMA["time"])
        if unread.size and layout.header.times:
            texts = header_parts(raw(unread), layout.header)["time_inner"]
            none = times.gather(unread)
            read, self._calendar = header_times(none, texts, layout.header.times, layout.zone, self._calendar)
            times = times.scatter(unread, read) if len(unread) < len(times) else read
        return times.alias("time")

    def _begins(self, line: str) -> int:
        """The character at which the header's time begins in a line, or -1."""
        match = next((match for match in (header.match(line) for header in self._headers) if match), None)
        return -1 if match is None else match.start("time")


def varies(text: str) -> bool:
    """Whether lines of one shape may have another text in the place of this one.

    >>> varies("web"), varies("tty2"), varies("web12")
    (False, False, True)
    """
    flat = canonical(text)
    return flat != text or _VALUE.search(flat) is not None
