"""The command `watch` with real parts: growing files, servers that take its messages, kills, restarts."""

import json
import random
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from contextlib import closing
from datetime import timedelta

import pytest
from command import START, accounts, orders, parsed, ran, started, steady, wrote
from opensearchpy import OpenSearch
from test_notify import SECRET, Smtp, serving, slack

from logad.ledger import Ledger

PASSWORD = "hunter2-correct-horse"
FAULTS = ("disk failure in the cellar", "cannot reach the ledger", "backup failed")
SESSIONS = ("--session-regex", r"ord_\d+", "--session-timeout", "20s", "--warmup", "400r")
MINUTES = ("--window", "1m", "--warmup", "600r")


def ledger_of(state):
    return state / "logad" / "ledger.sqlite"


def stored(state):
    """All verdicts in the ledger, as they were told."""
    with Ledger(ledger_of(state), owner=False) as ledger:
        return [verdict.as_dict() for _, verdict in ledger.verdicts()]


def grow(path, lines, pieces=8, pause=0.15):
    """A thread that appends the lines, at times in the middle of one."""
    text = "".join(f"{line}\n" for line in lines)
    size = len(text) // pieces + 1

    def write():
        with path.open("a", encoding="utf-8") as file:
            for begin in range(0, len(text), size):
                file.write(text[begin : begin + size])
                file.flush()
                time.sleep(pause)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def test_what_grows_while_it_watches_reaches_every_sink_and_person_and_no_secret_does(tmp_path):
    """SQLite, JSON lines, Slack and mail from one YAML file; a budget of one; a restart changes nothing."""
    log, state = tmp_path / "shop.log", tmp_path / "state"
    lines = [f"{START + timedelta(seconds=30 * n):%Y-%m-%d %H:%M:%S} INFO beat {n}" for n in range(2400)]
    for place, fault in zip((2050, 2150, 2300), FAULTS, strict=True):
        lines[place] = f"{lines[place][:19]} ERROR {fault}, password={PASSWORD}"
    wrote(log, lines[:900])
    mail = Smtp()
    with slack() as (webhook, posted), serving(mail):
        (tmp_path / "webhook").write_text(webhook)
        config = wrote(
            tmp_path / "logad.yaml",
            [
                f"sources: [{log}]",
                "notifiers:",
                f"  - {{type: slack, webhook_file: {tmp_path / 'webhook'}}}",
                f"  - {{type: email, host: 127.0.0.1, port: {mail.server_address[1]}, security: none,",
                "     sender: logad@example.org, recipients: [ops@example.org]}",
                "sinks:",
                f"  - {{type: sqlite, path: {tmp_path / 'verdicts.sqlite'}}}",
                f"  - {{type: jsonl, path: {tmp_path / 'verdicts.jsonl'}}}",
                "alerting: {budget_per_day: 1}",
                "incidents: {together_minutes: 0}",
            ],
        )
        command = (
            "watch",
            "--config",
            config,
            "--window",
            "10m",
            "--warmup",
            "600r",
            "--until-idle",
            "1.5s",
            "--stats",
            tmp_path / "s.json",
        )
        with started(*command, state=state) as watch:
            writer = grow(log, lines[900:])
            _, err = watch.communicate(timeout=60)
        writer.join()
        told = (len(posted), len(mail.mails))
        again = ran(*command, state=state)
        assert (len(posted), len(mail.mails)) == told
    assert (watch.returncode, again.returncode) == (0, 0), err + again.stderr
    assert accounts(tmp_path / "s.json")["records"] == 0
    verdicts = stored(state)
    assert sum(each["window"]["records"] for each in verdicts) == 2400
    anomalous = [each for each in verdicts if each["anomalous"]]
    shown = json.dumps(anomalous)
    assert all(fault in shown for fault in FAULTS)

    assert parsed((tmp_path / "verdicts.jsonl").read_text()) == verdicts
    with closing(sqlite3.connect(tmp_path / "verdicts.sqlite")) as db:
        rows = [json.loads(row) for (row,) in db.execute("SELECT verdict FROM verdicts")]
    assert sorted(rows, key=lambda row: row["id"]) == sorted(verdicts, key=lambda row: row["id"])

    messages = [body.decode() for _, body in posted]
    mails = [str(each) for each in mail.mails]
    with Ledger(ledger_of(state), owner=False) as ledger:
        alerts, incidents = ledger.alerts(), ledger.incidents()
    assert len(incidents) == 3
    at_once = {alert.incident for alert in alerts if alert.tier == "page"}
    assert len(at_once) == 1  # the budget of the day
    for told in (messages, mails):  # at once, that it is over, and when the run ended what had waited
        assert [[fault in text for fault in FAULTS] for text in told] == [[1, 0, 0], [1, 0, 0], [0, 1, 1]]

    everything = [*messages, *mails, shown, err, (tmp_path / "verdicts.jsonl").read_text()]
    everything += [path.read_bytes().decode("latin1") for path in state.rglob("*") if path.is_file()]
    assert not [text for text in everything if PASSWORD in text or SECRET in text]
    assert "<redacted:password>" in shown


