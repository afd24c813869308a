"""Kernel of the search near the last shift: correlate a frame with the template at a few lags only."""

from __future__ import annotations

import numba
import numpy as np

from rt_engine.kernels.compile_options import NO_ALLOCATION
from rt_engine.kernels.lanes import N_LANES, add_product, load_lanes, sum_of_lanes, zero_lanes

_F4_READ = numba.types.Array(numba.float32, 2, "C", readonly=True)
_SUMS = numba.float64[:, ::1]
N_NEAR = 3
"""Lags along each axis: one to either side of the middle one."""
_BEFORE, _HERE, _AFTER = 2, 0, 1
"""Where the lag before the middle one, the middle one and the next stand along an axis of the result."""
_ROWS_AT_ONCE = 16
"""Rows that are added up as float32, before their sum is added as float64."""
_NEXT, _AFTER_NEXT = np.uint64(1), np.uint64(2)


@numba.njit(**NO_ALLOCATION)
def _add_edges(weights, line, first_x, begin, end, sums):
    """Add what the columns before `begin` and from `end` on give, which are paired around the edge of the field."""
    n = weights.shape[0]
    before = here = after = np.float32(0.0)
    for k in range(n - end + begin):
        x = k if k < begin else end + k - begin
        weight = weights[np.uint64(x)]
        first = x + first_x
        if first < 0:
            first += n
        elif first >= n:
            first -= n
        second = first + 1 if first + 1 < n else 0
        third = second + 1 if second + 1 < n else 0
        before += weight * line[np.uint64(first)]
        here += weight * line[np.uint64(second)]
        after += weight * line[np.uint64(third)]
    sums[_BEFORE] += before
    sums[_HERE] += here
    sums[_AFTER] += after


@numba.njit(**NO_ALLOCATION)
def _add_rows(binned, reference, first_row, end_row, first_y, first_x, begin, end, sums):
    """Add what some rows give between two columns that are a whole number of lanes apart."""
    n_rows = reference.shape[0]
    upper_left, upper, upper_right = zero_lanes(), zero_lanes(), zero_lanes()
    left, middle, right = zero_lanes(), zero_lanes(), zero_lanes()
    lower_left, lower, lower_right = zero_lanes(), zero_lanes(), zero_lanes()
    for row in range(first_row, end_row):
        weights = reference[row]
        line_0 = binned[(row + first_y + n_rows) % n_rows]
        line_1 = binned[(row + first_y + 1 + n_rows) % n_rows]
        line_2 = binned[(row + first_y + 2 + n_rows) % n_rows]
        for x in range(begin, end, N_LANES):
            weight = load_lanes(weights, np.uint64(x))
            at_0 = np.uint64(x + first_x)
            at_1, at_2 = at_0 + _NEXT, at_0 + _AFTER_NEXT
            upper_left = add_product(upper_left, weight, load_lanes(line_0, at_0))
            upper = add_product(upper, weight, load_lanes(line_0, at_1))
            upper_right = add_product(upper_right, weight, load_lanes(line_0, at_2))
            left = add_product(left, weight, load_lanes(line_1, at_0))
            middle = add_product(middle, weight, load_lanes(line_1, at_1))
            right = add_product(right, weight, load_lanes(line_1, at_2))
            lower_left = add_product(lower_left, weight, load_lanes(line_2, at_0))
            lower = add_product(lower, weight, load_lanes(line_2, at_1))
            lower_right = add_product(lower_right, weight, load_lanes(line_2, at_2))
    sums[_BEFORE, _BEFORE] += sum_of_lanes(upper_left)
    sums[_BEFORE, _HERE] += sum_of_lanes(upper)
    sums[_BEFORE, _AFTER] += sum_of_lanes(upper_right)
    sums[_HERE, _BEFORE] += sum_of_lanes(left)
    sums[_HERE, _HERE] += sum_of_lanes(middle)
    sums[_HERE, _AFTER] += sum_of_lanes(right)
    sums[_AFTER, _BEFORE] += sum_of_lanes(lower_left)
    sums[_AFTER, _HERE] += sum_of_lanes(lower)
    sums[_AFTER, _AFTER] += sum_of_lanes(lower_right)


@numba.njit([numba.void(_F4_READ, _F4_READ, numba.int64, numba.int64, _SUMS)], **NO_ALLOCATION)
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
    n_rows, n_columns = reference.shape
    begin = max(np.int64(0), -first_x)
    end = min(n_columns, n_columns - first_x - (N_NEAR - 1))
    end = begin + max(end - begin, 0) // N_LANES * N_LANES
    correlation_out[:] = 0.0
    for row in range(0, n_rows, _ROWS_AT_ONCE):
        end_row = min(row + _ROWS_AT_ONCE, n_rows)
        _add_rows(binned, reference, row, end_row, first_y, first_x, begin, end, correlation_out)
    for row in range(n_rows):
        for i in range(N_NEAR):
            line = binned[(row + first_y + i + n_rows) % n_rows]
            _add_edges(reference[row], line, first_x, begin, end, correlation_out[(i + N_NEAR - 1) % N_NEAR])
