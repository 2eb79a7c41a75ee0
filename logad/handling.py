"""What a person does with incidents from the terminal, also while a watch runs."""

import hashlib
from datetime import datetime, timedelta
from pathlib import Path

from logad.durations import parse_duration
from logad.errors import UsageError
from logad.ledger import Ledger
from logad.preparation import LEDGER, Setup
from logad.rules import Mute, add_mute
from logad.types import Incident


def list_incidents(
    *, state: str | None = None, config: str | Path | None = None, state_dir: str | Path | None = None
) -> tuple[Incident, ...]:
    """The incidents of the ledger, latest first; `state` is open, resolved or muted.

    Raises:
        StateError: no watch has run with this state folder.
    """
    setup = Setup.of({"config": config, "state_dir": state_dir})
    with Ledger(setup.settings.state_dir / LEDGER, owner=False) as ledger:
        return tuple(ledger.incidents(state=state))


def takers(*, config: str | Path | None = None, state_dir: str | Path | None = None) -> dict[str, str]:
    """Who has taken which incident: id -> name.

    Raises:
        StateError: no watch has run with this state folder.
    """
    setup = Setup.of({"config": config, "state_dir": state_dir})
    with Ledger(setup.settings.state_dir / LEDGER, owner=False) as ledger:
        return ledger.takers()


def ack(
    id_: str, *, who: str, config: str | Path | None = None, state_dir: str | Path | None = None
) -> Incident:
    """Note that somebody has taken an incident; returns it.

    Raises:
        UsageError: no incident has an id that begins so.
    """
    setup = Setup.of({"config": config, "state_dir": state_dir})
    with Ledger(setup.settings.state_dir / LEDGER, owner=False) as ledger:
        incident = _found(ledger, id_)
        ledger.set_incident(incident.id, acknowledged=who)
    return incident


def mute(  # noqa: PLR0913  (one parameter an option)
    id_: str,
    *,
    reason: str,
    now: datetime,
    lasting: str | None = None,
    config: str | Path | None = None,
    state_dir: str | Path | None = None,
) -> tuple[Incident, Path]:
    """Send nothing more of what an incident is about; scores stay as they are.

    The rule goes to the last folder of `rules:` in the configuration, else to `rules` in the state folder; a
    watch that runs takes it up at once. `lasting` is a duration; None: for ever.

    Raises:
        UsageError: no incident has an id that begins so, or `lasting` is no duration.
        ConfigError: the file of mutes is broken, or the incident is muted already.
    """
    setup = Setup.of({"config": config, "state_dir": state_dir})
    until = None
    if lasting is not None:
        try:
            until = now + timedelta(seconds=parse_duration(lasting))
        except ValueError as error:
            raise UsageError("--for", str(error).removeprefix("found ")) from None
    with Ledger(setup.settings.state_dir / LEDGER, owner=False) as ledger:
        incident = _found(ledger, id_)
        top = incident.worst.reasons[0] if incident.worst.reasons else None
        name = f"{incident.service}-{hashlib.blake2b(incident.id.encode(), digest_size=4).hexdigest()}"
        rule = Mute(
            name=name,
            service=incident.service,
            template_id=top.template_id if top else None,
            reason=reason,
            until=until,
        )
        path = add_mute(setup.own_rules, rule)
        if until is None:
            ledger.set_incident(incident.id, state="muted")
    return incident, path


def _found(ledger: Ledger, prefix: str) -> Incident:
    incident = ledger.incident(prefix)
    if incident is None:
        raise UsageError(prefix, "no incident begins so", "an id that `logad incidents` shows")
    return incident
