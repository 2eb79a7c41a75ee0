"""Finds windows in which a service writes far more or fewer lines than it usually does, or none."""

from collections.abc import Iterator
from typing import ClassVar, Final, Self

import numpy as np

from logad.contracts import Detector, PartConfig, Scores, State
from logad.detectors import _orders, _partners, _periods, _sums
from logad.detectors._ages import Ages, Course, ages_of
from logad.detectors._baseline import HOURS, Baseline, Counts, Floats, Ints, learned
from logad.detectors._coverage import Coverage
from logad.detectors._findings import (
    BEYOND,
    DAY,
    DOWN,
    ORDER,
    OVERDUE,
    PARTNER,
    SILENT,
    SUM,
    UP,
    Found,
    Judged,
    comes_back,
    exceedances,
    recalibrated,
)
from logad.detectors._seen import Names, Seen
from logad.detectors._silence import Course as Stillness
from logad.detectors._silence import Gaps, gaps_of, silences
from logad.detectors._telling import Finding, told
from logad.detectors._usual import Usual, counts_of, tables
from logad.types import Contribution, WindowKind
from logad.windows import Windows

SUSPICIOUS: Final = 6.0  # -ln p above which a gated count is an episode that may come back
OVERDUE_TAIL: Final = (
    0.25  # of what is needed: how probable it is that something regular is overdue by chance
)
SIDES: Final = {UP: "up", DOWN: "down", SUM: "sum", PARTNER: "behind", BEYOND: "beyond"}


