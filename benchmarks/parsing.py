"""Parsing quality on the eight loghub 2k sets: this miner beside Drain3 with its defaults, in one run.

    LOGAD_DATA=../shared/data python benchmarks/parsing.py [--show SET]

GA: share of lines whose group of lines is exactly a true one. FGA: F1 of exactly grouped templates.
PA: share of lines with the true template text. FTA: F1 of templates both grouped and written exactly
(Jiang et al. 2024). Truth: the corrected templates. Input: the raw Content column and the Level column.
All texts alike are normalised before PA and FTA: every placeholder is `<*>`, white space is one blank,
placeholders joined by punctuation or blanks only are one. The masks were written looking at these sets, so
other sets decide how good they are; Drain3 was fitted to none of them.
"""

import argparse
import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from drain3.drain import Drain

from logad.mining import Miner
from logad.types import Level

_LEVELS = {"DEBUG": 1, "INFO": 2, "NOTICE": 2, "WARN": 3, "WARNING": 3, "ERROR": 4, "SEVERE": 4, "FATAL": 5}


def normalised(text: str) -> str:
    """A template as all sides are compared."""
    text = re.sub(r"<[A-Z][A-Z0-9_]*>", "<*>", " ".join(text.split()))
    text = re.sub(r"<\*>(?:[-.:_/@+,;|$ ]*<\*>)+", "<*>", text)
    return re.sub(r"/<\*>", "<*>", text)


def scores(
    truth: Sequence[str], found: Sequence[str], groups: Sequence[int]
) -> tuple[float, float, float, float]:
    """GA, FGA, PA, FTA of one set; one entry per line."""
    true_lines: dict[str, set[int]] = defaultdict(set)
    found_lines: dict[int, set[int]] = defaultdict(set)
    for line, (template, group) in enumerate(zip(truth, groups, strict=True)):
        true_lines[template].add(line)
        found_lines[group].add(line)
    exact = {frozenset(lines): template for template, lines in true_lines.items()}
    grouped = {
        group: exact[frozenset(lines)] for group, lines in found_lines.items() if frozenset(lines) in exact
    }
    written = sum(found[min(found_lines[group])] == template for group, template in grouped.items())
    both = len(true_lines) + len(found_lines)
    return (
        sum(len(found_lines[group]) for group in grouped) / len(truth),
        2 * len(grouped) / both,
        sum(a == b for a, b in zip(truth, found, strict=True)) / len(truth),
        2 * written / both,
    )


def ours(table: pl.DataFrame) -> tuple[list[str], list[int]]:
    """Template text and group of each line by this package."""
    level = table["Level"].str.to_uppercase().replace_strict(_LEVELS, default=int(Level.UNKNOWN))
    records = pl.DataFrame({"text": table["Content"], "level": level.cast(pl.UInt8)})
    miner = Miner()
    groups = miner.settled(miner.assign(records))["template"].to_list()
    texts = [template.text for template in miner.vocabulary]
    return [texts[group] for group in groups], groups


def drain3(table: pl.DataFrame) -> tuple[list[str], list[int]]:
    """The same by Drain3 as it comes."""
    drain = Drain()
    clusters = [drain.add_log_message(text)[0] for text in table["Content"]]
    return [cluster.get_template() for cluster in clusters], [cluster.cluster_id for cluster in clusters]


def show(table: pl.DataFrame) -> None:
    """Where this miner and the truth part."""
    texts, groups = ours(table)
    both = Counter(zip(table["EventTemplate"], texts, groups, strict=True))
    truths, mined = Counter(table["EventTemplate"]), Counter(groups)
    for (truth, text, group), count in both.items():
        flag = " " if count == truths[truth] == mined[group] else "G"
        flag += " " if normalised(truth) == normalised(text) else "P"
        if flag.strip():
            print(f"{flag} {count:5} {truth}\n         {text}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--show", help="print the differences to the truth of one set")
    chosen = parser.parse_args().show
    root = Path(os.environ.get("LOGAD_DATA", Path(__file__).parents[2] / "shared" / "data")) / "loghub_2k"
    sums: dict[str, list[float]] = {"logad": [0.0] * 4, "drain3": [0.0] * 4}
    files = sorted(root.glob("*/*_corrected.csv"))
    for path in files:
        table = pl.read_csv(path, infer_schema_length=0).with_columns(pl.col("Content").fill_null(""))
        if "Level" not in table.columns:
            table = table.with_columns(pl.lit("").alias("Level"))
        if path.parent.name == chosen:
            show(table)
        truth = [normalised(text) for text in table["EventTemplate"]]
        for name, parse in (("logad", ours), ("drain3", drain3)):
            begun = time.perf_counter()
            texts, groups = parse(table)
            seconds = time.perf_counter() - begun
            figures = scores(truth, [normalised(text) for text in texts], groups)
            sums[name] = [total + figure for total, figure in zip(sums[name], figures, strict=True)]
            row = " ".join(f"{figure:.3f}" for figure in figures)
            counts = f"{len(set(groups)):4}/{len(set(truth)):<4}"
            print(f"{path.parent.name:10} {name:7} {row}  {counts} {seconds:.2f} s")
    for name, totals in sums.items():
        print(f"{'mean':10} {name:7} " + " ".join(f"{total / len(files):.3f}" for total in totals))


if __name__ == "__main__":
    main()
