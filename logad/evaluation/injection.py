"""Plants anomalies of seven kinds into windows of mined records, each subtle and gross.

What is planted is nothing that the log does anyway: where every window of some sort can be made into another
that occurs, none of that kind is planted. `subtle` is the least that a careful person would want to know of,
`gross` what nobody should miss. Windows are compared with those of their service, sessions with all.

- new template. Subtle: one record says what none ever said, as gravely as the one before it. Gross: three
  do, as errors.
- missing event. Subtle: the records of one template are gone that 99 % of the windows have which hold the
  rest. Gross: those of half of such templates, of two at least.
- extra events. Subtle: a template comes twice as often as in 99 % of the windows that have it. Gross: five
  times.
- swapped order. Subtle: two records follow each other in an order that no window has. Gross: the whole window
  runs backwards.
- burst. Subtle: one record is repeated in its very moment, until the window has three times as many records
  as 99 % of windows. Gross: ten times.
- silence. In windows of time a service that is never silent for so long is, subtle: for one window, gross:
  for three. A session ends after, subtle: half, gross: a tenth of its records. In windows of N records there
  is a pause that is, subtle: ten, gross: a thousand times as long as any.
- unusual value. A number with a usual range is, subtle: three, gross: a thousand times its highest.

Windows of N records keep their N: what is planted pushes others out at their end, and a burst fills half of
one (subtle) or all of it (gross), for nothing else can be seen there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from logad.evaluation.custom import Custom, with_value
from logad.evaluation.rewriting import Content, Rewriter, messages
from logad.types import WindowKind
from logad.windows import NO_TIME, Windows

Flags = NDArray[np.bool_]

SUBTLE: Final = "subtle"
GROSS: Final = "gross"
STRENGTHS: Final = (SUBTLE, GROSS)

_TRIED: Final = 50  # windows that are tried for each that is wanted
_MOST_RECORDS: Final = 10_000  # of one burst
_ERROR: Final = 3  # severity class
_NEW: Final = {
    SUBTLE: "switched over to standby path 7",
    GROSS: "fatal: cannot reach storage, state 7 is lost",
}
_OFTEN: Final = {SUBTLE: 2, GROSS: 5}
_FLOOD: Final = {SUBTLE: 3, GROSS: 10}
_FILLED: Final = {SUBTLE: 0.5, GROSS: 1.0}
_SILENT: Final = {SUBTLE: 1, GROSS: 3}
_LEFT: Final = {SUBTLE: 0.5, GROSS: 0.1}
_PAUSE: Final = {SUBTLE: 10, GROSS: 1_000}
_VALUE: Final = {SUBTLE: 3.0, GROSS: 1_000.0}


@dataclass(frozen=True, slots=True)
class Plant:
    """One planted anomaly."""

    windows: tuple[int, ...]  # those that it is in: any of them gives it away
    templates: frozenset[int]  # codes that a right reason names; empty where no template is to blame


@dataclass(frozen=True, slots=True)
class Planted:
    """The windows with what was planted into them; the others hold the very same events."""

    windows: Windows
    plants: tuple[Plant, ...]


class Injector:
    """Plants into one set of windows, again and again; they stay as they are."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._custom = Custom(windows)

    @property
    def filled(self) -> Flags:
        """Which windows hold a record, shape (windows,)."""
        return self._custom.lengths > 0

    def plant(
        self, kind: str, strength: str, wanted: int, allowed: Flags, rng: np.random.Generator
    ) -> Planted:
        """So many anomalies of a kind, each in windows of its own that are allowed; fewer where none fit."""
        rewriter = Rewriter(self._windows)
        plants: list[Plant] = []
        free = allowed.copy()
        candidates = rng.permutation(np.flatnonzero(allowed & self.filled))
        for window in candidates[: _TRIED * wanted].tolist():
            if len(plants) == wanted:
                break
            found = KINDS[kind](self, rewriter, window, strength, rng, free)
            if found is not None:
                plants.append(found)
                free[list(found.windows)] = False
        return Planted(rewriter.windows(), tuple(plants))

    # One method a kind; None where the window is not fit for it ------------------------------------

    def _new_template(
        self, rewriter: Rewriter, window: int, strength: str, rng: np.random.Generator, _free: Flags
    ) -> Plant | None:
        own = rewriter.content(window)
        at = int(rng.integers(len(own)))
        gross = strength == GROSS
        text = _NEW[strength]
        severity = _ERROR if gross else int(self._windows.severities[own.codes[at]])
        code = rewriter.template(text.replace("7", "<NUM>"), severity)
        row = rewriter.record(int(own.rows[at]), code, text)
        many = 3 if gross else 1
        codes, values = np.asarray([code], dtype=np.int32), rewriter.values(code, text)
        new = Content(codes, own.times[[at]], np.asarray([row]), values)
        self._insert(rewriter, window, at + 1, _repeated(new, 0, many))
        return Plant((window,), frozenset({code}))

    def _missing_event(
        self, rewriter: Rewriter, window: int, strength: str, rng: np.random.Generator, _free: Flags
    ) -> Plant | None:
        belonging = self._custom.belonging(window)
        many = 1 if strength == SUBTLE else max(2, len(belonging) // 2)
        own = rewriter.content(window)
        if len(belonging) < many:
            return None
        gone = rng.choice(belonging, many, replace=False)
        left = np.flatnonzero(~np.isin(own.codes, gone))
        if not len(left) or self._custom.seen(own.codes[left]):
            return None
        rewriter.put(window, own.take(left))
        return Plant((window,), frozenset(gone.tolist()))

    def _extra_events(
        self, rewriter: Rewriter, window: int, strength: str, rng: np.random.Generator, _free: Flags
    ) -> Plant | None:
        own = rewriter.content(window)
        at = int(rng.integers(len(own)))
        code = int(own.codes[at])
        wanted = _OFTEN[strength] * self._custom.most(window, code)
        many = wanted - int((own.codes == code).sum())
        if self._windows.kind is WindowKind.RECORDS and wanted > len(own):
            return None
        self._insert(rewriter, window, at + 1, _repeated(own, at, many))
        return Plant((window,), frozenset({code}))

    def _swapped_order(
        self, rewriter: Rewriter, window: int, strength: str, rng: np.random.Generator, _free: Flags
    ) -> Plant | None:
        own = rewriter.content(window)
        codes = own.codes.tolist()
        order = np.arange(len(own))
        if strength == GROSS:
            order = order[::-1]
            pairs = zip(codes[1:], codes[:-1], strict=True)
            if all(self._custom.follows(later, earlier) for later, earlier in pairs):
                return None
            named: frozenset[int] = frozenset()
        else:
            odd = [
                at
                for at in range(len(codes) - 1)
                if codes[at] != codes[at + 1] and not self._custom.follows(codes[at + 1], codes[at])
            ]
            if not odd:
                return None
            at = int(rng.choice(odd))
            order[at], order[at + 1] = at + 1, at
            named = frozenset(codes[at : at + 2])
        rewriter.put(window, Content(own.codes[order], own.times, own.rows[order], own.values[order]))
        return Plant((window,), named)

    def _burst(
        self, rewriter: Rewriter, window: int, strength: str, rng: np.random.Generator, _free: Flags
    ) -> Plant | None:
        own = rewriter.content(window)
        if self._windows.kind is WindowKind.RECORDS:
            many = int(_FILLED[strength] * len(own))
            at = int(rng.integers(len(own) - many + 1))
        else:
            many = min(_FLOOD[strength] * self._custom.longest(window) - len(own), _MOST_RECORDS)
            at = int(rng.integers(len(own)))
        code = int(own.codes[at])
        if self._custom.most(window, code) >= many:
            return None
        self._insert(rewriter, window, at, _repeated(own, at, many))
        return Plant((window,), frozenset({code}))

    def _silence(
        self, rewriter: Rewriter, window: int, strength: str, rng: np.random.Generator, free: Flags
    ) -> Plant | None:
        own = rewriter.content(window)
        if self._windows.kind is WindowKind.TIME:
            return self._quiet(rewriter, window, _SILENT[strength], free)
        if self._windows.kind is WindowKind.RECORDS:
            times = self._windows.times[self._windows.times != NO_TIME]
            if len(times) < 2 or len(own) < 2:  # noqa: PLR2004  (a pause is between two)
                return None
            longest = max(int(np.diff(times).max()), 1)
            rewriter.pause(window, int(rng.integers(1, len(own))), _PAUSE[strength] * longest)
            return Plant((window,), frozenset())
        left = max(1, int(_LEFT[strength] * len(own)))
        gone = own.codes[left:].tolist()
        if left == len(own) or self._custom.seen(own.codes[:left]):
            return None
        rewriter.put(window, own.take(np.arange(left)))
        return Plant((window,), frozenset(gone))

    def _quiet(self, rewriter: Rewriter, window: int, many: int, free: Flags) -> Plant | None:
        """A service without records for some windows, if it never is otherwise."""
        group = self._custom.group(window)
        at = int(np.searchsorted(group, window))
        silent = group[at : at + many]
        empty = self._custom.lengths[group] == 0
        if len(silent) < many or not free[silent].all() or _run(empty) >= many:
            return None
        for each in silent.tolist():
            rewriter.put(each, rewriter.content(each).take(np.zeros(0, dtype=np.int64)))
        return Plant(tuple(silent.tolist()), frozenset())

    def _unusual_value(
        self, rewriter: Rewriter, window: int, strength: str, rng: np.random.Generator, _free: Flags
    ) -> Plant | None:
        own = rewriter.content(window)
        for at in rng.permutation(len(own)).tolist():
            place = self._custom.value(int(own.codes[at]))
            if place is None or own.rows[at] < 0:
                continue
            message = messages(self._windows, own.rows[at : at + 1])[0]
            changed = with_value(message, place, _VALUE[strength])
            if changed is None:
                continue
            rows = own.rows.copy()
            rows[at] = rewriter.record(int(own.rows[at]), int(own.codes[at]), changed)
            values = own.values.copy()
            values[at] = rewriter.values(int(own.codes[at]), changed)[0]
            rewriter.put(window, Content(own.codes, own.times, rows, values))
            return Plant((window,), frozenset({int(own.codes[at])}))
        return None

    def _insert(self, rewriter: Rewriter, window: int, at: int, new: Content) -> None:
        """New events in front of the one at `at`; windows of N records keep their N."""
        own = rewriter.content(window)
        if self._windows.kind is not WindowKind.RECORDS:
            rewriter.put(window, own.inserted(at, new))
            return
        at = min(at, len(own) - len(new))
        rewriter.put(window, own.inserted(at, new).take(np.arange(len(own))))


_Planting = Callable[[Injector, Rewriter, int, str, np.random.Generator, Flags], Plant | None]
KINDS: Final[dict[str, _Planting]] = {
    "new template": Injector._new_template,  # noqa: SLF001  (of this module)
    "missing event": Injector._missing_event,  # noqa: SLF001
    "extra events": Injector._extra_events,  # noqa: SLF001
    "swapped order": Injector._swapped_order,  # noqa: SLF001
    "burst": Injector._burst,  # noqa: SLF001
    "silence": Injector._silence,  # noqa: SLF001
    "unusual value": Injector._unusual_value,  # noqa: SLF001
}
"""The kinds of anomaly that are planted, in the order in which they are told."""


def _repeated(content: Content, at: int, many: int) -> Content:
    """An event so many times."""
    return content.take(np.full(many, at, dtype=np.int64))


def _run(flags: Flags) -> int:
    """The length of the longest run of flags that are set."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
