"""Sources on real files: nothing lost, nothing twice, every fault told or counted."""

import bz2
import gzip
import lzma
import os
import subprocess
import sys
import tempfile
import tracemalloc
from collections import Counter
from itertools import takewhile
from pathlib import Path

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logad.contracts import PartConfig
from logad.errors import InputError
from logad.sources import open_sources
from logad.sources._decoding import Decoder
from logad.sources.file import FileSource
from logad.sources.stdin import StdinSource
from logad.telemetry import Telemetry

LINES = b"".join(b"2024-01-01 00:00:%02d line %d\n" % (number % 60, number) for number in range(2000))
PACKERS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor().compress,
}


def source(spec, telemetry=None, **options):
    return FileSource(str(spec), PartConfig(), telemetry or Telemetry(), **options)


def text(buffers):
    return b"".join(buffer.data for buffer in buffers)


def cursors(buffers):
    return {buffer.stream: buffer.cursor for buffer in buffers}


def following(src, saved=None):
    """Gives a function that takes what is new until the source has been idle for longer than a listing."""
    buffers = src.follow(saved or {})

    def new():
        got, idle = [], 0
        while idle < 7:
            buffer = next(buffers)
            idle = 0 if buffer else idle + 1
            got += [buffer] if buffer else []
        return got

    return new


# What is read


@pytest.mark.parametrize("ending", PACKERS)
def test_an_archive_is_told_by_its_first_bytes_whatever_its_name(tmp_path, ending):
    (tmp_path / "app.log").write_bytes(PACKERS[ending](LINES))
    assert text(source(tmp_path / "app.log").read({})) == LINES


@pytest.mark.parametrize("ending", PACKERS)
def test_members_of_an_archive_follow_each_other(tmp_path, ending):
    packed = PACKERS[ending](LINES[:999]) + PACKERS[ending](LINES[999:])
    (tmp_path / "app.log").write_bytes(packed)
    assert text(source(tmp_path / "app.log").read({})) == LINES


