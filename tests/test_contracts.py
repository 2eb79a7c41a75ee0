"""Every registered part is held to every promise of its kind."""

import gzip
import importlib.util
import json
import os
import socketserver
import sqlite3
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr

from logad import opensearch_client, registry
from logad.contracts import Delivered, PartConfig, Refused
from logad.notify.email import EmailNotifier
from logad.notify.slack import SlackNotifier
from logad.notify.stdout import StdoutNotifier
from logad.rendering import Renderer
from logad.sinks.jsonl import JsonlSink
from logad.sinks.opensearch import OpenSearchSink
from logad.sinks.sqlite import SqliteSink
from logad.sources.file import FileSource
from logad.sources.opensearch import OpenSearchSource
from logad.sources.stdin import StdinSource
from logad.telemetry import Telemetry
from logad.testing import ContractBroken
from logad.testing.detectors import PROMISES, Subject, check_detector, detector_checks
from logad.testing.notifiers import HttpService, NotifierCase, notifier_checks
from logad.testing.sinks import SinkCase, sink_checks
from logad.testing.sources import SourceCase, source_checks
from logad.types import WindowKind

NO_LIMIT = 10_000_000  # mail and a terminal take any length; this says so
NO_SERVICE = "it speaks to no service"
ONCE = "a pipe can be read once; nothing is there to go back to"
SERVER = "it needs a real server: the tests at the end of this file start one"
EXEMPT = {
    # (part, promise or * for all of them): why
    ("stdin", "resuming_at_any_cursor_neither_loses_nor_repeats"): ONCE,
    ("stdin", "following_from_a_cursor_goes_on_there"): ONCE,
    (
        "stdin",
        "what_is_appended_is_followed_once",
    ): "the end of a pipe is the end; nothing is appended after it",
    ("stdin", "a_missing_place_is_an_input_error_of_the_first_read"): "standard input is always there",
    ("opensearch", "*"): SERVER,
    ("stdout", "a_message_that_is_taken_is_delivered_once"): NO_SERVICE,
    ("stdout", "a_busy_service_is_tried_later"): NO_SERVICE,
    ("stdout", "a_refusing_service_is_not_tried_again"): NO_SERVICE,
    ("stdout", "a_broken_connection_is_tried_later"): NO_SERVICE,
    ("stdout", "no_secret_is_shown"): "it has no secret",
    (
        "email",
        "no_secret_is_shown",
    ): "it gives its password only over TLS; its own tests have a server for that",
}
if importlib.util.find_spec("pyod") is None:
    print("skipped: PyOD is not installed (the extra `pyod`), its adapter is not checked")
    EXEMPT["pyod", "*"] = "PyOD is not installed"

LINES = b"".join(b"2026-01-05 00:00:%02d INFO shop request %d accepted\n" % (n % 60, n) for n in range(40))
FOLDER = tempfile.TemporaryDirectory(prefix="logad-contracts-")


def folder():
    return Path(tempfile.mkdtemp(dir=FOLDER.name))


# One or more cases for each source, sink and notifier: the test below fails for a part without any.


def plain_file():
    place = folder() / "app.log"
    place.write_bytes(LINES)

    def append(count):
        news = b"".join(b"2026-01-05 00:01:%02d INFO shop news\n" % n for n in range(count))
        with place.open("ab") as file:
            file.write(news)
        return news

    def opened(spec):
        return lambda telemetry: FileSource(
            str(spec), FileSource.Config(), telemetry, sleep=lambda _seconds: None, buffer_bytes=256
        )

    return SourceCase(opened(place), LINES, append, opened(place.with_name("none.log")))


