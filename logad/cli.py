"""The command line: parses, calls the public functions, prints; the one place that exits."""

import errno
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from logad import __version__
from logad.errors import ConfigError, ExitCode, InputError, LogadError

if TYPE_CHECKING:  # heavy: imported only by the commands that read logs
    from logad.batch import Observer
    from logad.live import BacktestResult
    from logad.stream import Event
    from logad.telemetry import Telemetry

Command = TypeVar("Command", bound=Callable[..., Any])

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PLAIN_WIDTH = 100
"""Columns of text output in a pipe."""


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, shown in the order given."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_sources = click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
_format = _options(
    click.option("--timezone", metavar="ZONE", help="Zone of times that name none (default: UTC)."),
    click.option("--time-format", metavar="FORMAT", help="How times are written, as in strftime."),
    click.option("--message-field", metavar="NAME", help="JSON: the field that holds the message."),
    click.option("--service-field", metavar="NAME", help="JSON: the field that names the service."),
    click.option("--multiline", metavar="RE", help="What the first line of a record looks like."),
    click.option("--encoding", metavar="NAME", help="Encoding of the text (default: detected)."),
    click.option("--since", metavar="TIME", help="Leave out what is older: ISO time, or an age such as 2h."),
    click.option("--until", metavar="TIME", help="Leave out what is newer: ISO time, or an age such as 2h."),
    click.option(
        "--config", type=click.Path(path_type=Path), metavar="FILE", help="Configuration: a YAML file."
    ),
    click.option(
        "--state-dir", type=click.Path(path_type=Path), metavar="DIR", help="Where models and verdicts live."
    ),
    click.option(
        "--stats",
        "stats_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write counters and timings there, as JSON.",
    ),
)
_windowing = _options(
    click.option("--window", metavar="SPAN", help="Windows of time per service, such as 5m."),
    click.option("--window-records", type=int, metavar="N", help="Windows of N records, in order of input."),
    click.option(
        "--session-regex",
        metavar="RE",
        help="One window per session; its key is the first group, or the whole match.",
    ),
    click.option(
        "--session-field", metavar="NAME", help="One window per session; its key is the value of this field."
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random."),
)
_live = _options(
    click.option("--session-timeout", metavar="SPAN", help="Silence that completes a session."),
    click.option("--warmup", metavar="N", help="What only teaches: 10000r, 2h or 50% (default: learned)."),
    click.option("--alert-budget", metavar="N/day", help="Incidents a person accepts per day."),
)
_output = _options(
    click.option(
        "--format",
        "form",
        type=click.Choice(["text", "json", "jsonl", "csv"]),
        default="text",
        show_default=True,
        help="How results are written.",
    ),
    click.option(
        "--output",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write results there, whole or not at all.",
    ),
)
_findings = _options(
    click.option("--all", "every", is_flag=True, help="Every judged window, not only anomalous ones."),
    click.option("--fail-on-anomaly", is_flag=True, help="Exit with 1 when something anomalous was found."),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, prog_name="logad")
def cli() -> None:
    """Finds what is abnormal in your logs, without labels, and tells you in words.

    Start with `logad scan FILE`, or see it all at work with `logad demo`.
    """


@cli.command()
@_sources
@click.option(
    "--baseline", multiple=True, metavar="SOURCE", help="Judge by what this looks like (repeatable)."
)
@click.option("--baseline-clean", is_flag=True, help="You vouch for every record of the baseline.")
@click.option("--model", metavar="NAME", help="Judge by a stored model.")
@_windowing
@_output
@_findings
@_format
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
    from logad import api, rendering, writing

    with _observed(stats_file) as observer:
        result = api.scan(
            *sources,
            baseline=baseline,
            baseline_clean=baseline_clean,
            model=model,
            every=every,
            observer=observer,
            **options,
        )
    with _written_to(output) as out:
        if form == "text":
            shown = result.verdicts if every else result.anomalous
            folders = api.template_folders(options.get("config"))
            width, colour = _looks(out)
            out.write(rendering.Renderer(folders).findings(shown, result.summary, width, colour))
        else:
            _write(out, writing.verdict_rows(result.verdicts, form))  # type: ignore[arg-type]
    _tell_faults(result.faults, result.stats)
    if result.faults:
        return ExitCode.INPUT
    return ExitCode.ANOMALIES if fail_on_anomaly and result.summary.anomalous else ExitCode.DONE


@cli.command()
@_sources
@click.option("--model", required=True, metavar="NAME", help="The name to keep it under.")
@click.option("--clean", is_flag=True, help="You vouch for every record.")
@_windowing
@_format
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
    from logad import api

    with _observed(stats_file) as observer:
        result = api.train(*sources, model=model, clean=clean, observer=observer, **options)
    summary = result.summary
    click.echo(f"model {result.model.name} version {result.model.version} ({result.model.id})")
    click.echo(f"  learned from {summary.records:,} records, {summary.templates:,} templates, {summary.span}")
    click.echo(f"  {result.windows:,} {summary.windowing}")
    click.echo(f"  {result.odd:,} of them look odd themselves and were not taken as normal")
    for doubt in summary.doubts:
        click.echo(f"  doubt: {doubt}")
    click.echo(f"  judge by it: logad scan SOURCE --model {result.model.name}")
    _tell_faults(result.faults, result.stats)
    return ExitCode.INPUT if result.faults else ExitCode.DONE


@cli.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE...]")
@click.option(
    "--from",
    "from_",
    type=click.Choice(["start", "end"]),
    default="start",
    help="Where a first start begins.",
)
@click.option("--until-idle", metavar="SPAN", help="End after so much silence, judging what is open.")
@click.option("--dry-run", is_flag=True, help="Alert nobody.")
@_live
@_windowing
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Verdicts as JSON lines.")
@_findings
@_format
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

    _interruptible()
    result = live.watch(*sources, on_event=_told_event, write=sys.stdout.write, **options)
    _write_stats(stats_file, result.stats)
    summary = result.summary
    click.echo(
        f"ended      {summary.windows:,} windows judged, {summary.anomalous:,} anomalous, "
        f"{summary.incidents:,} incidents",
        err=True,
    )
    _tell_faults(summary.unread, result.stats)
    if summary.unread:
        return ExitCode.INPUT
    if summary.faults:
        return ExitCode.DELIVERY
    return ExitCode.ANOMALIES if fail_on_anomaly and summary.anomalous else ExitCode.DONE


