"""The report on templates: it says what is wrong, its rules do what it says, and it is silent when all is well."""

import re

import command
import polars as pl
import pytest
import yaml
from command import wrote
from hypothesis import given, settings
from hypothesis import strategies as st

import logad
from logad.quality import findings
from logad.redaction import Redactor
from logad.rules import load

NAMES = [
    "ann",
    "bob",
    "cyd",
    "dan",
    "eve",
    "fay",
    "gus",
    "hal",
    "ivy",
    "jon",
    "kim",
    "leo",
    "mia",
    "ned",
    "oda",
    "pat",
    "quo",
    "ray",
    "sue",
    "tom",
]
STATES = ["QUEUED", "RUNNING", "FINISHED", "PAUSED", "CANCELLED", "STOPPED"]


def joining(number):
    return f"{NAMES[number % 12].capitalize()} joined the channel"


def loading(number):
    return f"loading module com.acme.{NAMES[number % 20]}.Main by {NAMES[number * 7 % 19]}-pool of us"


def job(number):
    return f"job build-{number}x is now {STATES[number % 6]}"


def beat(number):
    return f"beat {number}"


def took(number):
    return f"request {number} took {number % 9} ms"


def log(folder, *kinds, rounds=200):
    lines = [kind(number) for number in range(rounds) for kind in kinds]
    return wrote(folder / "app.log", lines)


def mined(path, folder, rules=None):
    """The result, by rules in a folder of the user's own where there are some."""
    config = folder / "logad.yaml"
    config.write_text(f"rules: [{folder / 'rules'}]\n" if rules else "")
    if rules:
        (folder / "rules").mkdir(exist_ok=True)
        for file, text in rules.items():
            (folder / "rules" / file).write_text(text)
    return logad.templates(path, config=config, state_dir=folder)


def found(result, kind):
    return [finding for finding in result.quality() if finding.kind == kind]


def test_nothing_is_said_where_all_is_well(tmp_path):
    assert mined(log(tmp_path, beat, took), tmp_path).quality() == ()


def test_many_templates_that_differ_in_one_word_are_found_and_the_rule_to_paste_makes_them_one(tmp_path):
    path = log(tmp_path, joining, beat)
    (finding,) = found(mined(path, tmp_path), "too split")
    assert finding.text.startswith("12 templates differ in one word of '<*> joined the channel': ")
    rule = finding.suggestion
    assert (rule.file, rule.before, rule.after) == ("masks.yaml", 12, 1)
    after = mined(path, tmp_path, {rule.file: rule.yaml})
    assert sorted(each.text for each in after.templates) == ["<*> joined the channel", "beat <NUM>"]
    assert after.quality() == ()


def test_words_that_look_alike_are_told_by_their_looks(tmp_path):
    texts = [
        f"error in com.acme.{name}.Main, called from {NAMES[at * 7 % 20]}-x by us"
        for at, name in enumerate(NAMES[:12])
    ]
    path = wrote(tmp_path / "app.log", [*texts, *map(beat, range(300))])
    (finding,) = found(mined(path, tmp_path), "too split")
    assert yaml.safe_load(finding.suggestion.yaml)[0]["regex"] == r"\bcom\.acme\.[\w.-]+"
    rule = finding.suggestion
    assert len(mined(path, tmp_path, {rule.file: rule.yaml}).templates) == rule.after + 1


@pytest.mark.parametrize("rounds", [200, 1500])
def test_a_word_that_looks_like_a_state_is_found_and_the_rule_keeps_it_apart(tmp_path, rounds):
    path = log(tmp_path, job, beat, rounds=rounds)
    (finding,) = found(mined(path, tmp_path), "state")
    assert "'job <ID> is now <*>' holds what looks like states: " in finding.text
    rule = finding.suggestion
    assert (rule.file, rule.before, rule.after) == ("templates.yaml", 1, 6)
    after = mined(path, tmp_path, {rule.file: rule.yaml})
    assert {each.text for each in after.templates} == {
        "beat <NUM>",
        *(f"job <ID> is now {state}" for state in STATES),
    }
    assert after.quality() == ()


def test_words_that_came_once_each_are_no_set_of_states():
    states = [f"job is now {state}" for state in STATES]
    (said,) = findings([Seen("job is now <*>", 18, states * 3)], load())
    assert said.kind == "state"
    assert findings([Seen("job is now <*>", 6, states)], load()) == ()


def test_a_template_is_in_one_finding_only():
    seen = [
        Seen(f"{one} gave {two} away", 9, [f"{one} gave {two} away"])
        for one in NAMES[:5]
        for two in NAMES[5:10]
    ]
    (said,) = findings(seen, load())
    assert said.text.startswith("25 templates differ in two words of '<*> gave <*> away'")


