"""Posts an incident as JSON to an address, for services that take just that."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, SecretStr, field_validator

from logad.contracts import Delivered, Notifier, Outcome, PartConfig, Refused, Rendering, RetryLater
from logad.types import Incident, iso

TEXT_LIMIT = 500
WAIT_SECONDS = 30.0
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


class JsonPostConfig(PartConfig):
    """Where to post."""

    address: SecretStr
    """The address; whoever knows it can post there, so it is a secret."""
    timeout_seconds: float = Field(default=10.0, gt=0)
    """How long one call may take."""

    @field_validator("address")
    @classmethod
    def _is_web(cls, address: SecretStr) -> SecretStr:
        if not address.get_secret_value().startswith(("https://", "http://")):
            raise ValueError("expected https://...")
        return address


class JsonPostNotifier(Notifier):
    """One POST per incident, with what a program wants to know of it."""

    name: ClassVar[str] = "json_post"
    Config: ClassVar[type[PartConfig]] = JsonPostConfig

    def __init__(self, config: JsonPostConfig, rendering: Rendering) -> None:
        super().__init__(config, rendering)
        self._address = config.address.get_secret_value()
        self._timeout_seconds = config.timeout_seconds

    def render(self, incident: Incident, links: Mapping[str, str]) -> Mapping[str, Any]:
        """The incident in a few fields."""
        return {
            "id": incident.id,
            "state": incident.state,
            "severity": str(incident.severity),
            "service": _plain(incident.service),
            "title": _plain(incident.title),
            "opened": iso(incident.opened),
            "verdicts": incident.verdicts,
            "links": dict(links),
        }

    def digest(self, incidents: Sequence[Incident], links: Mapping[str, str]) -> Mapping[str, Any]:
        """The incidents in a list."""
        return {"incidents": [self.render(incident, links) for incident in incidents]}

    def deliver(self, message: Mapping[str, Any]) -> Outcome:
        """Post once; the answer's text is not repeated, for it may hold the address."""
        request = urllib.request.Request(  # noqa: S310  (the configuration allows http and https alone)
            self._address, json.dumps(message).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_seconds):  # noqa: S310  (as above)
                return Delivered()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in BUSY:
                asked = error.headers.get("Retry-After", "")
                return RetryLater(float(asked) if asked.isdecimal() else WAIT_SECONDS, f"HTTP {error.code}")
            return Refused(f"HTTP {error.code}; is the address right?")
        except OSError as error:
            return RetryLater(WAIT_SECONDS, f"not reached ({type(error).__name__})")


def _plain(text: str) -> str:
    """Text of a log without what could steer a terminal, cut to a length that any service takes."""
    shown = "".join(character if character.isprintable() else "\ufffd" for character in text[:TEXT_LIMIT])
    return shown + "…" if len(text) > TEXT_LIMIT else shown
