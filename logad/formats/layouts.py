"""Learns the header that the lines of a plain-text log begin with, as a few Rust regexes."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Final, Literal

from logad.formats.envelopes import MOST_SERVICES
from logad.formats.fields import CAPITAL_LEVEL, LEVEL, SHARE, Look, follow
from logad.formats.multiline import CONTINUES
from logad.formats.timestamps import FORMATS, Lacks, TimeFormat, given, possible, settled
from logad.rules import Format

Serves = Literal["", "program", "file", "compose"]

REACH: Final = 100
"""A timestamp that begins later in a line belongs to the message."""
_FEW: Final = 200
"""So many lines tell the header where all lines then have it."""
_PROBE: Final = 100
_LEAST_TIMED: Final = 0.2
_LEAST_TOKENS: Final = 0.5
_NEAR: Final = 0.8
_MOST_LAYOUTS: Final = 3
_MOST_TOKENS: Final = 6
_HEADER_SHARE: Final = 0.5

_OPENING: Final = r"[\[(<\"']?"
_CLOSING: Final = r"[\])>\"']?[\s:,|-]*"
_UPTIME: Final = r"\[\s*\d+\.\d+\]"


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
        if texts and sum(bool(re.fullmatch(form.pattern, text)) for text in texts) >= SHARE * len(texts):
            return form
    return None


def learn(lines: list[str], form: TimeFormat | None = None, *, wrapped: bool = False) -> Header:
    """The header that most of these lines (none of them blank) share; no patterns where there is none.

    >>> header = learn(["081109 203615 148 INFO dfs.DataNode: Receiving block"] * 3)
    >>> re.match(header.patterns[0], "081109 203618 7 WARN dfs.DataNode: Deleting file")["header"]
    '081109 203618 7 WARN dfs.DataNode: '
    """
    # Indented lines go on with a record; they say nothing of how one begins.
    goes_on = re.compile(CONTINUES).match
    lines = [line for line in lines if not goes_on(line)] or lines
    few = lines[:: 1 + len(lines) // _FEW]
    look = Look(few=len(few) < len(lines))
    found = _layouts(few, look, form, wrapped=wrapped)
    matches = [_matches(layout, lines) for layout in found]
    if look.few and not (look.sure and len(found) == 1 and len(matches[0]) == len(lines)):
        found = _layouts(lines, Look(few=False), form, wrapped=wrapped)
        matches = [_matches(layout, lines) for layout in found]
    if not found:
        return _untimed(lines)
    times = list(dict.fromkeys(layout.time for layout in found))
    serves: Serves = next((layout.serves for layout in found if layout.serves), "")
    naming = [at for layout, at in zip(found, matches, strict=True) if "(?P<service>" in layout.pattern]
    if len({match["service"] for at in naming for match in at}) > MOST_SERVICES:
        serves = ""
    texts = [match["time"] for at in matches for match in at]
    bare = [_compiled(rf"{_OPENING}(?P<time>{time.pattern}){_CLOSING}", []) for time in times]
    patterns = (*(layout.pattern for layout in found), *bare)
    return Header(patterns, tuple(settled(time, texts) for time in times), serves)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How some of the lines begin: the regex of their header, and what it holds."""

    pattern: str
    time: TimeFormat
    serves: Serves


def _matches(layout: _Layout, lines: list[str]) -> list[re.Match[str]]:
    match = re.compile(layout.pattern).match
    return [found for line in lines if (found := match(line))]


def _layouts(lines: list[str], look: Look, form: TimeFormat | None, *, wrapped: bool) -> list[_Layout]:
    """The layouts of lines with a time, the commonest first."""
    found: list[_Layout] = []
    left = lines
    while len(found) < _MOST_LAYOUTS and left:
        place = _find_time(left, look, form, len(lines), wrapped=wrapped)
        if place is None or (found and place[0].lacks and place[0] != found[0].time):
            break
        time, prefix, members = place
        pattern, serves = _grow(members, look, prefix, time)
        found.append(_Layout(pattern, time, serves))
        if look.few:
            break  # if some are left, all lines are looked at
        match = re.compile(pattern).match
        left = [line for line in left if not match(line)]
    return found


def _untimed(lines: list[str]) -> Header:
    """A header that begins with the level or a clock of seconds since boot, for logs without times."""
    uptime = re.compile(_UPTIME)
    if sum(bool(uptime.match(line)) for line in lines) >= SHARE * max(len(lines), 1):
        return Header((_compiled(_UPTIME, []),))
    begins = re.compile(rf"(?:{CAPITAL_LEVEL}\b|[\[(<])")
    members = [line for line in lines if begins.match(line)]
    if len(members) < _HEADER_SHARE * len(lines):
        return Header()
    fields, _ = follow(members, Look(few=False), timed=False, syslog=False)
    if not any(name == "level" for name, _ in fields):
        return Header()
    return Header((_compiled("", fields),))


