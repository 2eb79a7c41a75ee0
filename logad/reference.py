"""Grows the normal core: the sessions that explain each other, on which everything else is fitted."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.contracts import State
from logad.features import VALUES, binned, doubled, prefix_signatures, signatures
from logad.hashing import mixed
from logad.together import always_together, lacking
from logad.types import WindowKind
from logad.windows import NO_TIME, Windows

SUPPORT: Final = np.array([0.002, 0.01, 0.01, 0.02])
"""Share of sessions that must have a template, by its severity class, to make it normal."""

CHANGED: Final = 0.01
"""Share of sessions that must have a changed count, or miss a known template, to make that normal."""

NEED_AT_MOST: Final = 0.10
"""However many templates deviate together, this share of sessions makes it normal."""

COMPLETE_AT_MOST: Final = 0.05
"""The same where nothing is missing and nothing new warns: no way that one session in twenty goes to its end
is an anomaly. Chosen by that thought; kinds of trace of a microservice system showed the need, unlabelled."""

KIND_SHARE: Final = 0.01
"""Share of sessions with one template set that opens a kind of session."""

KIND_OVERLAP: Final = 0.5
"""A set that shares this much with an earlier kind opens none."""

SEED_SHARE: Final = 0.5
"""The core starts from the most frequent vectors that cover this share of a kind's sessions."""

FEWEST: Final = 3
"""Sessions that must agree before anything becomes normal, and distinct counts that free a count."""

FEWEST_WAITS: Final = 10
"""Waits that make a state of a session a known one."""

WAIT_QUANTILE: Final = 0.999
"""A silence up to this quantile of a state's waits is usual."""

CHATTY_SHARE: Final = 0.30
"""A template in this share of windows is no alarm, whatever it says."""

GROSS: Final = 8.0
"""Robust standard deviations of the logarithm of a window's size that make it a gross outlier."""

LEAST_SPREAD: Final = 0.25
"""The least robust standard deviation of that logarithm: a window four times as large is nothing gross."""

_ERROR: Final = 3  # the severity class that opens no kind


@dataclass(frozen=True)
class Deviations:
    """How sessions deviate from the core, one row a session."""

    kind: NDArray[np.int64]
    values: NDArray[np.int8]  # (sessions, templates) binned counts
    deviates: NDArray[np.bool_]  # (sessions, templates): K(s), the templates whose value is not admitted
    probability: NDArray[np.float64]  # m(K): share of the kind's sessions that deviate in just this way
    need: NDArray[np.float64]  # need(K): share that would make the deviation normal

    @property
    def deviant(self) -> NDArray[np.bool_]:
        """Which sessions deviate in any template."""
        return np.asarray(self.deviates.any(axis=1))


@dataclass(frozen=True)
class NormalCore:
    """What is normal in each kind of session: the counts of each template, and how often what deviates."""

    sets: NDArray[np.bool_]  # (kinds, templates) the template set that stands for a kind
    sessions: NDArray[np.int64]  # (kinds,)
    core_sessions: NDArray[np.int64]  # (kinds,) how many of them are normal
    admitted: NDArray[np.bool_]  # (kinds, templates, VALUES) the normal values
    deviant_keys: NDArray[np.uint64]  # sorted; of kind and deviation together
    deviant_sessions: NDArray[np.int64]
    tied: NDArray[np.int64]  # (pairs, 3): kind, and templates that its sessions have both or neither of
    vector_keys: NDArray[np.uint64]  # sorted; of kind and vector of core sessions
    vector_ranks: NDArray[np.float64]  # share of core sessions with a vector at most as frequent

    def state(self) -> State:
        """The core as named arrays."""
        return dict(vars(self))

    def deviations(self, counts: NDArray[np.int64], severities: NDArray[np.int64]) -> Deviations:
        """How sessions with these count vectors (sessions, templates) deviate.

        Templates beyond the core's vocabulary are new: any count of them deviates.
        """
        values = binned(counts)
        core = self.widened(counts.shape[1])
        kind = joins(values > 0, core.sets)
        deviates = np.zeros(values.shape, dtype=np.bool_)
        need = np.zeros(len(values))
        for k in range(len(core.sets)):
            rows = np.flatnonzero(kind == k)
            deviates[rows] = _deviating(values[rows], core.admitted[k], core.tied_in(k))
            need[rows] = needed(deviates[rows], values[rows] == 0, core.admitted[k], severities)
        sizes = np.maximum(core.sessions[kind], 1)
        seen = _looked_up(_keyed(kind, signatures(deviates)), self.deviant_keys, self.deviant_sessions)
        ranks = _looked_up(_keyed(kind, signatures(values)), self.vector_keys, self.vector_ranks)
        within = ~deviates.any(axis=1)
        probability = np.where(within, np.maximum(ranks, 1 / sizes), np.maximum(seen, 1) / sizes)
        return Deviations(kind, values, deviates, np.minimum(probability, 1.0), need)

    def tied_in(self, kind: int) -> NDArray[np.int64]:
        """Pairs of templates that normal sessions of a kind have both or neither of, shape (pairs, 2)."""
        return self.tied[self.tied[:, 0] == kind, 1:]

    def widened(self, templates: int) -> "NormalCore":
        """The same core over a larger vocabulary, of whose new templates only 0 is normal."""
        missing = templates - self.sets.shape[1]
        if missing <= 0:
            return self
        admitted = np.zeros((len(self.sets), missing, VALUES), dtype=np.bool_)
        admitted[:, :, 0] = True
        return NormalCore(
            np.pad(self.sets, ((0, 0), (0, missing))),
            self.sessions,
            self.core_sessions,
            np.concatenate([self.admitted, admitted], axis=1),
            self.deviant_keys,
            self.deviant_sessions,
            self.tied,
            self.vector_keys,
            self.vector_ranks,
        )


