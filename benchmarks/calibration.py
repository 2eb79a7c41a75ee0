"""How often a normal window is called strange: the share above each tier, on logs in which nothing is wrong.

    LOGAD_DATA=../shared/data python benchmarks/calibration.py [--repeats 20] [--only hdfs]

Windows that are exchangeable by construction: normal sessions of HDFS 2 % drawn with replacement, sessions of
random workflows (Markov chains with rare branches), time windows of Poisson counts, windows of lines drawn
from a Zipf distribution. Each is judged with the defaults in three situations: by itself; by other windows of
the same source that somebody vouches for; by others of which three in a hundred are odd. Then the normal
windows of the labelled sets as they are. Labels say which windows are normal; no threshold sees them.

Each line: windows judged, then for the scores .5, .7 and .9 the share above with its 95 % bounds (Clopper,
Pearson 1934), all repeats pooled, and the worst share above .5 of one repeat: windows of one repeat share a
reference and so are not quite independent. A bound is marked where even its lower end is above the goal.
"""

import argparse
import csv
import gzip
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from accuracy import f1, read
from numpy.typing import NDArray
from scipy.stats import beta

from logad.judge import JudgeConfig, learn
from logad.types import RECORD_SCHEMA, Template, WindowKind
from logad.windows import WINDOW_SCHEMA, Windowing, Windows

Draw = Callable[[np.random.Generator, float], Windows]
"""Windows of a source, such a share of them odd."""
Source = Callable[[int], Draw]
"""A source of windows, by seed: each call of what it gives is a fresh draw from the same source."""

TIERS: Final = ((0.5, 1e-3), (0.7, 2e-4), (0.9, 5e-5))
"""Scores, and the share of normal windows that may be above each."""
SITUATIONS: Final = ("scan", "clean baseline", "odd baseline")
ODD: Final = 0.03  # of the windows that teach in the third situation
CONFIDENCE: Final = 0.95
SURE: Final = 0.6  # of the steps of a workflow come in all of its sessions
REPEATING: Final = 0.2  # of them may come again at once
SECOND: Final = 0.3  # of the sessions follow the second workflow
_SECOND: Final = 1_000_000
_BEGAN: Final = int(datetime(2024, 3, 4, tzinfo=UTC).timestamp()) * _SECOND
_SPAN: Final = 300
_LINES: Final = 100


@dataclass
class Tally:
    """Scores of normal windows, repeat by repeat."""

    scores: list[NDArray[np.float64]]

    def line(self, name: str) -> str:
        """What they come to, beside the goal."""
        scores = np.concatenate(self.scores)
        parts = []
        for tier, goal in TIERS:
            above = int((scores > tier).sum())
            low, high = bounds(above, len(scores))
            mark = "!" if low > goal else " "
            parts.append(f"{100 * above / len(scores):.4f} [{100 * low:.4f}, {100 * high:.4f}]{mark}")
        worst = max(float((each > TIERS[0][0]).mean()) for each in self.scores)
        return f"{name:<46}{len(scores):>9,}  {'  '.join(parts)}  {100 * worst:.3f}"


def bounds(hits: int, windows: int) -> tuple[float, float]:
    """The 95 % bounds of a share (Clopper, Pearson 1934).

    >>> [round(bound, 4) for bound in bounds(0, 3000)]
    [0.0, 0.0012]
    """
    rest = (1 - CONFIDENCE) / 2
    low = float(beta.ppf(rest, hits, windows - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - rest, hits + 1, windows - hits)) if hits < windows else 1.0
    return low, high


def situations(name: str, source: Source, repeats: int) -> None:
    """Print a line for each situation."""
    tallies = {situation: Tally([]) for situation in SITUATIONS}
    for seed in range(repeats):
        lot = np.random.default_rng(seed)
        draw = source(seed)
        judged = draw(lot, 0.0)
        for situation, teaching in (
            ("scan", judged),
            ("clean baseline", draw(lot, 0.0)),
            ("odd baseline", draw(lot, ODD)),
        ):
            config = JudgeConfig(trusted=situation == "clean baseline")
            tallies[situation].scores.append(learn(teaching, config, seed).judge(judged).score)
    for situation, tally in tallies.items():
        print(tally.line(f"{name}: {situation}"), flush=True)


def normal_ones(name: str, windows: Windows, labels: NDArray[np.bool_]) -> None:
    """Print a line for a labelled set: all of it is judged by itself, its normal windows are counted."""
    score = learn(windows).judge(windows).score
    print(Tally([score[~labels]]).line(f"{name}, normal ones ({f1(score > 0.5, labels)[0]:.3f})"))  # noqa: PLR2004


# Sources -----------------------------------------------------------------------------------------------


def drawn(windows: Windows, labels: NDArray[np.bool_]) -> Source:
    """Normal windows of a labelled set, drawn with replacement; odd ones among them."""
    normal, strange = np.flatnonzero(~labels), np.flatnonzero(labels)

    def draw(lot: np.random.Generator, odd: float) -> Windows:
        chosen = lot.choice(normal, len(normal))
        few = round(odd * len(chosen))
        chosen[:few] = lot.choice(strange, few)
        return windows.take(np.sort(chosen))

    return lambda _seed: draw