@cli.command()
@_sources
@_live
@_windowing
@_output
@_findings
@_format
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

    _interruptible()
    result = live.backtest(*sources, every=every, on_event=_told_event, **options)
    _write_stats(stats_file, result.stats)
    with _written_to(output) as out:
        if form == "text":
            out.write(_alerts_told(result))
        else:
            _write(out, writing.verdict_rows(result.verdicts, form))  # type: ignore[arg-type]
    if form != "text":
        click.echo(_alerts_told(result), err=True, nl=False)
    _tell_faults(result.summary.unread, result.stats)
    if result.summary.unread:
        return ExitCode.INPUT
    return ExitCode.ANOMALIES if fail_on_anomaly and result.summary.anomalous else ExitCode.DONE


@cli.command()
@_sources
@click.option(
    "--assignments", type=click.Path(path_type=Path), metavar="FILE.csv", help="Each record's template."
)
@_output
@_format
def templates(
    sources: tuple[str, ...],
    assignments: Path | None,
    form: str,
    output: Path | None,
    stats_file: Path | None,
    **options: Any,  # noqa: ANN401
) -> int:
    """The mined templates: id, count, text, parameters."""
    from logad import api, writing

    with _observed(stats_file) as observer:
        result = api.templates(*sources, observer=observer, **options)
    if assignments is not None:
        with _written_to(assignments) as out:
            _write(out, writing.csv_rows(("line", "template_id", "template"), result.assignments.iter_rows()))
    with _written_to(output) as out:
        if form == "text":
            width, _ = _looks(out)
            for one in result.templates:
                line = f"{one.count:>9,}  {one.template.template_id}  {_visible(one.template.text)}"
                out.write((line if len(line) <= width else line[: width - 1] + "…") + "\n")
        elif form == "csv":
            rows = ((one.template.template_id, one.count, one.template.text) for one in result.templates)
            _write(out, writing.csv_rows(("template_id", "count", "template"), rows))
        else:
            _write(out, writing.json_rows((one.as_dict() for one in result.templates), form))  # type: ignore[arg-type]
    _tell_faults(result.faults, result.stats)
    return ExitCode.INPUT if result.faults else ExitCode.DONE


