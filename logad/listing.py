"""Lists mined templates with what the records say of each: how many, where, what stands at placeholders."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from logad import pinning
from logad.parameters import Parameter, parameters
from logad.rules import Rules
from logad.tallying import Tallied
from logad.types import Template


@dataclass(frozen=True, slots=True, eq=False)
class MinedTemplate:
    """One template with what the sources say of it."""

    template: Template
    count: int
    services: tuple[str, ...]
    first_line: int | None
    aliases: tuple[str, ...]
    name: str | None  # what a rule calls it
    texts: pl.Series  # some of its messages, the first ones
    redact: Callable[[str], str]

    @property
    def text(self) -> str:
        """The template's text."""
        return self.template.text

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What stands at its placeholders in the messages looked at, without secrets; read when asked for."""
        return parameters(self.text, self.texts, self.redact)

    def as_dict(self) -> dict[str, Any]:
        """As `--format jsonl` writes it; `name` only where a rule gives it one."""
        told = {
            "schema": "logad.template/1",
            "template_id": self.template.template_id,
            "template": self.text,
            "count": self.count,
            "services": list(self.services),
            "first_line": self.first_line,
            "parameters": [parameter.told() for parameter in self.parameters],
            "aliases": list(self.aliases),
        }
        return told if self.name is None else told | {"name": self.name}


def listed(
    tallied: Sequence[Tallied],
    vocabulary: Sequence[Template],
    aliases: Mapping[str, int],
    rules: Rules,
    redact: Callable[[str], str],
) -> tuple[MinedTemplate, ...]:
    """The templates that were counted, the most frequent first.

    What is told of parameters and quality is told of the messages that were kept.
    """
    past: dict[int, list[str]] = {}
    for alias, code in aliases.items():
        past.setdefault(code, []).append(alias)
    names = pinning.names(rules.templates)
    found = [
        MinedTemplate(
            vocabulary[each.code],
            each.count,
            each.services,
            each.first_line,
            tuple(past.get(each.code, ())),
            names.get(vocabulary[each.code].text),
            each.texts,
            redact,
        )
        for each in tallied
    ]
    return tuple(sorted(found, key=lambda each: -each.count))
