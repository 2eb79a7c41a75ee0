"""Windows are cut the same way whatever way the input was cut."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logad.errors import InputError
from logad.telemetry import Telemetry
from logad.types import RECORD_SCHEMA, Template, WindowKind
from logad.windowing import Windower, cut
from logad.windows import Windowing, Windows

VOCABULARY = tuple(Template(code, f"t{code}", f"template {code}", 0) for code in range(4))
START = datetime(2024, 1, 1, tzinfo=UTC)


def records_of(rows: list[tuple[float | None, str, str, int]]) -> pl.DataFrame:
    """Rows of (seconds after START, service, text, template code)."""
    columns: dict[str, list[object]] = {name: [] for name in [*RECORD_SCHEMA, "template"]}
    for number, (seconds, service, text, template) in enumerate(rows, 1):
        time = None if seconds is None else START + timedelta(seconds=seconds)
        values = (time, service, 2, text, text, "app", "app.log", number, 1, None, template)
        for name, value in zip(columns, values, strict=True):
            columns[name].append(value)
    return pl.DataFrame(columns, schema={**RECORD_SCHEMA, "template": pl.Int32()})


def seen(windows: Windows) -> list[tuple[object, ...]]:
    columns = ("service", "key", "start", "first_line", "last_line", "records", "revision")
    events = [windows.events[windows.span(row)].tolist() for row in range(len(windows))]
    return [
        (*row, tuple(codes)) for row, codes in zip(windows.table.select(columns).rows(), events, strict=True)
    ]


def streamed(records: pl.DataFrame, windowing: Windowing, cuts: list[int]) -> list[tuple[object, ...]]:
    """What a stream yields when the records come in pieces, through a state that is saved in between."""
    telemetry = Telemetry()
    windower = Windower(windowing, telemetry)
    out = []
    newest = None
    for begin, end in zip([0, *cuts], [*cuts, records.height], strict=True):
        piece = records[begin:end]
        windower.push(piece)
        if piece.height:
            times = piece["time"].dt.epoch("us").drop_nulls()
            newest = max([*([newest] if newest is not None else []), *times.to_list()], default=None)
        out += seen(windower.close(VOCABULARY, newest))
        windower = Windower.restored(windowing, telemetry, windower.state())
    return out + seen(windower.close(VOCABULARY, newest, final=True))


def test_time_windows_are_half_open_and_aligned_to_the_epoch() -> None:
    records = records_of([(0, "a", "x", 0), (59.999, "a", "x", 1), (60, "a", "x", 2)])
    windows = cut(records, Windowing(WindowKind.TIME, span_seconds=60), VOCABULARY)
    assert [row[-1] for row in seen(windows)] == [(0, 1), (2,)]
    assert windows.table["end"][0] == START + timedelta(seconds=60)


def test_an_empty_window_of_a_service_seen_before_is_there_but_not_one_before_it_was_seen() -> None:
    records = records_of([(0, "a", "x", 0), (61, "b", "x", 0), (181, "a", "x", 0)])
    windows = cut(records, Windowing(WindowKind.TIME, span_seconds=60), VOCABULARY)
    found = [(row[0], row[5]) for row in seen(windows)]
    assert found == [("a", 1), ("a", 0), ("b", 1), ("a", 0), ("b", 0), ("a", 1), ("b", 0)]


def test_logs_without_any_time_cannot_be_cut_by_time() -> None:
    with pytest.raises(InputError, match="no record has a time"):
        cut(records_of([(None, "a", "x", 0)]), Windowing(WindowKind.TIME, span_seconds=60), VOCABULARY)


def test_a_record_without_time_joins_the_window_of_the_one_before_it() -> None:
    records = records_of([(0, "a", "x", 0), (None, "a", "x", 1), (60, "a", "x", 2)])
    windows = cut(records, Windowing(WindowKind.TIME, span_seconds=60), VOCABULARY)
    assert [row[-1] for row in seen(windows)] == [(0, 1), (2,)]


def test_record_windows_tile_the_input_and_the_short_last_one_is_there() -> None:
    records = records_of([(n, "a", "x", n % 4) for n in range(5)])
    windows = cut(records, Windowing(WindowKind.RECORDS, size=2), VOCABULARY)
    assert [row[5] for row in seen(windows)] == [2, 2, 1]
    assert [(row[3], row[4]) for row in seen(windows)] == [(1, 2), (3, 4), (5, 5)]


def test_a_record_with_several_keys_belongs_to_each_and_one_with_none_is_counted() -> None:
    telemetry = Telemetry()
    by_block = Windowing(WindowKind.SESSION, key_regex=r"blk_\d+")
    records = records_of([(0, "a", "blk_1 blk_2 blk_1", 0), (1, "a", "none", 1), (2, "a", "blk_2", 2)])
    windows = cut(records, by_block, VOCABULARY, telemetry)
    assert [(row[1], row[-1]) for row in seen(windows)] == [("blk_1", (0,)), ("blk_2", (0, 2))]
    assert telemetry.unkeyed == 1


def test_the_first_group_of_a_session_regex_is_the_key() -> None:
    windows = cut(
        records_of([(0, "a", "req=77 x", 0)]),
        Windowing(WindowKind.SESSION, key_regex=r"req=(\d+)"),
        VOCABULARY,
    )
    assert windows.table["key"].to_list() == ["77"]


def test_a_session_that_goes_on_after_its_timeout_is_judged_again_as_a_whole() -> None:
    windowing = Windowing(WindowKind.SESSION, key_regex=r"s\d", timeout_seconds=10)
    records = records_of([(0, "a", "s1", 0), (1, "a", "s2", 1), (15, "a", "s1", 2), (40, "a", "s3", 3)])
    found = [(row[1], row[6], row[-1]) for row in streamed(records, windowing, [])]
    assert found == [
        ("s1", 0, (0,)),
        ("s2", 0, (1,)),
        ("s1", 1, (0, 2)),
        ("s3", 0, (3,)),
    ]


@given(st.permutations("abc"), st.sampled_from(list(WindowKind)[:2]), st.integers(0, 3))
def test_records_of_one_moment_are_in_the_order_of_their_streams_however_they_came(
    order: list[str], kind: WindowKind, cut_at: int
) -> None:
    windowing = {
        WindowKind.TIME: Windowing(WindowKind.TIME, span_seconds=60),
        WindowKind.SESSION: Windowing(WindowKind.SESSION, key_regex="s1", timeout_seconds=20),
    }[kind]
    windower = Windower(windowing, Telemetry())
    found = []
    for place, name in enumerate(order):
        records = records_of([(0, "x", "s1", "abc".index(name)), (1, "x", "s1", 3)])
        windower.push(records.with_columns(stream=pl.lit(name)))
        if place == cut_at:
            early = round((START - timedelta(seconds=1)).timestamp() * 1e6)
            found += seen(windower.close(VOCABULARY, early))
    end = round((START + timedelta(seconds=600)).timestamp() * 1e6)
    found += seen(windower.close(VOCABULARY, end, final=True))
    assert [row[-1] for row in found if row[5]] == [(0, 1, 2, 3, 3, 3)]


rows = st.lists(
    st.tuples(
        st.integers(0, 300).map(float),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["s1", "s2", "s3 s1", "-"]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=40,
)
windowings = st.sampled_from(
    [
        Windowing(WindowKind.TIME, span_seconds=60),
        Windowing(WindowKind.RECORDS, size=3),
        Windowing(WindowKind.SESSION, key_regex=r"s\d", timeout_seconds=20),
    ]
)


@given(rows, windowings, st.data())
def test_windows_do_not_depend_on_how_the_stream_was_cut_or_restarted(
    rows: list[tuple[float, str, str, int]], windowing: Windowing, data: st.DataObject
) -> None:
    records = records_of(sorted(rows, key=lambda row: row[0]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    assert streamed(records, windowing, cuts) == streamed(records, windowing, [])


@given(rows, windowings)
def test_every_record_is_in_the_last_revision_of_its_windows(
    rows: list[tuple[float, str, str, int]], windowing: Windowing
) -> None:
    records = records_of(rows)
    memberships = sum(len(set(row[2].split()) - {"-"}) for row in rows)
    expected = memberships if windowing.kind is WindowKind.SESSION else len(rows)
    counted = sum(int(str(row[5])) for row in seen(cut(records, windowing, VOCABULARY)))
    assert counted == expected


@given(st.lists(st.lists(st.integers(0, 5), max_size=30), min_size=1, max_size=12), st.integers(6, 4000))
@settings(max_examples=100, deadline=None)
def test_occurrences_count_each_template_of_each_window(codes, width):
    lengths = [len(one) for one in codes]
    vocabulary = tuple(Template(code, f"{code:016x}", f"t{code}", 0) for code in range(width))
    flat = np.asarray([code for one in codes for code in one], dtype=np.int32)
    none = np.zeros(len(flat), dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    windows = Windows(
        WindowKind.RECORDS, pl.DataFrame(), offsets, flat, none, none, vocabulary, pl.DataFrame()
    )
    expected = [
        (window, code, count)
        for window, one in enumerate(codes)
        for code, count in sorted(Counter(one).items())
    ]
    assert list(zip(*(each.tolist() for each in windows.occurrences), strict=True)) == expected
