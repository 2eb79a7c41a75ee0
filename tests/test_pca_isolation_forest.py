"""PCA, isolation forest and the clean baseline: planted anomalies outrank, and are told by their template."""

import numpy as np
import pytest
from builders import vocabulary_of, windows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from logad.detectors.clean_baseline import CleanBaseline
from logad.detectors.isolation_forest import IsolationForestDetector
from logad.detectors.pca import PcaDetector
from logad.types import WindowKind

NAMES = vocabulary_of("read <NUM>", "write <NUM>", "flushed", "connection lost", "never in training")
DETECTORS = [PcaDetector, IsolationForestDetector, CleanBaseline]


def made(detector, seed=0):
    return detector(detector.Config(), seed)


def traffic(seed=0, count=300, planted=()):
    """Reads and writes that grow together, a flush in each window; planted windows at the end."""
    generator = np.random.default_rng(seed)
    codes = [[0] * (2 * load) + [1] * load + [2] for load in generator.integers(1, 5, count)]
    return windows_of([*codes, *planted], vocabulary=NAMES)


PLANTED = [
    [0] * 4 + [1] * 2 + [2, 3],  # a template that is rare in training
    [0] * 8 + [1] * 1 + [2],  # reads without their writes
    [0] * 4 + [1] * 2,  # no flush
    [0] * 4 + [1] * 2 + [2, 4, 4],  # a template unseen in training
]


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("seed", range(3))
def test_planted_anomalies_outrank_every_normal_window(detector, seed):
    windows = traffic(seed, planted=PLANTED)
    scores = made(detector, seed).fit(windows.take(np.arange(300))).score(windows)
    # a forest splits one template at a time: a broken proportion of usual counts is beyond it
    seen = [0, 2, 3] if detector is IsolationForestDetector else [0, 1, 2, 3]
    assert scores[300:][seen].min() > scores[:300].max()


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_heaviest_contribution_names_the_planted_template(detector):
    windows = traffic(planted=PLANTED)
    fitted = made(detector).fit(windows.take(np.arange(300)))
    told = [fitted.explain(windows, 300 + n)[0] for n in range(4)]
    assert [told[n].template for n in (0, 2, 3)] == [3, 2, 4]
    assert "'connection lost' came once" in told[0].text
    assert told[0].events == (7,)
    assert {part.template for part in fitted.explain(windows, 301)} & {0, 1}


def test_fewer_events_than_expected_count_against_the_residual():
    windows = traffic(planted=PLANTED)
    fitted = made(PcaDetector).fit(windows.take(np.arange(300)))
    assert fitted.explain(windows, 302)[0].weight < 0
    assert fitted.explain(windows, 303)[0].weight > 0


def test_the_forest_scores_like_scikit_learn():
    """As far as two forests of scikit-learn do, which differ by their seeds."""
    from sklearn.ensemble import IsolationForest  # noqa: PLC0415

    windows = traffic()
    distinct = windows.distinct
    rows = np.log1p(distinct.counts)
    every = np.repeat(rows, distinct.weights, axis=0)
    config = IsolationForestDetector.Config(trees=400)
    mine = IsolationForestDetector(config, 5).fit(windows).score(windows)
    one, other = (
        -IsolationForest(n_estimators=400, max_samples=256, random_state=seed)
        .fit(every)
        .score_samples(rows)[distinct.inverse]
        for seed in (5, 6)
    )
    assert np.abs(mine - one).mean() < 3 * np.abs(other - one).mean() < 0.03


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_same_seed_gives_the_same_scores_also_after_restoring(detector):
    windows = traffic(planted=PLANTED)
    fitted, twin = made(detector, 9).fit(windows), made(detector, 9).fit(windows)
    again = made(detector, 9).restore({name: np.array(array) for name, array in fitted.state().items()})
    for other in (twin, again):
        assert (fitted.score(windows) == other.score(windows)).all()
        assert fitted.explain(windows, 301) == other.explain(windows, 301)


@pytest.mark.parametrize("detector", DETECTORS)
@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 4), max_size=5), max_size=6),
    st.lists(st.lists(st.integers(0, 6), max_size=5), max_size=6),
)
def test_any_small_windows_get_finite_scores(detector, taught, judged):
    wide = vocabulary_of(*"abcdefg")
    config = detector.Config(trees=3) if detector is IsolationForestDetector else detector.Config()
    fitted = detector(config, 0).fit(windows_of(taught, vocabulary=wide[:5]))
    windows = windows_of(judged, vocabulary=wide)
    scores = fitted.score(windows)
    assert scores.shape == (len(judged),)
    assert np.isfinite(scores).all()
    for row in range(len(judged)):
        assert all(np.isfinite(part.weight) for part in fitted.explain(windows, row))


@pytest.mark.parametrize("cells", [1, 10**6])
def test_the_trees_are_sound_however_many_grow_at_once(cells, monkeypatch):
    monkeypatch.setattr("logad.detectors.isolation_forest._CELLS", cells)
    fitted = made(IsolationForestDetector, 3).fit(traffic())
    inner = fitted.feature >= 0
    trees, nodes = np.nonzero(inner)
    assert (fitted.children[trees, nodes] > nodes[:, None]).all()  # children come after their parents
    reached = np.zeros(inner.shape, dtype=int)
    np.add.at(reached, (trees[:, None], fitted.children[trees, nodes]), 1)
    assert reached.max() == 1  # and have one parent each
    assert (fitted.threshold[inner] < fitted.highest[fitted.feature[inner]]).all()
    assert (fitted.threshold[inner] >= fitted.lowest[fitted.feature[inner]]).all()


def test_a_pair_of_usual_counts_that_never_came_together_alarms():
    usual = [[0, 1, 1, 2]] * 300 + [[0, 1, 2, 2]] * 300
    windows = windows_of([*usual, [0, 1, 1, 2, 2]], vocabulary=NAMES)
    fitted = made(CleanBaseline).fit(windows.take(np.arange(600)))
    probability = fitted.tail_probabilities(windows)
    assert (probability[:600] == 1).all()
    assert probability[600] < fitted.need
    (part,) = fitted.explain(windows, 600)
    assert part.text == (
        "'write <NUM>' came twice while 'flushed' came twice; "
        "none of the 600 sessions of the baseline has that"
    )


def test_counts_that_vary_freely_in_the_baseline_do_not_alarm():
    generator = np.random.default_rng(0)
    codes = [[0] * int(n) + [1] for n in generator.geometric(0.02, 600)]
    fitted = made(CleanBaseline).fit(windows_of(codes[:500], vocabulary=NAMES))
    judged = windows_of(codes[500:], vocabulary=NAMES)
    assert (fitted.tail_probabilities(judged) < fitted.need).mean() <= 0.02


@pytest.mark.parametrize("kind", [WindowKind.TIME, WindowKind.RECORDS])
def test_time_and_record_windows_are_scored_too(kind):
    windows = windows_of([[0, 1]] * 50 + [[3] * 9], kind=kind, vocabulary=NAMES)
    for detector in (PcaDetector, IsolationForestDetector):
        assert kind in detector.kinds
        scores = made(detector).fit(windows.take(np.arange(50))).score(windows)
        assert scores[50] > scores[:50].max()
