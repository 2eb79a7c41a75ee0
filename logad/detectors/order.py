"""Finds sessions whose events came in an order that hardly any session has."""

from collections.abc import Iterator
from typing import ClassVar, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from logad.contracts import Detector, PartConfig, Scores, State
from logad.detectors._phrases import quoted
from logad.durations import format_duration
from logad.hashing import mixed
from logad.reference import clean_windows
from logad.types import AnomalyType, Contribution, WindowKind
from logad.windows import NO_TIME, Windows

# Chosen on orders planted into the first half in time of HDFS 2 % and into TrainTicket's traces.
OCCURRENCES: Final = 4  # of a template in a session that are steps of their own
FEWEST: Final = 50  # sessions that make a rule of two steps
LOOSE: Final = 0.05  # share of them that may break it, in whatever way, or it is none
SLIGHT: Final = 0.1  # of how far apart two steps are at least: clocks and writers confuse so much
LEAST: Final = 1.28  # standard deviations below the mean logarithm: nine in ten are farther apart
RARE: Final = 0.003  # share of sessions that makes it normal that one template is out of place
AT_MOST: Final = 0.1  # share that does, however many are
CHANCE: Final = 7.5e-4  # share of normal sessions that may break rules of their own, or one more says nothing
MANY: Final = 2  # templates out of place that may be chance
# Chosen for time and memory.
TEMPLATES: Final = 128  # the most frequent ones, whose order is learned
PAIRS: Final = 20_000_000  # of steps that are looked at; fewer templates are learned where there are more
TOLD: Final = 5
_AT_ONCE: Final = 1 << 19  # pairs that are looked at together
_SECOND: Final = 1_000_000


class _Steps(NamedTuple):
    """The first few events of each known template in some windows, in order; arrays (steps,)."""

    event: NDArray[np.int64]  # where it stands in the windows
    symbol: NDArray[np.int64]  # template and occurrence
    offsets: NDArray[np.int64]  # (windows + 1,)


class _Broken(NamedTuple):
    """Rules that one session breaks in earnest; arrays (rules,)."""

    row: int
    cell: NDArray[np.int64]  # the symbol that came first and the other one
    first: NDArray[np.int64]  # places in the session
    second: NDArray[np.int64]


