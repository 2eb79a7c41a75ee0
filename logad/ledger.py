"""The ledger: one SQLite file whose single transaction moves everything that a crash must not tear apart."""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from logad.errors import StateError, UsageError
from logad.packing import moment, packed, verdict_from
from logad.steps import Alert, Fit, OutboxRow, Step, StreamState, ViewState
from logad.types import Incident, Severity, Verdict, iso

SCHEMA_VERSION: Final = "1"  # as in the tables below

_TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO meta VALUES ('version', '1');
CREATE TABLE streams (stream TEXT PRIMARY KEY, cursor TEXT NOT NULL, layout TEXT NOT NULL,
    recorder BLOB NOT NULL);
CREATE TABLE shapes (code INTEGER PRIMARY KEY, shape TEXT NOT NULL, level INTEGER NOT NULL);
CREATE TABLE views (view TEXT PRIMARY KEY, number INTEGER NOT NULL, state BLOB NOT NULL,
    closed INTEGER NOT NULL);
CREATE TABLE history (view TEXT NOT NULL, first INTEGER NOT NULL, windows INTEGER NOT NULL,
    arrays BLOB NOT NULL, PRIMARY KEY (view, first));
CREATE TABLE fits (view TEXT NOT NULL, at INTEGER NOT NULL, vocabulary INTEGER NOT NULL,
    PRIMARY KEY (view, at));
CREATE TABLE verdicts (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, view TEXT NOT NULL, time TEXT,
    service TEXT NOT NULL, score REAL NOT NULL, severity TEXT NOT NULL, anomalous INTEGER NOT NULL,
    learning INTEGER NOT NULL, incident TEXT, verdict TEXT NOT NULL);
CREATE INDEX verdicts_anomalous ON verdicts (anomalous, seq);
CREATE TABLE incidents (id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, service TEXT NOT NULL,
    state TEXT NOT NULL, severity TEXT NOT NULL, title TEXT NOT NULL, opened TEXT NOT NULL,
    updated TEXT NOT NULL, verdicts INTEGER NOT NULL, worst TEXT NOT NULL, acknowledged TEXT);
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


