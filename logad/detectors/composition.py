"""Finds windows of N records that hold other things, or in another order, than the others."""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from logad.contracts import Detector, PartConfig, Scores, State
from logad.detectors._amounts import Amounts, Floats, Ints
from logad.detectors._far_tail import FarTail
from logad.detectors._pauses import Pauses, pauses
from logad.detectors._phrases import duration, quoted, share, times
from logad.detectors._succession import NEVER, Steps, Succession
from logad.types import AnomalyType, Contribution, WindowKind
from logad.windows import Windows

REGULAR: Final = 0.9  # share of windows that have a template which is then missed
SPARED: Final = 3.0  # nats that every sum forgives each of its parts but the largest
TURNED: Final = 1.0  # nats that two events may come the other way round
GATE: Final = 1.0  # nats of each sign that the sum of them leaves out
NEED: Final = 0.001  # of windows may be flagged ...
NEED_OF_FEW: Final = 0.2  # ... or so many of them in all, if they are few, but ...
NEED_AT_MOST: Final = 0.01  # ... no more than this share; all chosen on planted anomalies
BEGINNING: Final = (
    0.1  # of that for a window with the first line of a source; chosen on the start of Spark 2k
)
TOLD: Final = 5
WORTH_TELLING: Final = 2.0  # nats
EVIDENCE: Final = 3
SECOND: Final = 1e6


@dataclass(frozen=True, slots=True)
class _Signs:
    """What speaks against windows, in nats; each array (signs,)."""

    owner: Ints
    code: Ints  # the template that it is about
    nats: Floats
    place: Ints  # the event of the window that shows it; -1: none does
    beside: Floats  # what is left of it beside a larger one: rare templates come together

    def largest(self, windows: int) -> Scores:
        """The largest of each window."""
        most = np.zeros(windows)
        np.maximum.at(most, self.owner, self.nats)
        return most

    def most(self, windows: int) -> Scores:
        """The largest of each window, and of the others what is above SPARED."""
        most = self.largest(windows)
        largest = self.nats == most[self.owner]
        more = np.where(largest, 0.0, np.maximum(self.beside - SPARED, 0.0))
        return np.asarray(most + np.bincount(self.owner, more, minlength=windows))

    def total(self, windows: int) -> Scores:
        """The sum of each window."""
        return np.bincount(self.owner, self.nats, minlength=windows).astype(np.float64)


