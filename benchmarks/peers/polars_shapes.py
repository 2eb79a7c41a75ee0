"""The least that a template miner in Polars does: one mask, and a number for every distinct shape.

python benchmarks/peers/polars_shapes.py LOG
"""

import sys
from pathlib import Path

import polars as pl
from clocked import clocked

MASK = "[A-Za-z]*[0-9][0-9A-Za-z]*"


def ids() -> int:
    """Give every line of the file the number of its shape; returns how many there are."""
    log = pl.read_csv(
        sys.argv[1],
        separator="\x01",  # one column
        has_header=False,
        new_columns=["line"],
        quote_char=None,
        infer_schema=False,
        encoding="utf8-lossy",
    )
    shapes = log["line"].str.replace_all(MASK, "<*>").cast(pl.Categorical)
    return shapes.to_physical().n_unique()


if __name__ == "__main__":
    with Path(sys.argv[1]).open("rb") as log:
        count = sum(1 for _ in log)
    clocked(ids, count)
