"""Shapes of lines: the compiled pass and its oracle tell the same lines apart, whatever the bytes."""

import itertools
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logad import shapes
from logad.canonical import canonical
from logad.kernel import loading, passes
from logad.kernel.passes import Compiled
from logad.numbering import Lines, Numbering
from logad.shapes import Shapes, flattened

PLAINLY, COMPILED = 1 << 60, 0
RUNS = st.sampled_from(
    ["1", "42", "0x1f", "0xg", "tty2", "L1", "node17", "x7k2p", "10ms", "12MiB", "3h5m", "ab12", "a489c868", "b",
     "9F", "2024", "05", "01T10", "2a", "f81d4fae", "7dec", "00a0c91e6bf6", "1234567890123456", "id00", "00id00",
     "a" * 63, "a" * 64 + "1", "1" * 65, "0x" + "f" * 70, "g" * 130, "9" * 62 + "ms", "deadbeef", "x" * 66 + "12"]
)  # fmt: skip
GLUE = st.sampled_from(
    [" ", ":", "-", ".", "/", "_", "", "é", "\t", "\r", "\0", '"', "  ", "\n", "\r\n", "::"]
)
LINES = st.lists(st.tuples(RUNS, GLUE), max_size=40).map(
    lambda parts: "".join(itertools.chain(*parts)).encode()
)
BYTES = st.one_of(
    LINES,
    st.binary(max_size=400),
    st.text("0123456789abcdefxT:-. \n\rZé_", max_size=400).map(str.encode),
)  # fmt: skip


def parts(
    texts: list[bytes], worth_compiling: int, most: int = shapes.MOST, *, threads: int = 1
) -> list[Lines]:
    """What is told of these texts one after the other."""
    own = partial(Shapes, most, worth_loading=PLAINLY, worth_compiling=worth_compiling)
    numbering = Numbering(own, threads=threads)
    for text in texts:
        numbering.submit(text)
    found = [part for _ in texts for part in numbering.next()]
    numbering.close()
    return found


def told(found: list[Lines]) -> list[tuple]:
    return [
        (*(getattr(part, name).tolist() for name in ("ids", "starts", "firsts", "ends")), part.anew)
        for part in found
    ]


@given(st.lists(BYTES, min_size=1, max_size=3))
@example([b""])
@example([b"\n"])
@example([b"\r\n\r\n"])
@example([b"1" * 64 + b"\n" + b"1" * 63 + b"\n"])
@example([b"a" * 64, b"a" * 63 + b"1"])
@settings(max_examples=500, deadline=None)
def test_the_compiled_pass_numbers_lines_as_its_oracle_does(texts):
    assert told(parts(texts, COMPILED)) == told(parts(texts, PLAINLY))


