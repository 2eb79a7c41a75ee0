"""Ageing: templates that are not seen for weeks leave their room to new ones, and nothing else."""

import itertools
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logad.ageing import WEEKS
from logad.mining import OVERFLOW, Miner
from logad.rules import load
from logad.telemetry import Telemetry
from logad.types import RECORD_SCHEMA

RULES = load()
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = (
    "alpha",
    "beta here",
    "gamma is new",
    "delta went away now",
    "epsilon",
    "zeta on",
    "eta 5 ms",
    "theta x=7",
)


def told(*rows):
    """Records, each a week, or None, and a text."""
    content = {"text": [text for _, text in rows], "level": [2] * len(rows), "service": ["app"] * len(rows)}
    times = [None if week is None else BEGUN + timedelta(weeks=week) for week, _ in rows]
    frame = pl.DataFrame(content, schema={name: RECORD_SCHEMA[name] for name in content})
    return frame.with_columns(time=pl.Series(times, dtype=RECORD_SCHEMA["time"]))


def texts(miner, records):
    return [miner.vocabulary[code].text for code in miner.assign(records)["template"]]


def full(**options):
    """A miner with two templates, and no room for more."""
    miner = Miner(RULES, most_templates=2, **options)
    miner.assign(told((0, "alpha"), (0, "beta here")))
    return miner


def test_a_template_not_seen_for_weeks_makes_room_and_is_known_when_it_comes_again():
    telemetry = Telemetry()
    miner = full(telemetry=telemetry)
    was = miner.vocabulary[1]
    for week in range(1, WEEKS + 1):
        miner.assign(told((week, "alpha")))
    assert texts(miner, told((WEEKS, "gamma is new"))) == ["gamma is new"]
    assert texts(miner, told((WEEKS, "delta went away now"))) == [f"{OVERFLOW} app"]
    assert telemetry.notes["template_overflow"] == 1
    assert miner.assign(told((WEEKS, "beta here")))["template"].to_list() == [was.code]
    assert miner.vocabulary[was.code] == was


def test_what_happens_once_a_month_makes_no_room():
    miner = full()
    for week in range(1, 30):
        miner.assign(told((week, "alpha"), *([(week, "beta here")] if week % 4 == 0 else [])))
        assert texts(miner, told((week, "gamma is new"))) == [f"{OVERFLOW} app"]


def test_neither_a_silence_nor_a_flood_of_new_lines_at_any_times_makes_room():
    miner = full()
    flood = [(week, f"{'abcdefghij'[week % 10] * 5} {'klmnopqrst'[week // 10] * 7}") for week in range(1, 90)]
    assert set(texts(miner, told(*flood))) == {f"{OVERFLOW} app"}
    assert texts(miner, told((90, "alpha"), (90, "gamma is new"))) == ["alpha", f"{OVERFLOW} app"]


def test_new_lines_that_tell_later_and_later_times_do_not_make_what_is_known_old():
    miner = Miner(RULES, most_templates=len(NAMES))
    miner.assign(told((0, NAMES[0])))
    miner.assign(told(*((10 * week, text) for week, text in enumerate(NAMES) if week)))
    assert texts(miner, told((999, "one more that is new"))) == [f"{OVERFLOW} app"]


def test_without_times_nothing_ages():
    miner = Miner(RULES, most_templates=2)
    for text in ("alpha", "beta here", *["alpha"] * WEEKS):
        miner.assign(told((0, text)).drop("time"))
    assert texts(miner, told((0, "gamma is new")).drop("time")) == [f"{OVERFLOW} app"]
    assert [shape for shape, _ in miner.shapes()] == ["alpha", "beta here", f"{OVERFLOW} app"]


def test_when_templates_were_seen_is_noted_once_a_week():
    miner = Miner(RULES)
    for week in (0, 0, 0, 1, 1, 0):
        miner.assign(told((week, "alpha"), (week, "beta here")))
    assert len([shape for shape, _ in miner.shapes() if "\n" in shape]) <= 4


weeks = st.lists(
    st.tuples(st.sampled_from((0, 1, 1, 1, 2, -1, None)), st.sampled_from(["alpha"] * 8 + list(NAMES))),
    max_size=60,
)


def passing(steps):
    """Rows whose weeks go on by steps; None: without a time."""
    at = itertools.accumulate(step or 0 for step, _ in steps)
    return [(None if step is None else week, text) for week, (step, text) in zip(at, steps, strict=True)]


@settings(max_examples=80, deadline=None)
@given(steps=weeks, cuts=st.lists(st.integers(0, 60), max_size=6))
def test_ageing_does_not_depend_on_how_records_are_batched(steps, cuts):
    rows = passing(steps)
    whole, parts = (Miner(RULES, most_templates=3) for _ in range(2))
    codes = whole.assign(told(*rows))["template"].to_list()
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    pieces = [parts.assign(told(*rows[begin:end])) for begin, end in itertools.pairwise(bounds)]
    assert [code for piece in pieces for code in piece["template"]] == codes
    assert parts.vocabulary == whole.vocabulary
    assert parts.shapes() == whole.shapes()


@settings(max_examples=80, deadline=None)
@given(steps=weeks, at=st.integers(0, 60))
@pytest.mark.parametrize("again", ["restored", "rebuilt in pieces"])
def test_a_miner_that_is_restored_ages_as_if_nothing_had_happened(again, steps, at):
    rows = passing(steps)
    first = Miner(RULES, most_templates=3)
    before = first.assign(told(*rows[:at]))
    if again == "restored":
        second = Miner.restored(first.state(), RULES, most_templates=3)
    else:
        half = first.shapes()[: len(before) // 2]
        learned = half + first.shapes(len(half))
        second = Miner.rebuilt(learned, RULES, crowds=first.crowds(), most_templates=3)
    assert second.vocabulary == first.vocabulary
    assert second.state() == first.state()
    more = told(*rows[at:])
    assert second.assign(more)["template"].to_list() == first.assign(more)["template"].to_list()
    assert second.vocabulary == first.vocabulary
    assert second.state() == first.state()


@settings(max_examples=40, deadline=None)
@given(one=weeks, other=weeks)
def test_two_miners_that_are_merged_keep_what_is_known_and_not_when_it_was_seen(one, other):
    both = [Miner(RULES, most_templates=3) for _ in range(2)]
    for miner, steps in zip(both, (one, other), strict=True):
        miner.assign(told(*passing(steps)))
    merged = Miner.merged(*both)
    ids = {template.template_id for miner in both for template in miner.vocabulary}
    assert {template.template_id for template in merged.vocabulary} == ids
    assert all("\n" not in shape for shape, _ in merged.shapes())
