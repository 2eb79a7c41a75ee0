"""Sends incidents as mail through an SMTP server; the mails of one incident form one thread."""

import hashlib
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from logad.contracts import Delivered, Notifier, Outcome, PartConfig, Refused, Rendering, RetryLater
from logad.errors import ConfigError
from logad.types import Incident, iso

_WAIT_SECONDS: Final = 60.0
_PERMANENT: Final = range(500, 600)
_SUBJECT_LIMIT: Final = 200


class EmailConfig(PartConfig):
    """The server, and who writes to whom."""

    model_config = ConfigDict(hide_input_in_errors=True)

    host: str
    """The SMTP server."""
    port: int = Field(default=587, ge=1, le=65535)
    """587 for `starttls`, 465 for `tls`, 25 for a relay."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """Encrypted after the greeting, from the first byte, or not at all."""
    sender: str
    """The address in From."""
    recipients: tuple[str, ...] = Field(min_length=1)
    """The addresses in To."""
    username: str | None = None
    """Who logs in; nobody does without."""
    password: SecretStr | None = None
    """The password of `username`."""
    password_file: Path | None = None
    """A file that holds the password instead."""
    timeout_seconds: float = Field(default=20.0, gt=0)
    """How long the server may take for one answer."""

    @field_validator("sender", "recipients")
    @classmethod
    def _addresses(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for address in (value,) if isinstance(value, str) else value:
            if not address.isprintable() or "@" not in parseaddr(address)[1]:
                raise ValueError("expected a mail address such as logad@example.org")
        return value

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        given = (self.password is not None) + (self.password_file is not None)
        if given > 1:
            raise ValueError("expected either `password` or `password_file`")
        if (self.username is not None) != bool(given):
            raise ValueError("expected `username` together with `password` or `password_file`")
        if given and self.security == "none":
            raise ValueError("a password needs `security: starttls` or `tls`; it would travel in the clear")
        return self


class EmailNotifier(Notifier):
    """Sends a mail with a text and an HTML part.

    Raises:
        ConfigError: the file of the password cannot be read.
    """

    name: ClassVar[str] = "email"
    Config: ClassVar[type[PartConfig]] = EmailConfig

    def __init__(self, config: EmailConfig, rendering: Rendering) -> None:
        super().__init__(config, rendering)
        self._server = config
        self._password = _password(config)
        self._domain = parseaddr(config.sender)[1].rpartition("@")[2]

    def render(self, incident: Incident, links: Mapping[str, str]) -> Mapping[str, Any]:
        """Subject, text, HTML and the ids that thread: the same state of an incident has the same id."""
        root = self._message_id(incident.id)
        state = f"{incident.id}|{incident.state}|{incident.verdicts}|{iso(incident.updated)}"
        first = incident.state == "open" and incident.verdicts == 1
        return {
            "subject": _one_line(self.rendering.text("email_subject.txt.j2", [incident], links)),
            "text": self.rendering.text("incident.txt.j2", [incident], links),
            "html": self.rendering.text("email.html.j2", [incident], links),
            "message_id": root if first else self._message_id(state),
            "thread": "" if first else root,
        }

    def digest(self, incidents: Sequence[Incident], links: Mapping[str, str]) -> Mapping[str, Any]:
        """One mail for several incidents, worst first."""
        state = "|".join(f"{incident.id} {iso(incident.updated)}" for incident in incidents)
        return {
            "subject": _one_line(self.rendering.text("email_subject.txt.j2", incidents, links)),
            "text": self.rendering.text("digest.txt.j2", incidents, links),
            "html": self.rendering.text("email_digest.html.j2", incidents, links),
            "message_id": self._message_id(f"digest|{state}"),
            "thread": "",
        }

    def deliver(self, message: Mapping[str, Any]) -> Outcome:
        """Send once; a temporary answer (4xx) or a lost connection allows another try, 5xx does not."""
        mail = self._mail(message)
        try:
            refused = self._sent(mail)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            why = self._why(f"every recipient was refused ({sorted(set(codes))})")
            permanent = all(code in _PERMANENT for code in codes)
            return Refused(why) if permanent else RetryLater(_WAIT_SECONDS, why)
        except smtplib.SMTPResponseException as error:
            return self._judged(error)
        except smtplib.SMTPNotSupportedError as error:
            return Refused(self._why(f"{error}; set `security` to what the server offers"))
        except (OSError, ValueError) as error:  # SMTPException is an OSError; ValueError: no SMTP at all
            told = getattr(error, "strerror", None) or type(error).__name__
            return RetryLater(_WAIT_SECONDS, self._why(f"no connection: {told}"))
        if refused:
            return Delivered(f"{mail['Message-ID']}; not to {', '.join(sorted(refused))}")
        return Delivered(str(mail["Message-ID"]))

    def _sent(self, mail: EmailMessage) -> dict[str, tuple[int, bytes]]:
        """Hand the mail over; who was refused. Once it is taken, a failing goodbye changes nothing."""
        client = self._connected()
        try:
            refused = client.send_message(mail)
            with suppress(OSError):
                client.quit()
        finally:
            client.close()
        return refused

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        if server.security == "tls":
            context = ssl.create_default_context()
            client: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=server.timeout_seconds, context=context
            )
        else:
            client = smtplib.SMTP(server.host, server.port, timeout=server.timeout_seconds)
        try:
            if server.security == "starttls":
                client.starttls(context=ssl.create_default_context())
            if server.username is not None:
                client.login(server.username, self._password)
        except BaseException:
            client.close()
            raise
        return client

    def _judged(self, error: smtplib.SMTPResponseException) -> Outcome:
        raw = error.smtp_error
        said = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
        if self._password:
            said = said.replace(self._password, "***")
        why = self._why(f"{error.smtp_code} {_one_line(said)}")
        if isinstance(error, smtplib.SMTPAuthenticationError) and error.smtp_code in _PERMANENT:
            return Refused(f"{why}; check `username` and the password")
        return Refused(why) if error.smtp_code in _PERMANENT else RetryLater(_WAIT_SECONDS, why)

    def _why(self, what: str) -> str:
        return f"email: {self._server.host}:{self._server.port}: {what}"

    def _message_id(self, of: str) -> str:
        return f"<{hashlib.sha256(of.encode('utf-8', 'replace')).hexdigest()[:32]}@{self._domain}>"

    def _mail(self, message: Mapping[str, Any]) -> EmailMessage:
        mail = EmailMessage(policy=SMTP)
        mail["Subject"] = _one_line(str(message["subject"]))
        mail["From"] = self._server.sender
        mail["To"] = ", ".join(self._server.recipients)
        mail["Message-ID"] = str(message["message_id"])
        if message["thread"]:
            mail["In-Reply-To"] = mail["References"] = str(message["thread"])
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(str(message["text"]))
        mail.add_alternative(str(message["html"]), subtype="html")
        return mail


def _one_line(text: str) -> str:
    """The text as one printable line that no header breaks at."""
    line = " ".join(text.split())
    return "".join(character for character in line if character.isprintable())[:_SUBJECT_LIMIT]


def _password(config: EmailConfig) -> str:
    if config.password is not None:
        return config.password.get_secret_value()
    if config.password_file is None:
        return ""
    try:
        return config.password_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        told = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(str(config.password_file), told, "a file with the password") from None
