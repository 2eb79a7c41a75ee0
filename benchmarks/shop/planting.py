"""The seventeen kinds of trouble that are planted in the shop, and when."""

from dataclasses import dataclass
from typing import Final

import numpy as np

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR
QUIET_DAYS: Final = 3.5  # before anything is planted


@dataclass(frozen=True, slots=True)
class Planted:
    """Something that the generator put into the logs, in seconds since they began."""

    kind: str
    service: str  # empty: all of them
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Spec:
    """What a kind of trouble does to the lines of a service while it lasts."""

    service: str
    minutes: float
    text: str = ""  # it is about lines that contain this; empty: about all
    kept: float = 1.0  # chance of a line to be written
    instead: str = ""  # a text that takes the place of others ...
    share: float = 0.0  # ... with this chance
    swapped: tuple[str, str] | None = None
    slower: float = 1.0
    times: int = 1
    added: str = ""
    level: str = "ERROR"
    lines: int = 0
    aftermath: float = 20.0  # minutes after its end in which an alarm still belongs to it
    hours: tuple[float, float] = (0.0, 24.0)  # of the day, in which it may begin


SPECS: Final = {
    "silence of a busy service, 20 min": Spec("gateway", 20, kept=0.0),
    "silence at 5 lines/h, 6 h": Spec("sensor", 360, kept=0.0),
    "heartbeat missing 20 min": Spec("scheduler", 20, text="alive", kept=0.0),
    "hourly job missing": Spec(
        "scheduler", 61, text="hourly report", kept=0.0, aftermath=60
    ),  # until it comes again
    "burst x6, 15 min": Spec("search", 15, times=6, hours=(8, 20)),
    "slow x10, 20 min": Spec("gateway", 20, text="answered {id} with 200", slower=10, hours=(6, 22)),
    "slow x25 at 25 lines/h, 60 min": Spec("ledger", 60, text="batch", slower=25),
    "refused 4 -> 50 %, 20 min": Spec(
        "payments",
        20,
        text="card accepted",
        instead="card refused for payment {id}",
        share=0.48,
        hours=(7, 22),
    ),
    "skipped 5 -> 60 % at 25 lines/h, 90 min": Spec(
        "ledger", 90, text="booked", instead="entry {id} skipped, nothing owed", share=0.58
    ),
    "new error, 10 min": Spec("stock", 10, added="cannot open shelf table, disk failure {n}", lines=20),
    "new error, one line": Spec("orders", 5, added="failed to write invoice {id}: out of memory", lines=1),
    "busy at night x8, 20 min": Spec("orders", 20, times=8, hours=(3, 4.5)),
    "rare order, 20 min": Spec(
        "stock", 20, swapped=("picking article {id} from shelf {n}", "packing article {id}"), hours=(6, 22)
    ),
    "partner missing, 20 min": Spec("orders", 20, text="stored", kept=0.3, hours=(6, 22)),
    "known error burst 3/min, 10 min": Spec(
        "payments", 10, added="cannot reach bank {n}, connection reset", lines=30
    ),
    "outage of everything, 20 min": Spec("", 20, kept=0.0),
    "known WARN 2/h -> 40/h, 30 min": Spec(
        "gateway", 30, added="upstream zone {n} slow, trying again", level="WARN", lines=20
    ),
}


def planned(rng: np.random.Generator, days: int) -> tuple[Planted, ...]:
    """When each kind is planted: one each in equal parts of the time, in random order, within its hours."""
    part = (days - QUIET_DAYS) * DAY / len(SPECS)
    begins = QUIET_DAYS * DAY + np.arange(len(SPECS)) * part
    while True:
        order = rng.permutation(len(SPECS))
        planted = []
        for begin, kind in zip(begins, np.asarray(list(SPECS))[order], strict=True):
            spec = SPECS[str(kind)]
            room = part - spec.minutes * 60 - 0.5 * HOUR
            moments = begin + rng.uniform(0, room, 60)
            hours = moments % DAY / HOUR
            fitting = moments[(hours >= spec.hours[0]) & (hours < spec.hours[1])]
            if not len(fitting):
                break
            moment = float(fitting[0])
            planted.append(Planted(str(kind), spec.service, moment, moment + spec.minutes * 60))
        else:
            return tuple(planted)
