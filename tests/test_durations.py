"""Durations: steps of sessions that took far longer than they usually do."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logad.detectors.durations import FALSE, FEWEST, SURE, Durations
from logad.judge import learn
from logad.testing.samples import windows_of
from logad.types import WindowKind
from logad.windows import NO_TIME, Windows

STEPS = (0, 1, 2, 4)
ROW = 150


def sessions(waits: np.ndarray) -> Windows:
    """A session of the same steps for each row of waits, in seconds, begun a minute apart."""
    begun = windows_of(WindowKind.SESSION, [STEPS] * len(waits), fresh=False)
    since = np.concatenate([np.zeros((len(waits), 1)), np.cumsum(waits, axis=1)], axis=1)
    times = np.arange(len(waits))[:, None] * 60_000_000 + np.round(since * 1e6).astype(np.int64)
    return replace(begun, times=times.ravel())


def lognormal(count: int, seed: int = 0, sigma: float = 0.5) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).normal(np.log([0.2, 3.0, 30.0]), sigma, (count, 3)))


def fitted(windows: Windows) -> Durations:
    return Durations(Durations.Config()).fit(windows)


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_step_that_takes_a_hundred_times_as_long_is_found_and_told(step):
    waits = lognormal(300)
    waits[ROW, step] = 100 * np.median(waits[:, step])
    windows = sessions(waits)
    judged = learn(windows)
    (verdict,) = judged.verdicts(windows)
    assert verdict.window.key == f"session-{ROW}"
    reason = verdict.reasons[0]
    assert reason.detector == "durations"
    before, after = (windows.vocabulary[code].text for code in STEPS[step : step + 2])
    assert f"from '{before}' to '{after}'; usually " in reason.text
    (told, *_) = fitted(windows).explain(windows, ROW)
    assert told.events == (step, step + 1)


@given(st.integers(0, 1000), st.floats(0, 1))
@settings(max_examples=25)
def test_a_session_that_is_faster_is_never_stranger(seed, faster):
    windows = sessions(lognormal(120, seed))
    hurried = replace(windows, times=(windows.times * faster).astype(np.int64))
    detector = fitted(windows)
    assert (detector.score(hurried) <= detector.score(windows) + 1e-9).all()


@pytest.mark.parametrize("sigma", [0.2, 0.5, 1.0])
def test_among_twenty_thousand_ordinary_sessions_hardly_one_is_flagged(sigma):
    windows = sessions(lognormal(20_000, 7, sigma))
    fresh = sessions(lognormal(20_000, 8, sigma))
    detector = fitted(windows)
    flagged = detector.tail_probabilities(fresh) < detector.need
    assert flagged.sum() <= 2


def test_a_third_more_is_no_news_however_regular_a_step_is():
    waits = np.full((200, 3), 10.0)
    waits[ROW] *= 1.3
    assert fitted(sessions(waits)).tail_probabilities(sessions(waits)).min() > 1e-3


def test_a_step_that_few_sessions_have_is_not_judged():
    waits = lognormal(FEWEST - 1)
    waits[10, 1] = 1e6
    windows = sessions(waits)
    assert fitted(windows).score(windows).max() == 0


def test_events_without_times_are_no_steps():
    windows = sessions(lognormal(100))
    timeless = replace(windows, times=np.full_like(windows.times, NO_TIME))
    assert fitted(windows).score(timeless).max() == 0
    assert fitted(timeless).score(windows).max() == 0


def test_where_the_clock_tells_whole_seconds_one_more_is_nothing():
    waits = np.zeros((400, 3))
    waits[:, 1] = np.random.default_rng(3).integers(0, 2, 400)
    waits[ROW, 0] = 2.0
    windows = sessions(waits)
    detector = fitted(windows)
    assert detector.tail_probabilities(windows).min() > detector.need


def test_few_sessions_flag_only_what_is_far_stranger():
    few, enough = fitted(sessions(lognormal(SURE - 1))), fitted(sessions(lognormal(SURE)))
    assert few.need == FALSE
    assert enough.need == pytest.approx(1 / (20 * SURE))


def test_a_tail_is_never_lighter_than_ten_times_as_long_once_for_every_fifty():
    waits = np.full((400, 3), 10.0)
    detector = fitted(sessions(waits))
    far, farther = (detector.tail_probabilities(sessions(waits * factor))[0] for factor in (10.0, 100.0))
    assert 45 < far / farther < 50
