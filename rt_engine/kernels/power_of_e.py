"""The exponential from sums and products alone: the same bits whatever the processor and its mathematical library.

numba caches a kernel by the file that it stands in: after a change here, touch the files of the kernels that call it.
"""

from __future__ import annotations

from numba import njit

from rt_engine.kernels.compile_options import NO_ALLOCATION

_LARGEST = 80.0
"""Beyond, either way, it stays what it is there: 5.5e34 and 1.8e-35."""
_N_SQUARES = 9
_SMALL = 1.0 / 2**_N_SQUARES


@njit(**NO_ALLOCATION)
def power_of_e(x):
    """Exponential of a float64 to 2e-13 of itself; of what is no number, none.

    The series of x / 512, squared nine times: no branch and no table, so that loops over it become vector code.
    """
    x = -_LARGEST if x < -_LARGEST else x
    x = _LARGEST if x > _LARGEST else x
    r = x * _SMALL
    value = 1.0 + r * (1.0 / 9.0) * (1.0 + r * (1.0 / 10.0))
    value = 1.0 + r * (1.0 / 7.0) * (1.0 + r * (1.0 / 8.0) * value)
    value = 1.0 + r * (1.0 / 5.0) * (1.0 + r * (1.0 / 6.0) * value)
    value = 1.0 + r * (1.0 / 3.0) * (1.0 + r * (1.0 / 4.0) * value)
    value = 1.0 + r * (1.0 + r * (1.0 / 2.0) * value)
    for _ in range(_N_SQUARES):
        value *= value
    return value
