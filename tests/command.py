"""Runs the command line as a user does, and writes the logs that its tests read."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
START = datetime(2024, 3, 4, tzinfo=UTC)
DISK = "ERROR disk failure on sda, cannot write block 7"


def started(*args: object, state: Path, **options: Any) -> subprocess.Popen[str]:
    """A logad of its own, in its own process."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LOGAD_", "NO_COLOR", "COLUMNS"))
    }
    environment |= {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(state), **options.pop("environment", {})}
    command = [sys.executable, "-m", "logad", *map(str, args)]
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(command, env=environment, text=True, encoding="utf-8", **options)


def ran(
    *args: object, state: Path, given: str | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """The same, to its end."""
    if given is not None:
        options["stdin"] = subprocess.PIPE
    with started(*args, state=state, **options) as process:
        try:
            out, err = process.communicate(given, timeout=60)
        finally:
            process.kill()  # if it hangs: it is not waited for
    return subprocess.CompletedProcess(process.args, process.returncode, out or "", err or "")


def steady(records: int = 3000, broken_at: int | None = 1500) -> list[str]:
    """A record a second; one of them, perhaps, is an error never seen before."""
    lines = []
    for number in range(records):
        text = (
            f"INFO beat {number}" if number % 5 == 0 else f"INFO request {number} served in {number % 7} ms"
        )
        if number == broken_at:
            text = DISK
        lines.append(f"{START + timedelta(seconds=number):%Y-%m-%d %H:%M:%S} {text}")
    return lines


def orders(sessions: int = 200, odd: Iterable[int] = (150,), prefix: str = "ord") -> list[str]:
    """Sessions of four steps that overlap; the odd ones fail in between."""
    lines = []
    for number in range(sessions):
        steps = ["INFO accepted", "INFO stock checked", "INFO paid", "INFO sent"]
        if number in odd:
            steps[2:] = ["ERROR card refused by bank", "WARN given up"]
        for step, text in enumerate(steps):
            moment = START + timedelta(seconds=number * 2 + step)
            lines.append(f"{moment:%Y-%m-%d %H:%M:%S},{step:03d} {text} {prefix}_{number:05d}")
    return sorted(lines)


def wrote(path: Path, lines: Iterable[str]) -> Path:
    """A file of these lines."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def parsed(text: str) -> list[dict[str, Any]]:
    """JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def accounts(path: Path) -> dict[str, Any]:
    """The counters of a run, after a look at their sum."""
    stats: dict[str, Any] = json.loads(path.read_text())
    assert stats["records"] + sum(stats["dropped"].values()) == stats["received"]
    return stats
