"""Windows, verdicts and incidents that the suites feed to parts: made up, the same on every run."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from logad.types import (
    RECORD_SCHEMA,
    AnomalyType,
    Evidence,
    Incident,
    Reason,
    Severity,
    Template,
    Verdict,
    WindowKind,
    WindowRef,
)
from logad.windows import MOST_VALUES, WINDOW_SCHEMA, Windows

START: Final = datetime(2026, 1, 5, tzinfo=UTC)
SPAN_SECONDS: Final = 300
VOCABULARY: Final = (
    "request <*> accepted",
    "query took <NUM> ms",
    "request <*> answered with <NUM>",
    "cache miss for <*>",
    "session <*> closed",
    "retrying <*>",
)
_QUERY, _MISS = 1, 3  # of these, which tell a number
FRESH: Final = ("disk <*> failed: input/output error", "panic: <*>")
HOSTILE: Final = (
    "<!channel> *bold* <script>alert(1)</script> {{ 7 * 7 }} ${HOME} \x1b[31mred\x1b[0m \u202eright & `code`"
)


def vocabulary(*, fresh: bool = True) -> tuple[Template, ...]:
    """The templates of the sample windows; the fresh ones, which report errors, stand in no normal window."""
    texts = VOCABULARY + (FRESH if fresh else ())
    return tuple(
        Template(code, f"{code:016x}", text, 3 if text in FRESH else 0) for code, text in enumerate(texts)
    )


def normal_windows(kind: WindowKind, count: int = 120, seed: int = 1) -> Windows:
    """Windows of a healthy system: one to three requests each, now and then a cache miss."""
    random = np.random.default_rng(seed)
    windows = []
    fewest, most = (1, 4) if kind is WindowKind.SESSION else (8, 12)
    for _ in range(count):
        codes: list[int] = []
        for _ in range(int(random.integers(fewest, most))):
            codes += [0, 1, 1, 2] if random.random() < 0.8 else [0, 3, 1, 2]  # noqa: PLR2004  (a habit of the system)
        windows.append([*codes, 4])
    return windows_of(kind, windows, fresh=False)


def with_anomaly(windows: Windows, kind: WindowKind) -> tuple[Windows, int]:
    """The windows with a blatant anomaly among them, and its row: fresh errors, a flood, few answers.

    Of a session the last answer takes hours. What misses the cache is huge.
    """
    row = len(windows) * 3 // 4
    codes = [windows.events[windows.span(window)].tolist() for window in range(len(windows))]
    codes[row] = [*([0] * 20), len(VOCABULARY), 5, 5, len(VOCABULARY) + 1, *([3] * 80), len(VOCABULARY)]
    if kind is WindowKind.SESSION:
        codes[row] += [0, 1, 2]
    windows = windows_of(kind, codes, fresh=True)
    assert windows.values is not None
    values, times, span = windows.values.copy(), windows.times.copy(), windows.span(row)
    values[span][windows.events[span] == _MISS] *= 1e4
    if kind is WindowKind.SESSION:
        times[span.stop - 1] += 20 * 3600 * 1_000_000
    values.setflags(write=False)
    times.setflags(write=False)
    return replace(windows, times=times, values=values), row


def windows_of(kind: WindowKind, codes: Sequence[Sequence[int]], *, fresh: bool = True) -> Windows:
    """Windows that hold these codes in this order, one every five minutes, as arrays nobody can write to."""
    lengths = np.asarray([len(window) for window in codes], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    events = np.asarray([code for window in codes for code in window], dtype=np.int32)
    origin = int(START.timestamp() * 1e6)
    span = SPAN_SECONDS * 1_000_000
    within = np.concatenate([np.arange(length) * span // max(length, 1) for length in [*lengths.tolist(), 0]])
    times = (origin + np.repeat(np.arange(len(codes)), lengths) * span + within).astype(np.int64)
    whole, keyed = kind is WindowKind.TIME, kind is WindowKind.SESSION
    starts = [START + timedelta(seconds=SPAN_SECONDS * window) for window in range(len(codes))]
    table = pl.DataFrame(
        {
            "service": ["shop"] * len(codes),
            "key": [f"session-{window}" if keyed else None for window in range(len(codes))],
            "start": starts,
            "end": [
                start + timedelta(seconds=SPAN_SECONDS if whole else SPAN_SECONDS - 1) for start in starts
            ],
            "first_line": (offsets[:-1] + 1).tolist(),
            "last_line": offsets[1:].tolist(),
            "records": lengths.tolist(),
            "revision": [0] * len(codes),
            "learning": [False] * len(codes),
        },
        schema=WINDOW_SCHEMA,
    )
    rows = np.full(len(events), -1, dtype=np.int64)
    values = np.full((len(events), MOST_VALUES), np.nan, dtype=np.float32)
    told = np.isin(events, (_QUERY, _MISS))
    values[told, 0] = 40 + (np.arange(len(events)) * 37 % 41)[told]
    for array in (offsets, events, times, rows, values):
        array.setflags(write=False)
    records = pl.DataFrame(schema=RECORD_SCHEMA)
    return Windows(kind, table, offsets, events, times, rows, vocabulary(fresh=fresh), records, values=values)


def verdict(number: int = 0, text: str = "payments fell silent", score: float = 0.95) -> Verdict:
    """A verdict of a time window; the number makes its id and its place in time."""
    start = START + timedelta(seconds=SPAN_SECONDS * number)
    end = start + timedelta(seconds=SPAN_SECONDS)
    evidence = (Evidence("shop.log", 10 * number + 1, text),)
    reason = Reason("volume", AnomalyType.CONTEXTUAL, text, "00ff", text, "400", "0", evidence)
    window = WindowRef(WindowKind.TIME, None, start, end, 10 * number + 1, 10 * number + 9, 9, number)
    return Verdict(
        id=f"{number:032x}",
        service="shop",
        window=window,
        learning=False,
        score=score,
        tail_probability=2e-5,
        detectors={"volume": score},
        reasons=(reason,),
    )


def incident(text: str = "payments fell silent") -> Incident:
    """An open incident of one verdict."""
    worst = verdict(1, text)
    moment = START + timedelta(seconds=SPAN_SECONDS)
    return Incident("1c", "f1", "shop", "open", Severity.PAGE, text, moment, moment, 1, worst)


def resolved(opened: Incident) -> Incident:
    """The same incident, an hour later and over."""
    return replace(opened, state="resolved", updated=opened.updated + timedelta(hours=1), verdicts=3)
