"""Tells what each budget and each pair of costs would have meant for incidents that are over."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final

from logad import alerting, incidents
from logad.alerting import Mutes
from logad.incidents import Change
from logad.types import Incident, Severity, Verdict

BUDGETS: Final = (1, 3, 5, 10)
"""Incidents a day."""
MISSES: Final = (1, 10, 100)
"""How many times as much as a false alarm a missed incident costs."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What one choice of what is sent would have meant."""

    option: str  # as on the command line
    incidents: int  # in all, muted ones too
    at_once: int  # those that would have been sent when they came
    digest: int  # those that would have waited for the digest
    weakest: float | None  # the least score of those sent at once; None where none was
    expected_false: float  # of those sent at once, as far as scores are calibrated
    expected_cost: float | None  # in false alarms; None where no costs were chosen

    def describe(self) -> str:
        """The choice in a line.

        >>> Choice("--alert-budget 5/day", 31, 12, 3, 0.92, 0.4, None).describe()
        '--alert-budget 5/day: 12 of 31 incidents at once, the weakest at score 0.92; 3 wait for the digest'
        """
        weakest = "" if self.weakest is None else f", the weakest at score {self.weakest:.2f}"
        told = f"{self.option}: {self.at_once:,} of {self.incidents:,} incidents at once{weakest}"
        if self.expected_cost is None:
            return f"{told}; {self.digest:,} wait for the digest"
        return f"{told}; about {self.expected_false:.1f} false, expected cost {self.expected_cost:.1f}"


def choices(
    changes: Sequence[Change], mutes: Mutes, config: alerting.Config, budgets: Sequence[float] = BUDGETS
) -> tuple[Choice, ...]:
    """What budgets, the configured one among them, no budget, and costs would have meant.

    `changes` are all that happened to the incidents, in order, with how doubtful they were. A budget that is
    never spent is told once. Costs are told in false alarms, so that the unit is that of nobody.
    """
    if not changes:
        return ()
    asked = {budget for budget in (*budgets, config.budget_per_day) if budget is not None}
    told = [
        (f"--alert-budget {budget:g}/day", config.model_copy(update=_NO_COSTS | {"budget_per_day": budget}))
        for budget in sorted(asked)
    ]
    told.append(("no budget", config.model_copy(update=_NO_COSTS | {"budget_per_day": None})))
    costs = {(1.0, float(miss)) for miss in MISSES}
    if config.cost_false_alarm is not None and config.cost_miss is not None:
        costs.add((config.cost_false_alarm, config.cost_miss))
    told += [
        (
            f"--cost-false-alarm {false:g} --cost-miss {miss:g}",
            config.model_copy(update={"cost_false_alarm": false, "cost_miss": miss}),
        )
        for false, miss in sorted(costs, key=lambda pair: pair[1] / pair[0])
    ]
    return tuple(_choice(option, changes, mutes, chosen) for option, chosen in told)


def moved(verdicts: Iterable[Verdict], judged: int, config: incidents.Config | None = None) -> list[Change]:
    """What anomalous verdicts, found among so many windows, would have made of incidents, in order of time.

    Each is taken when its window ended, and its doubt is that of all of them together.
    """
    config = config or incidents.Config()
    found = sorted(verdicts, key=lambda each: (each.window.end is not None, each.window.end or _ALWAYS))
    scores = sorted(verdict.score for verdict in found)
    book: dict[str, Incident] = {}
    changes: list[Change] = []
    kept = timedelta(hours=config.reopen_hours, minutes=config.quiet_minutes)
    for now, group in groupby(found, key=lambda each: each.window.end):
        known = [each for each in book.values() if now is None or each.updated + kept >= now]
        fresh = incidents.group(known, group, now, config)
        book = {each.id: each for each in known} | {each.incident.id: each.incident for each in fresh}
        changes += fresh
    return [
        replace(change, doubt=alerting.false_share(score, judged, len(scores) - bisect_left(scores, score)))
        for change in changes
        for score in [change.incident.worst.score]
    ]


_NO_COSTS: Final = {"cost_false_alarm": None, "cost_miss": None}
_ALWAYS: Final = datetime.min.replace(tzinfo=UTC)


def _choice(option: str, changes: Sequence[Change], mutes: Mutes, config: alerting.Config) -> Choice:
    """Send as the live program would, by the same function."""
    doubts: dict[str, float] = {}
    scores = {change.incident.id: change.incident.worst.score for change in changes}
    for change in changes:
        relevance = change.relevance
        doubt = change.doubt if relevance is None else 1 - relevance
        doubts[change.incident.id] = 1.0 if doubt is None else doubt
    at_once: set[str] = set()
    waiting: set[str] = set()
    for sent in alerting.decide(changes, [], mutes, config):
        if sent.at_once:
            at_once.add(sent.incident.id)
        elif sent.alert.tier is Severity.DIGEST and not sent.alert.muted:
            waiting.add(sent.incident.id)
    expected_false = sum(doubts[each] for each in sorted(at_once))
    cost = None
    if config.cost_false_alarm is not None and config.cost_miss is not None:
        missed = sum(1 - doubt for each, doubt in doubts.items() if each not in at_once)
        cost = expected_false + missed * config.cost_miss / config.cost_false_alarm
    weakest = min((scores[each] for each in at_once), default=None)
    return Choice(option, len(doubts), len(at_once), len(waiting - at_once), weakest, expected_false, cost)