@cli.command()
@click.argument("id_", metavar="ID")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Configuration: a YAML file.")
@click.option("--state-dir", type=click.Path(path_type=Path), metavar="DIR", help="Where verdicts live.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def explain(id_: str, config: Path | None, state_dir: Path | None, form: str) -> int:
    """One verdict or incident in full, with raw lines in context.

    The beginning of an ID is enough.
    """
    from logad import api, rendering

    explained = api.explain(id_, config=config, state_dir=state_dir)
    if form == "json":
        click.echo(json.dumps(explained.as_dict(), ensure_ascii=False, indent=2))
        return ExitCode.DONE
    width, colour = _looks(sys.stdout)
    renderer = rendering.Renderer(api.template_folders(config))
    if explained.incident is not None:
        incident = explained.incident
        click.echo(f"incident {incident.id}, {incident.state}, {incident.verdicts} verdicts")
        click.echo(f"  {_visible(incident.title)}")
    for verdict in explained.verdicts:
        click.echo(renderer.finding(verdict, width, colour))
    for title, lines in explained.context:
        click.echo(title)
        for line_ in lines:
            line = f"  {'>' if line_.proof else ' '} {line_.number:>7}  {_visible(line_.text)}"
            click.echo(line if len(line) <= width else line[: width - 1] + "…")
    return ExitCode.DONE


_place = _options(
    click.option(
        "--config", type=click.Path(path_type=Path), metavar="FILE", help="Configuration: a YAML file."
    ),
    click.option(
        "--state-dir", type=click.Path(path_type=Path), metavar="DIR", help="Where models and verdicts live."
    ),
)


@cli.command()
@click.option("--state", type=click.Choice(["open", "resolved", "muted"]), help="Only these.")
@_place
def incidents(state: str | None, config: Path | None, state_dir: Path | None) -> int:
    """The incidents of a watch, latest first; also while it runs."""
    from logad import handling

    width, _ = _looks(sys.stdout)
    for one in handling.list_incidents(state=state, config=config, state_dir=state_dir):
        line = (
            f"{one.id[:12]}  {one.state:<8}  {one.severity:<6}  {one.updated:%Y-%m-%d %H:%M}  "
            f"{one.verdicts:>4,}  {one.service:<12}  {_visible(one.title)}"
        )
        click.echo(line if len(line) <= width else line[: width - 1] + "…")
    return ExitCode.DONE


@cli.command()
@click.argument("id_", metavar="ID")
@click.option("--who", default=lambda: os.environ.get("USER", "someone"), help="Who takes it (default: you).")
@_place
def ack(id_: str, who: str, config: Path | None, state_dir: Path | None) -> int:
    """Notes that somebody has taken an incident."""
    from logad import handling

    incident = handling.ack(id_, who=who, config=config, state_dir=state_dir)
    click.echo(f"incident {incident.id[:12]} is with {who}: {_visible(incident.title)}")
    return ExitCode.DONE


def _muter() -> str:
    return f"muted by {os.environ.get('USER', 'someone')}"


@cli.command()
@click.argument("id_", metavar="ID")
@click.option("--reason", default=_muter, help="Why nobody wants to hear of it (default: who muted it).")
@click.option("--for", "lasting", metavar="SPAN", help="For so long, such as 7d (default: for ever).")
@_place
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
    click.echo(f"muted: {_visible(incident.title)}")
    click.echo(f"the rule is in {path}; a running watch takes it up when it is started again")
    return ExitCode.DONE


@cli.command(name="config")
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


@cli.command()
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Configuration: a YAML file.")
def rules(config: Path | None) -> int:
    """Lists the rules in force and checks each against its samples."""
    from logad import api
    from logad.rules import check_rules

    loaded = api.rules_in_force(config)
    for mask in loaded.masks:
        click.echo(f"mask      {mask.name:<24} {mask.placeholder:<12} {mask.regex}")
    for severity in loaded.severities:
        click.echo(f"severity  {severity.name:<24} {'raises':<12} {severity.regex}")
    for mute in loaded.mutes:
        click.echo(f"mute      {mute.name:<24} {mute.reason}")
    problems = check_rules(loaded)
    for problem in problems:
        click.echo(f"logad: {problem}", err=True)
    return ExitCode.CONFIGURATION if problems else ExitCode.DONE


@cli.command()
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


@cli.command()
@_place
def doctor(config: Path | None, state_dir: Path | None) -> int:
    """Checks what a run needs; sends nothing.

    Looks at the configuration, rules, templates, the state folder, sources, notifiers and sinks.
    """
    from logad import api

    failed = False
    for check in api.doctor(config=config, state_dir=state_dir):
        click.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<16} {_visible(check.text)}")
        failed |= not check.ok
    return ExitCode.CONFIGURATION if failed else ExitCode.DONE


@cli.command()
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


