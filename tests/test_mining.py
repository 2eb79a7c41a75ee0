"""Mining: what is one template, what stays apart, and that only the records decide it."""

import gzip
import itertools
import os
import re
import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logad import masking
from logad.mining import OVERFLOW, Miner
from logad.rules import Mask, Rules, load
from logad.telemetry import Telemetry
from logad.types import Level

DATA = Path(os.environ.get("LOGAD_DATA") or Path(__file__).parents[2] / "shared" / "data")
RULES = load()


def frame(*texts, level=Level.INFO):
    return pl.DataFrame(
        {"text": texts, "level": [int(level)] * len(texts)}, schema={"text": pl.String, "level": pl.UInt8}
    )


def mined(*texts, level=Level.INFO):
    miner = Miner(RULES)
    codes = miner.assign(frame(*texts, level=level))["template"].to_list()
    return codes, [template.text for template in miner.vocabulary]


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        (
            "PacketResponder 1 for block blk_-1608999687919862906 terminating",
            "PacketResponder <NUM> for block <ID> terminating",
        ),
        (
            "Received block blk_3587 of size 67108864 from /10.251.42.84",
            "Received block <ID> of size <NUM> from <IP>",
        ),
        (
            "Receiving block blk_1 src: /10.0.0.1:57828 dest: /10.0.0.2:50010",
            "Receiving block <ID> src: <IP> dest: <IP>",
        ),
        (
            "[instance: 96abccce-8d1f-4e07-b6d1-4b2ab87e23b4] VM Started (Lifecycle Event)",
            "[instance: <UUID>] VM Started (Lifecycle Event)",
        ),
        ("GET http://a.example/x?y=1 at 2024-05-01T10:00:00Z took  12.5ms", "GET <URL> at <TIME> took <NUM>"),
        ("data address: 0x00000002", "data address: <HEX>"),
        ("java.io.IOException: Connection reset", "java.io.IOException: Connection reset"),
        ("ROOT LOGIN ON tty2", "ROOT LOGIN ON tty2"),
        ("CPU: L1 cache: 16K", "CPU: L1 cache: <NUM>"),
        ("rank 0, symbol 9, bit 12", "rank <NUM>, symbol <NUM>, bit <NUM>"),
        ("free space is 93%", "free space is <NUM>"),
        ("grüße an 12 leute", "grüße an <NUM> leute"),
        ("", ""),
        ("   \t ", ""),
    ],
)
def test_what_varies_becomes_a_typed_placeholder(text, shape):
    assert masking.shapes(pl.Series([text]), RULES.masks)["shape"].to_list() == [shape]


def test_a_list_of_any_length_is_one_template():
    lists = [" ".join(f"blk_{n}8844" for n in range(size)) for size in (1, 2, 7, 100)]
    codes, texts = mined(*(f"BLOCK* ask 10.0.0.1:50010 to delete  {blocks}" for blocks in lists))
    assert codes == [0, 0, 0, 0]
    assert texts == ["BLOCK* ask <IP> to delete <ID>"]


def test_words_that_are_states_stay_apart():
    codes, _ = mined(
        *(
            f"[instance: 96abccce-8d1f-4e07-b6d1-4b2ab87e23b4] VM {state} (Lifecycle Event)"
            for state in ("Started", "Paused", "Resumed")
        )
    )
    assert codes == [0, 1, 2]


def test_places_of_different_types_are_one_template():
    codes, texts = mined("connection from 10.0.0.1 closed", "connection from web.example.org closed")
    assert codes == [0, 0]
    assert texts == ["connection from <*> closed"]


def test_stack_traces_differ_by_their_last_cause_and_not_by_their_frames():
    trace = (
        "request 5 failed\n  at a.B.c(B.java:12)\nCaused by: java.io.IOException: disk\n  at d.E.f(E.java:{})"
    )
    codes, texts = mined(
        trace.format(1), trace.format(77), trace.replace("IOException", "EOFException"), "request 6 failed"
    )
    assert codes == [0, 0, 1, 2]
    assert texts[0] == "request <NUM> failed | java.io.IOException: disk | d.E.f"


@pytest.mark.parametrize(
    ("level", "text", "severity"),
    [
        (Level.INFO, "served a block", 0),
        (Level.UNKNOWN, "served a block", 1),
        (Level.WARN, "served a block", 2),
        (Level.FATAL, "served a block", 3),
        (Level.INFO, "could not read a block", 1),
        (Level.UNKNOWN, "checksum error", 2),
        (Level.WARN, "Got exception while serving", 3),
        (Level.ERROR, "request timed out", 3),
    ],
)
def test_the_severity_class_comes_from_the_level_and_the_words(level, text, severity):
    miner = Miner(RULES)
    miner.assign(frame(text, level=level))
    assert miner.vocabulary[0].severity == severity


