"""Scan a log from Python and print what stands out; without an argument, a log that is made here."""

import sys
import tempfile
from pathlib import Path

from logad import api


def made(folder: Path) -> Path:
    """A small web service's log with two minutes in which its database is away."""
    path = folder / "web.log"
    with path.open("w", encoding="utf-8") as file:
        for second in range(7200):
            time = f"2024-05-01 {10 + second // 3600}:{second // 60 % 60:02}:{second % 60:02}"
            file.write(f"{time} INFO request {second} served in {20 + second * 7 % 30} ms\n")
            if 5000 <= second < 5120 and second % 4 == 0:
                file.write(f"{time} ERROR cannot reach database at 10.0.0.{second % 5}: connection refused\n")
    return path


with tempfile.TemporaryDirectory() as name:
    log = Path(sys.argv[1]) if len(sys.argv) > 1 else made(Path(name))
    result = api.scan(log, state_dir=name)
    print(f"{result.summary.windows} windows judged, {len(result.anomalous)} anomalous")
    for verdict in result.anomalous[:5]:
        reason = verdict.reasons[0]
        print(f"{verdict.score:.2f} {verdict.severity} {verdict.window.start:%H:%M}: {reason.text}")
        for evidence in reason.evidence:
            print(f"    {evidence.source}:{evidence.line}: {evidence.text}")
