"""Shows a verdict or an incident again in full, with the raw lines around its evidence."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from logad.errors import InputError, UsageError
from logad.ledger import Ledger
from logad.preparation import LEDGER, SCANS, Setup
from logad.recall import recall
from logad.sources import open_sources
from logad.telemetry import Telemetry
from logad.types import Buffer, Incident, Verdict, iso

CONTEXT: Final = 3
"""Lines shown on both sides of a line of evidence."""


@dataclass(frozen=True, slots=True)
class ContextLine:
    """A raw line around the evidence."""

    number: int
    proof: bool  # whether a reason names it
    text: str


@dataclass(frozen=True, slots=True)
class Explained:
    """A verdict, or an incident with its verdicts, and raw lines around the evidence."""

    verdicts: tuple[Verdict, ...]
    incident: Incident | None
    context: tuple[tuple[str, tuple[ContextLine, ...]], ...]  # a title, and the lines

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        told: dict[str, Any] = {"verdicts": [verdict.as_dict() for verdict in self.verdicts]}
        if self.incident is not None:
            incident = self.incident
            told["incident"] = {
                "id": incident.id,
                "service": incident.service,
                "also": list(incident.also),
                "state": incident.state,
                "severity": str(incident.severity),
                "title": incident.title,
                "opened": iso(incident.opened),
                "updated": iso(incident.updated),
                "verdicts": incident.verdicts,
            }
        told["context"] = [
            {"where": where, "lines": [asdict(line) for line in lines]} for where, lines in self.context
        ]
        return told


def explain(id_: str, *, config: str | Path | None = None, state_dir: str | Path | None = None) -> Explained:
    """One verdict or incident in full, with raw lines in context where its sources can still be read.

    `id_` is the beginning of an id that `scan` or `watch` showed.

    Raises:
        UsageError: nothing, or more than one thing, has an id that begins so.
    """
    setup = Setup.of({"config": config, "state_dir": state_dir})
    folder = setup.settings.state_dir
    recalled = recall(folder / SCANS, id_)
    if recalled is not None:
        verdict, sources = recalled
        return Explained((verdict,), None, _in_context((verdict,), sources))
    if (folder / LEDGER).exists():
        with Ledger(folder / LEDGER, owner=False) as ledger:
            found = ledger.verdict(id_)
            incident = None if found is not None else ledger.incident(id_)
            members = tuple(ledger.members(incident.id)) if incident is not None else ()
            members = members if found is None else (found,)
            sources = tuple(json.loads(ledger.meta("sources") or "[]"))
        if members:
            return Explained(members, incident, _in_context(members[:3], sources))
    raise UsageError(
        id_,
        "no verdict or incident begins so",
        "the id of an anomalous verdict of scan, or of any verdict or incident of watch",
        f"looked in {folder}",
    )


def _in_context(
    verdicts: Sequence[Verdict], sources: Sequence[str]
) -> tuple[tuple[str, tuple[ContextLine, ...]], ...]:
    """Lines around each evidence, from sources that are files and still there."""
    proofs: dict[str, set[int]] = {}
    for verdict in verdicts:
        for reason in verdict.reasons:
            for evidence in reason.evidence:
                if evidence.line:
                    proofs.setdefault(evidence.source, set()).add(evidence.line)
    opened, _ = open_sources([source for source in sources if source != "-"], Telemetry())
    found: dict[str, dict[int, str]] = {name: {} for name in proofs}
    for source in opened:
        try:
            for buffer in source.read({}):
                if buffer.source in proofs:
                    _pick(buffer, proofs[buffer.source], found[buffer.source])
        except InputError:
            continue
        finally:
            source.close()
    told = []
    for name, lines in found.items():
        shown = (ContextLine(number, number in proofs[name], text) for number, text in sorted(lines.items()))
        told.append((f"{name}, around the evidence", tuple(shown)))
    return tuple((title, lines) for title, lines in told if lines)


def _pick(buffer: Buffer, wanted: set[int], found: dict[int, str]) -> None:
    """The wanted lines of a buffer and CONTEXT lines on both sides."""
    last = buffer.first_line + buffer.data.count(b"\n")
    near = {number + step for number in wanted for step in range(-CONTEXT, CONTEXT + 1)}
    if not any(buffer.first_line <= number <= last for number in near):
        return
    for number, line in enumerate(buffer.data.split(b"\n"), buffer.first_line):
        if number in near and (line or number < last):
            found[number] = line.decode("utf-8", "replace").rstrip("\r")[:2000]
