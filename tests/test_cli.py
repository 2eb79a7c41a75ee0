"""What the commands promise to users, scripts and other programs."""

import csv
import functools
import gzip
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from command import DISK, START, accounts, orders, parsed, ran, started, steady, wrote

from logad import cli, scanning
from logad.errors import DeliveryError, ExitCode, UsageError
from logad.sources.file import FileSource
from logad.writing import whole_file

VERDICT_KEYS = [
    "schema",
    "id",
    "service",
    "window",
    "learning",
    "anomalous",
    "score",
    "severity",
    "tail_probability",
    "detectors",
    "reasons",
    "model",
]
WINDOW_KEYS = ["kind", "key", "index", "revision", "start", "end", "first_line", "last_line", "records"]
REASON_KEYS = ["detector", "type", "text", "template_id", "template", "expected", "actual", "evidence"]
STATS_KEYS = {
    "schema",
    "bytes",
    "lines",
    "received",
    "records",
    "unkeyed",
    "dropped",
    "templates",
    "windows",
    "anomalous",
    "seconds",
    "peak_rss_bytes",
}
TEMPLATE_KEYS = [
    "schema",
    "template_id",
    "template",
    "count",
    "services",
    "first_line",
    "parameters",
    "aliases",
]


@pytest.fixture
def app_log(tmp_path):
    return wrote(tmp_path / "app.log", steady())


