"""Says which windows are judged, and what taught before: all by themselves, or the later by the earlier."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.cases import Case
from logad.errors import UsageError
from logad.judge import Judge
from logad.runs import Warmup
from logad.types import WindowKind
from logad.windows import Windows

Flags = NDArray[np.bool_]
Rows = NDArray[np.int64]

MOST_FOLDS: Final = 100


@dataclass(frozen=True, slots=True)
class Round:
    """Some windows of a case, and who judges them."""

    name: str
    rows: Rows  # of the case's windows, in order
    judge_of: Callable[[Windows], Judge]  # who judges these windows, changed or not


def rounds(case: Case, warmup: Warmup, folds: int | None) -> tuple[tuple[Round, ...], str]:
    """What is judged by what, each window in one round at most, and how that is told.

    Raises:
        UsageError: nothing is left to learn from or to judge.
    """
    if folds is not None:
        return _folds(case, folds)
    if warmup.asked:
        many = taught_records(case.corpus.records, warmup)
        teaching, rest = split(case.windows, case.corpus.records, many)
        judge = case.learned(teaching)
        told = f"the first {many:,} records teach; windows that begin later are judged"
        return (Round("", rest, _always(judge)),), told
    everything = np.arange(len(case.windows))
    if case.stored is None and case.baseline is None:
        return (Round("", everything, case.learned),), "the logs are judged by themselves"
    judge = case.judge()
    vouched = ", which is vouched for" if case.trusted else ""
    told = "a stored model judges" if case.model else f"a baseline teaches{vouched}"
    return (Round("", everything, _always(judge)),), told


def _always(judge: Judge) -> Callable[[Windows], Judge]:
    return lambda _windows: judge


def _folds(case: Case, folds: int) -> tuple[tuple[Round, ...], str]:
    """The records in parts of one size: each but the first is judged by all those before it."""
    if not 1 <= folds <= MOST_FOLDS:
        raise UsageError("--folds", str(folds), f"a number from 1 to {MOST_FOLDS}")
    records = case.corpus.records
    bounds = [records.height * part // (folds + 1) for part in range(folds + 2)]
    found = []
    for fold in range(1, folds + 1):
        teaching, rest = split(case.windows, records, bounds[fold])
        later = split(case.windows, records, bounds[fold + 1])[1] if fold < folds else rest[:0]
        judge = case.learned(teaching)
        here = np.setdiff1d(rest, later)
        found.append(Round(f"fold {fold}, {bounds[fold]:,} teach", here, _always(judge)))
    told = f"each of {folds} parts of the records is judged by all that came before it"
    return tuple(found), told


def split(windows: Windows, records: pl.DataFrame, many: int) -> tuple[Windows, Rows]:
    """Windows as they stood after so many records, and which ones begin later.

    Raises:
        UsageError: it leaves nothing to learn from or nothing to judge.
    """
    past = (windows.rows < many) & (windows.rows >= 0)
    filled = np.diff(windows.offsets) > 0
    began = np.bincount(windows.owner[past], minlength=len(windows)) > 0
    if windows.kind is WindowKind.TIME and not filled.all() and many < records.height:
        moment = records["time"].dt.epoch("us")[many]
        began |= ~filled & (windows.table["start"].dt.epoch("us") <= moment).to_numpy()
    teaching, rest = _standing(windows, past).take(np.flatnonzero(began)), np.flatnonzero(~began)
    if not len(teaching) or not len(rest):
        found = f"{len(teaching):,} windows to learn from and {len(rest):,} to judge"
        raise UsageError("--warmup or --folds", found, "some of both")
    return teaching, rest


def taught_records(records: pl.DataFrame, first: Warmup) -> int:
    """How many records only teach."""
    if first.share is not None:
        return round(first.share * records.height)
    if first.records is not None:
        return min(first.records, records.height)
    times = records["time"].forward_fill().dt.epoch("us")
    began = times.drop_nulls()
    if not len(began):
        raise UsageError("--warmup", "no record has a time", "records (10000r) or a share (50%)")
    later = (times >= began[0] + (first.seconds or 0) * 1e6).fill_null(value=False)
    return int(later.arg_max() or 0) if later.any() else records.height


def _standing(windows: Windows, past: Flags) -> Windows:
    """The same windows without the events that had not come yet."""
    lengths = np.bincount(windows.owner[past], minlength=len(windows))
    return replace(
        windows,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        events=windows.events[past],
        times=windows.times[past],
        rows=windows.rows[past],
        until=None,
        values=None if windows.values is None else windows.values[past],
    )
