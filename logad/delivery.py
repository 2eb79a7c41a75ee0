"""Drains the ledger: messages to notifiers, verdicts to sinks and to the output file."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self

from logad.contracts import Clock, Delivered, Notifier, Outcome, RetryLater, Sink
from logad.errors import DeliveryError, LogadError, UsageError
from logad.ledger import Ledger
from logad.steps import OutboxRow
from logad.telemetry import Telemetry
from logad.types import Verdict

MOST_TRIES: Final = 30
"""A message is given up after so many tries: about a day."""
LONGEST_WAIT_SECONDS: Final = 3_600
BATCH: Final = 500
"""Verdicts handed to a sink at once."""


def deliver(
    ledger: Ledger, notifiers: Mapping[str, Notifier], now: datetime, telemetry: Telemetry
) -> list[OutboxRow]:
    """Try every message that is due, once, in order; the rows as they now stand.

    Messages of one incident to one notifier keep their order: a later one waits for the earlier. A process
    killed between a delivery and its note repeats that message when it starts again.
    """
    tried: list[OutboxRow] = []
    held: set[tuple[str, str]] = set()
    references: dict[tuple[str, str], str] = {}
    for waiting in ledger.pending():
        pair = (waiting.notifier, waiting.incident)
        notifier = notifiers.get(waiting.notifier)
        if notifier is None or pair in held:
            continue
        if waiting.not_before is not None and waiting.not_before > now:
            held.add(pair)
            continue
        row = replace(waiting, reference=references.get(pair, waiting.reference))
        row = _settled(row, _attempt(notifier, row), now)
        ledger.settle(row)
        tried.append(row)
        if row.state == "pending":
            held.add(pair)
            telemetry.notes["delivery_retried"] += 1
        elif row.state == "failed":
            telemetry.notes["delivery_refused"] += 1
        if row.reference:
            references[pair] = row.reference
    return tried


def _attempt(notifier: Notifier, row: OutboxRow) -> Outcome:
    message = {**row.message, "reference": row.reference} if row.reference else row.message
    try:
        return notifier.deliver(message)
    except DeliveryError as error:
        return RetryLater(0, str(error))
    except Exception as error:  # noqa: BLE001  (a faulty notifier must not end the watch; its text may hold a secret)
        return RetryLater(0, f"{type(error).__name__} in the notifier")


def _settled(row: OutboxRow, outcome: Outcome, now: datetime) -> OutboxRow:
    tries = row.tries + 1
    if isinstance(outcome, Delivered):
        return replace(
            row, state="delivered", tries=tries, reference=outcome.reference or row.reference, why=""
        )
    if isinstance(outcome, RetryLater) and tries < MOST_TRIES:
        seconds = max(outcome.seconds, min(LONGEST_WAIT_SECONDS, 2.0 ** min(tries, 12)))
        return replace(row, tries=tries, not_before=now + timedelta(seconds=seconds), why=outcome.why)
    return replace(row, state="failed", tries=tries, why=outcome.why)


class Sinks:
    """Brings each sink up to the ledger; one that cannot be reached is tried again later."""

    def __init__(self, sinks: Mapping[str, Sink], telemetry: Telemetry) -> None:
        self._sinks = sinks
        self._telemetry = telemetry
        self._waiting: dict[str, tuple[int, datetime]] = {}  # sink -> failures, not before

    def drain(self, ledger: Ledger, now: datetime, *, last: bool = False) -> list[str]:
        """Write what is new to every sink; the faults met. With `last` nothing waits for its time."""
        faults = []
        for name, sink in self._sinks.items():
            failures, not_before = self._waiting.get(name, (0, now))
            if not_before > now and not last:
                continue
            try:
                self._fill(ledger, name, sink)
                self._waiting.pop(name, None)
            except LogadError as error:
                wait = timedelta(seconds=min(LONGEST_WAIT_SECONDS, 2 ** min(failures + 1, 12)))
                self._waiting[name] = (failures + 1, now + wait)
                faults.append(f"{name}: {error}")
        return faults

    def _fill(self, ledger: Ledger, name: str, sink: Sink) -> None:
        position, _ = ledger.sink(name)
        while rows := ledger.verdicts(after=position, limit=BATCH):
            written = sink.write([verdict for _, verdict in rows])
            if written.refused:
                self._telemetry.notes[f"refused_by_{name}"] += len(written.refused)
            position = rows[-1][0]
            ledger.advance_sink(name, position)


class OutputFile:
    """The `--output` file: exactly the ledger's verdicts in their order, whenever the process was killed.

    The ledger knows how many bytes of it are good; what a killed process wrote beyond them is cut off.

    Raises:
        DeliveryError: the file cannot be written.
        UsageError: the file holds what this watch did not write.
    """

    def __init__(self, path: Path, ledger: Ledger, *, every: bool) -> None:
        self._path = path
        self._name = f"output:{path.absolute()}" + (":all" if every else "")
        self._ledger = ledger
        self._every = every
        self._position, size = ledger.sink(self._name)
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            there = os.fstat(self._file).st_size
            if there and not self._position:
                os.close(self._file)
                raise UsageError(
                    f"--output {path}",
                    "the file is there, and was not written by this watch",
                    "a new file",
                    "delete it or name another one",
                )
            if there < size:  # somebody cut or deleted it: it is written anew
                self._position = size = 0
            self._size = size
            os.ftruncate(self._file, size)
        except OSError as error:
            raise self._fault(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def drain(self) -> None:
        """Append what is new; after this returns it is on the disk and the ledger knows."""
        while rows := self._ledger.verdicts(after=self._position, limit=BATCH):
            told = [_line(verdict) for _, verdict in rows if verdict.anomalous or self._every]
            data = memoryview(b"".join(told))
            try:
                done = 0
                while done < len(data):
                    done += os.pwrite(self._file, data[done:], self._size + done)
                os.fsync(self._file)
            except OSError as error:
                raise self._fault(error) from error
            self._size += len(data)
            self._position = rows[-1][0]
            self._ledger.advance_sink(self._name, self._position, self._size)

    def _fault(self, error: OSError) -> DeliveryError:
        return DeliveryError(str(self._path), error.strerror or "not writable", "a file that can be written")


def _line(verdict: Verdict) -> bytes:
    return (json.dumps(verdict.as_dict(), ensure_ascii=False) + "\n").encode("utf-8", "replace")


class Outlets:
    """All that leaves the program after a step: the output file, the sinks, the messages."""

    def __init__(  # noqa: PLR0913, PLR0917  (each way out, and what they need)
        self,
        ledger: Ledger,
        clock: Clock,
        output: OutputFile | None,
        sinks: Mapping[str, Sink],
        notifiers: Mapping[str, Notifier],
        telemetry: Telemetry,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._output = output
        self._sinks = Sinks(sinks, telemetry)
        self._notifiers = notifiers
        self._telemetry = telemetry

    def drain(self, *, last: bool = False) -> list[str]:
        """Bring everything outside up to the ledger; the faults met. With `last` no sink waits."""
        with self._telemetry.stage("write"):
            if self._output is not None:
                self._output.drain()
            now = self._clock.now()
            faults = self._sinks.drain(self._ledger, now, last=last)
            tried = deliver(self._ledger, self._notifiers, now, self._telemetry)
        return faults + [f"{row.notifier}: {row.why}" for row in tried if row.why]
