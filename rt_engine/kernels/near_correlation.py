"""Kernel of the search near the last shift: correlate a frame with the template at a few lags only."""

from __future__ import annotations

import numba
import numpy as np

from rt_engine.kernels.compile_options import NO_ALLOCATION

_F4_READ = numba.types.Array(numba.float32, 2, "C", readonly=True)
N_NEAR = 3
"""Lags along each axis: one to either side of the middle one."""


@numba.njit(
    [numba.void(_F4_READ, _F4_READ, numba.int64, numba.int64, numba.float64[:, ::1])],
    fastmath={"reassoc", "contract"},
    **NO_ALLOCATION,
)
def correlate_near(binned, reference, middle_y, middle_x, correlation_out):
    """Circular correlation of a frame with the template at 3 x 3 lags.

    Parameters
    ----------
    binned : float32 ndarray, shape (n_rows, n_columns), C order, counts, read
    reference : float32 ndarray, shape (n_rows, n_columns), C order, read
    middle_y, middle_x : int
        Lag ``d`` pairs ``binned[y + d]`` with ``reference[y]``; smaller than the field.
    correlation_out : float64 ndarray, shape (3, 3), overwritten
        The middle lag at [0, 0], then the next, then the one before: circular, as a whole correlation is.
    """
    first_y, first_x = middle_y - 1, middle_x - 1
    n_rows = reference.shape[0]
    n_columns = reference.shape[1]
    begin = max(np.int64(0), -first_x)
    end = min(n_columns, n_columns - first_x - (N_NEAR - 1))
    zero = np.float32(0.0)
    correlation_out[:] = 0.0
    for row in range(n_rows):
        weights = reference[row]
        for i in range(N_NEAR):
            line = binned[(row + first_y + i + n_rows) % n_rows]
            sum_0 = sum_1 = sum_2 = zero
            for x in range(begin, end):
                weight = weights[np.uint64(x)]
                at = np.uint64(x + first_x)
                sum_0 += weight * line[at]
                sum_1 += weight * line[at + np.uint64(1)]
                sum_2 += weight * line[at + np.uint64(2)]
            for x in range(n_columns - end + begin):
                at_edge = x if x < begin else end + x - begin
                weight = weights[at_edge]
                first = at_edge + first_x + n_columns
                sum_0 += weight * line[first % n_columns]
                sum_1 += weight * line[(first + 1) % n_columns]
                sum_2 += weight * line[(first + 2) % n_columns]
            out = correlation_out[(i + N_NEAR - 1) % N_NEAR]
            out[2] += sum_0
            out[0] += sum_1
            out[1] += sum_2
