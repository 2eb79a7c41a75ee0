"""Gives messages the templates that the user's rules say they have."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

import polars as pl

from logad import masking
from logad.rules import Rules, TemplateRule

IGNORED: Final = "<ignored>"
"""Text of the template of messages that a rule ignores."""

_WILDCARD: Final = "<*>"
_WORD: Final = r"\S+"
_WORDS: Final = re.compile(r"[\w-]{2,}")
_PLACEHOLDER: Final = re.compile(r"<(?:[A-Z][A-Z0-9_]*|\*)>")
_SPECIAL: Final = re.compile(r"([\\.+*?()|\[\]{}^$#&\-~])")


def pinned(shapes: pl.Series, rules: Sequence[TemplateRule]) -> pl.Series:
    """The template text that a rule gives each shape (a message after the masks), or null; rows kept.

    The first rule that fits decides; IGNORED is the text of what is to be dropped.

    >>> states = TemplateRule(name="states", split="job <ID> is <*>")
    >>> noise = TemplateRule(name="noise", ignore="heartbeat <*>")
    >>> pinned(pl.Series(["job <ID> is up", "heartbeat <NUM> ok", "disk failed"]), [states, noise]).to_list()
    ['job <ID> is up', '<ignored>', None]
    """
    text = pl.col("shape")
    given = pl.lit(None, dtype=pl.String)
    for rule in reversed([rule for rule in rules if rule.action != "rename"]):
        fits = pl.any_horizontal([text.str.contains(_fitting(each)) for each in rule.texts])
        given = pl.when(fits).then(_given(rule, text)).otherwise(given)
    return shapes.rename("shape").to_frame().with_columns(given.alias("pinned"))["pinned"]


def told(shapes: pl.Series, rules: Sequence[TemplateRule]) -> dict[str, str]:
    """The template text of each of these shapes that a rule says something of."""
    if not rules:
        return {}
    return {
        shape: text for shape, text in zip(shapes, pinned(shapes, rules), strict=True) if text is not None
    }


def words(rules: Sequence[TemplateRule]) -> list[str]:
    """The words that rules name: they are to stay words, however many others stand in their places.

    >>> words([TemplateRule(name="s", split="job <ID> is <*>", values="up|down")])
    ['down', 'is', 'job', 'up']
    """
    named = {word for rule in rules for text in rule.texts for word in text.split()}
    named |= {word for rule in rules if rule.values for word in _WORDS.findall(rule.values)}
    return sorted(word for word in named if not _PLACEHOLDER.search(word))


def names(rules: Sequence[TemplateRule]) -> dict[str, str]:
    """The names that rules give to templates, by the template's text; the first rule for a text decides.

    >>> names([TemplateRule(name="slow", rename="took <NUM>", to="slow query")])
    {'took <NUM>': 'slow query'}
    """
    told: dict[str, str] = {}
    for rule in rules:
        if rule.to is not None:
            told.setdefault(_spaced(rule.texts[0]), rule.to)
    return told


def check(rules: Rules) -> list[str]:
    """Every sample that a template rule treats wrongly, and every such rule without samples.

    >>> wrong = TemplateRule(name="w", pin="took <NUM>", matches=["took ages"], misses=["gave up"])
    >>> check(Rules((), (), (), (), (wrong,)))
    ["template rule 'w' does not match its sample 'took ages', which the masks read as 'took ages'"]
    """
    return [problem for rule in rules.templates for problem in _wrong(rule, rules)]


def _wrong(rule: TemplateRule, rules: Rules) -> Iterator[str]:
    if not (rule.matches and rule.misses):
        yield f"template rule {rule.name!r} has no samples; expected `matches` and `misses`"
    for samples, expected in ((rule.matches, True), (rule.misses, False)):
        shapes = masking.shapes(pl.Series(samples, dtype=pl.String), rules.masks)["shape"]
        for sample, shape in zip(samples, shapes, strict=True):
            if _fits(rule, shape) != expected:
                fault = "does not match its sample" if expected else "matches its counter-sample"
                yield f"template rule {rule.name!r} {fault} {sample!r}, which the masks read as {shape!r}"


def _fits(rule: TemplateRule, shape: str) -> bool:
    return any(pl.Series([shape]).str.contains(_fitting(text)).item() for text in rule.texts)


def _given(rule: TemplateRule, text: pl.Expr) -> pl.Expr:
    """The template text that a rule gives the texts that fit it."""
    if rule.ignore is not None:
        return pl.lit(IGNORED)
    if rule.split is not None:
        return _split(rule, text)
    return pl.lit(_spaced(rule.into if rule.into is not None else rule.texts[0]))


def _split(rule: TemplateRule, text: pl.Expr) -> pl.Expr:
    """The text of the rule with what stands at its `<*>`, where that is a word that stays apart."""
    words = _spaced(rule.texts[0]).split(" ")
    before = " ".join(words[: rule.word - 1]).count(_WILDCARD) if rule.word else 0
    inside = words[rule.word - 1].count(_WILDCARD) if rule.word else len(words)
    constants = _spaced(rule.texts[0]).split(_WILDCARD)
    apart = rf"^(?:{rule.values or _WORD})$"
    pieces = [pl.lit(constants[0])]
    for number, constant in enumerate(constants[1:], start=1):
        if before < number <= before + inside:
            value = text.str.extract(_fitting(rule.texts[0]), number)
            pieces.append(pl.when(value.str.contains(apart)).then(value).otherwise(pl.lit(_WILDCARD)))
        else:
            pieces.append(pl.lit(_WILDCARD))
        pieces.append(pl.lit(constant))
    return pl.concat_str(pieces)


def _fitting(text: str) -> str:
    """The regex of a text from end to end; each `<*>` is a group."""
    constants = (_SPECIAL.sub(r"\\\1", constant) for constant in _spaced(text).split(_WILDCARD))
    return rf"^{'(.+?)'.join(constants)}$"


def _spaced(text: str) -> str:
    return " ".join(text.split())
