"""Reads numbers in lines of equal shape: where they stand and what one is worth is found once a shape."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.canonical import LONG
from logad.kernel.numbered import NOWHERE, NUMBERS, SLOW, number_place
from logad.measuring import slots
from logad.parameters import located, quantities
from logad.shapes import flattened
from logad.skimming import Skimmer
from logad.stretches import Skimmed
from logad.types import Template

if TYPE_CHECKING:
    from logad.kernel.passes import Compiled

_RUN: Final = re.compile(r"[0-9A-Za-z]+")
_PLAIN: Final = re.compile(r"([-+]?)([0-9]+)(\.[0-9]+)?( ?(?:%|[A-Za-z]{0,7})(?:/s(?:ec)?)?)")
_FLAT: Final = re.compile(r"0{1,15}([A-Za-z]*)")  # digits, and what is left of letters behind them
_STEADY: Final = re.compile(r"000[A-Za-z]*|0{16}|0x0|[A-Za-z]+00")
"""How runs are flattened of which none is a number if one is none."""
_RAISED: Final = re.compile(r"[0-9][eE][-+]?[0-9]")


@dataclass(slots=True)
class Places:
    """Where the numbers stand in lines of each shape of one numbering."""

    places: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, NUMBERS), dtype=np.int32))
    factors: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, NUMBERS)))
    known: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))

    def grow(self, count: int) -> None:
        """Have room for so many shapes."""
        more = count - len(self.known)
        if more > 0:
            self.known = np.concatenate([self.known, np.zeros(more, dtype=np.bool_)])
            self.places = np.concatenate([self.places, np.full((more, NUMBERS), NOWHERE, dtype=np.int32)])
            self.factors = np.concatenate([self.factors, np.ones((more, NUMBERS))])

    def unknown(self, shapes: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Those of the shapes that were never asked for, and where each is first."""
        at = np.flatnonzero(~self.known[shapes])
        new, first = np.unique(shapes[at], return_index=True)
        self.known[new] = True
        return new, at[first]


@dataclass(frozen=True, slots=True)
class _Examples:
    """A line of each of some shapes."""

    places: Places
    shapes: NDArray[np.int32]
    codes: list[int]
    lines: list[bytes]


class Gauges:
    """Learns of lines whose templates tell numbers where these stand, then reads them."""

    def __init__(self, vocabulary: tuple[Template, ...], compiled: "Compiled") -> None:
        self._vocabulary = vocabulary
        self._compiled = compiled
        self._places: dict[tuple[Skimmer, int], Places] = {}
        self._examples: dict[Skimmer, list[_Examples]] = {}

    def look(
        self,
        skimmed: Skimmed,
        skimmer: Skimmer,
        chosen: NDArray[np.int64],
        codes: NDArray[np.int32],
        told: NDArray[np.bool_],
    ) -> None:
        """Take note of the shapes of some records with these templates; only those `told` tell numbers."""
        at = np.flatnonzero(told & ~_apart(skimmed, chosen))
        rows = skimmed.rows[chosen[at]]
        places = self._places.setdefault((skimmer, skimmed.stretch.numbering), Places())
        places.grow(int(skimmed.stretch.shapes.max()) + 1)
        new, first = places.unknown(skimmed.stretch.shapes[rows])
        if new.size:
            lines = skimmed.stretch.raw_lines(rows[first], np.ones_like(first))
            examples = _Examples(places, new, codes[at[first]].tolist(), lines)
            self._examples.setdefault(skimmer, []).append(examples)

    def find(self) -> None:
        """Find the places in lines of the shapes that were noted."""
        for skimmer, groups in self._examples.items():
            lines = [line.rstrip(b"\r\n").decode("latin-1") for each in groups for line in each.lines]
            codes = [code for each in groups for code in each.codes]
            distinct: dict[tuple[str, int], int] = {}
            flat = flattened(lines)
            keys = zip(flat, codes, strict=True)
            numbers = np.asarray([distinct.setdefault(key, len(distinct)) for key in keys])
            first = np.unique(numbers, return_index=True)[1]
            examples = [line for each in groups for line in each.lines]
            found, factors = _found(
                skimmer.read([examples[at] for at in first.tolist()]),
                [flat[at] for at in first.tolist()],
                np.asarray([codes[at] for at in first.tolist()], dtype=np.int32),
                self._vocabulary,
            )
            for each in groups:
                mine, numbers = numbers[: len(each.lines)], numbers[len(each.lines) :]
                each.places.places[each.shapes] = found[mine]
                each.places.factors[each.shapes] = factors[mine]
        self._examples.clear()

    def read(
        self,
        skimmed: Skimmed,
        skimmer: Skimmer,
        chosen: NDArray[np.int64],
        told: NDArray[np.bool_],
        out: NDArray[np.float32],
    ) -> NDArray[np.int64]:
        """Write to `out` what some records tell, ascending; those that are to be read in another way."""
        stretch, rows = skimmed.stretch, skimmed.rows
        if len(chosen) < len(rows):
            rows = rows[chosen]
        places = self._places[skimmer, stretch.numbering]
        unread = 0
        for text, starts, begin, end in zip(
            stretch.texts, stretch.starts, stretch.bounds.tolist(), stretch.bounds[1:].tolist(), strict=False
        ):
            here = slice(*np.searchsorted(rows, (begin, end)).tolist())
            arrays = places.places, places.factors
            unread += self._compiled.numbers(
                text, starts, stretch.shapes, begin, rows[here], *arrays, out[here]
            )
        apart = _apart(skimmed, chosen)
        out[apart & ~told] = np.nan  # what their first lines would tell
        otherwise = apart & told
        if unread:
            otherwise |= np.isinf(out).any(axis=1)
        return np.flatnonzero(otherwise)