def test_a_template_is_as_grave_as_its_gravest_record():
    miner = Miner(RULES)
    miner.assign(frame("served 1 block"))
    miner.assign(frame("served 2 block", level=Level.ERROR))
    miner.assign(frame("served 3 block"))
    assert [template.severity for template in miner.vocabulary] == [3]


def test_a_user_mask_comes_before_the_shipped_ones():
    order = Mask(name="order", regex=r"\bord-\d+\b", placeholder="<ORDER>")
    miner = Miner(Rules((order, *RULES.masks), RULES.severities, ()))
    miner.assign(frame("shipped ord-1234 today"))
    assert miner.vocabulary[0].text == "shipped <ORDER> today"


def settled(*texts):
    miner = Miner(RULES)
    codes = miner.settled(miner.assign(frame(*texts)))["template"].to_list()
    return [miner.vocabulary[code].text for code in codes], miner


def test_five_words_in_one_place_are_a_variable_and_settle_as_one_template():
    fed, miner = settled(
        *(f"fed the {animal} today" for animal in ("ant", "bee", "cat", "dog", "eel", "fox"))
    )
    assert set(fed) == {"fed the <*> today"}
    (code,) = set(miner.aliases().values())
    assert miner.vocabulary[code].text == "fed the <*> today"
    assert len(miner.aliases()) == 5


def test_four_words_in_one_place_are_states():
    fed, _ = settled(*(f"fed the {animal} today" for animal in ("ant", "bee", "cat", "dog")))
    assert len(set(fed)) == 4


def test_a_word_where_others_have_a_placeholder_is_a_value_and_brackets_stay():
    texts, _ = settled(
        "connection from 10.0.0.1 () at noon", "connection from 10.0.0.2 (web.example.org) at noon"
    )
    assert texts == ["connection from <IP> (<*>) at noon"] * 2


def test_a_grave_word_is_not_lost_among_the_states_it_stands_with():
    texts, _ = settled(
        *(f"the job {state}" for state in ("started", "queued", "paused", "resumed", "ended", "failed"))
    )
    assert texts == ["the job <*>"] * 5 + ["the job failed"]


LONG = "a long message of more than twenty words that says {} again so that one word in it may differ and still be alike enough"


def test_an_id_given_up_by_a_text_that_became_general_stays_an_alias():
    miner = Miner(RULES)
    miner.assign(frame(LONG.format("this")))
    before = miner.vocabulary[0].template_id
    miner.assign(frame(LONG.format("that")))
    assert miner.vocabulary[0].text == LONG.format("<*>")
    assert miner.vocabulary[0].template_id != before
    assert miner.aliases() == {before: 0}


words = st.sampled_from(
    [
        "alpha",
        "beta",
        "gamma",
        "10",
        "7",
        "error",
        "blk_77",
        "10.0.0.1",
        "x=3",
        "(y)",
        "<*>",
        "ä",
        "\n",
        LONG.format("this"),
        LONG.format("that"),
        "java.io.IOException:",
    ]
)
records = st.lists(st.tuples(st.lists(words, max_size=6).map(" ".join), st.integers(0, 5)), max_size=40)


def table(rows):
    return pl.DataFrame(rows, schema={"text": pl.String, "level": pl.UInt8}, orient="row")


@settings(max_examples=60, deadline=None)
@given(rows=records, cuts=st.lists(st.integers(0, 40), max_size=5))
def test_codes_texts_and_ids_do_not_depend_on_how_records_are_batched(rows, cuts):
    whole = Miner(RULES, most_shapes=25, most_templates=20)
    codes = whole.assign(table(rows))["template"].to_list()
    parts, pieces = Miner(RULES, most_shapes=25, most_templates=20), []
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for begin, end in itertools.pairwise(bounds):
        pieces += parts.assign(table(rows[begin:end]))["template"].to_list()
    assert pieces == codes
    assert parts.settled(table(rows).with_columns(template=pl.Series(pieces, dtype=pl.Int32))).equals(
        whole.settled(whole.assign(table(rows)))
    )
    assert parts.vocabulary == whole.vocabulary
    assert parts.aliases() == whole.aliases()
    assert parts.shapes() == whole.shapes()


@settings(max_examples=60, deadline=None)
@given(rows=records, more=records)
def test_a_miner_rebuilt_from_its_shapes_goes_on_as_if_nothing_had_happened(rows, more):
    first = Miner(RULES, most_shapes=25, most_templates=20)
    first.assign(table(rows))
    saved = first.shapes()
    second = Miner.rebuilt(saved, RULES, most_shapes=25, most_templates=20)
    assert second.assign(table(more))["template"].to_list() == first.assign(table(more))["template"].to_list()
    assert second.vocabulary == first.vocabulary
    assert saved + first.shapes(since=len(saved)) == second.shapes()


