"""The tables of a ledger, and what stands in their rows."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from logad.packing import moment, packed, verdict_from
from logad.steps import Alert, OutboxRow, Step, ViewState
from logad.types import Incident, Severity, Verdict, iso

SCHEMA_VERSION: Final = "4"  # as in the tables below

TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO meta VALUES ('version', '4');
CREATE TABLE streams (stream TEXT PRIMARY KEY, cursor TEXT NOT NULL, layout TEXT NOT NULL,
    recorder BLOB NOT NULL);
CREATE TABLE shapes (code INTEGER PRIMARY KEY, shape TEXT NOT NULL, level INTEGER NOT NULL);
CREATE TABLE crowds (seq INTEGER PRIMARY KEY, words BLOB NOT NULL);
CREATE TABLE lineage (seq INTEGER PRIMARY KEY, event TEXT NOT NULL);
CREATE TABLE views (view TEXT PRIMARY KEY, number INTEGER NOT NULL, state BLOB NOT NULL,
    closed INTEGER NOT NULL);
CREATE TABLE history (view TEXT NOT NULL, first INTEGER NOT NULL, windows INTEGER NOT NULL,
    arrays BLOB NOT NULL, PRIMARY KEY (view, first));
CREATE TABLE resting (view TEXT NOT NULL, piece INTEGER NOT NULL, records BLOB NOT NULL,
    PRIMARY KEY (view, piece));
CREATE TABLE fits (view TEXT NOT NULL, at INTEGER NOT NULL, vocabulary INTEGER NOT NULL,
    PRIMARY KEY (view, at));
CREATE TABLE verdicts (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, view TEXT NOT NULL, time TEXT,
    service TEXT NOT NULL, score REAL NOT NULL, severity TEXT NOT NULL, anomalous INTEGER NOT NULL,
    learning INTEGER NOT NULL, incident TEXT, verdict TEXT NOT NULL);
CREATE INDEX verdicts_anomalous ON verdicts (anomalous, seq);
CREATE TABLE incidents (id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, service TEXT NOT NULL,
    state TEXT NOT NULL, severity TEXT NOT NULL, title TEXT NOT NULL, opened TEXT NOT NULL,
    updated TEXT NOT NULL, verdicts INTEGER NOT NULL, worst TEXT NOT NULL, also TEXT NOT NULL,
    acknowledged TEXT);
CREATE INDEX incidents_state ON incidents (state, updated);
CREATE TABLE alerts (seq INTEGER PRIMARY KEY, incident TEXT NOT NULL, kind TEXT NOT NULL, tier TEXT NOT NULL,
    time TEXT NOT NULL, muted INTEGER NOT NULL, digested INTEGER NOT NULL);
CREATE TABLE outbox (seq INTEGER PRIMARY KEY, notifier TEXT NOT NULL, incident TEXT NOT NULL,
    message TEXT NOT NULL, state TEXT NOT NULL, tries INTEGER NOT NULL, not_before TEXT,
    reference TEXT NOT NULL, why TEXT NOT NULL);
CREATE INDEX outbox_state ON outbox (state, seq);
CREATE TABLE sinks (sink TEXT PRIMARY KEY, position INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE notes (seq INTEGER PRIMARY KEY, time TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
    note TEXT NOT NULL);
"""


def write_step(db: sqlite3.Connection, step: Step) -> int:
    """Write all that a step changes; how many of its verdicts were there already, by their ids."""
    db.executemany(
        "INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?)",
        [(name, each.cursor, json.dumps(each.layout), each.recorder) for name, each in step.streams.items()],
    )
    db.executemany("INSERT INTO shapes (shape, level) VALUES (?, ?)", step.shapes)
    if step.crowds:
        db.execute("INSERT INTO crowds (words) VALUES (?)", (step.crowds,))
    db.executemany(
        "INSERT INTO lineage (event) VALUES (?)", [(json.dumps(each.as_dict()),) for each in step.lineage]
    )
    for number, (name, view) in enumerate(step.views.items()):
        _write_view(db, name, number, view)
    stored = db.executemany(
        "INSERT OR IGNORE INTO verdicts (id, view, time, service, score, severity, anomalous,"
        " learning, incident, verdict) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [_verdict_row(view, verdict, step.members) for view, verdict in step.verdicts],
    ).rowcount
    _write_incidents(db, step.incidents)
    db.executemany("UPDATE alerts SET digested = 1 WHERE seq = ?", [(seq,) for seq in step.digested])
    db.executemany(
        "INSERT INTO alerts (incident, kind, tier, time, muted, digested) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (each.incident, each.kind, each.tier, iso(each.time), each.muted, each.digested)
            for each in step.alerts
        ],
    )
    db.executemany(
        "INSERT INTO outbox (notifier, incident, message, state, tries, not_before, reference, why)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                row.notifier,
                row.incident,
                json.dumps(row.message),
                row.state,
                row.tries,
                iso(row.not_before),
                row.reference,
                row.why,
            )
            for row in step.outbox
        ],
    )
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", step.meta.items())
    return len(step.verdicts) - max(stored, 0)


