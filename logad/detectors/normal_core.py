"""Finds sessions that deviate from the normal core in a way too few others do, and names the deviation."""

from dataclasses import replace
from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from logad.contracts import Detector, PartConfig, Scores, State
from logad.detectors._phrases import quoted, times
from logad.reference import CHANGED, SUPPORT, NormalCore, Waits, grow, usual_waits
from logad.types import AnomalyType, Contribution, WindowKind
from logad.windows import Windows


class NormalCoreConfig(PartConfig):
    """Nothing to set: support follows severity."""


class NormalCoreDetector(Detector):
    """Strangeness is how much more support a session's deviation would need to be normal, as a logarithm.

    A session that is on a normal way and silent no longer than usual there is open, not strange.
    """

    name: ClassVar[str] = "normal_core"
    kinds: ClassVar[frozenset[WindowKind]] = frozenset({WindowKind.SESSION})
    Config: ClassVar[type[PartConfig]] = NormalCoreConfig

    core: NormalCore
    waits: Waits

    def fit(self, windows: Windows) -> Self:
        """Grow the normal core and learn how long its sessions wait in each of their states."""
        distinct = windows.distinct
        self.core = grow(distinct.counts, distinct.weights, windows.severities)
        self.waits = usual_waits(windows.take(np.flatnonzero(self.normal(windows))))
        return self

    def normal(self, windows: Windows) -> NDArray[np.bool_]:
        """Which windows do not deviate from the core, shape (windows,)."""
        distinct = windows.distinct
        deviations = self.core.deviations(distinct.counts, windows.severities)
        return np.asarray(~deviations.deviant[distinct.inverse])

    def score(self, windows: Windows) -> Scores:
        """ln(need / probability): above 0, too few sessions deviate in this way."""
        probability, need = self._tails(windows)
        return np.asarray(np.log(need / probability))

    def tail_probabilities(self, windows: Windows) -> Scores:
        """The share of sessions that deviate in just this way, m(K); within the core, of rarer vectors."""
        return self._tails(windows)[0]

    def needs(self, windows: Windows) -> Scores:
        """The share of sessions below which each window's deviation is an alarm, need(K)."""
        return self._tails(windows)[1]

    def _tails(self, windows: Windows) -> tuple[Scores, Scores]:
        distinct = windows.distinct
        deviations = self.core.deviations(distinct.counts, windows.severities)
        deviant = deviations.deviant
        need = np.where(deviant, deviations.need, CHANGED)
        probability = np.where(deviant, deviations.probability, np.maximum(deviations.probability, need))
        probability, need = probability[distinct.inverse], need[distinct.inverse]
        is_open = deviant[distinct.inverse] & self.waits.still_open(windows)
        return np.where(is_open, np.maximum(probability, need), probability), need

    def patience(self, windows: Windows) -> NDArray[np.int64]:
        """Silence in microseconds that shows a session to be complete; 0 where it is normal as it stands."""
        return np.where(self.normal(windows), 0, self.waits.patience(windows))

    def explain(self, windows: Windows, row: int) -> tuple[Contribution, ...]:
        """One contribution for each template whose count no normal session of this kind has."""
        counts = windows.distinct.counts[windows.distinct.inverse[row]]
        deviations = self.core.deviations(counts[None, :], windows.severities)
        kind = int(deviations.kind[0])
        admitted = self.core.widened(len(counts)).admitted[kind]
        sessions = int(self.core.core_sessions[kind])
        kinship = " of this kind" if len(self.core.sets) > 1 else ""
        codes = np.flatnonzero(deviations.deviates[0])
        akin = self.core.widened(len(counts)).sets[kind] & (counts > 0)
        if counts.any() and not akin.any():  # unlike every kind: what it lacks of one of them says nothing
            codes = codes[counts[codes] > 0]
        normal = f"{sessions:,} normal sessions{kinship}"
        told = []
        for code in codes.tolist():
            partner = self._partner(kind, code, counts)
            told.append(_told(windows, row, (code, partner), admitted[code], normal))
        told.sort(key=lambda contribution: -contribution.weight)
        if told:
            alike = round(float(deviations.probability[0]) * int(self.core.sessions[kind]))
            what = "deviates" if alike == 1 else "deviate"
            rarity = f"; {alike:,} of {int(self.core.sessions[kind]):,} {what} like this"
            told[0] = replace(told[0], text=told[0].text + rarity)
        return tuple(told)

    def _partner(self, kind: int, code: int, counts: NDArray[np.int64]) -> int | None:
        """What a session has most of that never comes without this template, if it lacks this one."""
        pairs = self.core.tied_in(kind)
        mates = pairs[(pairs == code).any(axis=1)].sum(axis=1) - code
        here = mates[counts[mates] > 0]
        return None if counts[code] or not len(here) else int(here[np.argmax(counts[here])])

    def state(self) -> State:
        """The core's and the waits' arrays."""
        return dict(vars(self.core)) | dict(vars(self.waits))

    def restore(self, state: State) -> Self:
        """Take the arrays back."""
        self.core = NormalCore(**{name: state[name] for name in NormalCore.__dataclass_fields__})
        self.waits = Waits(**{name: state[name] for name in Waits.__dataclass_fields__})
        return self


