"""logad on batches of a hundred raw lines to a template each: warm, without the start of a process.

python benchmarks/peers/batches.py LOG
"""

import sys
from pathlib import Path

from clocked import clocked

from logad.detection import Overrides, detect
from logad.mining import Miner
from logad.skimming import Skimmer
from logad.telemetry import Telemetry
from logad.types import Buffer

BATCH_LINES = 100
WARM_LINES = 2000


def batches(path: Path) -> None:
    """Print what the batches after the first ones take."""
    lines = path.read_bytes().splitlines(keepends=True)
    miner = Miner()
    layout = detect(b"".join(lines[:WARM_LINES]), path.name, Overrides(), None)
    skimmer = Skimmer(layout, miner, Telemetry(), timed=False)

    def mine(batch: list[bytes]) -> None:
        for records in skimmer.push(Buffer(path.name, path.name, b"".join(batch), 1, "", final=True)):
            assert len(records.templates) == len(batch)

    def rest() -> int:
        for start in range(WARM_LINES, len(lines), BATCH_LINES):
            mine(lines[start : start + BATCH_LINES])
        return len(miner.vocabulary)

    mine(lines[:WARM_LINES])
    clocked(rest, len(lines) - WARM_LINES)


if __name__ == "__main__":
    batches(Path(sys.argv[1]))
