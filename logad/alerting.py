"""Decides what of the incidents is sent, and when: tiers, a daily budget, mutes, a digest."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final, Protocol, Self

from pydantic import NonNegativeFloat, PositiveFloat, model_validator

from logad.contracts import PartConfig
from logad.steps import Alert
from logad.types import Incident, Severity

_TOLD: Final = frozenset({"opened", "worse", "reopened", "resolved"})
"""Changes worth a message; that an incident goes on is not."""


PROMISED: Final = ((0.5, 1e-3), (0.7, 2e-4), (0.9, 4e-5), (1.0, 1e-5))
"""Scores, and the share of normal windows that may be above each; beyond the last tier the line goes on."""
_EVEN: Final = 0.5
"""Where people's labels speak, what is likelier a false alarm than not does not leave at once."""


class Config(PartConfig):
    """What is sent, and how often."""

    budget_per_day: NonNegativeFloat | None = 5
    """Incidents a person accepts per day; those above it wait for the digest. None: no limit."""
    cost_false_alarm: PositiveFloat | None = None
    """What one false alarm costs; with `cost_miss` it takes the place of tiers and budget."""
    cost_miss: PositiveFloat | None = None
    """What one incident costs that nobody is told of, in the same unit."""
    digest_hours: float = 24
    """Hours of the log's time between two digests."""

    @model_validator(mode="after")
    def _both_costs(self) -> Self:
        if (self.cost_false_alarm is None) != (self.cost_miss is None):
            raise ValueError("found one of cost_false_alarm and cost_miss; expected both or none")
        return self

    def worth(self, doubt: float) -> bool:
        """Whether to tell costs less than to be silent, given the probability of a false alarm.

        >>> Config(cost_false_alarm=1, cost_miss=10).worth(0.8)
        True
        """
        return doubt * (self.cost_false_alarm or 0.0) < (1 - doubt) * (self.cost_miss or 0.0)


class Mutes(Protocol):
    """Says what is muted (`rules.Rules` does)."""

    def muted(self, service: str, template_id: str | None, text: str, now: datetime) -> object | None:
        """The mute that covers a message, or None."""
        ...


class Moved(Protocol):
    """What happened to an incident (`incidents.Change` does)."""

    @property
    def kind(self) -> str:
        """One of opened, updated, worse, reopened, resolved."""
        ...

    @property
    def incident(self) -> Incident:
        """The incident as it now is."""
        ...

    @property
    def at(self) -> datetime:
        """When, on the log's clock."""
        ...

    @property
    def doubt(self) -> float | None:
        """The share of windows as strange that are false alarms, as far as scores are calibrated."""
        ...

    @property
    def relevance(self) -> float | None:
        """The probability that a person calls it an anomaly; None where labels do not tell."""
        ...


@dataclass(frozen=True, slots=True)
class Sent:
    """An alert, and the incident as it stood."""

    alert: Alert
    incident: Incident

    @property
    def at_once(self) -> bool:
        """Whether it leaves now; the others wait for a digest or are only stored."""
        return self.alert.tier is Severity.PAGE and not self.alert.muted


def decide(changes: Iterable[Moved], past: Sequence[Alert], mutes: Mutes, config: Config) -> list[Sent]:
    """What the changes of incidents come to, given all alerts of the past; nothing is sent by this.

    An incident of severity `page` leaves at once while the day (UTC, on the log's clock) has budget, else it
    waits for the digest; `digest` waits; `index` is only noted. Where people's labels tell that it is more
    likely a false alarm than not, `page` waits too, and spends nothing. Where costs are given, an incident
    leaves at once if to be silent is expected to cost more, whatever its severity; the others that are `page`
    wait. An incident is told again when it becomes worse, comes back, or, once it was told at once, is
    resolved. Scores and severities are not touched.
    """
    told = {each.incident: each.tier for each in past if not each.muted}
    spent: defaultdict[date, set[str]] = defaultdict(set)
    for each in past:
        if _spends(each):
            spent[each.time.date()].add(each.incident)
    sent: list[Sent] = []
    for change in changes:
        kind = change.kind
        incident = change.incident
        before = told.get(incident.id)
        if kind not in _TOLD or (kind == "resolved" and before is not Severity.PAGE):
            continue
        tier = _tier(change, config)
        if kind == "resolved" or (before is Severity.PAGE and kind == "worse"):
            tier = Severity.PAGE
        elif tier is Severity.PAGE and config.cost_miss is None:
            others = len(spent[change.at.date()] - {incident.id})
            if config.budget_per_day is not None and others + 1 > config.budget_per_day:
                tier = Severity.DIGEST
        muted = incident.state == "muted" or _covered(incident, mutes, change.at)
        alert = Alert(incident.id, kind, tier, change.at, muted)
        if _spends(alert):
            spent[change.at.date()].add(incident.id)
        if not muted:
            told[incident.id] = tier
        sent.append(Sent(alert, incident))
    return sent


