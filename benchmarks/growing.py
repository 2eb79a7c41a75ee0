"""Grows a sample to a log of any length; run as a process of its own, it prints where the file is.

    python benchmarks/growing.py HDFS 5000000 [--many-shapes]
    python benchmarks/growing.py HDFS 50000 --messages

The sample is repeated. Every run of three or more digits gets new random digits; the times of the lines go on
by ten milliseconds. With --many-shapes one word in every tenth line becomes a random one of the same length.
--messages cuts the headers off. `flood` instead of a sample: lines of random words, hardly two of one shape.
Shorter files of a kind are the beginnings of longer ones.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from measuring import cache
from samples import Sample, present

FLOOD = "flood"
REPEATS = 25  # of the sample, in memory at a time
START = np.datetime64("2024-03-04T00:00:00", "us")
STEP = np.timedelta64(10_000, "us")
EVERY = 0.1  # share of lines that get a random word
FLOOD_LINES = 50_000  # at a time
FLOOD_BYTES = 80
SEED = 0
COLUMNS = {  # where each piece of a time stands in the digits that `stamps` makes
    "%Y": range(4),
    "%y": range(2, 4),
    "%m": range(5, 7),
    "%d": range(8, 10),
    "%H": range(11, 13),
    "%M": range(14, 16),
    "%S": range(17, 19),
    "%L": range(20, 23),
    "%f": range(20, 26),
    "%s": range(26, 36),
}
Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


def stamps(first: int, count: int) -> Bytes:
    """The times of so many lines: each row is the ISO text to the microsecond, then the Unix seconds."""
    times = START + STEP * np.arange(first, first + count)
    text = np.datetime_as_string(times, unit="us").view(np.uint32).reshape(count, -1)[:, :26]
    seconds = times.astype("datetime64[s]").astype(np.int64)
    digits = seconds[:, None] // 10 ** np.arange(9, -1, -1) % 10 + ord("0")
    return np.hstack([text, digits]).astype(np.uint8)


def letters(rng: np.random.Generator, count: int) -> Bytes:
    """Random lower-case letters, a few of them a little more often than the others."""
    return (np.frombuffer(rng.bytes(count), np.uint8) % 26 + ord("a")).astype(np.uint8)


def time_places(sample: Sample, line: bytes) -> tuple[list[int], list[int]]:
    """Which bytes of a line are digits of its time, and which column of `stamps` each is."""
    places: list[int] = []
    columns: list[int] = []
    for layout in sample.times:
        pieces = re.findall(r"%\w", layout)
        literals = [re.escape(text) for text in re.split(r"%\w", layout)]
        groups = [rf"(\d{{{len(COLUMNS[piece])}}})" for piece in pieces]
        pattern = literals[0] + "".join(map("".join, zip(groups, literals[1:], strict=True)))
        found = re.search(pattern.encode(), line)
        if found is None:
            continue
        for number, piece in enumerate(pieces, start=1):
            places += range(*found.span(number))
            columns += COLUMNS[piece]
    return places, columns


def word_spans(sample: Sample, line: bytes) -> list[tuple[int, int]]:
    """Start and length of the words of a line's message."""
    header = sample.header.match(line)
    begin = header.end() if header else 0
    for word in (rb"(?<!\S)[A-Za-z]{3,}(?!\S)", rb"[A-Za-z]{3,}"):
        spans = [(found.start(), len(found.group())) for found in re.compile(word).finditer(line, begin)]
        if spans:
            return spans
    return []


