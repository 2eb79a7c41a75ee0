"""Estimators of scikit-learn and PyOD by name: held to the contract, checked at start-up, kept as data."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from builders import vocabulary_of, windows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from logad import config
from logad.detectors import _adapting
from logad.detectors._columns import Columns, drawn
from logad.detectors.pyod import MODELS, PyodDetector
from logad.detectors.sklearn import ESTIMATORS, SklearnDetector
from logad.errors import ConfigError, StateError
from logad.judge import Judge, JudgeConfig, learn
from logad.testing import ContractBroken
from logad.testing.detectors import PROMISES, Subject
from logad.types import WindowKind

NAMES = vocabulary_of("read <NUM>", "write <NUM>", "flushed", "connection lost", "never in training")
CASES = [(SklearnDetector, {"estimator": name}) for name in ESTIMATORS]
if importlib.util.find_spec("pyod"):
    torch = importlib.util.find_spec("torch") is not None
    neural = {"AutoEncoder", "DeepSVDD", "VAE"}
    if not torch:
        print("skipped: torch is not installed, PyOD's neural models are not checked")
    CASES += [(PyodDetector, {"model": name}) for name in MODELS if torch or name not in neural]
else:
    print("skipped: PyOD is not installed (the extra `pyod`), its adapter is not checked")

every = pytest.mark.parametrize(
    ("part", "options"), CASES, ids=[f"{part.name}-{next(iter(each.values()))}" for part, each in CASES]
)
needs_pyod = pytest.mark.skipif(importlib.util.find_spec("pyod") is None, reason="PyOD is not installed")


def made(part=SklearnDetector, seed=0, **options):
    return part(part.Config(**options), seed)


def traffic(count=300, planted=(), seed=0):
    """Reads and writes that grow together, a flush in each window; planted windows at the end."""
    loads = np.random.default_rng(seed).integers(1, 5, count)
    codes = [[0] * (2 * load) + [1] * load + [2] for load in loads]
    return windows_of([*codes, *planted], vocabulary=NAMES)


@pytest.mark.slow
@every
def test_every_estimator_keeps_the_contract(part, options):
    subject = Subject(part, part.Config(**options), WindowKind.SESSION)
    broken = {}
    for promise in PROMISES:
        try:
            promise(subject)
        except ContractBroken as error:
            broken[promise.__name__] = str(error)
    assert broken == {}


@every
def test_a_window_is_as_strange_alone_as_among_others(part, options):
    windows = traffic(150, [[0] * 8 + [1] + [2], [0, 0, 1]])
    detector = made(part, **options).fit(windows.take(np.arange(150)))
    together = detector.score(windows)
    for row in (0, 3, 150, 151):
        assert detector.score(windows.take([row]))[0] == pytest.approx(together[row], rel=1e-6, abs=1e-6)


@every
def test_global_random_numbers_go_on_as_if_nothing_had_been_fitted(part, options):
    np.random.seed(5)  # noqa: NPY002  (what models draw from)
    expected = np.random.random(3).tolist()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    made(part, **options).fit(traffic(60)).score(traffic(10))
    assert np.random.random(3).tolist() == expected  # noqa: NPY002


@pytest.mark.parametrize("estimator", ["LocalOutlierFactor", "EllipticEnvelope", "IsolationForest", "KMeans"])
def test_what_never_varied_is_judged_although_the_estimator_cannot_see_it(estimator):
    windows = traffic(300, [[0] * 4 + [1] * 2, [0] * 4 + [1] * 2 + [2, 4]])
    detector = made(estimator=estimator).fit(windows.take(np.arange(300)))
    scores = detector.score(windows)
    assert scores[300:].min() > scores[:300].max()
    assert detector.explain(windows, 300)[0].text == "'flushed' came 0 times; usually it comes once"
    assert detector.explain(windows, 301)[0].text == "'never in training' came once; usually it does not come"


def test_a_template_that_came_after_the_fit_is_judged_too():
    taught = windows_of([[0, 0, 1]] * 50 + [[0, 1]] * 50, vocabulary=NAMES[:2])
    detector = made().fit(taught)
    windows = windows_of([[0, 1], [0, 1, 4]], vocabulary=NAMES)
    usual, fresh = detector.score(windows)
    assert fresh > usual + 1
    assert [reason.template for reason in detector.explain(windows, 1)][:1] == [4]


@pytest.mark.parametrize("estimator", ["DBSCAN", "HDBSCAN", "OPTICS"])
def test_a_window_that_is_in_no_cluster_is_strange_although_it_was_learned_from(estimator):
    windows = traffic(300, [[0] * 30 + [1]])
    detector = made(estimator=estimator).fit(windows)
    distances = detector._strangeness(detector._columns.rows(windows.distinct.counts))
    assert distances[-1] > 1 > distances[:-1].max()


class Boundless(SklearnDetector):
    """Says of some rows that nothing is known, of others that they are infinitely strange."""

    def _strangeness(self, rows):
        return np.where(rows[:, 0] > 0.5, np.inf, np.where(rows[:, 0] < -0.5, np.nan, rows[:, 0]))


def test_what_is_no_number_or_infinite_becomes_a_score():
    windows = traffic(100)
    scores = Boundless(Boundless.Config()).fit(windows).score(windows)
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > 1


def test_two_windows_are_enough_to_learn_from():
    windows = windows_of([[0], [0, 0]], vocabulary=NAMES)
    assert made(estimator="GaussianMixture").fit(windows)._estimator is not None


class ByRank(SklearnDetector):
    """Scores a row by its share of what it is scored with, as ECOD does."""

    def _strangeness(self, rows):
        return (rows - rows.mean(axis=0)).sum(axis=1)


def test_rows_whose_scores_depend_on_each_other_are_scored_one_by_one():
    windows = traffic(100)
    detector = ByRank(ByRank.Config()).fit(windows)
    assert detector.score(windows.take([3]))[0] == detector.score(windows)[3]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_reasons_add_up_to_the_fall_to_a_usual_window(estimator):
    windows = traffic(300, [[0] * 4 + [1] * 2 + [2, 3, 4, 4]])
    detector = made(estimator=estimator).fit(windows.take(np.arange(300)))
    reasons = detector.explain(windows, 300)
    assert {reason.template for reason in reasons} >= {3, 4}
    now = windows.distinct.counts[windows.distinct.inverse[300]].copy()
    before = detector._scored(now[None, :])[0]
    for reason in reasons:
        now[reason.template] = int(reason.expected)
    fall = before - detector._scored(now[None, :])[0]
    assert sum(reason.weight for reason in reasons) == pytest.approx(fall, rel=0.2)


def test_at_most_two_thousand_rows_are_fitted_on_and_rare_vectors_are_among_them():
    windows = traffic(5_000, [[3]])
    detector = made(estimator="KMeans").fit(windows)
    assert detector._sample.shape == (2_000, 5)
    assert (detector._sample[:, 3] > 0).any()


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=80), st.integers(1, 50), st.integers(0, 3))
def test_a_sample_is_never_larger_than_allowed_or_than_there_is(weights, most, seed):
    chosen = drawn(np.asarray(weights), most, seed)
    assert len(chosen) == min(most, sum(weights))
    assert (np.diff(chosen) >= 0).all()
    assert (np.bincount(chosen, minlength=len(weights)) <= np.asarray(weights) + 1).all() or most < sum(
        weights
    )


codes = st.lists(st.lists(st.integers(0, 4), max_size=5), max_size=8)


@settings(max_examples=40, deadline=None)
@given(codes)
def test_columns_stand_for_what_varies_and_the_usual_count_is_the_median(taught):
    windows = windows_of(taught, vocabulary=NAMES)
    columns = Columns.of(windows.distinct)
    whole = windows.distinct.counts[windows.distinct.inverse]
    assert columns.rows(whole).shape == (len(taught), int((np.ptp(whole, axis=0) > 0).sum()) if taught else 0)
    assert (columns.beside(whole) == 0).all()
    if taught:
        assert columns.usual.tolist() == np.quantile(whole, 0.5, axis=0, method="inverted_cdf").tolist()


# What is kept


@pytest.mark.parametrize("part", sorted({part for part, _ in CASES}, key=lambda part: part.name))
def test_a_stored_judge_that_was_fitted_again_judges_the_same(part):
    windows = traffic(300, [[0] * 90])
    judge = learn(windows, JudgeConfig(detectors={part.name: {}}), seed=4)
    state = judge.state()
    assert not any(array.dtype.hasobject for array in state.values())
    again = Judge.restored(state)
    assert np.array_equal(judge.judge(windows).score, again.judge(windows).score)


def test_what_is_stored_grows_with_what_the_sampled_windows_hold():
    names = vocabulary_of(*(f"template {code}" for code in range(2_000)))
    windows = windows_of([[n % 2_000, (n * 7) % 2_000] for n in range(3_000)], vocabulary=names)
    detector = made(estimator="KMeans", options={"n_clusters": 2, "n_init": 1}).fit(windows)
    assert sum(array.nbytes for array in detector.state().values()) < 250_000


def test_an_estimator_that_scores_otherwise_than_when_it_was_stored_is_refused():
    state = made().fit(traffic()).state()
    with pytest.raises(StateError, match=r"LocalOutlierFactor of scikit-learn .* train again"):
        made().restore({**state, "scale": state["scale"] * 1.1})


# What is refused


def faults(tmp_path, text):
    path = tmp_path / "logad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config.load(path, {"HOME": str(tmp_path)})
    return caught.value.problems


def test_a_wrong_name_lists_the_estimators_there_are(tmp_path):
    (problem,) = faults(tmp_path, "detectors:\n  sklearn:\n    estimator: LocalOutlierFactory\n")
    assert (
        "logad.yaml:3: detectors.sklearn.estimator: found 'LocalOutlierFactory'; expected one of" in problem
    )
    assert "LocalOutlierFactor, OneClassSVM" in problem
    (problem,) = faults(tmp_path, "detectors: {pyod: {model: ECO}}")
    assert "found 'ECO'; expected one of ECOD, COPOD, HBOS" in problem


def test_a_wrong_option_lists_the_options_there_are(tmp_path):
    (problem,) = faults(tmp_path, "detectors: {sklearn: {estimator: KMeans, options: {clusters: 3}}}")
    assert "found 'clusters'; expected options of KMeans: n_clusters, init" in problem


def test_a_wrong_value_is_told_in_the_words_of_the_estimator(tmp_path):
    (problem,) = faults(tmp_path, "detectors: {sklearn: {estimator: OneClassSVM, options: {nu: 7}}}")
    assert "'nu' parameter of OneClassSVM must be a float in the range (0.0, 1.0]" in problem


def test_good_options_reach_the_estimator():
    detector = made(options={"n_neighbors": 7}).fit(traffic())
    assert detector._estimator.n_neighbors == 7
    assert detector._estimator.novelty


@needs_pyod
def test_wrong_options_of_pyod_are_told(tmp_path):
    (problem,) = faults(tmp_path, "detectors: {pyod: {model: KNN, options: {neighbors: 3}}}")
    assert "found 'neighbors'; expected options of KNN: contamination, n_neighbors" in problem
    (problem,) = faults(tmp_path, "detectors: {pyod: {model: ECOD, options: {contamination: 7}}}")
    assert "expected options that ECOD takes (" in problem


def test_without_pyod_the_error_says_what_to_install(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyod"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyod", None)
    with pytest.raises(ConfigError, match=r"PyOD is not installed; .* pip install 'logad\[pyod\]'"):
        made(PyodDetector).fit(traffic())
    (problem,) = faults(tmp_path, "detectors: {pyod: {model: KNN, options: {n_neighbors: 3}}}")
    assert "PyOD is not installed" in problem
    assert "pip install 'logad[pyod]'" in problem


def test_too_few_windows_are_a_beginning_and_many_are_a_fault():
    options = {"estimator": "KMeans", "options": {"n_clusters": 150}}
    few = made(**options).fit(traffic(30))
    assert (few.score(traffic(30)) == 0).all()
    with pytest.raises(ConfigError, match=r"KMeans cannot learn from 120 windows of 2 templates"):
        made(**options).fit(traffic(120))


def test_an_unknown_estimator_is_refused_from_python_too():
    with pytest.raises(ValidationError, match="expected one of LocalOutlierFactor"):
        JudgeConfig(detectors={"sklearn": {"estimator": "Nothing"}})


def test_nothing_is_imported_before_it_is_used():
    code = (
        "import sys, logad.judge; from logad.judge import JudgeConfig\n"
        "JudgeConfig(detectors={'sklearn': {'estimator': 'KMeans'}, 'pyod': {'model': 'HBOS'}})\n"
        "print([name for name in ('sklearn', 'pyod', 'scipy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_options_travel_as_json():
    chosen = JudgeConfig(detectors={"sklearn": {"options": {"n_neighbors": 7, "metric": "cosine"}}})
    again = JudgeConfig(**json.loads(chosen.model_dump_json()))
    assert made(**again.detectors["sklearn"]).config == made(**chosen.detectors["sklearn"]).config


def test_an_explanation_asks_for_few_scores(monkeypatch):
    names = vocabulary_of(*(f"template {code}" for code in range(300)))
    windows = windows_of([[n % 150, n % 7] for n in range(400)] + [list(range(300))], vocabulary=names)
    detector = made(estimator="KMeans").fit(windows.take(np.arange(400)))
    asked = []
    scored = _adapting.Adapted._scored
    monkeypatch.setattr(
        _adapting.Adapted, "_scored", lambda self, rows: (asked.append(len(rows)), scored(self, rows))[1]
    )
    assert detector.explain(windows, 400)
    assert sum(asked) <= 70
