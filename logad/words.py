"""Cuts texts into words and gives each a hash of its flattened form, whole columns at a time."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from logad.canonical import canonical

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]

DIGIT: Final = 1
"""A word's mark: it holds a digit."""
MARKED: Final = 2
"""A word's mark: it holds a character that masks look at: `/`, `=`, `.`, ..."""
POINTED: Final = 4
"""A word's mark: it holds a bracket, a quote or a comma."""
LOOSE: Final = 8
"""A word's mark: it is no longer the word that stood there."""

MOST_WORDS: Final = 100
"""What a message says after so many words is a variable."""
MOST_KNOWN: Final = 1 << 17
"""Words whose flattened form is kept at hand."""

_MARKS: Final = np.zeros(256, dtype=np.uint8)
_MARKS[list(b"0123456789")] = DIGIT
_MARKS[list(b"/\\=.:@<>|#$%&*+~^_-")] = MARKED
_MARKS[list(b"()[]{}\"'`,;!?")] = POINTED
_BLANK: Final = np.zeros(256, dtype=np.bool_)
_BLANK[list(b" \t\n\v\f\r")] = True
_NEWLINE: Final = 10


def mixed(values: Hashes) -> Hashes:
    """The values well spread over 64 bits (splitmix64, Steele et al. 2014), equal everywhere.

    >>> int(mixed(np.array([1], dtype=np.uint64))[0])
    10451216379200822465
    """
    with np.errstate(over="ignore"):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


_VALUES: Final = mixed(np.arange(256, dtype=np.uint64))
_FACTOR: Final = 0xD1342543DE82EF95  # odd, so that it has an inverse
_UNFACTOR: Final = pow(_FACTOR, -1, 1 << 64)


@dataclass(slots=True)
class Words:
    """The words of some texts, one after another; `first[row]` to `first[row + 1]` are those of a text."""

    bytes: bytes
    starts: Numbers  # in bytes
    ends: Numbers
    first: Numbers  # one more than texts
    row: Numbers
    position: Numbers  # in the text, from 0
    hashes: Hashes
    marks: NDArray[np.uint8]
    cut: NDArray[np.bool_]  # texts that had more words

    @classmethod
    def of(cls, texts: list[str]) -> Self:
        """The words of texts without newlines; digits in a row all hash alike."""
        data = b"\n" + "\n".join(texts).encode() + b"\n"
        raw = np.frombuffer(data, dtype=np.uint8)
        blank = _BLANK.take(raw)
        edges = np.flatnonzero(blank[1:] != blank[:-1]) + 1
        starts, ends = edges[0::2], edges[1::2]
        lines = np.flatnonzero(raw == _NEWLINE)
        first = np.searchsorted(starts, lines)
        sizes = np.diff(first)
        cut = sizes > MOST_WORDS
        if cut.any():
            position = np.arange(len(starts)) - np.repeat(first[:-1], sizes)
            kept = position < MOST_WORDS
            starts, ends = starts[kept], ends[kept]
            sizes = np.minimum(sizes, MOST_WORDS)
            first = np.concatenate([[0], np.cumsum(sizes)])
        seen = _seen(raw)
        marks = (
            np.bitwise_or.reduceat(_MARKS.take(seen), starts) if len(starts) else np.empty(0, dtype=np.uint8)
        )
        row = np.repeat(np.arange(len(texts)), sizes)
        position = np.arange(len(starts)) - first[:-1][row]
        return cls(data, starts, ends, first, row, position, _hashed(seen, starts, ends), marks, cut)

    def text(self, at: int) -> str:
        """The word number `at` as it stood."""
        return self.bytes[self.starts[at] : self.ends[at]].decode()

    def keys(self) -> Hashes:
        """A hash of each text, of its words as they are now."""
        sizes = np.diff(self.first)
        keys = mixed(sizes.astype(np.uint64)) + self.cut.astype(np.uint64)
        filled = np.flatnonzero(sizes)
        if len(filled):
            placed = mixed(self.hashes + mixed(self.position.astype(np.uint64)))
            keys[filled] ^= np.add.reduceat(placed, self.first[filled])
        return keys


