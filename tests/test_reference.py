"""The normal core: what it takes in, what it leaves out, and which sessions are still open."""

import time

import numpy as np
import pytest
from builders import vocabulary_of, windows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from logad.detectors.normal_core import NormalCoreDetector
from logad.features import binned, prefix_signatures, signatures
from logad.reference import FEWEST, clean_windows, grow, usual_waits
from logad.types import WindowKind
from logad.windows import NO_TIME

CALM = np.zeros(4, dtype=np.int64)


def deviant(counts, weights, severities=CALM, judged=None):
    counts, weights = np.asarray(counts), np.asarray(weights)
    core = grow(counts, weights, severities)
    return core.deviations(counts if judged is None else np.asarray(judged), severities).deviant.tolist()


def test_a_common_variant_is_normal_and_a_rare_one_is_not():
    vectors = [[1, 3, 0, 0], [1, 3, 1, 0], [1, 2, 0, 0]]
    assert deviant(vectors, [970, 20, 10]) == [False, False, False]
    assert deviant(vectors, [970, 20, 9]) == [False, False, True]


def test_a_deviation_in_many_templates_needs_more_support_than_one_in_a_single_template():
    vectors = [[1, 3, 3, 3], [1, 3, 3, 2], [1, 0, 0, 0]]
    assert deviant(vectors, [960, 20, 20]) == [False, False, True]


@pytest.mark.parametrize(("severity", "needed"), [(0, 2), (1, 10), (2, 10), (3, 20)])
def test_the_support_that_a_new_template_needs_follows_its_severity(severity, needed):
    severities = np.array([0, 0, 0, severity])
    vectors = [[1, 3, 0, 0], [1, 3, 0, 1]]
    needed = max(needed, FEWEST)
    assert deviant(vectors, [1000 - needed, needed], severities) == [False, False]
    assert deviant(vectors, [1001 - needed, needed - 1], severities) == [False, True]


def test_two_sessions_never_make_anything_normal():
    assert deviant([[1, 3, 0, 0], [1, 2, 0, 0]], [18, 2]) == [False, True]


def test_a_count_that_takes_three_values_is_free_but_must_be_there():
    vectors = [[1, 1, 0, 0], [1, 2, 0, 0], [1, 3, 0, 0]]
    assert deviant(vectors, [50, 50, 50], judged=[[1, 900, 0, 0], [1, 0, 0, 0]]) == [False, True]


def test_kinds_of_session_are_told_apart_and_judged_apart():
    vectors = [[1, 3, 0, 0], [0, 0, 2, 2], [0, 0, 2, 1]]
    core = grow(np.asarray(vectors), np.asarray([900, 195, 1]), CALM)
    assert core.sets.tolist() == [[True, True, False, False], [False, False, True, True]]
    deviations = core.deviations(np.asarray(vectors), CALM)
    assert deviations.kind.tolist() == [0, 1, 1]
    assert deviations.probability[2] == pytest.approx(1 / 196)


def test_an_error_never_opens_a_kind():
    core = grow(np.asarray([[1, 3, 0, 0], [0, 0, 2, 2]]), np.asarray([900, 100]), np.array([0, 0, 0, 3]))
    assert len(core.sets) == 1


def test_a_template_beyond_the_vocabulary_deviates():
    core = grow(np.asarray([[1, 3]]), np.asarray([100]), CALM[:2])
    assert core.deviations(np.asarray([[1, 3, 0], [1, 3, 1]]), CALM[:3]).deviant.tolist() == [False, True]


def test_the_order_of_the_vectors_does_not_matter():
    generator = np.random.default_rng(0)
    counts = generator.poisson(1.0, (60, 4))
    weights = generator.permutation(1000)[:60]
    shuffled = generator.permutation(60)
    assert deviant(counts, weights, judged=counts) == deviant(
        counts[shuffled], weights[shuffled], judged=counts
    )


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.int64, st.tuples(st.integers(0, 8), st.integers(0, 5)), elements=st.integers(0, 40)),
    st.data(),
)
def test_any_small_input_grows_a_core_with_probabilities(counts, data):
    rows, width = counts.shape
    weights = data.draw(hnp.arrays(np.int64, rows, elements=st.integers(1, 500)))
    severities = data.draw(hnp.arrays(np.int64, width, elements=st.integers(0, 3)))
    core = grow(counts, weights, severities)
    deviations = core.deviations(counts, severities)
    assert np.isfinite(deviations.need).all()
    assert ((deviations.probability > 0) & (deviations.probability <= 1)).all()
    assert core.core_sessions.sum() == weights[~deviations.deviant].sum()
    # what was left outside has less support than it needs, or too few sessions
    outside = deviations.probability[deviations.deviant] * core.sessions[deviations.kind[deviations.deviant]]
    enough = deviations.probability >= deviations.need
    assert (outside[enough[deviations.deviant]] < FEWEST + 1e-9).all()


@pytest.mark.slow
def test_fifty_thousand_distinct_vectors_take_seconds():
    generator = np.random.default_rng(1)
    counts = generator.poisson(generator.exponential(0.5, 100), (50_000, 100))
    begun = time.perf_counter()
    grow(counts, np.ones(50_000, dtype=np.int64), np.zeros(100, dtype=np.int64))
    assert time.perf_counter() - begun < 20


@given(hnp.arrays(np.int64, st.tuples(st.integers(0, 9), st.integers(0, 4)), elements=st.integers(0, 3)))
def test_signatures_are_equal_exactly_where_rows_are(counts):
    found = signatures(binned(counts))
    for a in range(len(counts)):
        for b in range(len(counts)):
            assert (found[a] == found[b]) == (counts[a] == counts[b]).all()


