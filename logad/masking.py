"""Reads the shape of a message: its text with everything variable replaced by typed placeholders."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, reduce
from typing import Final

import polars as pl

from logad.formats.traces import heads
from logad.rules import Mask
from logad.shapes import flattened as canonical_texts

__all__ = ["flattened", "heads", "masked", "shapes"]

_ANY: Final = r"<(?:[A-Z][A-Z0-9_]*|\*)>"
_LISTED: Final = ("<NUM>", "<ID>", "<IP>", "<HEX>", "<PATH>", "<UUID>", "<HOST>", "<JSON>")
# Joins what the masks left in pieces: lists of one kind, variables that touch, words glued to them.
_JOINS: Final[tuple[tuple[str, str], ...]] = (
    (
        "|".join(rf"({kind})(?:(?: ?[,;|] ?| |[-./:_+*@]+){kind})+" for kind in _LISTED),
        "".join(f"${{{at}}}" for at in range(1, len(_LISTED) + 1)),
    ),
    (rf"{_ANY}(?:[-._@+$\\/~]*{_ANY})+", "<ID>"),
    (r"<(?:ID|NUM|HEX|UUID)>(?:[:/]<(?:ID|NUM|HEX|UUID)>)+", "<ID>"),
    (rf"\b[a-z][\w-]*@{_ANY}", "<ID>"),
    (rf"\B@({_ANY})", "$1"),
    (rf"(?:[\w.$]+[-_/]+)+{_ANY}", "<ID>"),
    (rf"\b\w+(?:\.\w+){{2,}}:{_ANY}", "<ID>"),
    (rf"{_ANY}(?:[._@-]+\w+|/[a-z]\w*)+", "<ID>"),
)

# Polars remembers 32 compiled regexes in each thread. A thread that uses more, in turn, compiles each of them
# every time: twenty milliseconds a call. An expression of more steps than a few is left to threads of Polars.
_REMEMBERED: Final = 24
_AT_ONCE: Final = 3
_THREADS: Final[list[ThreadPoolExecutor]] = []

_FLAG: Final = r"([=:] ?)(?:true|false)\b"


def shapes(texts: pl.Series, masks: Sequence[Mask]) -> pl.DataFrame:
    """The shape of each text, through the few distinct canonical texts: row order kept, column `shape`.

    Equal texts have equal shapes, whatever else is in the column: nothing here remembers.
    """
    frame = flattened(heads(texts)).rename("canonical").to_frame()
    distinct = frame.unique(maintain_order=True)
    distinct = distinct.with_columns(masked(distinct["canonical"], masks).alias("shape"))
    return frame.join(distinct, on="canonical", how="left", maintain_order="left").select("shape")


def flattened(texts: pl.Series) -> pl.Series:
    """The canonical form of each text."""
    return pl.Series(texts.name, canonical_texts(texts.to_list()), dtype=pl.String)


def masked(texts: pl.Series, masks: Sequence[Mask]) -> pl.Series:
    """The texts with each mask applied in order, white space collapsed and neighbouring variables joined."""
    text = pl.col("text").str.replace_all(r"\s+", " ").str.strip_chars(" ")
    # One flag is a state, several are settings.
    several = text.str.count_matches(_FLAG) > 1
    text = pl.when(several).then(text.str.replace_all(_FLAG, "$1<*>")).otherwise(text)
    clean = texts.rename("text").to_frame().select(text)
    return _replaced(clean, tuple((mask.regex, mask.replacement) for mask in masks) + _JOINS)["text"]


def _replaced(texts: pl.DataFrame, replacements: tuple[tuple[str, str], ...]) -> pl.DataFrame:
    """The texts with each regex replaced in order, by threads that each know few enough of them."""
    for number, steps in enumerate(_steps(replacements)):
        if number == len(_THREADS):
            _THREADS.append(ThreadPoolExecutor(max_workers=1, thread_name_prefix="masks"))
        texts = _THREADS[number].submit(_in_turn, texts, steps).result()
    return texts


@lru_cache(maxsize=4)
def _steps(replacements: tuple[tuple[str, str], ...]) -> tuple[tuple[pl.Expr, ...], ...]:
    """For each thread, what it does to the column `text`, one after another."""
    steps = []
    for begin in range(0, len(replacements), _REMEMBERED):
        part = replacements[begin : begin + _REMEMBERED]
        each = (part[at : at + _AT_ONCE] for at in range(0, len(part), _AT_ONCE))
        steps.append(tuple(reduce(_replacing, several, pl.col("text")) for several in each))
    return tuple(steps)


def _replacing(text: pl.Expr, replacement: tuple[str, str]) -> pl.Expr:
    return text.str.replace_all(*replacement)


def _in_turn(texts: pl.DataFrame, steps: Sequence[pl.Expr]) -> pl.DataFrame:
    for step in steps:
        texts = texts.select_seq(step)
    return texts