def rotated_files():
    case = plain_file()
    place = Path(case.open(Telemetry()).spec)
    third, two_thirds = (LINES.find(b"\n", len(LINES) * part // 3) + 1 for part in (1, 2))
    place.with_name("app.log.2.gz").write_bytes(gzip.compress(LINES[:third]))
    place.with_name("app.log.1").write_bytes(LINES[third:two_thirds])
    place.write_bytes(LINES[two_thirds:])

    def opened(spec):
        return lambda telemetry: FileSource(
            str(spec), FileSource.Config(), telemetry, sleep=lambda _seconds: None, buffer_bytes=256
        )

    return SourceCase(opened(place.parent), LINES, case.append, opened(place.parent / "none"))


def piped():
    place = folder() / "piped"
    place.write_bytes(LINES)

    def opened(telemetry):
        descriptor = os.open(place, os.O_RDONLY)
        return StdinSource("-", StdinSource.Config(), telemetry, descriptor=descriptor, buffer_bytes=256)

    return SourceCase(opened, LINES)


def lines_of_json():
    place = folder() / "verdicts.jsonl"

    def stored():
        verdicts = [json.loads(line) for line in place.read_bytes().splitlines()] if place.exists() else []
        assert len({verdict["id"] for verdict in verdicts}) == len(verdicts)
        return {verdict["id"]: verdict for verdict in verdicts}

    return SinkCase(lambda: JsonlSink(JsonlSink.Config(path=place), Telemetry()), stored)


def rows():
    place = folder() / "verdicts.sqlite"

    def stored():
        connection = sqlite3.connect(place)
        try:
            return {
                key: json.loads(text) for key, text in connection.execute("SELECT id, verdict FROM verdicts")
            }
        finally:
            connection.close()

    return SinkCase(lambda: SqliteSink(SqliteSink.Config(path=place), Telemetry()), stored)


@contextmanager
def webhook():
    with HttpService().running() as service:
        secret = "T0000/B1111/SECRETSECRETSECRET"
        config = SlackNotifier.Config(webhook=SecretStr(f"{service.address}/services/{secret}"))
        notifier = SlackNotifier(config, Renderer())
        yield NotifierCase(notifier, service, (secret, "SECRETSECRETSECRET"), ("<!channel>", "<script>"))


class SmtpService(socketserver.ThreadingTCPServer):
    """As much of RFC 5321 as a client needs that sends one mail."""

    daemon_threads = True

    def __init__(self):
        self.mood = "takes"
        self.received = []
        super().__init__(("127.0.0.1", 0), _Smtp)


class _Smtp(socketserver.StreamRequestHandler):
    def handle(self):
        service = self.server
        self.wfile.write(b"220 here\r\n")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"MAIL" and service.mood == "breaks":
                return
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                service.received.append(b"".join(iter(self.rfile.readline, b".\r\n")))
            if verb == b"MAIL" and service.mood != "takes":
                self.wfile.write(b"451 busy\r\n" if service.mood == "busy" else b"554 never\r\n")
            else:
                self.wfile.write(b"250 fine\r\n" if verb != b"QUIT" else b"221 bye\r\n")
            if verb == b"QUIT":
                return


@contextmanager
def mail():
    service = SmtpService()
    thread = threading.Thread(target=service.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    config = EmailNotifier.Config(
        host="127.0.0.1",
        port=service.server_address[1],
        security="none",
        sender="logad@example.org",
        recipients=("ops@example.org",),
    )
    try:
        yield NotifierCase(EmailNotifier(config, Renderer()), service, longest=NO_LIMIT)
    finally:
        service.shutdown()
        service.server_close()
        thread.join()


@contextmanager
def screen():
    yield NotifierCase(StdoutNotifier(PartConfig(), Renderer(), [].append), None, longest=NO_LIMIT)


CASES = {
    "sources": {"file": (plain_file, rotated_files), "stdin": (piped,), "opensearch": ()},
    "sinks": {"jsonl": (lines_of_json,), "sqlite": (rows,), "opensearch": ()},
    "notifiers": {"slack": (webhook,), "email": (mail,), "stdout": (screen,)},
}
SUITES = {"sources": source_checks, "sinks": sink_checks, "notifiers": notifier_checks}


def promises():
    for name in registry.names("detectors"):
        for check in detector_checks(registry.part("detectors", name)):
            yield _held(name, str(check), check)
    for kind, suite in SUITES.items():
        for name in registry.names(kind):
            for case in CASES[kind].get(name, ()):
                for check in suite(registry.part(kind, name), case):
                    yield _held(name, f"{check}-{case.__name__}", check)


def _held(name, sentence, check):
    why = EXEMPT.get((name, check.promise.__name__)) or EXEMPT.get((name, "*"))
    marks = [pytest.mark.skip(reason=f"exempt: {why}")] if why else []
    return pytest.param(check, id=f"{name}-{sentence}", marks=marks)


@pytest.mark.parametrize("check", list(promises()))
def test_a_part_keeps_its_promise(check):
    check()


@pytest.mark.parametrize("kind", SUITES)
def test_every_registered_part_has_a_case_or_a_reason_for_none(kind):
    without = [
        name for name in registry.names(kind) if not CASES[kind].get(name) and (name, "*") not in EXEMPT
    ]
    assert not without, f"add a case for {without} to CASES"


def test_every_exemption_is_about_a_part_and_a_promise_that_exist():
    parts = {name for kind in ("detectors", *SUITES) for name in registry.names(kind)}
    known = {param.values[0].promise.__name__ for param in promises()} | {"*"}
    assert {part for part, _ in EXEMPT} <= parts
    assert {promise for _, promise in EXEMPT} <= known


# The suites notice: each way to break a detector is noticed by the promise it breaks.


class Breaking:
    """A good detector (PCA), broken in one way."""

    base = registry.part("detectors", "pca")

    @classmethod
    def nan_scores(cls):
        class Broken(cls.base):
            def score(self, windows):
                scores = super().score(windows)
                scores[:1] = np.nan
                return scores

        return Broken

    @classmethod
    def wrong_length(cls):
        class Broken(cls.base):
            def score(self, windows):
                return super().score(windows)[1:]

        return Broken

    @classmethod
    def lower_is_stranger(cls):
        class Broken(cls.base):
            def score(self, windows):
                return -super().score(windows)

        return Broken

    @classmethod
    def writes_to_its_input(cls):
        class Broken(cls.base):
            def fit(self, windows):
                windows.distinct.counts[0] += 1
                return super().fit(windows)

        return Broken

    @classmethod
    def random_scores(cls):
        class Broken(cls.base):
            def score(self, windows):
                return super().score(windows) + np.random.default_rng().random(len(windows)) * 1e-6

        return Broken

    @classmethod
    def forgets_its_mean_when_stored(cls):
        class Broken(cls.base):
            def state(self):
                return {**super().state(), "mean": np.zeros_like(self.mean)}

        return Broken

    @classmethod
    def stores_objects(cls):
        class Broken(cls.base):
            def state(self):
                return {**super().state(), "extra": np.array([object()])}

        return Broken

    @classmethod
    def chokes_on_new_templates(cls):
        class Broken(cls.base):
            def score(self, windows):
                known = windows.distinct.counts @ np.ones(len(self.weights))
                return super().score(windows) + 0 * known[windows.distinct.inverse]

        return Broken

    @classmethod
    def learns_while_judging(cls):
        class Broken(cls.base):
            def score(self, windows):
                scores = super().score(windows)
                self.mean = self.mean * 0.9
                return scores

        return Broken

    @classmethod
    def keeps_what_it_learned_before(cls):
        class Broken(cls.base):
            def fit(self, windows):
                before = getattr(self, "mean", None)
                super().fit(windows)
                self.mean = self.mean if before is None else (self.mean + before) / 2
                return self

        return Broken

    @classmethod
    def points_outside_the_window(cls):
        class Broken(cls.base):
            def explain(self, windows, row):
                return tuple(replace(reason, events=(10**6,)) for reason in super().explain(windows, row))

        return Broken

    @classmethod
    def explains_nothing(cls):
        class Broken(cls.base):
            def explain(self, windows, row):
                return ()

        return Broken

    @classmethod
    def cannot_be_chained(cls):
        class Broken(cls.base):
            def fit(self, windows):
                super().fit(windows)

        return Broken


WAYS = [name for name, value in vars(Breaking).items() if isinstance(value, classmethod)]


@pytest.mark.parametrize("way", WAYS)
def test_the_suite_notices_a_detector_that(way):
    broken = getattr(Breaking, way)()
    with pytest.raises((ContractBroken, ValueError, AttributeError)):
        check_detector(broken)


def test_every_promise_of_a_detector_is_broken_by_one_of_the_ways():
    noticed = set()
    for way in WAYS:
        subject = Subject(getattr(Breaking, way)(), Breaking.base.Config(), WindowKind.TIME)
        for promise in PROMISES:
            try:
                promise(subject)
            except (ContractBroken, ValueError, AttributeError):
                noticed.add(promise)
    assert {promise.__name__ for promise in PROMISES} == {promise.__name__ for promise in noticed}


def repeats_when_resumed(case):
    class Broken(FileSource):
        def read(self, cursors):
            return super().read({})

    return lambda telemetry: Broken(case.spec, PartConfig(), telemetry, buffer_bytes=256)


def loses_a_line(case):
    class Broken(FileSource):
        def read(self, cursors):
            for buffer in super().read(cursors):
                yield replace(buffer, data=buffer.data[buffer.data.find(b"\n") + 1 :])

    return lambda telemetry: Broken(case.spec, PartConfig(), telemetry, buffer_bytes=256)


def cuts_within_a_line(case):
    class Broken(FileSource):
        def read(self, cursors):
            for buffer in super().read(cursors):
                yield replace(buffer, data=buffer.data[:5], final=False)
                yield replace(buffer, data=buffer.data[5:])

    return lambda telemetry: Broken(case.spec, PartConfig(), telemetry, buffer_bytes=256)


@pytest.mark.parametrize(
    ("way", "promise"),
    [
        (repeats_when_resumed, "resuming_at_any_cursor_neither_loses_nor_repeats"),
        (loses_a_line, "every_line_is_yielded_or_counted_as_dropped"),
        (cuts_within_a_line, "buffers_hold_whole_lines"),
    ],
)
def test_the_suite_notices_a_source_that(way, promise):
    def made():
        case = plain_file()
        return replace(case, open=way(case.open(Telemetry())))

    with pytest.raises(ContractBroken):
        only(promise, source_checks(FileSource, made))()


def only(promise, checks):
    return next(check for check in checks if str(check) == promise)


class Forgetful(JsonlSink):
    """The last write wins."""

    def write(self, verdicts):
        self._known.clear()
        return super().write(verdicts[::-1])


class Silent(JsonlSink):
    """Drops every second verdict and says that all is well."""

    def write(self, verdicts):
        return replace(super().write(verdicts[::2]), stored=len(verdicts))


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Forgetful, "the_first_write_wins"),
        (Silent, "what_is_written_is_stored_whole"),
        (Silent, "many_verdicts_are_stored_in_one_call"),
    ],
)
def test_the_suite_notices_a_sink_that_is(broken, promise):
    def made():
        case = lines_of_json()
        place = case.open()._path
        return replace(case, open=lambda: broken(JsonlSink.Config(path=place), Telemetry()))

    with pytest.raises(AssertionError):  # of the promise, or of the helper above that reads the store
        only(promise, sink_checks(broken, made))()


