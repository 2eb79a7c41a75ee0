"""Compiles the passes over raw bytes once for this machine, keeps the machine code, and loads it."""

import ctypes
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Final

import llvmlite.binding as llvm

_PREFIX: Final = "logad_"
_WORDS: Final = {"line_shapes": 10, "flatten": 3, "moments": 7, "numbers": 10}  # how many each function takes
_MODULES: Final = {"line_shapes": "source", "flatten": "source", "moments": "times", "numbers": "digits"}
_MARK: Final = hashlib.sha256().digest_size
_SOURCES: Final = (
    *(
        Path(__file__).with_name(name)
        for name in ("words.py", "source.py", "times.py", "digits.py", "numbered.py")
    ),
    Path(__file__).parents[1] / "canonical.py",
)
_LOCK: Final = Lock()


@dataclass(frozen=True, slots=True)
class Passes:
    """The functions of the sources by their names; they take and give back words of 64 bits."""

    line_shapes: Callable[..., int]
    flatten: Callable[..., int]
    moments: Callable[..., int]
    numbers: Callable[..., int]


_LOADED: Final[list[Passes]] = []  # once they were


def compiled(tell: Callable[[str], None] | None = None) -> Passes | None:
    """The passes, or None where no earlier run has left them.

    With `tell` they are compiled then, which takes some seconds; `tell` is given a word about it before.

    Raises:
        OSError, ImportError, RuntimeError: they cannot be compiled here.
    """
    with _LOCK:
        if not _LOADED:
            path = _cached()
            code = _sound(path)
            if code is None and tell is not None:
                tell("compiling for this machine, once")
                code = _object()
                _keep(path, code)
            if code is not None:
                _LOADED.append(_loaded(code))
        return _LOADED[0] if _LOADED else None


def _loaded(code: bytes) -> Passes:
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return Passes(**{name: _callable(engine, name) for name in _WORDS})


def _callable(engine: llvm.ExecutionEngine, name: str) -> Callable[..., int]:
    """A function without numba's calling convention: a status is returned, the result is written."""
    address = engine.get_function_address(_PREFIX + name)
    kinds = [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_uint64] * _WORDS[name]]
    function = ctypes.CFUNCTYPE(ctypes.c_int32, *kinds)(address)

    def called(*arguments: int) -> int:
        result, excuse = ctypes.c_uint64(), ctypes.c_void_p()
        status = function(ctypes.byref(result), ctypes.byref(excuse), *arguments)
        if status:
            raise RuntimeError(f"{engine}: {name} gave status {status}")
        return result.value

    return called


def _machine() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, jit=True
    )


def _object() -> bytes:
    """Machine code of the passes alone, without what numba wraps around them."""
    from numba import cfunc, types  # noqa: PLC0415  (a third of a second, only to compile)

    module = llvm.parse_assembly("")
    for name, words in _WORDS.items():
        module_of = import_module(f"logad.kernel.{_MODULES[name]}")  # imports numba
        wrapped = cfunc(types.uint64(*[types.uint64] * words))(getattr(module_of, name))
        part = llvm.parse_assembly(wrapped.inspect_llvm())
        for defined in part.functions:
            if f"{len(name)}{name}B" in defined.name and not defined.name.startswith("cfunc."):
                defined.name = _PREFIX + name
            elif not defined.is_declaration:
                defined.linkage = "internal"
        module.link_in(part)
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(_machine(), llvm.create_pipeline_tuning_options()))
    return bytes(_machine().emit_object(module))


def _cached() -> Path:
    """Where the machine code lies."""
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "logad" / f"{_name()}.o"


@lru_cache(maxsize=1)
def _name() -> str:
    """Stands for this processor, these sources and these versions."""
    told = [
        llvm.get_host_cpu_name(),
        llvm.get_process_triple(),
        sys.version,
        version("llvmlite"),
        version("numba"),
    ]
    sources = [path.read_text(encoding="utf-8") for path in _SOURCES]
    return hashlib.sha256("\0".join([*told, *sources]).encode()).hexdigest()[:32]


def _sound(path: Path) -> bytes | None:
    """What `_keep` left, if nobody else could have written it and it is whole."""
    try:
        found = path.stat()
        stored = path.read_bytes()
    except OSError:
        return None
    own = found.st_uid == os.getuid() and not found.st_mode & 0o022
    code, mark = stored[:-_MARK], stored[-_MARK:]
    return code if own and hashlib.sha256(code).digest() == mark else None


def _keep(path: Path, code: bytes) -> None:
    """Leave the machine code for the next run; where that cannot be, the next run compiles again."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as draft:
            draft.write(code + hashlib.sha256(code).digest())
        Path(draft.name).replace(path)
    except OSError:
        return
