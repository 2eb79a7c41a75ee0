"""What each line's text is wrapped in: nothing, JSON, logfmt or a container runtime's prefix."""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

import polars as pl

from logad.formats.timestamps import FORMATS, TimeFormat
from logad.types import Level

Path = tuple[str, ...]
EnvelopeKind = Literal["plain", "json", "docker", "logfmt", "cri"]

MESSAGE_NAMES: Final = (
    "message", "msg", "log", "event", "text", "body", "short_message", "log_message", "full_message",
    "event.original", "textpayload", "jsonpayload.message", "@message", "line", "error", "error.message",
)  # fmt: skip
TIME_NAMES: Final = (
    "@timestamp", "timestamp", "time", "ts", "datetime", "date", "eventtime", "event_time", "@t", "t",
    "asctime", "created", "log_time", "logged_at", "timemillis", "instant.epochsecond", "epoch",
    "__realtime_timestamp", "_source_realtime_timestamp", "timeunixnano", "event.created", "event.ingested",
)  # fmt: skip
LEVEL_NAMES: Final = (
    "level", "severity", "log.level", "loglevel", "log_level", "lvl", "levelname", "severitytext",
    "severity_text", "level_name", "@l", "levelno", "priority", "severity_number", "severitynumber",
)  # fmt: skip
SERVICE_NAMES: Final = (
    "service.name", "service", "service_name", "servicename", "resource.attributes.service.name",
    "app", "application", "app_name", "appname", "application_name", "kubernetes.labels.app",
    "kubernetes.labels.app.kubernetes.io/name", "kubernetes.deployment.name",
    "kubernetes.container.name", "kubernetes.container_name", "kubernetes.pod.name", "kubernetes.pod_name",
    "pod.name", "pod_name", "pod", "container.name", "container_name", "syslog_identifier", "program",
    "process.name", "unit", "_systemd_unit", "fields.service", "fields.app", "component", "logger",
    "logger_name", "loggername", "log.logger",
)  # fmt: skip
_LAST_CHOICES: Final = frozenset({"component", "logger", "logger_name", "loggername", "log.logger"})
_POD: Final = re.compile(r"(^|\.)pod([._]name)?$")
REPLICA: Final = (
    r"^(.+?)(?:-[a-f0-9]{6,10}-[a-z0-9]{5}|-[a-z0-9]*[0-9][a-z0-9]*-[a-z0-9]{5}"
    r"|-[bcdfghjklmnpqrstvwxz2456789]{5}|-\d{1,4})$"
)
MOST_SERVICES: Final = 50
"""A field with more distinct values in the sample names something else than services."""
_COVERAGE: Final = 0.5
_SERVICE_COVERAGE: Final = 0.8

