"""How the command line says things: notes and progress on standard error, results where they are wanted."""

import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from logad.errors import InputError

if TYPE_CHECKING:  # heavy: imported only by the commands that read logs
    from logad.batch import Observer
    from logad.choices import Choice
    from logad.lineage import Descent
    from logad.listing import MinedTemplate
    from logad.live import BacktestResult
    from logad.quality import Finding
    from logad.stream import Event
    from logad.telemetry import Telemetry

_PLAIN_WIDTH = 100
"""Columns of text output in a pipe."""
_FINDING_WIDTH = 12
_MOMENT_WIDTH = 25
_REASON_WIDTH = 16


def told_event(event: "Event") -> None:
    """What happens in a live run, on standard error; incidents are the notifiers' to tell."""
    if event.kind not in ("verdict", "incident"):
        click.echo(f"{event.kind:<11}{visible(event.text)}", err=True)


def alerts_told(result: "BacktestResult") -> str:
    """The verdicts in a line each, then the alerts per day and tier."""
    strangest_first = sorted(result.verdicts, key=lambda verdict: -verdict.score)
    rows = [
        f"{verdict.score:.2f}  {verdict.severity:<7} {verdict.service:<16} {verdict.window.key or ''} "
        f"{verdict.reasons[0].text if verdict.reasons else ''}"
        for verdict in strangest_first
        if verdict.anomalous
    ]
    rows = [visible(row) for row in rows]
    rows.append("")
    rows.append("the alerts you would have got")
    tiers = ("page", "digest", "index")
    rows.append("day         " + "".join(f"{tier:>8}" for tier in tiers))
    for day, told in sorted(result.summary.per_day.items()):
        rows.append(f"{day:<12}" + "".join(f"{told.get(tier, 0):>8,}" for tier in tiers))
    if not result.summary.per_day:
        rows.append("none")
    rows.append(f"{result.summary.windows:,} windows judged, {result.summary.anomalous:,} anomalous")
    rows += choices_told(result.choices)
    return "\n".join(rows) + "\n"


def choices_told(choices: "Iterable[Choice]") -> Iterator[str]:
    """What each choice of what is sent would have meant, a line each; nothing where there was no incident."""
    for number, choice in enumerate(choices):
        if not number:
            yield "what each choice would have sent"
        yield f"  {choice.describe()}"


def templates_told(templates: "Iterable[MinedTemplate]", width: int) -> Iterator[str]:
    """A line a template: count, id, and its text or the name that a rule gives it, cut to the width."""
    from logad.wording import cut, plain

    for each in templates:
        named = each.text if each.name is None else f"{each.name} = {each.text}"
        yield cut(f"{each.count:>9,}  {each.template.template_id}  {plain(named)}", width) + "\n"


def quality_told(findings: "Iterable[Finding]", width: int) -> Iterator[str]:
    """What does not look right, each with a rule to paste where one helps; nothing where all is well.

    Rules stand at the margin and are never cut, so that they can be copied.
    """
    from logad.wording import counted, plain, wrapped

    for finding in findings:
        told = [plain(finding.text)]
        rule = finding.suggestion
        if rule is not None:
            become = "becomes" if rule.before == 1 else "become"
            told.append(
                f"with this in {rule.file}, {counted(rule.before, 'template')} {become} {rule.after:,}:"
            )
        lines = [line for text in told for line in wrapped(text, width - _FINDING_WIDTH)]
        yield "\n"
        for name, line in zip((finding.kind, *[""] * len(lines)), lines, strict=False):
            yield f"{name:<{_FINDING_WIDTH}}{line}\n"
        if rule is not None:
            yield rule.yaml


def lineage_told(lineage: "Iterable[Descent]", texts: Mapping[str, str], width: int) -> Iterator[str]:
    """A line an event: when, which id gave way to which, why, and the latter's text where it is known."""
    from logad.wording import cut, moment, plain

    for each in lineage:
        when = "" if each.when is None else moment(each.when)
        text = plain(texts.get(each.became_id, ""))
        ids = f"{each.was_id} -> {each.became_id}"
        line = f"{when:<{_MOMENT_WIDTH}}{ids}  {each.reason:<{_REASON_WIDTH}}{text}"
        yield cut(line.rstrip(), width) + "\n"


@contextmanager
def accounted(stats_file: Path | None) -> "Iterator[Telemetry]":
    """The counters of a run, written whatever happens: also when it fails or is interrupted."""
    from logad.telemetry import Telemetry

    telemetry = Telemetry()
    interruptible()
    try:
        yield telemetry
    finally:
        write_stats(stats_file, telemetry.as_dict())


@contextmanager
def observed(stats_file: Path | None) -> "Iterator[Observer]":
    """An observer that tells on standard error, with a progress bar on terminals only; then the counters."""
    with accounted(stats_file) as telemetry, _telling(telemetry) as observer:
        yield observer


def refuse_sources(output: Path | None, sources: Iterable[str]) -> None:
    """Results must not be written over what they are about."""
    for source in sources:
        if output is not None and output.exists() and Path(source).exists() and output.samefile(source):
            raise click.UsageError(f"--output {output} is a source itself; name another file")


@contextmanager
def _telling(telemetry: "Telemetry") -> "Iterator[Observer]":
    from logad.batch import Observer

    def note(name: str, text: str) -> None:
        click.echo(f"{name:<11}{visible(text)}", err=True)

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
            console.print(f"{name:<11}{visible(text)}", markup=False, highlight=False, soft_wrap=True)

        yield Observer(told, lambda count: bar.update(task, completed=count), telemetry)


@contextmanager
def written_to(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that is whole or not there."""
    from logad.writing import whole_file

    if path is None:
        yield sys.stdout
        sys.stdout.flush()
    else:
        with whole_file(path) as file:
            yield file


def write_stats(path: Path | None, stats: Any) -> None:  # noqa: ANN401  (a mapping)
    """The counters of a run, where they are wanted."""
    if path is not None:
        with written_to(path) as out:
            out.write(json.dumps(stats, indent=1) + "\n")


def tell_faults(faults: Iterable[InputError], stats: Any) -> None:  # noqa: ANN401
    """What was dropped, what was mended and what could not be read, one line each."""
    for reason, count in stats["dropped"].items():
        click.echo(f"dropped    {count:,} {reason.replace('_', ' ')}", err=True)
    if stats["unkeyed"]:
        click.echo(f"note       {stats['unkeyed']:,} records without a key are in no session", err=True)
    for reason, count in stats["notes"].items():
        click.echo(f"note       {count:,} {reason.replace('_', ' ')}", err=True)
    for fault in faults:
        click.echo(f"logad: {visible(str(fault))}", err=True)


def looks(out: TextIO) -> tuple[int, bool]:
    """Columns, and whether colours are welcome (see no-color.org)."""
    if not out.isatty():
        return _PLAIN_WIDTH, False
    import shutil

    return shutil.get_terminal_size().columns, not os.environ.get("NO_COLOR")


def visible(text: str) -> str:
    """The text with control characters spelt out, so that no log can steer the terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def interruptible() -> None:
    """Take the interrupt back from polars, whose handler lets a blocked read go on and can lose it."""
    import polars as pl  # noqa: F401  (which sets that handler when it is imported)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.default_int_handler)
