"""Kernels of rigid registration: bin and centre a frame, multiply its spectrum, find the correlation peak.

And how strongly each block of the template stands in the frame there. Sums over an image are taken column by column,
then over the columns: so the compiler works on several at once without having to reorder any, and every processor
gives the same bits.
"""

from __future__ import annotations

import numba
import numpy as np

_U2 = numba.types.Array(numba.uint16, 2, "C", readonly=True)
_I2 = numba.types.Array(numba.int16, 2, "C", readonly=True)
_F4 = numba.float32[:, ::1]
_COLUMNS = numba.float32[::1]
_COLUMNS_AT_ONCE = 4096
"""Their sum, each of 4 x 65,535 at most, is known from 32 bits: twice as many fit into a register as of 64."""


@numba.njit(
    [numba.float64(_U2, numba.int64, _F4), numba.float64(_I2, numba.int64, _F4)],
    cache=True,
    nogil=True,
)
def bin_and_centre(frame, bin_px, binned_out):
    """Sum blocks of ``bin_px x bin_px`` pixels and subtract the mean of the sums.

    Parameters
    ----------
    frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, detector counts, read
    bin_px : int
        1 or 2; lines and pixels that fill no block are left out.
    binned_out : float32 ndarray, shape (>= n_lines // bin_px, >= n_pixels // bin_px), C order, counts
        The top left part is overwritten, the padding beyond it is not touched.

    Returns
    -------
    float
        The mean that was subtracted, counts per block.
    """
    n_rows = frame.shape[0] // bin_px
    n_columns = frame.shape[1] // bin_px
    total = np.int64(0)
    for row in range(n_rows):
        out = binned_out[row]
        row_sum = np.int64(0)
        if bin_px == 2:
            upper = frame[2 * row]
            lower = frame[2 * row + 1]
            for first in range(0, n_columns, _COLUMNS_AT_ONCE):
                part = np.int32(0)
                for column in range(first, min(first + _COLUMNS_AT_ONCE, n_columns)):
                    left = np.uint64(2 * column)
                    right = left + np.uint64(1)
                    above, below = np.int32(upper[left]) + np.int32(upper[right]), np.int32(lower[left])
                    value = np.int32(above + below + np.int32(lower[right]))
                    part = np.int32(part + value)
                    out[np.uint64(column)] = value
                row_sum += part
        else:
            line = frame[row]
            for column in range(n_columns):
                value = np.int32(line[column])
                row_sum += value
                out[column] = value
        total += row_sum
    mean = total / (n_rows * n_columns)
    mean_f4 = np.float32(mean)
    for row in range(n_rows):
        out = binned_out[row]
        for column in range(n_columns):
            out[column] -= mean_f4
    return mean


@numba.njit([numba.void(_F4, numba.int64, numba.int64, _F4)], cache=True, nogil=True)
def bin_in_fours(fine, n_rows, n_columns, coarse_out):
    """Sum blocks of 2 x 2 bins.

    Parameters
    ----------
    fine : float32 ndarray, shape (>= 2 n_rows, >= 2 n_columns), C order, counts, read
    n_rows, n_columns : int
        Blocks.
    coarse_out : float32 ndarray, shape (>= n_rows, >= n_columns), C order, counts
        The top left part is overwritten, the padding beyond it is not touched.
    """
    for row in range(n_rows):
        upper, lower, out = fine[2 * row], fine[2 * row + 1], coarse_out[row]
        for column in range(n_columns):
            left = np.uint64(2 * column)
            right = left + np.uint64(1)
            out[np.uint64(column)] = (upper[left] + upper[right]) + (lower[left] + lower[right])


