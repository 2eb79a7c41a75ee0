"""Tells what can be set, from the models themselves: a JSON Schema, and a commented file to start from."""

import textwrap
from collections.abc import Iterator
from typing import Any, Final, get_args, get_origin

import yaml
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic.json_schema import models_json_schema
from pydantic_core import PydanticUndefined

from logad import registry
from logad.contracts import PartConfig
from logad.settings import Settings

_LISTS: Final[tuple[registry.PartKind, ...]] = ("notifiers", "sinks")
_MAPS: Final[dict[str, registry.PartKind]] = {"detectors": "detectors", "source_options": "sources"}
_HEAD: Final = """\
# The configuration of logad. Everything below is commented out and shows its default or, where there is
# none, an example. To change something, delete the first # of its line and of the section's line above.
# Every key can also be set as LOGAD__SECTION__KEY; ${VAR} stands for a variable of the environment, $$ for
# a dollar sign; KEY_file names a file that holds the value of KEY. `logad config` checks the file.
"""


def schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors; every installed part is in it.

    >>> schema()["properties"]["windows"]["$ref"]
    '#/$defs/WindowSettings'
    """
    kinds: tuple[registry.PartKind, ...] = ("detectors", "sources", *_LISTS)
    configs = {
        kind: {name: registry.part(kind, name).Config for name in registry.names(kind)} for kind in kinds
    }
    models = dict.fromkeys([Settings, *(config for parts in configs.values() for config in parts.values())])
    refs, definitions = models_json_schema([(model, "validation") for model in models])
    shapes = {model: definitions["$defs"][_name(refs[model, "validation"])] for model in models}
    options = {
        kind: {name: _with_files(shapes[config]) for name, config in parts.items()}
        for kind, parts in configs.items()
    }
    top = shapes[Settings]
    properties = top["properties"]
    maps: tuple[tuple[str, registry.PartKind, dict[str, Any]], ...] = (
        ("detectors", "detectors", {"type": ["boolean", "null"]}),
        ("source_options", "sources", {}),
    )
    for key, kind, off in maps:
        choices = {name: {"anyOf": [shape, off]} if off else shape for name, shape in options[kind].items()}
        about = {"description": properties[key]["description"], "additionalProperties": False}
        properties[key] = {**about, "type": "object", "properties": choices}
    for kind in _LISTS:
        items = {"anyOf": [_tagged(shape, name) for name, shape in options[kind].items()]}
        about = {"description": properties[kind]["description"]}
        properties[kind] = {**about, "type": "array", "items": items if options[kind] else {}}
    return {
        **top,
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "logad",
        "required": [],
        "$defs": definitions["$defs"],
    }


def _name(reference: Any) -> str:  # noqa: ANN401  (pydantic's)
    return str(reference["$ref"]).rsplit("/", 1)[-1]


def _with_files(options: dict[str, Any]) -> dict[str, Any]:
    """The same options, where each text may stand in a file."""
    texts = {
        f"{name}_file": {"type": "string", "description": f"A file that holds `{name}`."}
        for name, shape in options.get("properties", {}).items()
        if shape.get("writeOnly") or any(branch.get("writeOnly") for branch in shape.get("anyOf", ()))
    }
    required = [name for name in options.get("required", ()) if f"{name}_file" not in texts]
    return {**options, "properties": {**options.get("properties", {}), **texts}, "required": required}


def _tagged(options: dict[str, Any], name: str) -> dict[str, Any]:
    properties = {"type": {"const": name}, **options["properties"]}
    return {**options, "properties": properties, "required": ["type", *options["required"]]}


def commented() -> str:
    """The file that `logad init` writes: every section and option, commented out, with its default.

    Prose is `# Like this`; an option is `#key: value`, so that deleting the first # of every line that is no
    prose gives a valid file.

    >>> "#  session_timeout: null  # such as 60s" in commented().splitlines()
    True
    """
    lines = [_HEAD.rstrip()]
    texts = Settings.descriptions()
    for name, info in Settings.model_fields.items():
        model = info.annotation if isinstance(info.annotation, type) else None
        lines.append("")
        lines += _prose(texts.get(name) or (model.__doc__ if model else "") or "")
        if name in _MAPS:
            lines.append(f"#{name}:")
            for part in registry.names(_MAPS[name]):
                lines += _part(_MAPS[name], part, f"  {part}:", "    ")
        elif kind := next((kind for kind in _LISTS if kind == name), None):
            lines.append(f"#{name}:")
            for part in registry.names(kind):
                lines += _part(kind, part, f"  - type: {part}", "    ")
        elif model is not None and issubclass(model, PartConfig):
            lines.append(f"#{name}:")
            lines += _options(model, name, "  ")
        else:
            lines += _options(Settings, "", "", only=name)
    return "\n".join(lines) + "\n"


def _part(kind: registry.PartKind, name: str, first: str, indent: str) -> Iterator[str]:
    part = registry.part(kind, name)
    yield from _prose((part.__doc__ or "").strip().partition("\n")[0])
    options = list(_options(part.Config, name, indent))
    yield f"#{first}" if options or first.endswith(name) else f"#{first} {{}}"
    yield from options


def _options(model: type[PartConfig], name: str, indent: str, only: str | None = None) -> Iterator[str]:
    paired = "username" in model.model_fields  # a password alone would be refused
    texts = model.descriptions() if only is None else {}
    for key, info in model.model_fields.items():
        if only in (None, key):
            yield from _prose(texts.get(key, ""))
            secret = not paired and SecretStr in (info.annotation, *get_args(info.annotation))
            yield f"#{indent}{key}: {_value(name, key, info, secret=secret)}"


def _prose(text: str) -> list[str]:
    """The first paragraph."""
    return [f"# {line}" for line in textwrap.wrap(text.strip().partition("\n\n")[0], 100)]


def _value(name: str, key: str, info: FieldInfo, *, secret: bool) -> str:
    """The default as YAML in one line, with an example behind a null; where there is none, an example."""
    default = info.get_default(call_default_factory=True)
    if default is None and secret:
        return f"${{{name}_{key}}}".upper()
    if default is None:
        return f"null  # such as {_yaml(info.examples[0])}" if info.examples else "null"
    if default is PydanticUndefined:
        variable = f"${{{name}_{key}}}".upper()
        if info.examples:
            return _yaml(info.examples[0])
        return f"['{variable}']" if get_origin(info.annotation) in (tuple, list) else variable
    return _yaml(default)


def _yaml(value: object) -> str:
    text = yaml.safe_dump(_dumped(value), default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _dumped(value: Any) -> Any:  # noqa: ANN401  (any default)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple | set | frozenset):
        return [_dumped(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _dumped(item) for key, item in value.items()}
    return value if isinstance(value, bool | int | float | str | None) else str(value)
