"""What every detector promises, as checks."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from logad.contracts import Detector, PartConfig, Scores, State
from logad.testing import Check, require
from logad.testing.samples import VOCABULARY, normal_windows, windows_of, with_anomaly
from logad.types import WindowKind
from logad.windows import Windows

Promise = Callable[["Subject"], None]


@dataclass(frozen=True)
class Subject:
    """A detector's class, its configuration and the kind of windows that it is checked on."""

    part: type[Detector]
    config: PartConfig
    kind: WindowKind

    def made(self, seed: int = 0) -> Detector:
        """A detector that has learned nothing yet."""
        return self.part(self.config, seed)

    def fitted(self, windows: Windows | None = None, seed: int = 0) -> Detector:
        """A detector that has learned from these windows, or from the normal ones."""
        return self.made(seed).fit(normal_windows(self.kind) if windows is None else windows)


def detector_checks(part: type[Detector], config: PartConfig | None = None) -> list[Check]:
    """Every promise, for every kind of window that it judges; with its defaults or `config`."""
    chosen = part.Config() if config is None else config
    names_itself = it_says_what_it_is_called_and_what_it_judges
    checks = [Check(names_itself, lambda: names_itself(part))]
    for kind in sorted(part.kinds):
        subject = Subject(part, chosen, kind)
        checks += [Check(promise, _bound(promise, subject), str(kind)) for promise in PROMISES]
    return checks


def check_detector(part: type[Detector], config: PartConfig | None = None) -> None:
    """Check every promise at once; raises ContractBroken at the first that is broken."""
    for check in detector_checks(part, config):
        check()


def _bound(promise: Promise, subject: Subject) -> Callable[[], None]:
    return lambda: promise(subject)


def it_says_what_it_is_called_and_what_it_judges(part: type[Detector]) -> None:
    """A name, kinds of windows, and a frozen Config that refuses unknown keys."""
    require(part.name.isidentifier(), f"name is {part.name!r}; expected an identifier")
    require(
        part.kinds and all(isinstance(kind, WindowKind) for kind in part.kinds), "kinds holds no WindowKind"
    )
    require(issubclass(part.Config, PartConfig), "Config is no PartConfig")
    settings = part.Config.model_config
    require(
        settings.get("frozen") and settings.get("extra") == "forbid", "Config is not frozen, or takes any key"
    )


def fit_returns_the_detector(subject: Subject) -> None:
    """`fit` can be chained."""
    detector = subject.made()
    require(detector.fit(normal_windows(subject.kind)) is detector, "fit did not return the detector")


def scores_are_finite_and_one_per_window(subject: Subject) -> None:
    """Float64, shape (windows,), no NaN, no infinity; for no windows none."""
    detector = subject.fitted()
    for count in (120, 1, 0):
        _scores(detector, windows_of(subject.kind, _codes(subject.kind)[:count], fresh=False))


def the_windows_are_not_written_to(subject: Subject) -> None:
    """Learning, judging and explaining leave the windows as they were, what they derive included."""
    windows, row = with_anomaly(normal_windows(subject.kind), subject.kind)
    derived = windows.distinct
    arrays = (
        derived.counts,
        derived.weights,
        derived.inverse,
        derived.first,
        windows.owner,
        windows.severities,
    )
    for array in arrays:
        array.setflags(write=False)
    before = [array.copy() for array in arrays]
    table = windows.table.clone()
    detector = subject.fitted(windows)
    detector.score(windows)
    detector.explain(windows, row)
    require(all(map(np.array_equal, arrays, before)), "the arrays of the windows changed")
    require(windows.table.equals(table), "the table of the windows changed")


def the_same_seed_gives_the_same_scores(subject: Subject) -> None:
    """Twice made, twice fitted, the same to the last bit."""
    windows, _ = with_anomaly(normal_windows(subject.kind), subject.kind)
    first, second = (subject.fitted(seed=7).score(windows) for _ in range(2))
    require(np.array_equal(first, second), "two detectors of one seed disagree")


def scoring_twice_gives_the_same_scores(subject: Subject) -> None:
    """Judging teaches nothing."""
    windows, row = with_anomaly(normal_windows(subject.kind), subject.kind)
    detector = subject.fitted()
    first = detector.score(windows).copy()
    detector.explain(windows, row)
    require(np.array_equal(first, detector.score(windows)), "the scores changed by scoring")


def fitting_again_forgets_what_was_learned(subject: Subject) -> None:
    """A detector fitted twice is the detector of the last windows."""
    windows = normal_windows(subject.kind)
    others = normal_windows(subject.kind, count=60, seed=5)
    again = subject.fitted(others).fit(windows)
    require(
        np.array_equal(again.score(windows), subject.fitted(windows).score(windows)),
        "earlier windows still count",
    )


