"""Finds windows in which a service writes far more or fewer lines than it usually does, or none."""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.contracts import Detector, PartConfig, Scores, State
from logad.detectors._baseline import HOURS, Baseline, Counts, Floats, Ints, learned
from logad.detectors._coverage import Coverage
from logad.detectors._phrases import counted, duration, number, quoted, times
from logad.detectors._silence import Course, Gaps, gaps_of, silences
from logad.types import AnomalyType, Contribution, WindowKind
from logad.windows import Windows

Flags = NDArray[np.bool_]

DAY: Final = 86_400_000_000  # microseconds
RATIO: Final = 2.0  # less than twice, or more than half, is never strange
EXCESS: Final = 8  # lines too many or missing, at least
GRAVE_EXCESS: Final = 4  # the same where the template warns
WARNING: Final = 2  # severity class
AGE: Final = 24  # windows of a service before anything is judged
EPISODE: Final = 12  # windows within which exceedances belong together
NOTABLE: Final = 3.0  # -ln p above which a count is an exceedance
SUSPICIOUS: Final = 6.0  # -ln p above which a gated count is an episode that may come back
CERTAIN: Final = 20.0  # -ln p above which it is hardly part of normal life
HARDLY: Final = 0.05  # lines a window that a sentence calls hardly any
UP, DOWN, SILENT = 1, -1, 0


