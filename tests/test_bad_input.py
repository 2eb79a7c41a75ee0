"""Whatever lies in the way, a run ends with an error of one line or a counted warning, and its sums hold."""

import gzip
import json
import os
import random
import subprocess
import sys
import threading

import pytest
from command import ROOT, accounts, parsed, ran, steady, wrote
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logad import api, cli
from logad.batch import Observer
from logad.errors import InputError
from logad.telemetry import Telemetry

MOST_MEMORY = 400 << 20


@pytest.fixture
def scan(tmp_path, capsys, monkeypatch):
    """Scans in this process; gives code, output, errors and the counters."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    stats = tmp_path / "state" / "stats.json"
    stats.parent.mkdir()

    def call(*args):
        monkeypatch.setattr(sys, "argv", ["logad", "scan", *map(str, args), "--stats", str(stats)])
        code = cli._run()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        assert code != 70, captured.err
        return code, captured.out, captured.err, accounts(stats)

    return call


def refused(result, *words):
    """The run read nothing, and said so in one line: where, what was found, what was expected."""
    code, out, err, stats = result
    last = err.splitlines()[-1]
    assert (code, out, stats["records"], stats["windows"]) == (4, "", 0, 0)
    assert last.startswith("logad: ")
    assert "; expected " in last
    assert all(word in last for word in words), last
    return last


def lines_in(path):
    content = path.read_bytes()
    return content.count(b"\n") + (bool(content) and not content.endswith(b"\n"))


# Nothing to read -------------------------------------------------------------------------------------------


def test_a_missing_file_is_refused(scan, tmp_path):
    assert refused(scan(tmp_path / "no.log"), "no.log: no such file or folder", "check the spelling")


def test_a_glob_without_matches_is_refused(scan, tmp_path):
    assert refused(scan(tmp_path / "*.log"), "*.log: ")


def test_all_missing_sources_are_named(scan, tmp_path):
    code, _, err, _ = scan(tmp_path / "a.log", tmp_path / "b.log")
    assert (code, "a.log" in err, "b.log" in err) == (4, True, True)


def test_a_folder_without_logs_is_refused_and_says_what_it_skipped(scan, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    assert refused(scan(folder), "a folder without readable logs")
    (folder / ".hidden.log").write_text("one\n")
    (folder / "core").write_bytes(b"\0\1\2" * 100)
    assert refused(scan(folder), "1 hidden", "1 binary")


def test_an_empty_file_is_refused(scan, tmp_path):
    assert refused(scan(wrote(tmp_path / "empty.log", [])), "empty.log: no records")


def test_a_file_of_blank_lines_is_refused_with_its_count(scan, tmp_path):
    result = scan(wrote(tmp_path / "blank.log", ["", "  ", "\t"]))
    assert refused(result, "3 empty")
    assert (result[3]["lines"], result[3]["dropped"]) == (3, {"empty": 3})


def test_a_binary_file_is_refused(scan, tmp_path):
    path = tmp_path / "image.log"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 500)
    assert refused(scan(path), "a binary file")


def test_binary_standard_input_is_refused(tmp_path):
    done = ran("scan", "-", state=tmp_path, given="\0\1\2\n" * 1000)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.splitlines()[-1].startswith("logad: stdin: binary; expected text")


def test_empty_and_closed_standard_input_are_refused(tmp_path):
    assert ran("scan", "-", state=tmp_path, given="").returncode == 4
    closed = f"exec {sys.executable} -m logad scan - <&-"
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(["sh", "-c", closed], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 4
    assert done.stderr == (
        "logad: standard input: closed; expected a pipe or a file; give a path, or pipe something in\n"
    )


def test_links_that_lead_in_circles_are_refused_or_passed_over(scan, tmp_path):
    link = tmp_path / "loop.log"
    link.symlink_to(link)
    assert refused(scan(link), "loop.log: no such file")
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "self").symlink_to(folder)
    (folder / "loop.log").symlink_to(folder / "loop.log")
    wrote(folder / "app.log", steady(300))
    code, _, _, stats = scan(folder)
    assert (code, stats["records"]) == (0, 300)


def test_a_socket_is_refused(scan, tmp_path, monkeypatch):
    import socket  # noqa: PLC0415  (this test alone)

    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("app.sock")
        assert refused(scan("app.sock"), "cannot be read")


AS_NOBODY = """
import os, sys
from logad import cli
folder, *given = sys.argv[1:]
sys.argv = ["logad", "scan", folder + "/app.log", "--output", "/dev/null"]
assert cli._run() == 0  # all that is needed is imported now
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.argv = ["logad", "scan", *given]
cli.main()
"""


def test_what_may_not_be_read_is_refused_and_the_rest_is_judged(tmp_path):
    closed_file, closed_folder = wrote(tmp_path / "shadow.log", steady(300)), tmp_path / "private"
    closed_folder.mkdir()
    wrote(closed_folder / "app.log", steady(300))
    open_file = wrote(tmp_path / "app.log", steady(300))
    as_root = os.getuid() == 0  # who may read everything, and so becomes somebody else
    if as_root:
        if not all(folder.stat().st_mode & 0o001 for folder in (ROOT, *ROOT.parents)):
            pytest.skip("nobody but root may look into this checkout")
        for folder in (tmp_path, *tmp_path.parents):
            if not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o001)
    closed_file.chmod(0)
    closed_folder.chmod(0)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path)}
    start = ("-c", AS_NOBODY, str(tmp_path)) if as_root else ("-m", "logad", "scan")
    try:
        for path in (closed_file, closed_folder):
            command = [sys.executable, *start, str(path), str(open_file), "--format", "jsonl", "--all"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 4, done.stderr
            assert len(parsed(done.stdout)) > 0
            assert "no permission to read this" in done.stderr.splitlines()[-1]
    finally:
        closed_file.chmod(0o600)
        closed_folder.chmod(0o700)


# Damaged text ----------------------------------------------------------------------------------------------


def test_bytes_that_are_no_text_are_counted_and_kept(scan, tmp_path):
    path = wrote(tmp_path / "app.log", steady(500))
    with path.open("ab") as file:
        file.write(b"2024-03-04 01:00:00 INFO caf\xe9 \xff\xfe\n" * 3)
    code, _, err, stats = scan(path)
    assert (code, stats["records"], stats["lines"]) == (0, 503, 503)
    assert stats["notes"]["invalid_bytes"] == 3
    assert "note       3 invalid bytes" in err


def test_lines_without_time_are_judged_all_the_same(scan, tmp_path):
    path = wrote(tmp_path / "app.log", (line[20:] for line in steady()))
    code, out, err, stats = scan(path)
    assert (code, stats["records"], stats["anomalous"]) == (0, 3000, 1)
    assert "no record has a time" in err
    assert "disk failure" in out


def test_broken_json_lines_are_counted(scan, tmp_path):
    whole = ({"time": f"2024-03-04T00:{n // 60:02}:{n % 60:02}Z", "msg": f"beat {n}"} for n in range(1000))
    lines = [json.dumps(one) for one in whole]
    lines[100:400:10] = [line[:20] for line in lines[100:400:10]]
    code, _, err, stats = scan(wrote(tmp_path / "app.json", lines))
    assert (code, stats["records"], stats["lines"]) == (0, 970, 1000)
    assert stats["dropped"] == {"undecodable": 30}
    assert "dropped    30 undecodable" in err


def test_a_torn_archive_gives_what_it_holds_with_a_warning(scan, tmp_path):
    path = tmp_path / "app.log.gz"
    packed = gzip.compress("".join(f"{line}\n" for line in steady(5000, None)).encode())
    path.write_bytes(packed[: len(packed) // 2])
    code, _, err, stats = scan(path)
    assert code == 0
    assert 1000 < stats["records"] < 4000
    assert stats["notes"]["archive_truncated"] == 1
    assert "1 archive truncated" in err


def test_a_damaged_archive_gives_what_comes_before_with_a_warning(scan, tmp_path):
    path = tmp_path / "app.log.gz"
    packed = bytearray(gzip.compress("".join(f"{line}\n" for line in steady(20_000, None)).encode()))
    packed[len(packed) // 2 : len(packed) // 2 + 200] = b"\xff" * 200
    path.write_bytes(packed)
    code, _, _, stats = scan(path)
    assert code == 0
    assert stats["records"] > 1000
    assert stats["notes"]["archive_damaged"] == 1


@pytest.mark.parametrize("tail", [b"\n" + b"2024-03-04 01:00:00 INFO after\n" * 100, b""])
def test_a_line_of_fifty_megabytes_fits_into_little_memory(tmp_path, tail):
    path = tmp_path / "app.log"
    with path.open("wb") as file:
        file.write(b"2024-03-04 00:00:00 INFO before\n" * 100)
        for _ in range(50):
            file.write(b"x" * 1_000_000)
        file.write(tail)
    stats_file = tmp_path / "stats.json"
    done = ran("scan", path, "--stats", stats_file, "--format", "json", "--all", state=tmp_path)
    stats = accounts(stats_file)
    assert done.returncode == 0
    assert (stats["lines"], stats["notes"]["line_truncated"]) == (lines_in(path), 1)
    assert stats["peak_rss_bytes"] < MOST_MEMORY
    assert len(done.stdout) < 1_000_000


@pytest.mark.parametrize("line", ['{"a":' * 5000 + "1" + "}" * 5000, "[" * 100_000, '{"a": [' + "[" * 5000])
def test_json_nested_without_end_is_text(scan, tmp_path, line):
    code, _, _, stats = scan(wrote(tmp_path / "app.log", [line] * 40))
    assert code == 0
    assert stats["lines"] == 40


def test_times_at_the_ends_of_the_calendar_are_times(scan, tmp_path):
    lines = [f"{year}-12-31 23:59:{n:02} INFO beat {n}" for n in range(60) for year in ("0001", "9999")]
    path = wrote(tmp_path / "app.log", lines)
    assert scan(path)[0] == 0
    assert scan(path, "--window", "1d")[0] == 0
    assert scan(path, "--since", "100d")[3]["dropped"] == {"out_of_range": 60}


# Things that change under the reader -----------------------------------------------------------------------


def long_log(path):
    return wrote(path, (f"2024-03-04 00:00:{n % 60:02} INFO beat {n:09d} {'.' * 100}" for n in range(80_000)))


def test_a_file_that_shrinks_while_it_is_read_gives_what_was_there(tmp_path):
    path = long_log(tmp_path / "app.log")
    telemetry = Telemetry()
    shrinking = Observer(progress=lambda _bytes: os.truncate(path, 100), telemetry=telemetry)
    result = api.scan(path, observer=shrinking, window_records=1000, state_dir=tmp_path)
    stats = result.stats
    assert stats["records"] + sum(stats["dropped"].values()) == stats["received"]
    assert 0 < stats["records"] < 80_000
    assert stats["notes"]["shrunk"] == 1


def test_a_file_that_is_deleted_while_it_is_read_is_read_to_its_end(tmp_path):
    path = long_log(tmp_path / "app.log")
    deleting = Observer(progress=lambda _bytes: path.unlink(missing_ok=True))
    result = api.scan(path, observer=deleting, window_records=1000, state_dir=tmp_path)
    assert result.stats["records"] == 80_000


def test_a_file_that_is_deleted_before_its_turn_is_a_counted_warning(tmp_path):
    first, second = wrote(tmp_path / "a.log", steady(300)), wrote(tmp_path / "b.log", steady(300))
    deleting = Observer(note=lambda _name, _text: second.unlink(missing_ok=True))
    result = api.scan(first, second, observer=deleting, window_records=100, state_dir=tmp_path)
    assert result.stats["records"] == 300
    assert result.stats["notes"].get("vanished", 0) + len(result.faults) == 1


def test_a_named_pipe_is_read_to_its_end(scan, tmp_path):
    path = tmp_path / "app.fifo"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: wrote(path, steady(300)))
    writer.start()
    code, _, _, stats = scan(path)
    writer.join()
    assert (code, stats["records"]) == (0, 300)


# Hostile names and text ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["two\nlines.log", "red\x1b[31m.log", "[glob]*.log", "a'\"b;c.log", "caf\udce9.log", " .log"]
)
def test_no_file_name_steers_the_terminal(scan, tmp_path, name):
    path = wrote(tmp_path / name, steady(600, 300))
    code, out, err, stats = scan(path)
    assert (code, stats["records"]) == (0, 600)
    for text in (out, err):
        assert "\x1b" not in text
        assert all(line.isprintable() for line in text.splitlines())
    code, out, _, _ = scan(path, "--format", "jsonl")
    assert (code, len(parsed(out))) == (0, 1)


def test_a_missing_file_with_a_hostile_name_is_told_in_one_line(scan, tmp_path):
    _, _, err, _ = scan(tmp_path / "a\nb\x1b[2J.log")
    assert len(err.splitlines()) == 1
    assert err.rstrip("\n").isprintable()


def test_no_log_line_steers_the_terminal(scan, tmp_path):
    lines = steady(600, None)
    lines[300] = "2024-03-04 00:05:00 ERROR \x1b]0;owned\x07 disk \x1b[2J failure\r gone \u202eevil"
    code, out, err, _ = scan(wrote(tmp_path / "app.log", lines))
    assert (code, "failure" in out) == (0, True)
    assert all(line.isprintable() for line in (out + err).splitlines())


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.binary(max_size=120), max_size=60), st.booleans())
def test_any_bytes_end_in_a_result_or_a_plain_error(tmp_path_factory, lines, headed):
    folder = tmp_path_factory.mktemp("any")
    path = folder / "app.log"
    head = b"2024-03-04 00:00:00 INFO " if headed else b""
    path.write_bytes(b"\n".join(head + line for line in lines))
    telemetry = Telemetry()
    try:
        api.scan(path, observer=Observer(telemetry=telemetry), state_dir=folder, every=True)
    except InputError as error:
        assert error.expected  # noqa: PT017  (either outcome is right)
    stats = telemetry.as_dict()
    assert stats["records"] + sum(stats["dropped"].values()) == stats["received"]
    if stats["records"]:
        assert stats["lines"] == lines_in(path)


def test_noise_is_judged_without_complaint(scan, tmp_path):
    path = tmp_path / "noise.log"
    path.write_bytes(bytes(random.Random(1).randrange(1, 256) for _ in range(200_000)))
    code, _, _, stats = scan(path)
    assert (code, stats["lines"]) == (0, lines_in(path))
