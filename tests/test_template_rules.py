"""Rules about templates: pinned, split, merged, renamed and ignored by text, each held to its samples."""

import re

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from logad.errors import ConfigError
from logad.pinning import IGNORED, check, names, pinned
from logad.rules import Rules, TemplateRule, digest, load
from logad.shipped import shipped


def rule(**what):
    return TemplateRule(name="r", **what)


def given_to(shapes, *rules):
    return pinned(pl.Series(shapes, dtype=pl.String), rules).to_list()


def written(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "templates.yaml").write_text(text)
    return folder


def test_the_shipped_rules_leave_templates_alone_and_show_how_it_is_done():
    assert load().templates == ()
    text = (shipped("rules") / "templates.yaml").read_text()
    entries = "\n".join(
        line.removeprefix("# ") for line in text.splitlines() if line.startswith(("# - ", "#   "))
    )
    entries = entries[entries.index("- name: job-states") :]
    examples = tuple(TemplateRule.model_validate(entry) for entry in yaml.safe_load(entries))
    assert [example.action for example in examples] == ["split", "merge", "ignore"]
    assert check(Rules(load().masks, (), (), (), examples)) == []


def test_a_pin_holds_from_end_to_end_and_for_the_type_it_names():
    shapes = ["took <NUM> ms", "took <NUM>", "it took <NUM>", "took <IP>", "took <NUM> of <NUM>"]
    assert given_to(shapes, rule(pin="took <NUM>")) == [None, "took <NUM>", None, None, None]
    assert given_to(shapes, rule(pin="took  <*>")) == ["took <*>", "took <*>", None, "took <*>", "took <*>"]


def test_what_looks_like_a_regular_expression_is_plain_text():
    text = "a.b (c|d) [e] x+ $1 ^ \\d {2} #"
    assert given_to([text, text.replace(".", "-"), "axb"], rule(pin=text)) == [text, None, None]


def test_a_split_keeps_words_apart_and_other_variables_together():
    shapes = ["job <ID> of ann is up", "job <ID> of bob is up", "job <ID> of bob is down", "job <ID> is up"]
    assert given_to(shapes, rule(split="job <ID> of <*> is <*>", word=6)) == [
        "job <ID> of <*> is up",
        "job <ID> of <*> is up",
        "job <ID> of <*> is down",
        None,
    ]
    assert given_to(shapes[:1], rule(split="job <ID> of <*> is <*>")) == ["job <ID> of ann is up"]


def test_a_split_may_name_the_words_that_stay_apart():
    states = rule(split="state=<*>, since <TIME>", values="UP|DOWN")
    shapes = [f"state={word}, since <TIME>" for word in ("UP", "DOWN", "UPPER", "odd word", "<NUM>")]
    assert given_to(shapes, states) == [
        "state=UP, since <TIME>",
        "state=DOWN, since <TIME>",
        *["state=<*>, since <TIME>"] * 3,
    ]


def test_several_texts_become_one():
    merged = rule(merge=["<*> joined", "<*> left"], into="<*> came or went")
    assert given_to(["ann joined", "bob left", "bob slept"], merged) == ["<*> came or went"] * 2 + [None]


def test_the_first_rule_that_fits_decides_and_a_rename_changes_no_template():
    shapes = ["beat <NUM>", "beat it"]
    renamed, ignored, pin = (
        rule(rename="beat <*>", to="pulse"),
        rule(ignore="beat <NUM>"),
        rule(pin="beat <*>"),
    )
    assert given_to(shapes, renamed, ignored, pin) == [IGNORED, "beat <*>"]
    assert given_to(shapes, pin, ignored) == ["beat <*>"] * 2
    assert given_to(shapes, renamed) == [None, None]
    assert names([pin, renamed, rule(rename="beat  <*>", to="later")]) == {"beat <*>": "pulse"}


