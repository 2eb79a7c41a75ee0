"""Alarms at templates that report an error, and at the first sighting of templates that warn."""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from logad.contracts import Detector, PartConfig, Scores, State
from logad.detectors._phrases import counted, duration, number, quoted, times
from logad.types import AnomalyType, Contribution, WindowKind
from logad.windows import NO_TIME, Windows, tallied

Moments = NDArray[np.int64]

WARNING: Final = 2  # the least severity class whose first sighting is an alarm
SLOT: Final = 600_000_000  # microseconds: chattiness is counted in slots of ten minutes
LINES_A_SLOT: Final = 1000  # where nothing has a time, this many lines stand for a slot
CHATTY_SHARE: Final = 0.3  # of the slots in which anything was written ...
CHATTY_SLOTS: Final = 20  # ... and at least so many: the template is noise of this system
ALL_OVER: Final = 7  # tenths of what was fitted in which noise stands, at least; chosen without labels
SIGHTING_SHARE: Final = 1 / 48  # windows that may bring a first sighting before it stops being news
MEMORY_WINDOWS: Final = 576.0  # half-life of the rate of first sightings: two days of five minutes
OCCASIONS: Final = 3  # earlier occasions, in time windows, after which an error that comes again is known ...
OCCASION_DAYS: Final = 2  # ... if they fell on so many days; both chosen on shop seeds 0-3
HOUR_SLOTS: Final = 6  # slots without it that part two occasions
DAY_SLOTS: Final = 144
NEVER: Final = np.iinfo(np.int64).max
EVIDENCE: Final = 5  # events shown of one template