def _told(
    windows: Windows, row: int, about: tuple[int, int | None], admitted: NDArray[np.bool_], normal: str
) -> Contribution:
    """A deviating count in words: that of a template, with one that never comes without it if it is missing.

    `normal` are the sessions it is compared with.
    """
    code, partner = about
    events = windows.events[windows.span(row)]
    where = np.flatnonzero(events == code)
    count = len(where)
    known = bool(admitted[1:].any())
    expected = expected_counts(admitted)
    name = quoted(windows, code)
    severity = windows.vocabulary[code].severity
    if count == 0 and partner is not None and admitted[0]:
        expected = expected_counts(admitted & (np.arange(len(admitted)) > 0))
        sentence = f"never reached {name}; the {normal} that have {quoted(windows, partner)} have it too"
        where = np.arange(len(events))[-1:]
    elif count == 0:
        sentence = f"never reached {name}; the {normal} have it {_times(expected)}"
        where = np.arange(len(events))[-1:]  # where it stopped
    elif not known:
        sentence = f"{name} came {times(count)}; none of the {normal} has it"
    else:
        sentence = f"{name} came {times(count)}; the {normal} have it {_times(expected)}"
    # of equal weight, what is new tells more than what is missing, and that more than what changed
    weight = CHANGED * (1.0 if count else 1.01) if known else float(SUPPORT[severity]) * 1.02
    point = not known  # one record that should not be there at all
    return Contribution(
        weight,
        sentence,
        AnomalyType.POINT if point else AnomalyType.COLLECTIVE,
        code,
        expected,
        str(count),
        tuple(int(position) for position in where[:2]),
    )


def expected_counts(admitted: NDArray[np.bool_]) -> str:
    """The normal counts in words, from admitted binned values.

    >>> admitted = np.zeros(64, dtype=bool)
    >>> admitted[[0, 3]] = True
    >>> expected_counts(admitted)
    '0 or 3'
    >>> admitted[1:7] = True
    >>> expected_counts(admitted)
    '0 to 15'
    """
    values = np.flatnonzero(admitted)
    if admitted[1:].all():
        return "any number of times" if admitted[0] else "1 or more"
    runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    spans = []
    for run in runs:
        if len(run) >= _RUN:
            spans.append(f"{_least(run[0])} to {_least(run[-1] + 1) - 1}")
        else:
            spans += [_span(value) for value in run.tolist()]
    return " or ".join([", ".join(spans[:-1]), spans[-1]] if len(spans) > 1 else spans)


_RUN: Final = 3  # counts after one another that are told as a span


def _least(value: int) -> int:
    """The least count that has a binned value."""
    exact = 5
    return value if value < exact else max(exact, 2 ** (int(value) - 3))


def _span(value: int) -> str:
    least, most = _least(value), _least(value + 1) - 1
    return str(least) if least == most else f"{least} to {most}"


def _times(count: str) -> str:
    if count == "any number of times":
        return count
    return times(int(count)) if count.isdigit() else f"{count} times"
