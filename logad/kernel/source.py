"""The source of the compiled passes: shapes of lines, texts in canonical form (imported to compile it).

Each 64 bytes become four bit masks (newline, digit, letter or digit, hexadecimal digit). Added to the mask of
letters and digits, the mask of digits carries out of just those runs that hold a digit: their ends are found
without a branch a byte. What stands between values is hashed as it is, a value only by its kind: the kinds of
`logad.canonical`, whose results tell the same lines apart.

Nothing here checks bounds: see `logad.kernel.passes`.
"""

import numpy as np
from numba import njit

from logad.canonical import CHAINED, HEX_RUN, LONG, MOST_UNIT
from logad.kernel.words import (
    EIGHT,
    ONE,
    TWO,
    ZERO,
    Word,
    classes,
    leading,
    load8,
    load32,
    load64,
    ones,
    store8,
    store32,
    store64,
    trailing,
)

_WINDOW = np.uint64(64)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_SEED = np.uint64(0xD6E8FEB86659FD93)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_WORD, _NUMBER, _PIECE, _LONG, _HEX, _NAMED, _MEASURED, _SHORT_MEASURED, _HOUR, _OTHER = map(
    np.uint64, range(10)
)
_SIZES = tuple(map(np.uint64, CHAINED))
_LONG_SIZE, _HEX_SIZE, _UNIT_SIZE = np.uint64(LONG), np.uint64(HEX_RUN), np.uint64(MOST_UNIT)


@njit(forceinline=True, error_model="numpy")
def _lowest(count: Word) -> Word:
    """A mask of the `count` lowest bits, 0 to 64 of them."""
    return _ALL if count >= _WINDOW else (ONE << count) - ONE


@njit(forceinline=True, error_model="numpy")
def _mixed(state: Word, word: Word) -> Word:
    state = (state ^ word) * _FACTOR
    return state ^ (state >> np.uint64(32))


@njit(forceinline=True, error_model="numpy")
def _hashed(state: Word, start: Word, end: Word) -> Word:
    """The hash of the text from `start` to `end` on top of what was hashed; reads up to 7 bytes behind it."""
    while start + EIGHT <= end:
        state = _mixed(state, load64(start))
        start += EIGHT
    rest = end - start
    if rest:
        state = _mixed(state, load64(start) & _lowest(rest * EIGHT))
    return _mixed(state, rest)  # bytes of zero at the end count


@njit(forceinline=True, error_model="numpy")
def _is_hex(byte: Word) -> Word:
    return byte - np.uint64(48) < np.uint64(10) or (byte | np.uint64(32)) - np.uint64(97) < np.uint64(6)


@njit(forceinline=True, error_model="numpy")
def _link(start: Word, end: Word) -> Word:
    """The `:` or `-` that chains a run to a hexadecimal digit beyond it, or zero."""
    byte = load8(start - ONE)
    if (byte == np.uint64(58) or byte == np.uint64(45)) and _is_hex(load8(start - TWO)):
        return byte
    byte = load8(end)
    if (byte == np.uint64(58) or byte == np.uint64(45)) and _is_hex(load8(end + ONE)):
        return byte
    return ZERO


@njit(forceinline=True, error_model="numpy")
def _kind(start: Word, end: Word, digits: Word, first: Word, last: Word, all_hex: Word) -> Word:
    """The kind of a run with `digits` digits between its bytes `first` and `last`: as `canonical._flat`."""
    size = end - start
    if size > TWO and load8(start) == np.uint64(48) and load8(start + ONE) | np.uint64(32) == np.uint64(120):
        return _HEX
    chained = size == _SIZES[0] or size == _SIZES[1] or size == _SIZES[2] or size == _SIZES[3]
    if digits == size:
        if size >= _LONG_SIZE:
            return _LONG
        return _PIECE if chained and _link(start, end) != ZERO else _NUMBER
    if all_hex:
        if chained:
            link = _link(start, end)
            if link != ZERO and (size > TWO or link == np.uint64(58)):
                return _PIECE
        if size >= _HEX_SIZE:
            return _HEX
    if digits == ONE:
        return _WORD
    together = last - first + ONE == digits
    if together and last == size - ONE:
        return _NAMED
    if together and first == ZERO and size - digits <= _UNIT_SIZE:
        return _SHORT_MEASURED if digits == TWO and _link(start, end) != ZERO else _MEASURED
    if size == np.uint64(5) and digits == np.uint64(4) and load8(start + TWO) == np.uint64(84):
        return _HOUR if _link(start, end) != ZERO else _OTHER
    return _OTHER


@njit(forceinline=True, error_model="numpy")
def _past(
    state: Word, cut: Word, start: Word, end: Word, digits: Word, first: Word, last: Word, all_hex: Word
) -> Word:
    """The hash and the place from which text is not hashed yet, behind a run with digits."""
    kind = _kind(start, end, digits, first, last, all_hex)
    if kind == _WORD:
        return state, cut
    state = _hashed(state, cut, start + first if kind == _NAMED else start)
    state = _mixed(state, kind << EIGHT | (end - start if kind == _PIECE else ZERO))
    measured = kind == _MEASURED or kind == _SHORT_MEASURED
    return state, start + last + ONE if measured else end


@njit(forceinline=True, error_model="numpy")
def _run(start: Word) -> Word:
    """End, digits, first and last digit, and whether all is hexadecimal, of the run that begins here."""
    end = start
    digits, first, last, all_hex = ZERO, ZERO, ZERO, True
    while True:
        byte = load8(end)
        digit = byte - np.uint64(48) < np.uint64(10)
        if not digit and not (byte | np.uint64(32)) - np.uint64(97) < np.uint64(26):
            return end, digits, first, last, all_hex
        if digit:
            last = end - start
            first = last if digits == ZERO else first
            digits += ONE
        all_hex = all_hex and _is_hex(byte)
        end += ONE


