"""The model store keeps data, notices damage and forgets nothing half-way."""

import errno
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from logad import models
from logad.errors import StateError, UsageError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MODEL = models.Model(
    windowing={"kind": "time", "span_seconds": 300.0},
    shapes=[("open <NUM>", 2), ("naïve „quoted“\n", 4)],
    judge={"detector/pca/basis": np.eye(3), "judge": np.array('{"seed": 0}'), "names": np.array(["a", "ü"])},
    layouts={"app.log": {"encoding": "utf-8"}},
    counts={"records": 10},
    statistics={"records per window": {"median": 3.0}},
    doubts=["few windows"],
    config_digest="abc",
)


def equal(left, right):
    same = left.judge.keys() == right.judge.keys()
    same = same and all(np.array_equal(left.judge[key], right.judge[key]) for key in left.judge)
    return same and replace(left, judge={}) == replace(right, judge={})


def test_a_saved_model_loads_as_it_was(tmp_path):
    ref = models.save(tmp_path, "web", MODEL, NOW)
    assert (ref.name, ref.version, ref.current) == ("web", 1, True)
    assert equal(models.load(tmp_path, "web"), MODEL)
    told = models.described(ref)
    assert told["created"] == "2026-01-02T03:04:05.000Z"
    assert told["counts"] == {"records": 10}


@settings(deadline=None)  # each example waits for the disk
@given(
    judge=st.dictionaries(
        st.text(st.characters(categories=["Ll", "Nd"]), min_size=1, max_size=8).map(lambda key: f"a/{key}"),
        arrays.arrays(
            st.sampled_from([np.float64, np.int64, np.bool_, np.uint8]),
            arrays.array_shapes(min_side=0),
            elements={"allow_nan": False},
        ),
        max_size=3,
    ),
    shapes=st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 5))),
)
def test_any_arrays_and_shapes_survive(tmp_path_factory, judge, shapes):
    store = tmp_path_factory.mktemp("store")
    model = replace(MODEL, judge=judge, shapes=shapes)
    models.save(store, "m", model, NOW)
    assert equal(models.load(store, "m"), model)


def test_equal_content_has_equal_bytes_and_an_equal_id(tmp_path):
    first = models.save(tmp_path / "a", "m", MODEL, NOW)
    second = models.save(tmp_path / "b", "other", MODEL, datetime(2027, 1, 1, tzinfo=UTC))
    assert first.id == second.id
    assert (first.folder / "judge.npz").read_bytes() == (second.folder / "judge.npz").read_bytes()
    assert models.save(tmp_path / "a", "m", replace(MODEL, counts={}), NOW).id != first.id


def test_versions_can_be_promoted_and_rolled_back(tmp_path):
    for version in (1, 2, 3):
        models.save(tmp_path, "m", replace(MODEL, counts={"records": version}), NOW)
    models.save(tmp_path, "n", MODEL, NOW)
    listed = [(ref.name, ref.version, ref.current) for ref in models.listed(tmp_path)]
    assert listed == [("m", 1, False), ("m", 2, False), ("m", 3, True), ("n", 1, True)]
    assert models.promote(tmp_path, "m", 1).current
    assert models.load(tmp_path, "m").counts == {"records": 1}
    assert models.load(tmp_path, "m", 2).counts == {"records": 2}
    assert models.rollback(tmp_path, "m").version == 3
    assert models.rollback(tmp_path, "m").version == 2
    assert models.rollback(tmp_path, "m").version == 1
    with pytest.raises(StateError, match="the first"):
        models.rollback(tmp_path, "m")


@pytest.mark.parametrize("file", ["judge.npz", "templates.json", "manifest.json"])
@pytest.mark.parametrize("damage", [lambda data: data[:-1] + b"?", lambda data: data[: len(data) // 2], None])
def test_a_damaged_file_is_refused_and_named(tmp_path, file, damage):
    ref = models.save(tmp_path, "m", MODEL, NOW)
    path = ref.folder / file
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StateError) as caught:
        models.load(tmp_path, "m")
    assert caught.value.where == str(path)
    assert caught.value.expected
    assert "train" in caught.value.advice


@settings(deadline=None)  # each example waits for the disk
@given(data=st.data())
def test_no_flipped_byte_of_a_manifest_passes_for_another_model(tmp_path_factory, data):
    store = tmp_path_factory.mktemp("store")
    path = models.save(store, "m", MODEL, NOW).folder / "manifest.json"
    whole = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    try:
        loaded = models.load(store, "m")
    except StateError:
        return
    assert equal(loaded, MODEL)  # the flip hit a blank, the name, the date or the version of logad


def test_a_model_of_a_newer_format_is_refused_with_advice(tmp_path):
    ref = models.save(tmp_path, "m", MODEL, NOW)
    path = ref.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": models.FORMAT + 1, "logad": "9.9"}))
    with pytest.raises(StateError, match="written by logad 9"):
        models.load(tmp_path, "m")


def test_objects_are_never_stored_and_never_loaded(tmp_path):
    with pytest.raises(StateError, match="objects"):
        models.save(tmp_path, "m", replace(MODEL, judge={"x": np.array([object()])}), NOW)
    assert models.listed(tmp_path) == []
    assert list(tmp_path.rglob("*.npz")) == []


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc", ".hidden", "a\0b", "x" * 101])
def test_a_name_that_could_leave_the_store_is_refused(tmp_path, name):
    with pytest.raises(UsageError):
        models.save(tmp_path, name, MODEL, NOW)


def test_a_missing_model_names_the_ones_there_are(tmp_path):
    models.save(tmp_path, "web", MODEL, NOW)
    with pytest.raises(StateError, match="the store has web"):
        models.load(tmp_path, "wbe")
    with pytest.raises(StateError, match="no version 7; expected one of 1"):
        models.load(tmp_path, "web", 7)
    with pytest.raises(StateError, match="logad train"):
        models.load(tmp_path / "nothing", "web")


@pytest.mark.parametrize("failing", range(12))
def test_a_full_disk_leaves_the_store_as_it_was(tmp_path, monkeypatch, failing):
    models.save(tmp_path, "m", MODEL, NOW)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    calls = iter(range(100))

    def fsync(_descriptor):
        if next(calls) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", fsync)
    changed = replace(MODEL, counts={"records": 11})
    try:
        models.save(tmp_path, "m", changed, NOW)
    except StateError as error:
        assert "no space left" in str(error)  # noqa: PT017  (succeeding is right too)
        loaded = models.load(tmp_path, "m")
        assert loaded.counts in (MODEL.counts, changed.counts)
    else:
        assert models.load(tmp_path, "m").counts == changed.counts
    assert all(path.read_bytes() == data for path, data in before.items() if path.name != "current")
    assert not list(Path(tmp_path / "m").glob(".new-*"))


def test_a_number_taken_by_another_process_is_passed_over(tmp_path, monkeypatch):
    models.save(tmp_path, "m", MODEL, NOW)
    versions = models._versions
    monkeypatch.setattr(
        "logad.models._versions", lambda home: [] if len(versions(home)) == 1 else versions(home)
    )
    folder = models._placed(tmp_path / "m", {}, {})
    assert folder == 2