@dataclass(frozen=True)
class Waits:
    """How long normal sessions wait for their next event, for each exact count vector on their way."""

    states: NDArray[np.uint64]  # sorted prefix signatures
    longest: NDArray[np.int64]  # microseconds: the WAIT_QUANTILE of the state's waits

    def patience(self, windows: Windows) -> NDArray[np.int64]:
        """Silence in microseconds after which each session will not go on; 0 where its state is not known."""
        filled = np.diff(windows.offsets) > 0
        if not len(windows.times) or not len(self.states):
            return np.zeros(len(windows), dtype=np.int64)
        state = np.where(filled, prefix_signatures(windows)[windows.offsets[1:] - 1], np.uint64(0))
        return _looked_up(state, self.states, self.longest + 1).astype(np.int64)

    def still_open(self, windows: Windows) -> NDArray[np.bool_]:
        """Which sessions are in a known state and may still go on at the last moment in the input."""
        if not len(windows.times):
            return np.zeros(len(windows), dtype=np.bool_)
        filled = np.diff(windows.offsets) > 0
        ends = np.where(filled, windows.times[windows.offsets[1:] - 1], NO_TIME)
        until = windows.times.max() if windows.until is None else windows.until
        return np.asarray((ends != NO_TIME) & (until - ends < self.patience(windows)))


def usual_waits(sessions: Windows) -> Waits:
    """The waits of normal sessions."""
    inner = np.flatnonzero(sessions.owner[1:] == sessions.owner[:-1])
    inner = inner[(sessions.times[inner] != NO_TIME) & (sessions.times[inner + 1] != NO_TIME)]
    state = prefix_signatures(sessions)[inner]
    wait = np.maximum(sessions.times[inner + 1] - sessions.times[inner], 0)
    longest = pl.col("wait").sort().get((WAIT_QUANTILE * pl.len()).cast(pl.Int64))
    waits = pl.DataFrame({"state": state, "wait": wait}).group_by("state").agg(longest, waits=pl.len())
    known = waits.filter(pl.col("waits") >= FEWEST_WAITS).sort("state")
    return Waits(known["state"].to_numpy(), known["wait"].to_numpy())