def hashes_of(words: list[str]) -> Hashes:
    """The hash of each word; it holds no blank."""
    data = b"\n" + "\n".join(words).encode() + b"\n"
    raw = np.frombuffer(data, dtype=np.uint8)
    lines = np.flatnonzero(raw == _NEWLINE)
    return _hashed(_seen(raw), lines[:-1] + 1, lines[1:])


class Flat:
    """The flattened form of words: remembers the last ones.

    >>> words = Words.of(["took 17 ms", "took 4711 ms"])
    >>> flat = Flat()
    >>> flat.flatten(words)
    >>> bool(words.hashes[1] == words.hashes[4]), flat.texts(words, np.array([3, 4]))
    (True, ['took', '000'])
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, str]] = {}  # hash of the word as it stands -> its flat hash, text

    def flatten(self, words: Words) -> None:
        """Let words that differ in values only have one hash."""
        at = np.flatnonzero(words.marks & DIGIT)
        if not len(at):
            return
        distinct, first, inverse = np.unique(words.hashes[at], return_index=True, return_inverse=True)
        told = distinct.tolist()
        if len(self._known) > MOST_KNOWN:
            self._known.clear()
        missing = [number for number, identity in enumerate(told) if identity not in self._known]
        if missing:
            texts = [canonical(words.text(at[first[number]])) for number in missing]
            for number, text, flat in zip(missing, texts, hashes_of(texts).tolist(), strict=True):
                self._known[told[number]] = flat, text
                self._known.setdefault(flat, (flat, text))
        flat_hashes = np.array([self._known[identity][0] for identity in told], dtype=np.uint64)
        words.hashes[at] = flat_hashes[inverse]

    def texts(self, words: Words, at: Numbers) -> list[str]:
        """The flattened forms of the words with these numbers; a loose one as it stood."""
        told = []
        for start, stop, mark, identity in zip(
            words.starts[at].tolist(),
            words.ends[at].tolist(),
            words.marks[at].tolist(),
            words.hashes[at].tolist(),
            strict=True,
        ):
            known = self._known.get(identity) if mark & DIGIT else None
            if known is not None:
                told.append(known[1])
            else:
                text = words.bytes[start:stop].decode()
                told.append(canonical(text) if mark & DIGIT and not mark & LOOSE else text)
        return told


def _seen(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The bytes with digits in a row as ones: `logad.canonical` reads them no other way."""
    digit = (raw - np.uint8(48)) < np.uint8(10)
    many = np.zeros_like(digit)
    many[1:-1] = digit[1:-1] & (digit[:-2] | digit[2:])
    return np.where(many, np.uint8(ord("1")), raw)


_powers: tuple[Hashes, Hashes] = (np.ones(1, dtype=np.uint64), np.ones(1, dtype=np.uint64))


def _powers_to(size: int) -> tuple[Hashes, Hashes]:
    """The powers of the factor and of its inverse."""
    global _powers  # noqa: PLW0603  (a table that only grows)
    if len(_powers[0]) < size:
        size = 1 << size.bit_length()
        powers = []
        for factor in (_FACTOR, _UNFACTOR):
            row = np.full(size, factor, dtype=np.uint64)
            row[0] = 1
            powers.append(np.cumprod(row, dtype=np.uint64))
        _powers = powers[0], powers[1]
    return _powers


def _hashed(seen: NDArray[np.uint8], starts: Numbers, ends: Numbers) -> Hashes:
    """A polynomial of each word's bytes, from sums over the whole, so that no word is looked at alone."""
    powers, inverse = _powers_to(len(seen))
    values = _VALUES.take(seen)
    values *= powers[: len(seen)]
    sums = np.cumsum(values, dtype=np.uint64)
    return mixed((sums[ends - 1] - sums[starts - 1]) * inverse[starts])