@given(st.lists(BYTES, min_size=1, max_size=3), st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_numbers_begin_anew_at_the_same_lines_when_there_are_too_many_shapes(texts, most):
    compiled = parts(texts, COMPILED, most)
    assert told(compiled) == told(parts(texts, PLAINLY, most))
    for part in compiled:
        assert part.ids.max(initial=0) < most


@given(st.lists(BYTES, min_size=1, max_size=6), st.integers(2, 3))
@settings(max_examples=200, deadline=None)
def test_numbers_do_not_depend_on_how_many_threads_there_are(texts, threads):
    assert told(parts(texts, COMPILED, threads=threads)) == told(parts(texts, COMPILED))


@given(st.lists(BYTES, min_size=1, max_size=8), st.integers(1, 4), st.integers(1, 3), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_number_tells_the_shape_that_had_it_first_whatever_was_forgotten(texts, most, threads, plainly):
    own = partial(Shapes, most, worth_loading=PLAINLY, worth_compiling=PLAINLY if plainly else COMPILED)
    numbering = Numbering(own, threads=threads)
    for text in texts:
        numbering.submit(text)
    first: list[str] = []
    for text in texts:
        lines = text.removesuffix(b"\n").split(b"\n") if text else []
        seen = []
        for part in numbering.next():
            first = [] if part.anew else first
            fresh = [text[begin:end] for begin, end in zip(part.firsts, part.ends, strict=True)]
            first += [canonical(line.decode("utf-8", "surrogateescape")) for line in fresh]
            assert len(set(first)) == len(first) <= most
            seen += [first[number] for number in part.ids]
            assert all(text[begin - 1 : begin] in {b"\n", b""} for begin in part.starts[1:])
        shapes_ = [canonical(line.removesuffix(b"\r").decode("utf-8", "surrogateescape")) for line in lines]
        assert seen == shapes_
    numbering.close()


@given(st.lists(LINES, min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_lines_are_numbered_alike_in_the_text_and_in_a_copy(texts):
    texts = [text * 9 for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "IN_PLACE", 0)
        in_place = told(parts(texts, COMPILED))
    assert in_place == told(parts(texts, COMPILED))


@given(BYTES.filter(len))
@settings(max_examples=200, deadline=None)
def test_pieces_are_all_of_a_text_with_room_around_each(text):
    text *= 9
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "IN_PLACE", 0)
        table = passes.LineTable(loading.compiled(), 10)
        laid = list(table._laid_out(text))
    begins = [begin for _, begin, _ in laid]
    sizes = [size for _, _, size in laid]
    assert begins == [0, *np.cumsum(sizes)[:-1]]
    assert sum(sizes) == len(text) + (not text.endswith(b"\n"))
    assert all(text[begin - 1 : begin] == b"\n" for begin in begins[1:])
    if len(laid) == 3:
        assert begins[1] >= passes.BEFORE
        assert begins[2] <= len(text) - passes.BEHIND


@given(BYTES)
@settings(max_examples=300, deadline=None)
def test_two_lines_have_one_number_just_when_their_canonical_texts_are_equal(text):
    (part,) = parts([text + b"\n"], COMPILED)
    lines = [line.removesuffix(b"\r") for line in (text + b"\n").split(b"\n")[:-1]]
    texts = [canonical(line.decode("utf-8", "surrogateescape")) for line in lines]
    first = {canon: index for index, canon in reversed(list(enumerate(texts)))}
    assert [int(np.flatnonzero(part.ids == number)[0]) for number in part.ids] == [
        first[canon] for canon in texts
    ]


@given(BYTES, st.integers(0, 400))
@settings(max_examples=200, deadline=None)
def test_numbers_do_not_depend_on_where_the_text_is_cut(text, cut):
    text += b"\n"
    cut = text.find(b"\n", min(cut, len(text) - 1)) + 1
    pieces = [part for part in (text[:cut], text[cut:]) if part]
    whole = np.concatenate([part.ids for part in parts([text], COMPILED)])
    assert np.concatenate([part.ids for part in parts(pieces, COMPILED)]).tolist() == whole.tolist()


@given(BYTES, st.binary(min_size=1, max_size=64))
@settings(max_examples=200, deadline=None)
def test_what_lies_behind_a_text_in_memory_changes_nothing(text, other):
    numbering = Shapes(worth_compiling=COMPILED)
    list(numbering.number(other * 40))  # leaves its bytes where the next text will lie
    fresh = parts([b"start\n", text], COMPILED)[1:]
    list(numbering.number(b"start\n"))
    again = list(numbering.number(text))
    assert [part.starts.tolist() for part in again] == [part.starts.tolist() for part in fresh]
    assert [np.unique(part.ids, return_inverse=True)[1].tolist() for part in again] == [
        np.unique(part.ids, return_inverse=True)[1].tolist() for part in fresh
    ]


def test_the_pass_reads_nothing_outside_the_room_it_is_given(monkeypatch):
    """The room's ends lie at pages that no one may read: a byte too far ends this process."""
    script = """
import ctypes, mmap, numpy as np
from logad import shapes
from logad.kernel import passes
libc = ctypes.CDLL(None, use_errno=True)
page = mmap.PAGESIZE
def guarded(size):
    pages = -(-size // page) + 2
    room = mmap.mmap(-1, pages * page)
    start = np.frombuffer(room, dtype=np.uint8).ctypes.data
    for at in (start, start + (pages - 1) * page):
        assert libc.mprotect(ctypes.c_void_p(at), page, 0) == 0
    whole = np.frombuffer(room, dtype=np.uint8)
    return whole[(pages - 1) * page - size : (pages - 1) * page], whole[page : page + size]
for ending in (0, 1):
    for text in (b"1", b"a1" * 40, b"a" * 200, b"x\\n" * 65, b"1:1" * 21, b"deadbeef-0000-1111:22", b"", b"\\n"):
        size = len(text) + (not text.endswith(b"\\n"))
        counted = shapes.Shapes(worth_compiling=0)
        list(counted.number(b"-"))
        counted._table._room = guarded(passes.BEFORE + size + passes.BEHIND)[ending]
        counted._table._room[: passes.BEFORE] = 10
        list(counted.number(text))
print("unharmed")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "unharmed\n", done.stderr


def test_it_is_compiled_once_with_a_word_and_then_found_in_the_cache(tmp_path):
    script = "from logad.shapes import Shapes; list(Shapes(worth_compiling=0, tell=print).number(b'a 1'))"
    environ = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    runs = [
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environ, check=True
        )
        for _ in "12"
    ]
    assert [run.stdout for run in runs] == ["compiling for this machine, once\n", ""]
    (kept,) = (tmp_path / "logad").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    third = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environ, check=True
    )
    assert third.stdout == "compiling for this machine, once\n"


def test_machine_code_that_others_may_have_written_is_not_run(tmp_path):
    path = tmp_path / "pass.o"
    loading._keep(path, b"code")
    assert loading._sound(path) == b"code"
    path.chmod(0o666)
    assert loading._sound(path) is None


def test_where_it_cannot_be_compiled_the_result_is_the_same_and_the_reason_is_told(monkeypatch):
    def missing(_tell):
        raise ImportError("no compiler")

    monkeypatch.setattr(loading, "compiled", missing)
    heard = []
    numbering = Shapes(worth_compiling=0, tell=heard.append)
    assert [part.ids.tolist() for part in numbering.number(b"a 1\na 2\nb")] == [[0, 0, 1]]
    assert heard == ["cannot be compiled here, so this is slower: no compiler"]


@pytest.mark.parametrize("worth", [PLAINLY, COMPILED])
def test_a_million_unique_lines_are_held_in_bounded_tables(worth):
    words = ("".join(pair) for pair in itertools.product("abcdefghij", repeat=4))
    text = "\n".join(words).encode()
    found = parts([text], worth, most=1000)
    assert len(found) == 10
    assert all(len(part.firsts) == 1000 for part in found)


@pytest.mark.parametrize("text", ["x" * 1_000_000, "x1" * 500_000, "-" * 1_000_000, "a:" * 500_000])
def test_a_word_of_a_megabyte_is_flattened_without_trying_its_every_end(text):
    assert canonical(text) == (text if "1" not in text else "00id00")


@given(BYTES)
@settings(max_examples=500, deadline=None)
def test_the_compiled_pass_writes_canonical_texts_as_the_oracle_does(text):
    list(Shapes(worth_compiling=COMPILED).number(b"-"))  # it is compiled now
    lines = text.decode("utf-8", "surrogateescape")
    assert Compiled.found().flatten(text).decode("utf-8", "surrogateescape") == canonical(lines)


@given(st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])), max_size=20))
def test_many_texts_are_flattened_as_one_is(texts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "WORTH_LOADING", 0)
        assert flattened(texts) == [canonical(text) for text in texts]
