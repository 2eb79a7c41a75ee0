"""Learns the header that the lines of a plain-text log begin with, as a few Rust regexes."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from logad.formats.envelopes import LEVELS, MOST_SERVICES
from logad.formats.multiline import CONTINUES
from logad.formats.timestamps import FORMATS, Lacks, TimeFormat, given, settled
from logad.rules import Format

Serves = Literal["", "program", "file", "compose"]

REACH: Final = 100
"""A timestamp that begins later in a line belongs to the message."""
_SHARE: Final = 0.9
_PROBE: Final = 200
_PROBE_SHARE: Final = 0.7
"""What few lines show so rarely is not asked of all of them."""
_LEAST_TIMED: Final = 0.2
_LEAST_TOKENS: Final = 0.5
_LEAST_PROGRAMS: Final = 0.3
_LEAST_NAMED: Final = 0.75
"""Syslog has lines of its own among those of programs: `last message repeated 3 times`."""
_MOST_LAYOUTS: Final = 3
_MOST_FIELDS: Final = 14
_MOST_TOKENS: Final = 6
_MOST_COMPONENTS: Final = 30
_HEADER_SHARE: Final = 0.5

_WORDS: Final = "|".join(sorted((name for name in LEVELS if len(name) > 1), key=len, reverse=True))
_LEVEL: Final = rf"(?P<level>(?i:{_WORDS}))"
_CAPITAL_LEVEL: Final = rf"(?P<level>{_WORDS.upper()})"
_LEVEL_FIELD: Final = rf"[\[(<{{]?\s*(?:[\w-]*:)?(?:{_LEVEL}|Normal)(?:\s*[\])>}}]|[:,;|]|\s|$)"
_LETTER_FIELD: Final = r"(?P<level>[VDIWEFTC])(?:[\s/:|]|$)"
_PROGRAM: Final = (
    r"(?P<service>[^\s:\[\]()=,\"'<>{}]{1,80})(?: [\d.]+)?(?:\([^)]*\))?(?:\[\d+\])?(?: \([^)]*\))?:(?:\s|$)"
)
_RFC_5424: Final = r"\S+\s+(?P<service>\S+)\s+\S+\s+\S+\s+(?:-|(?:\[[^\]]*\])+)(?:\s|$)"
_SPACED_PROGRAM: Final = r"(?P<spaced>[^\s:\[\]][^:\[\]]{0,60})\[\d+\](?: \([^)]*\))?:(?:\s|$)"
_COMPONENT: Final = r"[A-Za-z_$/][^\s:=\"'(){}]{0,120}(?:::[\w:]+)?(?:\[[^\]]*\])?\s*:(?:\s|$)"
_OPENING: Final = r"[\[(<\"']?"
_CLOSING: Final = r"[\])>\"']?[\s:,|-]*"
_SOURCES: Final = (
    r"c|cc|clj|cpp|cs|cxx|erl|exs?|go|h|hpp|java|jsx?|kt|lua|m|mjs|mm|php|pl|py|rb|rs|scala|swift|tsx?|vb"
)
_UPTIME: Final = r"\[\s*\d+\.\d+\]"
_DATE: Final = r"\d{4}[-./]\d{2}[-./]\d{2}"
_TIMES: Final = (*(form.pattern for form in FORMATS if form.formats and form.lacks != "date"), _DATE)


@dataclass(frozen=True, slots=True)
class Header:
    """How lines begin: regexes tried in this order, with the group `header`, which is all of it.

    Where they are known there are the groups `time`, `level` and `service` (or `spaced`).
    """

    patterns: tuple[str, ...] = ()
    times: tuple[TimeFormat, ...] = ()  # the commonest first; only it may lack a year or a date
    serves: Serves = ""  # what the `service` group holds, where it names services

    @property
    def lacks(self) -> Lacks:
        """What the commonest time format leaves out."""
        return self.times[0].lacks if self.times else ""

    def as_dict(self) -> dict[str, Any]:
        """As JSON can keep it."""
        return {
            "patterns": list(self.patterns),
            "times": [asdict(time) | {"formats": list(time.formats)} for time in self.times],
            "serves": self.serves,
        }

    @staticmethod
    def from_dict(stored: dict[str, Any]) -> "Header":
        """The header that `as_dict` described."""
        times = tuple(TimeFormat(**(time | {"formats": tuple(time["formats"])})) for time in stored["times"])
        return Header(tuple(stored["patterns"]), times, stored["serves"])


@dataclass(frozen=True, slots=True)
class _Field:
    """A kind of header field: its regex, and what else its values must be like."""

    name: str
    pattern: str
    most: int | None = None  # most distinct values (digits aside)
    once: str = ""  # fields of the same class are taken once
    before: str = ""  # what must follow the field, not taken itself
    least: float = _SHARE  # of the lines must begin with it


def ruled(lines: list[str], formats: Sequence[Format]) -> tuple[Header, str] | None:
    r"""The header of the first format that half of these lines begin with, and that format's name, or None.

    >>> rule = Format(name="own", regex=r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) <(?P<level>\w+)> ")
    >>> header, name = ruled(["2024-01-02 03:04:05 <warn> late"], [rule])
    >>> name, header.times[0].name
    ('own', 'ISO 8601')
    """
    for rule in formats:
        matcher = re.compile(rule.regex)
        matches = [match for line in lines if (match := matcher.match(line))]
        if not lines or len(matches) < _HEADER_SHARE * len(lines):
            continue
        groups = matcher.groupindex
        texts = [match["time"] for match in matches if match["time"]] if "time" in groups else []
        form = given(rule.time_format) if rule.time_format else _form(texts)
        if texts and form is None:
            continue
        names = {match["service"] for match in matches} if "service" in groups else set()
        serves: Serves = "program" if 0 < len(names) <= MOST_SERVICES else ""
        times = (settled(form, texts),) if form and texts else ()
        return Header((rf"^(?P<header>{rule.regex})",), times, serves), rule.name
    return None


def _form(texts: list[str]) -> TimeFormat | None:
    """The known format in which nearly all of these texts are written."""
    for form in FORMATS:
        if texts and sum(bool(re.fullmatch(form.pattern, text)) for text in texts) >= _SHARE * len(texts):
            return form
    return None


def learn(lines: list[str], form: TimeFormat | None = None, *, wrapped: bool = False) -> Header:
    """The header that most of these lines (none of them blank) share; no patterns where there is none.

    >>> header = learn(["081109 203615 148 INFO dfs.DataNode: Receiving block"] * 3)
    >>> re.match(header.patterns[0], "081109 203618 7 WARN dfs.DataNode: Deleting file")["header"]
    '081109 203618 7 WARN dfs.DataNode: '
    """
    # Indented lines go on with a record; they say nothing of how one begins.
    lines = [line for line in lines if not re.match(CONTINUES, line)] or lines
    left, patterns, times = lines, list[str](), list[TimeFormat]()
    serves: Serves = ""
    while len(patterns) < _MOST_LAYOUTS and left:
        found = _find_time(left, form, len(lines), wrapped=wrapped)
        if found is None or (times and found[0].lacks and found[0] != times[0]):
            break
        time, prefix, members = found
        times += [time] if time not in times else []
        pattern, kind = _grow(members, prefix, time)
        serves = serves or kind
        patterns.append(pattern)
        matched = re.compile(pattern)
        left = [line for line in left if not matched.match(line)]
    if not times:
        return _untimed(lines)
    named = [re.compile(pattern) for pattern in patterns if "(?P<service>" in pattern]
    names = {match["service"] for line in lines for pattern in named if (match := pattern.match(line))}
    if len(names) > MOST_SERVICES:
        serves = ""
    found_times = [re.compile(pattern).match(line) for pattern in patterns for line in lines]
    texts = [match["time"] for match in found_times if match]
    bare = [_compiled(rf"{_OPENING}(?P<time>{time.pattern}){_CLOSING}", []) for time in times]
    return Header((*patterns, *bare), tuple(settled(time, texts) for time in times), serves)


def _untimed(lines: list[str]) -> Header:
    """A header that begins with the level or a clock of seconds since boot, for logs without times."""
    uptime = re.compile(_UPTIME)
    if sum(bool(uptime.match(line)) for line in lines) >= _SHARE * max(len(lines), 1):
        return Header((_compiled(_UPTIME, []),))
    begins = re.compile(rf"(?:{_CAPITAL_LEVEL}\b|[\[(<])")
    members = [line for line in lines if begins.match(line)]
    fields, _ = _follow(members, timed=False, syslog=False)
    if len(members) < _HEADER_SHARE * len(lines) or not any(name == "level" for name, _ in fields):
        return Header()
    return Header((_compiled("", fields),))


def _find_time(
    lines: list[str], given: TimeFormat | None, total: int, *, wrapped: bool
) -> tuple[TimeFormat, str, list[str]] | None:
    """The time format and the shape of what stands before it in most lines, and those lines.

    A time after whole words is a header's only if it is common: messages hold times too. Inside an envelope
    that has the time already, it must come first.
    """
    places: Counter[tuple[int, str]] = Counter()
    probe = [line[: REACH + 40] for line in lines[:: 1 + len(lines) // _PROBE]]
    forms, matchers = list[TimeFormat](), list[re.Pattern[str]]()
    for form in (given,) if given else FORMATS:
        matcher = re.compile(rf"(?:^|(?<=[\s\[(<|\"'=,A-Z;>])){form.pattern}(?!\w)")
        if any(matcher.search(head) for head in probe):
            forms.append(form)
            matchers.append(matcher)
    starts: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for line in lines:
        head = line[: REACH + 40]
        for index, matcher in enumerate(matchers):
            match = matcher.search(head)
            shape = _prefix_shape(head[: match.start()]) if match and match.start() <= REACH else None
            if match and shape is not None:
                places[index, shape] += 1
                starts.setdefault((index, shape), []).append((match.start(), -match.end()))
    for (index, shape), count in list(places.items()):
        inside = r"\S" in shape
        if count < max(1, total * (_LEAST_TOKENS if inside else _LEAST_TIMED)) or (inside and wrapped):
            del places[index, shape]
    if not places:
        return None
    most = max(places.values())
    near = [place for place, count in places.items() if count >= 0.8 * most]
    best = min(near, key=lambda place: (sorted(starts[place])[len(starts[place]) // 2], place))
    form = forms[best[0]]
    matcher = re.compile(rf"^{best[1]}{form.pattern}(?!\w)")
    return form, best[1], [line for line in lines if matcher.match(line)]


def _prefix_shape(prefix: str) -> str | None:
    """A regex for what stands before the time: whole tokens, then brackets, a letter or a syslog priority."""
    *tokens, last = re.split(r"\s+", prefix)
    if len(tokens) > _MOST_TOKENS:
        return None
    opening = r"[IWEFDVT]" if re.fullmatch("[IWEFDVT]", last) else re.sub(r"\d+", r"\\d+", re.escape(last))
    if re.search(r"[A-Za-z]{3}", last) and not last.endswith(("=", '="', "[", "(")):
        return None
    return r"\S+\s+" * len(tokens) + opening


def _grow(lines: list[str], prefix: str, form: TimeFormat) -> tuple[str, Serves]:
    """The whole regex of the header that begins with `prefix` and a time, and what its service group is."""
    before, serves = _named_prefix(lines, prefix)
    head = rf"{before}(?P<time>{form.pattern})"
    matcher = re.compile("^" + head)
    rests = [line[match.end() :] for line in lines for match in [matcher.match(line)] if match]
    syslog = form.name in ("month day", "month day year") or lines[0].startswith("<")
    fields, program = _follow(rests, timed=True, syslog=syslog, level="(?P<level>" not in before)
    if serves:
        fields = [(name, re.sub(r"\?P<(service|spaced)>", "?:", pattern)) for name, pattern in fields]
    elif program:
        serves = "program"
    return _compiled(head, fields), serves


def _named_prefix(lines: list[str], prefix: str) -> tuple[str, Serves]:
    r"""The prefix with the groups `level` and `service` where its tokens are levels or name services."""
    if prefix == "[IWEFDVT]":
        return "(?P<level>[IWEFDVT])", ""
    count = prefix.count(r"\S+\s+")
    rows = [line.split(None, count)[:count] for line in lines]
    opening = prefix.removeprefix(r"\S+\s+" * count)
    pieces = [r"\S+\s+"] * count
    serves: Serves = ""
    for index in range(count):
        values = Counter(row[index] for row in rows)
        if _share(values, lambda value: bool(re.fullmatch(rf"[\[(<]?{_LEVEL}[\])>:,|]*", value))) >= _SHARE:
            pieces[index] = rf"[\[(<]?{_LEVEL}[\])>:,|]*\s+"
        elif _share(values, lambda value: bool(re.match(r"[A-Za-z][\w-]*\.log\b", value))) >= _SHARE:
            pieces[index], serves = r"(?P<service>[A-Za-z][\w-]*)\.log\S*\s+", "file"
        elif index + 1 == count and index > 0 and set(values) == {"|"}:
            pieces[0], serves = r"(?P<service>[A-Za-z][\w.-]*?)(?:[_-]\d+)?\s+", "compose"
    return "".join(pieces) + opening, serves


def _share(values: Counter[str], fits: Callable[[str], bool]) -> float:
    return sum(count for value, count in values.items() if fits(value)) / max(sum(values.values()), 1)


def _follow(
    rests: list[str], *, timed: bool, syslog: bool, level: bool = True
) -> tuple[list[tuple[str, str]], bool]:
    """The fields that the rests begin with, one after the other, and whether one is a program's name."""
    fields: list[tuple[str, str]] = []
    taken: set[str] = set() if level else {"level"}
    program = False
    for _ in range(_MOST_FIELDS):
        rests = [rest.lstrip() for rest in rests]
        syslog |= timed and _named_share(rests) >= _LEAST_PROGRAMS
        step = _next_field(rests, _kinds(taken, syslog=syslog and not program, timed=timed))
        if step is None:
            break
        field, share = step
        program |= field.once == "program" and ("(?P<service>" in field.pattern)
        optional = "?" if share < 1 else ""
        fields.append((field.name, rf"(?:{field.pattern}){optional}\s*"))
        taken.add(field.once)
        matcher = re.compile(field.pattern)
        rests = [rest[match.end() :] if (match := matcher.match(rest)) else rest for rest in rests]
    return fields, program


