"""Generates the logs of a small shop of three services, with a daily rhythm and planted incidents."""

import heapq
import itertools
import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

Line = tuple[float, str, str]
"""Seconds since the start, the file it is written to, and its text (a stack trace spans several lines)."""

START: Final = datetime(2024, 3, 4, tzinfo=UTC)
DAY: Final = 86_400.0
FILES: Final = ("gateway.log", "orders.json.log", "stock.log")

_BUSY: Final = 0.16  # requests a second at the busiest hour
_QUIET: Final = 0.35  # share of that at the quietest
_BURST: Final = 8.0

_TRACE: Final = """java.net.SocketTimeoutException: Read timed out
\tat java.base/sun.nio.ch.NioSocketImpl.timedRead(NioSocketImpl.java:278)
\tat shop.stock.SupplierClient.levels(SupplierClient.java:91)
\tat shop.stock.Sync.run(Sync.java:44)"""
_REFUSED: Final = """java.net.ConnectException: Connection refused
\tat java.base/sun.nio.ch.Net.connect0(Native Method)
\tat shop.stock.LedgerClient.post(LedgerClient.java:58)
\tat shop.stock.Sync.book(Sync.java:77)
Caused by: shop.stock.LedgerDown: no ledger at 10.2.0.7:5433
\t... 3 more"""


@dataclass(frozen=True, slots=True)
class Planted:
    """An incident that the generator put into the logs."""

    kind: str
    title: str  # what went wrong, as a person would say it
    services: tuple[str, ...]  # where it shows
    sign: str  # regular expression that a reason which names the cause matches
    begin: float  # seconds since the start
    end: float

    def holds(self, moment: float) -> bool:
        """Whether it goes on at this moment."""
        return self.begin <= moment < self.end


def planted(live: float) -> tuple[Planted, ...]:
    """The five incidents of the demo; `live` is when the live part begins, seconds since the start."""
    minute = 60.0
    told = (
        ("new error", "stock cannot reach its ledger", ("stock",), "cannot book movement", 20 * minute, 5),
        (
            "missing step",
            "orders are paid but never stored",
            ("orders", "gateway"),
            "'order <NUM> stored'",
            50 * minute,
            10,
        ),
        (
            "open/close",
            "stock opens connections and does not close them",
            ("stock",),
            "'connection <NUM> closed'",
            80 * minute,
            10,
        ),
        ("silence", "stock says nothing at all", ("stock",), "silent|wrote 0 lines", 115 * minute, 15),
        ("burst", "eight times the usual requests", ("gateway", "orders"), "usual", 150 * minute, 10),
    )
    return tuple(
        Planted(kind, title, services, sign, live + begin, live + begin + minutes * minute)
        for kind, title, services, sign, begin, minutes in told
    )


def lines(seed: int, end: float, incidents: Sequence[Planted] = ()) -> Iterator[Line]:
    """The lines of all three services until `end`, in order of time; the same for the same arguments.

    >>> first = next(lines(seed=0, end=600.0))
    >>> first[1] in FILES
    True
    """
    streams = (
        _requests(random.Random(seed * 3 + 1), end, incidents),  # noqa: S311  (not for secrets)
        _stock(random.Random(seed * 3 + 2), end, incidents),  # noqa: S311
    )
    return heapq.merge(*streams)


def rhythm(moment: float) -> float:
    """How busy the shop is at this moment, 0..1: quiet at four at night, busiest at four in the afternoon."""
    wave = 0.5 - 0.5 * math.cos(2 * math.pi * (moment - 4 * 3600.0) / DAY)
    return _QUIET + (1 - _QUIET) * wave


def _running(incidents: Sequence[Planted], kind: str) -> Callable[[float], bool]:
    chosen = [incident for incident in incidents if incident.kind == kind]
    return lambda moment: any(incident.holds(moment) for incident in chosen)


