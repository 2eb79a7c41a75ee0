"""The frozen types that travel between the stages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any, Final, Literal

import polars as pl

VERDICT_SCHEMA: Final = "logad.verdict/1"

RECORD_SCHEMA: Final[dict[str, pl.DataType]] = {
    "time": pl.Datetime("us", "UTC"),  # null where the record has none
    "service": pl.String(),  # never null; the stream's stem where nothing better is known
    "level": pl.UInt8(),  # a Level
    "text": pl.String(),  # the message without its header; a stack trace is part of it, after newlines
    "raw": pl.String(),  # the whole record as it stood in the source
    "stream": pl.String(),  # the stream it came from: `x.log` and its rotations are one
    "source": pl.String(),  # the file (or index) it stands in, as evidence names it
    "line": pl.Int64(),  # first physical line in `source`, from 1; 0 where a source has no lines
    "lines": pl.UInt32(),  # how many physical lines it spans
    "document": pl.String(),  # `_id` where the source has documents instead of lines; else null
}
"""Columns of a frame of records. Mining adds `template`: Int32, the code of its template."""


class Level(IntEnum):
    """What a log record says of its own gravity."""

    UNKNOWN = 0
    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4
    FATAL = 5


class Severity(StrEnum):
    """How far a window's score reaches: a property of the window, whatever is sent."""

    PAGE = "page"
    DIGEST = "digest"
    INDEX = "index"
    NONE = "none"

    @staticmethod
    def of(score: float) -> "Severity":
        """The tier of a score in 0..1.

        >>> [str(Severity.of(score)) for score in (0.5, 0.51, 0.71, 0.91)]
        ['none', 'index', 'digest', 'page']
        """
        if score > 0.9:  # noqa: PLR2004  (the tiers are a promise of the interface)
            return Severity.PAGE
        if score > 0.7:  # noqa: PLR2004
            return Severity.DIGEST
        return Severity.INDEX if score > 0.5 else Severity.NONE  # noqa: PLR2004


class WindowKind(StrEnum):
    """What makes a window."""

    SESSION = "session"
    TIME = "time"
    RECORDS = "records"


class AnomalyType(StrEnum):
    """One odd record, odd for its circumstances, or odd together."""

    POINT = "point"
    CONTEXTUAL = "contextual"
    COLLECTIVE = "collective"


@dataclass(frozen=True, slots=True)
class Buffer:
    """Bytes of one stream: whole lines, save that the last one may lack its newline when `final`."""

    stream: str
    source: str
    data: bytes
    first_line: int  # physical number of its first line, from 1; 0 where the source has no lines
    cursor: str  # opaque to all but the source: reading resumes after this buffer
    final: bool = False  # nothing follows in this file: its last line is complete
    modified: datetime | None = None  # when its file last changed
    dropped: Mapping[str, int] = field(default_factory=dict)  # what the source itself gave up, by reason


@dataclass(frozen=True, slots=True)
class Template:
    """The constant part of a log message."""

    code: int  # its column in this run's count matrices
    template_id: str  # a hash of the canonical text: equal text, equal id, everywhere
    text: str
    severity: int  # 0 informational, 1 says nothing, 2 warns, 3 reports an error
    alarming: bool = False  # an error by its level and by its words too


@dataclass(frozen=True, slots=True)
class Evidence:
    """A raw line that proves a reason."""

    source: str
    line: int | None
    text: str
    document: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As the verdict schema writes it: a line, or `_index` and `_id` where there are no lines."""
        if self.document is not None:
            return {"_index": self.source, "_id": self.document, "text": self.text}
        return {"source": self.source, "line": self.line, "text": self.text}


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one fact adds to a detector's score of one window."""

    weight: float  # signed; positive makes the window stranger
    text: str  # a sentence a newcomer understands
    type: AnomalyType
    template: int | None = None  # code; None where the fact is not about one template
    expected: str = ""
    actual: str = ""
    events: tuple[int, ...] = ()  # positions in the window, from 0, that prove it


@dataclass(frozen=True, slots=True)
class Reason:
    """A contribution told in words, with the lines that prove it."""

    detector: str
    type: AnomalyType
    text: str
    template_id: str | None
    template: str | None
    expected: str
    actual: str
    evidence: tuple[Evidence, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As the verdict schema writes it."""
        return {
            "detector": self.detector,
            "type": str(self.type),
            "text": self.text,
            "template_id": self.template_id,
            "template": self.template,
            "expected": self.expected,
            "actual": self.actual,
            "evidence": [evidence.as_dict() for evidence in self.evidence],
        }


@dataclass(frozen=True, slots=True)
class WindowRef:
    """Where a verdict's window lies."""

    kind: WindowKind
    key: str | None
    start: datetime | None
    end: datetime | None
    first_line: int | None
    last_line: int | None
    records: int
    index: int | None = None
    revision: int = 0

    def as_dict(self) -> dict[str, Any]:
        """As the verdict schema writes it."""
        return {
            "kind": str(self.kind),
            "key": self.key,
            "index": self.index,
            "revision": self.revision,
            "start": iso(self.start),
            "end": iso(self.end),
            "first_line": self.first_line,
            "last_line": self.last_line,
            "records": self.records,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """The calibrated outcome for one window."""

    id: str
    service: str
    window: WindowRef
    learning: bool
    score: float  # 0..1; above 0.5 is anomalous
    tail_probability: float  # how often a normal window is at least as strange
    detectors: Mapping[str, float]
    reasons: tuple[Reason, ...]
    model_id: str | None = None
    model_version: int | None = None

    @property
    def severity(self) -> Severity:
        """The tier of the score; a window that only teaches has none."""
        return Severity.NONE if self.learning else Severity.of(self.score)

    @property
    def anomalous(self) -> bool:
        """Whether the score passes the cut."""
        return self.severity is not Severity.NONE

    def as_dict(self) -> dict[str, Any]:
        """The verdict as `--format jsonl` writes it, keys in the order of the interface."""
        window = self.window.as_dict()
        if self.learning:
            del window["index"]
        model = {"id": self.model_id, "version": self.model_version} if self.model_id else None
        return {
            "schema": VERDICT_SCHEMA,
            "id": self.id,
            "service": self.service,
            "window": window,
            "learning": self.learning,
            "anomalous": self.anomalous,
            "score": round(self.score, 4),
            "severity": str(self.severity),
            "tail_probability": float(f"{self.tail_probability:.3g}"),
            "detectors": {name: round(score, 4) for name, score in self.detectors.items()},
            "reasons": [reason.as_dict() for reason in self.reasons],
            "model": model,
        }


IncidentState = Literal["open", "resolved", "muted"]


@dataclass(frozen=True, slots=True)
class Incident:
    """Verdicts that belong together."""

    id: str
    fingerprint: str  # what makes verdicts belong together: service and top reason
    service: str
    state: IncidentState
    severity: Severity  # the worst so far
    title: str  # the top reason in words
    opened: datetime
    updated: datetime
    verdicts: int  # how many verdicts it holds
    worst: Verdict  # the strangest of them
    also: tuple[str, ...] = ()  # other services that said the same when it began


def iso(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with milliseconds.

    >>> iso(datetime(2008, 11, 9, 20, 35, 18, tzinfo=UTC))
    '2008-11-09T20:35:18.000Z'
    """
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
