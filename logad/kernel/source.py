"""The source of the compiled passes: shapes of lines, texts in canonical form (imported to compile it).

Each 64 bytes become four bit masks (newline, digit, letter or digit, hexadecimal digit). Added to the mask of
letters and digits, the mask of digits carries out of just those runs that hold a digit: their ends are found
without a branch a byte. What stands between values is hashed as it is, a value only by its kind: the kinds of
`logad.canonical`, whose results tell the same lines apart.

Nothing here checks bounds: see `logad.kernel.loading`.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from logad.canonical import CHAINED, HEX_RUN, LONG, MOST_UNIT
from logad.kernel.numbered import REACH

Word = Any
"""A word of 64 bits without a sign, or what llvmlite and numba hand around: neither has types."""
_WINDOW = np.uint64(64)
_ZERO, _ONE, _TWO, _EIGHT = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(8)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_SEED = np.uint64(0xD6E8FEB86659FD93)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_WORD, _NUMBER, _PIECE, _LONG, _HEX, _NAMED, _MEASURED, _SHORT_MEASURED, _HOUR, _OTHER = map(
    np.uint64, range(10)
)
_SIZES = tuple(map(np.uint64, CHAINED))
_LONG_SIZE, _HEX_SIZE, _UNIT_SIZE = np.uint64(LONG), np.uint64(HEX_RUN), np.uint64(MOST_UNIT)

_REACH = np.uint64(REACH)
_NO_TIME = np.uint64(1) << np.uint64(63)  # the least int64
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = tuple(np.uint64(int.from_bytes(name.encode())) for name in _MONTH_NAMES)
_UTC, _GMT = (np.uint64(int.from_bytes(name)) for name in (b"UTC", b"GMT"))

_I1, _I8, _I64 = ir.IntType(1), ir.IntType(8), ir.IntType(64)


def _at(builder: Word, address: Word, kind: Word) -> Word:
    return builder.inttoptr(address, kind.as_pointer())


@intrinsic
def _classes(_context: Word, _address: Word) -> Word:
    """Four masks of the 64 bytes at an address: newline, digit, letter or digit, hexadecimal digit."""
    signature = types.UniTuple(types.uint64, 4)(types.uint64)

    def generate(context: Word, builder: Word, _signature: Word, arguments: Word) -> Word:
        vector = ir.VectorType(_I8, 64)
        text = builder.load(_at(builder, arguments[0], vector))
        text.align = 1

        def all_of(value: int) -> Word:
            return ir.Constant(vector, [value] * 64)

        def among(values: Word, first: str, count: int) -> Word:
            return builder.icmp_unsigned("<", builder.sub(values, all_of(ord(first))), all_of(count))

        small = builder.or_(text, all_of(0x20))
        digit = among(text, "0", 10)
        flags = (
            builder.icmp_unsigned("==", text, all_of(ord("\n"))),
            digit,
            builder.or_(digit, among(small, "a", 26)),
            builder.or_(digit, among(small, "a", 6)),
        )
        return context.make_tuple(builder, signature.return_type, [builder.bitcast(f, _I64) for f in flags])

    return signature, generate


def _loading(bits: int) -> Word:
    @intrinsic
    def load(_context: Word, _address: Word) -> Word:
        def generate(_context: Word, builder: Word, _signature: Word, arguments: Word) -> Word:
            value = builder.load(_at(builder, arguments[0], ir.IntType(bits)))
            value.align = 1
            return builder.zext(value, _I64) if bits < 64 else value

        return types.uint64(types.uint64), generate

    return load


def _storing(bits: int) -> Word:
    @intrinsic
    def store(_context: Word, _address: Word, _value: Word) -> Word:
        def generate(context: Word, builder: Word, _signature: Word, arguments: Word) -> Word:
            address, value = arguments
            value = builder.trunc(value, ir.IntType(bits)) if bits < 64 else value
            builder.store(value, _at(builder, address, ir.IntType(bits)), align=1)
            return context.get_dummy_value()

        return types.void(types.uint64, types.uint64), generate

    return store


def _counting(name: str) -> Word:
    @intrinsic
    def count(_context: Word, _value: Word) -> Word:
        def generate(_context: Word, builder: Word, _signature: Word, arguments: Word) -> Word:
            kinds = [_I64] if name == "llvm.ctpop" else [_I64, _I1]
            function = builder.module.declare_intrinsic(name, [_I64], ir.FunctionType(_I64, kinds))
            return builder.call(function, [arguments[0], *([ir.Constant(_I1, 0)] * (len(kinds) - 1))])

        return types.uint64(types.uint64), generate

    return count


_load8, _load32, _load64 = _loading(8), _loading(32), _loading(64)
_store8, _store32, _store64 = _storing(8), _storing(32), _storing(64)
_trailing, _leading, _ones = _counting("llvm.cttz"), _counting("llvm.ctlz"), _counting("llvm.ctpop")


@njit(forceinline=True, error_model="numpy")
def _lowest(count: Word) -> Word:
    """A mask of the `count` lowest bits, 0 to 64 of them."""
    return _ALL if count >= _WINDOW else (_ONE << count) - _ONE


@njit(forceinline=True, error_model="numpy")
def _mixed(state: Word, word: Word) -> Word:
    state = (state ^ word) * _FACTOR
    return state ^ (state >> np.uint64(32))


@njit(forceinline=True, error_model="numpy")
def _hashed(state: Word, start: Word, end: Word) -> Word:
    """The hash of the text from `start` to `end` on top of what was hashed; reads up to 7 bytes behind it."""
    while start + _EIGHT <= end:
        state = _mixed(state, _load64(start))
        start += _EIGHT
    rest = end - start
    if rest:
        state = _mixed(state, _load64(start) & _lowest(rest * _EIGHT))
    return _mixed(state, rest)  # bytes of zero at the end count


@njit(forceinline=True, error_model="numpy")
def _is_hex(byte: Word) -> Word:
    return byte - np.uint64(48) < np.uint64(10) or (byte | np.uint64(32)) - np.uint64(97) < np.uint64(6)


@njit(forceinline=True, error_model="numpy")
def _link(start: Word, end: Word) -> Word:
    """The `:` or `-` that chains a run to a hexadecimal digit beyond it, or zero."""
    byte = _load8(start - _ONE)
    if (byte == np.uint64(58) or byte == np.uint64(45)) and _is_hex(_load8(start - _TWO)):
        return byte
    byte = _load8(end)
    if (byte == np.uint64(58) or byte == np.uint64(45)) and _is_hex(_load8(end + _ONE)):
        return byte
    return _ZERO


@njit(forceinline=True, error_model="numpy")
def _kind(start: Word, end: Word, digits: Word, first: Word, last: Word, all_hex: Word) -> Word:
    """The kind of a run with `digits` digits between its bytes `first` and `last`: as `canonical._flat`."""
    size = end - start
    if (
        size > _TWO
        and _load8(start) == np.uint64(48)
        and _load8(start + _ONE) | np.uint64(32) == np.uint64(120)
    ):
        return _HEX
    chained = size == _SIZES[0] or size == _SIZES[1] or size == _SIZES[2] or size == _SIZES[3]
    if digits == size:
        if size >= _LONG_SIZE:
            return _LONG
        return _PIECE if chained and _link(start, end) != _ZERO else _NUMBER
    if all_hex:
        if chained:
            link = _link(start, end)
            if link != _ZERO and (size > _TWO or link == np.uint64(58)):
                return _PIECE
        if size >= _HEX_SIZE:
            return _HEX
    if digits == _ONE:
        return _WORD
    together = last - first + _ONE == digits
    if together and last == size - _ONE:
        return _NAMED
    if together and first == _ZERO and size - digits <= _UNIT_SIZE:
        return _SHORT_MEASURED if digits == _TWO and _link(start, end) != _ZERO else _MEASURED
    if size == np.uint64(5) and digits == np.uint64(4) and _load8(start + _TWO) == np.uint64(84):
        return _HOUR if _link(start, end) != _ZERO else _OTHER
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
    state = _mixed(state, kind << _EIGHT | (end - start if kind == _PIECE else _ZERO))
    measured = kind == _MEASURED or kind == _SHORT_MEASURED
    return state, start + last + _ONE if measured else end


@njit(forceinline=True, error_model="numpy")
def _run(start: Word) -> Word:
    """End, digits, first and last digit, and whether all is hexadecimal, of the run that begins here."""
    end = start
    digits, first, last, all_hex = _ZERO, _ZERO, _ZERO, True
    while True:
        byte = _load8(end)
        digit = byte - np.uint64(48) < np.uint64(10)
        if not digit and not (byte | np.uint64(32)) - np.uint64(97) < np.uint64(26):
            return end, digits, first, last, all_hex
        if digit:
            last = end - start
            first = last if digits == _ZERO else first
            digits += _ONE
        all_hex = all_hex and _is_hex(byte)
        end += _ONE


def line_shapes(
    text: Word,
    size: Word,
    ids: Word,
    starts: Word,
    keys: Word,
    numbers: Word,
    last_key: Word,
    firsts: Word,
    lengths: Word,
    counters: Word,
    most: Word,
) -> Word:
    """Write each line's shape and start; how many lines were done before there was no room for a shape.

    Addresses: `text` of `size` bytes, ending with a newline; `ids` int32 and `starts` int32, one a line; the
    table of shapes `keys` uint64 and `numbers` int32 of `last_key` + 1 entries, a power of two; `firsts` and
    `lengths` int32 of the first line of each new shape; `counters` int64: shapes known, bytes done.
    """
    end = text + size
    known = _load64(counters)
    new = _ZERO
    lines = _ZERO
    place, line, cut = text, text, text
    state = _SEED
    while place < end:
        newline, digit, alnum, hexadecimal = _classes(place)
        stop = _trailing(newline) if newline else _WINDOW
        inside = _lowest(stop)
        alnum &= inside
        digit &= inside
        ends = (alnum + digit) & ~alnum
        while ends:
            run_end = _trailing(ends)
            ends &= ends - _ONE
            before = _lowest(run_end)
            gap = ~alnum & before
            run_start = _WINDOW - _leading(gap) if gap else _ZERO
            digits = (digit & before) >> run_start
            state, cut = _past(
                state,
                cut,
                place + run_start,
                place + run_end,
                _ones(digits),
                _trailing(digits),
                np.uint64(63) - _leading(digits),
                (~hexadecimal & before) >> run_start == _ZERO,
            )
        if stop == _WINDOW:
            # What touches the window's end is looked at again as a whole.
            gap = ~alnum
            run_start = _WINDOW - _leading(gap) if gap else _ZERO
            if run_start > _ZERO:
                place += run_start
                continue
            run_end, digits, first, last, all_hex = _run(place)
            if digits:
                state, cut = _past(state, cut, place, run_end, digits, first, last, all_hex)
            place = run_end
            continue
        line_end = place + stop
        place = line_end + _ONE
        if line_end > cut and _load8(line_end - _ONE) == np.uint64(13):
            line_end -= _ONE
        state = _hashed(state, cut, line_end)
        state = _ONE if state == _ZERO else state  # zero marks free entries
        entry = (state ^ (state >> np.uint64(29))) & last_key
        key = _load64(keys + entry * _EIGHT)
        while key != _ZERO and key != state:
            entry = (entry + _ONE) & last_key
            key = _load64(keys + entry * _EIGHT)
        if key == _ZERO:
            if known + new >= most:
                place = line
                break
            _store64(keys + entry * _EIGHT, state)
            _store32(numbers + entry * np.uint64(4), known + new)
            _store32(firsts + new * np.uint64(4), line - text)
            _store32(lengths + new * np.uint64(4), line_end - line)
            new += _ONE
        _store32(ids + lines * np.uint64(4), _load32(numbers + entry * np.uint64(4)))
        _store32(starts + lines * np.uint64(4), line - text)
        lines += _ONE
        line, cut = place, place
        state = _SEED
    _store64(counters, known + new)
    _store64(counters + _EIGHT, place - text)
    return lines


@njit(forceinline=True, error_model="numpy")
def _put(out: Word, text: Word, end: Word) -> Word:
    """Copy a text; writes up to 7 bytes too many."""
    while text < end:
        _store64(out, _load64(text))
        step = min(_EIGHT, end - text)
        text += step
        out += step
    return out


@njit(forceinline=True, error_model="numpy")
def _put_zeros(out: Word, count: Word) -> Word:
    for _ in range(count):
        _store8(out, np.uint64(48))
        out += _ONE
    return out


@njit(forceinline=True, error_model="numpy")
def _put_kind(out: Word, kind: Word, size: Word) -> Word:
    """Write how a value of this kind is written, without the letters that it keeps."""
    if kind == _HEX:
        return _put_letter(_put_letter(_put_zeros(out, _ONE), 120), 48)
    if kind == _LONG:
        return _put_zeros(out, _LONG_SIZE)
    if kind == _PIECE:
        return _put_zeros(out, size)
    if kind == _NUMBER or kind == _MEASURED:
        return _put_zeros(out, np.uint64(3))
    out = _put_zeros(out, _TWO)
    if kind == _HOUR:
        return _put_zeros(_put_letter(out, 84), _TWO)
    if kind == _OTHER:
        return _put_zeros(_put_letter(_put_letter(out, 105), 100), _TWO)
    return out  # a name, or two digits of a chain with a unit


@njit(forceinline=True, error_model="numpy")
def _put_letter(out: Word, letter: int) -> Word:
    _store8(out, np.uint64(letter))
    return out + _ONE


def flatten(text: Word, size: Word, out: Word) -> Word:
    """Write the canonical form of a text of `size` bytes; how many bytes that are.

    `out` has room for three times as many, and 16 more. Around the text lie bytes that may be looked at.
    """
    begun, end = out, text + size
    place, cut = text, text
    while place < end:
        byte = _load8(place)
        if byte - np.uint64(48) >= np.uint64(10) and (byte | np.uint64(32)) - np.uint64(97) >= np.uint64(26):
            place += _ONE
            continue
        run_end, digits, first, last, all_hex = _run(place)
        if digits:
            kind = _kind(place, run_end, digits, first, last, all_hex)
            if kind != _WORD:
                out = _put(out, cut, place + first if kind == _NAMED else place)
                out = _put_kind(out, kind, run_end - place)
                measured = kind == _MEASURED or kind == _SHORT_MEASURED
                cut = place + last + _ONE if measured else run_end
        place = run_end
    return _put(out, cut, end) - begun


@njit(error_model="numpy")
def _two(at: Word) -> Word:
    """The number that two digits write, or one above 99 where these are none."""
    tens, ones = _load8(at) - np.uint64(48), _load8(at + _ONE) - np.uint64(48)
    return tens * np.uint64(10) + ones if tens < np.uint64(10) and ones < np.uint64(10) else np.uint64(100)


@njit(error_model="numpy")
def _month(at: Word) -> Word:
    """The month that three letters name, or one above 12."""
    name = _load8(at) << np.uint64(16) | _load8(at + _ONE) << _EIGHT | _load8(at + _TWO)
    for month in range(12):
        if name == _MONTHS[month]:
            return np.uint64(month + 1)
    return np.uint64(100)


@njit(error_model="numpy")
def _goes_on(at: Word) -> Word:
    """Whether what follows a time may belong to it: more digits, or a zone."""
    byte = _load8(at)
    if byte == np.uint64(32):
        at += _ONE
        byte = _load8(at)
        word = byte << np.uint64(16) | _load8(at + _ONE) << _EIGHT | _load8(at + _TWO)
        if byte == np.uint64(90) or word == _UTC or word == _GMT:
            return True
        return (byte == np.uint64(43) or byte == np.uint64(45)) and _two(at + _ONE) < np.uint64(100)
    digit = byte - np.uint64(48) < np.uint64(10)
    if byte == np.uint64(44) or byte == np.uint64(46) or byte == np.uint64(58):
        return _load8(at + _ONE) - np.uint64(48) < np.uint64(10)
    letter = (byte | np.uint64(32)) - np.uint64(97) < np.uint64(26)
    return digit or letter or byte == np.uint64(43) or byte == np.uint64(45)


@njit(error_model="numpy")
def _days(year: Word, month: Word, day: Word) -> Word:
    """Days since 1970-01-01 in the Gregorian calendar, from 1970 on."""
    shifted = year - (_ONE if month <= _TWO else _ZERO)
    era_year = shifted % np.uint64(400)
    turned = (month + np.uint64(9)) % np.uint64(12)
    of_year = (np.uint64(153) * turned + _TWO) // np.uint64(5) + day - _ONE
    of_era = era_year * np.uint64(365) + era_year // np.uint64(4) - era_year // np.uint64(100) + of_year
    return shifted // np.uint64(400) * np.uint64(146097) + of_era - np.uint64(719468)


@njit(error_model="numpy")
def _moment(at: Word, pattern: Word, size: Word) -> Word:
    """Microseconds since 1970 of the time written at a place as a pattern says, or _NO_TIME."""
    year, month, day = np.uint64(1970), _ONE, _ONE
    hour, minute, second, micros = _ZERO, _ZERO, _ZERO, _ZERO
    for place in range(size):
        code = _load8(pattern + np.uint64(place))
        if code == np.uint64(89):  # Y
            century = _two(at)
            year = century * np.uint64(100) + _two(at + _TWO)
            if century > np.uint64(99) or _two(at + _TWO) > np.uint64(99) or year < np.uint64(1970):
                return _NO_TIME
            at += np.uint64(4)
        elif code == np.uint64(102):  # f
            byte = _load8(at)
            if byte == np.uint64(46) or byte == np.uint64(44):
                digit = _load8(at + _ONE) - np.uint64(48)
                worth = np.uint64(100_000)
                if digit < np.uint64(10):
                    at += _ONE
                for _ in range(9):
                    if digit > np.uint64(9):
                        break
                    micros += digit * worth
                    worth //= np.uint64(10)
                    at += _ONE
                    digit = _load8(at) - np.uint64(48)
        elif code == np.uint64(115):  # s
            second = _ZERO
            for _ in range(10):
                digit = _load8(at) - np.uint64(48)
                if digit > np.uint64(9):
                    return _NO_TIME
                second = second * np.uint64(10) + digit
                at += _ONE
            return _NO_TIME if _goes_on(at) else second * np.uint64(1_000_000)
        elif code == np.uint64(98):  # b
            month = _month(at)
            at += np.uint64(3)
        elif code == np.uint64(84):  # T
            if _load8(at) != np.uint64(84) and _load8(at) != np.uint64(32):
                return _NO_TIME
            at += _ONE
        elif (code | np.uint64(32)) - np.uint64(97) < np.uint64(26):
            number = _two(at)
            if number > np.uint64(99):
                return _NO_TIME
            at += _TWO
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
            if _load8(at) != code:
                return _NO_TIME
            at += _ONE
    if month - _ONE > np.uint64(11) or day == _ZERO or hour > np.uint64(23):
        return _NO_TIME
    if minute > np.uint64(59) or second > np.uint64(59) or _goes_on(at):
        return _NO_TIME
    following = _days(year + month // np.uint64(12), month % np.uint64(12) + _ONE, _ONE)
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
        at, place = text + _load32(lines + step), _load32(places + step)
        blanks = place >> np.uint64(16)
        limit = at + _REACH
        while blanks and at < limit:
            blanks -= _ONE if _load8(at) == np.uint64(32) else _ZERO
            at += _ONE
        moment = _NO_TIME
        if blanks == _ZERO:
            moment = _moment(at + (place & np.uint64(0xFFFF)), pattern, size)
        _store64(out + np.uint64(row) * _EIGHT, moment)
    return _ZERO
