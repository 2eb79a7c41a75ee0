"""The demo plants what it says, runs the real program on it, and is honest about what was caught."""

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from verdicts import block

from logad.demo.scoring import scored, unplanted
from logad.demo.system import DAY, FILES, START, Planted, lines, planted, rhythm
from logad.types import Reason, Verdict

LIVE = 3600.0
INCIDENTS = planted(LIVE)


def during(kind: str, text: str) -> int:
    """How many lines with this text are written while an incident of this kind goes on."""
    (incident,) = (one for one in INCIDENTS if one.kind == kind)
    upcoming = lines(0, LIVE + 5.25 * 3600.0, INCIDENTS)
    return sum(incident.holds(moment) and text in line for moment, _, line in upcoming)


def test_the_same_seed_gives_the_same_lines_and_another_seed_others() -> None:
    assert list(lines(3, 900.0)) == list(lines(3, 900.0))
    assert list(lines(3, 900.0)) != list(lines(4, 900.0))


def test_the_requests_come_in_order_of_time_and_all_three_services_write() -> None:
    written = list(lines(0, 1800.0))
    assert {file for _, file, _ in written} == set(FILES)
    orders = [moment for moment, file, _ in written if file == FILES[1]]
    assert orders == sorted(orders)


def test_the_shop_is_busier_in_the_afternoon_than_at_night() -> None:
    assert rhythm(16 * 3600.0) == pytest.approx(1.0)
    assert rhythm(4 * 3600.0 + DAY) < 0.5


def test_each_incident_leaves_its_trace_in_the_logs_and_no_trace_elsewhere() -> None:
    assert during("new error", "cannot book movement") > 10
    assert during("missing step", "authorised") > 20
    assert during("missing step", "stored") < 5
    assert during("open/close", "opened") > 30
    assert during("open/close", "closed") < 5
    assert during("silence", "heartbeat") == 0
    quiet = [line for _, _, line in lines(0, LIVE, INCIDENTS)]
    assert not any("cannot book movement" in line for line in quiet)


def about(planted_: Planted, text: str, *, after: float = 60.0) -> Verdict:
    """A verdict on a window of the incident's service, so many seconds after its beginning."""
    start = START + timedelta(seconds=planted_.begin + after)
    verdict = block(1, 0.9)
    window = replace(verdict.window, start=start, end=start + timedelta(seconds=60))
    reason = replace(verdict.reasons[0], text=text)
    assert isinstance(reason, Reason)
    return replace(verdict, service=planted_.services[0], window=window, reasons=(reason,))


def test_an_incident_counts_as_caught_only_when_the_right_cause_is_named_at_the_right_time() -> None:
    incident = INCIDENTS[0]
    right = about(incident, "'cannot book movement <NUM>' reports an error")
    assert [one.yes for one in scored(INCIDENTS, [right])] == [True, False, False, False, False]
    assert not any(one.yes for one in scored(INCIDENTS, [about(incident, "something else")]))
    late = about(incident, "'cannot book movement <NUM>' reports an error", after=7200.0)
    assert not any(one.yes for one in scored(INCIDENTS, [late]))
    elsewhere = replace(right, service="gateway")
    assert not any(one.yes for one in scored(INCIDENTS, [elsewhere]))


def test_a_verdict_when_nothing_was_planted_is_a_false_alarm() -> None:
    early = about(INCIDENTS[0], "anything", after=-1800.0)
    assert unplanted(INCIDENTS, [early, about(INCIDENTS[0], "anything")]) == [early]


def test_the_demo_runs_from_the_shell_and_catches_what_was_planted(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "logad", "demo", "--folder", tmp_path / "demo"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Planted incidents, caught 5 of 5" in done.stdout
    assert "300 times as fast as on the wall" in done.stdout
    assert "Verdicts in SQLite" in done.stdout
    assert "logad explain" in done.stdout
    assert done.stderr == ""
