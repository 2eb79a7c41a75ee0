"""Finds sessions in which a step took far longer than it usually does."""

from typing import ClassVar, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from logad.contracts import Detector, PartConfig, Scores, State
from logad.detectors._phrases import quoted
from logad.durations import format_duration
from logad.types import AnomalyType, Contribution, WindowKind
from logad.windows import NO_TIME, Windows

FEWEST: Final = 50  # sessions that show what a step usually takes
SURE: Final = 300  # sessions of which three lie beyond the quantile; fewer flag only the strangest
LEAST_SPREAD: Final = 0.3  # of the logarithm: a third more or less is no news, however regular a step is
LEAST_SECONDS: Final = 0.05  # added to each wait: what takes less than this is never long
QUANTILE: Final = 0.99  # beyond it a tail is fitted
_NORMAL: Final = 2.326  # that quantile of a normal distribution, in standard deviations
LEAST_EXCESS: Final = 0.6
"""Of the logarithm: no tail is lighter than one where ten times as long comes once for every fifty. Chosen,
like SURE, on the first half in time of HDFS 2 %: learned from its beginning or from a few hundred sessions,
lighter tails flagged up to 3 % of what came later, when the same steps were slow for a while."""
PRIOR: Final = 20  # exceedances of all steps together that a step's own are worth
FALSE: Final = 1e-5  # of sessions; none of the first half in time of HDFS 2 % (5,426) is stranger
TOLD: Final = 5
_SECOND: Final = 1_000_000


class _Steps(NamedTuple):
    """Each event that comes after another in its session, where both have times; arrays (steps,)."""

    owner: NDArray[np.int64]
    place: NDArray[np.int64]  # of the event in its session
    pair: NDArray[np.int64]  # the template before, and this one
    seconds: NDArray[np.float64]


