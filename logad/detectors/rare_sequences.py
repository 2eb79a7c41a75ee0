"""Finds windows in which an event rarely follows what came before it."""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

import numpy as np

from logad.contracts import Detector, PartConfig, Scores, State
from logad.detectors._ngrams import Floats, Followers, Ints, mixed
from logad.detectors._phrases import quoted, share
from logad.types import AnomalyType, Contribution, WindowKind
from logad.windows import Windows

ODD: Final = 3.0  # nats from which a step is worth a word
TOLD: Final = 5  # steps told of one window
MOSTLY: Final = 0.9  # from this share on, what follows a context is the rule
ENOUGH: Final = 30  # cases that make a rule
HALVED: Final = 0.5  # the longer context is told where it makes a common step at least so much rarer


@dataclass(frozen=True, slots=True)
class _Steps:
    """Every step of some windows: `events[i]` came after `before[i]`, and `earlier[i]` before that."""

    owner: Ints
    place: Ints  # position of the event in its window; its length for the end
    events: Ints
    before: Ints
    earlier: Ints


class RareSequences(Detector):
    """Worst and mean surprise of a window's steps, in nats.

    The surprise of a step is -ln of the share of cases in which something as rare follows the same one or
    two events (a variable-order Markov model that backs off to shorter contexts; Du et al. 2017 learn the
    same with a network). Where a context goes on in many ways, as it does when threads interleave, none of
    them is surprising. In sessions the first and the last event count as steps; windows in time begin and
    end anywhere.
    """

    name: ClassVar[str] = "rare_sequences"
    kinds: ClassVar[frozenset[WindowKind]] = frozenset(WindowKind)
    need: ClassVar[float] = 1e-3

    def __init__(self, config: PartConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._width = 0  # templates known at fit; above stand unknown, the beginning and the end
        nothing = np.zeros(0, dtype=np.int64)
        self._orders = tuple(Followers(nothing, nothing, nothing, 1) for _ in range(3))
        self._memo: tuple[Windows, _Steps, Floats, Scores] | None = None

    def fit(self, windows: Windows) -> Self:
        """Count what follows every event and every pair of events."""
        self._width, self._memo = len(windows.vocabulary), None
        steps = self._steps(windows)
        self._orders = tuple(
            Followers.of(context, steps.events, self._symbols) for context in self._contexts(steps)
        )
        return self

    def score(self, windows: Windows) -> Scores:
        """The worst surprise of a window plus its mean surprise, in nats; 0 for a window without steps."""
        return self._judged(windows)[2]

    def explain(self, windows: Windows, row: int) -> tuple[Contribution, ...]:
        """One contribution for each odd step, those alike told once."""
        steps, surprise, _ = self._judged(windows)
        begin, end = np.searchsorted(steps.owner, [row, row + 1])
        heaviest = begin + np.argsort(-surprise[begin:end], kind="stable")
        told: dict[str, Contribution] = {}
        for step in heaviest:
            if surprise[step] < ODD or len(told) == TOLD:
                break
            reason = self._told(windows, row, steps, int(step), float(surprise[step]))
            told.setdefault(reason.text, reason)
        return tuple(told.values())

    def state(self) -> State:
        """The counts of runs of one, two and three events."""
        state: State = {"width": np.asarray(self._width)}
        for order, followers in enumerate(self._orders):
            state |= followers.state(f"order{order}")
        return state

    def restore(self, state: State) -> Self:
        """Take back what `state` gave."""
        self._width, self._memo = int(state["width"]), None
        self._orders = tuple(Followers.restored(state, f"order{order}") for order in range(3))
        return self

    @property
    def _symbols(self) -> int:
        return self._width + 3

    @property
    def _begin(self) -> int:
        return self._width + 1

    @property
    def _end(self) -> int:
        return self._width + 2

    def _judged(self, windows: Windows) -> tuple[_Steps, Floats, Scores]:
        """Steps, their surprise and the scores; kept, because every explanation asks for them again."""
        if self._memo is None or self._memo[0] is not windows:
            steps = self._steps(windows)
            surprise = self._surprise(steps)
            many = np.bincount(steps.owner, minlength=len(windows))
            total = np.bincount(steps.owner, surprise, minlength=len(windows))
            worst = np.zeros(len(windows))
            np.maximum.at(worst, steps.owner, surprise)
            self._memo = (windows, steps, surprise, worst + total / np.maximum(many, 1))
        return self._memo[1:]

    def _steps(self, windows: Windows) -> _Steps:
        """The steps of all windows, in order."""
        events = np.minimum(windows.events.astype(np.int64), self._width)
        lengths = np.diff(windows.offsets)
        if windows.kind is not WindowKind.SESSION:
            lead, count = 0, lengths
        else:
            lead, count = 1, np.where(lengths > 0, lengths + 1, 0)
        owner = np.repeat(np.arange(len(windows)), count)
        first = np.repeat(np.cumsum(count) - count, count)
        place = np.arange(len(owner)) - first
        symbols = self._at(events, windows.offsets, owner, place)
        before = self._at(events, windows.offsets, owner, place - 1)
        earlier = self._at(events, windows.offsets, owner, place - 2)
        inside = place >= 1 - lead
        return _Steps(owner[inside], place[inside], symbols[inside], before[inside], earlier[inside])

    def _at(self, events: Ints, offsets: Ints, owner: Ints, place: Ints) -> Ints:
        """The symbol at a place of a window: its event, or the beginning or the end beside it."""
        spot = offsets[owner] + place
        symbol = events[np.clip(spot, 0, max(len(events) - 1, 0))] if len(events) else spot
        ended = np.where(spot >= offsets[owner + 1], self._end, symbol)
        return np.where(place < 0, self._begin, ended)

    def _contexts(self, steps: _Steps) -> tuple[Ints, Ints, Ints]:
        """The contexts of no, one and two events."""
        return np.zeros(len(steps.events), dtype=np.int64), steps.before, self._pair(steps)

    def _pair(self, steps: _Steps) -> Ints:
        return steps.earlier * self._symbols + steps.before

    def _shares(self, steps: _Steps) -> list[Floats]:
        """For contexts of no, one and two events: the share of cases in which something as rare follows."""
        shares = [np.full(len(steps.events), 1 / (self._symbols + 1))]
        for followers, contexts in zip(self._orders, self._contexts(steps), strict=True):
            rare, cases = followers.as_rare(contexts, steps.events), followers.cases(contexts)
            shares.append(mixed(rare, cases, shares[-1]))
        return shares[1:]

    def _surprise(self, steps: _Steps) -> Floats:
        if not len(steps.events):
            return np.zeros(0)
        distinct, inverse = np.unique(self._pair(steps) * self._symbols + steps.events, return_inverse=True)
        pair, events = np.divmod(distinct, self._symbols)
        earlier, before = np.divmod(pair, self._symbols)
        shares = self._shares(_Steps(events, events, events, before, earlier))
        surprise: Floats = -np.log(np.clip(shares[-1], 1e-12, 1.0))[inverse]
        return surprise

    def _telling(self, alone: _Steps) -> int:
        """How many events of the context say best why one step is odd."""
        shares, contexts = self._shares(alone), self._contexts(alone)
        cases = [int(f.cases(c)[0]) for f, c in zip(self._orders, contexts, strict=True)]
        if not cases[1]:
            return 0
        rule = [
            f.usual(int(c[0]))[1] >= MOSTLY * n for f, c, n in zip(self._orders, contexts, cases, strict=True)
        ]
        common, rarer = shares[1][0] > np.exp(-ODD), shares[2][0] < HALVED * shares[1][0]
        clearer = rule[2] and not rule[1] and cases[2] >= ENOUGH
        return 2 if cases[2] and ((common and rarer) or clearer) else 1

    def _told(self, windows: Windows, row: int, steps: _Steps, step: int, surprise: float) -> Contribution:
        one = slice(step, step + 1)
        alone = _Steps(
            steps.owner[one], steps.place[one], steps.events[one], steps.before[one], steps.earlier[one]
        )
        contexts, order = self._contexts(alone), self._telling(alone)
        followers, context = self._orders[order], contexts[order]
        cases = int(followers.cases(context)[0])
        usual, often = followers.usual(int(context[0]))
        codes, place = windows.events[windows.span(row)].astype(np.int64), int(steps.place[step])
        names = [self._named(windows, codes, at) for at in range(max(place - order, -1), place) if order]
        came, expected = self._named(windows, codes, place), self._symbol(windows, usual)
        if often >= MOSTLY * cases:
            ordinary = f"{expected} in {share(often, cases)} of {cases:,} cases"
        else:
            seen = int(followers.followed(context, alone.events)[0])
            ordinary = f"{expected} most often ({share(often, cases)} of {cases:,} cases), this in {seen:,}"
        text = _sentence(came, " and ".join(names), ordinary, (place, len(codes)))
        shown = tuple(at for at in range(max(place - order, 0), place + 1) if at < len(codes))
        code = int(codes[min(place, len(codes) - 1)])
        return Contribution(
            surprise,
            text,
            AnomalyType.COLLECTIVE,
            code,
            expected,
            came,
            shown,
        )

    def _named(self, windows: Windows, codes: Ints, place: int) -> str:
        if place < 0:
            return "the beginning"
        return quoted(windows, int(codes[place])) if place < len(codes) else "the end"

    def _symbol(self, windows: Windows, symbol: int) -> str:
        if symbol < 0:
            return ""
        if symbol == self._end:
            return "the end"
        return "a new template" if symbol == self._width else quoted(windows, symbol)


def _sentence(came: str, after: str, ordinary: str, where: tuple[int, int]) -> str:
    """What came, after what, and what ordinarily does; `where` is its place and the window's length."""
    place, length = where
    if not after:
        return f"{came} is rare anywhere; here it stands among events it never followed"
    if place == length:
        return f"the session ends after {after}; after that comes {ordinary}"
    if place == 0:
        return f"the session begins with {came}; sessions begin with {ordinary}"
    return f"{came} followed {after} here; after that comes {ordinary}"
