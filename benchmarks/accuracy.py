"""F1 of the judgement on labelled logs, beside flagging everything and severity words alone.

    LOGAD_DATA=../shared/data python benchmarks/accuracy.py [--repeats 25]

HDFS 2 % (Xu et al. 2009, via loghub): sessions by block id. BGL, first 50,000 lines (Oliner, Stearley 2007,
via loghub): windows of 100 lines; the first column is the label and is cut off before anything is read.
Labels are used for nothing but the figures. Each line: F1 (precision / recall) of this package with its
defaults, then the two baselines on the same windows.
"""

import argparse
import csv
import gzip
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logad import batch, rules
from logad.detection import Overrides
from logad.judge import JudgeConfig, learn
from logad.mining import Miner
from logad.options import Reading
from logad.telemetry import Telemetry
from logad.types import WindowKind
from logad.windows import Windowing, Windows

Flags = NDArray[np.bool_]
_ERROR = 3  # severity class
_READING = Reading(Overrides(), None, None, None, None, 0)
_BLOCKS = Windowing(WindowKind.SESSION, key_regex=r"blk_-?\d+")
_LINES = 100


def f1(flagged: Flags, anomalous: Flags) -> tuple[float, float, float]:
    """F1, precision and recall."""
    hits = float((flagged & anomalous).sum())
    precision, recall = hits / max(flagged.sum(), 1), hits / max(anomalous.sum(), 1)
    return (2 * precision * recall / (precision + recall) if hits else 0.0), precision, recall


def severity_words(windows: Windows) -> Flags:
    """Windows that hold a template whose level or words report an error."""
    grave = windows.severities[windows.events] >= _ERROR
    return np.bincount(windows.owner[grave], minlength=len(windows)) > 0


def judged(teaching: Windows, windows: Windows, *, trusted: bool = False) -> Flags:
    """What is flagged by a judge with its defaults."""
    return learn(teaching, JudgeConfig(trusted=trusted)).judge(windows).score > 0.5  # noqa: PLR2004  (the cut)


def report(protocol: str, runs: list[tuple[Flags, Windows, Flags]]) -> None:
    """Print one line of means over the runs (what was flagged, on which windows, and the labels)."""
    ours = np.array([f1(flagged, labels) for flagged, _, labels in runs])
    everything = np.mean([f1(np.ones_like(labels), labels)[0] for _, _, labels in runs])
    words = np.mean([f1(severity_words(windows), labels)[0] for _, windows, labels in runs])
    mean = ours.mean(axis=0)
    false = np.mean([(flagged & ~labels).sum() / max((~labels).sum(), 1) for flagged, _, labels in runs])
    spread = f" sd {ours[:, 0].std():.3f} n={len(runs)}" if len(runs) > 1 else ""
    print(
        f"{protocol:<52} {mean[0]:.3f} ({mean[1]:.3f} / {mean[2]:.3f}){spread:<14}"
        f"  false {false:.2%}  flag all {everything:.3f}  severity words {words:.3f}"
    )


def read(path: Path, windowing: Windowing) -> Windows:
    """The windows of a log."""
    miner = Miner(rules=rules.load(), telemetry=Telemetry())
    corpus = batch.read([str(path)], _READING, miner, Telemetry(), batch.Observer())
    return batch.windows_of(corpus, windowing, miner, Telemetry())


def before(windows: Windows, moment: int) -> Windows:
    """The windows as they stood at that moment, those that had begun."""
    kept = windows.times <= moment
    lengths = np.bincount(windows.owner[kept], minlength=len(windows))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    columns: dict[str, Any] = {name: getattr(windows, name)[kept] for name in ("events", "times", "rows")}
    cut = Windows(
        windows.kind,
        windows.table,
        offsets,
        vocabulary=windows.vocabulary,
        records=windows.records,
        values=None if windows.values is None else windows.values[kept],
        **columns,
    )
    return cut.take(np.flatnonzero(lengths))