class Composition(Detector):
    """-ln of how often a window of N records is as strange as this one, by what it holds and in what order.

    Five signs, each in nats, are measured by the other windows: more of a template than negative binomial
    counts explain, the rarer the template the less is needed; a template more often in a row than ever; one
    missing that nearly all windows have; two that come the other way round than they usually do; a pause
    longer than any. For each, and for all together, an exponential tail is fitted to what windows usually
    have: a log in which something is always new or in disorder is judged by its own measure, and what is
    beyond all that was seen is extrapolated. The largest values are set aside everywhere: no window is
    measured by itself, and a few anomalies do not hide each other.
    """

    name: ClassVar[str] = "composition"
    kinds: ClassVar[frozenset[WindowKind]] = frozenset({WindowKind.RECORDS})

    def __init__(self, config: PartConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._windows = 0
        self._size = 1.0  # events of a usual window
        self._having = np.zeros(0, dtype=np.int64)  # windows that have each template
        self._rarest = np.zeros(0, dtype=np.int64)  # of each window, how many have its rarest one; ascending
        nothing = np.zeros(0, dtype=np.int64)
        self._amounts = self._runs = Amounts.of(nothing, nothing, 0)
        self._succession = Succession.of(Steps(nothing, nothing, nothing, nothing), 1)
        self._pauses = Pauses(np.zeros(0), 1.0, 0)
        self._tails: tuple[FarTail, ...] = ()
        self._fused = FarTail.of(np.zeros(0))
        self._memo: tuple[Windows, tuple[_Signs, ...], NDArray[np.float64]] | None = None

    def fit(self, windows: Windows) -> Self:
        """Learn what windows hold, in what order and at what pace."""
        width = len(windows.vocabulary)
        lengths = np.diff(windows.offsets)
        self._memo = None
        self._windows = len(windows)
        self._size = max(float(np.median(lengths)), 1.0) if len(windows) else 1.0
        window, code, counts = windows.occurrences
        self._having = np.bincount(code, minlength=width + 1)
        rarest = np.full(len(windows), len(windows) + 1)
        np.minimum.at(rarest, window, self._having[code])
        self._rarest = np.sort(rarest)
        self._amounts = Amounts.of(code.astype(np.int64), counts, width)
        _, code, runs, _ = _runs(windows)
        self._runs = Amounts.of(code, runs, width)
        self._succession = Succession.of(Steps.of(windows, width), width + 1)
        self._pauses = Pauses.of(windows)
        statistics = _statistics(self._signs(windows), len(windows))
        self._tails = tuple(FarTail.of(each) for each in statistics)
        self._fused = FarTail.of(_together(_probabilities(self._tails, statistics)))
        return self

    @property
    def need(self) -> float:
        """The share of windows that may be flagged."""
        return max(NEED, min(NEED_AT_MOST, NEED_OF_FEW / max(self._windows, 1)))

    def needs(self, windows: Windows) -> Scores:
        """The same a window, less where a source begins: no other window shows what that is like."""
        begins = windows.table["first_line"].fill_null(0).to_numpy() == 1
        return np.where(begins, BEGINNING * self.need, self.need)

    def score(self, windows: Windows) -> Scores:
        """-ln of the tail probability, in nats."""
        return np.asarray(-np.log(self.tail_probabilities(windows)), dtype=np.float64)

    def tail_probabilities(self, windows: Windows) -> Scores:
        """The least probability of a sign, or of all together, times the number of them, at most 1."""
        probabilities = self._judged(windows)[1]
        together = self._fused.probability(_together(probabilities))
        least = np.minimum(probabilities.min(axis=0), together)
        return np.asarray(np.clip(least * (len(probabilities) + 1), 1e-300, 1.0), dtype=np.float64)

    def explain(self, windows: Windows, row: int) -> tuple[Contribution, ...]:
        """One contribution for each sign that is worth a word, the heaviest first."""
        signs, probabilities = self._judged(windows)
        told: dict[str, Contribution] = {}
        tell = (
            self._tell_amount,
            self._tell_run,
            self._tell_missing,
            self._tell_turned,
            self._tell_pause,
        )
        for kind, (sign, telling) in enumerate(zip(signs, tell, strict=True)):
            surprise = -np.log(max(probabilities[kind, row], 1e-300))
            mine = np.flatnonzero((sign.owner == row) & (sign.nats > 0))
            mine = mine[np.argsort(-sign.nats[mine], kind="stable")][
                : 1 if telling == self._tell_pause else TOLD
            ]
            for at in mine.tolist():
                if sign.nats[at] < WORTH_TELLING and at != mine[0]:
                    break
                weight = float(surprise * sign.nats[at] / sign.nats[mine[0]])
                found = telling(windows, row, sign, at, weight)
                told.setdefault(found.text, found)
        ranked = sorted(told.values(), key=lambda each: -each.weight)
        return tuple(each for each in ranked if each.weight >= WORTH_TELLING or each is ranked[0])[:TOLD]

    def state(self) -> State:
        """Everything learned, as arrays."""
        about = np.asarray([self._windows, self._size])
        tails = [[tail.threshold, tail.share, tail.excess] for tail in (*self._tails, self._fused)]
        return {
            "about": about,
            "having": self._having,
            "rarest": self._rarest,
            "tails": np.asarray(tails, dtype=np.float64).reshape(-1, 3),
            **self._amounts.state("amounts"),
            **self._runs.state("runs"),
            **self._succession.state("succession"),
            **self._pauses.state("pauses"),
        }

    def restore(self, state: State) -> Self:
        """Take the arrays back."""
        windows, self._size = state["about"].tolist()
        self._windows = int(windows)
        self._having, self._rarest = state["having"], state["rarest"]
        *tails, self._fused = (FarTail(*row) for row in state["tails"].tolist())
        self._tails = tuple(tails)
        self._amounts = Amounts.restored(state, "amounts")
        self._runs = Amounts.restored(state, "runs")
        self._succession = Succession.restored(state, "succession")
        self._pauses = Pauses.restored(state, "pauses")
        self._memo = None
        return self

    def _judged(self, windows: Windows) -> tuple[tuple[_Signs, ...], NDArray[np.float64]]:
        """Signs and the probability of each kind of them; kept, for every explanation asks for them again."""
        if self._memo is None or self._memo[0] is not windows:
            signs = self._signs(windows)
            statistics = _statistics(signs, len(windows))
            self._memo = (windows, signs, _probabilities(self._tails, statistics))
        return self._memo[1:]

    def _signs(self, windows: Windows) -> tuple[_Signs, ...]:
        return (
            self._amount_signs(windows),
            self._run_signs(windows),
            self._missing_signs(windows),
            self._turned_signs(windows),
            self._pause_signs(windows),
        )

    # The signs of each kind -------------------------------------------------------------------------

    def _amount_signs(self, windows: Windows) -> _Signs:
        window, code, counts = windows.occurrences
        known = np.minimum(code.astype(np.int64), self._width)
        rare = np.searchsorted(self._rarest, np.maximum(self._having[known], 1), "right") - 1
        rarity = -np.log(np.minimum(1.0, (np.maximum(rare, 0) + 0.5) / max(self._windows, 1)))
        amount = self._amounts.surprise(known, counts)
        return _Signs(window, code.astype(np.int64), amount + rarity, np.full(len(window), -1), amount)

    def _run_signs(self, windows: Windows) -> _Signs:
        owner, code, runs, place = _runs(windows)
        nats = self._runs.surprise(np.minimum(code, self._width), runs)
        return _Signs(owner, code, nats, place, nats)

    def _missing_signs(self, windows: Windows) -> _Signs:
        having = self._having[:-1]
        regular = np.flatnonzero(having >= max(REGULAR * self._windows, 1))
        window, code, _ = windows.occurrences
        spot = np.searchsorted(regular, code)
        there = np.append(regular, -1)[spot] == code
        absent = np.ones((len(windows), len(regular)), dtype=np.bool_)
        absent[window[there], spot[there]] = False
        owner, at = np.nonzero(absent)
        without = np.maximum(self._windows - having[regular] - 1, 0)
        probability = (without + NEVER) / max(self._windows, 1)
        filled = np.minimum(np.diff(windows.offsets) / self._size, 1.0)
        nats = -np.log(np.clip(probability, 1e-300, 1.0))[at] * filled[owner]
        return _Signs(owner, regular[at], nats, np.full(len(owner), -1), nats)

    def _turned_signs(self, windows: Windows) -> _Signs:
        steps = Steps.of(windows, self._width)
        nats = self._succession.turned(steps.before, steps.after) - TURNED
        turned = np.flatnonzero(nats > 0)
        steps, nats = steps.take(turned), nats[turned]
        first, counts = steps.kinds(self._width + 1)
        steps, nats = steps.take(first), nats[first] * (1 + np.log(counts))
        code = windows.events[windows.offsets[steps.owner] + steps.place].astype(np.int64)
        return _Signs(steps.owner, code, nats, steps.place, nats)

    def _pause_signs(self, windows: Windows) -> _Signs:
        owner, place, seconds = pauses(windows)
        nats, _ = self._pauses.surprise(seconds)
        far = nats > 0
        owner, place, nats = owner[far], place[far], nats[far]
        code = windows.events[windows.offsets[owner] + place].astype(np.int64)
        return _Signs(owner, code, nats, place, nats)

    @property
    def _width(self) -> int:
        """Templates that are known."""
        return max(len(self._having) - 1, 0)

    # The same in words ------------------------------------------------------------------------------

    def _tell_amount(self, windows: Windows, row: int, sign: _Signs, at: int, weight: float) -> Contribution:
        code = int(sign.code[at])
        known = min(code, self._width)
        events = np.flatnonzero(windows.events[windows.span(row)] == code)
        many, having = len(events), int(self._having[known])
        size = int(np.diff(windows.offsets)[row])
        name, what = quoted(windows, code), f"came {times(many)} in {size:,} records"
        highest = int(self._amounts.highest[known])
        if not having:
            text, usual = f"{name} {what}; it is in none of {self._windows:,} windows before", "0"
        elif having <= 1:
            text, usual = f"{name} {what}; it is in no other of {self._windows:,} windows", "0"
        else:
            usual = f"at most {times(highest)}"
            held = f"{share(having, self._windows)} of windows have it, {usual}"
            text = f"{name} {what}; {held}, usually {self._amounts.middle[known]}"
        return _contribution(weight, text, code, (usual, str(many)), events[:EVIDENCE])

    def _tell_run(self, windows: Windows, row: int, sign: _Signs, at: int, weight: float) -> Contribution:
        code, place = int(sign.code[at]), int(sign.place[at])
        alike = windows.events[windows.span(row)][place:] == code
        many = int(np.argmin(np.append(alike, False)))
        highest = max(int(self._runs.highest[min(code, self._width)]), 1)
        usual = f"at most {highest}" if highest > 1 else "never twice"
        text = f"{quoted(windows, code)} came {times(many)} in a row; elsewhere {usual}"
        return _contribution(
            weight, text, code, (usual, str(many)), np.arange(place, place + many)[:EVIDENCE]
        )

    def _tell_missing(self, windows: Windows, row: int, sign: _Signs, at: int, weight: float) -> Contribution:
        code = int(sign.code[at])
        held = share(float(self._having[code]), self._windows)
        usual = int(self._amounts.middle[code])
        text = f"{quoted(windows, code)} did not come; {held} of windows have it, usually {times(usual)}"
        return _contribution(weight, text, code, (str(usual), "0"), _ends(windows, row))

    def _tell_turned(self, windows: Windows, row: int, sign: _Signs, at: int, weight: float) -> Contribution:
        code, place = int(sign.code[at]), int(sign.place[at])
        before = int(windows.events[windows.span(row)][place - 1])
        pair = np.asarray([before]), np.asarray([code])
        back, there = (int(self._succession.taken(*each)[0]) for each in (pair[::-1], pair))
        first, second = quoted(windows, code), quoted(windows, before)
        usual = f"{share(back, back + there)} of {back + there:,} cases"
        text = f"{first} came right after {second}; elsewhere it is the other way round in {usual}"
        order = f"{first}, then {second}", f"{second}, then {first}"
        return _contribution(weight, text, code, order, np.asarray([place - 1, place]))

    def _tell_pause(self, windows: Windows, row: int, sign: _Signs, at: int, weight: float) -> Contribution:
        place = int(sign.place[at])
        moments = windows.times[windows.span(row)]
        seconds = float(moments[place] - moments[place - 1]) / SECOND
        longest = duration(float(self._pauses.surprise(np.asarray([seconds]))[1][0]))
        text = (
            f"nothing was written for {duration(seconds)}; hardly any other window has a pause over {longest}"
        )
        told = f"at most {longest}", duration(seconds)
        return Contribution(weight, text, AnomalyType.CONTEXTUAL, None, *told, (place - 1, place))


def _contribution(
    weight: float, text: str, code: int | None, told: tuple[str, str], events: Ints
) -> Contribution:
    return Contribution(weight, text, AnomalyType.COLLECTIVE, code, *told, tuple(events.tolist()))


def _ends(windows: Windows, row: int) -> Ints:
    """The first and the last event of a window."""
    size = int(windows.offsets[row + 1] - windows.offsets[row])
    return np.unique(np.asarray([0, size - 1])) if size else np.zeros(0, dtype=np.int64)


def _statistics(signs: tuple[_Signs, ...], windows: int) -> list[Scores]:
    """What each sign makes of windows: of orders the sum, else the largest and what is beside it."""
    amount, run, missing, turned, pause = signs
    most = [each.most(windows) for each in (amount, run, missing)]
    return [*most, turned.total(windows), pause.largest(windows)]


def _probabilities(tails: tuple[FarTail, ...], statistics: list[Scores]) -> NDArray[np.float64]:
    """How often each sign is so strong, shape (signs, windows)."""
    return np.asarray([tail.probability(each) for tail, each in zip(tails, statistics, strict=True)])


def _together(probabilities: NDArray[np.float64]) -> Scores:
    """What all signs say that is beyond one nat each (as Fisher 1932 sums them; noise says little)."""
    surprise = -np.log(np.clip(probabilities, 1e-300, 1.0)) - GATE
    return np.asarray(np.maximum(surprise, 0.0).sum(axis=0))


def _runs(windows: Windows) -> tuple[Ints, Ints, Ints, Ints]:
    """Window, template, length and place of the longest run of each template in each window."""
    window, code, _ = windows.occurrences
    events, width = windows.events.astype(np.int64), max(len(windows.vocabulary), 1)
    opens = np.flatnonzero((np.diff(events, prepend=-1) != 0) | (np.diff(windows.owner, prepend=-1) != 0))
    lengths = np.diff(np.append(opens, len(events)))
    opens, lengths = opens[lengths > 1], lengths[lengths > 1]
    owner = windows.owner[opens]
    spot = np.searchsorted(window * width + code, owner * width + events[opens])
    longest, place = np.ones(len(window), dtype=np.int64), np.zeros(len(window), dtype=np.int64)
    np.maximum.at(longest, spot, lengths)
    shown = np.flatnonzero(lengths == longest[spot])[::-1]  # the first of several is set last
    place[spot[shown]] = (opens - windows.offsets[owner])[shown]
    return window, code.astype(np.int64), longest, place
