"""What is known of lines, and of records, that are told apart by their shapes."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

UNKNOWN: Final = -1
"""A template not mined yet; a service or a place that may differ among lines of one shape."""
UNTIMED: Final = -2
"""The place of the time in lines without one."""
FLAGS: Final = ("opens", "raised", "indented", "partial", "blank")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Lines of one stream that follow each other."""

    texts: tuple[bytes, ...]
    starts: tuple[NDArray[np.int32], ...]  # where each line of each text begins
    bounds: NDArray[np.int64]  # the first line of each text, and how many lines there are
    shapes: NDArray[np.int32]  # of each line
    source: str  # of the last line
    numbers: NDArray[np.int64]  # physical, from 1; 0 where the source has no lines
    numbering: int  # shapes of stretches with the same one can be told apart by their numbers

    def text(self, begin: int, end: int) -> bytes:
        """The lines from `begin` until `end`, with their newlines."""
        return self.raw_lines(np.asarray([begin]), np.asarray([end - begin]))[0] if begin < end else b""

    def raw_lines(self, begins: NDArray[np.int64], spans: NDArray[np.int64]) -> list[bytes]:
        """All lines of records, given the first of each and how many they are."""
        ends = begins + spans
        text, offset = self._places(begins)
        last, until = self._places(ends - 1, behind=True)
        found = []
        for first, start, final, stop in zip(
            text.tolist(), offset.tolist(), last.tolist(), until.tolist(), strict=True
        ):
            if first == final:
                found.append(self.texts[first][start:stop])
            else:
                between = self.texts[first + 1 : final]
                found.append(b"".join((self.texts[first][start:], *between, self.texts[final][:stop])))
        return found

    def _places(
        self, lines: NDArray[np.int64], *, behind: bool = False
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """In which text each line is, and where in it that begins, or ends."""
        text = np.searchsorted(self.bounds, lines, side="right") - 1
        offset = np.empty(len(lines), dtype=np.int64)
        for place in np.unique(text).tolist():
            here = text == place
            starts = self.starts[place]
            if behind:
                starts = np.append(starts[1:], len(self.texts[place]))
            offset[here] = starts[lines[here] - self.bounds[place]]
        return text, offset

    def longer(self, size: int) -> NDArray[np.int64]:
        """The lines of more than `size` bytes."""
        found = []
        for text, starts, bound in zip(self.texts, self.starts, self.bounds.tolist(), strict=False):
            found.append(np.flatnonzero(np.diff(starts, append=len(text)) > size) + bound)
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Skimmed:
    """The records of a stretch in order; their texts are where the stretch is."""

    stretch: Stretch
    rows: NDArray[np.int64]  # the first line of each
    spans: NDArray[np.int64]  # how many lines each has
    templates: NDArray[np.int32]  # codes of the miner
    services: NDArray[np.int32]  # places in `Skimmer.services`
    whole: pl.DataFrame  # what was read as a whole, not by shapes: records, and `row`, the first line of each

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The physical line that each record begins with."""
        return self.stretch.numbers[self.rows]

    def raw(self, records: NDArray[np.int64]) -> list[bytes]:
        """All lines of some of the records."""
        return self.stretch.raw_lines(self.rows[records], self.spans[records])


@dataclass(slots=True)
class Facts:
    """What is known of each shape."""

    flags: dict[str, NDArray[np.bool_]]  # as `multiline.line_flags` tells them, and `blank`
    levels: NDArray[np.uint8]
    services: NDArray[np.int32]  # or UNKNOWN
    times: NDArray[np.int32]  # the `place` in the line where its time begins, or UNTIMED, or UNKNOWN
    templates: NDArray[np.int32]  # or UNKNOWN
    texts: list[str]  # messages, empty once mined

    def __len__(self) -> int:
        return len(self.levels)

    @staticmethod
    def none() -> "Facts":
        """Of no shape yet."""
        codes = np.zeros(0, dtype=np.int32)
        flags = dict.fromkeys(FLAGS, np.zeros(0, dtype=np.bool_))
        return Facts(flags, np.zeros(0, dtype=np.uint8), codes, codes, codes, [])

    def followed(self, by: "Facts") -> "Facts":
        """These and then others."""
        return Facts(
            {name: np.concatenate([flags, by.flags[name]]) for name, flags in self.flags.items()},
            np.concatenate([self.levels, by.levels]),
            np.concatenate([self.services, by.services]),
            np.concatenate([self.times, by.times]),
            np.concatenate([self.templates, by.templates]),
            self.texts + by.texts,
        )

    def take(self, chosen: NDArray[np.int64]) -> "Facts":
        """Some of them, in the order given."""
        return Facts(
            {name: flags[chosen] for name, flags in self.flags.items()},
            self.levels[chosen],
            self.services[chosen],
            self.times[chosen],
            self.templates[chosen],
            [self.texts[shape] for shape in chosen.tolist()],
        )
