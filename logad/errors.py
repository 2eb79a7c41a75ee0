"""The errors a user can meet; each says where, what was found, what was expected and what to do next."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its caller (a promise of the command line)."""

    DONE = 0
    ANOMALIES = 1
    USAGE = 2
    CONFIGURATION = 3
    INPUT = 4
    DELIVERY = 5
    INTERNAL = 70
    INTERRUPTED = 130


class LogadError(Exception):
    """An error that is told to the user in one line, never as a traceback.

    >>> str(InputError("app.log", "no such file", "a path, a glob or a folder", "check the spelling"))
    'app.log: no such file; expected a path, a glob or a folder; check the spelling'
    """

    exit_code = ExitCode.INTERNAL

    def __init__(self, where: str, found: str, expected: str = "", advice: str = "") -> None:
        self.where = where
        self.found = found
        self.expected = expected
        self.advice = advice
        parts = [f"{where}: {found}" if where else found]
        if expected:
            parts.append(f"expected {expected}")
        if advice:
            parts.append(advice)
        super().__init__("; ".join(parts))


class UsageError(LogadError):
    """The command line or a call asks for something that cannot be."""

    exit_code = ExitCode.USAGE


class ConfigError(LogadError):
    """The configuration, a rule or a template is wrong; `problems` holds every fault found, each a line."""

    exit_code = ExitCode.CONFIGURATION

    def __init__(
        self,
        where: str,
        found: str,
        expected: str = "",
        advice: str = "",
        problems: tuple[str, ...] = (),
    ) -> None:
        super().__init__(where, found, expected, advice)
        self.problems = problems or (str(self),)


class InputError(LogadError):
    """A source is missing, unreadable or holds no records."""

    exit_code = ExitCode.INPUT


class StateError(LogadError):
    """A ledger or a model is damaged, of another version, or used by another process."""

    exit_code = ExitCode.CONFIGURATION


class DeliveryError(LogadError):
    """A notifier or sink could not be reached for good."""

    exit_code = ExitCode.DELIVERY
