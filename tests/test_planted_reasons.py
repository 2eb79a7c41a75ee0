"""Ten kinds of anomaly, planted into real logs: the first reason of what is flagged names what was planted."""

import gzip
import os
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from logad.batch import QUIET
from logad.cases import Case
from logad.evaluation.injection import GROSS, SUBTLE, Injector, Plant, Planted
from logad.evaluation.rewriting import Rewriter
from logad.judge import DECIDING, Judge
from logad.types import AnomalyType, Template, Verdict, WindowKind
from logad.windows import Windows

DATA = Path(os.environ.get("LOGAD_DATA") or Path(__file__).parents[2] / "shared" / "data")
HOUR = 3_600_000_000  # microseconds
WANTED = 8
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="no real logs beside the checkout")


@dataclass(frozen=True)
class Log:
    """A real log, and who judges it."""

    windows: Windows
    judge: Judge

    def planted(self, kind, strength):
        """Some anomalies of a kind, in windows that were not flagged."""
        injector = Injector(self.windows)
        free = (self.judge.judge(self.windows).score <= 0.5) & injector.filled
        return injector.plant(kind, strength, WANTED, free, np.random.default_rng(0))

    def told(self, planted: Planted) -> list[tuple[Verdict | None, set[Template]]]:
        """The first verdict on each plant, None where it was missed, and what a right reason names."""
        verdicts = {verdict.window.index: verdict for verdict in self.judge.verdicts(planted.windows)}
        names = planted.windows.vocabulary
        return [
            (
                next((verdicts[row] for row in plant.windows if row in verdicts), None),
                {names[code] for code in plant.templates},
            )
            for plant in planted.plants
        ]


def log_of(lines, folder, **options):
    path = folder / "some.log"
    path.write_bytes(b"".join(lines))
    sources = {"trusted": False, "model": None, "observer": QUIET}
    case = Case.of([path], [], **sources, options={**options, "state_dir": folder})
    return Log(case.windows, case.judge())


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    """HDFS, a session for each block."""
    with gzip.open(DATA / "hdfs" / "HDFS_2pct.log.gz") as lines:
        return log_of(islice(lines, 60_000), tmp_path_factory.mktemp("blocks"), session_regex=r"blk_-?\d+")


@pytest.fixture(scope="module")
def minutes(tmp_path_factory):
    """HDFS, five minutes each."""
    with gzip.open(DATA / "hdfs" / "HDFS_2pct.log.gz") as lines:
        return log_of(islice(lines, 60_000), tmp_path_factory.mktemp("minutes"), window="5m")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """TrainTicket but for its two most talkative services, a minute of a service each."""
    with gzip.open(DATA / "k8s" / "trainticket-2023-01-29.ndjson.gz") as lines:
        some = (line for line in lines if b'"ts-seat' not in line and b'"ts-basic' not in line)
        return log_of(some, tmp_path_factory.mktemp("shop"), window="1m")


def right(told, *, caught, types, evidence=True):
    """Whether at least so many plants were caught, and their first reasons name, count and prove them.

    What is missing has no lines to prove it.
    """
    found = [(verdict, templates) for verdict, templates in told if verdict is not None]
    for verdict, templates in found:
        reason = verdict.reasons[0]
        print(f"[{reason.detector}, {reason.type}] {reason.text} ({reason.expected} -> {reason.actual})")
        assert not templates or reason.template_id in {each.template_id for each in templates}
        assert reason.type in types
        assert reason.expected
        assert reason.actual
        assert reason.expected != reason.actual
        assert reason.evidence or not evidence
    assert len(found) >= caught * len(told) > 0
    return True


def undecided(kind, *names):
    """What no deciding detector looks at yet."""
    return pytest.mark.xfail(
        not set(names) & set(DECIDING[kind]), strict=True, reason=f"{names} do not decide"
    )


def test_an_error_of_a_new_kind(shop):
    assert right(shop.told(shop.planted("new template", GROSS)), caught=1.0, types={AnomalyType.POINT})


def test_a_plain_line_of_a_new_kind_where_such_are_rare(shop):
    assert right(shop.told(shop.planted("new template", SUBTLE)), caught=0.25, types={AnomalyType.POINT})


