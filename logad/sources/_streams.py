"""Finds the files that a path, a glob or a folder means: a log and its rotations are one stream."""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from logad.errors import InputError
from logad.sources._decoding import SNIFF_BYTES, Decoder

_EXPECTED: Final = "a file, a glob, a folder with logs or - for standard input"
_SUFFIXES: Final = r"(?:\.(?:gz|bz2|xz|zst|zstd))?$"
_DATE: Final = r"(?:19|20)\d\d-?[01]\d-?[0-3]\d(?:[-T_.]?\d\d(?:[-:_]?\d\d){0,2})?"
_DATED: Final = re.compile(rf"^(?P<base>.+?)[-_.](?P<date>{_DATE}|1\d{{9}})(?:[-.](?P<n>\d+))?{_SUFFIXES}")
_DATED_INSIDE: Final = re.compile(
    rf"^(?P<base>.+?)[-_.](?P<date>{_DATE})(?:[-.](?P<n>\d+))?(?P<extension>\.[A-Za-z]+){_SUFFIXES}"
)
_NUMBERED: Final = re.compile(rf"^(?P<base>.+)\.(?P<n>\d{{1,4}}|old|prev){_SUFFIXES}")
_PLAIN: Final = re.compile(rf"^(?P<base>.+?){_SUFFIXES}")

LIVE: Final = 2
_COMPRESSED: Final = frozenset({".gz", ".bz2", ".xz", ".zst", ".zstd"})

Age = tuple[int, str, int]
"""Sorts the files of one stream oldest first: dated ones, numbered ones from the highest, the live one."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One log: its files, oldest first, with their names as evidence shows them."""

    name: str
    files: tuple[Path, ...]  # all that are known, to find a cursor's file among them
    asked: frozenset[Path]  # those that the specification means
    names: dict[Path, str]


def rotation(name: str) -> tuple[str, Age]:
    """The log that a file name belongs to, and the file's place among its rotations.

    >>> rotation("app.log.2.gz"), rotation("app.log-20240101")
    (('app.log', (1, '', -2)), ('app.log', (0, '20240101', 0)))
    >>> rotation("app-2024-01-02.1.log"), rotation("app.log")
    (('app.log', (0, '20240102', 1)), ('app.log', (2, '', 0)))
    """
    for pattern in (_DATED, _DATED_INSIDE):
        if match := pattern.match(name):
            base = match["base"] + match.groupdict().get("extension", "")
            return base, (0, re.sub(r"\D", "", match["date"]), int(match["n"] or 0))
    if match := _NUMBERED.match(name):
        number = int(match["n"]) if match["n"].isdigit() else 1
        return match["base"], (1, "", -number)
    match = _PLAIN.match(name)
    base = match["base"] if match else name
    return base, (LIVE, "", 0 if base == name else -1)


