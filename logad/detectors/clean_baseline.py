"""Finds sessions with a combination of counts that no session of a baseline somebody vouches for has."""

from itertools import combinations
from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from logad.contracts import Detector, Scores, State
from logad.detectors._phrases import quoted, times
from logad.features import VALUES, binned, doubled
from logad.hashing import mixed
from logad.reference import FEWEST, Waits, usual_waits
from logad.types import AnomalyType, Contribution, WindowKind
from logad.windows import Windows

Group = tuple[int, ...]

BUDGET: Final = 0.001  # share of baseline sessions that may so alarm ...
BUDGET_SESSIONS: Final = 3  # ... or so many sessions, if those are no more than ...
BUDGET_AT_MOST: Final = 0.01  # ... this share
CLASS: Final = 100  # sessions that tell one count from others where it varies; from HDFS 2 %, first half
PAIRED: Final = 150  # templates, the most varied ones, whose pairs are facts
_ROWS: Final = 2000  # distinct vectors checked at a time, to bound memory


class CleanBaseline(Detector):
    """A fact is the count of one template, or of two together; an alarm is a fact never seen.

    Facts of a group of templates count only if few baseline sessions hold one that no other has: that keeps
    the false alarms that leaving one session out would cause within a budget. Sessions that are on a known
    way and silent no longer than usual there are open, not strange.
    """

    name: ClassVar[str] = "clean_baseline"
    kinds: ClassVar[frozenset[WindowKind]] = frozenset({WindowKind.SESSION})

    alike: NDArray[np.int8]  # (templates, VALUES) the value that stands for each
    groups: NDArray[np.int64]  # (groups, 2) codes, -1 where a group has one
    facts: NDArray[np.uint64]  # sorted keys of the facts that were seen
    templates: int  # vocabulary at fit; what is beyond is new
    sessions: int
    waits: Waits

    def fit(self, windows: Windows) -> Self:
        """Choose the groups and remember their facts."""
        distinct = windows.distinct
        self.alike = _alike(binned(distinct.counts), distinct.weights)
        values, first = np.unique(self._values(distinct.counts), axis=0, return_inverse=True)
        weights = np.bincount(first.ravel(), distinct.weights, len(values)).astype(np.int64)
        self.templates = values.shape[1]
        self.sessions = len(windows)
        self.groups = _within_budget(values, weights)
        self.facts = np.unique(self._keys(values))
        self.waits = usual_waits(windows)
        return self

    @property
    def need(self) -> float:
        """The share of sessions that may alarm."""
        return _budget(self.sessions) / max(self.sessions, 1)

    def score(self, windows: Windows) -> Scores:
        """How many templates it takes to tell what was never seen; 0 where nothing is strange."""
        distinct = windows.distinct
        values = self._values(distinct.counts)
        unseen = self._unseen(values)
        strange = np.zeros(len(values))
        for row in np.flatnonzero(unseen.any(axis=1)):
            strange[row] = len({code for group in self._told_by(unseen[row]) for code in group})
        strange += (values[:, self.templates :] > 0).sum(axis=1)
        return np.where(self.waits.still_open(windows), 0.0, strange[distinct.inverse])

    def tail_probabilities(self, windows: Windows) -> Scores:
        """1 / (sessions + 1), less where several templates are strange; 1 where nothing is."""
        strange = self.score(windows)
        return np.where(strange > 0, 1 / ((self.sessions + 1) * np.maximum(strange, 1)), 1.0)

    def explain(self, windows: Windows, row: int) -> tuple[Contribution, ...]:
        """One contribution for each new template and each combination of counts that was never seen."""
        counts = windows.distinct.counts[windows.distinct.inverse[row]]
        groups = self._told_by(self._unseen(self._values(counts[None, :]))[0])
        groups += [(code,) for code in range(self.templates, len(counts)) if counts[code]]
        events = windows.events[windows.span(row)]
        told = []
        for group in groups:
            where = np.flatnonzero(np.isin(events, group))
            new = group[0] >= self.templates
            told.append(
                Contribution(
                    1 + float(max(windows.severities[list(group)])) / len(group),
                    self._sentence(windows, group, counts),
                    AnomalyType.POINT if new else AnomalyType.COLLECTIVE,
                    _odd(group, counts),
                    "0" if new else "other counts",
                    ", ".join(str(counts[code]) for code in group),
                    tuple(where[:2].tolist() if len(where) else range(len(events))[-1:]),
                )
            )
        return tuple(sorted(told, key=lambda contribution: -contribution.weight))

    def _sentence(self, windows: Windows, group: Group, counts: NDArray[np.int64]) -> str:
        parts = [
            f"{quoted(windows, code)} came {times(int(counts[code]))}"
            if counts[code]
            else f"{quoted(windows, code)} never came"
            for code in group
        ]
        return f"{' while '.join(parts)}; none of the {self.sessions:,} sessions of the baseline has that"

    def _told_by(self, unseen: NDArray[np.bool_]) -> list[Group]:
        """The unseen groups, the small ones first, without those of which a part was told already."""
        told: list[Group] = []
        for padded in self.groups[unseen].tolist():
            group = tuple(code for code in padded if code >= 0)
            if not any(set(group) & set(other) for other in told):
                told.append(group)
        return told

    def _values(self, counts: NDArray[np.int64]) -> NDArray[np.int8]:
        values = binned(counts)
        known = min(values.shape[1], len(self.alike))
        values[:, :known] = self.alike[np.arange(known), values[:, :known]]
        return values

    def _unseen(self, values: NDArray[np.int8]) -> NDArray[np.bool_]:
        """Which groups have a fact that was never seen, shape (rows, groups)."""
        if not self.sessions:
            return np.zeros((len(values), len(self.groups)), dtype=np.bool_)
        missing = max(self.templates - values.shape[1], 0)
        values = np.pad(values, ((0, 0), (0, missing)))[:, : self.templates]
        unseen = np.zeros((len(values), len(self.groups)), dtype=np.bool_)
        for begin in range(0, len(values), _ROWS):
            keys = self._keys(values[begin : begin + _ROWS])
            at = np.minimum(np.searchsorted(self.facts, keys), len(self.facts) - 1)
            unseen[begin : begin + _ROWS] = self.facts[at] != keys
        return unseen

    def _keys(self, values: NDArray[np.int8]) -> NDArray[np.uint64]:
        """One number for each fact, shape (rows, groups)."""
        padded = np.pad(values.astype(np.int64), ((0, 0), (0, 1)))  # code -1 has no count
        fact = np.zeros((len(values), len(self.groups)), dtype=np.int64)
        for place in range(2):
            fact = fact * VALUES + padded[:, self.groups[:, place]]
        return np.asarray(mixed(fact) ^ mixed(-1 - np.arange(len(self.groups))))

    def state(self) -> State:
        """Groups, facts and waits."""
        state: State = {"groups": self.groups, "facts": self.facts, "alike": self.alike}
        state["sizes"] = np.array([self.templates, self.sessions])
        return state | dict(vars(self.waits))

    def restore(self, state: State) -> Self:
        """Take the arrays back."""
        self.groups, self.facts, self.alike = state["groups"], state["facts"], state["alike"]
        self.templates, self.sessions = (int(size) for size in state["sizes"])
        self.waits = Waits(state["states"], state["longest"])
        return self


