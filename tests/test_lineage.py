"""What lasts of templates: ids and their lineage, the state of a miner, two miners in one, bounds."""

import itertools
import json
import random
import re
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logad.errors import StateError
from logad.hashing import HashTable
from logad.lineage import Descent, FollowingMutes, Lineage
from logad.mining import OVERFLOW, Miner
from logad.novelty import LEARNING
from logad.remembering import Known
from logad.rules import Mute, Rules, load
from logad.telemetry import Telemetry
from logad.words import Flat, Words

RULES = load()
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def distinct(texts, **columns):
    return pl.DataFrame(
        {"text": texts, "level": [2] * len(texts), "len": [1] * len(texts), **columns},
        schema_overrides={"text": pl.String, "level": pl.UInt8, "len": pl.UInt32},
    )


def noise(count, seed=0, sizes=(2, 12)):
    chance = random.Random(seed)

    def word():
        return "".join(chance.choices(LETTERS, k=chance.randint(3, 10)))

    return [" ".join(word() for _ in range(chance.randint(*sizes))) for _ in range(count)]


def blurred(count, seed=0):
    """Messages of five kinds, a random word in a tenth of the places."""
    chance = random.Random(seed)
    kinds = [
        "PacketResponder 1 for block blk_38865049064139660 terminating",
        "Received block blk_3587508140051953248 of size 67108864 from 10.251.42.84",
        "Served block blk_-1608999687919862906 to 10.250.19.102",
        "Verification succeeded for blk_-1608999687919862906",
        "instruction cache parity error corrected",
    ]
    return [
        " ".join(
            "".join(chance.choices(LETTERS, k=6)) if chance.random() < 0.1 else word
            for word in chance.choice(kinds).split()
        )
        for _ in range(count)
    ]


words = st.sampled_from(
    [
        "alpha",
        "beta",
        "gamma",
        "10",
        "7ms",
        "error",
        "blk_77",
        "10.0.0.1",
        "x=3",
        "(y)",
        "()",
        "<*>",
        "ä",
        "/a/b",
    ]
)
texts = st.lists(st.lists(words, max_size=5).map(" ".join), max_size=30)


def of(rows, **options):
    miner = Miner(RULES, **options)
    return miner, miner.codes(distinct(rows)).to_list()


def standing_ids(miner):
    return {miner.vocabulary[code].template_id for code in set(miner.standing().tolist())}


# Lineage ------------------------------------------------------------------------------------------


def test_the_id_a_template_gave_up_is_told_with_the_time_of_the_record_that_showed_it():
    miner = Miner(RULES)
    animals = ["ant", "bee", "cat", "dog", "eel"]
    times = pl.Series([NOON.replace(minute=minute) for minute in range(5)], dtype=pl.Datetime("us", "UTC"))
    miner.codes(distinct([f"fed the {animal}" for animal in animals], time=times))
    became = miner.vocabulary[0].template_id
    events = miner.lineage()
    assert [event.became_id for event in events] == [became] * 5
    assert {event.was_id for event in events} | {became} == set(miner.family(became))
    assert {event.when for event in events} == {NOON.replace(minute=4)}
    assert {event.reason for event in events} == {"a word varies"}


def test_without_times_a_template_still_has_its_lineage():
    miner, _ = of(["from 10.0.0.1 closed", "from web.example.org closed"])
    assert [event.when for event in miner.lineage()] == [None]


@settings(max_examples=60, deadline=None)
@given(rows=texts)
def test_every_id_ever_given_leads_to_a_template_that_stands(rows):
    miner = Miner(RULES)
    given_out = set()
    for row in rows:
        miner.codes(distinct([row]))
        given_out |= {template.template_id for template in miner.vocabulary}
    assert given_out <= standing_ids(miner) | set(miner.aliases())
    for identity, code in miner.aliases().items():
        assert miner.vocabulary[code].template_id in miner.family(identity)


