"""What closed windows lead to: verdicts, incidents, alerts and messages, as one step of the ledger."""

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

from logad import alerting, incidents
from logad.alerting import Mutes
from logad.contracts import Notifier
from logad.learning import Closed
from logad.ledger import Ledger
from logad.redaction import Redactor
from logad.reranking import Reranker, examples
from logad.runs import StreamOptions
from logad.steps import Alert, OutboxRow, Step
from logad.types import Incident, Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdicts in order, what they did to the incidents, and the step that makes it durable."""

    verdicts: tuple[Verdict, ...]
    changes: tuple[incidents.Change, ...]
    step: Step


class Consequences:
    """Decides what follows from windows that closed; nothing is stored or sent by it."""

    def __init__(
        self,
        options: StreamOptions,
        ledger: Ledger,
        mutes: Mutes,
        notifiers: Mapping[str, Notifier],
        first_index: int,
    ) -> None:
        """`first_index` is that of the next window that is judged."""
        self._options = options
        self._ledger = ledger
        self._mutes = mutes
        self._notifiers = notifiers
        self._redactor = Redactor(options.redaction)
        self._known: dict[str, Incident] = {}  # those that may still change
        self._alerts: list[Alert] | None = None  # all of the past; None: to be read
        self._labels: list[tuple[str, str]] = []  # that the re-ranker learned from
        self._reranker = Reranker.learned(())
        self._scores = sorted(round(score, 4) for score in ledger.scores())  # of anomalous windows so far
        self.index = first_index  # of the next window that is judged

    def of(self, closed: Sequence[Closed], now: datetime | None) -> Outcome:
        """Number, redact, group and decide; `now` is the watermark."""
        closed = sorted(closed, key=lambda each: (each.at, each.view, each.row))
        self._known = self._live_incidents(now)
        self._learn_labels()
        verdicts: list[Verdict] = []
        changes: list[incidents.Change] = []
        for at, group in groupby(closed, key=lambda each: each.at):
            told = [self._numbered(each.verdict) for each in group]
            verdicts += told
            found = [verdict for verdict in told if verdict.anomalous]
            for verdict in found:
                insort(self._scores, round(verdict.score, 4))
            if found:
                moment = datetime.fromtimestamp(at / 1e6, UTC) if at else None
                changes += self._grouped(found, moment)
        if now is not None:
            changes += self._grouped([], now)
        past = self._ledger.alerts() if self._alerts is None else self._alerts
        sent = alerting.decide(changes, past, self._mutes, self._options.alerting)
        due = alerting.digest_due(past, now, self._options.alerting) if now is not None else []
        self._alerts = None if sent or due else past
        step = Step(
            verdicts=[(each.name, verdict) for each, verdict in zip(closed, verdicts, strict=True)],
            incidents=list({change.incident.id: change.incident for change in changes}.values()),
            members={verdict: change.incident.id for change in changes for verdict in change.verdicts},
            alerts=[each.alert for each in sent],
            digested=[alert.seq for alert in due],
            outbox=[*self._at_once(sent), *self._digest(due)],
        )
        return Outcome(tuple(verdicts), tuple(changes), step)

    def last_digest(self) -> Step | None:
        """What still waits for a digest when the run is over; None where nothing does or nobody listens."""
        due = alerting.waiting(self._ledger.alerts())
        if not due or not self._notifiers:
            return None
        return Step(digested=[alert.seq for alert in due], outbox=self._digest(due))

    def _numbered(self, verdict: Verdict) -> Verdict:
        index = None
        if not verdict.learning:
            index, self.index = self.index, self.index + 1
        return self._redactor.verdict(replace(verdict, window=replace(verdict.window, index=index)))

    def _grouped(self, verdicts: Sequence[Verdict], moment: datetime | None) -> list[incidents.Change]:
        changes = incidents.group(list(self._known.values()), verdicts, moment, self._options.incidents)
        self._known.update({change.incident.id: change.incident for change in changes})
        return [self._weighed(change) for change in changes]

    def _weighed(self, change: incidents.Change) -> incidents.Change:
        """With how doubtful it is, by all windows judged so far, and what people's labels tell of it."""
        worst = change.incident.worst
        score = round(worst.score, 4)  # as the ledger keeps it: a restart tells the same
        as_strange = len(self._scores) - bisect_left(self._scores, score)
        return replace(
            change,
            doubt=alerting.false_share(score, self.index, as_strange),
            relevance=self._reranker.relevance(worst),
        )

    def _learn_labels(self) -> None:
        """Learn what people want to hear of, if they have said more."""
        labels = [(subject, note) for _, subject, note in self._ledger.notes("feedback")]
        if labels != self._labels:
            self._labels = labels
            self._reranker = Reranker.learned(examples(self._ledger.labelled()), self._options.seed)

    def _live_incidents(self, now: datetime | None) -> dict[str, Incident]:
        """Those that may still change, as they stand: a person may have muted one meanwhile."""
        hours = self._options.incidents.reopen_hours + self._options.incidents.quiet_minutes / 60
        since = None if now is None else now - timedelta(hours=hours)
        return {each.id: each for each in self._ledger.live_incidents(since)}

    def _at_once(self, sent: Sequence[alerting.Sent]) -> list[OutboxRow]:
        links = self._options.links
        return [
            OutboxRow(name, each.incident.id, notifier.render(each.incident, links))
            for each in sent
            if each.at_once
            for name, notifier in self._notifiers.items()
        ]

    def _digest(self, due: Sequence[Alert]) -> list[OutboxRow]:
        found = (self._known.get(each.incident) or self._ledger.incident(each.incident) for each in due)
        told = list({incident.id: incident for incident in found if incident is not None}.values())
        if not told:
            return []
        return [
            OutboxRow(name, f"digest-{due[0].seq}", notifier.digest(told, self._options.links))
            for name, notifier in self._notifiers.items()
        ]
