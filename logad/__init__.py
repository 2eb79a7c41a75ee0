"""logad finds what is abnormal in logs, without labels, and says so in words.

The functions here are twins of the commands; they are imported when first asked for.

>>> import logad
>>> [check.name for check in logad.doctor() if not check.ok]
[]
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from logad.api import (
        ack,
        backtest,
        doctor,
        evaluate,
        explain,
        list_incidents,
        mute,
        scan,
        templates,
        train,
        watch,
    )

__version__ = "0.1.0"
__all__ = [
    "ack",
    "backtest",
    "doctor",
    "evaluate",
    "explain",
    "list_incidents",
    "mute",
    "scan",
    "templates",
    "train",
    "watch",
]
_HOMES: Final = {
    "ack": "logad.handling",
    "backtest": "logad.live",
    "doctor": "logad.checkup",
    "evaluate": "logad.evaluation.evaluating",
    "explain": "logad.retelling",
    "list_incidents": "logad.handling",
    "mute": "logad.handling",
    "scan": "logad.scanning",
    "templates": "logad.vocabulary",
    "train": "logad.scanning",
    "watch": "logad.live",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
