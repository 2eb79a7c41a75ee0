"""Finds the session keys of records: by a regular expression, or by the name of a field."""

import re

import polars as pl

from logad.errors import UsageError
from logad.windows import Windowing


def session_keys(raw: pl.Series, windowing: Windowing) -> pl.Series:
    r"""The distinct keys of each record in order of appearance, List[String]; empty where it has none.

    >>> from logad.types import WindowKind
    >>> by_block = Windowing(WindowKind.SESSION, key_regex=r"blk_-?\d+")
    >>> session_keys(pl.Series(["del blk_1 blk_-2 blk_1", "idle"]), by_block).to_list()
    [['blk_1', 'blk_-2'], []]
    """
    if windowing.key_field is not None:
        keys = field_values(raw, windowing.key_field)
    else:
        keys = _matches(raw, windowing.key_regex or "")
    present = (pl.element() != "").fill_null(value=False)
    tidy = pl.col("keys").list.eval(pl.element().filter(present)).list.unique(maintain_order=True)
    return keys.alias("keys").to_frame().select(tidy.fill_null([])).to_series()


def field_values(raw: pl.Series, name: str) -> pl.Series:
    """The values of a field as List[String]: JSON (nested or with dots in its name), else `name=value`."""
    literal = name.replace("\\", "\\\\").replace("'", "\\'")
    nested = "".join(f"['{part}']" for part in literal.split("."))
    column = pl.col("raw")
    is_json = column.str.starts_with("{")
    pair = rf"""(?:^|[^\w.-]){re.escape(name)}["']?\s*[=:]\s*["']?([^\s"',;&\])}}]+)"""
    found = (
        pl.when(is_json)
        .then(
            pl.coalesce(
                column.str.json_path_match(f"$['{literal}']"),
                column.str.json_path_match(f"${nested}"),
                column.str.extract(pair, 1),
            )
        )
        .otherwise(column.str.extract(pair, 1))
    )
    return raw.alias("raw").to_frame().select(pl.concat_list(found)).to_series()


def _matches(raw: pl.Series, pattern: str) -> pl.Series:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise UsageError(f"--session-regex {pattern}", f"{error}", "a regular expression") from None
    try:
        matches = raw.str.extract_all(pattern)
        if groups:
            first = pl.element().str.extract(pattern, 1)
            matches = matches.alias("k").to_frame().select(pl.col("k").list.eval(first)).to_series()
    except pl.exceptions.ComputeError as error:
        why = next((line for line in str(error).splitlines() if line.startswith("error: ")), "")
        why = why.removeprefix("error: ") or "it cannot be used"
        raise UsageError(
            f"--session-regex {pattern}", why, "a regular expression without look-around"
        ) from None
    return matches
