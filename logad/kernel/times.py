"""The source of the compiled pass that reads times (imported only to compile it).

Nothing here checks bounds: see `logad.kernel.passes`.
"""

import numpy as np
from numba import njit

from logad.kernel.numbered import REACH
from logad.kernel.words import EIGHT, ONE, TWO, ZERO, Word, load8, load32, store64

_REACH = np.uint64(REACH)
_NO_TIME = np.uint64(1) << np.uint64(63)  # the least int64
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = tuple(np.uint64(int.from_bytes(name.encode())) for name in _MONTH_NAMES)
_UTC, _GMT = (np.uint64(int.from_bytes(name)) for name in (b"UTC", b"GMT"))


@njit(error_model="numpy")
def _two(at: Word) -> Word:
    """The number that two digits write, or one above 99 where these are none."""
    tens, ones = load8(at) - np.uint64(48), load8(at + ONE) - np.uint64(48)
    return tens * np.uint64(10) + ones if tens < np.uint64(10) and ones < np.uint64(10) else np.uint64(100)


@njit(error_model="numpy")
def _month(at: Word) -> Word:
    """The month that three letters name, or one above 12."""
    name = load8(at) << np.uint64(16) | load8(at + ONE) << EIGHT | load8(at + TWO)
    for month in range(12):
        if name == _MONTHS[month]:
            return np.uint64(month + 1)
    return np.uint64(100)


@njit(error_model="numpy")
def _goes_on(at: Word) -> Word:
    """Whether what follows a time may belong to it: more digits, or a zone."""
    byte = load8(at)
    if byte == np.uint64(32):
        at += ONE
        byte = load8(at)
        word = byte << np.uint64(16) | load8(at + ONE) << EIGHT | load8(at + TWO)
        if byte == np.uint64(90) or word == _UTC or word == _GMT:
            return True
        return (byte == np.uint64(43) or byte == np.uint64(45)) and _two(at + ONE) < np.uint64(100)
    digit = byte - np.uint64(48) < np.uint64(10)
    if byte == np.uint64(44) or byte == np.uint64(46) or byte == np.uint64(58):
        return load8(at + ONE) - np.uint64(48) < np.uint64(10)
    letter = (byte | np.uint64(32)) - np.uint64(97) < np.uint64(26)
    return digit or letter or byte == np.uint64(43) or byte == np.uint64(45)


@njit(error_model="numpy")
def _days(year: Word, month: Word, day: Word) -> Word:
    """Days since 1970-01-01 in the Gregorian calendar, from 1970 on."""
    shifted = year - (ONE if month <= TWO else ZERO)
    era_year = shifted % np.uint64(400)
    turned = (month + np.uint64(9)) % np.uint64(12)
    of_year = (np.uint64(153) * turned + TWO) // np.uint64(5) + day - ONE
    of_era = era_year * np.uint64(365) + era_year // np.uint64(4) - era_year // np.uint64(100) + of_year
    return shifted // np.uint64(400) * np.uint64(146097) + of_era - np.uint64(719468)


@njit(error_model="numpy")
def _moment(at: Word, pattern: Word, size: Word) -> Word:
    """Microseconds since 1970 of the time written at a place as a pattern says, or _NO_TIME."""
    year, month, day = np.uint64(1970), ONE, ONE
    hour, minute, second, micros = ZERO, ZERO, ZERO, ZERO
    for place in range(size):
        code = load8(pattern + np.uint64(place))
        if code == np.uint64(89):  # Y
            century = _two(at)
            year = century * np.uint64(100) + _two(at + TWO)
            if century > np.uint64(99) or _two(at + TWO) > np.uint64(99) or year < np.uint64(1970):
                return _NO_TIME
            at += np.uint64(4)
        elif code == np.uint64(102):  # f
            byte = load8(at)
            if byte == np.uint64(46) or byte == np.uint64(44):
                digit = load8(at + ONE) - np.uint64(48)
                worth = np.uint64(100_000)
                if digit < np.uint64(10):
                    at += ONE
                for _ in range(9):
                    if digit > np.uint64(9):
                        break
                    micros += digit * worth
                    worth //= np.uint64(10)
                    at += ONE
                    digit = load8(at) - np.uint64(48)
        elif code == np.uint64(115):  # s
            second = ZERO
            for _ in range(10):
                digit = load8(at) - np.uint64(48)
                if digit > np.uint64(9):
                    return _NO_TIME
                second = second * np.uint64(10) + digit
                at += ONE
            return _NO_TIME if _goes_on(at) else second * np.uint64(1_000_000)
        elif code == np.uint64(98):  # b
            month = _month(at)
            at += np.uint64(3)
        elif code == np.uint64(84):  # T
            if load8(at) != np.uint64(84) and load8(at) != np.uint64(32):
                return _NO_TIME
            at += ONE
        elif (code | np.uint64(32)) - np.uint64(97) < np.uint64(26):
            number = _two(at)
            if number > np.uint64(99):
                return _NO_TIME
            at += TWO
            if code == np.uint64(121):  # y
                year = number + (np.uint64(2000) if number < np.uint64(70) else np.uint64(1900))
            elif code == np.uint64(109):  # m
                month = number
            elif code == np.uint64(100):  # d
                day = number
            elif code == np.uint64(72):  # H
                hour = number
            elif code == np.uint64(77):  # M
                minute = number
            else:  # S
                second = number
        else:
            if load8(at) != code:
                return _NO_TIME
            at += ONE
    if month - ONE > np.uint64(11) or day == ZERO or hour > np.uint64(23):
        return _NO_TIME
    if minute > np.uint64(59) or second > np.uint64(59) or _goes_on(at):
        return _NO_TIME
    following = _days(year + month // np.uint64(12), month % np.uint64(12) + ONE, ONE)
    days = _days(year, month, day)
    if days >= following:
        return _NO_TIME
    return (days * np.uint64(86400) + hour * np.uint64(3600) + minute * np.uint64(60) + second) * np.uint64(
        1_000_000
    ) + micros


def moments(text: Word, lines: Word, places: Word, count: Word, pattern: Word, size: Word, out: Word) -> Word:
    """Write the times in `count` lines of a text: int64 microseconds since 1970, or _NO_TIME.

    `lines` (int32) says where the lines begin, `places` (int32) where in them a time does: times 65,536 the
    blanks before it, and the bytes between the last of these and it.
    The pattern, of `size` letters: Y is a year, y two digits of it, m, d, H, M and S two digits each, b a
    month's name, T a blank or T, f a fraction if there is one, s ten digits of seconds since 1970; else a
    byte that stands there. A time that seems to go on is none. Behind each begin lie
    as many bytes as a place may reach and a time takes.
    """
    for row in range(count):
        step = np.uint64(row) * np.uint64(4)
        at, place = text + load32(lines + step), load32(places + step)
        blanks = place >> np.uint64(16)
        limit = at + _REACH
        while blanks and at < limit:
            blanks -= ONE if load8(at) == np.uint64(32) else ZERO
            at += ONE
        moment = _NO_TIME
        if blanks == ZERO:
            moment = _moment(at + (place & np.uint64(0xFFFF)), pattern, size)
        store64(out + np.uint64(row) * EIGHT, moment)
    return ZERO
