"""Makes `Settings` of one YAML file and the environment, and tells every fault in them at once."""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Union, cast, get_args, get_origin

from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from logad import registry
from logad.config_reference import commented, schema
from logad.contracts import PartConfig
from logad.errors import ConfigError
from logad.settings import PartChoice, Settings, digest
from logad.yaml_lines import Document, Fault, KeyPath, number_or_word, parse

__all__ = ["Settings", "commented", "default_state_dir", "digest", "load", "schema"]

_PREFIX: Final = "LOGAD__"
_FILE: Final = "_file"
_SECRET_NAME: Final = re.compile(r"webhook|token|passw|secret|key|auth|credential|header|dsn", re.IGNORECASE)
_USER_IN_ADDRESS: Final = re.compile(r"://[^/\s]*@")
_FOUND_EXPECTED: Final = re.compile(r"found (?P<found>.+); expected (?P<expected>.+)", re.DOTALL)
_ABOUT_KEYS: Final = ("extra_forbidden", "missing")
_PLAINER: Final = {
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "string_type": "a text; put it in quotes",
}
_PART_MAPS: Final[dict[str, registry.PartKind]] = {"detectors": "detectors", "source_options": "sources"}
_HIDDEN: Final = "a text that is not shown"


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings in a file, with the environment's `LOGAD__SECTION__KEY` over it and defaults under it.

    A text may hold `${VAR}`; `KEY_file` names a file whose text is the value of KEY. Without a path only the
    environment and the defaults count. Paths in the file are relative to the working folder.

    Raises:
        ConfigError: anything is wrong; `problems` tells every fault, each with its line, and no secret.

    >>> load(None, {"HOME": "/root", "LOGAD__WINDOWS__WINDOW": "5m"}).windows.window
    '5m'
    """
    document = Document() if path is None else parse(_text(path), environ)
    loading = _Loading("environment" if path is None else str(path), document, default_state_dir(environ))
    loading.take_environment(environ)
    settings = loading.settings()
    if settings is None or document.faults:
        problems = loading.problems()
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ConfigError("", problems[0] + more, problems=problems)
    return settings


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """The XDG state folder of the user.

    >>> default_state_dir({"HOME": "/home/ada"}).as_posix()
    '/home/ada/.local/state/logad'
    """
    base = Path(environ.get("XDG_STATE_HOME", ""))
    home = Path(environ.get("HOME") or Path.home())
    return (base if base.is_absolute() else home / ".local" / "state") / "logad"


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), f"byte {error.start} is not UTF-8", "a YAML file in UTF-8") from None
    except OSError as error:
        why = (error.strerror or "cannot be read").lower()
        raise ConfigError(str(path), why, "a YAML file", "write one with `logad init`") from None


class _Variable(str):
    """The text of a variable of the environment: read as YAML where no text is wanted."""

    __slots__ = ()


@dataclass
class _Loading:
    """Values on their way into models; faults gather in the document."""

    name: str
    document: Document
    state_dir: Path
    variables: dict[KeyPath, str] = field(default_factory=dict)  # the LOGAD__ variable behind a value

    # What the environment adds

    def take_environment(self, environ: Mapping[str, str]) -> None:
        """Put the value of `LOGAD__A__B` at a.b; numbers are positions in lists."""
        if self.document.value is None:
            self.document.value = {}
        for variable in sorted(name for name in environ if name.startswith(_PREFIX)):
            steps = variable.removeprefix(_PREFIX).lower().split("__")
            place: Any = self.document.value
            path: KeyPath = ()
            for step, following in zip(steps, [*steps[1:], ""], strict=True):
                new = _Variable(environ[variable]) if not following else [] if following.isdigit() else {}
                key = self._put(place, step, new, replace=not following)
                path = (*path, step if key is None else key)
                if not following or path not in self.document.lines:
                    self.variables[path] = variable
                if key is None:
                    self.fault(path, "no place for it", "a key of a section, or the next position of a list")
                    break
                place = place[key]

    def _put(self, place: Any, step: str, new: object, *, replace: bool) -> str | int | None:  # noqa: ANN401
        if isinstance(place, dict):
            if replace or place.get(step) is None:
                place[step] = new
            return step
        if isinstance(place, list) and step.isdigit() and int(step) <= len(place):
            position = int(step)
            if position == len(place):
                place.append(new)
            elif replace:
                place[position] = new
            return position
        return None

    # From values to settings

    def settings(self) -> Settings | None:
        """The settings, or None where a fault stands in their way."""
        sections = self.document.value
        if not isinstance(sections, dict):
            self.fault((), self._shown((), sections), "a mapping of sections", "see `logad init`")
            return None
        known: dict[str, Any] = {"state_dir": self.state_dir}
        for name, value in sections.items():
            if name not in Settings.model_fields:
                self._unknown((name,), list(Settings.model_fields))
            elif value is not None:
                known[name] = self._section(name, value)
        return None if self.document.faults else Settings(**known)

    def _section(self, name: str, value: Any) -> Any:  # noqa: ANN401  (what the field of Settings holds)
        path = (name,)
        if name in _PART_MAPS:
            return self._options(_PART_MAPS[name], _read(value), path)
        if name in ("notifiers", "sinks"):
            values = _read(value)
            if not isinstance(values, list):
                self.fault(path, self._shown(path, values), "a list")
                return ()
            made = (self._choice(_read(item), (name, at)) for at, item in enumerate(values))
            return tuple(choice for choice in made if choice is not None)
        valid = self._validated(Settings.model_fields[name].annotation, value, path)
        if isinstance(valid, Path):
            return valid.expanduser()
        if isinstance(valid, tuple):
            return tuple(each.expanduser() if isinstance(each, Path) else each for each in valid)
        return valid

    def _options(self, kind: registry.PartKind, values: Any, path: KeyPath) -> dict[str, PartConfig | None]:  # noqa: ANN401
        chosen: dict[str, PartConfig | None] = {}
        if not isinstance(values, dict):
            self.fault(path, self._shown(path, values), f"a mapping from {kind} to their options")
            return chosen
        for name, value in values.items():
            options = _read(value)
            part = self._part(kind, name, (*path, name))
            if part is None:
                continue
            if options is False and kind == "detectors":
                chosen[name] = None
            else:
                given = {} if options is None or options is True else options
                chosen[name] = self._validated(part.Config, given, (*path, name))
        return chosen

    def _choice(self, value: Any, path: KeyPath) -> PartChoice | None:  # noqa: ANN401
        kind = cast("registry.PartKind", path[0])
        if not isinstance(value, dict) or not isinstance(value.get("type"), str):
            known = ", ".join(registry.names(kind))
            found = "no type" if isinstance(value, dict) else self._shown(path, value)
            self.fault(path, found, f"a mapping whose `type` is one of {known or 'the installed parts'}")
            return None
        part = self._part(kind, value["type"], (*path, "type"))
        if part is None:
            return None
        options = {key: option for key, option in value.items() if key != "type"}
        config = self._validated(part.Config, options, path)
        return config and PartChoice(type=str(value["type"]), config=config)

    def _part(self, kind: registry.PartKind, name: str, path: KeyPath) -> Any:  # noqa: ANN401  (its class)
        known = registry.names(kind)
        if name not in known:
            called = f"no part is called {self._shown(path, name)}"
            self.fault(path, called, "one of " + ", ".join(known), _hint(name, known))
            return None
        try:
            return registry.part(kind, name)
        except ConfigError as error:
            self.fault(path, error.found, error.expected, error.advice)
        except ImportError as error:
            self.fault(path, f"{name} cannot be loaded ({error})", "a part that can", "install what it needs")
        return None

    def _validated(self, wanted: Any, value: Any, path: KeyPath) -> Any:  # noqa: ANN401
        value = self._prepared(wanted, value, path)
        try:
            return TypeAdapter(wanted).validate_python(value)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                self._refused(wanted, details, path)
        return None

    def _prepared(self, wanted: Any, value: Any, path: KeyPath) -> Any:  # noqa: ANN401
        """The value with variables read as what is wanted, and with `KEY_file` replaced by KEY."""
        model = _model(wanted)
        if isinstance(value, _Variable):
            if model is None and _takes_text(wanted):
                return str(value)
            value = _read(value)
        if isinstance(value, list):
            inner = next((arg for arg in get_args(wanted) if arg is not Ellipsis), None)
            return [self._prepared(inner, item, (*path, at)) for at, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        fields = model.model_fields if model else {}
        prepared: dict[str, Any] = {}
        for key, item in value.items():
            stem = key.removesuffix(_FILE)
            if key not in fields and stem in fields and stem != key:
                if stem in value:
                    self.fault((*path, key), f"{stem} too", "one of them", "delete one of them")
                elif (text := self._file(str(item), (*path, key))) is not None:
                    prepared[stem] = text
                    self.document.expanded.add((*path, stem))
                    self.document.lines.setdefault((*path, stem), self._line((*path, key)))
            else:
                annotation = fields[key].annotation if key in fields else None
                prepared[key] = self._prepared(annotation, item, (*path, key))
        return prepared

    def _file(self, name: str, path: KeyPath) -> str | None:
        try:
            return Path(name).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8"
            self.fault(path, f"{name}: {why.lower()}", "a file with the value", "check path and permissions")
        return None

    # Faults

    def fault(self, key: KeyPath, found: str, expected: str, advice: str = "") -> None:
        """Note a fault at a key."""
        self.document.faults.append(Fault(self._line(key), key, found, expected, advice))

    def problems(self) -> tuple[str, ...]:
        """Every fault in one line, in the order of the file."""
        told = []
        for fault in sorted(self.document.faults, key=lambda fault: fault.line):
            where = self._where(fault)
            place = ": ".join(part for part in (where, _spelt(fault.key)) if part)
            found = fault.found if fault.found.startswith("found ") else f"found {fault.found}"
            told.append(str(ConfigError(place, found, fault.expected, fault.advice)))
        return tuple(dict.fromkeys(told))

    def _where(self, fault: Fault) -> str:
        for up in _upwards(fault.key):
            if up in self.variables:
                return self.variables[up]
            if up in self.document.lines:
                break
        return f"{self.name}:{fault.line}" if fault.line else self.name

    def _line(self, key: KeyPath) -> int:
        return next((self.document.lines[up] for up in _upwards(key) if up in self.document.lines), 0)

    def _unknown(self, key: KeyPath, known: list[str]) -> None:
        name = str(key[-1])
        self.fault(key, "an unknown key", "one of " + ", ".join(known) if known else "", _hint(name, known))

    def _refused(self, wanted: Any, details: ErrorDetails, path: KeyPath) -> None:  # noqa: ANN401
        key = (*path, *details["loc"])
        known = self.document.lines.keys() | self.variables.keys()
        while len(key) > len(path) and key not in known and details["type"] not in _ABOUT_KEYS:
            key = key[:-1]  # a branch of a union is no key
        model = _model_at(wanted, details["loc"][:-1])
        if details["type"] == "extra_forbidden":
            return self._unknown(key, list(model.model_fields) if model else [])
        if details["type"] == "missing":
            return self.fault(key, "nothing", "a value", f"set it, or {key[-1]}{_FILE}")
        secret = self._is_secret(key, wanted, details["loc"])
        found = _HIDDEN if secret else self._shown(key, details["input"])
        expected = (
            details["msg"]
            .removeprefix("Input should be ")
            .removeprefix("Value error, ")
            .removeprefix("expected ")
        )
        expected = _PLAINER.get(details["type"], expected)
        if parts := _FOUND_EXPECTED.fullmatch(expected):
            found, expected = (_HIDDEN if secret else parts["found"]), parts["expected"]
        for text in self._secrets(details["input"], key, secret=secret):
            found, expected = found.replace(text, "***"), expected.replace(text, "***")
        return self.fault(key, found, expected)

    def _shown(self, key: KeyPath, value: object) -> str:
        if isinstance(value, dict | list | tuple):
            return "a mapping" if isinstance(value, dict) else "a list"
        if value is None or isinstance(value, BaseModel):
            return "nothing" if value is None else "these values"
        return _HIDDEN if self._is_secret(key) or _USER_IN_ADDRESS.search(str(value)) else repr(value)

    def _is_secret(self, key: KeyPath, wanted: Any = None, loc: KeyPath = ()) -> bool:  # noqa: ANN401
        if key in self.document.expanded or any(_SECRET_NAME.search(str(step)) for step in key):
            return True
        model = _model_at(wanted, loc[:-1])
        info = model.model_fields.get(str(loc[-1])) if model and loc else None
        return info is not None and "Secret" in str(info.annotation)

    def _secrets(self, value: object, key: KeyPath, *, secret: bool) -> Iterator[str]:
        if isinstance(value, BaseModel):
            value = value.model_dump()
        if isinstance(value, SecretStr):
            value, secret = value.get_secret_value(), True
        if isinstance(value, dict):
            for name, item in value.items():
                inner = (*key, name)
                yield from self._secrets(item, inner, secret=secret or self._is_secret(inner))
        elif isinstance(value, list | tuple):
            for item in value:
                yield from self._secrets(item, key, secret=secret)
        elif value and (secret or _USER_IN_ADDRESS.search(str(value))):
            yield str(value)


def _read(value: Any) -> Any:  # noqa: ANN401  (any value)
    """The value that a variable's text means, where no text is wanted."""
    if not isinstance(value, _Variable):
        return value
    if value.lstrip()[:1] in ("[", "{"):
        document = parse(value, None)
        if not document.faults:
            return document.value
    return number_or_word(str(value))


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, [*known, *(f"{key}{_FILE}" for key in known)], n=1)
    return f"did you mean {close[0]}?" if close else ""


