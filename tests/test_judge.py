"""The judge: planted anomalies found and named, calm where nothing stands out, the same again after restoring."""

import numpy as np
import polars as pl
import pytest
from builders import vocabulary_of, windows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from logad.calibration import Calibration, least_knowable, ranked, shared_scores
from logad.errors import ConfigError, StateError
from logad.judge import Judge, JudgeConfig, learn
from logad.types import RECORD_SCHEMA, Severity, WindowKind
from logad.windows import Windows

ORDER = vocabulary_of(
    "order <NUM> accepted",
    "payment taken",
    "parcel packed",
    "parcel sent",
    "address looked up",
    "payment refused by bank",
    severities=[0, 0, 0, 0, 0, 3],
)
USUAL = [0, 1, 2, 2, 3]
CORE = JudgeConfig(detectors={"normal_core": {}})


def sessions(seed=0, count=600, planted=()):
    """Order sessions, every fifth with an address look-up, and planted ones at the end."""
    generator = np.random.default_rng(seed)
    codes = [[*USUAL[:1], 4, *USUAL[1:]] if generator.random() < 0.2 else USUAL for _ in range(count)]
    return windows_of([*codes, *planted], vocabulary=ORDER)


def with_records(windows):
    """The same windows with a record behind each event."""
    count = len(windows.events)
    lines = [f"line {n}: {windows.vocabulary[code].text}" for n, code in enumerate(windows.events)]
    records = pl.DataFrame(
        {
            "time": [None] * count,
            "service": ["app"] * count,
            "level": [0] * count,
            "text": lines,
            "raw": lines,
            "stream": ["app"] * count,
            "source": ["app.log"] * count,
            "line": list(range(1, count + 1)),
            "lines": [1] * count,
            "document": [None] * count,
        },
        schema=RECORD_SCHEMA,
    )
    return Windows(
        windows.kind,
        windows.table,
        windows.offsets,
        windows.events,
        windows.times,
        np.arange(count),
        windows.vocabulary,
        records,
    )


def test_planted_anomalies_are_the_only_findings():
    windows = sessions(planted=[[0, 1], [0, 1, 2, 2, 3, 5], [0, 1, 1, 2, 2, 3]])
    found = list(learn(windows).verdicts(windows))
    assert [verdict.window.key for verdict in found] == ["key-600", "key-601", "key-602"]
    assert all(verdict.anomalous for verdict in found)


def test_a_thing_seen_once_in_many_sessions_is_a_page():
    windows = sessions(count=11_500, planted=[[0, 1, 2, 2, 3, 5]])
    (verdict,) = learn(windows, CORE).verdicts(windows)
    assert verdict.severity is Severity.PAGE
    assert verdict.tail_probability == pytest.approx(1 / 11_501)


def test_the_reason_names_what_is_missing_new_or_changed_with_its_lines():
    windows = with_records(sessions(planted=[[0, 1, 2, 2], [0, 1, 2, 2, 3, 5], [0, 1, 1, 2, 2, 3]]))
    missing, new, changed = learn(windows, CORE).verdicts(windows)
    assert missing.reasons[0].text.startswith("never reached 'parcel sent'; the 600 normal sessions")
    assert (missing.reasons[0].expected, missing.reasons[0].actual) == ("1", "0")
    assert missing.reasons[0].evidence[0].text.endswith("parcel packed")  # where it stopped
    assert new.reasons[0].text.startswith("'payment refused by bank' came once; none of the 600 normal")
    assert new.reasons[0].template == "payment refused by bank"
    assert new.reasons[0].evidence[0].text.endswith("payment refused by bank")
    assert changed.reasons[0].text.startswith(
        "'payment taken' came twice; the 600 normal sessions have it once"
    )
    assert [evidence.line for evidence in changed.reasons[0].evidence] == [
        changed.window.first_line + 1,
        changed.window.first_line + 2,
    ]
    assert "; 1 of 603 deviates like this" in new.reasons[0].text


@pytest.mark.parametrize("seed", range(5))
def test_nothing_stands_out_among_homogeneous_sessions(seed):
    windows = sessions(seed)
    assert list(learn(windows).verdicts(windows)) == []


@pytest.mark.parametrize("count", [0, 1, 2, 12])
def test_tiny_inputs_are_doubted_and_never_accused(count):
    windows = windows_of([USUAL if w % 2 else [5, 0] for w in range(count)], vocabulary=ORDER)
    judge = learn(windows)
    assert judge.doubts == [f"cannot judge: only {count} sessions; give more of the log or a baseline"]
    assert list(judge.verdicts(windows)) == []


def test_doubts_say_when_many_sessions_are_odd():
    wide = vocabulary_of(*(f"step {n}" for n in range(44)), severities=[0] * 4 + [2] * 40)
    odd = [[*USUAL, 4 + way] for way in range(40) for _ in range(3)]
    windows = windows_of([USUAL] * 400 + odd, vocabulary=wide)
    assert learn(windows, CORE).doubts == ["120 of 520 sessions are odd: give a baseline to compare with"]
    assert learn(sessions(), CORE).doubts == []


