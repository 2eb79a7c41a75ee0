"""Reads the numbers that events tell: of each template those placeholders that look like measures."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.parameters import MOST_POSITIONS, PLACEHOLDER, located, quantities
from logad.types import Template
from logad.windows import MOST_VALUES

Measures = NDArray[np.float32]
"""Numbers of events, in base units (seconds, bytes, percent): shape (events, MOST_VALUES), NaN for none."""

_UNIT, _NAME, _BARE = 3, 2, 1  # what speaks for a placeholder, the most first
_AT_ONCE: Final = 1 << 19  # records whose texts are looked at together
_LONGEST: Final = 1_000  # characters of a template; what is longer tells data, and takes long to take apart

_GLUED: Final = re.compile(r"(?:[\w$#]|\w[-._/@+~]|>[-._/@+~:]*)$")
"""Before a placeholder: it is part of a name, or of another value."""
_GOES_ON: Final = re.compile(r"[-._/@+~:]*<|[-._/@+~]?\w")
"""The same behind it."""
_BEHIND: Final = re.compile(
    r" ?(?:%|(?:[num]?s(?:ecs?)?|milli(?:s|seconds?)|micro(?:s|seconds?)|seconds?|min(?:ute)?s?|hours?|days?"
    r"|[KMGT]i?B(?:/s)?|bytes?(?:/s)?|B(?:/s)?|bits?|packets?/s|per second)(?![\w]))",
    re.IGNORECASE,
)
_AHEAD: Final = re.compile(r"([A-Za-z]\w*)[^\w<>]{0,4}(?:(?:is|was|of)[^\w<>]{0,3})?$")
_PARTS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # of a name: sleepTime, wait_ms
_MEASURES: Final = frozenset(
    (
        *("size", "len", "length", "bytes", "capacity", "volume", "weight", "width", "height", "depth"),
        *("time", "times", "took", "taken", "duration", "latency", "elapsed", "delay", "timeout", "wait"),
        *("waited", "lag", "age", "uptime", "interval"),
        *("status", "count", "total", "num", "free", "used", "usage", "available", "left", "remaining"),
        *("memory", "mem", "heap", "disk", "cpu", "load", "rate", "ratio", "percent", "speed", "throughput"),
        *("temperature", "temp", "voltage", "score", "progress", "price", "amount", "cost", "balance"),
        *("queue", "queued", "pending", "active", "idle", "backlog", "retries", "attempts", "limit"),
        *("max", "min", "avg", "mean", "sum", "value", "rows", "records", "items", "requests"),
    )
)
_IDENTITIES: Final = frozenset(
    ("id", "ids", "tid", "pid", "ppid", "uid", "gid", "euid", "sid", "guid", "port", "line", "version", "seq")
)


@lru_cache(maxsize=1 << 15)
def slots(text: str) -> tuple[int, ...]:
    """The placeholders of a template that tell numbers worth keeping, ascending; at most MOST_VALUES.

    Told from its text alone: those with a unit behind or the name of a measure before them come first, then
    those further right. What is part of a name, or named as an identifier, is none; nor is `<*>` without a
    unit or a name. A very long template has none.

    >>> slots("<IP> GET <PATH> status: <NUM> len: <NUM> time: <NUM>")
    (2, 3, 4)
    >>> slots("task <NUM> of core.<NUM> (TID <NUM>) took <NUM> ms for <*>")
    (0, 3)
    """
    found = []
    places = PLACEHOLDER.finditer(text if len(text) <= _LONGEST else "")
    for place, match in zip(range(MOST_POSITIONS), places, strict=False):
        if match[0] in {"<NUM>", "<*>"}:
            worth = _worth(text[: match.start()], text[match.end() :])
            if worth >= (_BARE if match[0] == "<NUM>" else _NAME):
                found.append((worth, place))
    return tuple(sorted(place for _, place in sorted(found, reverse=True)[:MOST_VALUES]))


def measured(records: pl.DataFrame, vocabulary: tuple[Template, ...]) -> Measures | None:
    """The numbers that records tell, by their columns `text` and `template`; None where no template has any.

    >>> records = pl.DataFrame({"text": ["took 5 ms", "done"], "template": [0, 1]})
    >>> vocabulary = tuple(Template(code, "", text, 0) for code, text in enumerate(["took <NUM>", "done"]))
    >>> measured(records, vocabulary).round(3).tolist()
    [[0.004999999888241291, nan, nan], [nan, nan, nan]]
    """
    return measures(records["template"].to_numpy(), vocabulary, records["text"].gather)


def measures(
    codes: NDArray[np.int32],
    vocabulary: tuple[Template, ...],
    messages: Callable[[NDArray[np.int64]], pl.Series],
) -> Measures | None:
    """The same of records of which only these templates are known; `messages` gives the texts of some."""
    rows = np.flatnonzero(telling(codes, vocabulary))
    if not rows.size:
        return None
    found = np.full((len(codes), MOST_VALUES), np.nan, dtype=np.float32)
    for begin in range(0, len(rows), _AT_ONCE):
        part = rows[begin : begin + _AT_ONCE]
        texts = messages(part)
        order = np.argsort(codes[part], kind="stable")
        bounds = np.flatnonzero(np.diff(codes[part[order]], prepend=-1, append=-1))
        for first, end in zip(bounds.tolist(), bounds[1:].tolist(), strict=False):
            here = order[first:end]
            text = vocabulary[int(codes[part[here[0]]])].text
            for column, values in enumerate(_read(text, texts.gather(here))):
                found[part[here], column] = values
    return found


def telling(codes: NDArray[np.int32], vocabulary: tuple[Template, ...]) -> NDArray[np.bool_]:
    """Which records are of templates that have a number worth keeping."""
    used = np.zeros(len(vocabulary), dtype=np.bool_)
    used[codes] = True
    worth = np.zeros(len(vocabulary), dtype=np.bool_)
    worth[[code for code in np.flatnonzero(used).tolist() if slots(vocabulary[code].text)]] = True
    return worth[codes]


def single(values: NDArray[np.float64]) -> Measures:
    """The numbers as they are kept; those too large are none."""
    with np.errstate(over="ignore"):
        kept = values.astype(np.float32)
    kept[~np.isfinite(kept)] = np.nan
    return kept


def _read(text: str, texts: pl.Series) -> list[Measures]:
    """The numbers at each slot of a template."""
    read = located(text, texts, slots(text))
    return [
        single(quantities(values)["value"].cast(pl.Float64).fill_null(np.nan).to_numpy())
        for _, values in read
    ]


def _worth(before: str, after: str) -> int:
    """What speaks for a placeholder between these texts; 0 where it is none to keep."""
    behind = _BEHIND.match(after)
    if _GLUED.search(before) or (behind is None and _GOES_ON.match(after)):
        return 0
    name = _AHEAD.search(before)
    parts = {part.lower() for part in _PARTS.findall(name[1])} if name else set()
    if parts & _IDENTITIES:
        return 0
    if behind is not None:
        return _UNIT
    return _NAME if parts & _MEASURES else _BARE
