"""The examples run, find what they promise, and their rules and configuration hold."""

import subprocess
import sys
from pathlib import Path

from logad import config, rules

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_python_example_finds_the_unreachable_database_first() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "scan_from_python.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[1]
    assert "cannot reach database" in first
    assert "11:2" in first


def test_the_example_rules_treat_their_samples_as_they_say() -> None:
    loaded = rules.load([EXAMPLES / "own_rules"])
    assert {"ticket"} <= {mask.name for mask in loaded.masks}
    assert {"backup-window"} <= {mute.name for mute in loaded.mutes}
    assert rules.check_rules(loaded) == []


def test_the_example_configuration_has_no_faults() -> None:
    secrets = {"SLACK_WEBHOOK": "https://hooks.slack.example/x", "OPENSEARCH_PASSWORD": "secret"}
    assert config.load(EXAMPLES / "logad.yaml", secrets).alerting.budget_per_day == 5