@pytest.mark.parametrize("ending", PACKERS)
def test_a_truncated_archive_is_counted_and_what_could_be_read_is_kept(tmp_path, ending):
    noise = b"".join(b"%d %s\n" % (n, os.urandom(40).hex().encode()) for n in range(20000))
    packed = PACKERS[ending](noise)
    (tmp_path / "app.log").write_bytes(packed[: len(packed) * 3 // 4])
    telemetry = Telemetry()
    got = text(source(tmp_path / "app.log", telemetry).read({}))
    assert noise.startswith(got)
    assert len(got) > len(noise) // 4
    assert telemetry.notes["archive_truncated"] == 1


@pytest.mark.parametrize("ending", PACKERS)
def test_a_damaged_archive_is_counted_and_what_could_be_read_is_kept(tmp_path, ending):
    packed = bytearray(PACKERS[ending](LINES * 20))
    packed[len(packed) // 2 :] = b"\x00damage" * 99
    (tmp_path / "app.log").write_bytes(packed)
    telemetry = Telemetry()
    got = text(source(tmp_path / "app.log", telemetry).read({}))
    assert len(got) <= len(LINES) * 20
    assert telemetry.notes["archive_damaged"] + telemetry.notes["archive_truncated"] == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig", "utf-8"])
def test_marked_text_becomes_utf8_without_its_mark(tmp_path, encoding):
    plain = "Grüße €\r\nzweite 漢字\n"
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "app.log").write_bytes((mark + plain).encode(encoding))
    assert text(source(tmp_path / "app.log").read({})).decode() == plain


def test_other_bytes_stay_as_they_are(tmp_path):
    (tmp_path / "app.log").write_bytes("Grüße\n".encode("latin-1"))
    assert text(source(tmp_path / "app.log").read({})) == b"Gr\xfc\xdfe\n"


def test_a_line_longer_than_the_buffer_is_cut_in_bounded_memory(tmp_path):
    with (tmp_path / "app.log").open("wb") as file:
        file.write(b"before\n")
        for _ in range(50):
            file.write(b"x" * (1 << 20))
        file.write(b"\nafter\n")
    telemetry = Telemetry()
    tracemalloc.start()
    buffers = list(source(tmp_path / "app.log", telemetry).read({}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    lines = text(buffers).splitlines()
    assert [(line[:6], len(line)) for line in lines] == [(b"before", 6), (b"xxxxxx", 1 << 20), (b"after", 5)]
    assert telemetry.notes["line_truncated"] == 1
    assert buffers[-1].first_line == 3
    assert peak < 20 << 20


def test_buffers_hold_whole_lines_and_know_their_numbers(tmp_path):
    (tmp_path / "app.log").write_bytes(LINES)
    telemetry = Telemetry()
    buffers = list(source(tmp_path / "app.log", telemetry, buffer_bytes=1000).read({}))
    line = 1
    for buffer in buffers:
        assert buffer.data.endswith(b"\n")
        assert buffer.first_line == line
        line += buffer.data.count(b"\n")
    assert [buffer.final for buffer in buffers] == [False] * (len(buffers) - 1) + [True]
    assert telemetry.bytes == len(LINES)


def test_a_folder_is_read_with_rotations_oldest_first(tmp_path):
    parts = {
        "x.log-20231231": b"a\n",
        "x.log.10.gz": gzip.compress(b"b\n"),
        "x.log.2": b"c\n",
        "x.log": b"d\n",
    }
    (tmp_path / "sub").mkdir()
    for name, data in parts.items():
        (tmp_path / "sub" / name).write_bytes(data)
    (tmp_path / "sub" / "y-2024-01-02.log").write_bytes(b"2\n")
    (tmp_path / "sub" / "y-2024-01-01.log").write_bytes(b"1\n")
    (tmp_path / ".hidden").write_bytes(b"no\n")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "log").write_bytes(b"no\n")
    (tmp_path / "core").write_bytes(b"\x7fELF\0\0")
    telemetry = Telemetry()
    got = [(buffer.stream, buffer.source, buffer.data) for buffer in source(tmp_path, telemetry).read({})]
    assert got == [
        ("sub/x.log", "sub/x.log-20231231", b"a\n"),
        ("sub/x.log", "sub/x.log.10.gz", b"b\n"),
        ("sub/x.log", "sub/x.log.2", b"c\n"),
        ("sub/x.log", "sub/x.log", b"d\n"),
        ("sub/y.log", "sub/y-2024-01-01.log", b"1\n"),
        ("sub/y.log", "sub/y-2024-01-02.log", b"2\n"),
    ]
    assert telemetry.notes == Counter(hidden_skipped=2, binary_skipped=1)


def test_a_file_asked_for_by_name_is_read_without_its_rotations(tmp_path):
    (tmp_path / "x.log").write_bytes(b"new\n")
    (tmp_path / "x.log.1").write_bytes(b"old\n")
    assert text(source(tmp_path / "x.log").read({})) == b"new\n"


def test_rotations_given_one_by_one_are_one_source(tmp_path):
    for name in ("x.log", "x.log.1", "y.log"):
        (tmp_path / name).write_bytes(name.encode() + b"\n")
    specs = [str(tmp_path / name) for name in ("x.log", "x.log.1", "y.log")]
    opened, faults = open_sources(specs, Telemetry())
    assert not faults
    assert [text(src.read({})) for src in opened] == [b"x.log.1\nx.log\n", b"y.log\n"]


def test_names_do_not_depend_on_where_the_files_lie_but_never_collide(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.log").write_bytes(b"line\n")
    alone, _ = open_sources([str(tmp_path / "a/x.log")], Telemetry())
    assert [buffer.stream for buffer in alone[0].read({})] == ["x.log"]
    both, _ = open_sources([str(tmp_path / "a/x.log"), str(tmp_path / "b")], Telemetry())
    assert [buffer.source for src in both for buffer in src.read({})] == ["a/x.log", "b/x.log"]


def test_a_file_named_twice_is_read_once(tmp_path):
    (tmp_path / "x.log").write_bytes(b"line\n")
    telemetry = Telemetry()
    specs = [str(tmp_path), str(tmp_path / "x.log"), f"{tmp_path}/../{tmp_path.name}/x.log"]
    opened, faults = open_sources(specs, telemetry)
    assert not faults
    assert text(buffer for src in opened for buffer in src.read({})) == b"line\n"
    assert telemetry.notes["source_named_twice"] == 1


def test_a_glob_is_read_in_order(tmp_path):
    for name in ("b.log", "a.log", "c.txt"):
        (tmp_path / name).write_bytes(name.encode() + b"\n")
    assert text(source(f"{tmp_path}/*.log").read({})) == b"a.log\nb.log\n"


def test_a_named_pipe_is_read_once_through(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    code = "import sys; open(sys.argv[1], 'wb').write(b'one\\ntwo')"
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "pipe")])
    opened, faults = open_sources([str(tmp_path / "pipe")], Telemetry())
    assert not faults
    assert text(opened[0].read({})) == b"one\ntwo"
    assert writer.wait() == 0


# Faults


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: None, "no such file or folder"),
        (lambda path: path.mkdir(), "a folder without readable logs"),
        (
            lambda path: (path.mkdir(), (path / "a.out").write_bytes(b"\x7fELF\0"), (path / ".x").touch()),
            "1 binary",
        ),
        (lambda path: path.write_bytes(b"MZ\0\0"), "a binary file"),
        (lambda path: path.write_bytes(gzip.compress(b"ustar\0\0\0")), "a binary file"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_what_to_do(tmp_path, make, found):
    path = tmp_path / "given"
    make(path)
    with pytest.raises(InputError) as caught:
        list(source(path).read({}))
    assert found in str(caught.value)
    assert caught.value.expected
    assert caught.value.advice


def test_one_bad_source_does_not_stop_the_others(tmp_path):
    (tmp_path / "good.log").write_bytes(b"line\n")
    specs = [
        "no/such/*.log",
        str(tmp_path / "good.log"),
        "kafka://me:s3cret@host/topic",
        "opensearch+http://host",
    ]
    opened, faults = open_sources(specs, Telemetry())
    assert [text(src.read({})) for src in opened] == [b"line\n"]
    assert len(faults) == 3
    assert not any("s3cret" in str(fault) for fault in faults)


def test_a_file_without_permission_is_an_error_and_in_a_folder_it_is_counted():
    code = """
import os, sys
from logad.sources import open_sources
from logad.telemetry import Telemetry
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
telemetry = Telemetry()
opened, faults = open_sources([sys.argv[1] + "/secret.log", sys.argv[1]], telemetry)
print(len(opened), faults[0], dict(telemetry.notes))
"""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "secret.log").write_bytes(b"line\n")
        (Path(folder) / "secret.log").chmod(0o000)
        (Path(folder) / "open.log").write_bytes(b"line\n")
        done = subprocess.run(
            [sys.executable, "-c", code, folder], capture_output=True, text=True, check=False
        )
    assert done.stdout.startswith("1 "), done.stderr
    assert "no permission to read this file" in done.stdout
    assert "'unreadable_skipped': 1" in done.stdout


def test_a_file_that_shrinks_while_it_is_read_is_noted(tmp_path):
    (tmp_path / "app.log").write_bytes(LINES * 100)
    telemetry = Telemetry()
    buffers = source(tmp_path / "app.log", telemetry, buffer_bytes=1000).read({})
    first = next(buffers)
    os.truncate(tmp_path / "app.log", 10)
    rest = list(buffers)
    assert (LINES * 100).startswith(first.data + text(rest))
    assert telemetry.notes["shrunk"] == 1


def test_a_broken_cursor_is_refused(tmp_path):
    (tmp_path / "app.log").write_bytes(LINES)
    with pytest.raises(InputError, match="cursor"):
        list(source(tmp_path / "app.log").read({"app.log": "[1,2]"}))


# Resuming


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"").replace(b"\0", b""))),
    newline=st.booleans(),
    sizes=st.tuples(st.integers(45, 200), st.integers(45, 200)),
    stop=st.integers(0, 20),
    packed=st.sampled_from([None, *PACKERS]),
)
@example(lines=[b"\xfd"], newline=False, sizes=(45, 45), stop=1, packed="xz")  # as an archive begins
def test_any_buffer_size_resumed_at_any_cursor_gives_the_same_bytes(lines, newline, sizes, stop, packed):
    data = b"\n".join(lines) + (b"\n" if newline and lines else b"")
    if list(Decoder(Counter()).push(data + b"....")) != [data + b"...."]:
        return  # it happens to begin like an archive or with a mark
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "app.log"
        path.write_bytes(PACKERS[packed](data) if packed else data)
        whole = list(source(path, buffer_bytes=sizes[0]).read({}))
        assert text(whole) == data
        first = whole[:stop]
        rest = list(source(path, buffer_bytes=sizes[1]).read(cursors(first)))
        assert text(first) + text(rest) == data
        if first and rest and first[-1].data.endswith(b"\n"):
            assert rest[0].first_line == 1 + text(first).count(b"\n")


