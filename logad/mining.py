"""Mines log templates: masks make records into few shapes, Drain3 makes shapes into templates."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Final

import numpy as np
import polars as pl
from drain3.drain import Drain
from numpy.typing import NDArray

from logad import masking
from logad.merging import Siblings
from logad.rules import Rules, load
from logad.telemetry import Telemetry
from logad.types import Level, Template

OVERFLOW: Final = "<overflow>"
"""Text of the template that holds what came after the miner was full."""

# The masks have found what varies; Drain only joins messages of twenty and more words that differ in one.
# Lower values join states ("VM Started", "VM Paused").
_SIMILARITY: Final = 0.95
_DRAIN_DEPTH: Final = 4  # its default: messages of equal length and first word are compared
_VARIED_WORD: Final = (
    "\x1a"  # Drain's own wildcard while it works: no text holds it, so "<*>" counts as equal
)
_CROWD_OF_START: Final = (
    20  # distinct words at a position of messages of one length and first word: a variable
)
_CROWD_OF_LENGTH: Final = 300  # the same for messages of one length alone: free text
_WILDCARD: Final = "<*>"
_PLACEHOLDER: Final = re.compile(r"<(?:[A-Z][A-Z0-9_]*|\*)>")
_SAMPLED: Final = 1_000  # texts looked at for parameters
_TOP_VALUES: Final = 5

_SEVERITY: Final = {
    Level.UNKNOWN: 1,
    Level.DEBUG: 0,
    Level.INFO: 0,
    Level.WARN: 2,
    Level.ERROR: 3,
    Level.FATAL: 3,
}
_GRAVEST: Final = 3


class Miner:
    """Gives every record the code of its template; never takes a code back, unless asked to settle.

    Codes, texts and ids depend on the records and their order alone, not on how they were cut into
    batches. What it knows is a list of shapes: learning them again in order (`rebuilt`) gives the same.
    It holds at most `most_shapes` shapes and `most_templates` templates; what is new after that is of the
    template `<overflow>` and counted in the telemetry's notes. Drain: He et al. 2017.

    >>> records = pl.DataFrame({"text": ["took 5 ms", "took 71 ms", "disk failed"], "level": [2, 2, 2]})
    >>> miner = Miner()
    >>> miner.assign(records)["template"].to_list()
    [0, 0, 1]
    >>> [(template.text, template.severity) for template in miner.vocabulary]
    [('took <NUM>', 0), ('disk failed', 1)]
    """

    def __init__(
        self,
        rules: Rules | None = None,
        telemetry: Telemetry | None = None,
        *,
        most_shapes: int = 200_000,
        most_templates: int = 20_000,
        redact: Callable[[str], str] | None = None,
    ) -> None:
        self.rules = load() if rules is None else rules
        self._grave = "|".join(f"(?:{severity.regex})" for severity in self.rules.severities) or "[^\\s\\S]"
        self._telemetry = telemetry
        self._redact = redact  # takes secrets out of shapes, so that none is in what is stored of them
        self._most_shapes = most_shapes
        self._most_templates = most_templates
        self._drain = Drain(
            depth=_DRAIN_DEPTH,
            max_children=2 * _CROWD_OF_LENGTH,  # first words never get that many
            sim_th=_SIMILARITY,
            param_str=_VARIED_WORD,
            parametrize_numeric_tokens=False,  # the masks have decided which digits vary
        )
        self._shapes: dict[tuple[str, int], int] = {}  # (shape, level) -> code, in order of first appearance
        self._codes: dict[str, int] = {}  # shape -> code
        self._owners: dict[str, int] = {}  # template text, past ones too -> code
        self._clusters: dict[int, int] = {}  # Drain's cluster -> code
        self._templates: list[Template] = []
        self._siblings = Siblings()
        self._merged: dict[int, int] = {}  # code -> the code that stands for it by now
        self._by_length: dict[int, list[set[str]]] = {}  # the words seen at each position
        self._by_start: dict[tuple[int, str], list[set[str]]] = {}

    @property
    def vocabulary(self) -> tuple[Template, ...]:
        """All templates; the position is the code. Only grows, though a text may become more general."""
        return tuple(self._templates)

    def assign(self, records: pl.DataFrame) -> pl.DataFrame:
        """The records with the column `template` (Int32): the code of each one's template."""
        level = pl.col("level").cast(pl.UInt8).fill_null(Level.UNKNOWN)
        texts = records.select(masking.heads(records["text"]), level)
        distinct = texts.group_by("text", "level", maintain_order=True).len("len")
        distinct = distinct.with_columns(self.codes(distinct))
        found = texts.join(distinct, on=["text", "level"], how="left", maintain_order="left")
        return records.with_columns(found["template"])

    def codes(self, distinct: pl.DataFrame) -> pl.Series:
        """The code (Int32) of each row's template; the rows in order of first appearance.

        Columns: `text`, the message without its header; `level`, a Level; `len`, how many records say so. Rows
        may say the same, though it is faster when they do not.
        """
        marked = masking.shapes(distinct["text"], self.rules.masks).with_columns(
            distinct["level"], distinct["len"]
        )
        if self._redact is not None:
            told = {shape: self._redact(shape) for shape in marked["shape"].unique()}
            secret = {shape: text for shape, text in told.items() if text != shape}
            marked = marked.with_columns(pl.col("shape").replace(secret)) if secret else marked
        shapes = marked.group_by("shape", "level", maintain_order=True).agg(pl.col("len").sum())
        grave = self._graveness(shapes["shape"])
        codes = [
            self._code(shape, level, graver, count)
            for (shape, level, count), graver in zip(shapes.iter_rows(), grave, strict=True)
        ]
        if self._telemetry is not None:
            self._telemetry.templates = len(self._templates)
        shapes = shapes.with_columns(pl.Series("template", codes, dtype=pl.Int32))
        return marked.join(shapes, on=["shape", "level"], how="left", maintain_order="left")["template"]

    def standing(self) -> NDArray[np.int32]:
        """For each code the one that stands for it by now: itself, or that which took its template in."""
        return np.fromiter(map(self._standing, range(len(self._templates))), dtype=np.int32)

    def settled(self, records: pl.DataFrame) -> pl.DataFrame:
        """The records with the codes they would have, had all that is known been known from the start.

        A word turns out to vary only when it has been seen to; until then each such record opens a template.
        For a finite input, read whole, this takes them together; where codes are in use already, leave them.

        >>> miner = Miner()
        >>> words = ["ant", "bee", "cat", "dog", "eel", "fox"]
        >>> records = pl.DataFrame({"text": [f"fed the {word}" for word in words], "level": [2] * 6})
        >>> miner.assign(records)["template"].to_list()
        [0, 1, 2, 3, 0, 0]
        >>> miner.settled(miner.assign(records))["template"].to_list()
        [0, 0, 0, 0, 0, 0]
        >>> miner.vocabulary[0].text
        'fed the <*>'
        """
        if not self._merged:
            return records
        return records.with_columns(pl.Series("template", self.standing()[records["template"].to_numpy()]))

    def shapes(self, since: int = 0) -> list[tuple[str, int]]:
        """The distinct shapes learned, each with a level, in order, from number `since` on."""
        return list(self._shapes)[since:]

    def aliases(self) -> dict[str, int]:
        """Ids of texts that became more general or part of another template, and the codes that stand now."""
        current = {self._templates[self._standing(code)].template_id for code in range(len(self._templates))}
        ids = ((_template_id(text), self._standing(code)) for text, code in self._owners.items())
        return {past: code for past, code in ids if past not in current}

    @classmethod
    def rebuilt(  # noqa: PLR0913  (two things known, the others have defaults)
        cls,
        shapes: Iterable[tuple[str, int]],
        rules: Rules | None = None,
        telemetry: Telemetry | None = None,
        *,
        most_shapes: int = 200_000,
        most_templates: int = 20_000,
        redact: Callable[[str], str] | None = None,
    ) -> "Miner":
        """A miner that knows what the one with these shapes knew: same codes, same ids.

        >>> miner = Miner()
        >>> _ = miner.assign(pl.DataFrame({"text": ["took 5 ms", "disk failed"], "level": [2, 2]}))
        >>> Miner.rebuilt(miner.shapes()).vocabulary == miner.vocabulary
        True
        """
        miner = cls(rules, telemetry, most_shapes=most_shapes, most_templates=most_templates, redact=redact)
        learned = list(shapes)
        grave = miner._graveness(pl.Series([shape for shape, _ in learned], dtype=pl.String))
        for (shape, level), graver in zip(learned, grave, strict=True):
            miner._code(shape, level, graver, 0)
        return miner

    def _graveness(self, shapes: pl.Series) -> list[bool]:
        return shapes.str.contains(self._grave).to_list()

    def _code(self, shape: str, level: int, graver: bool, count: int) -> int:  # noqa: FBT001  (a word of the shape)
        code = self._shapes.get((shape, level))
        if code is not None:
            return code
        code = self._codes.get(shape)
        if len(self._shapes) >= self._most_shapes or (
            code is None and len(self._templates) >= self._most_templates
        ):
            return self._overflow(count) if code is None else code
        if code is None:
            code = self._codes[shape] = self._place(shape, graver)
        self._shapes[shape, level] = code
        severity = min(_GRAVEST, _SEVERITY[Level(level)] + graver)
        for raised in {code, self._standing(code)}:
            self._raise(raised, severity, alarming=graver and level >= Level.ERROR)
        return code

    def _raise(self, code: int, severity: int, *, alarming: bool) -> None:
        """A template is as grave as the gravest of its records."""
        known = self._templates[code]
        if severity > known.severity or (alarming and not known.alarming):
            self._templates[code] = replace(
                known, severity=max(severity, known.severity), alarming=alarming or known.alarming
            )

    def _place(self, shape: str, graver: bool) -> int:  # noqa: FBT001  (a word of the shape)
        """The code of the cluster Drain puts a new shape in, its text brought up to date.

        Drain does not see the types of placeholders: `from <IP>` and `from <HOST>` are `from <*>`.
        """
        loosened = self._loosened(shape)
        if loosened in self._owners:
            return self._standing(self._owners[loosened])
        tokens = _untyped(loosened).split()
        sibling = self._siblings.known(tokens, graver)
        if sibling is not None:
            return self._standing(sibling)
        cluster, _ = self._drain.add_log_message(" ".join(tokens))
        code = self._clusters.get(cluster.cluster_id)
        if code is not None:
            self._generalise(code, _common(self._templates[code].text, loosened))
            return self._standing(code)
        code = self._clusters[cluster.cluster_id] = self._new(loosened)
        self._merge(code, tokens, graver)
        return self._standing(code)

    def _merge(self, code: int, tokens: list[str], graver: bool) -> None:  # noqa: FBT001  (a word of the shape)
        """Let a new template's siblings stand for one where it shows that a word varies among them."""
        found = self._siblings.add(code, tokens, graver)
        if found is None:
            return
        position, codes, word = found
        standing = sorted({self._standing(code) for code in codes})
        texts = [self._templates[code].text for code in codes]
        text = " ".join(
            word if at == position else token for at, token in enumerate(reduce(_common, texts).split())
        )
        self._merged |= dict.fromkeys(standing[1:], standing[0])
        for taken in standing[1:]:
            template = self._templates[taken]
            self._raise(standing[0], template.severity, alarming=template.alarming)
        self._generalise(standing[0], text)

    def _generalise(self, code: int, text: str) -> None:
        """Give a template a more general text, unless it is another's: a text belongs to its first holder."""
        if text not in self._owners:
            self._owners[text] = code
            self._templates[code] = replace(self._templates[code], text=text, template_id=_template_id(text))

    def _standing(self, code: int) -> int:
        while code in self._merged:
            code = self._merged[code]
        return code

    def _loosened(self, shape: str) -> str:
        """The shape with `<*>` where others of its length, or of its length and start, hold many words.

        Keeps free text from becoming a template each, and Drain's comparisons few.
        """
        tokens = shape.split()
        if tokens:
            alike = self._by_length.setdefault(len(tokens), [set() for _ in tokens])
            tokens = _narrowed(tokens, alike, _CROWD_OF_LENGTH)
            start = next((token for token in tokens if not _PLACEHOLDER.fullmatch(token)), "")
            alike = self._by_start.setdefault((len(tokens), start), [set() for _ in tokens])
            tokens = _narrowed(tokens, alike, _CROWD_OF_START)
        return " ".join(tokens)

    def _new(self, text: str) -> int:
        code = len(self._templates)
        self._owners[text] = code
        self._templates.append(Template(code, _template_id(text), text, 0))
        return code

    def _overflow(self, count: int) -> int:
        if self._telemetry is not None and count:
            self._telemetry.notes["template_overflow"] += count
        code = self._owners.get(OVERFLOW)
        return self._new(OVERFLOW) if code is None else code


