"""What every source promises, as checks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from logad.contracts import PartConfig, Source
from logad.errors import InputError
from logad.telemetry import Telemetry
from logad.testing import Check, ContractBroken, require
from logad.types import Buffer

Given = TypeVar("Given")
Made = TypeVar("Made")
Promise = Callable[["SourceCase"], None]

_POLLS = 100  # what a follower may say, None included, before a check looks at it
_QUIET = 12


@dataclass(frozen=True)
class SourceCase:
    """A place to read from, freshly made for each check."""

    open: Callable[[Telemetry], Source]
    """A new source at the place; its buffers should be small, so that there are several."""
    content: bytes
    """All that lies there, newest last, each line with its newline."""
    append: Callable[[int], bytes] | None = None
    """Adds so many lines at the end and gives what is to be yielded for them; None where the place cannot
    grow: the checks of it must then be left out by name."""
    missing: Callable[[Telemetry], Source] | None = None
    """A source at a place that does not exist; None as above."""


def source_checks(part: type[Source], made: Callable[[], SourceCase]) -> list[Check]:
    """Every promise; `made` lays out a new place for each."""
    names_itself = it_says_what_it_is_called
    first = Check(names_itself, lambda: names_itself(part))
    return [first, *(Check(promise, _bound(promise, made)) for promise in PROMISES)]


def _bound(promise: Promise, made: Callable[[], SourceCase]) -> Callable[[], None]:
    return lambda: promise(made())


def it_says_what_it_is_called(part: type[Source]) -> None:
    """A name, and a Config that refuses unknown keys."""
    require(part.name.isidentifier(), f"name is {part.name!r}; expected an identifier")
    require(issubclass(part.Config, PartConfig), "Config is no PartConfig")


def every_line_is_yielded_or_counted_as_dropped(case: SourceCase) -> None:
    """Received = yielded + dropped; what is yielded is what lies there, in order."""
    buffers, _ = _all(case)
    lines = sum(_lines(buffer.data) for buffer in buffers)
    dropped = sum(sum(buffer.dropped.values()) for buffer in buffers)
    expected = _lines(case.content)
    require(lines + dropped == expected, f"{lines} lines yielded and {dropped} dropped of {expected}")
    if not dropped:
        require(_joined(buffers) == case.content, "what was yielded is not what lies there")


def buffers_hold_whole_lines(case: SourceCase) -> None:
    """Only the last buffer of a file, marked final, may lack its newline."""
    for buffer in _all(case)[0]:
        require(buffer.data.endswith(b"\n") or buffer.final or not buffer.data, "a buffer ends within a line")


def lines_are_numbered_without_a_gap(case: SourceCase) -> None:
    """`first_line` goes on where the last buffer of the file ended; 0 throughout where there are no lines."""
    following: dict[str, int] = {}
    for buffer in _all(case)[0]:
        expected = following.get(buffer.source, 1)
        if buffer.first_line:
            require(
                buffer.first_line == expected, f"a buffer begins at line {buffer.first_line}, not {expected}"
            )
        following[buffer.source] = expected + _lines(buffer.data)


def the_bytes_are_counted(case: SourceCase) -> None:
    """`telemetry.bytes` is the text that was yielded."""
    buffers, telemetry = _all(case)
    total = sum(len(buffer.data) for buffer in buffers)
    require(telemetry.bytes == total, f"{telemetry.bytes} bytes counted, {total} yielded")


def resuming_at_any_cursor_neither_loses_nor_repeats(case: SourceCase) -> None:
    """A new source at the cursors after buffer n yields exactly what comes after buffer n."""
    buffers, _ = _all(case)
    require(len(buffers) > 1, "the place yields one buffer only; the check needs several")
    cursors: dict[str, str] = {}
    for count, buffer in enumerate(buffers, 1):
        cursors[buffer.stream] = buffer.cursor
        source = case.open(Telemetry())
        rest = list(source.read(cursors))
        source.close()
        require(
            _by_stream(rest) == _by_stream(buffers[count:]),
            f"resumed after buffer {count}, it loses or repeats",
        )


def a_new_source_yields_the_same_again(case: SourceCase) -> None:
    """Equal place, equal buffers."""
    require(_all(case)[0] == _all(case)[0], "the second reading differs from the first")


def what_is_appended_is_followed_once(case: SourceCase) -> None:
    """`follow` yields what is there, says None when nothing is new, then yields what is appended, once."""
    append = _given(case.append)
    source = case.open(Telemetry())
    try:
        following = source.follow({})
        require(_joined(_until_quiet(following)) == case.content, "follow does not yield what is there")
        for count in (1, 2):
            news = append(count)
            got = _joined(_until_quiet(following))
            require(got == news, f"{news!r} was appended; follow yielded {got!r}")
    finally:
        source.close()


def following_from_a_cursor_goes_on_there(case: SourceCase) -> None:
    """What was appended while nobody looked is yielded, and nothing else."""
    append = _given(case.append)
    cursors = {buffer.stream: buffer.cursor for buffer in _all(case)[0]}
    news = append(2)
    source = case.open(Telemetry())
    try:
        got = _joined(_until_quiet(source.follow(cursors)))
    finally:
        source.close()
    require(got == news, f"{news!r} was appended; follow yielded {got!r}")


def a_missing_place_is_an_input_error_of_the_first_read(case: SourceCase) -> None:
    """Making the source touches nothing; reading says where and what to do."""
    source = _given(case.missing)(Telemetry())
    try:
        list(source.read({}))
    except InputError as error:
        require(error.where and error.found, "the error does not say where, or what was found")
    else:
        require(condition=False, complaint="reading what is not there raised no InputError")
    finally:
        source.close()


PROMISES: tuple[Promise, ...] = (
    every_line_is_yielded_or_counted_as_dropped,
    buffers_hold_whole_lines,
    lines_are_numbered_without_a_gap,
    the_bytes_are_counted,
    resuming_at_any_cursor_neither_loses_nor_repeats,
    a_new_source_yields_the_same_again,
    what_is_appended_is_followed_once,
    following_from_a_cursor_goes_on_there,
    a_missing_place_is_an_input_error_of_the_first_read,
)


def _given(ability: Callable[[Given], Made] | None) -> Callable[[Given], Made]:
    if ability is None:
        raise ContractBroken("the case has no such ability; leave the check out by name")
    return ability


def _all(case: SourceCase) -> tuple[list[Buffer], Telemetry]:
    telemetry = Telemetry()
    source = case.open(telemetry)
    try:
        return list(source.read({})), telemetry
    finally:
        source.close()


def _until_quiet(following: Iterator[Buffer | None]) -> list[Buffer]:
    """The buffers up to a dozen None in a row: not every look at the place need be a look for news."""
    got: list[Buffer] = []
    quiet = 0
    for buffer in islice(following, _POLLS):
        quiet = quiet + 1 if buffer is None else 0
        if buffer is not None:
            got.append(buffer)
        if quiet == _QUIET:
            break
    return got


def _lines(data: bytes) -> int:
    return data.count(b"\n") + (not data.endswith(b"\n") and bool(data))


def _joined(buffers: list[Buffer]) -> bytes:
    return b"".join(buffer.data for buffer in buffers)


def _by_stream(buffers: list[Buffer]) -> dict[str, bytes]:
    streams: dict[str, bytes] = {}
    for buffer in buffers:
        if buffer.data:
            streams[buffer.stream] = streams.get(buffer.stream, b"") + buffer.data
    return streams
