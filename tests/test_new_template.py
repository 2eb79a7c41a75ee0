"""The new-template detector: standing alarms, first sightings, chattiness in time."""

import gzip
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from builders import vocabulary_of, windows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from logad.contracts import PartConfig
from logad.detectors._history import History
from logad.detectors.new_template import NewTemplate
from logad.types import RECORD_SCHEMA, Template, WindowKind
from logad.windows import WINDOW_SCHEMA, Windows

VOCABULARY = vocabulary_of(
    "request served", "disk slow", "write failed", "cache miss", severities=[0, 2, 3, 0]
)
BGL = (
    Path(os.environ.get("LOGAD_DATA") or Path(__file__).parents[2] / "shared" / "data")
    / "bgl"
    / "BGL_50k.log.gz"
)


def alarms(fitted, judged=None):
    detector = NewTemplate(PartConfig()).fit(fitted)
    probabilities = detector.tail_probabilities(fitted if judged is None else judged)
    return np.flatnonzero(probabilities < detector.need).tolist()


def timed(codes, **more):
    return windows_of(codes, kind=WindowKind.TIME, vocabulary=VOCABULARY, **more)


def test_an_error_is_an_alarm_in_every_window_that_holds_it():
    assert alarms(timed([[0], [0, 2], [0], [2], [0]])) == [1, 3]


def test_the_first_warning_is_an_alarm_and_the_second_is_none():
    assert alarms(timed([[0]] * 100 + [[0, 1], [0], [0, 1]])) == [100]


def test_a_new_template_that_informs_is_noticed_below_the_cut():
    windows = timed([[0]] * 100 + [[0, 3], [0]])
    detector = NewTemplate(PartConfig()).fit(windows)
    scores = detector.score(windows)
    assert alarms(windows) == []
    assert scores[100] > scores[101]
    assert "is new; never seen in the 8.4 hours before" in detector.explain(windows, 100)[0].text


def test_a_single_line_of_a_new_kind_is_news_where_nothing_was_new_for_long():
    windows = timed([[0]] * 600 + [[0, 3], [0, 3]])
    detector = NewTemplate(PartConfig()).fit(windows)
    assert alarms(windows) == [600]
    assert 0 < detector.need - detector.tail_probabilities(windows)[600] < 0.7 * detector.need  # only a note
    assert "is new; never seen in the 2.1 days before" in detector.explain(windows, 600)[0].text


def test_a_new_kind_of_line_is_no_news_as_a_habit_or_with_others():
    words = vocabulary_of(*(f"step {chr(97 + number)}" for number in range(9)))
    quiet = [[0]] * 600

    def found(codes):
        return alarms(windows_of(codes, kind=WindowKind.TIME, vocabulary=words))

    assert found([*quiet, [0, 1]]) == [600]
    assert found([*quiet, [0, 1, 1, 1]]) == []
    assert found([*quiet, [0, 1, 2]]) == []
    assert found([*quiet, [0, 1], [0, 2], [0, 3]]) == [600]
    assert found([*quiet, [0, 1], *[[0]] * 60, [0, 2]]) == [600]  # by now it happens


