"""Parameter values: numbers far out of their range, and levels of numbers that shift."""

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from builders import vocabulary_of, windows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from logad.contracts import PartConfig
from logad.detectors.parameter_values import ParameterValues
from logad.types import RECORD_SCHEMA, AnomalyType, WindowKind
from logad.windows import MOST_VALUES, Windows

DAY = 288  # windows
QUERY = "query took <NUM>"
VOCABULARY = vocabulary_of(QUERY, "done")


def telling(numbers, kind=WindowKind.SESSION, *, begin=0) -> Windows:
    """A window for each list of numbers: each is told by a line, and another line tells none."""
    windows = windows_of(
        [[0] * len(mine) + [1] for mine in numbers],
        kind=kind,
        vocabulary=VOCABULARY,
        starts=[(begin + at) * 300.0 for at in range(len(numbers))],
    )
    values = np.full((len(windows.events), MOST_VALUES), np.nan, dtype=np.float32)
    values[windows.events == 0, 1] = np.concatenate([np.asarray(mine, dtype=float) for mine in numbers])
    return replace(windows, values=values)


def fitted(windows: Windows) -> ParameterValues:
    return ParameterValues(PartConfig()).fit(windows)


def flagged(detector: ParameterValues, windows: Windows) -> list[int]:
    return np.flatnonzero(detector.tail_probabilities(windows) < detector.need).tolist()


def lognormal(windows, lines=3, *, seed=0, sigma=0.5, median=80.0):
    chance = np.random.default_rng(seed)
    return chance.lognormal(np.log(median), sigma, (windows, lines)).round()


# One number ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(WindowKind))
def test_a_number_thirty_times_as_high_as_usual_is_found_and_told(kind):
    numbers = lognormal(2_000)
    numbers[1_000, 2] = 30 * 80
    windows = telling(numbers, kind)
    detector = fitted(windows)
    assert flagged(detector, windows) == [1_000]
    (reason,) = detector.explain(windows, 1_000)
    assert reason.text.startswith(f"'{QUERY}' says 2400; usually ")
    assert reason.text.endswith(" in 99 of 100 lines")
    assert (reason.type, reason.template, reason.actual) == (AnomalyType.POINT, 0, "2400")
    assert reason.events == (2,)


def test_a_number_far_below_its_range_is_found():
    chance = np.random.default_rng(1)
    numbers = chance.normal(20_000, 300, (5_000, 3))
    numbers[4_000, 1] = -20_000
    windows = telling(numbers)
    assert flagged(fitted(windows), windows) == [4_000]


DRAWN = {
    "log-normal, narrow": lambda chance, shape: chance.lognormal(4, 0.1, shape),
    "log-normal": lambda chance, shape: chance.lognormal(4, 0.5, shape),
    "log-normal, wide": lambda chance, shape: chance.lognormal(4, 2.0, shape),
    "normal": lambda chance, shape: chance.normal(50, 5, shape),
    "around nothing": lambda chance, shape: chance.normal(0, 5, shape),
    "heavy": lambda chance, shape: 1 + chance.pareto(1.0, shape),
    "counts": lambda chance, shape: chance.poisson(2.0, shape),
    "geometric": lambda chance, shape: chance.geometric(0.2, shape),
    "seldom other than 3": lambda chance, shape: np.where(chance.random(shape) < 0.001, 4, 3),
    "now and then a thousand times as long": lambda chance, shape: (
        chance.lognormal(4, 0.5, shape) * np.where(chance.random(shape) < 0.01, 1_000, 1)
    ),
    "status": lambda chance, shape: chance.choice([200, 304, 404, 500], shape, p=[0.9, 0.06, 0.035, 0.005]),
    "identifiers": lambda chance, shape: chance.integers(10_000, 99_999, shape),
    "ports": lambda chance, shape: chance.integers(32_768, 60_999, shape),
    "end of a file": lambda chance, shape: np.where(
        chance.random(shape) < 0.03, chance.integers(1, 67_108_864, shape), 67_108_864
    ),
    "slowly wandering": lambda chance, shape: (
        np.exp(np.cumsum(chance.normal(0, 0.003, shape[0])))[:, None] * chance.lognormal(4, 0.3, shape)
    ),
}


