"""Finds windows that are unlike every group of windows that are alike (clusters of event vectors)."""

from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from logad.contracts import Detector, PartConfig, Scores, State
from logad.detectors._phrases import coming, counted, quoted, times
from logad.features import presence_weights
from logad.reference import FEWEST
from logad.types import AnomalyType, Contribution, WindowKind
from logad.windows import Windows

_AT_ONCE: Final = 1_500  # distinct vectors clustered at a time: a million pairs
_ROUNDS: Final = 4  # of clustering what no cluster of an earlier round holds; the rest is light and alone
_BLOCK: Final = 4_096  # rows whose distances are held at once
_WEIGHTY: Final = 0.25  # a template is told if it holds so much of the distance of the heaviest
_EXACT: Final = 1e-12  # below this two vectors are one

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class LogClusteringConfig(PartConfig):
    """How alike the windows of a cluster are."""

    distance: float = Field(default=0.3, gt=0, lt=1)
    """The cosine distance that no two windows of a cluster exceed."""


class LogClustering(Detector):
    """Cosine distance to the nearest representative of a normal cluster, in weighted log counts.

    Distinct vectors are clustered by complete linkage, the heaviest first, and those that a cluster's
    representative is near join it, so that many distinct vectors cost no more than a few rounds. The
    representative is the vector with the least mean distance to its cluster. A cluster is normal from
    three windows on, or, where none has as many, in any case.

    Source: Lin et al. 2016 (Log clustering based problem identification for online service systems),
    section 3; the distance of a cluster is the default of their reimplementation in loglizer.
    """

    name: ClassVar[str] = "log_clustering"
    kinds: ClassVar[frozenset[WindowKind]] = frozenset(WindowKind)
    Config: ClassVar[type[PartConfig]] = LogClusteringConfig
    config: LogClusteringConfig

    weights: Floats  # (templates,) inverse document frequency
    unseen_weight: Floats  # () of a template that no window had
    representatives: Ints  # (clusters, templates) counts
    members: Ints  # (clusters,) windows

    def fit(self, windows: Windows) -> Self:
        """Cluster the distinct vectors and keep the representatives of normal clusters."""
        distinct = windows.distinct
        self.weights = presence_weights(distinct.counts, distinct.weights)
        self.unseen_weight = np.array(np.log(len(windows) + 1.0) + 0.1)
        order = np.argsort(-distinct.weights, kind="stable")
        rows = _unit(np.log1p(distinct.counts[order]) * self.weights)
        chosen, members = _clusters(rows, distinct.weights[order], self.config.distance)
        enough = members >= FEWEST
        kept = enough if enough.any() else np.ones(len(members), dtype=np.bool_)
        self.representatives = distinct.counts[order[chosen[kept]]]
        self.members = members[kept]
        return self

    def score(self, windows: Windows) -> Scores:
        """How far each window is from the nearest representative, 0 (alike) to 1 (nothing in common)."""
        distinct = windows.distinct
        rows, known = self._vectors(distinct.counts)
        distances, _ = _nearest(rows, known)
        return np.asarray(distances[distinct.inverse])

    def explain(self, windows: Windows, row: int) -> tuple[Contribution, ...]:
        """The templates in which the window differs from the nearest representative.

        A cosine distance is half the squared difference of the vectors at length one: the weights are the
        shares of the templates in it, and all of them together are the score.
        """
        counts = windows.distinct.counts[windows.distinct.inverse[row]]
        rows, known = self._vectors(counts[None, :])
        if not len(known):
            return ()
        _, nearest = _nearest(rows, known)
        cluster = int(nearest[0])
        share = (rows[0] - known[cluster]) ** 2 / 2
        expected = np.pad(self.representatives[cluster], (0, len(share) - self.representatives.shape[1]))
        actual = np.pad(counts, (0, len(share) - len(counts)))
        share = np.where(expected == actual, 0.0, share)  # it only shrinks with the length of the rest
        share[len(windows.vocabulary) :] = 0.0
        events = windows.events[windows.span(row)]
        heaviest = np.argsort(-share, kind="stable")
        alike = counted(int(self.members[cluster]), "window")
        return tuple(
            Contribution(
                float(share[code]),
                f"{quoted(windows, code)} came {times(int(actual[code]))}; "
                f"in the normal windows most alike ({alike}) {coming(int(expected[code]))}",
                AnomalyType.COLLECTIVE,
                code,
                str(expected[code]),
                str(actual[code]),
                tuple(int(position) for position in np.flatnonzero(events == code)[:2]),
            )
            for code in heaviest[share[heaviest] > _WEIGHTY * share.max(initial=0)].tolist()
        )

    def _vectors(self, counts: Ints) -> tuple[Floats, Floats]:
        """Unit vectors of windows and of representatives over the templates of both."""
        width = max(counts.shape[1], len(self.weights))
        weights = np.concatenate([self.weights, np.full(width - len(self.weights), self.unseen_weight)])
        windows, known = (
            _unit(np.log1p(np.pad(rows, ((0, 0), (0, width - rows.shape[1])))) * weights)
            for rows in (counts, self.representatives)
        )
        return windows, known

    def state(self) -> State:
        """Weights, and the representatives with the sizes of their clusters."""
        return {
            "weights": self.weights,
            "unseen_weight": self.unseen_weight,
            "representatives": self.representatives,
            "members": self.members,
        }

    def restore(self, state: State) -> Self:
        """Take the arrays back."""
        self.weights = state["weights"]
        self.unseen_weight = state["unseen_weight"]
        self.representatives = state["representatives"]
        self.members = state["members"]
        return self