def _spelt(key: KeyPath) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in key).lstrip(".")


def _upwards(key: KeyPath) -> Iterator[KeyPath]:
    return (key[:length] for length in range(len(key), -1, -1))


def _model(wanted: Any) -> type[BaseModel] | None:  # noqa: ANN401  (any annotation)
    """The one model in an annotation such as `Model` or `Model | None`."""
    for each in (wanted, *(get_args(wanted) if get_origin(wanted) in (Union, UnionType) else ())):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return each
    return None


def _model_at(wanted: Any, loc: KeyPath) -> type[BaseModel] | None:  # noqa: ANN401
    """The model that a location inside an annotation lies in."""
    for step in loc:
        model = _model(wanted)
        if model is not None and step in model.model_fields:
            wanted = model.model_fields[str(step)].annotation
        elif get_args(wanted):
            wanted = next((arg for arg in reversed(get_args(wanted)) if arg is not Ellipsis), None)
    return _model(wanted)


def _takes_text(wanted: Any) -> bool:  # noqa: ANN401
    """Whether a text is what is wanted, whatever it looks like."""
    union = get_origin(wanted) in (Union, UnionType)
    branches = get_args(wanted) if union else (wanted,)
    plain = [get_args(each)[0] if get_origin(each) is Annotated else each for each in branches]
    return any(each in (str, SecretStr, Path) for each in plain)