class Durations(Detector):
    """Surprise, in nats, at the longest step of a session beside how long that step usually takes.

    A step is two events that follow each other in a session. Of its waits, as logarithms, the median and the
    99th percentile are learned, and beyond that an exponential tail (peaks over threshold, Pickands 1975)
    whose rate leans on that of all steps where a step has few. What is never seen is extrapolated, and only
    waits that are many times the usual ones get far. Short waits are never strange.
    """

    name: ClassVar[str] = "durations"
    kinds: ClassVar[frozenset[WindowKind]] = frozenset({WindowKind.SESSION})

    def __init__(self, config: PartConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._sessions = 0
        self._grain = LEAST_SECONDS
        self._pairs = np.zeros(0, dtype=np.int64)
        self._usual = np.zeros((0, 3))  # of each pair: median and spread of the logarithm, mean excess

    def fit(self, windows: Windows) -> Self:
        """Learn how long each step that enough sessions have usually takes."""
        self._sessions = len(windows)
        known = windows.times[windows.times != NO_TIME]
        whole = bool(len(known)) and not (known % _SECOND).any()
        self._grain = 1.0 if whole else LEAST_SECONDS
        steps = _steps(windows)
        waits = self._logarithm(steps.seconds)
        order = np.lexsort((waits, steps.pair))
        pairs, begins, counts = np.unique(steps.pair[order], return_index=True, return_counts=True)
        sessions = np.unique(np.stack([steps.pair, steps.owner]), axis=1)[0]
        enough = np.searchsorted(sessions, pairs, "right") - np.searchsorted(sessions, pairs) >= FEWEST
        pairs, begins, counts = pairs[enough], begins[enough], counts[enough]
        waits = waits[order]
        centre = waits[begins + (counts - 1) // 2]
        high = waits[begins + ((counts - 1) * QUANTILE).astype(np.int64)]
        spread = np.maximum((high - centre) / _NORMAL, LEAST_SPREAD)
        excess, beyond = np.zeros(len(pairs)), np.zeros(len(pairs))
        for at, (begin, count) in enumerate(zip(begins.tolist(), counts.tolist(), strict=True)):
            off = (waits[begin : begin + count] - centre[at]) / spread[at] - _NORMAL
            off = off[off > 0]
            excess[at], beyond[at] = off.sum(), len(off)
        common = (excess.sum() + 1.0) / (beyond.sum() + 1.0)
        self._pairs = pairs
        mean = np.maximum((excess + PRIOR * common) / (beyond + PRIOR), LEAST_EXCESS / spread)
        self._usual = np.column_stack([centre, spread, mean])
        return self

    @property
    def need(self) -> float:
        """The share of sessions that may be flagged: one in twenty times those learned from; of few, less."""
        return max(FALSE, 1 / (20 * self._sessions)) if self._sessions >= SURE else FALSE

    def score(self, windows: Windows) -> Scores:
        """-ln of the tail probability of the session's strangest step; 0 where none is long."""
        steps = _steps(windows)
        scores = np.zeros(len(windows))
        np.maximum.at(scores, steps.owner, self._surprise(steps))
        return scores

    def tail_probabilities(self, windows: Windows) -> Scores:
        """The probability that one of as many steps takes so long, at most 1."""
        steps = np.maximum(np.diff(windows.offsets) - 1, 1)
        return np.asarray(np.minimum(1.0, steps * np.exp(-self.score(windows))))

    def explain(self, windows: Windows, row: int) -> tuple[Contribution, ...]:
        """One contribution for each step that took long, the strangest first."""
        session = windows.take([row])
        steps = _steps(session)
        surprise = self._surprise(steps)
        told: dict[int, Contribution] = {}
        for at in np.argsort(-surprise, kind="stable").tolist():
            if surprise[at] <= 0 or len(told) == TOLD:
                break
            pair = int(steps.pair[at])
            if pair not in told:
                seconds, place = float(steps.seconds[at]), int(steps.place[at])
                told[pair] = self._told(windows, pair, seconds, place, float(surprise[at]))
        return tuple(told.values())

    def state(self) -> State:
        """What each step usually takes."""
        about = np.asarray([self._grain, self._sessions])
        return {"about": about, "pairs": self._pairs, "usual": self._usual}

    def restore(self, state: State) -> Self:
        """Take the arrays back."""
        self._grain, self._sessions = float(state["about"][0]), int(state["about"][1])
        self._pairs, self._usual = state["pairs"], state["usual"]
        return self

    def _told(self, windows: Windows, pair: int, seconds: float, place: int, surprise: float) -> Contribution:
        before, after = divmod(pair, _WIDTH)
        centre, spread, _ = self._usual[np.searchsorted(self._pairs, pair)]
        usual = format_duration(self._seconds(centre))
        most = format_duration(self._seconds(centre + _NORMAL * spread))
        took = format_duration(seconds)
        return Contribution(
            surprise,
            f"it took {took} from {quoted(windows, before)} to {quoted(windows, after)}; "
            f"usually {usual}, and at most {most} in 99 of 100 cases",
            AnomalyType.CONTEXTUAL,
            after,
            f"at most {most}",
            took,
            (place - 1, place),
        )

    def _logarithm(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log(np.maximum(seconds, 0.0) + self._grain)

    def _seconds(self, logarithm: float) -> float:
        return max(float(np.exp(logarithm)) - self._grain, 0.0)

    def _surprise(self, steps: _Steps) -> NDArray[np.float64]:
        """-ln of the probability that the step takes so long; 0 where it is not known, or takes no longer."""
        surprise = np.zeros(len(steps.pair))
        if not len(self._pairs):
            return surprise
        at = np.minimum(np.searchsorted(self._pairs, steps.pair), len(self._pairs) - 1)
        centre, spread, excess = self._usual[at].T
        off = (self._logarithm(steps.seconds) - centre) / spread - _NORMAL
        far = (self._pairs[at] == steps.pair) & (off > 0)
        surprise[far] = off[far] / excess[far] - np.log(1 - QUANTILE)
        return surprise


_WIDTH: Final = 1 << 31  # templates that a pair of them can tell apart


def _steps(windows: Windows) -> _Steps:
    """The steps of all sessions, in order."""
    later = (
        np.flatnonzero(
            (np.diff(windows.owner) == 0) & (windows.times[1:] != NO_TIME) & (windows.times[:-1] != NO_TIME)
        )
        + 1
    )
    owner = windows.owner[later]
    pair = windows.events[later - 1].astype(np.int64) * _WIDTH + windows.events[later]
    seconds = (windows.times[later] - windows.times[later - 1]) / _SECOND
    return _Steps(owner, later - windows.offsets[owner], pair, seconds)
