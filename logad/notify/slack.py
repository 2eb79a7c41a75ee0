"""Sends incidents to a Slack channel through an incoming webhook, inside Slack's limits."""

import logging
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from pydantic import ConfigDict, Field, SecretStr, model_validator

from logad.contracts import Delivered, Notifier, Outcome, PartConfig, Refused, Rendering, RetryLater
from logad.errors import ConfigError
from logad.types import Incident

HEADER_LIMIT: Final = 150  # characters; these are https://docs.slack.dev/reference/block-kit/blocks
TEXT_LIMIT: Final = 3000
FIELD_LIMIT: Final = 2000
FIELDS_LIMIT: Final = 10
BLOCKS_LIMIT: Final = 50

_OK: Final = range(200, 300)
_TOO_MANY: Final = 429
_SLOW: Final = 408
_SERVER: Final = 500
_WAIT_SECONDS: Final = 30.0
_LONGEST_WAIT_SECONDS: Final = 3600.0
_ADVICE: Final = {
    "no_service": "the webhook was removed; make a new one and change `webhook`",
    "no_team": "the workspace is gone; change `webhook`",
    "channel_is_archived": "unarchive the channel or make a webhook for another one",
    "channel_not_found": "make a webhook for a channel that exists",
    "action_prohibited": "an administrator forbids this webhook to post",
    "invalid_payload": "a user's template may yield what Slack does not take; try `logad notify test`",
    "invalid_blocks": "a user's template may yield what Slack does not take; try `logad notify test`",
}

_silent: Final = logging.Logger("logad.notify.slack", level=logging.CRITICAL + 1)  # noqa: LOG001  (the client logs addresses)


class SlackConfig(PartConfig):
    """Where to post; the address is the secret."""

    model_config = ConfigDict(hide_input_in_errors=True)

    webhook: SecretStr | None = None
    """The address of the incoming webhook."""
    webhook_file: Path | None = None
    """A file that holds the address instead."""
    timeout_seconds: float = Field(default=10.0, gt=0)
    """How long one call may take to connect or to answer."""

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.webhook is None) == (self.webhook_file is None):
            raise ValueError("expected either `webhook` or `webhook_file`")
        if self.webhook is not None and not _is_address(self.webhook.get_secret_value()):
            raise ValueError("`webhook` is no address; expected https://hooks.slack.com/services/...")
        return self


class SlackNotifier(Notifier):
    """Posts Block Kit messages.

    An incoming webhook tells nothing back that would allow an update in place, so each change of an incident
    is a message of its own.

    Raises:
        ConfigError: the file of the webhook cannot be read or holds no address.
    """

    name: ClassVar[str] = "slack"
    Config: ClassVar[type[PartConfig]] = SlackConfig

    def __init__(self, config: SlackConfig, rendering: Rendering) -> None:
        super().__init__(config, rendering)
        self._timeout_seconds = config.timeout_seconds
        self._address = _address(config)

    def render(self, incident: Incident, links: Mapping[str, str]) -> Mapping[str, Any]:
        """The payload of the webhook for one incident: blocks, and a text for the notification."""
        return fitted(self.rendering.mapping("slack.json.j2", [incident], links))

    def digest(self, incidents: Sequence[Incident], links: Mapping[str, str]) -> Mapping[str, Any]:
        """The payload of the webhook for several incidents, worst first."""
        return fitted(self.rendering.mapping("slack_digest.json.j2", incidents, links))

    def deliver(self, message: Mapping[str, Any]) -> Outcome:
        """Post once; a full or failing service may be tried again, a refused message may not."""
        from slack_sdk.webhook import WebhookClient  # noqa: PLC0415  (not everyone uses Slack)

        client = WebhookClient(self._address, logger=_silent, retry_handlers=[])
        client.timeout = self._timeout_seconds  # type: ignore[assignment]  # annotated int, used as a float
        try:
            answer = client.send_dict(dict(message))
        except (OSError, HTTPException, ValueError, LookupError) as error:
            return RetryLater(_WAIT_SECONDS, f"slack: {_cause(error)}")
        said = self._without_secret(" ".join(answer.body.split())[:200])
        why = f"slack: {answer.status_code} {said}".rstrip()
        status = answer.status_code
        if status in _OK:
            if said.startswith("<"):
                return RetryLater(_WAIT_SECONDS, "slack: a page instead of Slack answered; is there a proxy?")
            return Delivered()
        if status == _TOO_MANY:
            return RetryLater(_seconds(dict(answer.headers)), why)
        if status >= _SERVER or status == _SLOW:
            return RetryLater(_WAIT_SECONDS, why)
        advice = _ADVICE.get(said)
        return Refused(f"{why}; {advice}" if advice else why)

    def _without_secret(self, text: str) -> str:
        path = self._address.split("://", 1)[-1].partition("/")[2]
        for secret in (self._address, path, *(part for part in path.split("/") if len(part) > 7)):  # noqa: PLR2004
            text = text.replace(secret, "***") if secret else text
        return text


