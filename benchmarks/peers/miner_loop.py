"""logad's miner over messages in memory, warm, without reading and without the start of a process.

python benchmarks/peers/miner_loop.py MESSAGES
"""

import sys
from pathlib import Path

import polars as pl
from clocked import clocked

from logad.mining import Miner

TOGETHER = 10_000


def main() -> None:
    """Print what the loop took."""
    lines = Path(sys.argv[1]).read_text(encoding="utf-8", errors="replace").splitlines()
    records = pl.DataFrame({"text": lines, "level": 2}, schema={"text": pl.String, "level": pl.UInt8})
    Miner().assign(records[:1])  # compiles the masks
    miner = Miner()

    def loop() -> int:
        for begin in range(0, len(lines), TOGETHER):
            miner.assign(records[begin : begin + TOGETHER])
        return len(set(miner.standing().tolist()))

    clocked(loop, len(lines))


if __name__ == "__main__":
    main()
