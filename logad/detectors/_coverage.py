"""Which spans of time the input covers: where a log begins, ends or stops, nothing is missing."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from logad.contracts import State
from logad.detectors._baseline import Floats
from logad.windows import Windows

USUALLY: Final = 0.98  # quantile of the empty beginnings and ends of spans up to which they are usual
LEAST: Final = 0.9  # share of a span that must be covered before lines can be missing from it


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a span is usually empty before the first line of any service, and after the last."""

    lead: float
    tail: float

    @classmethod
    def of(cls, windows: Windows) -> "Coverage":
        """Learn from the spans that hold a line; a batch at each full minute leaves most of it empty."""
        lead, tail = _empty_edges(windows)
        known = lead < 1
        if not known.any():
            return cls(1.0, 1.0)
        return cls(float(np.quantile(lead[known], USUALLY)), float(np.quantile(tail[known], USUALLY)))

    def covers(self, windows: Windows) -> NDArray[np.bool_]:
        """Which windows lie in spans that the input covers, shape (windows,); not in those without a line."""
        lead, tail = _empty_edges(windows)
        seen = 1 - np.maximum(lead - self.lead, 0) - np.maximum(tail - self.tail, 0)
        return np.asarray((seen >= LEAST) & (lead < 1))

    def state(self) -> State:
        """Both shares."""
        return {"coverage": np.asarray([self.lead, self.tail])}

    @classmethod
    def restored(cls, state: State) -> "Coverage":
        """From what `state` gave."""
        return cls(*(float(share) for share in state["coverage"]))


def _empty_edges(windows: Windows) -> tuple[Floats, Floats]:
    """Share of each window's span before the first line of any service, and after the last; 1 without any."""
    starts = windows.table["start"].dt.timestamp("us").fill_null(0).to_numpy()
    ends = windows.table["end"].dt.timestamp("us").fill_null(0).to_numpy()
    span = np.unique(starts, return_inverse=True)[1]
    first, last = windows.bounds.of_groups(span)
    length = np.maximum(ends - starts, 1)
    lead = np.clip((first[span] - starts) / length, 0.0, 1.0)
    tail = np.clip((ends - np.maximum(last[span], starts)) / length, 0.0, 1.0)
    return lead, tail
