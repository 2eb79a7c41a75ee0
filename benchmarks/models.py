"""Speed of the models that judge count vectors beside loglizer's own, fit and score together, in one run.

    LOGAD_DATA=../shared/data python benchmarks/models.py [--seeds 5] [--limit 120] [--sessions 300000]

loglizer 1.0 (He et al. 2016) is installed from the package registry, without what it depends on, into the
cache of the benchmarks; of its package only the four models are imported (the rest of it wants torch). Its
Isolation Forest passes an argument that scikit-learn has dropped, so that scikit-learn's own runs in its
place, with loglizer's settings. Both get the same sessions: random halves of HDFS 2 % by seed, and HDFS-like
ones, drawn with replacement from HDFS 2 % with small changes in some. loglizer gets the finished counts;
what it takes to find the distinct vectors is counted as ours. Each line: median seconds (least to most over
the seeds), then the ratio of the medians. A model that is not done within the limit counts as the limit.
"""

import argparse
import contextlib
import importlib
import io
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from calibration import hdfs, workflows
from measuring import cache
from numpy.typing import NDArray

from logad import registry
from logad.windows import Windows

MODELS: Final = ("pca", "isolation_forest", "invariants", "log_clustering")
CHANGED: Final = 0.002
"""Of the HDFS-like sessions begin with another of their events: distinct vectors grow as they do in HDFS."""
Peer = Callable[[NDArray[np.float64]], object]


def peers() -> dict[str, Peer]:
    """What fits and scores a count matrix, by the name of our detector; what it is, is printed."""
    folder = cache() / "loglizer"
    if not folder.is_dir():
        wanted = ["--no-deps", "--target", str(folder), "loglizer==1.0"]
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", *wanted], check=True)
    for name in ("loglizer", "loglizer.models"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder / name.replace(".", "/"))]
        sys.modules[name] = package

    def model(module: str, **options: Any) -> Peer:  # noqa: ANN401
        made = getattr(importlib.import_module(f"loglizer.models.{module}"), module)

        def run(counts: NDArray[np.float64]) -> object:
            fitted = made(**options)
            fitted.fit(counts)
            return fitted.predict(counts)

        return run

    def forest(counts: NDArray[np.float64]) -> object:
        from sklearn.ensemble import IsolationForest  # noqa: PLC0415

        fitted = IsolationForest(n_estimators=100, contamination=0.03, random_state=0).fit(counts)
        return fitted.predict(counts)

    return {
        "pca": model("PCA"),
        "isolation_forest": forest,
        "invariants": model("InvariantsMiner"),
        "log_clustering": model("LogClustering"),
    }


def ours(name: str, windows: Windows) -> float:
    """Seconds to fit a detector and score, distinct vectors to be found first."""
    fresh = replace(windows)  # nothing of it is cached
    part = registry.part("detectors", name)
    began = time.perf_counter()
    part(part.Config(), 0).fit(fresh).score(fresh)
    return time.perf_counter() - began


def theirs(peer: Peer, counts: NDArray[np.float64], limit: float) -> float:
    """Seconds of a peer in a process of its own, at most the limit."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)

    def timed() -> None:
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            peer(counts)
        sending.send(time.perf_counter() - began)

    child = context.Process(target=timed)
    child.start()
    took = float(receiving.recv()) if receiving.poll(limit) else limit
    child.kill()
    child.join()
    return took


def matrix(windows: Windows) -> NDArray[np.float64]:
    """The count vector of each window, as loglizer's feature extractor gives it."""
    return windows.distinct.counts[windows.distinct.inverse].astype(np.float64)


def grown(windows: Windows, sessions: int, seed: int) -> Windows:
    """HDFS-like sessions: drawn with replacement, some events changed for another one of the session."""
    lot = np.random.default_rng(seed)
    drawn = windows.take(lot.integers(0, len(windows), sessions))
    events = drawn.events.copy()
    changed = np.flatnonzero(lot.random(sessions) < CHANGED)
    at = drawn.offsets[changed]
    events[at] = events[drawn.offsets[changed + 1] - 1]
    return replace(drawn, events=events)


def compared(name: str, draws: list[Windows], limit: float) -> None:
    """Print a line for each model."""
    found = peers()
    shape = matrix(draws[0]).shape
    print(f"{name}: {shape[0]:,} sessions, {shape[1]} templates, {len(draws[0].distinct.counts):,} distinct")
    for model in MODELS:
        mine = [ours(model, windows) for windows in draws]
        other = [theirs(found[model], matrix(windows), limit) for windows in draws]
        ratio = statistics.median(other) / statistics.median(mine)
        peer = "scikit-learn" if model == "isolation_forest" else "loglizer"
        late = " (or more)" if max(other) >= limit else ""
        print(f"  {model:<18}{told(mine)}  {peer:<13}{told(other)}  {ratio:>8.1f}x{late}", flush=True)


def told(seconds: list[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(seconds):>8.3f} s ({min(seconds):.3f} to {max(seconds):.3f})"


def main() -> None:
    """Print all lines."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds that a peer may take")
    parser.add_argument("--sessions", type=int, default=300_000, help="of the HDFS-like ones; 0: none")
    options = parser.parse_args()
    folder = Path(os.environ.get("LOGAD_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if folder.is_dir():
        windows, _ = hdfs(folder / "hdfs")
    else:
        print(f"{folder}: no such folder, so sessions of random workflows stand for HDFS")
        windows = workflows(0)(np.random.default_rng(0), 0.03)
    halves = [
        windows.take(np.sort(np.random.default_rng(seed).permutation(len(windows))[: len(windows) // 2]))
        for seed in range(options.seeds)
    ]
    compared("random halves of HDFS 2 %", halves, options.limit)
    if options.sessions:
        many = [grown(windows, options.sessions, seed) for seed in range(options.seeds)]
        compared("HDFS-like", many, options.limit)


if __name__ == "__main__":
    main()
