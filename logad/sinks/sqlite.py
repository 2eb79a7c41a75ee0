"""Stores verdicts in a SQLite file, one row each, for whoever asks questions in SQL."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from logad.contracts import PartConfig, Sink, Written
from logad.errors import ConfigError, DeliveryError
from logad.telemetry import Telemetry
from logad.types import Verdict, iso

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS verdicts (
    id TEXT PRIMARY KEY,
    service TEXT NOT NULL,
    start TEXT,               -- ISO 8601 in UTC; null where the log has no time
    "end" TEXT,
    kind TEXT NOT NULL,       -- session, time or records
    key TEXT,                 -- of a session, else null
    revision INTEGER NOT NULL,
    learning INTEGER NOT NULL,
    anomalous INTEGER NOT NULL,
    score REAL NOT NULL,
    severity TEXT NOT NULL,
    reason TEXT,              -- the first one, in words
    verdict TEXT NOT NULL     -- the whole verdict as JSON (logad.verdict/1)
) WITHOUT ROWID
"""
_INDEX: Final = "CREATE INDEX IF NOT EXISTS verdicts_by_time ON verdicts (anomalous, start)"
_INSERT: Final = "INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_BUSY_SECONDS: Final = 10.0


class SqliteConfig(PartConfig):
    """Where the file lies; it and its folder are made if need be."""

    path: Path
    """The SQLite file."""


class SqliteSink(Sink):
    """Writes to the table `verdicts`; a verdict that is there already stays as it is.

    Raises:
        ConfigError: the path holds something that is no SQLite file, or another table `verdicts`.
    """

    name: ClassVar[str] = "sqlite"
    Config: ClassVar[type[PartConfig]] = SqliteConfig

    def __init__(self, config: SqliteConfig, telemetry: Telemetry) -> None:
        self._path = config.path
        self._telemetry = telemetry
        self._connection: sqlite3.Connection | None = None

    def write(self, verdicts: Sequence[Verdict]) -> Written:
        """Store all of them in one transaction, or none.

        Raises:
            DeliveryError: the file is locked, not writable, or its disk is full.
        """
        rows, refused = [], {}
        for verdict in verdicts:
            try:
                rows.append(_row(verdict))
            except (ValueError, TypeError) as error:
                refused[verdict.id] = f"is not storable: {error}"
        try:
            connection = self._opened()
            with connection:
                connection.executemany(_INSERT, rows)
        except (sqlite3.OperationalError, OSError) as error:
            self.close()
            raise DeliveryError(
                str(self._path), str(error), "a file that can be written", "check its disk and permissions"
            ) from error
        except sqlite3.DatabaseError as error:
            self.close()
            raise ConfigError(
                str(self._path), str(error), "a SQLite file of verdicts", "name another file"
            ) from error
        self._telemetry.notes["sqlite_refused"] += len(refused)
        return Written(len(rows), refused)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self._path, timeout=_BUSY_SECONDS, check_same_thread=False
            )  # the drain may run on another thread than the start, never on two at once
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            with self._connection:
                self._connection.execute(_TABLE)
                self._connection.execute(_INDEX)
        return self._connection


def _row(verdict: Verdict) -> tuple[str | int | float | None, ...]:
    text = json.dumps(verdict.as_dict(), ensure_ascii=False, allow_nan=False)
    text.encode()  # a lone surrogate is no text: ValueError
    window = verdict.window
    return (
        verdict.id,
        verdict.service,
        iso(window.start),
        iso(window.end),
        str(window.kind),
        window.key,
        window.revision,
        verdict.learning,
        verdict.anomalous,
        round(verdict.score, 4),
        str(verdict.severity),
        verdict.reasons[0].text if verdict.reasons else None,
        text,
    )