def _odd(group: Group, counts: NDArray[np.int64]) -> int:
    """The template of a group to blame: the first that is missing, else the first."""
    return next((code for code in group if not counts[code]), group[0])


def _alike(values: NDArray[np.int8], weights: NDArray[np.int64]) -> NDArray[np.int8]:
    """The value that stands for each of a template's: its least neighbour that tells as much.

    Where three or more come, neighbours stand for each other until CLASS sessions have one of them: what
    lies between counts that vary, or up to twice the highest, is nothing new.
    """
    alike = np.tile(np.arange(VALUES, dtype=np.int8), (values.shape[1], 1))
    for code, column in enumerate(values.T):
        sessions = np.bincount(column, weights, minlength=VALUES)
        seen = np.flatnonzero(sessions[1:]) + 1
        if len(seen) < FEWEST:
            continue
        end, held = doubled(int(seen[-1])) + 1, 0
        for value in range(end - 1, 0, -1):
            held += sessions[value]
            if held >= CLASS and sessions[1:value].sum() >= CLASS:
                alike[code, value:end] = value
                end, held = value, 0
        alike[code, 1:end] = 1
    return alike


def _within_budget(values: NDArray[np.int8], weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """The groups in order of cost whose lonely facts stay within the budget together; small groups first."""
    varied = np.flatnonzero((values != values[:1]).any(axis=0))
    present = (values[:, varied] > 0).T.astype(np.float64) @ weights
    varied = varied[np.argsort(-np.minimum(present, weights.sum() - present), kind="stable")]
    groups: list[Group] = [(code,) for code in range(values.shape[1])]
    groups += combinations(sorted(varied[:PAIRED].tolist()), 2)
    lonely = [_lonely(values, weights, group) for group in groups]
    cost = np.array([weights[rows].sum() for rows in lonely])
    budget = _budget(int(weights.sum()))
    alarming = np.zeros(len(values), dtype=np.bool_)
    admitted = []
    for g in np.argsort(cost, kind="stable").tolist():
        together = alarming.copy()
        together[lonely[g]] = True
        if weights[together].sum() <= budget:
            alarming = together
            admitted.append(g)
    padded = [(*groups[g], -1)[:2] for g in sorted(admitted)]
    return np.asarray(padded, dtype=np.int64).reshape(-1, 2)


def _lonely(values: NDArray[np.int8], weights: NDArray[np.int64], group: Group) -> NDArray[np.int64]:
    """The distinct vectors whose fact about the group one session has: left out, it would alarm."""
    fact = np.zeros(len(values), dtype=np.int64)
    for code in group:
        fact = fact * VALUES + values[:, code]
    _, which = np.unique(fact, return_inverse=True)
    return np.flatnonzero(np.bincount(which, weights)[which] <= 1)


def _budget(sessions: int) -> float:
    return max(BUDGET * sessions, min(BUDGET_SESSIONS, BUDGET_AT_MOST * sessions))
