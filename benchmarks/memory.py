"""How much memory `logad templates` takes: with the length of the log, and in a flood of lines all unlike.

    python benchmarks/memory.py
    python benchmarks/memory.py --lines 10000 --flood 200000 --cap-gb 4

First a log of --lines lines, then ten times and a hundred times as many: the peak, what it is above the peak
for a hundred lines (the program and its libraries), and that in bytes a line. Then --flood lines of random
words, hardly two of one shape: memory ten times a second against the lines read, as a graph and as a CSV file
in the cache. Lines read are known from the bytes the process has read; a file that is mapped into memory is
not read that way, and the graph is against time instead.

Each run may take --cap-gb of address space, about a gigabyte of which is never touched, so that one that is
not bounded ends before the machine does.
"""

import argparse
import csv
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from measuring import GIGABYTE, MEGABYTE, Run, grown, run, templates
from samples import present

FEW_LINES = 100
FACTORS = (1, 10, 100)
SAMPLE_SECONDS = 0.1
SEEN_SHARE = 0.9  # less than that of the lines cannot have been read by calls
WIDTH, HEIGHT = 72, 16


@dataclass(frozen=True, slots=True)
class Moment:
    """What a process held at a moment."""

    seconds: float
    lines: int
    resident_bytes: int


def mined(path: Path, cap_bytes: int, watch: Callable[[int], None] | None = None) -> tuple[Run, str]:
    """A run of `logad templates`, and how many templates it found."""
    with tempfile.TemporaryDirectory() as scratch:
        stats = Path(scratch) / "stats.json"
        command = templates(path, Path(scratch) / "state", "--stats", stats)
        found = run(command, cap_bytes=cap_bytes, watch=watch)
        told = json.loads(stats.read_text()) if stats.exists() else {}
    return found, f"{told['templates']:,}" if told and not found.fault else "-"


def lengths(name: str, lines: int, cap_bytes: int) -> None:
    """Print what logs of three lengths take."""
    base, _ = mined(grown(name, FEW_LINES), cap_bytes)
    print(f"### {name}: peak of `logad templates`\n")
    if base.fault:
        print(f"- no figures: {base.fault}")
        return
    print(f"{FEW_LINES} lines take {base.peak_bytes / MEGABYTE:,.0f} MB: the program and its libraries.\n")
    print("|       lines | file MB | seconds | peak MB | above MB | bytes a line | templates |")
    print("|------------:|--------:|--------:|--------:|---------:|-------------:|----------:|")
    notes = []
    for factor in FACTORS:
        count = lines * factor
        path = grown(name, count)
        found, number = mined(path, cap_bytes)
        size, above = path.stat().st_size / MEGABYTE, found.peak_bytes - base.peak_bytes
        cells = f"{found.peak_bytes / MEGABYTE:,.0f}", f"{above / MEGABYTE:,.0f}", f"{above / count:,.1f}"
        if found.fault:
            notes.append(f"- {count:,} lines: {found.fault} (held {cells[0]} MB before)")
            cells = "-", "-", "-"
        peak, more, each = cells
        print(
            f"| {count:>11,} | {size:>7,.0f} | {found.seconds:>7.1f} | {peak:>7} | {more:>8} | {each:>12}"
            f" | {number:>9} |"
        )
    print("\n".join(["", *notes] if notes else []))


def flood(lines: int, cap_bytes: int) -> None:
    """Print the graph of a flood, and write its points."""
    path = grown("flood", lines)
    moments: list[Moment] = []
    found, number = mined(
        path, cap_bytes, lambda process_id: moments.extend(watched(process_id, path, lines))
    )
    print(f"### flood: {lines:,} lines of random words, {path.stat().st_size / MEGABYTE:,.0f} MB\n")
    if found.fault:
        print(f"Not bounded, or failed, in {cap_bytes / GIGABYTE:g} GB of address space: {found.fault}")
    table = path.with_suffix(".csv")
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["seconds", "lines", "resident_bytes"])
        rows.writerows(astuple(moment) for moment in moments)
    read = max((moment.lines for moment in moments), default=0)
    print(f"Peak {found.peak_bytes / MEGABYTE:,.0f} MB, {found.seconds:.1f} s, {number} templates; ", end="")
    print(f"{read:,} lines were read.\n")
    if read < lines * SEEN_SHARE and not found.fault:
        print("The file was not read by calls that can be counted: the graph is against seconds.\n")
        graph([(moment.seconds, moment.resident_bytes) for moment in moments], "seconds")
    else:
        graph([(moment.lines, moment.resident_bytes) for moment in moments], "lines read")
    print(f"\nPoints: {table}")


def watched(process_id: int, path: Path, lines: int) -> Iterator[Moment]:
    """The memory of a process ten times a second until it ends, and how far it is in a file of even lines."""
    line_bytes = path.stat().st_size / lines
    begun, before, opened = time.perf_counter(), 0, False
    while True:
        try:
            opened = opened or _has_open(process_id, path)
            read = _number(process_id, "io", "rchar:")
            resident = _number(process_id, "status", "VmRSS:") * 1024
        except (OSError, KeyError):
            return  # it has ended
        if not opened:
            before = read  # its own code
        yield Moment(time.perf_counter() - begun, min(lines, int((read - before) / line_bytes)), resident)
        time.sleep(SAMPLE_SECONDS)


def graph(points: list[tuple[float, int]], axis: str) -> None:
    """Print the highest memory of each stretch as a column."""
    if not points:
        return
    right, top = max(x for x, _ in points) or 1, max(y for _, y in points)
    columns = [0] * WIDTH
    for x, y in points:
        column = min(WIDTH - 1, int(x / right * WIDTH))
        columns[column] = max(columns[column], y)
    for column in range(1, WIDTH):
        columns[column] = columns[column] or columns[column - 1]
    for row in range(HEIGHT, 0, -1):
        level = top * row / HEIGHT
        bars = "".join("#" if value > level - top / HEIGHT else " " for value in columns)
        print(f"{level / MEGABYTE:>8,.0f} MB |{bars}".rstrip())
    print(f"{'':>11} +{'-' * WIDTH}\n{'':>11}  0{f'{right:,.0f} {axis}':>{WIDTH - 1}}")


def _number(process_id: int, file: str, key: str) -> int:
    rows = (line.split() for line in Path(f"/proc/{process_id}/{file}").read_text().splitlines())
    return int({row[0]: row[1] for row in rows if len(row) > 1}[key])


def _has_open(process_id: int, path: Path) -> bool:
    links = Path(f"/proc/{process_id}/fd").iterdir()
    return any(os.path.realpath(link) == str(path) for link in links)


def main() -> None:
    """Print both."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    names = list(present())
    parser.add_argument("--set", choices=names, default=names[0])
    parser.add_argument("--lines", type=int, default=100_000, help="of the shortest of the three logs")
    parser.add_argument("--flood", type=int, default=10_000_000, help="lines of the flood; 0 leaves it out")
    parser.add_argument("--cap-gb", type=float, default=8.0, help="address space of each process")
    options = parser.parse_args()
    cap_bytes = int(options.cap_gb * GIGABYTE)
    lengths(options.set, options.lines, cap_bytes)
    if options.flood:
        print()
        flood(options.flood, cap_bytes)


if __name__ == "__main__":
    main()