def _find_time(
    lines: list[str], look: Look, given: TimeFormat | None, total: int, *, wrapped: bool
) -> tuple[TimeFormat, str, list[str]] | None:
    """The time format and the shape of what stands before it in most lines, and those lines.

    A time after whole words is a header's only if it is common: messages hold times too. Inside an envelope
    that has the time already, it must come first.
    """
    heads = [line[: REACH + 40] for line in lines]
    probe = heads[:: 1 + len(lines) // _PROBE]
    forms, matchers = list[TimeFormat](), list[re.Pattern[str]]()
    for form in (given,) if given else possible(probe):
        matcher = re.compile(rf"(?:^|(?<=[\s\[(<|\"'=,A-Z;>])){form.pattern}(?!\w)")
        if any(map(matcher.search, probe)):
            forms.append(form)
            matchers.append(matcher)
    starts: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for index, matcher in enumerate(matchers):
        for match in map(matcher.search, heads):
            shape = _prefix_shape(match.string[: match.start()]) if match and match.start() <= REACH else None
            if match and shape is not None:
                starts.setdefault((index, shape), []).append((match.start(), -match.end()))
    places: dict[tuple[int, str], int] = {}
    for (index, shape), spans in starts.items():
        inside = r"\S" in shape
        least = _LEAST_TOKENS if inside else _LEAST_TIMED
        if look.reaches(len(spans) / total, least) and not (inside and wrapped):
            places[index, shape] = len(spans)
    if not places:
        return None
    most = max(places.values())
    near = [place for place, count in places.items() if look.reaches(count / most, _NEAR)]
    best = min(near, key=lambda place: (sorted(starts[place])[len(starts[place]) // 2], place))
    form = forms[best[0]]
    matcher = re.compile(rf"^{best[1]}{form.pattern}(?!\w)")
    return form, best[1], [line for line in lines if matcher.match(line)]


@lru_cache(maxsize=4096)
def _prefix_shape(prefix: str) -> str | None:
    """A regex for what stands before the time: whole tokens, then brackets, a letter or a syslog priority."""
    *tokens, last = re.split(r"\s+", prefix)
    if len(tokens) > _MOST_TOKENS:
        return None
    opening = r"[IWEFDVT]" if re.fullmatch("[IWEFDVT]", last) else re.sub(r"\d+", r"\\d+", re.escape(last))
    if re.search(r"[A-Za-z]{3}", last) and not last.endswith(("=", '="', "[", "(")):
        return None
    return r"\S+\s+" * len(tokens) + opening


def _grow(lines: list[str], look: Look, prefix: str, form: TimeFormat) -> tuple[str, Serves]:
    """The whole regex of the header that begins with `prefix` and a time, and what its service group is."""
    before, serves = _named_prefix(lines, look, prefix)
    head = rf"{before}(?P<time>{form.pattern})"
    matcher = re.compile("^" + head)
    rests = [line[match.end() :] for line in lines for match in [matcher.match(line)] if match]
    syslog = form.name in ("month day", "month day year") or lines[0].startswith("<")
    fields, program = follow(rests, look, timed=True, syslog=syslog, level="(?P<level>" not in before)
    if serves:
        fields = [(name, re.sub(r"\?P<(service|spaced)>", "?:", pattern)) for name, pattern in fields]
    elif program:
        serves = "program"
    return _compiled(head, fields), serves


def _named_prefix(lines: list[str], look: Look, prefix: str) -> tuple[str, Serves]:
    r"""The prefix with the groups `level` and `service` where its tokens are levels or name services."""
    if prefix == "[IWEFDVT]":
        return "(?P<level>[IWEFDVT])", ""
    count = prefix.count(r"\S+\s+")
    rows = [line.split(None, count)[:count] for line in lines]
    opening = prefix.removeprefix(r"\S+\s+" * count)
    pieces = [r"\S+\s+"] * count
    serves: Serves = ""
    level = rf"[\[(<]?{LEVEL}[\])>:,|]*"
    for index in range(count):
        values = Counter(row[index] for row in rows)
        if look.reaches(_share(values, re.compile(level).fullmatch), SHARE):
            pieces[index] = rf"{level}\s+"
        elif look.reaches(_share(values, re.compile(r"[A-Za-z][\w-]*\.log\b").match), SHARE):
            pieces[index], serves = r"(?P<service>[A-Za-z][\w-]*)\.log\S*\s+", "file"
        elif index + 1 == count and index > 0 and set(values) == {"|"}:
            pieces[0], serves = r"(?P<service>[A-Za-z][\w.-]*?)(?:[_-]\d+)?\s+", "compose"
    return "".join(pieces) + opening, serves


def _share(values: Counter[str], fits: Callable[[str], object]) -> float:
    return sum(count for value, count in values.items() if fits(value)) / max(sum(values.values()), 1)


def _compiled(head: str, fields: list[tuple[str, str]]) -> str:
    body = head + r"\s*" + "".join(pattern for _, pattern in fields)
    return rf"^(?P<header>{body})"
