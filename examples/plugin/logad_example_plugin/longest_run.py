"""Finds windows in which one message repeats without a break, longer than it ever did."""

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from logad.contracts import Detector, PartConfig, Scores, State
from logad.types import AnomalyType, Contribution, WindowKind
from logad.windows import Windows


class LongestRunConfig(PartConfig):
    """How long a run must be to count."""

    patience: int = Field(default=1, ge=0)
    """How many repetitions more than ever are still no surprise."""


class LongestRunDetector(Detector):
    """By how many repetitions, summed over runs, a window exceeds the longest runs that were learned."""

    name: ClassVar[str] = "longest_run"
    kinds: ClassVar[frozenset[WindowKind]] = frozenset(WindowKind)
    Config: ClassVar[type[PartConfig]] = LongestRunConfig
    config: LongestRunConfig

    longest: NDArray[np.int64]  # (templates,): the longest run of each in any window learned from

    def fit(self, windows: Windows) -> Self:
        """Note the longest run of each template."""
        self.longest = np.zeros(len(windows.vocabulary), dtype=np.int64)
        _, codes, lengths, _ = _runs(windows)
        np.maximum.at(self.longest, codes, lengths)
        return self

    def score(self, windows: Windows) -> Scores:
        """The sum of excesses of each window, in repetitions."""
        owners, codes, lengths, _ = _runs(windows)
        return np.bincount(owners, self._excess(codes, lengths), minlength=len(windows)).astype(np.float64)

    def explain(self, windows: Windows, row: int) -> tuple[Contribution, ...]:
        """The runs that were too long, longest excess first."""
        _, codes, lengths, starts = _runs(windows.take([row]))
        excess = self._excess(codes, lengths)
        known = np.pad(self.longest, (0, max(len(windows.vocabulary) - len(self.longest), 0)))
        return tuple(
            Contribution(
                float(excess[run]),
                f"“{windows.vocabulary[codes[run]].text}” came {lengths[run]} times in a row; "
                f"so far at most {known[codes[run]]}",
                AnomalyType.COLLECTIVE,
                int(codes[run]),
                str(known[codes[run]]),
                str(lengths[run]),
                (int(starts[run]), int(starts[run] + lengths[run] - 1)),
            )
            for run in np.argsort(-excess, kind="stable")
            if excess[run] > 0
        )

    def state(self) -> State:
        """The longest runs."""
        return {"longest": self.longest}

    def restore(self, state: State) -> Self:
        """Take them back."""
        self.longest = state["longest"]
        return self

    def _excess(self, codes: NDArray[np.int32], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        fresh = max(int(codes.max(initial=-1)) + 1 - len(self.longest), 0)
        usual = np.pad(self.longest, (0, fresh))[codes]
        patience = np.where(usual > 0, self.config.patience, 0)
        return np.asarray(np.maximum(lengths - usual - patience, 0))


def _runs(
    windows: Windows,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Each run of one template in one window: its window, template, length and first position there."""
    owner, events = windows.owner, windows.events
    if not len(events):
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, np.zeros(0, dtype=np.int32), nothing, nothing
    begins = np.flatnonzero(np.r_[True, (events[1:] != events[:-1]) | (owner[1:] != owner[:-1])])
    lengths = np.diff(np.r_[begins, len(events)])
    return owner[begins], events[begins], lengths, begins - windows.offsets[owner[begins]]
