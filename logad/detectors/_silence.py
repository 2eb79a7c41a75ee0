"""How long services keep silent, and when a silence is longer than their past explains."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from logad.contracts import State
from logad.detectors._baseline import Floats, Ints
from logad.windows import NO_TIME, Windows

SECOND: Final = 1e6  # microseconds
KEPT: Final = 8  # longest gaps kept of each service
_BLOCK: Final = 1024  # gaps of which the longest is found first
LONGER: Final = 1.5  # times the longest gap of the past, where others go on writing
STEADY: Final = 0.97  # share of windows with a line from which a service counts as steady
STEADY_DUE: Final = 20.0  # lines that must be overdue of a steady service ...
STEADY_WINDOWS: Final = 2  # ... in so many windows
DEAD_DUE: Final = 5.0  # the same in one window, where nobody writes though STEADY_DUE lines are due of all
SPARSE_DUE: Final = 10.0  # lines, come together counted once, overdue of any other
AGE: Final = 24  # windows before a steady service is judged
SPARSE_AGE: Final = 288  # the same for any other
SPARSE_RUNS: Final = 10  # silences that a service that is not steady must have shown before
MOSTLY: Final = 0.9  # share of windows with a line from which a service's usual gaps tell as well:
UNUSUAL: Final = 0.02  # gaps, as a share of windows, that may be longer than usual
TIMES: Final = 2.0  # times the longest usual gap; MOSTLY to TIMES chosen on planted silences, shop seeds 0-3
STEPS: Final = 3.0  # a gap that is longer by the longest usual one is so many nats less probable
ALARMS: Final = 6  # windows for which a silence is news


@dataclass(frozen=True, slots=True)
class Gaps:
    """The silences of each service at fit."""

    begins: Ints  # (services, KEPT): when the longest ones began, microseconds; 0 where there are fewer
    lengths: Floats  # (services, KEPT): seconds, longest first
    last: Ints  # (services,): the last line of all; 0 where there was none
    open: Ints  # (services,): empty windows since that line
    ended: Ints  # (services,): the end of the last window
    runs: Ints  # (services,): how many runs of empty windows there were, the longest left out
    empty: Ints  # (services,): how many empty windows in those
    filled: Floats  # (services,): share of windows with a line
    windows: Ints  # (services,): how many windows there were
    usual: Floats  # (services,): seconds, the longest gap but UNUSUAL
    spanned: float  # seconds that were seen in all

    @classmethod
    def none(cls) -> Self:
        """Of no service."""
        flat = np.zeros(0, dtype=np.int64)
        return cls(
            np.zeros((0, KEPT), dtype=np.int64),
            np.zeros((0, KEPT)),
            flat,
            flat,
            flat,
            flat,
            flat,
            np.zeros(0),
            flat,
            np.zeros(0),
            0.0,
        )

    def state(self) -> State:
        """The arrays, named `gap_...`."""
        return {f"gap_{name}": np.asarray(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def restored(cls, state: State) -> Self:
        """From what `state` gave."""
        arrays = {name: state[f"gap_{name}"] for name in cls.__slots__ if name != "spanned"}
        return cls(**arrays, spanned=float(state["gap_spanned"]))


@dataclass(frozen=True, slots=True)
class Silences:
    """Windows in which lines are overdue."""

    rows: Ints
    seconds: Floats  # how long the service has been silent at the window's end
    longest: Floats  # seconds of its longest silence before
    surprise: Floats  # -ln p


def gaps_of(windows: Windows, service: Ints, services: int) -> Gaps:
    """The silences of each service in these windows."""
    ends = windows.table["end"].dt.timestamp("us").fill_null(0).to_numpy()
    begins, lengths = np.zeros((services, KEPT), dtype=np.int64), np.zeros((services, KEPT))
    last, still, ended, runs, empty, many = (np.zeros(services, dtype=np.int64) for _ in range(6))
    filled, usual = np.ones(services), np.full(services, np.inf)
    moments = _by_service(windows, service, services)
    sizes = np.diff(windows.offsets)
    for number in range(services):
        times = moments[number]
        silent = np.diff(times)
        rows = np.flatnonzero(service == number)
        rank = 2 + int(UNUSUAL * len(rows))
        order = _longest(silent, max(KEPT, rank))
        longest = order[:KEPT]
        begins[number, : len(longest)] = times[longest]
        lengths[number, : len(longest)] = silent[longest] / SECOND
        gone = sizes[rows] == 0
        if len(silent) >= rank:
            usual[number] = max(silent[order[rank - 1]], _span(ends[rows])) / SECOND
        last[number] = times[-1] if len(times) else 0
        ended[number], many[number] = ends[rows].max(initial=0), len(rows)
        filled[number] = 1 - gone.mean() if len(rows) else 1.0
        edge = np.flatnonzero(np.diff(gone.astype(np.int8), prepend=0, append=0))
        spans = np.diff(edge.reshape(-1, 2), axis=1).ravel()
        runs[number] = max(len(spans) - 1, 0)
        empty[number] = spans.sum() - spans.max(initial=0)
        still[number] = spans[-1] if len(gone) and gone[-1] else 0
    spanned = (ends.max() - ends.min()) / SECOND if len(ends) else 0.0
    return Gaps(begins, lengths, last, still, ended, runs, empty, filled, many, usual, float(spanned))


def _span(ends: Ints) -> int:
    """The shortest time between the ends of two windows."""
    return int(np.min(np.diff(np.unique(ends)), initial=np.iinfo(np.int64).max))


def _by_service(windows: Windows, service: Ints, services: int) -> list[Ints]:
    """The moments of the events of each service, in order."""
    timed = windows.times != NO_TIME
    every = timed.all()
    times = windows.times if every else windows.times[timed]
    if services == 1 and (service == 0).all():
        parts = [times]
    else:
        owners = service.astype(np.int32)[windows.owner if every else windows.owner[timed]]
        if services < np.iinfo(np.int16).max:
            owners = owners.astype(np.int16)  # these are sorted by their digits
        order = np.argsort(owners, kind="stable")
        edges = np.cumsum(np.bincount(owners + 1, minlength=services + 1))
        parts = [times[order[edges[number] : edges[number + 1]]] for number in range(services)]
    return [part if (part[1:] >= part[:-1]).all() else np.sort(part) for part in parts]


def _longest(silent: Ints, most: int) -> Ints:
    """Where the `most` longest stand, the longest first, of equal ones the earlier."""
    chosen = np.arange(len(silent))
    blocks = np.arange(0, len(silent), _BLOCK)
    if len(blocks) > most:  # of the longest of each block as many are at least as long as the last one sought
        longest = np.maximum.reduceat(silent, blocks)
        chosen = np.flatnonzero(silent >= np.partition(longest, -most)[-most])
    return chosen[np.argsort(-silent[chosen], kind="stable")[:most]]


@dataclass(frozen=True, slots=True)
class Course:
    """What windows tell about silence, one entry a window."""

    service: Ints  # -1 where it was not fitted
    sizes: Ints
    starts: Ints
    ends: Ints
    hours: Ints  # of the day, at the start
    lasts: Ints  # the last event, NO_TIME where there is none

    @classmethod
    def none(cls) -> Self:
        """Of no window."""
        return cls(*(np.zeros(0, dtype=np.int64) for _ in cls.__slots__))

    @classmethod
    def of(cls, windows: Windows, service: Ints) -> Self:
        """Of these windows."""
        begin, end = windows.table["start"], windows.table["end"]
        return cls(
            service,
            np.diff(windows.offsets),
            begin.dt.timestamp("us").fill_null(0).to_numpy(),
            end.dt.timestamp("us").fill_null(0).to_numpy(),
            begin.dt.hour().fill_null(0).to_numpy().astype(np.int64),
            windows.bounds.last,
        )

    def __len__(self) -> int:
        return len(self.service)

    def joined(self, other: Self) -> Self:
        """These windows, then the others."""
        names = self.__slots__
        return type(self)(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in names))


def silences(before: Course, now: Course, gaps: Gaps, means: Floats, clustered: Floats) -> Silences:
    """Empty windows of `now` in services whose lines are overdue beyond what their past explains.

    The lines due since the last one (those that come together counted once) are exponential in a Poisson
    stream; they are divided by what a silence of this service is worth on average. Where nothing at all was
    written by anyone, only the busiest silent service is named. `before` is what came between
    the fit and now.
    """
    course = before.joined(now)
    service, sizes, starts, ends = course.service, course.sizes, course.starts, course.ends
    hours, lasts = course.hours, course.lasts
    dead = _dead(ends, sizes) & (means.mean(axis=1).sum() >= STEADY_DUE)
    parts = [_nothing()]
    for number in range(len(gaps.windows)):
        rows = np.flatnonzero(service == number)
        if gaps.windows[number] < AGE or (sizes[rows] > 0).all():
            continue
        steady = gaps.filled[number] > STEADY
        due = means[number, hours[rows]] / (1.0 if steady else clustered[number])
        goes_on = gaps.ended[number] <= starts[rows[0]]
        past = _Past(
            last=int(gaps.last[number]) if goes_on else int(NO_TIME),
            due=float(gaps.open[number] * due.mean()) if goes_on else 0.0,
            typical=float((gaps.empty[number] * due.mean() + 10) / (gaps.runs[number] + 10)),
            begins=gaps.begins[number],
            lengths=gaps.lengths[number],
        )
        found = _of_service(_Stretch(rows, sizes[rows] == 0, ends[rows], lasts[rows]), due, past)
        if steady:
            enough = (found.due >= STEADY_DUE) & (found.windows >= STEADY_WINDOWS)
            enough |= dead[found.rows] & (found.due >= DEAD_DUE)
        else:
            enough = found.due >= SPARSE_DUE
            enough &= gaps.windows[number] >= SPARSE_AGE and gaps.runs[number] >= SPARSE_RUNS
        enough &= found.seconds > np.where(dead[found.rows], 1.0, LONGER) * found.longest
        surprise = np.where(enough, found.due / max(1.0, found.typical), 0.0)
        if gaps.filled[number] >= MOSTLY:
            usual = gaps.usual[number]
            unusual = (found.seconds >= TIMES * usual) & (found.windows * means[number].mean() >= DEAD_DUE)
            nats = STEPS * (found.seconds / usual - 1) - np.log(UNUSUAL)
            surprise = np.where(unusual, np.maximum(surprise, nats), surprise)
        parts.append(_news(found, surprise))
    rows, seconds, longest, surprise = (
        np.concatenate([getattr(part, name) for part in parts]) for name in Silences.__slots__
    )
    kept = _one_for_an_outage(rows, service[rows], ends, sizes, means.sum(axis=1)) & (rows >= len(before))
    return Silences(rows[kept] - len(before), seconds[kept], longest[kept], surprise[kept])


@dataclass(frozen=True, slots=True)
class _Past:
    """What one service's past says about its silence."""

    last: int  # its last line before these windows
    due: float  # lines due in the empty windows since
    typical: float  # lines due in an ordinary silence
    begins: Ints  # of its longest silences
    lengths: Floats  # seconds