@dataclass(frozen=True, slots=True)
class _History:
    """What was seen and when; every array is ordered by its moments or keys."""

    first: Moments  # (templates,): the moment of each template's first event, NEVER where there was none
    home: Moments  # (templates,): when the window of that first event began
    windows: Moments  # distinct moments at which windows began
    filled: Moments  # distinct slots of time that hold anything
    codes: NDArray[np.int64]  # distinct pairs of a template that warns or reports an error ...
    slots: NDArray[np.int64]  # ... and a slot of time that holds it, by code, then slot

    def joined(self, other: "_History") -> "_History":
        """Both histories as one; what both saw counts once."""
        width = max(len(self.first), len(other.first))
        mine, theirs = (_widened(history.first, width) for history in (self, other))
        homes = [_widened(history.home, width) for history in (self, other)]
        pairs = np.unique(
            np.stack([np.concatenate([self.codes, other.codes]), np.concatenate([self.slots, other.slots])]),
            axis=1,
        )
        return _History(
            np.minimum(mine, theirs),
            np.where(theirs < mine, homes[1], homes[0]),
            np.union1d(self.windows, other.windows),
            np.union1d(self.filled, other.filled),
            pairs[0],
            pairs[1],
        )

    def slots_before(self, codes: Moments, moments: Moments) -> tuple[Moments, Moments]:
        """In how many slots before the moments the templates stood, and how many held anything."""
        slots, base = moments // SLOT, int(self.filled[0]) if len(self.filled) else 0
        width = int(max(slots.max(initial=base), self.slots.max(initial=base)) - base) + 2
        keys = self.codes * width + (self.slots - base)
        present = np.searchsorted(keys, codes * width + (slots - base)) - np.searchsorted(keys, codes * width)
        return present, np.searchsorted(self.filled, slots)

    def known(self, codes: Moments, moments: Moments) -> NDArray[np.bool_]:
        """Whether the templates came on OCCASIONS before the present one, on OCCASION_DAYS different days."""
        opens = np.diff(self.slots, prepend=0) > HOUR_SLOTS
        opens |= np.diff(self.codes, prepend=-1) != 0
        begun, owners = self.slots[opens], self.codes[opens]
        found = np.zeros(len(codes), dtype=np.bool_)
        for code in np.unique(codes):
            occasions, mine = begun[owners == code], codes == code
            before = np.searchsorted(occasions, moments[mine] // SLOT, side="right") - 1
            days = np.concatenate([[0], np.cumsum(np.diff(occasions // DAY_SLOTS, prepend=-1) != 0)])
            found[mine] = (before >= OCCASIONS) & (days[np.maximum(before, 0)] >= OCCASION_DAYS)
        return found

    def all_over(self, codes: Moments) -> NDArray[np.bool_]:
        """Whether the templates stand all over this history, so that they are its normal state."""
        begins, ends = (np.searchsorted(self.codes, codes, side) for side in ("left", "right"))
        tenth = np.searchsorted(self.filled, self.slots) * 10 // max(len(self.filled), 1)
        opens = np.concatenate([[1], np.diff(self.codes * 10 + tenth) != 0])[: len(tenth)]
        tenths = np.concatenate([[0], np.cumsum(opens)])
        often = ends - begins >= max(CHATTY_SLOTS, CHATTY_SHARE * len(self.filled))
        spread: NDArray[np.bool_] = often & (tenths[ends] - tenths[begins] >= ALL_OVER)
        return spread


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is news in some windows: template `codes[i]` in window `rows[i]`, an alarm below a ratio of 1."""

    rows: NDArray[np.int64]
    codes: NDArray[np.int64]
    ratios: Scores  # probability over what an alarm may spend
    moments: Moments  # of each event
    history: _History


class NewTemplate(Detector):
    """Standing alarm for errors that are no noise, first-sighting alarm for warnings (no training needed).

    An error by level and by words is an alarm wherever it stands, unless it is chatty: present in 30 % and in
    20 of the ten-minute slots with a line that went before, counted in time (a storm counted in windows would
    make itself chatty), or in as many of all that was fitted and all over it (in 7 of its tenths). In windows
    of time it is news on its first three occasions and for two days: then the volume tells when it comes more
    often than it did. Another
    template of class 2 or 3 is an alarm in the window of its first event, as long as such windows are rare
    and it does not come all over what was fitted.
    A new template that merely informs is noticed below the cut. All else judges a window by what came before
    it, whether it was part of `fit` or not.
    """

    name: ClassVar[str] = "new_template"
    kinds: ClassVar[frozenset[WindowKind]] = frozenset(WindowKind)
    need: ClassVar[float] = SIGHTING_SHARE

    def __init__(self, config: PartConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        nothing = np.zeros(0, dtype=np.int64)
        self._past = _History(nothing, nothing, nothing, nothing, nothing, nothing)
        self._known = self._past  # with what was judged since
        self._memo: tuple[Windows, _Judged] | None = None

    def fit(self, windows: Windows) -> Self:
        """Remember each template's first moment, and the slots of time that hold warnings and errors."""
        self._past = self._known = _history(windows)
        self._memo = None
        return self

    def remember(self, windows: Windows) -> None:
        """What they showed is no news any more."""
        self._known, self._memo = self._known.joined(_history(windows)), None

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
        past = self._past
        return {
            "first": past.first,
            "home": past.home,
            "windows": past.windows,
            "filled": past.filled,
            "codes": past.codes,
            "slots": past.slots,
        }

    def restore(self, state: State) -> Self:
        """Take back what `state` gave."""
        names = ("first", "home", "windows", "filled", "codes", "slots")
        self._past = _History(*(np.asarray(state[name], dtype=np.int64) for name in names))
        self._known, self._memo = self._past, None
        return self

    def _judged(self, windows: Windows) -> _Judged:
        """What is news in the windows; kept, because every explanation asks for it again."""
        if self._memo is None or self._memo[0] is not windows:
            self._memo = (windows, self._judge(windows))
        return self._memo[1]

    def _judge(self, windows: Windows) -> _Judged:
        moments = _moments(windows)
        history = self._known.joined(_history(windows))
        standing = _pairs(windows, moments, windows.alarming)
        present, filled = history.slots_before(standing[1], standing[2])
        quiet = (present + 1) / (np.maximum(filled, CHATTY_SLOTS / CHATTY_SHARE - 1) + 1) / CHATTY_SHARE
        quiet = np.where(self._past.all_over(standing[1]), np.maximum(quiet, 2.0), quiet)
        if windows.kind is WindowKind.TIME:  # how often it comes is for the volume
            quiet = np.where(history.known(standing[1], standing[2]), np.maximum(quiet, 2.0), quiet)
        new = _first_sightings(windows, moments, history)
        severity = windows.severities[new[1]]
        rate = _sighting_rate(history, windows, new[2]) / SIGHTING_SHARE
        news = (severity >= WARNING) & ~self._past.all_over(new[1])
        rate = np.where(news, rate, np.maximum(rate, 2.0))
        chosen = ~windows.alarming[new[1]]  # the first sighting of an error is a standing alarm already
        return _Judged(
            np.concatenate([standing[0], new[0][chosen]]),
            np.concatenate([standing[1], new[1][chosen]]),
            np.concatenate([quiet, rate[chosen]]),
            moments,
            history,
        )

    def _told(self, windows: Windows, row: int, judged: _Judged, found: int) -> Contribution:
        history, code = judged.history, int(judged.codes[found])
        span = windows.span(row)
        places = np.flatnonzero(windows.events[span] == code)
        moment = int(judged.moments[span][places].min())
        name = quoted(windows, code)
        if windows.vocabulary[code].alarming:
            text = f"{name} reports an error{_often(len(places))}; {_before(history, code, moment)}"
        else:
            past = int(np.searchsorted(history.windows, moment, side="right")) - 1
            before = f"in the {counted(past, 'window')} before" if past > 1 else "before"
            what = "warns" if windows.vocabulary[code].severity >= WARNING else "is new"
            text = f"{name} {what}{_often(len(places))}; never seen {before}"
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


_LINE_CLOCK_ENDS: Final = 10**14  # moments below it (before March 1973) were made from line numbers


def _often(lines: int) -> str:
    return f" {times(lines)}" if lines > 1 else ""


def _before(history: _History, code: int, moment: int) -> str:
    """What is known of the error at this moment."""
    windows = int(np.searchsorted(history.windows, moment, side="right")) - 1
    if moment <= history.first[code]:
        return "never seen before" if windows else "the log begins with it"
    slots = history.slots[history.codes == code]
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


def _spanned(slots: int) -> str:
    return duration(slots * SLOT / 1e6)


def _moments(windows: Windows) -> Moments:
    """A moment for each event: its time, else that of the event before, else one made from its line."""
    known = windows.times != NO_TIME
    if known.all():
        return windows.times
    if known.any():
        last = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
        return windows.times[np.where(last < 0, np.argmax(known), last)]
    lines = windows.table["first_line"].fill_null(0).to_numpy()
    inside = np.arange(len(known)) - np.repeat(windows.offsets[:-1], np.diff(windows.offsets))
    return (lines[windows.owner] + inside) * (SLOT // LINES_A_SLOT)


def _history(windows: Windows) -> _History:
    """What these windows alone teach."""
    moments = _moments(windows)
    begins = _begins(windows, moments)
    width = len(windows.vocabulary)
    first = np.full(width, NEVER)
    np.minimum.at(first, windows.events, moments)
    home = np.full(width, NEVER)
    opening = moments == first[windows.events]
    np.minimum.at(home, windows.events[opening], begins[windows.owner[opening]])
    bad = windows.alarming[windows.events] | (windows.severities[windows.events] >= WARNING)
    slots = moments // SLOT
    elapsed = np.unique(slots[np.flatnonzero(np.diff(slots, prepend=slots[:1] - 1))])  # most are in order
    place = np.searchsorted(elapsed, slots[bad])
    size = len(elapsed) * width
    pairs, _ = tallied(windows.events[bad].astype(np.int64) * len(elapsed) + place, size)
    codes, place = np.divmod(pairs, max(len(elapsed), 1))
    begins = np.unique(begins[begins < NEVER])
    return _History(first, home, begins, elapsed, codes, elapsed[place])


def _begins(windows: Windows, moments: Moments) -> Moments:
    """The earliest moment of each window, NEVER where it has no event."""
    begins = np.full(len(windows), NEVER)
    np.minimum.at(begins, windows.owner, moments)
    return begins


def _pairs(windows: Windows, moments: Moments, wanted: NDArray[np.bool_]) -> tuple[Moments, Moments, Moments]:
    """Distinct pairs (window, template) of the wanted templates, and the first moment of each."""
    chosen = np.flatnonzero(wanted[windows.events]) if len(wanted) else np.zeros(0, dtype=np.int64)
    width = max(len(wanted), 1)
    keys, inverse = np.unique(windows.owner[chosen] * width + windows.events[chosen], return_inverse=True)
    earliest = np.full(len(keys), NEVER)
    np.minimum.at(earliest, inverse, moments[chosen])
    return keys // width, keys % width, earliest


def _first_sightings(
    windows: Windows, moments: Moments, history: _History
) -> tuple[Moments, Moments, Moments]:
    """Windows that hold a template's first event of all, the template, and its moment."""
    places = np.flatnonzero(moments == history.first[windows.events])
    codes, first = np.unique(windows.events[places], return_index=True)
    places = places[first]
    return windows.owner[places], codes.astype(np.int64), moments[places]


def _sighting_rate(history: _History, windows: Windows, moments: Moments) -> Scores:
    """The share of earlier windows that brought a first sighting at least as grave as a warning.

    Earlier windows fade with a half-life of MEMORY_WINDOWS; (n + .5) / (windows + 1).
    """
    grave = np.flatnonzero(windows.severities >= WARNING)
    homes = np.unique(history.home[grave][history.home[grave] < NEVER])
    fade = 0.5 ** (1 / MEMORY_WINDOWS)
    begins = np.full(len(moments), 0)
    begins[:] = np.searchsorted(history.windows, moments, side="right") - 1
    ranks = np.searchsorted(history.windows, homes)
    ages = begins[:, None] - ranks[None, :]
    seen = np.where(ages > 0, fade ** np.maximum(ages, 0), 0.0).sum(axis=1)
    past = (1 - fade**begins) / (1 - fade)
    rate: Scores = (seen + 0.5) / (past + 1)
    return rate


def _widened(moments: Moments, width: int) -> Moments:
    return np.concatenate([moments, np.full(width - len(moments), NEVER)])
