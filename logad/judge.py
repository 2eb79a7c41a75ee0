"""Learns what is normal in windows, and judges windows by it."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import field_validator

from logad import registry
from logad.calibration import CUT, Calibration, least_knowable, ranked, shared_scores
from logad.contracts import Detector, PartConfig, Scores, State
from logad.errors import StateError
from logad.explaining import reasons
from logad.reference import FEWEST, SEED_SHARE, clean_windows
from logad.types import Contribution, Reason, Verdict, WindowKind, WindowRef
from logad.windows import Windows

DETECTORS: Final[Mapping[WindowKind, tuple[str, ...]]] = {
    WindowKind.SESSION: ("normal_core", "durations", "order", "parameter_values", "invariants"),
    WindowKind.TIME: ("new_template", "volume", "parameter_values"),
    WindowKind.RECORDS: ("new_template", "composition", "parameter_values"),
}
"""The detectors that judge each kind of window unless the configuration names others."""

TRUSTED: Final[Mapping[str, str]] = {"normal_core": "clean_baseline"}
"""What takes the place of a detector when a person vouches for what is learned from."""

DECIDING: Final[Mapping[WindowKind, tuple[str, ...]]] = {
    WindowKind.SESSION: ("normal_core", "clean_baseline", "durations", "order", "parameter_values"),
    WindowKind.TIME: ("new_template", "volume", "parameter_values"),
    WindowKind.RECORDS: ("new_template", "composition", "parameter_values"),
}
"""The detectors whose opinion makes a window anomalous; the others only tell more about it."""

NEED: Final = 0.001
"""The share of normal windows that a detector which names no share of its own may flag ..."""

ONE_IN_ALL: Final = 1.5
"""... or so many of as many as it learned from: what is stranger than all of them, as a note."""

FOLDS: Final = 5
"""Parts of the reference, each scored by what was learned from the others, that calibrate a detector."""

MOST_CERTAIN: Final = 0.02
"""Windows that a detector is certain about set no standard, unless more than this share of them is such."""

_TOO_FEW: Final = 20  # windows below which nothing can be said of what is usual
_NOISY: Final = 200  # sessions below which shares are noisy
_AT_ONCE: Final = 1 << 17  # windows and records that are hashed at a time
_MANY: Final = 0.2  # share of odd sessions that makes the reference itself doubtful


class JudgeConfig(PartConfig):
    """Which detectors judge, and whether the windows learned from are vouched for."""

    detectors: Mapping[str, Mapping[str, Any]] | None = None
    """Names of detectors with their options; the default depends on the kind of window."""

    trusted: bool = False
    """Whether a person vouches for every window that is learned from."""

    @field_validator("detectors")
    @classmethod
    def _known(cls, detectors: Mapping[str, Mapping[str, Any]] | None) -> Any:  # noqa: ANN401
        for name, options in (detectors or {}).items():
            registry.part("detectors", name).Config(**options)
        return detectors


Facts = tuple[str, frozenset[tuple[str, int | None, str, str]]]
"""A service, and what each detector holds against it: detector, template, type, direction."""


@dataclass(frozen=True)
class Judged:
    """The outcome for some windows, one entry a window."""

    score: Scores  # 0..1; above 0.5 is anomalous
    tail_probability: Scores
    detectors: dict[str, Scores]  # each detector's score; at most 0.5 where it does not decide
    alarming: dict[str, NDArray[np.bool_]]  # which windows each detector finds too strange


class Judge:
    """What was learned from some windows, ready to judge others of the same kind and vocabulary."""

    def __init__(self, kind: WindowKind, config: JudgeConfig, seed: int) -> None:
        self.kind = kind
        self.config = config
        self.seed = seed
        self.doubts: list[str] = []
        self.reference_windows = 0  # how many windows everything is measured against
        self._detectors: dict[str, Detector] = {}
        self._calibrations: dict[str, Calibration] = {}

    def _learn(self, windows: Windows) -> None:
        reference = np.ones(len(windows), dtype=np.bool_)
        if not self.config.trusted:
            reference = clean_windows(windows)
        self.doubts = _doubts(windows, reference)
        self.reference_windows = int(reference.sum())
        if not len(windows):
            return
        normal = windows if reference.all() else None
        built = _detectors(self.kind, self.config, self.seed)
        deciding = _deciding(self.kind, built)
        for name, detector in built.items():
            if hasattr(detector, "tail_probabilities"):  # it guards and calibrates itself
                self._detectors[name] = detector.fit(windows)
            else:
                if normal is None:
                    normal = windows.take(np.flatnonzero(reference))
                self._detectors[name] = detector.fit(normal)
                scores = self._apart(name, normal) if name in deciding else detector.score(normal)
                certain = scores > getattr(detector, "certain", np.inf)
                few = certain.mean() <= MOST_CERTAIN if len(certain) else False
                self._calibrations[name] = Calibration.of(scores[~certain] if few else scores)

    def _apart(self, name: str, windows: Windows) -> Scores:
        """The scores of windows, each by a detector that learned from the other half of them."""
        scores = np.zeros(len(windows))
        for part in range(FOLDS):
            held = np.arange(part, len(windows), FOLDS)
            others = np.setdiff1d(np.arange(len(windows)), held)
            fitted = _detector(name, self.config, self.seed).fit(windows.take(others))
            scores[held] = fitted.score(windows.take(held))
        return scores

    def judge(self, windows: Windows) -> Judged:
        """The score and tail probability of each window, and each detector's opinion."""
        score, probability = np.zeros(len(windows)), np.ones(len(windows))
        opinions: dict[str, Scores] = {}
        alarming: dict[str, NDArray[np.bool_]] = {}
        if not len(windows):
            return Judged(score, probability, opinions, alarming)
        deciding = self._deciding()
        least = least_knowable(self.reference_windows)
        for name, detector in self._detectors.items():
            tail, need = self._tails(name, detector, windows)
            opinion = shared_scores(ranked(tail, least), need)
            alarming[name] = opinion > CUT
            if name in deciding:
                probability = np.where(opinion >= score, np.clip(tail, least, 1.0), probability)
                score = np.maximum(score, opinion)
                opinions[name] = opinion
            else:
                opinions[name] = np.minimum(opinion, CUT)
        return Judged(score, probability, opinions, alarming)

    def remember(self, windows: Windows) -> None:
        """Take judged windows as the past of those to come; nothing is learned from them."""
        for detector in self._detectors.values():
            detector.remember(windows)

    def patience(self, windows: Windows) -> NDArray[np.int64]:
        """Silence in microseconds that shows each session to be complete, shape (windows,); 0: any does."""
        patience = np.zeros(len(windows), dtype=np.int64)
        for name in self._deciding():
            if own := getattr(self._detectors[name], "patience", None):
                patience = np.maximum(patience, own(windows))
        return patience

    def verdicts(
        self,
        windows: Windows,
        *,
        every: bool = False,
        since: int = 0,
        first_index: int = 0,
        context: str = "",
    ) -> Iterator[Verdict]:
        """Verdicts in the order of the windows: the anomalous ones, or `every` one.

        Rows before `since` are history: they are seen, not judged. The first judged window has the index
        `first_index`; `context` (what else decides the outcome, such as the parser's settings) goes into
        the ids. Windows that only teach have neither index nor reasons.
        """
        judged = self.judge(windows)
        learning = windows.table["learning"].to_numpy()
        index = first_index - 1 + np.cumsum(~learning[since:])
        shown = (judged.score[since:] > CUT) & ~learning[since:] | every
        identity = _Identity(self, windows, context)
        rows = since + np.flatnonzero(shown)
        told = np.cumsum(1 + np.diff(windows.offsets)[rows]) // _AT_ONCE
        for block in np.split(rows, np.flatnonzero(np.diff(told)) + 1):
            for row, table, id_ in zip(
                block.tolist(), windows.table[block].rows(named=True), identity.of(block), strict=True
            ):
                place = None if table["learning"] else int(index[row - since])
                yield self._verdict(windows, row, judged, (table, id_), place)

    def _verdict(
        self,
        windows: Windows,
        row: int,
        judged: Judged,
        about: tuple[Mapping[str, Any], str],
        index: int | None,
    ) -> Verdict:
        table, verdict_id = about
        anomalous = index is not None and bool(judged.score[row] > CUT)
        return Verdict(
            verdict_id,
            table["service"],
            WindowRef(
                windows.kind,
                table["key"],
                table["start"],
                table["end"],
                table["first_line"],
                table["last_line"],
                table["records"],
                index,
                table["revision"],
            ),
            index is None,
            float(judged.score[row]),
            float(judged.tail_probability[row]),
            {name: float(scores[row]) for name, scores in judged.detectors.items()},
            self._reasons(windows, row, judged) if anomalous else (),
        )

    def _reasons(self, windows: Windows, row: int, judged: Judged) -> tuple[Reason, ...]:
        """What the alarmed detectors tell, the strangest first; of those that do not decide, one thing."""
        deciding = self._deciding()
        alarmed = [name for name, alarming in judged.alarming.items() if alarming[row]]
        alarmed.sort(key=lambda name: (name not in deciding, -judged.detectors[name][row]))
        told = [
            (name, self._detectors[name].explain(windows, row)[: None if name in deciding else 1])
            for name in alarmed[: 1 + sum(name in deciding for name in alarmed)]
        ]
        return reasons(windows, row, told)

    def facts(self, windows: Windows, row: int, judged: Judged) -> Facts:
        """What the deciding detectors hold against a window; equal where windows deviate in the same way."""
        told = {
            (name, contribution.template, str(contribution.type), _direction(contribution))
            for name in self._deciding()
            if judged.alarming[name][row]
            for contribution in self._detectors[name].explain(windows, row)
            if contribution.weight > 0
        }
        return str(windows.table["service"][row]), frozenset(told)

    def _deciding(self) -> frozenset[str]:
        return _deciding(self.kind, self._detectors)

    def _tails(self, name: str, detector: Detector, windows: Windows) -> tuple[Scores, Scores | float]:
        """Tail probabilities and what the detector may spend, both per window."""
        needs = getattr(detector, "needs", None)
        usual = max(NEED, ONE_IN_ALL / (1 + self.reference_windows))
        need = needs(windows) if needs else float(getattr(detector, "need", usual))
        own = getattr(detector, "tail_probabilities", None)
        if own:
            return np.asarray(own(windows)), need
        return self._calibrations[name].tail_probabilities(detector.score(windows)), need

    def state(self) -> State:
        """Everything learned, as arrays of numbers and text."""
        about = {
            "kind": str(self.kind),
            "config": self.config.model_dump(mode="json"),
            "seed": self.seed,
            "doubts": self.doubts,
            "reference_windows": self.reference_windows,
            "detectors": list(self._detectors),
        }
        state: State = {"judge": np.array(json.dumps(about))}
        for name, detector in self._detectors.items():
            state |= {f"detector/{name}/{key}": array for key, array in detector.state().items()}
        for name, calibration in self._calibrations.items():
            state |= {f"calibration/{name}/{key}": array for key, array in calibration.state().items()}
        return state

    @classmethod
    def restored(cls, state: State) -> "Judge":
        """The judge that gave this state.

        Raises:
            StateError: the state is not one that a judge gave.
        """
        try:
            about = json.loads(str(state["judge"]))
            judge = cls(WindowKind(about["kind"]), JudgeConfig(**about["config"]), about["seed"])
            judge.doubts = list(about["doubts"])
            judge.reference_windows = int(about["reference_windows"])
            for name in about["detectors"]:
                detector = _detector(name, judge.config, judge.seed)
                judge._detectors[name] = detector.restore(_under(state, f"detector/{name}/"))
                calibration = _under(state, f"calibration/{name}/")
                if calibration:
                    judge._calibrations[name] = Calibration(**calibration)
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(
                "model",
                f"the stored judgement is damaged ({error})",
                "arrays that a judge stored",
                "train again",
            ) from error
        return judge