@dataclass(frozen=True, slots=True)
class _Run:
    """The empty windows of one service."""

    rows: Ints
    silence: Ints  # which silence they belong to
    windows: Ints  # empty windows of it so far
    due: Floats  # lines due so far
    seconds: Floats
    longest: Floats
    typical: float


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The windows of one service, in order."""

    rows: Ints
    gone: NDArray[np.bool_]  # whether the window is empty
    ends: Ints
    lasts: Ints  # the last event of each window, NO_TIME where it is empty


def _of_service(stretch: _Stretch, due: Floats, past: _Past) -> _Run:
    """The empty windows of one service, each with what is overdue by its end."""
    rows, gone, ends, lasts = stretch.rows, stretch.gone, stretch.ends, stretch.lasts
    known = np.maximum.accumulate(np.concatenate([[past.last], np.where(gone, NO_TIME, lasts)]))
    since, before = known[1:], known[:-1]
    overdue = np.cumsum(np.where(gone, due, 0.0))
    many = np.cumsum(gone)
    full = np.maximum.accumulate(np.where(gone, -1, np.arange(len(rows))))
    overdue_then = np.where(full < 0, -past.due, overdue[full])
    many_then = np.where(full < 0, 0, many[full])
    over = ~gone & (before > NO_TIME)
    ended = np.where(over, (lasts - np.where(over, before, lasts)) / SECOND, 0.0)
    longest = np.maximum.accumulate(ended)
    learned = np.where(since[:, None] == past.begins[None, :], 0.0, past.lengths[None, :]).max(axis=1)
    told = gone & (since > NO_TIME)
    return _Run(
        rows[told],
        full[told],
        (many - many_then)[told],
        (overdue - overdue_then)[told],
        (ends[told] - since[told]) / SECOND,
        np.maximum(longest, learned)[told],
        past.typical,
    )


def _news(run: _Run, surprise: Floats) -> Silences:
    """The first windows of each silence that are surprising."""
    place = np.flatnonzero(surprise > 0)
    _, first = np.unique(run.silence[place], return_index=True)
    rank = np.arange(len(place)) - np.repeat(first, np.diff(np.append(first, len(place))))
    place = place[rank < ALARMS]
    return Silences(run.rows[place], run.seconds[place], run.longest[place], surprise[place])


def _dead(ends: Ints, sizes: Ints) -> NDArray[np.bool_]:
    """Which windows lie in spans in which nobody wrote anything."""
    spans, span_of = np.unique(ends, return_inverse=True)
    dead: NDArray[np.bool_] = np.bincount(span_of, sizes, minlength=len(spans))[span_of] == 0
    return dead


def _one_for_an_outage(rows: Ints, service: Ints, ends: Ints, sizes: Ints, busy: Floats) -> NDArray[np.bool_]:
    """Keeps every row but those of quieter services in a span in which nobody wrote anything."""
    spans, span_of = np.unique(ends, return_inverse=True)
    written = np.bincount(span_of, sizes, minlength=len(spans))[span_of[rows]]
    order = np.lexsort((-busy[service], ends[rows]))
    _, first = np.unique(ends[rows][order], return_index=True)
    kept = written > 0
    kept[order[first]] = True
    return kept


def _nothing() -> Silences:
    return Silences(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), np.zeros(0))
