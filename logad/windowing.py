"""Cuts mined records into windows: spans of time, runs of records, sessions; at once or as they come."""

import io
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.assembling import assembled, grouped, no_windows
from logad.errors import InputError
from logad.keys import session_keys
from logad.measuring import Measures, measured
from logad.resting import Rested, Resting
from logad.spanning import MARK, by_window, coded, found, pairs
from logad.straying import stray
from logad.telemetry import Telemetry
from logad.types import Template, WindowKind
from logad.windows import NO_TIME, Texts, Windowing, Windows

LONGEST_SILENCE: Final = 1_000
"""Empty windows of a service judged one after another; the rest of a longer silence is only counted."""
REVISIT_TIMEOUTS: Final = 24
"""A session that goes on within so many timeouts is judged again as a whole; later, as a new one."""
FEWEST_RESTING: Final = 1_000
"""Sessions that were judged are put to rest when they have so many records together."""

_MICROSECONDS: Final = 1_000_000
_NEEDED: Final = ("time", "service", "stream", "line", "lines", "template")
"""What cutting looks at."""
_AT_ONCE: Final = 1 << 19  # records whose texts are looked at together


class Telling(Texts, Protocol):
    """Texts of records that also know the numbers in them."""

    def measures(
        self, places: NDArray[np.int64], codes: NDArray[np.int32], vocabulary: tuple[Template, ...]
    ) -> Measures | None:
        """What the records at these places, of these templates, tell, as `measuring.measured` would."""
        ...


def cut(
    records: pl.DataFrame,
    windowing: Windowing,
    vocabulary: tuple[Template, ...],
    telemetry: Telemetry | None = None,
    texts: Telling | None = None,
) -> Windows:
    """All windows of a finite input, ordered by first record (time windows: by span, then service).

    The records may have a column `place` instead of `raw`: `texts` then tells what they say.

    A session ends with the input, whatever its timeout. In windows of time a record whose time is far from
    all others is with the one above it, as if it had none; it is counted as `stray_time`.

    Raises:
        InputError: time windows are asked for and no record has a time.
    """
    telemetry = telemetry or Telemetry()
    windower = Windower(replace(windowing, timeout_seconds=None), telemetry)
    if windowing.kind is WindowKind.TIME and (few := int((far := stray(records["time"])).sum())):
        telemetry.notes["stray_time"] += few
        records = records.with_columns(pl.when(~far).then(pl.col("time")))
    keyed = windowing.kind is WindowKind.SESSION
    needed = records.select(*(["raw"] if keyed and texts is None else []), *_NEEDED).with_row_index("_place")
    if keyed and texts is not None:
        for begin in range(0, records.height, _AT_ONCE):
            raw = texts.raw(records["place"].slice(begin, _AT_ONCE).to_numpy())
            windower.push(needed.slice(begin, _AT_ONCE).with_columns(raw.alias("raw")), without="raw")
    else:
        windower.push(needed, without="raw" if keyed else None)
    windows = windower.close(vocabulary, None, final=True)
    values = _measured(records, vocabulary, texts)
    if values is not None and not _in_order(windows.rows, records.height):
        values = values.take(windows.rows, axis=0)
    return replace(windows, records=records, texts=texts, values=values)


