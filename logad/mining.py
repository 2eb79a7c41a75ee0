"""Mines log templates: words at crowded places and masks make records into few shapes, Drain joins shapes."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import reduce
from typing import Final, TypedDict, Unpack

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad import masking, pinning
from logad.crowding import Crowds
from logad.draining import VARIED, FlatDrain
from logad.hashing import HashTable
from logad.lineage import Descent, Lineage
from logad.merging import WILDCARD, Merge, Siblings, generalised
from logad.novelty import Novelty
from logad.remembering import Known
from logad.rules import Rules, load
from logad.telemetry import Telemetry
from logad.template_texts import PLACEHOLDER, as_compared, common, template_id, tidy, varied
from logad.types import Level, Template
from logad.words import Flat, Hashes, Words, mixed

OVERFLOW: Final = "<overflow>"
"""Text of the template that holds what came after the miner was full."""

_MOST_OVERFLOWS: Final = 1_000
_MOST_BYTES: Final = 1 << 16  # of a text that are looked at
_PIECE_TEXTS: Final = 1 << 14  # looked at together; outcomes do not depend on it
_PIECE_BYTES: Final = 1 << 20
_TAIL: Final = re.compile(rf"({PLACEHOLDER.pattern}) <\*>$")
_NO_KEYS: Final = np.empty(0, dtype=np.uint64)

_SEVERITY: Final = {
    Level.UNKNOWN: 1,
    Level.DEBUG: 0,
    Level.INFO: 0,
    Level.WARN: 2,
    Level.ERROR: 3,
    Level.FATAL: 3,
}
_GRAVEST: Final = 3


class MinerOptions(TypedDict, total=False):
    """What bounds a miner, and what takes secrets out of shapes."""

    most_shapes: int
    most_templates: int
    redact: Callable[[str], str] | None


class Miner:
    """Gives every record the code of its template; never takes a code back, unless asked to settle.

    Codes, texts and ids depend on the records and their order alone, not on how they were cut into
    batches. What it knows is a list of shapes, and the words seen where crowds of them are: learning these
    again in order (`rebuilt`) gives the same. It holds at most `most_shapes` shapes and `most_templates`
    templates; what fits none of them after that is of the service's template `<overflow>` and counted in
    the telemetry's notes. Drain: He et al. 2017.

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
        self._flat = Flat()
        self._crowds = Crowds(self._kinds_of, pinning.words(self.rules.templates))
        self._seen = HashTable()  # loosened text and level -> code; may be forgotten at any time
        self._drains = FlatDrain(), FlatDrain()  # of what is not grave by its words, and of what is
        self._siblings = Siblings()
        self._shapes: dict[tuple[str, int], int] = {}  # (shape, level) -> code, in order of first appearance
        self._codes: dict[str, int] = {}  # shape -> code
        self._pins: dict[str, str] = {}  # of the shapes at hand, what the user's rules say -> template text
        self._owners: dict[str, int] = {}  # template text, past ones too -> code
        self._untyped: dict[tuple[str, ...], int] = {}  # words of a template as it was opened -> code
        self._opened: dict[tuple[bool, int], int] = {}  # Drain's cluster -> the code it was opened for
        self._clusters: dict[int, tuple[FlatDrain, int]] = {}  # the other way
        self._templates: list[Template] = []
        self._merged: dict[int, int] = {}  # code -> the code that stands for it by now
        self._lineage = Lineage()
        self._overflows = 0
        self._novelty = Novelty()
        self._new_texts: dict[int, tuple[str, bool]] = {}  # key -> loosened text to learn, and if it was cut
        self._when: datetime | None = None  # the time of the record that is being learned from

    @property
    def vocabulary(self) -> tuple[Template, ...]:
        """All templates; the position is the code. Only grows, though a text may become more general."""
        return tuple(self._templates)

    def assign(self, records: pl.DataFrame) -> pl.DataFrame:
        """The records with the column `template` (Int32): the code of each one's template."""
        level = pl.col("level").cast(pl.UInt8).fill_null(Level.UNKNOWN)
        keys = ["text", "level", *(name for name in ("service",) if name in records.columns)]
        texts = records.select(masking.heads(records["text"]), level, *keys[2:])
        if "time" in records.columns:
            texts = texts.with_columns(records["time"])
        first = [pl.col("time").first()] if "time" in texts.columns else []
        distinct = texts.group_by(keys, maintain_order=True).agg(pl.len(), *first)
        distinct = distinct.with_columns(self.codes(distinct))
        found = texts.join(distinct, on=keys, how="left", maintain_order="left", nulls_equal=True)
        records = records.with_columns(found["template"])
        kept = self.kept(records["template"].to_numpy())
        return records if kept.all() else records.filter(kept)

    def kept(self, templates: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether each of these records is one that no rule ignores; the others are counted as dropped."""
        kept: NDArray[np.bool_] = templates != self._owners.get(pinning.IGNORED, -1)
        ignored = len(kept) - int(kept.sum())
        if self._telemetry is not None and ignored:
            self._telemetry.records -= ignored
            self._telemetry.drop("ignored", ignored, lines=0)
        return kept

    def codes(self, distinct: pl.DataFrame) -> pl.Series:
        """The code (Int32) of each row's template; the rows in order of first appearance.

        Columns: `text`, the message without its header; `level`, a Level; `len`, how many records say so;
        if there, `service`, and `time`, that of the first of these records. Rows may say the same, though
        it is faster when they do not.
        """
        texts = masking.heads(distinct["text"]).str.slice(0, _MOST_BYTES)
        distinct = distinct.with_columns(texts, pl.col("level").cast(pl.UInt8).fill_null(Level.UNKNOWN))
        keys = [self._keys(distinct[begin:end]) for begin, end in _pieces(texts)]
        known = len(self._templates)
        codes = self._learned(distinct, np.concatenate([_NO_KEYS, *keys]))
        if self._telemetry is not None:
            self._telemetry.templates = len(self._templates)
        self._count(distinct, codes, known)
        return pl.Series("template", codes, dtype=pl.Int32)

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

    def crowds(self, since: int = 0) -> bytes:
        """The words learned at places where crowds of them may be, as hashes, from byte `since` on."""
        return self._crowds.learned(since)

    def lineage(self, since: int = 0) -> list[Descent]:
        """Which ids gave way to which, in order, from number `since` on."""
        return self._lineage.since(since)

    def novelty(self) -> dict[str, float]:
        """New templates per 1,000 records of each service, all in all."""
        return self._novelty.rates()

    def family(self, template_id: str) -> tuple[str, ...]:
        """The id, then all others that were or are of the same template."""
        return self._lineage.family(template_id)

    def aliases(self) -> dict[str, int]:
        """Ids of texts that became more general or part of another template, and the codes that stand now."""
        current = {self._templates[self._standing(code)].template_id for code in range(len(self._templates))}
        ids = ((template_id(text), self._standing(code)) for text, code in self._owners.items())
        return {past: code for past, code in ids if past not in current}

    @classmethod
    def rebuilt(
        cls,
        shapes: Iterable[tuple[str, int]],
        rules: Rules | None = None,
        telemetry: Telemetry | None = None,
        *,
        crowds: bytes = b"",
        lineage: Iterable[Descent] | None = None,
        **options: Unpack[MinerOptions],
    ) -> "Miner":
        """A miner that knows what the one with these shapes and crowds knew: same codes, same ids.

        >>> miner = Miner()
        >>> _ = miner.assign(pl.DataFrame({"text": ["took 5 ms", "disk failed"], "level": [2, 2]}))
        >>> Miner.rebuilt(miner.shapes(), crowds=miner.crowds()).vocabulary == miner.vocabulary
        True
        """
        miner = cls(rules, telemetry, **options)
        miner._crowds.learn(crowds)
        learned = list(shapes)
        known = pl.Series([shape for shape, _ in learned], dtype=pl.String)
        miner._pins = pinning.told(known, miner.rules.templates)
        grave = miner._graveness(known)
        for (shape, level), graver in zip(learned, grave, strict=True):
            miner._code(shape, level, graver=graver)
        if lineage is not None:
            miner._lineage = Lineage(lineage)
        return miner

    def state(self) -> bytes:
        """All that it knows, as JSON with a checksum.

        >>> miner = Miner()
        >>> _ = miner.assign(pl.DataFrame({"text": ["took 5 ms", "disk failed"], "level": [2, 2]}))
        >>> Miner.restored(miner.state()).vocabulary == miner.vocabulary
        True
        """
        crowds = np.frombuffer(self.crowds(), dtype=[("place", "<u8"), ("word", "<u8")])
        return Known(self.shapes(), np.sort(crowds).tobytes(), self.lineage()).as_bytes()

    @classmethod
    def restored(
        cls,
        state: bytes,
        rules: Rules | None = None,
        telemetry: Telemetry | None = None,
        *,
        where: str = "templates",
        **options: Unpack[MinerOptions],
    ) -> "Miner":
        """The miner with this state: same codes, same ids.

        Raises:
            StateError: it is damaged, or a newer logad wrote it; `where` says what it is.
        """
        known = Known.from_bytes(state, where)
        lineage = known.lineage if known.crowds or known.lineage else None
        return cls.rebuilt(known.shapes, rules, telemetry, crowds=known.crowds, lineage=lineage, **options)

    @classmethod
    def merged(cls, one: "Miner", other: "Miner", **options: Unpack[MinerOptions]) -> "Miner":
        """A miner that knows what both know, with the rules of the first; its codes are those of the first.

        The ids agree whichever is first, as far as what is one template does not depend on the order.
        """
        shapes = dict.fromkeys([*one.shapes(), *other.shapes()])
        miner = cls.rebuilt(shapes, one.rules, crowds=one.crowds() + other.crowds(), **options)
        told = {(event.was_id, event.became_id): event for event in (*other.lineage(), *one.lineage())}
        events = [*one.lineage(), *other.lineage(), *miner.lineage()]
        each = dict.fromkeys((event.was_id, event.became_id) for event in events)
        shown = {(event.was_id, event.became_id): event for event in miner.lineage()}
        lineage = Lineage((shown | told)[key] for key in each)
        for part in (one, other):
            for was, became in zip(part._ids(shapes), miner._ids(shapes), strict=True):  # noqa: SLF001
                if was is not None and became is not None and became not in lineage.family(was):
                    lineage.add(Descent(was, became, None, "two miners became one"))
        miner._lineage = lineage  # noqa: SLF001  (it is one of these)
        return miner

    def _ids(self, shapes: Iterable[tuple[str, int]]) -> Iterator[str | None]:
        """The ids of the templates that stand for shapes."""
        for shape in shapes:
            code = self._shapes.get(shape)
            yield None if code is None else self._templates[self._standing(code)].template_id

    def _keys(self, distinct: pl.DataFrame) -> Hashes:
        """A hash of each row's loosened text and level; texts not seen before are kept to be learned."""
        words = Words.of(distinct["text"].to_list())
        self._flat.flatten(words)
        self._crowds.loosen(words, self._flat)
        keys = words.keys() ^ mixed(distinct["level"].to_numpy().astype(np.uint64))
        unknown = np.flatnonzero(self._seen.numbers(keys) < 0)
        first = unknown[np.sort(np.unique(keys[unknown], return_index=True)[1])]
        first = first[[key not in self._new_texts for key in keys[first].tolist()]]
        texts = zip(self._crowds.texts(words, self._flat, first), words.cut[first].tolist(), strict=True)
        self._new_texts |= zip(keys[first].tolist(), texts, strict=True)
        return keys

    def _learned(self, distinct: pl.DataFrame, keys: Hashes) -> NDArray[np.int32]:
        """The code of each row; what was not seen before is learned in order."""
        codes = self._seen.numbers(keys)
        if not self._new_texts:
            return codes.astype(np.int32)
        unknown = np.flatnonzero(codes < 0)
        services = _services(distinct)
        owned = keys[unknown] ^ services.gather(unknown).hash().to_numpy()
        _, at_first, inverse = np.unique(owned, return_index=True, return_inverse=True)
        first = unknown[np.sort(at_first)]
        shapes = self._shapes_of([self._new_texts[key] for key in keys[first].tolist()])
        self._new_texts.clear()
        self._pins = pinning.told(pl.Series(shapes, dtype=pl.String), self.rules.templates)
        rows = distinct[first]
        times = rows["time"].to_list() if "time" in rows.columns else [None] * len(shapes)
        found = np.empty(len(shapes), dtype=np.int64)
        held = np.ones(len(shapes), dtype=np.bool_)
        grave = self._graveness(pl.Series(shapes, dtype=pl.String))
        each = zip(shapes, rows["level"].to_list(), grave, services.gather(first), times, strict=True)
        for at, (shape, level, graver, service, self._when) in enumerate(each):
            found[at] = self._code(shape, level, graver=graver)
            if found[at] < 0:
                held[at] = False
                found[at] = self._overflow(service)
        self._when = None
        if len(self._seen) > 2 * self._most_shapes:
            self._seen = HashTable()
        self._seen.add(keys[first[held]], found[held])
        number = np.argsort(np.argsort(at_first))[inverse]
        codes[unknown] = found[number]
        if self._telemetry is not None and not held.all():
            lost = distinct["len"].to_numpy()[unknown[~held[number]]]
            self._telemetry.notes["template_overflow"] += int(lost.sum())
        return codes.astype(np.int32)

    def _shapes_of(self, texts: Sequence[tuple[str, bool]]) -> list[str]:
        """The shapes of loosened texts; those that were cut end in a variable."""
        shapes = masking.masked(
            pl.Series([text for text, _ in texts], dtype=pl.String), self.rules.masks
        ).to_list()
        shapes = [
            _TAIL.sub(r"\1", shape) if cut else shape for shape, (_, cut) in zip(shapes, texts, strict=True)
        ]
        return shapes if self._redact is None else [self._redact(shape) for shape in shapes]

    def _kinds_of(self, words: list[str]) -> list[str]:
        """What stands for words where many of their kind were seen: placeholders, and the punctuation."""
        shapes = masking.masked(pl.Series(words, dtype=pl.String), self.rules.masks)
        return [
            shape if PLACEHOLDER.search(shape) and " " not in shape else generalised([word])
            for word, shape in zip(words, shapes, strict=True)
        ]

    def _count(self, distinct: pl.DataFrame, codes: NDArray[np.int32], known: int) -> None:
        """Tell how many templates are new, of which service, and if they are a flood."""
        services = _services(distinct)
        records = pl.DataFrame({"service": services, "len": distinct["len"]}).group_by("service").sum()
        fresh, first = np.unique(codes, return_index=True)
        new = Counter(services.gather(first[fresh >= known]))
        flood = self._novelty.count(dict(records.iter_rows()), new)
        if self._telemetry is not None and flood:
            self._telemetry.notes["template_flood"] += flood

    def _graveness(self, shapes: pl.Series) -> list[bool]:
        return shapes.str.contains(self._grave).to_list()

    def _code(self, shape: str, level: int, *, graver: bool) -> int:
        """The code of a shape, learned if it is new; -1 where there is no room for it."""
        code = self._shapes.get((shape, level))
        if code is not None:
            return code
        if shape == OVERFLOW or shape.startswith(f"{OVERFLOW} "):
            return self._overflowing(shape)
        code = self._codes.get(shape)
        if len(self._shapes) >= self._most_shapes:
            return -1 if code is None else code
        if code is None:
            code = self._pinned(shape) if shape in self._pins else self._place(shape, grave=graver)
            if code < 0:
                return code
            self._codes[shape] = code
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

    def _place(self, shape: str, *, grave: bool) -> int:
        """The code of the template a new shape belongs to, its text brought up to date; -1 if all are taken.

        The types of placeholders do not count: `from <IP>` and `from <HOST>` are `from <*>`.
        """
        text = tidy(shape)
        if text in self._owners:
            return self._standing(self._owners[text])
        typed, tokens = text.split(), as_compared(text).split()
        key = (*tokens, "grave" if grave else "")
        code = self._untyped.get(key)
        if code is not None:
            self._generalise(code, text)
            return self._standing(code)
        sibling = self._siblings.known(tokens, grave=grave)
        if sibling is not None:
            return self._standing(sibling)
        varied = [VARIED if kind == WILDCARD else token for kind, token in zip(typed, tokens, strict=True)]
        drain = self._drains[grave]
        if len(self._templates) >= self._most_templates:
            cluster = drain.found(varied)
            return -1 if cluster is None else self._standing(self._opened[grave, cluster])
        alike = drain.alike(varied) if VARIED in varied else []
        cluster = drain.code_of(varied)
        known = self._opened.get((grave, cluster))
        if known is not None:
            if len(alike) > 1:
                self._unite(Merge(tuple(self._opened[grave, each] for each in alike), {}, "words vary"))
            self._generalise(known, text)
            return self._standing(known)
        code = self._untyped[key] = self._new(text)
        self._opened[grave, cluster] = code
        self._clusters[code] = drain, cluster
        merge = self._siblings.add(code, tokens, grave=grave)
        if merge is not None:
            self._unite(merge)
        return self._standing(code)

    def _generalise(self, code: int, text: str) -> None:
        """Let the template that stands for a code say what it has in common with a text."""
        code = self._standing(code)
        shared = common(self._templates[code].text, text)
        if shared != self._templates[code].text:
            self._let_stand({code}, shared, "a place of several kinds")

    def _unite(self, merge: Merge) -> None:
        """Let one of several templates stand for all."""
        members = {self._standing(code) for code in merge.codes}
        if len(members) > 1:
            texts = [self._templates[code].text for code in sorted(members)]
            words = reduce(common, texts).split(" ")
            columns = list(zip(*(text.split(" ") for text in texts), strict=False))
            for at, told in merge.words.items():
                alike = len(columns) == len(words) and len(set(columns[at])) > 1
                words[at] = generalised(columns[at]) if alike else told
            text = " ".join(words)
            self._let_stand(members, text, merge.reason)

    def _let_stand(self, members: set[int], text: str, reason: str) -> None:
        """Let one template with this text stand for all members, and for those that have the text already."""
        keeper = None
        while (owner := self._owners.get(text)) is not None:
            members.add(self._standing(owner))
            keeper = owner
            more = common(text, self._templates[owner].text)
            if more == text:
                break
            text = more
        else:
            keeper = None
        if keeper is None:
            keeper = min(members)
        was = {code: self._templates[code].template_id for code in sorted(members)}
        self._merged.pop(keeper, None)
        self._merged |= dict.fromkeys(members - {keeper}, keeper)
        if text not in self._owners:
            self._owners[text] = keeper
            known = self._templates[keeper]
            self._templates[keeper] = replace(known, text=text, template_id=template_id(text))
        for member in sorted(members):
            template = self._templates[member]
            self._raise(keeper, template.severity, alarming=template.alarming)
        became = self._templates[keeper].template_id
        for past in was.values():
            if past != became:
                self._lineage.add(Descent(past, became, self._when, reason))
        for member in members - {keeper}:
            drain, cluster = self._clusters[member]
            drain.forget(cluster)
        drain, cluster = self._clusters[keeper]
        drain.become(cluster, varied(self._templates[keeper].text.split()))

    def _standing(self, code: int) -> int:
        while code in self._merged:
            code = self._merged[code]
        return code

    def _pinned(self, shape: str) -> int:
        """The code of the template a rule gives a shape: never made more general; -1 if all are taken."""
        text = self._pins[shape]
        code = self._owners.get(text)
        if code is not None and self._templates[code].text == text:
            return code
        return self._new(text) if len(self._templates) < self._most_templates else -1

    def _new(self, text: str) -> int:
        code = len(self._templates)
        self._owners[text] = code
        self._templates.append(Template(code, template_id(text), text, 0))
        return code

    def _overflow(self, service: str) -> int:
        """The code of what there was no room for, of one service."""
        return self._overflowing(f"{OVERFLOW} {service}".rstrip())

    def _overflowing(self, text: str) -> int:
        """The code of an overflow; of many services together, if there are very many."""
        code = self._owners.get(text)
        if code is None and self._overflows >= _MOST_OVERFLOWS:
            text = OVERFLOW
            code = self._owners.get(text)
        if code is None:
            self._overflows += 1
            code = self._new(text)
            self._shapes[text, int(Level.UNKNOWN)] = code
        return code


def _services(distinct: pl.DataFrame) -> pl.Series:
    if "service" in distinct.columns:
        return distinct["service"].fill_null("")
    return pl.repeat("", len(distinct), dtype=pl.String, eager=True)


def _pieces(texts: pl.Series) -> Iterator[tuple[int, int]]:
    """Where to cut a column, so that each piece and its arrays are small."""
    sizes = np.cumsum(texts.str.len_bytes().to_numpy(), dtype=np.int64)
    begin = 0
    while begin < len(texts):
        before = sizes[begin - 1] if begin else 0
        most = int(np.searchsorted(sizes, before + _PIECE_BYTES, side="right"))
        end = max(begin + 1, min(begin + _PIECE_TEXTS, most))
        yield begin, end
        begin = end
