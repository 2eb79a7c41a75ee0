"""Writes results for programs, as JSON, JSON lines or CSV, and files that are whole or not there."""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, TextIO

from logad.errors import DeliveryError, UsageError
from logad.types import Verdict

Format = Literal["text", "json", "jsonl", "csv"]

_CSV_COLUMNS: Final = (
    "id",
    "service",
    "kind",
    "key",
    "index",
    "revision",
    "start",
    "end",
    "first_line",
    "last_line",
    "records",
    "learning",
    "anomalous",
    "score",
    "severity",
    "tail_probability",
    "reason",
)


def verdict_rows(verdicts: Iterable[Verdict], form: Format) -> Iterator[str]:
    """The verdicts in their order as text, in pieces that end with a newline."""
    values = (verdict.as_dict() for verdict in verdicts)
    if form != "csv":
        return json_rows(values, form)
    return _csv(_CSV_COLUMNS, (_flat(value) for value in values))


def json_rows(values: Iterable[Mapping[str, Any]], form: Format) -> Iterator[str]:
    r"""Objects as one JSON array, or one to a line.

    >>> list(json_rows([{"a": 1}, {"a": 2}], "json"))
    ['[\n', '{"a": 1}', ',\n{"a": 2}', '\n]\n']
    """
    if form == "jsonl":
        yield from (f"{_dumped(value)}\n" for value in values)
        return
    yield "[\n"
    for number, value in enumerate(values):
        yield (",\n" if number else "") + _dumped(value)
    yield "\n]\n"


def csv_rows(columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> Iterator[str]:
    """Rows as RFC 4180 wants them, after a header."""
    return _csv(columns, (dict(zip(columns, row, strict=True)) for row in rows))


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A file to write text to, which takes its name, and the place of what had it, only once it is whole.

    What is no regular file, such as `/dev/null` or a pipe, is written to as it is.

    Raises:
        UsageError: it cannot be written.
        DeliveryError: it cannot be written to its end.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "found.csv"
    >>> with whole_file(path) as file:
    ...     _ = file.write("id")
    ...     path.exists()
    False
    >>> path.read_text()
    'id'
    """
    place = Path(os.path.realpath(path))  # a link stays a link
    special = place.exists() and not place.is_file()
    part = place if special else place.with_name(f".{place.name}.part")
    try:
        file = part.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(
            str(path), _why(error), "a file that can be written", "check the folder and its permissions"
        ) from None
    try:
        with file:
            yield file
        if not special:
            part.replace(place)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DeliveryError(str(path), _why(error), "a file that can be written to its end") from None
    finally:
        if not special:
            part.unlink(missing_ok=True)


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _csv(columns: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(row)
        if buffer.tell() > 1 << 16:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _flat(value: Mapping[str, Any]) -> dict[str, Any]:
    reasons = value["reasons"]
    flat = {**value, **value["window"], "reason": reasons[0]["text"] if reasons else ""}
    return {name: flat.get(name) for name in _CSV_COLUMNS}


def _dumped(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
