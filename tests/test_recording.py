import codecs
import csv
import gzip
import json
import os
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logad import batch, recording, rules
from logad.detection import Overrides, detect
from logad.errors import InputError, UsageError
from logad.mining import Miner
from logad.preparation import Setup
from logad.recording import Layout, Recorder
from logad.telemetry import Telemetry
from logad.types import RECORD_SCHEMA, Buffer, Level

DATA = Path(os.environ.get("LOGAD_DATA") or Path(__file__).parents[2] / "shared" / "data")
MODIFIED = datetime(2024, 6, 15, tzinfo=UTC)


def read(content: str | bytes, stream="app.log", cuts=(), **overrides):
    """The records of a whole file that is cut into buffers after some of its lines, and the telemetry."""
    content = content if isinstance(content, bytes) else content.encode()
    telemetry = Telemetry()
    layout = detect(content[: 1 << 20], stream, Overrides(**overrides), MODIFIED)
    recorder = Recorder(layout, telemetry)
    ends = [offset + 1 for offset in range(len(content)) if content[offset : offset + 1] == b"\n"]
    marks = [
        0,
        *(ends[cut % len(ends)] for cut in sorted(cuts, key=lambda cut: cut % len(ends))),
        len(content),
    ]
    frames = []
    for begin, end in pairwise(marks):
        line = 1 + content[:begin].count(b"\n")
        frames.append(recorder.push(Buffer(stream, stream, content[begin:end], line, "")))
    frames.append(recorder.flush())
    return pl.concat(frames), telemetry


def fields(content, *names, **options):
    return read(content, **options)[0].select(names).rows()


def physical_lines(content: bytes) -> int:
    content = content.removeprefix(codecs.BOM_UTF8)  # alone it is no line
    return content.count(b"\n") + (0 if content.endswith(b"\n") or not content else 1)


# Every line is part of one record or one drop.


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=400) | st.lists(st.sampled_from(
    [b"2024-01-02 03:04:05 INFO up", b"  at a.b(C.java:1)", b"", b" ", b'{"msg":"x"}', b'{"msg":', b"\xff\xfe", b"{}", b"\r",
     b'{"log":"a\\n","stream":"stdout","time":"2024-01-02T03:04:05Z"}', b"2024-01-02T03:04:05.1Z stdout P ab", b"a=1 b=2 c=3"]
)).map(b"\n".join))  # fmt: skip
def test_any_bytes_become_records_and_drops_that_account_for_every_line(content):
    if b"\0" in content:
        with pytest.raises(InputError, match="binary"):
            read(content)
        return
    records, telemetry = read(content)
    assert telemetry.lines == physical_lines(content)
    assert telemetry.received == telemetry.records + sum(telemetry.dropped.values())
    assert len(records) == telemetry.records
    assert int(records["lines"].sum()) + sum(telemetry.dropped.values()) == physical_lines(content)
    assert dict(records.schema) == RECORD_SCHEMA
    assert not records["service"].null_count()
    assert not records["text"].null_count()
    assert not records["raw"].null_count()


LOGS = {
    "trace": "2024-01-02 03:04:05 INFO up\n\n2024-01-02 03:04:06 ERROR down\njava.lang.E: x\n\tat a.b(C.java:1)\n\n\tat c.d(E.java:2)\nCaused by: y\n\n\n2024-01-02 03:04:07 INFO up\n",
    "indented": "start\n  more\n\n  more\nTraceback (most recent call last):\n  File x\nValueError: no\nnext\n\n\nlast\n",
    "json": '{"ts":1700000000.5,"level":30,"msg":"a b"}\n{"ts":\n\n{"ts":1700000001,"level":50,"msg":"c d"}\nplain\n',
    "cri": "2024-01-01T00:00:00.1Z stdout P one \n2024-01-01T00:00:00.2Z stdout F two\n2024-01-01T00:00:01Z stderr F   at x\n2024-01-01T00:00:02Z stdout F end\n",
    "docker": "".join(
        json.dumps({"log": text, "stream": "stdout", "time": "2024-01-02T03:04:05Z"}) + "\n{broken\n"
        for text in ("2024-01-02 03:04:05 a\n", "\tx\n", "\n", "\ty\n", "2024-01-02 03:04:06 b\n", "\n")
    ),
    "syslog": "Dec 31 23:59:59 web sshd[1]: a\nJan  1 00:00:00 web cron: b\n\nJan  2 00:00:00 web sshd[2]: c\n",
}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(LOGS)), st.integers(1, 4), st.lists(st.integers(0, 100), max_size=6))
def test_records_do_not_depend_on_how_the_bytes_are_cut(name, times, cuts):
    content = LOGS[name] * times
    whole, all_at_once = read(content)
    pieces, piecemeal = read(content, cuts=cuts)
    assert pieces.rows() == whole.rows()
    assert piecemeal.dropped == all_at_once.dropped
    assert piecemeal.notes == all_at_once.notes


