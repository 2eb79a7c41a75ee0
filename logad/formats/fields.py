"""Finds the fields that follow one another in headers: levels, hosts, programs, further times."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from logad.formats import timestamps
from logad.formats.envelopes import LEVELS

SHARE: Final = 0.9
"""Of the lines, so many have what nearly all of them have."""
_CLOSE: Final = 0.05
_PROBE: Final = 200
_PROBE_SHARE: Final = 0.7
"""What few lines show so rarely is not asked of all of them."""
_GLIMPSE: Final = 8
_GLIMPSE_SHARE: Final = 0.25
"""What one in `_GLIMPSE` lines of the probe shows so rarely is not even asked of the probe."""
_TIMES_WITHIN: Final = 140
_LEAST_PROGRAMS: Final = 0.3
_LEAST_NAMED: Final = 0.75
"""Syslog has lines of its own among those of programs: `last message repeated 3 times`."""
_MOST_FIELDS: Final = 14
_MOST_COMPONENTS: Final = 30
_MOST_DISTINCT: Final = 0.2

_WORDS: Final = "|".join(sorted((name for name in LEVELS if len(name) > 1), key=len, reverse=True))
LEVEL: Final = rf"(?P<level>(?i:{_WORDS}))"
CAPITAL_LEVEL: Final = rf"(?P<level>{_WORDS.upper()})"
_LEVEL_FIELD: Final = rf"[\[(<{{]?\s*(?:[\w-]*:)?(?:{LEVEL}|Normal)(?:\s*[\])>}}]|[:,;|]|\s|$)"
_LETTER_FIELD: Final = r"(?P<level>[VDIWEFTC])(?:[\s/:|]|$)"
_LEVEL_END: Final = r"(?:[\]:,|]|\s|$)"
_LATE_LEVEL: Final = rf"(?:\S+\s+){{1,7}}{CAPITAL_LEVEL}{_LEVEL_END}"
_PROGRAM: Final = (
    r"(?P<service>[^\s:\[\]()=,\"'<>{}]{1,80})(?: [\d.]+)?(?:\([^)]*\))?(?:\[\d+\])?(?: \([^)]*\))?:(?:\s|$)"
)
_RFC_5424: Final = r"\S+\s+(?P<service>\S+)\s+\S+\s+\S+\s+(?:-|(?:\[[^\]]*\])+)(?:\s|$)"
_SPACED_PROGRAM: Final = r"(?P<spaced>[^\s:\[\]][^:\[\]]{0,60})\[\d+\](?: \([^)]*\))?:(?:\s|$)"
_NAMED: Final = re.compile(r"[^\s\[\]:]+\s+[^\s\[\]:]+\[\d+\]:(?:\s|$)")
_COMPONENT: Final = r"[A-Za-z_$/][^\s:=\"'(){}]{0,120}(?:::[\w:]+)?(?:\[[^\]]*\])?\s*:(?:\s|$)"
_SOURCES: Final = (
    r"c|cc|clj|cpp|cs|cxx|erl|exs?|go|h|hpp|java|jsx?|kt|lua|m|mjs|mm|php|pl|py|rb|rs|scala|swift|tsx?|vb"
)
_DATE: Final = r"\d{4}[-./]\d{2}[-./]\d{2}"


@dataclass(slots=True)
class Look:
    """What shares of lines tell; those of a few among many lines are unsure close to a threshold."""

    few: bool
    sure: bool = True

    def reaches(self, share: float, least: float) -> bool:
        """Whether a share is as great as that.

        >>> look = Look(few=True)
        >>> look.reaches(1.0, 0.9), look.sure, look.reaches(0.91, 0.9), look.sure
        (True, True, True, False)
        """
        self.sure &= not self.few or abs(share - least) >= _CLOSE
        return share >= least

    def crowded(self, distinct: int, most: int | None, lines: int) -> bool:
        """Whether so many distinct values in so many lines are more than a kind of field has."""
        crowded = most is not None and distinct > max(most, _MOST_DISTINCT * lines)
        self.sure &= not (self.few and crowded)  # the more lines, the fewer of their values are new
        return crowded


@dataclass(frozen=True, slots=True)
class _Field:
    """A kind of header field: its regex, and what else its values must be like."""

    name: str
    pattern: str
    most: int | None = None  # most distinct values (digits aside)
    once: str = ""  # fields of the same class are taken once
    before: str = ""  # what must follow the field, not taken itself
    least: float = SHARE  # of the lines must begin with it


_ENCLOSED: Final = (
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
)
_COMPONENTS: Final = (
    _Field("program", r"[^\s:\[\]()]+(?: [^\s:\[\]()]+){0,2} +- ", _MOST_COMPONENTS, "program"),
    _Field("component", _COMPONENT, _MOST_COMPONENTS, "program"),
    _Field("dotted component", r"[A-Za-z_$][^\s:=\"'(]*[.][^\s:=\"'(]*:?\s", _MOST_COMPONENTS, "program"),
)


class _Rests:
    """What lines go on with, a few of them to rule out what they rarely begin with."""

    def __init__(self, rests: list[str]) -> None:
        self.all = [rest.lstrip() for rest in rests]
        self.probe = self.all[:: 1 + len(rests) // _PROBE]
        self._glimpse = self.probe[::_GLIMPSE]

    def share(self, pattern: re.Pattern[str]) -> float:
        """The share of all that begin so."""
        return sum(map(bool, map(pattern.match, self.all))) / max(len(self.all), 1)

    def often(self, pattern: str) -> bool:
        """Whether enough of the probe begin so that nearly all may."""
        match = re.compile(pattern).match
        for rests, share in ((self._glimpse, _GLIMPSE_SHARE), (self.probe, _PROBE_SHARE)):
            if sum(map(bool, map(match, rests))) < share * len(rests):
                return False
        return True


def follow(
    rests: list[str], look: Look, *, timed: bool, syslog: bool, level: bool = True
) -> tuple[list[tuple[str, str]], bool]:
    """The fields that the rests begin with, one after the other, and whether one is a program's name."""
    fields: list[tuple[str, str]] = []
    taken: set[str] = set() if level else {"level"}
    program = False
    for _ in range(_MOST_FIELDS):
        left = _Rests(rests)
        syslog |= timed and look.reaches(left.share(_NAMED), _LEAST_PROGRAMS)
        step = _next_field(left, taken, look, syslog=syslog and not program, timed=timed)
        if step is None:
            break
        field, share = step
        program |= field.once == "program" and ("(?P<service>" in field.pattern)
        optional = "?" if share < 1 else ""
        fields.append((field.name, rf"(?:{field.pattern}){optional}\s*"))
        taken.add(field.once)
        matcher = re.compile(field.pattern)
        rests = [rest[match.end() :] if (match := matcher.match(rest)) else rest for rest in left.all]
    return fields, program


