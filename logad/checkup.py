"""Checks whether a run would find what it needs; sends nothing."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from logad import pinning, rules
from logad.errors import ConfigError, LogadError
from logad.preparation import Setup
from logad.rendering import Renderer
from logad.settings import Settings
from logad.sources import open_sources
from logad.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that `doctor` looked at."""

    name: str
    ok: bool
    text: str


def doctor(*, config: str | Path | None = None, state_dir: str | Path | None = None) -> tuple[Check, ...]:
    """Whether a run would find what it needs; sends nothing.

    >>> import tempfile
    >>> {check.name for check in doctor(state_dir=tempfile.mkdtemp()) if not check.ok}
    set()
    """
    try:
        setup = Setup.of({"config": config, "state_dir": state_dir})
    except ConfigError as error:
        return tuple(Check("configuration", ok=False, text=problem) for problem in error.problems)
    settings = setup.settings
    return (
        Check("configuration", ok=True, text=str(config) if config else "embedded defaults"),
        _checked("rules", lambda: _rules_told(setup.rules)),
        _checked("templates", lambda: _templates_told(settings)),
        _checked("state folder", lambda: _folder_told(settings.state_dir)),
        *(_checked(f"source {each}", partial(_source_told, each)) for each in settings.sources),
        *(Check(f"notifier {choice.type}", ok=True, text="configured") for choice in settings.notifiers),
        *(Check(f"sink {choice.type}", ok=True, text="configured") for choice in settings.sinks),
    )


def _checked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, ok=True, text=look())
    except (LogadError, OSError) as error:
        return Check(name, ok=False, text=str(error))


def _rules_told(loaded: rules.Rules) -> str:
    if problems := [*rules.check_rules(loaded), *pinning.check(loaded)]:
        raise ConfigError("rules", problems[0])
    return f"{len(loaded.masks)} masks, {len(loaded.severities)} severities, {len(loaded.mutes)} mutes"


def _templates_told(settings: Settings) -> str:
    Renderer(settings.templates)
    return "all compile"


def _folder_told(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"logad")
    free = shutil.disk_usage(folder).free
    return f"{folder} can be written, {free / 1e9:.1f} GB free"


def _source_told(spec: str) -> str:
    opened, faults = open_sources([spec], Telemetry())
    for source in opened:
        source.close()
    if faults:
        raise faults[0]
    return "can be read"
