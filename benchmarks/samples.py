"""The small real logs that the benchmarks grow, and what the headers of their lines look like."""

import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path

from logad.demo.system import lines

SAMPLE_LINES = 2000
DATA = Path(os.environ.get("LOGAD_DATA", Path(__file__).parents[2] / "shared" / "data")) / "loghub_2k"


@dataclass(frozen=True, slots=True)
class Sample:
    """A log of two thousand lines."""

    name: str
    header: re.Pattern[bytes]  # what Drain3's users cut off before they mine
    times: tuple[str, ...]  # how a line writes its time, as in strftime; %L is milliseconds
    labelled: bool = False  # the first column is the truth, not part of the log

    def lines(self) -> list[bytes]:
        """Its lines without their newlines."""
        if self.name == DEMO.name:
            stock = (text for _, name, text in lines(seed=0, end=86_400.0) if name == "stock.log")
            plain = (text.encode() for text in stock if "\n" not in text)
            return list(itertools.islice(plain, SAMPLE_LINES))
        found = next((DATA / self.name).glob("*.log")).read_bytes().splitlines()
        return [line.split(b" ", 1)[1] for line in found] if self.labelled else found


OPEN = (
    Sample("HDFS", re.compile(rb"\d{6} \d{6} \d+ \S+ \S+: "), ("%y%m%d %H%M%S",)),
    Sample(
        "BGL",
        re.compile(rb"\d{10} (?:\S+ ){7}"),
        ("%s %Y.%m.%d", "%Y-%m-%d-%H.%M.%S.%f"),
        labelled=True,
    ),
    Sample(
        "OpenStack",
        re.compile(rb"\S+ \S+ \S+ \d+ \S+ \S+ (?:\[[^]]*\] )?"),
        ("%Y-%m-%d %H:%M:%S.%L",),
    ),
    Sample("Spark", re.compile(rb"\S+ \S+ \S+ \S+: "), ("%y/%m/%d %H:%M:%S",)),
)
DEMO = Sample("shop", re.compile(rb"\S+ \S+ \S+ +\[\S+\] \S+ - "), ("%Y-%m-%d %H:%M:%S,%L",))


def present() -> dict[str, Sample]:
    """The open samples if they are there, else the demo's."""
    found = {sample.name: sample for sample in OPEN if list((DATA / sample.name).glob("*.log"))}
    return found or {DEMO.name: DEMO}
