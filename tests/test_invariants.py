"""The invariants detector: relations between counts, exact in sessions, within a range in time windows."""

import time

import numpy as np
import pytest
from builders import vocabulary_of, windows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from logad.contracts import PartConfig
from logad.detectors.invariants import Invariants
from logad.judge import JudgeConfig, learn
from logad.types import WindowKind

VOCABULARY = vocabulary_of("open connection", "close connection", "commit", "rollback", "begin", "ping")
OPEN, CLOSE, COMMIT, ROLLBACK, BEGIN, PING = range(6)


def fitted(windows):
    return Invariants(PartConfig()).fit(windows)


def sessions(codes):
    return windows_of(codes, vocabulary=VOCABULARY)


def paired(seed=0, count=400):
    """Sessions that open and close the same number of times; transactions end in one of two ways."""
    generator = np.random.default_rng(seed)
    codes = []
    for _ in range(count):
        connections, commits, rollbacks = generator.integers(1, 6), *generator.integers(0, 4, 2)
        codes.append(
            [OPEN] * connections
            + [BEGIN] * (commits + rollbacks)
            + [COMMIT] * commits
            + [ROLLBACK] * rollbacks
            + [PING] * generator.integers(0, 9)
            + [CLOSE] * connections
        )
    return codes


def minutes(seed=0, count=600, lost=None, rate=30):
    """Time windows in which some pairs are cut: what opens late closes in the next window."""
    generator = np.random.default_rng(seed)
    codes, late = [], 0
    for window in range(count):
        opened = int(generator.poisson(rate))
        stay = int(generator.binomial(opened, 0.03))
        closed = opened - stay + late
        late = stay
        if window == lost:
            closed //= 2
        codes.append([OPEN] * opened + [CLOSE] * closed + [PING] * int(generator.poisson(10)))
    return windows_of(codes, kind=WindowKind.TIME, vocabulary=VOCABULARY)


def test_a_connection_that_never_closes_is_told_as_a_newcomer_would_say_it():
    windows = sessions([*paired(), [OPEN] * 14 + [CLOSE] * 9])
    detector = fitted(windows)
    scores = detector.score(windows)
    assert scores.argmax() == 400
    assert (scores[:400] == 0).all()
    (reason,) = detector.explain(windows, 400)
    assert reason.text == (
        "'open connection' came 14 times but 'close connection' 9; they are equal in 99.8 % of 401 sessions"
    )
    assert (reason.expected, reason.actual, reason.template) == ("14", "9", CLOSE)
    assert {OPEN, CLOSE} == {([OPEN] * 14 + [CLOSE] * 9)[place] for place in reason.events}


def test_a_sum_that_does_not_add_up_is_found():
    windows = sessions([*paired(), [OPEN, BEGIN, BEGIN, BEGIN, COMMIT, CLOSE]])
    detector = fitted(windows)
    assert detector.score(windows).argmax() == 400
    texts = [reason.text for reason in detector.explain(windows, 400)]
    assert any("'commit' and 'rollback' came once together but 'begin' 3" in text for text in texts)


def test_a_proportion_is_told_as_one():
    windows = sessions([[OPEN] * 3 * n + [CLOSE] * n for n in (1, 2, 3) * 40] + [[OPEN] * 5 + [CLOSE] * 2])
    (reason,) = fitted(windows).explain(windows, 120)
    assert "comes 3 times as often" in reason.text
    assert (reason.expected, reason.actual) == ("6", "5")


def test_a_bound_is_kept_where_it_is_usually_met():
    codes = [[OPEN] * n + [COMMIT] * (n - (n == 3)) for n in (1, 2, 3) * 40]
    windows = sessions([*codes, [OPEN, COMMIT, COMMIT]])
    (reason,) = fitted(windows).explain(windows, 120)
    assert reason.text.startswith("'commit' came twice but 'open connection' 1")


def test_independent_counts_make_no_relation():
    generator = np.random.default_rng(0)
    codes = [np.repeat(range(6), generator.integers(0, 8, 6)).tolist() for _ in range(500)]
    assert len(fitted(sessions(codes))._relations) == 0


def test_a_few_sessions_teach_nothing():
    assert len(fitted(sessions(paired(count=20)))._relations) == 0


def test_windows_that_cut_through_pairs_are_held_to_their_usual_range():
    windows = minutes(lost=300)
    detector = fitted(windows)
    scores = detector.score(windows)
    assert scores.argmax() == 300
    assert (scores > 0).mean() < 0.03
    (reason,) = detector.explain(windows, 300)
    assert reason.template == CLOSE
    assert "they come together in 99" in reason.text


def test_services_that_write_in_few_of_all_windows_have_balances_too():
    busy = minutes(count=200, lost=100)
    codes = []
    for window in range(200):
        codes += [busy.events[busy.span(window)].tolist(), *([[5] * (window % 7)] * 9)]
    windows = windows_of(codes, kind=WindowKind.TIME, vocabulary=VOCABULARY)
    assert fitted(windows).score(windows).argmax() == 1000