def line_shapes(
    text: Word,
    size: Word,
    ids: Word,
    starts: Word,
    keys: Word,
    numbers: Word,
    last_key: Word,
    fresh: Word,
    counters: Word,
    most: Word,
) -> Word:
    """Write each line's shape and start; how many lines were done before there was no room for a shape.

    Addresses: `text` of `size` bytes, ending with a newline; `ids` int32 and `starts` int32, one a line; the
    table of shapes `keys` uint64 and `numbers` int32 of `last_key` + 1 entries, a power of two; `fresh`
    uint64, the key of each new shape; `counters` int64: shapes known, bytes done.
    """
    end = text + size
    known = load64(counters)
    new = ZERO
    lines = ZERO
    place, line, cut = text, text, text
    state = _SEED
    while place < end:
        newline, digit, alnum, hexadecimal = classes(place)
        stop = trailing(newline) if newline else _WINDOW
        inside = _lowest(stop)
        alnum &= inside
        digit &= inside
        ends = (alnum + digit) & ~alnum
        while ends:
            run_end = trailing(ends)
            ends &= ends - ONE
            before = _lowest(run_end)
            gap = ~alnum & before
            run_start = _WINDOW - leading(gap) if gap else ZERO
            digits = (digit & before) >> run_start
            state, cut = _past(
                state,
                cut,
                place + run_start,
                place + run_end,
                ones(digits),
                trailing(digits),
                np.uint64(63) - leading(digits),
                (~hexadecimal & before) >> run_start == ZERO,
            )
        if stop == _WINDOW:
            # What touches the window's end is looked at again as a whole.
            gap = ~alnum
            run_start = _WINDOW - leading(gap) if gap else ZERO
            if run_start > ZERO:
                place += run_start
                continue
            run_end, digits, first, last, all_hex = _run(place)
            if digits:
                state, cut = _past(state, cut, place, run_end, digits, first, last, all_hex)
            place = run_end
            continue
        line_end = place + stop
        place = line_end + ONE
        if line_end > cut and load8(line_end - ONE) == np.uint64(13):
            line_end -= ONE
        state = _hashed(state, cut, line_end)
        state = ONE if state == ZERO else state  # zero marks free entries
        entry = (state ^ (state >> np.uint64(29))) & last_key
        key = load64(keys + entry * EIGHT)
        while key != ZERO and key != state:
            entry = (entry + ONE) & last_key
            key = load64(keys + entry * EIGHT)
        if key == ZERO:
            if known + new >= most:
                place = line
                break
            store64(keys + entry * EIGHT, state)
            store32(numbers + entry * np.uint64(4), known + new)
            store64(fresh + new * EIGHT, state)
            new += ONE
        store32(ids + lines * np.uint64(4), load32(numbers + entry * np.uint64(4)))
        store32(starts + lines * np.uint64(4), line - text)
        lines += ONE
        line, cut = place, place
        state = _SEED
    store64(counters, known + new)
    store64(counters + EIGHT, place - text)
    return lines


@njit(forceinline=True, error_model="numpy")
def _put(out: Word, text: Word, end: Word) -> Word:
    """Copy a text; writes up to 7 bytes too many."""
    while text < end:
        store64(out, load64(text))
        step = min(EIGHT, end - text)
        text += step
        out += step
    return out


@njit(forceinline=True, error_model="numpy")
def _put_zeros(out: Word, count: Word) -> Word:
    for _ in range(count):
        store8(out, np.uint64(48))
        out += ONE
    return out


@njit(forceinline=True, error_model="numpy")
def _put_kind(out: Word, kind: Word, size: Word) -> Word:
    """Write how a value of this kind is written, without the letters that it keeps."""
    if kind == _HEX:
        return _put_letter(_put_letter(_put_zeros(out, ONE), 120), 48)
    if kind == _LONG:
        return _put_zeros(out, _LONG_SIZE)
    if kind == _PIECE:
        return _put_zeros(out, size)
    if kind == _NUMBER or kind == _MEASURED:
        return _put_zeros(out, np.uint64(3))
    out = _put_zeros(out, TWO)
    if kind == _HOUR:
        return _put_zeros(_put_letter(out, 84), TWO)
    if kind == _OTHER:
        return _put_zeros(_put_letter(_put_letter(out, 105), 100), TWO)
    return out  # a name, or two digits of a chain with a unit


@njit(forceinline=True, error_model="numpy")
def _put_letter(out: Word, letter: int) -> Word:
    store8(out, np.uint64(letter))
    return out + ONE


def flatten(text: Word, size: Word, out: Word) -> Word:
    """Write the canonical form of a text of `size` bytes; how many bytes that are.

    `out` has room for three times as many, and 16 more. Around the text lie bytes that may be looked at.
    """
    begun, end = out, text + size
    place, cut = text, text
    while place < end:
        byte = load8(place)
        if byte - np.uint64(48) >= np.uint64(10) and (byte | np.uint64(32)) - np.uint64(97) >= np.uint64(26):
            place += ONE
            continue
        run_end, digits, first, last, all_hex = _run(place)
        if digits:
            kind = _kind(place, run_end, digits, first, last, all_hex)
            if kind != _WORD:
                out = _put(out, cut, place + first if kind == _NAMED else place)
                out = _put_kind(out, kind, run_end - place)
                measured = kind == _MEASURED or kind == _SHORT_MEASURED
                cut = place + last + ONE if measured else run_end
        place = run_end
    return _put(out, cut, end) - begun
