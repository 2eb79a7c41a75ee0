"""The ledger: one transaction, one owner, nothing of another shape."""

import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from builders import windows_of
from hypothesis import given
from hypothesis import strategies as st

from logad.errors import StateError, UsageError
from logad.ledger import Ledger
from logad.packing import packed, unpacked, verdict_from
from logad.steps import Alert, Fit, OutboxRow, Step, StreamState, Stretch, ViewState
from logad.types import (
    AnomalyType,
    Evidence,
    Incident,
    Reason,
    Severity,
    Verdict,
    WindowKind,
    WindowRef,
)

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


def verdict(identity="a1", score=0.95, service="shop", **window):
    ref = WindowRef(WindowKind.TIME, None, NOW, NOW + timedelta(minutes=5), 1, 9, 9, index=0)
    proof = (Evidence("app.log", 3, "refused \x1b[31m"), Evidence("logs-*", None, "gone", "doc-7"))
    reason = Reason("normal_core", AnomalyType.COLLECTIVE, "twice", "t1", "refused", "0", "2", proof)
    return Verdict(identity, service, replace(ref, **window), False, score, 0.001, {"pca": 0.25}, (reason,))


def incident(identity="i1", state="open", updated=NOW):
    return Incident(identity, "f1", "shop", state, Severity.PAGE, "refused", NOW, updated, 1, verdict())


def whole_step():
    return Step(
        streams={"app": StreamState("17", {"format": "text"}, b"\x00half")},
        shapes=[("took <n>", 2), ("failed", 4)],
        views={"0-time": ViewState(b"open", 3, (Stretch(0, windows_of([[0], [1, 0], []])),), (Fit(3, 2),))},
        verdicts=[("0-time", verdict("a1")), ("0-time", verdict("b2", score=0.2))],
        incidents=[incident()],
        members={"a1": "i1"},
        alerts=[Alert("i1", "opened", Severity.PAGE, NOW)],
        outbox=[OutboxRow("slack", "i1", {"text": "refused"})],
        meta={"place": "{}"},
    )


def test_what_one_step_wrote_another_process_reads(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.commit(whole_step())
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.streams() == {"app": StreamState("17", {"format": "text"}, b"\x00half")}
        assert ledger.shapes() == [("took <n>", 2), ("failed", 4)]
        assert ledger.view("0-time") == ViewState(b"open", 3)
        assert [first for first, _ in ledger.history("0-time")] == [0]
        assert ledger.fits("0-time") == [Fit(3, 2)]
        assert [each.id for _, each in ledger.verdicts()] == ["a1", "b2"]
        assert [each.id for _, each in ledger.verdicts(anomalous=True)] == ["a1"]
        assert ledger.counts() == (2, 1)
        assert ledger.verdict("a") == verdict("a1")
        assert ledger.verdict("zz") is None
        assert ledger.members("i1") == [verdict("a1")]
        assert ledger.incidents() == [incident()]
        assert ledger.incident("i") == incident()
        assert ledger.alerts() == [Alert("i1", "opened", Severity.PAGE, NOW, seq=1)]
        assert ledger.pending() == [OutboxRow("slack", "i1", {"text": "refused"}, seq=1)]
        assert ledger.meta("place") == "{}"


def test_a_step_that_fails_halfway_leaves_nothing_behind(tmp_path):
    broken = replace(whole_step(), outbox=[OutboxRow("slack", "i1", {"text": object()})])
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(TypeError):
            ledger.commit(broken)
        assert ledger.streams() == {}
        assert ledger.shapes() == []
        assert ledger.counts() == (0, 0)
        ledger.commit(whole_step())
        assert ledger.counts() == (2, 1)


def test_the_first_writing_of_a_verdict_wins(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.commit(Step(verdicts=[("v", verdict("a1", score=0.95))]))
        assert ledger.commit(Step(verdicts=[("v", verdict("a1", score=0.1)), ("v", verdict("c3"))])) == 1
        assert [(seq, each.id, each.score) for seq, each in ledger.verdicts()] == [
            (1, "a1", 0.95),
            (2, "c3", 0.95),
        ]


def test_a_short_id_that_fits_several_verdicts_is_refused(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.commit(Step(verdicts=[("v", verdict("ab1")), ("v", verdict("ab2"))]))
        with pytest.raises(UsageError, match="several verdicts"):
            ledger.verdict("ab")
        assert ledger.verdict("%") is None
        assert ledger.verdict("ab_") is None


def test_only_one_process_owns_a_ledger_and_a_killed_one_gives_it_back(tmp_path):
    path = tmp_path / "ledger.sqlite"
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r})\n"
        "from pathlib import Path; from logad.ledger import Ledger\n"
        f"ledger = Ledger(Path({str(path)!r})); print('mine', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True)
    assert other.stdout.readline() == "mine\n"
    with pytest.raises(StateError, match="another process"):
        Ledger(path)
    with Ledger(path, owner=False) as guest:
        guest.note("feedback", "a1", "useful", NOW)
    other.kill()
    other.communicate()
    with Ledger(path) as ledger:
        assert ledger.notes("feedback") == [(NOW, "a1", "useful")]


def test_a_ledger_of_another_version_is_refused(tmp_path):
    path = tmp_path / "ledger.sqlite"
    Ledger(path).close()
    db = sqlite3.connect(path)
    db.execute("UPDATE meta SET value = '99' WHERE name = 'version'")
    db.commit()
    db.close()
    with pytest.raises(StateError, match="version 99"):
        Ledger(path)


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to be looked at" * 40, b"\x00" * 9000]
)
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(content)
    with pytest.raises(StateError):
        Ledger(path)
    assert path.read_bytes() == content
    with pytest.raises(StateError):
        Ledger(path, owner=False)


