"""What each detector adds: the default, each of its detectors alone, and each left out, set by set.

    LOGAD_DATA=../shared/data python benchmarks/ablation.py [--shop 0] [--planted]

F1 of the labels on HDFS 2 % (sessions) and BGL (windows of 100 lines), each judged by itself; F1 on the
generated shop (seed by `--shop`: what of the planted is caught; of the windows flagged after the third day,
which belong to something planted); F1 on what `logad evaluate --inject` plants into HDFS 2 % and BGL (all
kinds and strengths together, as if they were 2 % of the windows; normal windows that are flagged are false).
A detector that does not judge a sort of windows finds nothing in them. Last: whether the default is
within .01 of the best single detector on each set. No label and no plant is seen by a threshold.
"""

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from accuracy import f1
from calibration import bgl, hdfs
from numpy.typing import NDArray
from shop.finding import WARM, belongs, outcome
from shop.generator import DAY, Shop, generated
from shop_windows import alarms_of

from logad.evaluation.trials import SHARE, Bench, tried
from logad.judge import DETECTORS, Judge, JudgeConfig, learn
from logad.types import WindowKind
from logad.windows import Windows

NEAR: Final = 0.01
_CUT: Final = 0.5
Names = tuple[str, ...]
Measure = Callable[[Names], float]
"""F1 with these detectors only."""


def variants(every: Names) -> dict[str, Names]:
    """Names of what is compared, and the detectors of each."""
    alone = {f"{name} alone": (name,) for name in every}
    without = {f"without {name}": tuple(other for other in every if other != name) for name in every}
    return {"default": every, **alone, **without}


def config(names: Names) -> JudgeConfig | None:
    """Only these detectors; None where none of them judges such windows."""
    return JudgeConfig(detectors={name: {} for name in names}) if names else None


def labelled(windows: Windows, labels: NDArray[np.bool_]) -> Measure:
    """F1 of the windows judged by themselves."""

    def measured(names: Names) -> float:
        chosen = config(names)
        return f1(learn(windows, chosen).judge(windows).score > _CUT, labels)[0] if chosen else 0.0

    return measured


def planted(windows: Windows, labels: NDArray[np.bool_]) -> Measure:
    """F1 of all that is planted into windows that no label calls anomalous."""

    def measured(names: Names) -> float:
        chosen = config(names)
        if chosen is None:
            return 0.0

        def judge_of(those: Windows) -> Judge:
            return learn(those, chosen)

        before = judge_of(windows).judge(windows).score > _CUT
        outcomes = tried(windows, Bench(judge_of, before, labels, 0)).outcomes
        recall = sum(each.caught for each in outcomes) / max(sum(each.planted for each in outcomes), 1)
        false = sum(each.flagged for each in outcomes) / max(sum(each.untouched for each in outcomes), 1)
        return _f1(SHARE * recall, SHARE, (1 - SHARE) * false)

    return measured


def shop(made: Shop, every: Names) -> Measure:
    """F1 of a backtest of the shop's raw lines: planted trouble that is caught, windows that are false."""

    def measured(names: Names) -> float:
        if not names:
            return 0.0
        alarms = alarms_of(made, [name for name in every if name not in names])
        found = outcome(made, alarms)
        caught = sum(each.delay is not None for each in found.findings)
        late = [alarm for alarm in alarms if alarm.begin >= WARM * DAY]
        right = sum(any(belongs(alarm, each) for each in made.planted) for alarm in late)
        precision, recall = right / max(len(late), 1), caught / len(found.findings)
        return 2 * precision * recall / (precision + recall) if right and caught else 0.0

    return measured


def judging(kind: WindowKind, measure: Measure) -> Measure:
    """The same for windows of this kind: what does not judge them is left out, what was measured is known."""
    known: dict[Names, float] = {}

    def measured(names: Names) -> float:
        chosen = tuple(name for name in DETECTORS[kind] if name in names)
        if chosen not in known:
            known[chosen] = measure(chosen)
        return known[chosen]

    return measured


def table(rows: Mapping[str, Names], sets: Mapping[str, Measure]) -> None:
    """Print one line a variant, with the mean, then how the default compares with the best alone."""
    print(f"{'F1':<28}" + "".join(f"{name:>17}" for name in sets) + f"{'mean':>8}")
    figures: dict[str, NDArray[np.float64]] = {}
    for row, names in rows.items():
        figures[row] = np.array([measured(names) for measured in sets.values()])
        told = "".join(f"{figure:>17.3f}" for figure in figures[row])
        print(f"{row:<28}{told}{figures[row].mean():>8.3f}", flush=True)
    alone = {row: figures[row] for row in rows if row.endswith(" alone")}
    for at, name in enumerate(sets):
        best = max(alone, key=lambda row: float(alone[row][at]))
        gap = float(figures["default"][at] - alone[best][at])
        verdict = "within .01" if gap >= -NEAR else "WORSE"
        print(f"{name}: default {gap:+.3f} against {best} ({verdict})")


def _f1(hits: float, wanted: float, false: float) -> float:
    return 2 * hits / (hits + false + wanted)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shop", type=int, metavar="SEED", help="also the generated shop (slow)")
    parser.add_argument("--planted", action="store_true", help="also what is planted into the labelled sets")
    options = parser.parse_args()
    folder = Path(os.environ.get("LOGAD_DATA") or Path(__file__).parents[2] / "shared" / "data")
    every = tuple(dict.fromkeys(name for usual in DETECTORS.values() for name in usual))
    sets: dict[str, Measure] = {}
    if folder.is_dir():
        sessions, lines = hdfs(folder / "hdfs"), bgl(folder / "bgl")
        for name, measure in (("", labelled), ("planted ", planted if options.planted else None)):
            if measure is not None:
                sets[f"{name}HDFS 2 %"] = judging(WindowKind.SESSION, measure(*sessions))
                sets[f"{name}BGL 100"] = judging(WindowKind.RECORDS, measure(*lines))
    else:
        print(f"{folder}: no such folder, so no labelled logs; set LOGAD_DATA")
    if options.shop is not None:
        sets[f"shop {options.shop}"] = judging(WindowKind.TIME, shop(generated(options.shop), every))
    table(variants(every), sets)


if __name__ == "__main__":
    main()