class Ledger:
    """The state of a watch in one file; only one process at a time may move it.

    An owner (the default) holds a lock for as long as it lives. A guest (`owner=False`) reads, and leaves
    notes (acknowledgements, mutes, feedback) while an owner may be at work.

    Raises:
        StateError: another process owns it, it is damaged, or another version of logad wrote it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
    ...     _ = ledger.commit(Step(meta={"views": "[]"}))
    ...     ledger.meta("views")
    '[]'
    """

    def __init__(self, path: Path | None, *, owner: bool = True) -> None:
        self.path = path
        self.owner = owner
        self._lock: int | None = None
        if path is not None and owner:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(path)
        elif path is not None and not path.exists():
            raise StateError(
                str(path), "no ledger here", "the state of a watch or a scan", "check --state-dir"
            )
        try:
            self._db = self._opened()
        except BaseException:
            self._unlock()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the file and the lock."""
        self._db.close()
        self._unlock()

    # The one transaction --------------------------------------------------------------------------

    def commit(self, step: Step) -> int:
        """Make the step durable: after this returns, no crash undoes it; before, none of it has happened.

        How many of its verdicts were there already, by their ids, and are not stored again.
        """
        with self._transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?)",
                [
                    (name, each.cursor, json.dumps(each.layout), each.recorder)
                    for name, each in step.streams.items()
                ],
            )
            db.executemany("INSERT INTO shapes (shape, level) VALUES (?, ?)", step.shapes)
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

    def settle(self, row: OutboxRow) -> None:
        """Note what became of an outbox row (its state, tries, not_before, reference, why)."""
        with self._transaction() as db:
            db.execute(
                "UPDATE outbox SET state = ?, tries = ?, not_before = ?, reference = ?, why = ?"
                " WHERE seq = ?",
                (row.state, row.tries, iso(row.not_before), row.reference, row.why, row.seq),
            )

    def advance_sink(self, sink: str, position: int, size: int = 0) -> None:
        """Note that a sink holds every verdict up to `position` (and its file `size` bytes)."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO sinks VALUES (?, ?, ?)", (sink, position, size))

    def note(self, kind: str, subject: str, note: str, time: datetime) -> None:
        """Leave a note, such as feedback on a verdict or a mute; guests may."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO notes (time, kind, subject, note) VALUES (?, ?, ?, ?)",
                (iso(time), kind, subject, note),
            )

    def set_incident(
        self, incident: str, *, state: str | None = None, acknowledged: str | None = None
    ) -> None:
        """Mute, resolve or acknowledge an incident by hand; guests may."""
        with self._transaction() as db:
            db.execute(
                "UPDATE incidents SET state = coalesce(?, state), acknowledged = coalesce(?, acknowledged)"
                " WHERE id = ?",
                (state, acknowledged, incident),
            )

    # What a restart needs -------------------------------------------------------------------------

    def meta(self, name: str) -> str | None:
        """A named fact of the whole ledger."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else None

    def streams(self) -> dict[str, StreamState]:
        """How far each stream was read."""
        rows = self._db.execute("SELECT stream, cursor, layout, recorder FROM streams")
        return {
            name: StreamState(cursor, json.loads(layout), recorder) for name, cursor, layout, recorder in rows
        }

    def shapes(self) -> list[tuple[str, int]]:
        """The miner's distinct shapes in order, with their levels."""
        return list(self._db.execute("SELECT shape, level FROM shapes ORDER BY code"))

    def view(self, name: str) -> ViewState | None:
        """A view's open windows and how many it has closed."""
        row = self._db.execute("SELECT state, closed FROM views WHERE view = ?", (name,)).fetchone()
        return ViewState(row[0], row[1]) if row else None

    def history(self, name: str) -> list[tuple[int, bytes]]:
        """The windows kept of a view: (number of the first, arrays for `unpacked`), in order."""
        return list(
            self._db.execute("SELECT first, arrays FROM history WHERE view = ? ORDER BY first", (name,))
        )

    def fits(self, name: str) -> list[Fit]:
        """When the view's judge was learned, in order."""
        rows = self._db.execute("SELECT at, vocabulary FROM fits WHERE view = ? ORDER BY at", (name,))
        return [Fit(at, vocabulary) for at, vocabulary in rows]

    def sink(self, name: str) -> tuple[int, int]:
        """The position and the bytes of a sink; (0, 0) for a new one."""
        row = self._db.execute("SELECT position, bytes FROM sinks WHERE sink = ?", (name,)).fetchone()
        return (row[0], row[1]) if row else (0, 0)

    # Verdicts -------------------------------------------------------------------------------------

    def verdict(self, prefix: str) -> Verdict | None:
        """The verdict whose id begins with `prefix`, or None.

        Raises:
            UsageError: several ids begin with it.
        """
        pattern = prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        rows = self._db.execute(
            "SELECT verdict FROM verdicts WHERE id LIKE ? ESCAPE '\\' ORDER BY seq LIMIT 2", (pattern,)
        ).fetchall()
        if len(rows) > 1:
            raise UsageError(prefix, "several verdicts begin so", "one verdict", "give more of its id")
        return verdict_from(json.loads(rows[0][0])) if rows else None

    def verdicts(
        self, *, after: int = 0, limit: int | None = None, anomalous: bool | None = None
    ) -> list[tuple[int, Verdict]]:
        """Verdicts with their sequence numbers above `after`, in order."""
        rows = self._db.execute(
            "SELECT seq, verdict FROM verdicts WHERE seq > ? AND (? IS NULL OR anomalous = ?)"
            " ORDER BY seq LIMIT ?",
            (after, anomalous, anomalous, -1 if limit is None else limit),
        )
        return [(seq, verdict_from(json.loads(text))) for seq, text in rows]

    def members(self, incident: str) -> list[Verdict]:
        """The verdicts of an incident, in order."""
        rows = self._db.execute("SELECT verdict FROM verdicts WHERE incident = ? ORDER BY seq", (incident,))
        return [verdict_from(json.loads(text)) for (text,) in rows]

    def counts(self) -> tuple[int, int]:
        """How many verdicts there are, and how many of them are anomalous."""
        row = self._db.execute("SELECT count(*), coalesce(sum(anomalous), 0) FROM verdicts").fetchone()
        return int(row[0]), int(row[1])

    # Incidents and what is sent -------------------------------------------------------------------

    def incidents(
        self, *, state: str | None = None, since: datetime | None = None, limit: int | None = None
    ) -> list[Incident]:
        """Incidents, latest first."""
        rows = self._db.execute(
            "SELECT id, fingerprint, service, state, severity, title, opened, updated, verdicts, worst"
            " FROM incidents WHERE (? IS NULL OR state = ?) AND (? IS NULL OR updated >= ?)"
            " ORDER BY updated DESC, id LIMIT ?",
            (state, state, iso(since), iso(since), -1 if limit is None else limit),
        )
        return [_incident_from(row) for row in rows]

    def live_incidents(self, since: datetime | None) -> list[Incident]:
        """Incidents that are not resolved, and those updated after `since` (None: all)."""
        rows = self._db.execute(
            "SELECT id, fingerprint, service, state, severity, title, opened, updated, verdicts, worst"
            " FROM incidents WHERE state != 'resolved' OR ? IS NULL OR updated >= ?",
            (iso(since), iso(since)),
        )
        return [_incident_from(row) for row in rows]

    def incident(self, prefix: str) -> Incident | None:
        """The incident whose id begins with `prefix`, or None.

        Raises:
            UsageError: several ids begin with it.
        """
        found = [each for each in self.incidents() if each.id.startswith(prefix)]
        if len(found) > 1:
            raise UsageError(prefix, "several incidents begin so", "one incident", "give more of its id")
        return found[0] if found else None

    def alerts(self) -> list[Alert]:
        """Everything that was decided, in order."""
        rows = self._db.execute(
            "SELECT incident, kind, tier, time, muted, digested, seq FROM alerts ORDER BY seq"
        )
        return [
            Alert(incident, kind, Severity(tier), _moment(time), bool(muted), bool(digested), seq)
            for incident, kind, tier, time, muted, digested, seq in rows
        ]

    def pending(self) -> list[OutboxRow]:
        """Messages still to be delivered, oldest first, with the reference of the incident's last message."""
        rows = self._db.execute(
            "SELECT notifier, incident, message, state, tries, not_before, coalesce((SELECT old.reference"
            " FROM outbox AS old WHERE old.incident = new.incident AND old.notifier = new.notifier"
            " AND old.reference != '' ORDER BY old.seq DESC LIMIT 1), ''), why, seq"
            " FROM outbox AS new WHERE state = 'pending' ORDER BY seq"
        )
        return [
            OutboxRow(
                notifier,
                incident,
                json.loads(message),
                state,
                tries,
                moment(not_before),
                reference,
                why,
                seq,
            )
            for notifier, incident, message, state, tries, not_before, reference, why, seq in rows
        ]

    def notes(self, kind: str) -> list[tuple[datetime, str, str]]:
        """Notes of a kind: (time, subject, note), in order."""
        rows = self._db.execute("SELECT time, subject, note FROM notes WHERE kind = ? ORDER BY seq", (kind,))
        return [(_moment(time), subject, note) for time, subject, note in rows]

    # The file -------------------------------------------------------------------------------------

    def _opened(self) -> sqlite3.Connection:
        where = str(self.path or "ledger")
        db = sqlite3.connect(self.path or ":memory:", isolation_level=None, timeout=30)
        try:
            db.execute("PRAGMA synchronous = FULL")  # a power cut must not undo what a cursor has passed
            if self.owner and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
            found = db.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
            problems = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.DatabaseError as error:
            db.close()
            raise StateError(
                where, f"not a readable ledger ({error})", "a ledger of logad", "move it away to start anew"
            ) from error
        if found is None or found[0] != SCHEMA_VERSION or problems != "ok":
            db.close()
            if problems != "ok":
                raise StateError(
                    where, f"damaged ({problems})", "a sound ledger", "move it away to start anew"
                )
            raise StateError(
                where,
                f"ledger of version {found[0] if found else 'unknown'}",
                f"version {SCHEMA_VERSION}",
                "use the logad that wrote it, or another --state-dir",
            )
        return db

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StateError(
                str(self.path or "ledger"),
                f"could not be written ({error})",
                "",
                "check the disk; nothing is lost",
            ) from error

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


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
        "INSERT INTO fits VALUES (?, ?, ?)", [(name, each.at, each.vocabulary) for each in view.fits]
    )


def _write_incidents(db: sqlite3.Connection, incidents: Sequence[Incident]) -> None:
    """What a person muted meanwhile stays muted."""
    db.executemany(
        "INSERT INTO incidents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL) ON CONFLICT (id) DO UPDATE SET"
        " state = CASE WHEN state = 'muted' THEN 'muted' ELSE excluded.state END,"
        " severity = excluded.severity, title = excluded.title, updated = excluded.updated,"
        " verdicts = excluded.verdicts, worst = excluded.worst",
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
            )
            for each in incidents
        ],
    )


def _incident_from(row: Sequence[Any]) -> Incident:
    identity, fingerprint, service, state, severity, title, opened, updated, verdicts, worst = row
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


def _locked(path: Path) -> int:
    """The lock of a ledger, held until closed; the kernel gives it back when the process dies, however."""
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StateError(
            str(path),
            "another process is using this ledger",
            "one owner",
            "stop it, or give another --state-dir",
        ) from error
    return lock


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
