"""Shows incidents as text where the program runs: for a first look, and where no service is configured."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from logad.contracts import Delivered, Notifier, Outcome, PartConfig, Rendering, RetryLater
from logad.types import Incident

_BAR: Final = "┃ "
_WAIT_SECONDS: Final = 5.0


class StdoutNotifier(Notifier):
    """Writes each message as a block with a bar at its left, through `write`."""

    name: ClassVar[str] = "stdout"

    def __init__(
        self, config: PartConfig, rendering: Rendering, write: Callable[[str], object] = sys.stdout.write
    ) -> None:
        super().__init__(config, rendering)
        self._write = write

    def render(self, incident: Incident, links: Mapping[str, str]) -> Mapping[str, Any]:
        """The incident as text."""
        return {"text": self.rendering.text("incident.txt.j2", [incident], links)}

    def digest(self, incidents: Sequence[Incident], links: Mapping[str, str]) -> Mapping[str, Any]:
        """The incidents as text, worst first."""
        return {"text": self.rendering.text("digest.txt.j2", incidents, links)}

    def deliver(self, message: Mapping[str, Any]) -> Outcome:
        """Write the message in one piece."""
        block = "".join(f"{_BAR}{line}".rstrip() + "\n" for line in str(message["text"]).splitlines())
        try:
            self._write(f"\n{block}\n")
        except (OSError, ValueError) as error:  # a closed pipe, a full disk, a closed stream
            return RetryLater(_WAIT_SECONDS, f"stdout: {type(error).__name__}")
        return Delivered()
