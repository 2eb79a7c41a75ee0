"""Evaluation: figures agree with their definitions, labels are read with care, plants are what they claim."""

import csv
import io
import json
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from builders import vocabulary_of, windows_of
from command import DISK, START, accounts, orders, ran, steady, wrote
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

import logad
from logad.batch import Observer
from logad.cases import Case
from logad.errors import InputError, UsageError
from logad.evaluation import labels as labelling
from logad.evaluation.custom import Custom
from logad.evaluation.injection import GROSS, KINDS, STRENGTHS, SUBTLE, Injector
from logad.evaluation.metrics import MOST_POINTS, area_under_roc, average_precision, curve, measure
from logad.evaluation.protocols import split, taught_records
from logad.evaluation.trials import Bench, tried
from logad.runs import Warmup
from logad.types import AnomalyType, Reason, Verdict, WindowKind, WindowRef

CUT = 0.5
no_deadline = settings(deadline=None)  # the machine may be busy


# Metrics ---------------------------------------------------------------------------------------------------

judged = st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.5001, 0.9, 1.0]), st.booleans()), min_size=1)
"""Scores with many ties, and the truth."""


def arrays(pairs):
    return np.array([score for score, _ in pairs]), np.array([truth for _, truth in pairs], dtype=np.bool_)


@no_deadline
@given(judged)
def test_figures_agree_with_scikit_learn(pairs):
    scores, truth = arrays(pairs)
    found = measure(scores, truth, CUT)
    precision, recall, f1, _ = sklearn_metrics.precision_recall_fscore_support(
        truth, scores > CUT, average="binary", zero_division=0
    )
    assert (found.precision, found.recall, found.f1) == pytest.approx((precision, recall, f1))
    ((tn, fp), (fn, tp)) = sklearn_metrics.confusion_matrix(truth, scores > CUT, labels=[False, True])
    assert (found.tn, found.fp, found.fn, found.tp) == (tn, fp, fn, tp)
    if truth.any():
        assert found.pr_auc == pytest.approx(sklearn_metrics.average_precision_score(truth, scores))
    if 0 < truth.sum() < len(truth):
        assert found.roc_auc == pytest.approx(sklearn_metrics.roc_auc_score(truth, scores))


@no_deadline
@given(judged)
def test_areas_depend_on_the_order_of_scores_alone(pairs):
    scores, truth = arrays(pairs)
    mixed = np.random.default_rng(0).permutation(len(scores))
    for area in (average_precision, area_under_roc):
        assert area(np.exp(3 * scores), truth) == pytest.approx(area(scores, truth))
        assert area(scores[mixed], truth[mixed]) == pytest.approx(area(scores, truth))


@no_deadline
@given(judged)
def test_an_area_of_what_is_not_there_is_none_and_not_a_number_made_up(pairs):
    scores, truth = arrays(pairs)
    assert (average_precision(scores, truth) is None) == (not truth.any())
    assert (area_under_roc(scores, truth) is None) == (truth.all() or not truth.any())


@no_deadline
@given(st.lists(st.booleans(), min_size=1))
def test_scores_that_say_nothing_have_the_area_of_flagging_everything(truth):
    truth = np.array(truth)
    if truth.any():
        assert average_precision(np.ones(len(truth)), truth) == pytest.approx(truth.mean())
    if 0 < truth.sum() < len(truth):
        assert area_under_roc(np.ones(len(truth)), truth) == pytest.approx(0.5)


@no_deadline
@given(judged)
def test_each_point_of_the_curve_is_what_flagging_from_its_threshold_on_gives(pairs):
    scores, truth = arrays(pairs)
    points = curve(scores, truth)
    assert [point.threshold for point in points] == sorted(set(scores.tolist()), reverse=True)
    for point in points:
        found = measure(np.where(scores >= point.threshold, 1.0, 0.0), truth, CUT)
        expected = (found.tp + found.fp, found.precision, found.recall, found.f1)
        assert (point.flagged, point.precision, point.recall, point.f1) == pytest.approx(expected)


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    scores = np.linspace(0, 1, 10_000)
    points = curve(scores, scores > 0.9)
    assert len(points) == MOST_POINTS
    assert (points[0].flagged, points[-1].flagged) == (1, 10_000)


# Labels ----------------------------------------------------------------------------------------------------


def cut(path, state, **options):
    """The windows of a log, as `scan` would judge them."""
    options = {"state_dir": state, **options}
    return Case.of([path], [], trusted=False, model=None, observer=Observer(), options=options).windows


@pytest.fixture
def sessions(tmp_path):
    return cut(wrote(tmp_path / "orders.log", orders()), tmp_path, session_regex=r"ord_\d+")


