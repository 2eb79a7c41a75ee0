"""Distributions in bounded memory that merge: of numbers, of the most frequent values, of how many differ.

None draws lots: the same values give the same sketch in every process. Numbers and cardinalities merge
exactly, in any order and grouping; frequent values commute exactly, and keep their bound however grouped.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

RELATIVE_ERROR: Final = 0.01
"""A quantile is off by no more than this share of itself."""
SMALLEST: Final = 1e-9
"""Numbers nearer to nothing count as nothing."""
LARGEST: Final = 1e18
"""Numbers further from nothing count as this far; minimum and maximum stay exact."""
MOST_VALUES: Final = 64
"""Values that are counted at once."""
LONGEST_VALUE: Final = 200
"""Characters kept of a value."""
MOST_HASHES: Final = 256
"""As many different values are counted exactly; beyond, the standard error is 1 / sqrt(254), 6.3 %."""

_GAMMA: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA: Final = float(np.log(_GAMMA))
_LOWEST: Final = int(np.ceil(np.log(SMALLEST) / _LOG_GAMMA))
_HIGHEST: Final = int(np.ceil(np.log(LARGEST) / _LOG_GAMMA))

# Odd, so that it has an inverse modulo 2 ** 64 (Python's pow gives it).
_BASE: Final = 0x9E3779B97F4A7C15
_BASE_INVERSE: Final = pow(_BASE, -1, 1 << 64)
_HASHES: Final = float(1 << 64)
_PIECE: Final = 1 << 20  # bytes hashed at once: each takes some fifty of memory


@dataclass(frozen=True, slots=True)
class Numbers:
    """How numbers are distributed: counts in buckets that grow by 2 % (DDSketch: Masson et al. 2019).

    The range of the buckets is fixed, so there are never more than 6,221 of them, and merging is adding.

    >>> times = Numbers.of(np.array([0.1, 0.2, 0.2, 4.0]))
    >>> times.minimum, times.maximum, round(times.quantile(0.5), 2)
    (0.1, 4.0, 0.2)
    >>> times.merge(Numbers.of(np.array([9.0]))).count
    5
    """

    count: int = 0
    minimum: float = float("inf")
    maximum: float = float("-inf")
    buckets: Mapping[int, int] = field(default_factory=dict)  # signed bucket -> numbers in it; in order

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Self:
        """The sketch of these; what is not finite is left out."""
        values = values[np.isfinite(values)]
        if not len(values):
            return cls()
        buckets, counts = np.unique(_buckets(values), return_counts=True)
        told = dict(zip(buckets.tolist(), counts.tolist(), strict=True))
        return cls(len(values), float(values.min()), float(values.max()), told)

    def merge(self, other: Self) -> Self:
        """The sketch of both together; exactly that of all values at once."""
        both = Counter(self.buckets)
        both.update(other.buckets)
        return type(self)(
            self.count + other.count,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            dict(sorted(both.items())),
        )

    def quantile(self, share: float) -> float:
        """The number that this share of the others, 0 to 1, does not exceed; within RELATIVE_ERROR of it."""
        if not self.count:
            return float("nan")
        rank = int(share * (self.count - 1))
        below = np.cumsum(list(self.buckets.values()))
        bucket = list(self.buckets)[int(np.searchsorted(below, rank, side="right"))]
        return min(max(_middle(bucket), self.minimum), self.maximum)

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        if not self.count:
            return {"count": 0}
        buckets = [list(each) for each in self.buckets.items()]
        return {"count": self.count, "min": self.minimum, "max": self.maximum, "buckets": buckets}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """What `as_dict` gave."""
        if not told["count"]:
            return cls()
        return cls(told["count"], told["min"], told["max"], dict(told["buckets"]))


@dataclass(frozen=True, slots=True)
class Frequent:
    """The most frequent values (Misra and Gries 1982; merged as in Agarwal et al. 2012).

    No count is too high, and none is too low by more than `missed`, which is at most count / 65. A value that
    is not there came no more than `missed` times.

    >>> seen = Frequent.of(pl.Series(["GET", "GET", "POST"]))
    >>> seen.ranked()
    [('GET', 2), ('POST', 1)]
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    missed: int = 0

    @classmethod
    def of(cls, values: pl.Series) -> Self:
        """The sketch of these; nulls are left out, values are kept to LONGEST_VALUE characters."""
        counted = values.drop_nulls().cast(pl.String).str.slice(0, LONGEST_VALUE).value_counts(name="times")
        if counted.height <= MOST_VALUES:
            return cls(dict(counted.iter_rows()))
        highest = counted.top_k(MOST_VALUES + 1, by="times")
        cut = int(highest["times"].min())  # type: ignore[arg-type]
        kept = highest.filter(pl.col("times") > cut).with_columns(pl.col("times") - cut)
        return cls(dict(kept.iter_rows()), cut)

    def merge(self, other: Self) -> Self:
        """The sketch of both together."""
        both = Counter(self.counts)
        both.update(other.counts)
        missed = self.missed + other.missed
        if len(both) <= MOST_VALUES:
            return type(self)(dict(both), missed)
        cut = sorted(both.values(), reverse=True)[MOST_VALUES]
        return type(self)({value: count - cut for value, count in both.items() if count > cut}, missed + cut)

    def ranked(self) -> list[tuple[str, int]]:
        """The values and how often they came at least, the most frequent first."""
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"missed": self.missed, "values": [list(each) for each in self.ranked()]}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """What `as_dict` gave."""
        return cls(dict(told["values"]), told["missed"])