def workflows(seed: int) -> Draw:
    """Sessions of two random workflows: steps in order, some optional, repeated or seldom (1 % to .1 %)."""
    plan = np.random.default_rng([seed, 1])
    flows = [plan.permutation(30)[: plan.integers(6, 14)] for _ in range(2)]
    chance, again = [], []
    for flow in flows:
        seldom = 10 ** plan.uniform(-3, 0, len(flow))
        chance.append(np.where(plan.random(len(flow)) < SURE, 1.0, seldom))
        repeating = plan.random(len(flow)) < REPEATING
        again.append(np.where(repeating, plan.uniform(0.1, 0.6, len(flow)), 0.0))
    slow = plan.uniform(-2, 3, 30)
    severities = plan.choice([0, 0, 0, 0, 0, 1, 2], 30)
    known = _vocabulary(severities.tolist())

    def draw(lot: np.random.Generator, odd: float) -> Windows:
        codes, times = [], []
        for _ in range(8000):
            which = int(lot.random() < SECOND)
            flow = flows[which]
            taken = lot.random(len(flow)) < chance[which]
            often = lot.geometric(1 - again[which]) * taken
            steps = np.repeat(flow, often)
            if lot.random() < odd:
                steps = _spoilt(steps, lot)
            codes.append(steps)
            times.append(np.cumsum(np.exp(slow[steps] + lot.normal(0, 0.5, len(steps)))))
        begins = np.sort(lot.uniform(0, 86_400 * 3, len(codes)))
        return _sessions(codes, [begin + each for begin, each in zip(begins, times, strict=True)], known)

    return draw


def poisson(seed: int) -> Draw:
    """Windows of five minutes of three services, a week: independent Poisson counts, some very seldom."""
    plan = np.random.default_rng([seed, 2])
    rates = 10 ** plan.uniform(-3, 2, (3, 12))
    known = _vocabulary(plan.choice([0, 0, 0, 1, 2], rates.size).tolist())
    spans = 7 * 288

    def draw(lot: np.random.Generator, odd: float) -> Windows:
        counts = lot.poisson(rates[None], (spans, *rates.shape))
        hit = lot.random((spans, len(rates))) < odd
        which = lot.integers(0, rates.shape[1], hit.shape)
        span, service = np.nonzero(hit)
        counts[span, service, which[hit]] += lot.integers(20, 400, len(span))
        return _spans(counts, known, lot)

    return draw


def zipf(seed: int) -> Draw:
    """Windows of 100 lines, each line drawn from sixty templates by Zipf's law."""
    plan = np.random.default_rng([seed, 3])
    share = 1 / np.arange(1, 61) ** plan.uniform(1.2, 2.0)
    share /= share.sum()
    known = _vocabulary([*plan.choice([0, 0, 1, 2], 60).tolist(), 3])

    def draw(lot: np.random.Generator, odd: float) -> Windows:
        codes = lot.choice(60, (2000, _LINES), p=share)
        codes[lot.random(len(codes)) < odd, -5:] = 60
        moments = np.cumsum(lot.exponential(1.0, codes.size)).reshape(codes.shape)
        return _assembled(WindowKind.RECORDS, list(codes), list(moments), known)

    return draw


