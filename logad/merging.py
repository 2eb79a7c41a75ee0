"""Finds the words that vary among templates which otherwise say the same."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

WILDCARD: Final = "<*>"

_VARIABLE: Final = re.compile(r"\W*<\*>\W*")
_MANY: Final = 5  # distinct words at one position make a variable; fewer are a set of states
_MANY_FIRST: Final = 20  # the same for the first word, which is most often what the message is about
_FEWEST_IDENTIFIERS: Final = 3  # distinct ones at one position, or shapes that differ in several
_LONGEST: Final = 60  # words; longer messages hold data, and each position costs a key
_IDENTIFIER: Final = re.compile(r"\w[\w$@\\.:/#-]*[\d$@\\][\w$@\\.:/#-]*|\w+(?:[./]\w+)+|[A-Z]+(?:_[A-Z]+)+")
_UNITS: Final = frozenset(
    (
        *("ns", "us", "ms", "s", "sec", "secs", "second", "seconds", "min", "mins", "minute", "minutes"),
        *("h", "hour", "hours", "d", "day", "days", "bit", "bits", "byte", "bytes"),
        *("B", "kB", "KB", "MB", "GB", "TB", "PB", "KiB", "MiB", "GiB", "TiB"),
    )
)
_NAMES_FOLLOW: Final = frozenset(
    ("user", "ruser", "username", "host", "hostname", "rhost", "login", "logname", "account")
)
_EMPTY: Final = frozenset(("()", "[]", "{}", '""', "''"))
_BEFORE: Final = re.compile(r"(?:[^<]*[(\[{\"'=]|[^\w<]*)")
_AFTER: Final = re.compile(r"(?:[(\[{)\]}\"',;](?:[^<>]|<(?:[A-Z][A-Z0-9_]*|\*)>)*|[^\w<>*]+)$")
_BRACKETED: Final = re.compile(r"([^<]*[(\[{\"'])<\*>([)\]}\"'].*)")
_PUNCTUATION: Final = "()[]{}\"'`,;:.!?="


@dataclass(frozen=True, slots=True)
class Merge:
    """Templates that are one, and what stands where they differ."""

    codes: tuple[int, ...]
    words: dict[int, str]  # position -> what stands there
    reason: str


@dataclass(slots=True)
class _Place:
    """All templates that differ in one word, and that word."""

    words: dict[str, int]  # word -> code
    merged: tuple[int, str] | None = None  # the template that took its words together, what stands for them
    identifiers: tuple[int, str] | None = None  # the same for those words only that look like identifiers


@dataclass(slots=True)
class Siblings:
    """Templates that differ in words which vary, and when these do.

    The one word that differs varies as soon as five different ones were seen there, or a placeholder and a
    word, or units only, or two after `user` or `host`, or three that look like identifiers. Shapes that
    differ in several words are one as soon as three do so in identifiers only. Templates of different
    gravity are no siblings, so that `job failed` is not lost among `job started`, `job queued`, ...

    >>> siblings = Siblings()
    >>> [siblings.add(code, ["job", word], grave=False) for code, word in enumerate("abcd")]
    [None, None, None, None]
    >>> siblings.known(["job", "e"], grave=False) is None
    True
    >>> siblings.add(4, ["job", "e"], grave=False)
    Merge(codes=(0, 1, 2, 3, 4), words={1: '<*>'}, reason='a word varies')
    >>> siblings.known(["job", "z"], grave=False)
    0
    """

    _places: dict[int, _Place | tuple[str, int]] = field(default_factory=dict)
    _kinds: dict[int, dict[tuple[str, ...], int]] = field(default_factory=dict)  # with identifiers as one
    _merges: int = 0

    def known(self, tokens: Sequence[str], *, grave: bool) -> int | None:
        """The code of the template whose varying words these tokens fill in, or None."""
        if not self._merges or len(tokens) > _LONGEST:
            return None
        for position, key in _places(tokens, grave):
            place = self._places.get(key)
            if isinstance(place, _Place):
                if place.merged is not None and _fits(tokens[position], place.merged[1]):
                    return place.merged[0]
                identifiers = place.identifiers
                if (
                    identifiers
                    and _is_identifier(tokens[position])
                    and _fits(tokens[position], identifiers[1])
                ):
                    return identifiers[0]
        kind = _kind(tokens, grave) if self._kinds else None
        shapes = {} if kind is None else self._kinds.get(kind, {})
        return min(shapes.values()) if len(shapes) >= _FEWEST_IDENTIFIERS else None

    def add(self, code: int, tokens: Sequence[str], *, grave: bool) -> Merge | None:
        """Note a new template; where words now vary: the codes, the positions and what stands there."""
        if len(tokens) > _LONGEST:
            return None
        found = None
        for position, key in _places(tokens, grave):
            place = self._places.get(key)
            if place is None:
                self._places[key] = tokens[position], code
                continue
            if not isinstance(place, _Place):
                place = self._places[key] = _Place(dict([place]))
            place.words.setdefault(tokens[position], code)
            if found is None:
                found = _varied(place, position, tokens[position - 1] if position else "")
        if found is None:
            found = self._of_a_kind(code, tokens, grave)
        if found is not None:
            self._merges += 1
        return found

    def _of_a_kind(self, code: int, tokens: Sequence[str], grave: bool) -> Merge | None:  # noqa: FBT001
        """Those that are equal once each identifier is read as any."""
        key = _kind(tokens, grave)
        if key is None:
            return None
        shapes = self._kinds.setdefault(key, {})
        shapes.setdefault(tuple(tokens), code)
        codes = tuple(sorted(set(shapes.values())))
        if len(shapes) < _FEWEST_IDENTIFIERS or len(codes) == 1:
            return None
        columns = list(zip(*shapes, strict=True))
        words = {at: generalised(set(words)) for at, words in enumerate(columns) if len(set(words)) > 1}
        return Merge(codes, words, "identifiers vary")


def generalised(words: Iterable[str]) -> str:
    """A placeholder between what all the words begin and end with, if that is punctuation or more.

    >>> generalised(["(fe,", "(foo,"]), generalised(["()", "(<*>)"]), generalised(["cd(<*>)", "cd(home)"])
    ('(<*>,', '(<*>)', 'cd(<*>)')
    >>> generalised(["farm.ant[<NUM>]", "farm.bee[<NUM>]"])
    '<*>[<NUM>]'
    """
    words = [f"{word[0]}{WILDCARD}{word[1]}" if word in _EMPTY else word for word in words]
    before = _BEFORE.match(_shared_start(words))[0]  # type: ignore[index]
    rest = [word[len(before) :][::-1] for word in words]
    after = _AFTER.search(_shared_start(rest)[::-1])
    return f"{before}{WILDCARD}{after[0] if after else ''}"


def _shared_start(words: Sequence[str]) -> str:
    first, last = min(words), max(words)
    return next((first[:at] for at, letter in enumerate(first) if last[at : at + 1] != letter), first)


def _varied(place: _Place, position: int, word_before: str) -> Merge | None:
    words = place.words
    if len(words) < 2:  # noqa: PLR2004
        return None
    variable = any(_VARIABLE.fullmatch(word) for word in words)
    units = all(_bare(word) in _UNITS for word in words)
    named = _bare(word_before).lower() in _NAMES_FOLLOW and not word_before.endswith("=")
    if (
        _bracketed(words)
        or (position and (variable or units or named or len(words) >= _MANY))
        or len(words) >= _MANY_FIRST
    ):
        codes = tuple(sorted(set(words.values())))
        place.merged = codes[0], generalised(words)
        reason = "units vary" if units else "a word varies"
        return Merge(codes, {position: place.merged[1]}, reason) if len(codes) > 1 else None
    names = [word for word in words if _is_identifier(word)]
    if len(names) >= _FEWEST_IDENTIFIERS and position:
        codes = tuple(sorted({words[word] for word in names}))
        place.identifiers = codes[0], generalised(names)
        return Merge(codes, {position: place.identifiers[1]}, "identifiers vary") if len(codes) > 1 else None
    return None


def _fits(word: str, text: str) -> bool:
    """Whether a word is one of those that a text with a variable stands for."""
    before, _, after = text.partition(WILDCARD)
    return len(word) >= len(before) + len(after) and word.startswith(before) and word.endswith(after)


def _bracketed(words: Iterable[str]) -> bool:
    """Whether a word is like another that has a variable in brackets: `cd(home)` and `cd(<*>)`."""
    for word in words:
        found = _BRACKETED.fullmatch(word) if "<" in word else None
        if found and all(each.startswith(found[1]) and each.endswith(found[2]) for each in words):
            return True
    return False


def _places(tokens: Sequence[str], grave: bool) -> Iterator[tuple[int, int]]:  # noqa: FBT001
    """Each position with a key: all the other words, as a sum of hashes less one."""
    hashes = [hash(each) for each in enumerate(tokens)]
    whole = sum(hashes) + hash((grave, len(tokens)))
    for position, each in enumerate(hashes):
        yield position, hash((whole - each, position))


def _kind(tokens: Sequence[str], grave: bool) -> int | None:  # noqa: FBT001
    """A key of the words with each identifier read as any; None where fewer than two are such."""
    if len(tokens) > _LONGEST:
        return None
    kinds = [WILDCARD if at and _is_identifier(token) else token for at, token in enumerate(tokens)]
    changed = sum(kind is not token for kind, token in zip(kinds, tokens, strict=True))
    return hash((grave, "kind", *kinds)) if changed > 1 else None


@lru_cache(maxsize=1 << 14)
def _is_identifier(word: str) -> bool:
    return _IDENTIFIER.fullmatch(_bare(word)) is not None


def _bare(word: str) -> str:
    return word.strip(_PUNCTUATION)
