"""Which of two templates that follow each other usually comes first."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from logad.contracts import State
from logad.windows import Windows, tallied

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NEVER: Final = 0.5  # what was never seen is taken for half a case


@dataclass(frozen=True, slots=True)
class Steps:
    """Each event that comes after another in its window; arrays (steps,)."""

    owner: Ints
    place: Ints  # of the event in its window
    before: Ints
    after: Ints

    @classmethod
    def of(cls, windows: Windows, width: int) -> Self:
        """All steps from one template to another, in order; templates not below `width` are one."""
        later = np.flatnonzero((np.diff(windows.owner) == 0) & (np.diff(windows.events) != 0)) + 1
        events = np.minimum(windows.events.astype(np.int64), width)
        owner = windows.owner[later]
        return cls(owner, later - windows.offsets[owner], events[later - 1], events[later])

    def take(self, chosen: Ints) -> "Steps":
        """Some of the steps."""
        return Steps(self.owner[chosen], self.place[chosen], self.before[chosen], self.after[chosen])

    def kinds(self, width: int) -> tuple[Ints, Ints]:
        """The first of each kind of step in each window, and how often the window takes it."""
        keys = (self.owner * width + self.before) * width + self.after
        _, first, counts = np.unique(keys, return_index=True, return_counts=True)
        return first, counts


@dataclass(frozen=True, slots=True)
class Succession:
    """How often each step was taken outside of the window that took it most.

    So each window is measured by the others without learning again for each.
    """

    keys: Ints  # (distinct steps,): before * width + after, ascending
    times: Ints  # (distinct steps,)
    width: int  # events are below it

    @classmethod
    def of(cls, steps: Steps, width: int) -> Self:
        """Count steps between events below `width`."""
        windows = int(steps.owner.max(initial=0)) + 1
        keys = steps.before * width + steps.after
        pairs, total = tallied(keys, width * width)
        each, counts = tallied(np.searchsorted(pairs, keys) * windows + steps.owner, len(pairs) * windows)
        most = np.zeros(len(pairs), dtype=np.int64)
        np.maximum.at(most, each // windows, counts)
        times = total - most
        return cls(pairs, times.astype(np.int64), width)

    def taken(self, before: Ints, after: Ints) -> Ints:
        """How often the steps were taken."""
        if not len(self.keys):
            return np.zeros(len(before), dtype=np.int64)
        wanted = before * self.width + after
        spot = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[spot] == wanted, self.times[spot], 0)

    def turned(self, before: Ints, after: Ints) -> Floats:
        """Logarithm of how much more often the same two come the other way round; 0 where they do not."""
        there, back = self.taken(before, after), self.taken(after, before)
        found: Floats = np.maximum(np.log((back + NEVER) / (there + NEVER)), 0.0)
        return found

    def state(self, prefix: str) -> State:
        """The columns, named after the prefix."""
        return {f"{prefix}/{name}": np.asarray(getattr(self, name)) for name in ("keys", "times", "width")}

    @classmethod
    def restored(cls, state: State, prefix: str) -> Self:
        """From what `state` gave."""
        return cls(state[f"{prefix}/keys"], state[f"{prefix}/times"], int(state[f"{prefix}/width"]))
