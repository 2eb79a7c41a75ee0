"""Alarms at templates that report an error, and at the first sighting of others while that is news."""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from logad.contracts import Detector, PartConfig, Scores, State
from logad.detectors import _news
from logad.detectors._history import (
    CHATTY_SHARE,
    CHATTY_SLOTS,
    NEVER,
    SLOT,
    WARNING,
    History,
    Moments,
    kinds_of,
    moments_of,
    sites_of,
)
from logad.detectors._phrases import counted, duration, number, quoted, times
from logad.types import AnomalyType, Contribution, WindowKind
from logad.windows import Windows

SIGHTING_SHARE: Final = 1 / 48  # windows that may bring a first sighting before it stops being news
PLAIN_SHARE: Final = 1 / 500  # the same of what merely informs, as of a session that has such a template
PLAIN_LINES: Final = 2  # what comes more often at first sight is a new habit; chosen on shop seeds 0-3
LEAST_PLAIN: Final = 0.4  # of what such an alarm may spend: it is worth a note, and nobody's sleep
EVIDENCE: Final = 5  # events shown of one template


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is news in some windows: template `codes[i]` in window `rows[i]`, an alarm below a ratio of 1."""

    rows: NDArray[np.int64]
    codes: NDArray[np.int64]
    ratios: Scores  # probability over what an alarm may spend
    moments: Moments  # of each event
    history: History


class NewTemplate(Detector):
    """Standing alarm for errors that are no noise, first-sighting alarm for warnings (no training needed).

    An error by level and by words is an alarm wherever it stands, unless it is chatty: present in 30 % and in
    20 of the ten-minute slots with a line that went before, counted in time (a storm counted in windows would
    make itself chatty), or in 30 % of those that were fitted and all over them (in 7 of their tenths). In
    windows of time each service counts for itself, for what is everyday noise in one may be news in another,
    and an error is news on its first three occasions and for two days: then the volume tells when it comes
    more often than it did.

    Another template of class 2 or 3 is an alarm in the window of its first event, as long as such windows are
    rare and it does not come all over what was fitted. A new template that merely informs is an alarm too
    where such a thing hardly ever happens in its service, if it comes alone: with others, or often from the
    start, it is a new habit, and noticed below the cut. All else judges a window by what came before it,
    whether it was part of `fit` or not.
    """

    name: ClassVar[str] = "new_template"
    kinds: ClassVar[frozenset[WindowKind]] = frozenset(WindowKind)
    need: ClassVar[float] = SIGHTING_SHARE

    def __init__(self, config: PartConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._past = History.none()
        self._known = self._past  # with what was judged since
        self._held: Windows | None = None  # windows that are part of what is known
        self._memo: tuple[Windows, _Judged] | None = None

    def fit(self, windows: Windows) -> Self:
        """Remember each template's first moment, and the slots of time that hold warnings and errors."""
        self._past = self._known = History.of(windows)
        self._held, self._memo = windows, None
        return self

    def remember(self, windows: Windows) -> None:
        """What they showed is no news any more."""
        self._known, self._memo = self._known.joined(History.of(windows)), None

    def score(self, windows: Windows) -> Scores:
        """-ln of the tail probability, in nats."""
        return -np.log(self.tail_probabilities(windows))

    def tail_probabilities(self, windows: Windows) -> Scores:
        """How often a window is at least as strange, shape (windows,); below `need` is an alarm."""
        judged = self._judged(windows)
        least = np.full(len(windows), np.inf)
        np.minimum.at(least, judged.rows, judged.ratios)
        return np.clip(least * self.need, 1e-300, 1.0)

    def explain(self, windows: Windows, row: int) -> tuple[Contribution, ...]:
        """One contribution for each error that stands in the window and each template first seen in it."""
        judged = self._judged(windows)
        places = np.flatnonzero(judged.rows == row)
        if (judged.ratios[places] < 1).any():  # noise of this system explains no alarm
            places = places[judged.ratios[places] < 1]
        told = [self._told(windows, row, judged, int(place)) for place in places]
        return tuple(sorted(told, key=lambda part: -part.weight))

    def state(self) -> State:
        """First moments, beginnings of windows and slots of errors."""
        return self._past.state()

    def restore(self, state: State) -> Self:
        """Take back what `state` gave."""
        self._past = History.restored(state)
        self._known, self._held, self._memo = self._past, None, None
        return self

    def _judged(self, windows: Windows) -> _Judged:
        """What is news in the windows; kept, because every explanation asks for it again."""
        if self._memo is None or self._memo[0] is not windows:
            self._memo = (windows, self._judge(windows))
        return self._memo[1]

    def _judge(self, windows: Windows) -> _Judged:
        moments = moments_of(windows)
        history = self._known if windows is self._held else self._known.joined(History.of(windows))
        standing = _pairs(windows, moments, windows.alarming)
        kinds = kinds_of(sites_of(windows)[standing[0]], standing[1])
        present, filled = history.slots_before(kinds, standing[2])
        quiet = (present + 1) / (np.maximum(filled, CHATTY_SLOTS / CHATTY_SHARE - 1) + 1) / CHATTY_SHARE
        quiet = np.where(self._past.all_over(kinds), np.maximum(quiet, 2.0), quiet)
        if windows.kind is WindowKind.TIME:  # how often it comes is for the volume
            quiet = np.where(history.known(kinds, standing[2]), np.maximum(quiet, 2.0), quiet)
        new = _news.Sightings.of(windows, moments, history)
        new = new.only(
            ~windows.alarming[new.codes]
        )  # the first sighting of an error is a standing alarm already
        return _Judged(
            np.concatenate([standing[0], new.rows]),
            np.concatenate([standing[1], new.codes]),
            np.concatenate([quiet, self._news(windows, history, new)]),
            moments,
            history,
        )

    def _news(self, windows: Windows, history: History, new: _news.Sightings) -> Scores:
        """What first sightings of templates that report no error are, over what their alarms may spend."""
        severity = windows.severities[new.codes]
        ratios = np.empty(len(new.codes))
        warns = severity >= WARNING
        grave = _news.grave_rate(history, windows, new.moments[warns]) / SIGHTING_SHARE
        kinds = kinds_of(sites_of(windows)[new.rows[warns]], new.codes[warns])
        ratios[warns] = np.where(self._past.all_over(kinds), np.maximum(grave, 2.0), grave)
        plain = _news.plain_rate(history, windows, new.codes[~warns]) / PLAIN_SHARE
        lonely = (new.lines[~warns] <= PLAIN_LINES) & _news.alone(history, new.codes[~warns])
        ratios[~warns] = np.maximum(plain, np.where(lonely, LEAST_PLAIN, 2.0))
        return ratios

    def _told(self, windows: Windows, row: int, judged: _Judged, found: int) -> Contribution:
        history, code = judged.history, int(judged.codes[found])
        span = windows.span(row)
        places = np.flatnonzero(windows.events[span] == code)
        moment = int(judged.moments[span][places].min())
        name = quoted(windows, code)
        if windows.vocabulary[code].alarming:
            before = _before(windows, row, history, code, moment)
            text = f"{name} reports an error{_often(len(places))}; {before}"
        else:
            what = "warns" if windows.vocabulary[code].severity >= WARNING else "is new"
            text = f"{name} {what}{_often(len(places))}; {_unseen(history, moment)}"
        events = tuple(int(place) for place in places[:EVIDENCE])
        return Contribution(
            float(-np.log(min(judged.ratios[found] * self.need, 1.0))),
            text,
            AnomalyType.POINT,
            code,
            "0",
            number(len(places)),
            events,
        )


