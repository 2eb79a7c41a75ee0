"""The ledger: one SQLite file whose single transaction moves everything that a crash must not tear apart."""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from logad.errors import StateError, UsageError
from logad.lineage import Descent
from logad.packing import verdict_from
from logad.steps import Alert, Fit, OutboxRow, Step, StreamState, ViewState
from logad.tables import (
    SCHEMA_VERSION,
    TABLES,
    alert_from,
    incident_from,
    outbox_row_from,
    write_step,
)
from logad.types import Incident, Verdict, iso


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
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise StateError(
                    str(path.parent),
                    error.strerror or "not writable",
                    "a folder that can be written",
                    "name another one with --state-dir",
                ) from error
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
            return write_step(db, step)

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

    def crowds(self) -> bytes:
        """What the miner knows of words at places."""
        return b"".join(words for (words,) in self._db.execute("SELECT words FROM crowds ORDER BY seq"))

    def lineage(self) -> list[Descent]:
        """Which templates gave way to which, in order."""
        events = self._db.execute("SELECT event FROM lineage ORDER BY seq")
        return [Descent.from_dict(json.loads(event)) for (event,) in events]

    def view(self, name: str) -> ViewState | None:
        """A view's open windows and how many it has closed."""
        row = self._db.execute("SELECT state, closed FROM views WHERE view = ?", (name,)).fetchone()
        return ViewState(row[0], row[1]) if row else None

    def history(self, name: str) -> list[tuple[int, bytes]]:
        """The windows kept of a view: (number of the first, arrays for `unpacked`), in order."""
        return list(
            self._db.execute("SELECT first, arrays FROM history WHERE view = ? ORDER BY first", (name,))
        )

    def resting(self, name: str) -> list[tuple[int, bytes]]:
        """The pieces of a view's sessions at rest, in order."""
        rows = self._db.execute("SELECT piece, records FROM resting WHERE view = ? ORDER BY piece", (name,))
        return list(rows)

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

    def labelled(self) -> list[tuple[Verdict, str, str]]:
        """What people said of verdicts, in order: the verdict, the label, its incident (or its own id)."""
        rows = self._db.execute(
            "SELECT verdict, note, coalesce(incident, id) FROM notes JOIN verdicts ON id = subject"
            " WHERE kind = 'feedback' ORDER BY notes.seq"
        )
        return [(verdict_from(json.loads(text)), label, incident) for text, label, incident in rows]

    def scores(self) -> list[float]:
        """The scores of the anomalous verdicts, in order."""
        return [row[0] for row in self._db.execute("SELECT score FROM verdicts WHERE anomalous ORDER BY seq")]

    # Incidents and what is sent -------------------------------------------------------------------

    def incidents(
        self, *, state: str | None = None, since: datetime | None = None, limit: int | None = None
    ) -> list[Incident]:
        """Incidents, latest first."""
        rows = self._db.execute(
            "SELECT id, fingerprint, service, state, severity, title, opened, updated, verdicts, worst, also"
            " FROM incidents WHERE (? IS NULL OR state = ?) AND (? IS NULL OR updated >= ?)"
            " ORDER BY updated DESC, id LIMIT ?",
            (state, state, iso(since), iso(since), -1 if limit is None else limit),
        )
        return [incident_from(row) for row in rows]

    def live_incidents(self, since: datetime | None) -> list[Incident]:
        """Incidents that are not resolved, and those updated after `since` (None: all)."""
        rows = self._db.execute(
            "SELECT id, fingerprint, service, state, severity, title, opened, updated, verdicts, worst, also"
            " FROM incidents WHERE state != 'resolved' OR ? IS NULL OR updated >= ?",
            (iso(since), iso(since)),
        )
        return [incident_from(row) for row in rows]

    def takers(self) -> dict[str, str]:
        """Who has taken which incident."""
        rows = self._db.execute("SELECT id, acknowledged FROM incidents WHERE acknowledged IS NOT NULL")
        return dict(rows.fetchall())

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
        return [alert_from(row) for row in rows]

    def pending(self) -> list[OutboxRow]:
        """Messages still to be delivered, oldest first, with the reference of the incident's last message."""
        rows = self._db.execute(
            "SELECT notifier, incident, message, state, tries, not_before, coalesce((SELECT old.reference"
            " FROM outbox AS old WHERE old.incident = new.incident AND old.notifier = new.notifier"
            " AND old.reference != '' ORDER BY old.seq DESC LIMIT 1), ''), why, seq"
            " FROM outbox AS new WHERE state = 'pending' ORDER BY seq"
        )
        return [outbox_row_from(row) for row in rows]

    def notes(self, kind: str) -> list[tuple[datetime, str, str]]:
        """Notes of a kind: (time, subject, note), in order."""
        rows = self._db.execute("SELECT time, subject, note FROM notes WHERE kind = ? ORDER BY seq", (kind,))
        return [(datetime.fromisoformat(time).astimezone(UTC), subject, note) for time, subject, note in rows]

    # The file -------------------------------------------------------------------------------------

    def _opened(self) -> sqlite3.Connection:
        where = str(self.path or "ledger")
        if self.path is not None and self.owner:
            self.path.touch(mode=0o600)  # open windows hold lines as they stood in the log
        db = sqlite3.connect(self.path or ":memory:", isolation_level=None, timeout=30)
        try:
            db.execute("PRAGMA synchronous = FULL")  # a power cut must not undo what a cursor has passed
            db.execute("PRAGMA secure_delete = ON")  # lines of windows that closed may have held secrets
            if self.owner and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(f"BEGIN IMMEDIATE; {TABLES} COMMIT;")
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