class Windower:
    """Holds the records of windows that are still open; knows when one is complete.

    Records are released in order of time once the watermark has passed them, so that what is judged does not
    depend on how the input was cut into pieces. A record older than what was released is kept all the same:
    it joins the oldest window of its service that is still open, and is counted as `late`.
    """

    def __init__(self, windowing: Windowing, telemetry: Telemetry) -> None:
        self.windowing = windowing
        self._telemetry = telemetry
        self._waiting: list[pl.DataFrame] = []  # not yet released
        self._open: pl.DataFrame | None = None  # released, in windows not yet closed
        self._released = NO_TIME  # the last watermark, microseconds
        self._first_spans: dict[str, int] = {}  # time windows: service -> its first span
        self._next_span: int | None = None  # time windows: the first span that is not closed
        self._silent: dict[str, int] = {}  # time windows: service -> empty windows in a row
        self._revisions: dict[str, int] = {}  # sessions: key -> how often it was judged, less one
        self._resting = Resting()  # sessions
        self._held: dict[str, int] = {}  # sessions: key -> when it will be complete, microseconds
        self.outwaited: dict[tuple[str, int], int] = {}
        """Sessions that the last `close` gave out after they were held: key and revision -> until when."""

    def push(self, records: pl.DataFrame, *, without: str | None = None) -> None:
        """Take records with their template codes, in the order of their stream; a column may be dropped."""
        if records.is_empty():
            return
        if self.windowing.kind is WindowKind.SESSION:
            keys = session_keys(records["raw"], self.windowing)
            records = records.with_columns(keys.alias("key"))
            self._telemetry.unkeyed += int((keys.list.len() == 0).sum())
            records = records.filter(pl.col("key").list.len() > 0).explode("key")
        if not records.is_empty():
            self._waiting.append(records if without is None else records.drop(without))

    def close(
        self, vocabulary: tuple[Template, ...], watermark: int | None, *, final: bool = False
    ) -> Windows:
        """The windows that are complete now that no record before `watermark` (microseconds) will come.

        With `final` all of them are, in order of first record. None as a watermark releases what has come.
        """
        self._rest()
        self.outwaited = {}
        self._release(watermark, final=final)
        if self._open is None:
            return no_windows(self.windowing.kind, vocabulary)
        close = {
            WindowKind.TIME: self._close_spans,
            WindowKind.RECORDS: self._close_runs,
            WindowKind.SESSION: self._close_sessions,
        }[self.windowing.kind]
        windows = close(vocabulary, final=final)
        return replace(windows, values=_measured(windows.records, vocabulary, None))

    def resumed(self) -> dict[str, int]:
        """Sessions that went on after `close` gave them out: key -> the first moment since, microseconds."""
        if self._open is None or "_judged" not in self._open.columns:
            return {}
        since = pl.col("_judged").reverse().cum_max().reverse().over("key").not_()
        later = self._open.filter(pl.col("_judged").any().over("key") & since)
        return dict(later.group_by("key").agg(pl.col(MARK).first()).iter_rows())

    def hold(self, key: str, until: int) -> None:
        """Take back a session that `close` gave out: it is complete at `until` unless it goes on before.

        `until` is at most REVISIT_TIMEOUTS timeouts after its last record.
        """
        self._held[key] = until
        self.undo(key)

    def undo(self, key: str) -> None:
        """The last revision of a session was none, for it goes on."""
        if key in self._revisions:
            self._revisions[key] -= 1

    def rested(self) -> Rested:
        """What changed since the last call in the sessions at rest, for `restored`."""
        return self._resting.changes()

    def state(self) -> bytes:
        """What is open, for `restored` in another process."""
        frames = [*([self._open] if self._open is not None else []), *self._waiting]
        head = {
            "windowing": self.windowing.as_dict(),
            "released": self._released,
            "first_spans": self._first_spans,
            "next_span": self._next_span,
            "silent": self._silent,
            "revisions": self._revisions,
            "held": self._held,
            "opened": self._open is not None,
            "frames": len(frames),
        }
        parts = [json.dumps(head).encode()]
        for frame in frames:
            sink = io.BytesIO()
            frame.write_ipc(sink, compression="lz4")
            parts.append(sink.getvalue())
        return b"".join(len(part).to_bytes(8, "big") + part for part in parts)

    @classmethod
    def restored(
        cls,
        windowing: Windowing,
        telemetry: Telemetry,
        state: bytes,
        resting: Iterable[tuple[int, bytes]] = (),
    ) -> "Windower":
        """Take back what `state` gave, and the pieces that `rested` told and did not tell to be gone."""
        parts = []
        while state:
            size = int.from_bytes(state[:8], "big")
            parts.append(state[8 : 8 + size])
            state = state[8 + size :]
        head: dict[str, Any] = json.loads(parts[0])
        frames = [pl.read_ipc(io.BytesIO(part)) for part in parts[1:]]
        self = cls(windowing, telemetry)
        self._released = head["released"]
        self._first_spans = head["first_spans"]
        self._next_span = head["next_span"]
        self._silent = head["silent"]
        self._revisions = head["revisions"]
        self._held = head["held"]
        if head["opened"]:
            self._open = frames.pop(0)
        self._waiting = frames
        awake = set(self._open["key"]) if self._open is not None and "key" in self._open.columns else set()
        self._resting = Resting.restored(resting, awake)
        return self

    def _release(self, watermark: int | None, *, final: bool) -> None:
        """Move waiting records up to the watermark to the open ones, in order of time."""
        if not self._waiting:
            self._advance(watermark)
            return
        waiting = pl.concat(self._waiting)
        moment = pl.col("time").dt.epoch("us")
        if waiting["time"].has_nulls():
            moment = moment.forward_fill().over("stream").fill_null(NO_TIME)
        waiting = waiting.with_columns(moment.alias(MARK))
        in_order = self.windowing.kind is WindowKind.RECORDS  # of input: none of these spans two streams
        if watermark is not None and not in_order:
            waiting = waiting.sort(MARK, "stream", maintain_order=True)
        if watermark is None or final or in_order:
            ready, self._waiting = waiting, []
        else:
            ready = waiting.filter(pl.col(MARK) <= watermark)
            rest = waiting.filter(pl.col(MARK) > watermark).drop(MARK)
            self._waiting = [] if rest.is_empty() else [rest]
        late = ready.filter((pl.col(MARK) < self._released) & pl.col("time").is_not_null()).height
        if late:
            self._telemetry.notes["late"] += late
        ready = ready.with_columns(pl.col(MARK).cum_max().clip(lower_bound=self._released))
        woken = self._resting.wake(ready["key"].unique()) if "key" in ready.columns else []
        for records in woken:
            told = records.filter(pl.col("_judged")).group_by("key").agg(pl.col("_revision").last())
            self._revisions |= dict(told.iter_rows())
        parts = [
            *(records.drop("_revision") for records in woken),
            *([] if self._open is None else [self._open]),
        ]
        self._open = pl.concat([*parts, ready], how="diagonal")
        self._advance(watermark)

    def _advance(self, watermark: int | None) -> None:
        if watermark is not None:
            self._released = max(self._released, watermark)
        elif self._open is not None and not self._open.is_empty():
            self._released = max(self._released, int(self._open[MARK][-1]))

    # Time windows ---------------------------------------------------------------------------------

    def _close_spans(self, vocabulary: tuple[Template, ...], *, final: bool) -> Windows:
        records = self._open if self._open is not None else pl.DataFrame()
        span = round((self.windowing.span_seconds or 0) * _MICROSECONDS)
        if not records.is_empty():
            if self._next_span is None and records[MARK].max() == NO_TIME:
                raise InputError(
                    "--window",
                    "no record has a time",
                    "logs with times, or --window-records",
                    "say where the time stands with --time-format",
                )
            time = pl.col("time").dt.epoch("us").fill_null(pl.col(MARK))
            records = records.with_columns((time // span).alias("_span"))
            if self._next_span is None:
                self._next_span = _whole(records.filter(pl.col(MARK) != NO_TIME)["_span"].min())
            records = records.with_columns(pl.col("_span").clip(lower_bound=self._next_span))
        if self._next_span is None:
            return no_windows(self.windowing.kind, vocabulary)
        end = self._released // span  # spans before this one are complete
        if final and not records.is_empty():
            end = max(end, _whole(records["_span"].max()) + 1)
        if final:
            end = max(end, self._next_span)
        closed = records
        if not records.is_empty():
            over = records["_span"] < end
            if not over.all():
                closed = records.filter(over)
            self._open = records.filter(~over).drop("_span")
        first, self._next_span = self._next_span, max(self._next_span, end)
        names, services = coded(closed)
        spans = closed["_span"].to_numpy() if len(services) else services
        table = self._span_table(pairs(spans, services, names), first, end).with_row_index("_window")
        window = found(table, spans, services, names)
        table = table.with_columns(
            pl.from_epoch(pl.col("_span") * span, "us").dt.replace_time_zone("UTC").alias("start"),
            pl.from_epoch((pl.col("_span") + 1) * span, "us").dt.replace_time_zone("UTC").alias("end"),
        )
        return assembled(self.windowing.kind, table, by_window(closed, window), vocabulary)

    def _span_table(self, seen: Iterable[tuple[int, str]], first: int, end: int) -> pl.DataFrame:
        """One row per service and span from `first` until `end`, for services seen by then."""
        present: dict[int, set[str]] = {}
        for span, service in seen:
            present.setdefault(span, set()).add(service)
            self._first_spans[service] = min(span, self._first_spans.get(service, span))
        rows: list[tuple[int, str]] = []
        cut_short = 0
        span = first
        while span < end:
            here = present.get(span, set())
            for service in sorted(self._first_spans):
                if self._first_spans[service] > span:
                    continue
                self._silent[service] = 0 if service in here else self._silent.get(service, 0) + 1
                if self._silent[service] <= LONGEST_SILENCE:
                    rows.append((span, service))
                else:
                    cut_short += 1
            all_silent = self._first_spans and all(
                self._silent.get(service, 0) > LONGEST_SILENCE for service in self._first_spans
            )
            following = min((later for later in present if later > span), default=end) if all_silent else 0
            span = max(span + 1, following)
        if cut_short:
            self._telemetry.notes["silence_cut"] += cut_short
        return pl.DataFrame(rows, schema={"_span": pl.Int64, "service": pl.String}, orient="row")

    # Record windows -------------------------------------------------------------------------------

    def _close_runs(self, vocabulary: tuple[Template, ...], *, final: bool) -> Windows:
        records = self._open
        assert records is not None
        size = self.windowing.size or 1
        position = pl.int_range(pl.len()).over("stream")
        records = records.with_columns((position // size).alias("_run"))
        full = pl.len().over("stream", "_run") == size
        closed = records if final else records.filter(full)
        self._open = records.clear().drop("_run") if final else records.filter(~full).drop("_run")
        return grouped(self.windowing.kind, closed, ["stream", "_run"], vocabulary)

    # Sessions -------------------------------------------------------------------------------------

    def _close_sessions(self, vocabulary: tuple[Template, ...], *, final: bool) -> Windows:
        records = self._open
        assert records is not None
        if self.windowing.timeout_seconds is None:
            if not final:
                return no_windows(self.windowing.kind, vocabulary)
            self._open = None
            return grouped(self.windowing.kind, records, ["key"], vocabulary)
        timeout = round(self.windowing.timeout_seconds * _MICROSECONDS)
        if "_judged" not in records.columns:
            records = records.with_columns(pl.lit(value=False).alias("_judged"))
        records = records.with_columns(pl.col("_judged").fill_null(value=False))
        # A session is complete where the watermark passes its last record by the timeout: before its next
        # record, or now.
        following = pl.col(MARK).shift(-1).over("key")
        ends = (following >= pl.col(MARK) + timeout).fill_null(
            final or pl.lit(self._released) >= pl.col(MARK) + timeout
        )
        records = records.with_row_index("_row").with_columns(
            ends.alias("_ends"), following.alias("_following"), self._life().alias("_life")
        )
        fresh = records.filter(pl.col("_ends") & ~pl.col("_judged"))
        over = self._over(records, final=final)
        ready = pl.concat([fresh, over.drop("_until")]).sort(MARK, "_row")
        complete = self._revised(ready.select("key", "_life", pl.col("_row").alias("_last")))
        outwaited = over.join(complete, left_on=["key", "_row"], right_on=["key", "_last"])
        self.outwaited = {
            (key, revision): until
            for key, revision, until in outwaited.select("key", "_revision", "_until").iter_rows()
        }
        closed = complete.join(records, on=["key", "_life"], maintain_order="left_right").filter(
            pl.col("_row") <= pl.col("_last")
        )
        judged = pl.col("_judged") | pl.col("_ends")
        self._open = records.with_columns(judged).drop("_row", "_ends", "_following", "_life")
        return grouped(self.windowing.kind, closed, ["key", "_life", "_revision"], vocabulary)

    def _life(self) -> pl.Expr:
        """Which of the sessions with its key a record belongs to: one that goes on late is a new one."""
        longest = REVISIT_TIMEOUTS * round((self.windowing.timeout_seconds or 0) * _MICROSECONDS)
        return (pl.col(MARK).diff() > longest).fill_null(value=False).cum_sum().over("key")

    def _over(self, records: pl.DataFrame, *, final: bool) -> pl.DataFrame:
        """The last judged record of each held session whose time is over; what went on is held no more."""
        held = pl.DataFrame(
            {"key": self._held.keys(), "_until": self._held.values()},
            schema={"key": pl.String(), "_until": pl.Int64()},
        )
        last = pl.col("_row").filter(pl.col("_judged")).max().over("key")
        found = records.join(held, on="key", maintain_order="left").filter(pl.col("_row") == last)
        goes_on = (pl.col("_following") < pl.col("_until")).fill_null(value=False)
        over = pl.col("_following").is_not_null() | (pl.col("_until") <= self._released) | final
        for key in found.filter(goes_on | over)["key"]:
            del self._held[key]
        return found.filter(~goes_on & over)

    def _revised(self, complete: pl.DataFrame) -> pl.DataFrame:
        """The complete sessions with how often each was judged before."""
        revisions = []
        lives: dict[str, int] = {}
        for key, life in complete.select("key", "_life").iter_rows():
            before = self._revisions.get(key, -1) if life == lives.get(key, 0) else -1
            self._revisions[key], lives[key] = before + 1, life
            revisions.append(before + 1)
        return complete.with_columns(pl.Series("_revision", revisions, dtype=pl.Int64))

    def _rest(self) -> None:
        """Put sessions to rest that were judged, until they go on or have been silent for long."""
        if self._open is None or "_judged" not in self._open.columns:
            return
        longest = REVISIT_TIMEOUTS * round((self.windowing.timeout_seconds or 0) * _MICROSECONDS)
        self._resting.expire(self._released - longest)
        lives = self._open.with_columns(self._life().alias("_life"))
        records = lives.filter(pl.col("_life") == pl.col("_life").max().over("key")).drop("_life")
        held = pl.col("key").is_in(list(self._held))
        over = records.select(pl.col("_judged").last().over("key") & ~held).to_series()
        judged = set(records.filter("_judged")["key"])
        self._revisions = {key: count for key, count in self._revisions.items() if key in judged}
        if over.sum() >= FEWEST_RESTING:
            revision = pl.col("key").replace_strict(self._revisions, default=None, return_dtype=pl.Int64)
            self._resting.take(records.filter(over).with_columns(revision.alias("_revision")))
            records = records.filter(~over)
            awake = set(records["key"])
            self._revisions = {key: count for key, count in self._revisions.items() if key in awake}
        self._open = records


def _measured(
    records: pl.DataFrame, vocabulary: tuple[Template, ...], texts: Telling | None
) -> Measures | None:
    """The numbers that the records tell, where it is known what they say."""
    if texts is not None:
        return texts.measures(records["place"].to_numpy(), records["template"].to_numpy(), vocabulary)
    return measured(records, vocabulary) if "text" in records.columns else None


def _in_order(rows: NDArray[np.int64], count: int) -> bool:
    """Whether these are all of so many rows, one after another."""
    return len(rows) == count and bool((rows == np.arange(count)).all())


def _whole(value: object) -> int:
    """The integer that a polars aggregate of integers is."""
    assert isinstance(value, int)
    return value
