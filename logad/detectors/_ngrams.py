"""Counts runs of up to three events, and says how much of what follows a context is as rare as this."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from logad.contracts import State

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BACK_OFF: Final = 10.0  # cases of a shorter context that a longer one is mixed with


@dataclass(frozen=True, slots=True)
class Followers:
    """How often each event followed each context; rows by context, then event."""

    contexts: Ints
    events: Ints
    counts: Ints
    width: int  # events are below it

    @classmethod
    def of(cls, contexts: Ints, events: Ints, width: int) -> Self:
        """Count what follows each context."""
        keys, counts = np.unique(contexts * width + events, return_counts=True)
        return cls(keys // width, keys % width, counts.astype(np.int64), width)

    def cases(self, contexts: Ints) -> Ints:
        """How often each context was followed by anything."""
        total = np.concatenate([[0], np.cumsum(self.counts)])
        begin, end = (np.searchsorted(self.contexts, contexts, side) for side in ("left", "right"))
        cases: Ints = total[end] - total[begin]
        return cases

    def followed(self, contexts: Ints, events: Ints) -> Ints:
        """How often the event followed the context."""
        keys, wanted = self.contexts * self.width + self.events, contexts * self.width + events
        place = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        if not len(keys):
            return np.zeros(len(wanted), dtype=np.int64)
        return np.where(keys[place] == wanted, self.counts[place], 0)

    def as_rare(self, contexts: Ints, events: Ints) -> Floats:
        """How often something at most as frequent as the event followed the context.

        For an event that never did, the cases of followers seen once: what is new has been as frequent as
        that (Good and Turing).
        """
        if not len(self.contexts):
            return np.zeros(len(contexts))
        order = np.lexsort((self.counts, self.contexts))
        ranked, total = self.counts[order], np.concatenate([[0], np.cumsum(self.counts[order])])
        top = int(self.counts.max()) + 2
        names, place = np.unique(self.contexts, return_inverse=True)
        keys = place * top + ranked  # contexts are sorted, so `place` is that of the ranked rows too
        spot = np.minimum(np.searchsorted(names, contexts), len(names) - 1)
        known = names[spot] == contexts
        limit = np.maximum(self.followed(contexts, events), 1)
        end = np.searchsorted(keys, spot * top + limit, "right")
        begin = np.searchsorted(keys, spot * top)
        return np.where(known, total[end] - total[begin], 0).astype(np.float64)

    def usual(self, context: int) -> tuple[int, int]:
        """The event that follows the context most often, and how often; (-1, 0) where nothing does."""
        begin, end = np.searchsorted(self.contexts, [context, context + 1])
        if begin == end:
            return -1, 0
        best = begin + int(np.argmax(self.counts[begin:end]))
        return int(self.events[best]), int(self.counts[best])

    def state(self, prefix: str) -> State:
        """The columns, named after the prefix."""
        return {
            f"{prefix}_{name}": np.asarray(getattr(self, name))
            for name in ("contexts", "events", "counts", "width")
        }

    @classmethod
    def restored(cls, state: State, prefix: str) -> Self:
        """From what `state` gave."""
        columns = (state[f"{prefix}_{name}"] for name in ("contexts", "events", "counts"))
        contexts, events, counts = columns
        return cls(contexts, events, counts, int(state[f"{prefix}_width"]))


def mixed(own: Floats, cases: Ints, shorter: Floats) -> Floats:
    """The share `own / cases` of a context, mixed with that of its shorter one by BACK_OFF cases.

    What was never seen in n cases is taken for half a case: n cases prove no more.
    """
    own = np.maximum(own, 0.5 * (cases > 0))
    share: Floats = (own + BACK_OFF * shorter) / (cases + BACK_OFF)
    return share