def _next_field(
    rests: _Rests, taken: set[str], look: Look, *, syslog: bool, timed: bool
) -> tuple[_Field, float] | None:
    """The first kind that nearly all rests begin with, and the share of them that do."""
    for kind in _kinds(rests, taken, syslog=syslog, timed=timed):
        pattern = kind.pattern + (f"(?={kind.before})" if kind.before else "")
        if (kind.once and kind.once in taken) or not rests.often(pattern):
            continue
        match = re.compile(pattern).match
        matches = [found for rest in rests.all if (found := match(rest))]
        share = len(matches) / max(len(rests.all), 1)
        if not look.reaches(share, kind.least):
            continue
        if kind.most is not None:
            distinct = len({re.sub(r"\d+", "", value) for value in {found[0] for found in matches}})
            if look.crowded(distinct, kind.most, len(rests.all)):
                continue
        return kind, share
    return None


def _kinds(rests: _Rests, taken: set[str], *, syslog: bool, timed: bool) -> Iterator[_Field]:
    """The kinds of field that may come next, surest first."""
    yield _Field("separator", r"(?:[-|,;:>*#\]=]+(?:\s|$)|[|;\]])")
    yield _Field("level", _LEVEL_FIELD, None, "level")
    yield _Field("level letter", _LETTER_FIELD, None, "level")
    if syslog and "program" not in taken:
        named = rf"\S+\s+(?:{_PROGRAM}|{_SPACED_PROGRAM})"
        yield _Field("host and program", named, None, "program", least=_LEAST_NAMED)
        yield _Field("RFC 5424", _RFC_5424, None, "program")
        yield _Field("host", r"[A-Za-z0-9][\w.:/@#-]*\s", _MOST_COMPONENTS, "host")
    times = _times(rests) if timed else []
    for pattern in times:
        yield _Field("second time", rf"[\[(]?{pattern}(?:[\])]|\b)")
    if "level" not in taken and rests.often(_LATE_LEVEL):
        for count in range(1, 8):
            tokens = rf"(?:\S+\s+){{{count}}}{CAPITAL_LEVEL}{_LEVEL_END}"
            yield _Field("tokens", tokens, None, "level")
    if timed:
        for pattern in times[:-1]:
            yield _Field("token before time", rf"\S+\s+{pattern}\b", None, "host")
        yield from _ENCLOSED
    if not timed and "level" in taken:
        yield _Field("logger", r"[\w.]+:", _MOST_COMPONENTS, "program")
    yield from _COMPONENTS


def _times(rests: _Rests) -> list[str]:
    """The regexes of times that the rests may hold, a date alone the last."""
    forms = timestamps.possible([rest[:_TIMES_WITHIN] for rest in rests.probe])
    return [*(form.pattern for form in forms if form.lacks != "date" and form.formats), _DATE]