def hdfs(folder: Path, repeats: int) -> None:
    """Sessions by block: scan, random half, earlier part in time, clean baseline."""
    windows = read(folder / "HDFS_2pct.log.gz", _BLOCKS)
    with (folder / "anomaly_label.csv").open() as lines:
        truth = {row["BlockId"]: row["Label"] == "Anomaly" for row in csv.DictReader(lines)}
    labels = np.array([truth[key] for key in windows.table["key"]])
    count = len(windows)
    report("HDFS 2 %: scan of itself", [(judged(windows, windows), windows, labels)])
    runs = []
    for seed in range(repeats):
        mixed = np.random.default_rng(seed).permutation(count)
        teaching, rest = np.sort(mixed[: count // 2]), np.sort(mixed[count // 2 :])
        runs.append((judged(windows.take(teaching), windows.take(rest)), windows.take(rest), labels[rest]))
    report("HDFS 2 %: random half teaches, unlabelled", runs)
    begins = windows.times[windows.offsets[:-1]]
    for share in (0.3, 0.4, 0.5, 0.6, 0.7):
        moment = int(np.quantile(windows.times, share))
        rest = np.flatnonzero(begins > moment)
        flagged = judged(before(windows, moment), windows.take(rest))
        report(
            f"HDFS 2 %: first {share:.0%} of lines teach, frozen",
            [(flagged, windows.take(rest), labels[rest])],
        )
    normal = np.flatnonzero(~labels)
    for share in (0.01, 0.002, 0.0):
        runs = []
        for seed in range(min(repeats, 5) if share else 1):
            odd = np.random.default_rng(seed).permutation(np.flatnonzero(labels))
            thinned = np.sort(np.concatenate([normal, odd[: round(share * len(normal) / (1 - share))]]))
            part = windows.take(thinned)
            runs.append((judged(part, part), part, labels[thinned]))
        told = "no anomaly" if not share else f"{share:.1%} anomalous"
        report(f"HDFS 2 %: thinned to {told}, scan of itself", runs)
    for size in (557, 1115, 5575):
        runs = []
        for seed in range(min(repeats, 5)):
            teaching = np.sort(np.random.default_rng(seed).permutation(normal)[:size])
            rest = np.setdiff1d(np.arange(count), teaching)
            flagged = judged(windows.take(teaching), windows.take(rest), trusted=True)
            runs.append((flagged, windows.take(rest), labels[rest]))
        report(f"HDFS 2 %: clean baseline of {size:,} sessions", runs)


def bgl(folder: Path) -> None:
    """Windows of lines, with no warm-up and after 10,000 lines; and the same with severity hidden."""
    with gzip.open(folder / "BGL_50k.log.gz", "rt", encoding="utf-8", errors="replace") as lines:
        pairs = [line.split(" ", 1) for line in lines]
    alerts = np.array([label != "-" for label, _ in pairs])
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "bgl.log"
        log.write_text("".join(line for _, line in pairs), encoding="utf-8")
        for size in (100, 20, 50, 200, 500):
            windows = read(log, Windowing(WindowKind.RECORDS, size=size))
            labels = np.add.reduceat(alerts, np.arange(0, len(alerts), size)) > 0
            if len(labels) != len(windows):
                raise SystemExit(f"BGL: {len(windows)} windows, expected {len(labels)}")
            late = np.arange(10_000 // size, len(windows))
            hiding = [(", severity hidden", hidden(windows))] if size == _LINES else []
            for how, seen in [("", windows), *hiding]:
                flagged = judged(seen, seen)
                part = seen.take(late)
                report(f"BGL: {size} lines, no warm-up{how}", [(flagged, seen, labels)])
                report(f"BGL: {size} lines, after 10,000{how}", [(flagged[late], part, labels[late])])
                if how:
                    report("  a new template, whatever it says", [(new(seen)[late], part, labels[late])])


def hidden(windows: Windows) -> Windows:
    """The same windows, nothing said about how grave a template is."""
    plain = tuple(replace(template, severity=0, alarming=False) for template in windows.vocabulary)
    return replace(windows, vocabulary=plain)


def new(windows: Windows) -> Flags:
    """Windows in which a template is seen for the first time."""
    first = np.unique(windows.events, return_index=True)[1]
    return np.bincount(windows.owner[first], minlength=len(windows)) > 0


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=25, help="random halves")
    options = parser.parse_args()
    folder = Path(os.environ.get("LOGAD_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        raise SystemExit(f"{folder}: no such folder; set LOGAD_DATA to the folder of labelled logs")
    print(f"{'protocol':<52} F1 (precision / recall)")
    hdfs(folder / "hdfs", options.repeats)
    bgl(folder / "bgl")


if __name__ == "__main__":
    main()
