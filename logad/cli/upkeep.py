"""The commands around a run: config, rules, models, init, doctor, demo."""

import json
import os
import sys
from pathlib import Path

import click

from logad.cli.console import visible
from logad.cli.options import place_options
from logad.errors import ConfigError, ExitCode, InputError


@click.command(name="config")
@click.argument("path", required=False, type=click.Path(path_type=Path), metavar="[FILE]")
@click.option("--schema", "as_schema", is_flag=True, help="Print the JSON Schema for editors.")
def config_(path: Path | None, as_schema: bool) -> int:
    """Checks a configuration and prints what is in force.

    Every fault is told at once, with its line.
    """
    from logad import config

    if as_schema:
        click.echo(json.dumps(config.schema(), indent=2))
        return ExitCode.DONE
    settings = config.load(path, os.environ)
    click.echo(json.dumps(settings.model_dump(mode="json", exclude_defaults=True), indent=2))
    click.echo(f"{path or 'the defaults'}: no faults", err=True)
    return ExitCode.DONE


@click.command()
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Configuration: a YAML file.")
def rules(config: Path | None) -> int:
    """Lists the rules in force and checks each against its samples."""
    from logad.pinning import check
    from logad.preparation import rules_in_force
    from logad.rules import check_rules

    loaded = rules_in_force(config)
    for mask in loaded.masks:
        click.echo(f"mask      {mask.name:<24} {mask.placeholder:<12} {mask.regex}")
    for severity in loaded.severities:
        click.echo(f"severity  {severity.name:<24} {'raises':<12} {severity.regex}")
    for mute in loaded.mutes:
        click.echo(f"mute      {mute.name:<24} {mute.reason}")
    for rule in loaded.templates:
        click.echo(f"template  {rule.name:<24} {rule.action:<12} {' | '.join(rule.texts)}")
    problems = [*check_rules(loaded), *check(loaded)]
    for problem in problems:
        click.echo(f"logad: {problem}", err=True)
    return ExitCode.CONFIGURATION if problems else ExitCode.DONE


@click.command()
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--promote", type=int, metavar="VERSION", help="Make this version the one in use.")
@click.option("--rollback", is_flag=True, help="Go back to the version in use before.")
@place_options
def models(
    name: str | None, promote: int | None, rollback: bool, config: Path | None, state_dir: Path | None
) -> int:
    """Lists the stored models; promotes or rolls back a version."""
    from logad import models as store
    from logad.preparation import Setup

    folder = Setup.of({"config": config, "state_dir": state_dir}).store
    if (promote is not None or rollback) and (name is None or (promote is not None and rollback)):
        raise click.UsageError("--promote VERSION or --rollback, one of them, with the NAME of a model")
    if name is not None and promote is not None:
        store.promote(folder, name, promote)
    if name is not None and rollback:
        store.rollback(folder, name)
    for ref in store.listed(folder):
        if name in (None, ref.name):
            told = store.described(ref)
            used = "in use" if ref.current else ""
            records = told.get("counts", {}).get("records", 0)
            line = f"{ref.name:<20} {ref.version:>4}  {ref.id}  {ref.created}  {records:>10,}  {used}"
            click.echo(line.rstrip())
    return ExitCode.DONE


@click.command()
@click.argument("path", default="logad.yaml", type=click.Path(path_type=Path), metavar="[FILE]")
def init(path: Path) -> int:
    """Writes a commented configuration file.

    Never over one that is there.
    """
    from logad import config

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(config.commented())
    except FileExistsError:
        raise ConfigError(
            str(path), "a file is there", "a new name", "delete it or name another file"
        ) from None
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error), "a folder that can be written") from None
    click.echo(f"{path} written; every key is there, commented out, with its default")
    click.echo(f"check it: logad config {path}")
    return ExitCode.DONE


@click.command()
@place_options
def doctor(config: Path | None, state_dir: Path | None) -> int:
    """Checks what a run needs; sends nothing.

    Looks at the configuration, rules, templates, the state folder, sources, notifiers and sinks.
    """
    from logad import checkup

    failed = False
    for check in checkup.doctor(config=config, state_dir=state_dir):
        click.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<16} {visible(check.text)}")
        failed |= not check.ok
    return ExitCode.CONFIGURATION if failed else ExitCode.DONE


@click.command()
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the generated system.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where its files go (default: a new one).",
)
def demo(seed: int, folder: Path | None) -> int:
    """A generated system with planted incidents, watched live.

    Three services run through the whole program on embedded defaults; there is nothing to configure.
    """
    import tempfile

    from logad.demo.show import show

    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise InputError(str(folder), "a folder that is not empty", "a new folder", "name another one")
    folder = folder or Path(tempfile.mkdtemp(prefix="logad-demo-"))

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    show(folder, write, seed)
    return ExitCode.DONE


COMMANDS = (config_, rules, models, init, doctor, demo)
