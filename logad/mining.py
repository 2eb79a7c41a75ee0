"""Mines log templates: gives every record the code of its template, through the few shapes there are."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypedDict, Unpack

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad import masking, pinning
from logad.ageing import ALWAYS, WEEK_MICROSECONDS
from logad.hashing import Hashes, HashTable, Numbers
from logad.lineage import Descent, Lineage
from logad.novelty import Novelty
from logad.placing import OVERFLOW, Placing, is_shape
from logad.remembering import Known
from logad.rules import Rules, load
from logad.shaping import MOST_BYTES, Loosened, Shaping
from logad.telemetry import Telemetry
from logad.types import Level, Template
from logad.words import Words, mixed

__all__ = ["OVERFLOW", "Miner", "MinerOptions"]

_NO_KEYS: Final = np.empty(0, dtype=np.uint64)


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
        self._most_shapes = most_shapes
        self._shaping = Shaping(self.rules, redact)
        self._placing = Placing(most_shapes, most_templates)
        self._standing = self._placing.standing
        self._seen = HashTable()  # loosened text and level -> code; may be forgotten at any time
        self._new_texts: dict[int, Loosened] = {}  # key -> what is to be learned
        self._novelty = Novelty()

    @property
    def vocabulary(self) -> tuple[Template, ...]:
        """All templates; the position is the code. Only grows, though a text may become more general."""
        return tuple(self._standing.templates)

    def assign(self, records: pl.DataFrame) -> pl.DataFrame:
        """The records with the column `template` (Int32): the code of each one's template."""
        level = pl.col("level").cast(pl.UInt8).fill_null(Level.UNKNOWN)
        keys = ["text", "level", *(name for name in ("service",) if name in records.columns)]
        texts = records.select(masking.heads(records["text"]), level, *keys[2:])
        first = []
        if "time" in records.columns:
            texts = texts.with_columns(records["time"], _week=_weeks(records["time"]))
            keys += ["_week"] if texts["_week"].n_unique() > 1 else []
            first = [pl.col("time").first()]
        distinct = texts.group_by(keys, maintain_order=True).agg(pl.len(), *first)
        distinct = distinct.with_columns(self.codes(distinct))
        found = texts.join(distinct, on=keys, how="left", maintain_order="left", nulls_equal=True)
        records = records.with_columns(found["template"])
        kept = self.kept(records["template"].to_numpy())
        return records if kept.all() else records.filter(kept)

    def kept(self, templates: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether each of these records is one that no rule ignores; the others are counted as dropped."""
        ignored = self._standing.owner(pinning.IGNORED)
        kept: NDArray[np.bool_] = templates != (-1 if ignored is None else ignored)
        lost = len(kept) - int(kept.sum())
        if self._telemetry is not None and lost:
            self._telemetry.records -= lost
            self._telemetry.drop("ignored", lost, lines=0)
        return kept

    def codes(self, distinct: pl.DataFrame) -> pl.Series:
        """The code (Int32) of each row's template; the rows in order of first appearance.

        Columns: `text`, the message without its header; `level`, a Level; `len`, how many records say so;
        if there, `service`, and `time`, that of the first of these records. Rows may say the same, though
        it is faster when they do not.
        """
        texts = masking.heads(distinct["text"]).str.slice(0, MOST_BYTES)
        distinct = distinct.with_columns(texts, pl.col("level").cast(pl.UInt8).fill_null(Level.UNKNOWN))
        levels = distinct["level"].to_numpy()
        keys = [self._keys(words, levels[part]) for part, words in self._shaping.loosened(texts)]
        known = len(self._standing.templates)
        codes = self._learned(distinct, np.concatenate([_NO_KEYS, *keys]))
        if self._telemetry is not None:
            self._telemetry.templates = len(self._standing.templates)
        self._count(distinct, codes, known)
        return pl.Series("template", codes, dtype=pl.Int32)

    def standing(self) -> NDArray[np.int32]:
        """For each code the one that stands for it by now: itself, or that which took its template in."""
        return np.fromiter(map(self._standing.of, range(len(self._standing.templates))), dtype=np.int32)

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
        if not self._standing.merged:
            return records
        return records.with_columns(pl.Series("template", self.standing()[records["template"].to_numpy()]))

    def shapes(self, since: int = 0) -> list[tuple[str, int]]:
        """What was learned in order, from number `since` on: distinct shapes, each with a level.

        Between them, of records with times, in which week which templates were seen: see `Placing.learned`.
        """
        return self._placing.learned(since)

    def crowds(self, since: int = 0) -> bytes:
        """The words learned at places where crowds of them may be, as hashes, from byte `since` on."""
        return self._shaping.crowds.learned(since)

    def lineage(self, since: int = 0) -> list[Descent]:
        """Which ids gave way to which, in order, from number `since` on."""
        return self._standing.lineage.since(since)

    def novelty(self) -> dict[str, float]:
        """New templates per 1,000 records of each service, all in all."""
        return self._novelty.rates()

    def family(self, template_id: str) -> tuple[str, ...]:
        """The id, then all others that were or are of the same template."""
        return self._standing.lineage.family(template_id)

    def aliases(self) -> dict[str, int]:
        """Ids of texts that became more general or part of another template, and the codes that stand now."""
        return self._standing.aliases()

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
        miner._shaping.crowds.learn(crowds)
        learned = list(shapes)
        known = pl.Series([shape for shape, _ in learned], dtype=pl.String)
        miner._placing.pins = pinning.told(known, miner.rules.templates)
        grave = miner._graveness(known)
        each = zip(learned, grave, strict=True)
        miner._placing.learn_again((shape, level, graver) for (shape, level), graver in each)
        if lineage is not None:
            miner._standing.lineage = Lineage(lineage)
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
        shapes = dict.fromkeys(each for part in (one, other) for each in part.shapes() if is_shape(each))
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
        miner._standing.lineage = lineage  # noqa: SLF001  (it is one of these)
        return miner

    def _ids(self, shapes: Iterable[tuple[str, int]]) -> Iterator[str | None]:
        """The ids of the templates that stand for shapes."""
        for shape in shapes:
            code = self._placing.known(shape)
            yield None if code is None else self._standing.template(code).template_id

    def _keys(self, words: Words, levels: NDArray[np.uint8]) -> Hashes:
        """A hash of each loosened message and its level; those not seen before are kept to be learned."""
        keys = words.keys() ^ mixed(levels.astype(np.uint64))
        unknown = np.flatnonzero(self._seen.numbers(keys) < 0)
        first = unknown[np.sort(np.unique(keys[unknown], return_index=True)[1])]
        first = first[[key not in self._new_texts for key in keys[first].tolist()]]
        self._new_texts |= zip(keys[first].tolist(), self._shaping.texts(words, first), strict=True)
        return keys

    def _learned(self, distinct: pl.DataFrame, keys: Hashes) -> NDArray[np.int32]:
        """The code of each row; what was not seen before is learned in order."""
        codes = self._seen.numbers(keys)
        weeks = _weeks(distinct["time"]).to_list() if "time" in distinct.columns else []
        if not self._new_texts:
            self._sight(codes, weeks)
            return codes.astype(np.int32)
        unknown = np.flatnonzero(codes < 0)
        services = _services(distinct)
        owned = keys[unknown] ^ services.gather(unknown).hash().to_numpy()
        _, at_first, inverse = np.unique(owned, return_index=True, return_inverse=True)
        first = unknown[np.sort(at_first)]
        number = np.argsort(np.argsort(at_first))[inverse]  # of each unknown row: which of the first ones
        shapes = self._shaping.shapes([self._new_texts[key] for key in keys[first].tolist()])
        self._new_texts.clear()
        self._placing.pins = pinning.told(pl.Series(shapes, dtype=pl.String), self.rules.templates)
        rows = distinct[first]
        times = rows["time"].to_list() if weeks else [None] * len(shapes)
        held = np.ones(len(shapes), dtype=np.bool_)
        grave = self._graveness(pl.Series(shapes, dtype=pl.String))
        each = zip(shapes, rows["level"].to_list(), grave, services.gather(first), times, strict=True)
        ends = [*first[1:].tolist(), len(codes)]
        self._sight(codes[: first[0]], weeks)
        found = np.empty(len(shapes), dtype=np.int64)
        for at, (shape, level, graver, service, self._standing.when) in enumerate(each):
            found[at] = self._placing.code(shape, level, grave=graver)
            if found[at] < 0:
                held[at] = False
                found[at] = self._placing.overflow(service)
            if weeks:
                part = slice(first[at], ends[at])
                inside = slice(*np.searchsorted(unknown, [part.start, part.stop]))
                codes[unknown[inside]] = found[number[inside]]
                self._sight(codes[part], weeks[part])
        self._standing.when = None
        if len(self._seen) > 2 * self._most_shapes:
            self._seen = HashTable()
        self._seen.add(keys[first[held]], found[held])
        codes[unknown] = found[number]
        if self._telemetry is not None and not held.all():
            lost = distinct["len"].to_numpy()[unknown[~held[number]]]
            self._telemetry.notes["template_overflow"] += int(lost.sum())
        return codes.astype(np.int32)

    def _sight(self, codes: Numbers, weeks: Sequence[int | None]) -> None:
        """Note in which weeks templates were seen, where there are times."""
        for code, week in zip(codes.tolist(), weeks, strict=False):
            self._placing.sighted(code, ALWAYS if week is None else week)

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


def _weeks(times: pl.Series) -> pl.Series:
    """In which week, counted from 1970, each time is."""
    return times.dt.epoch("us") // WEEK_MICROSECONDS


def _services(distinct: pl.DataFrame) -> pl.Series:
    if "service" in distinct.columns:
        return distinct["service"].fill_null("")
    return pl.repeat("", len(distinct), dtype=pl.String, eager=True)