def killed_at_random(command, state, chance, pause, least=3):
    """Start it and kill it (SIGKILL) until it has been killed often enough; then let it end."""
    kills = 0
    for _ in range(12):
        with started(*command, state=state) as watch:
            deadline = time.monotonic() + pause + chance.random() * pause
            while time.monotonic() < deadline and watch.poll() is None:
                time.sleep(0.005)
            kills += watch.poll() is None
            watch.kill()
            watch.communicate()
        if kills == least:
            break
    return kills


def test_kills_neither_lose_nor_double_a_verdict_and_the_output_is_exact(tmp_path):
    lines = orders(1200, odd=range(500, 1200, 50))
    log = wrote(tmp_path / "orders.log", lines[:2400])
    whole, state = tmp_path / "whole", tmp_path / "killed"
    command = ["watch", log, *SESSIONS, "--until-idle", "1s", "--all", "--output"]
    writer = grow(log, lines[2400:], pieces=60, pause=0.1)
    kills = killed_at_random([*command, tmp_path / "killed.jsonl"], state, random.Random(5), 1.2)
    writer.join()
    assert kills == 3
    after = ran(*command, tmp_path / "killed.jsonl", state=state)
    once = ran(*command, tmp_path / "whole.jsonl", state=whole)
    assert (after.returncode, once.returncode) == (0, 0), after.stderr + once.stderr
    told, expected = stored(state), stored(whole)
    assert [each["id"] for each in told] == [each["id"] for each in expected]
    assert told == expected
    assert len({each["id"] for each in told}) == len(told)
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert parsed((tmp_path / "whole.jsonl").read_text()) == expected
    assert {each["window"]["key"] for each in told if each["anomalous"]} == {
        f"ord_{number:05d}" for number in range(500, 1200, 50)
    }


def test_every_record_is_in_the_last_revision_of_a_window_of_each_view(tmp_path):
    """sum of window.records over last revisions = records + extra session memberships - unkeyed."""
    lines = orders(700, odd=(600,))
    lines += [f"{line[:24]}INFO idle" for line in lines[100:130]]  # no key
    lines += [f"{line} after ord_{number:05d}" for number, line in enumerate(lines[200:240])]  # two keys
    lines += [
        f"{(START + timedelta(seconds=40 + 31 * n)):%Y-%m-%d %H:%M:%S},900 INFO seen ord_00003"
        for n in range(9)
    ]
    log = wrote(tmp_path / "orders.log", sorted(lines))
    done = ran(
        "watch", log, *SESSIONS, "--until-idle", "0.3s", "--stats", tmp_path / "s.json", state=tmp_path / "s"
    )
    assert done.returncode == 0, done.stderr
    stats = accounts(tmp_path / "s.json")
    revisions = {each["window"]["key"]: each["window"] for each in stored(tmp_path / "s")}  # the last counts
    assert stats["unkeyed"] == 30
    extra = sum(len({word for word in line.split() if word.startswith("ord_")}) == 2 for line in lines)
    assert extra > 30
    total = sum(window["records"] for window in revisions.values())
    assert total == stats["records"] + extra - stats["unkeyed"]
    assert revisions["ord_00003"]["revision"] > 0

    both = ran("watch", log, "--until-idle", "0.3s", state=tmp_path / "b")
    assert both.returncode == 0, both.stderr
    views = defaultdict(dict)
    for each in stored(tmp_path / "b"):
        window = each["window"]
        views[window["kind"]][each["service"], window["key"] or window["start"]] = window["records"]
    assert len(views) == 2
    assert sum(views["time"].values()) == len(lines)


