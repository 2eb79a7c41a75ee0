"""Sinks on real files: replays, torn lines, full disks, files of others."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from verdicts import block, calm, document, silence

from logad.contracts import Written
from logad.errors import ConfigError, DeliveryError
from logad.sinks.jsonl import JsonlConfig, JsonlSink
from logad.sinks.sqlite import SqliteConfig, SqliteSink
from logad.telemetry import Telemetry

VERDICTS = [block(1, 0.97), silence(), document(), calm()]


def jsonl(path, telemetry=None):
    return JsonlSink(JsonlConfig(path=path), telemetry or Telemetry())


def sqlite(path, telemetry=None):
    return SqliteSink(SqliteConfig(path=path), telemetry or Telemetry())


def rows(path, query="SELECT id FROM verdicts"):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("made", [jsonl, sqlite])
def test_a_missing_folder_is_made(tmp_path, made):
    sink = made(tmp_path / "a" / "b" / "verdicts")
    assert sink.write(VERDICTS) == Written(4, {})
    sink.close()


def test_a_table_can_be_asked_for_what_happened(tmp_path):
    sink = sqlite(tmp_path / "v.sqlite")
    sink.write(VERDICTS)
    sink.close()
    query = (
        'SELECT service, start, "end", key, score, severity, anomalous, reason FROM verdicts WHERE anomalous'
    )
    found = rows(tmp_path / "v.sqlite", query + " ORDER BY score DESC")
    assert [row[0] for row in found] == ["datanode", "payments", "kernel"]
    assert found[1][1:7] == ("2024-03-04T02:55:00.000Z", "2024-03-04T03:00:00.000Z", None, 0.83, "digest", 1)
    assert found[1][7].startswith("“payment <*> accepted” fell silent")


def test_json_lines_are_verdicts_of_the_schema_in_order(tmp_path):
    sink = jsonl(tmp_path / "v.jsonl")
    sink.write(VERDICTS)
    sink.close()
    lines = (tmp_path / "v.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [verdict.as_dict() for verdict in VERDICTS]


@settings(max_examples=60, deadline=None)
@given(cut_at=st.integers(0, 10_000), text=st.text(max_size=40))
def test_a_file_torn_at_any_byte_is_whole_after_the_replay(tmp_path_factory, cut_at, text):
    path = tmp_path_factory.mktemp("torn") / "v.jsonl"
    verdicts = [replace(block(1, 0.97), service=text), *VERDICTS[1:]]
    sink = jsonl(path)
    sink.write(verdicts)
    sink.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: cut_at % len(whole)])
    telemetry = Telemetry()
    sink = jsonl(path, telemetry)
    assert sink.write(verdicts) == Written(4, {})
    sink.close()
    assert path.read_bytes() == whole
    torn = cut_at % len(whole) not in {0, *(at + 1 for at, byte in enumerate(whole) if byte == 10)}
    assert telemetry.notes["torn_line"] == torn


def test_a_file_of_something_else_is_left_alone(tmp_path):
    for name, content, made in (
        ("app.log", b"2024-03-04 something else\n", jsonl),
        ("app.jsonl", b'{"schema": "logad.template/1", "id": "x"}\n', jsonl),
        ("app.sqlite", b"2024-03-04 something else\n" * 100, sqlite),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="name another file"):
            made(path).write(VERDICTS)
        assert path.read_bytes() == content


@pytest.mark.parametrize("made", [jsonl, sqlite])
def test_the_first_write_of_an_id_stays(tmp_path, made):
    for score in (0.97, 0.6):
        sink = made(tmp_path / "v")
        assert sink.write([block(1, score), block(1, 0.7)]) == Written(2, {})
        sink.close()
    stored = rows(tmp_path / "v", "SELECT verdict FROM verdicts") if made is sqlite else None
    lines = (
        [row[0] for row in stored] if stored else (tmp_path / "v").read_text(encoding="utf-8").splitlines()
    )
    assert [json.loads(line)["score"] for line in lines] == [0.97]


@pytest.mark.parametrize("made", [jsonl, sqlite])
def test_a_folder_that_cannot_be_is_a_delivery_error(tmp_path, made):
    (tmp_path / "file").write_text("in the way")
    sink = made(tmp_path / "file" / "verdicts")
    with pytest.raises(DeliveryError, match="check its disk"):
        sink.write(VERDICTS)
    (tmp_path / "file").unlink()
    assert sink.write(VERDICTS) == Written(4, {})
    sink.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_device_is_a_delivery_error():
    with pytest.raises(DeliveryError, match="No space left"):
        jsonl(Path("/dev/full")).write(VERDICTS)


LIMITED = """
import resource, signal, sys
from pathlib import Path
sys.path[:0] = {path!r}
from test_sinks import VERDICTS, jsonl
from logad.errors import DeliveryError
sink = jsonl(Path({file!r}))
sink.write(VERDICTS[:1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = Path({file!r}).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 700, resource.RLIM_INFINITY))
try:
    sink.write(VERDICTS)
