"""The live run: what a kill, a restart or another cutting of the input may and may not change."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from builders import vocabulary_of, windows_of

from logad import registry, stream
from logad.alerting import Config as AlertingConfig
from logad.contracts import Delivered, Notifier, PartConfig, RetryLater, Sink, Source, Written
from logad.errors import InputError, UsageError
from logad.ledger import Ledger
from logad.rules import load
from logad.sources.file import FileSource
from logad.stream import Event, StreamOptions, StreamSummary, Warmup, run
from logad.telemetry import Telemetry
from logad.types import Buffer, WindowKind
from logad.windows import Windowing

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
SESSIONS = Windowing(WindowKind.SESSION, key_regex=r"req-\d+", timeout_seconds=20)

HOURLY = AlertingConfig(digest_hours=0.01)


def shop_log(sessions=600, seed=0):
    """Requests of four steps, two a second; from the second half on, every fortieth is refused and retried."""
    chance = random.Random(seed)
    lines = []
    for number in range(sessions):
        moment = START + timedelta(seconds=number * 6 + chance.random())
        steps = ["accepted from 10.0.0.7", "stock checked", "payment taken", "parcel sent to depot 4"]
        if number > sessions // 2 and number % 40 == 0:
            steps[2:3] = ["payment refused by bank", "payment refused by bank", "ERROR giving up on card"]
        for step, text in enumerate(steps):
            level = "ERROR" if "ERROR" in text else "INFO"
            lines.append((moment + timedelta(seconds=step * 0.4), f"{level} shop: req-{number:05d} {text}"))
    lines.sort(key=lambda line: line[0])
    return [f"{moment:%Y-%m-%d %H:%M:%S},{moment.microsecond // 1000:03d} {text}" for moment, text in lines]


class Wall:
    def now(self):
        return datetime.now(UTC)

    def sleep(self, seconds):
        time.sleep(seconds)


class Slow(Wall):
    """The wall clock of a machine that now and then loses a moment between two looks at it."""

    def __init__(self):
        self.chance, self.lost = random.Random(0), timedelta(0)

    def now(self):
        self.lost += timedelta(seconds=self.chance.choice([0, 0, 0.02, 0.3, 1.2, 2.5]))
        return super().now() + self.lost


def judged(path, state, *, follow=False, buffer_bytes=1 << 20, on_event=lambda _event: None, **options):
    telemetry, clock = Telemetry(), options.pop("clock", Wall())
    source = FileSource(str(path), PartConfig(), telemetry, buffer_bytes=buffer_bytes)
    notifiers, sinks = options.pop("notifiers", {}), options.pop("sinks", {})
    with Ledger(state) as ledger:
        summary = run(
            StreamOptions(follow=follow, **options),
            [source],
            clock,
            ledger,
            rules=load(),
            notifiers=notifiers,
            sinks=sinks,
            telemetry=telemetry,
            on_event=on_event,
        )
        return summary, [verdict for _, verdict in ledger.verdicts()], telemetry


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("logs") / "shop.log"
    path.write_text("\n".join(shop_log()) + "\n")
    return path


def test_history_is_judged_only_by_what_came_before_and_planted_sessions_stand_out(log, tmp_path):
    summary, verdicts, telemetry = judged(log, None, windowing=SESSIONS)
    assert isinstance(summary, StreamSummary)
    assert sum(verdict.window.records for verdict in verdicts) == telemetry.records
    assert [verdict.learning for verdict in verdicts] == [True] * 100 + [False] * 500
    planted = {f"req-{number:05d}" for number in range(320, 600, 40)}
    assert planted <= {verdict.window.key for verdict in verdicts if verdict.anomalous}
    assert sum(summary.per_day["2026-03-02"].values()) > 0


def test_a_window_teaches_only_its_successors(log, tmp_path):
    """Verdicts on the first half are the same whether or not the second half exists."""
    lines = log.read_text().splitlines(keepends=True)
    half = tmp_path / "shop.log"
    half.write_text("".join(lines[: len(lines) // 2]))
    _, whole, _ = judged(log, None, windowing=SESSIONS)
    _, part, _ = judged(half, None, windowing=SESSIONS)
    early = part[:-8]  # the last sessions are cut short
    assert [verdict.as_dict() for verdict in early] == [verdict.as_dict() for verdict in whole[: len(early)]]


@pytest.mark.parametrize("buffer_bytes", [1 << 12, 1 << 14, 1 << 20])
@pytest.mark.parametrize("windowing", [SESSIONS, Windowing(WindowKind.TIME, span_seconds=20)])
def test_how_the_input_is_cut_changes_no_verdict(log, windowing, buffer_bytes):
    _, whole, _ = judged(log, None, windowing=windowing)
    _, cut, _ = judged(
        log,
        None,
        windowing=windowing,
        follow=True,
        until_idle_seconds=0.1,
        buffer_bytes=buffer_bytes,
        batch_bytes=buffer_bytes,
    )
    assert not whole[-1].learning
    assert [verdict.learning for verdict in cut] == [verdict.learning for verdict in whole]
    assert [verdict.id for verdict in cut] == [verdict.id for verdict in whole]
    assert [verdict.score for verdict in cut] == [verdict.score for verdict in whole]
    assert [verdict.detectors for verdict in cut] == [verdict.detectors for verdict in whole]
    assert [verdict.window for verdict in cut] == [verdict.window for verdict in whole]


CHILD = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
from logad import stream
from test_stream import SESSIONS, judged
stream.SAMPLE_RECORDS = 1000
judged(
    Path(sys.argv[1]), Path(sys.argv[2]), follow=True, until_idle_seconds=0.5, buffer_bytes=1 << 12,
    batch_bytes=1 << 12, output=Path(sys.argv[3]), every=True,
    on_event=lambda event: print(event.kind, flush=True), **eval(sys.argv[4]),
)
print("done", flush=True)
"""