class Volume(Detector):
    """Tail probability of each window's line counts, per service and per template of a service.

    Counts are negative binomial around a robust mean of this hour of the day (`_baseline`), their tails
    recalibrated by peaks over threshold on the fitted windows (Siffer et al. 2017); what comes seldom is
    judged by its sum over the last hour too. A silence is weighed by the lines that should have come, and a
    line that comes at regular times is overdue when it stays out for much longer than it ever did. Templates
    that keep step are held to it, whichever of them comes too often or too seldom, and so is the order of
    steps. Tails are multiplied by the number of series (Bonferroni). What comes back at the same time of
    another day, or twice at any time, is not strange (but partners are held to it all the same), and
    neither are the first two hours of a template that merely informs: it is new. Where nobody wrote anything
    for a part of a span (a log begins, ends or stops), no lines are missing from it: that is for silence.
    """

    name: ClassVar[str] = "volume"
    kinds: ClassVar[frozenset[WindowKind]] = frozenset({WindowKind.TIME})
    need: ClassVar[float] = 0.5 / 288  # one false window in two days of five-minute windows

    def __init__(self, config: PartConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        nothing = np.zeros(0, dtype=np.int64)
        self._names = Names((), 0, nothing)
        self._ages = Ages(nothing, np.zeros((0, HOURS), dtype=np.int64))
        self._baseline = Baseline(np.zeros((0, HOURS)), np.zeros(0), np.zeros(0))
        self._rate = {side: np.zeros((0, 2)) for side in SIDES}  # series: share and scale of exceedances
        self._past = {side: np.zeros((4, 0)) for side in SIDES}  # series, time, value, strength
        self._gaps = Gaps.none()
        self._coverage = Coverage(1.0, 1.0)
        self._recent = _sums.Recent.none()
        self._periods = _periods.Periods.none()
        self._orders = _orders.Orders.none()
        self._partners = _partners.Partners.none()
        self._span = DAY  # microseconds from one window to the next
        self._since = Stillness.none()  # what was judged since the fit
        self._memo: tuple[Windows, Judged] | None = None

    def fit(self, windows: Windows) -> Self:
        """Learn level, rhythm, dispersion, exceedances, silences, periods, order and partners."""
        self._memo, self._since = None, Stillness.none()
        self._names = names = Names.of(windows)
        seen = Seen.of(windows, names)
        self._span = _span(seen.ends)
        course = Course(seen.service, seen.hours, seen.ends)
        self._ages = ages_of(course, seen.series, seen.rows, names.owners)
        spanned = int(np.ptp(seen.ends)) if len(seen.ends) else 0
        counts = Counts(seen.series, seen.hours[seen.rows], seen.values, self._ages.windows)
        self._baseline = learned(counts, spanned)
        self._gaps = gaps_of(windows, seen.service, len(names.services))
        self._coverage = Coverage.of(windows)
        self._periods = _periods.periods_of(self._lines(seen))
        self._orders = _orders.orders_of(seen, self._steps(seen))
        self._partners = _partners.partners_of(self._tables(seen))
        self._recent = _sums.Recent.none()
        found = {side: self._usual().standing_out(seen, side) for side in SIDES}
        self._recent = self._recent.joined(counts_of(seen)).last(seen.ends, self._span)
        for side in SIDES:
            self._rate[side] = exceedances(found[side], len(names.keys), self._ages.windows.sum(axis=1))
            self._past[side] = self._episodes(seen, found[side], side)
        return self

    def remember(self, windows: Windows) -> None:
        """Keep their episodes and silences; level and rhythm are learned at `fit` alone."""
        seen = Seen.of(windows, self._names)
        for side in SIDES:
            episodes = self._episodes(seen, self._usual().standing_out(seen, side), side)
            self._past[side] = np.concatenate([self._past[side], episodes], axis=1)
        self._recent = self._recent.joined(counts_of(seen)).last(seen.ends, self._span)
        self._periods = _periods.followed(self._periods, self._lines(seen))[0]
        self._since, self._memo = self._since.joined(Stillness.of(windows, seen.service)), None

    def score(self, windows: Windows) -> Scores:
        """-ln of the tail probability, in nats."""
        return -np.log(self.tail_probabilities(windows))

    def tail_probabilities(self, windows: Windows) -> Scores:
        """How often a window of normal life is at least as strange, shape (windows,)."""
        judged = self._judged(windows)
        tails = np.ones(len(windows))
        np.minimum.at(tails, judged.rows, judged.tails)
        return tails

    def explain(self, windows: Windows, row: int) -> tuple[Contribution, ...]:
        """One contribution for each series that bursts, drops, is silent, overdue or out of step."""
        judged = self._judged(windows)
        places = np.flatnonzero(judged.rows == row)
        if (judged.direction[places] == SILENT).any():  # it says all that its missing lines could say
            places = places[judged.direction[places] == SILENT]
        places = _blamed(judged, places)
        parts = [told(windows, self._finding(windows, judged, int(place))) for place in places]
        parts.sort(key=lambda part: -part.weight)
        first = {part.template: part for part in reversed(parts)}  # of a series what is strangest
        return tuple(part for part in parts if part.weight > 0 and first[part.template] is part)

    def state(self) -> State:
        """Everything learned, as arrays."""
        return {
            "services": np.asarray(self._names.services, dtype=np.str_),
            "width": np.asarray([self._names.width]),
            "keys": self._names.keys,
            "births": self._ages.births,
            "windows": self._ages.windows,
            "means": self._baseline.means,
            "phi": self._baseline.phi,
            "clustered": self._baseline.clustered,
            "span": np.asarray([self._span]),
            **{f"rate_{name}": self._rate[side] for side, name in SIDES.items()},
            **{f"past_{name}": self._past[side] for side, name in SIDES.items()},
            **self._gaps.state(),
            **self._coverage.state(),
            **self._recent.state(),
            **self._periods.state(),
            **self._orders.state(),
            **self._partners.state(),
        }

    def restore(self, state: State) -> Self:
        """Take back what `state` gave."""
        self._memo = None
        services = tuple(str(name) for name in state["services"])
        self._names = Names(services, int(state["width"][0]), state["keys"])
        self._ages = Ages(state["births"], state["windows"])
        self._baseline = Baseline(state["means"], state["phi"], state["clustered"])
        self._rate = {side: state[f"rate_{name}"] for side, name in SIDES.items()}
        self._past = {side: state[f"past_{name}"] for side, name in SIDES.items()}
        self._gaps = Gaps.restored(state)
        self._coverage = Coverage.restored(state)
        self._recent = _sums.Recent.restored(state)
        self._periods = _periods.Periods.restored(state)
        self._orders = _orders.Orders.restored(state)
        self._partners = _partners.Partners.restored(state)
        self._span = int(state["span"][0])
        self._since = Stillness.none()
        return self

    def _judged(self, windows: Windows) -> Judged:
        """All findings of the windows; kept, because every explanation asks for them again."""
        if self._memo is None or self._memo[0] is not windows:
            self._memo = (windows, self._judge(windows))
        return self._memo[1]

    def _judge(self, windows: Windows) -> Judged:
        seen = Seen.of(windows, self._names)
        familiar = self._usual().familiar(seen)
        parts = [self._silent(seen), self._overdue(seen), self._disordered(seen)]
        span = min(self._span, _span(seen.ends))
        for side in SIDES:
            found = self._usual().standing_out(familiar if side in {UP, SUM} else seen, side)
            chosen = self._usual().gated(seen, found, side)
            episodes = chosen & (found.surprise > SUSPICIOUS)
            tails = self._tails(found, side)
            for place in np.flatnonzero(chosen & (tails < self.need)):
                if comes_back(self._past[side], found, episodes, int(place), side, span):
                    tails[place] = min(1.0, 2 * self.need)
            parts.append(Judged.of(found.only(chosen), side, tails[chosen]))
        return Judged.joined(parts)

    # What comes more or less often than usual -------------------------------------------------------

    def _usual(self) -> Usual:
        return Usual(
            self._names,
            self._ages,
            self._baseline,
            self._coverage,
            self._recent,
            self._partners,
            self._span,
        )

    def _tails(self, found: Found, side: int) -> Floats:
        """Surprise as a probability among all series, recalibrated by the exceedances at fit."""
        nats = recalibrated(found.surprise, self._rate[side][found.series])
        tests = 2.0 * len(self._names.keys)
        if side in {PARTNER, BEYOND}:
            tests = 2.0 * len(self._partners.series)
        if side == SUM:
            tests *= _sums.WINDOWS / 2
        tails: Floats = np.clip(tests * np.exp(-nats), 1e-300, 1.0)
        return tails

    def _episodes(self, seen: Seen, found: Found, side: int) -> Floats:
        """What stands out enough to be remembered: series, time, value and strength."""
        notable = self._usual().gated(seen, found, side) & (found.surprise > SUSPICIOUS)
        columns = (found.series, found.times, found.values, found.strength(side))
        return np.stack([column[notable] for column in columns]).astype(np.float64)

    # What does not come -----------------------------------------------------------------------------

    def _silent(self, seen: Seen) -> Judged:
        """Services of which lines are overdue."""
        totals = self._names.totals
        means, clustered = self._baseline.means, self._baseline.clustered
        course = Stillness.of(seen.windows, seen.service)
        found = silences(self._since, course, self._gaps, means[totals], clustered[totals])
        tails = np.clip(len(totals) * np.exp(-found.surprise), 1e-300, 1.0)
        series = totals[seen.service[found.rows]]
        return Judged(
            found.rows, series, np.full(len(found.rows), SILENT), found.seconds, found.longest, tails
        )

    def _overdue(self, seen: Seen) -> Judged:
        """Templates that come at regular times and stay out."""
        found = _periods.followed(self._periods, self._lines(seen))[1]
        tails = OVERDUE_TAIL * self.need * (found.limits / np.maximum(found.waited, 1.0)) ** 2
        many = np.full(len(found.rows), OVERDUE)
        return Judged(found.rows, found.series, many, found.waited, found.limits, np.maximum(tails, 1e-300))

    def _disordered(self, seen: Seen) -> Judged:
        """Services whose steps come in an order in which they hardly ever do."""
        steps = self._steps(seen)
        rows, strange, usual, nats = _orders.out_of_order(self._orders, steps, seen.service)
        tails = np.clip(len(self._names.services) * np.exp(-nats), 1e-300, 1.0)
        series = self._names.totals[seen.service[rows]] if len(rows) else rows
        return Judged(rows, series, np.full(len(rows), ORDER), strange.astype(np.float64), usual, tails)

    def _lines(self, seen: Seen) -> "_periods.Lines":
        covered = self._coverage.covers(seen.windows)
        return _periods.Lines(seen.windows, seen.lines, seen.service, self._names.owners, covered)

    def _steps(self, seen: Seen) -> _orders.Steps:
        return _orders.Steps.of(seen.windows.owner, seen.lines, len(self._names.keys))

    def _tables(self, seen: Seen) -> Iterator[_partners.Table]:
        """The counts of those series of each service that come in enough windows, the totals left out."""
        filled = np.bincount(seen.series, minlength=len(self._names.keys))
        often = (filled >= _partners.WINDOWS) & (self._names.codes < self._names.width)
        return tables(seen, np.flatnonzero(often))

    def _finding(self, windows: Windows, judged: Judged, place: int) -> Finding:
        row, series = int(judged.rows[place]), int(judged.series[place])
        code, direction = int(self._names.codes[series]), int(judged.direction[place])
        partner, places = None, None
        if direction in {PARTNER, BEYOND}:
            partner = int(self._names.codes[self._partner(windows, judged, place)])
        if direction == ORDER:
            seen = Seen.of(windows.take([row]), self._names)
            steps = self._steps(seen)
            places = steps.places[_orders.is_odd(self._orders, steps)]
        return Finding(
            row,
            None if code == self._names.width else code,
            direction,
            float(judged.values[place]),
            float(judged.means[place]),
            float(-np.log(judged.tails[place])),
            hourly=bool(np.ptp(self._baseline.means[series]) > 0),
            spanned=self._gaps.spanned,
            partner=partner,
            windows=int(_sums.widths(self._baseline.means[series].mean())) if direction == SUM else 1,
            places=places,
        )

    def _partner(self, windows: Windows, judged: Judged, place: int) -> int:
        """The series beside which this finding is strange."""
        pairs = np.flatnonzero(self._partners.series == judged.series[place])
        beside = self._partners.beside[pairs]
        codes = self._names.codes[beside]
        events = windows.events[windows.span(int(judged.rows[place]))]
        expected = self._partners.ratio[pairs] * (events[None, :] == codes[:, None]).sum(axis=1)
        return int(beside[np.argmin(np.abs(expected - judged.means[place]))])


def _span(ends: Ints) -> int:
    """The shortest time between the ends of two windows; a day where there is but one."""
    return int(np.min(np.diff(np.unique(ends)), initial=DAY))


def _blamed(judged: Judged, places: Ints) -> Ints:
    """Of templates that are out of step with each other, those that are with most; else what stays behind."""
    mates = np.isin(judged.direction[places], [PARTNER, BEYOND])
    series, found = judged.series[places], judged.direction[places]
    many = np.bincount(series[mates], minlength=int(series.max(initial=0)) + 1)[series]
    worst = mates & (many == many[mates].max(initial=0))
    if (found[worst] == PARTNER).any():
        worst &= found == PARTNER
    blamed: Ints = places[~mates | worst]
    return blamed
