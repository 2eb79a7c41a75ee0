"""Counts templates while logs are read, in memory that does not grow with the logs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.skimming import Skimmer
from logad.stretches import Skimmed
from logad.types import Template

SAMPLED: Final = 200
"""Messages kept of one template."""
SAMPLED_IN_ALL: Final = 100_000
"""Messages kept of all templates together."""

_NEVER: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Tallied:
    """What the records say of one template."""

    code: int
    count: int
    services: tuple[str, ...]
    first_line: int | None
    texts: pl.Series  # at most SAMPLED of the first messages of all that it took in


@dataclass(slots=True)
class Assignments:
    """The template of each record, in eight bytes a record."""

    vocabulary: tuple[Template, ...] = ()
    _templates: list[NDArray[np.int32]] = field(default_factory=list)
    _lines: list[NDArray[np.uint32]] = field(default_factory=list)

    def add(self, templates: NDArray[np.int32], lines: NDArray[np.int64]) -> None:
        """The templates of the next records, and the lines at which these begin."""
        self._templates.append(templates)
        self._lines.append(lines.astype(np.uint32))

    def settle(self, standing: NDArray[np.int32], vocabulary: tuple[Template, ...]) -> None:
        """Read codes as those that stand for them by now."""
        self._templates = [standing[codes] for codes in self._templates]
        self.vocabulary = vocabulary

    def frames(self) -> Iterator[pl.DataFrame]:
        """Columns line, template_id and template, a row per record, in frames of bounded size."""
        ids = pl.Series([template.template_id for template in self.vocabulary], dtype=pl.String)
        texts = pl.Series([template.text for template in self.vocabulary], dtype=pl.String)
        for templates, lines in zip(self._templates, self._lines, strict=True):
            codes = pl.Series(templates)
            columns = {
                "line": lines.astype(np.int64),
                "template_id": ids.gather(codes),
                "template": texts.gather(codes),
            }
            yield pl.DataFrame(columns)


class Tally:
    """Counts the records of each template, and keeps a few messages of it."""

    def __init__(self, assignments: Assignments | None = None) -> None:
        self.assignments = assignments
        self._records = 0
        self._counts = np.zeros(0, dtype=np.int64)
        self._first = np.zeros(0, dtype=np.int64)  # record
        self._line = np.zeros(0, dtype=np.int64)
        self._kept = np.zeros(0, dtype=np.int64)  # messages
        self._services: dict[int, set[str]] = {}
        self._texts: dict[int, list[pl.Series]] = {}
        self._raw: dict[int, tuple[Skimmer, list[tuple[int, bytes]]]] = {}

    def skimmed(self, records: Skimmed, skimmer: Skimmer) -> None:
        """Take records of which only the shapes were read."""
        names = skimmer.services
        chosen = self._took(records.templates, records.numbers, records.services, names)
        _, kept = self._raw.setdefault(id(skimmer), (skimmer, []))
        kept += zip(records.templates[chosen].tolist(), records.raw(chosen), strict=True)

    def read(
        self, records: pl.DataFrame, messages: Callable[[NDArray[np.int64]], pl.Series] | None = None
    ) -> None:
        """Take mined records; with `messages`, which tells them by `place`, these need no texts."""
        if records.is_empty():
            return
        codes = records["template"].to_numpy()
        names = records["service"].unique(maintain_order=True)
        services = records["service"].replace_strict(names, range(len(names)), return_dtype=pl.Int32)
        chosen = self._took(codes, records["line"].to_numpy(), services.to_numpy(), names.to_list())
        if messages is None:
            texts = records["text"].gather(chosen)
        else:
            texts = messages(records["place"].gather(chosen).to_numpy())
        some = pl.DataFrame({"code": codes[chosen], "text": texts})
        for (code,), part in some.partition_by("code", as_dict=True).items():
            self._texts.setdefault(int(code), []).append(part["text"])

    def templates(self, standing: NDArray[np.int32]) -> list[Tallied]:
        """Each template that stands, in order of first appearance."""
        for skimmer, kept in self._raw.values():
            texts = skimmer.texts([raw for _, raw in kept])
            some = pl.DataFrame(
                {"code": [code for code, _ in kept], "text": texts}, schema_overrides={"code": pl.Int64}
            )
            for (code,), part in some.partition_by("code", as_dict=True).items():
                self._texts.setdefault(int(code), []).append(part["text"])
        self._raw.clear()
        members: dict[int, list[int]] = {}
        for code in np.argsort(self._first, kind="stable").tolist():
            if self._counts[code]:
                members.setdefault(int(standing[code]), []).append(code)
        return [self._told(code, codes) for code, codes in members.items()]

    def _told(self, code: int, members: Sequence[int]) -> Tallied:
        """A template with those that were taken into it, the first to appear first."""
        none = pl.Series("text", [], dtype=pl.String)
        texts = [none, *(text.alias("text") for member in members for text in self._texts.get(member, []))]
        return Tallied(
            code,
            int(self._counts[list(members)].sum()),
            tuple(sorted(set().union(*(self._services[member] for member in members)))),
            int(self._line[members[0]]) or None,
            _spread(pl.concat(texts)),
        )

    def _took(
        self,
        codes: NDArray[np.int32],
        lines: NDArray[np.int64],
        services: NDArray[np.int32],
        names: Sequence[str],
    ) -> NDArray[np.int64]:
        """Count records; those whose messages are to be kept."""
        if self.assignments is not None:
            self.assignments.add(codes, lines)
        width = max(len(self._counts), int(codes.max()) + 1)
        counts = np.bincount(codes, minlength=width)
        present = np.flatnonzero(counts)
        self._grow(width)
        self._serve(codes, services, names)
        new = present[self._counts[present] == 0]
        if new.size:
            first = np.zeros(width, dtype=np.int64)
            first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
            self._first[new] = first[new] + self._records
            self._line[new] = lines[first[new]]
        self._counts += counts
        self._records += len(codes)
        return self._chosen(codes, present)

    def _grow(self, width: int) -> None:
        more = width - len(self._counts)
        if more:
            nothing = np.zeros(more, dtype=np.int64)
            self._counts = np.concatenate([self._counts, nothing])
            self._first = np.concatenate([self._first, nothing + _NEVER])
            self._line = np.concatenate([self._line, nothing])
            self._kept = np.concatenate([self._kept, nothing])

    def _serve(self, codes: NDArray[np.int32], services: NDArray[np.int32], names: Sequence[str]) -> None:
        """Note which services say which templates."""
        if len(names) * len(self._counts) <= len(codes):
            pairs = np.flatnonzero(np.bincount(codes.astype(np.int64) * len(names) + services))
        else:
            pairs = np.unique(codes.astype(np.int64) * len(names) + services)
        for pair in pairs.tolist():
            code, service = divmod(pair, len(names))
            self._services.setdefault(code, set()).add(names[service])

    def _chosen(self, codes: NDArray[np.int32], present: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first records of each template that still wants messages."""
        share = min(SAMPLED, max(1, SAMPLED_IN_ALL // max(1, len(self._counts))))
        wanted = np.zeros(len(self._counts), dtype=np.int64)
        wanted[present] = np.maximum(share - self._kept[present], 0)
        if not wanted.any() or int(self._kept.sum()) >= SAMPLED_IN_ALL:
            return np.zeros(0, dtype=np.int64)
        rows = np.flatnonzero(wanted[codes])
        order = np.argsort(codes[rows], kind="stable")
        grouped = codes[rows][order]
        place = np.arange(len(rows)) - np.searchsorted(grouped, grouped)
        chosen = np.sort(rows[order[place < wanted[grouped]]])
        self._kept += np.bincount(codes[chosen], minlength=len(self._kept))
        return chosen


def _spread(texts: pl.Series) -> pl.Series:
    """At most SAMPLED of the texts, evenly spread, so that all that was taken together has its share."""
    return texts.gather_every(max(1, -(-len(texts) // SAMPLED)))
