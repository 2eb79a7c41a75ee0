"""Turns contributions of detectors into at most three reasons in words, with the lines that prove them."""

from collections.abc import Iterable, Sequence
from typing import Final

from logad.types import Contribution, Evidence, Reason
from logad.windows import Windows

MOST_REASONS: Final = 3
MOST_LINES: Final = 2  # evidence of one reason
LONGEST_LINE: Final = 500  # characters of a record shown as evidence


def reasons(
    windows: Windows, row: int, told: Iterable[tuple[str, Sequence[Contribution]]]
) -> tuple[Reason, ...]:
    """The reasons for window `row` from pairs of a detector and its contributions, the deciding ones first.

    A fact about a template that an earlier detector told is not told again; what makes a window less
    strange is no reason.
    """
    chosen: list[Reason] = []
    seen: set[int | str] = set()
    for detector, contributions in told:
        for contribution in contributions:
            fact = contribution.text if contribution.template is None else contribution.template
            if contribution.weight <= 0 or fact in seen:
                continue
            seen.add(fact)
            chosen.append(_reason(windows, row, detector, contribution))
            if len(chosen) == MOST_REASONS:
                return tuple(chosen)
    return tuple(chosen)


def _reason(windows: Windows, row: int, detector: str, contribution: Contribution) -> Reason:
    code = contribution.template
    template = windows.vocabulary[code] if code is not None and code < len(windows.vocabulary) else None
    return Reason(
        detector,
        contribution.type,
        contribution.text,
        template.template_id if template else None,
        template.text if template else None,
        contribution.expected,
        contribution.actual,
        _evidence(windows, row, contribution.events),
    )


def _evidence(windows: Windows, row: int, events: tuple[int, ...]) -> tuple[Evidence, ...]:
    """The records behind the first events, in the order given, each once; none where records are not kept."""
    rows = windows.rows[windows.span(row)]
    wanted = dict.fromkeys(int(rows[event]) for event in events if event < len(rows) and rows[event] >= 0)
    proving = list(wanted)[:MOST_LINES]
    if not proving or not len(windows.records):
        return ()
    records = windows.records[proving].select("source", "line", "document")
    return tuple(
        Evidence(source, line if document is None and line > 0 else None, raw[:LONGEST_LINE], document)
        for (source, line, document), raw in zip(records.iter_rows(), windows.raw(proving), strict=True)
    )
