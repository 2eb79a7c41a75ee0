"""Builds windows by hand for tests: lists of template codes become real Windows."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from logad.types import RECORD_SCHEMA, Template, WindowKind
from logad.windows import NO_TIME, WINDOW_SCHEMA, Windows

EPOCH = datetime(2024, 3, 4, tzinfo=UTC)  # a Monday, midnight
SECOND = 1_000_000  # microseconds


def vocabulary_of(*texts: str, severities: Sequence[int] | None = None) -> tuple[Template, ...]:
    """Templates with these texts, codes in order; severity 0 unless said otherwise."""
    classes = severities or [0] * len(texts)
    return tuple(
        Template(code, f"t{code:04x}", text, severity, alarming=severity >= 3)
        for code, (text, severity) in enumerate(zip(texts, classes, strict=True))
    )


def windows_of(
    codes: Sequence[Sequence[int]],
    *,
    kind: WindowKind = WindowKind.SESSION,
    times: Sequence[Sequence[float]] | None = None,
    services: Sequence[str] | None = None,
    vocabulary: tuple[Template, ...] | None = None,
    starts: Sequence[float] | None = None,
    span_seconds: float = 300.0,
) -> Windows:
    """Windows that hold these codes in this order.

    `times` and `starts` are seconds after EPOCH. Without times, events of a window spread evenly over its span;
    without starts, window w starts at w spans. Time windows have whole spans in their table, the others the
    times of their first and last event.
    """
    lengths = [len(window) for window in codes]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    events = np.asarray([code for window in codes for code in window], dtype=np.int32)
    begun = [index * span_seconds for index in range(len(codes))] if starts is None else list(starts)
    if times is None:
        times = [
            [begin + span_seconds * (place + 0.5) / len(window) for place in range(len(window))]
            for begin, window in zip(begun, codes, strict=True)
        ]
    origin = int(EPOCH.timestamp()) * SECOND
    micros = np.asarray(
        [
            NO_TIME if np.isnan(moment) else origin + round(moment * SECOND)
            for window in times
            for moment in window
        ],
        dtype=np.int64,
    )
    whole = kind is WindowKind.TIME
    first = [begin if whole or not window else window[0] for begin, window in zip(begun, times, strict=True)]
    last = [
        begin + span_seconds if whole else (window[-1] if window else begin)
        for begin, window in zip(begun, times, strict=True)
    ]
    table = pl.DataFrame(
        {
            "service": list(services) if services is not None else ["app"] * len(codes),
            "key": [f"key-{w}" if kind is WindowKind.SESSION else None for w in range(len(codes))],
            "start": [None if np.isnan(moment) else EPOCH + timedelta(seconds=moment) for moment in first],
            "end": [None if np.isnan(moment) else EPOCH + timedelta(seconds=moment) for moment in last],
            "first_line": (offsets[:-1] + 1).tolist(),
            "last_line": offsets[1:].tolist(),
            "records": lengths,
            "revision": [0] * len(codes),
            "learning": [False] * len(codes),
        },
        schema=WINDOW_SCHEMA,
    )
    if vocabulary is None:
        width = int(events.max()) + 1 if len(events) else 0
        vocabulary = vocabulary_of(*(f"template {code}" for code in range(width)))
    rows = np.arange(len(events), dtype=np.int64)
    return Windows(kind, table, offsets, events, micros, rows, vocabulary, pl.DataFrame(schema=RECORD_SCHEMA))
