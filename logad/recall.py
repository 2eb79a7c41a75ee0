"""Remembers the findings of scans, so that `explain` can show them again with their lines in context."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from logad.errors import StateError, UsageError
from logad.packing import verdict_from
from logad.types import Verdict

MOST_REMEMBERED: Final = 20_000
"""Findings kept; the oldest ones go first."""

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS findings"
    " (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, sources TEXT, verdict TEXT)"
)


def remember(path: Path, verdicts: Sequence[Verdict], sources: Sequence[str]) -> None:
    """Keep these verdicts and where their lines can be read again.

    Raises:
        StateError: the file cannot be written or is no database.
    """
    paths = (str(Path(source).absolute()) if Path(source).exists() else source for source in sources)
    where = json.dumps(list(paths))
    rows = [(verdict.id, where, json.dumps(verdict.as_dict(), ensure_ascii=False)) for verdict in verdicts]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(_TABLE)
            db.executemany("INSERT OR REPLACE INTO findings (id, sources, verdict) VALUES (?, ?, ?)", rows)
            newest = db.execute("SELECT max(seq) FROM findings").fetchone()[0]
            db.execute("DELETE FROM findings WHERE seq <= ?", (newest - MOST_REMEMBERED,))
    except (sqlite3.Error, OSError) as error:
        raise StateError(
            str(path), str(error), "a file that can be written", "name another folder with --state-dir"
        ) from None


def recall(path: Path, prefix: str) -> tuple[Verdict, tuple[str, ...]] | None:
    """The remembered verdict whose id begins so, and its sources; None where there is none.

    Raises:
        UsageError: several ids begin so.
        StateError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(path)) as db:
            rows = db.execute(
                "SELECT verdict, sources FROM findings WHERE substr(id, 1, length(?1)) = ?1 LIMIT 2",
                (prefix,),
            ).fetchall()
    except sqlite3.Error as error:
        raise StateError(str(path), str(error), "what scan left", "delete it and scan again") from None
    if len(rows) > 1:
        raise UsageError(prefix, "several verdicts begin so", "one verdict", "give more of its id")
    if not rows:
        return None
    return verdict_from(json.loads(rows[0][0])), tuple(json.loads(rows[0][1]))
