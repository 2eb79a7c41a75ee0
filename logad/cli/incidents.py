"""The commands about what was found: explain, incidents, ack, mute, feedback."""

import json
import os
import sys
from pathlib import Path

import click

from logad.cli.console import looks, visible
from logad.cli.options import place_options
from logad.errors import ExitCode


@click.command()
@click.argument("id_", metavar="ID")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Configuration: a YAML file.")
@click.option("--state-dir", type=click.Path(path_type=Path), metavar="DIR", help="Where verdicts live.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def explain(id_: str, config: Path | None, state_dir: Path | None, form: str) -> int:
    """One verdict or incident in full, with raw lines in context.

    The beginning of an ID is enough.
    """
    from logad import rendering, retelling
    from logad.preparation import template_folders

    explained = retelling.explain(id_, config=config, state_dir=state_dir)
    if form == "json":
        click.echo(json.dumps(explained.as_dict(), ensure_ascii=False, indent=2))
        return ExitCode.DONE
    width, colour = looks(sys.stdout)
    renderer = rendering.Renderer(template_folders(config))
    if explained.incident is not None:
        incident = explained.incident
        click.echo(f"incident {incident.id}, {incident.state}, {incident.verdicts} verdicts")
        click.echo(f"  {visible(incident.title)}")
    for verdict in explained.verdicts:
        click.echo(renderer.finding(verdict, width, colour))
    for title, lines in explained.context:
        click.echo(title)
        for line_ in lines:
            line = f"  {'>' if line_.proof else ' '} {line_.number:>7}  {visible(line_.text)}"
            click.echo(line if len(line) <= width else line[: width - 1] + "…")
    return ExitCode.DONE


@click.command()
@click.option("--state", type=click.Choice(["open", "resolved", "muted"]), help="Only these.")
@place_options
def incidents(state: str | None, config: Path | None, state_dir: Path | None) -> int:
    """The incidents of a watch, latest first; also while it runs."""
    from logad import handling

    width, _ = looks(sys.stdout)
    takers = handling.takers(config=config, state_dir=state_dir)
    for one in handling.list_incidents(state=state, config=config, state_dir=state_dir):
        line = (
            f"{one.id[:12]}  {one.state:<8}  {one.severity:<6}  {one.updated:%Y-%m-%d %H:%M}  "
            f"{one.verdicts:>4,}  {one.service:<12}  "
            + (f"(with {visible(takers[one.id])}) " if one.id in takers else "")
            + visible(one.title)
        )
        click.echo(line if len(line) <= width else line[: width - 1] + "…")
    return ExitCode.DONE


@click.command()
@click.argument("id_", metavar="ID")
@click.option("--who", default=lambda: os.environ.get("USER", "someone"), help="Who takes it (default: you).")
@place_options
def ack(id_: str, who: str, config: Path | None, state_dir: Path | None) -> int:
    """Notes that somebody has taken an incident."""
    from logad import handling

    incident = handling.ack(id_, who=who, config=config, state_dir=state_dir)
    click.echo(f"incident {incident.id[:12]} is with {who}: {visible(incident.title)}")
    return ExitCode.DONE


def _muter() -> str:
    return f"muted by {os.environ.get('USER', 'someone')}"


@click.command()
@click.argument("id_", metavar="ID")
@click.option("--reason", default=_muter, help="Why nobody wants to hear of it (default: who muted it).")
@click.option("--for", "lasting", metavar="SPAN", help="For so long, such as 7d (default: for ever).")
@place_options
def mute(id_: str, reason: str, lasting: str | None, config: Path | None, state_dir: Path | None) -> int:
    """Sends nothing more of what an incident is about.

    Scores stay as they are.
    """
    from datetime import UTC, datetime

    from logad import handling

    now = datetime.now(UTC)
    incident, path = handling.mute(
        id_, reason=reason, now=now, lasting=lasting, config=config, state_dir=state_dir
    )
    click.echo(f"muted: {visible(incident.title)}")
    click.echo(f"the rule is in {path}; a running watch takes it up at once")
    return ExitCode.DONE


@click.command()
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--label", type=click.Choice(["anomaly", "normal"]), help="What it is, as you see it.")
@place_options
def feedback(id_: str | None, label: str | None, config: Path | None, state_dir: Path | None) -> int:
    """Labels a verdict or an incident of a watch.

    What is called normal counts as normal from the next learning on, and
    nothing else with it. Without ID: what all labels together come to.
    """
    from datetime import UTC, datetime

    from logad import feedback as labelling

    if (id_ is None) != (label is None):
        raise click.UsageError("an ID and a --label go together")
    if id_ is None or label is None:
        click.echo(f"re-ranking {labelling.trial(config=config, state_dir=state_dir).describe()}")
        return ExitCode.DONE
    noted = labelling.label(id_, label, now=datetime.now(UTC), config=config, state_dir=state_dir)
    plural = "" if noted.verdicts == 1 else "s"
    click.echo(f"noted: {noted.verdicts:,} verdict{plural} {label}: {visible(noted.title)}")
    if label == "normal":
        click.echo("a watch takes it as normal when it learns next; nothing else with it")
    click.echo(f"re-ranking {noted.trial.describe()}")
    return ExitCode.DONE


COMMANDS = (explain, incidents, ack, mute, feedback)
