"""Order: sessions whose steps came in an order that hardly any session has."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logad.detectors.order import FEWEST, OCCURRENCES, Order, _pairs, _steps
from logad.judge import JudgeConfig, learn
from logad.testing.samples import windows_of
from logad.types import AnomalyType, WindowKind
from logad.windows import NO_TIME, Windows

WAYS = ([0, 1, 2, 2, 3, 4], [0, 2, 1, 2, 3, 4], [0, 2, 2, 1, 3, 4], [0, 2, 2, 3, 4])
MANY = 3_000
ROW = 700
KINDS = 8  # of samples' templates


def sessions(codes, gaps=None, seed=0) -> Windows:
    """Sessions of these codes, with gaps in seconds between their events that vary by a half, or as given."""
    begun = windows_of(WindowKind.SESSION, codes, fresh=False)
    lengths = [len(each) for each in codes]
    if gaps is None:
        gaps = np.exp(np.random.default_rng(seed).normal(np.log(20.0), 0.5, sum(lengths)))
    first = np.cumsum([0, *lengths[:-1]])
    since = np.cumsum(gaps)
    since -= np.repeat(since[first], lengths)
    times = np.repeat(np.arange(len(codes)), lengths) * 60_000_000 + np.round(since * 1e6).astype(np.int64)
    return replace(begun, times=times)


def usual(count=MANY, seed=0) -> list[list[int]]:
    return [list(WAYS[way]) for way in np.random.default_rng(seed).integers(0, len(WAYS), count)]


def fitted(windows: Windows) -> Order:
    return Order(Order.Config()).fit(windows)


def flagged(detector: Order, windows: Windows) -> np.ndarray:
    return detector.tail_probabilities(windows) < detector.needs(windows)


def alone(windows: Windows):
    """What is anomalous of them, were order the only judge."""
    return list(learn(windows, JudgeConfig(detectors={"order": {}})).verdicts(windows))


@pytest.mark.parametrize("swapped", [[1, 0, 2, 2, 3, 4], [0, 1, 2, 3, 2, 4], [0, 2, 2, 1, 4, 3]])
def test_two_neighbours_that_never_follow_so_are_found_and_told(swapped):
    codes = usual()
    codes[ROW] = swapped
    windows = sessions(codes)
    (verdict,) = alone(windows)
    assert verdict.window.key == f"session-{ROW}"
    (reason, *_) = verdict.reasons
    assert reason.type is AnomalyType.COLLECTIVE
    odd = next(at for at in range(len(swapped)) if swapped[at : at + 2] in ([1, 0], [3, 2], [4, 3]))
    early, late = (windows.vocabulary[code].text for code in swapped[odd : odd + 2])
    assert reason.text.startswith(f"'{early}' came ")
    assert f"'{late}'; in all " in reason.text
    assert reason.text.endswith(" sessions with both it comes after")
    (told, *_) = fitted(windows).explain(windows, ROW)
    assert told.events == (odd, odd + 1)


def test_a_session_that_runs_backwards_says_how_many_steps_are_out_of_place():
    codes = usual()
    codes[ROW].reverse()
    windows = sessions(codes)
    (verdict,) = alone(windows)
    assert verdict.window.key == f"session-{ROW}"
    assert verdict.score > 0.8
    assert verdict.reasons[0].text.startswith("3 kinds of step are out of order: ")


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_any_order_in_which_threads_interleave_is_normal(seed):
    codes = usual(600, seed)
    windows = sessions(codes, seed=seed)
    assert not flagged(fitted(windows), windows).any()


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_a_session_that_is_cut_short_is_never_stranger(data):
    codes = usual(400)
    codes[ROW % 400] = data.draw(st.permutations(WAYS[0]))
    windows = sessions(codes)
    detector = fitted(windows)
    left = [each[: data.draw(st.integers(0, len(each)))] for each in codes[:50]]
    whole = windows.take(np.arange(50))
    kept = np.concatenate([np.arange(len(each)) + at for each, at in zip(left, whole.offsets, strict=False)])
    lengths = [len(each) for each in left]
    cut = replace(
        whole,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        **{
            name: getattr(whole, name)[kept.astype(np.int64)]
            for name in ("events", "times", "rows", "values")
        },
    )
    assert (detector.score(cut) <= detector.score(whole) + 1e-9).all()


def test_what_clocks_and_writers_confuse_is_no_disorder():
    codes = usual()
    codes[ROW] = [1, 0, 2, 2, 3, 4]
    near = sessions(codes)
    times = near.times.copy()
    start = near.offsets[ROW]
    times[start + 1] = times[start] + 100_000  # a tenth of a second, where twenty are usual
    near = replace(near, times=times)
    assert not flagged(fitted(near), near).any()
    assert flagged(fitted(sessions(codes)), sessions(codes)).nonzero()[0].tolist() == [ROW]


def test_within_one_tick_of_a_clock_of_whole_seconds_any_order_is_normal():
    codes = usual()
    codes[ROW] = [1, 0, 2, 2, 3, 4]
    gaps = np.zeros(sum(map(len, codes)))
    windows = sessions(codes, gaps)
    assert not flagged(fitted(windows), windows).any()


def test_without_times_the_order_of_the_lines_counts():
    codes = usual()
    codes[ROW] = [1, 0, 2, 2, 3, 4]
    windows = sessions(codes)
    windows = replace(windows, times=np.full_like(windows.times, NO_TIME))
    assert flagged(fitted(windows), windows).nonzero()[0].tolist() == [ROW]


def test_twenty_alike_in_three_thousand_are_no_custom():
    codes = usual()
    odd = np.random.default_rng(1).permutation(MANY)[:20]
    for row in odd:
        codes[row].reverse()
    windows = sessions(codes)
    assert sorted(flagged(fitted(windows), windows).nonzero()[0]) == sorted(odd)


def test_a_log_whose_sessions_each_break_a_rule_of_their_own_has_no_rules_of_order():
    random = np.random.default_rng(2)
    codes = [list(range(KINDS)) for _ in range(MANY)]
    for row in random.permutation(MANY)[:30]:
        one, other = random.permutation(KINDS)[:2]
        codes[row].insert(int(other), codes[row].pop(codes[row].index(one)))
    windows = sessions(codes)
    assert flagged(fitted(windows), windows).mean() <= 1e-3


def test_sessions_that_run_backwards_do_not_hide_that_disorder_is_usual():
    random = np.random.default_rng(2)
    codes = [list(range(KINDS)) for _ in range(MANY)]
    chosen = random.permutation(MANY)[:50]
    for row in chosen[:30]:
        one, other = random.permutation(KINDS)[:2]
        codes[row].insert(int(other), codes[row].pop(codes[row].index(one)))
    for row in chosen[30:]:
        codes[row].reverse()
    windows = sessions(codes)
    assert flagged(fitted(windows), windows).nonzero()[0].tolist() == sorted(chosen[30:].tolist())


def test_a_rule_that_few_sessions_have_is_none():
    for both, told in ((FEWEST - 1, 0), (FEWEST, 1)):
        windows = sessions([[1, 0], *[[0, 1]] * (both - 1), *[[0]] * 40, *[[1]] * 40])
        assert len(fitted(windows).explain(windows, 0)) == told


@given(st.lists(st.lists(st.integers(0, 4), max_size=9), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_pairs_of_steps_are_those_that_a_loop_finds(codes):
    windows = windows_of(WindowKind.SESSION, codes, fresh=False)
    known = [0, 2, 3]
    steps = _steps(windows, np.asarray(known))
    found = [
        (int(row), int(steps.symbol[one]), int(steps.symbol[other]))
        for rows, first, second in _pairs(steps)
        for row, one, other in zip(rows, first, second, strict=True)
    ]
    expected = []
    for row, each in enumerate(codes):
        symbols = [
            known.index(code) * OCCURRENCES + each[:at].count(code)
            for at, code in enumerate(each)
            if code in known and each[:at].count(code) < OCCURRENCES
        ]
        expected += [(row, one, other) for at, one in enumerate(symbols) for other in symbols[at + 1 :]]
    assert sorted(found) == sorted(expected)