@pytest.mark.parametrize("drawn", DRAWN.values(), ids=DRAWN)
def test_among_ten_thousand_ordinary_sessions_hardly_one_is_flagged(drawn):
    chance = np.random.default_rng(3)
    both = drawn(chance, (20_000, 2))
    learned, fresh = telling(both[:10_000]), telling(both[10_000:])
    detector = fitted(learned)
    assert len(flagged(detector, learned)) <= 2
    assert len(flagged(detector, fresh)) <= 2


@pytest.mark.parametrize("many", [1, 8])
def test_what_a_few_of_many_sessions_share_is_found_though_it_was_learned_from(many):
    sizes = np.full((11_000, 3), 67_108_864.0)
    sizes[5::30, 0] = np.random.default_rng(5).integers(1, 67_108_864, len(sizes[5::30]))
    rows = list(range(700, 700 + 997 * many, 997))
    sizes[rows, 1] *= 3
    windows = telling(sizes)
    assert flagged(fitted(windows), windows) == rows


def test_a_number_never_seen_among_few_is_stranger_the_more_settled_they_are():
    codes = np.asarray([200.0, 404.0, 500.0])
    odd = telling([[1_500.0]])
    before = 1.0
    for many in (20, 200, 2_000, 20_000):
        usual = codes[np.random.default_rng(0).integers(0, 3, (many, 1))]
        tail = float(fitted(telling(usual)).tail_probabilities(odd)[0])
        assert tail < before / 5
        before = tail
    assert fitted(telling(codes[np.arange(30) % 3][:, None])).tail_probabilities(odd)[0] > 0.001


@given(st.integers(0, 1_000), st.floats(1, 1e6))
@settings(max_examples=25, deadline=None)
def test_the_further_out_the_stranger(seed, times):
    detector = fitted(telling(lognormal(300, seed=seed)))
    near, far = detector.score(telling([[500.0 * times], [1_000.0 * times]]))
    assert 0 <= near <= far


def test_a_counter_goes_on_in_silence():
    counted = np.arange(6_000.0).reshape(2_000, 3) + 1
    later = telling(6_000 + np.arange(6_000.0).reshape(2_000, 3))
    detector = fitted(telling(counted))
    assert flagged(detector, later) == []


def test_few_numbers_and_windows_that_tell_none_are_not_judged():
    detector = fitted(telling([[3.0, 3.0]] * 9))
    assert detector.score(telling([[1e9]])).tolist() == [0]
    bare = replace(telling(lognormal(50)), values=None)
    assert fitted(bare).score(bare).tolist() == [0] * 50
    assert fitted(telling(lognormal(50))).score(bare).tolist() == [0] * 50


def test_a_number_is_told_as_it_is_written_and_its_range_in_the_same_unit():
    numbers = lognormal(400, 1, seed=2) / 1_000
    numbers[50, 0] = 9.5
    windows = telling(numbers)
    line = "2024-03-04 00:00:00,123 INFO query took 9500 ms"
    blank = dict.fromkeys(RECORD_SCHEMA)
    records = pl.DataFrame([{**blank, "raw": line}], schema=RECORD_SCHEMA)
    rows = np.full(len(windows.events), -1)
    rows[windows.offsets[50]] = 0
    (reason,) = fitted(windows).explain(replace(windows, records=records, rows=rows), 50)
    assert reason.actual == "9500 ms"
    assert reason.expected.startswith("at most ")
    assert reason.expected.endswith(" ms")
    assert 100 < float(reason.expected.split()[2]) < 9_500


# Levels -------------------------------------------------------------------------------------------------


