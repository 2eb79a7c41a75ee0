"""The model store: what training leaves behind, as data with versions and checksums, never as code."""

import errno
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from logad import __version__
from logad.contracts import State
from logad.errors import StateError, UsageError
from logad.lineage import Descent
from logad.remembering import Known
from logad.types import iso

FORMAT: Final = 2
"""Raised when an older program could misread what this one writes."""

_MANIFEST: Final = "manifest.json"
_JUDGE: Final = "judge.npz"
_TEMPLATES: Final = "templates.json"
_CURRENT: Final = "current"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the first moment a zip file knows: same arrays, same bytes
_CONTENT: Final = (
    "windowing",
    "layouts",
    "counts",
    "statistics",
    "doubts",
    "config_digest",
    "checksums",
)
_RETRAIN: Final = "train it again, or `logad models rollback` to an earlier version"


@dataclass(frozen=True)
class Model:
    """What one training learned; everything in it is plain data."""

    windowing: Mapping[str, Any]  # Windowing.as_dict()
    shapes: Sequence[tuple[str, int]]  # Miner.shapes()
    judge: State  # Judge.state()
    crowds: bytes = b""  # Miner.crowds()
    lineage: Sequence[Descent] = ()  # Miner.lineage()
    layouts: Mapping[str, Any] = field(default_factory=dict)  # stream -> Layout.as_dict()
    counts: Mapping[str, int] = field(default_factory=dict)  # records, windows, templates ... learned from
    statistics: Mapping[str, Any] = field(default_factory=dict)  # what the training windows looked like
    doubts: Sequence[str] = ()  # what training was not sure of, in words
    config_digest: str = ""  # settings.digest() of the training


@dataclass(frozen=True, slots=True)
class ModelRef:
    """One version of a model in the store."""

    name: str
    version: int
    id: str  # a hash of the content: equal content, equal id, everywhere
    created: str  # ISO 8601, UTC
    folder: Path
    current: bool


def save(store: Path, name: str, model: Model, created: datetime) -> ModelRef:
    """Write the next version of a model and make it the current one; a crash leaves the store as it was.

    Raises:
        UsageError: the name cannot be a folder's.
        StateError: the store cannot be written, or the model holds objects instead of data.
    """
    home = _home(store, name)
    files = {
        _JUDGE: _packed(model.judge, f"model {name}"),
        _TEMPLATES: Known(model.shapes, model.crowds, model.lineage).as_bytes(),
    }
    checksums = {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}
    content = {
        "windowing": dict(model.windowing),
        "layouts": dict(model.layouts),
        "counts": dict(model.counts),
        "statistics": dict(model.statistics),
        "doubts": list(model.doubts),
        "config_digest": model.config_digest,
        "checksums": checksums,
    }
    manifest = {
        "format": FORMAT,
        "name": name,
        "version": 0,  # given when it is placed
        "id": hashlib.sha256(_json(content)).hexdigest()[:16],
        "created": iso(created),
        "logad": __version__,
        **content,
    }
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        version = _placed(home, files, manifest)
        _write_current(home, [*_history(home), version])
    except OSError as error:
        why = (error.strerror or "cannot be written").lower()
        raise StateError(str(home), why, "a folder that can be written", "check its permissions") from None
    return _ref(home, version)


def load(store: Path, name: str, version: int | None = None) -> Model:
    """A version of a model, or its current one, after its checksums were checked.

    Raises:
        StateError: there is none, it is damaged, or a newer logad wrote it.
    """
    ref = find(store, name, version)
    manifest = _manifest(ref.folder)
    files = {}
    for file in (_JUDGE, _TEMPLATES):
        path = ref.folder / file
        try:
            files[file] = path.read_bytes()
        except OSError:
            raise StateError(str(path), "no such file", "a file of the model", _RETRAIN) from None
        found = hashlib.sha256(files[file]).hexdigest()
        expected = str(manifest["checksums"].get(file))
        if found != expected:
            damage = f"its checksum is {found[:12]}…"
            raise StateError(str(path), damage, f"{expected[:12]}…, as it was written", _RETRAIN)
    try:
        known = Known.from_bytes(files[_TEMPLATES], str(ref.folder / _TEMPLATES))
        with np.load(io.BytesIO(files[_JUDGE]), allow_pickle=False) as arrays:
            judge = {key: arrays[key] for key in arrays.files}
    except (ValueError, TypeError, zipfile.BadZipFile) as error:
        raise StateError(str(ref.folder), f"not readable ({error})", "arrays and shapes", _RETRAIN) from None
    told = {key: manifest[key] for key in _CONTENT if key != "checksums"}
    return Model(shapes=known.shapes, crowds=known.crowds, lineage=known.lineage, judge=judge, **told)


def find(store: Path, name: str, version: int | None = None) -> ModelRef:
    """Where a version of a model, or its current one, lies.

    Raises:
        StateError: there is none.
    """
    home = _home(store, name)
    versions = _versions(home)
    if not versions:
        known = ", ".join(sorted({ref.name for ref in listed(store)}))
        advice = f"the store has {known}" if known else "`logad train` makes one"
        raise StateError(f"model {name}", f"not in {store}", "the name of a stored model", advice)
    chosen = _current(home, versions) if version is None else version
    if chosen not in versions:
        told = "one of " + ", ".join(map(str, versions))
        raise StateError(f"model {name}", f"no version {chosen}", told)
    return _ref(home, chosen)


