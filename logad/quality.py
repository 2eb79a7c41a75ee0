"""Judges mined templates without labels: what is seen once, too general or too split, and what mends it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.parameters import PLACEHOLDER, values
from logad.rules import Rules
from logad.sketches import hashed
from logad.suggesting import Suggestion, Trial, joining, splitting
from logad.wording import cut

_WILDCARD: Final = "<*>"
_SHOWN: Final = 3  # findings of a kind
_WORDS_SHOWN: Final = 4
_LONGEST_SHOWN: Final = 40  # columns of a word
_OTHERS: Final = 300  # templates that a suggestion must leave alone
_TEXTS: Final = 200  # messages it is tried on

_ONCE_SHARE: Final = 0.01  # of the records
_ONCE: Final = 10
_CONSTANT_SHARE: Final = 0.25  # of the words
_GENERAL_COUNT: Final = 10
_STATES: Final = range(2, 13)  # different words of a set of states
_EACH_STATE: Final = 3  # times that each of them came
_STATE: Final = (
    r"^(?:[A-Z][A-Z_]+|(?i:[a-z]{2,}(?:ed|ing|able|ive)|up|down|on|off|ok|idle|ready|busy|full|empty|open|done|lost"
    r"|new|dead|alive|online|offline|leader|follower|primary|standby|master|slave))$"
)
_MOSTLY: Final = 0.5  # of the words
_SPLIT_IN_ONE: Final = 5  # templates that differ in one word
_SPLIT_IN_TWO: Final = 8
_LONGEST: Final = 24  # words of a template that is compared in two places


class Seen(Protocol):
    """What is asked of a template."""

    @property
    def text(self) -> str:
        """Its text."""

    @property
    def count(self) -> int:
        """How many records have it."""

    @property
    def texts(self) -> pl.Series:
        """Some of its messages."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not look right."""

    kind: str  # seen once, too general, state, too split
    text: str  # in words
    suggestion: Suggestion | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        told: dict[str, Any] = {"kind": self.kind, "text": self.text}
        if self.suggestion is not None:
            told |= {
                "before": self.suggestion.before,
                "after": self.suggestion.after,
                "file": self.suggestion.file,
                "rule": self.suggestion.yaml,
            }
        return told


def findings(
    templates: Sequence[Seen], rules: Rules, redact: Callable[[str], str] = lambda text: text
) -> tuple[Finding, ...]:
    """What does not look right with these templates, at most three of a kind; nothing where all is well.

    Every rule that is suggested was tried on messages of the log: it does what is said, and leaves other
    templates as they are. Secrets are taken out of what is shown.
    """
    report = _Report(templates, rules, redact)
    return (*report.once(), *report.general(), *report.states(), *report.split())