def start(log, state, output, options):
    here = Path(__file__).parent
    code = CHILD.format(tests=str(here), root=str(here.parent))
    arguments = [sys.executable, "-c", code, str(log), str(state), str(output), options]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("options", ["{'windowing': SESSIONS}", "{}"])
def test_ten_kills_neither_lose_nor_repeat_a_verdict(log, tmp_path, options):
    chance = random.Random(options)
    whole_output = tmp_path / "whole.jsonl"
    assert start(log, tmp_path / "whole.sqlite", whole_output, options).communicate()[0].endswith("done\n")
    state, output = tmp_path / "killed.sqlite", tmp_path / "killed.jsonl"
    kills = 0
    for _ in range(10):
        child = start(log, state, output, options)
        for _ in range(chance.randint(1, 90)):
            if not child.stdout.readline():
                break
        time.sleep(chance.random() * 0.03)
        kills += child.poll() is None
        child.kill()  # SIGKILL
        child.communicate()
    assert start(log, state, output, options).communicate()[0].endswith("done\n")
    assert kills >= 5
    assert output.read_bytes() == whole_output.read_bytes()
    told = [json.loads(line) for line in output.read_text().splitlines()]
    assert len({verdict["id"] for verdict in told}) == len(told)
    with Ledger(state) as killed, Ledger(tmp_path / "whole.sqlite") as whole:
        assert [v.as_dict() for _, v in killed.verdicts()] == [v.as_dict() for _, v in whole.verdicts()]
        assert killed.incidents() == whole.incidents()
        assert [(a.incident, a.kind, a.tier, a.time) for a in killed.alerts()] == [
            (a.incident, a.kind, a.tier, a.time) for a in whole.alerts()
        ]


def test_a_second_start_after_the_end_finds_nothing_to_do(log, tmp_path):
    options = {"follow": True, "until_idle_seconds": 0.1, "windowing": SESSIONS}
    _, first, _ = judged(log, tmp_path / "ledger.sqlite", **options)
    _, second, telemetry = judged(log, tmp_path / "ledger.sqlite", **options)
    assert second == first
    assert telemetry.records == 0


def test_an_explicit_warmup_only_teaches(log):
    _, by_records, _ = judged(log, None, windowing=SESSIONS, warmup=Warmup(records=1200))
    _, by_share, _ = judged(log, None, windowing=SESSIONS, warmup=Warmup(share=0.5))
    learning = sum(verdict.learning for verdict in by_records)
    assert 280 < learning < 301
    assert [v.learning for v in by_share] == [v.learning for v in by_records] or abs(
        sum(v.learning for v in by_share) - learning
    ) < 10
    assert [v.window.index for v in by_records if not v.learning] == list(range(len(by_records) - learning))


