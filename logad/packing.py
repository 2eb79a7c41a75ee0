"""Windows and verdicts as the ledger keeps them, and back."""

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from logad.types import AnomalyType, Evidence, Reason, Verdict, WindowKind, WindowRef
from logad.windows import Windows


def packed(windows: Windows) -> bytes:
    """Windows as bytes, without the records behind them and without the vocabulary; `unpacked` reads them."""
    table = io.BytesIO()
    windows.table.write_ipc(table, compression="lz4")
    arrays = io.BytesIO()
    values = {} if windows.values is None else {"values": windows.values}
    np.savez_compressed(
        arrays,
        allow_pickle=False,
        kind=np.asarray(str(windows.kind)),
        table=np.frombuffer(table.getvalue(), dtype=np.uint8),
        offsets=windows.offsets,
        events=windows.events,
        times=windows.times,
        **values,
    )
    return arrays.getvalue()


def unpacked(data: bytes) -> Windows:
    """What `packed` wrote: windows with an empty vocabulary, to be joined to ones that have it."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        events = arrays["events"]
        return Windows(
            WindowKind(str(arrays["kind"])),
            pl.read_ipc(io.BytesIO(arrays["table"].tobytes())),
            arrays["offsets"],
            events,
            arrays["times"],
            np.full(len(events), -1, dtype=np.int64),
            (),
            pl.DataFrame(),
            values=arrays.get("values"),
        )


def verdict_from(told: Mapping[str, Any]) -> Verdict:
    """The verdict that `Verdict.as_dict` told, numbers rounded as it told them."""
    window = told["window"]
    model = told["model"] or {}
    return Verdict(
        id=told["id"],
        service=told["service"],
        window=WindowRef(
            kind=WindowKind(window["kind"]),
            key=window["key"],
            start=moment(window["start"]),
            end=moment(window["end"]),
            first_line=window["first_line"],
            last_line=window["last_line"],
            records=window["records"],
            index=window.get("index"),
            revision=window["revision"],
        ),
        learning=told["learning"],
        score=told["score"],
        tail_probability=told["tail_probability"],
        detectors=told["detectors"],
        reasons=tuple(_reason_from(reason) for reason in told["reasons"]),
        model_id=model.get("id"),
        model_version=model.get("version"),
    )


def _reason_from(told: Mapping[str, Any]) -> Reason:
    evidence = tuple(
        Evidence(each["_index"], None, each["text"], each["_id"])
        if "_id" in each
        else Evidence(each["source"], each["line"], each["text"])
        for each in told["evidence"]
    )
    return Reason(
        told["detector"],
        AnomalyType(told["type"]),
        told["text"],
        told["template_id"],
        told["template"],
        told["expected"],
        told["actual"],
        evidence,
    )


def moment(text: str | None) -> datetime | None:
    """The time that `iso` wrote."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
