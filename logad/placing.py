"""Finds the template that a shape belongs to, or opens one: Drain, and rules for words that vary."""

from collections.abc import Iterable
from functools import reduce
from itertools import groupby
from operator import itemgetter
from typing import Final

from logad.ageing import Ages
from logad.draining import VARIED, FlatDrain
from logad.merging import WILDCARD, Merge, Siblings, generalised
from logad.standing import Standing
from logad.template_texts import as_compared, common, tidy, varied
from logad.types import Level

OVERFLOW: Final = "<overflow>"
"""Text of the template that holds what came after the miner was full."""

_MOST_OVERFLOWS: Final = 1_000

_SEVERITY: Final = {
    Level.UNKNOWN: 1,
    Level.DEBUG: 0,
    Level.INFO: 0,
    Level.WARN: 2,
    Level.ERROR: 3,
    Level.FATAL: 3,
}
_GRAVEST: Final = 3


class Placing:
    """Gives shapes the codes of their templates, as far as there is room.

    >>> placing = Placing(most_shapes=100, most_templates=100)
    >>> [placing.code(shape, 2, grave=False) for shape in ("took <NUM>", "took <HEX>", "failed")]
    [0, 0, 1]
    >>> [template.text for template in placing.standing.templates]
    ['took <*>', 'failed']
    """

    def __init__(self, most_shapes: int, most_templates: int) -> None:
        self.standing = Standing()
        self.pins: dict[str, str] = {}
        """Of the shapes at hand, what the user's rules say: the texts of their templates."""
        self._most_shapes = most_shapes
        self._most_templates = most_templates
        self._shapes: dict[tuple[str, int], int] = {}  # (shape, level) -> code
        self._learned: list[tuple[str, int]] = []  # the same in order of first appearance
        self._codes: dict[str, int] = {}  # shape -> code
        self._drains = FlatDrain(), FlatDrain()  # of what is not grave by its words, and of what is
        self._siblings = Siblings()
        self._untyped: dict[tuple[str, ...], int] = {}  # words of a template as it was opened -> code
        self._opened: dict[tuple[bool, int], int] = {}  # Drain's cluster -> the code it was opened for
        self._clusters: dict[int, tuple[FlatDrain, int]] = {}  # the other way
        self._overflows: set[int] = set()
        self._ages = Ages()
        self._sighted: list[tuple[int, int]] = []  # weeks and codes, to be told with what is learned

    def learned(self, since: int) -> list[tuple[str, int]]:
        """The shapes that have a code, each with a level, in order, from number `since` on.

        Between them, of records with times, which templates were seen in which week: texts with newlines.
        """
        self._tell_sighted()
        return self._learned[since:]

    def learn_again(self, learned: Iterable[tuple[str, int, bool]]) -> None:
        """Learn what was learned before, in order; for each shape also if its words are grave."""
        for shape, level, grave in learned:
            if not is_shape((shape, level)):
                week, codes = shape.split("\n")
                for code in codes.split(","):
                    self._ages.sighted(int(code), int(week), len(self.standing.templates))
                self._learned.append((shape, level))
            else:
                self.code(shape, level, grave=grave)

    def sighted(self, code: int, week: int) -> None:
        """Note that a template was seen in a week: one that was not for long leaves its room to a new one.

        Nothing is forgotten of it: its texts, code and id are those it had when it is seen again.
        """
        code = self.standing.of(code)
        if code not in self._overflows and self._ages.sighted(code, week, len(self.standing.templates)):
            self._sighted.append((week, code))

    def known(self, shape: tuple[str, int]) -> int | None:
        """The code of a shape that was learned at a level."""
        return self._shapes.get(shape)

    def code(self, shape: str, level: int, *, grave: bool) -> int:
        """The code of a shape, learned if it is new; -1 where there is no room for it."""
        code = self._shapes.get((shape, level))
        if code is not None:
            return code
        if shape == OVERFLOW or shape.startswith(f"{OVERFLOW} "):
            return self._overflowing(shape)
        code = self._codes.get(shape)
        if len(self._shapes) >= self._most_shapes:
            return -1 if code is None else code
        if code is None:
            code = self._pinned(shape) if shape in self.pins else self._place(shape, grave=grave)
            if code < 0:
                return code
            self._codes[shape] = code
        self._learn(shape, level, code)
        severity = min(_GRAVEST, _SEVERITY[Level(level)] + grave)
        for raised in {code, self.standing.of(code)}:
            self.standing.raised(raised, severity, alarming=grave and level >= Level.ERROR)
        return code

    def overflow(self, service: str) -> int:
        """The code of what there was no room for, of one service."""
        return self._overflowing(f"{OVERFLOW} {service}".rstrip())

    def _full(self) -> bool:
        """Whether there is no room for a new template."""
        many = len(self.standing.templates)
        return many >= self._most_templates and self._ages.in_use(many) >= self._most_templates

    def _tell_sighted(self) -> None:
        for week, seen in groupby(self._sighted, key=itemgetter(0)):
            codes = ",".join(str(code) for _, code in seen)
            self._learned.append((f"{week}\n{codes}", int(Level.UNKNOWN)))
        self._sighted.clear()

    def _learn(self, shape: str, level: int, code: int) -> None:
        self._tell_sighted()
        self._shapes[shape, level] = code
        self._learned.append((shape, level))

    def _place(self, shape: str, *, grave: bool) -> int:
        """The code of the template a new shape belongs to, its text brought up to date; -1 if all are taken.

        The types of placeholders do not count: `from <IP>` and `from <HOST>` are `from <*>`.
        """
        text = tidy(shape)
        owner = self.standing.owner(text)
        if owner is not None:
            return self.standing.of(owner)
        typed, tokens = text.split(), as_compared(text).split()
        key = (*tokens, "grave" if grave else "")
        code = self._untyped.get(key)
        if code is not None:
            self._generalise(code, text)
            return self.standing.of(code)
        sibling = self._siblings.known(tokens, grave=grave)
        if sibling is not None:
            return self.standing.of(sibling)
        varied = [VARIED if kind == WILDCARD else token for kind, token in zip(typed, tokens, strict=True)]
        drain = self._drains[grave]
        if self._full():
            cluster = drain.found(varied)
            return -1 if cluster is None else self.standing.of(self._opened[grave, cluster])
        alike = drain.alike(varied) if VARIED in varied else []
        cluster = drain.code_of(varied)
        known = self._opened.get((grave, cluster))
        if known is not None:
            if len(alike) > 1:
                self._unite(Merge(tuple(self._opened[grave, each] for each in alike), {}, "words vary"))
            self._generalise(known, text)
            return self.standing.of(known)
        code = self._untyped[key] = self.standing.opened(text)
        self._opened[grave, cluster] = code
        self._clusters[code] = drain, cluster
        merge = self._siblings.add(code, tokens, grave=grave)
        if merge is not None:
            self._unite(merge)
        return self.standing.of(code)

    def _generalise(self, code: int, text: str) -> None:
        """Let the template that stands for a code say what it has in common with a text."""
        code = self.standing.of(code)
        shared = common(self.standing.templates[code].text, text)
        if shared != self.standing.templates[code].text:
            self._let_stand({code}, shared, "a place of several kinds")

    def _unite(self, merge: Merge) -> None:
        """Let one of several templates stand for all."""
        members = {self.standing.of(code) for code in merge.codes}
        if len(members) > 1:
            texts = [self.standing.templates[code].text for code in sorted(members)]
            words = reduce(common, texts).split(" ")
            columns = list(zip(*(text.split(" ") for text in texts), strict=False))
            for at, told in merge.words.items():
                alike = len(columns) == len(words) and len(set(columns[at])) > 1
                words[at] = generalised(columns[at]) if alike else told
            text = " ".join(words)
            self._let_stand(members, text, merge.reason)

    def _let_stand(self, members: set[int], text: str, reason: str) -> None:
        """Let one template with this text stand for all members; Drain finds none but that one."""
        keeper, others = self.standing.let_stand(members, text, reason)
        for member in others:
            self._forgotten(member)
        if keeper in self._clusters:  # else a rule gave it its text
            drain, cluster = self._clusters[keeper]
            drain.become(cluster, varied(self.standing.templates[keeper].text.split()))

    def _forgotten(self, code: int) -> None:
        """Let Drain find a template no more; one that a rule gave its text was never known to it."""
        if code in self._clusters:
            drain, cluster = self._clusters[code]
            drain.forget(cluster)

    def _pinned(self, shape: str) -> int:
        """The code of the template a rule gives a shape: never made more general; -1 if all are taken."""
        text = self.pins[shape]
        code = self.standing.owner(text)
        if code is not None and self.standing.templates[code].text == text:
            return code
        return -1 if self._full() else self.standing.opened(text)

    def _overflowing(self, text: str) -> int:
        """The code of an overflow; of many services together, if there are very many."""
        code = self.standing.owner(text)
        if code is None and len(self._overflows) >= _MOST_OVERFLOWS:
            text = OVERFLOW
            code = self.standing.owner(text)
        if code is None:
            code = self.standing.opened(text)
            self._overflows.add(code)
            self._learn(text, int(Level.UNKNOWN), code)
        return code


def is_shape(learned: tuple[str, int]) -> bool:
    """Whether what was learned is a shape, not when templates were seen."""
    return "\n" not in learned[0]
