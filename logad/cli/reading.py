"""The commands that read logs: scan, train, watch, backtest, templates."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from logad.cli.console import (
    accounted,
    alerts_told,
    choices_told,
    lineage_told,
    looks,
    observed,
    quality_told,
    refuse_sources,
    tell_faults,
    templates_told,
    told_event,
    written_to,
)
from logad.cli.options import (
    findings_options,
    live_options,
    output_options,
    place_told,
    reading_options,
    sources_argument,
    standard_options,
    windowing_options,
)
from logad.errors import ExitCode

if TYPE_CHECKING:
    from logad.vocabulary import TemplatesResult


@click.command()
@sources_argument
@standard_options
@windowing_options
@output_options
@findings_options
@reading_options
def scan(  # noqa: PLR0913, PLR0917  (one parameter an option)
    sources: tuple[str, ...],
    baseline: tuple[str, ...],
    baseline_clean: bool,
    model: str | None,
    form: str,
    output: Path | None,
    every: bool,
    fail_on_anomaly: bool,
    stats_file: Path | None,
    **options: Any,  # noqa: ANN401
) -> int:
    """Anomalies in these logs, explained; nothing to configure.

    SOURCE is a file, a glob, a folder, - for standard input, or
    opensearch+http://HOST:PORT/INDEX; compressed files are fine.
    """
    from logad import rendering, scanning, writing
    from logad.preparation import template_folders

    refuse_sources(output, (*sources, *baseline))
    with observed(stats_file) as observer:
        result = scanning.scan(
            *sources,
            baseline=baseline,
            baseline_clean=baseline_clean,
            model=model,
            every=every,
            observer=observer,
            **options,
        )
    with written_to(output) as out:
        if form == "text":
            shown = result.verdicts if every else result.anomalous
            folders = template_folders(options.get("config"))
            width, colour = looks(out)
            renderer = rendering.Renderer(folders, place=place_told(options))
            out.write(renderer.findings(shown, result.summary, width, colour))
        else:
            out.writelines(writing.verdict_rows(result.verdicts, form))  # type: ignore[arg-type]
    tell_faults(result.faults, result.stats)
    if result.faults:
        return ExitCode.INPUT
    return ExitCode.ANOMALIES if fail_on_anomaly and result.summary.anomalous else ExitCode.DONE


@click.command()
@sources_argument
@click.option("--model", required=True, metavar="NAME", help="The name to keep it under.")
@click.option("--clean", is_flag=True, help="You vouch for every record.")
@windowing_options
@reading_options
def train(
    sources: tuple[str, ...],
    model: str,
    clean: bool,
    stats_file: Path | None,
    **options: Any,  # noqa: ANN401
) -> int:
    """A model of what is normal, kept under a name.

    Tells what it learned and what it doubts; `logad scan SOURCE --model NAME` judges by it.
    """
    from logad import scanning

    with observed(stats_file) as observer:
        result = scanning.train(*sources, model=model, clean=clean, observer=observer, **options)
    summary = result.summary
    click.echo(f"model {result.model.name} version {result.model.version} ({result.model.id})")
    click.echo(f"  learned from {summary.records:,} records, {summary.templates:,} templates, {summary.span}")
    click.echo(f"  {result.windows:,} {summary.windowing}")
    click.echo(f"  {result.odd:,} of them look odd themselves and were not taken as normal")
    for doubt in summary.doubts:
        click.echo(f"  doubt: {doubt}")
    click.echo(f"  judge by it: logad scan SOURCE --model {result.model.name}")
    for line in choices_told(result.choices):
        click.echo(line)
    width, _ = looks(sys.stdout)
    click.echo("".join(quality_told(result.quality, width)), nl=False)
    tell_faults(result.faults, result.stats)
    return ExitCode.INPUT if result.faults else ExitCode.DONE


@click.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE...]")
@click.option(
    "--from",
    "from_",
    type=click.Choice(["start", "end"]),
    default="start",
    help="Where a first start begins.",
)
@click.option("--until-idle", metavar="SPAN", help="End after so much silence, judging what is open.")
@click.option("--dry-run", is_flag=True, help="Alert nobody; what is read counts as read.")
@live_options
@windowing_options
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Verdicts as JSON lines.")
@findings_options
@reading_options
def watch(
    sources: tuple[str, ...],
    fail_on_anomaly: bool,
    stats_file: Path | None,
    **options: Any,  # noqa: ANN401
) -> int:
    """The same judgement, live and for ever; it survives any crash.

    Tails or follows its sources, alerts, and writes verdicts to the sinks of the configuration.
    """
    from logad import live

    refuse_sources(options["output"], sources)
    with accounted(stats_file) as telemetry:
        result = live.watch(
            *sources, on_event=told_event, write=sys.stdout.write, telemetry=telemetry, **options
        )
    summary = result.summary
    plural = "" if summary.incidents == 1 else "s"
    click.echo(
        f"ended      {summary.windows:,} windows judged, {summary.anomalous:,} anomalous, "
        f"{summary.incidents:,} incident{plural}",
        err=True,
    )
    tell_faults(summary.unread, result.stats)
    if summary.unread:
        return ExitCode.INPUT
    if summary.faults:
        return ExitCode.DELIVERY
    return ExitCode.ANOMALIES if fail_on_anomaly and summary.anomalous else ExitCode.DONE


@click.command()
@sources_argument
@live_options
@windowing_options
@output_options
@findings_options
@reading_options
def backtest(  # noqa: PLR0913, PLR0917  (one parameter an option)
    sources: tuple[str, ...],
    form: str,
    output: Path | None,
    every: bool,
    fail_on_anomaly: bool,
    stats_file: Path | None,
    **options: Any,  # noqa: ANN401
) -> int:
    """The alerts you would have got: history, replayed as in `watch`.

    Each window is judged only by what came before it, on the clock of the log. Nobody is alerted.
    """
    from logad import live, writing

    refuse_sources(output, sources)
    with accounted(stats_file) as telemetry:
        result = live.backtest(*sources, every=every, on_event=told_event, telemetry=telemetry, **options)
    with written_to(output) as out:
        if form == "text":
            out.write(alerts_told(result))
        else:
            out.writelines(writing.verdict_rows(result.verdicts, form))  # type: ignore[arg-type]
    if form != "text":
        click.echo(alerts_told(result), err=True, nl=False)
    tell_faults(result.summary.unread, result.stats)
    if result.summary.unread:
        return ExitCode.INPUT
    return ExitCode.ANOMALIES if fail_on_anomaly and result.summary.anomalous else ExitCode.DONE


@click.command()
@sources_argument
@click.option(
    "--assignments", type=click.Path(path_type=Path), metavar="FILE.csv", help="Each record's template."
)
@click.option("--lineage", is_flag=True, help="Which templates became which, instead of the list.")
@output_options
@reading_options
def templates(  # noqa: PLR0913, PLR0917  (one parameter an option)
    sources: tuple[str, ...],
    assignments: Path | None,
    lineage: bool,
    form: str,
    output: Path | None,
    stats_file: Path | None,
    **options: Any,  # noqa: ANN401
) -> int:
    """The mined templates: id, count, text, parameters."""
    from logad import vocabulary, writing

    refuse_sources(output, sources)
    refuse_sources(assignments, sources)
    with observed(stats_file) as observer:
        result = vocabulary.templates(
            *sources, assignments=assignments is not None, lineage=lineage, observer=observer, **options
        )
    if assignments is not None and result.assignments is not None:
        with written_to(assignments) as out:
            for number, frame in enumerate(result.assignments.frames()):
                out.write(frame.write_csv(include_header=not number, line_terminator="\r\n"))
    with written_to(output) as out:
        width, _ = looks(out)
        if lineage:
            out.writelines(_lineage_rows(result, form, width))
        elif form == "text":
            out.writelines(templates_told(result.templates, width))
            out.writelines(quality_told(result.quality(), width))
        elif form == "csv":
            rows = ((one.template.template_id, one.count, one.template.text) for one in result.templates)
            out.writelines(writing.csv_rows(("template_id", "count", "template"), rows))
        else:
            out.writelines(writing.json_rows((one.as_dict() for one in result.templates), form))  # type: ignore[arg-type]
    tell_faults(result.faults, result.stats)
    return ExitCode.INPUT if result.faults else ExitCode.DONE


def _lineage_rows(result: "TemplatesResult", form: str, width: int) -> Iterator[str]:
    """Which templates became which, in a format."""
    from logad import writing

    if form == "text":
        texts = {each.template.template_id: each.text for each in result.templates}
        yield from lineage_told(result.lineage, texts, width)
    elif form == "csv":
        columns = ("was", "became", "when", "reason")
        yield from writing.csv_rows(columns, (tuple(each.as_dict().values()) for each in result.lineage))
    else:
        rows = ({"schema": "logad.lineage/1", **each.as_dict()} for each in result.lineage)
        yield from writing.json_rows(rows, form)  # type: ignore[arg-type]


COMMANDS = (scan, train, watch, backtest, templates)