def test_a_prefix_is_known_by_its_counts_whatever_the_order():
    sessions = windows_of([[0, 1, 1, 2], [1, 0, 1]])
    found = prefix_signatures(sessions)
    assert found[1] == found[5]
    assert found[2] == found[6]
    assert found[0] != found[4]


def waiting(sessions, silence):
    """Sessions 0 to 9 are whole, the last one stopped `silence` seconds before the end of the input."""
    codes = [[0, 1]] * sessions + [[0]] + [[2]]
    times = [[w * 10, w * 10 + 5] for w in range(sessions)] + [[1000], [1000 + silence]]
    return windows_of(codes, times=times)


def test_a_session_on_its_way_is_open_until_its_silence_is_unusual():
    for silence, still in ((5, True), (5.1, False)):
        windows = waiting(10, silence)
        waits = usual_waits(windows.take(np.arange(10)))
        assert bool(waits.still_open(windows)[10]) is still


def test_a_state_seen_fewer_than_ten_times_keeps_no_session_open():
    windows = waiting(9, 1)
    assert not usual_waits(windows.take(np.arange(9))).still_open(windows).any()


def test_sessions_without_times_are_never_open():
    windows = windows_of([[0, 1]] * 12 + [[0]], times=[[float("nan")] * 2] * 12 + [[float("nan")]])
    assert (windows.times == NO_TIME).all()
    assert not usual_waits(windows).still_open(windows).any()


def test_the_reference_of_time_windows_leaves_out_rare_errors_and_gross_sizes():
    vocabulary = vocabulary_of("served", "chatty failure", "rare failure", severities=[0, 3, 3])
    codes = [[0] * 20 + [1] for _ in range(40)]
    codes[7] = [0] * 20 + [1, 2]
    codes[9] = [0] * 2000
    windows = windows_of(codes, kind=WindowKind.TIME, vocabulary=vocabulary)
    assert np.flatnonzero(~clean_windows(windows)).tolist() == [7, 9]


def test_a_template_that_never_comes_without_another_is_missed():
    vectors = [[1, 3, 1, 1], [1, 3, 0, 0], [1, 3, 1, 0], [1, 3, 0, 1]]
    counts = np.asarray(vectors)
    core = grow(counts, np.asarray([600, 398, 1, 1]), CALM)
    assert core.tied.tolist() == [[0, 2, 3]]
    deviates = core.deviations(counts, CALM).deviates
    assert [np.flatnonzero(row).tolist() for row in deviates] == [[], [], [3], [2]]


@pytest.mark.parametrize("alone", [1, 3])
def test_templates_that_come_alone_in_more_than_a_few_sessions_are_not_tied(alone):
    vectors = [[1, 3, 1, 1], [1, 3, 0, 0], [1, 3, 1, 0]]
    assert deviant(vectors, [600, 400 - alone, alone]) == [False, False, alone == 1]


def test_nothing_is_tied_by_few_sessions():
    assert deviant([[1, 3, 1, 1], [1, 3, 0, 0], [1, 3, 1, 0]], [900, 19, 1]) == [False, False, False]


@pytest.mark.parametrize(("sessions", "told"), [(499, False), (500, True)])
def test_a_free_count_far_beyond_all_others_is_told_where_sessions_are_many(sessions, told):
    vectors = [[1, 2, 0, 0], [1, 4, 0, 0], [1, 7, 0, 0]]
    beyond = [[1, 15, 0, 0], [1, 16, 0, 0]]
    assert deviant(vectors, [sessions] * 3, judged=beyond) == [False, told]


@pytest.mark.parametrize(("common", "odd"), [(55, False), (45, True)])
def test_one_way_in_twenty_that_is_complete_is_normal_whatever_it_takes(common, odd):
    usual, other = [1, 3, 1, 1, 1, 1, 1] + [0] * 6, [1, 2, 2, 2, 2, 2, 2] + [1] * 6
    calm = np.zeros(13, dtype=np.int64)
    assert deviant([usual, other], [1000 - common, common], calm) == [False, odd]


@pytest.mark.parametrize("what", ["something is missing", "something new warns"])
def test_one_way_in_twenty_is_not_normal_if(what):
    usual, other = [1, 3, 1, 1, 1, 1, 1] + [0] * 6, [1, 2, 2, 2, 2, 2, 2] + [1] * 6
    severities = np.zeros(13, dtype=np.int64)
    if what == "something is missing":
        other[1] = 0
    else:
        severities[12] = 1
    assert deviant([usual, other], [945, 55], severities) == [False, True]


def test_what_is_missing_is_told_with_what_never_comes_without_it():
    vocabulary = vocabulary_of("begun", "put", "acknowledged")
    windows = windows_of([[0, 1, 2]] * 200 + [[0, 1]] + [[0]] * 200, vocabulary=vocabulary)
    detector = NormalCoreDetector(NormalCoreDetector.Config()).fit(windows)
    assert np.flatnonzero(detector.score(windows) > 0).tolist() == [200]
    (told,) = detector.explain(windows, 200)
    assert told.template == 2
    assert told.expected == "1"
    assert told.text.startswith(
        "never reached 'acknowledged'; the 400 normal sessions that have 'put' have it too"
    )


def test_the_longest_usual_wait_of_a_state_is_that_of_999_in_1000():
    waits = np.random.default_rng(3).permutation(np.arange(1, 2001))
    windows = windows_of([[0, 1]] * 2000, times=[[0, int(wait)] for wait in waits])
    assert usual_waits(windows).longest.tolist() == [1999 * 1_000_000]
