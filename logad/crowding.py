"""Finds the places of messages where so many words were seen that what stands there is a variable."""

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from logad.hashing import Hashes, HashTable, Numbers
from logad.merging import generalised
from logad.words import DIGIT, LOOSE, MARKED, POINTED, Flat, Words, hashes_of, mixed

CROWD_OF_LENGTH: Final = 300
"""Distinct words at one position of messages of as many words: free text."""
CROWD_OF_START: Final = 20
"""The same for messages that begin alike too."""
MOST_PLACED: Final = 100_000
"""Words known at places of one kind; after so many a new word stays where there is no crowd already."""
MOST_PLACED_OF_START: Final = 400_000
"""The same for places by length and first word."""

_WILDCARD: Final = "<*>"
_PLAIN, _MARKED, _LOOSENED = 1, 2, 3
_MOST_LOOSENED: Final = 1 << 16
_SALTS: Final = mixed(np.arange(1, 5, dtype=np.uint64))
_BEGINNING, _OF_LENGTH, _OF_START = 0, 1, 2
_KIND_BITS: Final = 3  # the lowest ones of a place say of which kind it is
_WILD: Final = hashes_of([_WILDCARD])[0]


class Masking(Protocol):
    """What stands for each of some words where a word of their kind varies."""

    def __call__(self, words: list[str], /) -> list[str]: ...  # noqa: D102


class Crowds:
    """Loosens the words of messages at places where crowds of words were seen; the first ones stay.

    A place is a position among messages of one length, or of one length and first word. Whether a word
    stays is settled when it first comes to a place, for ever: it does while fewer than a crowd are known
    there. So the outcome depends on the order of the texts alone.

    >>> crowds = Crowds(lambda words: ["<*>" for _ in words])
    >>> texts = [f"fed the {chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(30)]
    >>> words, flat = Words.of(texts), Flat()
    >>> crowds.loosen(words, flat)
    >>> int(((words.marks & LOOSE) > 0).sum()), crowds.texts(words, flat, np.array([29]))
    (10, ['fed the <*>'])
    """

    def __init__(self, masking: Masking, steady: Sequence[str] = ()) -> None:
        self._masking = masking
        self._steady = hashes_of(list(steady))  # words that stay in any crowd
        crowded = (CROWD_OF_START, MOST_PLACED)
        self._places = (
            *(_Places(*crowded), _Places(CROWD_OF_LENGTH, MOST_PLACED)),
            _Places(CROWD_OF_START, MOST_PLACED_OF_START),
            *(_Places(*crowded), _Places(*crowded), _Places(*crowded)),  # for what stands for words there
        )
        self._learned = bytearray()  # what was added, in order: place and pair
        self._loosened: dict[int, tuple[int, str]] = {}  # word -> what stands for it: hash, text

    def loosen(self, words: Words, flat: Flat) -> None:
        """Let `<*>`, or what the masks make of a word, stand where a word varies."""
        if not len(words.starts):
            return
        sizes = np.diff(words.first)[words.row].astype(np.uint64)
        place = mixed(sizes << np.uint64(32) | words.position.astype(np.uint64))
        beginnings = words.first[:-1][np.diff(words.first) > 1]
        after = words.hashes[beginnings + 1]
        refused = [self._refused(words, place[beginnings] ^ after, beginnings, _BEGINNING)]
        at = np.flatnonzero(words.marks & LOOSE == 0)
        refused.append(self._refused(words, place[at], at, _OF_LENGTH))
        at = at[words.marks[at] & LOOSE == 0]
        refused.append(self._refused(words, mixed(place ^ _starts(words))[at], at, _OF_START))
        dressed = self._dressed(words, flat, np.concatenate([at for _, at in refused]))
        ends = np.cumsum([len(at) for _, at in refused])
        for kind, ((place, at), hashes) in enumerate(zip(refused, np.split(dressed, ends[:-1]), strict=True)):
            kept = self._admitted(kind + len(refused), place, hashes)
            words.hashes[at] = np.where(kept, hashes, _WILD)

    def texts(self, words: Words, flat: Flat, rows: Numbers) -> list[str]:
        """Loosened texts, their words flattened."""
        begins, sizes = words.first[rows], np.diff(words.first)[rows]
        ends = np.cumsum(sizes)
        at = np.arange(sizes.sum()) + np.repeat(begins - ends + sizes, sizes)
        told = flat.texts(words, at)
        for number in np.flatnonzero(words.marks[at] & LOOSE).tolist():
            hash_ = words.hashes[at[number]]
            told[number] = _WILDCARD if hash_ == _WILD else self._loosened[int(hash_)][1]
        cut = [[_WILDCARD] if each else [] for each in words.cut[rows].tolist()]
        spans = zip((ends - sizes).tolist(), ends.tolist(), cut, strict=True)
        return [" ".join(told[begin:end] + rest) for begin, end, rest in spans]

    def learned(self, since: int = 0) -> bytes:
        """The words at places it has come to know, 16 bytes each, in order, from byte `since` on."""
        return bytes(memoryview(self._learned)[since:])

    def learn(self, learned: bytes) -> None:
        """Know what another has learned."""
        places, pairs = np.frombuffer(learned, dtype="<u8").reshape(-1, 2).T.astype(np.uint64)
        for kind, known in enumerate(self._places):
            own = (places & np.uint64((1 << _KIND_BITS) - 1)) == kind
            self._learned += known.learn(places[own], pairs[own])

    def _refused(self, words: Words, place: Hashes, at: Numbers, kind: int) -> tuple[Hashes, Numbers]:
        """Let `<*>` stand for words that may not stay; the places of those that more can be told of."""
        if len(self._steady):
            free = ~np.isin(words.hashes[at], self._steady)
            place, at = place[free], at[free]
        marked = np.where(words.marks[at] & (DIGIT | MARKED), _MARKED, _PLAIN)
        stays = self._admitted(kind, place ^ _SALTS[marked], words.hashes[at])
        refused, place = at[~stays], place[~stays]
        words.marks[refused] |= LOOSE
        bare = words.marks[refused] & (DIGIT | MARKED | POINTED) == 0
        words.hashes[refused[bare]] = _WILD
        return place[~bare], refused[~bare]

    def _dressed(self, words: Words, flat: Flat, at: Numbers) -> Hashes:
        """What stands for words that the masks, or their punctuation, may tell more of."""
        distinct, first, inverse = np.unique(words.hashes[at], return_index=True, return_inverse=True)
        told = distinct.tolist()
        if len(self._loosened) > _MOST_LOOSENED:
            kept = dict(self._loosened.values())
            self._loosened = {hash_: (hash_, text) for hash_, text in kept.items()}
        missing = [number for number, identity in enumerate(told) if identity not in self._loosened]
        if missing:
            asked = at[first[missing]]
            texts = flat.texts(words, asked)
            marked = (words.marks[asked] & (DIGIT | MARKED) > 0).tolist()
            masked = iter(self._masking([text for text, each in zip(texts, marked, strict=True) if each]))
            texts = [
                next(masked) if each else generalised([text])
                for text, each in zip(texts, marked, strict=True)
            ]
            for number, text, hash_ in zip(missing, texts, hashes_of(texts).tolist(), strict=True):
                self._loosened[told[number]] = self._loosened[hash_] = hash_, text
        return np.array([self._loosened[identity][0] for identity in told], dtype=np.uint64)[inverse]

    def _admitted(self, kind: int, places: Hashes, words: Hashes) -> NDArray[np.bool_]:
        """Whether each word stays at its place."""
        places = (mixed(places) << np.uint64(_KIND_BITS)) | np.uint64(kind)
        stays, learned = self._places[kind].admitted(places, mixed(places ^ mixed(words)))
        self._learned += learned
        return stays


