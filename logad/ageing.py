"""Counts the templates that are in use, by the weeks in which they were seen."""

from typing import Final

WEEKS: Final = 5
"""A template is in use for so many weeks after it was seen: what happens once a month stays in use."""
WEEK_MICROSECONDS: Final = 7 * 86_400_000_000
ALWAYS: Final = 1 << 62
"""The week of what has no time: it never ages."""

_BEFORE: Final = -ALWAYS  # when nobody noted weeks yet


class Ages:
    """The last week in which each template was seen; weeks are those of the records' times, no clock's.

    A week counts when a template is seen in it that was seen in an earlier one: neither a silence nor new
    lines, whatever times they tell, make what is known old.

    >>> ages = Ages()
    >>> [ages.sighted(code, week, 2) for week, code in ((0, 0), (0, 1), (0, 1), (1, 0), (0, 0))]
    [True, True, False, True, False]
    >>> [ages.sighted(0, week, 2) for week in (2, 3, 4, 5)], ages.in_use(2)
    ([True, True, True, True], 1)
    >>> ages.sighted(1, 5, 2), ages.in_use(2)
    (True, 2)
    """

    def __init__(self) -> None:
        self._last: list[int] = []  # by code
        self._weeks = [_BEFORE] * WEEKS  # the last ones that count
        self._old = 0

    def sighted(self, code: int, week: int, templates: int) -> bool:
        """Note that one of so many templates was seen in a week; whether that was not known."""
        known = len(self._last)
        self._last += [ALWAYS if known else _BEFORE] * (templates - known)
        last = self._last[code] if code < known else _BEFORE
        if week <= last:
            return False
        self._last[code] = week
        self._old -= code < known and last < self._weeks[0]
        if last > _BEFORE and self._weeks[-1] < week < ALWAYS:
            self._weeks = [*self._weeks[1:], week]
            self._old = sum(each < self._weeks[0] for each in self._last)
        return True

    def in_use(self, templates: int) -> int:
        """How many of so many templates are in use."""
        return templates - self._old
