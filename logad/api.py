"""The public functions, twins of the commands, with what they give; `import logad` has them one by one."""

from logad.batch import Observer
from logad.checkup import doctor
from logad.evaluation.evaluating import EvaluationResult, evaluate
from logad.handling import ack, list_incidents, mute
from logad.live import BacktestResult, WatchResult, backtest, watch
from logad.retelling import explain
from logad.scanning import ScanResult, TrainResult, scan, train
from logad.vocabulary import TemplatesResult, templates

__all__ = [
    "BacktestResult",
    "EvaluationResult",
    "Observer",
    "ScanResult",
    "TemplatesResult",
    "TrainResult",
    "WatchResult",
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