@pytest.mark.parametrize("follow", [True, False])
def test_a_warmup_too_short_to_learn_from_is_told_and_why_nothing_was_judged(log, tmp_path, follow):
    """A minute of warm-up is over before ten windows of a minute have closed; the log ends before too."""
    short = tmp_path / "short.log"
    short.write_text("\n".join(log.read_text().splitlines()[:300]) + "\n")  # seven minutes
    options = {"follow": follow, "windowing": Windowing(WindowKind.TIME, span_seconds=60)}
    idle = {"until_idle_seconds": 0.1 if follow else None, "batch_bytes": 1 << 12, "buffer_bytes": 1 << 12}

    def told(path, **warmup):
        events = []
        judged(path, None, warmup=Warmup(**warmup), on_event=events.append, **options, **idle)
        return [event.text for event in events if event.kind in ("learning", "learned")]

    assert told(short, seconds=45) == [
        "time: learning until the warm-up is over",
        "time: the warm-up is over, but only 0 of the 10 windows that it takes to learn have closed",
        "time: nothing was judged, for the first 10 windows at least only teach, and 8 closed",
    ]
    assert told(log, seconds=45)[-1].startswith("time: learned from")
    assert told(log, seconds=9999)[-1] == (
        "time: nothing was judged, for the warm-up was not over: all 60 windows only taught"
    )
    assert (
        told(short)[-1]
        == "time: nothing was judged, for the first 10 windows at least only teach, and 8 closed"
    )
    assert (
        told(log)[-1]
        == "time: nothing was judged, for the first 1h40m only teach, and all 60 windows closed in it"
    )


def test_windows_of_records_start_anew_after_the_warmup(log):
    windowing = Windowing(WindowKind.RECORDS, size=70)
    _, verdicts, _ = judged(log, None, windowing=windowing, warmup=Warmup(records=1000))
    sizes = [verdict.window.records for verdict in verdicts if verdict.learning]
    assert sizes == [70] * 14 + [20]
    first = next(verdict for verdict in verdicts if not verdict.learning)
    assert first.window.first_line == 1001


def test_views_are_chosen_told_and_kept(log, tmp_path):
    told: list[Event] = []
    summary, _, _ = judged(log, tmp_path / "a.sqlite", on_event=told.append)
    assert {event.kind for event in told} >= {"layout", "view", "learning", "learned", "verdict"}
    with Ledger(tmp_path / "a.sqlite") as ledger:
        kept = [Windowing.from_dict(each) for each in json.loads(ledger.meta("views"))]
    assert tuple(kept) == summary.views


@pytest.mark.parametrize("clock", [Wall, Slow])
@pytest.mark.parametrize("sample", [1000, 20_000])
def test_what_views_are_chosen_does_not_depend_on_how_a_backlog_is_cut(log, sample, clock, monkeypatch):
    """They are chosen from the first records, or all there are."""
    monkeypatch.setattr(stream, "SAMPLE_RECORDS", sample)
    replayed, whole, _ = judged(log, None)
    cutting = {"buffer_bytes": 1 << 12, "batch_bytes": 1 << 12, "clock": clock()}
    watched, cut, _ = judged(log, None, follow=True, until_idle_seconds=0.1, **cutting)
    assert watched.views == replayed.views
    assert [verdict.as_dict() for verdict in cut] == [verdict.as_dict() for verdict in whole]


class Scripted(Source):
    """Yields what it is told, in place of a file that grows."""

    name = "scripted"

    def __init__(self, buffers):
        self.buffers = buffers

    def read(self, cursors):
        yield from (buffer for buffer in self.buffers if buffer is not None)

    def follow(self, cursors):
        yield from self.buffers


def lines_of(*moments, stream="a", service="shop"):
    text = "".join(
        f"{moment:%Y-%m-%d %H:%M:%S},000 INFO {service}: tick {n}\n" for n, moment in enumerate(moments)
    )
    return Buffer(stream, stream, text.encode(), 1, f"{len(text)}", final=True)


class Ticking:
    """A clock that a test moves: each look at it takes a second."""

    def __init__(self, now):
        self.moment = now

    def now(self):
        self.moment += timedelta(seconds=1)
        return self.moment

    def sleep(self, seconds):
        self.moment += timedelta(seconds=seconds)


def test_a_silent_service_is_noticed_on_the_clock_while_nothing_comes():
    minute = Windowing(WindowKind.TIME, span_seconds=60)
    buffer = lines_of(*(START + timedelta(seconds=second) for second in range(0, 600, 5)))
    source = Scripted([buffer, *[None] * 200])
    with Ledger(None) as ledger:
        run(
            StreamOptions(follow=True, windowing=minute, until_idle_seconds=300),
            [source],
            Ticking(START + timedelta(seconds=600)),
            ledger,
            rules=load(),
            notifiers={},
            sinks={},
            telemetry=Telemetry(),
        )
        windows = [verdict.window for _, verdict in ledger.verdicts()]
    assert [window.records for window in windows[:10]] == [12] * 10
    assert len(windows) >= 13
    assert all(window.records == 0 for window in windows[10:])


