"""Reads the shape of a message: its text with everything variable replaced by typed placeholders."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.rules import Mask

_HEX_RUN: Final = 8  # no ordinary word has eight letters in a row that are all a-f
_UUID_RUN: Final = 36  # hexadecimal digits and dashes in a row
_EXCEPTION_LINE: Final = r"\n\s*(?:Caused by: )?((?:[\w$]+\.)*[\w$]*(?:Exception|Error|Throwable))\b"
_ZERO: Final = ord("0")
_NEWLINE: Final = ord("\n")
_ROWS: Final = 50_000  # joined at a time: bounds memory
_PIECE: Final = 1 << 17  # bytes

_ANY: Final = r"<(?:[A-Z][A-Z0-9_]*|\*)>"
# Joins what the masks left in pieces: lists of one kind, variables that touch, words glued to them.
_JOINS: Final[tuple[tuple[str, str], ...]] = (
    *(
        (rf"{kind}(?:(?: ?[,;|] ?| |[-./:_+*@]){kind})+", kind)
        for kind in ("<NUM>", "<ID>", "<IP>", "<HEX>", "<PATH>", "<UUID>", "<HOST>")
    ),
    (rf"{_ANY}(?:[-._@+$\\]*{_ANY})+", "<ID>"),
    (r"<(?:ID|NUM|HEX|UUID)>(?:[:/]<(?:ID|NUM|HEX|UUID)>)+", "<ID>"),
    (rf"(?:\w+[_-])+{_ANY}", "<ID>"),
    (rf"{_ANY}(?:[._-]\w+)+", "<ID>"),
)


def shapes(texts: pl.Series, masks: Sequence[Mask]) -> pl.DataFrame:
    """The shape of each text, through the few distinct *reduced* texts: columns `row` order kept, `shape`.

    Equal texts have equal shapes, whatever else is in the column: nothing here remembers.
    """
    frame = reduced(heads(texts)).rename("reduced").to_frame()
    distinct = frame.unique(maintain_order=True)
    distinct = distinct.with_columns(masked(distinct["reduced"], masks).alias("shape"))
    return frame.join(distinct, on="reduced", how="left", maintain_order="left").select("shape")


def heads(texts: pl.Series) -> pl.Series:
    r"""What tells kinds of record apart: the first line, and of a stack trace the last exception's class.

    >>> heads(pl.Series(["plain", "it broke\n  at f()\nCaused by: java.io.IOException: disk"])).to_list()
    ['plain', 'it broke | java.io.IOException']
    """
    text = pl.col("text")
    long = text.str.contains("\n", literal=True)
    frame = texts.fill_null("").rename("text").to_frame()
    if not frame.select(long.any()).item():
        return frame["text"]
    first = text.str.split_exact("\n", 1).struct.field("field_0")
    cause = text.str.extract_all(_EXCEPTION_LINE).list.last().str.extract(_EXCEPTION_LINE)
    stacked = pl.when(cause.is_null()).then(first).otherwise(pl.concat_str(first, cause, separator=" | "))
    spread = frame.with_row_index("at")
    traced = spread.filter(long).select("at", stacked.alias("head"))
    return spread.join(traced, on="at", how="left", maintain_order="left").select(
        pl.coalesce("head", "text").alias("text")
    )["text"]


def reduced(texts: pl.Series) -> pl.Series:
    """The texts with digits in a row, and long hexadecimal runs, read as zeros; lengths stay.

    One pass over the bytes of the whole column; makes millions of texts a few thousand before any regex runs.

    >>> reduced(pl.Series(["from 10.0.0.17 on tty2", "id a489c868f0c3"])).to_list()
    ['from 00.0.0.00 on tty2', 'id 000000000000']
    """
    slices = [_reduced_at_once(piece.to_series()) for piece in texts.to_frame().iter_slices(_ROWS)]
    return pl.concat(slices) if slices else texts


def _reduced_at_once(texts: pl.Series) -> pl.Series:
    joined = bytearray(texts.str.join("\n").item().encode())
    column = np.frombuffer(joined, dtype=np.uint8)
    begun = 0
    while begun < len(joined):  # pieces that stay in the processor's cache, cut where a text ends
        end = joined.find(b"\n", begun + _PIECE)
        end = len(joined) if end < 0 else end
        _zero_runs(column[begun:end])
        begun = end
    return pl.Series(texts.name, [joined.decode()]).str.split("\n").explode()


def _zero_runs(text: NDArray[np.uint8]) -> None:
    digit = (text - np.uint8(_ZERO)) < 10  # noqa: PLR2004  (unsigned: smaller characters wrap round)
    hexadecimal = digit | (((text | np.uint8(32)) - np.uint8(ord("a"))) < 6)  # noqa: PLR2004
    variable = _in_runs(digit, 2) | _in_runs(hexadecimal, _HEX_RUN)
    variable |= hexadecimal & _in_runs(hexadecimal | (text == ord("-")), _UUID_RUN)
    text[variable] = _ZERO


def masked(texts: pl.Series, masks: Sequence[Mask]) -> pl.Series:
    """The texts with each mask applied in order, white space collapsed and neighbouring variables joined."""
    text = pl.col("text").str.replace_all(r"\s+", " ").str.strip_chars(" ")
    for mask in masks:
        text = text.str.replace_all(mask.regex, mask.replacement)
    for regex, placeholder in _JOINS:
        text = text.str.replace_all(regex, placeholder)
    return texts.rename("text").to_frame().select(text)["text"]


def _in_runs(flags: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """Which positions lie in a run of at least `length` set flags: an erosion, then a dilation."""
    steps = _doublings(length)
    starts = flags
    for step in steps:
        if not starts.any():
            return np.zeros(len(flags), dtype=np.bool_)
        kept = np.zeros_like(starts)
        kept[: len(starts) - step] = starts[: len(starts) - step] & starts[step:]
        starts = kept
    for step in steps:
        grown = starts.copy()
        grown[step:] |= starts[: len(starts) - step]
        starts = grown
    return starts


def _doublings(length: int) -> list[int]:
    """Shifts that together reach `length` positions: 1, 2, 4, ... and the rest."""
    steps, reach = [], 1
    while reach < length:
        step = min(reach, length - reach)
        steps.append(step)
        reach += step
    return steps
