"""Labels of people: what is called normal counts as normal, and what is sent is ranked anew where that helps."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from click.testing import CliRunner
from command import wrote

import logad
from logad import cli, feedback
from logad.errors import UsageError
from logad.ledger import Ledger
from logad.reranking import FEWEST, Example, Reranker
from logad.types import AnomalyType, Reason, Verdict, WindowKind, WindowRef

NOW = datetime(2026, 3, 5, tzinfo=UTC)
STEPS = ["INFO accepted", "INFO stock checked", "INFO paid", "INFO sent"]
REFUSED = [*STEPS[:2], "ERROR card refused by bank", "WARN given up"]
LOST = [*STEPS[:3], "ERROR parcel lost on its way"]
BOTH = [*STEPS[:2], "ERROR card refused by bank", "WARN given up", "ERROR parcel lost on its way"]


def sessions(count):
    """Orders, one after the other; some are refused, some lost, and late some are both."""
    lines = []
    for number in range(count):
        steps = STEPS
        if number > 150 and number % 60 == 0:
            steps = REFUSED
        if number > 150 and number % 60 == 30:
            steps = BOTH if number > 500 else LOST
        if number > 500 and number % 60 == 15:
            steps = BOTH
        for step, text in enumerate(steps):
            moment = datetime(2026, 3, 2, tzinfo=UTC) + timedelta(seconds=number * 30 + step)
            lines.append(f"{moment:%Y-%m-%d %H:%M:%S} {text} order-{number:05d}")
    return lines


def watched(folder, lines):
    log = wrote(folder / "orders.log", lines)
    options = {"session_regex": r"order-\d+", "session_timeout": "20s", "state_dir": folder / "state"}
    logad.watch(log, until_idle="0.1s", dry_run=True, **options)
    with Ledger(folder / "state" / "ledger.sqlite", owner=False) as ledger:
        return [verdict for _, verdict in ledger.verdicts()]


def number_of(verdict):
    return int(verdict.window.key.removeprefix("order-"))


def odd(verdicts, after):
    return {number_of(each) for each in verdicts if each.anomalous and number_of(each) > after}


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """What a watch finds in all orders after one that was refused was called normal, and without that."""
    found = {}
    for name in ("labelled", "as it was", "restarted"):
        folder = tmp_path_factory.mktemp("state")
        first = watched(folder, sessions(400))
        refused = next(each for each in first if each.anomalous and number_of(each) == 180)
        if name != "as it was":
            feedback.label(refused.id[:12], "normal", now=NOW, state_dir=folder / "state")
        if name == "restarted":
            second = watched(folder, sessions(700))  # it last learned before order 600, and next after 740
            both = next(each for each in second if each.anomalous and number_of(each) == 510)
            feedback.label(both.id, "normal", now=NOW, state_dir=folder / "state")
        found[name] = watched(folder, sessions(760))
    return found


def test_what_is_called_normal_is_normal_from_the_next_learning_on(states):
    assert {540, 600, 660, 720} <= odd(states["as it was"], 500)
    assert not {540, 600, 660, 720} & odd(states["labelled"], 500)


def test_another_kind_is_not_silenced_with_it(states):
    """Orders that were refused and then lost too are none that were only refused."""
    both = {510, 555, 570, 615, 630, 675, 690, 735, 750}
    assert both <= odd(states["as it was"], 500)
    assert both <= odd(states["labelled"], 500)


def test_a_restart_heeds_the_labels_that_were_heeded_before_it(states):
    assert odd(states["labelled"], 700) == {735, 750}
    assert odd(states["restarted"], 700) == {735}


def beats(seconds):
    """Five hours of a beat each second; after two and a half two kinds of errors come now and then."""
    lines = []
    for second in range(seconds):
        text = f"INFO beat {second}" if second % 5 else f"INFO request {second} served in {second % 7} ms"
        if second > 9000 and second % 3000 == 1500:
            text = "ERROR disk failure on sda, cannot write block 7"
        if second > 9000 and second % 6000 == 100:
            text = "ERROR lost connection to the ledger, giving up"
        lines.append(
            f"{datetime(2026, 3, 2, tzinfo=UTC) + timedelta(seconds=second):%Y-%m-%d %H:%M:%S} {text}"
        )
    return lines


def test_an_error_that_a_person_calls_normal_is_normal_in_windows_of_time_and_another_is_not(tmp_path):
    def watch(seconds):
        log = wrote(tmp_path / "app.log", beats(seconds))
        logad.watch(log, until_idle="0.1s", dry_run=True, window="1m", state_dir=tmp_path / "state")
        with Ledger(tmp_path / "state" / "ledger.sqlite", owner=False) as ledger:
            return [verdict for _, verdict in ledger.verdicts() if verdict.anomalous]

    disk = next(each for each in watch(11_000) if "disk" in each.reasons[0].text)
    feedback.label(disk.id, "normal", now=NOW, state_dir=tmp_path / "state")
    later = [each.reasons[0].text for each in watch(20_000) if each.window.start > disk.window.start]
    assert later
    assert all("lost connection" in text for text in later[1:])  # the first may come before it learns anew
    assert sum("lost connection" in text for text in later) == 2


def test_the_command_notes_a_label_and_says_what_all_come_to(tmp_path):
    first = watched(tmp_path, sessions(300))
    verdict = next(each for each in first if each.anomalous)
    place = ["--state-dir", str(tmp_path / "state")]
    done = CliRunner().invoke(cli.cli, ["feedback", verdict.id[:10], "--label", "normal", *place])
    assert done.exit_code == 0, done.output
    assert "noted: 1 verdict normal" in done.output
    assert "off: 0 anomalies and 1 normal ones are labelled, it takes 20 of each" in done.output
    shown = CliRunner().invoke(cli.cli, ["feedback", *place])
    assert "it takes 20 of each" in shown.output
    assert CliRunner().invoke(cli.cli, ["feedback", verdict.id, *place]).exit_code == 2


def test_each_verdict_of_an_incident_is_labelled_and_the_last_label_counts(tmp_path):
    watched(tmp_path, sessions(300))
    state = tmp_path / "state"
    incident = logad.list_incidents(state_dir=state)[0]
    assert feedback.label(incident.id, "normal", now=NOW, state_dir=state).verdicts == incident.verdicts
    trial = feedback.label(incident.id, "anomaly", now=NOW, state_dir=state).trial
    assert (trial.anomalies, trial.normal) == (1, 0)


def test_only_what_a_watch_found_can_be_labelled(tmp_path):
    normal = next(each for each in watched(tmp_path, sessions(200)) if not each.anomalous)
    for name in ("nothing", normal.id):
        with pytest.raises(UsageError, match="no anomalous verdict"):
            feedback.label(name, "normal", now=NOW, state_dir=tmp_path / "state")
    with pytest.raises(UsageError, match="anomaly or normal"):
        feedback.label(normal.id, "fine", now=NOW, state_dir=tmp_path / "state")


# The re-ranker ----------------------------------------------------------------------------------------


def example(number, *, anomaly, score, other, group=None):
    reason = Reason("first", AnomalyType.COLLECTIVE, "odd", None, None, "", "")
    window = WindowRef(WindowKind.SESSION, f"s{number}", NOW, NOW, 1, 2, 10)
    verdict = Verdict(
        f"v{number}", "shop", window, False, score, 1e-4, {"first": score, "second": other}, (reason,)
    )
    return Example(verdict, anomaly, group or f"i{number}")


def labelled(count, *, telling, seed=0):
    """As many of each sort; where `telling`, the second detector knows what people want, else nothing does."""
    rng = np.random.default_rng(seed)
    return [
        example(
            number,
            anomaly=number % 2 == 0,
            score=rng.uniform(0.5, 1),
            other=rng.normal(0.3 + 0.4 * (telling and number % 2 == 0), 0.1),
        )
        for number in range(2 * count)
    ]


def test_a_reranker_is_on_where_it_helps():
    reranker = Reranker.learned(labelled(30, telling=True))
    assert reranker.trial.helps
    assert reranker.trial.gain > 0.2
    wanted, unwanted = (example(99, anomaly=True, score=0.8, other=other).verdict for other in (0.7, 0.3))
    assert reranker.relevance(wanted) > 0.5 > reranker.relevance(unwanted)


@pytest.mark.parametrize("seed", range(5))
def test_a_reranker_is_off_where_labels_follow_nothing(seed):
    reranker = Reranker.learned(labelled(25, telling=False, seed=seed))
    assert not reranker.trial.helps
    assert reranker.trial.describe().startswith("off: average precision")
    assert reranker.relevance(labelled(1, telling=False)[0].verdict) is None


def test_a_reranker_needs_twenty_incidents_of_each_sort():
    few = labelled(FEWEST - 1, telling=True)
    assert Reranker.learned(few).trial.gain is None
    crowded = [
        example(100 + n, anomaly=n % 2 == 0, score=0.9, other=0.7, group=few[n % 2].group) for n in range(60)
    ]
    assert Reranker.learned([*few, *crowded]).trial.gain is None


def test_the_same_labels_give_the_same_ranking():
    one, two = (Reranker.learned(labelled(25, telling=True), seed=3) for _ in range(2))
    verdict = labelled(1, telling=True)[0].verdict
    assert (one.trial, one.relevance(verdict)) == (two.trial, two.relevance(verdict))