def alert_from(row: Sequence[Any]) -> Alert:
    """The alert of a row."""
    incident, kind, tier, time, muted, digested, seq = row
    return Alert(incident, kind, Severity(tier), _moment(time), bool(muted), bool(digested), seq)


def outbox_row_from(row: Sequence[Any]) -> OutboxRow:
    """The message of a row."""
    notifier, incident, message, state, tries, not_before, reference, why, seq = row
    return OutboxRow(
        notifier, incident, json.loads(message), state, tries, moment(not_before), reference, why, seq
    )


def incident_from(row: Sequence[Any]) -> Incident:
    """The incident of a row."""
    identity, fingerprint, service, state, severity, title, opened, updated, verdicts, worst, also = row
    return Incident(
        identity,
        fingerprint,
        service,
        state,
        Severity(severity),
        title,
        _moment(opened),
        _moment(updated),
        verdicts,
        verdict_from(json.loads(worst)),
        tuple(json.loads(also)),
    )


def _write_view(db: sqlite3.Connection, name: str, number: int, view: ViewState) -> None:
    db.execute(
        "INSERT INTO views VALUES (?, ?, ?, ?)"
        " ON CONFLICT (view) DO UPDATE SET state = excluded.state, closed = excluded.closed",
        (name, number, view.state, view.closed),
    )
    for stretch in view.history:
        if stretch.anew:
            db.execute("DELETE FROM history WHERE view = ?", (name,))
        if len(stretch.windows):
            db.execute(
                "INSERT INTO history VALUES (?, ?, ?, ?)",
                (name, stretch.first, len(stretch.windows), packed(stretch.windows)),
            )
    db.executemany(
        "INSERT INTO resting VALUES (?, ?, ?)", [(name, piece, data) for piece, data in view.rested.new]
    )
    db.executemany(
        "DELETE FROM resting WHERE view = ? AND piece = ?", [(name, piece) for piece in view.rested.gone]
    )
    db.executemany(
        "INSERT INTO fits VALUES (?, ?, ?)", [(name, each.at, each.vocabulary) for each in view.fits]
    )


def _write_incidents(db: sqlite3.Connection, incidents: Sequence[Incident]) -> None:
    """What a person muted meanwhile stays muted."""
    db.executemany(
        "INSERT INTO incidents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL) ON CONFLICT (id) DO UPDATE SET"
        " state = CASE WHEN state = 'muted' THEN 'muted' ELSE excluded.state END,"
        " severity = excluded.severity, title = excluded.title, updated = excluded.updated,"
        " verdicts = excluded.verdicts, worst = excluded.worst, also = excluded.also",
        [
            (
                each.id,
                each.fingerprint,
                each.service,
                each.state,
                each.severity,
                each.title,
                iso(each.opened),
                iso(each.updated),
                each.verdicts,
                json.dumps(each.worst.as_dict()),
                json.dumps(each.also),
            )
            for each in incidents
        ],
    )


def _verdict_row(view: str, verdict: Verdict, members: Mapping[str, str]) -> tuple[Any, ...]:
    return (
        verdict.id,
        view,
        iso(verdict.window.end),
        verdict.service,
        verdict.score,
        verdict.severity,
        verdict.anomalous,
        verdict.learning,
        members.get(verdict.id),
        json.dumps(verdict.as_dict(), ensure_ascii=False),
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