def listed(store: Path) -> list[ModelRef]:
    """Every version of every model whose manifest can be read, by name, then version."""
    homes = sorted(store.iterdir()) if store.is_dir() else []
    refs = []
    for home in homes:
        for version in _versions(home):
            try:
                refs.append(_ref(home, version))
            except StateError:
                continue  # `load` says why
    return refs


def described(ref: ModelRef) -> dict[str, Any]:
    """What the model says of itself."""
    return {**_manifest(ref.folder), "version": ref.version, "current": ref.current}


def promote(store: Path, name: str, version: int) -> ModelRef:
    """Make a stored version the current one.

    Raises:
        StateError: there is no such version, or it is damaged.
    """
    load(store, name, version)
    home = _home(store, name)
    _write_current(home, [*_history(home), version])
    return _ref(home, version)


def rollback(store: Path, name: str) -> ModelRef:
    """Make the version current that was so before the current one.

    Raises:
        StateError: there was none before, or it is damaged.
    """
    ref = find(store, name)
    versions = _versions(ref.folder.parent)
    before = [version for version in _history(ref.folder.parent)[:-1] if version in versions]
    if not before:
        raise StateError(
            f"model {name}", f"version {ref.version} is the first", "an earlier one to go back to"
        )
    load(store, name, before[-1])
    _write_current(ref.folder.parent, before)
    return _ref(ref.folder.parent, before[-1])


def check_name(name: str) -> None:
    """Refuse what cannot be a model's name.

    Raises:
        UsageError: the name cannot be a folder's.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"model {name!r}", "not a name", "letters, digits, dots, dashes and underscores")


def _home(store: Path, name: str) -> Path:
    check_name(name)
    return store / name


def _placed(home: Path, files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> int:
    """Write the files beside the versions, then give them the next number by one rename."""
    folder = Path(tempfile.mkdtemp(prefix=".new-", dir=home))
    try:
        folder.chmod(0o755)
        for file, data in files.items():
            _write(folder / file, data)
        version = 0
        while True:
            version = max(version, *_versions(home), 0) + 1
            _write(folder / _MANIFEST, _told({**manifest, "version": version}))
            _sync(folder)
            try:
                folder.rename(home / str(version))
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
                continue  # another process took the number
            _sync(home)
            return version
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _write_current(home: Path, history: Sequence[int]) -> None:
    """Note which versions were current, the last one now is, by one rename."""
    text = "".join(f"{version}\n" for version in history).encode()
    new = home / f".{_CURRENT}-{os.getpid()}"
    _write(new, text)
    new.replace(home / _CURRENT)
    _sync(home)


def _history(home: Path) -> list[int]:
    try:
        lines = (home / _CURRENT).read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return []
    return [int(line) for line in lines if line.isdecimal()]


def _current(home: Path, versions: Sequence[int]) -> int:
    """The last noted version that is there; without a note, the newest."""
    return next((version for version in reversed(_history(home)) if version in versions), versions[-1])


def _versions(home: Path) -> list[int]:
    try:
        return sorted(int(folder.name) for folder in home.iterdir() if folder.name.isdecimal())
    except OSError:
        return []


def _ref(home: Path, version: int) -> ModelRef:
    manifest = _manifest(home / str(version))
    current = _current(home, _versions(home)) == version
    return ModelRef(home.name, version, manifest["id"], manifest["created"], home / str(version), current)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / _MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        found = manifest["format"]
        if isinstance(found, int) and found > FORMAT:
            raise StateError(
                str(path),
                f"format {found}, written by logad {manifest.get('logad')}",
                f"at most {FORMAT}",
                "use that version of logad, or train the model again",
            )
        content = hashlib.sha256(_json({key: manifest[key] for key in _CONTENT})).hexdigest()[:16]
        whole = content == manifest["id"] and isinstance(manifest["created"], str)
    except OSError as error:
        why = (error.strerror or "cannot be read").lower()
        raise StateError(str(path), why, "a manifest", _RETRAIN) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StateError(str(path), "not readable", "a manifest in JSON", _RETRAIN) from None
    if not whole:
        raise StateError(
            str(path), "it was changed after it was written", "the manifest as written", _RETRAIN
        )
    return dict(manifest)


def _packed(arrays: State, where: str) -> bytes:
    """An `.npz` of the arrays: the same bytes for the same arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for key in sorted(arrays):
            array = np.asarray(arrays[key])
            if array.dtype.hasobject:
                raise StateError(where, f"{key} holds objects", "arrays of numbers or text")
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{key}.npy", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, member.getvalue())
    return buffer.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def _told(manifest: Mapping[str, Any]) -> bytes:
    return json.dumps(manifest, indent=2, ensure_ascii=False).encode() + b"\n"


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