LEVELS: Final[dict[str, int]] = {
    name: level
    for level, names in {
        Level.DEBUG: "trace debug dbg verbose fine finer finest v d t",
        Level.INFO: "info information informational notice config log i n",
        Level.WARN: "warn warning w",
        Level.ERROR: "error err severe failure e",
        Level.FATAL: "fatal critical crit alert emerg emergency panic dpanic f c",
    }.items()
    for name in names.split()
}
_SYSLOG: Final = dict(zip("01234567", (5, 5, 5, 4, 3, 2, 2, 1), strict=True))
_PINO: Final = {"10": 1, "20": 1, "30": 2, "40": 3, "50": 4, "60": 5}
_PYTHON: Final = {"10": 1, "20": 2, "30": 3, "40": 4, "50": 5}
_OTEL: Final = {str(n): 1 + max(0, (n - 5) // 4) if n > 4 else 1 for n in range(1, 25)}  # noqa: PLR2004

_LOGFMT_PAIR: Final = r'[A-Za-z_@][\w.@-]*=(?:"(?:[^"\\]|\\.)*"|[^\s"]*)'
_LOGFMT: Final = re.compile(rf"\s*{_LOGFMT_PAIR}(?:\s+{_LOGFMT_PAIR}){{2,}}\s*")
_CRI: Final = r"^(\d{4}-\d{2}-\d{2}T\S+) (stdout|stderr) ([FP])(?: (.*))?$"
_DOCKER_KEYS: Final = ({"log", "stream", "time"}, {"log", "stream", "time", "attrs"})
_PROBE: Final = 100
_MAJORITY: Final = 0.5
_LOGFMT_SHARE: Final = 0.8


@dataclass(frozen=True, slots=True)
class Envelope:
    """Where the parts of a record stand in a line."""

    kind: EnvelopeKind
    message: tuple[Path, ...] = ()  # the first that is there
    time: Path | None = None
    time_format: str = ""  # a name in timestamps.FORMATS
    level: Path | None = None
    service: Path | None = None
    pods: bool = False  # the service is a pod's name: its replica hash is cut off
    documents: bool = False  # `_index` and `_id` lead: documents of OpenSearch
    within: "Envelope | None" = None  # what the text itself is wrapped in: JSON as a container wrote it

    @property
    def every_line(self) -> bool:
        """Whether each line is a record of its own."""
        return self.kind in ("json", "logfmt") or self.within is not None

    def as_dict(self) -> dict[str, Any]:
        """As JSON can keep it."""
        return asdict(self)

    @staticmethod
    def from_dict(stored: dict[str, Any]) -> "Envelope":
        """The envelope that `as_dict` described."""
        paths = {name: tuple(stored[name]) if stored[name] else None for name in ("time", "level", "service")}
        message = tuple(tuple(path) for path in stored["message"])
        within = Envelope.from_dict(stored["within"]) if stored["within"] else None
        return Envelope(**(stored | paths | {"message": message, "within": within}))


def detect(
    lines: list[str],
    message_field: str | None = None,
    service_field: str | None = None,
    given: TimeFormat | None = None,
) -> Envelope:
    """The envelope of most of these lines (none of them blank).

    >>> detect(['{"ts": 1700000000, "msg": "hello", "level": 30}']).message
    (('msg',),)
    """
    outer = _outermost(lines, message_field, service_field, given)
    if outer.kind not in ("cri", "docker", "json"):
        return outer
    parts = unwrap(pl.Series("raw", lines, dtype=pl.String), outer)
    texts = parts.filter(pl.col("inner") != pl.col("raw"), pl.col("inner").str.contains(r"\S"))[
        "inner"
    ].to_list()
    if outer.kind == "json":
        within = _outermost(texts, None, service_field, given)
    else:
        within = _outermost(texts, message_field, service_field, given)
    if within.kind != "json" and (within.kind != "logfmt" or outer.kind == "json"):
        return outer
    return replace(outer, within=within, time_format=outer.time_format or within.time_format)


def _outermost(
    lines: list[str], message_field: str | None, service_field: str | None, given: TimeFormat | None
) -> Envelope:
    may_be_json = _frequent_in_few(lines, re.compile(r"\s*\{").match, _MAJORITY)
    objects = map(_json_object, lines) if may_be_json else ()
    documents = [document for document in objects if document is not None]
    if documents and len(documents) >= _MAJORITY * len(lines):
        if all(set(document) in _DOCKER_KEYS for document in documents[:100]):
            return Envelope("docker", (("log",),), ("time",), "ISO 8601")
        rows = [dict(_leaves(document)) for document in documents]
        return _choose("json", rows, message_field, service_field, given)
    if _frequent(lines, re.compile(_CRI).match, _MAJORITY):
        return Envelope("cri", time=("time",), time_format="ISO 8601")
    if _frequent(lines, _LOGFMT.fullmatch, _LOGFMT_SHARE):
        rows = [dict(_pairs(line)) for line in lines]
        return _choose("logfmt", rows, message_field, service_field, given)
    return Envelope("plain")


def _frequent(lines: list[str], fits: Callable[[str], object], share: float) -> bool:
    """Whether more than this share of lines fits."""
    return _frequent_in_few(lines, fits, share) and sum(map(bool, map(fits, lines))) > share * len(lines)


def _frequent_in_few(lines: list[str], fits: Callable[[str], object], share: float) -> bool:
    """Whether so many of a few lines fit that this share of all may."""
    few = lines[:: 1 + len(lines) // _PROBE]
    return sum(map(bool, map(fits, few))) > share / 2 * len(few)


def unwrap(lines: pl.Series, envelope: Envelope) -> pl.DataFrame:
    """Each line's parts: raw, inner (its text), time, level, service, source, document; `sound`, `partial`.

    `sound` is false for a line that should be JSON and is not; `partial` says that the program's line goes on
    in the next one.
    """
    frame = lines.alias("raw").to_frame()
    line = pl.col("raw")
    nothing = pl.lit(None, dtype=pl.String)
    parts = {
        "inner": line,
        "time": nothing,
        "level": pl.lit(None, dtype=pl.UInt8),
        "service": nothing,
        "source": nothing,
        "document": nothing,
        "sound": pl.lit(value=True),
        "partial": pl.lit(value=False),
    }
    if envelope.kind == "cri":
        opened = _unwrap_cri(frame, parts)
    else:
        opened = frame.select(
            line, **(parts if envelope.kind == "plain" else parts | _fields(line, envelope))
        )
    if envelope.within is None:
        return opened
    inner = unwrap(opened["inner"], envelope.within)
    return opened.with_columns(
        inner["inner"],
        time=opened["time"] if envelope.time else inner["time"],
        level=pl.coalesce(opened["level"], inner["level"]),
        service=pl.coalesce(inner["service"], opened["service"]),
    )


def _unwrap_cri(frame: pl.DataFrame, parts: dict[str, pl.Expr]) -> pl.DataFrame:
    groups = frame.select("raw", part=pl.col("raw").str.extract_groups(_CRI)).unnest("part")
    prefixed = pl.col("1").is_not_null()
    parts |= {
        "inner": pl.when(prefixed).then(pl.col("4").fill_null("")).otherwise(pl.col("raw")),
        "time": pl.col("1"),
        "partial": (pl.col("3") == "P").fill_null(value=False),
    }
    return groups.select("raw", **parts)


def _fields(line: pl.Expr, envelope: Envelope) -> dict[str, pl.Expr]:
    """Expressions for the parts that JSON or logfmt holds."""
    read = _logfmt_value if envelope.kind == "logfmt" else _json_value
    message = pl.coalesce([read(line, path) for path in envelope.message] or [pl.lit(None, dtype=pl.String)])
    parts = {"inner": message.fill_null(line)}
    if envelope.kind != "logfmt":
        # A null message says nothing of the line, so only then the whole line is read once more.
        whole = pl.when(message.is_null()).then(line).otherwise(pl.lit(None, dtype=pl.String))
        wrapped = message.is_not_null() | whole.str.json_path_match("$").is_not_null()
        parts["sound"] = wrapped | ~line.str.contains(r"^\s*\{")
    if envelope.kind == "docker":
        parts["partial"] = (message.is_not_null() & ~message.str.ends_with("\n")).fill_null(value=False)
    parts["inner"] = parts["inner"].str.strip_chars_end("\r\n")
    if envelope.time:
        parts["time"] = read(line, envelope.time)
    if envelope.level:
        parts["level"] = level_of(read(line, envelope.level), envelope.level[-1])
    if envelope.service:
        name = read(line, envelope.service).str.strip_chars("/ ")
        name = name.str.replace(REPLICA, "$1") if envelope.pods else name
        parts["service"] = pl.when(name.str.len_bytes() > 0).then(name)
    if envelope.documents:
        parts |= {"source": _json_value(line, ("_index",)), "document": _json_value(line, ("_id",))}
    return parts


def level_of(names: pl.Expr, field: str = "") -> pl.Expr:
    """The Level of level names, or of numbers as the named field writes them; null where there is none."""
    numbers = _PINO
    if field.lower() == "priority":
        numbers = _SYSLOG
    elif field.lower() == "levelno":
        numbers = _PYTHON
    elif field.lower().startswith("severity"):
        numbers = _OTEL
    elif field.lower() == "level":
        numbers = _SYSLOG | _PINO
    known = LEVELS | numbers
    return (
        names.str.to_lowercase()
        .str.strip_chars(" :[]<>")
        .replace_strict(known, default=None, return_dtype=pl.UInt8)
    )


def _json_value(line: pl.Expr, path: Path) -> pl.Expr:
    return line.str.json_path_match("$" + "".join(f"['{key}']" for key in path))


def _logfmt_value(line: pl.Expr, path: Path) -> pl.Expr:
    start = rf"(?:^|\s){re.escape(path[0])}="
    quoted = line.str.extract(rf'{start}"((?:[^"\\]|\\.)*)"', 1).str.replace_all(r'\\"', '"')
    return pl.coalesce(quoted, line.str.extract(rf'{start}([^\s"]+)', 1))


def _json_object(line: str) -> dict[str, Any] | None:
    if not line.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _pairs(line: str) -> list[tuple[Path, str]]:
    pairs = (pair.split("=", 1) for pair in re.findall(_LOGFMT_PAIR, line))
    return [((key,), value.strip('"')) for key, value in pairs]


def _leaves(value: dict[str, Any], above: Path = ()) -> list[tuple[Path, str]]:
    """Every scalar of a JSON document with the keys that lead to it, save keys that no path can name."""
    found: list[tuple[Path, str]] = []
    for key, inner in value.items():
        if "'" in key or "\\" in key or len(above) > 5:  # noqa: PLR2004  (deeper is not about the record)
            continue
        if isinstance(inner, dict):
            found += _leaves(inner, (*above, key))
        elif isinstance(inner, str | int | float):
            found.append(((*above, key), str(inner)))
    return found


def _choose(
    kind: EnvelopeKind,
    rows: list[dict[Path, str]],
    message_field: str | None,
    service_field: str | None,
    given: TimeFormat | None,
) -> Envelope:
    coverage = Counter(path for row in rows for path in row)
    values = {path: [row[path] for row in rows if path in row] for path in coverage}
    time = _time_path(values, len(rows), given)
    if service_field:
        service: Path | None = _named(service_field, values)
        pods = bool(_POD.search(service_field.lower()))
    else:
        service, pods = _service_path(values, len(rows))
    return Envelope(
        kind,
        (_named(message_field, values),) if message_field else _message_paths(values, len(rows)),
        time[0] if time else None,
        time[1].name if time else "",
        _first(LEVEL_NAMES, values, _COVERAGE * len(rows)),
        service,
        pods,
        documents=coverage[("_index",)] > 0 and coverage[("_id",)] == len(rows),
    )


def _name(path: Path) -> str:
    return ".".join(path[1:] if path[0] == "_source" else path).lower()


def _named(field: str, values: dict[Path, list[str]]) -> Path:
    """The path a user means by `a.b`: the key as it stands, else nested keys."""
    exact = [
        path for path in values if field in (".".join(path), _name(path)) or field.lower() == _name(path)
    ]
    return exact[0] if exact else tuple(field.split("."))


def _first(names: tuple[str, ...], values: dict[Path, list[str]], least: float) -> Path | None:
    by_name = {_name(path): path for path in reversed(values) if len(values[path]) >= max(least, 1)}
    return next((by_name[name] for name in names if name in by_name), None)


def _message_paths(values: dict[Path, list[str]], rows: int) -> tuple[Path, ...]:
    by_name = {_name(path): path for path in reversed(values)}
    named = [by_name[name] for name in MESSAGE_NAMES if name in by_name]
    if sum(len(values[path]) for path in named) >= _COVERAGE * rows:
        return tuple(sorted(named, key=lambda path: -len(values[path]))[:2])
    # No known name: the field that holds the most words.
    words = {path: sum(" " in text for text in texts) for path, texts in values.items()}
    best = max(words, key=lambda path: words[path], default=None)
    return (best,) if best is not None and words[best] >= _COVERAGE * rows else ()


def _time_path(
    values: dict[Path, list[str]], rows: int, given: TimeFormat | None
) -> tuple[Path, TimeFormat] | None:
    """The field that holds the time, and its format; a given format finds the field whatever its name."""
    covering = {path: texts for path, texts in values.items() if len(texts) >= _COVERAGE * rows}
    by_name = {_name(path): path for path in reversed(covering)}
    if given:
        return next(((path, given) for path, texts in covering.items() if _fits(given, texts)), None)
    for name in TIME_NAMES:
        if name in by_name:
            for form in FORMATS:
                if form.lacks != "date" and _fits(form, values[by_name[name]]):
                    return by_name[name], form
    return None


def _fits(form: TimeFormat, texts: list[str]) -> bool:
    return sum(bool(re.fullmatch(form.pattern, text)) for text in texts) > _MAJORITY * len(texts)


def _service_path(values: dict[Path, list[str]], rows: int) -> tuple[Path | None, bool]:
    """The field that names services: known by name, in nearly every record, with few distinct values.

    One that tells records apart goes before one that is the same everywhere, and a pod's deployment before a
    container with fewer names.
    """
    by_name = {
        _name(path): path for path in reversed(values) if len(values[path]) >= _SERVICE_COVERAGE * rows
    }
    found: list[tuple[Path, bool, int, bool]] = []
    for name in SERVICE_NAMES:
        if name not in by_name:
            continue
        path, pods = by_name[name], bool(_POD.search(name))
        names = {re.sub(REPLICA, r"\1", text) if pods else text for text in values[path]}
        if len(names) <= MOST_SERVICES:
            found.append((path, pods, len(names), name in _LAST_CHOICES))
    sure = [choice for choice in found if not choice[3]]
    several = [choice for choice in sure if choice[2] > 1]
    best = next(iter(several or sure or found), None)
    if best is None:
        return None, False
    if "container" in _name(best[0]):
        best = next((choice for choice in found if choice[1] and choice[2] >= best[2]), best)
    return best[0], best[1]
