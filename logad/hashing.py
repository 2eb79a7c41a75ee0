"""Hashes of 64 bits, by whole columns: made of numbers, and kept in a set with a number each."""

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]


def mixed(keys: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A fixed pseudo-random 64-bit number for each key (splitmix64), the same in every run.

    >>> int(mixed(np.array([0]))[0])
    16294208416658607535
    """
    z = keys.astype(np.uint64) + np.uint64(1)
    z = z * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class HashTable:
    """Hashes and a number each; open addressing, so that a column is looked up without a loop over it.

    >>> table = HashTable()
    >>> table.add(np.array([7, 9], dtype=np.uint64), np.array([1, 2]))
    >>> table.numbers(np.array([9, 8, 7], dtype=np.uint64)).tolist()
    [2, -1, 1]
    """

    def __init__(self) -> None:
        self._hashes = np.zeros(1 << 10, dtype=np.uint64)  # 0: nothing here
        self._numbers = np.full(1 << 10, -1, dtype=np.int64)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def numbers(self, hashes: Hashes) -> Numbers:
        """The number of each hash; -1 where it is not here."""
        return self._numbers.take(self._slots(hashes))

    def add(self, hashes: Hashes, numbers: Numbers) -> None:
        """Add hashes, each once, or give those that are here another number."""
        if 2 * (self._size + len(hashes)) > len(self._hashes):
            self._grow(2 * (self._size + len(hashes)))
        pending = np.arange(len(hashes))
        while len(pending):
            slots = self._slots(hashes[pending])
            empty = self._hashes[slots] == 0
            self._hashes[slots[empty]] = _some(hashes[pending[empty]])
            here = self._hashes[slots] == _some(hashes[pending])
            self._numbers[slots[here]] = numbers[pending[here]]
            pending = pending[~here]
            self._size += int(np.count_nonzero(np.bincount(slots[here & empty], minlength=1)))

    def _slots(self, hashes: Hashes) -> Numbers:
        """Where each hash is, or would be."""
        hashes = _some(hashes)
        last = len(self._hashes) - 1
        slots = (hashes & np.uint64(last)).astype(np.int64)
        found = self._hashes.take(slots)
        astray = np.flatnonzero((found != hashes) & (found != 0))
        while len(astray):
            slots[astray] = (slots[astray] + 1) & last
            found = self._hashes[slots[astray]]
            astray = astray[(found != hashes[astray]) & (found != 0)]
        return slots

    def _grow(self, least: int) -> None:
        filled = np.flatnonzero(self._hashes)
        hashes, numbers = self._hashes[filled], self._numbers[filled]
        size = 1 << least.bit_length()
        self._hashes, self._numbers = np.zeros(size, dtype=np.uint64), np.full(size, -1, dtype=np.int64)
        self._size = 0
        self.add(hashes, numbers)


def _some(hashes: Hashes) -> Hashes:
    """The hashes, 1 for 0, which stands for none."""
    return np.maximum(hashes, np.uint64(1))
