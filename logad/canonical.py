"""Reads texts with their values flattened: what is left of a log line when only its shape matters."""

import re
from functools import lru_cache
from typing import Final

LONG: Final = 16
"""From so many digits on a number is an identifier."""
HEX_RUN: Final = 8
"""A run of hexadecimal digits as long as this is no word."""
MOST_UNIT: Final = 3
"""Letters that a unit has at most."""
CHAINED: Final = (2, 4, 8, 12)
"""Widths kept in chains such as `10:00:59`, `2024-05-01` and UUIDs, so that masks can tell these."""

_RUN: Final = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]*+[0-9][0-9A-Za-z]*")  # in time that is linear in a word
_HEXADECIMAL: Final = re.compile(r"[0-9A-Fa-f]+")
_HEX_DIGITS: Final = frozenset("0123456789abcdefABCDEF")
_NAMED: Final = re.compile(r"([A-Za-z]+)[0-9]+")
_MEASURED: Final = re.compile(rf"([0-9]+)([A-Za-z]{{1,{MOST_UNIT}}})")
_DAY_AND_HOUR: Final = re.compile(r"[0-9]{2}T[0-9]{2}")


def canonical(text: str) -> str:
    """The text with every value written in one way for its kind; texts of equal shape become equal.

    A value is a run of ASCII letters and digits with a digit in it, unless it is a word: letters with one
    digit, such as `tty2` or `L1`. In what this gives, neighbouring digits and `0x0` stand for values only.

    >>> canonical("Received block blk_-1608999687919862906 of 67108864 from /10.250.19.102:54106 in 12ms")
    'Received block blk_-0000000000000000 of 000 from /000.000.000.000:000 in 000ms'
    >>> canonical("10:00:01 ROOT LOGIN ON tty2, node17a uses f81d4fae-7dec-11d0-a765-00a0c91e6bf6")
    '00:00:00 ROOT LOGIN ON tty2, 00id00 uses 00000000-0000-0000-0000-000000000000'
    """

    def flattened(match: re.Match[str]) -> str:
        start, end = match.span()
        before = text[max(0, start - 2) : start]
        after = text[end : end + 2]
        return _flat(match[0], _links(before[::-1]) or _links(after))

    return _RUN.sub(flattened, text)


def _links(pair: str) -> str:
    """The separator that chains a run to a hexadecimal digit beyond it, or nothing."""
    return pair[0] if len(pair) > 1 and pair[0] in ":-" and pair[1] in _HEX_DIGITS else ""


@lru_cache(maxsize=1 << 16)
def _flat(run: str, link: str) -> str:  # noqa: PLR0911  (a kind a line)
    """How a run with a digit is written; `link` is what chains it to its neighbours."""
    width = len(run)
    if width > 2 and run[:2] in {"0x", "0X"}:  # noqa: PLR2004
        return "0x0"
    if run.isdigit():
        if width >= LONG:
            return "0" * LONG
        return "0" * width if link and width in CHAINED else "000"
    if _HEXADECIMAL.fullmatch(run):
        if link and width in CHAINED and (width > 2 or link == ":"):  # noqa: PLR2004
            return "0" * width
        if width >= HEX_RUN:
            return "0x0"
    if sum(map(str.isdigit, run)) == 1:
        return run
    return _named_or_measured(run, link)


def _named_or_measured(run: str, link: str) -> str:
    named = _NAMED.fullmatch(run)
    if named:
        return f"{named[1]}00"
    measured = _MEASURED.fullmatch(run)
    if measured:
        return ("00" if link and len(measured[1]) == 2 else "000") + measured[2]  # noqa: PLR2004
    return "00T00" if link and _DAY_AND_HOUR.fullmatch(run) else "00id00"
