"""logad finds what is abnormal in logs, without labels, and says so in words.

The functions here are twins of the commands; they are imported when first asked for.

>>> import logad
>>> [check.name for check in logad.doctor() if not check.ok]
[]
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logad.api import ack, backtest, doctor, explain, list_incidents, mute, scan, templates, train, watch

__version__ = "0.1.0"
__all__ = [
    "ack",
    "backtest",
    "doctor",
    "explain",
    "list_incidents",
    "mute",
    "scan",
    "templates",
    "train",
    "watch",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        from logad import api  # noqa: PLC0415  (numpy and polars take their time)

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
