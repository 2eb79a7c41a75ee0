"""The source of the compiled pass that reads numbers (imported only to compile it).

Nothing here checks bounds: see `logad.kernel.passes`.
"""

import numpy as np
from numba import njit

from logad.kernel.numbered import NUMBERS, SLOW
from logad.kernel.words import (
    EIGHT,
    ONE,
    TWO,
    ZERO,
    Word,
    classes,
    load8,
    load32,
    load64,
    load_double,
    ones,
    store_single,
    trailing,
)

_COLUMNS = np.uint64(NUMBERS)
_FOUR, _WINDOW, _LAST = np.uint64(4), np.uint64(64), np.uint64(63)
_SLOW = np.uint64(SLOW & 0xFFFFFFFF)
_NONE = np.uint64(1) << np.uint64(31)  # places from here on are below 0
_MOST_DIGITS = 18  # what they write fits into a word
_EXACT = np.uint64(1) << np.uint64(53)
_POWERS = tuple(10.0**power for power in range(_MOST_DIGITS + 1))
_NOTHING, _UNREAD = np.float64(np.nan), np.float64(np.inf)


@njit(error_model="numpy")
def _run(at: Word, number: Word, limit: Word) -> Word:
    """Where the run of letters and digits begins that so many others come before, or 0 from a limit on."""
    carry = ZERO
    while at < limit:
        alnum = classes(at)[2]
        begins = alnum & ~(alnum << ONE | carry)
        count = ones(begins)
        if number < count:
            while number:
                begins &= begins - ONE
                number -= ONE
            return at + trailing(begins)
        number -= count
        carry = alnum >> _LAST
        at += _WINDOW
    return ZERO


@njit(error_model="numpy")
def _number(at: Word, fraction: Word, lettered: Word) -> Word:
    """The number written at a place, or _UNREAD where it is not written as expected."""
    mantissa, decimals, digits = ZERO, 0, 0
    digit = load8(at) - np.uint64(48)
    while digit < np.uint64(10) and digits < _MOST_DIGITS:
        mantissa = mantissa * np.uint64(10) + digit
        digits += 1
        at += ONE
        digit = load8(at) - np.uint64(48)
    if digits == 0:
        return _UNREAD
    if fraction:
        if load8(at) != np.uint64(46):
            return _UNREAD
        at += ONE
        digit = load8(at) - np.uint64(48)
        while digit < np.uint64(10) and digits < _MOST_DIGITS:
            mantissa = mantissa * np.uint64(10) + digit
            digits += 1
            decimals += 1
            at += ONE
            digit = load8(at) - np.uint64(48)
        if decimals == 0:
            return _UNREAD
    letter = (load8(at) | np.uint64(32)) - np.uint64(97) < np.uint64(26)
    if digit < np.uint64(10) or letter != (lettered != ZERO) or mantissa >= _EXACT:
        return _UNREAD
    return np.float64(mantissa) / _POWERS[decimals]


def numbers(
    text: Word,
    starts: Word,
    shapes: Word,
    first: Word,
    rows: Word,
    count: Word,
    places: Word,
    factors: Word,
    limit: Word,
    out: Word,
) -> Word:
    """Write the numbers in `count` lines of a text: NUMBERS singles a line; how many lines could not be read.

    `rows` (int64) are the lines, of which `first` is the first of this text; `shapes` (int32) has the shape
    of each line of all texts, `starts` (int32) where each of this text's begins. `places` (int32) has for
    each shape where its numbers stand, as `numbered.number_place` tells, `factors` (float64) what one is
    worth. What cannot be read, or is SLOW, is infinite. No line goes on for 64 bytes beyond `limit`, which
    is an address too.
    """
    unread = ZERO
    for row in range(count):
        line = load64(rows + np.uint64(row) * EIGHT)
        at = text + load32(starts + (line - first) * _FOUR)
        shape = load32(shapes + line * _FOUR)
        missed = ZERO
        for column in range(NUMBERS):
            cell = shape * _COLUMNS + np.uint64(column)
            place = load32(places + cell * _FOUR)
            value = _NOTHING
            if place == _SLOW:
                value = _UNREAD
            elif place < _NONE:
                begin = _run(at, place >> TWO, limit)
                value = _UNREAD
                if begin:
                    value = _number(begin, place & TWO, place & ONE)
                value *= load_double(factors + cell * EIGHT)
            if value == _UNREAD or value == -_UNREAD:
                missed = ONE
            store_single(out + (np.uint64(row) * _COLUMNS + np.uint64(column)) * _FOUR, value)
        unread += missed
    return unread