@dataclass(frozen=True, slots=True)
class _Report:
    templates: Sequence[Seen]
    rules: Rules
    redact: Callable[[str], str]

    def once(self) -> Iterator[Finding]:
        """How much lies in templates that came once."""
        lines = sum(each.count for each in self.templates)
        once = sum(each.count == 1 for each in self.templates)
        if once >= _ONCE and once >= _ONCE_SHARE * lines:
            yield Finding(
                "seen once", f"{once / lines:.1%} of {lines:,} records are in {once:,} templates seen once"
            )

    def general(self) -> Iterator[Finding]:
        """Templates that say next to nothing."""
        found = [each for each in self.templates if each.count >= _GENERAL_COUNT and _says_nothing(each.text)]
        for each in sorted(found, key=lambda each: -each.count)[:_SHOWN]:
            yield Finding(
                "too general", f"{each.count:,} records are of the template {self._quoted(each.text)}"
            )

    def states(self) -> Iterator[Finding]:
        """Templates whose varying word looks like a state."""
        shown = 0
        for each in sorted(self.templates, key=lambda each: -each.count):
            if _WILDCARD not in each.text or shown == _SHOWN:
                continue
            for word, told in _states(each):
                shown += 1
                text = f"{self._quoted(each.text)} holds what looks like states: {self._words(told)}"
                yield Finding("state", text, self._apart(each, word))

    def split(self) -> Iterator[Finding]:
        """Templates that differ in one or two words, and are many."""
        texts = [each.text for each in self.templates]
        for members, places in _families(texts)[:_SHOWN]:
            words = texts[members[0]].split()
            general = " ".join(_WILDCARD if at in places else word for at, word in enumerate(words))
            told = [texts[member].split()[places[0]] for member in members]
            differ = "one word" if len(places) == 1 else "two words"
            shown = f"{self._quoted(general)}: {self._words(told)}"
            text = f"{len(members):,} templates differ in {differ} of {shown}"
            yield Finding("too split", text, self._joined(general, told, members))

    def _joined(self, general: str, words: Sequence[str], members: Sequence[int]) -> Suggestion | None:
        inside = set(members)
        texts = [self.templates[member].texts.head(max(1, _TEXTS // len(members))) for member in members]
        others = [each for at, each in enumerate(self.templates) if at not in inside]
        return joining(general, words, self._trial(pl.concat(texts), others, len(members)))

    def _apart(self, seen: Seen, word: int) -> Suggestion | None:
        others = [each for each in self.templates if each is not seen]
        return splitting(seen.text, word, self._trial(seen.texts.head(_TEXTS), others, 1))

    def _trial(self, texts: pl.Series, others: Sequence[Seen], templates: int) -> Trial:
        step = max(1, len(others) // _OTHERS)
        of_each = [each.texts[0] for each in others[::step] if len(each.texts)]
        return Trial(texts, pl.Series(of_each, dtype=pl.String), templates, self.rules, self.redact)

    def _quoted(self, text: str) -> str:
        return f"'{self.redact(text)}'"

    def _words(self, words: Sequence[str]) -> str:
        plain = [word for word in dict.fromkeys(words) if not PLACEHOLDER.search(word)]
        shown = ", ".join(cut(self.redact(word), _LONGEST_SHOWN) for word in plain[:_WORDS_SHOWN])
        return f"{shown}, …" if len(plain) > _WORDS_SHOWN else shown


def _says_nothing(text: str) -> bool:
    """Whether few of a template's words are constant, and some became variable because they differ."""
    words = text.split()
    constant = sum(any(map(str.isalpha, PLACEHOLDER.sub("", word))) for word in words)
    return _WILDCARD in words and constant < _CONSTANT_SHARE * len(words)


def _states(seen: Seen) -> Iterator[tuple[int, list[str]]]:
    """Words of a template, from 1, where few different words stand, most of which look like states."""
    placeholders = PLACEHOLDER.findall(seen.text)
    at = [number for number, word in enumerate(seen.text.split(), start=1) for _ in PLACEHOLDER.findall(word)]
    if all(placeholder != _WILDCARD for placeholder in placeholders):
        return
    for placeholder, word, column in zip(placeholders, at, values(seen.text, seen.texts), strict=False):
        if placeholder != _WILDCARD:
            continue
        told = column.drop_nulls().value_counts(sort=True, name="times")
        words = told.to_series(0)
        if len(words) in _STATES and told["times"].min() >= _EACH_STATE:  # type: ignore[operator]
            like = words.str.contains(_STATE).sum()
            if like > _MOSTLY * len(words):
                yield word, words.to_list()


def _families(texts: Sequence[str]) -> list[tuple[list[int], tuple[int, ...]]]:
    """Templates that are equal but for one or two words: the members, and their places; largest first."""
    split = [text.split() for text in texts]
    by_length: dict[int, list[int]] = {}
    for number, words in enumerate(split):
        by_length.setdefault(len(words), []).append(number)
    found: list[tuple[list[int], tuple[int, ...]]] = []
    for length, members in by_length.items():
        if length > 1 and len(members) >= _SPLIT_IN_ONE:
            letters = np.stack([_hashes([split[member][at] for member in members]) for at in range(length)])
            found += [
                ([members[row] for row in rows], places)
                for places in _places(length)
                for rows in _alike(letters, places)
            ]
    found.sort(key=lambda family: (-len(family[0]), len(family[1]), family[0]))
    taken: set[int] = set()
    kept = []
    for members, places in found:
        if taken.isdisjoint(members) and _varies(split, members, places):
            taken.update(members)
            kept.append((members, places))
    return kept


def _places(length: int) -> Iterator[tuple[int, ...]]:
    yield from ((place,) for place in range(length))
    if 3 <= length <= _LONGEST:  # noqa: PLR2004  (a word that both share must be left)
        yield from combinations(range(length), 2)


def _hashes(words: list[str]) -> NDArray[np.uint64]:
    return hashed(pl.Series(words, dtype=pl.String))


def _alike(letters: NDArray[np.uint64], places: tuple[int, ...]) -> Iterator[list[int]]:
    """Rows that are equal in all other places, where they are many."""
    others = np.delete(letters, places, axis=0)
    weights = (2 * np.arange(1, len(others) + 1, dtype=np.uint64) + np.uint64(1)) ** np.uint64(7)
    keys = (others * weights[:, None]).sum(axis=0, dtype=np.uint64)
    _, group, counts = np.unique(keys, return_inverse=True, return_counts=True)
    enough = _SPLIT_IN_ONE if len(places) == 1 else _SPLIT_IN_TWO
    for number in np.flatnonzero(counts >= enough):
        yield np.flatnonzero(group == number).tolist()


def _varies(split: Sequence[list[str]], members: Sequence[int], places: tuple[int, ...]) -> bool:
    """Whether many different words stand in each place, which look like no states; some are left."""
    words = split[members[0]]
    left = [
        word
        for at, word in enumerate(words)
        if at not in places and any(map(str.isalpha, PLACEHOLDER.sub("", word)))
    ]
    columns = [pl.Series([split[member][place] for member in members]).unique() for place in places]
    return bool(left) and all(
        len(column) >= _SPLIT_IN_ONE and column.str.contains(_STATE).sum() <= _MOSTLY * len(column)
        for column in columns
    )
