"""Reading by shapes gives what reading record by record gives."""

import os
import random
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import logad
from logad import batch, shapes, skimming
from logad.detection import Overrides, detect
from logad.formats import multiline
from logad.kernel.passes import Compiled
from logad.mining import Miner
from logad.options import Reading
from logad.recording import Recorder
from logad.skimming import Skimmer, suits
from logad.telemetry import Telemetry
from logad.texts import Texts
from logad.types import Buffer, WindowKind
from logad.windows import Windowing

DATA = Path(os.environ.get("LOGAD_DATA") or Path(__file__).parents[2] / "shared" / "data")
HEADED = [
    "2024-05-01 10:00:01,123 INFO web: served /a/b in 12 ms",
    "2024-05-01 10:00:02,5 WARN web: slow 1.2.3.4 took 900ms",
    "2024-05-01 10:00:03,000 ERROR db: lost node17",
    "java.io.IOException: disk 3 is full",
    "\tat com.shop.Cart.pay(Cart.java:17)",
    "",
    "   ",
    "Caused by: java.net.SocketException: reset",
    "2024-05-01 10:00:04,1 INFO web: user 5 logged in",
    "2024-05-01 10:00:05,1 INFO web12: up",
    "2024-05-01 10:00:06,1 INFO web13: up\r",
]
BARE = [
    "started worker 7",
    "Traceback (most recent call last):",
    '  File "a.py", line 3, in f',
    "ValueError: bad 12",
    "done in 5 s",
    "",
    "    indented",
    "session 0xff closed",
]


FED = ["ant", "bee", "cat", "dog", "eel", "fox"]
SERVED = [
    "May  1 10:00:01 host7 web12[331]: up",
    "May  1 10:00:02 host7 web13[332]: up",
    "May  1 10:00:03 host8 web14[333]: up",
    "May  1 10:00:04 host8 cron[12]: ran 5 jobs",
    "May  1 10:00:05 host8 kernel: eth0 is down",
]


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    """What must not be worth much here is there: else only the plain way would be looked at."""
    list(shapes.Shapes(worth_compiling=0).number(b"-"))
    assert Compiled.found() is not None


def buffers(text: bytes, cuts: list[int], *, first_line: int = 1) -> list[Buffer]:
    """The text cut at line ends near the given places; the last piece is final."""
    ends = sorted({text.find(b"\n", cut % (len(text) or 1)) + 1 for cut in cuts} - {0} | {len(text)})
    pieces, begun = [], 0
    for end in ends:
        pieces.append(Buffer("x.log", "x.log", text[begun:end], first_line, "", final=end == len(text)))
        first_line += text.count(b"\n", begun, end)
        begun = end
    return pieces


def skimmed(layout, pieces, miner, telemetry):
    skimmer, texts = Skimmer(layout, miner, telemetry), Texts()
    frames = [texts.skimmed(part, skimmer) for piece in pieces for part in skimmer.push(piece)]
    frames += [texts.skimmed(part, skimmer) for part in skimmer.flush()]
    for frame in frames:  # asked for all at once and for some in another order, the same is told
        places = frame["place"].to_numpy()
        assert texts.raw(places[::-2]).to_list() == texts.raw(places).to_list()[::-2]
    return told([frame.with_columns(texts.raw(frame["place"].to_numpy()).alias("raw")) for frame in frames])


def recorded(layout, pieces, miner, telemetry):
    recorder = Recorder(layout, telemetry)
    return told([miner.assign(recorder.push(piece)) for piece in pieces] + [miner.assign(recorder.flush())])


def told(frames):
    columns = ("line", "lines", "service", "level", "time", "raw", "stream", "source", "document", "template")
    return [row for frame in frames for row in frame.select(columns).iter_rows()]


