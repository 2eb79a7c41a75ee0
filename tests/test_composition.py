"""Composition: windows of N records that hold other things, or in another order, than the others."""

from dataclasses import replace

import numpy as np
import pytest
from builders import EPOCH, SECOND, vocabulary_of, windows_of
from hypothesis import given
from hypothesis import strategies as st

from logad.detectors._far_tail import FarTail
from logad.detectors._pauses import Pauses
from logad.detectors.composition import Composition
from logad.types import AnomalyType, WindowKind
from logad.windows import NO_TIME, Windows

TEXTS = ("asked", "answered", "stored", "cached", "beat", "swept", "rotated", "compacted")
JOBS = ((0, 2, 1), (0, 3, 1), (4,), (5, 6), (7,))  # what is written one after the other
OFTEN = (0.4, 0.4, 0.14, 0.05, 0.01)
SIZE = 50


def codes_of(count: int, seed: int = 0) -> list[list[int]]:
    random = np.random.default_rng(seed)
    jobs = random.choice(len(JOBS), count * SIZE, p=OFTEN)
    written = np.concatenate([JOBS[job] for job in jobs])[: count * SIZE]
    return written.reshape(count, SIZE).tolist()


def windows(codes: list[list[int]], seconds: np.ndarray | None = None) -> Windows:
    """Windows of records a second apart, or so many."""
    lengths = [len(window) for window in codes]
    waits = np.ones(sum(lengths)) if seconds is None else seconds
    moments = np.split(np.cumsum(waits), np.cumsum(lengths)[:-1])
    made = windows_of(
        codes,
        kind=WindowKind.RECORDS,
        times=[part.tolist() for part in moments],
        vocabulary=vocabulary_of(*TEXTS),
    )
    assert made.times[0] >= EPOCH.timestamp() * SECOND
    return made


def fitted(taught: Windows) -> Composition:
    return Composition(Composition.Config()).fit(taught)


def flagged(judged: Windows) -> list[int]:
    detector = fitted(judged)
    return np.flatnonzero(detector.tail_probabilities(judged) < detector.need).tolist()


def in_a_row(codes: list[list[int]], row: int, code: int, many: int) -> list[list[int]]:
    changed = [list(window) for window in codes]
    changed[row][10 : 10 + many] = [code] * many
    return changed


@pytest.mark.parametrize("count", [20, 60, 400])
@pytest.mark.parametrize(("code", "many"), [(4, 20), (0, 12), (7, 8)])
def test_a_template_that_comes_again_and_again_is_found_and_told(count, code, many):
    row = count // 2
    judged = windows(in_a_row(codes_of(count), row, code, many))
    found = flagged(judged)
    assert row in found
    assert len(found) <= 1 + count / 100
    told = fitted(judged).explain(judged, row)
    assert told[0].template == code
    assert any(" times in a row; elsewhere " in part.text for part in told)
    events = judged.events[judged.span(row)]
    assert all(events[event] == code for event in told[0].events)


@pytest.mark.parametrize("count", [20, 60, 400])
def test_a_pause_far_longer_than_any_is_found_and_told(count):
    seconds = np.random.default_rng(1).exponential(1.0, count * SIZE)
    row, place = count // 2, 30
    seconds[row * SIZE + place] = 4_000.0
    judged = windows(codes_of(count), seconds)
    found = flagged(judged)
    assert row in found
    assert len(found) <= 1 + count / 100
    told = fitted(judged).explain(judged, row)[0]
    assert told.events == (place - 1, place)
    assert told.text.startswith("nothing was written for 67 minutes; ")
    assert told.template is None


def test_windows_without_times_have_no_pause():
    judged = windows(codes_of(60))
    blind = replace(judged, times=np.full(len(judged.times), NO_TIME))
    assert np.allclose(fitted(blind).score(blind), fitted(judged).score(judged))


@pytest.mark.parametrize("count", [20, 60, 400])
def test_a_window_that_runs_backwards_is_found_and_told(count):
    codes, row = codes_of(count), count // 3
    codes[row].reverse()
    judged = windows(codes)
    found = flagged(judged)
    assert row in found
    assert len(found) <= 1 + count / 100
    told = fitted(judged).explain(judged, row)[0]
    assert " came right after " in told.text
    assert "the other way round" in told.text