def _unit(rows: Floats) -> Floats:
    """The rows at length one; with one more column, which an empty row has alone."""
    lengths = np.linalg.norm(rows, axis=1)
    empty = (lengths <= 0).astype(np.float64)
    return np.column_stack([rows / np.where(lengths > 0, lengths, 1.0)[:, None], empty])


def _nearest(rows: Floats, known: Floats) -> tuple[Floats, Ints]:
    """Cosine distance of each unit row to the nearest of the known ones, and which it is; 1 without any."""
    distances, nearest = np.ones(len(rows)), np.zeros(len(rows), dtype=np.int64)
    if not len(known):
        return distances, nearest
    for begin in range(0, len(rows), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        near = rows[block] @ known.T
        nearest[block] = np.argmax(near, axis=1)
        distances[block] = 1 - near[np.arange(len(near)), nearest[block]]
    return np.where(distances < _EXACT, 0.0, distances), nearest


def _clusters(rows: Floats, weights: Ints, distance: float) -> tuple[Ints, Ints]:
    """The row that represents each cluster, and how many windows the cluster has; heaviest rows first.

    Rows that are left after the last round are in no cluster.
    """
    chosen: list[int] = []
    members: list[int] = []
    left = np.arange(len(rows))
    for _ in range(_ROUNDS):
        if not len(left):
            break
        taken, left = left[:_AT_ONCE], left[_AT_ONCE:]
        found, sizes = _linked(rows[taken], weights[taken], distance)
        distances, nearest = _nearest(rows[left], rows[taken[found]])
        joins = distances <= distance
        sizes = sizes + np.bincount(nearest[joins], weights[left[joins]], len(found)).astype(np.int64)
        chosen += taken[found].tolist()
        members += sizes.tolist()
        left = left[~joins]
    return np.asarray(chosen, dtype=np.int64), np.asarray(members, dtype=np.int64)


def _linked(rows: Floats, weights: Ints, distance: float) -> tuple[Ints, Ints]:
    """Complete linkage of unit rows: the medoid of each cluster, and its windows."""
    from scipy.cluster.hierarchy import fcluster, linkage  # noqa: PLC0415  (costs .2 s, only to fit)

    apart = np.clip(1 - rows @ rows.T, 0.0, None)
    apart[apart < _EXACT] = 0.0
    if len(rows) == 1:
        return np.zeros(1, dtype=np.int64), weights.copy()
    upper = np.triu_indices(len(rows), 1)
    cluster = fcluster(linkage(apart[upper], "complete"), distance, criterion="distance") - 1
    mean = np.empty(len(rows))
    for each in range(int(cluster.max()) + 1):
        inside = np.flatnonzero(cluster == each)
        mean[inside] = apart[np.ix_(inside, inside)] @ weights[inside]
    order = np.lexsort((np.arange(len(rows)), mean, cluster))
    first = np.searchsorted(cluster[order], np.arange(int(cluster.max()) + 1))
    return order[first], np.bincount(cluster, weights).astype(np.int64)
