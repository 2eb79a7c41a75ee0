"""Takes secrets out of what a verdict shows, before anything enters the ledger."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Final

from pydantic import Field, field_validator

from logad.contracts import PartConfig
from logad.types import Evidence, Reason, Verdict

_QUICK: Final = re.compile(r"[@:=]|[0-9]{4}|AKIA|ASIA|eyJ|gh[a-z]_|xox|BEGIN|[Bb]earer|[Bb]asic")
"""What a text must hold before any of the patterns can match."""

# In this order: what is whole first (keys, URLs, tokens), then what stands beside a telling name.
# Every repetition is bounded or ends at a character that cannot be in it, so no text makes them slow.
_PATTERNS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    (
        "private-key",
        re.compile(
            r"-----BEGIN (?:[A-Z]{1,20} ){0,3}PRIVATE KEY-----"
            r"[A-Za-z0-9+/=\s:,\\-]{0,20000}(?:-----END (?:[A-Z]{1,20} ){0,3}PRIVATE KEY-----)?"
        ),
    ),
    ("jwt", re.compile(r"\beyJ[\w-]{8,4096}\.[\w-]{8,4096}(?:\.[\w-]{0,4096})?")),
    ("credentials", re.compile(r"(?<=://)[^\s/@:]{0,256}:[^\s/@]{1,256}(?=@)")),
    ("token", re.compile(r"(?i:(?<=\bbearer )|(?<=\bbasic ))[\w.~+/=-]{8,4096}")),
    ("aws-key", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    ("token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,255}|xox[abeoprs]-[A-Za-z0-9-]{10,255})")),
    (
        "password",
        re.compile(
            r"(?i:(?<![a-z])(?:[a-z0-9]{1,40}[_.-]){0,4}(?:password|passwd|passphrase|pwd|secret|secret[_-]?key"
            r"|api[_-]?key|access[_-]?key|auth[_-]?token|access[_-]?token|refresh[_-]?token|client[_-]?secret"
            r"|token)[\"']?\s{0,3}[=:]\s{0,3})"
            r"(?P<secret>\"[^\"\n]{1,4096}\"?|'[^'\n]{1,4096}'?|(?!<redacted:)[^\s\"',;&)}\]]{1,4096})"
        ),
    ),
    ("email", re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")),
)
_CARD: Final = re.compile(r"(?<![\w.-])[3-6][0-9](?:[ -]?[0-9]){11,17}(?![\w-])")


class Config(PartConfig):
    """What is redacted."""

    enabled: bool = True
    """Replace secrets in evidence and reasons before they are stored or sent."""
    patterns: Mapping[str, str] = Field(default_factory=dict)
    """More to replace: kind -> regular expression (its first group, if it has one, is the secret)."""

    @field_validator("patterns")
    @classmethod
    def _compiles(cls, patterns: Mapping[str, str]) -> Mapping[str, str]:
        for kind, pattern in patterns.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{kind}: {error}; expected a regular expression") from None
        return patterns


class Redactor:
    """Replaces each secret by `<redacted:kind>`; the rest of the text stays as it is.

    Known kinds: private keys, JSON web tokens, credentials in URLs, bearer and basic tokens, AWS key ids,
    GitHub and Slack tokens, values beside a telling name (`password=`, `"api_key": `), e-mail addresses and
    card numbers whose check digit is right (Luhn, ISO/IEC 7812-1 annex B). A secret that looks like none of
    them stays: redaction lowers a risk, it does not end it.

    >>> Redactor().text("login of ann@example.org with password=hunter2 from 10.0.0.7")
    'login of <redacted:email> with password=<redacted:password> from 10.0.0.7'
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()

    def text(self, text: str) -> str:
        """The text without its secrets; redacting twice changes nothing more."""
        if not self.config.enabled:
            return text
        if _QUICK.search(text):
            for kind, pattern in _PATTERNS:
                text = pattern.sub(_replacing(kind), text)
            text = _CARD.sub(_card, text)
        for kind, pattern in self._extra:
            text = pattern.sub(_replacing(kind), text)
        return text

    def verdict(self, verdict: Verdict) -> Verdict:
        """The verdict with secrets taken out of its reasons, its evidence and its session key."""
        if not self.config.enabled:
            return verdict
        window = verdict.window
        if window.key is not None:
            window = replace(window, key=self.text(window.key))
        return replace(verdict, window=window, reasons=tuple(self._reason(each) for each in verdict.reasons))

    def _reason(self, reason: Reason) -> Reason:
        return replace(
            reason,
            text=self.text(reason.text),
            template=None if reason.template is None else self.text(reason.template),
            expected=self.text(reason.expected),
            actual=self.text(reason.actual),
            evidence=tuple(self._evidence(each) for each in reason.evidence),
        )

    def _evidence(self, evidence: Evidence) -> Evidence:
        return replace(evidence, text=self.text(evidence.text))

    @cached_property
    def _extra(self) -> tuple[tuple[str, re.Pattern[str]], ...]:
        return tuple((kind, re.compile(pattern)) for kind, pattern in self.config.patterns.items())


def _replacing(kind: str) -> Callable[[re.Match[str]], str]:
    mark = f"<redacted:{kind}>"

    def replaced(match: re.Match[str]) -> str:
        if not match.re.groups or match.start(1) < 0:
            return mark
        begin, end = match.start(1) - match.start(), match.end(1) - match.start()
        return match[0][:begin] + mark + match[0][end:]

    return replaced


def _card(match: re.Match[str]) -> str:
    """The digits are hidden only where their check digit is right: other long numbers are no cards."""
    digits = [int(digit) for digit in match[0] if digit.isdigit()][::-1]
    checked = sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return match[0] if checked % 10 else "<redacted:card>"