TOKENS = st.sampled_from(["a", "b", "<NUM>", "<IP>", "(x)", "c."])
LINES = st.lists(TOKENS, min_size=1, max_size=5).map(" ".join)
PATTERNS = st.lists(st.one_of(TOKENS, st.just("<*>")), min_size=1, max_size=4).map(" ".join)


@settings(deadline=None)
@given(st.lists(LINES, max_size=8), st.lists(PATTERNS, max_size=4))
def test_pins_agree_with_one_message_at_a_time(shapes, texts):
    def of_one(shape):
        fitting = (
            text for text in texts if re.fullmatch(".+".join(map(re.escape, text.split("<*>"))), shape)
        )
        return next(fitting, None)

    assert given_to(shapes, *(rule(pin=text) for text in texts)) == [of_one(shape) for shape in shapes]


@settings(deadline=None)
@given(st.lists(LINES, max_size=8), PATTERNS)
def test_a_split_gives_every_fitting_shape_a_text_that_fits_it(shapes, text):
    if "<*>" not in text:
        text += " <*>"
    for shape, split in zip(shapes, given_to(shapes, rule(split=text)), strict=True):
        (pin,) = given_to([shape], rule(pin=text))
        assert (split is None) == (pin is None)
        if split is not None:
            assert given_to([shape], rule(pin=split)) == [split]


@pytest.mark.parametrize(
    ("what", "fault"),
    [
        ("", "found none; give one of pin, split, merge, rename, ignore"),
        (", pin: a, ignore: b", "found pin and ignore; give one of"),
        (", merge: [a, b]", "`merge` and `into` go together"),
        (", pin: a, into: b", "`merge` and `into` go together"),
        (", rename: a", "`rename` and `to` go together"),
        (", pin: a, values: x", "`word` and `values` go with `split`"),
        (", split: a b", "`split` needs a <*>"),
        (", split: 'a <*>', word: 1", "`split` needs a <*>"),
        (", split: 'a <*>', word: 7", "`split` needs a <*>"),
        (", split: 'a <*>', values: '(?=x)'", "not a regular expression of the Rust kind"),
        (", pin: a, colour: red", "Extra inputs"),
    ],
)
def test_a_rule_that_does_no_one_thing_is_a_fault_with_its_line(tmp_path, what, fault):
    with pytest.raises(ConfigError) as caught:
        load([written(tmp_path / "mine", f"- {{name: x{what}}}\n")])
    (problem,) = caught.value.problems
    assert fault in problem
    assert "templates.yaml:1" in problem


def test_samples_are_messages_read_as_the_masks_read_them(tmp_path):
    user = written(
        tmp_path / "mine",
        "- {name: good, pin: 'took <NUM> at <IP>', matches: [took 5 ms at 10.0.0.7], misses: [took long]}\n"
        "- {name: bad, ignore: 'code 404', matches: [code 404], misses: [code 500]}\n"
        "- {name: wide, ignore: '<*>', matches: [x], misses: [y]}\n"
        "- {name: bare, pin: x}\n",
    )
    assert check(load([user])) == [
        "template rule 'bad' does not match its sample 'code 404', which the masks read as 'code <NUM>'",
        "template rule 'wide' matches its counter-sample 'y', which the masks read as 'y'",
        "template rule 'bare' has no samples; expected `matches` and `misses`",
    ]


def test_a_users_rule_replaces_the_one_of_its_name_in_an_earlier_folder(tmp_path):
    one = written(tmp_path / "one", "- {name: a, pin: first}\n- {name: b, pin: other}\n")
    two = written(tmp_path / "two", "- {name: a, pin: second}\n")
    assert [each.pin for each in load([one, two]).templates] == ["second", "other"]


def test_what_is_pinned_decides_verdicts_and_what_is_renamed_does_not():
    bare = load()
    renamed = rule(rename="a", to="b")
    assert digest(Rules(bare.masks, (), (), (), (renamed,))) == digest(Rules(bare.masks, (), ()))
    assert digest(Rules(bare.masks, (), (), (), (rule(pin="a"),))) != digest(Rules(bare.masks, (), ()))
