"""How fast log templates are mined: logad beside Drain3, Loki's Drain, logdelta, Polars and `wc -l`.

    make bench
    python benchmarks/speed.py --lines 200000 --sets HDFS,BGL-many-shapes --peers logad,loki --scan

Real logs (loghub's samples, found in LOGAD_DATA, default ../shared/data beside the checkout) are grown to
--lines lines; `-many-shapes` is the same log with a random word in every tenth line. Grown logs and built
peers are kept in $XDG_CACHE_HOME/logad-bench (default ~/.cache/logad-bench), ten gigabytes at five million
lines: remove them there. go and cargo are used where they are on the PATH.

All run one after the other, in turns, for --rounds rounds; figures are medians. `x Drain3` is the median of
each round's lines a second over those of Drain3 with the masks of its example in that round, `x CPU` the same
by seconds of CPU. Whole processes, start and end included: logad, logdelta, wc. Drain3, Loki, Polars and
logad's batches are timed inside, their start left out, and Drain3 gets messages whose headers are cut off
already. Slow peers, whose speed is flat, get the first part of the log: see the column `lines`.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import building
from measuring import GIGABYTE, HERE, MEGABYTE, Run, floor_bytes, grown, run, templates
from samples import DATA, DEMO, SAMPLE_LINES, present

DRAIN3_LINES = 50_000
BATCHES_LINES = 22_000
LOGDELTA_LINES = 500_000
FAST_LINES = 1_000_000
BASE = "Drain3, example masks"
MANY_SHAPES = "many-shapes"
STAGES = ("read", "parse", "mine", "window")
WIDTHS = {"lines": 9, "seconds": 7, "lines/s": 11, "x Drain3": 8, "x CPU": 6, "RSS MB": 6, "templates": 9}
LABEL = 25


class FailedError(Exception):
    """Why there is no figure."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What one peer did in one round; None is not known, or not comparable."""

    lines: int
    seconds: float
    cpu_seconds: float | None = None
    peak_bytes: int | None = None
    templates: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    """A grown log, of which any first part can be had."""

    name: str
    lines: int
    cap_bytes: int
    scratch: Path

    def part(self, most: int, *kinds: str) -> Path:
        """The file of its first lines."""
        sample, _, shapes = self.name.partition("-")
        return grown(sample, min(most, self.lines), *filter(None, [shapes]), *kinds)


@dataclass(frozen=True, slots=True)
class Peer:
    """A program to measure, which may fill several rows of the table."""

    rows: tuple[str, ...]
    measure: Callable[[Log], tuple[Figure, ...]]


def done(log: Log, command: Sequence[str | Path]) -> Run:
    """A command that has been run to its end.

    Raises:
        FailedError: it failed.
    """
    found = run(command, cap_bytes=log.cap_bytes)
    if found.fault:
        raise FailedError(f"{found.fault} (in {log.cap_bytes / GIGABYTE:g} GB of address space)")
    return found


def inner(log: Log, command: Sequence[str | Path]) -> tuple[Figure]:
    """What a program says of itself in a line of JSON: it times its work, not its start."""
    found = done(log, command)
    return (Figure(**json.loads(found.output), peak_bytes=found.peak_bytes),)


def whole(found: Run, lines: int, count: int | None = None) -> Figure:
    """A whole process."""
    return Figure(lines, found.seconds, found.cpu_seconds, found.peak_bytes, count)


def script(name: str) -> list[str | Path]:
    """The command of one of the Python programs beside this one."""
    return [sys.executable, HERE / "peers" / name]


def drain3(log: Log, options: Sequence[str] = ()) -> tuple[Figure]:
    """Drain3's loop over messages in memory."""
    return inner(log, [*script("drain3_loop.py"), log.part(DRAIN3_LINES, "messages"), *options])


def polars(log: Log) -> tuple[Figure]:
    """One mask in Polars, and a number for each shape."""
    return inner(log, [*script("polars_shapes.py"), log.part(FAST_LINES)])


