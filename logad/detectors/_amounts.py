"""How often a template comes in a window that has it: an over-dispersed count that outliers do not move."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from logad.contracts import State
from logad.detectors._baseline import mid_tail

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SET_ASIDE: Final = 0.02  # of a template's largest counts: as if they had not been seen; if it has few ...
SET_ASIDE_OF_FEW: Final = 0.25  # ... this share, but no more than ...
AT_LEAST: Final = 5  # ... so many; all chosen on planted anomalies
LEAST_MEAN: Final = 0.02
PRIOR_WINDOWS: Final = 1.0  # at the mean of all templates
PRIOR_PHI: Final = 1.0  # as spread as a geometric distribution ...
PRIOR_PHI_WINDOWS: Final = 2.0  # ... is worth so many windows; all chosen on planted anomalies
LEAST_PHI: Final = 0.002
_HALF: Final = float(np.log(2))


@dataclass(frozen=True, slots=True)
class Amounts:
    """What comes beyond the first: negative binomial, mean mu and variance mu + phi mu^2, one each template.

    A template's largest count is set aside, so that each window is measured by the others without learning
    again for each. Of templates never seen, and of those seen once, the mean of all is known.
    """

    mean: Floats  # (templates + 1,); the last is for unknown ones
    phi: Floats  # the uncertainty of the mean included: a prediction
    highest: Ints  # the largest count that is not set aside; 0: there is none
    middle: Ints  # the median count

    @classmethod
    def of(cls, codes: Ints, values: Ints, width: int) -> Self:
        """Learn from counts of at least one, those of one window and template each."""
        order = np.lexsort((values, codes))
        codes, values = codes[order], values[order]
        many = np.bincount(codes, minlength=width + 1)
        ends = np.cumsum(many)
        aside = np.maximum(np.ceil(SET_ASIDE * many), np.minimum(np.ceil(SET_ASIDE_OF_FEW * many), AT_LEAST))
        kept = ends[codes] - np.arange(len(codes)) > aside[codes]
        highest = np.zeros(width + 1, dtype=np.int64)
        highest[codes[kept]] = values[kept]  # ascending: the last one stays
        middle = np.ones(width + 1, dtype=np.int64)
        seen = many > 0
        middle[seen] = values[(ends - many + (many - 1) // 2)[seen]]
        more = values[kept] - 1.0
        windows = np.bincount(codes[kept], minlength=width + 1)
        first = np.bincount(codes[kept], more, minlength=width + 1)
        second = np.bincount(codes[kept], more**2, minlength=width + 1)
        seen = windows > 0
        common = np.expm1(np.log1p(first[seen] / windows[seen]).mean()) if seen.any() else 1.0
        mean = np.maximum((first + PRIOR_WINDOWS * common) / (windows + PRIOR_WINDOWS), LEAST_MEAN)
        excess = second - 2 * mean * first + windows * mean**2 - windows * mean
        weight = np.minimum(mean**2, 1)
        phi = (excess * np.minimum(1 / mean**2, 1) + PRIOR_PHI * PRIOR_PHI_WINDOWS) / (
            windows * weight + PRIOR_PHI_WINDOWS
        )
        phi = np.maximum(phi, LEAST_PHI)
        return cls(mean, phi + (1 / mean + phi) / (windows + 1), highest, middle)

    def surprise(self, codes: Ints, values: Ints) -> Floats:
        """-ln of how often a count is at least so large (mid-p), less what the median has; 0 or more."""
        codes = np.minimum(codes, len(self.mean) - 1)
        top = int(values.max(initial=0)) + 1
        keys, inverse = np.unique(codes * top + values, return_inverse=True)
        code, value = np.divmod(keys, top)
        tail = mid_tail(self.mean[code], self.phi[code], value - 1, upper=True)
        found: Floats = np.maximum(-np.log(tail) - _HALF, 0.0)[inverse]
        return found

    def state(self, prefix: str) -> State:
        """The columns, named after the prefix."""
        return {f"{prefix}/{name}": getattr(self, name) for name in self.__slots__}

    @classmethod
    def restored(cls, state: State, prefix: str) -> Self:
        """From what `state` gave."""
        return cls(*(state[f"{prefix}/{name}"] for name in ("mean", "phi", "highest", "middle")))
