"""Reads YAML into plain values that remember the line each of them stands on."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import yaml

KeyPath = tuple[str | int, ...]
"""The way to a value: the keys of mappings and the positions in lists."""

_TEXT_TAG: Final = "tag:yaml.org,2002:str"
_PLAIN_TAGS: Final = frozenset({_TEXT_TAG, "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"})
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None, "~": None, "": None}
_WHOLE: Final = re.compile(r"[-+]?(?:0|[1-9]\d{0,17})")
_DECIMAL: Final = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d{1,3})?")
_VARIABLE: Final = re.compile(r"\$\$|\$\{([^}]*)\}")

_READ_APART: Final = re.compile(r"[^\n -~\u00a0-\u2027\u202a-\ud7ff]|^(?:---|%)", re.MULTILINE)
"""Tabs, rare line breaks and heads of documents, on which libyaml and PyYAML do not agree."""


class Fault(NamedTuple):
    """Something wrong with the document, on a line of it (0 where it is about no line)."""

    line: int
    key: KeyPath
    found: str
    expected: str
    advice: str = ""


@dataclass
class Document:
    """What a text says: its values, their lines, what came out of variables, and what is wrong with it."""

    value: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    expanded: set[KeyPath] = field(default_factory=set)  # values that hold the text of a variable
    faults: list[Fault] = field(default_factory=list)


def parse(text: str, environ: Mapping[str, str] | None) -> Document:
    r"""The document in a text; every fault is noted, none is raised.

    Words are read as in YAML 1.2, so that `no`, `12:30` and `2024-01-01` stay texts. `${VAR}` stands for a
    variable of `environ` and `$$` for a dollar; where `environ` is None both stay as they are. Tags, anchors
    and a second document are faults, as is a key given twice.

    >>> document = parse("sinks:\n- {type: sqlite, path: '${HOME}/v'}", {"HOME": "/root"})
    >>> document.value
    {'sinks': [{'type': 'sqlite', 'path': '/root/v'}]}
    >>> document.lines["sinks", 0, "path"]
    2
    """
    document = Document()
    try:
        root = _composed(text)
        if root is not None:
            document.value = _Reading(document, environ).value(root, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        found = " ".join(part for part in (error.problem, error.context) if part)
        document.faults.append(Fault(mark.line + 1 if mark else 0, (), found, "YAML"))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        document.faults.append(
            Fault(line, (), f"the character U+{error.character:04X}", "YAML, which has none such")
        )
    except RecursionError:
        document.faults.append(Fault(0, (), "values nested too deeply", "a few levels"))
    return document


def number_or_word(text: str) -> str | float | bool | None:
    """What an unquoted word means: true, false, null, a number or itself.

    >>> [number_or_word(text) for text in ("true", "7", "0.5", "no", "12:30", "007")]
    [True, 7, 0.5, 'no', '12:30', '007']
    """
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


class _NoAnchors(yaml.composer.Composer):
    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401  (PyYAML's)
        event = self.peek_event()  # type: ignore[attr-defined]
        if getattr(event, "anchor", None) is not None:
            raise yaml.composer.ComposerError(None, None, "an anchor or alias", event.start_mark)
        return super().compose_node(parent, index)


class _Loader(_NoAnchors, yaml.BaseLoader):
    """Reads with PyYAML alone."""


if yaml.__with_libyaml__:

    class _FastLoader(_NoAnchors, yaml.CBaseLoader):
        """Reads with libyaml, several times faster."""

        def __init__(self, text: str) -> None:
            yaml.CBaseLoader.__init__(self, str(text))  # which takes no text of a kind of its own
            yaml.composer.Composer.__init__(self)


def _composed(text: str) -> yaml.Node | None:
    if yaml.__with_libyaml__ and not _READ_APART.search(text):
        # What libyaml refuses, PyYAML is asked about: faults read the same wherever the program runs.
        with suppress(yaml.YAMLError):
            return _FastLoader(text).get_single_node()
    return _Loader(text).get_single_node()


@dataclass
class _Reading:
    """One walk over the nodes of a document, which it fills."""

    document: Document
    environ: Mapping[str, str] | None

    def value(self, node: yaml.Node, path: KeyPath) -> Any:  # noqa: ANN401  (any value of a document)
        line = node.start_mark.line + 1
        self.document.lines.setdefault(path, line)
        if node.tag not in _PLAIN_TAGS:
            self._fault(line, path, f"the tag {node.tag}", "a value without a tag")
            return None
        if isinstance(node, yaml.MappingNode):
            return {key: self.value(value, (*path, key)) for key, value in self._entries(node, path)}
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, position)) for position, item in enumerate(node.value)]
        return self._word(node, line, path)

    def _word(self, node: yaml.Node, line: int, path: KeyPath) -> str | float | bool | None:
        text: str = node.value
        if self.environ is not None and "$" in text:
            return self._expanded(text, line, path)
        plain = not getattr(node, "style", None)
        return number_or_word(text) if plain else text

    def _entries(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[str, yaml.Node]]:
        seen: set[str] = set()
        for key_node, value in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._fault(line, path, "a list or mapping as a key", "a word as a key")
                continue
            key: str = key_node.value
            if key in seen:
                self._fault(line, (*path, key), "the key twice", "it once", "delete one of them")
                continue
            seen.add(key)
            self.document.lines[*path, key] = line
            yield key, value

    def _expanded(self, text: str, line: int, path: KeyPath) -> str:
        def replaced(match: re.Match[str]) -> str:
            name: str | None = match[1]
            if name is None:
                return "$"
            self.document.expanded.add(path)
            if self.environ is not None and name in self.environ:
                return self.environ[name]
            missing = f"${{{name}}}, which is not set"
            self._fault(
                line, path, missing, "a variable of the environment", f"export {name}, or use $$ for $"
            )
            return ""

        return _VARIABLE.sub(replaced, text)

    def _fault(self, line: int, path: KeyPath, found: str, expected: str, advice: str = "") -> None:
        self.document.faults.append(Fault(line, path, found, expected, advice))
