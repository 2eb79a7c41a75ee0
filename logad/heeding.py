"""Takes what people called normal as normal: from the next learning on, and nothing else with it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from logad.calibration import CUT
from logad.judge import Facts, Judge
from logad.ledger import Ledger
from logad.reranking import NORMAL
from logad.types import Verdict, WindowRef
from logad.windows import Windows

Place = tuple[str, str | None, int | None, int | None, int]
"""What tells a window from others: service, key, start in milliseconds, first line, revision."""


class Heeding:
    """A judge, but what deviates just as a window that a person called normal does is not anomalous.

    Just as: the same detectors alarm over the same templates in the same direction in the same service, and
    the window is no stranger than the one that was called normal. Anything else is judged as ever.
    """

    def __init__(self, judge: Judge, accepted: Mapping[Facts, float]) -> None:
        self._judge = judge
        self._accepted = accepted

    def verdicts(self, windows: Windows, *, every: bool = False, context: str = "") -> Iterator[Verdict]:
        """The judge's verdicts; what is accepted scores at most the cut."""
        judged = self._judge.judge(windows)
        for row, verdict in enumerate(self._judge.verdicts(windows, every=True, context=context)):
            told = verdict
            if verdict.anomalous:
                most = self._accepted.get(self._judge.facts(windows, row, judged))
                if most is not None and verdict.score <= most:
                    capped = {name: min(score, CUT) for name, score in verdict.detectors.items()}
                    told = replace(verdict, score=CUT, detectors=capped, reasons=())
            if every or told.anomalous:
                yield told

    def remember(self, windows: Windows) -> None:
        """Take judged windows as the past of those to come."""
        self._judge.remember(windows)

    def patience(self, windows: Windows) -> NDArray[np.int64]:
        """Silence in microseconds that shows each session to be complete; 0: any does."""
        return self._judge.patience(windows)


class Labels:
    """What people said of verdicts, and how much of it each view has heeded when it last learned."""

    def __init__(self, ledger: Ledger, heeded: Mapping[str, int]) -> None:
        self._ledger = ledger
        self.heeded = dict(heeded)  # view -> labels, oldest first

    def heed(self, view: str, judge: Judge, windows: Windows, *, again: bool) -> Judge | Heeding:
        """The judge just learned from these windows, with what people called normal among them.

        `again`: it was learned before, and is now learned again to the same: later labels are not heeded.
        """
        if not len(windows):  # it has learned nothing
            return judge
        told = self._ledger.labelled()
        told = told[: self.heeded.get(view, 0)] if again else told
        self.heeded[view] = len(told)
        last = {verdict.id: (verdict, label) for verdict, label, _ in told}
        vouched = {_place(verdict) for verdict, label in last.values() if label == NORMAL}
        rows = [row for row, place in enumerate(_places(windows)) if place in vouched] if vouched else []
        if not rows:
            return judge
        judged = judge.judge(windows)
        accepted: dict[Facts, float] = {}
        for row in rows:
            if judged.score[row] > CUT:
                facts = judge.facts(windows, row, judged)
                accepted[facts] = max(accepted.get(facts, 0.0), float(judged.score[row]))
        return Heeding(judge, accepted) if accepted else judge


def _place(verdict: Verdict) -> Place:
    at: WindowRef = verdict.window
    start = None if at.start is None else round(at.start.timestamp() * 1000)
    return verdict.service, at.key, start, at.first_line, at.revision


def _places(windows: Windows) -> Iterable[Place]:
    table = windows.table
    starts = table["start"].dt.epoch("ms")
    return zip(table["service"], table["key"], starts, table["first_line"], table["revision"], strict=True)