def _named_share(rests: list[str]) -> float:
    """The share that begins like syslog: a host, then a program with its process id."""
    named = re.compile(r"[^\s\[\]:]+\s+[^\s\[\]:]+\[\d+\]:(?:\s|$)")
    return sum(bool(named.match(rest)) for rest in rests) / max(len(rests), 1)


def _kinds(taken: set[str], *, syslog: bool, timed: bool) -> list[_Field]:
    """The kinds of field that may come next, surest first."""
    kinds = [
        _Field("separator", r"(?:[-|,;:>*#\]=]+(?:\s|$)|[|;\]])"),
        _Field("level", _LEVEL_FIELD, None, "level"),
        _Field("level letter", _LETTER_FIELD, None, "level"),
    ]
    if syslog and "program" not in taken:
        named = rf"\S+\s+(?:{_PROGRAM}|{_SPACED_PROGRAM})"
        kinds.append(_Field("host and program", named, None, "program", least=_LEAST_NAMED))
        kinds.append(_Field("RFC 5424", _RFC_5424, None, "program"))
    if syslog and "host" not in taken and "program" not in taken:
        kinds.append(_Field("host", r"[A-Za-z0-9][\w.:/@#-]*\s", _MOST_COMPONENTS, "host"))
    if timed:
        kinds += [_Field("second time", rf"[\[(]?{pattern}(?:[\])]|\b)") for pattern in _TIMES]
    tokens = [
        _Field("tokens", rf"(?:\S+\s+){{{n}}}{_CAPITAL_LEVEL}(?:[\]:,|]|\s|$)", None, "level")
        for n in range(1, 8)
    ]
    kinds += tokens
    if timed:
        kinds += [
            *(_Field("token before time", rf"\S+\s+{pattern}\b", None, "host") for pattern in _TIMES[:-1]),
            _Field("bracket before bracket", r"\[[^\[\]]*\]", before=r"\["),
            _Field("brackets", r"\[[^\[\]]*(?:\[[^\]]*\][^\[\]]*)*\]:?(?:\s|$)"),
            _Field("parentheses", r"\([^)]*\):?\s", None, "parentheses"),
            _Field("angles", r"<[^>]*>:?\s", None, "angles"),
            _Field("place in the code", rf"[\w./$-]+\.(?:{_SOURCES}):\d+[\])]?:?(?:\s|$)"),
            _Field("number", r"[*#]?\d+(?:#\d+)?(?:[:,;|\]]+|\s|$)"),
            _Field("column", r"[^|;\s]+[|;]"),
            _Field("id", r"[\w.-]+[:=]\s*[0-9a-f]{16,}(?:\s|$)"),
            _Field("tab column", r"[^\t]+\t", _MOST_COMPONENTS, before=r"[^{\s]"),
            _Field("padded word", r"[A-Za-z]\S*\s{2,}", _MOST_COMPONENTS, "padded"),
        ]
    if not timed and "level" in taken:
        kinds.append(_Field("logger", r"[\w.]+:", _MOST_COMPONENTS, "program"))
    kinds.append(_Field("program", r"[^\s:\[\]()]+(?: [^\s:\[\]()]+){0,2} +- ", _MOST_COMPONENTS, "program"))
    kinds.append(_Field("component", _COMPONENT, _MOST_COMPONENTS, "program"))
    kinds.append(
        _Field("dotted component", r"[A-Za-z_$][^\s:=\"'(]*[.][^\s:=\"'(]*:?\s", _MOST_COMPONENTS, "program")
    )
    return [kind for kind in kinds if not kind.once or kind.once not in taken]


def _next_field(rests: list[str], kinds: list[_Field]) -> tuple[_Field, float] | None:
    """The first kind that nearly all rests begin with, and the share of them that do."""
    probe = rests[:: 1 + len(rests) // _PROBE]
    for kind in kinds:
        matcher = re.compile(kind.pattern + (f"(?={kind.before})" if kind.before else ""))
        if sum(bool(matcher.match(rest)) for rest in probe) < _PROBE_SHARE * len(probe):
            continue
        matches = [match for rest in rests if (match := matcher.match(rest))]
        share = len(matches) / max(len(rests), 1)
        if share < kind.least:
            continue
        distinct = len({re.sub(r"\d+", "", match[0]) for match in matches})
        if kind.most is not None and distinct > max(kind.most, 0.2 * len(rests)):
            continue
        return kind, share
    return None


def _compiled(head: str, fields: list[tuple[str, str]]) -> str:
    body = head + r"\s*" + "".join(pattern for _, pattern in fields)
    return rf"^(?P<header>{body})"