@pytest.fixture
def logad(tmp_path, capsys, monkeypatch):
    """Calls the command line in this process: arguments in; code, output and errors out."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("NO_COLOR", raising=False)

    def call(*args):
        monkeypatch.setattr(sys, "argv", ["logad", *map(str, args)])
        code = cli._run()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


# Exit codes, in processes of their own ---------------------------------------------------------------------


def test_anomalies_alone_are_no_failure(app_log, tmp_path):
    done = ran("scan", app_log, state=tmp_path)
    assert (done.returncode, "disk failure" in done.stdout) == (0, True)


def test_with_fail_on_anomaly_the_code_is_one(app_log, tmp_path):
    assert ran("scan", app_log, "--fail-on-anomaly", state=tmp_path).returncode == 1


def test_with_fail_on_anomaly_and_nothing_anomalous_the_code_is_zero(tmp_path):
    quiet = wrote(tmp_path / "quiet.log", steady(broken_at=None))
    assert ran("scan", quiet, "--fail-on-anomaly", state=tmp_path).returncode == 0


def test_a_wrong_option_is_two(app_log, tmp_path):
    done = ran("scan", app_log, "--window", "soon", state=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "logad: --window: 'soon'; expected a duration such as 90s, 5m, 2h, 7d or 1h30m\n"


def test_a_faulty_configuration_is_three_and_tells_every_fault(app_log, tmp_path):
    path = tmp_path / "logad.yaml"
    path.write_text("windoes: 1\nalerting:\n  budget_per_day: many\n")
    done = ran("scan", app_log, "--config", path, state=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (3, "", 2)
    assert "logad.yaml:1" in done.stderr
    assert "logad.yaml:3" in done.stderr


def test_a_missing_source_is_four_after_the_others_were_judged(app_log, tmp_path):
    done = ran("scan", tmp_path / "no.log", app_log, "--fail-on-anomaly", state=tmp_path)
    assert done.returncode == 4
    assert "disk failure" in done.stdout
    assert done.stderr.splitlines()[-1].startswith(f"logad: {tmp_path}/no.log: no such file or folder")


def test_results_that_cannot_be_delivered_are_five(app_log, tmp_path):
    with Path("/dev/full").open("w") as full:
        done = ran("scan", app_log, state=tmp_path, stdout=full)
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1].startswith("logad: standard output: No space left")
    assert ran("scan", app_log, "--output", "/dev/full", state=tmp_path).returncode == 5


def test_an_internal_error_is_seventy_and_no_traceback(logad, app_log, monkeypatch):
    def fail(*_args, **_options):
        raise ValueError("a bug\x1b[31m")

    monkeypatch.setattr(scanning, "scan", fail)
    code, out, err = logad("scan", app_log)
    assert (code, out) == (70, "")
    assert err.startswith("logad: internal error: ValueError: a bug\\x1b[31m\n")


@pytest.mark.parametrize(
    ("sent", "after"), [(signal.SIGINT, 0), (signal.SIGINT, 0.5), (signal.SIGTERM, 0), (signal.SIGTERM, 0.5)]
)
def test_an_interrupted_run_ends_at_once_with_130_and_its_accounts(tmp_path, sent, after):
    stats = tmp_path / "stats.json"
    reader, writer = os.pipe()
    with started("scan", "-", "--stats", stats, state=tmp_path, stdin=reader) as process:
        try:
            os.write(writer, b"2024-01-01 00:00:00 INFO one\n" * 300_000)  # more than a buffer: it has begun
            process.stderr.readline()
            time.sleep(after)  # by then it waits for more
            begun = time.monotonic()
            process.send_signal(sent)
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
            os.close(reader)
            os.close(writer)
    assert process.returncode == 130
    assert time.monotonic() - begun < 3
    assert "Traceback" not in err
    accounts(stats)


def test_a_closed_pipe_is_no_failure(app_log, tmp_path):
    options = ("--all", "--window-records", "2", "--format", "jsonl")
    with started("scan", app_log, *options, "--fail-on-anomaly", state=tmp_path) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 0
    assert "Traceback" not in err
    assert "Exception" not in err


def test_nobody_who_reads_at_all_is_no_failure(app_log, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert ran("scan", app_log, state=tmp_path, stdout=writer, stderr=writer).returncode == 0
        assert ran("scan", "--help", state=tmp_path, stdout=writer).returncode == 0
    finally:
        os.close(writer)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from logad import cli; cli.cli.main(['scan', '--help'], standalone_mode=False);"
        "print({'numpy', 'polars', 'sklearn', 'rich', 'pydantic', 'jinja2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


# Usage -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ("--window", "5m", "--window-records", "4"),
        ("--window", "5m", "--session-regex", "x"),
        ("--session-regex", "x", "--session-field", "y"),
        ("--baseline", "b.log", "--model", "m"),
    ],
)
def test_options_that_exclude_each_other_are_two(logad, app_log, options):
    code, out, err = logad("scan", app_log, *options)
    assert (code, out) == (2, "")
    assert "exclude each other" in err


@pytest.mark.parametrize(
    "options",
    [
        ("--window", "0s"),
        ("--window", "99999999999d"),
        ("--window-records", "0"),
        ("--window-records", "many"),
        ("--session-regex", "("),
        ("--session-regex", "(?=x)"),
        ("--session-regex", ""),
        ("--session-field", ""),
        ("--since", "yesterday"),
        ("--since", "99999999999d"),
        ("--timezone", "Mars/Olympus"),
        ("--time-format", "%Q"),
        ("--multiline", "("),
        ("--encoding", "utf-16"),
        ("--format", "xml"),
        ("--model", "../m"),
        ("--baseline-clean",),
        ("--output", "."),
        ("--output", "/no/such/folder/out.json"),
        ("--no-such-option",),
    ],
)
def test_what_cannot_be_understood_is_two_without_results(logad, app_log, options):
    code, out, err = logad("scan", app_log, *options)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert "internal" not in err


def test_no_source_is_two(logad):
    assert logad("scan")[0] == 2
    assert logad("sacn")[0] == 2


def test_a_model_that_is_not_there_is_told(logad, app_log):
    code, _, err = logad("scan", app_log, "--model", "nobody")
    assert code == ExitCode.CONFIGURATION
    assert "logad train" in err


# Formats ---------------------------------------------------------------------------------------------------


def test_jsonl_has_the_schema_and_its_order(logad, app_log):
    code, out, _ = logad("scan", app_log, "--format", "jsonl")
    (verdict,) = parsed(out)
    assert code == 0
    assert list(verdict) == VERDICT_KEYS
    assert list(verdict["window"]) == WINDOW_KEYS
    assert verdict["schema"] == "logad.verdict/1"
    assert verdict["model"] is None
    assert verdict["anomalous"] is True
    assert verdict["learning"] is False
    assert verdict["score"] > 0.5
    reason = verdict["reasons"][0]
    assert list(reason) == REASON_KEYS
    line = f"2024-03-04 00:25:00 {DISK}"
    assert {"source": "app.log", "line": 1501, "text": line} in reason["evidence"]
    window = verdict["window"]
    assert (window["kind"], window["key"], window["revision"]) == ("time", None, 0)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", window["start"])
    assert window["first_line"] <= 1501 <= window["last_line"]


def test_json_is_one_array_of_the_same(logad, app_log):
    _, lines, _ = logad("scan", app_log, "--all", "--format", "jsonl")
    _, array, _ = logad("scan", app_log, "--all", "--format", "json")
    assert json.loads(array) == parsed(lines)
    quiet = wrote(app_log.parent / "quiet.log", steady(broken_at=None))
    assert json.loads(logad("scan", quiet, "--format", "json")[1]) == []
    assert logad("scan", quiet, "--format", "jsonl")[1] == ""


def test_csv_is_rfc_4180_and_says_the_same(logad, app_log):
    _, out, _ = logad("scan", app_log, "--all", "--format", "csv")
    _, lines, _ = logad("scan", app_log, "--all", "--format", "jsonl")
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    verdicts = parsed(lines)
    assert out.count("\r\n") == len(rows) + 1
    assert [row["id"] for row in rows] == [verdict["id"] for verdict in verdicts]
    assert [float(row["score"]) for row in rows] == [verdict["score"] for verdict in verdicts]
    assert [int(row["index"]) for row in rows] == list(range(len(rows)))


def test_text_is_strangest_first(logad, tmp_path):
    lines = orders(odd=(150, 151, 152))
    lines.insert(700, f"2024-03-04 00:05:50,000 {DISK} ord_00175")
    log = wrote(tmp_path / "orders.log", lines)
    _, out, _ = logad("scan", log, "--session-regex", r"ord_\d+")
    shown = [float(score) for score in re.findall(r"^ *\d+  (0\.\d\d)  ", out, re.MULTILINE)]
    assert len(shown) >= 2
    assert shown == sorted(shown, reverse=True)


def test_severity_follows_the_score(logad, tmp_path):
    log = wrote(tmp_path / "orders.log", orders(odd=(20, 90, 150)))
    verdicts = parsed(logad("scan", log, "--all", "--format", "jsonl")[1])
    for verdict in verdicts:
        score = verdict["score"]
        tier = "page" if score > 0.9 else "digest" if score > 0.7 else "index" if score > 0.5 else "none"
        assert (verdict["severity"], verdict["anomalous"]) == (tier, tier != "none")
    assert sum(verdict["anomalous"] for verdict in verdicts) >= 3


# Order, indices, determinism -------------------------------------------------------------------------------


def test_without_all_the_same_verdicts_come_with_gaps_in_their_indices(logad, tmp_path):
    log = wrote(tmp_path / "orders.log", orders(odd=(20, 90, 150)))
    every = logad("scan", log, "--all", "--format", "jsonl")[1].splitlines()
    found = logad("scan", log, "--format", "jsonl")[1].splitlines()
    assert found == [line for line in every if json.loads(line)["anomalous"]]
    assert [json.loads(line)["window"]["index"] for line in every] == list(range(len(every)))


def test_verdicts_come_in_order_of_the_first_record(logad, tmp_path):
    log = wrote(tmp_path / "orders.log", orders())
    verdicts = parsed(logad("scan", log, "--all", "--session-regex", r"ord_\d+", "--format", "jsonl")[1])
    firsts = [verdict["window"]["first_line"] for verdict in verdicts]
    assert firsts == sorted(firsts)
    assert [verdict["window"]["key"] for verdict in verdicts] == [
        f"ord_{number:05d}" for number in range(200)
    ]
    assert all(verdict["learning"] is False for verdict in verdicts)


def test_the_same_bytes_come_out_in_any_process_and_folder(tmp_path):
    outputs = set()
    for number, threads in enumerate(("1", "2")):
        folder = tmp_path / f"deep{'er' * number}"
        folder.mkdir()
        wrote(folder / "orders.log", orders())
        where = {"cwd": folder} if number else {}
        source = "orders.log" if number else folder / "orders.log"
        environment = {"PYTHONHASHSEED": str(number), "POLARS_MAX_THREADS": threads}
        done = ran(
            "scan", source, "--all", "--format", "jsonl", state=folder, environment=environment, **where
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert outputs.pop().count("\n") == 200


@pytest.mark.parametrize("size", [700, 4096, 30_000])
def test_the_same_bytes_come_out_whatever_the_buffer(logad, tmp_path, monkeypatch, size):
    log = wrote(tmp_path / "app.log", steady(600, 300))
    options = ("--all", "--window", "1m", "--format", "jsonl")
    whole = logad("scan", log, *options)
    small = functools.partial(FileSource, buffer_bytes=size)
    monkeypatch.setattr("logad.sources._naming.FileSource", small)
    assert logad("scan", log, *options)[1] == whole[1]


def test_state_that_scans_leave_changes_nothing(logad, app_log):
    first = logad("scan", app_log, "--format", "jsonl")
    logad("train", app_log, "--model", "m")
    assert logad("scan", app_log, "--format", "jsonl") == first


# Streams of output -----------------------------------------------------------------------------------------


def test_results_go_to_standard_output_and_all_else_to_standard_error(logad, app_log):
    _, out, err = logad("scan", app_log, "--format", "jsonl")
    assert len(parsed(out)) == 1
    for name in ("stream", "encoding", "format", "time", "service", "windows"):
        assert re.search(rf"^{name} ", err, re.MULTILINE)


def test_in_a_pipe_there_is_no_colour_and_no_progress_bar(app_log, tmp_path):
    done = ran("scan", app_log, state=tmp_path)
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr


def on_terminal(*args, state, environment=None):
    """What a run shows on a terminal that takes its output and its errors."""
    master, slave = pty.openpty()
    shown = b""
    process = started(
        *args,
        state=state,
        stdout=slave,
        stderr=slave,
        environment={"TERM": "xterm-256color", **(environment or {})},
    )
    os.close(slave)
    with process:
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
    os.close(master)
    assert process.returncode == 0
    return shown.decode()


def test_on_a_terminal_there_is_a_progress_bar_and_colour(app_log, tmp_path):
    shown = on_terminal("scan", app_log, state=tmp_path)
    assert "reading" in shown
    assert re.search(r"\x1b\[[0-9;]*m[^\n]*(DIGEST|PAGE|INDEX)", shown)


def test_no_color_is_respected(app_log, tmp_path):
    shown = on_terminal("scan", app_log, state=tmp_path, environment={"NO_COLOR": "1"})
    assert not re.search(r"\x1b\[[0-9;]*[1-9]m", shown)


def test_output_replaces_a_file_only_once_it_is_whole(logad, app_log, tmp_path):
    target = tmp_path / "found.jsonl"
    target.write_text("before")
    assert logad("scan", tmp_path / "no.log", "--format", "jsonl", "--output", target)[0] == 4
    assert target.read_text() == "before"
    code, out, _ = logad("scan", app_log, "--format", "jsonl", "--output", target)
    assert (code, out, len(parsed(target.read_text()))) == (0, "", 1)
    assert not list(tmp_path.glob(".*.part"))


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path):
    target = tmp_path / "found.jsonl"
    target.write_text("before")

    def fail():
        with whole_file(target) as file:
            file.write("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["found.jsonl"]


def test_a_full_disk_is_a_delivery_error_and_a_folder_a_wrong_option(tmp_path):
    with pytest.raises(DeliveryError, match="no space left"), whole_file(Path("/dev/full")) as file:
        file.write("x" * 100_000)
    with pytest.raises(UsageError, match="is a directory"), whole_file(tmp_path):
        pass


def test_output_may_be_a_device(logad, app_log):
    assert logad("scan", app_log, "--output", "/dev/null", "--stats", "/dev/null")[:2] == (0, "")


# Counters --------------------------------------------------------------------------------------------------


def test_stats_have_the_schema_and_add_up(logad, tmp_path):
    lines = steady()
    lines[10:10] = ["", "    at a.B(c)", "    at d.E(f)", ""]
    log = wrote(tmp_path / "app.log", lines)
    stats_file = tmp_path / "stats.json"
    logad("scan", log, "--stats", stats_file)
    stats = accounts(stats_file)
    assert set(stats) >= STATS_KEYS
    assert stats["schema"] == "logad.stats/1"
    assert set(stats["seconds"]) == {"total", "read", "parse", "mine", "window", "detect", "explain", "write"}
    assert (stats["lines"], stats["bytes"], stats["records"]) == (3004, log.stat().st_size, 3000)
    assert stats["anomalous"] == 1
    assert stats["windows"] == 50
    assert stats["peak_rss_bytes"] > 1 << 20


def test_records_without_a_key_are_counted_and_told(logad, tmp_path):
    log = wrote(tmp_path / "orders.log", [*orders(), "2024-03-04 01:00:00,000 INFO idle"] * 2)
    stats_file = tmp_path / "stats.json"
    _, _, err = logad("scan", log, "--session-regex", r"ord_\d+", "--stats", stats_file)
    assert accounts(stats_file)["unkeyed"] == 2
    assert "2 records without a key" in err


def test_a_record_with_several_keys_belongs_to_each_session(logad, tmp_path):
    log = wrote(
        tmp_path / "orders.log", [*orders(), "2024-03-04 00:00:00 INFO merged ord_00001 ord_00002 ord_00001"]
    )
    out = logad("scan", log, "--all", "--session-regex", r"ord_(\d+)", "--format", "jsonl")[1]
    records = {verdict["window"]["key"]: verdict["window"]["records"] for verdict in parsed(out)}
    assert (records["00001"], records["00002"], records["00003"]) == (5, 5, 4)


# Ranges of time --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (("--since", "2024-03-04T00:40:00Z"), 600),
        (("--until", "2024-03-04T00:10:00"), 600),
        (("--since", "2024-03-04T01:10:00+01:00", "--until", "2024-03-04 00:20:00"), 600),
        (("--since", "10m"), 601),
        (("--until", "30m"), 1199),
        (("--since", "36500d"), 3000),
    ],
)
def test_a_range_of_time_keeps_what_is_in_it_and_counts_the_rest(logad, app_log, tmp_path, options, kept):
    stats_file = tmp_path / "stats.json"
    code, _, _ = logad("scan", app_log, *options, "--stats", stats_file)
    stats = accounts(stats_file)
    assert (code, stats["records"], stats["lines"]) == (0, kept, 3000)
    assert stats["dropped"].get("out_of_range", 0) == 3000 - kept


def test_a_range_of_time_needs_times(logad, tmp_path):
    log = wrote(tmp_path / "plain.log", (f"request {number} served" for number in range(500)))
    code, _, err = logad("scan", log, "--since", "2h")
    assert code == 4
    assert "no record has a time" in err


def test_windows_of_time_need_times(logad, app_log, tmp_path):
    log = wrote(tmp_path / "plain.log", (f"request {number} served" for number in range(500)))
    code, out, err = logad("scan", log, "--window", "5m")
    assert (code, out) == (4, "")
    assert "no record has a time" in err
    stats_file = tmp_path / "stats.json"
    code, out, err = logad("scan", log, app_log, "--window", "1m", "--format", "jsonl", "--stats", stats_file)
    assert code == 4
    assert {verdict["service"] for verdict in parsed(out)} == {"app"}
    assert err.splitlines()[-1].startswith("logad: plain.log: no record has a time")
    assert accounts(stats_file)["dropped"] == {"without_time": 500}


# Sources ---------------------------------------------------------------------------------------------------


def test_standard_input_is_read(logad, app_log, tmp_path):
    done = ran("scan", "-", "--format", "jsonl", state=tmp_path, given=app_log.read_text())
    (verdict,) = parsed(done.stdout)
    assert done.returncode == 0
    assert verdict["reasons"][0]["evidence"][0]["source"] == "stdin"


def test_a_compressed_file_says_the_same_as_the_plain_one(logad, app_log, tmp_path):
    folder = tmp_path / "packed"
    folder.mkdir()
    packed = folder / "app.log.gz"
    packed.write_bytes(gzip.compress(app_log.read_bytes()))
    plain, unpacked = (parsed(logad("scan", path, "--format", "jsonl")[1]) for path in (app_log, packed))
    assert [verdict["window"] for verdict in unpacked] == [verdict["window"] for verdict in plain]


def test_several_sources_are_merged_by_time(logad, tmp_path):
    lines = orders()
    one, two = wrote(tmp_path / "one.log", lines[::2]), wrote(tmp_path / "two.log", lines[1::2])
    together = parsed(logad("scan", two, one, "--all", "--session-regex", r"ord_\d+", "--format", "jsonl")[1])
    assert [verdict["window"]["key"] for verdict in together] == [
        f"ord_{number:05d}" for number in range(200)
    ]
    assert all(verdict["window"]["records"] == 4 for verdict in together)


def test_windows_of_records_never_span_two_streams(logad, tmp_path):
    one, two = wrote(tmp_path / "one.log", steady(95)), wrote(tmp_path / "two.log", steady(53))
    out = logad("scan", one, two, "--all", "--window-records", "10", "--format", "jsonl")[1]
    sizes: dict[str, list[int]] = {}
    for verdict in parsed(out):
        sizes.setdefault(verdict["service"], []).append(verdict["window"]["records"])
    assert sizes == {"one": [10] * 9 + [5], "two": [10] * 5 + [3]}


def json_line(number):
    moment = START + timedelta(seconds=number)
    line = {"time": moment.isoformat(), "level": "info", "service": "shop", "msg": f"beat {number}"}
    return json.dumps(line)


def cri_line(number):
    return f"2024-03-04T00:{number // 60 % 60:02}:{number % 60:02}.5Z stdout F INFO beat {number}"


def docker_line(number):
    stamp = f"2024-03-04T00:{number // 60 % 60:02}:{number % 60:02}.000000001Z"
    return json.dumps({"log": f"beat {number}\n", "stream": "stdout", "time": stamp})


@pytest.mark.parametrize("line", [json_line, cri_line, docker_line])
def test_lines_in_envelopes_are_read(logad, tmp_path, line):
    log = wrote(tmp_path / "pod.log", map(line, range(300)))
    (template,) = parsed(logad("templates", log, "--format", "jsonl")[1])
    assert (template["template"], template["count"]) == ("beat <NUM>", 300)
    found = parsed(logad("scan", log, "--all", "--window", "1m", "--format", "jsonl")[1])
    assert found[0]["window"]["start"] == "2024-03-04T00:00:00.000Z"
    assert [verdict["window"]["records"] for verdict in found] == [60] * 5


def test_a_package_managers_log_is_read(logad, tmp_path):
    log = Path("/var/log/dpkg.log")
    if not (log.exists() and log.stat().st_size):
        print("no /var/log/dpkg.log here")
        pytest.skip("no /var/log/dpkg.log here")
    stats_file = tmp_path / "stats.json"
    code, out, _ = logad("scan", log, "--all", "--format", "jsonl", "--stats", stats_file)
    stats = accounts(stats_file)
    assert (code, stats["lines"]) == (0, log.read_bytes().count(b"\n"))
    assert stats["windows"] == len(parsed(out))


# Judged by something else ----------------------------------------------------------------------------------


def test_a_baseline_decides_what_is_normal(logad, tmp_path):
    before = wrote(tmp_path / "before.log", steady(broken_at=None))
    after = wrote(
        tmp_path / "after.log",
        [line.replace("INFO beat", "ERROR out of memory") for line in steady(600, None)],
    )
    options = ("--window", "1m", "--format", "jsonl")
    for clean in ((), ("--baseline-clean",)):
        code, out, _ = logad("scan", after, "--baseline", before, *clean, *options)
        assert (code, len(parsed(out))) == (0, 10)


def test_a_missing_baseline_is_four_and_the_rest_is_judged(logad, app_log, tmp_path):
    code, out, err = logad("scan", app_log, "--baseline", app_log, "--baseline", tmp_path / "no.log")
    assert code == 4
    assert "windows judged" in out or "anomalous" in out
    assert "no.log: no such file" in err


def test_a_range_of_time_leaves_the_baseline_whole(logad, app_log, tmp_path):
    before = wrote(tmp_path / "before.log", (line.replace("2024", "2023") for line in steady(broken_at=None)))
    assert logad("scan", app_log, "--baseline", before, "--since", "2024-03-04")[0] == 0


def test_a_stored_model_judges_and_signs(logad, app_log, tmp_path):
    before = wrote(tmp_path / "before.log", steady(broken_at=None))
    code, report, _ = logad("train", before, "--model", "shop")
    assert code == 0
    assert report.startswith("model shop version 1 (")
    assert "50 windows" in report
    code, out, _ = logad("scan", app_log, "--model", "shop", "--format", "jsonl")
    (verdict,) = parsed(out)
    assert code == 0
    assert verdict["model"]["version"] == 1
    assert verdict["model"]["id"] in report
    assert "disk failure" in verdict["reasons"][0]["text"]
    assert logad("train", before, "--model", "shop")[1].startswith("model shop version 2 (")


def test_a_model_cannot_judge_other_windows_than_it_knows(logad, app_log):
    logad("train", app_log, "--model", "shop", "--window", "1m")
    assert logad("scan", app_log, "--model", "shop", "--window", "1m")[0] == 0
    code, _, err = logad("scan", app_log, "--model", "shop", "--window", "5m")
    assert code == 2
    assert "model shop judges windows of 1m" in err


# Templates -------------------------------------------------------------------------------------------------


def test_templates_have_the_schema(logad, app_log):
    code, out, _ = logad("templates", app_log, "--format", "jsonl")
    mined = parsed(out)
    assert code == 0
    assert [list(one) for one in mined] == [TEMPLATE_KEYS] * 3
    assert {one["schema"] for one in mined} == {"logad.template/1"}
    assert [one["count"] for one in mined] == [2400, 599, 1]
    assert {one["template"]: one["first_line"] for one in mined}["beat <NUM>"] == 1
    assert mined[0]["services"] == ["app"]
    assert json.loads(logad("templates", app_log, "--format", "json")[1]) == mined
    rows = list(csv.DictReader(io.StringIO(logad("templates", app_log, "--format", "csv")[1], newline="")))
    assert [row["template_id"] for row in rows] == [one["template_id"] for one in mined]


def test_assignments_have_a_row_per_record_with_its_first_line(logad, tmp_path):
    lines = steady(50, None)
    lines[10:10] = ["    at a.B(c)", "", '    at "d", e,\r']
    log = wrote(tmp_path / "app.log", lines)
    target = tmp_path / "assigned.csv"
    code, out, _ = logad("templates", log, "--assignments", target, "--format", "jsonl")
    assert code == 0
    text = target.read_bytes().decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[0] == ["line", "template_id", "template"]
    assert text.startswith("line,template_id,template\r\n")
    assert [int(row[0]) for row in rows[1:]] == [*range(1, 11), *range(14, 54)]
    known = {one["template_id"]: one["template"] for one in parsed(out)}
    assert all(known[row[1]] == row[2] for row in rows[1:])


# What was found, again -------------------------------------------------------------------------------------


def test_explain_shows_a_finding_with_lines_around_it(logad, app_log):
    (verdict,) = parsed(logad("scan", app_log, "--format", "jsonl")[1])
    code, out, _ = logad("explain", verdict["id"][:12])
    assert code == 0
    assert "app.log, around the evidence" in out
    assert [int(number) for number in re.findall(r"^  [> ] +(\d+)  ", out, re.MULTILINE)] == list(
        range(1498, 1505)
    )
    told = json.loads(logad("explain", verdict["id"], "--format", "json")[1])
    assert told["verdicts"] == [verdict]


@pytest.mark.parametrize("id_", ["ffffffffff", "%", "_"])
def test_explain_knows_no_other_ids(logad, app_log, id_):
    logad("scan", app_log)
    code, out, err = logad("explain", id_)
    assert (code, out) == (2, "")
    assert "no verdict or incident begins so" in err


def test_incidents_of_a_watch_are_listed_taken_and_muted(logad, app_log):
    code, _, _ = logad(
        "watch", app_log, "--window", "1m", "--warmup", "600r", "--until-idle", "1s", "--dry-run"
    )
    assert code == 0
    code, out, _ = logad("incidents")
    assert code == 0
    line = next(line for line in out.splitlines() if "disk failure" in line)
    id_ = line.split()[0]
    code, out, _ = logad("explain", id_)
    assert (code, out.startswith("incident ")) == (0, True)
    code, out, _ = logad("ack", id_, "--who", "ada")
    assert code == 0
    assert "is with ada" in out
    code, out, _ = logad("mute", id_, "--reason", "known")
    assert code == 0
    assert "the rule is in " in out
    assert "with ada" in logad("incidents")[1]
    assert id_ in logad("incidents", "--state", "muted")[1]
    assert logad("mute", id_, "--reason", "again")[0] == 3
    assert logad("ack", "no-such")[0] == 2
    assert logad("mute", id_, "--for", "soon")[0] == 2
    assert logad("rules")[0] == 0


def test_where_no_watch_ran_there_are_no_incidents(logad):
    for args in (("incidents",), ("ack", "x"), ("mute", "x")):
        code, _, err = logad(*args)
        assert code == ExitCode.CONFIGURATION
        assert "no ledger here" in err


def test_windows_that_only_teach_have_no_index(logad, app_log):
    options = ("--window", "1m", "--warmup", "50%", "--all", "--format", "jsonl")
    code, out, err = logad("backtest", app_log, *options)
    verdicts = parsed(out)
    learning = [verdict for verdict in verdicts if verdict["learning"]]
    assert code == 0
    assert "the alerts you would have got" in err
    assert learning
    assert all("index" not in verdict["window"] and not verdict["anomalous"] for verdict in learning)
    indices = [verdict["window"]["index"] for verdict in verdicts if not verdict["learning"]]
    assert indices == list(range(len(indices)))


# Configuration and rules -----------------------------------------------------------------------------------


def test_init_writes_a_configuration_that_is_in_order_and_never_over_one(logad, tmp_path):
    path = tmp_path / "logad.yaml"
    assert logad("init", path)[0] == 0
    code, out, _ = logad("config", path)
    assert (code, json.loads(out).keys() <= {"state_dir"}) == (0, True)
    written = path.read_text()
    assert logad("init", path)[0] == 3
    assert path.read_text() == written
    assert logad("init", tmp_path / "no" / "logad.yaml")[0] == 3


def test_config_prints_a_schema(logad):
    code, out, _ = logad("config", "--schema")
    assert (code, json.loads(out)["type"]) == (0, "object")


def test_a_key_of_the_environment_is_configuration(logad, app_log, monkeypatch):
    monkeypatch.setenv("LOGAD__WINDOWS__WINDOW", "5m")
    assert "windows of 5m per service" in logad("scan", app_log)[2]
    assert "windows of 2m per service" in logad("scan", app_log, "--window", "2m")[2]


def test_rules_are_listed_and_broken_ones_refused(logad, tmp_path):
    code, out, _ = logad("rules")
    assert code == 0
    assert re.search(r"^mask +url ", out, re.MULTILINE)
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "mine.yaml").write_text("masks:\n  - name: x\n    regex: '('\n")
    config = tmp_path / "logad.yaml"
    config.write_text(f"rules: [{folder}]\n")
    code, _, err = logad("rules", "--config", config)
    assert code == 3
    assert "mine.yaml" in err


def test_doctor_tells_what_is_wrong(logad, tmp_path):
    code, out, _ = logad("doctor")
    assert (code, "FAIL" in out) == (0, False)
    config = tmp_path / "logad.yaml"
    config.write_text(f"sources: [{tmp_path}/no.log]\n")
    code, out, _ = logad("doctor", "--config", config)
    assert code == 3
    assert re.search(r"^FAIL +source .*no such file", out, re.MULTILINE)


def test_models_are_listed_promoted_and_rolled_back(tmp_path):
    log = tmp_path / "app.log"
    log.write_text("".join(f"2024-01-01 00:{n // 60:02}:{n % 60:02} INFO beat {n}\n" for n in range(600)))
    for _ in range(2):
        assert ran("train", log, "--model", "app", "--window-records", 20, state=tmp_path).returncode == 0
    listed = ran("models", state=tmp_path).stdout.splitlines()
    assert [line.split()[:2] for line in listed] == [["app", "1"], ["app", "2"]]
    assert [line.endswith("in use") for line in listed] == [False, True]
    promoted = ran("models", "app", "--promote", 1, state=tmp_path).stdout.splitlines()
    assert [line.endswith("in use") for line in promoted] == [True, False]
    back = ran("models", "app", "--rollback", state=tmp_path).stdout.splitlines()
    assert [line.endswith("in use") for line in back] == [False, True]
    assert ran("models", "--rollback", state=tmp_path).returncode == 2
    assert ran("models", "app", "--promote", 7, state=tmp_path).returncode == 3