def test_an_event_that_is_missing(blocks):
    told = blocks.told(blocks.planted("missing event", SUBTLE))
    assert right(told, caught=0.9, types={AnomalyType.COLLECTIVE}, evidence=False)


def test_an_event_that_comes_too_often(blocks):
    assert right(
        blocks.told(blocks.planted("extra events", GROSS)), caught=0.9, types={AnomalyType.COLLECTIVE}
    )


@undecided(WindowKind.SESSION, "order")
def test_two_events_in_an_order_that_never_was(blocks):
    told = blocks.told(exchanged(blocks.windows))
    assert right(told, caught=0.8, types={AnomalyType.COLLECTIVE})


def exchanged(windows):
    """In some sessions the first of what has been received and the allocation stand in each other's place."""
    (received,) = (each.code for each in windows.vocabulary if each.text.startswith("PacketResponder"))
    (allocated,) = (each.code for each in windows.vocabulary if "NameSystem.allocateBlock" in each.text)
    rewriter, plants = Rewriter(windows), []
    for row in range(410, 410 + 40 * WANTED, 40):
        own = rewriter.content(row)
        order = np.arange(len(own))
        places = [int(np.argmax(own.codes == code)) for code in (received, allocated)]
        order[places] = places[::-1]
        rewriter.put(row, replace(own.take(order), times=own.times))
        plants.append(Plant((row,), frozenset([received, allocated])))
    return Planted(rewriter.windows(), tuple(plants))


def test_a_burst(minutes):
    told = minutes.told(minutes.planted("burst", GROSS))
    assert right(told, caught=0.8, types={AnomalyType.CONTEXTUAL, AnomalyType.COLLECTIVE})


def test_a_service_that_falls_silent(minutes):
    rewriter = Rewriter(minutes.windows)
    rows = range(100, 124)
    for row in rows:
        rewriter.put(row, rewriter.content(row).take(np.zeros(0, dtype=np.int64)))
    planted = Planted(rewriter.windows(), (Plant(tuple(rows), frozenset()),))
    told = minutes.told(planted)
    assert right(told, caught=1.0, types={AnomalyType.CONTEXTUAL}, evidence=False)
    assert "silent" in told[0][0].reasons[0].text


@undecided(WindowKind.SESSION, "parameter_values")
def test_a_number_out_of_its_range(blocks):
    told = blocks.told(blocks.planted("unusual value", GROSS))
    assert right(told, caught=0.5, types={AnomalyType.POINT, AnomalyType.CONTEXTUAL})


def test_a_step_that_takes_long(blocks):
    told = blocks.told(late_steps(blocks.windows))
    assert right(told, caught=0.8, types={AnomalyType.CONTEXTUAL, AnomalyType.COLLECTIVE})


def late_steps(windows):
    """In some sessions all that follows the first of what has been received comes two days late."""
    (received,) = (each.code for each in windows.vocabulary if each.text.startswith("PacketResponder"))
    rewriter, plants = Rewriter(windows), []
    for row in range(400, 400 + 40 * WANTED, 40):
        own = rewriter.content(row)
        late = np.arange(len(own)) >= np.argmax(own.codes == received)
        rewriter.put(row, replace(own, times=own.times + np.where(late, 48 * HOUR, 0)))
        plants.append(Plant((row,), frozenset([received])))
    return Planted(rewriter.windows(), tuple(plants))


def test_a_step_without_its_partner(shop):
    told = shop.told(left_alone(shop.windows))
    assert right(told, caught=0.6, types={AnomalyType.COLLECTIVE}, evidence=False)


def left_alone(windows):
    """In some busy minutes the orders of an account are asked for, and none is told."""
    (asked,) = (each.code for each in windows.vocabulary if each.text.startswith("[Check Security]"))
    (answered,) = (
        each.code for each in windows.vocabulary if each.text.startswith("[Get Order Info For Sec")
    )
    rewriter, plants = Rewriter(windows), []
    busy = np.bincount(windows.owner[windows.events == asked], minlength=len(windows))
    for row in np.argsort(-busy, kind="stable")[:WANTED].tolist():
        own = rewriter.content(row)
        rewriter.put(row, own.take(np.flatnonzero(own.codes != answered)))
        plants.append(Plant((row,), frozenset([asked, answered])))
    return Planted(rewriter.windows(), tuple(plants))
