"""Groups verdicts that belong together into incidents, and says what changed."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from logad.contracts import PartConfig
from logad.types import AnomalyType, Incident, Severity, Verdict

ChangeKind = Literal["opened", "updated", "worse", "reopened", "resolved"]

_ORDER: Final = {Severity.NONE: 0, Severity.INDEX: 1, Severity.DIGEST: 2, Severity.PAGE: 3}
_NAMED: Final = 3  # other services that a title names
_ALWAYS: Final = datetime(1, 1, 1, tzinfo=UTC)


class Config(PartConfig):
    """When an incident ends and what it takes in."""

    quiet_minutes: float = 30
    """Minutes of the log's time without a verdict after which an incident is resolved."""
    reopen_hours: float = 24
    """Hours after which an incident that comes back is a new one."""
    together_minutes: float = 5
    """What begins in one service this close in time is one incident, whatever the reasons."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to an incident; `verdicts` are the ids that joined it."""

    kind: ChangeKind
    incident: Incident
    at: datetime  # on the log's clock
    verdicts: tuple[str, ...] = ()
    doubt: float | None = None  # share of windows as strange that are false alarms, where it was weighed
    relevance: float | None = None  # probability that a person calls it an anomaly, where labels tell


def fingerprint(verdict: Verdict, service: str | None = None) -> str:
    """What makes verdicts belong together: service, detector and template of the top reason, hashed.

    What is odd for its circumstances (more, fewer or no lines) is one thing, whichever template tells of it.
    With `service`, what it would be had it stood in that one.
    """
    service = verdict.service if service is None else service
    top = verdict.reasons[0] if verdict.reasons else None
    return _hash(service, top.detector if top else "", _about(verdict))


def _about(verdict: Verdict) -> str:
    """The template that the top reason blames whatever the circumstances; empty where there is none."""
    top = verdict.reasons[0] if verdict.reasons else None
    return "" if top is None or top.type is AnomalyType.CONTEXTUAL else top.template_id or ""


def group(
    known: Sequence[Incident], verdicts: Iterable[Verdict], now: datetime | None, config: Config | None = None
) -> list[Change]:
    """What the passing of time until `now` and the anomalous verdicts found at `now` do to the incidents.

    `known` holds the open and muted incidents and those resolved less than `reopen_hours` before. `now`
    is when the windows closed, on the log's clock; None where logs have no time: verdicts then stand on
    their own times and nothing is resolved. Called once per moment of closing, in order, it gives the same
    incidents however the input was cut into batches.
    """
    book = _Book(config or Config(), known)
    if now is not None:
        book.resolve(now)
    for verdict in verdicts:
        if verdict.anomalous:
            book.take(verdict, now or verdict.window.end or _ALWAYS)
    return book.changes


class _Book:
    """The incidents while some verdicts are taken in."""

    def __init__(self, config: Config, known: Sequence[Incident]) -> None:
        self._quiet = timedelta(minutes=config.quiet_minutes)
        self._reopen = timedelta(hours=config.reopen_hours)
        self._together = timedelta(minutes=config.together_minutes)
        self._incidents = {each.id: each for each in sorted(known, key=lambda each: (each.opened, each.id))}
        self.changes: list[Change] = []

    def resolve(self, now: datetime) -> None:
        quiet = [each for each in self._incidents.values() if each.state == "open"]
        for incident in sorted(quiet, key=lambda each: (each.updated, each.id)):
            at = incident.updated + self._quiet
            if at <= now:
                self._tell("resolved", replace(incident, state="resolved"), at)

    def take(self, verdict: Verdict, at: datetime) -> None:
        incident = self._home(verdict, at)
        if incident is None:
            mark = fingerprint(verdict)
            self._tell("opened", _opened(verdict, mark, at), at, verdict.id)
            return
        rises = _ORDER[verdict.severity] > _ORDER[incident.severity]
        known = verdict.service in {incident.service, *incident.also}
        also = incident.also if known else (*incident.also, verdict.service)
        worst = verdict if verdict.score > incident.worst.score else incident.worst
        grown = replace(
            incident,
            state="open" if incident.state == "resolved" else incident.state,
            severity=verdict.severity if rises else incident.severity,
            title=_title(worst, sorted({incident.service, *also} - {worst.service})),
            updated=max(incident.updated, at),
            verdicts=incident.verdicts + 1,
            worst=worst,
            also=also,
        )
        kind: ChangeKind = "worse" if rises else "updated"
        self._tell("reopened" if incident.state == "resolved" else kind, grown, at, verdict.id)

    def _home(self, verdict: Verdict, at: datetime) -> Incident | None:
        """Open with the fingerprint, else resolved lately, else open and begun then.

        Then its service is that of the verdict, or else it blames the same template.
        """
        start = verdict.window.start or at
        alike = [
            each
            for each in self._incidents.values()
            if each.fingerprint == fingerprint(verdict, each.service)
        ]
        same = [each for each in alike if verdict.service in {each.service, *each.also}]
        mine = [each for each in self._incidents.values() if verdict.service == each.service]
        elsewhere = alike if _about(verdict) else []
        near = [
            each
            for each in (*mine, *elsewhere)
            if start <= each.opened + self._together and at >= each.opened - self._together
        ]
        live = [each for each in same if each.state != "resolved"]
        late = [each for each in same if each.state == "resolved" and at <= each.updated + self._reopen]
        close = [each for each in near if each.state == "open"]
        return next(iter(live or late[::-1] or close), None)

    def _tell(self, kind: ChangeKind, incident: Incident, at: datetime, *verdicts: str) -> None:
        self._incidents[incident.id] = incident
        last = self.changes[-1] if self.changes else None
        if (
            kind == "updated"
            and last is not None
            and last.incident.id == incident.id
            and last.kind != "resolved"
        ):
            self.changes[-1] = Change(last.kind, incident, last.at, last.verdicts + verdicts)
        else:
            self.changes.append(Change(kind, incident, at, verdicts))


def _opened(verdict: Verdict, mark: str, at: datetime) -> Incident:
    return Incident(
        id=_hash(mark, verdict.id),
        fingerprint=mark,
        service=verdict.service,
        state="open",
        severity=verdict.severity,
        title=_title(verdict),
        opened=at,
        updated=at,
        verdicts=1,
        worst=verdict,
    )


def _title(verdict: Verdict, also: Sequence[str] = ()) -> str:
    text = verdict.reasons[0].text if verdict.reasons else f"unusual activity in {verdict.service}"
    told = [*also[:_NAMED], *([f"{len(also) - _NAMED} other services"] if len(also) > _NAMED else [])]
    return f"{text} (also in {', '.join(told)})" if told else text


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
