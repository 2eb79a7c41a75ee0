"""Log clustering and severity words: what is unlike every normal group outranks, and is told by what differs."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from builders import vocabulary_of, windows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from logad.detectors import log_clustering
from logad.detectors.log_clustering import LogClustering
from logad.detectors.severity_words import SeverityWords

NAMES = vocabulary_of(
    "read <NUM>", "written <NUM>", "flushed", "login of <*>", "logout of <*>", "lost", "never"
)
READING, LOGIN = [0, 0, 1, 2], [3, 4]


def fitted(windows, **options):
    return LogClustering(LogClustering.Config(**options)).fit(windows)


def two_groups(planted=()):
    """Two hundred windows that read and flush, a hundred that log in; planted windows at the end."""
    codes = [READING + [0] * (n % 3) for n in range(200)] + [LOGIN] * 100
    return windows_of([*codes, *planted], vocabulary=NAMES)


def test_what_is_unlike_every_group_outranks_and_is_told_by_what_differs():
    windows = two_groups([[*LOGIN, 5], READING + LOGIN, [6]])
    detector = fitted(windows.take(np.arange(300)))
    scores = detector.score(windows)
    assert scores[300:].min() > scores[:300].max()
    (lost, *_) = detector.explain(windows, 300)
    assert lost.template == 5
    assert lost.text == "'lost' came once; in the normal windows most alike (100 windows) it does not come"
    assert (lost.expected, lost.actual, lost.events) == ("0", "1", (2,))
    assert {part.template for part in detector.explain(windows, 302)} >= {6}


def test_a_missing_event_is_told_with_how_often_it_comes():
    windows = two_groups([[3]])
    reasons = fitted(windows.take(np.arange(300))).explain(windows, 300)
    assert reasons[0].text.startswith("'logout of <*>' came 0 times; ")
    assert reasons[0].text.endswith("it comes once")
    assert reasons[0].weight > 0


def test_three_windows_that_are_alike_are_a_normal_group_and_two_are_none():
    for alike, normal in ((2, False), (3, True)):
        windows = two_groups([[5, 6]] * alike)
        assert (fitted(windows).score(windows)[-1] == 0) == normal


def test_groups_of_two_are_normal_where_there_are_no_larger_ones():
    windows = windows_of([[0], [1], [2], [2]], vocabulary=NAMES)
    assert fitted(windows).score(windows).max() == 0


def test_the_distance_decides_how_alike_a_group_is():
    windows = two_groups()
    assert len(fitted(windows, distance=0.001).members) == 4
    assert len(fitted(windows, distance=0.3).members) == 2


def test_no_two_windows_of_a_group_are_farther_apart_than_the_distance():
    chain = [[0] * (9 - step) + [1] * step for step in range(10)]  # each is near the next, the ends are far
    windows = windows_of(chain * 3, vocabulary=NAMES)
    detector = fitted(windows)
    assert len(detector.members) > 1
    assert detector.members.sum() == 30
    assert detector.score(windows).max() <= 0.3


counts_of_codes = st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=20)


@settings(max_examples=40, deadline=None)
@given(counts_of_codes, counts_of_codes)
def test_the_score_is_the_least_cosine_distance_and_the_reasons_are_parts_of_it(taught, judged):
    detector = fitted(windows_of(taught, vocabulary=NAMES))
    windows = windows_of(judged, vocabulary=NAMES)
    scores = detector.score(windows)

    def vector(counts):
        weighted = np.log1p(counts) * detector.weights
        return weighted / (np.linalg.norm(weighted) or 1)

    for row in range(len(windows)):
        counts = windows.distinct.counts[windows.distinct.inverse[row]]
        known = [vector(each) for each in detector.representatives]
        apart = [1 - float(vector(counts) @ each) for each in known]
        if counts.any() and all(each.any() for each in known):
            assert scores[row] == pytest.approx(min(apart), abs=1e-9)
        told = sum(part.weight for part in detector.explain(windows, row))
        assert told <= scores[row] + 1e-9
        assert (told > 0) == (scores[row] > 1e-9) or not counts.any() or not all(e.any() for e in known)


def test_many_distinct_vectors_are_grouped_in_rounds_as_they_are_at_once(monkeypatch):
    generator = np.random.default_rng(3)
    bases = [[0] * 9, [1] * 9, [2, 3] * 9, [4, 5] * 9]
    codes = [[*bases[n % 4], *bases[n % 4][: generator.integers(0, 9)]] for n in range(400)]
    windows = windows_of([*codes, [6]], vocabulary=NAMES)
    whole = fitted(windows)
    monkeypatch.setattr(log_clustering, "_AT_ONCE", 7)
    rounds = fitted(windows)
    assert np.allclose(whole.score(windows) > 0.5, rounds.score(windows) > 0.5)
    assert rounds.members.sum() == 400


def test_what_is_left_after_the_rounds_is_in_no_group(monkeypatch):
    monkeypatch.setattr(log_clustering, "_AT_ONCE", 2)
    windows = windows_of([[code] * 3 for code in range(26)], vocabulary=vocabulary_of(*map(str, range(26))))
    assert len(fitted(windows).members) == 8  # four rounds of two


def test_scipy_is_imported_only_to_fit():
    code = "import sys, logad.detectors.log_clustering; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Severity words

GRAVE = vocabulary_of("ready", "as usual", "slow answer", "failed", "panic", severities=[0, 1, 2, 3, 3])


def severity(windows):
    return SeverityWords(SeverityWords.Config()).fit(windows)


def test_a_window_is_as_grave_as_its_gravest_line():
    only_level = (*GRAVE[:3], replace(GRAVE[3], alarming=False), GRAVE[4])
    windows = windows_of([[], [0, 1], [0, 2, 2, 2], [2, 3], [3, 4, 0]], vocabulary=only_level)
    assert severity(windows).score(windows).tolist() == [0, 0, 1, 2, 3]


def test_the_gravest_line_is_told_first_and_pointed_at():
    windows = windows_of([[0, 2, 2, 2, 4], [0, 1]], vocabulary=GRAVE)
    reasons = severity(windows).explain(windows, 0)
    assert [reason.text for reason in reasons] == [
        "'panic' came once: its level and its words report an error",
        "'slow answer' came 3 times: it warns",
    ]
    assert reasons[0].events == (4,)
    assert severity(windows).explain(windows, 1) == ()
