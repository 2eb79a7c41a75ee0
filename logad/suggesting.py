"""Finds a rule that mends templates, and tries it before it is suggested."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl
import yaml

from logad import pinning
from logad.canonical import canonical
from logad.mining import Miner
from logad.parameters import PLACEHOLDER
from logad.rules import Mask, Rules, TemplateRule, check_rules
from logad.types import Level

_WILDCARD: Final = "<*>"
_SAMPLES: Final = 2  # texts of either kind in a rule
_LONGEST_SAMPLE: Final = 160  # characters
_FEWEST_WORDS: Final = 3  # to see what words look like
_FEWEST_SHARED: Final = 3  # characters that words begin or end with to be told by them
_FEW: Final = 8  # as many templates become one, at least, for a rule to be the best there can be
_CONTEXT: Final = 2  # constant words beside the one that varies
_NAME: Final = re.compile(r"[A-Za-z]+")
# What values look like that are no plain words; written with what may stand in such a value, digits too.
_FORMS: Final = (
    ("dotted-name", r"[A-Za-z_][\w$]*(?:\.[\w$]+)+"),
    ("hyphenated-name", r"[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)+"),
    ("underscored-name", r"[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)+"),
    ("camel-case-name", r"(?:[A-Z][a-z0-9]+){2,}"),
)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A rule that was tried on the log's own messages, and what it changed."""

    file: str  # of a rules folder
    rule: Mask | TemplateRule
    before: int  # templates of what it is about
    after: int  # templates of the same with the rule

    @property
    def yaml(self) -> str:
        """The rule as it stands in that file."""
        told = self.rule.model_dump(mode="json", exclude_defaults=True)
        told |= {samples: told.pop(samples) for samples in ("matches", "misses")}  # at the end
        return yaml.safe_dump([told], sort_keys=False, allow_unicode=True, width=10_000)