@pytest.mark.parametrize("name", LOGS)
def test_another_process_goes_on_from_the_state(name):
    content = LOGS[name].encode()
    layout = detect(content, "app.log", Overrides(), MODIFIED)
    stored = Layout.from_dict(json.loads(json.dumps(layout.as_dict())))
    assert stored == layout
    whole, _ = read(content)
    lines, state, frames = content.splitlines(keepends=True), None, []
    for number, line in enumerate(lines, start=1):
        recorder = Recorder(stored, Telemetry(), state)
        frames.append(recorder.push(Buffer("app.log", "app.log", line, number, "")))
        state = recorder.state()
    frames.append(Recorder(stored, Telemetry(), state).flush())
    assert pl.concat(frames).rows() == whole.rows()


# What a record is.


def test_a_stack_trace_with_blank_lines_is_one_record():
    records, telemetry = read(LOGS["trace"])
    assert records["lines"].to_list() == [1, 6, 1]
    assert records["line"].to_list() == [1, 3, 11]
    assert records["text"][1].startswith("down\njava.lang.E: x\n\tat a.b(C.java:1)\n\n")
    assert telemetry.dropped == {"empty": 3}


def test_a_log_without_times_goes_by_indentation():
    assert fields(LOGS["indented"], "lines") == [(7,), (1,), (1,)]


def test_a_given_regex_starts_a_record():
    assert fields("BEGIN a\nb\nc\nBEGIN d\n", "lines", multiline="^BEGIN") == [(3,), (1,)]


def test_a_record_never_spans_two_files():
    layout = detect(b"2024-01-02 03:04:05 up\n", "app.log", Overrides(), None)
    recorder = Recorder(layout, Telemetry())
    first = recorder.push(Buffer("app.log", "app.log.1", b"2024-01-02 03:04:05 up\n", 1, ""))
    second = recorder.push(Buffer("app.log", "app.log", b"\ttail\n2024-01-02 03:04:05 up\n", 1, ""))
    assert first.is_empty()
    assert second.select("source", "line").rows() == [("app.log.1", 1), ("app.log", 1)]


def test_a_record_of_very_many_lines_is_cut_and_counted():
    content = "2024-01-02 03:04:05 up\n" + "\tx\n" * 25_000 + "2024-01-02 03:04:06 up\n"
    records, telemetry = read(content, cuts=[9_000, 9_999, 10_000, 20_001])
    assert records["lines"].to_list() == [10_000, 10_000, 5_001, 1]
    assert telemetry.notes["record_cut"] == 2


def test_a_cut_never_falls_on_a_blank_line():
    content = "2024-01-02 03:04:05 up\n" + "\tx\n" * 9_999 + "\n" + "\tx\n" * 5 + "2024-01-02 03:04:06 up\n"
    records, telemetry = read(content, cuts=[9_999, 10_000, 10_001])
    assert records["lines"].to_list() == [10_006, 1]
    assert not telemetry.dropped


def test_a_very_long_record_is_kept_up_to_a_bound_and_counted():
    records, telemetry = read(f"2024-01-02 03:04:05 INFO {'x' * 100_000}\n")
    assert len(records["text"][0]) == recording.MOST_TEXT
    assert telemetry.notes == {"record_truncated": 1}


def test_bytes_that_are_no_text_are_replaced_and_counted():
    records, telemetry = read("für und für\n".encode() * 9 + b"f\xffr\xfe\n")
    assert records["text"][9] == "f\ufffdr\ufffd"
    assert telemetry.notes["invalid_bytes"] == 1


