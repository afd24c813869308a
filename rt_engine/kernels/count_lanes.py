"""Counts that are worked on at once: eight neighbours of a line, or two.

They are whole numbers, so their sums are the same in any order and on any processor; lanes change the time alone. A
compiler does not find them itself: a running sum waits for the one before, and two neighbours are two loads to it.

For use within kernels only. numba caches a kernel by the file that it stands in: after a change here, touch the files
of the kernels that call it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

N_COUNTS = 8
_NUMBER = ir.IntType(32)
_in_kernel: Any = intrinsic
"""Its declared type is that of the definition; kernels call without the typing context."""


class _Counts(types.Type):
    """So many int32 numbers in a register: a local variable of a kernel, never an argument from outside."""

    def __init__(self, n: int) -> None:
        self.vector = ir.VectorType(_NUMBER, n)
        super().__init__(name=f"Counts({n})")


_EIGHT, _TWO = _Counts(N_COUNTS), _Counts(2)


@register_model(_Counts)
class _CountsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, kind.vector)


def _place(context: Any, builder: Any, array_type: Any, array: Any, at: Any, kind: Any) -> Any:
    first = builder.gep(cgutils.create_struct_proxy(array_type)(context, builder, array).data, [at])
    return builder.bitcast(first, kind.as_pointer())


def _indices(numbers: list[int]) -> Any:
    return ir.Constant(ir.VectorType(_NUMBER, len(numbers)), numbers)


def _larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.icmp_signed(">", a, b), a, b)


@_in_kernel
def no_counts(typing):
    """Eight zeros."""
    return _EIGHT(), lambda context, builder, signature, arguments: ir.Constant(_EIGHT.vector, [0] * N_COUNTS)


@_in_kernel
def load_counts(typing, array, at):
    """Eight neighbours of a uint16 or int16 array, shape (n,), C order, from index `at` (uint64) on; not checked."""
    bits = array.dtype.bitwidth

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.VectorType(ir.IntType(bits), N_COUNTS)
        narrow = builder.load(
            _place(context, builder, signature.args[0], arguments[0], arguments[1], kind), align=bits // 8
        )
        widen = builder.sext if array.dtype.signed else builder.zext
        return widen(narrow, _EIGHT.vector)

    return _EIGHT(array, at), generate


@_in_kernel
def store_counts(typing, array, at, counts):
    """Put eight numbers into a uint32 array, shape (n,), C order, from index `at` (uint64) on; not checked."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature.args[0], arguments[0], arguments[1], _EIGHT.vector)
        builder.store(arguments[2], place, align=4)
        return context.get_dummy_value()

    return types.void(array, at, counts), generate


@_in_kernel
def running_counts(typing, counts):
    """Lane k is the sum of the lanes up to and with k, modulo 2^32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, zeros, step = arguments[0], ir.Constant(_EIGHT.vector, [0] * N_COUNTS), 1
        while step < N_COUNTS:
            moved = _indices([N_COUNTS] * step + list(range(N_COUNTS - step)))
            sums = builder.add(sums, builder.shuffle_vector(sums, zeros, moved))
            step *= 2
        return sums

    return _EIGHT(counts), generate


@_in_kernel
def add_counts(typing, a, b):
    """Sum lane by lane, modulo 2^32."""
    return _EIGHT(a, b), lambda context, builder, signature, arguments: builder.add(*arguments)


@_in_kernel
def last_everywhere(typing, counts):
    """Every lane is what the last one was."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.shuffle_vector(arguments[0], arguments[0], _indices([N_COUNTS - 1] * N_COUNTS))

    return _EIGHT(counts), generate


@_in_kernel
def larger_counts(typing, a, b):
    """The larger one, lane by lane, as int32."""
    return _EIGHT(a, b), lambda context, builder, signature, arguments: _larger(builder, *arguments)


@_in_kernel
def largest_count(typing, counts):
    """The largest lane, int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, n = arguments[0], N_COUNTS // 2
        while n:
            halves = (builder.shuffle_vector(left, left, _indices(list(range(at, at + n)))) for at in (0, n))
            left, n = _larger(builder, *halves), n // 2
        return builder.extract_element(left, ir.Constant(_NUMBER, 0))

    return types.int32(counts), generate


@_in_kernel
def no_pair(typing):
    """Two zeros."""
    return _TWO(), lambda context, builder, signature, arguments: ir.Constant(_TWO.vector, [0, 0])


@_in_kernel
def load_pair(typing, array, at):
    """Two neighbours of a uint32 array, shape (n,), C order, from index `at` (uint64) on; not checked."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(
            _place(context, builder, signature.args[0], arguments[0], arguments[1], _TWO.vector), align=4
        )

    return _TWO(array, at), generate


@_in_kernel
def add_difference(typing, pair, end, begin):
    """``pair + end - begin``, modulo 2^32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pair, end, begin = arguments
        return builder.add(pair, builder.sub(end, begin))

    return _TWO(pair, end, begin), generate


@_in_kernel
def first_of(typing, pair):
    """The first of two numbers, int32."""
    return types.int32(pair), lambda context, builder, signature, arguments: _number(builder, arguments[0], 0)


@_in_kernel
def second_of(typing, pair):
    """The second of two numbers, int32."""
    return types.int32(pair), lambda context, builder, signature, arguments: _number(builder, arguments[0], 1)


def _number(builder: Any, pair: Any, which: int) -> Any:
    return builder.extract_element(pair, ir.Constant(_NUMBER, which))
