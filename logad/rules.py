"""Loads the rules people can read and replace: masks, grave words, mutes, formats, templates."""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, TypeVar

import polars as pl
import yaml
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from logad.canonical import canonical
from logad.errors import ConfigError
from logad.shipped import shipped
from logad.yaml_lines import Document, parse

_SHIPPED: Final = "shipped"
"""The context of shipped rules: their expressions are tried by tests, as to do so takes most of a start."""


def _compiles(regex: str, info: ValidationInfo) -> str:
    if info.context == _SHIPPED:
        return regex
    try:
        pl.Series([""]).str.contains(regex)
    except pl.exceptions.ComputeError as error:
        reason = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
        raise ValueError(f"not a regular expression of the Rust kind: {reason}") from None
    return regex


Regex = Annotated[str, Field(min_length=1), AfterValidator(_compiles)]


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    name: str = Field(min_length=1)
    """Unique among the rules of its kind; a user's rule of the same name replaces the shipped one."""
    matches: tuple[str, ...] = ()
    """Samples in which the rule must find something."""
    misses: tuple[str, ...] = ()
    """Samples in which the rule must find nothing."""


class Mask(_Rule):
    """A part of messages that varies, and the placeholder that stands for it."""

    regex: Regex
    placeholder: str = Field(pattern=r"^<(?:[A-Z][A-Z0-9_]*|\*)>$")

    @property
    def replacement(self) -> str:
        r"""What replaces a match: the placeholder, between the texts of the groups `before` and `after`.

        >>> Mask(name="pin", regex=r"(?P<before>pin )\d+", placeholder="<PIN>").replacement
        '${before}<PIN>'
        """
        before = "${before}" if "(?P<before>" in self.regex else ""
        after = "${after}" if "(?P<after>" in self.regex else ""
        return before + self.placeholder + after


class Severity(_Rule):
    """Words that make a message graver than its level says."""

    regex: Regex


class Mute(_Rule):
    """What nobody wants to hear of: all that is given must fit."""

    service: str | None = None
    template_id: str | None = None
    regex: Regex | None = None
    reason: str = Field(min_length=1)
    until: AwareDatetime | None = None
    """From then on the mute is void; none: it holds for ever."""

    @model_validator(mode="after")
    def _aims_at_something(self) -> "Mute":
        if self.service is None and self.template_id is None and self.regex is None:
            raise ValueError("give at least one of service, template_id and regex")
        return self

    def fits(self, service: str, template_id: str | None, text: str, now: datetime) -> bool:
        """Whether this mute covers a message of this service, template and text at this moment."""
        return (
            (self.until is None or now < self.until)
            and (self.service is None or self.service == service)
            and (self.template_id is None or self.template_id == template_id)
            and (self.regex is None or _found(self.regex, text))
        )


class Format(_Rule):
    """How the lines of a log begin, where that is not to be worked out from the log itself."""

    regex: Regex
    """What stands before the message; the groups `time`, `level` and `service` say what is what."""
    time_format: str | None = None
    """How the group `time` is written, as in strptime; none: as one of the known formats."""


_ANYTHING: Final = "<*>"
_ACTIONS: Final = ("pin", "split", "merge", "rename", "ignore")


