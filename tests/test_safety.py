"""What the program must never do to a user's files, secrets and counts."""

import json
import stat
import time
from datetime import UTC, datetime, timedelta

import pytest
from command import ran, started, wrote

from logad import api
from logad.ledger import Ledger
from logad.options import checked
from logad.recall import told_source
from logad.rules import LiveMutes, Mute, add_mute

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTES = ("--window", "1m", "--warmup", "600r", "--until-idle", "1s", "--dry-run")


@pytest.fixture
def log(tmp_path):
    lines = [f"2024-03-04 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02} INFO beat {n}" for n in range(1800)]
    lines[1500] = f"{lines[1500][:19]} ERROR disk failure on sda, cannot write block 7"
    return wrote(tmp_path / "app.log", lines)


@pytest.mark.parametrize("command", ["scan", "backtest", "templates", "watch"])
def test_results_are_never_written_over_their_source(log, tmp_path, command):
    before = log.read_bytes()
    done = ran(command, log, "--output", log, state=tmp_path)
    assert done.returncode == 2
    assert "is a source itself" in done.stderr
    assert log.read_bytes() == before


def test_watch_does_not_touch_a_file_that_it_did_not_write(log, tmp_path):
    keep = wrote(tmp_path / "keep.txt", ["dear diary"])
    done = ran("watch", log, *MINUTES, "--output", keep, state=tmp_path)
    assert done.returncode == 2
    assert "was not written by this watch" in done.stderr
    assert keep.read_text() == "dear diary\n"


def test_an_output_file_that_was_deleted_is_written_anew_as_a_whole(log, tmp_path):
    out = tmp_path / "out.jsonl"
    command = ("watch", log, *MINUTES, "--all", "--output", out)
    assert ran(*command, state=tmp_path).returncode == 0
    first = out.read_bytes()
    assert first.count(b"\n") > 10
    out.unlink()
    assert ran(*command, state=tmp_path).returncode == 0
    assert out.read_bytes() == first


def test_the_password_of_a_source_is_neither_shown_nor_stored(tmp_path):
    spec = "opensearch+http://me:s3cretpw@127.0.0.1:9/logs"
    assert "s3cretpw" not in told_source(spec)
    for command in ("scan", "watch"):
        done = ran(command, spec, state=tmp_path)
        assert done.returncode == 4
        assert "s3cretpw" not in done.stderr + done.stdout
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"s3cretpw" not in path.read_bytes()


def test_what_is_stored_is_for_its_owner_alone(log, tmp_path):
    assert ran("watch", log, *MINUTES, state=tmp_path).returncode == 0
    assert ran("scan", log, "--window", "1m", state=tmp_path).returncode == 0
    folder = tmp_path / "logad"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("ledger.sqlite", "scans.sqlite"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_a_watch_is_not_taken_up_with_other_windows(log, tmp_path):
    assert ran("watch", log, *MINUTES, state=tmp_path).returncode == 0
    other = ("--window", "5m", "--warmup", "600r", "--until-idle", "1s", "--dry-run")
    done = ran("watch", log, *other, state=tmp_path)
    assert done.returncode == 2
    assert "windows of 1m" in done.stderr


def test_a_second_watch_counts_only_what_it_judged_itself(log, tmp_path):
    first = ran("watch", log, *MINUTES, "--fail-on-anomaly", state=tmp_path)
    second = ran("watch", log, *MINUTES, "--fail-on-anomaly", state=tmp_path)
    assert (first.returncode, second.returncode) == (1, 0)
    assert "0 anomalous" in second.stderr


def test_windows_of_equal_lines_have_ids_of_their_own(tmp_path):
    log = wrote(tmp_path / "same.log", ["the very same line"] * 500)
    done = ran("scan", log, "--window-records", 2, "--all", "--format", "jsonl", state=tmp_path)
    ids = [json.loads(line)["id"] for line in done.stdout.splitlines()]
    assert len(ids) == len(set(ids)) == 250
    done = ran("backtest", log, "--window-records", 2, "--all", "--format", "jsonl", state=tmp_path)
    assert len(done.stdout.splitlines()) == 250


def test_a_watch_that_is_stopped_leaves_its_counters(log, tmp_path):
    stats = tmp_path / "s.json"
    with started("watch", log, "--window", "1m", "--stats", stats, "--dry-run", state=tmp_path) as watch:
        while not (tmp_path / "logad" / "ledger.sqlite").exists():
            time.sleep(0.05)
        watch.terminate()
        watch.communicate(timeout=30)
    told = json.loads(stats.read_text())
    assert told["records"] + sum(told["dropped"].values()) == told["received"]


def test_a_mute_holds_at_once_and_until_its_end(tmp_path):
    mutes = LiveMutes((), tmp_path)
    assert mutes.muted("db", None, "late", NOW) is None
    add_mute(tmp_path, Mute(name="week", service="db", reason="known", until=NOW + timedelta(days=7)))
    assert mutes.muted("db", None, "late", NOW) is not None
    assert mutes.muted("db", None, "late", NOW + timedelta(days=8)) is None
    (tmp_path / "mutes.yaml").write_text("- broken: [")
    assert mutes.muted("db", None, "late", NOW) is not None


def test_rules_in_the_state_folder_change_no_scan(log, tmp_path):
    before = [verdict.id for verdict in api.scan(log, window="1m", every=True, state_dir=tmp_path).verdicts]
    (tmp_path / "rules").mkdir()
    samples = "matches: [beat], misses: [x]"
    mask = f"- {{name: all, regex: beat, placeholder: <ALL>, {samples}}}\n"
    (tmp_path / "rules" / "masks.yaml").write_text(mask)
    add_mute(tmp_path / "rules", Mute(name="quiet", service="nothing", reason="known"))
    after = [verdict.id for verdict in api.scan(log, window="1m", every=True, state_dir=tmp_path).verdicts]
    assert after == before


def test_a_bound_without_a_zone_is_in_the_zone_of_the_log():
    bound = checked({"since": "2024-01-01 13:00:00", "timezone": "America/New_York"}).since
    assert bound is not None
    assert bound.resolve(NOW) == datetime(2024, 1, 1, 18, tzinfo=UTC)


def test_an_incident_shows_who_took_it(log, tmp_path):
    assert ran("watch", log, *MINUTES, state=tmp_path).returncode == 0
    with Ledger(tmp_path / "logad" / "ledger.sqlite", owner=False) as ledger:
        incident = ledger.incidents()[0]
    assert ran("ack", incident.id, "--who", "ada", state=tmp_path).returncode == 0
    assert "(with ada)" in ran("incidents", state=tmp_path).stdout
