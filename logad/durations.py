"""Durations as people write them: `90s`, `5m`, `2h`, `7d`."""

import re
from typing import Final

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")


def parse_duration(text: str) -> float:
    """The seconds in a duration; parts may follow one another.

    Raises:
        ValueError: the text is no duration; the message says what was expected.

    >>> parse_duration("5m"), parse_duration("1h30m")
    (300.0, 5400.0)
    """
    text = text.strip()
    if not _DURATION.fullmatch(text):
        raise ValueError(f"found {text!r}; expected a duration such as 90s, 5m, 2h, 7d or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def format_duration(seconds: float) -> str:
    """The shortest exact way to write a duration in its two largest units.

    >>> [format_duration(seconds) for seconds in (0.25, 40, 300, 5400, 90061)]
    ['250ms', '40s', '5m', '1h30m', '1d1h']
    """
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    rest = round(seconds)
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, int(_UNITS[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"
