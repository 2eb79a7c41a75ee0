"""Makes shapes of messages: the words of crowded places loosened, then the masks."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
import polars as pl

from logad import masking, pinning
from logad.crowding import Crowds
from logad.hashing import Numbers
from logad.merging import generalised
from logad.rules import Rules
from logad.template_texts import PLACEHOLDER
from logad.words import Flat, Words

MOST_BYTES: Final = 1 << 16
"""Of a message that are looked at."""

_PIECE_TEXTS: Final = 1 << 14  # looked at together; outcomes do not depend on it
_PIECE_BYTES: Final = 1 << 20
_TAIL: Final = re.compile(rf"({PLACEHOLDER.pattern}) <\*>$")

Loosened = tuple[str, bool]
"""A message whose words at crowded places are loosened, and whether it was cut."""


class Shaping:
    """Shapes of messages in two steps, so that only what is new need go through the masks.

    >>> shaping = Shaping(Rules((), (), ()))
    >>> [(_, words)] = shaping.loosened(pl.Series(["took 5 ms", "took 7 ms"]))
    >>> len(np.unique(words.keys())), shaping.shapes(shaping.texts(words, np.array([0])))
    (1, ['took 000 ms'])
    """

    def __init__(self, rules: Rules, redact: Callable[[str], str] | None = None) -> None:
        self.crowds = Crowds(self._kinds_of, pinning.words(rules.templates))
        self._masks = rules.masks
        self._redact = redact  # takes secrets out of shapes, so that none is in what is stored of them
        self._flat = Flat()

    def loosened(self, texts: pl.Series) -> Iterator[tuple[slice, Words]]:
        """The words of messages, loosened where crowds of words are; a piece of the column at a time."""
        for begin, end in _pieces(texts):
            words = Words.of(texts[begin:end].to_list())
            self._flat.flatten(words)
            self.crowds.loosen(words, self._flat)
            yield slice(begin, end), words

    def texts(self, words: Words, rows: Numbers) -> list[Loosened]:
        """Loosened messages."""
        texts = self.crowds.texts(words, self._flat, rows)
        return list(zip(texts, words.cut[rows].tolist(), strict=True))

    def shapes(self, texts: Sequence[Loosened]) -> list[str]:
        """The shapes of loosened messages; those that were cut end in a variable."""
        shapes = masking.masked(
            pl.Series([text for text, _ in texts], dtype=pl.String), self._masks
        ).to_list()
        shapes = [
            _TAIL.sub(r"\1", shape) if cut else shape for shape, (_, cut) in zip(shapes, texts, strict=True)
        ]
        return shapes if self._redact is None else [self._redact(shape) for shape in shapes]

    def _kinds_of(self, words: list[str]) -> list[str]:
        """What stands for words where many of their kind were seen: placeholders, and the punctuation."""
        shapes = masking.masked(pl.Series(words, dtype=pl.String), self._masks)
        return [
            shape if PLACEHOLDER.search(shape) and " " not in shape else generalised([word])
            for word, shape in zip(words, shapes, strict=True)
        ]


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
