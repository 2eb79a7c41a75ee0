"""Builds the peers that are not Python, in the cache; one that cannot be built has a reason instead."""

import re
import shutil
from collections.abc import Sequence
from functools import cache as once
from pathlib import Path

from measuring import HERE, cache, run

LOKI_DRAIN = HERE / "peers" / "loki-drain"
LOKI = re.findall(r"loki/v3 v(\S+)", (LOKI_DRAIN / "go.mod").read_text())[0]
LOGDELTA = "0.3.4"
BUILD_SECONDS = 1200.0


class NotBuiltError(Exception):
    """Why a peer is not there."""


@once
def loki() -> Path:
    """The program around Grafana Loki's Drain, `peers/loki-drain`; go downloads what it is made of.

    Raises:
        NotBuiltError: there is no go, or it fails.
    """
    folder = cache() / "loki-drain"
    binary = folder / "loki-drain"
    sources = [LOKI_DRAIN / name for name in ("go.mod", "main.go")]
    if not binary.exists() or binary.stat().st_mtime < max(path.stat().st_mtime for path in sources):
        folder.mkdir(exist_ok=True)
        for source in sources:
            shutil.copy(source, folder)
        _build(["go", "build", "-mod=mod", "-buildvcs=false", "-o", str(binary), "."], folder)
    return binary


@once
def logdelta() -> Path:
    """The program logdelta of the crates registry.

    Raises:
        NotBuiltError: there is no cargo, or it fails.
    """
    root = cache() / f"logdelta-{LOGDELTA}"
    binary = root / "bin" / "logdelta"
    if not binary.exists():
        wanted = ["logdelta", "--version", LOGDELTA, "--locked", "--root", str(root)]
        _build(["cargo", "install", *wanted], cache())
    return binary


def _build(command: Sequence[str], folder: Path) -> None:
    if shutil.which(command[0]) is None:
        raise NotBuiltError(f"not built: there is no {command[0]} on the PATH")
    built = run(command, folder=folder, limit_seconds=BUILD_SECONDS)
    if built.fault:
        raise NotBuiltError(f"not built: {command[0]}: {built.fault}")
