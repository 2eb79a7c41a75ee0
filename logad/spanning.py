"""Says which window of time each record belongs to, of whichever service."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.windows import tallied

MARK: Final = "_mark"
"""Column: the watermark when a record was released, microseconds."""
_SMALL: Final = 1 << 16


def coded(records: pl.DataFrame) -> tuple[list[str], NDArray[np.int64]]:
    """The services of records, and of each record its place among them."""
    if records.is_empty():
        return [], np.zeros(0, dtype=np.int64)
    names = records["service"].unique()
    codes = records["service"].replace_strict(names, range(len(names)), return_dtype=pl.Int64)
    return names.to_list(), codes.to_numpy()


def found(
    table: pl.DataFrame, spans: NDArray[np.int64], services: NDArray[np.int64], names: Sequence[str]
) -> NDArray[np.uint32]:
    """The window of each record: the row of a table in order of `_span` and `service` that has both."""
    order = {name: place for place, name in enumerate(sorted({*names, *table["service"]}))}
    first = int(spans.min()) if len(spans) else 0
    of_windows = (table["_span"].to_numpy() - first) * len(order)
    of_windows += np.asarray([order[name] for name in table["service"]], dtype=np.int64)
    ranks = np.asarray([order[name] for name in names], dtype=np.int64)
    of_records = (spans - first) * len(order) + ranks[services]
    return np.searchsorted(of_windows, of_records).astype(np.uint32)


def by_window(records: pl.DataFrame, window: NDArray[np.uint32]) -> pl.DataFrame:
    """The records of windows of time in order of these, and in time within each."""
    rows = records.with_columns(pl.Series("_window", window))
    if not len(window):
        return rows
    # Late records are released after what they precede in time, or with it, as the input was cut.
    moment = records["time"].dt.epoch("us").fill_null(records[MARK])
    if "_place" in rows.columns:
        rows = rows.drop("service", "stream", MARK, "_span")  # the less there is, the faster it is sorted
    small = window.astype(np.uint16) if window.max() < _SMALL else window  # these are sorted by their digits
    if not moment.is_sorted():
        order = np.argsort(moment.to_numpy(), kind="stable")  # most are in order
        return rows[order[np.argsort(small[order], kind="stable")]]
    if (window[1:] >= window[:-1]).all():
        return rows
    return rows[np.argsort(small, kind="stable")]


def pairs(
    spans: NDArray[np.int64], services: NDArray[np.int64], names: Sequence[str]
) -> Iterator[tuple[int, str]]:
    """The spans that services have records in."""
    if not len(spans):
        return
    first = int(spans.min())
    keys = (spans - first) * len(names) + services
    for pair in tallied(keys, int(keys.max()) + 1)[0].tolist():
        span, service = divmod(pair, len(names))
        yield first + span, names[service]
