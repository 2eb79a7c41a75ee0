"""Parsing quality: this miner beside Drain3, from messages and from raw lines, in one run.

    LOGAD_DATA=../shared/data python benchmarks/parsing.py [--show NAME]

Three tables. The eight loghub 2k sets here, from their Content and Level columns; the same from the raw
lines, the header detected; and the small logs of tests/logs, in some forty other layouts, from raw lines too.

GA: share of lines whose group of lines is exactly a true one. FGA: F1 of exactly grouped templates.
PA: share of lines with the true template text. FTA: F1 of templates both grouped and written exactly
(Jiang et al. 2024). Truth of loghub: the corrected templates. All texts alike are normalised before PA and
FTA: every placeholder is `<*>`, white space is one blank, placeholders joined by punctuation or blanks only
are one. Drain3 works as it comes, and with the masks of its own example; from raw lines it is given the
messages that the header detection found. The masks were written looking at all these, so other sets decide
how good they are.
"""

import argparse
import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from drain3.drain import Drain

from logad import api
from logad.detection import Overrides, detect
from logad.masking import heads
from logad.mining import Miner
from logad.recording import Recorder
from logad.telemetry import Telemetry
from logad.types import Buffer, Level

LOGHUB = Path(os.environ.get("LOGAD_DATA", Path(__file__).parents[2] / "shared" / "data")) / "loghub_2k"
OWN = Path(__file__).parents[1] / "tests" / "logs"
_LEVELS = {"DEBUG": 1, "INFO": 2, "NOTICE": 2, "WARN": 3, "WARNING": 3, "ERROR": 4, "SEVERE": 4, "FATAL": 5}
_EXAMPLE_MASKS = [
    (re.compile(rf"((?<=[^A-Za-z0-9])|^)({regex})((?=[^A-Za-z0-9])|$)"), f"<{name}>")
    for regex, name in (
        (r"([0-9a-f]{2,}:){3,}([0-9a-f]{2,})", "ID"),
        (r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", "IP"),
        (r"([0-9a-f]{6,} ?){3,}", "SEQ"),
        (r"([0-9A-F]{4} ?){4,}", "SEQ"),
        (r"0x[a-f0-9A-F]+", "HEX"),
        (r"[\-\+]?\d+", "NUM"),
    )
]

Parsed = tuple[list[str], list[int]]
"""Template text and group of each line."""


@dataclass(frozen=True)
class Case:
    """Lines of a log, their true templates, and the miners' texts for them, made when asked for."""

    name: str
    truth: list[str]
    parse: dict[str, Callable[[], Parsed]]


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


def mined(texts: pl.Series, levels: pl.Series) -> Parsed:
    """By this package, from messages."""
    miner = Miner()
    records = pl.DataFrame({"text": texts, "level": levels})
    groups = miner.settled(miner.assign(records))["template"].to_list()
    return [miner.vocabulary[group].text for group in groups], groups


def drained(texts: pl.Series, masks: Sequence[tuple[re.Pattern[str], str]] = ()) -> Parsed:
    """By Drain3 with its defaults."""
    drain = Drain()
    clusters = []
    for text in texts:
        shape = text
        for regex, placeholder in masks:
            shape = regex.sub(placeholder, shape)
        clusters.append(drain.add_log_message(shape)[0])
    return [cluster.get_template() for cluster in clusters], [cluster.cluster_id for cluster in clusters]


def from_content(path: Path) -> Case:
    """A set of loghub, messages and levels cut out by its authors."""
    table = pl.read_csv(path, infer_schema_length=0).with_columns(pl.col("Content").fill_null(""))
    level = table["Level"] if "Level" in table.columns else pl.Series([""] * len(table))
    levels = level.str.to_uppercase().replace_strict(_LEVELS, default=int(Level.UNKNOWN)).cast(pl.UInt8)
    texts = table["Content"]
    return Case(
        path.parent.name, table["EventTemplate"].to_list(), _miners(texts, lambda: mined(texts, levels))
    )


def from_lines(name: str, log: Path, truth: Sequence[str]) -> Case:
    """A raw log; truth is empty for lines that go on with a record."""
    raw = log.read_bytes()
    whole = Buffer(str(log), str(log), raw, 1, "", final=True)
    records = Recorder(detect(raw, str(log), Overrides(), None), Telemetry()).push(whole)
    rows = [number for number, template in enumerate(truth) if template]

    def spread(parsed: Parsed, first_lines: Sequence[int]) -> Parsed:
        """From records to the lines that should begin one."""
        owner = [-1] * (len(truth) + 1)
        for at, line in enumerate(first_lines):
            owner[line - 1 :] = [at] * (len(owner) - line + 1)
        texts, groups = parsed
        return [texts[owner[row]] for row in rows], [groups[owner[row]] for row in rows]

    def ours() -> Parsed:
        given = api.templates(str(log), assignments=True).assignments
        assert given is not None
        found = pl.concat(given.frames())
        ids = {
            identity: code for code, identity in enumerate(found["template_id"].unique(maintain_order=True))
        }
        return spread(
            (found["template"].to_list(), [ids[one] for one in found["template_id"]]), found["line"].to_list()
        )

    drains = _miners(heads(records["text"]), ours)
    others = {
        key: (lambda parse=parse: spread(parse(), records["line"].to_list()))
        for key, parse in drains.items()
        if key != "logad"
    }
    return Case(name, [truth[row] for row in rows], {"logad": ours, **others})


def _miners(texts: pl.Series, ours: Callable[[], Parsed]) -> dict[str, Callable[[], Parsed]]:
    return {
        "logad": ours,
        "drain3": lambda: drained(texts),
        "drain3 masks": lambda: drained(texts, _EXAMPLE_MASKS),
    }


def own_cases() -> list[Case]:
    """The small logs of tests/logs."""
    return [
        from_lines(log.stem, log, log.with_suffix(".templates").read_text(encoding="utf-8").splitlines())
        for log in sorted(OWN.glob("*.log"))
    ]


def show(case: Case) -> None:
    """Where this miner and the truth part."""
    texts, groups = case.parse["logad"]()
    both = Counter(zip(case.truth, texts, groups, strict=True))
    truths, found = Counter(case.truth), Counter(groups)
    print(f"== {case.name}")
    for (truth, text, group), count in both.items():
        flag = " " if count == truths[truth] == found[group] else "G"
        flag += " " if normalised(truth) == normalised(text) else "P"
        if flag.strip():
            print(f"{flag} {count:5} {truth}\n         {text}")


def table(title: str, cases: Sequence[Case]) -> None:
    """Print the figures of some logs and their means."""
    print(f"\n{title}\n{'':16} {'':12} GA    FGA   PA    FTA   templates")
    sums: dict[str, list[float]] = {}
    for case in cases:
        truth = [normalised(text) for text in case.truth]
        for name, parse in case.parse.items():
            begun = time.perf_counter()
            texts, groups = parse()
            seconds = time.perf_counter() - begun
            figures = scores(truth, [normalised(text) for text in texts], groups)
            sums[name] = [a + b for a, b in zip(sums.get(name, [0.0] * 4), figures, strict=True)]
            row = " ".join(f"{figure:.3f}" for figure in figures)
            print(f"{case.name:16} {name:12} {row} {len(set(groups)):4}/{len(set(truth)):<4} {seconds:.2f} s")
    for name, totals in sums.items():
        print(f"{'mean':16} {name:12} " + " ".join(f"{total / len(cases):.3f}" for total in totals))


def main() -> None:
    """Print the tables, or where one set parts from the truth."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--show", help="print the differences to the truth of one log, or of `all`")
    chosen = parser.parse_args().show
    csvs = sorted(LOGHUB.glob("*/*_corrected.csv"))
    contents = [from_content(path) for path in csvs]
    raws = [
        from_lines(path.parent.name, path.with_name(f"{path.parent.name}_2k.log"), case.truth)
        for path, case in zip(csvs, contents, strict=True)
    ]
    own = own_cases()
    if chosen:
        for case in (*contents, *raws, *own):
            if chosen in (case.name, "all"):
                show(case)
        return
    table("loghub 2k, from messages", contents)
    table("loghub 2k, from raw lines", raws)
    table("tests/logs, from raw lines", own)


if __name__ == "__main__":
    main()