def main() -> None:
    """Run the command line; exits with a code of the interface, never with a traceback."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ExitCode.INTERRUPTED))
    _open_streams()
    try:
        code = _run()
    except BrokenPipeError:  # while telling of an error
        _give_up_output()
        code = ExitCode.DONE
    sys.exit(code)


def _interruptible() -> None:
    """Take the interrupt back from polars, whose handler lets a blocked read go on and can lose it."""
    import polars as pl  # noqa: F401  (which sets that handler when it is imported)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _open_streams() -> None:
    """UTF-8 whatever the locale says, as results are; what is closed swallows what is written to it."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  (open until the end)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _give_up_output() -> None:
    """Nobody takes what is still to be written: let the end of the process not fail for it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError):
        os.dup2(nowhere, sys.__stdout__.fileno() if sys.__stdout__ else 1)


def _run() -> int:  # noqa: PLR0911  (one return an outcome)
    try:
        code = cli.main(prog_name="logad", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except SystemExit as ended:
        if ended.code != 1:
            raise
        _give_up_output()  # click ends so where a pipe is closed, and nothing else does
        return ExitCode.DONE
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except LogadError as error:
        for problem in error.problems if isinstance(error, ConfigError) else (str(error),):
            click.echo(f"logad: {_visible(problem)}", err=True)
        return error.exit_code
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            _give_up_output()
            click.echo(f"logad: standard output: {error.strerror}; expected room for the results", err=True)
            return ExitCode.DELIVERY
        if os.environ.get("LOGAD_DEBUG"):
            raise
        click.echo(f"logad: internal error: {type(error).__name__}: {_visible(str(error))}", err=True)
        click.echo("logad: please report it; LOGAD_DEBUG=1 shows where it happened", err=True)
        return ExitCode.INTERNAL
    return int(code or ExitCode.DONE)


def _told_event(event: "Event") -> None:
    """What happens in a live run, on standard error; incidents are the notifiers' to tell."""
    if event.kind not in ("verdict", "incident"):
        click.echo(f"{event.kind:<11}{_visible(event.text)}", err=True)


def _alerts_told(result: "BacktestResult") -> str:
    """The verdicts in a line each, then the alerts per day and tier."""
    rows = [
        f"{verdict.score:.2f}  {verdict.severity:<7} {verdict.service:<16} {verdict.window.key or ''} "
        f"{verdict.reasons[0].text if verdict.reasons else ''}"
        for verdict in result.verdicts
        if verdict.anomalous
    ]
    rows = [_visible(row) for row in rows]
    rows.append("")
    rows.append("the alerts you would have got")
    tiers = ("page", "digest", "index", "muted")
    rows.append("day         " + "".join(f"{tier:>8}" for tier in tiers))
    for day, told in sorted(result.summary.per_day.items()):
        rows.append(f"{day:<12}" + "".join(f"{told.get(tier, 0):>8,}" for tier in tiers))
    if not result.summary.per_day:
        rows.append("none")
    rows.append(f"{result.summary.windows:,} windows judged, {result.summary.anomalous:,} anomalous")
    return "\n".join(rows) + "\n"


@contextmanager
def _observed(stats_file: Path | None) -> "Iterator[Observer]":
    """An observer that tells on standard error, with a progress bar on terminals only; then the counters.

    The counters are written whatever happens: a run that fails or is interrupted has its accounts too.
    """
    from logad.telemetry import Telemetry

    telemetry = Telemetry()
    _interruptible()
    try:
        with _telling(telemetry) as observer:
            yield observer
    finally:
        _write_stats(stats_file, telemetry.as_dict())


@contextmanager
def _telling(telemetry: "Telemetry") -> "Iterator[Observer]":
    from logad.batch import Observer

    def note(name: str, text: str) -> None:
        click.echo(f"{name:<11}{_visible(text)}", err=True)

    if not sys.stderr.isatty():
        yield Observer(note, telemetry=telemetry)
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("reading"), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def told(name: str, text: str) -> None:
            console.print(f"{name:<11}{_visible(text)}", markup=False, highlight=False, soft_wrap=True)

        yield Observer(told, lambda count: bar.update(task, completed=count), telemetry)


@contextmanager
def _written_to(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that is whole or not there."""
    from logad.writing import whole_file

    if path is None:
        yield sys.stdout
        sys.stdout.flush()
    else:
        with whole_file(path) as file:
            yield file


def _write(out: TextIO, pieces: Iterable[str]) -> None:
    out.writelines(pieces)


def _write_stats(path: Path | None, stats: Any) -> None:  # noqa: ANN401  (a mapping)
    if path is not None:
        with _written_to(path) as out:
            out.write(json.dumps(stats, indent=1) + "\n")


def _tell_faults(faults: Iterable[InputError], stats: Any) -> None:  # noqa: ANN401
    """What was dropped, what was mended and what could not be read, one line each."""
    for reason, count in stats["dropped"].items():
        click.echo(f"dropped    {count:,} {reason.replace('_', ' ')}", err=True)
    if stats["unkeyed"]:
        click.echo(f"note       {stats['unkeyed']:,} records without a key are in no session", err=True)
    for reason, count in stats["notes"].items():
        click.echo(f"note       {count:,} {reason.replace('_', ' ')}", err=True)
    for fault in faults:
        click.echo(f"logad: {_visible(str(fault))}", err=True)


def _looks(out: TextIO) -> tuple[int, bool]:
    """Columns, and whether colours are welcome (see no-color.org)."""
    if not out.isatty():
        return _PLAIN_WIDTH, False
    import shutil

    return shutil.get_terminal_size().columns, not os.environ.get("NO_COLOR")


def _visible(text: str) -> str:
    """The text with control characters spelt out, so that no log can steer the terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
