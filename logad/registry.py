"""Finds the parts: modules of the package's own folders, and entry points of installed packages.

A built-in part is one module of `logad.detectors`, `logad.sources`, `logad.notify` or `logad.sinks` that
defines one class whose `name` is the module's name. A part of another package is an entry point of the group
`logad.detectors`, `logad.sources`, `logad.notifiers` or `logad.sinks`, named like the part.
"""

import importlib
import importlib.metadata
import importlib.util
import pkgutil
from typing import Any, Final, Literal

from logad import contracts
from logad.errors import ConfigError

PartKind = Literal["detectors", "sources", "notifiers", "sinks"]

_PACKAGES: Final[dict[PartKind, str]] = {
    "detectors": "logad.detectors",
    "sources": "logad.sources",
    "notifiers": "logad.notify",
    "sinks": "logad.sinks",
}
_CONTRACTS: Final[dict[PartKind, type]] = {
    "detectors": contracts.Detector,
    "sources": contracts.Source,
    "notifiers": contracts.Notifier,
    "sinks": contracts.Sink,
}


def names(kind: PartKind) -> list[str]:
    """The names of all parts of a kind, built-in ones first.

    >>> "pca" in names("detectors")
    True
    """
    package = importlib.import_module(_PACKAGES[kind])
    built_in = sorted(
        module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")
    )
    plugged = sorted(point.name for point in _entry_points(kind))
    return built_in + [name for name in plugged if name not in built_in]


def part(kind: PartKind, name: str) -> Any:  # noqa: ANN401  (a class of the kind's contract)
    """The class of a part, imported only now.

    Raises:
        ConfigError: no part of this kind has the name, or its class does not keep the contract.
    """
    contract = _CONTRACTS[kind]
    package = _PACKAGES[kind]
    if not name.startswith("_") and name.isidentifier() and importlib.util.find_spec(f"{package}.{name}"):
        module = importlib.import_module(f"{package}.{name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, contract) and vars(value).get("name") == name:
                return value
        raise ConfigError(
            module.__name__, "no part in this module", f"a {contract.__name__} whose name is {name!r}"
        )
    for point in _entry_points(kind):
        if point.name == name:
            value = point.load()
            if not (isinstance(value, type) and issubclass(value, contract)):
                raise ConfigError(
                    f"entry point {point.group}:{name}",
                    f"{value!r}",
                    f"a subclass of logad.contracts.{contract.__name__}",
                    "mend or remove the package that registers it",
                )
            return value
    raise ConfigError(kind, f"no part is called {name!r}", "one of " + ", ".join(names(kind)))


def _entry_points(kind: PartKind) -> list[importlib.metadata.EntryPoint]:
    return list(importlib.metadata.entry_points(group=f"logad.{kind}"))