def test_a_mute_by_an_old_id_covers_what_became_of_the_template():
    miner, _ = of([f"fed the {animal}" for animal in ("ant", "bee", "cat", "dog")])
    muted = miner.vocabulary[2].template_id
    miner.codes(distinct(["fed the eel"]))
    now = miner.vocabulary[0].template_id
    rules = Rules((), (), (Mute(name="fed", template_id=muted, reason="known"),))
    assert rules.muted("zoo", now, "fed the eel", NOON) is None
    mutes = FollowingMutes(rules, miner.family)
    assert mutes.muted("zoo", now, "fed the eel", NOON) is not None
    assert mutes.muted("zoo", "0" * 16, "fed the eel", NOON) is None
    assert mutes.muted("zoo", None, "fed the eel", NOON) is None


def test_families_of_ids_join_whichever_is_larger():
    lineage = Lineage([Descent(was, became, None, "") for was, became in ("ab", "cb", "de", "eb")])
    assert set(lineage.family("d")) == set("abcde")
    assert lineage.family("d")[0] == "d"


# State --------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(rows=texts, more=texts)
def test_a_restored_miner_goes_on_as_if_nothing_had_happened(rows, more):
    first, _ = of(rows, most_templates=12)
    second = Miner.restored(first.state(), RULES, most_templates=12)
    assert second.vocabulary == first.vocabulary
    assert second.state() == first.state()
    assert second.codes(distinct(more)).to_list() == first.codes(distinct(more)).to_list()
    assert second.state() == first.state()


def test_a_restored_miner_knows_the_crowds_too():
    rows = blurred(3_000)
    first, _ = of(rows[:2_000])
    assert len(first.crowds()) > 16 * 100
    second = Miner.restored(first.state(), RULES)
    assert second.codes(distinct(rows[2_000:])).to_list() == first.codes(distinct(rows[2_000:])).to_list()
    forgetful = Miner.rebuilt(first.shapes(), RULES)
    forgetful.codes(distinct(rows[2_000:]))
    assert forgetful.vocabulary != first.vocabulary


def test_the_first_version_of_the_state_is_still_read():
    shapes = [["took <NUM>", 2], ["disk failed", 4]]
    miner = Miner.restored(json.dumps(shapes).encode(), RULES)
    assert [template.text for template in miner.vocabulary] == ["took <NUM>", "disk failed"]


def test_the_state_of_before_it_told_when_templates_were_seen_is_still_read():
    miner, _ = of(["took 5 ms", "disk failed"])
    state = miner.state().replace(b'"version":3', b'"version":2')
    assert Miner.restored(state, RULES).vocabulary == miner.vocabulary


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda state: state[:-20], "not readable"),
        (lambda state: state.replace(b"disk", b"desk"), "its checksum is"),
        (lambda state: state.replace(b'"version":3', b'"version":4'), "templates of version 4"),
        (lambda state: state.replace(b"logad.templates", b"something.else"), "it holds 'something.else'"),
        (lambda _: b"", "not readable"),
        (lambda _: b"\xff\xfe", "not readable"),
        (lambda _: b'[["a shape", 17]]', "not readable"),
        (lambda _: b"7", "not readable"),
    ],
)
def test_a_damaged_state_is_refused_and_the_error_says_what_to_do(damage, found):
    miner, _ = of(["took 5 ms", "disk failed"])
    with pytest.raises(StateError) as told:
        Miner.restored(damage(miner.state()), RULES, where="app.json")
    assert told.value.where == "app.json"
    assert told.value.found.startswith(found)
    assert told.value.expected
    assert told.value.advice


def test_no_byte_of_the_state_can_change_unseen():
    state = of(["took 5 ms", "disk failed"])[0].state()
    known = Known.from_bytes(state, "x")
    for at in range(len(state)):
        changed = state[:at] + bytes([state[at] ^ 1]) + state[at + 1 :]
        try:
            assert Known.from_bytes(changed, "x") == known, at
        except StateError:
            continue


# Two miners ---------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(rows=texts, other=texts)
def test_two_miners_become_one_that_knows_what_both_know(rows, other):
    one, codes = of(rows)
    two, _ = of(other)
    both = Miner.merged(one, two)
    assert [template.code for template in both.vocabulary] == list(range(len(both.vocabulary)))
    assert set(both.shapes()) == set(one.shapes()) | set(two.shapes())
    known = len(both.vocabulary)
    again = both.codes(distinct(rows)).to_list()
    both.codes(distinct(other))
    assert len(both.vocabulary) == known
    assert again == codes
    told = {(event.was_id, event.became_id) for event in both.lineage()}
    for part in (one, two):
        assert told >= {(event.was_id, event.became_id) for event in part.lineage()}
        for template in part.vocabulary:
            assert {template.template_id, *both.family(template.template_id)} & standing_ids(both)


