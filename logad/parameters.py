"""Reads what stands at the placeholders of templates, and keeps how it is distributed."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Final, Self

import polars as pl

from logad import masking
from logad.sketches import LONGEST_VALUE, Distinct, Frequent, Numbers, hashed

SCHEMA: Final = "logad.parameters/1"
PLACEHOLDER: Final = re.compile(r"<(?:[A-Z][A-Z0-9_]*|\*)>")
"""What stands for a variable in the text of a template."""
MOST_POSITIONS: Final = 50
"""Placeholders of one template that are looked at."""

_SHOWN: Final = 5  # values that are shown
_QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_NUMERIC: Final = frozenset({"<NUM>", "<*>"})
_MOSTLY: Final = 0.9  # numbers among the values of a position that holds numbers
_SIGNIFICANT: Final = 6  # digits shown of a quantile, which is good for two
_LONGEST_PATTERN: Final = 10_000  # characters; what a template says after that is not compared

_SPECIAL: Final = re.compile(r"([\\.+*?()|\[\]{}^$#&\-~])")
_FLATTENED: Final = re.compile(r"id00+|0x0|0{2,}")  # how values are written before masks are tried
_NUMBER: Final = (
    r"^([-+]?[0-9]{1,15}(?:\.[0-9]{1,15})?(?:[eE][-+]?[0-9]{1,2})?) ?(%|[A-Za-z]{0,7})(/s(?:ec)?)?$"
)
_TYPES: Final = {"s": "duration", "B": "size", "B/s": "rate", "%": "percentage", "": "number"}


def _units() -> Iterator[tuple[str, float, str]]:
    """Spelling, what one is worth, and the unit it is told in."""
    yield "", 1.0, ""
    yield "%", 1.0, "%"
    seconds = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    words = {
        "sec": 1.0,
        "secs": 1.0,
        "second": 1.0,
        "seconds": 1.0,
        "min": 60.0,
        "mins": 60.0,
        "hours": 3600.0,
    }
    yield from ((unit, worth, "s") for unit, worth in {**seconds, **words}.items())
    yield from ((unit, 1.0, "B") for unit in ("B", "b", "bytes"))
    for power, letter in enumerate(("kK", "M", "G", "T", "P"), start=1):
        for prefix in letter:
            yield from ((prefix + unit, 1024.0**power, "B") for unit in ("", "B", "b", "iB"))


_UNITS: Final = pl.DataFrame(list(_units()), schema=["spelt", "worth", "unit"], orient="row")


@dataclass(frozen=True, slots=True)
class Parameter:
    """How the values at one placeholder of a template are distributed, in bounded memory.

    Numbers are told in seconds, bytes, bytes a second or percent where they have such a unit (a kilobyte has
    1,024 bytes), each unit by itself.
    """

    placeholder: str
    count: int = 0  # values looked at
    numbers: Mapping[str, Numbers] = field(default_factory=dict)  # unit -> those that have it
    frequent: Frequent = field(default_factory=Frequent)
    distinct: Distinct = field(default_factory=Distinct)
    examples: tuple[str, ...] = ()  # some values, each as likely as any other, however often it came

    @classmethod
    def of(cls, placeholder: str, values: pl.Series) -> Self:
        """The sketch of these values; nulls are left out.

        >>> took = Parameter.of("<NUM>", pl.Series(["5 ms", "7 ms", "1 s"]))
        >>> took.type, took.distinct.estimate, took.numbers["s"].maximum
        ('duration', 3, 1.0)
        """
        values = values.drop_nulls()
        numbers = _numbers(values) if placeholder in _NUMERIC else {}
        some = _examples(values.unique())
        return cls(placeholder, len(values), numbers, Frequent.of(values), Distinct.of(values), some)

    def merge(self, other: Self) -> Self:
        """The sketch of both together."""
        units = sorted({*self.numbers, *other.numbers})
        return type(self)(
            self.placeholder,
            self.count + other.count,
            {
                unit: self.numbers.get(unit, Numbers()).merge(other.numbers.get(unit, Numbers()))
                for unit in units
            },
            self.frequent.merge(other.frequent),
            self.distinct.merge(other.distinct),
            _examples(pl.Series([*{*self.examples, *other.examples}], dtype=pl.String)),
        )

    @property
    def unit(self) -> str | None:
        """What nearly all values are told in ("" for bare numbers); None where they are no numbers."""
        unit = max(self.numbers, key=lambda unit: self.numbers[unit].count, default=None)
        return unit if unit is not None and self.numbers[unit].count >= _MOSTLY * self.count else None

    @property
    def type(self) -> str:
        """What stands here: number, duration, size, rate, percentage, text, or what the mask calls it."""
        if self.unit is not None:
            return _TYPES[self.unit]
        return "text" if self.placeholder in _NUMERIC else self.placeholder[1:-1].lower()

    def told(self) -> dict[str, Any]:
        """As `templates --format jsonl` writes it."""
        known = dict.fromkeys([*(value for value, _ in self.frequent.ranked()), *self.examples])
        told = {
            "placeholder": self.placeholder,
            "type": self.type,
            "count": self.count,
            "distinct": min(self.distinct.estimate, self.count),
            "values": list(known)[:_SHOWN],
        }
        if self.unit is not None:
            numbers = self.numbers[self.unit]
            quantiles = {f"{share:g}": _rounded(numbers.quantile(share)) for share in _QUANTILES}
            told |= {
                "unit": self.unit,
                "min": numbers.minimum,
                "max": numbers.maximum,
                "quantiles": quantiles,
            }
        return told

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "placeholder": self.placeholder,
            "count": self.count,
            "numbers": {unit: numbers.as_dict() for unit, numbers in self.numbers.items()},
            "frequent": self.frequent.as_dict(),
            "distinct": self.distinct.as_dict(),
            "examples": list(self.examples),
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """What `as_dict` gave."""
        return cls(
            told["placeholder"],
            told["count"],
            {unit: Numbers.from_dict(numbers) for unit, numbers in told["numbers"].items()},
            Frequent.from_dict(told["frequent"]),
            Distinct.from_dict(told["distinct"]),
            tuple(told["examples"]),
        )


def parameters(
    template: str, texts: pl.Series, redact: Callable[[str], str] | None = None
) -> tuple[Parameter, ...]:
    """What stands at each placeholder of a template, in these texts; at most its first MOST_POSITIONS.

    Texts that the template does not give back word for word are left out. Secrets are taken out of the texts
    first, where `redact` knows them, so that none is in a sketch.

    >>> place, = parameters("login from <IP>", pl.Series(["login from 10.0.0.1", "login from 10.0.0.2"]))
    >>> place.type, place.frequent.ranked()
    ('ip', [('10.0.0.1', 1), ('10.0.0.2', 1)])
    """
    places = PLACEHOLDER.findall(template)[:MOST_POSITIONS]
    if not places:
        return ()
    if redact is not None:
        texts = _redacted(texts, redact)
    return tuple(map(Parameter.of, places, values(template, texts)))


def values(template: str, texts: pl.Series) -> list[pl.Series]:
    """What each text has at each placeholder of a template; null where the template does not fit.

    >>> [column.to_list() for column in values("took <NUM> at <IP>", pl.Series(["took 5 s at ::1", "no"]))]
    [['5 s', None], ['::1', None]]
    """
    constants, end = _constants(template)
    if len(constants) < 2:  # noqa: PLR2004  (before and behind the first placeholder)
        return []
    pattern = rf"(?s)^\s*{'(.*?)'.join(constants)}{end}"
    return _groups(texts, pattern)[: len(constants) - 1]


def located(template: str, texts: pl.Series, chosen: Sequence[int]) -> list[tuple[pl.Series, pl.Series]]:
    """For each of the chosen placeholders, ascending: what each text has since the last one, and at it.

    Null where the template does not fit. Placeholders that are not looked at are left out.

    >>> (before, value), = located("<IP> took <NUM>", pl.Series(["::1 took 5 s"]), [1])
    >>> before[0], value[0]
    ('::1 took ', '5 s')
    """
    constants, end = _constants(template)
    chosen = [place for place in chosen if place < len(constants) - 1]
    if not chosen:
        return []
    pattern = rf"(?s)^(\s*{constants[0]}"
    for place, constant in enumerate(constants[1:]):
        pattern += f")(.*?)({constant}" if place in chosen else f".*?{constant}"
    columns = _groups(texts, f"{pattern}){end}")
    return list(zip(columns[: 2 * len(chosen) : 2], columns[1::2], strict=True))


def quantities(texts: pl.Series) -> pl.DataFrame:
    """The number that each text is: `value`, in base units, and `unit`; both null where it is none.

    >>> quantities(pl.Series(["2 kB", "5 ms", "-7", "soon"])).rows()
    [(2048.0, 'B'), (0.005, 's'), (-7.0, ''), (None, None)]
    """
    read = texts.str.extract_groups(_NUMBER).struct.unnest()
    read.columns = ["number", "spelt", "rate"]
    told = read.with_columns(pl.col("spelt").fill_null("")).join(
        _UNITS, on="spelt", how="left", maintain_order="left"
    )
    told = told.select(
        value=pl.col("number").cast(pl.Float64) * pl.col("worth"),
        unit=pl.when(pl.col("rate").is_null()).then("unit").otherwise(pl.col("unit") + "/s"),
    )
    known = pl.col("value").is_not_null() & pl.col("unit").is_in(list(_TYPES))
    return told.select(pl.when(known).then(pl.col(name)).alias(name) for name in ("value", "unit"))


@dataclass(frozen=True, slots=True)
class Sketches:
    """The parameters of many templates, by the text of the template.

    >>> first = Sketches.of(pl.Series(["took <NUM>"]), pl.Series(["took 5 ms"]))
    >>> both = first.update(pl.Series(["took <NUM>"]), pl.Series(["took 7 ms"]))
    >>> both.templates["took <NUM>"][0].numbers["s"].maximum
    0.007
    >>> Sketches.from_dict(both.as_dict()) == both
    True
    """

    templates: Mapping[str, tuple[Parameter, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, templates: pl.Series, texts: pl.Series, redact: Callable[[str], str] | None = None) -> Self:
        """The sketches of records: the text of each one's template, and its own text."""
        frame = pl.DataFrame({"template": templates, "text": texts})
        parts = frame.partition_by("template", maintain_order=True)
        found = {part["template"][0]: parameters(part["template"][0], part["text"], redact) for part in parts}
        return cls({template: places for template, places in found.items() if places})

    def update(
        self, templates: pl.Series, texts: pl.Series, redact: Callable[[str], str] | None = None
    ) -> Self:
        """These with more records."""
        return self.merge(type(self).of(templates, texts, redact))

    def merge(self, other: Self) -> Self:
        """The sketches of both together."""
        merged = dict(self.templates)
        for template, places in other.templates.items():
            known = merged.get(template)
            merged[template] = (
                places
                if known is None
                else tuple(one.merge(more) for one, more in zip(known, places, strict=True))
            )
        return type(self)(merged)

    def as_dict(self) -> dict[str, Any]:
        """As JSON, with its version."""
        told = {
            template: [place.as_dict() for place in places] for template, places in self.templates.items()
        }
        return {"schema": SCHEMA, "templates": told}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """What `as_dict` gave.

        Raises:
            ValueError: it is of another version.
        """
        if told.get("schema") != SCHEMA:
            raise ValueError(f"found the schema {told.get('schema')!r}; expected {SCHEMA!r}")
        read = {
            template: tuple(Parameter.from_dict(place) for place in places)
            for template, places in told["templates"].items()
        }
        return cls(read)


