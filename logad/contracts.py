"""What each kind of part promises; `logad.testing` holds every registered part to it."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from logad.attribute_docs import attribute_docs
from logad.types import Buffer, Contribution, Incident, Verdict, WindowKind
from logad.windows import Windows

Scores = NDArray[np.float64]
State = dict[str, NDArray[Any]]
"""What a fitted part leaves behind: named arrays of numbers or text, never objects."""


class PartConfig(BaseModel):
    """The frozen configuration of one part; unknown keys and bad values are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @classmethod
    def descriptions(cls) -> dict[str, str]:
        """Field -> its `description`, or else the text under it, which is read only when asked for."""
        texts: dict[str, str] = {}
        for each in reversed(cls.__mro__):
            if issubclass(each, PartConfig):
                texts |= attribute_docs(each)
        told = {name: info.description or texts.get(name) for name, info in cls.model_fields.items()}
        return {name: text for name, text in told.items() if text}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        reference = handler(core_schema)
        fields = handler.resolve_ref_schema(reference).get("properties", {})
        for name, text in cls.descriptions().items():
            fields[name]["description"] = text
        return reference


class Detector(ABC):
    """One method's opinion of windows: higher is stranger, always; no threshold inside.

    Scores are finite, one per window; the windows are not written to; the same seed gives the same scores,
    also after `state` and `restored`; templates unseen at `fit` (codes at or above its vocabulary) and
    windows without events are survived.
    """

    name: ClassVar[str]
    kinds: ClassVar[frozenset[WindowKind]]
    Config: ClassVar[type[PartConfig]] = PartConfig

    def __init__(self, config: PartConfig, seed: int = 0) -> None:
        self.config = config
        self.seed = seed

    @abstractmethod
    def fit(self, windows: Windows) -> Self:
        """Learn what is normal from windows, which may hold a few anomalies."""

    @abstractmethod
    def score(self, windows: Windows) -> Scores:
        """How strange each window is, shape (windows,), in the method's own unit."""

    @abstractmethod
    def explain(self, windows: Windows, row: int) -> tuple[Contribution, ...]:
        """What made window `row` strange, heaviest first; empty where nothing did."""

    def remember(self, windows: Windows) -> None:  # noqa: B027  (most judge a window by itself)
        """Take judged windows as the past of those to come; scores are then as if both were given at once."""

    @abstractmethod
    def state(self) -> State:
        """What `fit` learned, as arrays."""

    @abstractmethod
    def restore(self, state: State) -> Self:
        """Take back what `state` gave, in place of `fit`."""


class Counters(Protocol):
    """What sources and sinks count (`telemetry.Telemetry` has it)."""

    bytes: int
    notes: Counter[str]


class Source(ABC):
    """Yields buffers of whole lines with cursors; resumed at a cursor, it loses and repeats nothing.

    It is made without touching what `spec` names: that it is missing or unreadable is an InputError of the
    first `read` or `follow`.
    """

    name: ClassVar[str]
    Config: ClassVar[type[PartConfig]] = PartConfig
    newest: Mapping[str, int] = MappingProxyType({})
    """The latest time of each stream so far, microseconds, told by who follows: of several streams that have
    something, the one that is furthest behind is read first."""

    def __init__(self, spec: str, config: PartConfig, telemetry: Counters) -> None:
        self.spec = spec
        self.config = config
        self.telemetry = telemetry

    @abstractmethod
    def read(self, cursors: Mapping[str, str]) -> Iterator[Buffer]:
        """What is there now, from the cursors (stream -> cursor) on; streams may alternate, each in order."""

    @abstractmethod
    def follow(self, cursors: Mapping[str, str]) -> Iterator[Buffer | None]:
        """What is there, then what is appended, for ever; None, about 5 a second, when nothing is new."""

    def close(self) -> None:  # noqa: B027  (most sources hold nothing)
        """Give back what is held open."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The service has taken the message; `reference` lets a later one update it where that is possible."""

    reference: str = ""


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The service may take the message later, not before `seconds`."""

    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The service will never take this message."""

    why: str


Outcome = Delivered | RetryLater | Refused


class Rendering(Protocol):
    """What a notifier asks of `logad.rendering.Renderer`: templates filled with incidents."""

    def text(self, template: str, incidents: Sequence[Incident], links: Mapping[str, str]) -> str:
        """What the template makes of the incidents."""
        ...

    def mapping(
        self, template: str, incidents: Sequence[Incident], links: Mapping[str, str]
    ) -> dict[str, Any]:
        """The JSON object that the template makes of the incidents."""
        ...


class Notifier(ABC):
    """Delivers what people read; says delivered, retry later or never; never shows a secret."""

    name: ClassVar[str]
    Config: ClassVar[type[PartConfig]] = PartConfig

    def __init__(self, config: PartConfig, rendering: Rendering) -> None:
        self.config = config
        self.rendering = rendering

    @abstractmethod
    def render(self, incident: Incident, links: Mapping[str, str]) -> Mapping[str, Any]:
        """The message for the incident in its present state, as JSON that the outbox can keep."""

    @abstractmethod
    def digest(self, incidents: Sequence[Incident], links: Mapping[str, str]) -> Mapping[str, Any]:
        """One message for several incidents (at least one), as JSON that the outbox can keep."""

    @abstractmethod
    def deliver(self, message: Mapping[str, Any]) -> Outcome:
        """Hand one rendered message to the service, once."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a sink did with some verdicts: `refused` maps a verdict's id to why it never will be stored."""

    stored: int
    refused: Mapping[str, str]


class Sink(ABC):
    """Stores every verdict under its id, first write wins: a replay changes nothing."""

    name: ClassVar[str]
    Config: ClassVar[type[PartConfig]] = PartConfig

    def __init__(self, config: PartConfig, telemetry: Counters) -> None:
        self.config = config
        self.telemetry = telemetry

    @abstractmethod
    def write(self, verdicts: Sequence[Verdict]) -> Written:
        """Store them all or say which are refused; raises DeliveryError where trying again can help."""

    def close(self) -> None:  # noqa: B027  (most sinks hold nothing)
        """Give back what is held open."""


class Clock(Protocol):
    """The wall clock as the program sees it; a simulation passes another."""

    def now(self) -> datetime:
        """The present moment, in UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait that long on this clock."""
        ...
