"""Lists mined templates with what the records say of each: how many, where, what stands at placeholders."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from logad import pinning
from logad.parameters import Parameter, parameters, sampled
from logad.rules import Rules
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
    texts: pl.Series  # some of its messages, as `parameters.sampled` chooses them
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
    records: pl.DataFrame,
    vocabulary: Sequence[Template],
    aliases: Mapping[str, int],
    rules: Rules,
    redact: Callable[[str], str],
) -> tuple[MinedTemplate, ...]:
    """The templates of mined records, the most frequent first.

    Of each only some messages are kept, about 1,000, and about 200,000 of all together, however many there
    are: what is told of parameters and quality is told of these.
    """
    past: dict[int, list[str]] = {}
    for alias, code in aliases.items():
        past.setdefault(code, []).append(alias)
    names = pinning.names(rules.templates)
    rows = sampled(records["template"].to_numpy())
    some = records.select(pl.col("template", "text").gather(rows)).partition_by("template", as_dict=True)
    tally = records.group_by("template", maintain_order=True).agg(
        pl.len().alias("count"), pl.col("service").unique(maintain_order=True), pl.col("line").first()
    )
    found = [
        MinedTemplate(
            vocabulary[code],
            count,
            tuple(services),
            line or None,
            tuple(past.get(code, ())),
            names.get(vocabulary[code].text),
            some[code,]["text"] if (code,) in some else pl.Series("text", [], dtype=pl.String),
            redact,
        )
        for code, count, services, line in tally.iter_rows()
    ]
    return tuple(sorted(found, key=lambda each: -each.count))
