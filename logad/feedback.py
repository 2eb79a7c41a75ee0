"""Notes what a person thinks of a verdict or an incident, and says what comes of it."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from logad.errors import UsageError
from logad.ledger import Ledger
from logad.preparation import LEDGER, Setup
from logad.reranking import ANOMALY, NORMAL, Reranker, Trial, examples

LABELS = (ANOMALY, NORMAL)


@dataclass(frozen=True, slots=True)
class Noted:
    """What was labelled, and what all labels together come to."""

    title: str  # what the verdict or incident is about
    verdicts: int  # how many of them have the label now
    trial: Trial  # of the re-ranker that is learned from all labels


def label(
    id_: str,
    label: str,
    *,
    now: datetime,
    config: str | Path | None = None,
    state_dir: str | Path | None = None,
) -> Noted:
    """Label a verdict, or each verdict of an incident, as `anomaly` or `normal`; the last label counts.

    From the next learning of a watch on, what deviates in just the way of a window that was called normal,
    and is no stranger, is not anomalous. With enough labels of both sorts a re-ranker learns what to send,
    and is used where it helps.

    Raises:
        UsageError: the label is neither, or no anomalous verdict or incident has an id that begins so.
        StateError: no watch has run with this state folder.
    """
    if label not in LABELS:
        raise UsageError("--label", repr(label), " or ".join(LABELS))
    setup = Setup.of({"config": config, "state_dir": state_dir})
    with Ledger(setup.settings.state_dir / LEDGER, owner=False) as ledger:
        incident = ledger.incident(id_)
        found = None if incident is not None else ledger.verdict(id_)
        if incident is not None:
            members = ledger.members(incident.id)
            title = incident.title
        elif found is not None and found.anomalous:
            members = [found]
            title = found.reasons[0].text if found.reasons else found.service
        else:
            advice = "a scan learns from nothing that is stored: label what a watch found"
            raise UsageError(id_, "no anomalous verdict or incident of a watch begins so", "its id", advice)
        for verdict in members:
            ledger.note("feedback", verdict.id, label, now)
        return Noted(title, len(members), _trial(ledger, setup.reading.seed))


def trial(*, config: str | Path | None = None, state_dir: str | Path | None = None) -> Trial:
    """What all labels together come to.

    Raises:
        StateError: no watch has run with this state folder.
    """
    setup = Setup.of({"config": config, "state_dir": state_dir})
    with Ledger(setup.settings.state_dir / LEDGER, owner=False) as ledger:
        return _trial(ledger, setup.reading.seed)


def _trial(ledger: Ledger, seed: int) -> Trial:
    return Reranker.learned(examples(ledger.labelled()), seed).trial
