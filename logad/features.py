"""Turns count vectors into the values, signatures and weights that normality is learned on."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from logad.hashing import mixed
from logad.windows import Windows

VALUES: Final = 64
"""Binned values are below this: 3 + floor(log2 n) of any 60-bit count."""

_EXACT: Final = 4  # counts up to here are values of their own


def binned(counts: NDArray[np.int64]) -> NDArray[np.int8]:
    """Count values: n itself up to 4, then 3 + floor(log2 n), so that large counts may vary.

    >>> binned(np.array([0, 3, 4, 5, 7, 8, 1024])).tolist()
    [0, 3, 4, 5, 5, 6, 13]
    """
    exponent = np.frexp(np.maximum(counts, 1).astype(np.float64))[1] - 1
    return np.where(counts <= _EXACT, counts, 3 + exponent).astype(np.int8)


def doubled(value: int) -> int:
    """The value of a count that is twice, and one more, the largest that has this value.

    >>> [doubled(value) for value in (0, 1, 4, 5)]
    [1, 3, 6, 6]
    """
    largest = value if value <= _EXACT else 2 ** (value - 2) - 1
    return int(binned(np.array([2 * largest + 1]))[0])


def signatures(values: NDArray[np.int8] | NDArray[np.bool_]) -> NDArray[np.uint64]:
    """One 64-bit number per row of small values, equal for equal rows; a row of zeros has 0.

    Columns of zeros add nothing, so a row keeps its signature while the vocabulary grows.
    """
    rows, columns = np.nonzero(values)
    terms = mixed(columns * VALUES + values[rows, columns].astype(np.int64))
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(terms, dtype=np.uint64)])
    bounds = np.searchsorted(rows, np.arange(len(values) + 1))
    return np.asarray(sums[bounds[1:]] - sums[bounds[:-1]])


def prefix_signatures(windows: Windows) -> NDArray[np.uint64]:
    """For each event, a 64-bit number of the counts of its window up to and with it, shape (events,)."""
    sums = np.concatenate(
        [np.zeros(1, dtype=np.uint64), np.cumsum(mixed(windows.events.astype(np.int64)), dtype=np.uint64)]
    )
    return np.asarray(sums[1:] - sums[windows.offsets[:-1]][windows.owner])


def presence_weights(counts: NDArray[np.int64], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Inverse document frequency ln(N / n) of each template, at least a little above 0, shape (templates,).

    Source: Xu et al. 2009 (Detecting large-scale system problems by mining console logs), section 4.
    """
    total = max(int(weights.sum()), 1)
    present = (counts > 0).T.astype(np.float64) @ weights
    return np.log((total + 1.0) / (present + 1.0)) + 0.1
