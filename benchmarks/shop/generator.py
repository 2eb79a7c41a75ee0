"""Generates the logs of the shop as raw lines, and says what was planted in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shop.planting import SPECS, Planted, planned
from shop.services import BEATS, CHOICE, DEPLOYED, FLOWS, NIGHTLY, TRICKLES, WEEKLY, Kind

Floats = NDArray[np.float64]

MONDAY: Final = datetime(2024, 3, 4, tzinfo=UTC)
DAY: Final = 86_400.0
WINDOW: Final = 300.0
CLUSTERED: Final = (0.0, 0.02, 0.1, 0.3)  # over-dispersion of five-minute counts, by seed
TOGETHER: Final = 2.0  # requests that a client brings at once, on average
QUIET: Final = 0.12  # share of the busiest hour's requests that come at the quietest
WEEKEND: Final = 0.6
SATURDAY, SUNDAY = 5, 6  # days after Monday
REFUSED: Final = 0.04


@dataclass(frozen=True)
class Shop:
    """A generated shop."""

    days: int
    phi: float
    began: datetime
    planted: tuple[Planted, ...]
    harmless: tuple[Planted, ...]
    lines: pl.DataFrame  # service, time (seconds since it began), line; in order of time

    def write(self, folder: Path) -> None:
        """One file a service."""
        folder.mkdir(parents=True, exist_ok=True)
        for (service,), frame in self.lines.group_by("service", maintain_order=True):
            frame.select("line").write_csv(
                folder / f"{service}.log", include_header=False, quote_style="never"
            )


def generated(seed: int) -> Shop:
    """The shop of this seed: the same lines for the same seed."""
    rng = np.random.default_rng([seed, 5])
    days, phi = int(rng.integers(9, 22)), CLUSTERED[seed % len(CLUSTERED)]
    began = MONDAY + timedelta(days=int(rng.integers(0, 7)))
    growth = float(rng.uniform(0.8, 2.7))
    world = _World(rng, days * DAY, phi, began.weekday(), growth)
    planted = planned(rng, days)
    deploy = float(rng.uniform(4, days - 2)) * DAY
    parts = [*world.flows(deploy), *world.beats(), *world.trickles(), *world.jobs()]
    frame = _kept(pl.concat(_frame(kind, times, rng, values) for kind, times, values in parts), planted, rng)
    frame = pl.concat([frame, *_added(planted, rng)])
    lines = _rendered(frame, began, rng)
    harmless = (Planted("deploy", "search", deploy, deploy + 3600.0),)
    return Shop(days, phi, began, planted, harmless, lines)


Part = tuple[Kind, Floats, Floats]


class _World:
    """Draws the times of everything that happens when nothing is wrong."""

    def __init__(self, rng: np.random.Generator, end: float, phi: float, weekday: int, growth: float) -> None:
        self._rng, self._end, self._phi = rng, end, phi
        self._weekday, self._growth = weekday, growth

    def _busy(self, times: Floats) -> Floats:
        """Share of the busiest hour's requests: rhythm of the day, weekend and drift."""
        wave = 0.5 - 0.5 * np.cos(2 * np.pi * (times / DAY - 4 / 24))
        weekend = (self._weekday + times // DAY) % 7 >= SATURDAY
        grown = self._growth ** (times / self._end)
        busy: Floats = (QUIET + (1 - QUIET) * wave) * np.where(weekend, WEEKEND, 1.0) * grown
        return busy

    def _arrivals(self, rate: float) -> Floats:
        """Times of requests: clients bring several at once, and some windows are busier than others."""
        starts = np.arange(0.0, self._end, WINDOW)
        factor = self._rng.gamma(1 / self._phi, self._phi, len(starts)) if self._phi else np.ones(len(starts))
        clients = self._rng.poisson(rate / TOGETHER * self._busy(starts + WINDOW / 2) * factor)
        begun = np.repeat(starts, clients) + self._rng.uniform(0, WINDOW, clients.sum())
        many = self._rng.geometric(1 / TOGETHER, len(begun))
        times = np.repeat(begun, many) + self._rng.exponential(8.0, many.sum())
        return np.sort(times[times < self._end])

    def flows(self, deploy: float) -> Iterator[Part]:
        """Every step of every request."""
        for flow in FLOWS:
            moment = self._arrivals(flow.rate)
            settled = self._rng.random(len(moment))
            for text, chance, median in flow.steps:
                moment = moment + self._rng.exponential(0.05, len(moment)) + 0.002
                chosen = self._rng.random(len(moment)) < chance
                if text.startswith("card"):
                    chosen = (settled < REFUSED) == ("refused" in text)
                yield Kind(flow.service, "INFO", text, median), moment[chosen], _no(chosen.sum())
            if flow.service == "search":
                for text, chance in zip(DEPLOYED, (0.6, 0.05, 0.3), strict=True):
                    later = moment[(moment > deploy) & (self._rng.random(len(moment)) < chance)]
                    yield Kind("search", "INFO", text), later, _no(len(later))

    def beats(self) -> Iterator[Part]:
        """Heartbeats and the hourly job."""
        for beat in BEATS:
            offset = self._rng.uniform(0, beat.seconds)
            times = np.arange(offset, self._end - 2.0, beat.seconds)
            times = times + self._rng.uniform(0, min(2.0, beat.seconds / 20), len(times))
            yield Kind(beat.service, "INFO", beat.text), times, _no(len(times))

    def trickles(self) -> Iterator[Part]:
        """Lines at constant rates."""
        for each in TRICKLES:
            times = self._rng.uniform(0, self._end, self._rng.poisson(each.an_hour * self._end / 3600))
            yield Kind(each.service, each.level, each.text, 40.0), times, _no(len(times))
        service, an_hour, usual, other, share = CHOICE
        times = self._rng.uniform(0, self._end, self._rng.poisson(an_hour * self._end / 3600))
        second = self._rng.random(len(times)) < share
        yield Kind(service, "INFO", usual), times[~second], _no((~second).sum())
        yield Kind(service, "INFO", other), times[second], _no(second.sum())

    def jobs(self) -> Iterator[Part]:
        """What comes each night, and each Sunday."""
        days = np.arange(round(self._end / DAY))
        sundays = days[(self._weekday + days) % 7 == SUNDAY]
        for jobs, nights, hour, lasts in ((NIGHTLY, days, 2.0, 400.0), (WEEKLY, sundays, 5.0, 700.0)):
            for service, text, many in jobs:
                begun = np.repeat(nights * DAY + hour * 3600 + 60, many)
                times = begun + self._rng.uniform(0, lasts, len(begun))
                yield Kind(service, "INFO", text), times, _no(len(times))


def _no(many: int) -> Floats:
    return np.ones(int(many))


def _frame(kind: Kind, times: Floats, rng: np.random.Generator, factor: Floats) -> pl.DataFrame:
    values = kind.value * rng.lognormal(0.0, 0.5, len(times)) * factor
    return pl.DataFrame({"time": times, "value": values}).with_columns(
        pl.lit(kind.service).alias("service"),
        pl.lit(kind.level).alias("level"),
        pl.lit(kind.text).alias("text"),
    )


def _kept(frame: pl.DataFrame, planted: tuple[Planted, ...], rng: np.random.Generator) -> pl.DataFrame:
    """Without the lines that what was planted keeps back, and with those it changes."""
    for each in planted:
        spec = SPECS[each.kind]
        inside = pl.col("time").is_between(each.begin, each.end, closed="left")
        if spec.service:
            inside &= pl.col("service") == spec.service
        about = inside & pl.col("text").str.contains(spec.text, literal=True) if spec.text else inside
        luck = pl.Series(rng.random(frame.height))
        if spec.kept < 1:
            frame = frame.filter(~(about & (luck >= spec.kept)))
        if spec.instead:
            swap = about & (luck < spec.share)
            frame = frame.with_columns(
                pl.when(swap).then(pl.lit(spec.instead)).otherwise("text").alias("text")
            )
        if spec.swapped:
            ahead, behind = spec.swapped
            first, second = (inside & (pl.col("text") == text) for text in (ahead, behind))
            frame = frame.with_columns(
                pl.when(first)
                .then(pl.lit(behind))
                .when(second)
                .then(pl.lit(ahead))
                .otherwise("text")
                .alias("text")
            )
        if spec.slower != 1:
            slowed = pl.when(about).then(pl.col("value") * spec.slower).otherwise("value")
            frame = frame.with_columns(slowed.alias("value"))
        if spec.times > 1:
            extra = frame.filter(inside)
            extra = pl.concat([extra] * (spec.times - 1))
            moved = np.clip(
                extra["time"].to_numpy() + rng.normal(0, 20.0, extra.height), each.begin, each.end
            )
            frame = pl.concat([frame, extra.with_columns(pl.Series("time", moved))])
    return frame


def _added(planted: tuple[Planted, ...], rng: np.random.Generator) -> Iterator[pl.DataFrame]:
    """The lines that what was planted writes."""
    for each in planted:
        spec = SPECS[each.kind]
        if spec.added:
            times = rng.uniform(each.begin, each.end, spec.lines)
            yield _frame(Kind(spec.service, spec.level, spec.added), times, rng, _no(spec.lines))


def _rendered(frame: pl.DataFrame, began: datetime, rng: np.random.Generator) -> pl.DataFrame:
    """The raw lines, in order of time."""
    frame = frame.sort("time", "service", "text")
    many = frame.height
    frame = frame.with_columns(
        pl.Series("n", rng.integers(1, 12, many)).cast(pl.String),
        pl.Series("id", rng.integers(10_000, 99_999, many)).cast(pl.String),
        pl.Series("ip", rng.integers(2, 250, many)).cast(pl.String),
        pl.col("value").round(0).cast(pl.Int64).cast(pl.String).alias("v"),
        (pl.lit(began) + pl.duration(microseconds=(pl.col("time") * 1e6).cast(pl.Int64)))
        .dt.strftime("%Y-%m-%d %H:%M:%S,%3f")
        .alias("stamp"),
    ).with_row_index("place")
    parts = []
    for (text,), group in frame.group_by("text"):
        message: pl.Expr = pl.lit("")
        for piece in str(text).replace("}", "{").split("{"):
            told = pl.concat_str(pl.lit("10.4.1."), "ip") if piece == "ip" else pl.col(piece or "n")
            told = told if piece in {"n", "id", "ip", "v"} else pl.lit(piece)
            message += told
        parts.append(group.with_columns(message.alias("message")))
    line = pl.concat_str("stamp", pl.lit(" "), pl.col("level").str.pad_end(5), pl.lit(" "), "message")
    return pl.concat(parts).sort("place").select("service", "time", "level", line.alias("line"))
