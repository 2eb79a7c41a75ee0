"""Drain3's loop over messages in memory, with the masks of its own example or, with --bare, without any.

python benchmarks/peers/drain3_loop.py MESSAGES [--bare]
"""

import sys
from pathlib import Path

from clocked import clocked
from drain3 import TemplateMiner
from drain3.masking import MaskingInstruction
from drain3.template_miner_config import TemplateMinerConfig

EXAMPLE_MASKS = (  # of Drain3's examples/drain3.ini
    (r"((?<=[^A-Za-z0-9])|^)(([0-9a-f]{2,}:){3,}([0-9a-f]{2,}))((?=[^A-Za-z0-9])|$)", "ID"),
    (r"((?<=[^A-Za-z0-9])|^)(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})((?=[^A-Za-z0-9])|$)", "IP"),
    (r"((?<=[^A-Za-z0-9])|^)([0-9a-f]{6,} ?){3,}((?=[^A-Za-z0-9])|$)", "SEQ"),
    (r"((?<=[^A-Za-z0-9])|^)([0-9A-F]{4} ?){4,}((?=[^A-Za-z0-9])|$)", "SEQ"),
    (r"((?<=[^A-Za-z0-9])|^)(0x[a-f0-9A-F]+)((?=[^A-Za-z0-9])|$)", "HEX"),
    (r"((?<=[^A-Za-z0-9])|^)([\-\+]?\d+)((?=[^A-Za-z0-9])|$)", "NUM"),
    (r"(?<=executed cmd )(\".+?\")", "CMD"),
)


def main() -> None:
    """Print what the loop took."""
    lines = Path(sys.argv[1]).read_text(encoding="utf-8", errors="replace").splitlines()
    config = TemplateMinerConfig()
    if "--bare" not in sys.argv:
        config.masking_instructions = [MaskingInstruction(regex, name) for regex, name in EXAMPLE_MASKS]
    miner = TemplateMiner(config=config)

    def loop() -> int:
        for line in lines:
            miner.add_log_message(line)
        return len(miner.drain.clusters)

    clocked(loop, len(lines))


if __name__ == "__main__":
    main()
