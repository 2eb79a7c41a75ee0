"""The numbers that events tell are the same however they are read, and go where the events go."""

import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logad import batch, shapes
from logad.detection import Overrides, detect
from logad.evaluation.injection import KINDS, STRENGTHS, Injector
from logad.kernel.passes import Compiled
from logad.measuring import measured, measures, slots
from logad.mining import Miner
from logad.options import Reading
from logad.packing import packed, unpacked
from logad.parameters import PLACEHOLDER
from logad.skimming import Skimmer, suits
from logad.telemetry import Telemetry
from logad.texts import Texts
from logad.types import RECORD_SCHEMA, Buffer, Template, WindowKind
from logad.windowing import Windower, cut
from logad.windows import MOST_VALUES, Windowing, joined

DATA = Path(os.environ.get("LOGAD_DATA") or Path(__file__).parents[2] / "shared" / "data")
START = datetime(2024, 1, 1, tzinfo=UTC)
TEXTS = ("s1 took <NUM> ms", "s2 sent <NUM> of size <NUM> to <IP>", "s1 up", "s2 free <NUM>, left <*>")
VOCABULARY = tuple(Template(code, f"t{code}", text, 0) for code, text in enumerate(TEXTS))


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    """What must not be worth much here is there: else only the plain way would be looked at."""
    list(shapes.Shapes(worth_compiling=0).number(b"-"))
    assert Compiled.found() is not None


def same(one, other):
    """Whether the same numbers are told, and none in the same places."""
    if one is None or other is None:
        return one is other
    return one.dtype == other.dtype == np.float32 and np.array_equal(one, other, equal_nan=True)


def filled(values, count):
    return np.full((count, MOST_VALUES), np.nan, dtype=np.float32) if values is None else values


# Which ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ('<IP> "GET <PATH>" status: <NUM> len: <NUM> time: <NUM>', (2, 3, 4)),
        ("Finished task <NUM> in stage <NUM> (TID <NUM>). <NUM> bytes result sent to driver", (0, 1, 3)),
        ("Block <ID> stored as bytes in memory (estimated size <NUM>, free <NUM>)", (1, 2)),
        ("retried <NUM>, <NUM>, <NUM> times after <NUM>ms", (1, 2, 3)),
        ("generating core.<NUM>", ()),
        ("Socket Reader #<NUM> for port <NUM>", ()),
        ("<IP>:<NUM> closed by <*>", ()),
        ("session opened for user <*> by (uid=<*>)", ()),
        ("reply size=<*> from <*>", (0,)),
        ("icache prefetch depth....................<NUM>", (0,)),
        ("took <NUM> " + "and so on " * 200, ()),
    ],
)
def test_what_looks_like_a_measure_is_kept_and_what_looks_like_a_name_is_not(text, chosen):
    assert slots(text) == chosen


pieces = st.sampled_from(
    [
        "took ",
        "size=",
        " ms",
        "<NUM>",
        "<*>",
        "<IP>",
        " ",
        "core.",
        "#",
        ": ",
        "id ",
        "time",
        ",",
        "%",
        "é",
        "-",
    ]
)


@settings(deadline=None)
@given(st.lists(pieces, max_size=20).map("".join))
def test_only_numbers_and_wildcards_are_kept_few_and_in_their_order(text):
    names = PLACEHOLDER.findall(text)
    chosen = slots(text)
    assert len(chosen) <= MOST_VALUES
    assert list(chosen) == sorted(set(chosen))
    assert {names[place] for place in chosen} <= {"<NUM>", "<*>"}


# What -------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-(10**6), 10**6), st.sampled_from(["", " kB", "ms", "%", " apples"]))))
def test_each_record_tells_the_number_of_its_own_text_in_base_units(told):
    worth = {"": 1.0, " kB": 1024.0, "ms": 0.001, "%": 1.0, " apples": np.nan}
    frame = pl.DataFrame(
        {"text": [f"sent {number}{unit}" for number, unit in told], "template": [0] * len(told)},
        schema={"text": pl.String, "template": pl.Int32},
    )
    values = filled(measured(frame, (Template(0, "", "sent <NUM>", 0),)), len(told))
    expected = np.array([number * worth[unit] for number, unit in told], dtype=np.float32)
    np.testing.assert_array_equal(values[:, 0], expected)
    assert np.isnan(values[:, 1:]).all()


def test_what_is_too_large_or_not_written_in_ascii_is_no_number():
    frame = pl.DataFrame({"text": ["sent 9e99", "sent ٣", "sent nothing", "else"], "template": [0] * 4})
    values = measured(frame, (Template(0, "", "sent <NUM>", 0),))
    assert np.isnan(values).all()