@dataclass(frozen=True, slots=True)
class Parameter:
    """What stands at one placeholder of a template."""

    placeholder: str
    values: tuple[str, ...]  # the most frequent first
    distinct: int  # how many different values were seen in the sample


def parameters(template_text: str, texts: pl.Series) -> list[Parameter]:
    """The most frequent values at each placeholder of a template, from at most the first 1,000 texts.

    Texts that the template does not give back word for word (a word glued to a variable) are left out.

    >>> parameters("took <NUM> at <IP>", pl.Series(["took 5 ms at 10.0.0.1", "took 5 ms at 10.0.0.2"]))
    [Parameter(placeholder='<NUM>', values=('5 ms',), distinct=1),
     Parameter(placeholder='<IP>', values=('10.0.0.1', '10.0.0.2'), distinct=2)]
    """
    placeholders = _PLACEHOLDER.findall(template_text)
    if not placeholders:
        return []
    constants = [re.escape(constant).replace(r"\ ", r"\s+") for constant in _PLACEHOLDER.split(template_text)]
    regex = r"(?s)^\s*" + "(.*?)".join(constants) + r"(?:\s*$|\s*\n)"
    slots = masking.heads(texts.head(_SAMPLED)).str.extract_groups(regex).struct.unnest()
    return [_parameter(placeholder, slot) for placeholder, slot in zip(placeholders, slots, strict=True)]


def _parameter(placeholder: str, slot: pl.Series) -> Parameter:
    counted = Counter(value for value in slot if value is not None)
    ranked: Sequence[str] = sorted(counted, key=lambda value: (-counted[value], value))
    return Parameter(placeholder, tuple(ranked[:_TOP_VALUES]), len(ranked))


def _narrowed(tokens: list[str], seen: list[set[str]], crowd: int) -> list[str]:
    """The tokens, a new one as `<*>` where a crowd was seen at its position; the others are noted as seen."""
    narrowed = []
    for token, words in zip(tokens, seen, strict=True):
        if len(words) < crowd:
            words.add(token)
        narrowed.append(token if token in words else _WILDCARD)
    return narrowed


def _common(first: str, second: str) -> str:
    """What two texts of as many words share; a placeholder of two types is `<*>`, as is what differs."""
    return " ".join(
        one if one == other else untyped if (untyped := _untyped(one)) == _untyped(other) else _WILDCARD
        for one, other in zip(first.split(), second.split(), strict=True)
    )


def _untyped(text: str) -> str:
    return _PLACEHOLDER.sub(_WILDCARD, text)


def _template_id(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