def test_a_session_that_stops_where_others_wait_long_is_judged_when_it_is_overdue(tmp_path):
    """Some are answered after a minute, six timeouts: what never is becomes known then, what is slow is no news."""
    chance = random.Random(1)
    lines = []
    for number in range(1500):
        moment = START + timedelta(seconds=4 * number)
        wait = 60 if number % 40 == 0 else chance.random() * 2
        steps = [(0, "asked"), (0.5, "queued"), (0.5 + wait, "answered"), (1 + wait, "closed")]
        silent = number in {700, 1400}
        lines += [
            (moment + timedelta(seconds=at), f"{text} job-{number:05d}")
            for at, text in steps[: 2 if silent else 4]
        ]
    text = [f"{at:%Y-%m-%d %H:%M:%S},{at.microsecond // 1000:03d} INFO {what}" for at, what in sorted(lines)]
    log = wrote(tmp_path / "jobs.log", text)
    done = ran(
        "watch",
        log,
        "--session-regex",
        r"job-\d+",
        "--until-idle",
        "0.3s",
        "--warmup",
        "1000r",
        state=tmp_path / "s",
    )
    assert done.returncode == 0, done.stderr
    verdicts = stored(tmp_path / "s")
    assert {each["window"]["key"] for each in verdicts if each["anomalous"]} == {"job-00700", "job-01400"}
    last = {each["window"]["key"]: each["window"]["records"] for each in verdicts}
    assert sum(last.values()) == len(text)
    order = [each["window"]["key"] for each in verdicts]
    assert order.index("job-00710") < order.index("job-00700") < order.index("job-00800")
    assert all(
        Counter(order)[f"job-{number:05d}"] == 1 for number in range(400, 1500, 40)
    )  # waited, not revised


def test_a_session_with_a_timeout_of_the_users_own_is_complete_after_that(tmp_path):
    lines = orders(600, odd=())
    moment = START + timedelta(seconds=300)
    stopped = [f"{moment:%Y-%m-%d %H:%M:%S},700 INFO accepted ord_99999"]
    stopped += [
        f"{moment + timedelta(seconds=90):%Y-%m-%d %H:%M:%S},700 INFO {text} ord_99999"
        for text in ("stock checked", "paid", "sent")
    ]
    log = wrote(tmp_path / "orders.log", sorted([*lines, *stopped]))
    ran("watch", log, *SESSIONS, "--until-idle", "0.3s", state=tmp_path / "s")
    told = [each for each in stored(tmp_path / "s") if each["window"]["key"] == "ord_99999"]
    assert [(each["window"]["revision"], each["window"]["records"]) for each in told] == [(0, 1), (1, 4)]
    assert [each["anomalous"] for each in told] == [True, False]


def test_a_dry_run_alerts_nobody_and_says_all_the_rest(tmp_path):
    log = wrote(tmp_path / "shop.log", steady(2000))
    with slack() as (webhook, posted):
        config = wrote(tmp_path / "logad.yaml", ["notifiers:", "  - type: slack", f"    webhook: {webhook}"])
        command = ("watch", log, *MINUTES, "--config", config, "--until-idle", "0.3s")
        done = ran(*command, "--dry-run", state=tmp_path / "s")
        assert (done.returncode, posted) == (0, []), done.stderr
        assert any(each["anomalous"] for each in stored(tmp_path / "s"))
        ran(*command, state=tmp_path / "loud")
        assert posted


def test_from_end_passes_over_what_is_there(tmp_path):
    lines = steady(2000)
    log = wrote(tmp_path / "shop.log", lines[:1000])
    command = ("watch", log, *MINUTES, "--from", "end", "--until-idle", "1s")
    with started(*command, "--stats", tmp_path / "s.json", state=tmp_path / "s") as watch:
        while "shop.log" not in (watch.stderr.readline()):  # it has read the beginning
            assert watch.poll() is None
        time.sleep(0.5)
        grow(log, lines[1000:], pieces=2).join()
        watch.communicate(timeout=30)
    stats = accounts(tmp_path / "s.json")
    assert stats["dropped"] == {"before_start": 1000}
    assert sum(each["window"]["records"] for each in stored(tmp_path / "s")) == 1000


def test_a_second_watch_of_the_same_state_is_refused(tmp_path):
    log, state = wrote(tmp_path / "shop.log", steady(200)), tmp_path / "s"
    with started("watch", log, "--window", "1m", state=state) as first:
        while not first.stderr.readline().startswith(("view", "learning")):
            assert first.poll() is None
        second = ran("watch", log, "--window", "1m", "--until-idle", "0.1s", state=state)
        first.kill()
        first.communicate()
    assert second.returncode == 3
    assert "another process is using this ledger" in second.stderr
    assert "Traceback" not in second.stderr
    assert ran("watch", log, "--window", "1m", "--until-idle", "0.1s", state=state).returncode == 0