def digest_due(past: Sequence[Alert], now: datetime, config: Config) -> list[Alert]:
    """The alerts that a digest tells now: all that wait, once the oldest has waited `digest_hours`."""
    found = waiting(past)
    if not found or min(each.time for each in found) + timedelta(hours=config.digest_hours) > now:
        return []
    return found


def waiting(past: Iterable[Alert]) -> list[Alert]:
    """The alerts that wait for a digest."""
    return [each for each in past if each.tier is Severity.DIGEST and not each.muted and not each.digested]


def per_day(alerts: Iterable[Alert]) -> dict[str, dict[str, int]]:
    """How many incidents each day would have brought, each once, in the highest tier it was told in that day.

    What is muted or resolved counts for none.

    >>> from datetime import UTC
    >>> per_day([Alert("a", "opened", Severity.PAGE, datetime(2026, 1, 2, tzinfo=UTC))])
    {'2026-01-02': {'page': 1, 'digest': 0, 'index': 0}}
    """
    told: dict[str, defaultdict[str, set[str]]] = {}
    for alert in alerts:
        if alert.kind != "resolved" and not alert.muted:
            tiers = told.setdefault(alert.time.date().isoformat(), defaultdict(set))
            tiers[str(alert.tier)].add(alert.incident)
    return {
        day: {
            "page": len(tiers["page"]),
            "digest": len(tiers["digest"] - tiers["page"]),
            "index": len(tiers["index"] - tiers["digest"] - tiers["page"]),
        }
        for day, tiers in sorted(told.items())
    }


def normal_share(score: float) -> float:
    """The share of normal windows that may score so high or higher, as far as scores are calibrated.

    Between the scores that a share is promised for (`benchmarks/calibration.py` measures it) its logarithm is
    a straight line.

    >>> normal_share(0.9)
    4e-05
    """
    if score <= PROMISED[0][0]:
        return PROMISED[0][1] if score == PROMISED[0][0] else 1.0
    (low, most), (high, least) = next(
        pair for pair in pairwise(PROMISED) if score <= pair[1][0] or pair[1] is PROMISED[-1]
    )
    return float(most * (least / most) ** ((min(score, high) - low) / (high - low)))


def false_share(score: float, judged: int, as_strange: int) -> float:
    """How many of the windows that are as strange are false alarms, from 0 to 1.

    Of so many windows `judged` so far, normal ones as strange are expected as the scale of scores promises;
    so many were seen (Benjamini and Hochberg 1995; Storey 2002, equation 2, all windows taken as normal).

    >>> false_share(0.9, judged=4000, as_strange=4)
    0.04
    """
    return min(1.0, normal_share(score) * judged / max(as_strange, 1))


def _tier(change: Moved, config: Config) -> Severity:
    """How an incident is told, before the budget."""
    tier = change.incident.severity
    doubt = change.doubt if change.relevance is None else 1 - change.relevance
    if config.cost_miss is not None and doubt is not None:
        if config.worth(doubt):
            return Severity.PAGE
        return Severity.DIGEST if tier is Severity.PAGE else tier
    refused = change.relevance is not None and change.relevance < _EVEN
    return Severity.DIGEST if tier is Severity.PAGE and refused else tier


def _spends(alert: Alert) -> bool:
    """Telling that an incident is over asks nothing of anyone."""
    return alert.tier is Severity.PAGE and not alert.muted and alert.kind != "resolved"


def _covered(incident: Incident, mutes: Mutes, now: datetime) -> bool:
    top = incident.worst.reasons[0] if incident.worst.reasons else None
    template = top.template_id if top else None
    texts = [incident.title, *([line.text for line in top.evidence] if top else [])]
    return all(
        any(mutes.muted(service, template, text, now) is not None for text in texts)
        for service in (incident.service, *incident.also)
    )
