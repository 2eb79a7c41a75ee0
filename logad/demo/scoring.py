"""Says which planted incidents were caught: by a verdict at the right time that names the right cause."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from logad.demo.system import START, Planted
from logad.types import Verdict

GRACE: Final = timedelta(minutes=5)
"""A window that ends so long after a planted incident may still be about it."""


@dataclass(frozen=True, slots=True)
class Caught:
    """A planted incident, and the first verdict that named it."""

    planted: Planted
    verdict: Verdict | None
    delay: timedelta | None  # from the beginning of the incident to the end of that window

    @property
    def yes(self) -> bool:
        """Whether it was caught."""
        return self.verdict is not None


def scored(incidents: Sequence[Planted], verdicts: Sequence[Verdict]) -> list[Caught]:
    """Each planted incident with the first verdict that is about its time, service and cause."""
    return [_caught(planted, verdicts) for planted in incidents]


def unplanted(incidents: Sequence[Planted], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Anomalous verdicts at times when nothing was planted: false alarms."""
    return [verdict for verdict in verdicts if not any(_at_its_time(one, verdict) for one in incidents)]


def _caught(planted: Planted, verdicts: Sequence[Verdict]) -> Caught:
    sign = re.compile(planted.sign)
    for verdict in verdicts:
        named = any(sign.search(reason.text) for reason in verdict.reasons)
        end = verdict.window.end
        if (
            named
            and end is not None
            and verdict.service in planted.services
            and _at_its_time(planted, verdict)
        ):
            return Caught(planted, verdict, end - _moment(planted.begin))
    return Caught(planted, None, None)


def _at_its_time(planted: Planted, verdict: Verdict) -> bool:
    start, end = verdict.window.start, verdict.window.end
    if start is None or end is None:
        return False
    return start <= _moment(planted.end) + GRACE and end >= _moment(planted.begin)


def _moment(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)