states = st.lists(
    st.sampled_from(
        [f"{kind} {number} of 10.0.0.{number}" for kind in ("took", "sent", "lost") for number in range(4)]
    )
)


@settings(max_examples=30, deadline=None)
@given(one=states, two=states, three=states)
def test_ids_of_merged_miners_agree_whatever_the_order_where_no_word_varies(one, two, three):
    a, b, c = (of(rows)[0] for rows in (one, two, three))
    merged = [
        Miner.merged(Miner.merged(a, b), c),
        Miner.merged(a, Miner.merged(b, c)),
        Miner.merged(c, Miner.merged(b, a)),
    ]
    assert len({frozenset(standing_ids(miner)) for miner in merged}) == 1


@settings(max_examples=30, deadline=None)
@given(rows=states, chance=st.randoms())
def test_ids_do_not_depend_on_the_order_of_lines_where_no_word_varies(rows, chance):
    shuffled = chance.sample(rows, len(rows))
    assert standing_ids(of(rows)[0]) == standing_ids(of(shuffled)[0])


# Every line and its template ----------------------------------------------------------------------


plain = words.filter(lambda word: "<" not in word)


@settings(max_examples=80, deadline=None)
@given(rows=st.lists(st.lists(plain, min_size=1, max_size=5).map(" ".join), max_size=30))
def test_every_line_matches_the_template_that_stands_for_it(rows):
    miner, codes = of(rows)
    standing = miner.standing()
    for row, code in zip(rows, codes, strict=True):
        text = miner.vocabulary[standing[code]].text
        constants = re.split(r"<(?:[A-Z][A-Z0-9_]*|\*)>", text)
        assert re.fullmatch(".*".join(map(re.escape, constants)), row), (row, text)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 9), cuts=st.lists(st.integers(0, 2_500), max_size=6))
def test_codes_do_not_depend_on_the_cut_where_places_are_crowded(seed, cuts):
    rows = blurred(2_000, seed)
    rows += rows[:500]
    whole, codes = of(rows)
    parts = Miner(RULES)
    bounds = [0, *sorted(cuts), len(rows)]
    pieces = [parts.codes(distinct(rows[begin:end])).to_list() for begin, end in itertools.pairwise(bounds)]
    assert list(itertools.chain(*pieces)) == codes
    assert parts.state() == whole.state()
    assert parts.standing().tolist() == whole.standing().tolist()


def test_the_code_that_stands_is_told_for_each_code():
    miner, codes = of([f"fed the {animal}" for animal in ("ant", "bee", "cat", "dog", "eel", "fox")])
    assert codes == [0, 1, 2, 3, 0, 0]
    assert miner.standing().tolist() == [0, 0, 0, 0, 0]
    assert miner.standing().dtype == np.int32


# Bounds -------------------------------------------------------------------------------------------


def test_what_a_full_miner_cannot_take_overflows_by_service_under_an_id_of_its_own():
    telemetry = Telemetry()
    miner = Miner(RULES, telemetry, most_templates=1)
    rows = distinct(["known", "new here", "new there", "new here"], service=["a", "a", "b", "b"])
    codes = miner.codes(rows.with_columns(len=pl.Series([1, 5, 7, 1], dtype=pl.UInt32))).to_list()
    told = [miner.vocabulary[code].text for code in codes]
    assert told == ["known", f"{OVERFLOW} a", f"{OVERFLOW} b", f"{OVERFLOW} b"]
    assert len({template.template_id for template in miner.vocabulary}) == 3
    assert telemetry.notes["template_overflow"] == 13
    again = Miner.restored(miner.state(), RULES, most_templates=1)
    assert again.codes(rows).to_list() == codes


def test_many_services_overflow_into_one_template_at_last():
    miner = Miner(RULES, most_templates=0)
    services = [f"s{number}" for number in range(1_500)]
    codes = miner.codes(distinct(["new"] * 1_500, service=services))
    assert codes.n_unique() == len(miner.vocabulary) <= 1_001
    assert miner.vocabulary[codes[-1]].text == OVERFLOW


