"""Sources: one file per place that logs come from."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Final

from logad import registry
from logad.contracts import Counters, PartConfig, Source
from logad.errors import InputError
from logad.sources._naming import file_sources

_SCHEME: Final = re.compile(r"^(?P<name>[A-Za-z][A-Za-z0-9_]*)(?:\+[A-Za-z]+)?:(?P<slashes>//)?")


def open_sources(
    specs: Sequence[str], telemetry: Counters, configs: Mapping[str, PartConfig] | None = None
) -> tuple[list[Source], list[InputError]]:
    """The sources that these specifications name, and what is wrong with the others; nothing is raised.

    Files given by name that are rotations of one log become one source; two sources with streams of equal
    names get the folders that tell them apart before these names.

    Args:
        specs: paths, globs, folders, `-`, `opensearch+http://HOST:PORT/INDEX`, `NAME:...` of a plug-in.
        telemetry: what the sources count in.
        configs: the configuration of each kind of source, by its name; the defaults where missing.

    >>> from logad.telemetry import Telemetry
    >>> opened, faults = open_sources(["-", "/no/such.log"], Telemetry())
    >>> [source.name for source in opened], str(faults[0])[:36]
    (['stdin'], '/no/such.log: no such file or folder')
    """
    faults: list[InputError] = []
    kinds: dict[str, str] = {}
    for spec in dict.fromkeys(specs):
        try:
            kinds[spec] = _kind(spec)
        except InputError as fault:
            faults.append(fault)
    opened: dict[str, Source] = {}
    files = [spec for spec, kind in kinds.items() if kind == "file"]
    opened |= file_sources(files, telemetry, faults)
    for spec, kind in kinds.items():
        if kind != "file":
            try:
                part = registry.part("sources", kind)
                opened[spec] = part(spec, (configs or {}).get(kind) or part.Config(), telemetry)
            except InputError as fault:
                faults.append(fault)
    return [opened[spec] for spec in kinds if spec in opened], faults


def _kind(spec: str) -> str:
    if spec == "-":
        return "stdin"
    match = _SCHEME.match(spec)
    if match and not os.path.lexists(spec):
        known = registry.names("sources")
        if match["name"] in known:
            return match["name"]
        if match["slashes"]:
            raise InputError(
                f"{match['name']}://...",
                "no source has this scheme",
                "a path, - or one of " + ", ".join(name for name in known if name not in {"file", "stdin"}),
                "install the package that brings it",
            )
    return "file"