def fitted(message: dict[str, Any]) -> dict[str, Any]:
    """The message with every text cut where Slack would refuse it; a code block stays closed.

    >>> fitted({"text": "x" * 5000})["text"][-1]
    '…'
    """
    fit = dict(message)
    if "text" in fit:
        fit["text"] = _cut(str(fit["text"]), TEXT_LIMIT)
    if isinstance(fit.get("blocks"), list):
        fit["blocks"] = [_fitted_block(block) for block in fit["blocks"][:BLOCKS_LIMIT]]
    return fit


def _fitted_block(block: dict[str, Any]) -> dict[str, Any]:
    fit = dict(block)
    if isinstance(fit.get("text"), dict):
        fit["text"] = _fitted_text(fit["text"], HEADER_LIMIT if fit.get("type") == "header" else TEXT_LIMIT)
    for key, limit in (("fields", FIELD_LIMIT), ("elements", TEXT_LIMIT)):
        if isinstance(fit.get(key), list):
            fit[key] = [_fitted_text(text, limit) for text in fit[key][:FIELDS_LIMIT]]
    return fit


def _fitted_text(text: dict[str, Any], limit: int) -> dict[str, Any]:
    said = text.get("text")
    return {**text, "text": _cut(said, limit)} if isinstance(said, str) else text


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    head = text[: limit - 5]
    ampersand = head.rfind("&", len(head) - 4)
    if ampersand >= 0 and ";" not in head[ampersand:]:
        head = head[:ampersand]
    return head + ("\n```" if head.count("```") % 2 else "") + "…"


def _is_address(text: str) -> bool:
    host = text.partition("://")[2].partition("/")[0]
    return text.startswith(("https://", "http://")) and bool(host) and text.isprintable() and " " not in text


def _address(config: SlackConfig) -> str:
    if config.webhook is not None:
        return config.webhook.get_secret_value()
    where = str(config.webhook_file)
    try:
        address = Path(where).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(where, f"cannot be read: {_cause(error)}", "a file with the webhook") from None
    if not _is_address(address):
        raise ConfigError(where, "holds no address", "one line: https://hooks.slack.com/services/...")
    return address


def _cause(error: Exception) -> str:
    """What went wrong, without the address that some messages carry."""
    inner = getattr(error, "reason", error)
    told = getattr(inner, "strerror", None)
    return f"{type(inner).__name__}: {told}" if told else type(inner).__name__


def _seconds(headers: Mapping[str, str]) -> float:
    """What Retry-After asks for, where it gives seconds."""
    asked = {name.lower(): value for name, value in headers.items()}.get("retry-after", "").strip()
    if not (asked.isascii() and asked.isdigit()):
        return _WAIT_SECONDS
    return min(max(float(asked), 1.0), _LONGEST_WAIT_SECONDS)
