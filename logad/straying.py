"""Tells the few times that lie so far from all others that they are mistakes, as of a clock not yet set."""

from typing import Final

import polars as pl

FEW: Final = 0.001
"""At most this share of the times, or one of them, at either end."""
FEWEST_TIMES: Final = 20
"""Fewer times than this do not tell which of them is strange."""
_DAY: Final = 86_400_000_000  # microseconds


def stray(times: pl.Series) -> pl.Series:
    """Whether each time is further from the rest than the rest is long, and further than a day (Boolean).

    Args:
        times: moments in any order; one that is null is not stray.

    >>> from datetime import datetime, timedelta
    >>> noon = datetime(2024, 5, 1, 12)
    >>> times = [datetime(1970, 1, 1), *(noon + timedelta(seconds=second) for second in range(99))]
    >>> stray(pl.Series(times)).arg_true().to_list()
    [0]
    """
    ordered = times.drop_nulls().dt.epoch("us")
    ordered = ordered if ordered.is_sorted() else ordered.sort()
    if len(ordered) < FEWEST_TIMES:
        return pl.Series(times.name, [False], dtype=pl.Boolean).new_from_index(0, len(times))
    few = max(1, int(FEW * len(ordered)))
    reach = max(int(ordered[-1 - few] - ordered[few]), _DAY)
    before = (ordered[: few + 1].diff() > reach).arg_true()
    after = (ordered[-few - 1 :].diff() > reach).arg_true()
    first = ordered[int(before[-1])] if len(before) else ordered[0]
    last = ordered[len(ordered) - few - 2 + int(after[0])] if len(after) else ordered[-1]
    return (~times.dt.epoch("us").is_between(first, last)).fill_null(value=False)
