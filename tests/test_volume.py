"""The volume detector: bursts, drops, silences, rhythm and what comes back."""

import re

import numpy as np
import pytest
from builders import vocabulary_of, windows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from logad.contracts import PartConfig
from logad.detectors.volume import Volume
from logad.types import WindowKind
from logad.windows import Windows

VOCABULARY = vocabulary_of("request served", "connection opened", "disk slow", severities=[0, 0, 2])
DAY = 288  # windows of five minutes


def steady(windows, changes=None, seed=0, rate=60.0, begin=0):
    """Two services; `changes` gives the factor of `api` in some windows."""
    generator = np.random.default_rng(seed)
    codes, services, starts = [], [], []
    for window in range(begin, begin + windows):
        factor = (changes or {}).get(window, 1.0)
        for service, usual in (("api", rate * factor), ("db", 20.0)):
            codes.append([0] * generator.poisson(usual) + [1] * generator.poisson(usual / 12))
            services.append(service)
            starts.append(window * 300.0)
    return windows_of(codes, kind=WindowKind.TIME, services=services, starts=starts, vocabulary=VOCABULARY)


def alarms(detector, windows):
    """(service, window) of each alarm."""
    rows = np.flatnonzero(detector.tail_probabilities(windows) < detector.need)
    starts = windows.table["start"].dt.epoch("s").to_numpy()
    origin = starts.min() - starts.min() % 86_400
    return [(windows.table["service"][int(row)], int(starts[row] - origin) // 300) for row in rows]


def test_steady_services_raise_no_alarm():
    windows = steady(3 * DAY)
    assert alarms(Volume(PartConfig()).fit(windows), windows) == []


@pytest.mark.parametrize("factor", [4.0, 0.1])
def test_a_burst_and_a_drop_are_found_in_the_windows_that_were_fitted(factor):
    windows = steady(2 * DAY, {300: factor, 301: factor})
    detector = Volume(PartConfig()).fit(windows)
    assert alarms(detector, windows) == [("api", 300), ("api", 301)]
    (reason, *_) = detector.explain(windows, 600)
    assert "; usually " in reason.text
    assert any(part.text.startswith("api wrote ") for part in detector.explain(windows, 600))
    assert abs(float(reason.expected) - 65) < 8


def test_a_burst_does_not_move_the_baseline():
    plain, burst = steady(DAY), steady(DAY, dict.fromkeys(range(100, 108), 20.0))
    means = [Volume(PartConfig()).fit(windows)._baseline.means.mean(axis=1) for windows in (plain, burst)]
    assert np.allclose(means[0], means[1], rtol=0.1)


def test_a_busy_service_that_falls_silent_is_told_in_time():
    windows = steady(3 * DAY, dict.fromkeys(range(500, 503), 0.0))
    detector = Volume(PartConfig()).fit(windows)
    assert ("api", 501) in alarms(detector, windows)
    assert ("api", 502) in alarms(detector, windows)
    (reason,) = detector.explain(windows, 2 * 502)
    assert reason.text.startswith("api has been silent for 15")
    assert "its longest silence in 3 days was" in reason.text


def test_a_silence_is_news_for_six_windows():
    windows = steady(2 * DAY, dict.fromkeys(range(300, 330), 0.0))
    fitted = Volume(PartConfig()).fit(steady(2 * DAY))
    silent = [
        row
        for row in range(600, 660, 2)
        if any("silent" in part.text for part in fitted.explain(windows, row))
    ]
    assert len(silent) == 6


def test_a_silence_that_began_before_the_judged_windows_is_still_found():
    whole = steady(2 * DAY, dict.fromkeys(range(570, 576), 0.0))
    detector = Volume(PartConfig()).fit(whole.take(range(2 * 571)))
    judged = alarms(detector, whole.take(range(2 * 571, 2 * 576)))
    assert ("api", 571 - DAY) in judged


def test_where_nobody_writes_one_service_speaks_for_all():
    windows = steady(2 * DAY)
    keep = windows.take(range(4 * DAY - 40))
    codes = [[]] * 40
    starts = [(2 * DAY - 20 + place // 2) * 300.0 for place in range(40)]
    hole = windows_of(
        codes, kind=WindowKind.TIME, services=["api", "db"] * 20, starts=starts, vocabulary=VOCABULARY
    )
    detector = Volume(PartConfig()).fit(keep)
    silent = [row for row in range(40) if any("silent" in part.text for part in detector.explain(hole, row))]
    assert silent
    assert {hole.table["service"][row] for row in silent} == {"api"}


def test_a_nightly_job_is_no_alarm_once_it_came_on_other_nights():
    nightly = {night * DAY + 30: 8.0 for night in range(4)}
    windows = steady(4 * DAY, nightly)
    assert alarms(Volume(PartConfig()).fit(windows), windows) == []


def test_a_job_without_a_fixed_hour_is_no_alarm_when_it_came_twice_elsewhere():
    windows = steady(2 * DAY, {50: 6.0, 210: 6.0, 400: 6.0, 500: 6.0})
    assert alarms(Volume(PartConfig()).fit(windows), windows) == []


def test_busy_at_night_is_an_alarm_though_it_would_be_usual_by_day():
    def rhythm(seed, extra):
        changes = {
            window: (0.1 if window % DAY < DAY // 3 else 1.0) * extra.get(window, 1.0)
            for window in range(4 * DAY)
        }
        return steady(4 * DAY, changes, seed=seed)

    detector = Volume(PartConfig()).fit(rhythm(0, {}))
    found = alarms(detector, rhythm(1, {3 * DAY + 40: 10.0}))
    assert ("api", 3 * DAY + 40) in found
    reasons = detector.explain(rhythm(1, {3 * DAY + 40: 10.0}), 2 * (3 * DAY + 40))
    assert all(reason.text.endswith(" at this hour") for reason in reasons)
    assert len(found) <= 2


def test_services_and_templates_unseen_at_fit_are_survived():
    detector = Volume(PartConfig()).fit(steady(DAY))
    strange = windows_of(
        [[0, 3, 3], [], [3] * 50],
        kind=WindowKind.TIME,
        services=["api", "new", "new"],
        starts=[90_000.0, 90_000.0, 90_300.0],
    )
    assert np.isfinite(detector.score(strange)).all()


def test_tails_are_close_to_what_they_claim():
    detector = Volume(PartConfig()).fit(steady(6 * DAY, seed=1))
    tails = detector.tail_probabilities(steady(6 * DAY, seed=2))
    for claimed in (0.1, 0.01):
        assert (tails < claimed).mean() < 3 * claimed


def test_judging_in_parts_equals_judging_at_once_for_bursts():
    detector = Volume(PartConfig()).fit(steady(2 * DAY))
    later = steady(200, {40: 5.0, 41: 5.0, 150: 0.1}, seed=5, begin=2 * DAY)
    whole = detector.score(later)
    assert np.array_equal(whole[:100], detector.score(later.take(range(100))))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 2), max_size=12)), max_size=60),
    st.integers(0, 60),
)
def test_scores_are_finite_repeatable_and_survive_their_state(rows, cut):
    windows = windows_of(
        [codes for _, codes in rows],
        kind=WindowKind.TIME,
        services=[f"s{service}" for service, _ in rows],
        vocabulary=VOCABULARY,
    )
    detector = Volume(PartConfig()).fit(windows.take(range(min(cut, len(windows)))))
    scores = detector.score(windows)
    assert scores.shape == (len(windows),)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
    restored = Volume(PartConfig()).restore(detector.state())
    assert np.array_equal(scores, restored.score(windows))
    for row in range(len(windows)):
        assert restored.explain(windows, row) == detector.explain(windows, row)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(40, 280), st.sampled_from([5.0, 8.0, 20.0]))