@pytest.mark.parametrize("rotate", ["rename", "copytruncate", "compress"])
def test_a_cursor_is_found_again_after_a_rotation(tmp_path, rotate):
    live, old = tmp_path / "x.log", tmp_path / "x.log.1"
    live.write_bytes(LINES)
    first = list(takewhile(lambda buffer: not buffer.final, source(live, buffer_bytes=1000).read({})))
    with live.open("ab") as file:
        file.write(b"written before the rotation\n")
    if rotate == "rename":
        live.rename(old)
    elif rotate == "copytruncate":
        old.write_bytes(live.read_bytes())
    else:
        (tmp_path / "x.log.1.gz").write_bytes(gzip.compress(live.read_bytes()))
    live.write_bytes(b"written after it\n")
    telemetry = Telemetry()
    rest = list(source(live, telemetry).read(cursors(first)))
    expected = LINES + b"written before the rotation\nwritten after it\n"
    assert text(first) + text(rest) == expected
    assert not telemetry.notes


def test_a_file_with_the_same_header_is_not_mistaken_for_the_cursors(tmp_path):
    header, live = b"# the same licence text on top of every file\n" * 50, tmp_path / "x.log"
    live.write_bytes(header + b"one\n")
    first = list(source(live).read({}))
    (tmp_path / "x.log.1").write_bytes(live.read_bytes())
    live.write_bytes(header + b"two, and longer\n")
    telemetry = Telemetry()
    assert text(source(live, telemetry).read(cursors(first))) == header + b"two, and longer\n"
    assert not telemetry.notes


