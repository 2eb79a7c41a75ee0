"""Chooses what makes a window when the user does not say, and gives the reason."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl

from logad.durations import format_duration
from logad.keys import session_keys
from logad.straying import stray
from logad.types import WindowKind
from logad.windows import Windowing

SAMPLE: Final = 50_000
"""Records looked at; sessions need neighbours, so these are the first ones, not a random sample."""
SPANS: Final = (60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0)
FEW_WINDOWS: Final = 40
"""Fewer time windows than this teach too little: windows of records are taken instead."""
RECORDS_A_SPAN: Final = 10.0
"""Mean records in a time window that has any."""
TIMED: Final = 0.5
"""Share of all records that must have a time for windows of time."""
MOST_SPANS: Final = 20_000
MOST_WINDOWS: Final = 200_000
"""Of all services together: each has a window in each span, also an empty one."""
RECORDS_A_RUN: Final = 100
FEWEST_KEYS: Final = 30
IN_SESSIONS: Final = 0.4
"""Share of all records that must lie in real sessions for a key to be chosen."""
KEYED: Final = 0.75
"""Share of all records that must have a key where only sessions are judged."""
SHORTEST_TIMEOUT: Final = 10.0
LONGEST_TIMEOUT: Final = 3600.0
"""Bounds of a session's timeout in seconds."""

_IDENTIFIER: Final = r"[A-Za-z]{2,16}[_-]-?[A-Za-z]{0,3}[0-9][0-9A-Za-z_-]{3,}"
_NAMED: Final = (
    r"""(?i)[a-z_.-]*(?:id|key|session|request|req|trace|instance|job|order|txn)"""
    r"""["']?\s?[=:]\s?["']?[0-9a-z_-]{4,}"""
)
_PLACE: Final = re.compile(
    r"(?i)(^|[._-])(host|node|pod|container|agent|process|thread|image|replicaset|namespace|cluster|device)"
    r"[._-]?(id|key|u?uid)$|(^|[._-])[pt]id$|(^|[._-])[eg]?[ug]id$|^(ip|host|node|pod|server|srv|worker|thread)[_-]"
)
"""Keys that tell where something ran or on whose behalf, not what happened together."""
_UUID: Final = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_BEFORE_UUID: Final = rf"[A-Za-z]+[-:=_ ]+{_UUID}"


@dataclass(frozen=True, slots=True)
class KeyFit:
    """How well a candidate key cuts records into sessions."""

    windowing: Windowing
    keys: int
    keyed: float  # share of all records that have a key
    in_sessions: float  # share of all records in sessions of three and more records with two templates
    per_session: float  # mean records of those sessions


def choose(records: pl.DataFrame, raw: pl.Series | None = None) -> Windowing:
    """The one windowing that suits these mined records best: sessions, else time, else runs of records.

    `raw` are the texts of the first SAMPLE of them, where these have no column of that name.
    """
    return _sessions(records, keyed=KEYED, raw=raw) or _spans(records)


def views(records: pl.DataFrame) -> tuple[Windowing, ...]:
    """The windowings a live run judges side by side: sessions where there is a key, and spans of time."""
    spans = _spans(records, live=True)
    sessions = _sessions(records, keyed=0.0 if spans.kind is WindowKind.TIME else KEYED)
    if sessions is None:
        return (spans,)
    return (sessions, spans) if spans.kind is WindowKind.TIME else (sessions,)


def session_timeout(records: pl.DataFrame, windowing: Windowing) -> float:
    """Seconds of silence that end a session: twice the 99th percentile of the gaps inside sessions.

    Between 10 seconds and an hour; an hour where the records show no gap.
    """
    keyed = records.select("time").with_columns(session_keys(records["raw"], windowing).alias("key"))
    keyed = keyed.explode("key").drop_nulls().sort("time", maintain_order=True)
    gaps = keyed.select(pl.col("time").diff().over("key").dt.total_microseconds()).to_series().drop_nulls()
    usual = gaps.quantile(0.99)
    if usual is None:
        return LONGEST_TIMEOUT
    return min(max(2 * usual / 1e6, SHORTEST_TIMEOUT), LONGEST_TIMEOUT)


def _spans(records: pl.DataFrame, *, live: bool = False) -> Windowing:
    """Windows of time where there is enough of it, else windows of records; stray times do not count."""
    far = stray(records["time"])
    chosen = _usual_spans(records.filter(~far), live=live)
    if not (few := int(far.sum())):
        return chosen
    told = f"{few:,} record{'s' * (few > 1)} with a time far from all others left out"
    return replace(chosen, reason=f"{chosen.reason}; {told}")


def _usual_spans(records: pl.DataFrame, *, live: bool) -> Windowing:
    times = records["time"].drop_nulls()
    if times.is_empty():
        return _runs(records, "no record has a time")
    if times.len() < TIMED * records.height:
        return _runs(records, f"only {times.len():,} of {records.height:,} records have a time")
    first, last = times.min(), times.max()
    seconds = (last - first).total_seconds()  # type: ignore[operator,union-attr]
    if live:
        span = 60.0 if records.height >= RECORDS_A_SPAN * max(seconds, 1.0) / 60.0 else 300.0
        return Windowing(WindowKind.TIME, span_seconds=span, reason="a live run watches rhythm and silence")
    epoch = times.dt.epoch("us")
    in_order = epoch.is_sorted()
    services = max(records["service"].n_unique(), 1)
    for span in SPANS:
        of_span = epoch // round(span * 1e6)
        filled = (of_span.set_sorted() if in_order else of_span).n_unique()
        spans = seconds / span
        if (
            spans <= min(MOST_SPANS, MOST_WINDOWS / services)
            and filled >= FEW_WINDOWS
            and times.len() / filled >= RECORDS_A_SPAN
        ):
            reason = f"{times.len() / filled:,.0f} records in each of {filled:,} on average"
            return Windowing(WindowKind.TIME, span_seconds=span, reason=reason)
    return _runs(records, f"{format_duration(seconds)} of logs hold too few busy windows of time")


