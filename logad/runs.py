"""A live run as its caller sees it: what it is told to do, and what it tells."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from logad.alerting import Config as AlertingConfig
from logad.detection import Overrides
from logad.durations import parse_duration
from logad.errors import InputError, UsageError
from logad.incidents import Change
from logad.incidents import Config as IncidentConfig
from logad.judge import JudgeConfig
from logad.options import Bound
from logad.redaction import Config as RedactionConfig
from logad.types import Verdict
from logad.windows import Windowing

BATCH_BYTES: Final = 32 << 20
"""So much is read, at most, before it is judged and made durable."""

EventKind = Literal["layout", "view", "learning", "learned", "verdict", "incident", "fault"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run, for whoever shows it."""

    kind: EventKind
    text: str
    verdict: Verdict | None = None
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Warmup:
    """What only teaches; without any of the three it is learned."""

    records: int | None = None
    seconds: float | None = None
    share: float | None = None  # of all records, where the sources are finite

    @property
    def asked(self) -> bool:
        """Whether the user said when to begin."""
        return self.records is not None or self.seconds is not None or self.share is not None

    @classmethod
    def parsed(cls, text: str | None) -> "Warmup":
        """What `--warmup` asks for.

        Raises:
            UsageError: it is neither records, nor time, nor a share.

        >>> Warmup.parsed("50%").share
        0.5
        """
        if text is None:
            return cls()
        number = text[:-1]
        if text.endswith("r") and number.isdecimal():
            return cls(records=int(number))
        if text.endswith("%") and number.replace(".", "", 1).isdecimal() and float(number) <= 100:  # noqa: PLR2004
            return cls(share=float(number) / 100)
        try:
            return cls(seconds=parse_duration(text))
        except ValueError:
            expected = "records (10000r), time (2h) or a share (50%)"
            raise UsageError("--warmup", repr(text), expected) from None


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What a run does; `follow` tells watch from backtest."""

    follow: bool
    overrides: Overrides = field(default_factory=Overrides)
    windowing: Windowing | None = None
    session_timeout_seconds: float | None = None  # None: learned, for each state of a session
    warmup: Warmup = Warmup()
    since: Bound | None = None  # an age counts from now where sources are followed, else from the last record
    until: Bound | None = None
    from_end: bool = False  # a first start passes over what is there
    until_idle_seconds: float | None = None
    dry_run: bool = False
    output: Path | None = None
    every: bool = False  # the output file holds all verdicts, not only anomalous ones
    seed: int = 0
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    incidents: IncidentConfig = field(default_factory=IncidentConfig)
    alerting: AlertingConfig = field(default_factory=AlertingConfig)
    redaction: RedactionConfig = field(default_factory=RedactionConfig)
    context: str = ""  # what else decides the verdicts: goes into their ids
    links: Mapping[str, str] = field(default_factory=dict)
    batch_bytes: int = BATCH_BYTES

    @property
    def patient(self) -> bool:
        """Whether each state of a session has a silence of its own that completes it."""
        asked = self.windowing.timeout_seconds if self.windowing is not None else None
        return asked is None and self.session_timeout_seconds is None


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """What a run came to; `per_day` is day -> tier -> incidents that people would have been told of."""

    windows: int
    anomalous: int
    incidents: int
    per_day: Mapping[str, Mapping[str, int]]
    views: tuple[Windowing, ...]
    faults: tuple[str, ...]  # what failed on the way: notifiers, sinks, sources
    unread: tuple[InputError, ...]  # sources that could not be read
