"""How real logs are judged in windows of five minutes, each by what came before it.

    LOGAD_DATA=../shared/data python benchmarks/time_windows.py [--planted]

HDFS 2 % (Xu et al. 2009, via loghub): the episodes of 1.6 days that a backtest alarms at, and why; windows
that alarm within an hour are one episode. BGL, first 50,000 lines (Oliner, Stearley 2007, via loghub), after
10,000 lines, its severity told and hidden: F1 of the windows that hold a line, by labels that nothing else
sees. `--planted`: what is caught of seven kinds of planted anomalies (seed 0), subtle and gross.
"""

import argparse
import gzip
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Final

import numpy as np
from accuracy import f1, hidden, read
from numpy.typing import NDArray

from logad import backtest, evaluate
from logad.judge import JudgeConfig, learn
from logad.types import WindowKind
from logad.windows import Windowing, Windows

EPISODE: Final = timedelta(hours=1)
GROWTH: Final = 1.25  # a judge is learned anew when its past has grown so much, as in a backtest
WARM_LINES: Final = 10_000
PLANTED: Final = (
    ("hdfs/HDFS_2pct.log.gz", "5m"),
    ("bgl/BGL_50k.log.gz", "5m"),
    ("loghub_2k/Zookeeper/Zookeeper_2k.log", "5m"),
    ("loghub_2k/OpenStack/OpenStack_2k.log", "10s"),
    ("loghub_2k/Spark/Spark_2k.log", "1s"),
    ("k8s/trainticket-2023-01-29.ndjson.gz", "1m"),
)


def hdfs(log: Path) -> None:
    """Print each episode and what its first window tells."""
    verdicts = [verdict for verdict in backtest(log, window="5m").verdicts if verdict.anomalous]
    episodes, last = 0, None
    for verdict in verdicts:
        begin = verdict.window.start
        if begin is None:
            continue
        if last is None or begin - last > EPISODE:
            episodes += 1
            print(f"  {begin:%Y-%m-%d %H:%M} {verdict.reasons[0].text}")
        last = begin
    print(f"HDFS 2 %, backtest: {len(verdicts)} windows alarm, in {episodes} episodes")


def in_time(windows: Windows, warm: int) -> NDArray[np.bool_]:
    """Which windows from `warm` on are flagged by judges that have learned from those before."""
    flagged = np.zeros(len(windows), dtype=np.bool_)
    at = warm
    while at < len(windows):
        until = min(max(at + 1, round(GROWTH * at)), len(windows))
        judge = learn(windows.take(np.arange(at)), JudgeConfig())
        for row in range(at, until):
            one = windows.take([row])
            flagged[row] = judge.judge(one).score[0] > 0.5  # noqa: PLR2004  (the cut)
            judge.remember(one)
        at = until
    return flagged


def bgl(log: Path) -> None:
    """Print F1 with severity told and hidden, beside flagging everything."""
    with gzip.open(log, "rt", encoding="utf-8", errors="replace") as lines:
        pairs = [line.split(" ", 1) for line in lines]
    alerts = np.array([label != "-" for label, _ in pairs])
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "bgl.log"
        plain.write_text("".join(line for _, line in pairs), encoding="utf-8")
        windows = read(plain, Windowing(WindowKind.TIME, span_seconds=300.0))
        numbers = windows.records["line"].to_numpy()[windows.rows]
        bad = np.bincount(windows.owner[alerts[numbers - 1]], minlength=len(windows)) > 0
        first = windows.table["first_line"].fill_null(0).to_numpy()
        warm = int(np.argmax(first > WARM_LINES))
        filled = (np.arange(len(windows)) >= warm) & (np.diff(windows.offsets) > 0)
        for how, seen in (("", windows), (", severity hidden", hidden(windows))):
            told = f1(in_time(seen, warm)[filled], bad[filled])
            print(f"BGL, after {WARM_LINES:,} lines{how}: F1 {told[0]:.3f} ({told[1]:.2f} / {told[2]:.2f})")
        everything = f1(np.ones(int(filled.sum()), dtype=np.bool_), bad[filled])
        print(
            f"  flag everything: {everything[0]:.3f}; {bad[filled].sum()} of {filled.sum()} windows are bad"
        )


def planted(folder: Path) -> None:
    """Print what is caught of each kind."""
    for name, span in PLANTED:
        found = evaluate(folder / name, window=span, inject=True, seed=0).planted
        if found is None:
            continue
        print(f"{name} in windows of {span}: {found.flagged / found.windows:.2%} flagged before")
        for outcome in found.outcomes:
            if outcome.planted:
                told = f"{outcome.caught:>3} of {outcome.planted:<3} named {outcome.named:<3}"
                print(f"  {outcome.kind:<14} {outcome.strength:<6} {told}")


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--planted", action="store_true", help="plant anomalies as well")
    options = parser.parse_args()
    folder = Path(os.environ.get("LOGAD_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        raise SystemExit(f"{folder}: no such folder; set LOGAD_DATA to the folder of real logs")
    hdfs(folder / "hdfs" / "HDFS_2pct.log.gz")
    bgl(folder / "bgl" / "BGL_50k.log.gz")
    if options.planted:
        planted(folder)


if __name__ == "__main__":
    main()
