"""Appends verdicts to a file of JSON lines; what is there already is not written twice."""

import json
import mmap
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, ClassVar, Final

from logad.contracts import PartConfig, Sink, Written
from logad.errors import ConfigError, DeliveryError
from logad.telemetry import Telemetry
from logad.types import VERDICT_SCHEMA, Verdict

_ID: Final = re.compile(
    rb'^\{"schema": ?"%s", ?"id": ?"([^"\\]+)"' % re.escape(VERDICT_SCHEMA.encode()), re.MULTILINE
)


class JsonlConfig(PartConfig):
    """Where the file lies; it and its folder are made if need be."""

    path: Path
    """The file of JSON lines."""


class JsonlSink(Sink):
    """Writes one line per verdict and syncs it to the disk before it says so.

    A line torn by a crash is cut off when the file is opened (note `torn_line`): its verdict is not
    known as stored and comes again.

    Raises:
        ConfigError: the file holds lines that are not verdicts.
    """

    name: ClassVar[str] = "jsonl"
    Config: ClassVar[type[PartConfig]] = JsonlConfig

    def __init__(self, config: JsonlConfig, telemetry: Telemetry) -> None:
        self._path = config.path
        self._telemetry = telemetry
        self._file: BinaryIO | None = None
        self._known: set[str] = set()

    def write(self, verdicts: Sequence[Verdict]) -> Written:
        """Append those that are new, all or none.

        Raises:
            DeliveryError: the file cannot be written, or its disk is full; nothing of this call stays in it.
        """
        lines: dict[str, bytes] = {}
        refused: dict[str, str] = {}
        try:
            file = self._opened()
            for verdict in verdicts:
                if verdict.id not in self._known and verdict.id not in lines:
                    try:
                        text = json.dumps(verdict.as_dict(), ensure_ascii=False, allow_nan=False)
                        lines[verdict.id] = text.encode() + b"\n"
                    except (ValueError, TypeError) as error:
                        refused[verdict.id] = f"is not storable: {error}"
            self._append(file, b"".join(lines.values()))
        except OSError as error:
            self.close()
            raise DeliveryError(
                str(self._path),
                error.strerror or type(error).__name__,
                "a file that can be written",
                "check its disk and permissions",
            ) from error
        self._known |= lines.keys()
        self._telemetry.notes["jsonl_refused"] += len(refused)
        return Written(len(verdicts) - len(refused), refused)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._known.clear()

    def _append(self, file: BinaryIO, data: bytes) -> None:
        """Write and sync; on a failure cut off what was written of it."""
        end = file.seek(0, os.SEEK_END)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):  # what cannot be cut off now is cut off at the next opening
                file.truncate(end)
            raise

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._path.open("a+b", buffering=0)
            try:
                self._known = self._recovered(file)
            except BaseException:
                file.close()
                raise
            self._file = file
        return self._file

    def _recovered(self, file: BinaryIO) -> set[str]:
        """Cut off a torn last line; the ids of the others."""
        size = os.fstat(file.fileno()).st_size
        if not size:
            return set()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            whole = content.rfind(b"\n") + 1
            ids = [match[1].decode() for match in _ID.finditer(content, 0, whole)]
            lines = sum(1 for _ in re.finditer(b"\n", memoryview(content)[:whole])) if whole else 0
        if lines != len(ids):
            raise ConfigError(
                str(self._path),
                f"{lines - len(ids)} of {lines} lines are no verdicts",
                f"a file of {VERDICT_SCHEMA} lines only",
                "name another file",
            )
        if whole < size:
            os.truncate(file.fileno(), whole)
            self._telemetry.notes["torn_line"] += 1
        return set(ids)
