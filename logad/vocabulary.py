"""Reads the templates of finite logs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from logad import batch
from logad.batch import QUIET, Observer
from logad.errors import InputError
from logad.lineage import Descent
from logad.listing import MinedTemplate, listed
from logad.mining import Miner
from logad.options import ReadOptions
from logad.preparation import Setup
from logad.quality import Finding, findings
from logad.redaction import Redactor
from logad.rules import Rules
from logad.tallying import Assignments, Tally


@dataclass(frozen=True, slots=True)
class TemplatesResult:
    """What `templates` found."""

    templates: tuple[MinedTemplate, ...]  # most frequent first
    assignments: Assignments | None  # one row per record in input order, where they were asked for
    faults: tuple[InputError, ...]
    stats: Mapping[str, Any]
    rules: Rules  # by which they were mined
    redact: Callable[[str], str]  # takes secrets out of what is shown
    lineage: tuple[Descent, ...]  # which ids gave way to which while reading, in order

    def quality(self) -> tuple[Finding, ...]:
        """What does not look right with the templates, and rules that mend it; looked into when asked for."""
        return findings(self.templates, self.rules, self.redact)


def templates(
    *sources: str | Path,
    assignments: bool = False,
    lineage: bool = False,
    observer: Observer = QUIET,
    **options: Unpack[ReadOptions],
) -> TemplatesResult:
    r"""The templates of these logs: id, count, text, services, parameters; with `assignments` of each record.

    With `lineage` it is known when a template gave way to another; logs are then read record by record.

    Raises:
        UsageError, InputError, ConfigError: as for `scan`.

    >>> import pathlib, tempfile
    >>> log = pathlib.Path(tempfile.mkdtemp()) / "app.log"
    >>> _ = log.write_text("connected to 10.0.0.1\nconnected to 10.0.0.2\n")
    >>> [(mined.count, mined.template.text) for mined in templates(log).templates]
    [(2, 'connected to <IP>')]
    """
    setup = Setup.of(options, observer.telemetry)
    miner = Miner(rules=setup.rules, telemetry=setup.telemetry)
    given = Assignments() if assignments else None
    tally = Tally(given)
    specs = [str(source) for source in sources]
    corpus = batch.tallied(specs, setup.reading, miner, setup.telemetry, observer, tally, timed=lineage)
    standing, vocabulary = miner.standing(), miner.vocabulary
    redact = Redactor(setup.settings.redaction).text
    mined = listed(tally.templates(standing), vocabulary, miner.aliases(), setup.rules, redact)
    if given is not None:
        given.settle(standing, vocabulary)
    setup.telemetry.templates = len(mined)
    faults = tuple(corpus.faults)
    stats = setup.telemetry.as_dict()
    return TemplatesResult(mined, given, faults, stats, setup.rules, redact, tuple(miner.lineage()))
