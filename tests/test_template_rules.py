"""Rules about templates: pinned, split, merged, renamed and ignored by text, each held to its samples."""

import re
from datetime import UTC, datetime

import polars as pl
import pytest
import yaml
from command import accounts, ran, steady, wrote
from hypothesis import given, settings
from hypothesis import strategies as st

import logad
from logad.detection import Overrides
from logad.errors import ConfigError
from logad.intake import Intake
from logad.mining import Miner
from logad.pinning import IGNORED, check, names, pinned
from logad.rules import Rules, TemplateRule, digest, load
from logad.shipped import shipped
from logad.telemetry import Telemetry
from logad.types import Buffer


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


# In a run ---------------------------------------------------------------------------------------------------


def ruled(folder, rules):
    """A configuration with these template rules."""
    written(folder / "rules", rules)
    config = folder / "logad.yaml"
    config.write_text(f"rules: [{folder / 'rules'}]\n")
    return config


def texts(log, folder, rules=""):
    result = logad.templates(log, config=ruled(folder, rules), state_dir=folder)
    return {each.text: each.count for each in result.templates}


def test_a_run_follows_what_is_pinned_split_and_merged(tmp_path):
    words = ["ant", "bee", "cat", "dog", "eel", "fox"]
    log = wrote(
        tmp_path / "app.log", [line for word in words for line in (f"fed the {word}", f"{word} ate 5 mice")]
    )
    assert texts(log, tmp_path)["fed the <*>"] == 6
    split = "- {name: fed, split: 'fed the <*>', values: ant|bee}\n"
    assert (
        texts(log, tmp_path, split).items() >= {"fed the ant": 1, "fed the bee": 1, "fed the <*>": 4}.items()
    )
    merged = "- {name: both, merge: ['fed the <*>', '<*> ate <NUM> mice'], into: 'a meal of <*>'}\n"
    assert texts(log, tmp_path, merged) == {"a meal of <*>": 12}
    assert texts(log, tmp_path, "- {name: pin, pin: 'fed <*>'}\n")["fed <*>"] == 6


def test_a_name_is_shown_and_the_id_stays(tmp_path):
    log = wrote(tmp_path / "app.log", [f"took {n} ms" for n in range(9)])
    (before,) = logad.templates(log, state_dir=tmp_path).templates
    config = ruled(tmp_path, "- {name: slow, rename: 'took <NUM>', to: slow query}\n")
    (after,) = logad.templates(log, config=config, state_dir=tmp_path).templates
    assert (before.name, after.name) == (None, "slow query")
    assert after.template.template_id == before.template.template_id
    assert "name" not in before.as_dict()
    assert after.as_dict()["name"] == "slow query"
    assert "slow query = took <NUM>" in ran("templates", log, "--config", config, state=tmp_path).stdout


@pytest.mark.parametrize("command", ["templates", "scan", "backtest"])
def test_what_is_ignored_is_a_counted_drop_and_judged_by_nobody(tmp_path, command):
    log = wrote(tmp_path / "app.log", steady(600, 300))
    config = ruled(
        tmp_path, "- {name: beat, ignore: 'beat <NUM>'}\n- {name: disk, ignore: 'disk failure <*>'}\n"
    )
    stats = tmp_path / "stats.json"
    done = ran(command, log, "--config", config, "--stats", stats, "--format", "jsonl", state=tmp_path)
    assert done.returncode == 0, done.stderr
    told = accounts(stats)
    assert told["dropped"] == {"ignored": 120}
    assert told["records"] == 480
    assert "disk failure" not in done.stdout
    assert "beat" not in done.stdout
    assert IGNORED not in done.stdout


RULES = Rules(
    load().masks,
    load().severities,
    (),
    (),
    (rule(split="state <*> of <*>", word=2), rule(pin="user <*>"), rule(ignore="beat <*>")),
)
MESSAGES = st.lists(
    st.sampled_from(
        [f"state {word} of {n}" for word in "abcdefg" for n in (7, "x")]
        + [f"user {w}" for w in "abc"]
        + ["beat 5", "odd one", "odd two"]
    ),
    min_size=1,
    max_size=30,
)


@settings(deadline=None)
@given(MESSAGES, st.integers(0, 30))
def test_what_rules_say_holds_in_batches_and_in_a_miner_that_is_rebuilt(messages, cut):
    frame = pl.DataFrame({"text": messages, "level": pl.Series([2] * len(messages), dtype=pl.UInt8)})
    whole, parts = Miner(RULES), Miner(RULES)
    assigned = whole.assign(frame)
    pieces = [parts.assign(frame[:cut]), parts.assign(frame[cut:])]
    assert [code for piece in pieces for code in piece["template"]] == assigned["template"].to_list()
    assert parts.vocabulary == whole.vocabulary
    again = Miner.rebuilt(whole.shapes(), RULES, crowds=whole.crowds())
    assert again.vocabulary == whole.vocabulary
    text = {template.code: template.text for template in whole.vocabulary}
    assert not [message for message in assigned["text"] if message.startswith("beat")]
    for message, code in assigned.select("text", "template").iter_rows():
        if message.startswith("state"):
            assert text[code] == f"state {message.split()[1]} of <*>"
        elif message.startswith("user"):
            assert text[code] == "user <*>"


def test_time_goes_on_with_records_that_a_rule_ignores():
    telemetry = Telemetry()
    intake = Intake(Miner(RULES, telemetry), Overrides(), telemetry, lambda *_: None)
    lines = "".join(f"2024-03-04 00:00:{n:02} INFO {'odd one' if n < 3 else 'beat 5'}\n" for n in range(60))
    records = intake.take([Buffer("a", "a.log", lines.encode(), 1, "1")], flush=None)
    assert (records.height, telemetry.records, telemetry.dropped["ignored"]) == (3, 3, 57)
    (newest,) = intake.newest().values()
    assert newest == datetime(2024, 3, 4, 0, 0, 59, tzinfo=UTC).timestamp() * 1_000_000


def test_words_that_a_rule_names_stay_words_in_any_crowd(tmp_path):
    names = [f"{a}{b}{a}" for a in "bcdfghklm" for b in "aeiou"]
    log = wrote(tmp_path / "app.log", [f"fed the {name} today" for name in [*names, "zebra", "zebra"]])
    assert "fed the zebra today" not in texts(log, tmp_path)
    pinned = "- {name: z, pin: 'fed the zebra <*>'}\n"
    assert texts(log, tmp_path, pinned)["fed the zebra <*>"] == 2
    split = "- {name: s, split: 'fed the <*> <*>', word: 3, values: 'zebra|yak'}\n"
    assert texts(log, tmp_path, split)["fed the zebra <*>"] == 2
