"""Finds windows that break linear relations between the counts of templates."""

from typing import ClassVar, Final, Self

import numpy as np

from logad.contracts import Detector, PartConfig, Scores, State
from logad.detectors._phrases import counted, number, quoted, share, times
from logad.detectors._relations import (
    AT_MOST,
    BALANCED,
    SUM,
    Counts,
    Relations,
    mined_exact,
    mined_ranges,
)
from logad.types import AnomalyType, Contribution, WindowKind
from logad.windows import Windows

EVIDENCE: Final = 6  # events shown of one broken relation


class Invariants(Detector):
    """Sum of the broken relations of a window, each by how rarely it is broken, in nats.

    Sessions obey exact relations (equal, in proportion, at most, a sum; Lou et al. 2010, "Mining invariants
    from console logs for system problem detection"). Windows in time cut through what belongs together: there
    a pair that goes together is held to the range its difference usually has.
    """

    name: ClassVar[str] = "invariants"
    kinds: ClassVar[frozenset[WindowKind]] = frozenset(WindowKind)
    need: ClassVar[float] = 1e-3
    certain: ClassVar[float] = 20.0  # nats: hardly part of normal life, even where the reference holds some

    def __init__(self, config: PartConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._relations = Relations.of([])

    def fit(self, windows: Windows) -> Self:
        """Mine the relations that nearly all windows obey."""
        distinct = windows.distinct
        mined = mined_exact if windows.kind is WindowKind.SESSION else mined_ranges
        self._relations = mined(distinct.counts, distinct.weights)
        return self

    def score(self, windows: Windows) -> Scores:
        """Nats of all broken relations together; 0 where none is."""
        distinct = windows.distinct
        counts = self._widened(distinct.counts)
        total = np.zeros(len(counts))
        for at in range(len(self._relations)):
            total += self._relations.violation(counts, at)
        return total[distinct.inverse]

    def explain(self, windows: Windows, row: int) -> tuple[Contribution, ...]:
        """One contribution for each broken relation."""
        codes = windows.events[windows.span(row)].astype(np.int64)
        counts = self._widened(np.bincount(codes, minlength=len(windows.vocabulary))[None, :])
        broken = [float(self._relations.violation(counts, at)[0]) for at in range(len(self._relations))]
        order = sorted((at for at, weight in enumerate(broken) if weight > 0), key=lambda at: -broken[at])
        return tuple(self._told(windows, codes, counts[0], at, broken[at]) for at in order)

    def state(self) -> State:
        """The relations, column by column."""
        return self._relations.state()

    def restore(self, state: State) -> Self:
        """Take back what `state` gave."""
        self._relations = Relations.restored(state)
        return self

    def _widened(self, counts: Counts) -> Counts:
        """The counts with columns for every template that a relation names."""
        relations = self._relations
        width = 1 + max((int(side.max(initial=-1)) for side in (relations.left, relations.right)), default=-1)
        width = max(width, 1 + int(relations.whole.max(initial=-1)))
        return np.pad(counts, ((0, 0), (0, max(0, width - counts.shape[1]))))

    def _told(self, windows: Windows, codes: Counts, counts: Counts, at: int, weight: float) -> Contribution:
        relations = self._relations
        kind, left, right = (int(column[at]) for column in (relations.kind, relations.left, relations.right))
        first, second = int(counts[left]), int(counts[right])
        factor, usual = float(relations.factor[at]), int(relations.windows[at])
        what = "session" if windows.kind is WindowKind.SESSION else "window"
        held = f"in {share(usual - int(relations.broken[at]), usual)} of {counted(usual, what)}"
        one, other = quoted(windows, left), quoted(windows, right)
        members = [left, right]
        expected: float
        if kind == SUM:
            whole = int(relations.whole[at])
            members.append(whole)
            expected, actual, suspect = first + second, int(counts[whole]), whole
            text = (
                f"{one} and {other} came {times(first + second)} together but {quoted(windows, whole)} "
                f"{_but(actual)}; they are equal {held}"
            )
        elif kind == AT_MOST:
            expected, actual, suspect = second, first, left
            text = (
                f"{one} came {times(first)} but {other} {_but(second)}; the first comes no more often {held}"
            )
        else:
            short = second * factor > first
            suspect, actual = (left, first) if short else (right, second)
            expected = second * factor if short else first / factor
            about = "about " if kind == BALANCED else ""
            tie = f"the {'second' if short else 'first'} comes {about}{number(factor)} times as often"
            if factor == 1:
                tie = "they come together" if kind == BALANCED else "they are equal"
            pairs = ((other, second), (one, first)) if short else ((one, first), (other, second))
            text = " but ".join(
                (f"{pairs[0][0]} came {times(pairs[0][1])}", f"{pairs[1][0]} {_but(pairs[1][1])}")
            )
            text = f"{text}; {tie} {held}"
        places = [place for code in members for place in np.flatnonzero(codes == code)[: EVIDENCE // 2]]
        return Contribution(
            weight,
            text,
            AnomalyType.COLLECTIVE,
            suspect,
            number(expected),
            number(actual),
            tuple(int(place) for place in sorted(places)),
        )


def _but(count: int) -> str:
    """The second count of a comparison."""
    return f"{count:,}" if count else "never"