class TemplateRule(_Rule):
    """What template messages shall have: one of pin, split, merge, rename and ignore, each by text.

    A text is written as templates are: `<NUM>` and the like stand for a variable of that type, `<*>` for
    anything. It is compared with messages whose variables the masks have replaced, from end to end; the
    first rule that fits decides.
    """

    pin: str | None = None
    """Every message that fits this text has exactly this template."""
    split: str | None = None
    """Messages that fit are apart by the words that stand at `<*>`, which never become a variable."""
    word: int | None = Field(default=None, ge=1)
    """With `split`: only the `<*>` in this word of the text counts, from 1; the others stay variables."""
    values: Regex | None = None
    """With `split`: words stay apart that this fits as a whole; all others are one `<*>`."""
    merge: tuple[str, ...] = ()
    """Every message that fits one of these texts has the template `into`."""
    into: str | None = None
    rename: str | None = None
    """The template of this text is shown by the name `to`; its id stays."""
    to: str | None = Field(default=None, min_length=1)
    ignore: str | None = None
    """Messages that fit are counted as dropped, and judged by nobody."""

    @model_validator(mode="after")
    def _does_one_thing(self) -> "TemplateRule":
        asked = {name: getattr(self, name) for name in _ACTIONS}
        given = [name for name, text in asked.items() if text]
        if len(given) != 1:
            raise ValueError(f"found {' and '.join(given) or 'none'}; give one of {', '.join(_ACTIONS)}")
        for name, action in (("into", "merge"), ("to", "rename")):
            if (getattr(self, name) is not None) != (given == [action]):
                raise ValueError(f"`{action}` and `{name}` go together")
        if self.split is None and (self.word is not None or self.values is not None):
            raise ValueError("`word` and `values` go with `split`")
        words = (self.split or _ANYTHING).split()
        if not any(_ANYTHING in word for word in words[(self.word or 1) - 1 : self.word]):
            raise ValueError(f"`split` needs a {_ANYTHING} where the words stand that stay apart")
        return self

    @property
    def action(self) -> str:
        """What it does: pin, split, merge, rename or ignore."""
        return next(name for name in _ACTIONS if getattr(self, name))

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that messages are compared with."""
        return self.merge or (next(text for name in _ACTIONS if (text := getattr(self, name))),)


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules in force, in the order in which they are tried."""

    masks: tuple[Mask, ...]
    severities: tuple[Severity, ...]
    mutes: tuple[Mute, ...]
    formats: tuple[Format, ...] = ()
    templates: tuple[TemplateRule, ...] = ()

    def muted(self, service: str, template_id: str | None, text: str, now: datetime) -> Mute | None:
        """The first mute that covers this, or None.

        >>> from datetime import UTC
        >>> until = datetime(2030, 1, 1, tzinfo=UTC)
        >>> night = Mute(name="night", service="backup", reason="known", until=until)
        >>> rules = Rules((), (), (night,))
        >>> rules.muted("backup", None, "snapshot failed", datetime(2029, 1, 1, tzinfo=UTC)).reason
        'known'
        >>> rules.muted("backup", None, "snapshot failed", datetime(2031, 1, 1, tzinfo=UTC)) is None
        True
        """
        return next((mute for mute in self.mutes if mute.fits(service, template_id, text, now)), None)


_KINDS: Final[dict[str, type[_Rule]]] = {
    "masks": Mask,
    "severities": Severity,
    "mutes": Mute,
    "formats": Format,
    "templates": TemplateRule,
}

_Kind = TypeVar("_Kind", bound=_Rule)


def load(folders: Sequence[Path] = ()) -> Rules:
    """The shipped rules with the user's folders on top: later folders first, names of a kind replace.

    Raises:
        ConfigError: a folder is missing or a file is broken; `problems` holds every fault with file and line.

    >>> any(mask.placeholder == "<IP>" for mask in load().masks)
    True
    """
    problems: list[str] = []
    layers = [
        _read_folder(shipped("rules"), problems, _SHIPPED),
        *(_read_folder(folder, problems) for folder in folders),
    ]
    if problems:
        raise ConfigError("rules", f"{len(problems)} faults", advice=problems[0], problems=tuple(problems))
    return Rules(
        _merged(layers, Mask),
        _merged(layers, Severity),
        _merged(layers, Mute),
        _merged(layers, Format),
        _merged(layers, TemplateRule),
    )


def check_rules(rules: Rules) -> list[str]:
    """Every sample that a rule treats wrongly, every rule but a mute without samples; empty if all is well.

    Those of template rules are compared as messages are: see `pinning.check`.

    >>> check_rules(Rules((), (Severity(name="e", regex="error", matches=["fine"], misses=["x"]),), ()))
    ["severity 'e' does not match its sample 'fine'"]
    """
    every = (*rules.masks, *rules.severities, *rules.mutes, *rules.formats)
    return [problem for rule in every for problem in _wrong(rule)]


def digest(rules: Rules) -> str:
    """A hash of the rules that influence verdicts; what is muted or renamed influences only what is told.

    >>> rules = load()
    >>> digest(rules) == digest(replace(rules, mutes=()))
    True
    """
    templates = [rule for rule in rules.templates if rule.rename is None]
    told = [rule.model_dump_json() for rule in (*rules.masks, *rules.severities, *rules.formats, *templates)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


class LiveMutes:
    """The mutes in force while a program runs: a `mutes.yaml` is read again when it has changed."""

    def __init__(self, folders: Sequence[Path], own: Path) -> None:
        self._folders = folders
        self._path = own / "mutes.yaml"
        self._seen: tuple[int, int] | None = None
        self._rules = load(folders)
        self._own: tuple[Mute, ...] = ()

    def muted(self, service: str, template_id: str | None, text: str, now: datetime) -> Mute | None:
        """The first mute that covers this, or None; a file that is broken at the moment changes nothing."""
        try:
            found = self._path.stat()
        except OSError:
            self._own, self._seen = (), None
        else:
            if self._seen != (found.st_mtime_ns, found.st_size):
                self._seen = (found.st_mtime_ns, found.st_size)
                problems: list[str] = []
                text_ = self._path.read_text(encoding="utf-8", errors="replace")
                mutes = _read_file(self._path, text_, Mute, problems)
                self._own = self._own if problems else tuple(mutes)
        both = replace(self._rules, mutes=(*self._own, *self._rules.mutes))
        return both.muted(service, template_id, text, now)


def add_mute(folder: Path, mute: Mute) -> Path:
    """Append a mute to `mutes.yaml` of a user's folder, made where missing; what stood there stays.

    Raises:
        ConfigError: the file that is there is broken, or holds a mute of this name.
    """
    path = folder / "mutes.yaml"
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    problems: list[str] = []
    present = _read_file(path, before, Mute, problems)
    if problems:
        raise ConfigError(str(path), "broken", advice=problems[0], problems=tuple(problems))
    if any(other.name == mute.name for other in present):
        raise ConfigError(str(path), f"a mute is already called {mute.name!r}", "another name")
    entry = mute.model_dump(mode="json", exclude_defaults=True)
    text = "" if not present and before.strip() == "[]" else before
    text += "\n" if text and not text.endswith("\n") else ""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, delete=False) as draft:
        draft.write(text + yaml.safe_dump([entry], sort_keys=False, allow_unicode=True))
        draft.flush()
        os.fsync(draft.fileno())
    Path(draft.name).replace(path)
    return path