def test_doubts_say_when_hardly_two_sessions_are_alike():
    windows = windows_of([[n % 40, (n * n) % 37, (n * 7) % 31] for n in range(230)])
    assert learn(windows, CORE).doubts == [
        "hardly two sessions have the same steps: what is normal among them is unclear"
    ]


def test_a_session_that_may_still_go_on_is_not_accused():
    codes = [USUAL] * 300 + [[0, 1]]
    times = [[w * 10.0 + n for n in range(5)] for w in range(300)]
    open_windows = windows_of(codes, times=[*times, [2994.0, 2994.0]], vocabulary=ORDER)
    late_windows = windows_of(codes, times=[*times, [2994.0 - 60, 2994.0 - 60]], vocabulary=ORDER)
    assert list(learn(open_windows, CORE).verdicts(open_windows)) == []
    assert len(list(learn(late_windows, CORE).verdicts(late_windows))) == 1


def test_a_frozen_judge_survives_templates_it_never_saw():
    judge = learn(sessions())
    wider = (*ORDER, *vocabulary_of(*"abcdefg", "brand new")[7:])
    wider = tuple(type(t)(code, t.template_id, t.text, t.severity) for code, t in enumerate(wider))
    windows = windows_of([USUAL, [*USUAL, 6]], vocabulary=wider)
    (verdict,) = judge.verdicts(windows)
    assert verdict.window.key == "key-1"
    assert verdict.reasons[0].template == "brand new"


def test_a_window_that_only_teaches_is_shown_only_with_every_and_has_no_index():
    windows = sessions(planted=[[0], [0, 5]])
    table = windows.table.with_columns(learning=pl.int_range(pl.len()) < 601)
    windows = Windows(
        windows.kind,
        table,
        windows.offsets,
        windows.events,
        windows.times,
        windows.rows,
        windows.vocabulary,
        windows.records,
    )
    judge = learn(windows)
    (verdict,) = judge.verdicts(windows)
    assert (verdict.window.key, verdict.window.index) == ("key-601", 0)
    every = list(judge.verdicts(windows, every=True))
    assert len(every) == 602
    assert every[600].learning
    assert not every[600].anomalous
    assert "index" not in every[600].as_dict()["window"]


def test_history_is_seen_but_not_judged_and_indices_go_on():
    windows = sessions(planted=[[0], [0, 5]])
    judge = learn(windows, CORE)
    whole = list(judge.verdicts(windows))
    (last,) = judge.verdicts(windows, since=601, first_index=601)
    assert last == whole[-1]
    assert last.window.index == 601


def test_ids_follow_content_window_and_configuration_but_not_every():
    windows = with_records(sessions(planted=[[0], [0, 5]]))
    judge = learn(windows, CORE)
    ids = [verdict.id for verdict in judge.verdicts(windows)]
    assert len(set(ids)) == 2
    assert ids == [verdict.id for verdict in judge.verdicts(windows, every=True) if verdict.anomalous]
    assert ids == [verdict.id for verdict in learn(windows, CORE).verdicts(windows)]
    assert ids != [verdict.id for verdict in judge.verdicts(windows, context="another parser")]
    assert not set(ids) & {verdict.id for verdict in learn(windows).verdicts(windows)}


@pytest.mark.parametrize("kind", list(WindowKind))
def test_a_restored_judge_gives_equal_verdicts(kind, tmp_path):
    generator = np.random.default_rng(3)
    codes = [generator.integers(0, 5, 12).tolist() for _ in range(150)] + [[5, 5, 0]]
    windows = windows_of(codes, kind=kind, vocabulary=ORDER)
    names = ["normal_core", "pca", "isolation_forest", "new_template"]
    judge = learn(windows, JudgeConfig(detectors={name: {} for name in names}), seed=7)
    np.savez(tmp_path / "judge.npz", **judge.state())
    with np.load(tmp_path / "judge.npz", allow_pickle=False) as stored:
        again = Judge.restored(dict(stored))
    assert list(judge.verdicts(windows, every=True)) == list(again.verdicts(windows, every=True))
    assert again.doubts == judge.doubts


def test_a_damaged_state_is_a_clear_error():
    state = learn(sessions(), CORE).state()
    del state["detector/normal_core/admitted"]
    with pytest.raises(StateError, match="damaged"):
        Judge.restored(state)