class Chatty(SlackNotifier):
    """Shows the address when something fails, and the raw text of the log."""

    def render(self, incident, links):
        return {**super().render(incident, links), "text": incident.title}

    def deliver(self, message):
        outcome = super().deliver(message)
        return outcome if isinstance(outcome, Delivered) else Refused(f"could not post to {self._address}")


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Chatty, "no_secret_is_shown"),
        (Chatty, "hostile_text_stays_text"),
        (Chatty, "a_busy_service_is_tried_later"),
        (Chatty, "a_broken_connection_is_tried_later"),
        (Chatty, "a_very_long_text_is_cut_and_delivered"),
    ],
)
def test_the_suite_notices_a_notifier_that_is(broken, promise):
    @contextmanager
    def made():
        with webhook() as case:
            yield replace(case, notifier=broken(case.notifier.config, Renderer()))

    with pytest.raises(ContractBroken):
        only(promise, notifier_checks(broken, made))()


# OpenSearch, where a server can run.


class Indexed:
    """An index of documents, each a second younger than the last."""

    def __init__(self, url, documents):
        self.client = opensearch_client.connect(opensearch_client.address(url), None, None, None)
        self.url = url
        self.index = f"shop-{next(NUMBERS)}"
        self.count = 0
        self.content = b""
        for begin in range(0, documents, 2000):
            self.content += self.add(min(2000, documents - begin))

    def add(self, count):
        lines, actions = [], []
        for number in range(self.count, self.count + count):
            document = {"@timestamp": f"2026-01-05T00:00:00.{number:06d}Z", "message": f"request {number}"}
            known = {"_index": self.index, "_id": f"{number:06d}"}
            actions += [json.dumps({"create": known}), json.dumps(document)]
            lines.append(json.dumps({**known, **document}, separators=(",", ":")) + "\n")
        self.count += count
        done = self.client.bulk(body="\n".join(actions) + "\n", params={"refresh": "true"})
        assert not done["errors"]
        return "".join(lines).encode()

    def source(self, index):
        spec = f"opensearch+{self.url}/{index}"
        return lambda telemetry: OpenSearchSource(
            spec, OpenSearchSource.Config(), telemetry, sleep=lambda _seconds: None
        )

    def case(self):
        return SourceCase(self.source(self.index), self.content, self.add, self.source("none"))


def verdicts_index(url):
    index = f"verdicts-{next(NUMBERS)}"
    config = OpenSearchSink.Config(url=SecretStr(url), index=index)

    def stored():
        client = opensearch_client.connect(opensearch_client.address(url), None, None, None)
        client.indices.refresh(index=index)
        hits = client.search(index=index, body={"size": 5000})["hits"]["hits"]
        client.close()
        verdicts = {hit["_id"]: hit["_source"] for hit in hits}
        for verdict in verdicts.values():
            del verdict["@timestamp"]
        return verdicts

    return SinkCase(lambda: OpenSearchSink(config, Telemetry()), stored)


NUMBERS = iter(range(1000))


@pytest.mark.server
def test_opensearch_keeps_the_promises_of_a_source(opensearch_url, monkeypatch):
    monkeypatch.setattr("logad.sources.opensearch.PAGE_DOCUMENTS", 7)
    for check in source_checks(OpenSearchSource, lambda: Indexed(opensearch_url, 20).case()):
        check()


@pytest.mark.server
def test_opensearch_keeps_the_promises_of_a_sink(opensearch_url):
    for check in sink_checks(OpenSearchSink, lambda: verdicts_index(opensearch_url)):
        check()
