"""YAML reads the same with libyaml and without it, in values, lines and faults."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from logad.shipped import shipped
from logad.yaml_lines import Document, parse

needs_libyaml = pytest.mark.skipif(not yaml.__with_libyaml__, reason="this PyYAML comes without libyaml")
PIECES = (
    *("- ", "a", "b: ", "? ", ": ", "&x ", "*x", "!!str ", "!t ", "! ", "'q'", '"q"', '"\\u00e9"', "'", '"'),
    *("[", "]", "{", "}", ", ", "|\n", ">-\n", "#", " ", "  ", "\n", "\n\n", "\t", "\r\n", "\ufeff", "\x00"),
    *("---\n", "...\n", "%YAML 1.1\n", "true", "07", "1.5", "~", "é", "\x85", "\u2028", "\ud800", "😀"),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def without_libyaml(text: str) -> Document:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "__with_libyaml__", False)
        return parse(text, {"HOME": "/root"})


@needs_libyaml
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join) | st.text(max_size=20))
def test_any_text_reads_the_same_with_libyaml_and_without(text):
    assert parse(text, {"HOME": "/root"}) == without_libyaml(text)


@needs_libyaml
@given(VALUES, st.booleans() | st.none(), st.sampled_from([None, "'", '"', "|", ">"]))
def test_any_document_reads_the_same_with_libyaml_and_without(value, flow, style):
    text = yaml.safe_dump(value, default_flow_style=flow, default_style=style, allow_unicode=True)
    assert parse(text, {"HOME": "/root"}) == without_libyaml(text)


@needs_libyaml
@pytest.mark.parametrize("path", sorted(shipped("rules").glob("*.yaml")), ids=lambda path: path.name)
def test_the_shipped_rules_read_the_same_with_libyaml_and_without(path: Path):
    text = path.read_text(encoding="utf-8")
    assert parse(text, None).faults == []
    assert parse(text, {"HOME": "/root"}) == without_libyaml(text)
