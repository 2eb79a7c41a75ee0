"""What the pages say runs: every command, every Python block, every piece of configuration."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from logad import config, pinning, rules
from logad.demo.system import FILES, lines

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"(?P<not_run><!-- not run: .*? -->\n)?```(?P<kind>\w+)\n(?P<body>.*?)```", re.DOTALL)


def blocks(page: Path, kind: str) -> list[str]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [match["body"] for match in found if match["kind"] == kind and not match["not_run"]]


def commands(page: Path) -> list[str]:
    told = "\n".join(blocks(page, "console"))
    return [
        line[2:].split("  #")[0].split("     #")[0].strip()
        for line in told.splitlines()
        if line.startswith("$ ")
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the logs that the pages speak of."""
    texts: dict[str, list[str]] = {name: [] for name in FILES}
    for _, file, text in lines(seed=1, end=3 * 3600.0):
        texts[file].append(text)
    gateway, orders, stock = ("\n".join(texts[name]) + "\n" for name in FILES)
    for name, text in {
        "app.log": stock,
        "yesterday.log": stock,
        "gateway.log": gateway,
        "orders.log": orders,
        "logs/gateway.log": gateway,
        "logs/stock.log": stock,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The `logad` of this checkout on the PATH, and a state folder of its own."""
    bin_ = tmp_path / ".bin"
    bin_.mkdir()
    (bin_ / "logad").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m logad "$@"\n', encoding="utf-8")
    (bin_ / "logad").chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XDG_STATE_HOME": str(tmp_path / ".state"),
        "SLACK_WEBHOOK": "https://hooks.slack.example/services/T/B/x",
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_runs(page: Path, folder: Path, environment: dict[str, str]) -> None:
    for command in commands(page):
        if command.startswith("make "):
            assert f"\n{command.split()[1]}:" in (ROOT / "Makefile").read_text(encoding="utf-8"), command
            continue
        if not re.search(r"(^|\| )logad ", command):
            assert command.startswith(".venv/bin/logad scan"), f"{command}: neither run nor known"
            continue
        if command == "logad init" and (folder / "logad.yaml").exists():
            continue
        done = subprocess.run(
            command,
            shell=True,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_block_of_a_page_runs(page: Path, folder: Path, environment: dict[str, str]) -> None:
    for block in blocks(page, "python"):
        done = subprocess.run(
            [sys.executable, "-c", block],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_configuration_of_a_page_is_without_faults(page: Path, tmp_path: Path) -> None:
    secrets = {
        name: f"https://example.org/{name}"
        for name in ("SLACK_WEBHOOK", "SMTP_PASSWORD", "OPENSEARCH_PASSWORD")
    }
    for number, block in enumerate(blocks(page, "yaml")):
        if isinstance(yaml.safe_load(block), list):
            (tmp_path / "rules").mkdir()
            (tmp_path / "rules" / "templates.yaml").write_text(block, encoding="utf-8")
            assert not pinning.check(rules.load([tmp_path / "rules"]))
            continue
        if "masks" in yaml.safe_load(block):
            (tmp_path / "rules").mkdir()
            (tmp_path / "rules" / "masks.yaml").write_text(
                yaml.safe_dump(yaml.safe_load(block)["masks"]), encoding="utf-8"
            )
            assert not rules.check_rules(rules.load([tmp_path / "rules"]))
            continue
        path = tmp_path / f"{number}.yaml"
        path.write_text(block, encoding="utf-8")
        assert config.load(path, secrets)


def test_the_pages_link_to_files_that_are_there() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"
