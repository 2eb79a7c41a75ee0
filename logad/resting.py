"""Keeps sessions that were judged and may yet go on, in pieces that never change: each is stored once."""

import io
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self

import polars as pl


@dataclass(frozen=True, slots=True)
class Rested:
    """What changed in the pieces: those that are new, with their numbers, and those that are gone."""

    new: tuple[tuple[int, bytes], ...] = ()
    gone: tuple[int, ...] = ()


class Resting:
    """Records of sessions at rest, by the session's `key`; `_mark` is when each came, microseconds.

    A session that wakes leaves its records behind in its piece, of no use, until the piece is as old as
    sessions are waited for. So what a batch costs depends on what it closes and wakes, not on what rests.
    """

    def __init__(self) -> None:
        self._pieces: dict[int, pl.DataFrame] = {}
        self._home: dict[str, int] = {}  # session -> its piece
        self._next = 0
        self._new: list[int] = []
        self._gone: list[int] = []

    def take(self, records: pl.DataFrame) -> None:
        """Whole sessions come to rest."""
        self._pieces[self._next] = records
        self._home |= dict.fromkeys(records["key"].unique(), self._next)
        self._new.append(self._next)
        self._next += 1

    def wake(self, keys: Iterable[str]) -> list[pl.DataFrame]:
        """The records of those of these sessions that are at rest; they are no more."""
        woken: dict[int, list[str]] = {}
        for key in keys:
            if (piece := self._home.pop(key, None)) is not None:
                woken.setdefault(piece, []).append(key)
        return [self._pieces[piece].filter(pl.col("key").is_in(found)) for piece, found in woken.items()]

    def expire(self, before: int) -> None:
        """Forget the pieces of which nothing came at this moment or later."""
        newest = {piece: records["_mark"].max() for piece, records in self._pieces.items()}
        for piece, mark in newest.items():
            assert isinstance(mark, int)
            if mark < before:
                for key in self._pieces.pop(piece)["key"].unique():
                    if self._home.get(key) == piece:
                        del self._home[key]
                self._gone.append(piece)

    def changes(self) -> Rested:
        """What changed since the last call."""
        told = Rested(
            tuple((piece, _packed(self._pieces[piece])) for piece in self._new if piece in self._pieces),
            tuple(self._gone),
        )
        self._new, self._gone = [], []
        return told

    @classmethod
    def restored(cls, pieces: Iterable[tuple[int, bytes]], awake: Collection[str]) -> Self:
        """From the pieces there are, in order; the sessions `awake` are not at rest."""
        self = cls()
        for piece, data in pieces:
            self._pieces[piece] = pl.read_ipc(io.BytesIO(data))
            self._home |= dict.fromkeys(self._pieces[piece]["key"].unique(), piece)
            self._next = piece + 1
        for key in awake:
            self._home.pop(key, None)
        return self


def _packed(records: pl.DataFrame) -> bytes:
    data = io.BytesIO()
    records.write_ipc(data, compression="lz4")
    return data.getvalue()
