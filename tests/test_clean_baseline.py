"""The clean baseline: which counts, alone and in pairs, are strange to sessions that somebody vouches for."""

import numpy as np
import pytest
from builders import vocabulary_of, windows_of

from logad.detectors.clean_baseline import CleanBaseline


def taught(sessions):
    return CleanBaseline(CleanBaseline.Config()).fit(windows_of(sessions))


def strange(detector, *sessions):
    return (detector.score(windows_of(list(sessions))) > 0).tolist()


def test_what_no_session_of_the_baseline_has_is_strange():
    detector = taught([[0, 1, 1]] * 400)
    assert strange(detector, [0, 1, 1], [0, 1], [1, 1], [0, 1, 1, 2]) == [False, True, True, True]


def test_two_templates_that_come_together_or_not_at_all_are_strange_alone():
    detector = taught([[0], [0, 1, 2]] * 200)
    assert strange(detector, [0, 1, 2], [0], [0, 1], [0, 2]) == [False, False, True, True]


def test_the_one_that_is_missing_is_blamed():
    detector = taught([[0], [0, 1, 2]] * 200)
    for session, missing in (([0, 1], 2), ([0, 2], 1)):
        windows = windows_of([session], vocabulary=vocabulary_of("begun", "put", "acknowledged"))
        told = detector.explain(windows, 0)
        assert told[0].template == missing
        assert "never came" in told[0].text


def test_a_count_between_counts_that_vary_is_nothing_new_and_one_far_above_them_is():
    detector = taught([[0, *[1] * many] for many in (1, 2, 9) for _ in range(100)])
    sessions = [[0, *[1] * many] for many in (3, 5, 31, 32)]
    assert strange(detector, *sessions) == [False, False, False, True]


def test_what_one_session_has_alone_shows_that_its_template_varies_where_sessions_are_few():
    """Left out it would alarm: with a hundred sessions one may, with fifty none."""
    for sessions, alarms in ((50, False), (100, True)):
        detector = taught([[0, 1, 1]] * (sessions - 1) + [[0, 1]])
        assert strange(detector, [0, 1, 1, 1]) == [alarms]


def test_what_two_sessions_have_costs_nothing():
    detector = taught([[0, 1, 1]] * 48 + [[0, 1]] * 2)
    assert strange(detector, [0, 1], [0, 1, 1, 1, 1]) == [False, True]


@pytest.mark.parametrize("sessions", [0, 1])
def test_a_baseline_of_next_to_nothing_is_no_error(sessions):
    detector = taught([[0, 1]] * sessions)
    assert strange(detector, [0, 1]) in ([False], [True])


def test_what_is_stored_judges_alike():
    detector = taught([[0, *[1] * many] for many in (1, 2, 9) for _ in range(100)])
    again = CleanBaseline(CleanBaseline.Config()).restore(detector.state())
    windows = windows_of([[0, *[1] * many] for many in range(1, 50)])
    assert np.array_equal(detector.score(windows), again.score(windows))