def _spoilt(steps: NDArray[np.int64], lot: np.random.Generator) -> NDArray[np.int64]:
    """A session that stops early, repeats a step, or goes through steps of no workflow."""
    kind = lot.integers(3)
    if kind == 0:
        return steps[: max(1, len(steps) // 2)]
    if kind == 1 and len(steps):
        return np.concatenate([steps, np.repeat(steps[lot.integers(len(steps))], 12)])
    return np.concatenate([steps, lot.integers(0, 30, 4)])


def _vocabulary(severities: list[int]) -> tuple[Template, ...]:
    return tuple(
        Template(code, f"t{code:04x}", f"step {code} is done", severity, alarming=severity >= 3)  # noqa: PLR2004
        for code, severity in enumerate(severities)
    )


def _sessions(
    codes: list[NDArray[np.int64]], times: list[NDArray[np.float64]], known: tuple[Template, ...]
) -> Windows:
    some = [at for at, each in enumerate(codes) if len(each)]
    return _assembled(WindowKind.SESSION, [codes[at] for at in some], [times[at] for at in some], known)


def _spans(counts: NDArray[np.int64], known: tuple[Template, ...], lot: np.random.Generator) -> Windows:
    """Windows from counts of shape (spans, services, templates), in order of time, then service."""
    spans, services, templates = counts.shape
    flat = counts.reshape(spans * services, templates)
    codes, times = [], []
    for window, row in enumerate(flat):
        span, service = divmod(window, services)
        events = lot.permutation(np.repeat(np.arange(templates) + service * templates, row))
        codes.append(events)
        times.append(np.sort(lot.uniform(span * _SPAN, (span + 1) * _SPAN, len(events))))
    begins = np.repeat(np.arange(spans) * _SPAN, services).astype(np.float64)
    names = [f"service{window % services}" for window in range(len(flat))]
    return _assembled(WindowKind.TIME, codes, times, known, begins=begins, services=names)


def _assembled(  # noqa: PLR0913  (what windows are made of)
    kind: WindowKind,
    codes: list[NDArray[np.int64]],
    times: list[NDArray[np.float64]],
    known: tuple[Template, ...],
    *,
    begins: NDArray[np.float64] | None = None,
    services: list[str] | None = None,
) -> Windows:
    lengths = np.asarray([len(each) for each in codes])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    events = np.concatenate(codes).astype(np.int32)
    moments = _BEGAN + (np.concatenate(times) * _SECOND).astype(np.int64)
    if begins is None:
        first, last = moments[offsets[:-1]], moments[offsets[1:] - 1]
    else:
        first = _BEGAN + (begins * _SECOND).astype(np.int64)
        last = first + _SPAN * _SECOND
    count = len(codes)
    table = pl.DataFrame(
        {
            "service": ["app"] * count if services is None else services,
            "key": [f"key-{at}" if kind is WindowKind.SESSION else None for at in range(count)],
            "start": pl.Series(first).cast(pl.Datetime("us", "UTC")),
            "end": pl.Series(last).cast(pl.Datetime("us", "UTC")),
            "first_line": offsets[:-1] + 1,
            "last_line": offsets[1:],
            "records": lengths,
            "revision": [0] * count,
            "learning": [False] * count,
        },
        schema=WINDOW_SCHEMA,
    )
    rows = np.full(len(events), -1, dtype=np.int64)
    return Windows(kind, table, offsets, events, moments, rows, known, pl.DataFrame(schema=RECORD_SCHEMA))


# Real logs ---------------------------------------------------------------------------------------------


def hdfs(folder: Path) -> tuple[Windows, NDArray[np.bool_]]:
    """The sessions of HDFS 2 %, and which of them are labelled."""
    windows = read(folder / "HDFS_2pct.log.gz", Windowing(WindowKind.SESSION, key_regex=r"blk_-?\d+"))
    with (folder / "anomaly_label.csv").open() as lines:
        truth = {row["BlockId"]: row["Label"] == "Anomaly" for row in csv.DictReader(lines)}
    return windows, np.array([truth[key] for key in windows.table["key"]])


def bgl(folder: Path, size: int = _LINES) -> tuple[Windows, NDArray[np.bool_]]:
    """Windows of lines of BGL without its first column, and which of them hold a labelled line."""
    with gzip.open(folder / "BGL_50k.log.gz", "rt", encoding="utf-8", errors="replace") as lines:
        pairs = [line.split(" ", 1) for line in lines]
    alerts = np.array([label != "-" for label, _ in pairs])
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "bgl.log"
        log.write_text("".join(line for _, line in pairs), encoding="utf-8")
        windows = read(log, Windowing(WindowKind.RECORDS, size=size))
    return windows, np.add.reduceat(alerts, np.arange(0, len(alerts), size)) > 0


def chosen(only: list[str], repeats: int, folder: Path) -> Iterator[Callable[[], None]]:
    """What is to be printed, one call each."""
    if folder.is_dir() and "hdfs" in only:
        windows, labels = hdfs(folder / "hdfs")
        yield lambda: situations("HDFS 2 % normal, drawn", drawn(windows, labels), repeats)
        yield lambda: normal_ones("HDFS 2 % scan", windows, labels)
        clean = windows.take(np.flatnonzero(~labels))
        yield lambda: normal_ones("HDFS 2 % without anomalies", clean, np.zeros(len(clean), dtype=np.bool_))
    for name, source in (("workflows", workflows), ("poisson", poisson), ("zipf", zipf)):
        if name in only:
            yield lambda name=name, source=source: situations(name, source, repeats)  # type: ignore[misc]
    if folder.is_dir() and "bgl" in only:
        windows, labels = bgl(folder / "bgl")
        yield lambda: normal_ones("BGL 100 lines scan", windows, labels)


def main() -> None:
    """Print all shares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    every = ["hdfs", "workflows", "poisson", "zipf", "bgl"]
    parser.add_argument("--repeats", type=int, default=20, help="draws of each source")
    parser.add_argument("--only", nargs="+", choices=every, default=every)
    options = parser.parse_args()
    folder = Path(os.environ.get("LOGAD_DATA") or Path(__file__).parents[2] / "shared" / "data")
    goals = ", ".join(f"{100 * goal:g} % above {tier}" for tier, goal in TIERS)
    print(f"goals: at most {goals}; bounds of {CONFIDENCE:.0%}, '!' where the lower one is above the goal")
    print(f"{'source: situation':<46}{'windows':>9}  % above .5, .7, .9 [bounds]; the worst repeat above .5")
    for printed in chosen(options.only, options.repeats, folder):
        printed()


if __name__ == "__main__":
    main()
