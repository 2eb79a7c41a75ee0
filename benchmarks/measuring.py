"""Runs a program as a process of its own and says what it took; nothing but the standard library in here.

The peak of a child's memory is never less than what its parent held when it started it, so that the programs
that measure must stay small.
"""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
LIMIT_SECONDS = 900.0
BESIDE = Path(sys.executable).with_name("logad")
LOGAD = [str(BESIDE)] if BESIDE.exists() else [sys.executable, "-m", "logad"]
ENVIRON = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""A program starts as it does for its users: without being compiled to byte code each time."""
GIGABYTE = 10**9
MEGABYTE = 10**6


@dataclass(frozen=True, slots=True)
class Run:
    """What a process took, all of it from its start to its end."""

    output: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    fault: str  # why it failed; empty when it did not


def cache() -> Path:
    """Where grown logs and built peers are kept, outside of the repository."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(home) / "logad-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run(
    command: Sequence[str | Path],
    *,
    cap_bytes: int | None = None,
    folder: Path = HERE.parent,
    limit_seconds: float = LIMIT_SECONDS,
    watch: Callable[[int], None] | None = None,
) -> Run:
    """Run a command to its end, within an address space of so many bytes; `watch` gets its process id."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            cwd=folder,
            env=ENVIRON,
        )
        if cap_bytes is not None:
            resource.prlimit(process.pid, resource.RLIMIT_AS, (cap_bytes, cap_bytes))
        clock = threading.Timer(limit_seconds, process.kill)
        clock.start()
        try:
            if watch is not None:
                watch(process.pid)
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            clock.cancel()
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        told = errors.read().decode(errors="replace")
        return Run(
            output.read().decode(errors="replace"),
            seconds,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss * 1024,
            _fault(process.returncode, told, late=seconds >= limit_seconds),
        )


def floor_bytes() -> int:
    """What this program itself holds: no child's peak is seen below it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def grown(name: str, lines: int, *kinds: str) -> Path:
    """A grown log; see `growing.py` for what there is."""
    done = run([sys.executable, HERE / "growing.py", name, str(lines), *(f"--{kind}" for kind in kinds)])
    if done.fault:
        raise SystemExit(f"{name} cannot be grown to {lines} lines: {done.fault}")
    return Path(done.output.strip())


def templates(path: Path, state: Path, *options: str | Path, command: str = "templates") -> list[str]:
    """The command that mines a log and shows nobody what it found."""
    return [*LOGAD, command, str(path), "--output", os.devnull, "--state-dir", str(state), *map(str, options)]


def _fault(code: int, told: str, *, late: bool) -> str:
    """Why a process failed: its last line about memory, else about an error, else its last one."""
    if code == 0:
        return ""
    if late:
        return "stopped, it took too long"
    lines = told.strip().splitlines() or [""]
    telling = [[line for line in lines if word in line.lower()] for word in ("memory", "error", "")]
    why = next(found for found in telling if found)[-1]
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"{how}: {why[:160]}"
