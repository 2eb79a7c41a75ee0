"""Makes the file sources of a run: one for the rotations of a log, and no two streams of one name."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from logad.contracts import Counters, PartConfig
from logad.errors import InputError
from logad.sources._streams import literal_root, rotation
from logad.sources.file import FileSource


def file_sources(
    specs: Sequence[str], telemetry: Counters, faults: list[InputError]
) -> dict[str, FileSource]:
    """The source of each specification, less those that another one covers; faults are appended."""
    sources: dict[str, FileSource] = {}
    streams: dict[str, list[str]] = {}
    for spec, also in _joined(specs).items():
        source = FileSource(spec, PartConfig(), telemetry, also=also)
        try:
            streams[spec] = source.streams()
        except InputError as fault:
            faults.append(fault)
        else:
            sources[spec] = source
    return _told_apart(sources, streams, telemetry)


def _joined(specs: Sequence[str]) -> dict[str, list[str]]:
    """Rotations of one log, as a shell expands `x.log*`, under the name of the live file, if it is there."""
    groups: dict[str, list[str]] = {}
    seen: set[str] = set()
    for spec in specs:
        real = os.path.realpath(spec)
        if real in seen:
            continue
        seen.add(real)
        path = Path(spec)
        key = str(path.parent / rotation(path.name)[0]) if path.is_file() else spec
        groups.setdefault(key, []).append(spec)
    joined = {}
    for key, members in groups.items():
        first = key if key in members else members[0]
        joined[first] = [spec for spec in members if spec != first]
    return joined


def _told_apart(
    sources: dict[str, FileSource], streams: dict[str, list[str]], telemetry: Counters
) -> dict[str, FileSource]:
    counts = Counter(name for names in streams.values() for name in names)
    shared = [spec for spec in sources if any(counts[name] > 1 for name in streams[spec])]
    if not shared:
        return sources
    roots = {spec: _root(spec) for spec in shared}
    common = os.path.commonpath(roots.values())
    taken: set[str] = set()
    for spec in shared:
        inside = os.path.relpath(roots[spec], common).replace(os.sep, "/")
        prefix = "" if inside == "." else inside + "/"
        if taken & {prefix + name for name in streams[spec]}:
            telemetry.notes["source_named_twice"] += 1
            del sources[spec]
            continue
        sources[spec].set_apart(prefix)
        taken |= {prefix + name for name in streams[spec]}
    return sources


def _root(spec: str) -> str:
    path = Path(spec)
    if path.is_dir():
        return str(path.resolve())
    if not path.exists() and glob.has_magic(spec):
        path = literal_root(spec) / "*"
    return str(path.parent.resolve())