@pytest.fixture
def runs(tmp_path):
    return cut(wrote(tmp_path / "app.log", steady(600, broken_at=450)), tmp_path, window_records=20)


@pytest.fixture
def spans(tmp_path):
    return cut(wrote(tmp_path / "app.log", steady(3600)), tmp_path, window="1m")


def table(path, *rows):
    return wrote(path / "labels.csv", rows)


def test_keys_that_are_labelled_say_which_sessions_are_anomalous(tmp_path, sessions):
    rows = [f"ord_{number:05d},{'Anomaly' if number == 150 else 'Normal'}" for number in range(10, 200)]
    truth = labelling.read(table(tmp_path, "BlockId,Label", *rows, "ord_99999,Normal")).of(sessions)
    keys = sessions.table["key"].to_numpy()
    assert keys[truth.anomalous].tolist() == ["ord_00150"]
    assert sorted(keys[~truth.known]) == [f"ord_{number:05d}" for number in range(10)]
    assert (truth.unmatched, truth.assumed.sum(), truth.labels) == (1, 0, 191)


def test_of_several_labels_of_one_session_the_anomalous_one_counts(tmp_path, sessions):
    told = table(
        tmp_path, "key,label", "ord_00007,1", "ord_00007,0", "ord_00008,0", "ord_00008,1", "ord_00009,0"
    )
    truth = labelling.read(told).of(sessions)
    assert sessions.table["key"].to_numpy()[truth.anomalous].tolist() == ["ord_00007", "ord_00008"]
    assert truth.known.sum() == truth.labels == 3


def test_where_only_anomalies_are_labelled_the_others_are_normal(tmp_path, sessions):
    truth = labelling.read(table(tmp_path, "order,verdict", "ord_00150,true")).of(sessions)
    assert truth.known.all()
    assert (truth.anomalous.sum(), truth.assumed.sum()) == (1, 199)


def test_a_window_is_anomalous_if_any_of_its_lines_is(tmp_path, runs):
    rows = [f"{line},{int(line == 451)}" for line in range(1, 581)]
    truth = labelling.read(table(tmp_path, "line,label", *rows, "601,0")).of(runs)
    assert np.flatnonzero(truth.anomalous).tolist() == [22]
    assert np.flatnonzero(~truth.known).tolist() == [29]
    assert truth.unmatched == 1


def test_every_line_of_a_record_is_part_of_its_window(tmp_path):
    lines = steady(600, broken_at=450)
    lines[450] += "\n  at disk.write\n  at main"  # lines 451 to 453
    windows = cut(wrote(tmp_path / "app.log", lines), tmp_path, window_records=20)
    truth = labelling.read(table(tmp_path, "line,label", "453,1")).of(windows)
    assert np.flatnonzero(truth.anomalous).tolist() == [22]
    assert truth.unmatched == 0


def test_a_window_without_lines_is_normal_whatever_lines_are_labelled(tmp_path):
    lines = steady(3600, broken_at=None)
    del lines[600:720]
    windows = cut(wrote(tmp_path / "app.log", lines), tmp_path, window="1m")
    rows = [f"{line},0" for line in range(1, len(lines) + 1)]
    truth = labelling.read(table(tmp_path, "line,label", *rows)).of(windows)
    assert (np.diff(windows.offsets) == 0).sum() == 2
    assert truth.known.all()
    assert not truth.anomalous.any()


def test_intervals_are_about_the_windows_they_overlap(tmp_path, spans):
    begin = START + timedelta(minutes=10, seconds=59)
    rows = [f"{begin:%Y-%m-%dT%H:%M:%SZ},{begin + timedelta(seconds=2):%Y-%m-%dT%H:%M:%SZ}"]
    rows += ["2020-01-01T00:00:00Z,2020-01-01T01:00:00Z"]
    truth = labelling.read(table(tmp_path, "start,end", *rows)).of(spans)
    assert np.flatnonzero(truth.anomalous).tolist() == [10, 11]
    assert truth.unmatched == 1


def test_intervals_are_half_open_and_in_the_time_zone_given(tmp_path, spans):
    told = table(
        tmp_path,
        "start,end,label",
        "2024-03-04 01:10,2024-03-04 01:11,1",
        "2024-03-04 01:20,2024-03-04 01:21,0",
    )
    truth = labelling.read(told, "Europe/Berlin").of(spans)
    assert np.flatnonzero(truth.anomalous).tolist() == [10]


