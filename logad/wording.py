"""Says moments, odds and places in few words, and makes log text safe to show.

Log text is hostile until proven otherwise: an escape sequence in it could repaint a terminal, a
right-to-left override could hide what a line says. What is shown went through `plain` or `visible`.
"""
# ruff: noqa: RUF001, RUF002  (an en dash between numbers is meant)

import re
import unicodedata
from datetime import UTC, datetime
from typing import Final

from logad.durations import format_duration
from logad.types import WindowRef

_HIDDEN: Final = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Characters that move the cursor, turn the writing round, hide, or are no text; newlines aside."""

_BLANK: Final = re.compile(r"(?: |\t|\r?\n)+")

ELLIPSIS: Final = "…"
BEYOND: Final = 1e-6  # nobody has seen enough windows to say more
LONGEST_NAME: Final = (
    300  # columns of a session key, a source or a value, which are short unless a log is odd
)


def visible(text: str) -> str:
    r"""Text whose hidden characters are spelled out; lines stay lines, a tab is four blanks.

    >>> print(visible("a\x1b[2Jb\u202e"))
    a\x1b[2Jb\u202e
    """
    text = text.replace("\r\n", "\n").replace("\t", "    ")
    return _HIDDEN.sub(_spelled, text)


def plain(text: str) -> str:
    r"""Visible text on one line: every run of white space is one blank.

    >>> plain("two\r\nlines \tand a bell\a")
    'two lines and a bell\\x07'
    """
    return visible(_BLANK.sub(" ", text)).strip()


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:  # noqa: PLR2004  (as Python spells characters)
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004  (as above)


def cells(text: str) -> int:
    """How many columns a terminal needs for visible text.

    >>> cells("abc"), cells("日志")
    (3, 4)
    """
    if text.isascii():
        return len(text)
    return sum(map(_cell, text))


def _cell(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """The text if it fits in so many columns, else its beginning and an ellipsis.

    >>> cut("Receiving block", 9)
    'Receivin…'
    """
    head = _fitting(text, width)
    return text if len(head) == len(text) else _fitting(text, width - 1) + ELLIPSIS


def _fitting(text: str, width: int) -> str:
    """The longest beginning of the text that so many columns hold."""
    if text.isascii():
        return text[: max(width, 0)]
    taken = 0
    for position, character in enumerate(text):
        taken += _cell(character)
        if taken > width:
            return text[:position]
    return text


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most so many columns (2 at least), broken at blanks where possible.

    >>> wrapped("stored only twice", 11)
    ['stored only', 'twice']
    """
    width = max(width, 2)
    lines: list[str] = []
    room = -1
    for word in text.split():
        start = 0
        while start < len(word):
            piece = _fitting(word[start : start + 8 * width], width)  # few characters have no width
            start += len(piece)
            size = cells(piece)
            if start == len(piece) == len(word) and size < room:
                lines[-1] += " " + piece
                room -= size + 1
            else:
                lines.append(piece)
                room = width - size
    return lines or [""]


def flowed(pieces: list[str], width: int) -> list[str]:
    """Pieces joined by a middle dot, broken between pieces where the width asks for it.

    >>> flowed(["24 records", "lines 3–9"], 12)
    ['24 records', 'lines 3–9']
    """
    lines: list[str] = []
    for piece in pieces:
        if lines and cells(lines[-1]) + 3 + cells(piece) <= width:
            lines[-1] += " · " + piece
        else:
            lines += wrapped(piece, width)
    return lines


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "window"), counted(11501, "window")
    ('1 window', '11,501 windows')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def moment(when: datetime) -> str:
    """A moment to the second, in UTC, and saying so.

    >>> moment(datetime(2008, 11, 9, 20, 35, 18, tzinfo=UTC))
    '2008-11-09 20:35:18 UTC'
    """
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def span(start: datetime | None, end: datetime | None) -> str:
    """A stretch of time, without repeating what both ends share; empty where nothing is known.

    >>> span(datetime(2008, 11, 9, 20, 35, tzinfo=UTC), datetime(2008, 11, 9, 20, 40, tzinfo=UTC))
    '2008-11-09 20:35:00 – 20:40:00 UTC (5m)'
    """
    if start is None or end is None:
        known = start or end
        return moment(known) if known else ""
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    if f"{start:%F %T}" == f"{end:%F %T}":
        return moment(start)
    if start.date() == end.date():
        last = f"{end:%H:%M:%S}"
    else:
        last = f"{end:%m-%d %H:%M:%S}" if start.year == end.year else f"{end:%Y-%m-%d %H:%M:%S}"
    lasted = format_duration((end - start).total_seconds())
    return f"{start:%Y-%m-%d %H:%M:%S} – {last} UTC ({lasted})"


def place(window: WindowRef) -> list[str]:
    """Where a window lies, in pieces: its session, its size, its lines.

    >>> place(WindowRef("records", None, None, None, 1, 2400, 100))
    ['100 records', 'lines 1–2400']
    """
    pieces = [] if window.key is None else [f"session {cut(plain(window.key), LONGEST_NAME)}"]
    pieces.append(counted(window.records, "record") if window.records else "no records")
    if window.first_line is not None and window.last_line is not None:
        first, last = window.first_line, window.last_line
        pieces.append(f"line {first}" if first == last else f"lines {first}–{last}")
    if window.revision:
        pieces.append(f"revision {window.revision}")
    return pieces


def odds(tail_probability: float) -> str:
    """How rare something so strange is among normal windows.

    >>> odds(2.1e-05), odds(0.25), odds(0.0)
    ('about 1 in 48,000 normal windows is this strange', '25% of normal windows are this strange',
     'fewer than 1 in 1,000,000 normal windows are this strange')
    """
    if tail_probability < BEYOND:
        return f"fewer than 1 in {1 / BEYOND:,.0f} normal windows are this strange"
    if tail_probability >= 0.1:  # noqa: PLR2004  (above it a share reads better than odds)
        return f"{tail_probability:.0%} of normal windows are this strange"
    return f"about 1 in {float(f'{1 / tail_probability:.2g}'):,.0f} normal windows is this strange"


def versus(expected: str, actual: str) -> str:
    """Expected beside actual, as far as they are known.

    >>> versus("3", "2"), versus("", "2")
    ('expected 3 → actual 2', 'found 2')
    """
    expected, actual = (cut(plain(value), LONGEST_NAME) for value in (expected, actual))
    if expected and actual:
        return f"expected {expected} → actual {actual}"
    return f"expected {expected}" if expected else f"found {actual}" if actual else ""