def test_standard_input_is_watched_to_its_end(tmp_path):
    done = ran(
        "watch", "-", *MINUTES, state=tmp_path / "s", given="".join(f"{line}\n" for line in steady(2000))
    )
    assert done.returncode == 0, done.stderr
    assert "disk failure" in done.stdout  # the incident, on standard output where nobody else listens
    verdicts = stored(tmp_path / "s")
    assert sum(each["window"]["records"] for each in verdicts) == 2000
    assert sum(each["anomalous"] for each in verdicts) == 1


def test_a_folder_with_logs_of_very_different_size_is_merged_by_time(tmp_path):
    """Verdicts are those of a replay that has all before it, though it is read in pieces."""
    folder = tmp_path / "logs"
    folder.mkdir()
    wrote(folder / "a.log", [f"{line} {'x' * 400}" for line in steady(30_000, broken_at=20_000)])
    wrote(folder / "b.log", steady(30_000, broken_at=None)[::60])
    replayed = ran("backtest", folder, "--window", "5m", "--all", "--format", "jsonl", state=tmp_path / "r")
    done = ran(
        "watch",
        folder,
        "--window",
        "5m",
        "--until-idle",
        "0.3s",
        "--stats",
        tmp_path / "s.json",
        state=tmp_path / "s",
    )
    assert (replayed.returncode, done.returncode) == (0, 0), replayed.stderr + done.stderr
    assert stored(tmp_path / "s") == parsed(replayed.stdout)
    assert "late" not in accounts(tmp_path / "s.json")["notes"]


def test_an_age_counts_from_the_last_record_in_a_replay_and_from_now_in_a_watch(tmp_path):
    log = wrote(tmp_path / "shop.log", steady(3000, broken_at=None))
    options = ("--window", "1m", "--since", "20m", "--stats", tmp_path / "s.json")
    assert ran("backtest", log, *options, state=tmp_path / "a").returncode == 0
    assert accounts(tmp_path / "s.json")["dropped"] == {"out_of_range": 2999 - 20 * 60}
    ran("watch", log, *options, "--until-idle", "0.1s", state=tmp_path / "b")
    assert accounts(tmp_path / "s.json")["dropped"] == {"out_of_range": 3000}


@pytest.mark.server
def test_documents_of_opensearch_are_replayed_and_verdicts_of_a_watch_are_stored_there(
    tmp_path, opensearch_url
):
    lines = steady(2000)
    with closing(OpenSearch(opensearch_url)) as client:
        rows = []
        for number, line in enumerate(lines):
            moment, level, text = f"{line[:10]}T{line[11:19]}Z", *line[20:].split(" ", 1)
            rows += [{"index": {"_index": "shop", "_id": str(number)}}]
            rows += [{"@timestamp": moment, "level": level, "service": "shop", "message": text}]
        body = "".join(json.dumps(row) + "\n" for row in rows)
        assert not client.bulk(body=body, refresh=True)["errors"]
        address = f"opensearch+{opensearch_url}/shop"
        done = ran("backtest", address, *MINUTES, "--format", "jsonl", state=tmp_path / "r")
        assert done.returncode == 0, done.stderr
        (found,) = parsed(done.stdout)
        assert found["service"] == "shop"
        proof = found["reasons"][0]["evidence"][0]
        assert (proof["_index"], proof["_id"]) == ("shop", "1500")

        log = wrote(tmp_path / "shop.log", lines)
        config = wrote(
            tmp_path / "logad.yaml",
            ["sinks:", f"  - {{type: opensearch, url: {opensearch_url}, index: verdicts}}"],
        )
        command = ("watch", log, *MINUTES, "--config", config, "--until-idle", "0.3s")
        for _ in range(2):
            done = ran(*command, state=tmp_path / "s")
            assert done.returncode == 0, done.stderr
        client.indices.refresh(index="verdicts")
        hits = client.search(index="verdicts", body={"query": {"match_all": {}}, "size": 1000})["hits"][
            "hits"
        ]
        told = {hit["_id"]: hit["_source"] for hit in hits}
        expected = {each["id"]: each for each in stored(tmp_path / "s")}
        assert told.keys() == expected.keys()
        assert all(told[id_]["score"] == pytest.approx(each["score"]) for id_, each in expected.items())
