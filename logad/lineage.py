"""What became of templates: which text became more general, and which became part of another."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from logad.types import iso


@dataclass(frozen=True, slots=True)
class Descent:
    """A template's id gave way to another."""

    was_id: str
    became_id: str
    when: datetime | None  # the time of the record that showed it, where it had one
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"was": self.was_id, "became": self.became_id, "when": iso(self.when), "reason": self.reason}

    @staticmethod
    def from_dict(told: Mapping[str, Any]) -> "Descent":
        """The event that `as_dict` told.

        >>> told = {"was": "a", "became": "b", "when": "2026-05-01T10:00:00.000Z", "reason": "a word varies"}
        >>> Descent.from_dict(told).as_dict() == told
        True
        """
        when = told["when"]
        moment = None if when is None else datetime.fromisoformat(when).astimezone(UTC)
        return Descent(str(told["was"]), str(told["became"]), moment, str(told["reason"]))


class Lineage:
    """The events in order, and which ids are by now of one template.

    >>> lineage = Lineage([Descent("a", "c", None, "units vary"), Descent("b", "c", None, "units vary")])
    >>> lineage.family("b"), lineage.family("x")
    (('b', 'a', 'c'), ('x',))
    """

    def __init__(self, events: Iterable[Descent] = ()) -> None:
        self._events: list[Descent] = []
        self._families: dict[str, list[str]] = {}
        for event in events:
            self.add(event)

    def __len__(self) -> int:
        return len(self._events)

    def since(self, number: int) -> list[Descent]:
        """The events from number `number` on."""
        return self._events[number:]

    def add(self, event: Descent) -> None:
        """Note what happened."""
        self._events.append(event)
        one = self._families.setdefault(event.was_id, [event.was_id])
        other = self._families.setdefault(event.became_id, [event.became_id])
        if one is not other:
            small, large = sorted((one, other), key=len)
            large += small
            self._families |= dict.fromkeys(small, large)

    def family(self, template_id: str) -> tuple[str, ...]:
        """The id, then all others that were or are of the same template."""
        return template_id, *sorted(set(self._families.get(template_id, ())) - {template_id})


class Mutes(Protocol):
    """Says what is muted."""

    def muted(self, service: str, template_id: str | None, text: str, now: datetime) -> object | None:
        """The mute that covers a message, or None."""
        ...


class FollowingMutes:
    """Mutes that cover a template whatever its id was when it was muted, or when the message was written."""

    def __init__(self, mutes: Mutes, family: Callable[[str], Iterable[str]]) -> None:
        self._mutes = mutes
        self._family = family

    def muted(self, service: str, template_id: str | None, text: str, now: datetime) -> object | None:
        """The mute that covers a message under any id of its template, or None."""
        ids = (None,) if template_id is None else self._family(template_id)
        found = (self._mutes.muted(service, each, text, now) for each in ids)
        return next((mute for mute in found if mute is not None), None)
