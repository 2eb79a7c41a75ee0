"""What is chosen as a window is what somebody who runs the site would choose."""

import json
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from builders import vocabulary_of

from logad import batch
from logad.batch import Observer
from logad.choosing import choose, views
from logad.mining import Miner
from logad.preparation import Setup
from logad.straying import stray
from logad.telemetry import Telemetry
from logad.types import RECORD_SCHEMA, WindowKind
from logad.windowing import cut

DATA = Path(os.environ.get("LOGAD_DATA") or Path(__file__).resolve().parent.parent.parent / "shared" / "data")
START = datetime(2024, 1, 1, tzinfo=UTC)
STEPS = ("accepted", "stock checked", "paid", "sent")


def records_of(lines, *, seconds=1.0):
    """Mined records of these lines, `seconds` apart (None: without time); the template is the first word."""
    codes: dict[str, int] = {}
    columns: dict[str, list[object]] = {name: [] for name in [*RECORD_SCHEMA, "template"]}
    for number, (template, line) in enumerate(lines, 1):
        time = None if seconds is None else START + timedelta(seconds=number * seconds)
        code = codes.setdefault(template, len(codes))
        values = (time, "app", 2, line, line, "app", "app.log", number, 1, None, code)
        for name, value in zip(columns, values, strict=True):
            columns[name].append(value)
    return pl.DataFrame(columns, schema={**RECORD_SCHEMA, "template": pl.Int32()})


def sessions(form, *, count=100, keys=None):
    """Records of overlapping sessions: `form` makes a line of a step and a key."""
    chance = random.Random(0)
    lines = []
    for number in range(count):
        key = keys(number) if keys else f"{chance.randrange(16**8):08x}"
        lines += [
            (number + step * 0.6, step_name, form(step_name, key)) for step, step_name in enumerate(STEPS)
        ]
    return [(step_name, line) for _, step_name, line in sorted(lines)]


@pytest.mark.parametrize(
    ("form", "key"),
    [
        (lambda step, key: f"{step} for req-{key}0a1", "req-"),
        (lambda step, key: f"order_{int(key, 16)} {step}", "order_"),
        (lambda step, key: f"{step} request_id={key} user=bob", "request_id"),
        (lambda step, key: json.dumps({"msg": step, "trace.id": key}), "trace.id"),
        (lambda step, key: json.dumps({"msg": step, "ctx": {"traceId": key}}), "ctx.traceId"),
    ],
)
def test_a_key_that_ties_records_together_makes_sessions(form, key):
    chosen = choose(records_of(sessions(form)))
    assert chosen.kind is WindowKind.SESSION
    assert key in (chosen.key_field or chosen.key_regex)
    assert "100% of the records lie in 100 sessions of 4 records on average" in chosen.reason


@pytest.mark.parametrize(
    "form",
    [
        lambda step, key: f"{step} on ip-10-0-{int(key, 16) % 50 + 100}-1234",
        lambda step, key: f"{step} pid={int(key, 16) % 50 + 10_000}",
        lambda step, key: json.dumps({"msg": step, "container": {"id": f"c{int(key, 16) % 50}"}}),
        lambda step, key: json.dumps({"msg": step, "kubernetes.pod.uid": f"p{int(key, 16) % 50}"}),
        lambda step, key: json.dumps({"msg": step, "pid": int(key, 16) % 50}),
    ],
)
def test_where_something_ran_is_no_session(form):
    assert choose(records_of(sessions(form, count=400))).kind is not WindowKind.SESSION


def test_a_key_that_most_records_lack_is_not_chosen():
    keyed = sessions(lambda step, key: f"{step} for req-{key}0a1")
    bare = [("idle", f"idle {number}") for number in range(200)]
    assert choose(records_of(keyed + bare)).kind is not WindowKind.SESSION
    assert choose(records_of(keyed + bare[:50])).kind is WindowKind.SESSION


def test_a_key_of_one_record_each_is_not_chosen():
    lines = [("served", f"served req-{number:08x}") for number in range(1000)]
    assert choose(records_of(lines)).kind is not WindowKind.SESSION


@pytest.mark.parametrize(("seconds", "span"), [(1, 60), (30, 900), (600, 21600)])
def test_windows_of_time_hold_enough_records_each(seconds, span):
    chosen = choose(records_of([("beat", "beat")] * 3000, seconds=seconds))
    assert (chosen.kind, chosen.span_seconds) == (WindowKind.TIME, span)


def test_little_time_or_none_makes_windows_of_records():
    beats = [("beat", "beat")] * 3000
    assert choose(records_of(beats, seconds=0.01)).size == 75
    assert choose(records_of(beats, seconds=None)).size == 75
    assert choose(records_of(beats[:10])).size == 10
    mostly = records_of(beats).with_columns(time=pl.when(pl.int_range(pl.len()) < 1000).then(pl.col("time")))
    chosen = choose(mostly)
    assert chosen.kind is WindowKind.RECORDS
    assert "only 1,000 of 3,000 records have a time" in chosen.reason