def test_latin_1_and_a_byte_order_mark_are_detected():
    assert fields("Zugriff für Jürgen verweigert\n".encode("latin-1"), "text") == [
        ("Zugriff für Jürgen verweigert",)
    ]
    content = "\ufeff2024-01-02 03:04:05 INFO für\n".encode()
    assert fields(content, "text", "level") == [("für", Level.INFO)]
    assert (
        detect(content, "a.log", Overrides(), None).describe()[0] == "encoding   utf-8 with byte order mark"
    )


def test_stray_bytes_in_plain_words_are_no_other_encoding():
    records, telemetry = read(b"all is well\nb\xff\xfed\nall is well\n")
    assert records["text"].to_list() == ["all is well", "b\ufffd\ufffdd", "all is well"]
    assert telemetry.notes["invalid_bytes"] == 1


def test_a_sample_that_ends_inside_a_character_is_still_utf_8():
    sample = ("plain words\n" * 20 + "für").encode()[:-2]
    assert detect(sample, "a.log", Overrides(), None).encoding == "utf-8"


# JSON and its relatives.


def test_json_fields_are_found_nested_or_dotted():
    for line in (
        {
            "@timestamp": "2024-01-02T03:04:05.6Z",
            "log.level": "WARN",
            "service": {"name": "pay"},
            "message": "no funds",
        },
        {"time": 1704164645600, "level": 40, "service.name": "pay", "msg": "no funds", "id": 7},
        {
            "__REALTIME_TIMESTAMP": "1704164645600000",
            "PRIORITY": "4",
            "SYSLOG_IDENTIFIER": "pay",
            "MESSAGE": "no funds",
        },
        {"ts": 1704164645.6, "level": "warn", "app": "pay", "event": {"x": 1}, "body": "no funds"},
    ):
        moment = datetime(2024, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC)
        rows = fields(json.dumps(line) + "\n", "time", "level", "service", "text")
        assert rows == [(moment, Level.WARN, "pay", "no funds")]


def pod(name, message):
    return (
        json.dumps({"kubernetes": {"pod": {"name": name}, "container": {"name": "server"}}, "log": message})
        + "\n"
    )


def test_the_deployment_of_a_pod_is_a_better_service_than_a_container_called_the_same_everywhere():
    content = pod("cart-5c66d57d58-6mp2b", "a") + pod("seat-service-b5ccf8557-j4txs", "b") + pod("db-0", "c")
    assert fields(content, "service") == [("cart",), ("seat-service",), ("db",)]


def test_a_message_in_json_loses_its_own_header_and_gives_its_level():
    message = (
        "17:20:29.299 ERROR o.a.c.c.C.[.[dispatcher]#175 TraceID: e8a3352051e85c13136b27945b8cab5b failed\n"
    )
    records, telemetry = read(pod("a-0", message) * 3)
    assert records["text"][0] == "failed"
    assert records["level"].to_list() == [Level.ERROR] * 3
    assert records["time"].null_count() == 3  # a clock without a date is no time
    assert telemetry.notes == {"without_time": 3}


def test_a_broken_json_line_is_a_counted_drop_and_a_plain_one_is_kept():
    records, telemetry = read(LOGS["json"])
    assert records["text"].to_list() == ["a b", "c d", "plain"]
    assert telemetry.dropped == {"undecodable": 1, "empty": 1}


def test_documents_of_opensearch_stand_under_their_index_and_id():
    bare = {"_index": "logs-1", "_id": "x1", "@timestamp": "2024-01-02T03:04:05Z", "message": "hello"}
    hit = {
        "_index": "logs-1",
        "_id": "x1",
        "_source": {"@timestamp": "2024-01-02T03:04:05Z", "message": "hello"},
    }
    for document in (bare, hit):
        rows = fields(json.dumps(document) + "\n", "source", "document", "line", "text", "time")
        assert rows == [("logs-1", "x1", 0, "hello", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC))]


def test_a_container_runtimes_partial_lines_are_joined():
    records, _ = read(LOGS["cri"])
    assert records["text"].to_list() == ["one two\n  at x", "end"]
    assert records["time"][0] == datetime(2024, 1, 1, 0, 0, 0, 100_000, tzinfo=UTC)