@dataclass(frozen=True, slots=True)
class _Found:
    """Counts that stand out: count i is of series `series[i]` in window `rows[i]`."""

    rows: Ints
    series: Ints
    values: Ints
    means: Floats
    surprise: Floats  # -ln p of the negative binomial
    times: Ints  # when the window ends, microseconds

    def strength(self, side: int) -> Floats:
        """How many times more, or fewer, than usual; one line is added to both."""
        ratio: Floats = (self.values + 1) / (self.means + 1)
        return ratio if side == UP else 1 / ratio


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is strange about some windows: finding i is about window `rows[i]`."""

    rows: Ints
    series: Ints
    direction: Ints
    values: Floats  # lines; seconds for silence
    means: Floats  # lines; seconds of the longest silence before
    tails: Floats  # probability, for all series of all services together


class Volume(Detector):
    """Tail probability of each window's line counts, per service and per template of a service.

    Counts are negative binomial around a robust mean of this hour of the day (`_baseline`), their tails
    recalibrated by peaks over threshold on the fitted windows (Siffer et al. 2017); a silence is weighed by
    the lines that should have come. Tails are multiplied by the number of series (Bonferroni). What comes
    back at the same time of another day, or twice at any time, is not strange. Where nobody wrote anything
    for a part of a span (a log begins, ends or stops), no lines are missing from it: that is for silence.
    """

    name: ClassVar[str] = "volume"
    kinds: ClassVar[frozenset[WindowKind]] = frozenset({WindowKind.TIME})
    need: ClassVar[float] = 0.5 / 288  # one false window in two days of five-minute windows

    def __init__(self, config: PartConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._services: tuple[str, ...] = ()
        self._width = 0  # templates known at fit; this code stands for a service's total
        self._keys: Ints = np.zeros(0, dtype=np.int64)  # service * (width + 1) + code of each series, sorted
        self._ages: Ints = np.zeros(0, dtype=np.int64)  # windows fitted of each service
        self._baseline = Baseline(np.zeros((0, HOURS)), np.zeros(0), np.zeros(0))
        self._rate = {
            side: np.zeros((0, 2)) for side in (UP, DOWN)
        }  # (series, share and scale of exceedances)
        self._past = {side: np.zeros((4, 0)) for side in (UP, DOWN)}  # series, time, value, strength
        self._gaps = Gaps.none()
        self._coverage = Coverage(1.0, 1.0)
        self._span = DAY  # microseconds from one window to the next
        self._since = Course.none()  # what was judged since the fit
        self._memo: tuple[Windows, _Judged] | None = None

    def fit(self, windows: Windows) -> Self:
        """Learn level, rhythm, dispersion, exceedances and silences of every series."""
        self._memo, self._since = None, Course.none()
        self._services = tuple(windows.table["service"].unique().sort())
        self._width = len(windows.vocabulary)
        service = self._service_of(windows)
        hours, ends = _hours(windows), _ends(windows)
        rows, keys, values = self._counted(windows, service)
        self._keys = np.union1d(keys, self._totals())
        series = np.searchsorted(self._keys, keys)
        cells = np.bincount(service * HOURS + hours, minlength=len(self._services) * HOURS)
        at_hours = cells.reshape(-1, HOURS)
        self._ages = at_hours.sum(axis=1)
        groups = self._keys // (self._width + 1)
        spanned = int(ends.max() - ends.min()) if len(ends) else 0
        self._baseline = learned(Counts(series, hours[rows], values, groups, at_hours), spanned)
        self._gaps = gaps_of(windows, service, len(self._services))
        self._coverage = Coverage.of(windows)
        self._span = _span(ends)
        for side in (UP, DOWN):
            found = self._standing_out(windows, service, side)
            self._rate[side] = _exceedances(found, len(self._keys), self._ages[groups])
            self._past[side] = self._episodes(windows, found, side)
        return self

    def remember(self, windows: Windows) -> None:
        """Keep their episodes and silences; level and rhythm are learned at `fit` alone."""
        service = self._service_of(windows)
        for side in (UP, DOWN):
            episodes = self._episodes(windows, self._standing_out(windows, service, side), side)
            self._past[side] = np.concatenate([self._past[side], episodes], axis=1)
        self._since, self._memo = self._since.joined(Course.of(windows, service)), None

    def _episodes(self, windows: Windows, found: _Found, side: int) -> Floats:
        """What stands out enough to be remembered: series, time, value and strength."""
        notable = self._gated(windows, found, side) & (found.surprise > SUSPICIOUS)
        columns = (found.series, found.times, found.values, found.strength(side))
        return np.stack([column[notable] for column in columns]).astype(np.float64)

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
        """One contribution for each series that bursts, drops or is silent."""
        judged = self._judged(windows)
        places = np.flatnonzero(judged.rows == row)
        if (judged.direction[places] == SILENT).any():  # it says all that its missing lines could say
            places = places[judged.direction[places] == SILENT]
        told = [self._told(windows, judged, int(place)) for place in places]
        return tuple(sorted((part for part in told if part.weight > 0), key=lambda part: -part.weight))

    def state(self) -> State:
        """Everything learned, as arrays."""
        return {
            "services": np.asarray(self._services, dtype=np.str_),
            "width": np.asarray([self._width]),
            "keys": self._keys,
            "ages": self._ages,
            "means": self._baseline.means,
            "phi": self._baseline.phi,
            "clustered": self._baseline.clustered,
            "rate_up": self._rate[UP],
            "rate_down": self._rate[DOWN],
            "past_up": self._past[UP],
            "past_down": self._past[DOWN],
            "span": np.asarray([self._span]),
            **self._gaps.state(),
            **self._coverage.state(),
        }

    def restore(self, state: State) -> Self:
        """Take back what `state` gave."""
        self._memo = None
        self._services = tuple(str(name) for name in state["services"])
        self._width = int(state["width"][0])
        self._keys, self._ages = state["keys"], state["ages"]
        self._baseline = Baseline(state["means"], state["phi"], state["clustered"])
        self._rate = {UP: state["rate_up"], DOWN: state["rate_down"]}
        self._past = {UP: state["past_up"], DOWN: state["past_down"]}
        self._gaps = Gaps.restored(state)
        self._coverage = Coverage.restored(state)
        self._span = int(state["span"][0])
        self._since = Course.none()
        return self

    def _judged(self, windows: Windows) -> _Judged:
        """All findings of the windows; kept, because every explanation asks for them again."""
        if self._memo is None or self._memo[0] is not windows:
            self._memo = (windows, self._judge(windows))
        return self._memo[1]

    def _judge(self, windows: Windows) -> _Judged:
        service = self._service_of(windows)
        parts = [self._silent(windows, service)]
        span = min(self._span, _span(_ends(windows)))
        for side in (UP, DOWN):
            found = self._standing_out(windows, service, side)
            tails = self._tails(found, side)
            chosen = self._gated(windows, found, side)
            episodes = chosen & (found.surprise > SUSPICIOUS)
            new = tails < self.need
            for place in np.flatnonzero(chosen & new):
                if self._comes_back(found, episodes, int(place), side, span):
                    tails[place] = min(1.0, 2 * self.need)
            parts.append(
                _Judged(
                    found.rows[chosen],
                    found.series[chosen],
                    np.full(chosen.sum(), side),
                    found.values[chosen].astype(np.float64),
                    found.means[chosen],
                    tails[chosen],
                )
            )
        return _Judged(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in _Judged.__slots__)
        )

    def _service_of(self, windows: Windows) -> Ints:
        """The number of each window's service, -1 where it was not fitted."""
        names = windows.table["service"]
        known = pl.DataFrame(
            {"service": self._services, "number": range(len(self._services))},
            schema={"service": pl.String(), "number": pl.Int64()},
        )
        joined = names.to_frame("service").join(known, on="service", how="left", maintain_order="left")
        return joined["number"].fill_null(-1).to_numpy()

    def _totals(self) -> Ints:
        """The key of each service's total."""
        return np.arange(len(self._services)) * (self._width + 1) + self._width

    def _counted(self, windows: Windows, service: Ints) -> tuple[Ints, Ints, Ints]:
        """Non-zero counts: window, key of the series and value; totals after the templates."""
        width = self._width + 1
        wanted = (windows.events < self._width) & (service[windows.owner] >= 0)
        owner = windows.owner[wanted]
        pairs, values = np.unique(owner * width + windows.events[wanted], return_counts=True)
        rows = pairs // width
        sizes = np.diff(windows.offsets)
        full = np.flatnonzero((sizes > 0) & (service >= 0))
        keys = np.concatenate([service[rows] * width + pairs % width, service[full] * width + self._width])
        return np.concatenate([rows, full]), keys, np.concatenate([values, sizes[full]]).astype(np.int64)

    def _standing_out(self, windows: Windows, service: Ints, side: int) -> _Found:
        """Counts more than 1.5 standard deviations off on one side, with their surprise."""
        rows, keys, values = self._counted(windows, service)
        series = np.searchsorted(self._keys, keys)
        series[series == len(self._keys)] = -1
        known = (series >= 0) & (self._keys[series] == keys) if len(self._keys) else series > 0
        rows, series, values = rows[known], series[known], values[known]
        if side == DOWN:
            rows, series, values = self._busy(service, rows, series, values)
            covered = self._coverage.covers(windows)[rows]
            rows, series, values = rows[covered], series[covered], values[covered]
        hours = _hours(windows)[rows]
        means, wide = self._baseline.means[series, hours], 1.5 * self._baseline.deviation(series, hours)
        off = values > means + wide if side == UP else (values < means - np.minimum(wide, means / RATIO))
        off &= self._ages[service[rows]] >= AGE
        rows, series, values, hours, means = (part[off] for part in (rows, series, values, hours, means))
        surprise_of = self._baseline.surprise_above if side == UP else self._baseline.surprise_below
        surprise = surprise_of(series, hours, values) if len(rows) else np.zeros(0)
        return _Found(rows, series, values, means, surprise, _ends(windows)[rows])

    def _busy(self, service: Ints, rows: Ints, series: Ints, values: Ints) -> tuple[Ints, Ints, Ints]:
        """Counts, zeros included, of the series busy enough that lines can be missing."""
        busy = np.flatnonzero(self._baseline.means.max(axis=1, initial=0) >= EXCESS)
        owners = self._keys[busy] // (self._width + 1)
        parts: list[tuple[Ints, Ints, Ints]] = []
        for number_of_service in np.unique(owners):
            columns = busy[owners == number_of_service]
            places = np.flatnonzero(service == number_of_service)
            dense = np.zeros((len(places), len(columns)), dtype=np.int64)
            mine = (service[rows] == number_of_service) & np.isin(series, columns)
            dense[np.searchsorted(places, rows[mine]), np.searchsorted(columns, series[mine])] = values[mine]
            parts.append((np.repeat(places, len(columns)), np.tile(columns, len(places)), dense.ravel()))
        if not parts:
            return rows[:0], series[:0], values[:0]
        return (
            np.concatenate([part[0] for part in parts]),
            np.concatenate([part[1] for part in parts]),
            np.concatenate([part[2] for part in parts]),
        )

    def _tails(self, found: _Found, side: int) -> Floats:
        """Surprise as a probability among all series, recalibrated by the exceedances at fit."""
        share, scale = self._rate[side][found.series].T
        recalibrated = -np.log(share) + (found.surprise - NOTABLE) / scale
        surprise = np.where(found.surprise > NOTABLE, recalibrated, found.surprise)
        tails: Floats = np.clip(2 * len(self._keys) * np.exp(-surprise), 1e-300, 1.0)
        return tails

    def _gated(self, windows: Windows, found: _Found, side: int) -> Flags:
        """Whether a count is far enough off in lines and as a ratio to be worth a word."""
        severity = np.zeros(self._width + 1, dtype=np.int64)
        severity[: self._width] = windows.severities[: self._width]
        grave = severity[self._keys[found.series] % (self._width + 1)] >= WARNING
        if side == DOWN:
            missing: Flags = found.means - found.values >= EXCESS
            return missing & (found.values * RATIO <= found.means)
        least = np.where(grave, GRAVE_EXCESS, EXCESS)
        excess: Flags = found.values - found.means >= least
        return excess & (found.values >= RATIO * found.means)

    def _comes_back(self, found: _Found, episodes: Flags, place: int, side: int, span: int) -> bool:
        """Whether the like stood at this time of another day, or in two other episodes."""
        past = self._past[side]
        now, value, strength = found.times[place], found.values[place], found.strength(side)
        mine = past[0] == found.series[place]
        earlier = (found.series == found.series[place]) & (found.times < now) & episodes
        times = np.concatenate([past[1][mine], found.times[earlier]])
        values = np.concatenate([past[2][mine], found.values[earlier]])
        strengths = np.concatenate([past[3][mine], strength[earlier]])
        apart = np.abs(times - now)
        offset = np.abs((times - now + DAY / 2) % DAY - DAY / 2)
        like = values >= value / 2 if side == UP else values <= 1.5 * value + 1
        if (like & (offset <= 2 * span) & (apart > DAY / 2)).any():
            return True
        others = np.unique(times[(strengths >= strength[place] / 2) & (apart > EPISODE * span)])
        return bool((np.diff(others) > EPISODE * span).any())

    def _silent(self, windows: Windows, service: Ints) -> _Judged:
        """Services of which lines are overdue."""
        totals = np.searchsorted(self._keys, self._totals())
        means, clustered = self._baseline.means, self._baseline.clustered
        course = Course.of(windows, service)
        found = silences(self._since, course, self._gaps, means[totals], clustered[totals])
        tails = np.clip(len(self._services) * np.exp(-found.surprise), 1e-300, 1.0)
        series = totals[service[found.rows]]
        return _Judged(
            found.rows, series, np.full(len(found.rows), SILENT), found.seconds, found.longest, tails
        )

    def _told(self, windows: Windows, judged: _Judged, place: int) -> Contribution:
        row, series = int(judged.rows[place]), int(judged.series[place])
        value, mean, side = judged.values[place], judged.means[place], judged.direction[place]
        code = int(self._keys[series] % (self._width + 1))
        weight = float(-np.log(judged.tails[place]))
        service = windows.table["service"][row]
        if side == SILENT:
            before = f"its longest silence in {duration(self._gaps.spanned)} was {duration(mean)}"
            text = f"{service} has been silent for {duration(value)}; {before}"
            return Contribution(
                weight, text, AnomalyType.CONTEXTUAL, None, f"at most {duration(mean)}", duration(value)
            )
        events = windows.events[windows.span(row)]
        total = code == self._width
        came = f"wrote {counted(int(value), 'line')}" if total else f"came {times(int(value))}"
        when = " at this hour" if np.ptp(self._baseline.means[series]) > 0 else ""
        usual = number(round(mean, 1)) if mean >= HARDLY else "none"
        text = f"{service if total else quoted(windows, code)} {came}; usually {usual}{when}"
        places = np.arange(len(events)) if total else np.flatnonzero(events == code)
        shown = tuple(int(event) for event in places[:3])
        return Contribution(
            weight,
            text,
            AnomalyType.CONTEXTUAL,
            None if total else code,
            number(round(mean, 1)),
            number(value),
            shown,
        )


def _exceedances(found: _Found, width: int, ages: Ints) -> Floats:
    """Share and mean excess of counts with surprise above NOTABLE, (series, 2), shrunk to the model's."""
    weight = np.where(found.surprise > CERTAIN, 0.1, 1.0) * (found.surprise > NOTABLE)
    excess = np.clip(found.surprise - NOTABLE, 0, 15)
    many = np.bincount(found.series, weight, minlength=width)
    total = np.bincount(found.series, weight * excess, minlength=width)
    return np.stack([(many + 10) / (ages + 200), np.maximum(1, (total + 22.5) / (many + 15))], axis=1)


def _span(ends: Ints) -> int:
    """The shortest time between the ends of two windows; a day where there is but one."""
    return int(np.min(np.diff(np.unique(ends)), initial=DAY))


def _hours(windows: Windows) -> Ints:
    """The hour of the day at which each window starts, UTC."""
    return windows.table["start"].dt.hour().fill_null(0).cast(pl.Int64()).to_numpy()


def _ends(windows: Windows) -> Ints:
    """When each window ends, microseconds since the epoch."""
    return windows.table["end"].dt.timestamp("us").fill_null(0).to_numpy()