def batches(log: Log) -> tuple[Figure]:
    """A hundred lines at a time, warm."""
    return inner(log, [*script("batches.py"), log.part(BATCHES_LINES)])


def loki(log: Log, variables: Sequence[str] = ()) -> tuple[Figure]:
    """The Drain inside Grafana Loki, on whole lines."""
    return inner(log, ["env", *variables, building.loki(), log.part(FAST_LINES)])


def logdelta(log: Log) -> tuple[Figure]:
    """A template miner in Rust."""
    path = log.part(LOGDELTA_LINES)
    found = done(log, [building.logdelta(), "templates", "--json", "--top", "1000000", path])
    told = json.loads(found.output)
    return (whole(found, told["total_lines"], len(told["clusters"])),)


def wc(log: Log) -> tuple[Figure]:
    """As fast as a file can be read."""
    return (whole(done(log, ["wc", "-l", log.part(log.lines)]), log.lines),)


def logad(log: Log, most: int | None = None) -> tuple[Figure]:
    """`logad templates` from the shell."""
    found, told = _told(log, log.part(most or log.lines), "templates")
    return (whole(found, told["lines"], told["templates"]),)


def scan(log: Log) -> tuple[Figure, Figure]:
    """`logad scan` from the shell: up to its windows by its own clock, and all of it."""
    found, told = _told(log, log.part(log.lines), "scan")
    windows = Figure(told["lines"], sum(told["seconds"][stage] for stage in STAGES))
    return windows, whole(found, told["lines"], told["templates"])


def _told(log: Log, path: Path, command: str) -> tuple[Run, dict[str, Any]]:
    """A run of logad, and its own counts."""
    stats = log.scratch / "stats.json"
    found = done(log, templates(path, log.scratch / "state", "--stats", stats, command=command))
    return found, json.loads(stats.read_text())


PEERS = {
    "drain3": Peer((BASE,), drain3),
    "drain3-bare": Peer(("Drain3, no masks",), partial(drain3, options=["--bare"])),
    "loki": Peer(("Loki's Drain, all threads",), loki),
    "loki-1": Peer(("Loki's Drain, one thread",), partial(loki, variables=["GOMAXPROCS=1"])),
    "logdelta": Peer((f"logdelta {building.LOGDELTA}",), logdelta),
    "polars": Peer(("Polars, mask and shapes",), polars),
    "logad": Peer(("logad templates",), logad),
    "logad-2k": Peer(("logad templates, 2k lines",), partial(logad, most=SAMPLE_LINES)),
    "batches": Peer(("logad, batches of 100",), batches),
    "scan": Peer(("logad scan, to windows", "logad scan, whole run"), scan),
    "wc": Peer(("wc -l",), wc),
}


def rounds(log: Log, names: Sequence[str], count: int) -> tuple[dict[str, list[Figure]], dict[str, str]]:
    """The figures of each row, round by round, and why rows have none."""
    figures: dict[str, list[Figure]] = {row: [] for name in names for row in PEERS[name].rows}
    notes: dict[str, str] = {}
    failed: set[str] = set()
    for number in range(count):
        for name in names if number % 2 == 0 else reversed(names):
            if name in failed:
                continue
            peer = PEERS[name]
            try:
                found = peer.measure(log)
            except (FailedError, building.NotBuiltError) as error:
                failed.add(name)
                for row in peer.rows:
                    figures[row], notes[row] = [], str(error)
                continue
            for row, figure in zip(peer.rows, found, strict=True):
                figures[row].append(figure)
                if figure.note:
                    notes[row] = figure.note
    return figures, notes


