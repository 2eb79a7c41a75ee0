"""Rules: shipped ones hold their samples, users' files win, and every fault is told at once."""

from datetime import UTC, datetime, timedelta

import pytest
import yaml

from logad.errors import ConfigError
from logad.rules import Mute, Rules, add_mute, check_rules, load
from logad.shipped import shipped

NOW = datetime(2024, 5, 1, tzinfo=UTC)


def written(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def faults(*folders):
    with pytest.raises(ConfigError) as caught:
        load(folders)
    return caught.value.problems


def test_every_shipped_rule_finds_its_samples_and_leaves_the_others():
    assert check_rules(load()) == []


def test_the_shipped_rules_mute_nothing_and_show_how_it_is_done():
    assert load().mutes == ()
    example = (shipped("rules") / "mutes.yaml").read_text()
    entry = "\n".join(
        line.removeprefix("# ") for line in example.splitlines() if line.startswith(("# - ", "#   "))
    )
    assert Mute.model_validate(yaml.safe_load(entry)[0]).service == "backup"


def test_a_user_rule_comes_first_and_replaces_the_shipped_one_of_its_name(tmp_path):
    user = written(
        tmp_path / "mine",
        masks="- {name: order, regex: 'ord-\\d+', placeholder: <ORDER>}\n- {name: uuid, regex: u, placeholder: <U>}",
    )
    masks = load([user]).masks
    assert [mask.name for mask in masks[:2]] == ["order", "uuid"]
    assert masks[1].placeholder == "<U>"
    assert len([mask for mask in masks if mask.name == "uuid"]) == 1
    assert len(masks) == len(load().masks) + 1


def test_the_last_of_several_folders_comes_first(tmp_path):
    one = written(tmp_path / "one", masks="- {name: a, regex: a, placeholder: <A>}")
    two = written(tmp_path / "two", masks="- {name: b, regex: b, placeholder: <B>}")
    assert [mask.name for mask in load([one, two]).masks[:2]] == ["b", "a"]


def test_all_faults_are_told_at_once_each_with_its_line(tmp_path):
    user = written(
        tmp_path / "mine",
        masks="- name: good\n  regex: a\n  placeholder: <A>\n- name: bad\n  regex: '(?=ahead)'\n  placeholder: A\n  colour: red\n",
        severities="- name: open\n  regex: '('\n",
        mutes="- name: aimless\n  reason: tired\n",
        colours="[]\n",
    )
    problems = faults(user)
    told = "\n".join(problems).replace(str(user), "")
    assert "/masks.yaml:5: regex: not a regular expression of the Rust kind" in told
    assert "look-around" in told
    assert "/masks.yaml:6: placeholder:" in told
    assert "/masks.yaml:7: colour: Extra inputs are not permitted" in told
    assert "/severities.yaml:2: regex:" in told
    assert "/mutes.yaml:1: give at least one of service, template_id and regex" in told
    assert "/colours.yaml: not a kind of rule" in told
    assert len(problems) == 6


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("- name: [\n", "expected YAML"),
        ("name: a\n", "found dict; expected a list of rules"),
        ("- just a word\n", ":1: "),
        ("- {name: a, regex: a}\n- {name: a, regex: b}\n", ":2: a second rule is called 'a'"),
    ],
)
def test_a_file_that_is_no_list_of_rules_says_so(tmp_path, text, fault):
    (problem,) = faults(written(tmp_path / "mine", severities=text))
    assert fault in problem


def test_a_missing_folder_is_a_fault_and_an_empty_file_is_not(tmp_path):
    assert "no such folder" in faults(tmp_path / "nowhere")[0]
    assert load([written(tmp_path / "mine", masks="# nothing yet\n")]) == load()


def test_a_rule_that_breaks_its_samples_or_has_none_is_reported(tmp_path):
    user = written(
        tmp_path / "mine",
        masks="- {name: ten, regex: '10\\.', placeholder: <TEN>, matches: ['net 10.0.0.1'], misses: ['x 1.']}\n",
        severities="- {name: bare, regex: a}\n- {name: wide, regex: a, matches: [a], misses: [bab]}\n",
    )
    assert check_rules(load([user])) == [
        "mask 'ten' does not match its sample 'net 10.0.0.1'",  # digits in a row are read as zeros
        "severity 'bare' has no samples; expected `matches` and `misses`",
        "severity 'wide' matches its counter-sample 'bab'",
    ]


@pytest.mark.parametrize(
    ("aim", "covered"),
    [
        ({"service": "db"}, True),
        ({"service": "web"}, False),
        ({"template_id": "aa"}, True),
        ({"template_id": "bb"}, False),
        ({"regex": "snapshot .* failed"}, True),
        ({"regex": "restore"}, False),
        ({"service": "db", "regex": "restore"}, False),
        ({"service": "db", "until": NOW + timedelta(hours=1)}, True),
        ({"service": "db", "until": NOW}, False),
    ],
)
def test_a_mute_covers_what_fits_all_it_says_until_it_ends(aim, covered):
    mute = Mute(name="m", reason="known", **aim)
    assert (Rules((), (), (mute,)).muted("db", "aa", "snapshot of a failed", NOW) is mute) == covered


def test_a_mute_that_is_added_is_in_force_and_leaves_what_stood_there(tmp_path):
    folder = tmp_path / "rules"
    first = Mute(name="first", service="db", reason="known: «später»", until=NOW)
    path = add_mute(folder, first)
    path.write_text("# mine\n" + path.read_text())
    second = Mute(name="second", regex=r"a\d+ 'x'", reason="noise")
    assert add_mute(folder, second) == path
    assert path.read_text().startswith("# mine\n- name: first\n")
    assert load([folder]).mutes == (first, second)
    assert [file.name for file in folder.iterdir()] == ["mutes.yaml"]
    with pytest.raises(ConfigError, match="already called 'first'"):
        add_mute(folder, first)


def test_a_broken_file_of_mutes_is_not_added_to(tmp_path):
    folder = written(tmp_path / "rules", mutes="- name: x\n")
    with pytest.raises(ConfigError, match="broken"):
        add_mute(folder, Mute(name="m", service="db", reason="known"))
    assert (folder / "mutes.yaml").read_text() == "- name: x\n"


def test_an_empty_list_of_mutes_can_be_added_to(tmp_path):
    folder = written(tmp_path / "rules", mutes="[]\n")
    mute = Mute(name="m", service="db", reason="known")
    add_mute(folder, mute)
    assert load([folder]).mutes == (mute,)