def test_dockers_json_lines_hold_records_of_several_lines():
    def line(text):
        return json.dumps({"log": text, "stream": "stdout", "time": "2024-01-02T03:04:05.123456789Z"}) + "\n"

    content = line("INFO up\n") + line("ERROR down\n") + line("\tat a.b\n") + line("INFO sp") + line("lit\n")
    rows = fields(content, "text", "level", "lines")
    assert rows == [("up", Level.INFO, 1), ("down\n\tat a.b", Level.ERROR, 2), ("split", Level.INFO, 2)]


def test_json_inside_a_containers_lines_is_opened_too():
    inner = json.dumps({"level": "error", "msg": "no disk", "service": "db"})
    moment = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    docker = json.dumps({"log": inner + "\n", "stream": "stdout", "time": "2024-01-02T03:04:05Z"})
    shipped = json.dumps({"@timestamp": "2024-01-02T03:04:05Z", "log": inner})
    for line in (docker, shipped, f"2024-01-02T03:04:05Z stdout F {inner}"):
        rows = fields(f"{line}\n{line}\n", "time", "level", "service", "text")
        assert rows == [(moment, Level.ERROR, "db", "no disk")] * 2


def test_logfmt_is_read():
    line = 'time=2024-01-02T03:04:05Z level=warning msg="no \\"disk\\" left" service=db free=0\n'
    assert fields(line, "text", "level", "service") == [('no "disk" left', Level.WARN, "db")]


# Headers of plain text.


@pytest.mark.parametrize(
    ("lines", "text", "level", "service"),
    [
        ("Jul  1 09:00:55 mac Google Chrome Helper[123]: {}", "a b", 0, "Google Chrome Helper"),
        ("Nov  9 12:01:01 dn228/dn228 /apps/sbin/gmetad[1682]: {}", "a b", 0, "gmetad"),
        ("<34>Nov  9 12:01:01 web sshd(pam_unix)[19939]: {}", "a b", 0, "sshd"),
        ("2024-01-02T03:04:05+00:00 web cron[7]: {}", "a b", 0, "cron"),
        ("1131566461 2005.11.09 dn228 Nov 9 12:01:01 dn228/dn228 crond(pam_unix)[2915]: {}", "a b", 0, "crond"),
        ("I0102 03:04:05.678901   1234 server.go:12] {}", "a b", Level.INFO, None),
        ("2024/01/02 03:04:05 [error] 31#31: *1 {}", "a b", Level.ERROR, None),
        ("[2024-01-02T03:04:05.123][WARN ][o.e.c.Node    ] [node-1] {}", "a b", Level.WARN, None),
        ("2024-01-02 03:04:05.123  INFO 1 --- [main] c.e.DemoApplication   : {}", "a b", Level.INFO, None),
        ("03-17 16:13:38.811  1702  2395 D WindowManager: {}", "a b", Level.DEBUG, None),
        ("20171223-22:15:29:606|Step_LSC|30002312|{}", "a b", 0, None),
        ("2016-09-28 04:30:30, Info                  CBS    {}", "a b", Level.INFO, None),
        ("WARNING:root:{}", "a b", Level.WARN, None),
        ("ERROR 2024-01-02 03:04:05,123 {}", "a b", Level.ERROR, None),
        ("web_1  | 2024-01-02 03:04:05 INFO {}", "a b", Level.INFO, "web"),
        ("2024-01-02T03:04:05.123Z\tinfo\tserver/main.go:12\t{}", "a b", Level.INFO, None),
        ("2026-11-22 18:45:07 {}", "a b", 0, None),
        ("[10.30 16:49:06] chrome.exe - {}", "a b", 0, None),
        ("134681 node-246 unix.hw state_change.unavailable 1077804742 1 {}", "a b", 0, None),
        ("Jul  1 09:00:55 mac com.apple.xpc.launchd[1] (com.apple.x[22877]): {}", "a b", 0, "com.apple.xpc.launchd"),
        ("<34>1 2003-10-11T22:14:15.003Z web su 17 ID47 - {}", "a b", 0, "su"),
        ('10.0.0.1 - bob [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" {}', '"GET / HTTP/1.0" a b', 0, None),
        ("2024-01-01 00:00:00.123 UTC [1234] LOG:  {}", "a b", Level.INFO, None),
        ("[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35708:tid 43] [client 72.15.99.187] {}", "a b", Level.ERROR, None),
    ],
)  # fmt: skip
def test_the_header_of_a_line_is_not_its_text(lines, text, level, service):
    messages = [
        "a b",
        "starting up now",
        "user 17 has left: bye",
        "GET /x took 3 ms",
        "disk is full",
        "Done.",
    ] * 5
    content = "".join(lines.format(message) + "\n" for message in messages)
    rows = fields(content, "text", "level", "service")
    assert [row[0] for row in rows] == [text.replace("a b", message) for message in messages]
    assert {row[1:] for row in rows} == {(level, service or "app")}


