"""Makes a detector of any estimator that learns from rows of numbers and scores rows of numbers."""

import inspect
import io
import warnings
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any, ClassVar, Final, Self

import numpy as np

from logad.contracts import Detector, PartConfig, Scores, State
from logad.detectors._columns import Columns, Floats, Ints, drawn
from logad.detectors._phrases import coming, counted, quoted, times
from logad.errors import ConfigError, StateError
from logad.types import AnomalyType, Contribution, WindowKind
from logad.windows import Windows

_SAMPLE: Final = 2_000  # rows to fit on: what costs the square of them stays below a second
_JITTER: Final = 0.01  # deviations by which equal rows are set apart, for what divides by distances
_ENOUGH: Final = 100  # windows from which on an estimator that cannot learn is a fault, not a beginning
_BLOCK: Final = 4_096  # rows scored at once
_ABLATED: Final = 16  # templates that an explanation tries to make usual
_STEPS: Final = 4  # how many it makes usual, one after another
_WEIGHTY: Final = 0.05  # a template is told if it lets the score fall by so much of the heaviest's
_SAME: Final = 1e-6  # deviations up to which two scores are the same


class RefusedError(ValueError):
    """An estimator does not take its options."""


class Adapted(Detector):
    """What all estimators of other libraries have in common; a subclass makes one and reads its scores.

    The score is the estimator's strangeness in standard deviations of its training rows above their median,
    plus what `Columns.beside` says of counts that never varied. Nothing of the estimator is stored: the rows
    it was fitted on are, and a restored detector fits it again, which gives the same or is an error.
    """

    kinds: ClassVar[frozenset[WindowKind]] = frozenset(WindowKind)

    def __init__(self, config: PartConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._columns: Columns
        self._sample: Ints  # (rows, templates) counts to fit on
        self._estimator: Any = None  # None: too little to learn from
        self._centre, self._spread = 0.0, 1.0
        self._one_by_one = False  # whether a row's score depends on the rows it is scored with

    @property
    @abstractmethod
    def _label(self) -> str:
        """The estimator's name, for messages."""

    @property
    @abstractmethod
    def _library(self) -> str:
        """The library's name and version."""

    @abstractmethod
    def _fitted(self, rows: Floats) -> Any:  # noqa: ANN401  (of another library)
        """A new estimator that has learned from the rows; raises RefusedError, or what it raises itself."""

    @abstractmethod
    def _strangeness(self, rows: Floats) -> Scores:
        """What the fitted estimator says of rows; higher is stranger."""

    def fit(self, windows: Windows) -> Self:
        """Learn the scales of all windows, and fit the estimator on at most 2,000 of them."""
        distinct = windows.distinct
        self._columns = Columns.of(distinct)
        self._sample = distinct.counts[drawn(distinct.weights, _SAMPLE, self.seed)]
        self._learn()
        return self

    def _learn(self) -> None:
        self._estimator, self._one_by_one = None, False
        self._centre, self._spread = 0.0, 1.0
        rows = self._columns.rows(self._sample)
        if len(rows) < 2 or not rows.shape[1]:  # noqa: PLR2004  (one row tells of no variation)
            return
        apart = _JITTER * np.random.default_rng(self.seed).standard_normal(rows.shape)
        try:
            with quietly(self.seed):
                self._estimator = self._fitted(rows + apart)
                scores = _finite(self._strangeness(rows))
                first = range(min(3, len(rows)))
                alone = _finite(np.concatenate([self._strangeness(rows[at : at + 1]) for at in first]))
        except RefusedError as error:
            raise self._fault(str(error)) from error
        except ConfigError:
            raise
        except Exception as error:  # whatever another library raises
            self._estimator = None
            if len(rows) >= _ENOUGH:
                shape = f"{counted(len(rows), 'window')} of {counted(rows.shape[1], 'template')}"
                raise self._fault(
                    f"{self._label} cannot learn from {shape} ({_first_line(error)})"
                ) from error
            return
        self._centre = float(np.median(scores))
        self._spread = float(scores.std()) or 1.0
        differ = np.abs(alone - scores[: len(alone)]).max()
        self._one_by_one = bool(differ > _SAME * self._spread)

    def _fault(self, found: str) -> ConfigError:
        return ConfigError(
            f"detectors.{self.name}", found, "an estimator that can", "choose another one or other options"
        )

    def score(self, windows: Windows) -> Scores:
        """Deviations above the median strangeness of what was learned from, and what never varied before."""
        distinct = windows.distinct
        return self._scored(distinct.counts)[distinct.inverse]

    def _scored(self, counts: Ints) -> Scores:
        beside = self._columns.beside(counts)
        if self._estimator is None or not len(counts):
            return beside
        rows, most = self._columns.rows(counts), 1 if self._one_by_one else _BLOCK
        try:
            with quietly(self.seed):
                told = [self._strangeness(rows[at : at + most]) for at in range(0, len(rows), most)]
        except Exception as error:  # whatever another library raises
            raise self._fault(f"{self._label} cannot score ({_first_line(error)})") from error
        return (_finite(np.concatenate(told)) - self._centre) / self._spread + beside

    def explain(self, windows: Windows, row: int) -> tuple[Contribution, ...]:
        """How far the score falls as unusual counts are made usual, one after another, heaviest first.

        Each step makes that template usual (its median) which lets the score fall most; so the weights add
        up to the fall from the window to a usual one; trifles are not told. Where no single one lets it fall
        but all together do, the fall is shared out evenly among the farthest.
        """
        counts = windows.distinct.counts[windows.distinct.inverse[row]]
        usual = self._columns.usual_of(len(counts))
        candidates = self._columns.unusual(counts)[:_ABLATED].tolist()
        weights = self._falls(counts, usual, candidates)
        events = windows.events[windows.span(row)]
        return tuple(
            Contribution(
                weight,
                f"{quoted(windows, code)} came {times(int(counts[code]))}; "
                f"usually {coming(int(usual[code]))}",
                AnomalyType.COLLECTIVE,
                code,
                str(usual[code]),
                str(counts[code]),
                tuple(int(position) for position in np.flatnonzero(events == code)[:2]),
            )
            for code, weight in sorted(weights.items(), key=lambda each: -each[1])
            if weight > _WEIGHTY * max(weights.values())
        )

    def _falls(self, counts: Ints, usual: Ints, candidates: list[int]) -> Mapping[int, float]:
        """By how much the score falls for each template that is made usual."""
        falls: dict[int, float] = {}
        now = counts.copy()
        before = float(self._scored(now[None, :])[0])
        left = list(candidates)
        while left and len(falls) < _STEPS:
            tried = np.repeat(now[None, :], len(left), axis=0)
            tried[np.arange(len(left)), left] = usual[left]
            after = self._scored(tried)
            best = int(np.argmin(after))
            if after[best] >= before:
                break
            code = left.pop(best)
            falls[code], before = before - float(after[best]), float(after[best])
            now[code] = usual[code]
        if not falls and candidates:
            now[candidates] = usual[candidates]
            together = before - float(self._scored(now[None, :])[0])
            if together > 0:
                falls = dict.fromkeys(candidates[:_STEPS], together / min(len(candidates), _STEPS))
        return falls

    def state(self) -> State:
        """Scales, the rows fitted on, and two numbers that a refitted estimator must give again."""
        rows, codes = np.nonzero(self._sample)
        return {
            **self._columns.state(),
            "shape": np.array(self._sample.shape),
            "rows": rows,
            "codes": codes,
            "counts": self._sample[rows, codes],
            "scale": np.array([self._centre, self._spread]),
            "library": np.array(self._library if self._estimator is not None else ""),
        }

    def restore(self, state: State) -> Self:
        """Take the rows back and fit the estimator on them again.

        Raises:
            StateError: it does not score as it did, which another version of its library can cause.
        """
        self._columns = Columns.restored(state)
        self._sample = np.zeros(tuple(state["shape"].tolist()), dtype=np.int64)
        self._sample[state["rows"], state["codes"]] = state["counts"]
        self._learn()
        centre, spread = state["scale"].tolist()
        if max(abs(self._centre - centre), abs(self._spread - spread)) > _SAME * spread:
            raise StateError(
                f"detectors.{self.name}",
                f"{self._label} of {self._library} scores otherwise than when it was stored",
                f"the scores of {state['library']}",
                "train again",
            )
        return self


@contextmanager
def quietly(seed: int) -> Iterator[None]:
    """Run another library's code so that it disturbs nothing and comes out alike every time.

    Nothing is said, neither warnings nor prints; sums are made in one thread; NumPy's global random numbers,
    which some estimators draw from, start at the seed and are put back.
    """
    from threadpoolctl import threadpool_limits  # noqa: PLC0415  (comes with scikit-learn)

    before = np.random.get_state()  # noqa: NPY002  (theirs)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        with threadpool_limits(1), warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _finite(scores: Scores) -> Scores:
    """The scores with 0 for what is no number and at most 1e12, so that they can be averaged."""
    return np.clip(np.nan_to_num(scores, nan=0.0), -1e12, 1e12)


def options_of(made: Any) -> list[str]:  # noqa: ANN401  (a class of another library)
    """What a class is made with, by name."""
    return [name for name in inspect.signature(made).parameters if name not in {"self", "args", "kwargs"}]


def one_of(known: Iterable[str], name: str) -> str:
    """The name, if it is known; else ValueError that lists what is."""
    known = list(known)
    if name not in known:
        raise ValueError(f"found {name!r}; expected one of {', '.join(known)}")
    return name


def unknown_options(label: str, options: Mapping[str, Any], known: list[str]) -> None:
    """Raise ValueError that lists what can be set, for options that are none."""
    if strange := [name for name in options if name not in known]:
        offer = ", ".join(known) or "none"
        raise ValueError(f"found {', '.join(map(repr, strange))}; expected options of {label}: {offer}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
