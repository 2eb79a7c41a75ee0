"""Keeps the templates there are: which texts they had, and which of them stands for which by now."""

from dataclasses import replace
from datetime import datetime

from logad.lineage import Descent, Lineage
from logad.template_texts import common, template_id
from logad.types import Template


class Standing:
    """Templates by code; one may come to stand for others, and its text may become more general.

    >>> standing = Standing()
    >>> codes = [standing.opened(text) for text in ("fed the ant", "fed the bee", "slept")]
    >>> standing.let_stand({0, 1}, "fed the <*>", "a word varies")
    (0, [1])
    >>> [standing.of(code) for code in codes], standing.owner("fed the bee"), standing.templates[0].text
    ([0, 0, 2], 1, 'fed the <*>')
    """

    def __init__(self) -> None:
        self.templates: list[Template] = []
        self.lineage = Lineage()
        self.when: datetime | None = None
        """The time of the record that is being learned from."""
        self._owners: dict[str, int] = {}  # text, past ones too -> code
        self._merged: dict[int, int] = {}  # code -> the code that stands for it by now

    @property
    def merged(self) -> bool:
        """Whether any template stands for another."""
        return bool(self._merged)

    def opened(self, text: str) -> int:
        """The code of a new template."""
        code = len(self.templates)
        self._owners[text] = code
        self.templates.append(Template(code, template_id(text), text, 0))
        return code

    def of(self, code: int) -> int:
        """The code that stands for a code."""
        while code in self._merged:
            code = self._merged[code]
        return code

    def template(self, code: int) -> Template:
        """The template that stands for a code."""
        return self.templates[self.of(code)]

    def owner(self, text: str) -> int | None:
        """The code of the template that has, or had, a text."""
        return self._owners.get(text)

    def aliases(self) -> dict[str, int]:
        """Ids of texts that no template has any more, and the codes that stand for them."""
        current = {self.template(code).template_id for code in range(len(self.templates))}
        ids = ((template_id(text), self.of(code)) for text, code in self._owners.items())
        return {past: code for past, code in ids if past not in current}

    def raised(self, code: int, severity: int, *, alarming: bool) -> None:
        """Let a template be as grave as the gravest of its records."""
        known = self.templates[code]
        if severity > known.severity or (alarming and not known.alarming):
            self.templates[code] = replace(
                known, severity=max(severity, known.severity), alarming=alarming or known.alarming
            )

    def let_stand(self, members: set[int], text: str, reason: str) -> tuple[int, list[int]]:
        """Let one template with this text stand for all members, and for those that have the text already.

        Its code, and the codes it stands for now.
        """
        keeper = None
        while (owner := self._owners.get(text)) is not None:
            members.add(self.of(owner))
            keeper = owner
            more = common(text, self.templates[owner].text)
            if more == text:
                break
            text = more
        else:
            keeper = None
        if keeper is None:
            keeper = min(members)
        was = {code: self.templates[code].template_id for code in sorted(members)}
        self._merged.pop(keeper, None)
        self._merged |= dict.fromkeys(members - {keeper}, keeper)
        if text not in self._owners:
            self._owners[text] = keeper
            known = self.templates[keeper]
            self.templates[keeper] = replace(known, text=text, template_id=template_id(text))
        for member in sorted(members):
            template = self.templates[member]
            self.raised(keeper, template.severity, alarming=template.alarming)
        became = self.templates[keeper].template_id
        for past in was.values():
            if past != became:
                self.lineage.add(Descent(past, became, self.when, reason))
        return keeper, sorted(members - {keeper})
