"""One view of a live run: cuts its windows, teaches its judge from those that closed, judges the next."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import Final, Protocol, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.durations import format_duration
from logad.ledger import Ledger
from logad.packing import unpacked
from logad.steps import Fit, Stretch, ViewState
from logad.telemetry import Telemetry
from logad.types import Template, Verdict, WindowKind
from logad.windowing import REVISIT_TIMEOUTS, Windower
from logad.windows import NO_TIME, Windowing, Windows, joined

KEPT_WINDOWS: Final = 20_000
"""A judge learns from at most so many of the last windows."""
FIRST_WINDOWS: Final = 100
"""Without a `--warmup` a view is first judged after so many windows; of time: after so many spans ..."""
FIRST_SECONDS: Final = 7_200
"""... or from so much time, if that is less."""
FEWEST_WINDOWS: Final = 10
"""No judge is learned from fewer windows than this, however short the warm-up."""
GROWTH: Final = 0.25
"""A judge is learned anew when what it may learn from has grown by this share."""

_SECOND: Final = 1_000_000  # microseconds
_NEVER: Final = int(np.iinfo(np.int64).max)


class Judging(Protocol):
    """What a view needs of a judge (`judge.Judge` is one)."""

    def verdicts(self, windows: Windows, *, every: bool = ..., context: str = ...) -> Iterable[Verdict]:
        """The verdicts on the windows."""
        ...

    def remember(self, windows: Windows) -> None:
        """Take judged windows as the past of those to come."""
        ...

    def patience(self, windows: Windows) -> NDArray[np.int64]:
        """Silence in microseconds that shows each session to be complete; 0: any does."""
        ...


class Teaching(Protocol):
    """Learns a judge from windows (`judge.learn`, with its options filled in)."""

    def __call__(self, windows: Windows) -> Judging:
        """A judge fitted on these windows."""
        ...


@dataclass(frozen=True, slots=True)
class Closed:
    """A window that closed, told by its verdict."""

    at: int  # when it closed, microseconds on the log's clock
    view: int
    name: str  # of the view, in the ledger
    row: int
    verdict: Verdict


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    """A window and when it is complete, microseconds; sorts as windows are judged."""

    at: int
    end: int
    row: int
    waited: bool = False  # as long as its state may take
    undone: int = 0  # earlier revisions that were none


class View:
    """Windows of one windowing and the judge that has learned from those that closed.

    What a window's verdict says depends only on the windows that closed before it, in their order: a judge is
    learned at fixed numbers of closed windows, from templates seen in closed windows. So neither
    the cutting of the input into batches nor a restart changes it.
    """

    def __init__(  # noqa: PLR0913  (its number, its windows, its judge, its ledger name)
        self,
        number: int,
        windowing: Windowing,
        teach: Teaching,
        telemetry: Telemetry,
        context: str,
        *,
        asked_warmup: bool,
        patient: bool,
    ) -> None:
        self.number = number
        self.windowing = windowing
        self.name = f"{number}-{windowing.kind}"
        self.judge: Judging | None = None
        self.closed = 0  # windows that ever closed
        self._teach = teach
        self._telemetry = telemetry
        self._context = context
        self._asked = asked_warmup
        self._patient = patient and windowing.kind is WindowKind.SESSION
        self._windower = Windower(windowing, telemetry)
        self._history: list[Windows] = []  # the last windows; the first is number `_first`
        self._first = 0
        self._codes = 0  # templates seen in closed windows
        self._fit: Fit | None = None
        self._began: int | None = None  # when the first window ended, microseconds
        self._stretches: list[Stretch] = []  # to be stored
        self._fits: list[Fit] = []

    def push(self, records: pl.DataFrame) -> None:
        """Take mined records."""
        with self._telemetry.stage("window"):
            self._windower.push(records)

    def close(
        self,
        vocabulary: tuple[Template, ...],
        watermark: int | None,
        *,
        final: bool = False,
        warmup_over: bool = True,
    ) -> list[Closed]:
        """The verdicts on the windows that are complete at the watermark, in order of closing."""
        with self._telemetry.stage("window"):
            if watermark is not None or self.windowing.kind is WindowKind.RECORDS or final:
                windows = self._windower.close(vocabulary, watermark, final=final)
            else:
                return []
        if not len(windows):
            return []
        queue = self._queue(windows)
        newest = int(windows.times.max(initial=NO_TIME))
        found: list[Closed] = []
        undone: Counter[str] = Counter()
        while queue:
            self._learn_if_due(queue[0].at, warmup_over=warmup_over)
            room = self._until_fit([each.at for each in queue], warmup_over=warmup_over)
            if self.judge is not None and self._patient:
                until = _NEVER if final else watermark
                until = NO_TIME if until is None else until
                chosen = self._complete(self.judge, queue, windows, room, until, undone)
            else:
                chosen, queue = queue[:room], queue[room:]
            due = sum(watermark is not None and each.at <= watermark for each in chosen)
            for part, until in ((chosen[:due], _NEVER), (chosen[due:], newest)):
                found += self._told(windows, part, until, len(found))
        return found

    def _told(self, windows: Windows, chosen: list[_Due], until: int, row: int) -> list[Closed]:
        """Judge the chosen windows and remember them; `until` is the last moment of the log, microseconds."""
        if not chosen:
            return []
        part = windows.take([each.row for each in chosen])
        undone = pl.Series([each.undone for each in chosen], dtype=pl.Int64)
        part = replace(part, table=part.table.with_columns(pl.col("revision") - undone), until=until)
        verdicts = self._judged(part)
        self._remember(part)
        latest = until + self._timeout if self._timeout and NO_TIME < until < _NEVER else _NEVER
        return [
            Closed(min(each.at, latest), self.number, self.name, row + place, verdict)
            for place, (each, verdict) in enumerate(zip(chosen, verdicts, strict=True))
        ]

    def _queue(self, windows: Windows) -> list[_Due]:
        """The windows in the order in which they closed."""
        ends = windows.table["end"].dt.epoch("us").fill_null(0).to_numpy().astype(np.int64)
        if self.windowing.kind is WindowKind.RECORDS:
            ends = np.maximum.accumulate(ends)
        told = zip(ends.tolist(), windows.table["key"], windows.table["revision"], strict=True)
        queue = []
        for row, (end, key, revision) in enumerate(told):
            until = self._windower.outwaited.pop((key, revision), None)
            at = end + self._timeout if until is None else until
            queue.append(_Due(at, end, row, waited=until is not None))
        return sorted(queue)

    def _complete(  # noqa: PLR0913, PLR0917  (the last two are the caller's, to be kept between calls)
        self,
        judge: Judging,
        queue: list[_Due],
        windows: Windows,
        room: int,
        until: int,
        undone: Counter[str],
    ) -> list[_Due]:
        """Take up to `room` windows that are complete off the queue, in the order in which they are.

        A session that is not normal as it stands, but in a state in which normal ones may be silent for
        longer, is complete when that time is over; if it goes on before, it was not complete at all: such
        revisions are counted in `undone`, also for those that a later call finds complete.
        """
        patience = np.minimum(judge.patience(windows), REVISIT_TIMEOUTS * self._timeout).tolist()
        keys = windows.table["key"].to_list()
        revisions = windows.table["revision"].to_list()
        following = _following(keys, revisions)
        born = {key: row for row, key in enumerate(keys) if not revisions[row]}  # the last session with it
        resumed: dict[str, int] | None = None
        chosen: list[_Due] = []
        while queue and len(chosen) < room:
            due = heappop(queue)
            key = keys[due.row]
            if not revisions[due.row]:  # a new session with this key
                undone[key] = 0
            if due.waited or patience[due.row] <= self._timeout:
                chosen.append(replace(due, undone=undone[key]))
                continue
            resumed = self._windower.resumed() if resumed is None else resumed
            later = following.get(due.row)
            goes_on = resumed.get(key) if later is None else _goes_on(windows, due.row, later)
            end = due.end + patience[due.row]
            if goes_on is not None and goes_on < end:
                if due.row >= born.get(key, 0):
                    self._windower.undo(key)
                undone[key] += 1
            elif end <= until:
                heappush(queue, _Due(end, due.end, due.row, waited=True))
            else:
                self._windower.hold(key, end)
        return chosen

    def end_warmup(self) -> None:
        """Learn from what closed so far, where that is enough."""
        self._learn_if_due(0, warmup_over=True)

    def progress(self, *, warmup_over: bool) -> str:
        """How far its judge is, in words."""
        what = self._what
        if self._fit is not None:
            return f"{self.windowing.kind}: learned from {min(self._fit.at, KEPT_WINDOWS):,} {what}"
        if self._asked and warmup_over:
            few = f"only {self.closed} of the {FEWEST_WINDOWS} {what} that it takes to learn have closed"
            return f"{self.windowing.kind}: the warm-up is over, but {few}"
        if self._asked:
            return f"{self.windowing.kind}: learning until the warm-up is over"
        if self.windowing.kind is WindowKind.TIME:
            return f"{self.windowing.kind}: learning from the first {format_duration(self._first_seconds)}"
        return f"{self.windowing.kind}: learning from the first {FIRST_WINDOWS} {what}"

    def unjudged(self, *, warmup_over: bool) -> str:
        """Why nothing was judged by the end of a run, in words."""
        what = self._what
        told = f"{self.windowing.kind}: nothing was judged, for "
        if self._asked and not warmup_over:
            return f"{told}the warm-up was not over: all {self.closed:,} {what} only taught"
        if self._asked or self.closed < FEWEST_WINDOWS:
            return f"{told}the first {FEWEST_WINDOWS} {what} at least only teach, and {self.closed} closed"
        if self.windowing.kind is WindowKind.TIME:
            first = format_duration(self._first_seconds)
            return f"{told}the first {first} only teach, and all {self.closed:,} {what} closed in it"
        return f"{told}the first {FIRST_WINDOWS} {what} only teach, and {self.closed} closed"

    def taken_state(self) -> ViewState:
        """What changed since the last call, for the ledger."""
        state = ViewState(
            self._windower.state(),
            self.closed,
            tuple(self._stretches),
            tuple(self._fits),
            self._windower.rested(),
        )
        self._stretches, self._fits = [], []
        return state

    def restored(self, ledger: Ledger, vocabulary: tuple[Template, ...]) -> Self:
        """Take up where the ledger's last step left the view; its judge is learned again, to the same."""
        state = ledger.view(self.name)
        if state is None:
            return self
        resting = ledger.resting(self.name)
        self._windower = Windower.restored(self.windowing, self._telemetry, state.state, resting)
        kept = ledger.history(self.name)
        fits = ledger.fits(self.name)
        self.closed = state.closed
        if kept:
            self._first = kept[0][0]
            history = joined([replace(unpacked(arrays), vocabulary=vocabulary) for _, arrays in kept])
            self._history = [history]
            self._codes = _codes(history)
            self._began = _began(history)
        if fits:
            self._codes = max(self._codes, fits[-1].vocabulary)
            self._learn(fits[-1])
        return self

    def _judged(self, windows: Windows) -> list[Verdict]:
        if self.judge is None:
            return self._learning(windows)
        with self._telemetry.stage("detect"):
            return list(self.judge.verdicts(windows, every=True, context=self._context))

    def _learning(self, windows: Windows) -> list[Verdict]:
        """Windows that only teach are told too, by a judge that has learned nothing."""
        taught = replace(windows, table=windows.table.with_columns(pl.lit(value=True).alias("learning")))
        blank = self._teach(windows.take([]))
        return list(blank.verdicts(taught, every=True, context=self._context))

    def _remember(self, windows: Windows) -> None:
        windows = windows.without_records()
        self._stretches.append(Stretch(self.closed, windows))
        self.closed += len(windows)
        self._codes = max(self._codes, _codes(windows))
        if self._began is None:
            self._began = _began(windows)
        self._history.append(windows)
        if self.judge is not None:
            with self._telemetry.stage("detect"):
                self.judge.remember(windows)

    def _until_fit(self, ends: list[int], *, warmup_over: bool) -> int:
        """How many windows come before the next fit."""
        if self._fit is not None:
            learned = min(self._fit.at, KEPT_WINDOWS)
            return max(1, self._fit.at + max(1, round(learned * GROWTH)) - self.closed)
        if self._asked:
            return max(FEWEST_WINDOWS - self.closed, 1) if warmup_over else len(ends)
        if self.windowing.kind is WindowKind.TIME:
            began = self._began if self._began is not None else ends[0]
            early = bisect_left(ends, began + self._first_seconds * _SECOND)
            return max(early, FEWEST_WINDOWS - self.closed, 1)
        return max(FIRST_WINDOWS - self.closed, 1)

    def _learn_if_due(self, now: int, *, warmup_over: bool) -> None:
        """Learn before the window that closes at `now` is judged, if it is time to."""
        if self._fit is not None:
            due = self.closed >= self._fit.at + max(1, round(min(self._fit.at, KEPT_WINDOWS) * GROWTH))
        elif self._asked:
            due = warmup_over and self.closed >= FEWEST_WINDOWS
        elif self.windowing.kind is WindowKind.TIME:
            lasted = self._began is not None and now >= self._began + self._first_seconds * _SECOND
            due = lasted and self.closed >= FEWEST_WINDOWS
        else:
            due = self.closed >= FIRST_WINDOWS
        if due:
            fit = Fit(self.closed, self._codes)
            self._fits.append(fit)
            self._learn(fit)
            self._stretches = [Stretch(self._first, joined(self._history), anew=True)]

    def _learn(self, fit: Fit) -> None:
        """Learn from the last windows before `fit.at`; what is older is forgotten."""
        history = joined(self._history)
        oldest = max(fit.at - KEPT_WINDOWS, self._first)
        history = history.take(np.arange(oldest - self._first, len(history)))
        self._history, self._first = [history], oldest
        before = np.arange(fit.at - oldest)
        taught = history.take(before)
        with self._telemetry.stage("detect"):
            taught = taught.take(_latest(taught))
            self.judge = self._teach(replace(taught, vocabulary=taught.vocabulary[: fit.vocabulary]))
            if len(history) > len(before):
                self.judge.remember(history.take(np.arange(len(before), len(history))))
        self._fit = fit

    @property
    def _what(self) -> str:
        return "sessions" if self.windowing.kind is WindowKind.SESSION else "windows"

    @property
    def _first_seconds(self) -> float:
        return min(FIRST_WINDOWS * (self.windowing.span_seconds or 0.0), FIRST_SECONDS)

    @property
    def _timeout(self) -> int:
        """Microseconds of silence that end a session; of other windows none."""
        return round((self.windowing.timeout_seconds or 0) * _SECOND)


