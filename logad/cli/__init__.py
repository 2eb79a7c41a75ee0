"""The command line: parses, calls the public functions, prints; the one place that exits."""

import errno
import gc
import io
import os
import signal
import sys
from contextlib import suppress

import click

from logad import __version__
from logad.cli import evaluating, incidents, reading, upkeep
from logad.cli.console import visible
from logad.errors import ConfigError, ExitCode, LogadError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, prog_name="logad")
def cli() -> None:
    """Finds what is abnormal in your logs, without labels, and tells you in words.

    Start with `logad scan FILE`, or see it all at work with `logad demo`.
    """


for command in (*reading.COMMANDS, *evaluating.COMMANDS, *incidents.COMMANDS, *upkeep.COMMANDS):
    cli.add_command(command)


def main() -> None:
    """Run the command line; exits with a code of the interface, never with a traceback."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ExitCode.INTERRUPTED))
    _open_streams()
    try:
        code = _run()
    except BrokenPipeError:  # while telling of an error
        _give_up_output()
        code = ExitCode.DONE
    gc.freeze()  # to look for garbage on the way out takes longer than to read a short log
    sys.exit(code)


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
            click.echo(f"logad: {visible(problem)}", err=True)
        return error.exit_code
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            _give_up_output()
            click.echo(f"logad: standard output: {error.strerror}; expected room for the results", err=True)
            return ExitCode.DELIVERY
        if os.environ.get("LOGAD_DEBUG"):
            raise
        click.echo(f"logad: internal error: {type(error).__name__}: {visible(str(error))}", err=True)
        click.echo("logad: please report it; LOGAD_DEBUG=1 shows where it happened", err=True)
        return ExitCode.INTERNAL
    return int(code or ExitCode.DONE)
