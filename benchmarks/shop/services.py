"""What the nine services of the shop write when nothing is wrong: about seventy kinds of lines."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of line: `{n}` is a small number, `{id}` a large one, `{ip}` an address, `{v}` its value."""

    service: str
    level: str
    text: str
    value: float = 50.0  # the median of `{v}`, log-normal


@dataclass(frozen=True, slots=True)
class Flow:
    """Requests that clients bring in bursts; each is told by steps, in this order, with these chances."""

    service: str
    rate: float  # requests in five minutes at the busiest hour
    steps: tuple[tuple[str, float, float], ...]  # text, chance, median of its value


@dataclass(frozen=True, slots=True)
class Beat:
    """A line every so many seconds, with some jitter."""

    service: str
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Trickle:
    """Lines at a constant rate, at random."""

    service: str
    level: str
    text: str
    an_hour: float


FLOWS: Final = (
    Flow(
        "gateway",
        30,
        (
            ("request {id} accepted from {ip}", 1, 0),
            ("token of client {n} taken from cache", 0.35, 0),
            ("token of client {n} fetched", 0.1, 0),
            ("routed {id} to zone {n}", 0.9, 0),
            ("answered {id} with 200 after {v} ms", 0.93, 80),
            ("answered {id} with 404", 0.05, 0),
            ("connection of {ip} kept alive", 0.2, 0),
        ),
    ),
    Flow(
        "orders",
        24,
        (
            ("order {id} received", 1, 0),
            ("basket {id} holds {n} items", 0.9, 0),
            ("voucher applied to order {id}", 0.12, 0),
            ("address of order {id} completed", 0.06, 0),
            ("order {id} stored", 0.985, 0),
            ("invoice {id} written as page {n}", 0.5, 0),
        ),
    ),
    Flow(
        "payments",
        20,
        (
            ("payment {id} begun", 1, 0),
            ("bank {n} asked about payment {id}", 0.95, 0),
            ("card accepted for payment {id}", 0.96, 0),
            ("card refused for payment {id}", 0.04, 0),
            ("payment {id} settled, {v} cents of fee", 0.9, 120),
            ("second factor asked of client {n}", 0.15, 0),
        ),
    ),
    Flow(
        "stock",
        16,
        (
            ("reserving article {id}", 1, 0),
            ("picking article {id} from shelf {n}", 1, 0),
            ("packing article {id}", 1, 0),
            ("label {id} printed", 1, 0),
            ("shelf {n} is half empty", 0.08, 0),
            ("article {id} came from supplier {n}", 0.1, 0),
        ),
    ),
    Flow(
        "search",
        40,
        (
            ("query of {n} words parsed", 1, 0),
            ("index shard {n} gave {id} hits", 1, 0),
            ("ranked the first page in {v} ms", 0.95, 60),
            ("spelling corrected for query {id}", 0.1, 0),
            ("facet {n} opened", 0.25, 0),
            ("suggestions came from dictionary {n}", 0.3, 0),
        ),
    ),
    Flow(
        "mail",
        9,
        (
            ("letter {id} queued", 1, 0),
            ("letter {id} handed to relay {ip}", 0.97, 0),
            ("receipt attached to letter {id}", 0.4, 0),
            ("bounce of letter {id} noted", 0.03, 0),
            ("newsletter block {n} skipped", 0.05, 0),
        ),
    ),
)

BEATS: Final = (
    Beat("scheduler", "alive, {n} jobs wait", 30),
    Beat("scheduler", "lease renewed for node {n}", 60),
    Beat("gateway", "health check of zone {n} passed", 20),
    Beat("stock", "synchronised shelf table, version {id}", 120),
    Beat("payments", "rates of exchange refreshed", 300),
    Beat("search", "segment merge of shard {n} done", 180),
    Beat("orders", "snapshot {id} taken", 600),
    Beat("scheduler", "hourly report begun for tenant {n}", 3600),
)

TRICKLES: Final = (
    Trickle("ledger", "INFO", "batch {id} posted in {v} ms", 25),
    Trickle("sensor", "INFO", "door {n} of the cold store opened", 5),
    Trickle("gateway", "WARN", "upstream zone {n} slow, trying again", 2),
    Trickle("orders", "WARN", "stock of article {id} runs low", 2),
    Trickle("payments", "WARN", "bank {n} asked for a pause", 1),
    Trickle("search", "WARN", "query {id} cut short after too many hits", 3),
    Trickle("mail", "WARN", "relay {ip} is throttling", 0.5),
    Trickle("payments", "ERROR", "cannot reach bank {n}, connection reset", 0.08),
    Trickle("mail", "ERROR", "failed to deliver letter {id}", 0.08),
    Trickle("gateway", "INFO", "configuration reloaded, {n} keys", 1),
    Trickle("orders", "INFO", "cache of baskets trimmed to {id}", 4),
    Trickle("payments", "INFO", "key {n} rotated", 0.3),
    Trickle("stock", "INFO", "courier {n} arrived", 2),
    Trickle("search", "INFO", "dictionary {n} reloaded", 1),
    Trickle("mail", "INFO", "templates of letters reloaded", 0.3),
    Trickle("scheduler", "INFO", "job {n} rescheduled", 6),
    Trickle("gateway", "INFO", "client {n} signed in", 60),
    Trickle("gateway", "INFO", "client {n} signed out", 40),
    Trickle("gateway", "INFO", "session of client {n} renewed", 20),
    Trickle("gateway", "INFO", "password of client {n} changed", 1),
)

CHOICE: Final = ("ledger", 25.0, "entry {id} booked", "entry {id} skipped, nothing owed", 0.05)
"""A service in which each of so many entries an hour ends in one of two ways; the share of the second."""

NIGHTLY: Final = (
    ("stock", "inventory of aisle {n} counted", 200),
    ("stock", "inventory closed, {id} articles", 1),
)
WEEKLY: Final = (
    ("orders", "archiving orders of month {n}", 1),
    ("orders", "order {id} archived", 500),
    ("orders", "archive {id} sealed", 1),
)
DEPLOYED: Final = (
    "recommendation {n} shown for article {id}",
    "recommendation model {n} warmed",
    "recommendation cache hit for client {n}",
)
"""What the search service writes from its deploy on."""
