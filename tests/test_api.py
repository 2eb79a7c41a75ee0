"""The functions of the package and the commands are twins."""

import inspect
import subprocess
import sys
import typing
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from command import orders, steady, wrote

import logad
from logad import api, cli, handling
from logad.errors import ConfigError, InputError, StateError, UsageError
from logad.options import ReadOptions

PRINTED = {"form", "output", "stats_file", "fail_on_anomaly"}
"""Options that decide what the command does with a result: a caller of the function has the result."""
OF_SESSIONS_THAT_END = {"session_timeout"}
"""In `scan`, `train` and `templates` a session ends with the input, so the commands do not offer it."""
OF_WINDOWS = {"window", "window_records", "session_regex", "session_field", "seed"}
TWINS = {
    "scan": "scan",
    "train": "train",
    "watch": "watch",
    "backtest": "backtest",
    "templates": "templates",
    "evaluate": "evaluate",
    "explain": "explain",
    "doctor": "doctor",
    "ack": "ack",
    "mute": "mute",
    "incidents": "list_incidents",  # `logad.incidents` is a module
}
WITHOUT_TWIN = {
    "config": "logad.config.load",
    "rules": "logad.preparation.rules_in_force",
    "init": "logad.config.commented",
    "demo": "nothing to pass in",
}
SHARED = [
    "--window",
    "--window-records",
    "--session-regex",
    "--session-field",
    "--since",
    "--until",
    "--time-format",
    "--timezone",
    "--message-field",
    "--service-field",
    "--multiline",
    "--encoding",
    "--seed",
    "--state-dir",
    "--config",
    "--stats",
]
PROMISED = {
    "scan": [
        *SHARED,
        "--baseline",
        "--baseline-clean",
        "--model",
        "--format",
        "--output",
        "--all",
        "--fail-on-anomaly",
    ],
    "train": [*SHARED, "--model"],
    "watch": [
        *SHARED,
        *("--from", "--until-idle", "--dry-run", "--session-timeout", "--warmup", "--alert-budget"),
        *("--cost-false-alarm", "--cost-miss"),
        *("--output", "--all", "--fail-on-anomaly"),
    ],
    "backtest": [
        *SHARED,
        *(
            "--session-timeout",
            "--warmup",
            "--alert-budget",
            "--cost-false-alarm",
            "--cost-miss",
            "--format",
            "--output",
            "--all",
            "--fail-on-anomaly",
        ),
    ],
    "templates": [
        *(name for name in SHARED if name[2:].replace("-", "_") not in OF_WINDOWS),
        *("--assignments", "--lineage", "--format", "--output"),
    ],
    "evaluate": [
        *SHARED,
        *(
            "--labels",
            "--inject",
            "--baseline",
            "--baseline-clean",
            "--model",
            "--warmup",
            "--folds",
            "--format",
            "--output",
        ),
    ],
    "explain": ["--format", "--state-dir", "--config"],
    "incidents": ["--state-dir", "--config"],
    "ack": ["--state-dir", "--config"],
    "mute": ["--state-dir", "--config"],
    "rules": ["--config"],
    "doctor": ["--state-dir", "--config"],
}


def parameters(function):
    """The names that a function takes, with those of `**options` spelt out."""
    names = set()
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            names |= set(typing.get_type_hints(ReadOptions))
        else:
            names.add(name)
    return names


def test_every_command_has_a_twin_or_a_reason_for_none():
    assert set(cli.cli.commands) - TWINS.keys() - WITHOUT_TWIN.keys() - others() == set()


def others():
    """Commands that only list or change what the state folder holds, through the modules named like them."""
    return {"models", "notify", "opensearch", "feedback"}


@pytest.mark.parametrize(("command", "function"), TWINS.items())
def test_a_command_takes_what_its_function_takes(command, function):
    options = {parameter.name for parameter in cli.cli.commands[command].params}
    taken = parameters(getattr(logad, function))
    assert options - PRINTED <= taken
    untold = taken - options - {"observer", "on_event", "write", "clock", "now", "output", "telemetry"}
    if command in ("scan", "train", "templates", "evaluate"):
        untold -= OF_SESSIONS_THAT_END
    if command == "templates":
        untold -= OF_WINDOWS
    assert untold == set()


@pytest.mark.parametrize(("command", "promised"), PROMISED.items())
def test_help_lists_every_promised_option(command, promised):
    shown = CliRunner().invoke(cli.cli, [command, "--help"], terminal_width=80).output
    assert [option for option in promised if f"{option} " not in shown and f"{option}\n" not in shown] == []


@pytest.mark.parametrize("command", sorted(cli.cli.commands))
def test_help_fits_eighty_columns_and_is_made_of_sentences(command):
    told = cli.cli.commands[command]
    shown = CliRunner().invoke(cli.cli, [command, "--help"], terminal_width=80).output
    assert max(map(len, shown.splitlines())) <= 80
    assert (told.help or "").rstrip()[-1] == "."
    assert not told.get_short_help_str(65).endswith("...")
    for parameter in told.params:
        if isinstance(parameter, click.Option) and parameter.help:
            assert parameter.help.rstrip(")").endswith(
                (".", "learned", "default", "you", "muted it", "for ever")
            ), parameter.name