class Order(Detector):
    """How much rarer the disorder of a session is than it may be, as a logarithm.

    A step is a template and its how-manieth time in the session. Two steps that nearly always come in one
    order are a rule if the first ones of their templates are, too. A session breaks it in earnest where
    they come the other way round by more than clocks and writers confuse: a tick of the clock, and a tenth
    of the time that lies between them at least, as a rule. The disorder is as rare as the rule that fewest
    sessions break; the more templates are out of place, the more sessions would have to agree to make it
    normal. And it must be rarer than disorder of a new kind among normal sessions (Good 1953: as likely as
    those kinds that were seen once). A session that is cut short breaks no rule.
    """

    name: ClassVar[str] = "order"
    kinds: ClassVar[frozenset[WindowKind]] = frozenset({WindowKind.SESSION})

    def __init__(self, config: PartConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._codes = np.zeros(0, dtype=np.int64)  # of the templates whose order is known, ascending
        self._rules = np.zeros(0, dtype=np.int64)  # cells (first, second) that break a rule, ascending
        self._both = np.zeros(0)  # of each: sessions that have both steps
        self._breaking = np.zeros(0)  # sessions that break it, in earnest or not
        self._apart = np.zeros(0)  # seconds that usually lie between at least
        self._tick = 0.0  # seconds that times are rounded to
        # the share of normal sessions that break a rule of their own, and of them, with a second template
        self._noise = np.zeros(2)

    def fit(self, windows: Windows) -> Self:
        """Learn which steps come before which, and how often that is otherwise."""
        normal = windows.take(np.flatnonzero(clean_windows(windows)))
        _, sample, weights = np.unique(_signatures(normal), return_index=True, return_counts=True)
        sequences = normal.take(sample)
        self._codes, self._tick = _common(normal, sequences), _tick(windows)
        self._learn(sequences, weights)
        self._noise = self._by_chance(normal)
        return self

    def score(self, windows: Windows) -> Scores:
        """ln(need / probability): above 0, too few sessions are in such disorder."""
        probability, need = self._tails(windows)
        return np.asarray(np.log(need / probability))

    def tail_probabilities(self, windows: Windows) -> Scores:
        """The share of sessions that break the session's rarest rule; more where any may break some."""
        return self._tails(windows)[0]

    def needs(self, windows: Windows) -> Scores:
        """The share of sessions below which each session's disorder is an alarm."""
        return self._tails(windows)[1]

    def explain(self, windows: Windows, row: int) -> tuple[Contribution, ...]:
        """One contribution for each two templates that came in the wrong order, the rarest first."""
        told: dict[tuple[int, int], Contribution] = {}
        for broken in self._broken(windows.take([row])):
            shares, moved = self._weighed(broken)
            nats = np.floor(-np.log(shares))
            both = self._both[self._at(broken.cell)]
            (early, former), (late, latter) = (
                np.divmod(each, OCCURRENCES) for each in np.divmod(broken.cell, self._symbols)
            )
            for at in np.lexsort((-both, former + latter, -nats)).tolist():
                pair = int(early[at]), int(late[at])
                if len(told) == TOLD:
                    break
                if pair not in told and pair[::-1] not in told:
                    about = float(nats[at]), 0 if told else moved
                    told[pair] = self._told(windows, row, broken, at, about)
        return tuple(told.values())

    def state(self) -> State:
        """The rules, and how often they are broken."""
        return {
            "codes": self._codes,
            "rules": self._rules,
            "both": self._both,
            "breaking": self._breaking,
            "apart": self._apart,
            "noise": self._noise,
            "tick": np.asarray(self._tick),
        }

    def restore(self, state: State) -> Self:
        """Take the arrays back."""
        self._codes, self._rules, self._both = state["codes"], state["rules"], state["both"]
        self._breaking, self._apart, self._noise = state["breaking"], state["apart"], state["noise"]
        self._tick = float(state["tick"])
        return self

    @property
    def _symbols(self) -> int:
        return len(self._codes) * OCCURRENCES

    def _learn(self, sequences: Windows, weights: NDArray[np.int64]) -> None:
        """Which steps come before which, and how far apart, in sequences that so many sessions have each."""
        steps = _steps(sequences, self._codes)
        cells = self._symbols**2
        before, total, squares = np.zeros(cells), np.zeros(cells), np.zeros(cells)
        for chunk, first, second in _pairs(steps):
            cell = steps.symbol[first] * self._symbols + steps.symbol[second]
            many = weights[chunk].astype(np.float64)
            gap = np.nan_to_num(_gap(sequences, steps.event[first], steps.event[second]))
            gap = np.log(gap + self._tick / 2)
            before += np.bincount(cell, many, cells)
            total += np.bincount(cell, many * gap, cells)
            squares += np.bincount(cell, many * gap**2, cells)
        mean = total / np.maximum(before, 1)
        spread = np.sqrt(np.maximum(squares / np.maximum(before, 1) - mean**2, 0))
        apart = np.where(before > 0, np.maximum(np.exp(mean - LEAST * spread) - self._tick / 2, 0), 0)
        apart, wrong = (each.reshape(self._symbols, self._symbols) for each in (apart, before))
        both = wrong + wrong.T
        kept = (both >= FEWEST) & (wrong <= LOOSE * both)
        firsts = kept[::OCCURRENCES, ::OCCURRENCES]
        kept &= np.kron(firsts | firsts.T, np.ones((OCCURRENCES, OCCURRENCES), dtype=np.bool_))
        self._rules = np.flatnonzero(kept)
        self._both, self._breaking = both.ravel()[self._rules], wrong.ravel()[self._rules]
        self._apart = apart.T.ravel()[self._rules]

    def _by_chance(self, normal: Windows) -> NDArray[np.float64]:
        """How often sessions break a rule of their own, and how often of these a second template is odd.

        Those with more templates out of place may be anomalies, and count neither here nor for the rules.
        """
        broken = [(each.cell, self._weighed(each)[1]) for each in self._broken(normal)]
        wild = [self._at(cell) for cell, moved in broken if moved > MANY]
        breaking = self._breaking - np.bincount(
            np.concatenate([self._rules[:0], *wild]), minlength=len(self._rules)
        )
        alone, further = 0, 0
        for cell, moved in broken:
            if moved <= MANY:
                at = self._at(cell)
                rarest = at[np.argmin(np.maximum(breaking[at] - 0.5, 0.5) / (self._both[at] + 1))]
                if breaking[rarest] <= 1 and 0.5 / (self._both[rarest] + 1) < RARE:
                    alone += 1
                    further += moved == MANY
        return np.asarray([(alone + 0.5) / max(len(normal), 1), (further + 1) / (alone + 2)])

    def _at(self, cell: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self._rules, cell)

    def _broken(self, windows: Windows) -> Iterator[_Broken]:
        """What each session breaks in earnest, for those that do; sessions of one sequence together."""
        if not len(self._rules):
            return
        _, sample, inverse = np.unique(_signatures(windows), return_index=True, return_inverse=True)
        sequences = windows.take(sample)
        steps = _steps(sequences, self._codes)
        by_sequence = np.argsort(inverse, kind="stable")
        bounds = np.searchsorted(inverse[by_sequence], np.arange(len(sample) + 1))
        for chunk, first, second in _pairs(steps):
            cell = steps.symbol[first] * self._symbols + steps.symbol[second]
            at = np.minimum(self._at(cell), len(self._rules) - 1)
            wrong = np.flatnonzero(self._rules[at] == cell)
            begins = np.flatnonzero(np.diff(chunk[wrong], prepend=-1))
            for here in np.split(wrong, begins[1:]) if len(wrong) else []:
                sequence, rules = int(chunk[here[0]]), at[here]
                start = sequences.offsets[sequence]
                earlier, later = (steps.event[each[here]] - start for each in (first, second))
                rows = by_sequence[bounds[sequence] : bounds[sequence + 1]]
                base = windows.offsets[rows][:, None]
                gap = _gap(windows, base + earlier, base + later)
                slight = (gap <= self._tick) | (gap < SLIGHT * self._apart[rules])
                for row in np.flatnonzero(~slight.all(axis=1)).tolist():
                    kept = ~slight[row]
                    yield _Broken(int(rows[row]), self._rules[rules[kept]], earlier[kept], later[kept])

    def _weighed(self, broken: _Broken) -> tuple[NDArray[np.float64], int]:
        """The share of sessions that break each rule, and how many templates are out of place.

        Seen once is never: it may be the session itself.
        """
        at = self._at(broken.cell)
        shares = (np.maximum(self._breaking[at], 1) - 0.5) / (self._both[at] + 1)
        templates = (np.unique(each // OCCURRENCES) for each in np.divmod(broken.cell, self._symbols))
        return shares, min(map(len, templates))

    def _tails(self, windows: Windows) -> tuple[Scores, Scores]:
        probability, need = np.ones(len(windows)), np.full(len(windows), RARE)
        by_chance, further = self._noise.tolist()
        for broken in self._broken(windows):
            shares, moved = self._weighed(broken)
            enough = min(AT_MOST, RARE * moved * (moved + 1) / 2)  # each two of them are out of order
            chance = by_chance * further ** (moved - 1)
            lesser, greater = sorted((float(shares.min()), enough * chance / CHANCE))
            probability[broken.row] = min(1.0, greater + lesser / 100)  # of equals, the rarer is stranger
            need[broken.row] = enough
        return probability, need

    def _told(
        self, windows: Windows, row: int, broken: _Broken, at: int, about: tuple[float, int]
    ) -> Contribution:
        """Two steps in the wrong order in words; `about` are nats, and templates that are out of place."""
        nats, moved = about
        first, second = (int(each) for each in np.divmod(broken.cell[at], self._symbols))
        places = int(broken.first[at]), int(broken.second[at])
        start = int(windows.offsets[row])
        gap = float(_gap(windows, *(np.asarray([start + place]) for place in places))[0])
        early, late = self._named(windows, first), self._named(windows, second)
        rule = int(self._at(broken.cell[at]))
        both, otherwise = int(self._both[rule]), int(self._breaking[rule])
        usual = f"all {both:,}" if otherwise <= 1 else f"{both - otherwise:,} of {both:,}"
        general = f"{moved} kinds of step are out of order: " if moved > MANY else ""
        how_far = f" {format_duration(gap)}" if gap >= 1 else ""
        return Contribution(
            nats,
            f"{general}{early} came{how_far} before {late}; in {usual} sessions with both it comes after",
            AnomalyType.COLLECTIVE,
            int(self._codes[first // OCCURRENCES]),
            f"after {late}",
            f"before {late}",
            places,
        )

    def _named(self, windows: Windows, symbol: int) -> str:
        template, occurrence = divmod(symbol, OCCURRENCES)
        name = quoted(windows, int(self._codes[template]))
        return f"{('', 'the second ', 'the third ', 'the fourth ')[occurrence]}{name}"


def _common(windows: Windows, sequences: Windows) -> NDArray[np.int64]:
    """The templates that enough sessions have, the most frequent if these are too many, ascending."""
    sessions = np.bincount(windows.occurrences.code, minlength=len(windows.vocabulary))
    ranked = np.argsort(-sessions, kind="stable")[:TEMPLATES]
    ranked = ranked[sessions[ranked] >= FEWEST]
    owner, code, times = sequences.occurrences
    while len(ranked):
        steps = np.bincount(owner, np.minimum(times, OCCURRENCES) * np.isin(code, ranked))
        if (steps**2).sum() <= 2 * PAIRS:
            break
        ranked = ranked[: len(ranked) // 2]
    return np.sort(ranked).astype(np.int64)


def _signatures(windows: Windows) -> NDArray[np.uint64]:
    """One number a window, equal for equal sequences of events, shape (windows,)."""
    place = np.arange(len(windows.events)) - windows.offsets[windows.owner]
    tokens = mixed(place * (1 << 31) + windows.events)
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(tokens, dtype=np.uint64)])
    return np.asarray(sums[windows.offsets[1:]] - sums[windows.offsets[:-1]])


def _steps(windows: Windows, codes: NDArray[np.int64]) -> _Steps:
    """The first OCCURRENCES events of each of the templates in each window."""
    if not len(codes):
        return _Steps(codes, codes, np.zeros(len(windows) + 1, dtype=np.int64))
    template = np.minimum(np.searchsorted(codes, windows.events), len(codes) - 1)
    event = np.flatnonzero(codes[template] == windows.events)
    key = windows.owner[event] * len(codes) + template[event]
    order = np.argsort(key, kind="stable")
    begins = np.flatnonzero(np.diff(key[order], prepend=-1))
    occurrence = np.empty(len(event), dtype=np.int64)
    occurrence[order] = np.arange(len(event)) - np.repeat(begins, np.diff(np.append(begins, len(event))))
    kept = occurrence < OCCURRENCES
    event, occurrence = event[kept], occurrence[kept]
    offsets = np.searchsorted(event, windows.offsets)
    return _Steps(event, template[event] * OCCURRENCES + occurrence, offsets)


def _pairs(steps: _Steps) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Every two steps of each of the windows, some windows at a time: which window, earlier, later."""
    many = np.diff(steps.offsets)
    total = np.cumsum(many * (many - 1) // 2)
    for chosen in np.split(np.arange(len(many)), np.flatnonzero(np.diff(total // _AT_ONCE)) + 1):
        lengths = many[chosen]
        owner = np.repeat(chosen, lengths)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        later = np.repeat(lengths, lengths) - place - 1
        spot = steps.offsets[owner] + place
        first = np.repeat(spot, later)
        nth = np.arange(len(first)) - np.repeat(np.cumsum(later) - later, later)
        yield np.repeat(owner, later), first, first + 1 + nth


def _gap(windows: Windows, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
    """Seconds from one event to another, at least 0; NaN where either has no time."""
    begin, end = windows.times[first], windows.times[second]
    known = (begin != NO_TIME) & (end != NO_TIME)
    return np.where(known, np.maximum(end - begin, 0) / _SECOND, np.nan)


def _tick(windows: Windows) -> float:
    """What the times are rounded to, in seconds: whole ones, thousandths or less."""
    known = windows.times[windows.times != NO_TIME]
    whole = [tick for tick in (_SECOND, _SECOND // 1000) if len(known) and not (known % tick).any()]
    return max([1, *whole]) / _SECOND