def test_where_no_template_tells_a_number_there_are_none():
    frame = pl.DataFrame(
        {"text": ["s1 up"], "template": [2]}, schema={"text": pl.String, "template": pl.Int32}
    )
    assert measured(frame, VOCABULARY) is None


# By shapes --------------------------------------------------------------------------------------------

NUMBERS = [
    *(
        "0",
        "7",
        "-7",
        "+12",
        "12",
        "12.5",
        "0.250",
        "1234.5678",
        "007",
        "9007199254740993",
        "123456789012345",
    ),
    *(
        "1234567890123456",
        "12345678901234.56",
        "123456789012.3456789",
        "1e5",
        "1.5e-3",
        "2E5",
        "9e99",
        "12ab",
    ),
    *("ab12", "0x1f", "12ms", "5 ms", "3.25 KB", "12B", "512B", "7d", "1.5GB/s", "88%", "12 apples", "12,5"),
    *(
        "12:34",
        "a12",
        "12-34",
        "1.2.3",
        "-.5",
        "5.",
        "12é",
        "deadbeef",
        "x",
        "",
        "1234567B",
        "12ab34cd",
        "12ab-34cd",
        "1234-5678",
    ),
]
FORMS = [
    "sent {} of size {} to 10.0.0.1",
    "took {}",
    "time: {}, left {} of total={}",
    "[s{}] free {}% (was {})",
    "wait {} ms; queue=7 {}",
    "größe {} size {}",
]
HEADS = ["2024-05-01 10:00:01,123 INFO web: ", "2024-05-01 10:00:02,5 WARN web12: "]
lines_ = st.builds(
    lambda head, form, numbers: head + form.format(*numbers),
    st.sampled_from(HEADS),
    st.sampled_from(FORMS),
    st.tuples(*[st.sampled_from(NUMBERS)] * 3),
)
tails = st.sampled_from(
    [b"\n"] * 6 + [b"\r\n", b" \n", b"\n\tat a.B(B.java:17)\n", b" \xff\n", b"\n12 bytes left\n"]
)


def skimmed(text: bytes, cuts=()):
    """The places, templates and texts of the records, read by shapes, and the vocabulary."""
    layout = detect(text, "x.log", Overrides(), datetime(2024, 6, 1, tzinfo=UTC))
    assert suits(layout)
    miner, telemetry = Miner(), Telemetry()
    skimmer, texts = Skimmer(layout, miner, telemetry), Texts()
    ends = sorted({text.find(b"\n", at % len(text)) + 1 for at in cuts} - {0} | {len(text)})
    frames = []
    for begin, end in zip([0, *ends], ends, strict=False):
        buffer = Buffer("x.log", "x.log", text[begin:end], 1, "", final=end == len(text))
        frames += [texts.skimmed(part, skimmer) for part in skimmer.push(buffer)]
    frames += [texts.skimmed(part, skimmer) for part in skimmer.flush()]
    records = miner.settled(pl.concat(frames))
    return records["place"].to_numpy(), records["template"].to_numpy(), texts, miner.vocabulary