def test_several_streams_are_merged_by_time_before_they_are_judged():
    moments = [START + timedelta(seconds=second) for second in range(0, 3600, 5)]
    buffers = [lines_of(*moments, stream="a", service="a"), lines_of(*moments, stream="b", service="b")]
    telemetry = Telemetry()
    with Ledger(None) as ledger:
        run(
            StreamOptions(
                follow=True, windowing=Windowing(WindowKind.TIME, span_seconds=60), until_idle_seconds=1
            ),
            [Scripted([buffers[0], buffers[1], None, None, None])],
            Ticking(START + timedelta(days=9)),
            ledger,
            rules=load(),
            notifiers={},
            sinks={},
            telemetry=telemetry,
        )
        assert ledger.counts()[0] == 120
    assert telemetry.notes["late"] == 0


class Pager(Notifier):
    """Remembers what it was given; answers as told."""

    name = "pager"

    def __init__(self, outcomes=()):
        self.outcomes = list(outcomes)
        self.got = []

    def render(self, incident, links):
        return {"title": incident.title, "state": incident.state, "id": incident.id}

    def digest(self, incidents, links):
        return {"title": f"{len(incidents)} incidents", "state": "digest", "id": ""}

    def deliver(self, message):
        self.got.append(message)
        return self.outcomes.pop(0) if self.outcomes else Delivered(reference=f"m{len(self.got)}")


class Store(Sink):
    name = "store"

    def __init__(self):
        self.ids = []

    def write(self, verdicts):
        self.ids += [verdict.id for verdict in verdicts]
        return Written(len(verdicts), {})


def test_every_verdict_reaches_a_sink_once_and_people_hear_of_incidents(log, tmp_path):
    pager, store = Pager(), Store()
    options = {"follow": True, "until_idle_seconds": 0.1, "windowing": SESSIONS, "alerting": HOURLY}
    parts = {"notifiers": {"pager": pager}, "sinks": {"store": store}}
    _, verdicts, _ = judged(log, tmp_path / "a.sqlite", **options, **parts)
    judged(log, tmp_path / "a.sqlite", **options, **parts)
    assert store.ids == [verdict.id for verdict in verdicts]
    assert pager.got
    assert len({json.dumps(message) for message in pager.got}) == len(pager.got)


def test_a_dry_run_alerts_nobody(log):
    pager = Pager()
    judged(log, None, windowing=SESSIONS, dry_run=True, notifiers={"pager": pager})
    assert pager.got == []


def test_a_notifier_that_fails_is_tried_again_later(log, tmp_path):
    pager = Pager([RetryLater(0.0, "busy")] * 1)
    options = {"follow": True, "until_idle_seconds": 3.5, "windowing": SESSIONS, "alerting": HOURLY}
    judged(log, tmp_path / "a.sqlite", notifiers={"pager": pager}, **options)
    assert (
        pager.got[0] == {key: value for key, value in pager.got[-1].items() if key != "reference"}
        or len(pager.got) > 1
    )
    with Ledger(tmp_path / "a.sqlite") as ledger:
        assert ledger.pending() == []


def test_from_end_passes_over_what_is_there_but_not_what_came_meanwhile(tmp_path):
    log, state = tmp_path / "a.log", tmp_path / "a.sqlite"
    lines = shop_log(40)
    log.write_text("\n".join(lines[:80]) + "\n")
    options = {"follow": True, "from_end": True, "until_idle_seconds": 0.1, "windowing": SESSIONS}
    _, _, telemetry = judged(log, state, **options)
    assert telemetry.dropped == {"before_start": 80}
    with log.open("a") as file:
        file.write("\n".join(lines[80:]) + "\n")
    _, verdicts, telemetry = judged(log, state, **options)
    assert telemetry.records == 80
    assert sum(verdict.window.records for verdict in verdicts) == 80


def test_nothing_to_read_is_an_input_error(tmp_path):
    (tmp_path / "empty.log").write_text("\n")
    with pytest.raises(InputError):
        judged(tmp_path / "empty.log", None)
    with pytest.raises(InputError):
        judged(tmp_path / "none.log", None)


