"""Runs the generated system through the whole program and shows what came of it."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from logad import api
from logad.demo.scoring import scored, unplanted
from logad.demo.system import DAY, FILES, START, Line, Planted, lines, planted
from logad.durations import format_duration
from logad.ledger import Ledger
from logad.preparation import LEDGER
from logad.stream import Event
from logad.types import Verdict

LIVE: Final = 2 * DAY + 8 * 3600.0
"""The live part begins so many seconds after the history: at eight in the morning of the third day."""
END: Final = LIVE + 2.75 * 3600.0
SPEED: Final = 300.0
"""Seconds of the shop's time in a second on the wall."""
IDLE: Final = "30m"
"""The shop's time without a line after which the show is over."""


@dataclass(frozen=True, slots=True)
class ShopClock:
    """Stands at the beginning of the live part until `begin`, then runs SPEED times as fast as the wall's."""

    begin: threading.Event
    began: list[float]  # the moment on the wall when it began to run

    def now(self) -> datetime:
        """The present moment in the shop."""
        ran = (time.monotonic() - self.began[0]) * SPEED if self.begin.is_set() else 0.0
        return START + timedelta(seconds=LIVE + ran)

    def sleep(self, seconds: float) -> None:
        """Wait so long in the shop."""
        time.sleep(seconds / SPEED)


def show(folder: Path, write: Callable[[str], object], seed: int = 0) -> bool:
    """The whole demo; writes logs and state below `folder`. Whether every planted incident was caught."""
    logs, state = folder / "logs", folder / "state"
    logs.mkdir(parents=True)
    incidents = planted(LIVE)
    upcoming = lines(seed, END, incidents)
    write(f"A shop of three services, generated with seed {seed}; its logs: {logs}\n")
    first = _write_history(logs, upcoming)
    write(
        "Two days and eight hours of history are there. From now on the files grow while logad watches,\n"
        f"{SPEED:.0f} times as fast as on the wall: that is the one difference from a run of your own.\n\n"
    )
    clock = ShopClock(threading.Event(), [0.0])
    writer = threading.Thread(target=_write_live, args=(logs, first, upcoming, clock), daemon=True)

    def on_event(event: Event) -> None:
        if event.kind in ("view", "learning", "learned"):
            write(f"{event.kind:<9} {event.text}\n")
        if event.kind == "learned" and not writer.is_alive() and not clock.begin.is_set():
            clock.began[0] = time.monotonic()
            clock.begin.set()
            writer.start()

    api.watch(
        logs,
        warmup=f"{DAY * 2:.0f}s",
        until_idle=IDLE,
        state_dir=state,
        clock=clock,
        on_event=on_event,
        write=lambda text: write(_shortened(text)),
    )
    with Ledger(state / LEDGER, owner=False) as ledger:
        verdicts = [verdict for _, verdict in ledger.verdicts(anomalous=True)]
    write(_rows_told(state / LEDGER))
    caught = _caught_told(incidents, verdicts, write)
    write(_next_told(state, logs, verdicts))
    return caught


def _write_history(logs: Path, upcoming: Iterator[Line]) -> Line:
    """Write what happened before the live part; the first line of the live part."""
    with (
        (logs / FILES[0]).open("w", encoding="utf-8") as gateway,
        (logs / FILES[1]).open("w", encoding="utf-8") as orders,
        (logs / FILES[2]).open("w", encoding="utf-8") as stock,
    ):
        files = dict(zip(FILES, (gateway, orders, stock), strict=True))
        for line in upcoming:
            if line[0] >= LIVE:
                return line
            files[line[1]].write(line[2] + "\n")
    raise AssertionError("the shop closed before the live part")


def _write_live(logs: Path, first: Line, upcoming: Iterator[Line], clock: ShopClock) -> None:
    """Append each line when its time has come."""
    files = {name: (logs / name).open("a", encoding="utf-8", buffering=1) for name in FILES}
    line: Line | None = first
    while line is not None:
        now = (clock.now() - START).total_seconds()
        while line is not None and line[0] <= now:
            files[line[1]].write(line[2] + "\n")
            line = next(upcoming, None)
        for file in files.values():
            file.flush()
        time.sleep(0.02)
    for file in files.values():
        file.close()


def _shortened(message: str) -> str:
    """A message as it is sent; of the end of an incident only what was resolved."""
    lines_ = message.strip("\n").split("\n")
    return f"\n{lines_[0]} ...\n" if "RESOLVED" in lines_[0] else message


def _rows_told(ledger: Path) -> str:
    """The strangest rows as SQLite holds them."""
    strangest = (
        "SELECT substr(id, 1, 12), substr(time, 1, 19), service, printf('%.2f', score), severity,"
        " substr(json_extract(verdict, '$.reasons[0].text'), 1, 60)"
        " FROM verdicts WHERE anomalous ORDER BY score DESC, seq LIMIT 8"
    )
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
        rows = db.execute(strangest).fetchall()
        total, odd = db.execute("SELECT count(*), sum(anomalous) FROM verdicts").fetchone()
    told = [f"\nVerdicts in SQLite: {total:,} rows, {odd or 0:,} anomalous; the strangest:"]
    told += [f"  {row[0]}  {row[1]}  {row[2]:<8} {row[3]}  {row[4]:<7} {row[5]}" for row in rows]
    return "\n".join(told) + "\n"


def _caught_told(
    incidents: tuple[Planted, ...], verdicts: list[Verdict], write: Callable[[str], object]
) -> bool:
    """The planted incidents and whether they were caught; honest when one was missed."""
    results = scored(incidents, verdicts)
    write(f"\nPlanted incidents, caught {sum(one.yes for one in results)} of {len(results)}:\n")
    for one in results:
        begin = START + timedelta(seconds=one.planted.begin)
        if one.verdict is None or one.delay is None:
            write(f"  MISSED  {one.planted.kind:<13} {begin:%H:%M}  {one.planted.title}\n")
            continue
        delay = format_duration(max(one.delay.total_seconds(), 1))
        write(
            f"  caught  {one.planted.kind:<13} {begin:%H:%M}  {one.planted.title}; "
            f"{one.verdict.severity} after {delay}: logad explain {one.verdict.id[:12]}\n"
        )
    closed = START + timedelta(seconds=END)  # from then on the whole shop is silent, which is no incident
    false = [
        verdict
        for verdict in unplanted(incidents, verdicts)
        if verdict.window.start is None or verdict.window.start < closed
    ]
    write(f"  {len(false)} of {len(verdicts)} anomalous verdicts are about something that was not planted\n")
    return all(one.yes for one in results)


def _next_told(state: Path, logs: Path, verdicts: list[Verdict]) -> str:
    worst = max(verdicts, key=lambda verdict: verdict.score, default=None)
    told = ["\nOpen next:"]
    if worst is not None:
        told.append(f"  logad explain {worst.id[:12]} --state-dir {state}")
    told += [
        f"  sqlite3 {state / LEDGER} .tables",
        f"  logad scan {logs}",
        "  logad scan YOUR.log",
    ]
    return "\n".join(told) + "\n"