def test_a_file_cut_off_without_a_copy_is_read_anew_but_not_its_rotations(tmp_path):
    (tmp_path / "x.log.1").write_bytes(b"old\n")
    (tmp_path / "x.log").write_bytes(LINES)
    first = list(source(tmp_path).read({}))
    (tmp_path / "x.log").write_bytes(b"new\n")
    telemetry = Telemetry()
    assert text(source(tmp_path, telemetry).read(cursors(first))) == b"new\n"
    assert telemetry.notes["cursor_lost"] == 1


def test_utf16_is_resumed_in_the_middle(tmp_path):
    plain = "".join(f"Zeile {number} ä\n" for number in range(500))
    (tmp_path / "app.log").write_bytes(plain.encode("utf-16"))
    buffers = list(source(tmp_path / "app.log", buffer_bytes=1000).read({}))
    rest = source(tmp_path / "app.log").read(cursors(buffers[:3]))
    assert (text(buffers[:3]) + text(rest)).decode() == plain


# Following


@pytest.fixture
def live(tmp_path):
    return tmp_path / "x.log"


def test_a_follower_sees_what_is_appended_and_waits_for_whole_lines(live):
    live.write_bytes(b"one\nhal")
    new = following(source(live, sleep=lambda _: None))
    assert text(new()) == b"one\n"
    with live.open("ab") as file:
        file.write(b"f\ntwo\n")
    got = new()
    assert text(got) == b"half\ntwo\n"
    assert got[0].first_line == 2


@pytest.mark.parametrize("rotate", ["rename", "copytruncate", "compress", "delete"])
def test_a_follower_follows_a_rotation(live, rotate):
    live.write_bytes(b"one\n")
    telemetry = Telemetry()
    new = following(source(live, telemetry, sleep=lambda _: None))
    assert text(new()) == b"one\n"
    with live.open("ab") as file:
        file.write(b"two\n")
    if rotate == "rename":
        live.rename(live.with_name("x.log.1"))
    elif rotate == "copytruncate":
        live.with_name("x.log.1").write_bytes(live.read_bytes())
        os.truncate(live, 0)
    elif rotate == "compress":
        live.with_name("x.log.1.gz").write_bytes(gzip.compress(live.read_bytes()))
        live.unlink()
    else:
        live.unlink()
    live.open("ab").close()
    assert text(new()) == b"two\n"
    with live.open("ab") as file:
        file.write(b"three\n")
    assert text(new()) == b"three\n"
    assert telemetry.notes == (Counter(truncated=1) if rotate == "copytruncate" else Counter())


def test_a_follower_begins_a_truncated_file_anew(live):
    live.write_bytes(LINES)
    telemetry = Telemetry()
    new = following(source(live, telemetry, sleep=lambda _: None))
    assert text(new()) == LINES
    live.write_bytes(b"anew\n")
    assert text(new()) == b"anew\n"
    assert telemetry.notes["truncated"] == 1


def test_a_follower_still_reads_what_goes_into_the_renamed_file(live):
    live.write_bytes(b"one\n")
    new = following(source(live, sleep=lambda _: None))
    new()
    with live.open("ab") as writer:
        live.rename(live.with_name("x.log.1"))
        live.touch()
        assert not new()
        writer.write(b"late\n")
    assert text(new()) == b"late\n"
    live.write_bytes(b"next\n")
    assert text(new()) == b"next\n"


