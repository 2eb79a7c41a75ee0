"""Tells which lines make up one record."""

from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

Starts = Literal["line", "header", "indent", "given"]
"""What begins a record: every line, a header with a time, a line that is not indented, the user's regex."""

MOST_LINES: Final = 10_000
"""A record with more lines is cut, so that memory stays bounded."""
CONTINUES: Final = (
    r"^(?:\s|Caused by:|Suppressed:|Traceback \(most recent|During handling of the above"
    r"|The above exception was|goroutine \d+ \[|\.\.\. \d+ more|[})\]]+[;,]?\s*$)"
)
"""How lines begin that go on with a record."""
_RAISED: Final = r"^[A-Za-z_][\w.]*(?:Error|Exception|Warning|Exit|Interrupt)\b"


def start_rows(
    parts: pl.DataFrame, blank: NDArray[np.bool_], starts: Starts, regex: str | None
) -> NDArray[np.bool_]:
    """Which lines begin a record, shape (lines,); the first that is not blank always does.

    `parts` has the columns `inner` (a line), `header` (null where it has none) and `partial` (the next line
    is the rest of this one).

    >>> lines = pl.DataFrame({"inner": ["failed", "  at x", "ok"], "partial": [False] * 3})
    >>> start_rows(lines, np.zeros(3, dtype=bool), "indent", None).tolist()
    [True, False, True]
    """
    flags = line_flags(parts, starts, regex)
    told = {name: flags[name].to_numpy() for name in flags.columns}
    return opening_rows(**told, blank=blank, starts=starts)


def line_flags(parts: pl.DataFrame, starts: Starts, regex: str | None) -> pl.DataFrame:
    """What each line is by itself, whatever stands before it: the columns that `opening_rows` takes."""
    inner = parts["inner"]
    raised = indented = pl.Series([False]).new_from_index(0, len(inner))
    if starts == "line":
        opens = ~raised
    elif starts == "given":
        assert regex is not None
        opens = inner.str.contains(regex)
    elif starts == "header":
        opens = parts["header"].is_not_null()
    else:
        opens = ~inner.str.contains(CONTINUES)
        raised = inner.str.contains(_RAISED)
        indented = inner.str.contains(r"^\s")
    return pl.DataFrame({"opens": opens, "raised": raised, "indented": indented, "partial": parts["partial"]})


def opening_rows(  # noqa: PLR0913  (a flag each)
    *,
    opens: NDArray[np.bool_],
    raised: NDArray[np.bool_],
    indented: NDArray[np.bool_],
    partial: NDArray[np.bool_],
    blank: NDArray[np.bool_],
    starts: Starts,
) -> NDArray[np.bool_]:
    """Which lines begin a record, given what each line is by itself: see `start_rows`."""
    if starts == "line":
        return ~blank
    # A Python traceback ends with the exception, not indented, below indented lines.
    found = opens & ~(raised & _shifted(indented)) & ~_shifted(partial) & ~blank
    filled = np.flatnonzero(~blank)
    if filled.size:
        found[filled[0]] = True
    rows = np.arange(len(found))
    opened = np.maximum.accumulate(np.where(found, rows, 0)) if rows.size else rows
    found |= ((rows - opened) % MOST_LINES == 0) & (rows > opened) & ~blank
    return found


def _shifted(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The flags of the line before each."""
    shifted = np.zeros_like(flags)
    shifted[1:] = flags[:-1]
    return shifted


def joined(
    parts: pl.DataFrame, opens: NDArray[np.int64], spans: NDArray[np.int64], raw: pl.Series, text: pl.Series
) -> tuple[pl.Series, pl.Series]:
    """The raw and message texts of all records, given those of their first lines.

    Record r has the `spans[r]` lines of `parts` from `opens[r]` on. A line that is the rest of the one before
    it is joined without a newline.
    """
    several = np.flatnonzero(spans > 1)
    owner = np.repeat(several, spans[several])
    begins = np.cumsum(spans[several]) - spans[several]
    within = np.arange(len(owner)) - np.repeat(begins, spans[several])
    rows = opens[owner] + within
    first = pl.Series(within == 0)
    glued = pl.Series(parts["partial"].to_numpy()[np.maximum(rows - 1, 0)])
    body = pl.when(first).then(pl.coalesce("text", "inner")).when(glued).then("inner")
    texts = (
        parts[rows]
        .select("raw", body=body.otherwise(pl.lit("\n") + pl.col("inner")), owner=pl.Series(owner))
        .group_by("owner", maintain_order=True)
        .agg(pl.col("raw").str.join("\n"), pl.col("body").str.join(""))
    )
    return raw.scatter(several, texts["raw"]), text.scatter(several, texts["body"])
