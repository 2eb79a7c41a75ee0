"""Texts of templates: what two of them share, how they are compared, and what their ids are."""

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from logad.draining import VARIED
from logad.merging import WILDCARD, generalised

PLACEHOLDER: Final = re.compile(r"<(?:[A-Z][A-Z0-9_]*|\*)>")
"""What stands for a variable."""
_LIST: Final = re.compile(r"(?:(?:{0}[,;] )+|(?:{0} ){{2,}}){0}".format(PLACEHOLDER.pattern))  # noqa: UP032


def tidy(shape: str) -> str:
    """A shape with one blank between words, in which a list of variables is one.

    >>> tidy("sent  to <IP>, <IP>, <IP>")
    'sent to <IP>'
    """
    return _LIST.sub(_of_list, " ".join(shape.split()))


def common(first: str, second: str) -> str:
    """What two texts share; a placeholder of two types is `<*>`, as is what differs.

    >>> common("from <IP> () today", "from <HOST> (<IP>) today"), common("of <*>", "of <IP>, <IP>")
    ('from <*> (<*>) today', 'of <*>')
    """
    one, other = first.split(), second.split()
    if len(one) != len(other):
        return first if len(one) < len(other) else second
    pairs = zip(one, other, strict=True)
    return " ".join(mine if mine == yours else _shared(mine, yours) for mine, yours in pairs)


def _shared(one: str, other: str) -> str:
    if one == WILDCARD:
        return one
    if other == WILDCARD:
        return other
    untyped = _untyped(one)
    return untyped if untyped == _untyped(other) else generalised([untyped, _untyped(other)])


def _of_list(match: re.Match[str]) -> str:
    """A list of variables is one variable, of their type if they have one."""
    types = set(PLACEHOLDER.findall(match[0]))
    return types.pop() if len(types) == 1 else WILDCARD


def as_compared(text: str) -> str:
    """Words without their types; nothing in brackets is like a variable in them."""
    return _untyped(text).replace("()", f"({WILDCARD})")


def varied(words: Sequence[str]) -> list[str]:
    """Words as Drain compares them: where one varies for all that is known, any will do."""
    return [VARIED if word == WILDCARD else as_compared(word) for word in words]


def _untyped(text: str) -> str:
    return PLACEHOLDER.sub(WILDCARD, text) if "<" in text else text


def template_id(text: str) -> str:
    """The id of a text: equal texts have equal ids everywhere."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