def test_names_are_no_states(tmp_path):
    path = log(tmp_path, lambda number: f"fed the {NAMES[number % 7]}", beat)
    assert mined(path, tmp_path).quality() == ()


def test_states_at_the_beginning_are_not_said_to_be_too_split(tmp_path):
    path = log(tmp_path, lambda number: f"{STATES[number % 6].capitalize()} the job {number}", beat)
    assert found(mined(path, tmp_path), "too split") == []


def test_records_in_templates_seen_once_are_counted(tmp_path):
    odd = [f"{'x' * (n + 1)} was odd in {'y' * (20 - n)} ways {'of its own ' * n}" for n in range(12)]
    path = wrote(tmp_path / "app.log", [*odd, *map(beat, range(288))])
    (finding,) = found(mined(path, tmp_path), "seen once")
    assert finding.text == "4.0% of 300 records are in 12 templates seen once"


class Seen:
    def __init__(self, text, count, texts):
        self.text, self.count, self.texts = text, count, pl.Series(texts, dtype=pl.String)


def test_a_template_that_says_nothing_is_too_general():
    nothing = Seen("<*> <*> of <*> <NUM> <*>", 500, ["a b of c 1 d"])
    said = findings([nothing, Seen("<NUM> <IP>", 900, ["5 ::1"]), Seen("fed <*>", 99, ["fed ann"])], load())
    assert [(each.kind, each.text) for each in said] == [
        ("too general", "500 records are of the template '<*> <*> of <*> <NUM> <*>'")
    ]


def test_secrets_are_neither_in_what_is_said_nor_in_the_rules(tmp_path):
    texts = [
        f"{name}@example.org joined as {name} with password=hunter{at} today" for at, name in enumerate(NAMES)
    ]
    seen = [
        Seen(f"<EMAIL> joined as {name} with password=<*> today", 30, [text] * 3)
        for name, text in zip(NAMES, texts, strict=True)
    ]
    said = [str(each.as_dict()) for each in findings(seen, load(), Redactor().text)]
    assert said
    assert not [each for each in said if "hunter" in each or "example.org" in each]


WORD = st.text("abcXYZ019.-_<>*$(é", min_size=1, max_size=5)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.lists(WORD, min_size=1, max_size=4).map(" ".join), st.integers(1, 50)), max_size=12)
)
def test_any_templates_are_survived_and_every_rule_keeps_its_samples(rows):
    seen = [Seen(text, count, [text] * min(count, 3)) for text, count in rows]
    for finding in findings(seen, load()):
        if finding.suggestion is not None:
            (rule,) = yaml.safe_load(finding.suggestion.yaml)
            assert rule["matches"]


def test_a_suggestion_leaves_other_templates_as_they_are(tmp_path):
    def other(number):
        return f"{STATES[number % 3].capitalize()} joined the channel of {number} late"

    usual = [beat, took, *(lambda number, word=word: f"{word} {number}" for word in NAMES[:3])]
    path = log(tmp_path, joining, other, *usual)
    before = {each.text for each in mined(path, tmp_path).templates if "late" in each.text}
    assert len(before) == 3
    (finding,) = found(mined(path, tmp_path), "too split")
    rule = finding.suggestion
    after = {each.text for each in mined(path, tmp_path, {rule.file: rule.yaml}).templates}
    assert before <= after
    assert len(after) == 1 + 3 + 5


def test_the_command_prints_the_report_below_the_list_and_nowhere_else(tmp_path):
    path = log(tmp_path, joining, beat)

    def ran(*args):
        return command.ran("templates", path, *args, state=tmp_path).stdout

    rows, _, report = ran().partition("\n\n")
    assert len(rows.splitlines()) == 13
    assert report.startswith("too split   12 templates differ in one word")
    start = re.search(r"^- name:", report, re.MULTILINE).start()
    assert load([rules_of(tmp_path, report[start:])]).masks[0].placeholder == "<*>"
    assert "too split" not in ran("--format", "jsonl") + ran("--format", "csv") + ran("--format", "json")


def rules_of(folder, text):
    (folder / "pasted").mkdir()
    (folder / "pasted" / "masks.yaml").write_text(text)
    return folder / "pasted"


def test_training_tells_it_too(tmp_path):
    result = logad.train(log(tmp_path, joining, beat), model="m", window_records=20, state_dir=tmp_path)
    assert [finding.kind for finding in result.quality] == ["too split"]
