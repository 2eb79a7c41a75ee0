"""What a user can set, as one frozen type; each part keeps its own `Config` beside itself."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

import polars as pl
from pydantic import AfterValidator, Field, PositiveInt, SerializeAsAny, model_validator

from logad.alerting import Config as AlertingConfig
from logad.contracts import PartConfig
from logad.durations import format_duration, parse_duration
from logad.incidents import Config as IncidentsConfig
from logad.redaction import Config as RedactionConfig


def _duration(value: str) -> str:
    seconds = parse_duration(value)
    if seconds <= 0:
        raise ValueError(f"found {value!r}; expected a duration longer than nothing")
    text = format_duration(seconds)
    return text if parse_duration(text) == seconds else f"{seconds:.3f}s"


def _expression(value: str) -> str:
    try:
        pl.select(pl.lit("").str.extract_all(value))
    except pl.exceptions.ComputeError as error:
        why = next((line for line in str(error).splitlines() if line.startswith("error: ")), "error: unclear")
        found = f"found {value!r} ({why.removeprefix('error: ')})"
        raise ValueError(f"{found}; expected a regular expression without look-around") from None
    return value


Duration = Annotated[str, AfterValidator(_duration)]
"""A duration as people write it; equal ones are equal texts."""
Expression = Annotated[str, AfterValidator(_expression)]


class ReadingSettings(PartConfig):
    """How lines become records, where the detection guesses wrong."""

    time_format: str | None = Field(default=None, examples=["%Y-%m-%d %H:%M:%S,%3f"])
    """How a record's time is written, in the signs of strftime."""
    timezone: str = "UTC"
    """The zone of times that name none."""
    message_field: str | None = Field(default=None, examples=["message"])
    """The field of a JSON record that holds the message."""
    service_field: str | None = Field(default=None, examples=["service.name"])
    """The field of a JSON record that names the service."""
    multiline: Expression | None = Field(default=None, examples=[r"^\d{4}-"])
    """What the first line of a record looks like."""
    encoding: str | None = Field(default=None, examples=["utf-8"])
    """The encoding of the text."""


class WindowSettings(PartConfig):
    """What is judged at a time; chosen from the data where nothing is set. Four exclude each other."""

    window: Duration | None = Field(default=None, examples=["5m"])
    """Windows of time per service."""
    window_records: PositiveInt | None = Field(default=None, examples=[100])
    """Windows of so many records."""
    session_regex: Expression | None = Field(default=None, examples=[r"blk_-?\d+"])
    """One window per session: the first group, or the whole match, is its key."""
    session_field: str | None = Field(default=None, examples=["request_id"])
    """One window per session: the field that holds its key."""
    session_timeout: Duration | None = Field(default=None, examples=["60s"])
    """Silence after which a session is complete (`watch`, `backtest`); learned where nothing is set."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        names = ("window", "window_records", "session_regex", "session_field")
        chosen = [name for name in names if getattr(self, name) is not None]
        if len(chosen) > 1:
            raise ValueError(f"found {' and '.join(chosen)}; expected at most one of them")
        return self


class PartChoice(PartConfig):
    """One notifier or sink."""

    type: str
    """The name of the part."""
    config: SerializeAsAny[PartConfig]
    """Its options."""


class Settings(PartConfig):
    """Everything that can be set; a file, the environment and defaults make one."""

    sources: tuple[str, ...] = ()
    """What `watch` reads where the command line names nothing: paths, globs, folders, addresses."""
    source_options: Mapping[str, SerializeAsAny[PartConfig]] = Field(default_factory=dict)
    """The options of each kind of source."""
    reading: ReadingSettings = ReadingSettings()
    windows: WindowSettings = WindowSettings()
    detectors: Mapping[str, SerializeAsAny[PartConfig] | None] = Field(default_factory=dict)
    """The options of detectors; false switches one off."""
    incidents: IncidentsConfig = IncidentsConfig()
    alerting: AlertingConfig = AlertingConfig()
    notifiers: tuple[PartChoice, ...] = ()
    """Where incidents are told."""
    sinks: tuple[PartChoice, ...] = ()
    """Where every verdict is stored, beside the ledger."""
    rules: tuple[Path, ...] = ()
    """Folders of rules, beside the shipped ones."""
    templates: tuple[Path, ...] = ()
    """Folders of message templates; a file there replaces the shipped one of its name."""
    redaction: RedactionConfig = RedactionConfig()
    state_dir: Path = Field(examples=["~/.local/state/logad"])
    """Where models, ledger, incidents and outbox live."""


_JUDGING: Final = ("reading", "windows", "detectors")


def digest(settings: Settings) -> str:
    """A hash of the settings that influence verdicts: reading, windows, detectors; rules have their own.

    Naming a default changes nothing, and neither does what is only sent, stored or redacted.

    >>> quiet = Settings(state_dir=Path("a"))
    >>> digest(quiet) == digest(Settings(state_dir=Path("b"), windows=WindowSettings(window=None)))
    True
    >>> digest(quiet) == digest(Settings(state_dir=Path("a"), windows=WindowSettings(window="5m")))
    False
    """
    judging: dict[str, Any] = {}
    for name in _JUDGING[:2]:
        judging[name] = getattr(settings, name).model_dump(mode="json", exclude_defaults=True)
    for name, config in sorted(settings.detectors.items()):
        changed = False if config is None else config.model_dump(mode="json", exclude_defaults=True)
        if changed != {}:
            judging.setdefault("detectors", {})[name] = changed
    text = json.dumps(judging, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