def test_unknown_detectors_and_options_fail_at_once():
    with pytest.raises(ConfigError, match="no part is called 'crystal_ball'"):
        JudgeConfig(detectors={"crystal_ball": {}})
    with pytest.raises(ValidationError, match="variants"):
        JudgeConfig(detectors={"pca": {"variants": 1}})


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=8),
    st.sampled_from(list(WindowKind)),
)
def test_any_small_input_is_judged_with_finite_scores(codes, kind):
    windows = windows_of(codes, kind=kind, vocabulary=ORDER)
    config = JudgeConfig(detectors={"normal_core": {}, "pca": {}, "new_template": {}})
    for judge in (learn(windows, config), learn(sessions(count=30), config)):
        if judge.kind is not kind:
            continue
        judged = judge.judge(windows)
        assert judged.score.shape == (len(codes),)
        for values in (judged.score, judged.tail_probability, *judged.detectors.values()):
            assert np.isfinite(values).all()
            assert ((values >= 0) & (values <= 1)).all()
        assert len(list(judge.verdicts(windows, every=True))) == len(codes)


def test_shared_scores_have_their_cut_where_the_share_is_spent():
    probability = np.array([1e-9, 0.001, 0.00999, 0.01, 0.02, 1.0])
    scores = shared_scores(probability, 0.01)
    assert (np.diff(scores) < 0).all()
    assert (scores > 0.5).tolist() == [True, True, True, False, False, False]


def test_a_calibration_without_reference_accuses_nobody():
    assert Calibration.of(np.zeros(0)).tail_probabilities(np.array([5.0])).tolist() == [1.0]


def test_a_baseline_that_is_vouched_for_is_judged_by_combinations():
    usual = [[0, 1, 2]] * 300 + [[0, 1, 1, 2, 2]] * 300
    windows = windows_of([*usual, [0, 1, 2, 2]], vocabulary=ORDER)
    judge = learn(windows.take(np.arange(600)), JudgeConfig(trusted=True))
    (verdict,) = judge.verdicts(windows)
    assert verdict.window.key == "key-600"
    assert verdict.reasons[0].detector == "clean_baseline"
    assert list(Judge.restored(judge.state()).verdicts(windows)) == [verdict]


@pytest.mark.parametrize("kind", list(WindowKind))
def test_every_usual_detector_survives_a_reference_without_windows(kind):
    windows = windows_of([[0, 5], [1, 5, 5], [2, 5]] * 9, kind=kind, vocabulary=ORDER)
    everything = windows_of([[0]] * 9 + [[5]], kind=kind, vocabulary=ORDER)
    for taught in (windows, everything, everything.take([])):
        judge = learn(taught)
        assert len(list(judge.verdicts(windows, every=True))) == 27


def test_windows_scored_alone_or_together_are_equally_probable():
    generator = np.random.default_rng(0)
    windows = windows_of([generator.integers(0, 6, 20).tolist() for _ in range(200)], kind=WindowKind.TIME)
    judge = learn(windows, JudgeConfig(detectors={"pca": {}}))
    together = judge.judge(windows).tail_probability
    alone = [judge.judge(windows.take([row])).tail_probability[0] for row in range(200)]
    assert together.tolist() == alone


def test_nothing_is_told_to_be_rarer_than_the_past_can_know():
    codes = [[0, 1, 1, 2]] * 200 + [[0, 1, 1, 2, *[4] * 900], [0, 1, 1, 2, *[4] * 90]]
    windows = windows_of(codes, kind=WindowKind.TIME, vocabulary=ORDER)
    judge = learn(windows, JudgeConfig(detectors={"volume": {}}))
    judged = judge.judge(windows)
    assert judged.tail_probability.min() == pytest.approx(1 / (100 * judge.reference_windows))
    assert judged.tail_probability[200] == judged.tail_probability[201]
    assert judged.score[200] > judged.score[201] > 0.9  # what cannot be known still ranks


@given(st.lists(st.floats(1e-300, 1.0), min_size=2, max_size=9), st.integers(1, 10**6))
def test_drawing_probabilities_to_what_is_knowable_keeps_their_order(probabilities, count):
    given_order = np.sort(np.array(probabilities))
    drawn = ranked(given_order, least_knowable(count))
    assert (np.diff(drawn) >= 0).all()
    assert (drawn >= np.minimum(given_order, 1.0)).all()
    assert drawn.min() >= least_knowable(count) / 36 or drawn.min() == given_order.min()


def test_what_only_supports_tells_one_thing_after_what_decides():
    windows = with_records(sessions(planted=[[0, 5, 1, 4, 4, 4, 3]]))
    (verdict,) = learn(windows).verdicts(windows)
    names = [reason.detector for reason in verdict.reasons]
    assert names[0] == "normal_core"
    assert sum(name != "normal_core" for name in names) <= 1


def test_a_session_unlike_every_kind_is_not_told_what_it_lacks_of_one():
    windows = sessions(planted=[[5, 5]])
    (verdict,) = learn(windows, CORE).verdicts(windows)
    (reason,) = verdict.reasons
    assert reason.text == (
        "'payment refused by bank' came twice; none of the 600 normal sessions has it; 1 of 601 deviates like this"
    )
