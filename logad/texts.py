"""The texts of records: kept as they were read, decoded for those that are asked for."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.gauges import Gauges
from logad.measuring import Measures, measures, telling
from logad.numbering import THREADS
from logad.shapes import passes
from logad.skimming import Skimmer
from logad.stretches import Skimmed
from logad.types import Template
from logad.windows import MOST_VALUES

_NONE: Final = pl.Series([], dtype=pl.String)


class _Piece(Protocol):
    size: int  # bytes of text that are to be read again

    def raw(self, chosen: NDArray[np.int64]) -> pl.Series: ...
    def messages(self, chosen: NDArray[np.int64]) -> pl.Series: ...
    def look(
        self, gauges: Gauges, chosen: NDArray[np.int64], codes: NDArray[np.int32], told: NDArray[np.bool_]
    ) -> None: ...
    def read(
        self, gauges: Gauges, chosen: NDArray[np.int64], told: NDArray[np.bool_], out: Measures
    ) -> NDArray[np.int64]: ...


class Texts:
    """What records of a corpus say, each known by its place: 0 for the first that was added."""

    def __init__(self) -> None:
        self._pieces: list[_Piece] = []
        self._bounds = [0]

    def read(self, records: pl.DataFrame) -> pl.DataFrame:
        """Take the columns `raw` and `text` of records; their `place` stands instead."""
        return records.drop("raw", "text").with_columns(
            self._added(_Read(records["raw"], records["text"]), records.height)
        )

    def skimmed(self, records: Skimmed, skimmer: Skimmer) -> pl.DataFrame:
        """Take records of which only the shapes were read; as a frame with their `place`."""
        frame = skimmer.records(records)
        return frame.with_columns(self._added(_Skimmed(records, skimmer), frame.height))

    def raw(self, places: NDArray[np.int64]) -> pl.Series:
        """The records as they stood in their source."""
        return self._gathered(places, lambda piece, chosen: piece.raw(chosen))

    def messages(self, places: NDArray[np.int64]) -> pl.Series:
        """The records without their headers."""
        return self._gathered(places, lambda piece, chosen: piece.messages(chosen))

    def measures(
        self, places: NDArray[np.int64], codes: NDArray[np.int32], vocabulary: tuple[Template, ...]
    ) -> Measures | None:
        """The numbers that the records at these places, of these templates, tell; None where none can."""
        if not (places[1:] > places[:-1]).all():
            order = np.argsort(places)
            found = self.measures(places[order], codes[order], vocabulary)
            if found is not None:
                found[order] = found.copy()
            return found
        told = telling(codes, vocabulary)
        compiled = passes(sum(piece.size for piece in self._pieces)) if told.any() else None
        if compiled is None:
            return measures(codes, vocabulary, lambda rows: self.messages(places[rows]))
        gauges = Gauges(vocabulary, compiled)
        bounds = np.searchsorted(places, self._bounds).tolist()
        parts = [
            (piece, slice(begin, end), first)
            for piece, begin, end, first in zip(self._pieces, bounds, bounds[1:], self._bounds, strict=False)
            if begin < end
        ]
        for piece, here, first in parts:
            piece.look(gauges, places[here] - first, codes[here], told[here])
        gauges.find()
        found = np.empty((len(codes), MOST_VALUES), dtype=np.float32)

        def read(part: tuple[_Piece, slice, int]) -> NDArray[np.int64]:
            piece, here, first = part
            unread = piece.read(gauges, places[here] - first, told[here], found[here])
            unread += here.start
            return unread

        with ThreadPoolExecutor(THREADS) as threads:
            slow = np.concatenate(list(threads.map(read, parts)))
        rest = measures(codes[slow], vocabulary, lambda rows: self.messages(places[slow[rows]]))
        if rest is not None:
            found[slow] = rest
        return found

    def _added(self, piece: _Piece, count: int) -> pl.Series:
        begin = self._bounds[-1]
        self._pieces.append(piece)
        self._bounds.append(begin + count)
        return pl.int_range(begin, begin + count, dtype=pl.Int64, eager=True).alias("place")

    def _gathered(
        self, places: NDArray[np.int64], of: Callable[[_Piece, NDArray[np.int64]], pl.Series]
    ) -> pl.Series:
        """The texts at these places, in their order."""
        pieces = np.searchsorted(self._bounds, places, side="right") - 1
        order = np.argsort(pieces, kind="stable")
        found = [_NONE]
        for number in np.unique(pieces).tolist():
            begin, end = np.searchsorted(pieces, (number, number + 1), sorter=order)
            found.append(of(self._pieces[number], places[order[begin:end]] - self._bounds[number]))
        texts = pl.concat([part.rename("") for part in found])
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return texts.gather(back)


class _Read:
    """Records that were read one by one."""

    size = 0

    def __init__(self, raw: pl.Series, messages: pl.Series) -> None:
        self._raw = raw
        self._messages = messages

    def raw(self, chosen: NDArray[np.int64]) -> pl.Series:
        return self._raw.gather(chosen)

    def messages(self, chosen: NDArray[np.int64]) -> pl.Series:
        return self._messages.gather(chosen)

    def look(
        self, gauges: Gauges, chosen: NDArray[np.int64], codes: NDArray[np.int32], told: NDArray[np.bool_]
    ) -> None:
        """There are no shapes."""

    def read(
        self, _gauges: Gauges, _chosen: NDArray[np.int64], told: NDArray[np.bool_], out: Measures
    ) -> NDArray[np.int64]:
        out[:] = np.nan
        return np.flatnonzero(told)


class _Skimmed:
    """Records that were read by the shapes of their lines."""

    def __init__(self, records: Skimmed, skimmer: Skimmer) -> None:
        self._records = records
        self._skimmer = skimmer
        self.size = sum(map(len, records.stretch.texts))

    def raw(self, chosen: NDArray[np.int64]) -> pl.Series:
        return self._skimmer.raw(self._records, chosen)

    def messages(self, chosen: NDArray[np.int64]) -> pl.Series:
        return self._skimmer.texts(self._records.raw(chosen))

    def look(
        self, gauges: Gauges, chosen: NDArray[np.int64], codes: NDArray[np.int32], told: NDArray[np.bool_]
    ) -> None:
        gauges.look(self._records, self._skimmer, chosen, codes, told)

    def read(
        self, gauges: Gauges, chosen: NDArray[np.int64], told: NDArray[np.bool_], out: Measures
    ) -> NDArray[np.int64]:
        return gauges.read(self._records, self._skimmer, chosen, told, out)
