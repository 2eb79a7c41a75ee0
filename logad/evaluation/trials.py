"""Tries a judgement on planted anomalies: what of each kind is caught, named, and at what false alarms."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from logad.evaluation.injection import KINDS, STRENGTHS, Injector, Planted
from logad.judge import Judge
from logad.windows import Windows

Flags = NDArray[np.bool_]

SHARE: Final = 0.02
"""At most so large a share of the windows is planted into at once (but one window always is)."""
AT_ONCE: Final = 20
"""At most so many windows are planted into at once."""
WANTED: Final = 20
"""Of each kind and strength so many are planted in all, if it takes no more than ..."""
ROUNDS: Final = 10
"""... so many rounds."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the anomalies of one kind and strength."""

    kind: str
    strength: str
    planted: int
    caught: int
    nameable: int  # those caught for which there is a template to blame
    named: int  # those of them whose first reason names it
    untouched: int  # windows that nothing was planted into, over all rounds
    flagged: int  # those of them that were flagged
    newly: int  # those of them that were not flagged before

    def as_dict(self) -> dict[str, Any]:
        """As the evaluation writes it."""
        return {
            "kind": self.kind,
            "strength": self.strength,
            "planted": self.planted,
            "caught": self.caught,
            "caught_share": _share(self.caught, self.planted),
            "nameable": self.nameable,
            "named": self.named,
            "named_share": _share(self.named, self.nameable),
            "false_alarms": _share(self.flagged, self.untouched),
            "new_false_alarms": _share(self.newly, self.untouched),
        }


@dataclass(frozen=True, slots=True)
class Trials:
    """What was tried, and what was flagged of the log before anything was planted."""

    windows: int  # that something could be planted into, or raise a false alarm: none known to be anomalous
    flagged: int  # before anything was planted
    outcomes: tuple[Outcome, ...]

    def as_dict(self) -> dict[str, Any]:
        """As the evaluation writes it."""
        return {
            "windows": self.windows,
            "flagged_before": _share(self.flagged, self.windows),
            "kinds": [outcome.as_dict() for outcome in self.outcomes],
        }


@dataclass(frozen=True)
class Bench:
    """What judges, and what it judged before anything was planted."""

    judge_of: Callable[[Windows], Judge]  # who judges these windows, planted into or not
    before: Flags  # windows that were flagged: nothing is planted into them
    excluded: Flags  # windows that are known to be anomalous: nor into them, and they count nowhere
    seed: int


def tried(windows: Windows, bench: Bench, progress: Callable[[str], None] = lambda _kind: None) -> Trials:
    """Plant each kind and strength, in rounds of its own, and judge as the log itself was judged.

    The same windows, judge and seed give the same outcome.
    """
    injector = Injector(windows)
    outcomes: list[Outcome] = []
    for number, kind in enumerate(KINDS):
        progress(kind)
        outcomes.extend(_outcome(injector, bench, number, kind, strength) for strength in STRENGTHS)
    counted = ~bench.excluded
    return Trials(int(counted.sum()), int((bench.before & counted).sum()), tuple(outcomes))


def _outcome(injector: Injector, bench: Bench, number: int, kind: str, strength: str) -> Outcome:
    allowed = ~bench.before & ~bench.excluded & injector.filled
    at_once = min(max(int(SHARE * allowed.sum()), 1), AT_ONCE)
    counts = np.zeros(7, dtype=np.int64)
    for round_ in range(min(-(-WANTED // at_once), ROUNDS)):
        rng = np.random.default_rng([bench.seed, number, round_])
        planted = injector.plant(kind, strength, at_once, allowed, rng)
        if not planted.plants:
            break
        counts += _counted(planted, bench)
    return Outcome(kind, strength, *counts.tolist())


def _counted(planted: Planted, bench: Bench) -> NDArray[np.int64]:
    """Planted, caught, nameable, named, untouched, flagged, newly flagged."""
    windows, plants = planted.windows, planted.plants
    flagged = np.zeros(len(windows), dtype=np.bool_)
    blamed: dict[int, str | None] = {}
    for verdict in bench.judge_of(windows).verdicts(windows):
        row = verdict.window.index
        if row is not None:
            flagged[row] = True
            blamed[row] = verdict.reasons[0].template_id if verdict.reasons else None
    caught = nameable = named = 0
    untouched = ~bench.excluded
    for plant in plants:
        untouched[list(plant.windows)] = False
        hits = [window for window in plant.windows if flagged[window]]
        caught += bool(hits)
        if hits and plant.templates:
            nameable += 1
            ids = {windows.vocabulary[code].template_id for code in plant.templates}
            named += blamed[hits[0]] in ids
    alarms = flagged & untouched
    return np.asarray(
        [len(plants), caught, nameable, named, untouched.sum(), alarms.sum(), (alarms & ~bench.before).sum()],
        dtype=np.int64,
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
