"""Templates: no value survives in one, equal shapes are one, known faults of miners do not show."""

import re

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from logad import masking
from logad.canonical import canonical
from logad.rules import load

RULES = load()
TEXTS = st.lists(st.text("aZfxkKsäж处0159 ._-:=/()<>%#@,\"'\\T") | st.text(st.characters(exclude_categories=["Cs"])))


def shapes(*texts):
    return masking.shapes(pl.Series(texts, dtype=pl.String), RULES.masks)["shape"].to_list()


@settings(max_examples=100, deadline=None)
@given(texts=TEXTS)
def test_no_value_survives_in_a_template(texts):
    for shape in shapes(*texts):
        assert not re.search(r"[0-9]{2}|0x0", shape), shape


@settings(max_examples=100, deadline=None)
@given(texts=TEXTS)
def test_the_template_of_a_text_is_that_of_its_canonical_form(texts):
    heads = masking.heads(pl.Series(texts, dtype=pl.String))
    assert shapes(*texts) == masking.masked(masking.flattened(heads), RULES.masks).to_list()
    assert [canonical(head) for head in heads] == masking.flattened(heads).to_list()
