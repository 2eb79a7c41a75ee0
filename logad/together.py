"""Learns which templates come only together in normal sessions, and sees which of them are missing."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

VARIED_SHARE: Final = 0.02
"""Two templates are tied if neither comes alone, where such a share of sessions has them, and has not ..."""

VARIED: Final = 20
"""... and so many sessions: chance alone would seldom have left out so many."""

APART_SHARE: Final = 0.002
"""Of the sessions learned from, so many, or one, may break a tie: fewer than make a new template normal. On
the first half in time of HDFS 2 % and two days of traces one session in 12,000 does."""

MOST_VARIED: Final = 500
"""Templates, those that sessions most often differ in, whose pairs are looked at."""


def always_together(present: NDArray[np.bool_], weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of templates that sessions have both or neither of, from distinct sets of templates (rows).

    >>> always_together(np.array([[True, True, True], [False, False, True]]), np.array([60, 40])).tolist()
    [[0, 1]]
    """
    total = float(weights.sum())
    having = present.T.astype(np.float64) @ weights
    rarer = np.minimum(having, total - having)
    varied = np.flatnonzero(rarer >= max(VARIED_SHARE * total, VARIED))
    varied = np.sort(varied[np.argsort(-rarer[varied], kind="stable")][:MOST_VARIED])
    there = present[:, varied].astype(np.float64)
    both = (there * weights[:, None]).T @ there
    alone = having[varied][:, None] + having[varied] - 2 * both
    return np.column_stack(
        [varied[side] for side in np.nonzero(np.triu(alone <= max(APART_SHARE * total, 1), 1))]
    )


def lacking(present: NDArray[np.bool_], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The templates that sessions (rows) lack though they have another that never comes without."""
    lacks = np.zeros(present.shape, dtype=np.bool_)
    columns, at = np.unique(pairs, return_inverse=True)
    first, second = at.reshape(-1, 2).T
    tied = np.zeros((len(columns), len(columns)), dtype=np.float32)
    tied[first, second] = tied[second, first] = 1
    there = present[:, columns]
    lacks[:, columns] = ~there & (there.astype(np.float32) @ tied > 0)
    return lacks