def both(text: bytes, cuts: list[int]) -> list[tuple]:
    """What is told by reading by shapes, and what by reading record by record."""
    layout = detect(text[: 1 << 20], "x.log", Overrides(), datetime(2024, 6, 1, tzinfo=UTC))
    assert suits(layout)
    pieces = buffers(text, cuts)
    both_told = []
    for way in (skimmed, recorded):
        miner, telemetry = Miner(), Telemetry()
        records = way(layout, pieces, miner, telemetry)
        standing = miner.standing()
        texts = [miner.vocabulary[int(standing[code])].text for *_, code in records]
        severities = {template.text: template.severity for template in miner.vocabulary}
        notes = {name: count for name, count in telemetry.notes.items() if count}
        both_told.append(
            (
                [record[:-1] for record in records],
                texts,
                severities,
                telemetry.records,
                telemetry.lines,
                dict(telemetry.dropped),
                notes,
            )
        )
    return both_told


@pytest.mark.parametrize("together", [1, 200, 1 << 26])
@pytest.mark.parametrize("lines", [HEADED, BARE, SERVED], ids=["headed", "bare", "served"])
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_the_records_are_those_of_reading_record_by_record(lines, together, data):
    chosen = data.draw(st.lists(st.sampled_from(lines), min_size=1, max_size=30))
    cuts = data.draw(st.lists(st.integers(0, 2000), max_size=4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skimming, "_TOGETHER", together)
        patch.setattr(shapes, "WORTH_LOADING", 0 if together > 1 else 1 << 60)
        by_shapes, by_records = both("\n".join(lines + chosen).encode() + b"\n", cuts)
        assert by_shapes == by_records


@pytest.mark.parametrize("most", [1, 3])
def test_the_records_are_the_same_when_shapes_are_forgotten_again_and_again(monkeypatch, most):
    monkeypatch.setattr(shapes.Shapes.__init__, "__defaults__", (most,))
    monkeypatch.setattr(skimming, "_TOGETHER", 150)
    chosen = random.Random(0).choices(HEADED, k=200)
    by_shapes, by_records = both("\n".join(HEADED + chosen).encode(), [500, 900])
    assert by_shapes == by_records


def test_a_record_of_very_many_lines_is_cut_in_the_same_places(monkeypatch):
    monkeypatch.setattr(multiline, "MOST_LINES", 7)
    text = HEADED[0] + "\n" + "\n".join(f"\tat frame {number}" for number in range(40)) + "\n" + HEADED[2]
    by_shapes, by_records = both("\n".join(HEADED).encode() + b"\n" + text.encode(), [100, 700])
    assert by_shapes == by_records


def test_lines_longer_than_what_is_mined_are_truncated_alike():
    long = "2024-05-01 10:00:07,1 INFO web: " + "word " * 20_000
    by_shapes, by_records = both("\n".join([*HEADED, long, long + "5", *HEADED]).encode(), [])
    assert by_shapes == by_records


def test_bytes_that_are_no_text_are_mended_and_counted_alike():
    by_shapes, by_records = both(
        b"2024-05-01 10:00:07,1 INFO web: caf\xff open\n" * 3 + "\n".join(HEADED).encode(), [50]
    )
    assert by_shapes == by_records


def test_a_byte_order_mark_is_no_part_of_the_first_record():
    by_shapes, by_records = both(b"\xef\xbb\xbf" + "\n".join(HEADED).encode(), [])
    assert by_shapes == by_records


@pytest.mark.parametrize("name", ["Linux", "Hadoop", "Zookeeper", "OpenStack"])
@pytest.mark.parametrize("cuts", [[], [100_000], [3, 5_000, 70_000]])
def test_real_logs_are_read_alike(name, cuts):
    path = DATA / "loghub_2k" / name / f"{name}_2k.log"
    if not path.exists():
        print(f"skipped: no {path}")
        pytest.skip("the open logs are not here")
    by_shapes, by_records = both(path.read_bytes(), cuts)
    assert by_shapes == by_records


@pytest.mark.parametrize(
    "time",
    ["17/06/09 20:10:{:02}", "081109 2036{:02}", "2024-05-01T10:00:{:02}.125Z", "2024-05-01 10:00:{:02}+02:00",
     "11178385{:02}", "1117838{:02}.25", "[x 5] 2024-05-01 10:00:{:02}", "Dec 31 23:59:{:02}",
     "05/Dec/2024:10:00:{:02} +0100", "05 Dec 2024 10:00:{:02},7", "n1.log.{} 2024-05-01 10:00:01"],
)  # fmt: skip
def test_times_are_read_alike_in_whatever_way_they_are_written(monkeypatch, time):
    monkeypatch.setattr(shapes, "WORTH_LOADING", 0)
    lines = [f"{time.format(n % 60)} INFO served {n} requests" for n in range(200)]
    by_shapes, by_records = both("\n".join(lines).encode(), [1000, 3000])
    assert by_shapes == by_records


def test_a_large_log_is_read_alike_with_the_compiled_pass():
    lines = [
        f"2024-05-01 10:00:01,{n % 1000:03} INFO web{n % 3}: served /a/{n} in {n % 97} ms"
        for n in range(5000)
    ]
    text = "\n".join(lines).encode() + b"\n"
    by_shapes, by_records = both(text * 2, [len(text), 3 * len(text) // 2])
    assert by_shapes == by_records


def test_the_lines_of_a_record_can_be_read_again_across_pieces():
    text = "\n".join(HEADED).encode() + b"\n"
    layout = detect(text, "x.log", Overrides(), None)
    skimmer = Skimmer(layout, Miner(), Telemetry())
    (part,) = [part for piece in buffers(text, [200, 300]) for part in skimmer.push(piece)]
    whole = part.raw(np.arange(len(part.rows)))
    assert whole[2].decode().splitlines() == HEADED[2:8]
    assert skimmer.texts(whole)[0] == layout_text(layout, HEADED[0])


def layout_text(layout, line):
    return Recorder(layout, Telemetry()).push(Buffer("x.log", "x.log", line.encode(), 1, "", final=True))[
        "text"
    ][0]


def test_a_stream_that_rested_goes_on_and_one_that_waits_does_not_rest():
    text = "\n".join(HEADED).encode() + b"\n"
    layout = detect(text, "x.log", Overrides(), None)
    miner = Miner()
    skimmer = Skimmer(layout, miner, Telemetry())
    (before,) = skimmer.push(Buffer("x.log", "x.log", text, 1, "", final=True))
    skimmer.rest()
    assert list(skimmer.push(Buffer("x.log", "x.log.1", text, 1, ""))) == []
    skimmer.rest()
    (after,) = skimmer.flush()
    assert after.templates.tolist() == before.templates.tolist()
    assert len(after.templates) == 6


def test_many_large_streams_hold_the_tables_of_one(tmp_path):
    line = "2024-05-01 10:00:01,123 INFO web: served {} in {} ms\n"
    for number in range(12):
        text = "".join(line.format(at, number) for at in range(6_000))
        (tmp_path / f"app{chr(97 + number)}.log").write_text(text)
    held = []

    class Watched(Skimmer):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            held.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "Skimmer", Watched)
        logad.templates(tmp_path, state_dir=tmp_path / "state")
    assert len(held) == 12
    assert sum(len(skimmer._facts) > 0 for skimmer in held) <= 1


def test_only_templates_that_are_left_have_codes_in_what_is_read_alone(tmp_path):
    lines = [f"2024-05-01 10:00:{n % 60:02},1 INFO web: fed the {word}" for n, word in enumerate(FED * 4)]
    path = tmp_path / "app.log"
    path.write_text("\n".join(lines + HEADED) + "\n")
    told = []
    for alone in (False, True):
        miner, telemetry = Miner(), Telemetry()
        reading = Reading(Overrides(), None, None, None, None, 0)
        corpus = batch.read([str(path)], reading, miner, telemetry, batch.Observer())
        batch.settle([corpus], miner, telemetry, alone=alone)
        windows = batch.windows_of(corpus, Windowing(WindowKind.RECORDS, size=5), miner, telemetry)
        told.append([windows.vocabulary[code].template_id for code in windows.events])
        widths = len(windows.vocabulary), telemetry.templates
    assert told[0] == told[1]
    assert widths[0] == widths[1] < len(miner.vocabulary)