def _pairs(windows: Windows, moments: Moments, wanted: NDArray[np.bool_]) -> tuple[Moments, Moments, Moments]:
    """Distinct pairs (window, template) of the wanted templates, and the first moment of each."""
    chosen = np.flatnonzero(wanted[windows.events]) if len(wanted) else np.zeros(0, dtype=np.int64)
    width = max(len(wanted), 1)
    keys, inverse = np.unique(windows.owner[chosen] * width + windows.events[chosen], return_inverse=True)
    earliest = np.full(len(keys), NEVER)
    np.minimum.at(earliest, inverse, moments[chosen])
    return keys // width, keys % width, earliest


_LINE_CLOCK_ENDS: Final = 10**14  # moments below it (before March 1973) were made from line numbers


def _often(lines: int) -> str:
    return f" {times(lines)}" if lines > 1 else ""


def _before(windows: Windows, row: int, history: History, code: int, moment: int) -> str:
    """What is known of the error, in the service of the window, at this moment."""
    if moment <= history.first[code]:
        return _unseen(history, moment)
    mine = history.kinds == kinds_of(sites_of(windows.take([row])), np.array([code]))
    if not (history.starts[mine] < moment).any():
        return _unseen(history, moment, f" in {windows.table['service'][row]}")
    slots = history.slots[mine]
    slots = slots[slots < moment // SLOT]
    if not len(slots):
        return "it began shortly before"
    occasions = 1 + int((np.diff(slots) > 1).sum())
    on = "one occasion" if occasions == 1 else counted(occasions, "occasion")
    if moment <= _LINE_CLOCK_ENDS:
        return f"it came on {on} before"
    if moment // SLOT - slots[-1] <= 1:
        opens = slots[np.flatnonzero(np.diff(slots, prepend=-1) > 1)[-1]]
        return f"it has gone on for about {_spanned(moment // SLOT - int(opens))}"
    ago = _spanned(moment // SLOT - int(slots[-1]))
    return f"it came on {on} before, {'the last ' if occasions > 1 else ''}about {ago} ago"


def _unseen(history: History, moment: int, where: str = "") -> str:
    """That something was never seen, and in how much: a running watch remembers only so far back."""
    past = int(np.searchsorted(history.windows, moment, side="right")) - 1
    if past <= 0:
        return "the log begins with it"
    if moment <= _LINE_CLOCK_ENDS:
        return f"never seen{where} in the {counted(past, 'window')} before"
    return f"never seen{where} in the {duration((moment - int(history.windows[0])) / 1e6)} before"


def _spanned(slots: int) -> str:
    return duration(slots * SLOT / 1e6)