@pytest.mark.parametrize(("together", "most"), [(1, 1 << 17), (1, 4), (1 << 26, 1 << 17)])
@given(
    st.lists(st.tuples(lines_, tails), min_size=1, max_size=60), st.lists(st.integers(0, 9999), max_size=3)
)
@settings(max_examples=40, deadline=None)
def test_numbers_read_by_shapes_are_those_read_text_by_text(together, most, told, cuts):
    text = b"".join(line.encode() + tail for line, tail in told)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("logad.skimming._TOGETHER", together)
        patch.setattr("logad.skimming.Shapes", partial(shapes.Shapes, most))
        patch.setattr("logad.shapes.WORTH_LOADING", 0)
        places, codes, texts, vocabulary = skimmed(text, cuts)
        found = texts.measures(places, codes, vocabulary)
        expected = measures(codes, vocabulary, lambda rows: texts.messages(places[rows]))
        assert same(found, expected)
        some = np.random.default_rng(len(text)).permutation(len(places))[: len(places) // 2]
        part = texts.measures(places[some], codes[some], vocabulary)
        assert same(filled(part, len(some)), filled(expected, len(places))[some])


def test_most_lines_are_read_by_their_shapes(monkeypatch):
    """Else it would be right, and slow."""
    slow = []
    monkeypatch.setattr("logad.shapes.WORTH_LOADING", 0)
    monkeypatch.setattr("logad.texts.measures", lambda codes, *_: slow.append(len(codes)))
    units = ("", "ms", " kB", "%", "B")
    text = "".join(
        f"{HEADS[0]}sent {n} of size {n / 7:.3f}{units[n % 5]} to 10.0.0.{n}\n" for n in range(500)
    )
    places, codes, texts, vocabulary = skimmed(text.encode())
    values = texts.measures(places, codes, vocabulary)
    assert slow == [0]
    np.testing.assert_array_equal(values[:, 0], np.arange(500, dtype=np.float32))
    assert (~np.isnan(values[:, 1])).all()


@pytest.mark.parametrize(
    "name",
    ["loghub_2k/Spark/Spark_2k.log", "loghub_2k/OpenStack/OpenStack_2k.log", "loghub_2k/BGL/BGL_2k.log"],
)
def test_real_logs_tell_the_same_by_shapes(monkeypatch, name):
    if not (DATA / name).exists():
        print(f"{DATA / name} is not there: nothing is tested")
        pytest.skip("no data")
    monkeypatch.setattr("logad.shapes.WORTH_LOADING", 0)
    places, codes, texts, vocabulary = skimmed((DATA / name).read_bytes(), [50_000, 120_000])
    found = texts.measures(places, codes, vocabulary)
    assert same(found, measures(codes, vocabulary, lambda rows: texts.messages(places[rows])))
    told = ~np.isnan(found).all(axis=1)
    wanted = np.array([bool(slots(vocabulary[code].text)) for code in codes])
    assert told[wanted].mean() > 0.9


def test_the_pass_reads_nothing_outside_a_text():
    """The text's ends lie at pages that no one may read: a byte too far ends this process."""
    script = """
import ctypes, mmap, numpy as np
from logad import shapes
from logad.kernel.numbered import number_place
from logad.kernel.passes import Compiled
list(shapes.Shapes(worth_compiling=0).number(b"-"))
libc = ctypes.CDLL(None, use_errno=True)
page = mmap.PAGESIZE
room = mmap.mmap(-1, 3 * page)
start = np.frombuffer(room, dtype=np.uint8).ctypes.data
for at in (start, start + 2 * page):
    assert libc.mprotect(ctypes.c_void_p(at), page, 0) == 0
whole = np.frombuffer(room, dtype=np.uint8)[page : 2 * page]
real = np.frombuffer
for line in (b"took 5 ms\\n", b"1\\n", b"took 123456789012345.123456789012345", b"9" * 300 + b"\\n", b"\\n"):
    lines = line * (page // len(line))
    text = lines.rjust(page, b"\\n") if line.endswith(b"\\n") else line.rjust(page, b"\\n")
    whole[:] = real(text, dtype=np.uint8)
    starts = np.r_[0, 1 + np.flatnonzero(whole[:-1] == 10)].astype(np.int32)
    np.frombuffer = lambda data, dtype: whole if data is text else real(data, dtype=dtype)
    for runs in (0, 1, 7):
        places = np.full((1, 3), number_place(runs, fraction=False, lettered=False), dtype=np.int32)
        out = np.empty((len(starts), 3), dtype=np.float32)
        shape = np.zeros(len(starts), dtype=np.int32)
        rows = np.arange(len(starts))
        Compiled.found().numbers(text, starts, shape, 0, rows, places, np.ones((1, 3)), out)
    np.frombuffer = real
print("unharmed")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "unharmed\n", done.stderr


# Where they go ----------------------------------------------------------------------------------------

SAID = ["s1 took {} ms", "s2 sent {} of size 3 kB to 10.0.0.1", "s1 up", "s2 free {}, left 7"]
rows_ = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 3), st.integers(0, 999)), min_size=1, max_size=40
)
windowings = st.sampled_from(
    [
        Windowing(WindowKind.TIME, span_seconds=60),
        Windowing(WindowKind.RECORDS, size=3),
        Windowing(WindowKind.SESSION, key_regex=r"s\d", timeout_seconds=20),
    ]
)


def records_of(rows):
    columns = {name: [] for name in [*RECORD_SCHEMA, "template"]}
    for number, (seconds, template, value) in enumerate(rows, 1):
        text = SAID[template].format(value)
        time = START + timedelta(seconds=seconds)
        told = (time, "web", 2, text, text, "app", "app.log", number, 1, None, template)
        for name, cell in zip(columns, told, strict=True):
            columns[name].append(cell)
    return pl.DataFrame(columns, schema={**RECORD_SCHEMA, "template": pl.Int32()})


def told_by(parts):
    """Of each event of some windows its template, its time and its numbers."""
    return [
        (code, time, *values)
        for part in parts
        for code, time, values in zip(
            part.events.tolist(),
            part.times.tolist(),
            np.nan_to_num(filled(part.values, len(part.events)), nan=-1).tolist(),
            strict=True,
        )
    ]


@given(rows_, windowings, st.data())
@settings(deadline=None)
def test_a_stream_cut_anywhere_and_restarted_tells_the_same_numbers(rows, windowing, data):
    records = records_of(sorted(rows))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))

    def streamed(cuts):
        windower, parts, newest, pieces = Windower(windowing, Telemetry()), [], None, {}
        for begin, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
            windower.push(records[begin:end])
            if end > begin:
                newest = int(records["time"][end - 1].timestamp() * 1e6)
            parts.append(windower.close(VOCABULARY, newest))
            rested = windower.rested()
            pieces = {**pieces, **dict(rested.new)}
            pieces = {piece: kept for piece, kept in pieces.items() if piece not in rested.gone}
            windower = Windower.restored(windowing, Telemetry(), windower.state(), sorted(pieces.items()))
        return told_by([*parts, windower.close(VOCABULARY, newest, final=True)])

    whole = streamed([])
    assert streamed(cuts) == whole
    expected = {(template, value) for _, template, value in rows if template != 2}
    assert {(code, first) for code, _, first, *_ in whole if code != 2} == expected


@given(rows_, windowings)
@settings(deadline=None)
def test_numbers_stay_with_their_events_when_windows_are_taken_joined_and_packed(rows, windowing):
    windows = cut(records_of(rows), windowing, VOCABULARY)
    assert same(windows.values, measured(windows.records[windows.rows], VOCABULARY))
    back = replace(unpacked(packed(windows)), vocabulary=VOCABULARY)
    assert same(back.values, windows.values)
    chosen = np.arange(len(windows))[::-1]
    taken = windows.take(chosen)
    again = joined([back.take(chosen), windows.take(chosen)])
    assert told_by([again]) == told_by([taken]) * 2
    assert sorted(told_by([taken])) == sorted(told_by([windows]))


def test_windows_packed_before_there_were_numbers_have_none():
    windows = cut(records_of([(0, 0, 5), (1, 2, 0)]), Windowing(WindowKind.RECORDS, size=2), VOCABULARY)
    with np.load(io.BytesIO(packed(windows)), allow_pickle=False) as arrays:
        older = {name: arrays[name] for name in arrays.files if name != "values"}
    file = io.BytesIO()
    np.savez_compressed(file, **older)
    assert windows.values is not None
    assert unpacked(file.getvalue()).values is None


# What is planted --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Windows of a log with steady numbers, read from a file."""
    log = tmp_path_factory.mktemp("shop") / "app.log"
    lines = []
    for n in range(1200):
        time = START + timedelta(seconds=n)
        text = f"answered in {10 + n % 7} ms" if n % 3 else f"request from 10.0.0.{n % 5} accepted"
        lines.append(f"{time:%Y-%m-%d %H:%M:%S} INFO web: {text}\n")
    log.write_text("".join(lines))
    miner = Miner()
    reading = Reading(Overrides(), None, None, None, None, 0)
    corpus = batch.read([str(log)], reading, miner, Telemetry(), batch.Observer())
    windowing = Windowing(WindowKind.TIME, span_seconds=60)
    return batch.windows_of(corpus, windowing, miner, Telemetry())


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("kind", list(KINDS))
def test_what_is_planted_tells_its_own_numbers_and_all_else_what_it_told(shop, kind, strength):
    planted = Injector(shop).plant(
        kind, strength, 2, np.ones(len(shop), dtype=bool), np.random.default_rng(1)
    )
    found = planted.windows
    said = pl.Series(
        [re.sub(r"^\S+ \S+ INFO web: ", "", raw) for raw in found.raw(found.rows)], dtype=pl.String
    )
    told = pl.DataFrame({"text": said, "template": found.events})
    assert same(found.values, measured(told, found.vocabulary))
    touched = {window for plant in planted.plants for window in plant.windows}
    for window in set(range(len(shop))) - touched:
        assert same(found.values[found.span(window)], shop.values[shop.span(window)])
    if kind == "unusual value":
        assert len(planted.plants) == 2
        assert all(
            np.nanmax(found.values[found.span(plant.windows[0])]) > 2 * np.nanmax(shop.values)
            for plant in planted.plants
        )