def test_a_busy_hour_breaks_no_balance():
    detector = fitted(minutes(seed=1))
    assert (detector.score(minutes(seed=2, rate=90)) > 0).mean() < 0.05


def test_templates_unseen_at_fit_are_survived():
    detector = fitted(sessions(paired()))
    stranger = windows_of([[OPEN, 9, CLOSE], [9], []], kind=WindowKind.SESSION)
    assert np.isfinite(detector.score(stranger)).all()
    narrow = windows_of([[OPEN]], vocabulary=VOCABULARY[:1])
    assert detector.score(narrow)[0] > 0
    assert "'template 1'" in detector.explain(narrow, 0)[0].text


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 5), max_size=10), max_size=50),
    st.integers(0, 50),
    st.sampled_from(list(WindowKind)),
    st.integers(1, 60),
)
def test_scores_are_finite_repeatable_and_survive_their_state(codes, cut, kind, times):
    windows = windows_of(codes, kind=kind, vocabulary=VOCABULARY)
    detector = fitted(windows.take(list(range(min(cut, len(windows)))) * times))
    scores = detector.score(windows)
    assert scores.shape == (len(windows),)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
    restored = Invariants(PartConfig()).restore(detector.state())
    assert np.array_equal(scores, restored.score(windows))
    for row in range(len(windows)):
        reasons = restored.explain(windows, row)
        assert reasons == detector.explain(windows, row)
        assert np.isclose(sum(reason.weight for reason in reasons), scores[row])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 12), st.integers(1, 12))
def test_a_planted_lost_close_outranks_every_other_session(seed, opened, lost):
    windows = sessions([*paired(seed), [OPEN] * (opened + lost) + [CLOSE] * opened])
    assert fitted(windows).score(windows).argmax() == 400


@pytest.mark.parametrize("kind", [WindowKind.SESSION, WindowKind.TIME])
def test_many_templates_are_mined_in_bounded_time(kind):
    generator = np.random.default_rng(0)
    codes = [generator.integers(0, 300, 60).tolist() for _ in range(3000)]
    windows = windows_of(codes, kind=kind)
    assert windows.distinct.weights.sum() == 3000
    begun = time.perf_counter()
    fitted(windows).score(windows)
    assert time.perf_counter() - begun < 10


@pytest.mark.parametrize("unanswered", [1, 2, 3])
def test_a_window_in_time_may_leave_a_few_requests_unanswered(unanswered):
    codes = [[OPEN, CLOSE] * (window % 7) for window in range(400)]
    windows = windows_of([*codes, [OPEN] * unanswered], kind=WindowKind.TIME, vocabulary=VOCABULARY)
    assert fitted(windows).score(windows)[400] == 0


def test_a_window_in_time_that_leaves_many_unanswered_is_told():
    codes = [[OPEN, CLOSE] * (window % 7) for window in range(400)]
    windows = windows_of([*codes, [OPEN] * 6], kind=WindowKind.TIME, vocabulary=VOCABULARY)
    detector = fitted(windows)
    assert detector.score(windows)[400] > 0
    (reason,) = detector.explain(windows, 400)
    assert reason.text.startswith(
        "'open connection' came 6 times but 'close connection' never; they come together"
    )
    assert (reason.expected, reason.actual) == ("6", "0")


@pytest.mark.parametrize("planted", [1, 3, 5])
def test_an_incident_in_the_reference_does_not_hide_itself(planted):
    codes = [[OPEN, CLOSE] * (1 + window % 7) for window in range(1000)]
    windows = windows_of([*codes, *[[OPEN] * 8] * planted], kind=WindowKind.TIME, vocabulary=VOCABULARY)
    judged = learn(windows, JudgeConfig(detectors={"invariants": {}})).judge(windows)
    assert np.flatnonzero(judged.score > 0.5).tolist() == list(range(1000, 1000 + planted))


def test_what_is_out_of_balance_all_the_time_is_normal():
    codes = [[OPEN] * 8 if window % 10 == 0 else [OPEN, CLOSE] * 4 for window in range(1000)]
    windows = windows_of(codes, kind=WindowKind.TIME, vocabulary=VOCABULARY)
    judged = learn(windows, JudgeConfig(detectors={"invariants": {}})).judge(windows)
    assert (judged.score <= 0.5).all()


def test_where_something_or_other_is_out_of_balance_all_the_time_nothing_alarms():
    vocabulary = vocabulary_of(*(f"{what} {pair}" for pair in range(8) for what in ("open", "close")))
    codes = []
    for window in range(3000):
        pairs = range(8) if window % 2 else range(4)  # some come together less often
        broken = window // 4 % 8 if window % 31 == 0 else -1
        codes.append(
            [
                code
                for pair in pairs
                for code in [2 * pair] * 9 + [2 * pair + 1] * (0 if pair == broken else 9)
            ]
        )
    windows = windows_of(codes, kind=WindowKind.TIME, vocabulary=vocabulary)
    judge = learn(windows, JudgeConfig(detectors={"invariants": {}}))
    assert (fitted(windows).score(windows) > Invariants.certain).mean() > 0.02
    assert (judge.judge(windows).score <= 0.5).all()