def scores_and_reasons_survive_state_and_restore(subject: Subject) -> None:
    """What `state` gives is arrays without objects; restored from a file, the detector is the same."""
    windows, row = with_anomaly(normal_windows(subject.kind), subject.kind)
    detector = subject.fitted()
    scores, reasons = detector.score(windows), detector.explain(windows, row)
    restored = subject.made().restore(_through_a_file(detector.state()))
    require(np.array_equal(scores, restored.score(windows)), "a restored detector scores otherwise")
    require(reasons == restored.explain(windows, row), "a restored detector explains otherwise")
    twice = subject.made().restore(_through_a_file(restored.state()))
    require(np.array_equal(scores, twice.score(windows)), "a detector restored twice scores otherwise")


def unseen_templates_are_survived(subject: Subject) -> None:
    """Codes that the detector has not learned are judged, and explained."""
    detector = subject.fitted()
    fresh = len(VOCABULARY)
    windows = windows_of(subject.kind, [*_codes(subject.kind)[:20], [fresh], [fresh, fresh + 1, 0]])
    _scores(detector, windows)
    for row in range(20, 22):
        detector.explain(windows, row)


def windows_without_events_are_survived(subject: Subject) -> None:
    """An empty window teaches, is judged and is explained like any other."""
    codes = _codes(subject.kind)
    windows = windows_of(subject.kind, [[], *codes[:30], [], *codes[30:60], []], fresh=False)
    for detector in (subject.fitted(windows), subject.fitted()):
        _scores(detector, windows)
        detector.explain(windows, 0)
    empty = windows_of(subject.kind, [[], []], fresh=False)
    _scores(subject.fitted(empty), empty)


def few_windows_are_survived(subject: Subject) -> None:
    """One window to learn from, or two equal ones, is little but no error."""
    codes = _codes(subject.kind)
    for taught in ([codes[0]], [codes[0], codes[0]]):
        detector = subject.fitted(windows_of(subject.kind, taught, fresh=False))
        _scores(detector, windows_of(subject.kind, codes[:5], fresh=False))


def a_planted_anomaly_outranks_normal_windows(subject: Subject) -> None:
    """Fresh errors, a flood and missing answers score higher than every window of a healthy system."""
    windows, row = with_anomaly(normal_windows(subject.kind), subject.kind)
    scores = subject.fitted().score(windows)
    rivals = int((np.delete(scores, row) >= scores[row]).sum())
    require(
        rivals == 0, f"{rivals} of {len(scores) - 1} normal windows are at least as strange as the anomaly"
    )


def an_anomaly_is_explained_by_facts_of_its_window(subject: Subject) -> None:
    """Heaviest first, finite, in words, at least one that makes it stranger; events and templates exist."""
    windows, row = with_anomaly(normal_windows(subject.kind), subject.kind)
    reasons = subject.fitted().explain(windows, row)
    require(reasons, "nothing explains the anomaly")
    weights = np.asarray([reason.weight for reason in reasons])
    require(np.isfinite(weights).all(), "a weight is not finite")
    require(
        (weights > 0).any(),
        "no contribution makes the anomaly stranger; weights are signed, positive is stranger",
    )
    require((np.diff(weights[weights > 0]) <= 0).all(), "the contributions are not in order, heaviest first")
    span = windows.span(row)
    for reason in reasons:
        require(reason.text.strip(), "a contribution says nothing")
        require(
            reason.template is None or 0 <= reason.template < len(windows.vocabulary),
            f"template {reason.template} is none of the {len(windows.vocabulary)} there are",
        )
        require(
            all(0 <= event < span.stop - span.start for event in reason.events),
            f"events {reason.events} lie outside the {span.stop - span.start} of the window",
        )


PROMISES: tuple[Promise, ...] = (
    fit_returns_the_detector,
    scores_are_finite_and_one_per_window,
    the_windows_are_not_written_to,
    the_same_seed_gives_the_same_scores,
    scoring_twice_gives_the_same_scores,
    fitting_again_forgets_what_was_learned,
    scores_and_reasons_survive_state_and_restore,
    unseen_templates_are_survived,
    windows_without_events_are_survived,
    few_windows_are_survived,
    a_planted_anomaly_outranks_normal_windows,
    an_anomaly_is_explained_by_facts_of_its_window,
)


def _codes(kind: WindowKind) -> list[list[int]]:
    windows = normal_windows(kind)
    return [windows.events[windows.span(window)].tolist() for window in range(len(windows))]


def _scores(detector: Detector, windows: Windows) -> Scores:
    scores: Any = detector.score(windows)
    require(isinstance(scores, np.ndarray) and scores.dtype == np.float64, "scores are no array of float64")
    require(scores.shape == (len(windows),), f"scores have shape {scores.shape}; expected ({len(windows)},)")
    require(np.isfinite(scores).all(), f"{int((~np.isfinite(scores)).sum())} scores are not finite")
    return np.asarray(scores)


def _through_a_file(state: State) -> State:
    arrays: dict[str, Any] = dict(state)
    for key, value in arrays.items():
        is_data = isinstance(value, np.ndarray) and not value.dtype.hasobject
        require(is_data, f"state {key!r} is no array of data")
    file = io.BytesIO()
    np.savez(file, **arrays)
    file.seek(0)
    with np.load(file, allow_pickle=False) as kept:
        return {key: kept[key] for key in kept.files}