class _Places:
    """The words known at places of one kind: at each the first ones that came, up to a crowd."""

    def __init__(self, crowd: int, most: int) -> None:
        self._crowd = crowd
        self._most = most
        self._known = HashTable()  # (place, word)
        self._counts = HashTable()  # place -> how many words are known there

    def admitted(self, places: Hashes, pairs: Hashes) -> tuple[NDArray[np.bool_], bytes]:
        """Whether the word of each pair stays at its place, and what was learned."""
        admitted = self._known.numbers(pairs) >= 0
        new = np.flatnonzero(~admitted)
        new = new[self._counts.numbers(places[new]) < self._crowd]
        if not len(new):
            return admitted, b""
        candidates = new[np.sort(np.unique(pairs[new], return_index=True)[1])]
        order = np.argsort(places[candidates], kind="stable")
        grouped = places[candidates[order]]
        begins = np.flatnonzero(np.concatenate([[True], grouped[1:] != grouped[:-1]]))
        rank = np.arange(len(order)) - np.repeat(begins, np.diff(np.append(begins, len(order))))
        room = self._crowd - np.maximum(self._counts.numbers(grouped), 0)
        chosen = candidates[np.sort(order[rank < room])][: max(0, self._most - len(self._known))]
        learned = self.learn(places[chosen], pairs[chosen])
        admitted[new] = (self._known.numbers(pairs[new]) >= 0) | (
            self._counts.numbers(places[new]) < self._crowd
        )
        return admitted, learned

    def learn(self, places: Hashes, pairs: Hashes) -> bytes:
        """Know words at places; what was new of it, 16 bytes each."""
        fresh = np.sort(np.unique(pairs, return_index=True)[1])
        fresh = fresh[self._known.numbers(pairs[fresh]) < 0]
        places, pairs = places[fresh], pairs[fresh]
        self._known.add(pairs, np.zeros(len(pairs), dtype=np.int64))
        distinct, counts = np.unique(places, return_counts=True)
        self._counts.add(distinct, np.maximum(self._counts.numbers(distinct), 0) + counts)
        return np.stack([places, pairs], axis=1).astype("<u8").tobytes()


def _starts(words: Words) -> Hashes:
    """For each word, the first one of its text that is no value: what messages of a kind begin with."""
    steady = words.marks & (DIGIT | LOOSE) == 0
    many = len(words.starts)
    nearest = np.where(steady, np.arange(many), many)
    filled = np.flatnonzero(np.diff(words.first))
    starts = np.minimum.reduceat(nearest, words.first[filled])
    ends = words.first[filled + 1]
    hashes = np.append(words.hashes, np.uint64(0))
    per_text = np.zeros(len(words.first) - 1, dtype=np.uint64)
    per_text[filled] = hashes[np.where(starts < ends, starts, many)]
    return per_text[words.row]