def test_intervals_are_about_sessions_that_have_a_record_in_them(tmp_path, sessions):
    truth = labelling.read(table(tmp_path, "start,end", "2024-03-04T00:00:00Z,2024-03-04T00:00:02Z")).of(
        sessions
    )
    assert sessions.table["key"].to_numpy()[truth.anomalous].tolist() == ["ord_00000"]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["key,label", "a,1", "b,maybe"], "line 3: the label is 'maybe'; expected 1 or 0"),
        (["key,label", "a,1,2"], "line 2: 3 columns; expected 2"),
        (["line,label", "1,0", "", "zero,1"], "line 4: found 'zero'; expected the number of a line"),
        (["line,label", "0,1"], "line 2: found '0'; expected the number of a line, from 1"),
        (["start,end", "noon,2024-03-04"], "line 2: the time is 'noon'; expected an ISO time"),
        (
            ["start,end", "2024-03-05,2024-03-04"],
            "line 2: the interval ends at 2024-03-04; expected a time after",
        ),
        (["key"], "line 1: the header has 1 column; expected a header with at least two"),
        ([], "line 1: the header has 0 columns"),
        (["key,label"], "no labels below the header"),
        (["start,end"], "no anomalous interval below the header"),
    ],
)
def test_a_bad_row_of_labels_is_told_with_its_line(tmp_path, rows, told):
    with pytest.raises(InputError) as error:
        labelling.read(table(tmp_path, *rows))
    assert told in str(error.value)


