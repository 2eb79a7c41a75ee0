"""Stores verdicts in an OpenSearch index, each under its own id."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import SecretStr

from logad import opensearch_client
from logad.contracts import Counters, PartConfig, Sink, Written
from logad.errors import DeliveryError
from logad.opensearch_client import Denied, Unavailable
from logad.types import Verdict

BULK_BYTES: Final = 5 << 20
_CONFLICT: Final = 409  # the id is there already: the first write wins
_TEXT: Final = {"type": "text"}
_KEYWORD: Final = {"type": "keyword", "ignore_above": 1024}
_DATE: Final = {"type": "date"}
_LONG: Final = {"type": "long"}

MAPPINGS: Final[dict[str, Any]] = {
    "dynamic": False,  # what is not named is kept and shown, and can never conflict
    "properties": {
        "@timestamp": _DATE,
        "schema": _KEYWORD,
        "id": _KEYWORD,
        "service": _KEYWORD,
        "window": {
            "properties": {
                "kind": _KEYWORD,
                "key": _KEYWORD,
                "index": _LONG,
                "revision": {"type": "integer"},
                "start": _DATE,
                "end": _DATE,
                "first_line": _LONG,
                "last_line": _LONG,
                "records": _LONG,
            }
        },
        "learning": {"type": "boolean"},
        "anomalous": {"type": "boolean"},
        "score": {"type": "float"},
        "severity": _KEYWORD,
        "tail_probability": {"type": "double"},
        "detectors": {"type": "object", "enabled": False},
        "reasons": {
            "properties": {
                "detector": _KEYWORD,
                "type": _KEYWORD,
                "text": _TEXT,
                "template_id": _KEYWORD,
                "template": _TEXT,
                "evidence": {"type": "object", "enabled": False},
            }
        },
        "model": {"properties": {"id": _KEYWORD, "version": {"type": "integer"}}},
    },
}


class OpenSearchSinkConfig(PartConfig):
    """Where verdicts are stored."""

    url: SecretStr
    """http(s)://[USER:PASSWORD@]HOST:PORT"""
    index: str = "logad-verdicts"
    """The index, made on first use by a template of the same name."""
    user: str | None = None
    """Name for basic authentication."""
    password: SecretStr | None = None
    """Its password."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""


class OpenSearchSink(Sink):
    """Bulk `create` with the verdict's id: what is there already stays, so a replay changes nothing.

    Args:
        config: where and who.
        telemetry: as a note, `opensearch_retried` counts verdicts that were sent again.
        sleep: waits between tries.
    """

    name: ClassVar[str] = "opensearch"
    Config: ClassVar[type[PartConfig]] = OpenSearchSinkConfig

    def __init__(
        self, config: PartConfig, telemetry: Counters, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        super().__init__(config, telemetry)
        assert isinstance(config, OpenSearchSinkConfig)
        self._config = config
        self._index = config.index
        self._address = opensearch_client.address(config.url.get_secret_value())
        self._client: Any = None
        self._sleep = sleep

    def write(self, verdicts: Sequence[Verdict]) -> Written:
        """Store the verdicts; `stored` counts those that were there already too.

        Raises:
            DeliveryError: the cluster cannot be reached, or stays too busy; what was stored stays.
        """
        if self._client is None:
            config = self._config
            password = config.password.get_secret_value() if config.password else None
            self._client = opensearch_client.connect(self._address, config.user, password, config.ca_file)
            self._ask(self._prepare)
        refused: dict[str, str] = {}
        for bulk in _bulks(verdicts, self._index):
            refused |= self._store(bulk)
        return Written(len({verdict.id for verdict in verdicts}) - len(refused), refused)

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _prepare(self) -> None:
        if not self._client.indices.exists_index_template(name=self._index):
            self._client.indices.put_index_template(
                name=self._index,
                body={
                    "index_patterns": [self._index],
                    "priority": 200,
                    "template": {"mappings": MAPPINGS, "settings": {"auto_expand_replicas": "0-1"}},
                },
            )

    def _store(self, waiting: dict[str, bytes]) -> dict[str, str]:
        """Send until each is stored or refused; gives the refused with the reason."""
        refused: dict[str, str] = {}
        for pause in [*opensearch_client.pauses(), None]:
            answer = self._ask(lambda: self._client.bulk(body=b"".join(waiting.values())))  # noqa: B023
            busy: dict[str, bytes] = {}
            for item in answer["items"]:
                outcome = item["create"]
                status, verdict_id = outcome["status"], outcome["_id"]
                if opensearch_client.busy(status):
                    busy[verdict_id] = waiting[verdict_id]
                elif status >= 300 and status != _CONFLICT:  # noqa: PLR2004  (HTTP's own)
                    refused[verdict_id] = _why(outcome)
            waiting = busy
            if not waiting:
                return refused
            self.telemetry.notes["opensearch_retried"] += len(waiting)
            if pause is not None:
                self._sleep(pause)
        raise DeliveryError(
            self._where(),
            f"too busy to take {len(waiting)} verdicts",
            "a cluster that takes them",
            "try later",
        )

    def _ask(self, call: Callable[[], Any]) -> Any:  # noqa: ANN401  (OpenSearch's JSON)
        try:
            return opensearch_client.patiently(call, self._sleep)
        except Unavailable as error:
            raise DeliveryError(
                self._where(),
                f"not reached ({error})",
                "an OpenSearch that answers",
                "check host and network",
            ) from None
        except Denied as error:
            raise DeliveryError(
                self._where(), str(error), "the right to write", "check user, password and CA"
            ) from None

    def _where(self) -> str:
        return f"{self._address.url}/{self._index}"


def _bulks(verdicts: Sequence[Verdict], index: str) -> list[dict[str, bytes]]:
    """The lines of each verdict by its id, in portions that a cluster takes."""
    bulks: list[dict[str, bytes]] = [{}]
    size = 0
    for verdict in verdicts:
        action = {"create": {"_index": index, "_id": verdict.id}}
        document = verdict.as_dict()
        document["@timestamp"] = document["window"]["end"]
        lines = "".join(json.dumps(part, ensure_ascii=False) + "\n" for part in (action, document))
        data = lines.encode("utf-8", "replace")
        if size + len(data) > BULK_BYTES and bulks[-1]:
            bulks.append({})
            size = 0
        bulks[-1].setdefault(verdict.id, data)
        size += len(data)
    return [bulk for bulk in bulks if bulk]


def _why(outcome: dict[str, Any]) -> str:
    error = outcome.get("error", {})
    cause = error.get("caused_by", {}).get("reason", "")
    return f"HTTP {outcome['status']}: {error.get('reason', 'refused')}" + (f" ({cause})" if cause else "")
