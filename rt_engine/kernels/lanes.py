"""Eight numbers that are worked on at once, for sums whose order is ours and not the compiler's.

A compiler that may choose the order of a sum chooses it by the width of the processor's vectors: the last bits of the
result then depend on the machine. With the order of the source it adds one number at a time. Here lane k adds every
eighth number from the k-th on, and the lanes are added in halves at the end, whatever the processor: one with wide
vectors holds the lanes in one register, another in two. A product and a sum are rounded one after the other.

For use within kernels only. numba caches a kernel by the file that it stands in: after a change here, touch the files
of the kernels that call it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

N_LANES = 8
_VECTOR = ir.VectorType(ir.FloatType(), N_LANES)
_ALIGN_BYTES = 4
"""Lanes begin anywhere in an array."""
_in_kernel: Any = intrinsic
"""Its declared type is that of the definition; kernels call without the typing context."""


class _Lanes(types.Type):
    """Eight float32 numbers in a register: a local variable of a kernel, never an argument from outside."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


_LANES = _Lanes()


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


@_in_kernel
def zero_lanes(typing):
    """Lanes of zeros."""
    return _LANES(), lambda context, builder, signature, arguments: ir.Constant(_VECTOR, [0.0] * N_LANES)


@_in_kernel
def load_lanes(typing, array, at):
    """Eight neighbours of a float32 array, shape (n,), C order, from the index `at` (uint64) on; nothing is checked."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first = builder.gep(
            cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0]).data, [arguments[1]]
        )
        return builder.load(builder.bitcast(first, _VECTOR.as_pointer()), align=_ALIGN_BYTES)

    return _LANES(array, at), generate


@_in_kernel
def add_product(typing, lanes, a, b):
    """``lanes + a * b``, lane by lane, the product rounded before it is added."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(arguments[0], builder.fmul(arguments[1], arguments[2]))

    return _LANES(lanes, a, b), generate


@_in_kernel
def sum_of_lanes(typing, lanes):
    """Sum of all lanes, float32: the halves are added lane by lane until one is left."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, index = arguments[0], ir.IntType(32)
        n = N_LANES // 2
        while n:
            halves = (ir.Constant(ir.VectorType(index, n), list(range(start, start + n))) for start in (0, n))
            left = builder.fadd(*(builder.shuffle_vector(left, left, half) for half in halves))
            n //= 2
        return builder.extract_element(left, ir.Constant(index, 0))

    return types.float32(lanes), generate