def test_a_share_as_warmup_needs_an_end(log):
    with pytest.raises(UsageError):
        judged(log, None, follow=True, warmup=Warmup(share=0.5))


def test_what_a_killed_process_wrote_beyond_the_ledger_is_cut_off(log, tmp_path):
    output, state = tmp_path / "out.jsonl", tmp_path / "a.sqlite"
    options = {
        "follow": True,
        "until_idle_seconds": 0.1,
        "windowing": SESSIONS,
        "output": output,
        "every": True,
    }
    _, verdicts, _ = judged(log, state, **options)
    whole = output.read_bytes()
    assert whole.count(b"\n") == len(verdicts)
    output.write_bytes(whole + b'{"half a verd')
    judged(log, state, **options)
    assert output.read_bytes() == whole


def test_how_late_a_record_is_does_not_depend_on_how_the_input_is_cut(tmp_path):
    lines = shop_log(300)
    chance = random.Random(3)
    for _ in range(40):  # some lines come minutes too late
        place = chance.randrange(len(lines) - 200)
        lines.insert(place + chance.randrange(60, 200), lines.pop(place))
    log = tmp_path / "shop.log"
    log.write_text("\n".join(lines) + "\n")
    options = {
        "follow": True,
        "until_idle_seconds": 0.1,
        "windowing": Windowing(WindowKind.TIME, span_seconds=20),
    }
    runs = [
        judged(log, None, buffer_bytes=size, batch_bytes=size, **options)
        for size in (1 << 12, 1 << 13, 1 << 20)
    ]
    assert runs[0][2].notes["late"] == runs[1][2].notes["late"] == runs[2][2].notes["late"] > 20
    assert [v.id for v in runs[0][1]] == [v.id for v in runs[1][1]] == [v.id for v in runs[2][1]]


def jobs_log(jobs=900, seed=1, keys=900):
    """Jobs of four steps that wait a moment, or now and then a minute or an hour; some never come back.

    There are so many `keys`: a later job has that of an earlier one.
    """
    chance = random.Random(seed)
    lines = []
    for number in range(jobs):
        moment = START + timedelta(seconds=5 * number + chance.random())
        wait = 60 + chance.random() * 9 if number % 60 == 0 else chance.random() * 2
        wait = 3600 if number % 197 == 0 else wait
        steps = [(0.0, "asked"), (0.5, "queued"), (0.5 + wait, "answered"), (1 + wait, "closed")]
        gone = number % 111 == 110
        lines += [
            (moment + timedelta(seconds=at), f"{text} job-{number % keys:05d}")
            for at, text in steps[: 2 if gone else 4]
        ]
    return [f"{at:%Y-%m-%d %H:%M:%S},{at.microsecond // 1000:03d} INFO {text}" for at, text in sorted(lines)]


@pytest.mark.parametrize("sample", [1000, 20_000])
@pytest.mark.parametrize("buffer_bytes", [1 << 11, 1 << 13])
def test_how_long_a_session_is_waited_for_does_not_depend_on_how_the_input_is_cut(
    tmp_path, buffer_bytes, sample, monkeypatch
):
    """A backlog gives the verdicts of a replay, on a slow machine too: both learn from the same records."""
    monkeypatch.setattr(stream, "SAMPLE_RECORDS", sample)
    log = tmp_path / "jobs.log"
    log.write_text("\n".join(jobs_log()) + "\n")
    jobs = Windowing(WindowKind.SESSION, key_regex=r"job-\d+")
    _, whole, _ = judged(log, None, windowing=jobs)
    options = {"follow": True, "until_idle_seconds": 0.1, "windowing": jobs}
    for clock in (Wall(), Slow()):
        cutting = {"buffer_bytes": buffer_bytes, "batch_bytes": buffer_bytes, "clock": clock}
        _, cut, _ = judged(log, None, **cutting, **options)
        assert [verdict.as_dict() for verdict in cut] == [verdict.as_dict() for verdict in whole]
    last = {verdict.window.key: verdict for verdict in whole if verdict.window.start is not None}
    assert {f"job-{number:05d}" for number in range(443, 900, 111)} <= {
        key for key, verdict in last.items() if verdict.anomalous
    }


