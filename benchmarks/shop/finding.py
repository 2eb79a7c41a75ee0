"""What of the planted was found, how soon, and what was false."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from shop.generator import DAY, WINDOW, Shop
from shop.planting import SPECS, Planted

WARM: Final = 3.0  # days after which false windows count


@dataclass(frozen=True, slots=True)
class Alarm:
    """An anomalous window, in seconds since the shop began."""

    service: str
    begin: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What was planted, and how long it took; None where it was missed."""

    planted: Planted
    delay: float | None  # seconds from its begin to the end of the first window that alarms


@dataclass(frozen=True)
class Outcome:
    """All of one shop."""

    findings: tuple[Finding, ...]
    false: tuple[Alarm, ...]
    days: int


def outcome(shop: Shop, alarms: Sequence[Alarm]) -> Outcome:
    """Match alarms to what was planted: of the same service, in a window that it touches or soon after."""
    findings = []
    for each in shop.planted:
        mine = [alarm for alarm in alarms if belongs(alarm, each)]
        findings.append(Finding(each, min((alarm.end - each.begin for alarm in mine), default=None)))
    false = [alarm for alarm in alarms if not any(belongs(alarm, each) for each in shop.planted)]
    return Outcome(tuple(findings), tuple(false), shop.days)


def belongs(alarm: Alarm, planted: Planted) -> bool:
    """Whether the alarm is about what was planted."""
    same = planted.service in {"", alarm.service}
    return (
        same and alarm.end > planted.begin and alarm.begin < planted.end + SPECS[planted.kind].aftermath * 60
    )


def error_lines(shop: Shop) -> tuple[Alarm, ...]:
    """The windows that hold an ERROR line: what looking at levels alone would find."""
    window = (pl.col("time") // WINDOW).cast(pl.Int64).alias("window")
    lines = shop.lines.filter(pl.col("level") == "ERROR").select("service", window)
    return tuple(
        Alarm(service, number * WINDOW, (number + 1) * WINDOW, "ERROR")
        for service, number in lines.unique().sort("window", "service").rows()
    )


def windows_of(alarms: Iterable[Alarm], first: float, last: float) -> int:
    """How many of the alarms begin between two days."""
    return sum(first * DAY <= alarm.begin < last * DAY for alarm in alarms)
