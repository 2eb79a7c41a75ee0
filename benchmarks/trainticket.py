"""What a person is told of the second day of TrainTicket when the first is its baseline: all incidents.

    LOGAD_DATA=../shared/data python benchmarks/trainticket.py [--window 1m] [--replay]

Pod logs of a shop of 27 services, recorded only around faults that were put in, most of which leave no trace
in the text: there is no label worth trusting, so what is printed is to be read. Each incident has its time,
service, tier, how many windows it holds, and the first reason of its strangest window. With `--replay` both
days go through `backtest`, where all is judged by what came before it, and each day has its count.
"""

import argparse
import os
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from logad import batch, incidents
from logad.live import backtest
from logad.scanning import scan
from logad.types import Incident, Severity, Verdict

_NEVER = datetime(1, 1, 1, tzinfo=UTC)
_DAYS = ("trainticket-2023-01-29.ndjson.gz", "trainticket-2023-01-30.ndjson.gz")


def incidents_of(verdicts: Iterable[Verdict]) -> list[Incident]:
    """The incidents that these anomalous windows make up, each taken in when it closes."""
    book: dict[str, Incident] = {}
    timed = sorted((verdict for verdict in verdicts if verdict.window.end), key=_end)
    for now, found in groupby(timed, key=_end):
        for change in incidents.group(list(book.values()), found, now):
            book[change.incident.id] = change.incident
    return list(book.values())


def _end(verdict: Verdict) -> datetime:
    return verdict.window.end or _NEVER


def table(title: str, found: list[Incident]) -> None:
    """Print the incidents in order of time, and how many of which tier."""
    print(f"{title}: {len(found)} incidents of {sum(each.verdicts for each in found)} windows")
    for each in sorted(found, key=lambda one: (one.opened, one.service)):
        print(
            f"  {each.opened:%d %H:%M}  {each.severity:<7}{each.verdicts:>4}  {each.service:<26} {each.title}"
        )
    tiers = Counter(each.severity for each in found)
    told = ", ".join(f"{tiers[tier]} {tier}" for tier in reversed(Severity) if tiers[tier])
    print(f"  in all: {told or 'none'}\n")


def main() -> None:
    """Print the table of incidents."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--window", default="1m", help="span of the windows; 'default' lets it be chosen")
    parser.add_argument("--replay", action="store_true", help="both days as a backtest, in place of a scan")
    options = parser.parse_args()
    folder = Path(os.environ.get("LOGAD_DATA", "../shared/data")) / "k8s"
    first, second = (str(folder / day) for day in _DAYS)
    asked = {} if options.window == "default" else {"window": options.window}
    if options.replay:
        verdicts = backtest(first, second, **asked).verdicts
        found = sorted(incidents_of(verdicts), key=lambda one: one.opened)
        for day, opened in groupby(found, key=lambda one: one.opened.date()):
            table(f"backtest, {day}", list(opened))
        return
    result = scan(second, baseline=[first], observer=batch.QUIET, **asked)
    table(f"scan, {result.windowing.describe()}", incidents_of(result.anomalous))


if __name__ == "__main__":
    main()