@pytest.mark.parametrize("buffer_bytes", [1 << 11, 1 << 14])
def test_a_key_that_is_used_again_begins_a_new_session_however_the_input_is_cut(
    tmp_path, buffer_bytes, monkeypatch
):
    """Its first revision is number 0, also where a session before it was waited for."""
    monkeypatch.setattr(stream, "SAMPLE_RECORDS", 1000)
    lines = jobs_log(keys=300)
    again = [(2000, "asked"), (2000.5, "queued"), (2001, "answered"), (2001.5, "closed"), (2100, "closed")]
    last = datetime.fromisoformat(lines[-1][:19])
    told = [(last + timedelta(seconds=at), f"INFO {text} job-00240") for at, text in again]
    lines += [f"{at:%Y-%m-%d %H:%M:%S},{at.microsecond // 1000:03d} {text}" for at, text in told]
    log = tmp_path / "jobs.log"
    log.write_text("\n".join(lines) + "\n")
    jobs = Windowing(WindowKind.SESSION, key_regex=r"job-\d+")
    _, whole, _ = judged(log, None, windowing=jobs)
    begun = Counter(verdict.window.key for verdict in whole if verdict.window.revision == 0)
    assert sum(begun.values()) == 900 + 5 + 1  # jobs, those of them that come back after an hour, the last
    assert min(verdict.window.revision for verdict in whole) == 0
    options = {"follow": True, "until_idle_seconds": 0.1, "windowing": jobs}
    for size in (buffer_bytes, len(log.read_bytes()) - len(lines[-1]) - 1):
        _, cut, _ = judged(log, None, buffer_bytes=size, batch_bytes=size, **options)
        assert [verdict.as_dict() for verdict in cut] == [verdict.as_dict() for verdict in whole]


