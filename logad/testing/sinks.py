"""What every sink promises, as checks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from logad.contracts import PartConfig, Sink
from logad.testing import Check, require
from logad.testing.samples import HOSTILE, verdict

Promise = Callable[["SinkCase"], None]

_SOME = tuple(verdict(number) for number in range(5))


@dataclass(frozen=True)
class SinkCase:
    """A store, freshly made for each check."""

    open: Callable[[], Sink]
    """A new sink on the store."""
    stored: Callable[[], Mapping[str, Mapping[str, Any]]]
    """What lies in the store now: verdict id -> the verdict as the schema writes it."""


def sink_checks(part: type[Sink], made: Callable[[], SinkCase]) -> list[Check]:
    """Every promise; `made` makes a new store for each."""
    names_itself = it_says_what_it_is_called
    first = Check(names_itself, lambda: names_itself(part))
    return [first, *(Check(promise, _bound(promise, made)) for promise in PROMISES)]


def _bound(promise: Promise, made: Callable[[], SinkCase]) -> Callable[[], None]:
    return lambda: promise(made())


def it_says_what_it_is_called(part: type[Sink]) -> None:
    """A name, and a Config that refuses unknown keys."""
    require(part.name.isidentifier(), f"name is {part.name!r}; expected an identifier")
    require(issubclass(part.Config, PartConfig), "Config is no PartConfig")


def what_is_written_is_stored_whole(case: SinkCase) -> None:
    """Every verdict lies in the store as the schema writes it, and is counted."""
    sink = case.open()
    written = sink.write(_SOME)
    sink.close()
    require(written.stored == len(_SOME) and not written.refused, f"of {len(_SOME)} verdicts: {written}")
    _holds(case, {each.id: each.as_dict() for each in _SOME})


def a_replay_changes_nothing(case: SinkCase) -> None:
    """The same verdicts again, of the same sink and of a new one, leave the store as it was."""
    sink = case.open()
    sink.write(_SOME)
    before = case.stored()
    again = sink.write(_SOME[2:])
    sink.close()
    other = case.open()
    last = other.write(_SOME)
    other.close()
    require(not again.refused and not last.refused, "a verdict that is there already was refused")
    _holds(case, before)


def the_first_write_wins(case: SinkCase) -> None:
    """Another verdict under a stored id, in the same call or later, is not stored."""
    first, second = _SOME[0], replace(_SOME[0], score=0.6)
    sink = case.open()
    sink.write([first, second])
    sink.write([second])
    sink.close()
    _holds(case, {first.id: first.as_dict()})


def the_order_of_verdicts_does_not_matter(case: SinkCase) -> None:
    """Written backwards and in pieces, the same verdicts are stored."""
    sink = case.open()
    for each in reversed(_SOME):
        sink.write([each])
    sink.close()
    _holds(case, {each.id: each.as_dict() for each in _SOME})


def nothing_is_written_where_there_is_nothing(case: SinkCase) -> None:
    """No verdicts are no error."""
    sink = case.open()
    require(sink.write([]).stored == 0, "something was stored of nothing")
    sink.close()


def many_verdicts_are_stored_in_one_call(case: SinkCase) -> None:
    """Two thousand verdicts at once, each stored or refused by name."""
    many = [verdict(number) for number in range(2000)]
    sink = case.open()
    written = sink.write(many)
    sink.close()
    require(written.stored + len(written.refused) == len(many), f"of {len(many)} verdicts: {written}")
    require(len(case.stored()) == written.stored, f"{len(case.stored())} stored; {written.stored} said")


def hostile_text_comes_back_as_it_was(case: SinkCase) -> None:
    """Quotes, newlines, escape sequences and markup of a log are text and nothing else."""
    odd = verdict(7, HOSTILE + '"\'\n\\\'; DROP TABLE verdicts; --\n{"index": {}}\x00')
    sink = case.open()
    sink.write([odd, *_SOME])
    sink.close()
    _holds(case, {each.id: each.as_dict() for each in (odd, *_SOME)})


def one_bad_verdict_does_not_take_others_with_it(case: SinkCase) -> None:
    """A text that no encoding knows is stored mended or refused by name; its neighbours are stored."""
    bad = verdict(9, "half a character: \ud83d")
    sink = case.open()
    written = sink.write([_SOME[0], bad, _SOME[1]])
    sink.close()
    stored = case.stored()
    require(_SOME[0].id in stored and _SOME[1].id in stored, "the good verdicts are not stored")
    require(
        (bad.id in stored) != (bad.id in written.refused), "the bad verdict is neither stored nor refused"
    )


PROMISES: tuple[Promise, ...] = (
    what_is_written_is_stored_whole,
    a_replay_changes_nothing,
    the_first_write_wins,
    the_order_of_verdicts_does_not_matter,
    nothing_is_written_where_there_is_nothing,
    many_verdicts_are_stored_in_one_call,
    hostile_text_comes_back_as_it_was,
    one_bad_verdict_does_not_take_others_with_it,
)


def _holds(case: SinkCase, expected: Mapping[str, Mapping[str, Any]]) -> None:
    found = case.stored()
    require(found.keys() == expected.keys(), f"{len(found)} verdicts are stored; expected {len(expected)}")
    changed = [key for key in expected if dict(found[key]) != dict(expected[key])]
    require(not changed, f"stored otherwise than written: {changed}")