except DeliveryError as error:
    print(error)
assert Path({file!r}).stat().st_size == size
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(sink.write(VERDICTS))
sink.close()
"""


def test_a_disk_that_fills_up_inside_a_line_leaves_whole_lines_and_a_later_try_completes_them(tmp_path):
    file = tmp_path / "v.jsonl"
    code = LIMITED.format(
        path=[str(Path(__file__).parent), str(Path(__file__).parent.parent)], file=str(file)
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert "File too large" in done.stdout
    assert "Written(stored=4, refused={})" in done.stdout
    assert [json.loads(line)["id"] for line in file.read_text(encoding="utf-8").splitlines()] == [
        verdict.id for verdict in VERDICTS
    ]


def test_a_full_database_is_a_delivery_error_and_keeps_what_it_had(tmp_path):
    sink = sqlite(tmp_path / "v.sqlite")
    sink.write(VERDICTS[:1])
    sink._connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(DeliveryError, match="full"):
        sink.write([replace(silence(), id=f"{number:032x}") for number in range(200)])
    assert sink.write(VERDICTS) == Written(4, {})
    sink.close()
    assert len(rows(tmp_path / "v.sqlite")) == 4


def test_a_database_that_someone_locks_is_a_delivery_error(tmp_path, monkeypatch):
    monkeypatch.setattr("logad.sinks.sqlite._BUSY_SECONDS", 0.05)
    sink = sqlite(tmp_path / "v.sqlite")
    sink.write(VERDICTS[:1])
    other = sqlite3.connect(tmp_path / "v.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DeliveryError, match="locked"):
        sink.write(VERDICTS)
    other.execute("ROLLBACK")
    other.close()
    assert sink.write(VERDICTS) == Written(4, {})
    sink.close()


def test_a_sink_may_be_drained_by_another_thread(tmp_path):
    sink = sqlite(tmp_path / "v.sqlite")
    sink.write(VERDICTS[:1])
    thread = threading.Thread(target=sink.write, args=(VERDICTS,))
    thread.start()
    thread.join()
    sink.close()
    assert len(rows(tmp_path / "v.sqlite")) == 4


KILLED = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from test_sinks import {made}
from logad.sinks import {made} as module
from dataclasses import replace
from verdicts import silence
sink = {made}(Path({file!r}))
number = 0
while True:
    sink.write([replace(silence(), id=f"{{number + place:032x}}") for place in range(7)])
    number += 7
    print(number, flush=True)
"""


@pytest.mark.faults
@pytest.mark.parametrize("made", ["jsonl", "sqlite"])
def test_what_was_said_to_be_stored_survives_a_kill(tmp_path, made):
    file = tmp_path / "v"
    path = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    code = KILLED.format(path=path, file=str(file), made=made)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        said = [int(process.stdout.readline()) for _ in range(20)]
        os.kill(process.pid, signal.SIGKILL)
        said += [int(line) for line in process.stdout.read().splitlines() if line]
    everything = [replace(silence(), id=f"{number:032x}") for number in range(said[-1] + 50)]
    shutil.copytree(tmp_path, tmp_path / "after")
    sink = globals()[made](tmp_path / "after" / "v")
    if made == "jsonl":
        sink.write([])
        assert sink._known >= {verdict.id for verdict in everything[: said[-1]]}
    sink.write(everything)
    sink.close()
    if made == "sqlite":
        assert len(rows(file)) >= said[-1]
        assert len(rows(tmp_path / "after" / "v")) == len(everything)
    else:
        ids = [json.loads(line)["id"] for line in (tmp_path / "after" / "v").read_bytes().splitlines()]
        assert sorted(ids) == [verdict.id for verdict in everything]