@dataclass(frozen=True, slots=True)
class Trial:
    """The messages a rule is to change the templates of, and those it is to leave alone."""

    texts: pl.Series  # some of those
    others: pl.Series  # some of these
    templates: int  # how many templates the former are of
    rules: Rules  # in force so far
    redact: Callable[[str], str]

    def samples(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Messages that a rule is about, and messages it is not about, without secrets; short ones."""
        return self._short(self.texts), self._short(self.others) or ("something else",)

    def tried(self, rule: Mask | TemplateRule) -> Suggestion | None:
        """What a rule does; None where that is nothing, or touches others, or breaks its samples."""
        tried = _with(self.rules, rule)
        if _faults(rule, tried) or _mined(self.others, tried) != _mined(self.others, self.rules):
            return None
        after = len(_mined(self.texts, tried))
        if after == len(_mined(self.texts, self.rules)):
            return None
        file = "masks.yaml" if isinstance(rule, Mask) else "templates.yaml"
        return Suggestion(file, rule, self.templates, after)

    def _short(self, texts: pl.Series) -> tuple[str, ...]:
        few = texts.filter(
            (texts.str.len_chars() <= _LONGEST_SAMPLE) & ~texts.str.contains("\n", literal=True)
        )
        few = few.unique(maintain_order=True)
        return tuple(
            self.redact(text) for text in few.gather_every(max(1, len(few) // _SAMPLES)).head(_SAMPLES)
        )


def joining(general: str, words: Sequence[str], trial: Trial) -> Suggestion | None:
    """A rule that makes many templates few.

    `general` is what they share, `words` are what differs where its first `<*>` stands. A mask that tells the
    words by themselves comes first, then one that tells them by their neighbours, then a template that is
    pinned. None where nothing that was tried helps.
    """
    best: Suggestion | None = None
    for rule in _candidates(general, words, trial):
        found = trial.tried(rule)
        if found is None or found.after >= (best.after if best else found.before):
            continue
        if found.after <= max(2, found.before // _FEW):
            return found
        best = found
    return best


def splitting(general: str, word: int, trial: Trial) -> Suggestion | None:
    """A rule that keeps messages of one template apart by what stands in its word number `word`, from 1."""
    many = general.count(_WILDCARD) > 1
    matches, misses = trial.samples()
    rule = TemplateRule(
        name=_name(general), split=general, word=word if many else None, matches=matches, misses=misses
    )
    found = trial.tried(rule)
    return found if found is not None and found.after > found.before else None


def _candidates(general: str, words: Sequence[str], trial: Trial) -> Iterator[Mask | TemplateRule]:
    """Rules that may help, the most telling first."""
    matches, misses = trial.samples()
    plain = [word for word in words if not PLACEHOLDER.search(word)]
    if len(plain) >= _FEWEST_WORDS:
        for name, regex in (*_by_form(plain), *_by_context(general)):
            yield Mask(name=name, regex=regex, placeholder=_WILDCARD, matches=matches, misses=misses)
    yield TemplateRule(name=_name(general), pin=general, matches=matches, misses=misses)


def _by_form(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Masks that tell the words by what they look like."""
    begin = _beginning(words)
    if len(begin) >= _FEWEST_SHARED:
        edge = r"\b" if begin[0].isalnum() else r"\B"
        yield _name(begin), rf"{edge}{re.escape(begin)}[\w.-]+"
    for name, form in _FORMS:
        if all(re.fullmatch(form, word) for word in words):
            yield name, rf"\b{form}\b"


def _by_context(general: str) -> Iterator[tuple[str, str]]:
    """Masks that tell the first word that varies by the constant words beside it."""
    words = general.split()
    at = next(place for place, word in enumerate(words) if _WILDCARD in word)
    left, _, right = words[at].partition(_WILDCARD)
    before = _constant(words[max(0, at - _CONTEXT) : at][::-1])[::-1]
    after = _constant(words[at + 1 : at + 1 + _CONTEXT])
    whole = len(before) == at < _CONTEXT + 1
    prefix = "".join(f"{word} " for word in before) + left
    suffix = right + "".join(f" {word}" for word in after)
    if not (before or after):
        return
    regex = "^" if whole else r"\b" if prefix[:1].isalnum() else ""
    if prefix:
        regex += f"(?P<before>{re.escape(prefix)})"
    value = r"[^\s,;:=()\[\]{}\"']+" if right[:1] and right[:1] in ",;:=()[]{}\"'" else r"\S+"
    regex += value
    if suffix:
        regex += f"(?P<after>{re.escape(suffix)})"
    yield _name(" ".join((*before, *after))), regex.replace(r"\ ", " ")


def _constant(words: Sequence[str]) -> list[str]:
    """The words up to the first that holds a variable."""
    first = next((place for place, word in enumerate(words) if PLACEHOLDER.search(word)), len(words))
    return list(words[:first])


def _beginning(words: Sequence[str]) -> str:
    """What all the words begin with, up to a mark: of `worker-ann` and `worker-abe` it is `worker-`."""
    least, most = min(words), max(words)
    shared = next((at for at, letter in enumerate(least) if most[at : at + 1] != letter), len(least))
    return re.sub(r"[A-Za-z0-9]*$", "", least[:shared])


def _mined(texts: pl.Series, rules: Rules) -> frozenset[str]:
    """The templates of messages that are all there is."""
    miner = Miner(rules)
    frame = pl.DataFrame({"text": texts, "level": pl.Series([int(Level.INFO)] * len(texts), dtype=pl.UInt8)})
    used = miner.settled(miner.assign(frame))["template"].unique()
    vocabulary = miner.vocabulary
    return frozenset(vocabulary[code].text for code in used)


def _with(rules: Rules, rule: Mask | TemplateRule) -> Rules:
    """The rules with one of the user's own on top."""
    if isinstance(rule, Mask):
        return replace(rules, masks=(rule, *rules.masks))
    return replace(rules, templates=(rule, *rules.templates))


def _faults(rule: Mask | TemplateRule, rules: Rules) -> list[str]:
    """What `logad rules` would say of it."""
    if isinstance(rule, Mask):
        return check_rules(Rules((rule,), (), ()))
    return pinning.check(replace(rules, templates=(rule,)))


def _name(text: str) -> str:
    """A name for a rule about this text."""
    return "-".join(_NAME.findall(PLACEHOLDER.sub(" ", canonical(text)))[:4]).lower() or "anything"
