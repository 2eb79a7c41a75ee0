"""Finds windows that few random splits isolate from the rest."""

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from logad.contracts import Detector, PartConfig, Scores, State
from logad.detectors._phrases import quoted, times
from logad.types import AnomalyType, Contribution, WindowKind
from logad.windows import Windows

_SAMPLE = 10_000  # rows drawn for the forest, in proportion to the weights of distinct vectors
_CELLS = 8_000_000  # values of samples that are held at once
_LEAF = -1
_WEIGHTY = 0.5  # a template is told if it weighs so much of the heaviest

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


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
        """Grow the forest on a weighted resample of the windows."""
        distinct = windows.distinct
        counts, weights = distinct.counts, distinct.weights
        if not len(counts) or not counts.shape[1]:
            counts, weights = (
                np.zeros((1, max(counts.shape[1], 1)), dtype=np.int64),
                np.ones(1, dtype=np.int64),
            )
        lot = np.random.default_rng(self.seed)
        chosen = np.repeat(np.arange(len(counts)), weights)
        if len(chosen) > _SAMPLE:
            chosen = lot.choice(chosen, _SAMPLE, replace=False)
        rows = np.log1p(counts[chosen])
        samples = min(self.config.samples, len(rows))
        at_once = max(1, _CELLS // (samples * rows.shape[1]))
        parts = [
            _grown(rows, min(at_once, self.config.trees - begin), samples, lot)
            for begin in range(0, self.config.trees, at_once)
        ]
        nodes = max(part[0].shape[1] for part in parts)
        self.feature, self.threshold, self.children, self.path = (
            np.concatenate([_widened(part[at], nodes, fill) for part in parts])
            for at, fill in enumerate((_LEAF, 0, 0, 0))
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
        """Log counts of the templates of the forest."""
        known = counts[:, : len(self.usual)]
        padded = np.pad(known, ((0, 0), (0, len(self.usual) - known.shape[1])))
        return np.log1p(padded)

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


def _grown(
    rows: Floats, trees: int, samples: int, lot: np.random.Generator
) -> tuple[Ints, Floats, Ints, Floats]:
    """Some trees, level by level, each from samples of its own: feature, threshold, children, path.

    A node splits a template that varies in it anywhere in its range, both by lot, until its samples are alike
    or the tree is as deep as a balanced one (Liu et al. 2008, algorithm 2).
    """
    picked = [lot.choice(len(rows), samples, replace=False, shuffle=False) for _ in range(trees)]
    values = rows[np.concatenate(picked)]
    tree = np.repeat(np.arange(trees), samples)  # of each sample
    node = np.zeros(trees * samples, dtype=np.int64)
    used = np.ones(trees, dtype=np.int64)  # nodes of each tree
    width = 2 * samples
    feature, threshold = np.full((trees, width), _LEAF, dtype=np.int64), np.zeros((trees, width))
    children, path = np.zeros((trees, width, 2), dtype=np.int64), np.zeros((trees, width))
    size = np.zeros((trees, width), dtype=np.int64)
    size[:, 0] = samples
    path[:, 0] = _isolation(size[:, 0])
    splits: list[tuple[Ints, Ints]] = []
    active = np.arange(len(values))  # samples in nodes that may be split
    for depth in range(1, int(np.ceil(np.log2(max(samples, 2)))) + 1):
        order = active[np.argsort(tree[active] * width + node[active], kind="stable")]
        begins = np.flatnonzero(np.diff(tree[order] * width + node[order], prepend=-1))
        if not len(order):
            break
        lowest, highest = (edge.reduceat(values[order], begins) for edge in (np.minimum, np.maximum))
        drawn = np.where(highest > lowest, lot.random(lowest.shape), -1.0)
        which = np.argmax(drawn, axis=1)
        each = np.arange(len(begins))
        split = drawn[each, which] >= 0
        low, high = lowest[each, which], highest[each, which]
        at = low + (high - low) * lot.random(len(begins))
        at = np.where(at < high, at, low)
        owner, parent = tree[order[begins]][split], node[order[begins]][split]
        first = np.searchsorted(owner, owner)  # of the tree's splits
        left = used[owner] + 2 * (np.arange(len(owner)) - first)
        used += 2 * np.bincount(owner, minlength=trees)
        feature[owner, parent], threshold[owner, parent] = which[split], at[split]
        children[owner, parent] = np.stack([left, left + 1], axis=1)
        splits.append((owner, parent))
        segment = np.repeat(each, np.diff(np.append(begins, len(order))))
        active, segment = order[split[segment]], segment[split[segment]]
        right = values[active, which[segment]] > at[segment]
        node[active] = children[tree[active], node[active], right.astype(np.int64)]
        np.add.at(size, (tree[active], node[active]), 1)
        for side in (left, left + 1):
            path[owner, side] = depth + _isolation(size[owner, side])
        active = active[size[tree[active], node[active]] > 1]
    for owner, parent in reversed(splits):
        below = children[owner, parent]
        mass = size[owner[:, None], below]
        path[owner, parent] = (path[owner[:, None], below] * mass).sum(axis=1) / mass.sum(axis=1)
    nodes = int(used.max())
    leaf = feature[:, :nodes, None] == _LEAF
    children = np.where(leaf, np.arange(nodes)[None, :, None], children[:, :nodes])
    return feature[:, :nodes], threshold[:, :nodes], children, path[:, :nodes]


def _widened(array: NDArray[Any], nodes: int, fill: int) -> NDArray[Any]:
    """With so many nodes a tree."""
    pad = [(0, 0), (0, nodes - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, pad, constant_values=fill)
