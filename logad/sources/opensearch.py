"""Documents of OpenSearch indices, oldest first, each as one JSON line."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import SecretStr

from logad import opensearch_client
from logad.contracts import Counters, PartConfig, Source
from logad.errors import InputError
from logad.opensearch_client import Denied, Unavailable
from logad.types import Buffer

PAGE_DOCUMENTS: Final = 5000
POLL_SECONDS: Final = 0.2
_POLLS_PER_SEARCH: Final = 10  # an index refreshes once a second at most: ask every two
_KEEP_ALIVE: Final = "5m"


class OpenSearchConfig(PartConfig):
    """How to reach the cluster; user and password may stand in the URL instead."""

    user: str | None = None
    """Name for basic authentication."""
    password: SecretStr | None = None
    """Its password."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""


class OpenSearchSource(Source):
    """Reads every document once, in the order of `@timestamp`, `_id` and `_index`, inside a point in time.

    That order is total, so pages lose nothing where many documents share a time. A document without
    `@timestamp` comes first. The stream and source of buffers are the index pattern; a line is the compact
    JSON of the document with `_index` and `_id` put first; lines have no number.

    `follow` asks again from the last document on: one that is indexed later with an earlier time is not seen.

    Args:
        spec: `opensearch+http(s)://[USER:PASSWORD@]HOST:PORT/INDEX-PATTERN`.
        config: user, password, CA.
        telemetry: counts `bytes`; as a note `opensearch_unreachable`, searches of `follow` that failed after
            the first: it goes on where it was.
        sleep: waits between tries and polls.
    """

    name: ClassVar[str] = "opensearch"
    Config: ClassVar[type[PartConfig]] = OpenSearchConfig

    def __init__(
        self,
        spec: str,
        config: PartConfig,
        telemetry: Counters,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(opensearch_client.without_secrets(spec), config, telemetry)
        address = opensearch_client.address(spec.removeprefix("opensearch+"))
        if not address.path:
            raise InputError(self.spec, "names no index", "opensearch+http://HOST:PORT/INDEX-PATTERN")
        self._address = address
        self._pattern = address.path
        self._sleep = sleep
        self._client: Any = None

    def read(self, cursors: Mapping[str, str]) -> Iterator[Buffer]:
        """The documents that are there now, 5,000 a page."""
        yield from self._read_after(self._after(cursors))

    def follow(self, cursors: Mapping[str, str]) -> Iterator[Buffer | None]:
        """The documents that are there, then those with later times."""
        after = self._after(cursors)
        started = False
        while True:
            try:
                for buffer in self._read_after(after):
                    after = json.loads(buffer.cursor)
                    yield buffer
            except InputError:
                if not started:
                    raise
                self.telemetry.notes["opensearch_unreachable"] += 1
            started = True
            for _ in range(_POLLS_PER_SEARCH):
                yield None
                self._sleep(POLL_SECONDS)

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _after(self, cursors: Mapping[str, str]) -> list[Any] | None:
        cursor = cursors.get(self._pattern)
        if cursor is None:
            return None
        try:
            after = json.loads(cursor)
        except ValueError:
            after = None
        if not isinstance(after, list):
            raise InputError(self.spec, f"the cursor {cursor[:80]!r}", "a cursor that this source gave")
        return after

    def _read_after(self, after: list[Any] | None) -> Iterator[Buffer]:
        pit = self._ask(lambda: self._connected().create_pit(index=self._pattern, params=_PIT_OPTIONS))[
            "pit_id"
        ]
        try:
            while True:
                page = self._ask(lambda: self._connected().search(body=_query(pit, after)))  # noqa: B023
                self._refuse_partial(page)
                pit = page.get("pit_id", pit)
                documents = page["hits"]["hits"]
                if not documents:
                    return
                after = documents[-1]["sort"]
                yield self._buffer(documents)
        finally:
            with suppress(Denied, Unavailable):  # it ends by itself after its keep-alive
                opensearch_client.ask(lambda: self._connected().delete_pit(body={"pit_id": [pit]}))

    def _buffer(self, documents: list[dict[str, Any]]) -> Buffer:
        data = b"".join(map(_line, documents))
        self.telemetry.bytes += len(data)
        cursor = json.dumps(documents[-1]["sort"], separators=(",", ":"))
        return Buffer(self._pattern, self._pattern, data, 0, cursor, final=True)

    def _refuse_partial(self, page: Mapping[str, Any]) -> None:
        shards = page.get("_shards", {})
        if page.get("timed_out") or shards.get("failed"):
            raise InputError(
                self.spec,
                f"{shards.get('failed', 0)} of {shards.get('total', 0)} shards did not answer",
                "all of them",
                "look at the health of the cluster",
            )

    def _connected(self) -> Any:  # noqa: ANN401  (OpenSearch's client)
        if self._client is None:
            config = self.config
            assert isinstance(config, OpenSearchConfig)
            password = config.password.get_secret_value() if config.password else None
            self._client = opensearch_client.connect(self._address, config.user, password, config.ca_file)
        return self._client

    def _ask(self, call: Callable[[], Any]) -> Any:  # noqa: ANN401  (OpenSearch's JSON)
        try:
            return opensearch_client.patiently(call, self._sleep)
        except Unavailable as error:
            raise InputError(
                self.spec,
                f"not reached ({error})",
                "an OpenSearch that answers",
                "check host, port and network",
            ) from None
        except Denied as error:
            advice = _ADVICE.get(error.status, "check the URL")
            raise InputError(self.spec, str(error), "an index that may be read", advice) from None


_PIT_OPTIONS: Final = {
    "keep_alive": _KEEP_ALIVE,
    "allow_partial_pit_creation": "false",
    "allow_no_indices": "false",
}
_ADVICE: Final = {
    0: "give the CA as sources.opensearch.ca_file",
    401: "check user and password",
    403: "ask for the right to read this index",
    404: "check the name of the index",
}


def _query(pit: str, after: list[Any] | None) -> dict[str, Any]:
    body: dict[str, Any] = {
        "size": PAGE_DOCUMENTS,
        "query": {"match_all": {}},
        "pit": {"id": pit, "keep_alive": _KEEP_ALIVE},
        "sort": [
            {"@timestamp": {"order": "asc", "unmapped_type": "date", "missing": "_first"}},
            {"_id": "asc"},
            {"_index": "asc"},
        ],
        "track_total_hits": False,
    }
    if after is not None:
        body["search_after"] = after
    return body


def _line(document: Mapping[str, Any]) -> bytes:
    named = {"_index": document["_index"], "_id": document["_id"]}
    source = {key: value for key, value in document.get("_source", {}).items() if key not in named}
    return (json.dumps(named | source, ensure_ascii=False, separators=(",", ":")) + "\n").encode(
        "utf-8", "replace"
    )