def test_the_functions_are_there_without_importing_what_is_heavy():
    code = (
        "import sys, logad; assert 'scan' in dir(logad)\n"
        "print({'numpy', 'polars', 'sklearn', 'pydantic'} & set(sys.modules), callable(logad.scan))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set() True\n"


def test_each_exported_name_is_the_function_of_the_api():
    assert all(getattr(logad, name) is getattr(api, name) for name in logad.__all__)
    with pytest.raises(AttributeError, match="no attribute 'scann'"):
        logad.scann  # noqa: B018


def test_a_function_imports_no_more_than_it_needs(tmp_path):
    log = wrote(tmp_path / "app.log", steady(600))
    program = (
        "import logad, sys; logad.templates(sys.argv[1])\n"
        "print({'jinja2', 'sklearn', 'scipy', 'rich', 'logad.ledger', 'logad.stream'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(log)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_no_module_has_the_name_of_a_public_function():
    package = Path(logad.__file__).parent
    modules = {path.stem for path in package.glob("*.py")} | {
        path.name for path in package.iterdir() if path.is_dir()
    }
    public = {name for name in [*logad.__all__, *api.__all__] if inspect.isfunction(getattr(api, name))}
    assert modules & public == set()
    assert public <= set(logad.__all__)


def test_importing_a_module_hides_no_function():
    assert handling.list_incidents is logad.list_incidents
    assert inspect.isfunction(logad.scan)


# What the functions give -----------------------------------------------------------------------------------


def test_scan_gives_verdicts_in_order_and_the_anomalous_ones_strangest_first(tmp_path):
    log = wrote(tmp_path / "orders.log", orders(odd=(20, 150)))
    every = logad.scan(log, session_regex=r"ord_\d+", every=True, state_dir=tmp_path)
    found = logad.scan(log, session_regex=r"ord_\d+", state_dir=tmp_path)
    assert [verdict.window.index for verdict in every.verdicts] == list(range(200))
    assert found.verdicts == tuple(verdict for verdict in every.verdicts if verdict.anomalous)
    scores = [verdict.score for verdict in found.anomalous]
    assert scores == sorted(scores, reverse=True)
    assert every.stats["windows"] == found.stats["windows"] == 200


def test_scan_tells_what_it_could_not_read(tmp_path):
    log = wrote(tmp_path / "app.log", steady(600))
    result = logad.scan(log, tmp_path / "no.log", state_dir=tmp_path)
    assert [fault.where for fault in result.faults] == [str(tmp_path / "no.log")]


def test_a_trained_model_judges_in_another_call(tmp_path):
    before = wrote(tmp_path / "before.log", steady(broken_at=None))
    after = wrote(tmp_path / "after.log", steady())
    trained = logad.train(before, model="app", state_dir=tmp_path)
    judged = logad.scan(after, model="app", state_dir=tmp_path)
    assert judged.windowing == trained.windowing
    (verdict,) = judged.verdicts
    assert (verdict.model_id, verdict.model_version) == (trained.model.id, 1)


def test_templates_and_their_assignments_agree(tmp_path):
    log = wrote(tmp_path / "app.log", steady(600))
    result = logad.templates(log, assignments=True, state_dir=tmp_path)
    (assigned,) = result.assignments.frames()
    counts = dict(assigned["template_id"].value_counts().iter_rows())
    assert counts == {one.template.template_id: one.count for one in result.templates}
    assert assigned["line"].to_list() == list(range(1, 601))


def test_explain_gives_the_verdict_of_a_scan(tmp_path):
    log = wrote(tmp_path / "app.log", steady())
    (verdict,) = logad.scan(log, state_dir=tmp_path).verdicts
    explained = logad.explain(verdict.id, state_dir=tmp_path)
    assert [one.as_dict() for one in explained.verdicts] == [verdict.as_dict()]
    assert any(line.proof and "disk failure" in line.text for _, lines in explained.context for line in lines)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda log, folder: logad.scan(log, window="soon", state_dir=folder), UsageError),
        (lambda log, folder: logad.scan(log, window="5m", window_records=5, state_dir=folder), UsageError),
        (lambda log, folder: logad.scan(log, baseline=[log], model="m", state_dir=folder), UsageError),
        (lambda log, folder: logad.scan(log, baseline_clean=True, state_dir=folder), UsageError),
        (lambda log, folder: logad.scan(log, model="none", state_dir=folder), StateError),
        (lambda log, folder: logad.scan(folder / "no.log", state_dir=folder), InputError),
        (lambda log, folder: logad.scan(log, config=log), ConfigError),
        (lambda log, folder: logad.scan(log, session_regex="never", state_dir=folder), InputError),
        (lambda log, folder: logad.train(log, model="a/b", state_dir=folder), UsageError),
        (lambda log, folder: logad.templates(folder / "no.log"), InputError),
        (lambda log, folder: logad.explain("ffff", state_dir=folder), UsageError),
        (lambda log, folder: logad.list_incidents(state_dir=folder), StateError),
    ],
)
def test_errors_are_of_the_promised_kind(tmp_path, call, error):
    log = wrote(tmp_path / "app.log", steady(300))
    with pytest.raises(error):
        call(log, tmp_path)