@dataclass(frozen=True, slots=True)
class Distinct:
    """How many different values came: the smallest of their hashes (Bar-Yossef et al. 2002, algorithm 1).

    >>> Distinct.of(pl.Series(["a", "b", "a"])).estimate
    2
    """

    hashes: bytes = b""  # the smallest, in order: eight bytes each, so that a sketch takes 2 KB at most

    @classmethod
    def of(cls, values: pl.Series) -> Self:
        """The sketch of these; nulls are left out."""
        return cls._smallest(hashed(values.drop_nulls().unique()))

    def merge(self, other: Self) -> Self:
        """The sketch of both together; exactly that of all values at once."""
        return self._smallest(np.concatenate([self._read(), other._read()]))

    @property
    def estimate(self) -> int:
        """How many there are: exactly up to MOST_HASHES, about so many beyond."""
        kept = len(self.hashes) // 8
        if kept < MOST_HASHES:
            return kept
        return round((MOST_HASHES - 1) / ((float(self._read()[-1]) + 1) / _HASHES))

    def as_dict(self) -> dict[str, Any]:
        """As JSON; hexadecimal, since not every reader keeps 64 bits of a number."""
        return {"hashes": self.hashes.hex()}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """What `as_dict` gave."""
        return cls(bytes.fromhex(told["hashes"]))

    @classmethod
    def _smallest(cls, hashes: NDArray[np.uint64]) -> Self:
        return cls(np.unique(hashes)[:MOST_HASHES].astype("<u8").tobytes())

    def _read(self) -> NDArray[np.uint64]:
        return np.frombuffer(self.hashes, dtype="<u8").astype(np.uint64)


def hashed(texts: pl.Series) -> NDArray[np.uint64]:
    """A hash of each text, equal in every process and version: a polynomial of its bytes, then mixed.

    Polynomials of all texts come from one running sum over their joined bytes: each is a difference, divided
    by the power it starts with. The mixing is that of splitmix64 (Steele et al. 2014).

    >>> [f"{value:016x}" for value in hashed(pl.Series(["a", "", "a"])).tolist()]
    ['f0eea8c8a0607d15', 'e220a8397b1dcdaf', 'f0eea8c8a0607d15']
    """
    if len(texts) > 1 and texts.str.len_bytes().sum() > _PIECE:
        half = len(texts) // 2
        return np.concatenate([hashed(texts[:half]), hashed(texts[half:])])
    sizes = texts.str.len_bytes().to_numpy().astype(np.int64)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    letters = np.frombuffer("".join(texts).encode(), dtype=np.uint8).astype(np.uint64)
    sums = np.concatenate(
        [np.zeros(1, np.uint64), np.cumsum((letters + np.uint64(1)) * _powers(_BASE, len(letters)))]
    )
    values = (sums[ends] - sums[starts]) * _powers(_BASE_INVERSE, len(letters) + 1)[starts]
    mixed: NDArray[np.uint64] = values + np.uint64(_BASE)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    """The first powers of a number modulo 2 ** 64, from the zeroth on."""
    powers = np.full(count, base, dtype=np.uint64)
    powers[:1] = 1
    powers[:] = np.cumprod(powers)
    return powers


def _buckets(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The signed bucket of each number; 0 is for what is next to nothing."""
    sizes = np.clip(np.abs(values), SMALLEST, LARGEST)
    places = np.clip(np.ceil(np.log(sizes) / _LOG_GAMMA).astype(np.int64), _LOWEST, _HIGHEST) - _LOWEST + 1
    return np.where(np.abs(values) < SMALLEST, 0, np.sign(values).astype(np.int64) * places)


def _middle(bucket: int) -> float:
    """The number of a bucket whose relative distance to both its ends is the same."""
    if bucket == 0:
        return 0.0
    size = 2.0 * _GAMMA ** (abs(bucket) - 1 + _LOWEST) / (_GAMMA + 1.0)
    return float(np.copysign(size, bucket))