@pytest.mark.parametrize("wrong", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)])
@pytest.mark.parametrize("at", [0, 1500, 2998])
def test_a_stray_time_changes_neither_the_choice_nor_the_windows_and_is_told(wrong, at):
    beats = records_of([("beat", "beat")] * 3000)
    broken = beats.with_columns(time=pl.when(pl.int_range(pl.len()) == at).then(wrong).otherwise("time"))
    chosen, usual = choose(broken), choose(beats)
    assert (chosen.kind, chosen.span_seconds) == (usual.kind, usual.span_seconds) == (WindowKind.TIME, 60)
    assert "; 1 record with a time far from all others left out" in chosen.reason
    assert views(broken)[0].span_seconds == views(beats)[0].span_seconds
    telemetry = Telemetry()
    windows = cut(broken, chosen, vocabulary_of("beat"), telemetry)
    assert telemetry.notes["stray_time"] == 1
    assert (
        windows.table["start"].to_list() == cut(beats, usual, vocabulary_of("beat")).table["start"].to_list()
    )
    assert windows.table["records"].sum() == 3000


def test_a_log_that_pauses_for_days_has_no_stray_times():
    """Neither has one of few records; nor where more than a few lie apart."""
    beats = records_of([("beat", "beat")] * 3000)
    for begin, days in ((2000, 300), (2990, 300), (2999, 0.9)):
        late = pl.int_range(pl.len()) >= begin
        parts = beats.with_columns(
            time=pl.col("time") + pl.when(late).then(pl.duration(days=days)).otherwise(pl.duration(days=0))
        )
        assert not stray(parts["time"]).any()
    assert not stray(pl.Series([START, START - timedelta(days=9999)])).any()
    assert not stray(pl.Series([], dtype=pl.Datetime("us", "UTC"))).any()


def test_the_choice_is_the_same_again():
    records = records_of(sessions(lambda step, key: f"{step} for req-{key}0a1 job_{key}1"))
    assert len({choose(records) for _ in range(3)}) == 1


def test_a_live_run_takes_a_key_that_half_of_the_records_lack_for_they_have_their_windows_of_time():
    keyed = sessions(lambda step, key: f"{step} for req-{key}0a1")
    mixed = [pair for line in keyed for pair in (line, ("beat", f"heartbeat, queue {len(line[1])}"))]
    records = records_of(mixed)
    assert choose(records).kind is not WindowKind.SESSION
    assert [view.kind for view in views(records)] == [WindowKind.SESSION, WindowKind.TIME]


def test_a_live_run_looks_at_sessions_and_at_time():
    records = records_of(sessions(lambda step, key: f"{step} for req-{key}0a1"))
    assert [view.kind for view in views(records)] == [WindowKind.SESSION, WindowKind.TIME]
    assert [view.kind for view in views(records_of([("beat", "beat")] * 100))] == [WindowKind.TIME]
    assert [view.kind for view in views(records_of([("beat", "beat")] * 100, seconds=None))] == [
        WindowKind.RECORDS
    ]


REAL = {
    "loghub_2k/Apache/Apache_2k.log": "windows of 5m per service",
    "loghub_2k/BGL/BGL_2k.log": "windows of 1d per service",
    "loghub_2k/HDFS/HDFS_2k.log": "windows of 15m per service",  # every line is of another block
    "loghub_2k/Hadoop/Hadoop_2k.log": "windows of 50 records",
    "loghub_2k/Linux/Linux_2k.log": "windows of 15m per service",
    "loghub_2k/OpenStack/OpenStack_2k.log": "sessions by req-",
    "loghub_2k/Spark/Spark_2k.log": "windows of 50 records",
    "loghub_2k/Zookeeper/Zookeeper_2k.log": "windows of 5m per service",
    "k8s/trainticket-2023-01-30.ndjson.gz": "sessions by trace.id",
    "hdfs/HDFS_2pct.log.gz": "sessions by blk_",
    "bgl/BGL_50k.log.gz": "windows of 1m per service",
}


@pytest.mark.parametrize(("name", "expected"), REAL.items())
def test_on_real_logs_the_choice_is_a_site_engineers(tmp_path, name, expected):
    path = DATA / name
    if not path.exists():
        print(f"{path} is not here")
        pytest.skip(f"{path} is not here")
    setup = Setup.of({"state_dir": tmp_path})
    miner = Miner(rules=setup.rules, telemetry=setup.telemetry)
    corpus = batch.read([str(path)], setup.reading, miner, setup.telemetry, Observer())
    batch.settle([corpus], miner, setup.telemetry)
    assert batch.chosen_windowing(corpus, setup.reading, setup.telemetry).describe().startswith(expected)
