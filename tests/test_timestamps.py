import re
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logad.errors import UsageError
from logad.formats import timestamps
from logad.formats.timestamps import FORMATS, Calendar, letters
from logad.kernel.numbered import place
from logad.kernel.passes import Compiled
from logad.shapes import Shapes
from logad.windows import NO_TIME

SAMPLES = {
    "ISO 8601": {
        "2015-07-29 17:41:44,747": "2015-07-29T17:41:44.747",
        "2023-01-29T08:44:08.615163885Z": "2023-01-29T08:44:08.615163",
        "2023-01-29T08:44:08+01:00": "2023-01-29T07:44:08",
        "2023-01-29 08:44:08.5 +0100": "2023-01-29T07:44:08.500000",
        "2026-11-22 18:45:07": "2026-11-22T18:45:07",
    },
    "year/month/day": {"2024/01/02 03:04:05": "2024-01-02T03:04:05"},
    "ISO date with dots": {"2005-06-03-15.42.50.675872": "2005-06-03T15:42:50.675872"},
    "weekday, month, day, year": {"Sun Dec 04 04:47:44 2005": "2005-12-04T04:47:44"},
    "HTTP date": {"Sun, 04 Dec 2005 04:47:44 GMT": "2005-12-04T04:47:44"},
    "day/month/year:clock": {"10/Oct/2000:13:55:36 -0700": "2000-10-10T20:55:36"},
    "day-month-year": {"04-Dec-2005 04:47:44.123": "2005-12-04T04:47:44.123"},
    "month day year": {"Jun 14 2005 15:16:01": "2005-06-14T15:16:01"},
    "month day": {"Jun 14 15:16:01": "2024-06-14T15:16:01", "Nov 9 12:01:01": "2024-11-09T12:01:01"},
    "yy/mm/dd": {"17/06/09 20:10:40": "2017-06-09T20:10:40"},
    "mm/dd/yyyy, twelve hours": {
        "12/31/2024 1:02:03 PM": "2024-12-31T13:02:03",
        "1/2/2024, 11:02:03 am": "2024-01-02T11:02:03",
    },
    "mm/dd/yyyy": {"12/31/2024 10:00:00": "2024-12-31T10:00:00"},
    "dd.mm.yyyy": {"31.12.2024 10:00:00": "2024-12-31T10:00:00"},
    "yymmdd HHMMSS": {"081109 203615": "2008-11-09T20:36:15"},
    "yymmdd": {"081109  8:36:15": "2008-11-09T08:36:15"},
    "yyyymmdd": {
        "20171223-22:15:29:606": "2017-12-23T22:15:29.606",
        "20240102T030405Z": "2024-01-02T03:04:05",
    },
    "mm-dd": {"03-17 16:13:38.811": "2024-03-17T16:13:38.811"},
    "mm.dd": {"10.30 16:49:06": "2024-10-30T16:49:06"},
    "mmdd": {"0102 03:04:05.678901": "2024-01-02T03:04:05.678901"},
    "seconds since 1970": {"1117838570": "2005-06-03T22:42:50", "1117838570.5": "2005-06-03T22:42:50.5"},
    "milliseconds since 1970": {"1117838570123": "2005-06-03T22:42:50.123"},
    "micro- or nanoseconds since 1970": {"1117838570123456": "2005-06-03T22:42:50.123456"},
    "time of day": {"17:20:29.299": "2024-06-01T17:20:29.299"},
}


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@given(data=st.data())
@settings(max_examples=20)
def test_a_text_that_holds_a_time_may_hold_one_of_its_format(form, data):
    written = data.draw(st.from_regex(re.compile(form.pattern, re.ASCII), fullmatch=True))
    assert form in timestamps.possible(["no time", f"service: [{written}] ready"])


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_every_format_reads_its_samples_to_the_microsecond(form):
    base = {"year": 2024, "date": datetime(2024, 6, 1, tzinfo=UTC).toordinal()}.get(form.lacks, 0)
    for text, moment in SAMPLES[form.name].items():
        assert re.fullmatch(form.pattern, text)
        read, _ = timestamps.parse(pl.Series([text]), form, "UTC", Calendar(base, 6))
        assert read[0] == datetime.fromisoformat(moment).replace(tzinfo=UTC)


