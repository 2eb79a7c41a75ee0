"""What one step of a live run changes, as frozen values; the ledger makes it durable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from logad.lineage import Descent
from logad.resting import Rested
from logad.types import Incident, Severity, Verdict
from logad.windows import Windows

OutboxState = Literal["pending", "delivered", "failed"]


@dataclass(frozen=True, slots=True)
class StreamState:
    """How far a stream was read: the source's cursor, the locked layout, the recorder's pending lines."""

    cursor: str
    layout: dict[str, Any]
    recorder: bytes


@dataclass(frozen=True, slots=True)
class Stretch:
    """Closed windows of a view to remember; `first` counts the view's windows from 0."""

    first: int
    windows: Windows
    anew: bool = False  # in place of all that was kept of the view


@dataclass(frozen=True, slots=True)
class Fit:
    """A judge was learned from the windows before `at`, with the first `vocabulary` templates known."""

    at: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class ViewState:
    """A view after a step: its open windows and how many windows it has closed in all."""

    state: bytes
    closed: int
    history: tuple[Stretch, ...] = ()
    fits: tuple[Fit, ...] = ()
    rested: Rested = field(default_factory=Rested)  # what changed in the sessions at rest


@dataclass(frozen=True, slots=True)
class Alert:
    """What was decided to send for an incident, whether or not anyone listens."""

    incident: str
    kind: str  # opened, worse, reopened, resolved
    tier: Severity
    time: datetime
    muted: bool = False
    digested: bool = False
    seq: int = 0


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A rendered message on its way; `reference` is what the service called the incident's last message."""

    notifier: str
    incident: str
    message: Mapping[str, Any]
    state: OutboxState = "pending"
    tries: int = 0
    not_before: datetime | None = None
    reference: str = ""
    why: str = ""
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """All that one step of the stream changes; it happens as a whole or not at all."""

    streams: Mapping[str, StreamState] = field(default_factory=dict)
    shapes: Sequence[tuple[str, int]] = ()  # new ones only, in order
    crowds: bytes = b""  # what the miner newly knows of words at places
    lineage: Sequence[Descent] = ()  # which templates newly gave way to which
    views: Mapping[str, ViewState] = field(default_factory=dict)
    verdicts: Sequence[tuple[str, Verdict]] = ()  # view, verdict
    incidents: Sequence[Incident] = ()
    members: Mapping[str, str] = field(default_factory=dict)  # verdict id -> incident id
    alerts: Sequence[Alert] = ()
    digested: Sequence[int] = ()  # alerts that a digest of this step tells
    outbox: Sequence[OutboxRow] = ()
    meta: Mapping[str, str] = field(default_factory=dict)
