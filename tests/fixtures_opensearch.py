"""A real OpenSearch server for the tests that ask for one; they skip, and say so, where it cannot run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SERVERS = Path(__file__).parent / "servers" / "opensearch"
MISSING = 3


@pytest.fixture(scope="module")
def opensearch_url(start_opensearch: Callable[..., str]) -> str:
    """The address of an OpenSearch 2.x (or LOGAD_TEST_OPENSEARCH=3), shared by a module's tests."""
    return start_opensearch(os.environ.get("LOGAD_TEST_OPENSEARCH", "2"))


@pytest.fixture(scope="module")
def start_opensearch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Starts a server with settings, gives its address; all are stopped after the module."""
    folders = []

    def start(version: str, *settings: str) -> str:
        folder = tmp_path_factory.mktemp("opensearch")
        options = [option for setting in settings for option in ("--set", setting)]
        command = [
            sys.executable,
            str(SERVERS / "start"),
            "--version",
            version,
            "--dir",
            str(folder),
            *options,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == MISSING:
            print(f"skipped: {done.stderr.strip()}")
            pytest.skip(done.stderr.strip())
        assert done.returncode == 0, done.stderr
        folders.append(folder)
        return str(json.loads(done.stdout)["url"])

    yield start
    for folder in folders:
        subprocess.run([sys.executable, str(SERVERS / "stop"), str(folder), "--remove"], check=True)
