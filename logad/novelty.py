"""Counts how many templates are new per thousand records of each service, and says when it is a flood."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

BLOCK: Final = 1_000
"""Records of a service that are looked at together."""
LEARNING: Final = 10_000
"""Records of a service in which everything is new."""
FLOOD: Final = 100
"""New templates in a block from which on it is a flood."""
_MOST_SERVICES: Final = 1_000  # told apart; the others are counted as one


class Novelty:
    """The rate of new templates per service.

    >>> novelty = Novelty()
    >>> novelty.count({"web": 10_000}, {"web": 40})
    0
    >>> novelty.count({"web": 1_000}, {"web": 700})
    700
    >>> novelty.rates()
    {'web': 67.27}
    """

    def __init__(self) -> None:
        self._records: Counter[str] = Counter()
        self._new: Counter[str] = Counter()
        self._open: dict[str, tuple[int, int]] = {}  # records and new templates of a block that is not full

    def count(self, records: Mapping[str, int], new: Mapping[str, int]) -> int:
        """Count records and new templates of services; how many of these came in floods that show now."""
        flood = 0
        for each, count in records.items():
            service = each if each in self._records or len(self._records) < _MOST_SERVICES else ""
            learned = self._records[service] >= LEARNING
            self._records[service] += count
            self._new[service] += new.get(each, 0)
            seen, fresh = self._open.get(service, (0, 0))
            seen, fresh = seen + count, fresh + new.get(each, 0)
            if seen >= BLOCK:
                flood += fresh if learned and fresh * BLOCK > FLOOD * seen else 0
                seen = fresh = 0
            self._open[service] = seen, fresh
        return flood

    def rates(self) -> dict[str, float]:
        """New templates per 1,000 records of each service."""
        return {
            service: round(1_000 * self._new[service] / records, 2)
            for service, records in self._records.items()
            if records
        }