def test_a_follower_picks_up_new_files_of_a_folder(tmp_path):
    (tmp_path / "a.log").write_bytes(b"a\n")
    new = following(source(tmp_path, sleep=lambda _: None))
    assert text(new()) == b"a\n"
    (tmp_path / "b.log").write_bytes(b"b\n")
    (tmp_path / "c.log.gz").write_bytes(gzip.compress(b"c, whole"))
    assert sorted(buffer.data for buffer in new()) == [b"b\n", b"c, whole"]


def test_a_follower_resumes_where_it_was_killed(live):
    live.write_bytes(b"one\ntwo\n")
    got = following(source(live, sleep=lambda _: None))()
    with live.open("ab") as file:
        file.write(b"three\n")
    live.rename(live.with_name("x.log.1"))
    live.write_bytes(b"four\n")
    rest = following(source(live, sleep=lambda _: None), cursors(got))()
    assert text(rest) == b"three\nfour\n"


def test_a_follower_waits_five_times_a_second(live):
    live.write_bytes(b"one\n")
    slept = []
    following(source(live, sleep=slept.append))()
    assert set(slept) == {0.2}


STEPS = ["line", "line", "part", "poll", "poll", "rename", "copytruncate", "compress", "restart", "read"]


@settings(max_examples=120, deadline=None)
@given(st.lists(st.sampled_from(STEPS), max_size=25), st.booleans())
def test_whatever_happens_to_a_followed_log_each_line_comes_once(steps, whole_folder):  # noqa: C901  (one step each)
    with tempfile.TemporaryDirectory() as folder:
        live, written, got = Path(folder) / "x.log", b"", []
        live.touch()

        def write(data):
            nonlocal written
            with live.open("ab") as file:
                file.write(data)
            written += data

        def rotations():
            """Move x.log.1 to x.log.2.gz and so on."""
            for number in range(len(steps), 0, -1):
                for ending in ("", ".gz"):
                    old = Path(folder) / f"x.log.{number}{ending}"
                    if old.exists():
                        old.rename(Path(folder) / f"x.log.{number + 1}{ending}")

        spec = folder if whole_folder else live
        new = following(source(spec, sleep=lambda _: None))
        write(b"first line\n")
        got += new()
        for number, step in enumerate(steps):
            if step == "line":
                write(b"line %d\n" % number)
            elif step == "part":
                write(b"part %d, " % number)
            elif step == "poll":
                got += new()
            elif step == "restart":
                new = following(source(spec, sleep=lambda _: None), cursors(got))
            elif step == "read":
                got += source(spec).read(cursors(got))
                new = following(source(spec, sleep=lambda _: None), cursors(got))
            elif live.stat().st_size:
                write(b"rotated by step %d\n" % number)
                rotations()
                rotated = Path(folder) / "x.log.1"
                if step == "rename":
                    live.rename(rotated)
                    live.touch()
                elif step == "copytruncate":
                    rotated.write_bytes(live.read_bytes())
                    os.truncate(live, 0)
                else:
                    Path(f"{rotated}.gz").write_bytes(gzip.compress(live.read_bytes()))
                    live.unlink()
                    live.touch()
        write(b"last line\n")
        got += new()
        assert text(got) == written


# Standard input


def test_standard_input_is_read_to_its_end():
    reader, writer = os.pipe()
    os.write(writer, gzip.compress(b"one\ntwo"))
    os.close(writer)
    buffers = list(StdinSource("-", PartConfig(), Telemetry(), descriptor=reader).read({}))
    os.close(reader)
    assert [(buffer.data, buffer.first_line, buffer.final) for buffer in buffers] == [(b"one\ntwo", 1, True)]


def test_standard_input_is_followed_as_it_comes_until_it_ends():
    reader, writer = os.pipe()
    buffers = StdinSource("-", PartConfig(), Telemetry(), descriptor=reader).follow({})
    os.write(writer, b"one\ntw")
    assert next(buffers).data == b"one\n"
    assert next(buffers) is None
    os.write(writer, b"o\nlast")
    assert next(buffers).data == b"two\n"
    os.close(writer)
    last = next(buffers)
    assert (last.data, last.first_line, last.final) == (b"last", 3, True)
    assert next(buffers, "end") == "end"
    os.close(reader)
