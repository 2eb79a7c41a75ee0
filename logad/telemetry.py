"""Counts what happened to every line and how long each stage took: what `--stats` prints."""

import re
import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

STATS_SCHEMA: Final = "logad.stats/1"
STAGES: Final = ("read", "parse", "mine", "window", "detect", "explain", "write")


class Telemetry:
    """The counters and timings of one run; `records + sum(dropped) = received` at every moment.

    >>> telemetry = Telemetry()
    >>> telemetry.accept(records=2, lines=3)
    >>> telemetry.drop("empty", 1)
    >>> telemetry.received
    3
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.lines = 0
        self.records = 0
        self.unkeyed = 0
        self.dropped: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()  # what was kept but mended: truncated, replaced bytes, late
        self.templates = 0
        self.windows = 0
        self.anomalous = 0
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._started = time.perf_counter()

    @property
    def received(self) -> int:
        """Records and drops together."""
        return self.records + sum(self.dropped.values())

    def accept(self, records: int, lines: int) -> None:
        """Count whole records and the physical lines they span."""
        self.records += records
        self.lines += lines

    def drop(self, reason: str, records: int, lines: int | None = None) -> None:
        """Count records (or lines that start none) given up for a reason, and their physical lines."""
        if records:
            self.dropped[reason] += records
            self.lines += records if lines is None else lines

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage (one of STAGES)."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - begun

    def as_dict(self) -> dict[str, Any]:
        """The stats as the interface names them."""
        seconds = {"total": time.perf_counter() - self._started}
        seconds |= {stage: self.seconds[stage] for stage in STAGES}
        return {
            "schema": STATS_SCHEMA,
            "bytes": self.bytes,
            "lines": self.lines,
            "received": self.received,
            "records": self.records,
            "unkeyed": self.unkeyed,
            "dropped": dict(sorted(self.dropped.items())),
            "notes": {name: count for name, count in sorted(self.notes.items()) if count},
            "templates": self.templates,
            "windows": self.windows,
            "anomalous": self.anomalous,
            "seconds": {name: round(value, 4) for name, value in seconds.items()},
            "peak_rss_bytes": _peak(),
        }


def _peak() -> int:
    """The most memory that this process held; `ru_maxrss` alone may be that of the one that started it."""
    try:
        told = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    except OSError:
        told = None
    if told is not None:
        return int(told[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