def test_polars_and_python_agree_on_every_pattern():
    for form in FORMATS:
        texts = pl.Series([text for texts in SAMPLES.values() for text in texts])
        rust = texts.str.contains(rf"^(?:{form.pattern})$").to_list()
        assert rust == [bool(re.fullmatch(form.pattern, text)) for text in texts]


def test_a_time_without_a_zone_is_read_in_the_zone_given():
    read, _ = timestamps.parse(pl.Series(["2024-07-01 12:00:00"]), FORMATS[0], "Europe/Berlin")
    assert read[0] == datetime(2024, 7, 1, 10, tzinfo=UTC)


def test_an_hour_that_the_clock_skips_or_repeats_is_still_a_time():
    texts = pl.Series(["2024-03-31 02:30:00", "2024-10-27 02:30:00"])
    read, _ = timestamps.parse(texts, FORMATS[0], "Europe/Berlin")
    assert [moment.hour for moment in read] == [1, 0]


def test_a_text_that_is_no_time_gives_null_and_no_error():
    for form in FORMATS:
        read, _ = timestamps.parse(pl.Series(["", "soon", None]), form, "UTC", Calendar(2024, 1))
        assert read.null_count() == 3


def test_the_order_of_day_and_month_is_the_one_that_reads_the_sample():
    form = next(form for form in FORMATS if form.name == "mm/dd/yyyy")
    settled = timestamps.settled(form, ["03/04/2024 10:00:00", "31/12/2024 10:00:00"])
    read, _ = timestamps.parse(pl.Series(["31/12/2024 10:00:00"]), settled, "UTC")
    assert read[0] == datetime(2024, 12, 31, 10, tzinfo=UTC)


def test_no_time_without_a_year_lies_more_than_a_day_after_the_file_was_changed():
    form = next(form for form in FORMATS if form.name == "month day")
    for text, year in (("Jun 14 15:16:01", 2024), ("Jun 15 15:16:01", 2024), ("Jun 17 00:00:00", 2023)):
        assert timestamps.first_calendar([text], form, datetime(2024, 6, 15, tzinfo=UTC)).base == year


def test_a_log_without_years_rolls_over_new_year_and_29_february_is_a_day():
    form = next(form for form in FORMATS if form.name == "month day")
    texts = pl.Series(["Dec 31 23:59:59", "Jan  1 00:00:01", "Dec 31 23:59:58", "Feb 29 00:00:00"])
    read, calendar = timestamps.parse(texts, form, "UTC", Calendar(2023, 12))
    assert [moment.year for moment in read] == [2023, 2024, 2023, 2024]
    assert calendar == Calendar(2024, 2)


def test_a_clock_without_a_date_moves_past_midnight():
    form = next(form for form in FORMATS if form.name == "time of day")
    calendar = timestamps.first_calendar(["23:59:59", "00:00:01"], form, datetime(2024, 3, 1, 6, tzinfo=UTC))
    read, _ = timestamps.parse(pl.Series(["23:59:59", "00:00:01"]), form, "UTC", calendar)
    assert [(moment.month, moment.day) for moment in read] == [(2, 29), (3, 1)]


def test_a_given_format_reads_what_python_writes():
    moment = datetime(2024, 2, 3, 4, 5, 6, 789000, tzinfo=UTC)
    for text in ("%d|%m|%Y %H:%M:%S,%f", "%Y%m%d%H%M%S", "<%b %d %Y %H:%M:%S>", "%Y-%m-%dT%H:%M:%S.%f%z"):
        form = timestamps.given(text)
        written = moment.strftime(text)
        assert re.fullmatch(form.pattern, written)
        read, _ = timestamps.parse(pl.Series([written]), form, "UTC")
        assert abs((read[0] - moment).total_seconds()) < 1


@pytest.mark.parametrize("text", ["", "no directive", "%Q", "%"])
def test_a_given_format_that_cannot_be_is_refused_in_words(text):
    with pytest.raises(UsageError, match="--time-format"):
        timestamps.given(text)


@settings(max_examples=50)
@given(st.lists(st.text(max_size=30) | st.sampled_from([t for texts in SAMPLES.values() for t in texts])))
def test_no_text_makes_a_format_fail(texts):
    for form in FORMATS:
        read, _ = timestamps.parse(pl.Series(texts, dtype=pl.String), form, "UTC", Calendar(2024, 1))
        assert len(read) == len(texts)
        assert read.dtype == pl.Datetime("us", "UTC")