@settings(max_examples=60, deadline=None)
@given(rows=records)
def test_equal_ids_mean_equal_texts_and_each_is_held_once(rows):
    miner = Miner(RULES)
    codes = miner.assign(table(rows))["template"]
    ids = [template.template_id for template in miner.vocabulary]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{16}", identity) for identity in ids)
    assert [template.code for template in miner.vocabulary] == list(range(len(ids)))
    assert codes.dtype == pl.Int32
    assert set(codes) <= set(range(len(ids)))


def test_a_flood_of_unique_messages_ends_in_few_templates_and_in_time():
    letters = "abcdefghijklmnopqrstuvwxyz"
    flood = [
        f"hello {letters[n % 26]}{letters[n // 26 % 26]}{letters[n // 676]}q from {letters[n // 3 % 26]}{letters[n % 23]}"
        for n in range(15_000)
    ]
    begun = time.perf_counter()
    codes, texts = mined(*flood)
    assert len(texts) < 1_000
    assert time.perf_counter() - begun < 10
    assert texts[codes[-1]].startswith("hello <*> from")


def test_what_is_new_to_a_full_miner_overflows_and_is_counted():
    telemetry = Telemetry()
    miner = Miner(RULES, telemetry, most_templates=2)
    codes = miner.assign(
        frame("alpha", "beta here", "gamma is new", "alpha", "gamma is new", "delta is new too")
    )["template"]
    assert codes.to_list() == [0, 1, 2, 0, 2, 2]
    assert miner.vocabulary[2].text == OVERFLOW
    assert telemetry.notes["template_overflow"] == 3
    assert telemetry.templates == 3


def test_records_keep_their_columns_and_order_and_an_empty_batch_is_fine():
    miner = Miner(RULES)
    batch = frame("b 1", "a", "b 2").with_columns(line=pl.Series([3, 1, 2]))
    assert miner.assign(batch).drop("template").equals(batch)
    assert miner.assign(frame()).schema["template"] == pl.Int32
    assert (
        miner.assign(pl.DataFrame({"text": [None], "level": [None]}, schema=frame().schema))["template"].len()
        == 1
    )


def test_the_blocks_of_hdfs_are_thirty_templates():
    path = DATA / "hdfs" / "HDFS_2pct.log.gz"
    if not path.exists():
        print(f"skipped: {path} is not here")
        pytest.skip("real data absent")
    lines = pl.Series("line", gzip.decompress(path.read_bytes()).decode().splitlines()).to_frame()
    header = r"^\d+ \d+ \d+ (\w+) \S+: (.*)$"
    level = pl.col("line").str.extract(header, 1).replace_strict({"INFO": 2, "WARN": 3}, default=0)
    miner = Miner(RULES)
    miner.assign(lines.select(text=pl.col("line").str.extract(header, 2), level=level.cast(pl.UInt8)))
    texts = [template.text for template in miner.vocabulary]
    assert 25 <= len(texts) <= 40
    for start in (
        "PacketResponder <NUM> for block <ID> terminating",
        "Received block <ID> of size",
        "BLOCK* NameSystem.delete:",
        "BLOCK* NameSystem.allocateBlock",
        "Deleting block",
        "Verification succeeded",
    ):
        assert sum(text.startswith(start) for text in texts) == 1, start


def test_a_word_without_the_brackets_that_others_have_is_another_template():
    codes, texts = mined("(y)", "()", "alpha")
    assert codes[0] == codes[1] != codes[2]
    assert texts[codes[2]] == "alpha"


def texts_after(*messages: str) -> list[str]:
    """The texts that stand once these messages were seen, of each message."""
    miner = Miner()
    records = pl.DataFrame({"text": messages, "level": [2] * len(messages)})
    codes = miner.assign(records)["template"].to_numpy()
    return [miner.vocabulary[code].text for code in miner.standing()[codes].tolist()]


def test_messages_that_are_nearly_all_identifiers_become_one():
    assert set(texts_after("set A_B to C_D", "set E_F to G_H", "set I_J to K_L")) == {"set <*> to <*>"}
    assert set(texts_after("set A_B C_D", "set E_F G_H", "set I_J K_L")) == {"set <*> <*>"}


def test_what_is_of_a_known_kind_opens_no_template():
    miner = Miner()
    for message in ("move A_B of C_D", "move E_F of G_H", "move I_J of K_L"):
        miner.assign(pl.DataFrame({"text": [message], "level": [2]}))
    known = len(miner.vocabulary)
    miner.assign(pl.DataFrame({"text": ["move M_N of O_P"], "level": [2]}))
    assert len(miner.vocabulary) == known


@pytest.mark.parametrize("word", ["user", "host"])
def test_two_names_after_a_word_that_announces_them_are_a_variable(word):
    two = [f"login of {word} {name} refused" for name in ("alice", "bob")]
    assert set(texts_after(*two)) == {f"login of {word} <*> refused"}
    apart = [f"login of {name} refused" for name in ("alice", "bob")]
    assert set(texts_after(*apart)) == set(apart)
