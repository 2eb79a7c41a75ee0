"""Finds windows that hold a line whose level or words say that something is wrong: the plainest baseline."""

from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from logad.contracts import Detector, Scores, State
from logad.detectors._phrases import quoted, times
from logad.types import AnomalyType, Contribution, WindowKind
from logad.windows import Windows

_SAYS_NOTHING: Final = 1  # the severity class up to which a template is no ground for anything
_TOLD: Final = 3  # templates told of one window
_SAYS: Final = (
    "",
    "it warns",
    "its level or its words report an error",
    "its level and its words report an error",
)


class SeverityWords(Detector):
    """The gravest template of a window: 1 for a warning, 2 for an error, 3 for one by level and words.

    It learns nothing and knows nothing of counts or order: what it alone finds is what a search for the
    words of errors finds. It is there to be compared with.
    """

    name: ClassVar[str] = "severity_words"
    kinds: ClassVar[frozenset[WindowKind]] = frozenset(WindowKind)

    def fit(self, windows: Windows) -> Self:  # noqa: ARG002  (the words are known beforehand)
        """Nothing is learned."""
        return self

    def score(self, windows: Windows) -> Scores:
        """The grade of each window's gravest template; 0 for a window that holds none."""
        scores = np.zeros(len(windows))
        np.maximum.at(scores, windows.owner, _grades(windows)[windows.events])
        return scores

    def explain(self, windows: Windows, row: int) -> tuple[Contribution, ...]:
        """The gravest templates of the window, those with most lines first where they are as grave."""
        events = windows.events[windows.span(row)]
        codes, counts = np.unique(events, return_counts=True)
        grades = _grades(windows)[codes]
        order = np.lexsort((codes, -counts, -grades))
        return tuple(
            Contribution(
                float(grades[at]),
                f"{quoted(windows, int(codes[at]))} came {times(int(counts[at]))}: {_SAYS[int(grades[at])]}",
                AnomalyType.POINT,
                int(codes[at]),
                "0",
                str(counts[at]),
                tuple(int(position) for position in np.flatnonzero(events == codes[at])[:2]),
            )
            for at in order[:_TOLD]
            if grades[at]
        )

    def state(self) -> State:
        """Nothing."""
        return {}

    def restore(self, state: State) -> Self:  # noqa: ARG002  (see `state`)
        """Take nothing back."""
        return self


def _grades(windows: Windows) -> NDArray[np.float64]:
    """How grave each template of the vocabulary is, 0 to 3, shape (templates,)."""
    graded = np.maximum(windows.severities - _SAYS_NOTHING, 0) + windows.alarming
    return np.asarray(graded, dtype=np.float64)
