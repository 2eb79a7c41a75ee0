"""Lays verdicts out for a terminal: what, where, when and the proof, within its width.

Colours are the reader's own: bold, dim, red and yellow of his theme, never a shade of ours, and never
the only carrier of a meaning.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from logad.types import Evidence, Reason, Severity, Verdict
from logad.wording import (
    ELLIPSIS,
    LONGEST_NAME,
    cells,
    counted,
    cut,
    flowed,
    odds,
    place,
    plain,
    span,
    versus,
    visible,
    wrapped,
)

LEAST_WIDTH: Final = 40
REASONS: Final = 3
MOST_KINDS: Final = 12  # kinds of findings that are shown
TELLING: Final = 6  # letters that a piece of a template has at least, to be looked for in a line
SOUGHT: Final = 24  # letters of such a piece that are looked for: a line of proof may be cut
NAMED: Final = 3  # windows of one kind that are named beside the one shown
LINES: Final = 2
GUTTER: Final = 5  # the part of the width (one over it) that places take at most; longer ones stand above
LONGEST_REASON: Final = 2000  # columns
SHORT_ID: Final = 12  # characters; `logad explain` takes the beginning of an id
_STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "yellow": "33"}
_LOUD: Final = {
    Severity.PAGE: ("bold", "red"),
    Severity.DIGEST: ("bold", "yellow"),
    Severity.INDEX: ("bold",),
    Severity.NONE: ("dim",),
}
_PLACEHOLDER: Final = re.compile(r"<[^<>]*>|[\"\\\\|]")  # quotes too: JSON escapes them
_DIGITS: Final = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Page:
    """How wide the terminal is and whether it shows colour."""

    width: int
    colour: bool

    def paint(self, text: str, *styles: str) -> str:
        r"""The text in the given styles; unchanged without colour.

        >>> Page(80, colour=True).paint("PAGE", "bold", "red")
        '\x1b[1;31mPAGE\x1b[0m'
        """
        if not (self.colour and text and styles):
            return text
        return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"


def ranked(verdicts: Sequence[Verdict], page: Page) -> list[str]:
    """Blocks of lines: each kind of finding by its strangest window, strangest first, then the other windows.

    Windows that are odd for the same reason are one kind; what is not anomalous takes a line each. Ties stand
    in order of their windows.
    """
    page = Page(max(page.width, LEAST_WIDTH), page.colour)
    order = sorted(verdicts, key=lambda verdict: (verdict.learning, -verdict.score))
    found = [verdict for verdict in order if verdict.anomalous]
    kinds: dict[tuple[str, ...], list[Verdict]] = {}
    for verdict in found:
        kinds.setdefault(_kind(verdict), []).append(verdict)
    many_sources = len({line.source for one in found for why in one.reasons for line in why.evidence}) > 1
    shown = list(kinds.values())[:MOST_KINDS]
    blocks = []
    for rank, alike in enumerate(shown, start=1):
        lines = _full(f"{rank:>2}", alike[0], page, many_sources=many_sources)
        blocks.append("\n".join([*([""] if rank > 1 else []), *lines, *_others(alike[1:], page)]))
    left = len(found) - sum(map(len, shown))
    if left:
        more = (
            f"{counted(left, 'window')} of {counted(len(kinds) - len(shown), 'further kind')} not shown here"
        )
        blocks.append("\n" + "\n".join(wrapped(f"{more}; --format jsonl has them all", page.width)))
    quiet = [verdict for verdict in order if not verdict.anomalous]
    blocks += ["\n".join(_brief(verdict, page)) for verdict in quiet]
    return blocks


def _others(alike: Sequence[Verdict], page: Page) -> list[str]:
    """The windows odd in the same way as the one shown, in a line or two."""
    if not alike:
        return []
    named = [cut(_name(verdict), LONGEST_NAME) for verdict in alike[:NAMED]]
    left = len(alike) - len(named)
    told = f"and {len(alike):,} more like it, down to {alike[-1].score:.2f}: " + ", ".join(named)
    told += f", {left:,} others" if left else ""
    return [page.paint("    " + line, "dim") for line in wrapped(told, page.width - 4)]


def _name(verdict: Verdict) -> str:
    """What tells a window from its like: its key, else when or where it is."""
    key, start = verdict.window.key, verdict.window.start
    return plain(key) if key else span(start, None) if start else place(verdict.window)[-1]


def alone(verdict: Verdict, page: Page) -> list[str]:
    """The lines of one verdict in full: every reason, every proof, nothing cut."""
    page = Page(max(page.width, LEAST_WIDTH), page.colour)
    lines = _headline("", verdict, page)
    lines += flowed([*place(verdict.window), *_when(verdict)], page.width)
    sure = ["this window only teaches" if verdict.learning else odds(verdict.tail_probability)]
    sure += [f"{plain(name)} {score:.2f}" for name, score in verdict.detectors.items()]
    if verdict.model_id:
        sure.append(f"model {plain(verdict.model_id)} version {verdict.model_version}")
    lines += [page.paint(line, "dim") for line in flowed(sure, page.width)]
    for number, reason in enumerate(verdict.reasons, start=1):
        lines += ["", *_told(f"{number}. ", reason, page, "")]
        about = [f"{plain(reason.detector)}, {reason.type}"]
        if reason.template:
            about.append(
                f"template {plain(reason.template_id or '')}: {cut(plain(reason.template), LONGEST_REASON)}"
            )
        lines += [page.paint("   " + line, "dim") for line in flowed(about, page.width - 3)]
        lines += _proof(reason.evidence, page, "   ", (), many_sources=True, whole=True)
    return lines


def _full(label: str, verdict: Verdict, page: Page, *, many_sources: bool) -> list[str]:
    indent = " " * (len(label) + 2)
    room = page.width - len(indent)
    lines = _headline(label + "  ", verdict, page)
    lines += [
        page.paint(indent + line, "dim") for line in flowed([*place(verdict.window), *_when(verdict)], room)
    ]
    for reason in verdict.reasons[:REASONS]:
        lines += _told("- ", reason, page, indent)
    chosen = proof(verdict.reasons[:REASONS], LINES)
    lines += _proof(chosen, page, indent + "  ", verdict.reasons, many_sources=many_sources, whole=False)
    return lines


def _brief(verdict: Verdict, page: Page) -> list[str]:
    """A window that is not anomalous, in a line."""
    indent = "    "
    where = cut(_name(verdict), LONGEST_NAME)
    head = _headline(indent, verdict, page, [where])
    if len(head) == 1:
        return head
    rest = flowed([where], page.width - len(indent))
    return [*_headline(indent, verdict, page), *(page.paint(indent + line, "dim") for line in rest)]


def _headline(label: str, verdict: Verdict, page: Page, more: Sequence[str] = ()) -> list[str]:
    """Rank, score, severity and service at the left, the id at the right, below where it does not fit."""
    severity = str(verdict.severity).upper() if verdict.anomalous else "normal"
    severity = "learning" if verdict.learning else severity
    tail = "".join(f" · {piece}" for piece in more)
    left = f"{label}{verdict.score:.2f}  {severity:<6}  "
    service = plain(verdict.service) or "-"
    name = plain(verdict.id) if not label else plain(verdict.id)[:SHORT_ID]
    gap = page.width - cells(left) - cells(service) - cells(tail) - cells(name)
    painted = page.paint(label, "dim") + page.paint(f"{verdict.score:.2f}  ")
    painted += page.paint(severity, *_LOUD[verdict.severity]) + " " * (8 - len(severity))
    if gap >= 2:  # noqa: PLR2004  (two blanks part the columns)
        right = " " * gap + page.paint(name, "dim")
        return [painted + page.paint(service, *(() if more else ("bold",))) + page.paint(tail, "dim") + right]
    service = cut(service, page.width - cells(left))
    return [painted + page.paint(service, "bold"), page.paint(" " * len(label) + name, "dim")]


def _told(bullet: str, reason: Reason, page: Page, indent: str) -> list[str]:
    hang = " " * len(bullet)
    room = page.width - len(indent) - len(bullet)
    lines = wrapped(cut(plain(reason.text), LONGEST_REASON), room)
    told = [indent + (hang if number else bullet) + line for number, line in enumerate(lines)]
    compared = versus(reason.expected, reason.actual)
    return told + [indent + hang + page.paint(line, "bold") for line in wrapped(compared, room) if line]


def proof(reasons: Sequence[Reason], most: int) -> list[Evidence]:
    """The first lines that prove the reasons, one of each in turn, none twice, in order of the log."""
    chosen: dict[tuple[str, int | None, str | None], Evidence] = {}
    depth = max((len(reason.evidence) for reason in reasons), default=0)
    for turn in range(depth):
        for reason in reasons:
            if turn < len(reason.evidence) and len(chosen) < most:
                line = reason.evidence[turn]
                chosen.setdefault((line.source, line.line, line.document), line)
    return sorted(chosen.values(), key=lambda line: (line.source, line.line or 0))


def located(line: Evidence, *, many_sources: bool) -> str:
    """Where a line of proof stands: its number, with its file where there are several, or its document."""
    source = cut(plain(line.source), LONGEST_NAME)
    if line.document is not None:
        return f"{source}/{cut(plain(line.document), LONGEST_NAME)}"
    if line.line is None:
        return source
    return f"{source}:{line.line}" if many_sources else str(line.line)


def _proof(  # noqa: PLR0913  (what is shown, of what, and how)
    lines: Sequence[Evidence],
    page: Page,
    indent: str,
    reasons: Sequence[Reason],
    *,
    many_sources: bool,
    whole: bool,
) -> list[str]:
    places = [located(line, many_sources=many_sources) for line in lines]
    gutter = max(map(cells, places), default=0)
    stacked = gutter > page.width // GUTTER
    margin = indent if stacked else indent + " " * (gutter + 1)
    room = page.width - len(margin) - 2
    out = []
    for where, line in zip(places, lines, strict=True):
        first, *rest = visible(line.text.strip("\r\n")).split("\n")
        if whole:
            shown = [piece for part in (first, *rest) for piece in (wrapped(part, room) or [""])]
        else:
            more = f" (+{counted(len(rest), 'line')})" if rest else ""
            left = room - len(more)
            shown = [cut(_telling(" ".join(first.split()), reasons, left), left) + more]
        told = [page.paint(f"{margin}│ ", "dim") + piece for piece in shown]
        if stacked:
            out += [page.paint(indent + piece, "dim") for piece in wrapped(where, page.width - len(indent))]
        else:
            told[0] = page.paint(f"{indent}{' ' * (gutter - cells(where))}{where} │ ", "dim") + shown[0]
        out += told
    return out


def _telling(line: str, reasons: Sequence[Reason], room: int) -> str:
    """A line from where it says what the reasons are about, if that would not be seen otherwise."""
    if cells(line) <= room:
        return line
    best: list[tuple[int, str]] = []  # where the pieces of the template that fits the line best stand
    for reason in reasons:
        words = [word.strip()[:SOUGHT] for word in _PLACEHOLDER.split(reason.template or "")]
        places = [(line.find(word), word) for word in words if len(word) >= TELLING and word in line]
        best = max(best, places, key=lambda found: sum(len(word) for _, word in found))
    if any(at + len(word) > room for at, word in best):
        return ELLIPSIS + line[min(best)[0] :]
    return line


def _when(verdict: Verdict) -> list[str]:
    said = span(verdict.window.start, verdict.window.end)
    return [said] if said else []


def _kind(verdict: Verdict) -> tuple[str, ...]:
    """What makes two findings alike: the service and the top reason, numbers aside."""
    if not verdict.reasons:
        return (verdict.service, verdict.id)
    top = verdict.reasons[0]
    said = top.template_id or _DIGITS.sub("0", top.text)
    return (verdict.service, top.detector, top.type, said)