def _examples(values: pl.Series) -> tuple[str, ...]:
    """The values, cut, with the smallest hashes."""
    values = values.str.slice(0, LONGEST_VALUE).unique()
    frame = pl.DataFrame({"value": values, "hash": hashed(values)})
    return tuple(frame.bottom_k(_SHOWN, by="hash").sort("hash")["value"])


def _numbers(texts: pl.Series) -> dict[str, Numbers]:
    """The numbers among texts by the unit they are told in."""
    told = quantities(texts).drop_nulls().sort("unit", maintain_order=True)
    parts = told.partition_by("unit", maintain_order=True)
    return {part["unit"][0]: Numbers.of(part["value"].to_numpy()) for part in parts}


def _groups(texts: pl.Series, pattern: str) -> list[pl.Series]:
    return masking.heads(texts).str.extract_groups(pattern).struct.unnest().get_columns()


def _constants(template: str) -> tuple[list[str], str]:
    """Regexes of what stands around the placeholders that are looked at, and of the end."""
    constants = PLACEHOLDER.split(template)
    told: list[str] = []
    length = 0
    for constant in constants[: MOST_POSITIONS + 1]:
        if length + len(constant) > _LONGEST_PATTERN:
            break
        told.append(_constant(constant))
        length += len(told[-1])
    return told, r"(?:\s*$|\s*\n)" if len(told) == len(constants) else ""


def _constant(text: str) -> str:
    """A regex of a constant, which may hold what is left of a value that was flattened."""
    pieces = zip_longest(_FLATTENED.split(text), _FLATTENED.findall(text), fillvalue="")
    told = "".join(_SPECIAL.sub(r"\\\1", piece) + ("[0-9A-Za-z]*" if flat else "") for piece, flat in pieces)
    return told.replace(" ", r"\s+")


def _redacted(texts: pl.Series, redact: Callable[[str], str]) -> pl.Series:
    """The texts without secrets."""
    told = {text: redact(text) for text in texts.unique().drop_nulls()}
    secret = {text: shown for text, shown in told.items() if text != shown}
    return texts.replace(secret) if secret else texts


def _rounded(number: float) -> float:
    return float(f"{number:.{_SIGNIFICANT}g}")