@numba.njit(
    [numba.float64(numba.complex64[:, ::1], numba.complex64[:, ::1], _F4, _COLUMNS)],
    cache=True,
    nogil=True,
)
def correlate_spectrum(spectrum, template_spectrum, energy_weight, columns):
    """Multiply a half spectrum by the conjugate of the template's, in place, and weigh its energy.

    Parameters
    ----------
    spectrum : complex64 ndarray, shape (n_ky, n_kx), C order
        Half spectrum of the frame (`rfft2`); overwritten with the cross spectrum.
    template_spectrum : complex64 ndarray, shape (n_ky, n_kx), C order, read
        Conjugated already.
    energy_weight : float32 ndarray, shape (n_ky, n_kx), C order, read
        Squared transfer function of the band-pass times the multiplicity of the half spectrum.
    columns : float32 ndarray, shape (n_kx,), overwritten
        Energy of every wave along x.

    Returns
    -------
    float
        Sum of ``energy_weight * |spectrum|^2``: energy of the band-passed frame (Parseval).
    """
    columns[:] = np.float32(0.0)
    n_kx = spectrum.shape[1]
    for ky in range(spectrum.shape[0]):
        row = spectrum[ky]
        reference = template_spectrum[ky]
        weight = energy_weight[ky]
        for kx in range(n_kx):
            value = row[kx]
            columns[kx] += weight[kx] * (value.real * value.real + value.imag * value.imag)
            row[kx] = value * reference[kx]
    energy = np.float64(0.0)
    for kx in range(n_kx):
        energy += columns[kx]
    return energy


@numba.njit(
    [numba.void(numba.types.Array(numba.float32, 2, "C", readonly=True), numba.int64, numba.int64, numba.float64[::1])],
    cache=True,
    nogil=True,
)
def find_peak(correlation, max_lag_y, max_lag_x, peak_out):
    """Largest value among the lags within the limits, with a parabola through its neighbours on each axis.

    Parameters
    ----------
    correlation : float32 ndarray, shape (n_rows, n_columns), C order, read
        Circular correlation; lag (0, 0) at [0, 0], negative lags at the far end.
    max_lag_y, max_lag_x : int
        Search limits, lags; at most (n - 3) // 2.
    peak_out : float64 ndarray, shape (3,), overwritten
        Lag along y, lag along x (both with fraction), height of the parabola.
    """
    n_rows = correlation.shape[0]
    n_columns = correlation.shape[1]
    best = correlation[0, 0]
    best_y = 0
    best_x = 0
    for lag_y in range(-max_lag_y, max_lag_y + 1):
        row = correlation[lag_y + n_rows if lag_y < 0 else lag_y]
        for lag_x in range(-max_lag_x, max_lag_x + 1):
            value = row[lag_x + n_columns if lag_x < 0 else lag_x]
            if value > best:
                best = value
                best_y = lag_y
                best_x = lag_x
    centre = np.float64(best)
    column = best_x + n_columns if best_x < 0 else best_x
    line = best_y + n_rows if best_y < 0 else best_y
    above = np.float64(correlation[line - 1 if line > 0 else n_rows - 1, column])
    below = np.float64(correlation[line + 1 if line + 1 < n_rows else 0, column])
    left = np.float64(correlation[line, column - 1 if column > 0 else n_columns - 1])
    right = np.float64(correlation[line, column + 1 if column + 1 < n_columns else 0])
    curvature_y = 2.0 * centre - above - below
    curvature_x = 2.0 * centre - left - right
    offset_y = 0.5 * (below - above) / curvature_y if curvature_y > 0.0 else 0.0
    offset_x = 0.5 * (right - left) / curvature_x if curvature_x > 0.0 else 0.0
    offset_y = min(max(offset_y, -0.5), 0.5)
    offset_x = min(max(offset_x, -0.5), 0.5)
    peak_out[0] = best_y + offset_y
    peak_out[1] = best_x + offset_x
    peak_out[2] = centre + 0.25 * (below - above) * offset_y + 0.25 * (right - left) * offset_x


_F4_READ = numba.types.Array(numba.float32, 2, "C", readonly=True)
_F8_READ = numba.types.Array(numba.float64, 1, "C", readonly=True)


