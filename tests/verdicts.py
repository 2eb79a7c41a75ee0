"""Verdicts and incidents to show: of a storage cluster, of a shop, of an index, and hostile ones."""

from datetime import UTC, datetime, timedelta

from logad.types import AnomalyType, Evidence, Incident, Reason, Severity, Verdict, WindowKind, WindowRef

HDFS_START = datetime(2008, 11, 9, 20, 35, 18, tzinfo=UTC)
SHOP_START = datetime(2024, 3, 4, 2, 55, tzinfo=UTC)


def block(number: int, score: float, hours: float = 4.45) -> Verdict:
    key = f"blk_-160899968791986290{number}"
    stored = Reason(
        "normal_core",
        AnomalyType.COLLECTIVE,
        f"This session has 2 of “Received block <*> of size <NUM> from <IP>”; normal sessions have 3 (seen in {number} of 11,501 sessions).",
        "t91c0",
        "Received block <*> of size <NUM> from <IP>",
        "3",
        "2",
        (
            Evidence(
                "HDFS.log",
                3 + number,
                f"081109 203518 143 INFO dfs.DataNode$DataXceiver: Receiving block {key} src: /10.250.19.102:54106 dest: /10.250.19.102:50010",
            ),
            Evidence(
                "HDFS.log",
                201844 + number,
                f"081110 010244 19 INFO dfs.FSNamesystem: BLOCK* ask 10.250.14.38:50010 to delete {key}",
            ),
        ),
    )
    order = Reason(
        "rare_sequences",
        AnomalyType.COLLECTIVE,
        "“Exception in receiveBlock for block <*>” followed “Receiving block <*>”, an order no normal session has.",
        "t77aa",
        "Exception in receiveBlock for block <*> <*>",
        "",
        "an error after 4 records",
        (
            Evidence(
                "HDFS.log",
                5120,
                f"081109 213024 2091 WARN dfs.DataNode$DataXceiver: 10.251.43.210:50010:Got exception while serving {key} to /10.251.43.210:\njava.io.IOException: Connection reset by peer\n\tat sun.nio.ch.FileDispatcher.write0(Native Method)\n\tat sun.nio.ch.SocketDispatcher.write(SocketDispatcher.java:29)",
            ),
        ),
    )
    window = WindowRef(
        WindowKind.SESSION,
        key,
        HDFS_START,
        HDFS_START + timedelta(hours=hours),
        3 + number,
        201844 + number,
        24,
        17 + number,
    )
    return Verdict(
        f"6f1c2a9be04d771{number}",
        "datanode",
        window,
        False,
        score,
        2.1e-5,
        {"normal_core": score, "rare_sequences": 0.5},
        (stored, order),
        "m-4be1",
        4,
    )


def silence(score: float = 0.83) -> Verdict:
    reason = Reason(
        "volume",
        AnomalyType.CONTEXTUAL,
        "“payment <*> accepted” fell silent: on Mondays at this hour it comes 412 times in 5 minutes.",
        "t03f2",
        "payment <*> accepted",
        "350 to 470",
        "0",
        (
            Evidence(
                "shop/payments.log",
                88121,
                "2024-03-04T02:54:59.812Z INFO payments payment 7fe1-22 accepted in 34 ms",
            ),
        ),
    )
    window = WindowRef(
        WindowKind.TIME, None, SHOP_START, SHOP_START + timedelta(minutes=5), 88100, 88121, 22, 288
    )
    return Verdict("a90b77e1c3d2f004", "payments", window, False, score, 3.4e-4, {"volume": score}, (reason,))


def document(score: float = 0.62) -> Verdict:
    reason = Reason(
        "new_template",
        AnomalyType.POINT,
        "A message never seen before: “disk <*> is failing: <NUM> reallocated sectors”.",
        "t5510",
        "disk <*> is failing: <NUM> reallocated sectors",
        "",
        "",
        (Evidence("logs-2024.03.04", None, "disk sdb is failing: 812 reallocated sectors", "kXc1uI4B2vJ"),),
    )
    window = WindowRef(
        WindowKind.TIME, None, SHOP_START, SHOP_START + timedelta(minutes=5), None, None, 310, 12
    )
    return Verdict(
        "77c01de5b1aa9f3e", "kernel", window, False, score, 0.004, {"new_template": score}, (reason,)
    )


def calm() -> Verdict:
    window = WindowRef(WindowKind.RECORDS, None, None, None, 1, 100, 100, 0)
    return Verdict("0000aaaa1111bbbb", "app", window, False, 0.31, 0.38, {"normal_core": 0.31}, ())


def incident(worst: Verdict, state: str = "open", verdicts: int = 1, minutes: int = 0) -> Incident:
    opened = worst.window.start or SHOP_START
    title = worst.reasons[0].text if worst.reasons else "stranger than usual"
    severity = Severity.of(worst.score)
    return Incident(
        f"inc-{worst.id}",
        "f1",
        worst.service,
        state,
        severity,
        title,
        opened,
        opened + timedelta(minutes=minutes),
        verdicts,
        worst,
    )


def hostile(text: str) -> Verdict:
    """The text wherever a log could put one."""
    reason = Reason(
        "new_template",
        AnomalyType.POINT,
        text,
        "t0",
        text,
        text,
        text,
        (Evidence(text, 7, text), Evidence(text, None, text, text)),
    )
    window = WindowRef(WindowKind.SESSION, text, HDFS_START, HDFS_START, 7, 7, 1, 0)
    return Verdict(
        "deadbeef00000000", text, window, False, 0.97, 1e-6, {"new_template": 0.97}, (reason, reason, reason)
    )
