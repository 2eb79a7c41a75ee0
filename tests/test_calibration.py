"""A score means a share of normal windows: within what was seen by counting, beyond it by a fitted tail."""

import numpy as np
import pytest
from builders import windows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from logad.alerting import PROMISED, normal_share
from logad.calibration import CUT, Calibration, shared_scores
from logad.judge import NEED, JudgeConfig, learn
from logad.types import WindowKind

SCORES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300).map(np.asarray)


@given(SCORES, st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=50).map(np.asarray))
@settings(max_examples=200)
def test_what_is_stranger_is_never_more_probable(reference, scores):
    calibration = Calibration.of(reference)
    probability = calibration.tail_probabilities(np.sort(scores))
    assert (np.diff(probability) <= 0).all()
    assert ((probability >= 0) & (probability <= 1)).all()


@given(SCORES)
@settings(max_examples=100)
def test_within_the_reference_it_is_the_share_that_was_counted(reference):
    told = Calibration.of(reference).tail_probabilities(reference)
    rounded = Calibration.of(reference).scores
    counted = [(1 + (reference >= score).sum()) / (1 + len(reference)) for score in reference]
    if len(rounded) == len(np.unique(reference)):  # none were equal but for their last digits
        assert told == pytest.approx(counted)


@pytest.mark.parametrize("name", ["expon", "norm", "lomax"])
def test_the_tail_beyond_the_reference_is_of_the_right_order_whatever_its_shape(name):
    drawn_from = getattr(stats, name)(*[3.0][: name == "lomax"])
    far = np.asarray([drawn_from.isf(1e-4)])
    draws = [drawn_from.rvs(1000, random_state=seed) for seed in range(200)]
    told = [Calibration.of(draw).tail_probabilities(far)[0] for draw in draws]
    assert 0.4e-4 < np.median(told) < 4e-4  # the truth is a tenth of what 1,000 windows show


def test_a_reference_without_a_tail_is_not_drawn_out():
    few = Calibration.of(np.arange(50.0)).tail_probabilities(np.asarray([1e9]))
    equal = Calibration.of(np.ones(500)).tail_probabilities(np.asarray([1e9]))
    assert few == pytest.approx(1 / 51)
    assert equal == pytest.approx(1 / 501)


@pytest.mark.parametrize("name", ["pca", "isolation_forest", "log_clustering", "rare_sequences"])
def test_a_detector_that_decides_alone_flags_no_more_clean_windows_than_it_may_spend(name):
    flagged, judged = 0, 0
    for seed in range(6):
        generator = np.random.default_rng(seed)
        drawn = [[0, *generator.choice(5, size=generator.poisson(9)).tolist(), 5] for _ in range(1200)]
        windows = windows_of(drawn, kind=WindowKind.SESSION)
        judge = learn(windows.take(np.arange(600)), JudgeConfig(detectors={name: {}}, trusted=True))
        flagged += int((judge.judge(windows.take(np.arange(600, 1200))).score > CUT).sum())
        judged += 600
    least = (
        stats.beta.ppf(0.01, flagged, judged - flagged + 1) if flagged else 0.0
    )  # Clopper and Pearson 1934
    assert least <= NEED


@given(st.floats(0.04, 1.0, exclude_max=True), st.floats(1e-5, 0.1))
def test_a_score_spends_what_alerts_are_told_that_it_does(ratio, need):
    (score,) = shared_scores(np.asarray([ratio * need]), need)
    assert normal_share(float(score)) == pytest.approx(PROMISED[0][1] * ratio, rel=1e-6)