@numba.njit(
    [
        numba.void(
            _F4_READ,
            _F4_READ,
            numba.types.Array(numba.float64, 3, "C", readonly=True),
            numba.int64,
            numba.float64,
            numba.float64,
            _COLUMNS,
            numba.float64[:, ::1],
        )
    ],
    cache=True,
    nogil=True,
)
def block_contrast(binned, reference, expected, block_rows, lag_y, lag_x, columns, contrast_out):
    """Regress every block of a frame, read at its shifted position, on the same block of the template.

    Parameters
    ----------
    binned : float32 ndarray, shape (>= n_rows, >= n_columns), C order, counts, read
        From `bin_and_centre`.
    reference : float32 ndarray, shape (n_rows, n_columns), C order, read
        Weights; the sum over each block is 0.
    expected : float64 ndarray, shape (3, n_block_rows, n_block_columns), C order, read
        Sums of weights times template, times its second difference along y, and along x.
    block_rows : int
        Side of a square block; blocks begin at [0, 0] and pixels that fill none are left out.
    lag_y, lag_x : float
        Where the template's content is in `binned`; between pixels the frame is read bilinearly.
    columns : float32 ndarray, shape (>= n_columns,), overwritten
        Sums over the rows of a row of blocks.
    contrast_out : float64 ndarray, shape (n_block_rows, n_block_columns), overwritten
        1 where a block looks as in the template, 2 if its light doubled, 0 if its structure is not there.

    Notes
    -----
    Reading between pixels blurs: at the fraction f the structure T looks like T + f (1 - f) T'' / 2, and so the
    expected sum is corrected. Pixels shifted beyond the field count 0. A block whose expected sum is 0 gives 0.
    """
    n_rows = reference.shape[0]
    n_columns = reference.shape[1]
    whole_y = np.int64(np.floor(lag_y))
    whole_x = np.int64(np.floor(lag_x))
    part_y = np.float32(lag_y - whole_y)
    part_x = np.float32(lag_x - whole_x)
    one = np.float32(1.0)
    blur_y = 0.5 * part_y * (one - part_y)
    blur_x = 0.5 * part_x * (one - part_x)
    first = max(np.int64(0), -whole_x)
    end = min(contrast_out.shape[1] * block_rows, n_columns - 1 - whole_x)
    for block_y in range(contrast_out.shape[0]):
        columns[:] = np.float32(0.0)
        for row in range(block_y * block_rows, (block_y + 1) * block_rows):
            y = row + whole_y
            if y < 0 or y >= n_rows - 1:
                continue
            weights = reference[row]
            upper = binned[y]
            lower = binned[y + 1]
            for column in range(first, end):
                left = np.uint64(column + whole_x)
                right = left + np.uint64(1)
                above = (one - part_x) * upper[left] + part_x * upper[right]
                below = (one - part_x) * lower[left] + part_x * lower[right]
                here = np.uint64(column)
                columns[here] += weights[here] * ((one - part_y) * above + part_y * below)
        for block_x in range(contrast_out.shape[1]):
            total = np.float64(0.0)
            for column in range(block_x * block_rows, (block_x + 1) * block_rows):
                total += columns[column]
            wanted = expected[0, block_y, block_x]
            wanted += blur_y * expected[1, block_y, block_x] + blur_x * expected[2, block_y, block_x]
            contrast_out[block_y, block_x] = total / wanted if wanted > 0.0 else 0.0


_HALVINGS = 40


@numba.njit([numba.float64(_F8_READ, _F8_READ)], cache=True, nogil=True)
def weighted_median(values, weights):
    """Value below which half of the weight lies, to 1e-12 of the values' range.

    Parameters
    ----------
    values : float64 ndarray, shape (n,), read
        Finite.
    weights : float64 ndarray, shape (n,), read
        Not negative; values without weight are ignored.

    Returns
    -------
    float
        0 if there is no weight.
    """
    total = 0.0
    low = np.inf
    high = -np.inf
    for i in range(values.shape[0]):
        if weights[i] > 0.0:
            total += weights[i]
            low = min(low, values[i])
            high = max(high, values[i])
    if total <= 0.0:
        return 0.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        below = 0.0
        for i in range(values.shape[0]):
            if values[i] <= middle:
                below += weights[i]
        if 2.0 * below >= total:
            high = middle
        else:
            low = middle
    return high


@numba.njit([numba.float64(_F8_READ, _F8_READ, numba.float64)], cache=True, nogil=True)
def capped_mean(values, weights, cap):
    """Weighted mean of values, of which none counts for more than a cap.

    Parameters
    ----------
    values : float64 ndarray, shape (n,), read
    weights : float64 ndarray, shape (n,), read
        Not negative.
    cap : float

    Returns
    -------
    float
        0 if there is no weight.
    """
    total = 0.0
    weight = 0.0
    for i in range(values.shape[0]):
        total += weights[i] * min(values[i], cap)
        weight += weights[i]
    return total / weight if weight > 0.0 else 0.0