def test_a_session_goes_on_as_a_new_one_after_so_long_and_as_a_revision_before(tmp_path):
    moments = [(0, "a"), (1, "a"), (200, "a"), (300, "a"), (2000, "a"), (2001, "b"), (2500, "b"), (9000, "c")]
    text = "".join(
        f"{START + timedelta(seconds=at):%Y-%m-%d %H:%M:%S} INFO step of job-{key}\n" for at, key in moments
    )
    log = tmp_path / "jobs.log"
    log.write_text(text)
    windowing = Windowing(WindowKind.SESSION, key_regex="job-.", timeout_seconds=20)
    told = {}
    for size in (60, 1 << 20):
        options = {"follow": True, "until_idle_seconds": 0.1, "buffer_bytes": size, "batch_bytes": size}
        _, verdicts, _ = judged(log, None, windowing=windowing, **options)
        told[size] = [(each.window.key, each.window.revision, each.window.records) for each in verdicts]
    assert told[60] == told[1 << 20]
    first = [("job-a", 0, 2), ("job-a", 1, 3), ("job-a", 2, 4), ("job-a", 0, 1)]
    assert told[60] == [*first, ("job-b", 0, 1), ("job-b", 0, 1), ("job-c", 0, 1)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in registry.names("detectors")
        if name != "pyod" or find_spec("pyod")
        for kind in sorted(registry.part("detectors", name).kinds)
    ],
)
def test_a_remembered_past_is_as_good_as_one_that_is_shown(name, kind):
    """Judging piece after piece, each piece remembered, gives what judging all of it at once gives."""
    chance = np.random.default_rng(7)
    codes, services, starts = [], [], []
    for span in range(600):
        for service, rate in (("api", 30), ("db", 12), ("batch", 0.3)):
            silent = service == "db" and (470 < span < 490 or 520 < span < 560)
            burst = 9 if service == "api" and span in (455, 500, 501, 540) else 1
            window = (
                [] if silent else [*([0] * chance.poisson(rate * burst)), *([1] * chance.poisson(rate / 6))]
            )
            fresh = {480: [3], 505: [4, 3], 530: [5], 575: [3]}.get(span, [])
            if window or kind is WindowKind.TIME:
                codes.append(window + (fresh if service == "api" else []))
                services.append(service)
                starts.append(span * 300.0)
    texts = (
        "request served",
        "connection opened",
        "retrying",
        "disk failed",
        "cannot write",
        "pool exhausted",
    )
    vocabulary = vocabulary_of(*texts, severities=[0, 0, 1, 3, 3, 2])
    windows = windows_of(codes, kind=kind, services=services, starts=starts, vocabulary=vocabulary)
    windows = replace(windows, until=int(windows.times.max()))
    begin = len(windows) * 2 // 3
    taught = windows.take(range(begin))

    part = registry.part("detectors", name)
    fitted, cut = (part(part.Config()).fit(taught) for _ in range(2))
    later = windows.take(range(begin, len(windows)))
    scores, told = fitted.score(later), [fitted.explain(later, row) for row in range(len(later))]
    at = 0
    while at < len(later):
        piece = later.take(range(at, min(at + int(chance.integers(3, 40)) // 3 * 3, len(later))))
        assert cut.score(piece) == pytest.approx(scores[at : at + len(piece)], abs=1e-9)
        for row in range(len(piece)):
            assert [each.text for each in cut.explain(piece, row)] == [each.text for each in told[at + row]]
        cut.remember(piece)
        at += len(piece)


class Playing(Source):
    """Plays buffers whose time has come on the clock it is given."""

    name = "playing"

    def __init__(self, buffers, clock):
        self.buffers, self.clock = buffers, clock

    def read(self, cursors):
        yield from ()

    def follow(self, cursors):
        for at, buffer in self.buffers:
            while self.clock.moment < at:
                self.clock.moment += timedelta(seconds=0.2)
                yield None
            yield buffer
        while True:
            self.clock.moment += timedelta(seconds=0.2)
            yield None


class Still:
    """A clock that others move."""

    def __init__(self, now):
        self.moment = now

    def now(self):
        return self.moment

    def sleep(self, seconds):
        self.moment += timedelta(seconds=seconds)


def test_a_stream_that_seldom_speaks_is_not_late_beside_one_that_never_stops():
    """Its last line is a record a second later, whatever the others do."""
    clock, buffers = Still(START), []
    for second in range(200):
        names = ["busy", *(["seldom"] if second % 39 == 38 else [])]
        moment = START + timedelta(seconds=second + 0.3)
        for name in names:
            text = f"{moment:%Y-%m-%d %H:%M:%S},300 INFO {name}: tick {second}\n"
            buffers.append((moment, Buffer(name, name, text.encode(), second + 1, f"{second}")))
    telemetry = Telemetry()
    with Ledger(None) as ledger:
        run(
            StreamOptions(
                follow=True, windowing=Windowing(WindowKind.TIME, span_seconds=20), until_idle_seconds=60
            ),
            [Playing(buffers, clock)],
            clock,
            ledger,
            rules=load(),
            notifiers={},
            sinks={},
            telemetry=telemetry,
        )
        windows = [verdict for _, verdict in ledger.verdicts() if verdict.service == "seldom"]
    assert telemetry.notes["late"] == 0
    assert sum(verdict.window.records for verdict in windows) == 200 // 39


def replayed_and_watched(folder, **watching):
    """The verdicts on a folder of logs when they are replayed, and when they are followed; the telemetry."""
    minute = {"windowing": Windowing(WindowKind.TIME, span_seconds=60)}
    _, replayed, _ = judged(folder, None, **minute)
    _, watched, telemetry = judged(folder, None, follow=True, until_idle_seconds=0.1, **minute, **watching)
    return [[verdict.as_dict() for verdict in each] for each in (replayed, watched)], telemetry


def as_json(line):
    """As a log whose lines are whole records writes it: nothing tells that its last one may go on."""
    time, level, service, text = line[:23], *line[24:].split(" ", 2)
    return json.dumps({"time": time, "level": level, "service": service.rstrip(":"), "message": text})


@pytest.mark.parametrize("form", [str, as_json])
@pytest.mark.parametrize("clock", [Wall, Slow])
def test_a_backlog_of_several_logs_is_merged_by_time_though_it_is_read_in_pieces(tmp_path, clock, form):
    """One log is forty times as long as another and begins later, two begin and end with their only line.

    The verdicts are those of a replay, where each log is in order of time and speaks at once when it begins.
    """
    lines = shop_log(900)
    folder = tmp_path / "logs"
    folder.mkdir()
    parts = {
        "a": [f"{line} {'x' * 200}" for line in lines[1000:]],
        "b": [line.replace("shop", "till") for line in lines[::40]],
        "c": [line.replace("shop", "gate") for line in lines[:900:3]],
        "d": [lines[500].replace("shop", "door")],
        "e": [lines[0].replace("shop", "roof")],
    }
    for name, part in parts.items():
        (folder / f"{name}.log").write_text("".join(f"{form(line)}\n" for line in part))
    pieces = {"buffer_bytes": 1 << 14, "batch_bytes": 1 << 15, "clock": clock()}
    (replayed, watched), telemetry = replayed_and_watched(folder, **pieces)
    assert telemetry.notes["late"] == 0
    assert watched == replayed


def test_a_session_that_was_silent_long_enough_by_the_end_is_no_more_excused_than_in_a_replay(tmp_path):
    """Another log goes on for a little longer than the timeout: no log is waited for at the end."""
    folder = tmp_path / "logs"
    folder.mkdir()
    lines = shop_log(200)
    (folder / "a.log").write_text("\n".join(lines[:-2]) + "\n")
    end = datetime.fromisoformat(f"{lines[-3][:19]}+00:00").timestamp() + 21
    last = datetime.fromtimestamp(end // 10 * 10 + 11, UTC)
    more = [START, last - timedelta(seconds=30), last]
    (folder / "b.log").write_text("".join(f"{at:%Y-%m-%d %H:%M:%S} INFO gate: idle\n" for at in more))
    told = []
    for options in ({}, {"follow": True, "until_idle_seconds": 0.1}):
        _, verdicts, _ = judged(folder, None, windowing=SESSIONS, **options)
        told.append([verdict.as_dict() for verdict in verdicts])
    assert told[0] == told[1]
    assert any(each["anomalous"] and each["window"]["key"] == "req-00199" for each in told[0])


def test_time_never_goes_back_when_a_run_is_started_again(tmp_path):
    log, state = tmp_path / "shop.log", tmp_path / "a.sqlite"
    lines = shop_log(200)
    log.write_text("\n".join(lines[400:]) + "\n")
    options = {"follow": True, "until_idle_seconds": 0.1, "windowing": SESSIONS}
    judged(log, state, **options)
    with Ledger(state) as ledger:
        before = json.loads(ledger.meta("place"))["watermark"]
    with log.open("a") as file:
        file.write(lines[0] + "\n")  # long ago
    _, verdicts, telemetry = judged(log, state, **options)
    with Ledger(state) as ledger:
        assert json.loads(ledger.meta("place"))["watermark"] == before
    assert telemetry.notes["late"] == 1
    assert sum(verdict.window.records for verdict in verdicts) == len(lines[400:]) + 1


@pytest.mark.parametrize("windowing", [SESSIONS, Windowing(WindowKind.SESSION, key_regex=r"req-\d+")])
@pytest.mark.parametrize("stop", [500, 1203])
def test_a_session_that_the_end_of_a_run_cut_short_goes_on_as_a_revision_in_the_next(
    tmp_path, windowing, stop
):
    """The end judges what is open; the last revisions hold every record once, late ones too."""
    log, state = tmp_path / "shop.log", tmp_path / "a.sqlite"
    lines = shop_log(400)
    late = lines.pop(stop - 10)
    log.write_text("\n".join(lines[:stop]) + "\n")
    options = {"follow": True, "until_idle_seconds": 0.1, "windowing": windowing}
    judged(log, state, **options)
    with log.open("a") as file:
        file.write("\n".join([late, *lines[stop:]]) + "\n")
    _, verdicts, _ = judged(log, state, **options)
    last = {verdict.window.key: verdict.window for verdict in verdicts}
    assert sum(window.records for window in last.values()) == len(lines) + 1
    assert max(window.revision for window in last.values()) >= 1
    told = [(verdict.window.key, verdict.window.revision) for verdict in verdicts]
    assert len(set(told)) == len(told)


class PowerCutError(Exception):
    """It was cut."""


def test_a_last_line_that_a_killed_process_held_back_is_a_record_soon_after_the_next_start(tmp_path):
    """Silence is noticed then too, though the log says nothing more."""
    moments = [START + timedelta(seconds=second) for second in range(0, 600, 5)]
    lines = replace(lines_of(*moments), final=False)

    def told(buffers, clock):
        with Ledger(tmp_path / "a.sqlite") as ledger:
            run(
                StreamOptions(
                    follow=True,
                    windowing=Windowing(WindowKind.TIME, span_seconds=60),
                    until_idle_seconds=300,
                ),
                [Scripted(buffers)],
                clock,
                ledger,
                rules=load(),
                notifiers={},
                sinks={},
                telemetry=Telemetry(),
            )

    def cut_short():
        yield from (lines, None)
        raise PowerCutError

    with pytest.raises(PowerCutError):
        told(cut_short(), Still(START + timedelta(seconds=600)))
    until = []

    def silent():
        for _ in range(200):
            yield None
            with Ledger(tmp_path / "a.sqlite", owner=False) as ledger:
                until.append([verdict.window.records for _, verdict in ledger.verdicts()])

    told(silent(), Ticking(START + timedelta(seconds=600)))
    assert until[-1][:11] == [12] * 10 + [0]
