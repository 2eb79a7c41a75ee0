"""OpenSearch as a source and as a sink, against a real server."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import pytest
from opensearchpy import OpenSearch

from logad import opensearch_client
from logad.errors import DeliveryError, InputError
from logad.sinks.opensearch import OpenSearchSink, OpenSearchSinkConfig
from logad.sources import open_sources
from logad.telemetry import Telemetry
from logad.types import AnomalyType, Evidence, Reason, Verdict, WindowKind, WindowRef

START = 1_700_000_000_000
DOCUMENTS = 20_000


def verdict(number):
    moment = datetime(2024, 1, 1, 0, number % 60, tzinfo=UTC)
    window = WindowRef(WindowKind.TIME, None, moment, moment, 1, 9, 9, index=number)
    evidence = Evidence("app.log", 3, "error <script> \ud800")
    reason = Reason("volume", AnomalyType.POINT, "more than ever", "t1", "error <*>", "0", "9", (evidence,))
    return Verdict(f"id{number:06}", "shop", window, False, 0.95, 1e-5, {"volume": 0.95}, (reason,))


def source(url, pattern, telemetry=None, sleep=lambda _: None):
    (opened,), faults = open_sources([f"opensearch+{url}/{pattern}"], telemetry or Telemetry())
    assert not faults
    opened._sleep = sleep
    return opened


def documents(buffers):
    return [json.loads(line) for buffer in buffers if buffer for line in buffer.data.splitlines()]


def sink(url, index, telemetry=None, sleep=lambda _: None):
    config = OpenSearchSinkConfig(url=url, index=index)
    return OpenSearchSink(config, telemetry or Telemetry(), sleep=sleep)


def bulk(client, rows):
    for start in range(0, len(rows), 5000):
        body = "".join(json.dumps(part) + "\n" for row in rows[start : start + 5000] for part in row)
        assert not client.bulk(body=body, refresh=True)["errors"]


@pytest.fixture(scope="module", params=["2", "3"])
def url(request, start_opensearch):
    return start_opensearch(request.param)


@pytest.fixture(scope="module")
def client(url):
    opened = OpenSearch(url)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def logs(client):
    """20,000 documents in two indices of three shards, with only 40 times; the indices share ids; 10 have no time."""
    for index in ("logs-a", "logs-b"):
        client.indices.create(
            index=index, body={"settings": {"number_of_shards": 3, "number_of_replicas": 0}}
        )
    rows = []
    for number in range(DOCUMENTS):
        document = {"message": f"line {number} ä"}
        if number % 2000:
            document["@timestamp"] = START + number // 500
        index = ("logs-a", "logs-b")[number % 2]
        rows.append(({"index": {"_index": index, "_id": str(number // 2)}}, document))
    bulk(client, rows)
    return "logs-*"


@pytest.mark.server
def test_documents_with_equal_times_all_come_exactly_once_in_order(url, logs):
    telemetry = Telemetry()
    buffers = list(source(url, logs, telemetry).read({}))
    got = documents(buffers)
    assert len(got) == DOCUMENTS
    assert len({(row["_index"], row["_id"]) for row in got}) == DOCUMENTS
    assert sorted(row["message"] for row in got) == sorted(f"line {number} ä" for number in range(DOCUMENTS))
    times = [row.get("@timestamp", 0) for row in got]
    assert times == sorted(times)
    assert [list(row)[:2] for row in got[:3]] == [["_index", "_id"]] * 3
    assert {(buffer.stream, buffer.first_line, buffer.final) for buffer in buffers} == {(logs, 0, True)}
    assert telemetry.bytes == sum(len(buffer.data) for buffer in buffers)


@pytest.mark.server
@pytest.mark.parametrize("stop", [1, 2, 4])
def test_reading_resumes_mid_way(url, logs, stop):
    first = list(source(url, logs).read({}))[:stop]
    rest = list(source(url, logs).read({logs: first[-1].cursor}))
    seen = Counter((row["_index"], row["_id"]) for row in documents(first + rest))
    assert len(seen) == DOCUMENTS
    assert set(seen.values()) == {1}


@pytest.mark.server
def test_a_follower_sees_later_documents_and_outlives_an_absent_index(url, client):
    row = ({"index": {"_index": "live", "_id": "1"}}, {"@timestamp": START})
    bulk(client, [row])
    telemetry = Telemetry()
    buffers = source(url, "live", telemetry).follow({})
    assert documents([next(buffers)])[0]["_id"] == "1"
    assert [next(buffers) for _ in range(5)] == [None] * 5
    bulk(client, [({"index": {"_index": "live", "_id": "2"}}, {"@timestamp": START + 1})])
    assert documents(next(buffers) for _ in range(11)) == [
        {"_index": "live", "_id": "2", "@timestamp": START + 1}
    ]
    client.indices.delete(index="live")
    assert documents(next(buffers) for _ in range(21)) == []
    assert telemetry.notes["opensearch_unreachable"] >= 1


@pytest.mark.server
def test_no_point_in_time_is_left_behind(url, client, logs):
    reading = source(url, logs).read({})
    next(reading)
    reading.close()
    assert client.get_all_pits()["pits"] == []


@pytest.mark.server
@pytest.mark.parametrize("pattern", ["absent", "absent-*"])
def test_an_absent_index_is_an_error_that_says_what_to_do(url, pattern):
    with pytest.raises(InputError, match="check the name of the index"):
        list(source(url, pattern).read({}))


@pytest.mark.server
def test_verdicts_are_stored_under_their_ids_and_a_replay_changes_nothing(url, client):
    verdicts = [verdict(number) for number in range(300)]
    store = sink(url, "logad-verdicts")
    assert (store.write(verdicts).stored, store.write(verdicts).stored) == (300, 300)
    changed = [replace(one, score=0.1) for one in verdicts]
    store.close()
    again = sink(url, "logad-verdicts")
    assert again.write([*changed, verdict(300)]).refused == {}
    again.close()
    client.indices.refresh(index="logad-verdicts")
    found = client.search(index="logad-verdicts", body={"size": 1000})["hits"]["hits"]
    assert len(found) == 301
    assert all(hit["_id"] == hit["_source"]["id"] for hit in found)
    assert {hit["_source"]["score"] for hit in found} == {0.95}
    assert {
        hit["_version"]
        for hit in client.search(index="logad-verdicts", body={"version": True})["hits"]["hits"]
    } == {1}
    mapping = client.indices.get_mapping(index="logad-verdicts")["logad-verdicts"]["mappings"]
    assert mapping["properties"]["window"]["properties"]["start"]["type"] == "date"
    assert mapping["dynamic"] == "false"


@pytest.mark.server
def test_a_partly_failed_bulk_is_told_item_by_item(url, client):
    mappings = {"properties": {"service": {"type": "integer"}}}
    client.indices.create(index="own-mapping", body={"mappings": mappings})
    good = [replace(verdict(number), service=str(number)) for number in range(5)]
    bad = [verdict(number) for number in (7, 8)]
    store = sink(url, "own-mapping")
    written = store.write([*good[:2], bad[0], *good[2:], bad[1]])
    store.close()
    assert written.stored == 5
    assert set(written.refused) == {"id000007", "id000008"}
    assert all("service" in why and "400" in why for why in written.refused.values())
    client.indices.refresh(index="own-mapping")
    assert client.count(index="own-mapping")["count"] == 5


@pytest.mark.server
def test_a_busy_cluster_is_tried_again_then_told(start_opensearch):
    url = start_opensearch("2", "indexing_pressure.memory.limit=20kb")
    slept = []
    store = sink(url, "logad-verdicts", sleep=slept.append)
    with pytest.raises(DeliveryError, match="HTTP 429"):
        store.write([verdict(number) for number in range(200)])
    assert slept == opensearch_client.pauses()
    assert store.write([verdict(0)]).stored == 1
    store.close()


class Busy:
    """A client whose bulk refuses one more item less each time."""

    def __init__(self):
        self.bodies = []

    def bulk(self, body):
        ids = [json.loads(line)["create"]["_id"] for line in body.splitlines()[::2]]
        self.bodies.append(ids)
        statuses = [201] + [429] * (len(ids) - 1)
        return {"items": [{"create": {"_id": i, "status": s}} for i, s in zip(ids, statuses, strict=True)]}


def test_items_that_are_refused_for_now_are_sent_again_alone():
    telemetry, slept = Telemetry(), []
    store = sink("http://127.0.0.1:1", "any", telemetry, slept.append)
    store._client = Busy()
    assert store.write([verdict(number) for number in range(3)]).stored == 3
    assert store._client.bodies == [
        ["id000000", "id000001", "id000002"],
        ["id000001", "id000002"],
        ["id000002"],
    ]
    assert slept == [0.25, 0.5]
    assert telemetry.notes["opensearch_retried"] == 3


class Answers(BaseHTTPRequestHandler):
    """A server that gives one status after the other, the last for ever."""

    statuses: ClassVar[list[int]] = []

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.statuses[0] if len(self.statuses) == 1 else self.statuses.pop(0))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"pit_id": "p", "hits": {"hits": []}, "error": {"reason": "because"}}')

    do_DELETE = do_POST  # noqa: N815  (the base class calls it so)

    def log_message(self, *_):
        pass


@pytest.fixture
def answers():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def at(*statuses):
        Answers.statuses = list(statuses)
        return f"http://me:s3cret@127.0.0.1:{server.server_port}"

    yield at
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "user and password"), (403, "right"), (404, "name of the index")]
)
def test_what_will_never_work_is_told_at_once(answers, status, advice):
    slept = []
    reading = source(answers(status), "logs", sleep=slept.append)
    with pytest.raises(InputError, match=f"HTTP {status}: because.*{advice}") as caught:
        list(reading.read({}))
    reading.close()
    assert slept == []
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_cluster_is_asked_again_with_growing_pauses(answers, status):
    slept = []
    reading = source(answers(status, status, 200), "logs", sleep=slept.append)
    assert list(reading.read({})) == []
    reading.close()
    assert slept == [0.25, 0.5]


def test_a_cluster_that_is_not_there_is_told_without_the_password():
    address = "http://me:s3cret@127.0.0.1:1"
    reading = source(address, "logs")
    with pytest.raises(InputError, match="connection refused") as caught:
        list(reading.read({}))
    store = sink(address, "logs")
    with pytest.raises(DeliveryError, match="connection refused") as told:
        store.write([verdict(1)])
    shown = [str(caught.value), str(told.value), repr(store.config), reading.spec, repr(reading._address)]
    assert not any("s3cret" in text for text in shown)
    assert caught.value.__cause__ is told.value.__cause__ is None


@pytest.mark.parametrize(
    "spec",
    ["opensearch+http://me:s3cret@host:9200", "opensearch+http://me:s3cret@host:port/x", "opensearch:x"],
)
def test_a_wrong_url_is_an_error_without_the_password(spec):
    opened, (fault,) = open_sources([spec], Telemetry())
    assert opened == []
    assert "s3cret" not in str(fault)
    assert "opensearch+http" in str(fault) or "HOST:PORT" in str(fault)