def learn(windows: Windows, config: JudgeConfig | None = None, seed: int = 0) -> Judge:
    """A judge that knows what is normal in these windows, which may hold anomalies unless they are trusted.

    First a reference is found (the windows that explain each other), then every detector is fitted on it
    and its scores calibrated. The same windows, configuration and seed give the same judge.
    """
    judge = Judge(windows.kind, config or JudgeConfig(), seed)
    judge._learn(windows)  # noqa: SLF001  (the two are one: a judge is made here and in `restored`)
    return judge


class _Identity:
    """Hashes what a verdict is about: configuration, window and source content; equal on every replay."""

    def __init__(self, judge: Judge, windows: Windows, context: str) -> None:
        told = [judge.config.model_dump(mode="json"), judge.seed, str(windows.kind), context]
        self._prefix = hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=16).digest()
        self._windows = windows

    def of(self, rows: NDArray[np.int64]) -> list[str]:
        """The ids of the verdicts on these windows."""
        windows = self._windows
        chosen = windows.take(rows)
        kept = (
            bool(len(chosen.rows)) and chosen.rows.min() >= 0 and chosen.rows.max() < windows.records.height
        )
        raw = windows.raw(chosen.rows).to_list() if kept else []
        identity = chosen.table.select(
            "service", "key", pl.col("start").cast(pl.Int64), "first_line", "revision"
        )
        ids = []
        for row, told in enumerate(identity.rows()):
            span = chosen.span(row)
            digest = hashlib.blake2b(self._prefix, digest_size=16)
            digest.update(json.dumps(told).encode())
            if kept:
                digest.update("\n".join(raw[span]).encode("utf-8", "surrogatepass"))
            else:
                digest.update(chosen.events[span].tobytes() + chosen.times[span].tobytes())
            ids.append(digest.hexdigest())
        return ids


