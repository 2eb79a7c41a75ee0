"""Reads the shape of a message: its text with everything variable replaced by typed placeholders."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from logad.rules import Mask
from logad.shapes import flattened as canonical_texts

_EXCEPTION_LINE: Final = r"\n\s*(?:Caused by: )?((?:[\w$]+\.)*[\w$]*(?:Exception|Error|Throwable))\b"

_ANY: Final = r"<(?:[A-Z][A-Z0-9_]*|\*)>"
# Joins what the masks left in pieces: lists of one kind, variables that touch, words glued to them.
_JOINS: Final[tuple[tuple[str, str], ...]] = (
    *(
        (rf"{kind}(?:(?: ?[,;|] ?| |[-./:_+*@#]+){kind})+", kind)
        for kind in ("<NUM>", "<ID>", "<IP>", "<HEX>", "<PATH>", "<UUID>", "<HOST>", "<JSON>")
    ),
    (rf"{_ANY}(?:[-._@+$\\/#~]*{_ANY})+", "<ID>"),
    (r"<(?:ID|NUM|HEX|UUID)>(?:[:/]<(?:ID|NUM|HEX|UUID)>)+", "<ID>"),
    (rf"\b[a-z][\w-]*@{_ANY}", "<ID>"),
    (rf"(?:[\w.$]+[-_/]+)+{_ANY}", "<ID>"),
    (rf"{_ANY}(?:[._@-]+\w+|/[a-z]\w*)+", "<ID>"),
)


def shapes(texts: pl.Series, masks: Sequence[Mask]) -> pl.DataFrame:
    """The shape of each text, through the few distinct canonical texts: row order kept, column `shape`.

    Equal texts have equal shapes, whatever else is in the column: nothing here remembers.
    """
    frame = flattened(heads(texts)).rename("canonical").to_frame()
    distinct = frame.unique(maintain_order=True)
    distinct = distinct.with_columns(masked(distinct["canonical"], masks).alias("shape"))
    return frame.join(distinct, on="canonical", how="left", maintain_order="left").select("shape")


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


def flattened(texts: pl.Series) -> pl.Series:
    """The canonical form of each text."""
    return pl.Series(texts.name, canonical_texts(texts.to_list()), dtype=pl.String)


def masked(texts: pl.Series, masks: Sequence[Mask]) -> pl.Series:
    """The texts with each mask applied in order, white space collapsed and neighbouring variables joined."""
    text = pl.col("text").str.replace_all(r"\s+", " ").str.strip_chars(" ")
    for mask in masks:
        text = text.str.replace_all(mask.regex, mask.replacement)
    for regex, placeholder in _JOINS:
        text = text.str.replace_all(regex, placeholder)
    return texts.rename("text").to_frame().select(text)["text"]