def _runs(records: pl.DataFrame, why: str) -> Windowing:
    size = min(RECORDS_A_RUN, max(10, records.height // FEW_WINDOWS))
    return Windowing(WindowKind.RECORDS, size=size, reason=f"no session key found, and {why}")


def _sessions(records: pl.DataFrame, *, keyed: float, raw: pl.Series | None = None) -> Windowing | None:
    """Sessions by the key that puts most records into sessions; None where no key does."""
    sample = records.head(SAMPLE)
    sample = sample if raw is None else sample.with_columns(raw.alias("raw"))
    fits = [_fit(sample, candidate) for candidate in _candidates(sample["raw"])]
    good = [
        fit
        for fit in fits
        if fit.keys >= FEWEST_KEYS and fit.keyed >= keyed and fit.in_sessions >= IN_SESSIONS
    ]
    if not good:
        return None
    best = max(good, key=lambda fit: (round(fit.in_sessions, 2), fit.per_session))
    which = f"first {SAMPLE:,} records" if records.height > SAMPLE else "records"
    reason = (
        f"{best.in_sessions:.0%} of the {which} lie in {best.keys:,} sessions of {best.per_session:.0f} "
        "records on average"
    )
    chosen = best.windowing
    return Windowing(chosen.kind, key_regex=chosen.key_regex, key_field=chosen.key_field, reason=reason)


def _fit(sample: pl.DataFrame, windowing: Windowing) -> KeyFit:
    keyed = (
        sample.select("template")
        .with_columns(session_keys(sample["raw"], windowing).alias("key"))
        .with_row_index("row")
        .explode("key", empty_as_null=False)
    )
    sessions = keyed.group_by("key").agg(pl.len().alias("records"), pl.col("template").n_unique())
    real = sessions.filter((pl.col("records") >= 3) & (pl.col("template") >= 2))  # noqa: PLR2004
    members = keyed.join(real, on="key", how="semi")["row"].n_unique()
    mean = real["records"].mean()
    return KeyFit(
        windowing,
        real.height,
        keyed["row"].n_unique() / max(sample.height, 1),
        members / max(sample.height, 1),
        float(mean) if isinstance(mean, float) else 0.0,
    )


def _candidates(raw: pl.Series) -> Iterator[Windowing]:
    """Keys worth a try: id-like fields of JSON, `name=value`, words glued to numbers, named UUIDs."""
    few = raw.gather_every(max(1, raw.len() // 2000))
    for name in _json_fields(few):
        yield Windowing(WindowKind.SESSION, key_field=name)
    is_json = few.str.starts_with("{")
    plain = few.filter(~is_json)
    seen: set[str] = set()
    found = [
        *((prefix, "[0-9A-Za-z_-]+") for prefix in _prefixes(plain, _IDENTIFIER, r"^[A-Za-z]+[_-]")),
        *((prefix, f"({_UUID})") for prefix in _prefixes(plain, _BEFORE_UUID, r"^[A-Za-z]+[-:=_ ]+")),
    ]
    for prefix, rest in found:
        sign = "-?" if rest.startswith("[") and prefix.endswith("_") else ""
        pattern = re.escape(prefix).replace(r"\_", "_").replace(r"\-", "-").replace(r"\ ", " ") + sign + rest
        if pattern not in seen:
            seen.add(pattern)
            yield Windowing(WindowKind.SESSION, key_regex=pattern)
    for name in _prefixes(plain, _NAMED, r"^[A-Za-z_.-]+"):
        yield Windowing(WindowKind.SESSION, key_field=name)


def _prefixes(lines: pl.Series, token: str, prefix: str) -> list[str]:
    """The commonest beginnings of tokens that stand in at least a fifth of the lines."""
    found = lines.str.extract_all(token).explode(empty_as_null=False).drop_nulls()
    if found.is_empty():
        return []
    begins = found.str.extract(f"({prefix})", 1).drop_nulls().value_counts(sort=True)
    common = begins.filter(pl.col("count") >= 0.2 * max(lines.len(), 1))
    names: list[str] = common[common.columns[0]].head(6).to_list()
    return [name for name in names if not _PLACE.search(name)]


def _json_fields(lines: pl.Series) -> list[str]:
    """Names of JSON fields whose values look like keys: mostly there, many distinct, some repeated."""
    values: dict[str, Counter[str]] = {}
    for line in lines.filter(lines.str.starts_with("{")).head(2000):
        try:
            flat = dict(_flattened(json.loads(line)))
        except (ValueError, RecursionError):
            continue
        for name, value in flat.items():
            values.setdefault(name, Counter())[value] += 1
    key_like = re.compile(r"(?i)(^|[._-])(id|key|session|request|trace|job|order|txn)$|[a-z]I[dD]$|_?id$")
    return [
        name
        for name, tally in values.items()
        if key_like.search(name)
        and not _PLACE.search(name)
        and name not in ("_id", "span.id", "span_id")
        and len(tally) >= FEWEST_KEYS // 3
    ]


def _flattened(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401  (parsed JSON)
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flattened(inner, f"{prefix}.{name}" if prefix else name)
    elif isinstance(value, str | int) and value != "":
        yield prefix, str(value)