def test_a_service_in_which_much_is_new_makes_no_other_deaf():
    words = vocabulary_of(*(f"step {number}" for number in range(60)))
    codes, services = [], []
    for window in range(400):
        codes += [[0], [0] if window % 8 else [1 + window // 8]]
        services += ["steady", "restless"]
    codes += [[0, 58], [0, 59]]
    services += ["steady", "restless"]
    starts = [300.0 * (row // 2) for row in range(len(codes))]
    windows = windows_of(codes, kind=WindowKind.TIME, vocabulary=words, services=services, starts=starts)
    assert alarms(windows) == [800]


def test_the_first_minutes_of_a_service_are_quiet_in_an_old_system_too():
    words = vocabulary_of("step one", "step two", "step three")
    codes = [[0]] * 600 + [[0], [1]] * 60 + [[0], [1, 2]]
    services = ["old"] * 600 + ["old", "young"] * 61
    windows = windows_of(codes, kind=WindowKind.TIME, vocabulary=words, services=services)
    assert alarms(windows) == [721]  # not its first line, but one after hours
    early = windows.take([*range(620), 721])
    assert alarms(early) == []


@given(st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=24), st.integers(0, 24), st.integers(1, 3))
def test_two_halves_of_a_history_are_the_whole(codes, cut, services):
    names = [f"s{row % services}" for row in range(len(codes))]
    windows = timed(codes, services=names, starts=[300.0 * (row // services) for row in range(len(codes))])
    cut = min(cut, len(windows))
    parts = History.of(windows.take(range(cut))).joined(History.of(windows.take(range(cut, len(windows)))))
    whole = History.of(windows)
    for name, array in whole.state().items():
        assert np.array_equal(array, parts.state()[name]), name
    assert all(
        np.array_equal(a, b)
        for a, b in zip(History.restored(whole.state()).state().values(), whole.state().values(), strict=True)
    )


def test_of_what_the_first_window_holds_it_is_said_that_the_log_begins_with_it():
    windows = timed([[0, 1, 2], [0, 3]])
    detector = NewTemplate(PartConfig()).fit(windows)
    (error,) = detector.explain(windows, 0)
    assert error.text == "'write failed' reports an error; the log begins with it"
    later = detector.fit(windows.take([1])).explain(windows.take([1]), 0)
    assert all(each.text.endswith("is new; the log begins with it") for each in later)
    assert detector.score(windows.take([1]))[0] < -np.log(detector.need)


def test_a_warning_in_the_first_windows_is_no_news():
    assert alarms(timed([[0, 1], [0], [0]])) == []


def test_warnings_learned_in_fit_are_known_when_later_windows_are_judged():
    fitted = timed([[0, 1]] + [[0]] * 99)
    later = timed([[0, 1]] * 3, starts=[40_000, 40_300, 40_600])
    assert alarms(fitted, later) == []


def test_an_error_present_in_a_third_of_the_slots_is_chatty():
    steady = timed([[0, 2] if window % 6 == 0 else [0] for window in range(600)])
    hourly = timed([[0, 2] if window % 12 == 0 else [0] for window in range(600)])
    quiet = timed([[0]] * 600)
    later = {"starts": [180_000 + window * 300 for window in range(600)]}
    assert alarms(quiet, timed([[0, 2] if window % 2 == 0 else [0] for window in range(600)], **later)) != []
    assert alarms(steady) == []  # known as a whole, it is the normal state of this log from its first line
    assert max(alarms(hourly)) == 588


def test_what_is_noise_in_one_service_is_news_in_another():
    codes, services = [[0, 2], [0]] * 100, ["noisy", "calm"] * 100
    starts = [600.0 * (row // 2) for row in range(200)]
    fitted = timed(codes, services=services, starts=starts)
    assert alarms(fitted) == []
    later = timed([[0, 2], [2]], services=["noisy", "calm"], starts=[60_000.0, 60_000.0])
    detector = NewTemplate(PartConfig()).fit(fitted)
    assert np.flatnonzero(detector.tail_probabilities(later) < detector.need).tolist() == [1]
    (reason,) = detector.explain(later, 1)
    assert reason.text == "'write failed' reports an error; never seen in calm in the 17 hours before"


def test_an_error_all_over_a_short_baseline_is_its_normal_state():
    later = timed([[0, 2]], starts=[90_000.0])
    usual = timed([[0, 2], [0]] * 8, span_seconds=600.0)
    once = timed([[0]] * 8 + [[0, 2]] * 8, span_seconds=600.0)
    assert alarms(usual, later) == []
    assert alarms(once, later) == [0]


def test_an_error_in_each_busy_span_of_a_sparse_log_is_chatty():
    daily = timed([[0, 2]] * 60, starts=[window * 86_400 for window in range(60)])
    assert alarms(daily) == []


@given(st.integers(0, 80), st.integers(21, 60))
def test_what_was_fitted_makes_chatty_only_what_stands_all_over_it(begin, length):
    codes = [[0, 2] if begin <= window < begin + length else [0] for window in range(140)]
    spread = length >= 0.3 * 140 and (begin + length - 1) * 10 // 140 - begin * 10 // 140 >= 6
    found = alarms(timed(codes, span_seconds=600.0))
    assert (found == []) == spread


def test_a_storm_does_not_make_itself_chatty():
    storm = windows_of(
        [[0]] * 50 + [[2] * 100] * 400,
        kind=WindowKind.RECORDS,
        vocabulary=VOCABULARY,
        starts=[window * 600.0 for window in range(50)] + [30_000 + window * 3.0 for window in range(400)],
        span_seconds=3.0,
    )
    assert alarms(storm) == list(range(50, 450))


def test_judging_a_stream_in_parts_equals_judging_it_at_once():
    windows = timed([[0]] * 60 + [[0, 1], [2], [0, 3], [1, 2]] * 5)
    whole = NewTemplate(PartConfig()).fit(windows).score(windows)
    early = NewTemplate(PartConfig()).fit(windows.take(range(60))).score(windows.take(range(60, 80)))
    assert np.allclose(whole[60:], early)


def test_the_sentence_names_the_error_and_its_lines():
    windows = timed([[0]] * 50 + [[0, 2, 0, 2]])
    (reason,) = NewTemplate(PartConfig()).fit(windows).explain(windows, 50)
    assert reason.text == "'write failed' reports an error twice; never seen in the 4.2 hours before"
    assert (reason.template, reason.actual, reason.events) == (2, "2", (1, 3))


def test_an_error_that_goes_on_within_its_first_minutes_is_told_as_young():
    windows = timed([[0]] * 50 + [[2], [2]])
    (reason,) = NewTemplate(PartConfig()).fit(windows).explain(windows, 51)
    assert reason.text == "'write failed' reports an error; it began shortly before"


def test_a_log_without_times_is_judged_by_its_lines():
    codes = [[0] * 100] * 60 + [[0] * 99 + [1], [0] * 99 + [2]]
    nowhere = float("nan")
    windows = timed(codes, times=[[nowhere] * len(window) for window in codes], starts=[nowhere] * len(codes))
    assert alarms(windows) == [60, 61]


def test_a_log_without_times_speaks_of_runs_of_lines():
    nowhere = float("nan")
    codes = [[2], [0] * 3000, [2]]
    windows = timed(codes, times=[[nowhere] * len(window) for window in codes], starts=[nowhere] * 3)
    (reason,) = NewTemplate(PartConfig()).fit(windows).explain(windows, 2)
    assert reason.text == "'write failed' reports an error; it came on one occasion before"


def test_an_error_that_came_before_is_told_with_its_occasions():
    codes = [[0]] * 50 + [[2]] + [[0]] * 30 + [[2]] * 6 + [[0]] * 24 + [[2]]
    detector, windows = NewTemplate(PartConfig()), timed(codes)
    detector.fit(windows)
    told = [detector.explain(windows, row)[0].text.split("; ")[1] for row in (50, 81, 86, 111)]
    assert told == [
        "never seen in the 4.2 hours before",
        "it came on one occasion before, about 2.5 hours ago",
        "it has gone on for about 30 minutes",
        "it came on 2 occasions before, the last about 2 hours ago",
    ]


def test_noise_of_the_system_is_no_reason_beside_a_real_one():
    vocabulary = vocabulary_of("served", "child in error state", "disk lost", severities=[0, 3, 3])
    codes = [[0, 1]] * 200 + [[0, 1, 2]]
    windows = windows_of(codes, kind=WindowKind.TIME, vocabulary=vocabulary)
    (reason,) = NewTemplate(PartConfig()).fit(windows).explain(windows, 200)
    assert reason.text == "'disk lost' reports an error; never seen in the 17 hours before"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), max_size=6), max_size=30), st.integers(0, 30))
def test_scores_are_finite_repeatable_and_survive_their_state(codes, cut):
    windows = timed(codes)
    fitted = windows.take(range(min(cut, len(windows))))
    detector = NewTemplate(PartConfig()).fit(fitted)
    scores = detector.score(windows)
    restored = NewTemplate(PartConfig()).restore(detector.state())
    assert scores.shape == (len(windows),)
    assert np.isfinite(scores).all()
    assert np.array_equal(scores, restored.score(windows))
    probabilities = detector.tail_probabilities(windows)
    assert ((probabilities > 0) & (probabilities <= 1)).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from([0, 3]), max_size=5), min_size=20, max_size=60))
def test_a_planted_error_outranks_everything_that_informs(codes):
    windows = timed([*codes, [0, 2]])
    scores = NewTemplate(PartConfig()).fit(windows).score(windows)
    assert scores.argmax() == len(codes)


def test_templates_unseen_at_fit_are_first_sightings():
    fitted = timed([[0]] * 100)
    narrow = Windows(
        fitted.kind,
        fitted.table,
        fitted.offsets,
        fitted.events,
        fitted.times,
        fitted.rows,
        VOCABULARY[:1],
        fitted.records,
    )
    later = timed([[0], [1], [2]], starts=[40_000, 40_300, 40_600])
    assert alarms(narrow, later) == [1, 2]


def bgl_windows():
    """BGL in windows of 100 lines, and which of them hold an alert; the label never reaches the windows."""
    words = re.compile(
        "error|exception|fail|timed out|refused|denied|abort|panic|corrupt|invalid|cannot|not found|lost|killed"
    )
    levels = {"INFO": 0, "WARNING": 2, "ERROR": 3, "SEVERE": 3, "FATAL": 3, "FAILURE": 3}
    codes, times, labels, known = [], [], [], {}
    with gzip.open(BGL, "rt", errors="replace") as lines:
        for line in lines:
            label, rest = line.split(None, 1)
            fields = rest.split(None, 8)
            text = re.sub(r"0x\w+|\b[0-9a-f]{8}\b|[^\s=:,]*\d[^\s=:,]*", "<*>", "".join(fields[8:]).strip())
            level, grave = levels.get(fields[7], 1), bool(words.search(text.lower()))
            severity = min(3, level + grave)
            codes.append(known.setdefault((text, severity, grave and level == 3), len(known)))
            times.append(int(fields[0]))
            labels.append(label != "-")
    vocabulary = tuple(Template(code, str(code), *kind) for kind, code in known.items())
    offsets = np.arange(0, len(codes) + 1, 100)
    count = len(offsets) - 1
    moments = np.asarray(times, dtype=np.int64)
    table = pl.DataFrame(
        {
            "service": ["bgl"] * count,
            "key": [None] * count,
            "start": [datetime.fromtimestamp(moments[begin], UTC) for begin in offsets[:-1]],
            "end": [datetime.fromtimestamp(moments[end - 1], UTC) for end in offsets[1:]],
            "first_line": offsets[:-1] + 1,
            "last_line": offsets[1:],
            "records": [100] * count,
            "revision": [0] * count,
            "learning": [False] * count,
        },
        schema=WINDOW_SCHEMA,
    )
    windows = Windows(
        WindowKind.RECORDS,
        table,
        offsets,
        np.asarray(codes, dtype=np.int32),
        moments * 1_000_000,
        np.arange(len(codes)),
        vocabulary,
        pl.DataFrame(schema=RECORD_SCHEMA),
    )
    return windows, np.logical_or.reduceat(np.asarray(labels), offsets[:-1])


@pytest.mark.skipif(not BGL.exists(), reason="no BGL sample beside the checkout")
def test_bgl_is_nearly_solved_by_errors_and_first_sightings():
    windows, anomalous = bgl_windows()
    flagged = np.zeros(len(windows), dtype=bool)
    flagged[alarms(windows.take(range(100)), windows)] = True
    flagged, anomalous = flagged[100:], anomalous[100:]
    f1 = 2 * (flagged & anomalous).sum() / (flagged.sum() + anomalous.sum())
    assert f1 > 0.93


def test_the_first_warning_of_those_that_come_all_over_a_log_is_no_news():
    usual = timed([[0]] * 60 + [[0, 1]] * 240)
    assert alarms(usual) == []
    assert alarms(timed([[0]] * 60 + [[0, 1]] + [[0]] * 239)) == [60]