def test_two_layouts_in_one_file_are_both_understood():
    first = "2024-01-02 03:04:05,678 INFO [main] a.b.C: {}\n"
    second = "[Tue Jan 02 03:04:07 2024] [error] {}\n"
    messages = ["one thing", "another thing: done", "nothing"] * 4
    content = "".join((second if index % 3 else first).format(text) for index, text in enumerate(messages))
    records, telemetry = read(content)
    assert records["text"].to_list() == messages
    assert records["level"].to_list() == [Level.INFO, Level.ERROR, Level.ERROR] * 4
    assert not telemetry.notes


def test_rare_lines_among_many_have_their_level_and_text_too():
    common = "2024-01-02 03:04:05 INFO [main] store.Disk: block {} read\n"
    rare = "2024-01-02 03:04:05 FATAL going down {}\n"
    content = "".join((rare if index in {1002, 2006} else common).format(index) for index in range(3000))
    rows = fields(content, "level", "text")
    assert rows[1002] == (Level.FATAL, "going down 1002")
    assert rows[1003] == (Level.INFO, "block 1003 read")
    assert [index for index, (level, _) in enumerate(rows) if level != Level.INFO] == [1002, 2006]


def test_a_layout_that_begins_late_in_the_sample_is_found():
    first = "2024-01-02 03:04:05 INFO [main] store.Disk: block {} read\n"
    later = "[Tue Jan 02 03:04:07 2024] [error] block {} lost\n"
    content = "".join((first if index < 6000 else later).format(index) for index in range(9000))
    rows = fields(content, "level", "text")
    assert rows[0] == (Level.INFO, "block 0 read")
    assert rows[-1] == (Level.ERROR, "block 8999 lost")


def test_of_a_long_sample_shares_are_told_and_the_least_number_of_services():
    content = "".join(f"2024-01-02T03:04:05Z web unit{n % 7}[{n}]: did {n} things\n" for n in range(9000))
    told = detect(content.encode(), "app.log", Overrides(), None).describe()
    assert told[2] == "time       ISO 8601, read as UTC, in 100 % of records"
    assert told[4] == "service    the program's name, 7 services or more"


def test_a_time_inside_the_message_is_no_header():
    messages = [
        "meeting moved to 2024-01-02 03:04:05",
        "all quiet",
        "nothing to see",
        "so it goes",
        "bye",
    ] * 4
    assert [text for (text,) in fields("\n".join(messages) + "\n", "text")] == messages


def test_a_time_after_words_of_a_wrapped_message_is_no_header():
    message = "order placed 2024-01-02 03:04:05 by me"
    content = json.dumps({"time": "2024-01-02T03:04:05Z", "msg": message}) + "\n"
    assert fields(content * 3, "text") == [(message,)] * 3


def test_a_service_named_by_a_file_prefix_is_found():
    content = "nova-api.log.1.2017-05-16_13:53:08 2017-05-16 00:00:00.008 25746 INFO nova.x.server [-] up\n"
    assert fields(content * 3, "service", "text")[0] == ("nova-api", "up")


def test_overrides_are_followed():
    content = '{"when": "02|01|2024 03:04", "what": "hello you", "who": "me"}\n'
    form = "%d|%m|%Y %H:%M"
    rows = fields(
        content, "text", "service", "time", message_field="what", service_field="who", time_format=form
    )
    assert rows == [("hello you", "me", datetime(2024, 1, 2, 3, 4, tzinfo=UTC))]
    rows = fields(
        "02|01|2024 03:04:05 hello\n", "time", time_format="%d|%m|%Y %H:%M:%S", timezone="Asia/Tokyo"
    )
    assert rows == [(datetime(2024, 1, 1, 18, 4, 5, tzinfo=UTC),)]