def grown(sample: Sample, *, many_shapes: bool) -> Iterator[Bytes]:
    """Pieces of the endless log, whole lines each."""
    rng = np.random.default_rng(SEED)
    lines = sample.lines()
    starts = np.cumsum([0] + [len(line) + 1 for line in lines])
    base = np.frombuffer(b"\n".join(lines) + b"\n", np.uint8)
    rows, places, columns = [], [], []
    for row, line in enumerate(lines):
        found, wanted = time_places(sample, line)
        rows += [row] * len(found)
        places += [int(starts[row]) + place for place in found]
        columns += wanted
    random = np.zeros(len(base), bool)
    for run in re.finditer(rb"\d{3,}", base.tobytes()):
        random[slice(*run.span())] = True
    random[places] = False
    jitter = np.flatnonzero(random)
    words = [word_spans(sample, line) for line in lines]
    first = 0
    while True:
        block = np.tile(base, (REPEATS, 1))
        block[:, jitter] = rng.integers(ord("0"), ord("9") + 1, (REPEATS, len(jitter)), np.uint8)
        count = REPEATS * len(lines)
        block[:, places] = stamps(first, count).reshape(REPEATS, len(lines), -1)[:, rows, columns]
        if many_shapes:
            reword(block, words, starts, rng)
        first += count
        yield block.ravel()


def reword(
    block: Bytes, words: list[list[tuple[int, int]]], starts: Places, rng: np.random.Generator
) -> None:
    """Put a random word in the place of one word in every tenth line."""
    counts = np.array([len(spans) for spans in words])
    firsts = np.cumsum(counts) - counts
    spans = np.array([(starts[row] + at, size) for row, found in enumerate(words) for at, size in found])
    repeats, rows = np.nonzero((rng.random((len(block), len(words))) < EVERY) & (counts > 0))
    chosen = spans[firsts[rows] + rng.integers(0, counts[rows])]
    for offset in range(chosen[:, 1].max(initial=0)):
        inside = chosen[:, 1] > offset
        block[repeats[inside], chosen[inside, 0] + offset] = letters(rng, int(inside.sum()))


def flood() -> Iterator[Bytes]:
    """Pieces of an endless log of random words, whole lines each."""
    rng = np.random.default_rng(SEED)
    head = len("2024-03-04T00:00:00.000000")
    first = 0
    while True:
        block = letters(rng, FLOOD_LINES * FLOOD_BYTES).reshape(FLOOD_LINES, FLOOD_BYTES)
        blanks = np.cumsum(rng.integers(4, 13, (FLOOD_LINES, 12)), axis=1) + head
        row, column = np.nonzero(blanks < FLOOD_BYTES - 4)
        block[row, blanks[row, column]] = ord(" ")
        block[:, :head] = stamps(first, FLOOD_LINES)[:, :head]
        block[:, head], block[:, -1] = ord(" "), ord("\n")
        first += FLOOD_LINES
        yield block.ravel()


def write(pieces: Iterator[Bytes], path: Path, lines: int) -> None:
    """The first lines of the pieces in a file, which is whole or not there."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        while lines > 0:
            piece = next(pieces)
            ends = np.flatnonzero(piece == ord("\n"))[:lines]
            file.write(piece[: ends[-1] + 1].tobytes())
            lines -= len(ends)
    part.replace(path)


def main() -> None:
    """Print where the file is; make it if it is not there, or older than this program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", choices=[*present(), FLOOD])
    parser.add_argument("lines", type=int)
    parser.add_argument("--many-shapes", action="store_true")
    parser.add_argument("--messages", action="store_true", help="without the headers")
    asked = parser.parse_args()
    kinds = ["many-shapes"] * asked.many_shapes + ["messages"] * asked.messages
    path = cache() / ("-".join([asked.name, str(asked.lines), *kinds]) + ".log")
    if not path.exists() or path.stat().st_mtime < Path(__file__).stat().st_mtime:
        if asked.name == FLOOD:
            write(flood(), path, asked.lines)
        else:
            sample = present()[asked.name]
            write(grown(sample, many_shapes=asked.many_shapes), path, asked.lines)
            if asked.messages:
                lines = path.read_bytes().splitlines(keepends=True)
                path.write_bytes(b"".join(sample.header.sub(b"", line, count=1) for line in lines))
    print(path)


if __name__ == "__main__":
    main()