def _apart(skimmed: Skimmed, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of some records were read as a whole, not by shapes."""
    if not len(skimmed.whole):
        return np.zeros(len(chosen), dtype=np.bool_)
    return np.isin(skimmed.rows[chosen], skimmed.whole["row"].to_numpy())


def _found(
    records: pl.DataFrame,
    flat: Sequence[str],
    codes: NDArray[np.int32],
    vocabulary: tuple[Template, ...],
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Where numbers stand in lines of the shapes of these records, and what one is worth.

    `flat` are their lines in canonical form.
    """
    found = np.full((len(codes), NUMBERS), NOWHERE if records.height == len(codes) else SLOW, dtype=np.int32)
    alike = np.full((len(codes), NUMBERS), "", dtype=object)  # a number with the sign and the unit of each
    for code in np.unique(codes).tolist() if records.height == len(codes) else []:
        rows = np.flatnonzero(codes == code)
        template = vocabulary[code].text
        part = records[rows]
        columns = [
            series.to_list() for pair in located(template, part["text"], slots(template)) for series in pair
        ]
        for row, raw, text, *values in zip(rows.tolist(), part["raw"], part["text"], *columns, strict=True):
            for column, (place, told) in enumerate(_placed(raw, _RUN.findall(flat[row]), text, values)):
                found[row, column], alike[row, column] = place, told
    worth = quantities(pl.Series(alike.ravel().tolist(), dtype=pl.String))["value"].cast(pl.Float64)
    factors = worth.to_numpy().reshape(found.shape)
    found[(found >= 0) & np.isnan(factors)] = NOWHERE  # the unit is none
    return found, factors


def _placed(
    raw: str, flat: Sequence[str], text: str, told: Sequence[str | None]
) -> Iterator[tuple[int, str]]:
    """The place of each number in lines of a shape, and one with its sign and unit.

    Of one such line: all of it, its runs in canonical form, its message, and in turn what stands before a
    number and at it.
    """
    runs = _RUN.findall(raw)
    begins = [run.start() for run in _RUN.finditer(raw)]
    fits = raw.endswith(text) and len(flat) == len(runs)
    at = len(raw) - len(text)
    for before, value in zip(told[::2], told[1::2], strict=True):
        if before is None or value is None:
            yield NOWHERE, ""
            continue
        at += len(before)
        yield _place(value, at, begins, runs, flat) if fits else (SLOW, "")
        at += len(value)


def _place(
    value: str, at: int, begins: Sequence[int], runs: Sequence[str], flat: Sequence[str]
) -> tuple[int, str]:
    """The place of a value that stands at `at`, where these runs begin, and a number of its sign and unit."""
    plain = _PLAIN.fullmatch(value)
    run = bisect_left(begins, at + (len(plain[1]) if plain else 0))
    if plain is None or _RAISED.search(value):
        last = bisect_left(begins, at + len(value))
        steady = not _RAISED.search(value) and all(
            one == other or _STEADY.fullmatch(other)
            for one, other in zip(runs[run:last], flat[run:last], strict=True)
        )
        return (NOWHERE if steady else SLOW), ""
    sign, digits, fraction, rest = plain.groups(default="")
    if max(len(digits), len(fraction) - 1) >= LONG:
        return NOWHERE, ""  # an identifier, as all of this shape
    parts = [digits, fraction[1:]] if fraction else [digits]
    fixed = run < len(begins) and begins[run] == at + len(sign)
    for number, part in enumerate(parts):
        glued = _RUN.match(rest) if number == len(parts) - 1 else None
        whole = part + (glued[0] if glued else "")
        fixed = fixed and runs[run + number] == whole and _is_fixed(whole, flat[run + number])
    if not fixed:
        return SLOW, ""
    lettered = bool(rest) and rest[0].isascii() and rest[0].isalpha()
    return number_place(run, fraction=bool(fraction), lettered=lettered), f"{sign}1{rest}"


def _is_fixed(run: str, flat: str) -> bool:
    """Whether in lines of one shape only the digits differ that a run begins with."""
    match = _FLAT.fullmatch(flat)
    return run == flat or (match is not None and run.removesuffix(match[1]).isdigit())