@pytest.mark.parametrize(
    "overrides",
    [{"encoding": "utf-16"}, {"encoding": "no such"}, {"timezone": "Mars/Base"}, {"multiline": "(?=x)"}, {"time_format": "%Q"}],
)  # fmt: skip
def test_an_override_that_cannot_be_is_refused_in_words(overrides):
    with pytest.raises(UsageError, match="expected"):
        detect(b"a\n", "a.log", Overrides(**overrides), None)


def test_the_layout_is_told_in_six_lines():
    described = detect(LOGS["trace"].encode(), "/var/log/web.log.1", Overrides(), None).describe()
    assert [line.split()[0] for line in described] == [
        "encoding",
        "format",
        "time",
        "level",
        "service",
        "records",
    ]
    assert described[4] == "service    web, the name of the stream"


# Real logs.


def real(path: str) -> Path:
    if not (DATA / path).exists():
        print(f"skipped: no real logs at {DATA / path}")
        pytest.skip(f"no real logs at {DATA / path}")
    return DATA / path


@pytest.mark.parametrize(
    "name", ["Apache", "BGL", "HDFS", "Hadoop", "Linux", "OpenStack", "Spark", "Zookeeper"]
)
def test_the_text_is_what_people_say_the_message_is(name):
    folder = real(f"loghub_2k/{name}")
    content = (folder / f"{name}_2k.log").read_bytes()
    if name == "BGL":
        content = b"\n".join(line.partition(b" ")[2] for line in content.split(b"\n"))
    with (folder / f"{name}_2k.log_structured_corrected.csv").open(encoding="utf-8") as rows:
        truth = [" ".join(row["Content"].split()) for row in csv.DictReader(rows)]
    texts = [" ".join(text.split()) for (text,) in fields(content, "text")]
    agreement = sum(text == true for text, true in zip(texts, truth, strict=True)) / len(truth)
    print(f"{name}: {agreement:.4f} of the texts agree")
    assert agreement > 0.98


def test_a_kubernetes_systems_json_lines_are_understood():
    path = real("k8s/trainticket-2023-01-29.ndjson.gz")
    with gzip.open(path) as file:
        content = b"".join(file.readline() for _ in range(2_000))
    records, telemetry = read(content)
    assert len(records) == 2_000
    assert not telemetry.dropped
    assert not telemetry.notes
    assert "ts-travel2-service" in records["service"].to_list()
    assert records["level"].min() >= Level.INFO


def test_a_format_of_the_rules_is_taken_before_a_header_is_learned() -> None:
    lines = [
        f"1:M 02 Jan 2024 03:04:{second:02}.678 * Ready to accept connections {second}"
        for second in range(30)
    ]
    data = ("\n".join(lines) + "\n").encode()
    layout = detect(data, "redis.log", Overrides(), None, rules.load().formats)
    assert "by the rule 'redis'" in layout.describe()[1]
    records = Recorder(layout, Telemetry()).push(Buffer("redis.log", "redis.log", data, 1, "", final=True))
    assert records["text"][0] == "Ready to accept connections 0"
    assert records["time"][7] == datetime(2024, 1, 2, 3, 4, 7, 678000, tzinfo=UTC)


def test_a_format_without_a_readable_time_does_not_stand_in_the_way() -> None:
    rule = rules.Format(name="odd", regex=r"(?P<time>\S+ \S+) ", matches=("a b c",), misses=("a",))
    data = b"2024-01-02 03:04:05 INFO ready\n" * 5
    layout = detect(data, "x.log", Overrides(), None, [rule])
    assert "rule" in layout.describe()[1] or "ISO 8601" in layout.describe()[2]
    odd = rules.Format(name="odd", regex=r"(?P<time>\S+) ", matches=("a b",), misses=("a",))
    assert "rule" not in detect(data, "x.log", Overrides(), None, [odd]).describe()[1]


def test_a_log_without_years_is_of_the_year_in_which_its_file_last_changed(tmp_path: Path) -> None:
    path = tmp_path / "messages"
    path.write_text(
        "".join(f"Jun 14 15:16:{second:02} host sshd[7]: hello {second}\n" for second in range(50))
    )
    os.utime(path, (1_120_000_000, 1_120_000_000))  # 2005-06-28
    setup = Setup.of({"state_dir": tmp_path})
    corpus = batch.read([str(path)], setup.reading, Miner(), Telemetry(), batch.Observer())
    assert {time.year for time in corpus.records["time"]} == {2005}
