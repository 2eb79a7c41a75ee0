"""The rare-sequences detector: order inside sessions and streams."""

import numpy as np
from builders import vocabulary_of, windows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from logad.contracts import PartConfig
from logad.detectors._ngrams import Followers
from logad.detectors.rare_sequences import RareSequences
from logad.types import WindowKind

VOCABULARY = vocabulary_of("login", "browse", "pay", "ship", "logout")
LOGIN, BROWSE, PAY, SHIP, LOGOUT = range(5)
ORDINARY = [LOGIN, BROWSE, BROWSE, PAY, SHIP, LOGOUT]


def fitted(windows):
    return RareSequences(PartConfig()).fit(windows)


def sessions(codes, kind=WindowKind.SESSION):
    return windows_of(codes, kind=kind, vocabulary=VOCABULARY)


def test_swapped_steps_outrank_and_the_sentence_says_what_usually_follows():
    windows = sessions([ORDINARY] * 500 + [[LOGIN, BROWSE, BROWSE, SHIP, PAY, LOGOUT]])
    detector = fitted(windows)
    assert detector.score(windows).argmax() == 500
    reasons = detector.explain(windows, 500)
    assert any(
        reason.text.startswith("'ship' followed 'browse'") and "after that comes 'pay' in 99." in reason.text
        for reason in reasons
    )
    assert all(reason.events == tuple(sorted(reason.events)) for reason in reasons)
    assert detector.explain(windows, 0) == ()


def test_a_missing_end_is_told_as_one():
    windows = sessions([ORDINARY] * 500 + [ORDINARY[:-1]])
    detector = fitted(windows)
    assert detector.score(windows).argmax() == 500
    (reason,) = detector.explain(windows, 500)
    assert reason.text.startswith("the session ends after 'ship'; after that comes 'logout' in 99.8 %")
    assert (reason.expected, reason.actual) == ("'logout'", "the end")


def test_a_missing_beginning_is_told_as_one():
    windows = sessions([ORDINARY] * 500 + [ORDINARY[1:]])
    texts = [reason.text for reason in fitted(windows).explain(windows, 500)]
    assert any(
        text.startswith("the session begins with 'browse'; sessions begin with 'login'") for text in texts
    )


def test_interleaved_threads_are_not_surprising():
    generator = np.random.default_rng(0)
    windows = sessions([generator.permutation([0, 0, 0, 1, 1, 1, 2, 2, 2]).tolist() for _ in range(2000)])
    detector = fitted(windows)
    told = sum(bool(detector.explain(windows, row)) for row in range(2000))
    assert told < 100


def test_many_ways_to_go_on_make_none_of_them_strange():
    generator = np.random.default_rng(0)
    windows = windows_of([[0, int(generator.integers(1, 200)), 0] for _ in range(2000)])
    scores = fitted(windows).score(windows)
    assert (scores > 4).mean() < 0.04


def test_windows_in_time_begin_and_end_anywhere():
    stream = ORDINARY * 200
    cut = [stream[place : place + 7] for place in range(0, len(stream), 7)]
    windows = sessions(cut, kind=WindowKind.TIME)
    assert fitted(windows).score(windows).max() < 2.0
    aligned = fitted(sessions([ORDINARY] * 200, kind=WindowKind.TIME))
    assert aligned.score(sessions([ORDINARY[1:], ORDINARY[:3]], kind=WindowKind.TIME)).max() < 2.0
    swapped = sessions([[LOGIN, BROWSE, SHIP, PAY, LOGOUT]], kind=WindowKind.TIME)
    assert fitted(windows).score(swapped)[0] > 4.0


def test_templates_unseen_at_fit_are_strange_and_survived():
    detector = fitted(sessions([ORDINARY] * 500))
    stranger = windows_of([[LOGIN, BROWSE, 9, PAY], [], [9]])
    scores = detector.score(stranger)
    assert scores[0] > 4.0
    assert scores[1] == 0.0
    assert np.isfinite(scores).all()
    assert "'template 9' followed 'template 0' and 'template 1'" in detector.explain(stranger, 0)[0].text


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 4), max_size=8), max_size=30),
    st.integers(0, 30),
    st.sampled_from(list(WindowKind)),
)
def test_scores_are_finite_repeatable_and_survive_their_state(codes, cut, kind):
    windows = sessions(codes, kind)
    detector = fitted(windows.take(range(min(cut, len(windows)))))
    scores = detector.score(windows)
    assert scores.shape == (len(windows),)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
    restored = RareSequences(PartConfig()).restore(detector.state())
    assert np.array_equal(scores, restored.score(windows))
    for row in range(len(windows)):
        reasons = restored.explain(windows, row)
        assert reasons == detector.explain(windows, row)
        assert all(0 <= place < len(codes[row]) for reason in reasons for place in reason.events)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_followers_count_as_a_loop_would(pairs):
    contexts, events = (np.asarray(column) for column in zip(*pairs, strict=True))
    followers = Followers.of(contexts, events, 4)
    every = [(context, event) for context in range(5) for event in range(4)]
    asked = tuple(np.asarray(column) for column in zip(*every, strict=True))
    for at, (context, event) in enumerate(every):
        mine = [other for given_context, other in pairs if given_context == context]
        limit = max(mine.count(event), 1)
        rare = sum(mine.count(other) for other in set(mine) if mine.count(other) <= limit)
        assert followers.cases(asked[0])[at] == len(mine)
        assert followers.followed(*asked)[at] == mine.count(event)
        assert followers.as_rare(*asked)[at] == rare


@settings(max_examples=25, deadline=None)
@given(st.permutations(ORDINARY).filter(lambda order: list(order) != ORDINARY))
def test_any_other_order_outranks_the_ordinary_one(order):
    windows = sessions([ORDINARY] * 300 + [list(order)])
    assert fitted(windows).score(windows).argmax() == 300
