"""Lines a second from a raw file to templates and to verdicts, beside Drain3's own loop in the same run."""

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from drain3 import TemplateMiner
from drain3.masking import MaskingInstruction
from drain3.template_miner_config import TemplateMinerConfig

from logad import api, batch
from logad.demo.system import lines
from logad.mining import Miner
from logad.preparation import Setup
from logad.telemetry import Telemetry

HOURS = 24.0
EXAMPLE_MASKS = (  # of Drain3's examples/drain3.ini
    (r"((?<=[^A-Za-z0-9])|^)(([0-9a-f]{2,}:){3,}([0-9a-f]{2,}))((?=[^A-Za-z0-9])|$)", "ID"),
    (r"((?<=[^A-Za-z0-9])|^)(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})((?=[^A-Za-z0-9])|$)", "IP"),
    (r"((?<=[^A-Za-z0-9])|^)([0-9a-f]{6,} ?){3,}((?=[^A-Za-z0-9])|$)", "SEQ"),
    (r"((?<=[^A-Za-z0-9])|^)([0-9A-F]{4} ?){4,}((?=[^A-Za-z0-9])|$)", "SEQ"),
    (r"((?<=[^A-Za-z0-9])|^)(0x[a-f0-9A-F]+)((?=[^A-Za-z0-9])|$)", "HEX"),
    (r"((?<=[^A-Za-z0-9])|^)([\-\+]?\d+)((?=[^A-Za-z0-9])|$)", "NUM"),
    (r"(?<=executed cmd )(\".+?\")", "CMD"),
)
LOOP_LINES = 20_000
"""Drain3 gets so many of the lines: its loop is slow, and its speed is flat."""


def generated(folder: Path) -> Path:
    """A day of the demo's shop in one file."""
    path = folder / "shop.log"
    with path.open("w", encoding="utf-8") as file:
        for _, name, text in lines(seed=0, end=HOURS * 3600):
            if name != "orders.json.log":
                file.write(text.split("\n")[0] + "\n")
    return path


def logs(folder: Path) -> list[Path]:
    """The open logs where they are, else a generated one."""
    data = Path(os.environ.get("LOGAD_DATA", Path(__file__).parents[2] / "shared" / "data"))
    found = [data / "hdfs" / "HDFS_2pct.log.gz", data / "bgl" / "BGL_50k.log.gz"]
    present = [path for path in found if path.exists()]
    if not present:
        print(f"no open logs in {data} (set LOGAD_DATA): a generated one is measured")
    return present or [generated(folder)]


def messages(path: Path, folder: Path) -> list[str]:
    """The messages of a log without their headers, as Drain3's users would cut them off first."""
    setup = Setup.of({"state_dir": folder})
    miner = Miner(rules=setup.rules, telemetry=Telemetry())
    corpus = batch.read([str(path)], setup.reading, miner, Telemetry(), api.QUIET)
    return corpus.records["text"].to_list()


def seconds(work: Callable[[], object]) -> float:
    """The best of three runs: the machine is shared."""
    best = float("inf")
    for _ in range(3):
        gc.collect()
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return best


def drain(texts: list[str], *, masked: bool) -> float:
    """Lines a second of Drain3's own loop, with the masks of its example or without."""
    config = TemplateMinerConfig()
    if masked:
        config.masking_instructions = [MaskingInstruction(regex, name) for regex, name in EXAMPLE_MASKS]

    def loop() -> None:
        miner = TemplateMiner(config=config)
        for text in texts:
            miner.add_log_message(text)

    return len(texts) / seconds(loop)


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    columns = ("Drain3", "with masks", "templates", "scan")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("lines a second; ratios are to Drain3 with the masks of its example, and without masks")
        print(f"{'log':<20}{'lines':>9}" + "".join(f"{column:>12}" for column in columns))
        for path in logs(folder):
            count = api.templates(path, state_dir=folder).stats["lines"]
            texts = messages(path, folder)[:LOOP_LINES]
            bare, masked = drain(texts, masked=False), drain(texts, masked=True)
            mined = count / seconds(partial(api.templates, path, state_dir=folder))
            scanned = count / seconds(partial(api.scan, path, state_dir=folder))
            print(
                f"{path.name:<20}{count:>9,}"
                + "".join(f"{rate:>12,.0f}" for rate in (bare, masked, mined, scanned))
                + f"   templates {mined / masked:.1f}x, {mined / bare:.1f}x"
                + f"   scan {scanned / masked:.1f}x, {scanned / bare:.1f}x"
            )


if __name__ == "__main__":
    main()
