"""A package of parts is found once it is installed, and keeps every promise."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from logad.config import load

PLUGIN = Path(__file__).parent.parent / "examples" / "plugin"
CHECKOUT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    if importlib.util.find_spec("hatchling") is None:
        print("skipped: hatchling, which builds the example, is not installed")
        pytest.skip("hatchling is not installed")
    if importlib.util.find_spec("pip") is None:
        print("skipped: pip is not installed")
        pytest.skip("pip is not installed")
    copy = tmp_path_factory.mktemp("source") / "plugin"  # a build leaves nothing in the checkout
    shutil.copytree(PLUGIN, copy, ignore=shutil.ignore_patterns("build", "dist", "__pycache__"))
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(target), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    paths = [str(target), str(CHECKOUT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def test_the_suites_pass_on_the_installed_example(environment, tmp_path):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    command += ["-c", os.devnull, "--rootdir", str(tmp_path), str(PLUGIN / "tests")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d+ passed in", done.stdout, re.MULTILINE), done.stdout  # none skipped


def test_the_configuration_knows_the_installed_parts(environment, tmp_path):
    config = tmp_path / "logad.yaml"
    config.write_text(
        "detectors: {longest_run: {patience: 3}}\n"
        "notifiers:\n- {type: json_post, address: '${INCIDENT_URL}', timeout_seconds: -1}\n"
    )
    program = (
        "import pathlib, sys; from logad.config import *; from logad.errors import ConfigError\n"
        "assert 'longest_run' in commented() and 'json_post' in commented()\n"
        "path, environ = pathlib.Path(sys.argv[1]), {'HOME': '/', 'INCIDENT_URL': 'https://x.example/SECRET'}\n"
        "try: load(path, environ)\n"
        "except ConfigError as error: print(*error.problems)\n"
        "path.write_text(path.read_text().replace('-1', '4'))\n"
        "settings = load(path, environ)\n"
        "print(settings.detectors['longest_run'].patience, settings)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(config)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert f"{config}:3: notifiers[0].timeout_seconds: found -1; expected greater than 0" in done.stdout
    assert "\n3 " in done.stdout
    assert "SECRET" not in done.stdout


def test_without_the_package_its_parts_are_unknown(tmp_path):
    config = tmp_path / "logad.yaml"
    config.write_text("detectors: {longest_run: true}\n")
    with pytest.raises(Exception, match="no part is called 'longest_run'"):
        load(config, {"HOME": "/"})