def _merged(layers: Sequence[Sequence[_Rule]], kind: type[_Kind]) -> tuple[_Kind, ...]:
    merged: dict[str, _Kind] = {}
    for layer in reversed(layers):
        for rule in layer:
            if isinstance(rule, kind):
                merged.setdefault(rule.name, rule)
    return tuple(merged.values())


def _read_folder(folder: Path, problems: list[str], context: str | None = None) -> list[_Rule]:
    if not folder.is_dir():
        problems.append(f"{folder}: no such folder; expected rule files ({', '.join(_KINDS)}.yaml)")
        return []
    rules: list[_Rule] = []
    for path in sorted(folder.glob("*.y*ml")):
        kind = _KINDS.get(path.stem)
        if kind is not None:
            text = path.read_text(encoding="utf-8", errors="replace")
            rules += _read_file(path, text, kind, problems, context)
        else:
            known = ", ".join(f"{name}.yaml" for name in sorted(_KINDS))
            problems.append(f"{path}: not a kind of rule; expected one of {known}")
    return rules


def _read_file(
    path: Path, text: str, kind: type[_Kind], problems: list[str], context: str | None = None
) -> list[_Kind]:
    """The rules of one file; what is wrong with it is appended to `problems`."""
    document = parse(text, environ=None)
    problems += [
        f"{path}:{fault.line}: found {fault.found}; expected {fault.expected}" for fault in document.faults
    ]
    if document.faults or document.value is None:
        return []
    if not isinstance(document.value, list):
        problems.append(f"{path}:1: found {type(document.value).__name__}; expected a list of rules")
        return []
    rules: dict[str, _Kind] = {}
    for position, value in enumerate(document.value):
        try:
            rule = kind.model_validate(value, context=context)
        except ValidationError as error:
            problems.extend(_faults(path, document, position, error))
            continue
        if rule.name in rules:
            line = document.lines[position,]
            problems.append(f"{path}:{line}: a second rule is called {rule.name!r}; expected unique names")
        rules[rule.name] = rule
    return list(rules.values())


def _faults(path: Path, document: Document, position: int, error: ValidationError) -> Iterator[str]:
    for fault in error.errors(include_url=False):
        key = (position, *fault["loc"])
        line = next(
            document.lines[key[:size]] for size in range(len(key), 0, -1) if key[:size] in document.lines
        )
        name = ".".join(str(step) for step in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        yield f"{path}:{line}: {name}: {message}" if name else f"{path}:{line}: {message}"


def _wrong(rule: _Rule) -> Iterator[str]:
    kind = type(rule).__name__.lower()
    regex: str | None = getattr(rule, "regex", None)
    if regex is None:
        return
    if isinstance(rule, Format):
        regex = f"^(?:{regex})"
    if not isinstance(rule, Mute) and not (rule.matches and rule.misses):
        yield f"{kind} {rule.name!r} has no samples; expected `matches` and `misses`"
    for sample in rule.matches:
        if not _found(regex, _as_seen(rule, sample)):
            yield f"{kind} {rule.name!r} does not match its sample {sample!r}"
    for sample in rule.misses:
        if _found(regex, _as_seen(rule, sample)):
            yield f"{kind} {rule.name!r} matches its counter-sample {sample!r}"


def _as_seen(rule: _Rule, sample: str) -> str:
    """Masks are tried on flattened text."""
    return canonical(sample) if isinstance(rule, Mask) else sample


def _found(regex: str, text: str) -> bool:
    return bool(pl.Series([text]).str.contains(regex).item())
