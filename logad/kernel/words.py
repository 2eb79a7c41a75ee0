"""Words of 64 bits, as the compiled passes load, store and count them (imported only to compile)."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

Word = Any
"""A word of 64 bits without a sign, or what llvmlite and numba hand around: neither has types."""
ZERO, ONE, TWO, EIGHT = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(8)

_I1, _I8, _I64 = ir.IntType(1), ir.IntType(8), ir.IntType(64)
_SINGLE, _DOUBLE = ir.FloatType(), ir.DoubleType()


def _at(builder: Word, address: Word, kind: Word) -> Word:
    return builder.inttoptr(address, kind.as_pointer())


@intrinsic
def classes(_context: Word, _address: Word) -> Word:
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


@intrinsic
def load_double(_context: Word, _address: Word) -> Word:
    """The number of 64 bits at an address."""

    def generate(_context: Word, builder: Word, _signature: Word, arguments: Word) -> Word:
        value = builder.load(_at(builder, arguments[0], _DOUBLE))
        value.align = 1
        return value

    return types.float64(types.uint64), generate


@intrinsic
def store_single(_context: Word, _address: Word, _value: Word) -> Word:
    """Write a number in 32 bits."""

    def generate(context: Word, builder: Word, _signature: Word, arguments: Word) -> Word:
        address, value = arguments
        builder.store(builder.fptrunc(value, _SINGLE), _at(builder, address, _SINGLE), align=1)
        return context.get_dummy_value()

    return types.void(types.uint64, types.float64), generate


load8, load32, load64 = _loading(8), _loading(32), _loading(64)
store8, store32, store64 = _storing(8), _storing(32), _storing(64)
trailing, leading, ones = _counting("llvm.cttz"), _counting("llvm.ctlz"), _counting("llvm.ctpop")