def grow(counts: NDArray[np.int64], weights: NDArray[np.int64], severities: NDArray[np.int64]) -> NormalCore:
    """The normal core of sessions given as distinct count vectors (rows) with weights.

    A deviation from what is normal so far becomes normal when enough sessions deviate in just that way.
    An anomaly deviates in many templates at once and so would need much support; a normal variant
    deviates in one or two and is common. Nothing here is random.
    """
    values = binned(counts)
    keys, first, inverse = np.unique(signatures(values), return_index=True, return_inverse=True)
    del keys
    values, weights = values[first], np.bincount(inverse, weights, len(first)).astype(np.int64)
    order = np.lexsort((first, -weights))
    values, weights = values[order], weights[order]
    sets = kinds(values > 0, weights, severities)
    kind = joins(values > 0, sets)
    admitted = np.zeros((len(sets), values.shape[1], VALUES), dtype=np.bool_)
    for k in range(len(sets)):
        rows = np.flatnonzero(kind == k)
        admitted[k] = _admitted(values[rows], weights[rows], severities)
    columns = np.arange(values.shape[1])
    deviates = ~admitted[kind[:, None], columns, values]
    tied = [np.zeros((0, 3), dtype=np.int64)]
    for k in range(len(sets)):
        rows = np.flatnonzero((kind == k) & ~deviates.any(axis=1))
        pairs = always_together(values[rows] > 0, weights[rows])
        deviates[rows] = lacking(values[rows] > 0, pairs)
        tied.append(np.pad(pairs, ((0, 0), (1, 0)), constant_values=k))
    inside = ~deviates.any(axis=1)
    sessions = np.bincount(kind, weights, len(sets)).astype(np.int64)
    core_sessions = np.bincount(kind[inside], weights[inside], len(sets)).astype(np.int64)
    deviant_keys, which = np.unique(_keyed(kind, signatures(deviates))[~inside], return_inverse=True)
    deviant = np.bincount(which, weights[~inside], len(deviant_keys)).astype(np.int64)
    vector_keys = _keyed(kind, signatures(values))[inside]
    ranks = _ranks(kind[inside], weights[inside])
    by_key = np.argsort(vector_keys)
    return NormalCore(
        sets,
        sessions,
        core_sessions,
        admitted,
        deviant_keys,
        deviant,
        np.concatenate(tied),
        vector_keys[by_key],
        ranks[by_key],
    )


