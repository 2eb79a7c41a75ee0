"""Finds the word that varies among templates which otherwise say the same."""

import re
from typing import Final

_WILDCARD: Final = "<*>"
_VARIABLE: Final = re.compile(r"\W*<\*>\W*")
_MANY: Final = 5  # distinct words at one position make a variable; fewer are a set of states
_LONGEST: Final = 60  # words; longer messages hold data, and each position costs a key


class Siblings:
    """Templates that differ in exactly one word, never the first, and when that word is a variable.

    It is one as soon as five different words were seen there, or a placeholder and a word. Templates of
    different gravity are no siblings, so that `job failed` is not lost among `job started`, `job queued`, ...

    >>> siblings = Siblings()
    >>> [siblings.add(code, ["job", word], False) for code, word in enumerate("abcd")]
    [None, None, None, None]
    >>> siblings.known(["job", "e"], False) is None
    True
    >>> siblings.add(4, ["job", "e"], False)
    (1, (0, 1, 2, 3, 4), '<*>')
    >>> siblings.known(["job", "z"], False)
    0
    """

    def __init__(self) -> None:
        self._words: dict[int, dict[str, int]] = {}  # place -> word -> code
        self._merged: dict[int, int] = {}  # place -> code of the template that took its words together

    def known(self, tokens: list[str], grave: bool) -> int | None:  # noqa: FBT001  (part of what is looked up)
        """The code of the template whose varying word these tokens fill in, or None."""
        if not self._merged:
            return None
        return next((self._merged[place] for place in _places(tokens, grave) if place in self._merged), None)

    def add(
        self,
        code: int,
        tokens: list[str],
        grave: bool,  # noqa: FBT001  (part of what is compared)
    ) -> tuple[int, tuple[int, ...], str] | None:
        """Note a new template; where a word now varies: its position, the codes, what stands there."""
        for position, place in enumerate(_places(tokens, grave), start=1):
            words = self._words.setdefault(place, {})
            words.setdefault(tokens[position], code)
            mixed = len(words) > 1 and any(_VARIABLE.fullmatch(word) for word in words)
            if mixed or len(words) >= _MANY:
                codes = tuple(sorted(set(words.values())))
                if len(codes) > 1:
                    self._merged[place] = codes[0]
                    return position, codes, _generalised(list(words))
        return None


def _places(tokens: list[str], grave: bool) -> list[int]:  # noqa: FBT001  (part of the key)
    """One key for each position but the first: the hash of all the other words."""
    if len(tokens) > _LONGEST:
        return []
    return [hash((grave, *tokens[:at], None, *tokens[at + 1 :])) for at in range(1, len(tokens))]


def _generalised(words: list[str]) -> str:
    """A placeholder between the punctuation that all the words begin and end with."""
    before = min((re.match(r"[^\w<]*", word)[0] for word in words), key=len)  # type: ignore[index]
    after = min((re.search(r"[^\w>]*$", word)[0] for word in words), key=len)  # type: ignore[index]
    if not all(word.startswith(before) and word.endswith(after) for word in words):
        return _WILDCARD
    return f"{before}{_WILDCARD}{after}"