class Finder:
    """Finds the streams of one path, glob or folder, as often as asked; counts what it skips, once each."""

    def __init__(self, spec: str, notes: Counter[str], also: tuple[Path, ...] = ()) -> None:
        self.spec = spec
        self._also = also  # further files, asked for by name
        self.prefix = ""  # goes before every name, where two sources would have equal ones
        self._notes = notes
        self._fit: dict[Path, bool] = {}  # what was looked at before
        self._hidden: set[Path] = set()

    def streams(self) -> list[Stream]:
        """The streams that are there now, by name.

        Raises:
            InputError: there is no such file or folder, it cannot be read, or it holds no logs.
        """
        root = Path(self.spec)
        if root.is_dir():
            return self._folder(root)
        if root.exists() or not glob.has_magic(self.spec):
            return self._file(root)
        matches = sorted(Path(match) for match in glob.glob(self.spec, recursive=True))  # noqa: PTH207  (any root)
        found = [path for path in matches if path.is_file() and self._fits(path)]
        if "**" not in self.spec:
            found += [path for folder in matches if folder.is_dir() for path in self._logs_in(folder)]
        if not found:
            advice = self._skipped() or "check the spelling"
            raise InputError(self.spec, "the glob matches no readable log", _EXPECTED, advice)
        return self._grouped(found, literal_root(self.spec), found)

    def _folder(self, root: Path) -> list[Stream]:
        try:
            os.listdir(root)  # noqa: PTH208  (the names alone)
        except PermissionError:
            raise InputError(
                self.spec, "no permission to read this folder", _EXPECTED, "run as a user who may"
            ) from None
        found = self._logs_in(root)
        if not found:
            advice = self._skipped() or "check the path"
            raise InputError(self.spec, "a folder without readable logs", _EXPECTED, advice)
        return self._grouped(found, root, found)

    def _file(self, root: Path) -> list[Stream]:
        base, age = rotation(root.name)
        known = self._rotations(root) if base == root.name and age[0] == LIVE else []
        asked = [path for path in (root, *self._also) if path.exists()]
        if not asked and not known:
            raise InputError(self.spec, "no such file or folder", _EXPECTED, "check the spelling")
        for path in asked:
            _refuse_unreadable(path)
        return self._grouped(dict.fromkeys([*known, *asked]), root.parent, asked)

    def _rotations(self, live: Path) -> list[Path]:
        try:
            beside = [path for path in live.parent.iterdir() if path.name.startswith(live.name[:1])]
        except OSError:
            return []
        return [
            path
            for path in beside
            if path != live and rotation(path.name)[0] == live.name and path.is_file() and _readable(path)
        ]

    def _grouped(self, files: Iterable[Path], root: Path, asked: Iterable[Path]) -> list[Stream]:
        groups: dict[str, list[tuple[Age, Path]]] = {}
        names: dict[Path, str] = {}
        for path in files:
            names[path] = self.prefix + _shown(path.relative_to(root).as_posix())
            base, age = rotation(path.name)
            stream = names[path].removesuffix(_shown(path.name)) + _shown(base)
            groups.setdefault(stream, []).append((age, path))
        wanted = frozenset(asked)
        return [
            Stream(name, tuple(_without_twins(sorted(members))), wanted, names)
            for name, members in sorted(groups.items())
        ]

    def _logs_in(self, root: Path) -> list[Path]:
        found = []
        for folder, subfolders, names in os.walk(root):
            hidden = {Path(folder, name) for name in (*subfolders, *names) if name.startswith(".")}
            self._notes["hidden_skipped"] += len(hidden - self._hidden)
            self._hidden |= hidden
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            paths = (Path(folder, name) for name in sorted(names) if not name.startswith("."))
            found += [path for path in paths if path.is_file() and self._fits(path)]
        return found

    def _fits(self, path: Path) -> bool:
        if path not in self._fit:
            try:
                fit = not _binary(path)
            except OSError:
                fit = False
                self._notes["unreadable_skipped"] += 1
            else:
                self._notes["binary_skipped"] += not fit
            if fit and not path.stat().st_size:
                return True  # an empty file may yet turn out to be anything
            self._fit[path] = fit
        return self._fit[path]

    def _skipped(self) -> str:
        kinds = ("hidden", "binary", "unreadable")
        counts = [
            f"{self._notes[f'{kind}_skipped']} {kind}" for kind in kinds if self._notes[f"{kind}_skipped"]
        ]
        return "skipped there: " + ", ".join(counts) if counts else ""


def _shown(name: str) -> str:
    r"""A file name as text: bytes that are none are spelt out.

    >>> print(_shown("caf\udce9.log"))
    caf\xe9.log
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _refuse_unreadable(path: Path) -> None:
    spec = str(path)
    if not path.is_file():
        return  # a pipe or a device: it can be read once only
    try:
        binary = _binary(path)
    except PermissionError:
        raise InputError(
            spec, "no permission to read this file", _EXPECTED, "run as a user who may, or change its mode"
        ) from None
    except OSError as error:
        raise InputError(spec, f"cannot be read: {error.strerror}", _EXPECTED, "check the disk") from None
    if binary:
        raise InputError(spec, "a binary file", "text, plain or compressed", "convert it, or leave it out")


def _binary(path: Path) -> bool:
    decoder, text = Decoder(Counter()), b""
    with path.open("rb") as file:
        while len(text) < SNIFF_BYTES and (raw := file.read(SNIFF_BYTES)):
            for piece in decoder.push(raw):
                text += piece
                if len(text) >= SNIFF_BYTES:
                    break
    return b"\0" in text[:SNIFF_BYTES]


def _readable(path: Path) -> bool:
    try:
        return not _binary(path)
    except OSError:
        return False


def literal_root(spec: str) -> Path:
    """The folder before the first wildcard of a glob; names are relative to it."""
    parts = Path(spec).parts
    magic = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:magic])


def _without_twins(members: list[tuple[Age, Path]]) -> Iterator[Path]:
    """While `x.log.1` is being compressed, `x.log.1.gz` stands beside it: the first is the whole one."""
    present = {path.name for _, path in members}
    for age, path in members:
        if age[0] == LIVE or not (path.suffix in _COMPRESSED and path.stem in present):
            yield path