def kinds(
    present: NDArray[np.bool_], weights: NDArray[np.int64], severities: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """The template sets that stand for kinds of session, shape (kinds, templates), at least one."""
    _, first, inverse = np.unique(signatures(present), return_index=True, return_inverse=True)
    mass = np.bincount(inverse, weights, len(first))
    enough = max(KIND_SHARE * float(weights.sum()), FEWEST)
    opened: list[NDArray[np.bool_]] = []
    for s in np.lexsort((first, -mass)):
        members = present[first[s]]
        if mass[s] < enough:
            break
        if not members.any() or (severities[members] >= _ERROR).any():
            continue
        if all((members & other).sum() < KIND_OVERLAP * min(members.sum(), other.sum()) for other in opened):
            opened.append(members)
    if not opened:
        opened.append(present.T.astype(np.float64) @ weights >= SEED_SHARE * max(float(weights.sum()), 1.0))
    return np.stack(opened)


def joins(present: NDArray[np.bool_], sets: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The kind whose template set is most like each session's (Jaccard), shape (sessions,)."""
    common = present.astype(np.float32) @ sets.T.astype(np.float32)
    union = present.sum(axis=1)[:, None] + sets.sum(axis=1)[None, :] - common
    return np.asarray(np.argmax(common / np.maximum(union, 1), axis=1), dtype=np.int64)


def needed(
    deviates: NDArray[np.bool_],
    absent: NDArray[np.bool_],
    admitted: NDArray[np.bool_],
    severities: NDArray[np.int64],
) -> NDArray[np.float64]:
    """need(K) of each deviation (a row): the support that would make it normal, shape (rows,)."""
    known = admitted[:, 1:].any(axis=1)
    cost = np.where(known, CHANGED, SUPPORT[severities])
    largest = np.where(deviates, cost, 0.0).max(axis=1, initial=0.0)
    warns = ~known & (severities > 0)
    incomplete = (deviates & (absent | warns)).any(axis=1)
    most = np.where(incomplete, NEED_AT_MOST, COMPLETE_AT_MOST)
    return np.asarray(np.minimum(deviates @ cost, np.maximum(most, largest)))


def _deviating(
    values: NDArray[np.int8], admitted: NDArray[np.bool_], tied: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """K(s): the templates whose value is not normal; where all are, those that others never come without."""
    deviates = ~admitted[np.arange(values.shape[1]), values]
    within = np.flatnonzero(~deviates.any(axis=1))
    deviates[within] = lacking(values[within] > 0, tied)
    return deviates


def _admitted(
    values: NDArray[np.int8], weights: NDArray[np.int64], severities: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Admitted values (templates, VALUES) of one kind, from distinct vectors, the most frequent first."""
    total = float(weights.sum())
    columns = np.arange(values.shape[1])
    admitted = np.zeros((values.shape[1], VALUES), dtype=np.bool_)
    seed = int(np.searchsorted(np.cumsum(weights), SEED_SHARE * total)) + 1
    for row in values[:seed]:
        admitted[columns, row] = True
    _free_counts(admitted)
    deviates = ~admitted[columns, values]
    signature = signatures(deviates)
    while True:
        outside = np.flatnonzero(signature)
        _, first, inverse = np.unique(signature[outside], return_index=True, return_inverse=True)
        mass = np.bincount(inverse, weights[outside], len(first))
        examples = outside[first]
        need = needed(deviates[examples], values[examples] == 0, admitted, severities)
        enough = (mass >= need * total) & (mass >= FEWEST)
        if not enough.any():
            return _bounded(admitted, values, weights)
        best = np.lexsort((first, -np.where(enough, mass, 0)))[0]
        members = outside[inverse == best]
        changed = np.flatnonzero(deviates[members[0]])
        for column in changed:
            admitted[column, values[members, column]] = True
        _free_counts(admitted)
        deviates[:, changed] = ~admitted[changed, values[:, changed]]
        signature = signatures(deviates)


def _free_counts(admitted: NDArray[np.bool_]) -> None:
    """Where three or more distinct non-zero values are normal, any is (in place)."""
    admitted[admitted[:, 1:].sum(axis=1) >= FEWEST, 1:] = True


def _bounded(
    admitted: NDArray[np.bool_], values: NDArray[np.int8], weights: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Free counts only up to twice what is usual, if sessions are enough to tell how far counts reach."""
    enough = SUPPORT[0] * float(weights.sum())
    if enough < FEWEST:
        return admitted
    for column in np.flatnonzero(admitted[:, 1:].all(axis=1)):
        reached = np.bincount(values[:, column], weights, VALUES)[::-1].cumsum()[::-1]
        admitted[column, doubled(int(np.flatnonzero(reached >= enough)[-1])) + 1 :] = False
    return admitted


def _keyed(kind: NDArray[np.int64], signature: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return mixed(kind) ^ signature


def _looked_up(
    keys: NDArray[np.uint64], known: NDArray[np.uint64], amounts: NDArray[np.int64] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """The amount of each key, 0 where it is not known."""
    if not len(known):
        return np.zeros(len(keys))
    at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[at] == keys, amounts[at], 0).astype(np.float64)


def _ranks(kind: NDArray[np.int64], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of the kind's core sessions whose vector is at most as frequent as each, shape (vectors,)."""
    ranks = np.zeros(len(weights))
    for k in np.unique(kind):
        rows = np.flatnonzero(kind == k)
        order = np.sort(weights[rows])
        below = np.cumsum(order)[np.searchsorted(order, weights[rows], side="right") - 1]
        ranks[rows] = below / order.sum()
    return ranks


def clean_windows(windows: Windows) -> NDArray[np.bool_]:
    """Which windows are the reference that detectors are fitted on, shape (windows,).

    Sessions: those within the normal core. Others: all but those that hold a rare error report, and those
    whose number of events is a gross outlier.
    """
    distinct = windows.distinct
    if windows.kind is WindowKind.SESSION:
        core = grow(distinct.counts, distinct.weights, windows.severities)
        return np.asarray(~core.deviations(distinct.counts, windows.severities).deviant[distinct.inverse])
    present = distinct.counts > 0
    share = present.T.astype(np.float64) @ distinct.weights / max(len(windows), 1)
    alarming = (windows.severities >= _ERROR) & (share < CHATTY_SHARE)
    size = np.log1p(distinct.counts.sum(axis=1))[distinct.inverse]
    centre = float(np.median(size)) if len(size) else 0.0
    spread = max(1.4826 * float(np.median(np.abs(size - centre))) if len(size) else 0.0, LEAST_SPREAD)
    gross = np.abs(size - centre) > GROSS * spread
    bad = np.asarray(present[:, alarming].any(axis=1))[distinct.inverse]
    return np.asarray(~(bad | gross))
