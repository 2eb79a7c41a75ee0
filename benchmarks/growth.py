"""What a new shape costs as templates grow: logad's miner beside Drain3's own loop, on the same messages.

    python benchmarks/growth.py
    python benchmarks/growth.py --templates 100,1000 --rounds 1

Each template is a row of words from a seeded vocabulary with a value at two places; it comes in two or three
shapes, which differ in the kind of one value. All messages are of different shapes, so that neither miner has
seen what it is given, and come in random order, as many at a time as `logad templates` looks at together.
Figures are medians of CPU time a message, the start of the programs left out; `x Drain3` says how many times
longer Drain3 took, with the masks of its own example. `found` is how many templates logad has in the end.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from measuring import HERE, run

TEMPLATES = (100, 1_000, 3_000, 10_000)
SEED = 0
VOCABULARY = 250
LETTERS = "abcdefghijklmnopqrstuvwxyz"
VALUES = ("4711", "10.0.0.1", "web.example.com")  # each is of another kind, so of another shape
MINERS = ("miner_loop.py", "drain3_loop.py")
HEAD = ("templates", "shapes", "found", "logad us", "Drain3 us", "x Drain3")


def messages(templates: int) -> list[str]:
    """Messages of so many templates, two or three of each, in random order."""
    rng = random.Random(SEED)
    vocabulary = ["".join(rng.choices(LETTERS, k=rng.randint(3, 10))) for _ in range(VOCABULARY)]
    told = []
    for _ in range(templates):
        words = rng.choices(vocabulary, k=rng.randint(5, 16))
        first = rng.randrange(1, len(words) - 2)
        second = rng.randrange(first + 2, len(words))  # not beside the first: values in a row are a list
        for value in VALUES[: rng.randint(2, 3)]:
            words[first], words[second] = value, VALUES[0]
            told.append(" ".join(words))
    rng.shuffle(told)
    return told


def taken(program: str, path: Path) -> dict[str, Any]:
    """What one of the programs in `peers` says of itself."""
    found = run([sys.executable, HERE / "peers" / program, path])
    if found.fault:
        raise SystemExit(f"{program}: {found.fault}")
    told: dict[str, Any] = json.loads(found.output)
    return told


def rows(counts: list[int], rounds: int) -> Iterator[tuple[str, ...]]:
    """The rows of the table."""
    for templates in counts:
        told = messages(templates)
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "messages.txt"
            path.write_text("\n".join(told) + "\n")
            found = [[taken(miner, path) for miner in MINERS] for _ in range(rounds)]
        costs = [[each["cpu_seconds"] / len(told) * 1e6 for each in turn] for turn in found]
        ours, theirs = (median(column) for column in zip(*costs, strict=True))
        ratio = median(other / own for own, other in costs)
        yield (
            *(f"{templates:,}", f"{len(told):,}", f"{found[0][0]['templates']:,}"),
            *(f"{ours:.1f}", f"{theirs:.1f}", f"{ratio:.1f}x"),
        )


def main() -> None:
    """Print the table."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--templates", default=",".join(map(str, TEMPLATES)))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("| " + " | ".join(f"{name:>9}" for name in HEAD) + " |")
    print("|" + "----------:|" * len(HEAD))
    for row in rows([int(each) for each in options.templates.split(",")], options.rounds):
        print("| " + " | ".join(f"{cell:>9}" for cell in row) + " |", flush=True)


if __name__ == "__main__":
    main()
