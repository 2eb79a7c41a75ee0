"""Cuts bytes into decoded lines, and counts the lines that had to be mended."""

import codecs
import io
import re
from typing import Final

import polars as pl

from logad.errors import UsageError

_BROKEN: Final = "[\udc80-\udcff]"  # what `surrogateescape` makes of a byte that is no text
_BROKEN_LINE: Final = re.compile(rf"^[^\n]*?{_BROKEN}", re.MULTILINE)
_WORD_SHARE: Final = 0.5
BYTE_ORDER_MARK: Final = codecs.BOM_UTF8


def detect_encoding(sample: bytes) -> str:
    """`utf-8` where the sample reads as it (or mostly does), else `cp1252`, which reads what latin-1 writes.

    >>> detect_encoding("für".encode()), detect_encoding("für alle, für immer".encode("latin-1"))
    ('utf-8', 'cp1252')
    """
    if not sample.isascii():
        text = sample.decode("utf-8", "surrogateescape")
        broken = len(re.findall(_BROKEN, text))
        sound = sum(
            len(run) for run in re.findall("[\u0080-\ud7ff\ue000-\uffff\U00010000-\U0010ffff]+", text)
        )
        if broken > sound and _reads_as_words(sample):
            return "cp1252"
    return "utf-8"


def check_encoding(name: str) -> str:
    """The encoding's name, if it reads bytes as text and a newline is one byte in it.

    Raises:
        UsageError: it is not known, or newlines are not the byte 10 in it.
    """
    try:
        sound = b"a\n".decode(name) == "a\n"
    except (LookupError, UnicodeError):
        sound = False
    if not sound:
        expected = "an encoding that writes a newline as one byte, such as utf-8, latin-1 or shift_jis"
        raise UsageError("--encoding", f"{name!r} is not known or not line by line", expected)
    return name


def split_lines(content: bytes, encoding: str) -> tuple[pl.Series, int]:
    r"""The lines of a buffer without their ends, and how many held bytes that are not text.

    Such bytes become U+FFFD. A line ends at `\n` or `\r\n`.

    >>> lines, mended = split_lines(b"one\r\ntw\xff\n\nfour", "utf-8")
    >>> lines.to_list(), mended
    (['one', 'tw\ufffd', '', 'four'], 1)
    """
    mended = 0
    if encoding != "utf-8" or not _is_text(content):
        text = content.decode(encoding, "surrogateescape")
        mended = len(_BROKEN_LINE.findall(text))
        content = re.sub(_BROKEN, "\ufffd", text).encode("utf-8", "replace")
    if not content:
        return pl.Series("raw", [], dtype=pl.String), mended
    return pl.read_lines(io.BytesIO(content)).to_series().alias("raw"), mended


def decoded(content: bytes, encoding: str) -> str:
    """The bytes as text; those that are none become U+FFFD."""
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return re.sub(_BROKEN, "\ufffd", content.decode(encoding, "surrogateescape"))


def count_mended(content: bytes, encoding: str) -> int:
    r"""How many lines hold bytes that are not text: what `split_lines` tells too.

    >>> count_mended(b"one\ntw\xff\n", "utf-8")
    1
    """
    if content.isascii() or (encoding == "utf-8" and _is_text(content)):
        return 0
    return len(_BROKEN_LINE.findall(content.decode(encoding, "surrogateescape")))


def _is_text(content: bytes) -> bool:
    if content.isascii():
        return True
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _reads_as_words(sample: bytes) -> bool:
    """Whether most bytes beyond ASCII are letters of cp1252 beside letters, not stray bytes."""
    runs = re.findall(rb"([A-Za-z]?)([\x80-\xff]+)(?=([A-Za-z]?))", sample)
    words = sum(
        bool((before or after) and re.fullmatch(rb"[\xc0-\xfd]+", run)) for before, run, after in runs
    )
    return words > _WORD_SHARE * len(runs)
