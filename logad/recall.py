"""Remembers the findings of scans, so that `explain` can show them again with their lines in context."""

import json
import re
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

_USER_IN_ADDRESS: Final = re.compile(r"://[^/@]*@")
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS findings"
    " (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, sources TEXT, verdict TEXT)"
)


def told_source(spec: str) -> str:
    """A source as it may be stored and shown: a path made absolute, an address without its password.

    >>> told_source("opensearch+https://me:secret@search.example.org:9200/logs")
    'opensearch+https://search.example.org:9200/logs'
    """
    if Path(spec).exists():
        return str(Path(spec).absolute())
    return _USER_IN_ADDRESS.sub("://", spec)


def remember(path: Path, verdicts: Sequence[Verdict], sources: Sequence[str]) -> None:
    """Keep these verdicts and where their lines can be read again.

    Raises:
        StateError: the file cannot be written or is no database.
    """
    where = json.dumps([told_source(source) for source in sources])
    rows = [(verdict.id, where, json.dumps(verdict.as_dict(), ensure_ascii=False)) for verdict in verdicts]
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
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