def _following(keys: list[str], revisions: list[int]) -> dict[int, int]:
    """The window that holds the next revision of a window's session, where there is one."""
    last: dict[str, int] = {}
    following: dict[int, int] = {}
    for row, (key, revision) in enumerate(zip(keys, revisions, strict=True)):
        before = last.get(key)
        if before is not None and revision == revisions[before] + 1:
            following[before] = row
        last[key] = row
    return following


def _latest(windows: Windows) -> NDArray[np.int64]:
    """The windows without those sessions that a later revision holds as a whole."""
    if windows.kind is not WindowKind.SESSION:
        return np.arange(len(windows))
    earlier = _following(windows.table["key"].to_list(), windows.table["revision"].to_list())
    return np.asarray([row for row in range(len(windows)) if row not in earlier], dtype=np.int64)


def _goes_on(windows: Windows, row: int, following: int) -> int:
    """When the session of window `row` goes on, whose next revision is window `following`."""
    size = int(windows.offsets[row + 1] - windows.offsets[row])
    times = windows.times[windows.span(following)][size:]
    return int(times[times != NO_TIME][:1].max(initial=NO_TIME))


def _codes(windows: Windows) -> int:
    return int(windows.events.max()) + 1 if len(windows.events) else 0


def _began(windows: Windows) -> int | None:
    ends = windows.table["end"].drop_nulls()
    return int(ends.dt.epoch("us")[0]) if len(ends) else None
