"""Finds windows that few random splits isolate from the rest; its trees are kept as plain arrays."""

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from logad.contracts import Detector, PartConfig, Scores, State
from logad.detectors._phrases import quoted, times
from logad.types import AnomalyType, Contribution, WindowKind
from logad.windows import Windows

_SAMPLE = 10_000  # rows drawn for the forest, in proportion to the weights of distinct vectors
_LEAF = -1
_WEIGHTY = 0.5  # a template is told if it weighs so much of the heaviest


class IsolationForestConfig(PartConfig):
    """The size of the forest."""

    trees: int = Field(default=100, ge=1)
    """How many trees are averaged."""

    samples: int = Field(default=256, ge=2)
    """How many windows each tree sees."""


class IsolationForestDetector(Detector):
    """2 ** -(mean path / expected path) over log counts, and how far a window lies outside their range.

    A tree never splits where its sample does not vary, so that a template which no normal window has would
    go unseen: what lies outside the range of the sample is added, in log counts.

    Source: Liu, Ting and Zhou 2008 (Isolation Forest), equation 2.
    """

    name: ClassVar[str] = "isolation_forest"
    kinds: ClassVar[frozenset[WindowKind]] = frozenset(WindowKind)
    Config: ClassVar[type[PartConfig]] = IsolationForestConfig
    config: IsolationForestConfig

    feature: NDArray[np.int64]  # (trees, nodes) template to split on, _LEAF at leaves
    threshold: NDArray[np.float64]  # (trees, nodes) in log counts
    children: NDArray[np.int64]  # (trees, nodes, 2)
    path: NDArray[np.float64]  # (trees, nodes) expected path length from the root through the node
    scale: NDArray[np.float64]  # () expected path length of a tree's sample
    usual: NDArray[np.float64]  # (templates,) median count
    lowest: NDArray[np.float64]  # (templates,) log counts between which the sample lies
    highest: NDArray[np.float64]

    def fit(self, windows: Windows) -> Self:
        """Grow the forest with scikit-learn on a weighted resample and export its trees."""
        from sklearn.ensemble import IsolationForest  # noqa: PLC0415  (a second to import, only to fit)

        distinct = windows.distinct
        counts, weights = distinct.counts, distinct.weights
        if not len(counts) or not counts.shape[1]:
            counts, weights = (
                np.zeros((1, max(counts.shape[1], 1)), dtype=np.int64),
                np.ones(1, dtype=np.int64),
            )
        chosen = np.repeat(np.arange(len(counts)), weights)
        if len(chosen) > _SAMPLE:
            chosen = np.random.default_rng(self.seed).choice(chosen, _SAMPLE, replace=False)
        rows = np.log1p(counts[chosen])
        samples = min(self.config.samples, len(rows))
        forest = IsolationForest(
            n_estimators=self.config.trees, max_samples=samples, random_state=self.seed
        ).fit(rows)
        trees = [estimator.tree_ for estimator in forest.estimators_]
        nodes = max(tree.node_count for tree in trees)
        self.feature = np.full((len(trees), nodes), _LEAF, dtype=np.int64)
        self.threshold = np.zeros((len(trees), nodes))
        self.children = np.zeros((len(trees), nodes, 2), dtype=np.int64)
        self.path = np.zeros((len(trees), nodes))
        for t, tree in enumerate(trees):
            inner = tree.children_left >= 0
            size = tree.node_count
            self.feature[t, :size] = np.where(inner, tree.feature, _LEAF)
            self.threshold[t, :size] = tree.threshold
            self.children[t, :size, 0] = np.where(inner, tree.children_left, np.arange(size))
            self.children[t, :size, 1] = np.where(inner, tree.children_right, np.arange(size))
            self.path[t, :size] = _expected_paths(
                tree.children_left, tree.children_right, tree.n_node_samples
            )
        self.scale = np.array(max(float(_isolation(np.array([samples]))[0]), 1e-9))
        self.usual = np.median(counts[chosen], axis=0)
        self.lowest, self.highest = rows.min(axis=0), rows.max(axis=0)
        return self

    def score(self, windows: Windows) -> Scores:
        """The anomaly score of each window, about 0.5 for ordinary ones, and what lies outside the range."""
        distinct = windows.distinct
        rows = self._known(distinct.counts)
        reached, _ = self._walk(rows)
        mean = self.path[np.arange(len(self.path))[:, None], reached].mean(axis=0)
        outside = self._outside(distinct.counts).sum(axis=1)
        return np.asarray((2.0 ** (-mean / self.scale) + outside)[distinct.inverse])

    def explain(self, windows: Windows, row: int) -> tuple[Contribution, ...]:
        """How much each template shortened the mean path; negative where it lengthened it."""
        counts = windows.distinct.counts[windows.distinct.inverse[row]]
        known = len(self.usual)
        _, shortened = self._walk(self._known(counts[None, :]))
        shortened = np.pad(shortened / self.scale, (0, max(len(counts) - known, 0)))
        weights = shortened[: len(counts)] + self._outside(counts[None, :])[0]
        weighty = np.abs(weights) >= _WEIGHTY * np.maximum(weights, 0).max(initial=0)
        heaviest = [code for code in np.argsort(-weights, kind="stable").tolist() if weighty[code]]
        usual = np.pad(self.usual, (0, max(len(counts) - known, 0)))
        events = windows.events[windows.span(row)]
        return tuple(
            Contribution(
                float(weights[code]),
                f"{quoted(windows, code)} came {times(int(counts[code]))}; "
                f"half of the normal windows have {usual[code]:g} or fewer",
                AnomalyType.COLLECTIVE,
                code,
                f"{usual[code]:g}",
                str(counts[code]),
                tuple(int(position) for position in np.flatnonzero(events == code)[:2]),
            )
            for code in heaviest
            if weights[code]
        )

    def _outside(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """How far each log count lies outside the range of the sample, shape (rows, templates)."""
        rows, width = np.log1p(counts), counts.shape[1]
        pad = (0, max(width - len(self.usual), 0))
        lowest, highest = np.pad(self.lowest, pad)[:width], np.pad(self.highest, pad)[:width]
        return np.asarray(np.maximum(rows - highest, 0) + np.maximum(lowest - rows, 0))

    def _known(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log counts of the templates of the forest, in the precision that its thresholds were made in."""
        known = counts[:, : len(self.usual)]
        padded = np.pad(known, ((0, 0), (0, len(self.usual) - known.shape[1])))
        return np.log1p(padded).astype(np.float32).astype(np.float64)

    def _walk(self, rows: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The leaf of each row in each tree (trees, rows); by how much each template shortened the paths."""
        trees = np.arange(len(self.feature))[:, None]
        node = np.zeros((len(self.feature), len(rows)), dtype=np.int64)
        shortened = np.zeros(len(self.usual))
        while True:
            feature = self.feature[trees, node]
            inner = feature != _LEAF
            if not inner.any():
                return node, shortened
            values = rows[np.arange(len(rows))[None, :], np.maximum(feature, 0)]
            right = (values > self.threshold[trees, node]).astype(np.int64)
            after = np.where(inner, self.children[trees, node, right], node)
            gain = (self.path[trees, node] - self.path[trees, after]) / len(self.feature)
            np.add.at(shortened, feature[inner], gain[inner])
            node = after

    def state(self) -> State:
        """The trees as padded arrays."""
        return {
            "feature": self.feature,
            "threshold": self.threshold,
            "children": self.children,
            "path": self.path,
            "scale": self.scale,
            "usual": self.usual,
            "lowest": self.lowest,
            "highest": self.highest,
        }

    def restore(self, state: State) -> Self:
        """Take the arrays back."""
        self.feature = state["feature"]
        self.threshold = state["threshold"]
        self.children = state["children"]
        self.path = state["path"]
        self.scale = state["scale"]
        self.usual = state["usual"]
        self.lowest = state["lowest"]
        self.highest = state["highest"]
        return self


def _isolation(samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """c(n), the mean path of an unsuccessful search among n (Liu et al. 2008, equation 1)."""
    n = np.maximum(samples.astype(np.float64), 2.0)
    harmonic = np.log(n - 1) + np.euler_gamma
    long = 2 * harmonic - 2 * (n - 1) / n
    return np.where(samples > 2, long, np.where(samples == 2, 1.0, 0.0))  # noqa: PLR2004  (pairs split at once)


def _expected_paths(
    left: NDArray[np.int64], right: NDArray[np.int64], samples: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean path length, from the root, of the samples below each node; children come after their parents."""
    depth = np.zeros(len(left))
    for node in np.flatnonzero(left >= 0).tolist():
        depth[left[node]] = depth[right[node]] = depth[node] + 1
    path = depth + _isolation(samples)
    for node in np.flatnonzero(left >= 0)[::-1].tolist():
        below = (left[node], right[node])
        path[node] = sum(path[child] * samples[child] for child in below) / samples[node]
    return path