def test_labels_with_a_byte_order_mark_and_quotes_are_read(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes('\ufeff"Line","Label"\r\n"7"," Anomaly "\r\n'.encode())
    assert labelling.read(path).lines == {7: True}


@pytest.mark.parametrize("content", [None, b"key,label\n\xff\xfe,1\n"])
def test_labels_that_cannot_be_read_are_an_error_of_input(tmp_path, content):
    if content is not None:
        (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"labels\.csv"):
        labelling.read(tmp_path / "labels.csv")


def test_labels_of_sessions_are_not_taken_for_other_windows(tmp_path, runs):
    with pytest.raises(UsageError, match="--session-regex"):
        labelling.read(table(tmp_path, "key,label", "a,1")).of(runs)


def test_lines_of_two_sources_are_not_mixed_up(tmp_path):
    (tmp_path / "logs").mkdir()
    for name in ("a", "b"):
        wrote(tmp_path / "logs" / name, steady(100))
    windows = cut(tmp_path / "logs", tmp_path, window_records=20)
    with pytest.raises(UsageError, match="2 sources"):
        labelling.read(table(tmp_path, "line,label", "1,1")).of(windows)


# Planted anomalies -----------------------------------------------------------------------------------------

STEPS = "open", "read", "write", "check", "close"


def regular(kind, windows=120, **options):
    """Windows with the same five steps in each, and a sixth in every third of them."""
    texts = [f"{step} took <NUM> ms" for step in (*STEPS, "flush")]
    codes = [[0, 1, 2, 3, *([5] if number % 3 == 0 else []), 4] for number in range(windows)]
    built = windows_of(codes, kind=kind, vocabulary=vocabulary_of(*texts), **options)
    events = built.events.tolist()
    said = [f"{(*STEPS, 'flush')[code]} took {10 + number % 7} ms" for number, code in enumerate(events)]
    count = len(events)
    records = pl.DataFrame(
        {
            "time": pl.Series(built.times).cast(pl.Datetime("us", "UTC")),
            "service": ["app"] * count,
            "level": pl.Series([2] * count, dtype=pl.UInt8),
            "text": said,
            "raw": [f"2024-03-04 00:00:00 INFO {text}" for text in said],
            "stream": ["app"] * count,
            "source": ["app.log"] * count,
            "line": list(range(1, count + 1)),
            "lines": pl.Series([1] * count, dtype=pl.UInt32),
            "document": pl.Series([None] * count, dtype=pl.String),
        }
    )
    return replace(built, records=records)


def everything(windows):
    return np.ones(len(windows), dtype=np.bool_)


def planted_into(windows, kind, strength, *, wanted=5, seed=0):
    return Injector(windows).plant(kind, strength, wanted, everything(windows), np.random.default_rng(seed))


def events_of(windows, window):
    span = windows.span(window)
    return windows.events[span].tolist()


CASES = [
    (windows, kind, strength)
    for windows in WindowKind
    for kind in KINDS
    for strength in STRENGTHS
    if (windows, kind) not in {(WindowKind.RECORDS, "extra events"), (WindowKind.RECORDS, "burst")}
]
"""Windows of five records have no room for more of one."""


@pytest.mark.parametrize(("sort", "kind", "strength"), CASES)
def test_planting_changes_the_planted_windows_and_no_other(sort, kind, strength):
    windows = regular(sort)
    planted = planted_into(windows, kind, strength)
    assert len(planted.plants) == 5
    touched = {window for plant in planted.plants for window in plant.windows}
    assert len(touched) == sum(len(plant.windows) for plant in planted.plants)
    raw = [list(each.raw(each.rows)) for each in (windows, planted.windows)]
    for window in range(len(windows)):
        spans = windows.span(window), planted.windows.span(window)
        same_events = events_of(windows, window) == events_of(planted.windows, window)
        same_texts = raw[0][spans[0]] == raw[1][spans[1]]
        gaps = [
            np.diff(each.times[span]).tolist()
            for each, span in zip((windows, planted.windows), spans, strict=True)
        ]
        assert (same_events and same_texts and gaps[0] == gaps[1]) == (window not in touched)


@pytest.mark.parametrize(("sort", "kind", "strength"), CASES)
def test_the_same_seed_plants_the_same_and_leaves_the_windows_as_they_were(sort, kind, strength):
    windows = regular(sort)
    before = windows.events.copy(), windows.times.copy(), windows.table.clone(), windows.records.clone()
    one, two, other = (planted_into(windows, kind, strength, seed=seed) for seed in (0, 0, 1))
    assert one.plants == two.plants != other.plants
    assert (one.windows.events == two.windows.events).all()
    assert (windows.events == before[0]).all()
    assert (windows.times == before[1]).all()
    assert windows.table.equals(before[2])
    assert windows.records.equals(before[3])


@pytest.mark.parametrize(("sort", "kind", "strength"), CASES)
def test_planted_windows_are_whole(sort, kind, strength):
    planted = planted_into(regular(sort), kind, strength).windows
    lengths = np.diff(planted.offsets)
    assert planted.table["records"].to_list() == lengths.tolist()
    assert len(planted.events) == len(planted.times) == len(planted.rows) == lengths.sum()
    assert planted.events.max() < len(planted.vocabulary)
    assert planted.rows.max() < planted.records.height
    assert planted.events.dtype == np.int32
    if sort is not WindowKind.TIME:
        filled = np.flatnonzero(lengths)
        firsts = planted.table["start"].dt.epoch("us").to_numpy()[filled]
        assert (firsts == np.minimum.reduceat(planted.times, planted.offsets[filled])).all()


@pytest.mark.parametrize("sort", WindowKind)
def test_a_new_template_is_in_no_vocabulary_and_its_line_is_the_evidence(sort):
    windows = regular(sort)
    for strength, many in ((SUBTLE, 1), (GROSS, 3)):
        planted = planted_into(windows, "new template", strength)
        for plant in planted.plants:
            (code,) = plant.templates
            assert code >= len(windows.vocabulary)
            assert events_of(planted.windows, plant.windows[0]).count(code) == many
            row = planted.windows.rows[planted.windows.events == code][0]
            (raw,) = planted.windows.raw([row])
            assert raw.startswith("2024-03-04 00:00:00 INFO ")
            assert not any(step in raw for step in STEPS)
            assert planted.windows.vocabulary[code].alarming == (strength == GROSS)


def test_a_missing_event_is_one_that_windows_like_it_always_have():
    windows = regular(WindowKind.SESSION)
    for strength in STRENGTHS:
        planted = planted_into(windows, "missing event", strength)
        for plant in planted.plants:
            gone = set(events_of(windows, plant.windows[0])) - set(
                events_of(planted.windows, plant.windows[0])
            )
            assert gone == plant.templates
            assert 5 not in gone  # which only a third of the windows have
            assert len(gone) == (1 if strength == SUBTLE else 2)


@pytest.mark.parametrize(("strength", "times"), [(SUBTLE, 2), (GROSS, 5)])
def test_extra_events_come_so_many_times_as_often_as_usual(strength, times):
    planted = planted_into(regular(WindowKind.SESSION), "extra events", strength)
    for plant in planted.plants:
        (code,) = plant.templates
        assert events_of(planted.windows, plant.windows[0]).count(code) == times


def test_swapped_records_follow_each_other_as_they_never_do():
    windows = regular(WindowKind.SESSION)
    custom = Custom(windows)
    planted = planted_into(windows, "swapped order", SUBTLE)
    for plant in planted.plants:
        was, now = (events_of(each, plant.windows[0]) for each in (windows, planted.windows))
        assert sorted(was) == sorted(now)
        moved = [at for at in range(len(was)) if was[at] != now[at]]
        assert moved[1] == moved[0] + 1
        assert not custom.follows(now[moved[0]], now[moved[1]])
        assert plant.templates == {was[at] for at in moved}
    backwards = planted_into(windows, "swapped order", GROSS)
    for plant in backwards.plants:
        assert events_of(backwards.windows, plant.windows[0]) == events_of(windows, plant.windows[0])[::-1]


@pytest.mark.parametrize(("strength", "times"), [(SUBTLE, 3), (GROSS, 10)])
@pytest.mark.parametrize("sort", [WindowKind.SESSION, WindowKind.TIME])
def test_a_burst_is_one_record_again_and_again_in_one_moment(sort, strength, times):
    planted = planted_into(regular(sort), "burst", strength)
    for plant in planted.plants:
        events = events_of(planted.windows, plant.windows[0])
        assert len(events) == times * 6
        (code,) = plant.templates
        moments = planted.windows.times[planted.windows.span(plant.windows[0])][np.array(events) == code]
        assert len(set(moments.tolist())) == 1


@pytest.mark.parametrize(("strength", "spans"), [(SUBTLE, 1), (GROSS, 3)])
def test_a_service_goes_silent_for_windows_in_a_row(strength, spans):
    planted = planted_into(regular(WindowKind.TIME), "silence", strength)
    for plant in planted.plants:
        assert list(plant.windows) == list(range(plant.windows[0], plant.windows[0] + spans))
        assert not any(events_of(planted.windows, window) for window in plant.windows)


def test_a_service_that_is_silent_anyway_is_not_made_silent():
    codes = [[0, 1] if number % 4 else [] for number in range(80)]
    windows = windows_of(codes, kind=WindowKind.TIME)
    assert planted_into(windows, "silence", SUBTLE).plants == ()
    assert len(planted_into(windows, "silence", GROSS).plants) == 5


@pytest.mark.parametrize(("sort", "kind", "strength"), CASES)
def test_only_windows_that_are_allowed_are_planted_into_and_each_once(sort, kind, strength):
    windows = regular(sort, 60)
    allowed = np.arange(60) % 10 < 6
    planted = Injector(windows).plant(kind, strength, 60, allowed, np.random.default_rng(0))
    touched = [window for plant in planted.plants for window in plant.windows]
    assert len(touched) == len(set(touched)) > 6
    assert allowed[touched].all()


def test_what_is_missing_from_a_window_anyway_is_not_taken_from_another():
    windows = windows_of([[0, 1, 2]] * 300 + [[0, 2]])
    planted = planted_into(windows, "missing event", SUBTLE, wanted=50)
    assert {code for plant in planted.plants for code in plant.templates} == {0, 2}


def test_nothing_is_planted_that_the_log_does_anyway():
    windows = windows_of([[0, 1, 2], [0, 1], [2, 1, 0], [0, 2], [2, 0], [1, 2], [0], [1], [2]] * 30)
    assert planted_into(windows, "missing event", SUBTLE).plants == ()
    assert planted_into(windows, "swapped order", SUBTLE).plants == ()
    assert planted_into(windows, "silence", SUBTLE).plants == ()


def test_a_pause_moves_all_that_follows():
    windows = regular(WindowKind.RECORDS)
    planted = planted_into(windows, "silence", SUBTLE, wanted=1)
    longest = int(np.diff(windows.times).max())
    pauses = np.diff(planted.windows.times) - np.diff(windows.times)
    assert sorted(set(pauses.tolist())) == [0, 10 * longest]
    assert (pauses > 0).sum() == 1


@pytest.mark.parametrize(("strength", "value"), [(SUBTLE, 48), (GROSS, 16_000)])
def test_an_unusual_value_stands_where_values_have_a_usual_range(strength, value):
    windows = regular(WindowKind.SESSION)
    planted = planted_into(windows, "unusual value", strength)
    for plant in planted.plants:
        rows = planted.windows.rows[planted.windows.span(plant.windows[0])]
        (new,) = [row for row in rows.tolist() if row >= windows.records.height]
        (raw,) = planted.windows.raw([new])
        assert raw.endswith(f" took {value} ms")


def test_counters_and_identifiers_have_no_usual_range():
    windows = regular(WindowKind.SESSION)
    numbered = windows.records.with_columns(
        text=pl.format("step took {} ms", pl.int_range(pl.len())),
    )
    assert Custom(replace(windows, records=numbered)).value(0) is None
    assert Custom(windows).value(0) is not None


# Trials ----------------------------------------------------------------------------------------------------


@dataclass
class Blaming:
    """Flags every window, and blames one template for it."""

    template: str
    judged: list

    def verdicts(self, windows):
        self.judged.append(windows.events.tobytes() + windows.rows.tobytes() + windows.times.tobytes())
        for row in range(len(windows)):
            window = WindowRef(windows.kind, None, None, None, None, None, 0, row)
            reason = Reason("blaming", AnomalyType.POINT, "", self.template, "", "", "")
            yield Verdict(str(row), "app", window, False, 1.0, 0.0, {}, (reason,))


def judged_by(judge, windows, *, before=None, seed=0):
    nothing = np.zeros(len(windows), dtype=np.bool_)
    return tried(windows, Bench(lambda _: judge, nothing if before is None else before, nothing, seed))


def test_who_flags_everything_catches_everything_and_names_what_it_always_names():
    windows = regular(WindowKind.SESSION)
    judge = Blaming("t0000", [])
    for outcome in judged_by(judge, windows).outcomes:
        assert outcome.caught == outcome.planted >= 20
        assert outcome.flagged == outcome.untouched == outcome.newly
        assert outcome.named < max(outcome.nameable, 1)
        if outcome.kind == "new template":
            assert outcome.named == 0


def test_nothing_is_planted_into_windows_that_are_flagged_anyway():
    windows = regular(WindowKind.SESSION)
    found = judged_by(Blaming("", []), windows, before=everything(windows))
    assert {(outcome.planted, outcome.untouched) for outcome in found.outcomes} == {(0, 0)}
    assert (found.windows, found.flagged) == (120, 120)


def test_what_is_planted_depends_on_the_seed_alone():
    windows = regular(WindowKind.TIME)
    one, two, other = (Blaming("", []) for _ in range(3))
    for judge, seed in ((one, 0), (two, 0), (other, 1)):
        judged_by(judge, windows, seed=seed)
    assert one.judged == two.judged
    assert len(set(one.judged) & set(other.judged)) < len(other.judged) / 2


# The whole way ---------------------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path):
    """A log of orders, of which two fail, with labels."""
    log = wrote(tmp_path / "orders.log", orders(400, odd=(150, 333)))
    rows = [f"ord_{number:05d},{int(number in (150, 333))}" for number in range(400)]
    return log, table(tmp_path, "order,label", *rows)


def test_what_is_flagged_is_what_scan_flags(tmp_path, shop):
    log, labels = shop
    found = logad.evaluate(log, labels=labels, session_regex=r"ord_\d+", state_dir=tmp_path).labelled.all
    scanned = logad.scan(log, session_regex=r"ord_\d+", state_dir=tmp_path)
    assert found.tp + found.fp == scanned.summary.anomalous == 2
    assert (found.f1, found.pr_auc, found.roc_auc) == (1.0, 1.0, 1.0)


def test_labels_change_no_judgement(tmp_path, shop):
    log, labels = shop
    upside_down = tmp_path / "upside_down.csv"
    swap = str.maketrans("01", "10")
    lines = labels.read_text().splitlines()
    wrote(upside_down, [lines[0], *(line[:-1] + line[-1].translate(swap) for line in lines[1:])])
    one, two = (
        logad.evaluate(log, labels=path, session_regex=r"ord_\d+", state_dir=tmp_path).labelled
        for path in (labels, upside_down)
    )
    assert (one.all.tp, one.all.fp) == (two.all.fp, two.all.tp)
    assert [point.flagged for point in one.curve] == [point.flagged for point in two.curve]


def test_the_baselines_are_measured_on_the_same_windows(tmp_path, shop):
    log, labels = shop
    found = logad.evaluate(log, labels=labels, session_regex=r"ord_\d+", state_dir=tmp_path).labelled
    everything, words = found.baselines["flag_all"], found.baselines["severity_words"]
    assert everything.windows == words.windows == found.all.windows == 400
    assert (everything.precision, everything.recall, everything.roc_auc) == (2 / 400, 1.0, 0.5)
    assert (words.tp, words.fp) == (2, 0)


@pytest.mark.parametrize("part", ["services", "periods", "tiers"])
def test_parts_hold_every_window_once_and_tiers_hold_all(tmp_path, shop, part):
    log, labels = shop
    found = logad.evaluate(log, labels=labels, session_regex=r"ord_\d+", state_dir=tmp_path).labelled
    counts = [each.windows for each in getattr(found, part).values()]
    assert counts == [400, 400, 400] if part == "tiers" else sum(counts) == 400
    if part == "periods":
        assert [each.anomalous for each in found.periods.values()] == [0, 1, 0, 1]


@pytest.mark.parametrize("warmup", ["50%", "800r", "401s"])
def test_with_a_warm_up_the_past_teaches_and_what_begins_later_is_judged(tmp_path, shop, warmup):
    log, _ = shop
    windows = cut(log, tmp_path, session_regex=r"ord_\d+")
    many = taught_records(windows.records, Warmup.parsed(warmup))
    teaching, later = split(windows, windows.records, many)
    rest = windows.take(later)
    assert teaching.rows.max() < many <= rest.rows.min()
    assert many == pytest.approx(800, abs=3)
    begun = set(teaching.table["key"]) | set(rest.table["key"])
    assert len(begun) == len(teaching) + len(rest) == 400


def test_an_empty_window_before_the_end_of_the_warm_up_teaches_and_one_after_it_is_judged(tmp_path):
    lines = steady(3600, broken_at=None)
    del lines[2400:2520], lines[600:720]
    windows = cut(wrote(tmp_path / "app.log", lines), tmp_path, window="1m")
    empty = np.flatnonzero(np.diff(windows.offsets) == 0)
    assert empty.tolist() == [10, 11, 40, 41]
    teaching, later = split(windows, windows.records, 1700)  # in the 31st minute
    assert later.tolist() == list(range(31, 60))
    assert np.flatnonzero(np.diff(teaching.offsets) == 0).tolist() == [10, 11]


def test_times_of_labels_are_in_the_time_zone_of_the_logs(tmp_path):
    log = wrote(tmp_path / "app.log", steady(3600))
    labels = table(tmp_path, "start,end", "2024-03-04 00:25:00,2024-03-04 00:25:01")
    options = {"labels": labels, "window": "1m", "timezone": "Asia/Tokyo", "state_dir": tmp_path}
    found = logad.evaluate(log, **options).labelled
    assert (found.all.anomalous, found.unmatched) == (1, 0)


def test_a_warm_up_judges_by_what_came_first_alone(tmp_path, shop):
    log, labels = shop
    found = logad.evaluate(log, labels=labels, warmup="50%", session_regex=r"ord_\d+", state_dir=tmp_path)
    assert (found.labelled.all.windows, found.labelled.all.anomalous, found.labelled.unmatched) == (199, 1, 0)
    assert found.labelled.all.recall == 1.0


def test_folds_judge_each_window_once_by_what_came_before_it(tmp_path, shop):
    log, labels = shop
    options = {"labels": labels, "session_regex": r"ord_\d+", "state_dir": tmp_path}
    folded = logad.evaluate(log, folds=3, **options).labelled
    halved = logad.evaluate(log, folds=1, **options).labelled
    assert list(folded.folds) == [f"fold {fold}, {400 * fold:,} teach" for fold in (1, 2, 3)]
    assert sum(each.windows for each in folded.folds.values()) == folded.all.windows == 299
    assert halved.all == logad.evaluate(log, warmup="50%", **options).labelled.all
    assert [each.anomalous for each in folded.folds.values()] == [1, 0, 1]


def test_planted_errors_are_caught_and_named_and_nothing_else_is_flagged(tmp_path, shop):
    log, _ = shop
    found = logad.evaluate(log, inject=True, session_regex=r"ord_\d+", state_dir=tmp_path).planted
    assert [(each.kind, each.strength) for each in found.outcomes] == [
        (kind, strength) for kind in KINDS for strength in STRENGTHS
    ]
    gross = found.outcomes[1]
    assert gross.planted == gross.caught == gross.nameable == gross.named >= 20
    assert gross.newly == 0
    assert (found.windows, found.flagged) == (400, 2)


def test_no_time_is_counted_twice(tmp_path, shop):
    log, labels = shop
    found = logad.evaluate(log, labels=labels, inject=True, session_regex=r"ord_\d+", state_dir=tmp_path)
    seconds = dict(found.stats["seconds"])
    assert sum(seconds.values()) - seconds["total"] <= seconds["total"]


def test_what_labels_call_anomalous_is_no_false_alarm(tmp_path, shop):
    log, labels = shop
    options = {"session_regex": r"ord_\d+", "state_dir": tmp_path}
    found = logad.evaluate(log, labels=labels, inject=True, **options).planted
    assert (found.windows, found.flagged) == (398, 0)
    assert {each.flagged for each in found.outcomes} == {0}


def test_planting_gives_the_same_figures_again_and_others_with_another_seed(tmp_path):
    log = wrote(tmp_path / "app.log", steady(900, broken_at=None))
    one, two, other = (
        logad.evaluate(log, inject=True, window_records=30, seed=seed, state_dir=tmp_path).as_dict()
        for seed in (0, 0, 1)
    )
    assert one == two
    assert one["injection"]["windows"] == other["injection"]["windows"]


def test_a_stored_model_and_a_baseline_can_be_evaluated(tmp_path, shop):
    log, labels = shop
    options = {"session_regex": r"ord_\d+", "state_dir": tmp_path}
    before = wrote(tmp_path / "before.log", orders(300, odd=(), prefix="ord"))
    logad.train(before, model="shop", **options)
    by_model = logad.evaluate(log, labels=labels, model="shop", state_dir=tmp_path)
    by_baseline = logad.evaluate(log, labels=labels, baseline=[before], **options)
    for found in (by_model, by_baseline):
        assert found.labelled.all.recall == 1.0
    assert {by_model.protocol, by_baseline.protocol} == {"a stored model judges", "a baseline teaches"}


def test_a_new_template_is_planted_though_a_stored_model_judges(tmp_path, shop):
    log, _ = shop
    options = {"session_regex": r"ord_\d+", "state_dir": tmp_path}
    logad.train(log, model="shop", **options)
    found = logad.evaluate(log, inject=True, model="shop", state_dir=tmp_path).planted
    assert found.outcomes[1].caught == found.outcomes[1].planted > 0


# The command -----------------------------------------------------------------------------------------------


def test_the_text_fits_eighty_columns_and_has_the_baselines(tmp_path, shop):
    log, labels = shop
    done = ran("evaluate", log, "--labels", labels, "--inject", "--session-regex", r"ord_\d+", state=tmp_path)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    for told in (
        "flag everything",
        "severity words alone",
        "2 of 400 windows are anomalous by 400 labels",
        "unusual value",
    ):
        assert told in done.stdout


def test_json_is_one_object_of_the_promised_schema(tmp_path, shop):
    log, labels = shop
    stats = tmp_path / "stats.json"
    arguments = ("--labels", labels, "--session-regex", r"ord_\d+", "--format", "json", "--stats", stats)
    done = ran("evaluate", log, *arguments, state=tmp_path)
    found = json.loads(done.stdout)
    assert found["schema"] == "logad.evaluation/1"
    figures = {"windows", "anomalous", "precision", "recall", "f1", "pr_auc", "roc_auc", "confusion"}
    assert figures | {"baselines"} <= found.keys()
    assert set(found["confusion"]) == {"tp", "fp", "fn", "tn"}
    assert set(found["baselines"]) == {"flag_all", "severity_words"}
    assert all(figures <= each.keys() for each in found["baselines"].values())
    assert accounts(stats)["windows"] == found["windows"] == sum(found["confusion"].values())


def test_csv_has_a_row_for_each_line_of_the_tables(tmp_path, shop):
    log, labels = shop
    arguments = ("--labels", labels, "--inject", "--session-regex", r"ord_\d+", "--format", "csv")
    done = ran("evaluate", log, *arguments, state=tmp_path)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    parts = {part: sum(row["part"] == part for row in rows) for part in {row["part"] for row in rows}}
    assert parts == {"judgement": 1, "baseline": 2, "tier": 3, "period": 4, "service": 1, "planted": 14}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "neither --labels nor --inject"),
        (["--labels", "no.csv"], 4, "no.csv: no such file"),
        (["--labels", "LABELS", "--window-records", "20"], 2, "its first column names sessions"),
        (["--inject", "--warmup", "some"], 2, "--warmup"),
        (["--inject", "--warmup", "100%"], 2, "0 to judge"),
        (["--inject", "--warmup", "50%", "--baseline", "LOG"], 2, "they exclude each other"),
        (["--inject", "--folds", "2"], 2, "given with --folds"),
        (["--labels", "LABELS", "--folds", "0"], 2, "a number from 1 to 100"),
        (
            ["--labels", "LABELS", "--session-regex", "ord_\\d+", "--folds", "2", "--model", "m"],
            2,
            "exclude each",
        ),
        (["--labels", "LABELS", "--timezone", "Mars/Base"], 2, "--timezone"),
        (["--inject", "--baseline-clean"], 2, "no --baseline"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_one_line(tmp_path, shop, arguments, code, told):
    names = {"LABELS": str(shop[1]), "LOG": str(shop[0])}
    done = ran("evaluate", shop[0], *(names.get(each, each) for each in arguments), state=tmp_path)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreadable_source_is_told_after_the_others_are_evaluated(tmp_path):
    log = wrote(tmp_path / "app.log", steady(600, broken_at=450))
    labels = table(tmp_path, "line,label", "451,1")
    arguments = (log, tmp_path / "no.log", "--labels", labels, "--window-records", "20")
    done = ran("evaluate", *arguments, state=tmp_path)
    assert done.returncode == 4
    assert "1 of 30 windows are anomalous by 1 label\n" in done.stdout
    assert "29 windows without a label count as normal" in done.stdout
    assert DISK not in done.stdout