def days(count, *, seed=0, lines=10, shift=None):
    """Windows of time of so many days; `shift` multiplies the numbers of window w by shift(w)."""
    factor = np.asarray([shift(at) if shift else 1.0 for at in range(count * DAY)])
    return lognormal(count * DAY, lines, seed=seed) * factor[:, None]


def alarms(learned, numbers):
    detector = fitted(telling(learned, WindowKind.TIME))
    windows = telling(numbers, WindowKind.TIME, begin=len(learned))
    return detector, windows, flagged(detector, windows)


def test_numbers_ten_times_as_high_for_twenty_minutes_are_found_at_once():
    numbers = days(1, seed=1, shift=lambda at: 10 if 100 <= at < 104 else 1)
    detector, windows, found = alarms(days(4), numbers)
    assert found[0] == 100
    assert set(found) <= {100, 101, 102, 103}
    texts = {reason.type: reason for reason in detector.explain(windows, 100)}
    assert texts


def test_a_level_twice_and_a_half_as_high_is_found_where_no_number_is_strange():
    numbers = days(1, seed=1, lines=30, shift=lambda at: 2.5 if 100 <= at < 104 else 1)
    detector, windows, found = alarms(days(4, lines=30), numbers)
    assert found
    assert set(found) <= {100, 101, 102, 103}
    (reason,) = detector.explain(windows, found[0])
    assert reason.type is AnomalyType.CONTEXTUAL
    assert re.fullmatch(
        rf"'{QUERY}' says around (1[789]|2[0-3])0 in 30 lines; usually around 8\d", reason.text
    )
    assert len(reason.events) == 3


def test_twenty_five_times_as_high_at_two_lines_a_window_is_found_at_once():
    numbers = days(1, seed=1, lines=2, shift=lambda at: 25 if 100 <= at < 112 else 1)
    _, _, found = alarms(days(6, lines=2), numbers)
    assert found[0] in {100, 101}
    assert set(found) <= set(range(100, 112))


def test_ten_quiet_days_drift_and_a_slow_night_raise_no_alarm_from_the_second_night_on():
    def shift(at):
        return (1 + at / 3_000) * (4 if 24 <= at % DAY < 28 else 1)

    numbers = days(10, seed=4, shift=shift)
    _, _, found = alarms(numbers[: 5 * DAY], numbers[5 * DAY :])
    assert found == []


def test_a_level_that_stays_is_the_usual_one_after_an_hour():
    numbers = days(2, seed=5, shift=lambda at: 5 if at >= 60 else 1)
    _, _, found = alarms(days(4), numbers)
    assert found[0] == 60
    assert max(found) < 60 + 14


def test_judging_in_pieces_gives_what_judging_at_once_gives():
    numbers = days(2, seed=6, lines=4, shift=lambda at: 6 if at % 90 < 3 else 1 + (at > 400))
    detector, windows, found = alarms(days(3, lines=4), numbers)
    assert found
    whole = detector.score(windows)
    told = [[each.text for each in detector.explain(windows, row)] for row in range(len(windows))]
    restored = ParameterValues(PartConfig()).restore(detector.state())
    for cut in (detector, restored):
        at, chance = 0, np.random.default_rng(0)
        while at < len(windows):
            piece = windows.take(range(at, min(at + int(chance.integers(1, 40)), len(windows))))
            assert cut.score(piece) == pytest.approx(whole[at : at + len(piece)], abs=1e-9)
            for row in range(len(piece)):
                assert [each.text for each in cut.explain(piece, row)] == told[at + row]
            cut.remember(piece)
            at += len(piece)


def test_what_was_learned_from_is_judged_by_what_came_before():
    numbers = days(6, seed=7, shift=lambda at: (1 + at / 400) * (8 if at in {700, 701} else 1))
    windows = telling(numbers, WindowKind.TIME)
    assert flagged(fitted(windows), windows)[:1] == [700]
    assert set(flagged(fitted(windows), windows)) <= {700, 701}
