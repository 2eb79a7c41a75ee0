"""Assembles windows from records that know which window they belong to."""

import numpy as np
import polars as pl

from logad.types import RECORD_SCHEMA, Template, WindowKind
from logad.windows import NO_TIME, WINDOW_SCHEMA, Windows


def grouped(
    kind: WindowKind, records: pl.DataFrame, by: list[str], vocabulary: tuple[Template, ...]
) -> Windows:
    """One window per group of records, in order of their first records."""
    if records.is_empty():
        return no_windows(kind, vocabulary)
    single = pl.col("service").n_unique() == 1
    table = records.group_by(by, maintain_order=True).agg(
        pl.when(single | (kind is WindowKind.SESSION))
        .then(pl.col("service").first())
        .otherwise(pl.col("stream").first())
        .alias("service"),
        pl.col("time").min().alias("start"),
        pl.col("time").max().alias("end"),
    )
    table = table.with_row_index("_window")
    rows = records.join(table.select("_window", *by), on=by, maintain_order="left", nulls_equal=True)
    return assembled(kind, table, rows.sort("_window", maintain_order=True), vocabulary)


def assembled(
    kind: WindowKind, table: pl.DataFrame, rows: pl.DataFrame, vocabulary: tuple[Template, ...]
) -> Windows:
    """Windows from a table with `_window` (0, 1, ...) and the rows of its records, sorted by `_window`.

    A column `_place` says where each record stands in another frame, which then takes the place of this one.
    """
    last_line = pl.col("line") + pl.col("lines").cast(pl.Int64) - 1
    known = pl.col("line") > 0
    spans = rows.group_by("_window", maintain_order=True).agg(
        pl.col("line").filter(known).first().alias("first_line"),
        last_line.filter(known).last().alias("last_line"),
        pl.len().cast(pl.Int64).alias("records"),
    )
    table = table.join(spans, on="_window", how="left", maintain_order="left")
    optional = {"key": pl.String(), "_revision": pl.Int64()}
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in optional.items() if name not in table]
    table = table.with_columns(missing).with_columns(
        pl.col("_revision").fill_null(0).alias("revision"),
        pl.col("records").fill_null(0),
        pl.lit(value=False).alias("learning"),
    )
    counts = table["records"].to_numpy()
    times = rows["time"].dt.epoch("us").fill_null(NO_TIME).to_numpy()
    places = rows["_place"].cast(pl.Int64).to_numpy() if "_place" in rows else np.arange(rows.height)
    internal = [name for name in rows.columns if name.startswith("_") or name == "key"]
    return Windows(
        kind,
        table.select(pl.col(name).cast(dtype) for name, dtype in WINDOW_SCHEMA.items()),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        rows["template"].cast(pl.Int32).to_numpy(),
        times,
        places,
        vocabulary,
        rows.drop(internal),
    )


def no_windows(kind: WindowKind, vocabulary: tuple[Template, ...]) -> Windows:
    """No window of a kind."""
    none = np.empty(0, dtype=np.int64)
    return Windows(
        kind,
        pl.DataFrame(schema=WINDOW_SCHEMA),
        np.zeros(1, dtype=np.int64),
        none.astype(np.int32),
        none,
        none,
        vocabulary,
        pl.DataFrame(schema={**RECORD_SCHEMA, "template": pl.Int32()}),
    )