def table(figures: dict[str, list[Figure]]) -> Iterator[str]:
    """The rows."""
    base = figures.get(BASE, [])
    yield _row("miner", WIDTHS)
    yield f"|{'-' * (LABEL + 2)}|" + "".join(f"{'-' * (width + 1)}:|" for width in WIDTHS.values())
    for row, found in figures.items():
        rates = [figure.lines / figure.seconds for figure in found]
        cells = (
            _median("{:,.0f}", [figure.lines for figure in found]),
            _median("{:.3f}", [figure.seconds for figure in found]),
            _median("{:,.0f}", rates),
            _times(_ratios(found, base, lambda figure: figure.seconds)),
            _times(_ratios(found, base, lambda figure: figure.cpu_seconds)),
            _memory([figure.peak_bytes for figure in found if figure.peak_bytes]),
            _median("{:,.0f}", [figure.templates for figure in found if figure.templates is not None]),
        )
        yield _row(row, cells)


def _row(label: str, cells: Iterable[str]) -> str:
    padded = " | ".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS.values(), strict=True))
    return f"| {label:<{LABEL}} | {padded} |"


def _ratios(found: list[Figure], base: list[Figure], taken: Callable[[Figure], float | None]) -> list[float]:
    """Lines per second over those of the base, round by round."""
    pairs = zip(found, base, strict=False)
    times = [(ours, theirs, taken(ours), taken(theirs)) for ours, theirs in pairs]
    return [
        (ours.lines / mine) / (theirs.lines / other) for ours, theirs, mine, other in times if mine and other
    ]


def _times(ratios: list[float]) -> str:
    if not ratios:
        return "-"
    ratio = median(ratios)
    digits = 2 if ratio < 1 else 1 if ratio < 100 else 0  # noqa: PLR2004  (three figures or two)
    return f"{ratio:,.{digits}f}x"


def _memory(peaks: list[int]) -> str:
    """A peak; the measuring program's own, where no less can be seen."""
    if peaks and median(peaks) <= floor_bytes():
        return f"<{floor_bytes() / MEGABYTE:.0f}"
    return _median("{:,.0f}", [peak / MEGABYTE for peak in peaks])


def _median(form: str, values: Sequence[float]) -> str:
    return form.format(median(values)) if values else "-"


def names_of(text: str, known: Sequence[str]) -> list[str]:
    """The names in a list with commas."""
    names = text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return names


def asked() -> argparse.Namespace:
    """What the user wants."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    logs = [*present(), *(f"{name}-{MANY_SHAPES}" for name in present())]
    usual = [name for name in PEERS if name != "scan"]
    parser.add_argument("--lines", type=int, default=5_000_000)
    parser.add_argument("--sets", type=partial(names_of, known=logs), default=logs, help=",".join(logs))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--peers",
        type=partial(names_of, known=list(PEERS)),
        default=usual,
        help=f"{','.join(PEERS)}; drain3 always runs",
    )
    parser.add_argument("--scan", action="store_true", help="`logad scan` too")
    parser.add_argument("--cap-gb", type=float, default=16.0, help="address space of each process")
    return parser.parse_args()


def main() -> None:
    """Print a table for each log."""
    options = asked()
    wanted = {"drain3", *options.peers} | ({"scan"} if options.scan else set())
    names = [name for name in PEERS if name in wanted]
    versions = [f"{name} {version(name)}" for name in ("drain3", "polars")]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before this began")
    print(", ".join([f"Python {platform.python_version()}", *versions, f"Loki {building.LOKI}"]))
    if DEMO.name in present():
        print(f"no real logs in {DATA} (set LOGAD_DATA): lines that the demo generates are measured instead")
    for name in options.sets:
        with tempfile.TemporaryDirectory() as scratch:
            log = Log(name, options.lines, int(options.cap_gb * GIGABYTE), Path(scratch))
            size = log.part(log.lines).stat().st_size / MEGABYTE
            print(f"\n### {name.replace('-', ', ', 1)}, {log.lines:,} lines, {size:,.0f} MB\n", flush=True)
            figures, notes = rounds(log, names, options.rounds)
        print("\n".join(table(figures)))
        if notes:
            print()
        for row, note in notes.items():
            print(f"- {row}: {note}")


if __name__ == "__main__":
    main()