def test_what_all_windows_have_is_missed():
    codes, row = codes_of(400), 150
    codes[row] = [3 if code == 1 else code for code in codes[row]]
    judged = windows(codes)
    told = [part.text for part in fitted(judged).explain(judged, row)]
    assert any(text.startswith("'answered' did not come; 99.8 % of windows have it") for text in told)


def test_a_few_anomalies_do_not_hide_each_other():
    codes, rows = codes_of(400), [50, 120, 200, 201, 330]
    for row in rows:
        codes = in_a_row(codes, row, 5, 25)
    assert flagged(windows(codes)) == rows


def test_a_log_in_which_all_is_in_disorder_is_judged_by_its_own_measure():
    random = np.random.default_rng(2)
    mixed = random.permuted(np.asarray(codes_of(400)), axis=1).tolist()
    mixed[200].reverse()
    assert 200 not in flagged(windows(mixed))


def test_of_healthy_windows_a_hundredth_is_flagged_at_most_at_any_size():
    for count in (20, 60, 300):
        found = sum(len(flagged(windows(codes_of(count, seed)))) for seed in range(2_400 // count))
        assert found <= 24, count


def test_windows_that_come_later_are_judged_as_those_learned_from():
    detector = fitted(windows(codes_of(300)))
    later = windows(in_a_row(codes_of(300, seed=9), 40, 4, 25))
    found = np.flatnonzero(detector.tail_probabilities(later) < detector.need)
    assert 40 in found
    assert len(found) <= 4


def test_the_tail_is_that_of_the_values_and_anomalies_among_them_change_it_little():
    values = np.random.default_rng(3).exponential(2.0, 1_000)
    clean, soiled = FarTail.of(values), FarTail.of(np.append(values, np.full(15, 1e6)))
    asked = np.array([15.0, 25.0])
    assert np.log(clean.probability(asked)) == pytest.approx(-asked / 2, rel=0.25)
    assert np.log(soiled.probability(asked)) == pytest.approx(-asked / 2, rel=0.35)


@given(st.lists(st.floats(0, 50), max_size=200))
def test_what_is_larger_is_never_more_probable(values):
    tail = FarTail.of(np.asarray(values))
    probability = tail.probability(np.linspace(0, 60, 200))
    assert (np.diff(probability) <= 1e-12).all()
    assert (probability <= 1).all()
    assert (probability >= np.exp(-np.linspace(0, 60, 200)) - 1e-12).all()


def test_pauses_of_another_sort_are_no_outliers():
    seconds = np.random.default_rng(1).exponential(1.0, 400 * SIZE)
    seconds[30 * SIZE + 20 :: 20 * SIZE] = 4_000.0  # a break in one window of twenty
    judged = windows(codes_of(400), seconds)
    assert len(flagged(judged)) <= 4
    nats, _ = Pauses.of(judged).surprise(np.array([4_000.0, 400_000.0]))
    assert nats[0] == 0
    assert nats[1] > 0


def test_several_pauses_alike_do_not_hide_each_other():
    seconds = np.random.default_rng(1).exponential(1.0, 400 * SIZE)
    rows = [40, 111, 222, 333]
    seconds[[row * SIZE + 9 for row in rows]] = 600.0
    found = flagged(windows(codes_of(400), seconds))
    assert set(rows) <= set(found)
    assert len(found) <= len(rows) + 4


def test_a_burst_is_collective_and_a_pause_contextual():
    seconds = np.ones(60 * SIZE)
    seconds[20 * SIZE + 30] = 9_000.0
    judged = windows(in_a_row(codes_of(60), 40, 4, 25), seconds)
    detector = fitted(judged)
    assert detector.explain(judged, 40)[0].type is AnomalyType.COLLECTIVE
    assert detector.explain(judged, 20)[0].type is AnomalyType.CONTEXTUAL


def test_what_a_source_begins_with_takes_more_to_be_strange():
    judged = windows(codes_of(60))
    needs = fitted(judged).needs(judged)
    assert needs[0] < needs[1]
    assert set(needs[1:]) == {fitted(judged).need}
    begun = windows(in_a_row(codes_of(60), 0, 4, 40))
    detector = fitted(begun)
    assert detector.tail_probabilities(begun)[0] < detector.needs(begun)[0]
