"""The options that several commands share."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def place_told(options: Mapping[str, Any]) -> str:
    """The options that another command needs to find the same configuration and state."""
    given = {"--config": options.get("config"), "--state-dir": options.get("state_dir")}
    return "".join(f" {name} {shlex.quote(str(path))}" for name, path in given.items() if path)


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, shown in the order given."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


sources_argument = click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
reading_options = together(
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
standard_options = together(
    click.option(
        "--baseline", multiple=True, metavar="SOURCE", help="Judge by what this looks like (repeatable)."
    ),
    click.option("--baseline-clean", is_flag=True, help="You vouch for every record of the baseline."),
    click.option("--model", metavar="NAME", help="Judge by a stored model."),
)
windowing_options = together(
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
live_options = together(
    click.option("--session-timeout", metavar="SPAN", help="Silence that completes a session."),
    click.option("--warmup", metavar="N", help="What only teaches: 10000r, 2h or 50% (default: learned)."),
    click.option("--alert-budget", metavar="N/day", help="Incidents a person accepts per day."),
    click.option("--cost-false-alarm", type=float, metavar="X", help="What one false alarm costs ..."),
    click.option("--cost-miss", type=float, metavar="X", help="... and what it costs to be told of nothing."),
)
output_options = together(
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
findings_options = together(
    click.option("--all", "every", is_flag=True, help="Every judged window, not only anomalous ones."),
    click.option("--fail-on-anomaly", is_flag=True, help="Exit with 1 when something anomalous was found."),
)


place_options = together(
    click.option(
        "--config", type=click.Path(path_type=Path), metavar="FILE", help="Configuration: a YAML file."
    ),
    click.option(
        "--state-dir", type=click.Path(path_type=Path), metavar="DIR", help="Where models and verdicts live."
    ),
)
