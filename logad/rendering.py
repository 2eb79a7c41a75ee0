"""Turns verdicts and incidents into what people read, by templates that a user can replace."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from logad import terminal, wording
from logad.durations import format_duration
from logad.errors import ConfigError
from logad.shipped import shipped
from logad.types import Incident, Severity, Verdict

Made = TypeVar("Made")

_OPENER: Final = re.compile(r"[*~`]|(?<!\w)_(?=\S)")
_LOOKALIKE: Final = {"*": "\u2217", "~": "\u223c", "`": "\u02cb", "_": "\uff3f"}
"""Slack knows no way to quote the characters that format; these look the same and do nothing."""
_FENCE: Final = re.compile("`{3,}")


@dataclass(frozen=True, slots=True)
class ScanSummary:
    """What was read and judged, for the lines under the findings."""

    windows: int
    anomalous: int
    records: int
    templates: int
    span: str  # the stretch of time in words; empty where the log has no time
    seconds: float
    doubts: tuple[str, ...] = ()  # what the reader should know before he trusts the result
    windowing: str = ""  # what the windows are, in words


class Renderer:
    """Fills templates: the user's folders first, then the shipped ones.

    Text that comes from logs is made visible on the way out, so no template, however written, can pass an
    escape sequence on; templates ending in `.html.j2` escape it too.

    Raises:
        ConfigError: a user's template does not compile; says file and line.

    >>> quiet = ScanSummary(windows=3, anomalous=0, records=90, templates=7, span="", seconds=0.1)
    >>> Renderer().findings([], quiet, width=80, colour=False).splitlines()[0]
    'Nothing stands out.'
    """

    def __init__(self, folders: Sequence[Path] = (), place: str = "") -> None:
        self._folders = [*folders, shipped("templates")]
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(self._folders),
            undefined=jinja2.StrictUndefined,
            autoescape=lambda name: name is not None and name.endswith(".html.j2"),  # noqa: S701  (the rest is text)
            finalize=_safe,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._environment.filters |= _FILTERS
        self._environment.globals["place"] = place  # what commands need to find the state folder
        for name in self._environment.list_templates(filter_func=lambda name: name.endswith(".j2")):
            self._guarded(name, partial(self._environment.get_template, name))

    def findings(self, verdicts: Sequence[Verdict], summary: ScanSummary, width: int, colour: bool) -> str:  # noqa: FBT001
        """A whole scan as text, strangest first, at most `width` columns; ANSI styles only with `colour`."""
        page = terminal.Page(width, colour)
        tiers = [(tier, sum(verdict.severity is tier for verdict in verdicts)) for tier in Severity]
        return self._fill(
            "terminal.txt.j2",
            blocks=[Markup(block) for block in terminal.ranked(verdicts, page)],  # noqa: S704  (visible already)
            found=[verdict for verdict in verdicts if verdict.anomalous],
            strangest=max(verdicts, key=lambda verdict: verdict.score, default=None),
            tiers=[(tier, number) for tier, number in tiers if number and tier is not Severity.NONE],
            summary=summary,
            width=width,
            paint=lambda text, *styles: Markup(page.paint(_safe(text), *styles)),  # noqa: S704
        )

    def finding(self, verdict: Verdict, width: int, colour: bool) -> str:  # noqa: FBT001
        """One verdict in full, for `logad explain`: every reason and proof, wrapped instead of cut."""
        return "\n".join(terminal.alone(verdict, terminal.Page(width, colour))) + "\n"

    def text(self, template: str, incidents: Sequence[Incident], links: Mapping[str, str]) -> str:
        """What a template makes of incidents, worst first; `incident` in it is the first of them.

        Raises:
            ConfigError: there is no such template, or it fails; says file and line.
        """
        worst = sorted(incidents, key=lambda incident: -incident.worst.score)
        safe_links = {name: url for name, url in links.items() if url.startswith(("http://", "https://"))}
        return self._fill(template, incidents=worst, incident=worst[0], links=safe_links)

    def mapping(
        self, template: str, incidents: Sequence[Incident], links: Mapping[str, str]
    ) -> dict[str, Any]:
        """The same of a template that yields a JSON object.

        Raises:
            ConfigError: as for `text`, or the result is not a JSON object.
        """
        text = self.text(template, incidents, links)
        where = self._environment.get_template(template).filename or template
        try:
            made = json.loads(text)
        except json.JSONDecodeError as error:
            line = text.splitlines()[error.lineno - 1 : error.lineno]
            raise ConfigError(where, f"yields no JSON: {error.msg} at {line}", "a JSON object") from error
        if not isinstance(made, dict):
            raise ConfigError(where, f"yields a {type(made).__name__}", "a JSON object")
        return made

    def _fill(self, name: str, **values: object) -> str:
        return self._guarded(name, lambda: self._environment.get_template(name).render(**values))

    def _guarded(self, name: str, make: Callable[[], Made]) -> Made:
        advice = "mend the template, or delete it to fall back on the shipped one"
        try:
            return make()
        except jinja2.TemplateSyntaxError as error:
            where = f"{error.filename or name}:{error.lineno}"
            raise ConfigError(where, str(error.message), advice=advice) from error
        except jinja2.TemplateNotFound as error:
            folders = ", ".join(map(str, self._folders))
            raise ConfigError(name, f"no template {error.name}", f"a file in {folders}") from error
        except Exception as error:  # whatever a user's template does, it is his template that is told
            where = _template_line(error.__traceback__) or name
            raise ConfigError(where, f"{type(error).__name__}: {error}", advice=advice) from error


def _template_line(trace: TracebackType | None) -> str:
    """File and line of the innermost template in a traceback."""
    where = ""
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(".j2"):
            where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return where


def _safe(value: Any) -> Any:  # noqa: ANN401  (whatever a template prints)
    return wording.visible(value) if type(value) is str else value


def _within(text: str, limit: int, escape: Callable[[str], str]) -> str:
    """The longest beginning of the text whose escaped form has at most `limit` characters."""
    escaped = escape(text)
    while len(escaped) > limit:
        spare = (len(escaped) - limit) // 5  # one character becomes five at most
        text = text[: min(len(text) - 2 - spare, limit - 1)] + wording.ELLIPSIS
        escaped = escape(text)
    return escaped


def _entities(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _mrkdwn(text: object, limit: int = 600) -> str:
    r"""One line of Slack text that pings nobody and formats nothing.

    >>> _mrkdwn("<!channel>\nnow")
    '&lt;!channel&gt; now'
    """
    said = _OPENER.sub(lambda match: _LOOKALIKE[match[0]], wording.plain(str(text)))
    return _within(said, limit, _entities)


def _fenced(text: object, limit: int = 600) -> str:
    """Log text for inside a Slack code block, which it cannot leave.

    >>> "```" in _fenced("``` <!here>")
    False
    """
    said = wording.visible(str(text)).strip("\n")
    return _within(_FENCE.sub(lambda match: _LOOKALIKE["`"] * len(match[0]), said), limit, _entities)


def _slack_url(url: str) -> str:
    """An address that cannot end the `<address|label>` it stands in."""
    return _entities(quote(url, safe=":/?#[]@!$&'()+,;=%~-._"))


def _duration(incident: Incident) -> str:
    return format_duration(max((incident.updated - incident.opened).total_seconds(), 0))


_FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "plain": wording.plain,
    "visible": wording.visible,
    "cut": wording.cut,
    "wrapped": wording.wrapped,
    "flowed": wording.flowed,
    "counted": wording.counted,
    "moment": wording.moment,
    "span": wording.span,
    "place": wording.place,
    "odds": wording.odds,
    "versus": wording.versus,
    "located": lambda line: terminal.located(line, many_sources=True),
    "lasted": _duration,
    "proof": terminal.proof,
    "slack_url": _slack_url,
    "mrkdwn": _mrkdwn,
    "fenced": _fenced,
}