def test_a_planted_burst_outranks_every_other_window(seed, place, factor):
    windows = steady(DAY, {place: factor}, seed=seed)
    scores = Volume(PartConfig()).fit(windows).score(windows)
    assert scores.argmax() == 2 * place


@pytest.mark.parametrize("cut", [30.0, 150.0, 280.0])
def test_a_log_that_begins_or_ends_within_a_window_lacks_no_lines(cut):
    whole = steady(2 * DAY)
    begin, end = whole.times.min(), whole.times.max()
    kept = (whole.times > begin + cut * 1e6) & (whole.times < end - cut * 1e6)
    lengths = np.bincount(whole.owner[kept], minlength=len(whole))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    columns = (whole.events[kept], whole.times[kept], whole.rows[kept])
    windows = Windows(whole.kind, whole.table, offsets, *columns, whole.vocabulary, whole.records)
    assert alarms(Volume(PartConfig()).fit(windows), windows) == []
    assert alarms(Volume(PartConfig()).fit(whole), windows) == []  # nor when judged by another log


def test_lines_go_missing_from_a_service_that_writes_in_one_batch_a_window():
    codes = [[0] * (6 if window == 400 else 60) for window in range(500)]
    times = [
        [window * 300.0 + place / 100 for place in range(len(each))] for window, each in enumerate(codes)
    ]
    windows = windows_of(codes, kind=WindowKind.TIME, times=times, vocabulary=VOCABULARY)
    assert alarms(Volume(PartConfig()).fit(windows), windows) == [("app", 400)]


def test_counts_are_told_in_whole_sentences():
    windows = steady(2 * DAY, {300: 6.0, 301: 0.02})
    detector = Volume(PartConfig()).fit(windows)
    (more, *_), (fewer, *_) = detector.explain(windows, 600), detector.explain(windows, 602)
    assert re.fullmatch(r"('request served' came|api wrote) \d+ (times|lines); usually 6\d", more.text)
    assert re.search(r"(came (once|twice|\d times)|wrote \d lines?); usually 6\d", fewer.text)
