"""Brings configuration, options and rules together before anything is read."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from logad import config, rules
from logad.judge import DETECTORS, JudgeConfig
from logad.options import Reading, ReadOptions, checked
from logad.rules import LiveMutes
from logad.settings import Settings, digest
from logad.telemetry import Telemetry
from logad.windows import Windowing

LEDGER: Final = "ledger.sqlite"
SCANS: Final = "scans.sqlite"
RULES: Final = "rules"


@dataclass(frozen=True)
class Setup:
    """What the configuration and the options come to."""

    settings: Settings
    reading: Reading
    rules: rules.Rules
    telemetry: Telemetry
    place: str = ""  # what commands need to be told of the state folder: nothing where it is the usual one

    @classmethod
    def of(cls, options: ReadOptions, telemetry: Telemetry | None = None) -> "Setup":
        """Load the configuration and put the options over it.

        Raises:
            ConfigError: the configuration or a rule has faults.
            UsageError: an option cannot be understood.
        """
        path = options.get("config")
        settings = _settings(path)
        place = f" --config {shlex.quote(str(path))}" if path else ""
        if state_dir := options.get("state_dir"):
            settings = settings.model_copy(update={"state_dir": Path(state_dir)})
            place += f" --state-dir {shlex.quote(str(state_dir))}"
        loaded = rules.load(settings.rules)
        reading = checked(_over(settings, options))
        return cls(settings, reading, loaded, telemetry or Telemetry(), place)

    @property
    def store(self) -> Path:
        """Where the models are."""
        return self.settings.state_dir / "models"

    @property
    def own_rules(self) -> Path:
        """The user's folder that new rules go to."""
        return self.settings.rules[-1] if self.settings.rules else self.settings.state_dir / RULES

    @property
    def context(self) -> str:
        """What else than windows and detectors decides a verdict, for its id."""
        return f"{digest(self.settings)} {rules.digest(self.rules)} {self.reading.overrides}"

    @property
    def mutes(self) -> LiveMutes:
        """The mutes in force, as a person may change them while a watch runs."""
        return LiveMutes(self.settings.rules, self.own_rules)

    def with_windowing(self, windowing: Windowing) -> "Setup":
        """The same, but windows are as a model was trained on."""
        return replace(self, reading=replace(self.reading, windowing=windowing))

    def judging(self, *, trusted: bool) -> JudgeConfig:
        """The detectors to judge by: the usual ones, less those switched off, plus those named."""
        if not self.settings.detectors:
            return JudgeConfig(trusted=trusted)
        chosen: dict[str, Mapping[str, Any]] = {name: {} for usual in DETECTORS.values() for name in usual}
        for name, options in self.settings.detectors.items():
            if options is None:
                chosen.pop(name, None)
            else:
                chosen[name] = options.model_dump(exclude_defaults=True)
        return JudgeConfig(detectors=chosen, trusted=trusted)


def _over(settings: Settings, options: ReadOptions) -> ReadOptions:
    """The options given, over those of the configuration."""
    given = {name: value for name, value in options.items() if value is not None}
    below = settings.reading.model_dump(exclude_none=True)
    windows = settings.windows.model_dump(exclude_none=True)
    if given.keys() & {"window", "window_records", "session_regex", "session_field"}:
        windows = {name: value for name, value in windows.items() if name == "session_timeout"}
    merged: ReadOptions = {**below, **windows, **given}  # type: ignore[typeddict-item]
    return merged


def template_folders(path: str | Path | None) -> tuple[Path, ...]:
    """The user's folders of message templates, from the configuration."""
    return _settings(path).templates


def rules_in_force(path: str | Path | None) -> rules.Rules:
    """The shipped rules with those of the configuration on top."""
    return rules.load(_settings(path).rules)


def _settings(path: str | Path | None) -> Settings:
    return config.load(Path(path) if path else None, os.environ)