def test_another_program_s_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "ledger.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (a)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StateError):
        Ledger(path)
    assert path.read_bytes() == before


def test_a_ledger_damaged_in_the_middle_is_refused(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger.commit(Step(verdicts=[("v", verdict(f"id{number}")) for number in range(500)]))
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 20_000] = b"\xff" * 20_000
    path.write_bytes(data)
    with pytest.raises(StateError):
        Ledger(path)


def test_a_guest_finds_no_ledger_where_there_is_none(tmp_path):
    with pytest.raises(StateError, match="no ledger"):
        Ledger(tmp_path / "ledger.sqlite", owner=False)
    assert list(tmp_path.iterdir()) == []


def test_what_a_person_muted_stays_muted_whatever_the_owner_writes(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.commit(Step(incidents=[incident()]))
        with Ledger(tmp_path / "ledger.sqlite", owner=False) as guest:
            guest.set_incident("i1", state="muted", acknowledged="ann")
        ledger.commit(Step(incidents=[incident(updated=NOW + timedelta(hours=1))]))
        assert ledger.incidents()[0].state == "muted"
        assert ledger.incidents()[0].updated == NOW + timedelta(hours=1)


def test_live_incidents_are_those_that_may_still_change(tmp_path):
    old, new = NOW - timedelta(days=3), NOW
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        states = [("a", "open", old), ("b", "muted", old), ("c", "resolved", old), ("d", "resolved", new)]
        ledger.commit(Step(incidents=[incident(*each) for each in states]))
        assert {each.id for each in ledger.live_incidents(NOW - timedelta(days=1))} == {"a", "b", "d"}


def test_a_later_message_of_an_incident_knows_what_the_service_called_the_first(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.commit(Step(outbox=[OutboxRow("slack", "i1", {"n": 1}), OutboxRow("mail", "i1", {"n": 1})]))
        first = ledger.pending()[0]
        ledger.settle(replace(first, state="delivered", tries=1, reference="171.5"))
        ledger.commit(Step(outbox=[OutboxRow("slack", "i1", {"n": 2})]))
        assert [(row.notifier, row.reference) for row in ledger.pending()] == [
            ("mail", ""),
            ("slack", "171.5"),
        ]


def test_remembering_anew_replaces_what_was_kept_of_the_view(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        first = ViewState(b"", 2, (Stretch(0, windows_of([[0], [1]])),))
        ledger.commit(Step(views={"v": first, "w": first}))
        ledger.commit(Step(views={"v": ViewState(b"", 3, (Stretch(1, windows_of([[1], [2]]), anew=True),))}))
        assert [first for first, _ in ledger.history("v")] == [1]
        assert [first for first, _ in ledger.history("w")] == [0]


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=8), st.sampled_from(list(WindowKind)))
def test_packed_windows_come_back_as_they_were(codes, kind):
    windows = windows_of(codes, kind=kind)
    again = unpacked(packed(windows))
    assert again.kind is windows.kind
    assert again.table.equals(windows.table)
    assert all(
        np.array_equal(getattr(again, name), getattr(windows, name))
        for name in ("offsets", "events", "times")
    )


def test_a_verdict_comes_back_as_it_was_told():
    told = verdict(index=4, revision=2, key="blk_1", kind=WindowKind.SESSION).as_dict()
    assert verdict_from(told).as_dict() == told
    teaching = replace(verdict(), learning=True, reasons=()).as_dict()
    assert verdict_from(teaching).as_dict() == teaching