def test_a_flood_of_lines_neither_evicts_what_is_learned_nor_grows_the_state():
    miner = Miner(RULES)
    learned = ["disk 7 failed", "VM Started", "VM Paused", "user root logged in"]
    codes = miner.codes(distinct(learned)).to_list()
    sizes = []
    for round_ in range(4):
        miner.codes(distinct(noise(10_000, round_, sizes=(4, 7))))
        sizes.append((len(miner.vocabulary), len(miner.shapes())))
    assert miner.codes(distinct(learned)).to_list() == codes
    assert sizes[3][0] - sizes[1][0] < 100
    assert sizes[3][1] < 6_000


def test_a_crowd_leaves_the_few_templates_that_were_blurred():
    miner, codes = of(blurred(20_000))
    assert len(miner.vocabulary) < 1_000
    assert len(miner.shapes()) < 1_500
    assert max(codes) == len(miner.vocabulary) - 1


def test_an_explosion_of_new_templates_is_noted_once_the_service_was_known():
    telemetry = Telemetry()
    miner = Miner(RULES, telemetry)
    usual = distinct(["all is well"], service=["web"]).with_columns(len=pl.lit(LEARNING, dtype=pl.UInt32))
    miner.codes(usual)
    miner.codes(usual)
    assert "template_flood" not in telemetry.notes
    miner.codes(distinct(noise(1_000, sizes=(3, 9)), service=["web"] * 1_000))
    assert telemetry.notes["template_flood"] > 300
    assert miner.novelty()["web"] > 10


def test_what_is_new_to_a_service_that_is_new_itself_is_no_flood():
    telemetry = Telemetry()
    miner = Miner(RULES, telemetry)
    miner.codes(distinct(noise(2_000, sizes=(3, 9)), service=["web"] * 2_000))
    assert "template_flood" not in telemetry.notes


# What is one ---------------------------------------------------------------------------------------


def held(*rows):
    miner, _ = of(list(rows))
    return sorted(miner.vocabulary[code].text for code in set(miner.standing().tolist()))


def test_units_are_no_words_that_tell_messages_apart():
    assert held("waited two seconds more", "waited two minutes more") == ["waited two <*> more"]
    assert len(held("waited two seconds more", "waited two times more")) == 2


def test_two_names_after_user_are_a_variable_and_two_states_are_not():
    assert held("login of user alice done", "login of user bob done") == ["login of user <*> done"]
    assert len(held("login of service alice done", "login of service bob done")) == 2


def test_three_shapes_that_differ_in_several_identifiers_are_one():
    rows = [
        f"class a.b.{one} calls {two}.run now"
        for one, two in (("Ant", "x.Bee"), ("Cat", "x.Dog"), ("Eel", "x.Fox"))
    ]
    assert len(held(*rows[:2])) == 2
    assert len(held(*rows)) == 1


# Words --------------------------------------------------------------------------------------------


@given(rows=st.lists(st.text("aäZ0159 \t._-:=/xTgf()<>%é", max_size=40), max_size=8))
def test_words_have_one_hash_exactly_if_their_flattened_forms_are_equal(rows):
    cut, flat = Words.of(rows), Flat()
    flat.flatten(cut)
    told = flat.texts(cut, np.arange(len(cut.starts)))
    assert [word for row in rows for word in row.split()] == [cut.text(at) for at in range(len(cut.starts))]
    for (one, first), (other, second) in itertools.combinations(
        zip(told, cut.hashes.tolist(), strict=True), 2
    ):
        assert (one == other) == (first == second), (one, other)


@given(batches=st.lists(st.lists(st.integers(0, 300), unique=True), max_size=8))
def test_a_hash_table_holds_what_a_dictionary_would(batches):
    table, known = HashTable(), {}
    for number, batch in enumerate(batches):
        table.add(np.array(batch, dtype=np.uint64), np.full(len(batch), number))
        known |= dict.fromkeys(batch, number)
        asked = table.numbers(np.arange(301, dtype=np.uint64)).tolist()
        zero = known.get(0, known.get(1))
        assert asked[2:] == [known.get(each, -1) for each in range(2, 301)]
        assert (asked[0] == -1) == (zero is None and 1 not in known)
