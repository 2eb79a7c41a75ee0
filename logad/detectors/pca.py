"""Finds windows that leave the few directions in which normal count vectors vary (residual subspace)."""

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from logad.contracts import Detector, PartConfig, Scores, State
from logad.detectors._phrases import quoted, times
from logad.features import presence_weights
from logad.types import AnomalyType, Contribution, WindowKind
from logad.windows import Windows

_WEIGHTY = 0.5  # a template is told if it holds so much of the energy of the heaviest


_MOST_ROWS = 2_000  # heaviest distinct vectors that directions are found from where templates are as many


class PcaConfig(PartConfig):
    """How much of the variance is normal."""

    variance: float = Field(default=0.95, gt=0, lt=1)
    """Share of the variance that the normal subspace holds."""


class PcaDetector(Detector):
    """Residual energy outside the principal subspace of weighted log counts.

    Source: Xu et al. 2009 (Detecting large-scale system problems by mining console logs), section 4.
    """

    name: ClassVar[str] = "pca"
    kinds: ClassVar[frozenset[WindowKind]] = frozenset(WindowKind)
    Config: ClassVar[type[PartConfig]] = PcaConfig
    config: PcaConfig

    weights: NDArray[np.float64]  # (templates,) inverse document frequency
    unseen_weight: NDArray[np.float64]  # () of a template that no window had
    mean: NDArray[np.float64]  # (templates,)
    components: NDArray[np.float64]  # (components, templates), orthonormal

    def fit(self, windows: Windows) -> Self:
        """Find the mean and the principal directions of the distinct vectors, each with its weight."""
        distinct = windows.distinct
        self.weights = presence_weights(distinct.counts, distinct.weights)
        self.unseen_weight = np.array(np.log(len(windows) + 1.0) + 0.1)
        rows = np.log1p(distinct.counts) * self.weights
        share = distinct.weights / max(int(distinct.weights.sum()), 1)
        self.mean = share @ rows
        variances, directions = _principal((rows - self.mean) * np.sqrt(share)[:, None])
        total = float(variances.sum())
        kept = (
            int(np.searchsorted(np.cumsum(variances), self.config.variance * total)) + 1 if total > 0 else 0
        )
        self.components = np.ascontiguousarray(directions[:, :kept].T)
        return self

    def score(self, windows: Windows) -> Scores:
        """Squared prediction error of each window outside the normal subspace."""
        distinct = windows.distinct
        residual, _ = self._residuals(distinct.counts)
        return np.asarray((residual**2).sum(axis=1)[distinct.inverse])

    def explain(self, windows: Windows, row: int) -> tuple[Contribution, ...]:
        """The templates that hold most of the residual; negative where there are fewer than expected."""
        counts = windows.distinct.counts[windows.distinct.inverse[row]]
        residual, expected = self._residuals(counts[None, :])
        energy = residual[0] ** 2
        heaviest = np.argsort(-energy, kind="stable")
        events = windows.events[windows.span(row)]
        told = []
        for code in heaviest[energy[heaviest] > _WEIGHTY * energy.max(initial=0)].tolist():
            where = np.flatnonzero(events == code)
            usual = f"{max(expected[0, code], 0.0):.1f}".removesuffix(".0")
            if usual == str(counts[code]):  # its weight is that of a fraction of a line
                continue
            told.append(
                Contribution(
                    float(np.copysign(energy[code], residual[0, code])),
                    f"{quoted(windows, code)} came {times(int(counts[code]))}; "
                    f"the rest of the window suggests {usual}",
                    AnomalyType.COLLECTIVE,
                    code,
                    usual,
                    str(counts[code]),
                    tuple(int(position) for position in where[:2]),
                )
            )
        return tuple(told)

    def _residuals(self, counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Residual in weighted log counts, and the counts expected, both (rows, templates)."""
        fresh = max(counts.shape[1] - len(self.weights), 0)
        weights = np.concatenate([self.weights, np.full(fresh, self.unseen_weight)])
        rows = np.pad(counts, ((0, 0), (0, max(len(self.weights) - counts.shape[1], 0))))
        centred = np.log1p(rows) * weights - np.pad(self.mean, (0, fresh))
        components = np.pad(self.components, ((0, 0), (0, fresh)))
        residual = centred - (centred @ components.T) @ components
        expected = np.expm1(np.log1p(rows) - residual / weights)
        width = counts.shape[1]
        return residual[:, :width], expected[:, :width]

    def state(self) -> State:
        """Weights, mean and components."""
        return {
            "weights": self.weights,
            "unseen_weight": self.unseen_weight,
            "mean": self.mean,
            "components": self.components,
        }

    def restore(self, state: State) -> Self:
        """Take the arrays back."""
        self.weights = state["weights"]
        self.unseen_weight = state["unseen_weight"]
        self.mean = state["mean"]
        self.components = state["components"]
        return self


def _principal(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variances, largest first, and directions (templates, variances) of centred, weighted rows.

    Found from the smaller of the two products of the matrix with itself: they share their eigenvalues.
    """
    count, width = rows.shape
    if min(count, width) > _MOST_ROWS:
        heaviest = np.argsort(-(rows**2).sum(axis=1), kind="stable")[:_MOST_ROWS]
        rows = rows[np.sort(heaviest)]
        count = _MOST_ROWS
    if width <= count:
        variances, directions = np.linalg.eigh(rows.T @ rows)
        return np.maximum(variances[::-1], 0), directions[:, ::-1]
    variances, sides = np.linalg.eigh(rows @ rows.T)
    variances, sides = np.maximum(variances[::-1], 0), sides[:, ::-1]
    lengths = np.sqrt(np.where(variances > variances.max(initial=0) * 1e-12, variances, np.inf))
    return variances, (rows.T @ sides) / lengths