def _requests(rng: random.Random, end: float, incidents: Sequence[Planted]) -> Iterator[Line]:
    """Orders on their way through gateway and orders, in order of time."""
    burst, unfinished = _running(incidents, "burst"), _running(incidents, "missing step")
    waiting: list[Line] = []
    moment = 0.0
    while moment < end:
        rate = _BUSY * rhythm(moment) * (_BURST if burst(moment) else 1.0)
        moment += rng.expovariate(rate)
        while waiting and waiting[0][0] <= moment:
            yield heapq.heappop(waiting)
        for line in _request(rng, moment, finished=not unfinished(moment)):
            heapq.heappush(waiting, line)
    while waiting:
        yield heapq.heappop(waiting)


def _request(rng: random.Random, moment: float, *, finished: bool) -> Iterator[Line]:
    """One order: received, checked, reserved, paid, stored, answered."""
    request = f"req-{rng.getrandbits(32):08x}"
    order = rng.randrange(10_000, 99_999)
    client = f"10.0.{rng.randrange(4)}.{rng.randrange(2, 250)}"

    def plain(text: str) -> Line:
        return (moment, FILES[0], f"{_stamp(moment)} INFO  gateway {text}")

    def as_json(level: str, text: str) -> Line:
        record = {
            "ts": _stamp(moment),
            "level": level,
            "service": "orders",
            "request_id": request,
            "message": text,
        }
        return (moment, FILES[1], json.dumps(record))

    def later(least: float, most: float) -> None:
        nonlocal moment
        moment += rng.uniform(least, most)

    yield plain(f"{request} POST /orders from {client} accepted")
    later(0.005, 0.05)
    yield as_json("info", f"order {order} validated, {rng.randrange(1, 9)} items")
    later(0.01, 0.1)
    yield as_json("info", f"stock reserved for order {order}")
    if rng.random() < 0.06:  # noqa: PLR2004  (now and then the bank is slow: normal)
        later(0.3, 0.9)
        yield as_json("warn", f"payment for order {order} slow, asking again")
    later(0.05, 0.4)
    amount = rng.randrange(500, 20_000) / 100
    yield as_json("info", f"payment of {amount:.2f} EUR authorised for order {order}")
    later(0.01, 0.05)
    if finished:
        yield as_json("info", f"order {order} stored")
        later(0.002, 0.01)
    yield plain(f"{request} answered 201 in {rng.randrange(80, 900)} ms")


def _stock(rng: random.Random, end: float, incidents: Sequence[Planted]) -> Iterator[Line]:
    """The background service: a heartbeat, synchronisations over connections, a supplier at times slow."""
    silent, refused = _running(incidents, "silence"), _running(incidents, "new error")
    leaking = _running(incidents, "open/close")

    def line(moment: float, level: str, thread: str, text: str) -> Line:
        clock = _stamp(moment).replace("T", " ").replace(".", ",").removesuffix("Z")
        return (moment, FILES[2], f"{clock} {level:<5} [{thread}] shop.stock.Sync - {text}")

    numbers = itertools.count(1)
    for beat in range(int(end // 10)):
        moment = beat * 10 + rng.uniform(0.0, 0.4)
        thread = f"sync-{rng.randrange(1, 5)}"
        if silent(moment):
            continue
        yield line(moment, "INFO", "main", f"heartbeat, queue {rng.randrange(0, 40)}")
        number = next(numbers)
        peer = f"10.2.0.{rng.randrange(3, 6)}"
        yield line(moment + 0.5, "INFO", thread, f"connection {number} opened to {peer}")
        yield line(moment + 1.2, "INFO", thread, f"synchronised {rng.randrange(1, 200)} articles")
        if rng.random() < 0.03:  # noqa: PLR2004  (the supplier is slow several times an hour: normal)
            slow = line(moment + 1.5, "WARN", thread, "supplier slow, trying again")
            yield (slow[0], slow[1], f"{slow[2]}\n{_TRACE}")
        if refused(moment):
            failed = line(moment + 1.7, "ERROR", thread, f"cannot book movement {rng.randrange(1000, 9999)}")
            yield (failed[0], failed[1], f"{failed[2]}\n{_REFUSED}")
        if not leaking(moment):
            yield line(moment + 2.0, "INFO", thread, f"connection {number} closed")


def _stamp(moment: float) -> str:
    time = START + timedelta(seconds=moment)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