MOMENTS = st.datetimes(datetime.fromisoformat("1970-01-02"), datetime.fromisoformat("2069-01-01"))
ZERO = np.zeros(1, dtype=np.int32)
READ = [form for form in FORMATS if letters(form, "UTC")]
PIECES = st.sampled_from(
    [" ", "T", "Z", " UTC", "+01:00", " -0100", ",", ".5", ":7", "]", "x", "", "9", " INFO", "-"]
)


@pytest.mark.parametrize("form", READ, ids=lambda form: form.name)
@given(moments=st.lists(st.tuples(MOMENTS, PIECES, PIECES), min_size=1))
@settings(max_examples=40)
def test_the_compiled_pass_reads_times_as_polars_does_or_leaves_them(form, moments):
    """What follows a time may belong to it: then nothing is read, and the other way is taken."""
    list(Shapes(worth_compiling=0).number(b"-"))
    if form.formats:
        told = form.formats[0].replace("%.f", ".%f")
        texts = [moment.strftime(told) + first + more for moment, first, more in moments]
    else:
        texts = [f"{int(moment.timestamp()) % 10**9 + 10**9}{first}{more}" for moment, first, more in moments]
    column = "\n".join(texts) + "\n" + " " * 1000
    places = np.cumsum([0, *(len(text) + 1 for text in texts[:-1])]).astype(np.int32)
    found = Compiled.found().moments(column.encode(), places, places * 0, letters(form, "UTC"))
    whole = pl.Series(texts).str.extract(rf"^({form.pattern})")
    read, _ = timestamps.parse(whole, form, "UTC")
    expected = read.dt.epoch("us").to_list()
    for moment, known, text in zip(found.tolist(), expected, texts, strict=True):
        assert moment in (known, NO_TIME), text
    assert NO_TIME not in found[[not first and not more for _, first, more in moments]]


@pytest.mark.parametrize(
    "text",
    ["2023-02-29 00:00:00", "2024-13-01 00:00:00", "2024-00-01 00:00:00", "2024-01-00 00:00:00",
     "2024-04-31 00:00:00", "2024-01-01 24:00:00", "2024-01-01 00:60:00", "2024-01-01 00:00:60",
     "1969-12-31 23:59:59", "2024-01-01x00:00:00", "2O24-01-01 00:00:00", "2024-1-01 00:00:00 "],
)  # fmt: skip
def test_what_is_no_time_is_not_read_by_the_compiled_pass(text):
    list(Shapes(worth_compiling=0).number(b"-"))
    padded = text.encode() + b"\n" * 1000
    assert Compiled.found().moments(padded, ZERO, ZERO, b"Y-m-dTH:M:Sf").tolist() == [NO_TIME]


def test_times_are_read_to_the_end_of_a_text_and_not_beyond():
    list(Shapes(worth_compiling=0).number(b"-"))
    text = b"2024-01-01 00:00:00"
    places = np.asarray([-1, 0, 5, place(200, 200)], dtype=np.int32)
    begin = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    found = Compiled.found().moments(text, places * 0, places, b"Y-m-dTH:M:Sf")
    assert found.tolist() == [NO_TIME, begin, NO_TIME, NO_TIME]
    assert Compiled.found().moments(text[:-1], ZERO, ZERO, b"Y-m-dTH:M:Sf").tolist() == [NO_TIME]


def test_a_time_is_found_behind_blanks_and_what_follows_them():
    list(Shapes(worth_compiling=0).number(b"-"))
    text = b"\nx 12 [2024-01-01 00:00:01] y\n" + b" " * 1000
    found = Compiled.found().moments(text, ZERO + 1, ZERO + place(2, 1), b"Y-m-dTH:M:Sf")
    assert found.tolist() == [int(datetime(2024, 1, 1, 0, 0, 1, tzinfo=UTC).timestamp()) * 1_000_000]
    assert Compiled.found().moments(text, ZERO + 1, ZERO + place(1, 1), b"Y-m-dTH:M:Sf").tolist() == [NO_TIME]