def _deciding(kind: WindowKind, names: Collection[str]) -> frozenset[str]:
    """Which of these detectors decide; all of them where none is among those that usually do."""
    return frozenset(DECIDING[kind]).intersection(names) or frozenset(names)


def _detectors(kind: WindowKind, config: JudgeConfig, seed: int) -> dict[str, Detector]:
    """The configured detectors that can judge this kind of window, in order."""
    names = tuple(DETECTORS[kind] if config.detectors is None else config.detectors)
    if config.trusted:
        names = tuple(TRUSTED.get(name, name) for name in names)
    built = {name: _detector(name, config, seed) for name in names}
    return {name: detector for name, detector in built.items() if kind in detector.kinds}


def _detector(name: str, config: JudgeConfig, seed: int) -> Detector:
    part: type[Detector] = registry.part("detectors", name)
    return part(part.Config(**(config.detectors or {}).get(name, {})), seed)


def _direction(told: Contribution) -> str:
    """Whether it is more or less than expected, where both are numbers; or none at all, where that is odd."""
    try:
        expected, actual = float(told.expected), float(told.actual)
    except ValueError:
        return "none" if told.actual == "0" else ""
    return "more" if actual > expected else "less"


def _doubts(windows: Windows, reference: NDArray[np.bool_]) -> list[str]:
    """What a person should know before trusting the judgement."""
    total, normal = len(windows), int(reference.sum())
    what = "sessions" if windows.kind is WindowKind.SESSION else "windows"
    if total < _TOO_FEW:
        return [f"cannot judge: only {total} {what}; give more of the log or a baseline"]
    doubts = []
    if not normal:
        doubts.append(f"no reference: none of the {total:,} {what} is free of alarms")
    if windows.kind is not WindowKind.SESSION:
        return doubts
    if total < _NOISY:
        doubts.append(f"only {total} sessions: what is rare among them may well be normal")
    if total - normal > _MANY * total:
        doubts.append(f"{total - normal:,} of {total:,} sessions are odd: give a baseline to compare with")
    repeated = windows.distinct.weights[windows.distinct.weights >= FEWEST].sum()
    if repeated < SEED_SHARE * total:
        doubts.append("hardly two sessions have the same steps: what is normal among them is unclear")
    return doubts


def _under(state: State, prefix: str) -> State:
    return {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}
