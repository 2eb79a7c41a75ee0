"""What volume sees beyond single counts: sums, periods, order, partners, what is new, what nobody writes."""

import re

import numpy as np
import pytest
from builders import vocabulary_of, windows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from logad.contracts import PartConfig
from logad.detectors._ages import Course, ages_of
from logad.detectors._baseline import Counts, learned
from logad.detectors._partners import Table, out_of_step, partners_of
from logad.detectors._sums import Recent, sums
from logad.detectors.new_template import NewTemplate
from logad.detectors.volume import Volume
from logad.types import WindowKind

DAY = 288  # windows of five minutes
REQUEST, ROUTED, ANSWERED, WARNS, HOURLY, NEW = range(6)
VOCABULARY = vocabulary_of(
    "request came", "routed", "answered", "disk slow", "report begun", "article archived",
    severities=[0, 0, 0, 2, 0, 0],
)  # fmt: skip


def shop(
    windows,
    *,
    begin=0,
    seed=0,
    warn=0.1,
    extra=None,
    swapped=(),
    answered=1.0,
    unanswered=(),
    silent=(),
    hourly=True,
):
    """A service of requests in three steps, a rare warning and an hourly line, and a second one beside it."""
    codes, times, services = [], [], []
    for window in range(begin, begin + windows):
        generator = np.random.default_rng([seed, window])
        mine = []
        for moment in np.sort(generator.uniform(0, 290, generator.poisson(12))):
            steps = [REQUEST, ANSWERED, ROUTED] if window in swapped else [REQUEST, ROUTED, ANSWERED]
            chance = 0.2 if window in unanswered else answered
            kept = [step for step in steps if step != ANSWERED or generator.random() < chance]
            mine += [(moment + place / 100, step) for place, step in enumerate(kept)]
        rare = generator.poisson((extra or {}).get(window, warn))
        mine += [(moment, WARNS) for moment in generator.uniform(0, 300, rare)]
        if hourly and window % 12 == 3:
            mine.append((100.0, HOURLY))
        mine += [(moment, NEW) for moment in generator.uniform(0, 300, (extra or {}).get(-window, 0))]
        if window in silent:
            mine = []
        mine.sort()
        beside = [] if window in silent else np.linspace(5, 295, 30).tolist()
        for service, told in (("api", mine), ("db", [(moment, REQUEST) for moment in beside])):
            codes.append([code for _, code in told])
            times.append([window * 300.0 + moment for moment, _ in told])
            services.append(service)
    starts = [(begin + place // 2) * 300.0 for place in range(2 * windows)]
    return windows_of(
        codes, kind=WindowKind.TIME, times=times, services=services, starts=starts, vocabulary=VOCABULARY
    )


def fitted(**changes):
    return Volume(PartConfig()).fit(shop(4 * DAY, **changes))


def alarms(detector, windows, first=4 * DAY):
    """(window, sentence) of each alarm of `api`."""
    rows = np.flatnonzero(detector.tail_probabilities(windows) < detector.need)
    assert {windows.table["service"][int(row)] for row in rows} <= {"api"}
    return [(first + int(row) // 2, detector.explain(windows, int(row))[0].text) for row in rows]


def test_four_quiet_days_and_a_fifth_raise_no_alarm():
    assert alarms(fitted(), shop(DAY, begin=4 * DAY)) == []


def test_a_warning_that_is_too_frequent_over_half_an_hour_is_found_though_no_window_is_strange():
    found = alarms(
        fitted(), shop(60, begin=4 * DAY, extra=dict.fromkeys(range(4 * DAY + 20, 4 * DAY + 26), 2.5))
    )
    assert found
    assert all(4 * DAY + 20 <= window < 4 * DAY + 28 for window, _ in found)
    assert any("'disk slow' came" in text and "within 60 minutes; usually" in text for _, text in found)


def test_an_hourly_line_that_stays_out_is_overdue_and_found_in_parts_as_at_once():
    stays_out = shop(60, begin=4 * DAY, hourly=False)
    detector = fitted()
    found = alarms(detector, stays_out)
    assert len(found) == 6
    assert found[0][1].startswith("'report begun' has not come for 1.6 hours; it comes regularly, at most 1.")
    parts = []
    for begin in range(0, 60, 7):
        rows = range(2 * begin, min(2 * begin + 14, 120))
        part = stays_out.take(rows)
        parts += alarms(detector, part, 4 * DAY + begin)
        detector.remember(part)
    assert [window for window, _ in parts] == [window for window, _ in found]


def test_nothing_regular_is_overdue_after_an_outage_of_everything():
    outage = range(4 * DAY + 14, 4 * DAY + 40)  # the hourly line comes 11 windows before and 11 after
    found = alarms(fitted(), shop(60, begin=4 * DAY, silent=outage))
    assert found[0][0] == 4 * DAY + 14  # one window in which nobody writes is enough
    assert {window for window, _ in found} <= set(outage)
    assert all("has been silent for" in text for _, text in found)


def test_steps_in_another_order_are_found_and_shown():
    swapped = range(4 * DAY + 5, 4 * DAY + 8)
    windows, detector = shop(20, begin=4 * DAY, swapped=swapped), fitted()
    found = alarms(detector, windows)
    assert [window for window, _ in found] == list(swapped)
    (reason, *_) = detector.explain(windows, 2 * 5)
    assert re.fullmatch(r"api took \d\d steps in an unusual order; usually (0\.\d+|hardly any)", reason.text)
    events = windows.events[windows.span(2 * 5)]
    assert {(events[place - 1], events[place]) for place in reason.events} <= {
        (REQUEST, ANSWERED), (ANSWERED, ROUTED), (ROUTED, REQUEST),
    }  # fmt: skip


def test_a_step_that_stays_behind_its_partner_is_found_in_the_first_window():
    found = alarms(fitted(), shop(20, begin=4 * DAY, unanswered=[4 * DAY + 5, 4 * DAY + 6]))
    assert [window for window, _ in found] == [4 * DAY + 5, 4 * DAY + 6]
    assert all(text.startswith("'answered' came ") and "; beside 'r" in text for _, text in found)


def test_a_template_that_outruns_its_partners_is_blamed_and_one_that_is_gone_with_a_partner_is_missed():
    twice = windows_of(
        [[REQUEST, ROUTED, *[ANSWERED] * (12 if window == 7 else 1)] * 6 for window in range(60)],
        kind=WindowKind.TIME,
        services=["api"] * 60,
        starts=[window * 300.0 for window in range(60)],
        vocabulary=VOCABULARY,
    )
    partners = partners_of(tables(twice))
    assert sorted(zip(partners.series.tolist(), partners.beside.tolist(), strict=True)) == [
        (one, other) for one in range(3) for other in range(3) if one != other
    ]  # though one window in sixty says otherwise
    more = [
        (found.rows.tolist(), found.values.tolist())
        for found in out_of_step(partners, tables(twice), more=True)
    ]
    assert more == [([7, 7], [72, 72])]
    gone = tables(twice)[0]
    gone.counts[9, [REQUEST, ROUTED]] = 0
    assert {
        int(series)
        for found in out_of_step(partners, [gone], more=True)
        for series in found.series[found.rows == 9]
    } == {ANSWERED}


def tables(windows):
    counts = np.zeros((len(windows), 3), dtype=np.int64)
    np.add.at(counts, (windows.owner, windows.events), 1)
    return [Table(np.arange(3), np.arange(len(windows)), counts)]


def test_a_silence_of_what_is_hardly_ever_silent_is_found_beside_others_like_it():
    holes = [100, 101, 102, 300, 301, 302, 500, 501, 502]
    rng = np.random.default_rng(3)
    windows = windows_of(
        [[] if window in holes else [REQUEST] * 9 for window in range(600)],
        kind=WindowKind.TIME,
        times=[
            [] if window in holes else (window * 300.0 + np.sort(rng.uniform(0, 300, 9))).tolist()
            for window in range(600)
        ],
        services=["api"] * 600,
        starts=[window * 300.0 for window in range(600)],
        vocabulary=VOCABULARY,
    )
    detector = Volume(PartConfig()).fit(windows)
    found = np.flatnonzero(detector.tail_probabilities(windows) < detector.need)
    assert set(found.tolist()) >= {102, 302, 502}
    assert set(found.tolist()) <= set(holes)
    assert "silent for 1" in detector.explain(windows, 302)[0].text


def test_a_new_job_is_no_burst_when_it_first_comes_and_the_same_of_a_known_line_is():
    archived = {-(4 * DAY + 5): 200}
    assert alarms(fitted(), shop(20, begin=4 * DAY, extra=archived)) == []
    known = {-window: 1 for window in range(1, 4 * DAY, 40)}
    assert [window for window, _ in alarms(fitted(extra=known), shop(20, begin=4 * DAY, extra=archived))] == [
        4 * DAY + 5
    ]


def test_a_new_job_that_goes_on_after_the_fit_is_still_new():
    begun = fitted(extra={-(4 * DAY - 1): 2})
    assert alarms(begun, shop(20, begin=4 * DAY, extra={-(4 * DAY + 1): 200})) == []


def test_lines_that_come_together_weigh_more_at_quiet_hours():
    generator = np.random.default_rng(0)
    hours = np.arange(20 * DAY) // 12 % 24
    values = 6 * generator.poisson(np.where(hours < 8, 0.5, 8))  # six lines at once
    places = np.flatnonzero(values)
    counts = Counts(0 * places, hours[places], values[places], np.bincount(hours)[None, :])
    baseline = learned(counts, 20 * DAY * 300_000_000)
    excess = baseline.phi * baseline.means  # variance over mean, less one
    assert np.allclose(excess[0, :8], 5, atol=2.5)
    assert np.allclose(excess[0, 8:], 5, atol=2.5)


def test_what_had_just_come_when_it_was_fitted_is_not_judged_until_it_is_learned():
    deployed = {-window: 10 for window in range(4 * DAY - 3, 4 * DAY)}
    later = {-window: 20 for window in range(4 * DAY, 4 * DAY + 60)}
    assert alarms(fitted(extra=deployed), shop(60, begin=4 * DAY, extra=later)) == []


def test_a_new_level_is_news_for_an_hour():
    known = {-window: 1 for window in range(1, 4 * DAY, 40)}
    later = {-window: 60 for window in range(4 * DAY + 5, 4 * DAY + 60)}
    found = alarms(fitted(extra=known), shop(60, begin=4 * DAY, extra=later))
    windows = [window - 4 * DAY for window, _ in found]
    assert windows[:12] == list(range(5, 17))
    assert windows[-1] <= 18


def test_what_came_to_stay_is_judged_by_its_own_life():
    deployed = {-window: 10 for window in range(4 * DAY - 40, 4 * DAY)}
    later = {-window: 10 for window in range(4 * DAY, 4 * DAY + 60)}
    assert alarms(fitted(extra=deployed), shop(60, begin=4 * DAY, extra=later)) == []


@given(st.lists(st.integers(0, 9), min_size=1, max_size=400))
@settings(max_examples=30, deadline=None)
def test_a_series_that_came_late_is_counted_in_the_windows_since(places):
    rows = np.unique(np.asarray(places)) + 390
    course = Course(np.zeros(400, dtype=np.int64), np.arange(400) // 12 % 24, np.arange(400) * 300)
    ages = ages_of(course, np.zeros(len(rows), dtype=np.int64), rows, np.zeros(1, dtype=np.int64))
    assert ages.births[0] == rows[0] * 300
    assert ages.windows.sum() == 400 - rows[0]  # fewer than two hours: too young to be judged


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(1, 9)), max_size=60),
    st.integers(1, 12),
)
@settings(deadline=None)
def test_sums_over_windows_are_what_a_loop_would_add(entries, many):
    columns = [np.asarray([entry[at] for entry in entries], dtype=np.int64) for at in range(3)]
    counts = Recent(columns[0], columns[1] * 300, columns[2])
    found = sums(counts, columns[0], columns[1] * 300, np.full(len(entries), many), 300)
    for (series, end, _), total in zip(entries, found, strict=True):
        assert total == sum(
            value for other, at, value in entries if other == series and end - many < at <= end
        )


@pytest.mark.parametrize(("kind", "standing"), [(WindowKind.TIME, False), (WindowKind.RECORDS, True)])
def test_an_error_known_from_three_occasions_over_two_days_is_news_only_where_time_is_not_judged(
    kind, standing
):
    vocabulary = vocabulary_of("served", "write failed", severities=[0, 3])
    errors = {10, 100, 330, 500}
    codes = [[0, 1] if window in errors else [0] for window in range(600)]
    windows = windows_of(codes, kind=kind, vocabulary=vocabulary)
    tails = NewTemplate(PartConfig()).fit(windows).tail_probabilities(windows)
    found = np.flatnonzero(tails < NewTemplate.need).tolist()
    assert found == ([10, 100, 330, 500] if standing else [10, 100, 330])


def test_rules_survive_their_state():
    detector = fitted()
    windows = shop(40, begin=4 * DAY, swapped=[4 * DAY + 5], unanswered=[4 * DAY + 9])
    restored = Volume(PartConfig()).restore(detector.state())
    assert np.array_equal(detector.score(windows), restored.score(windows))
