"""Kernels of the baseline pass: add a frame at the template's position, and gather photon statistics."""

from __future__ import annotations

import numba
import numpy as np

_U2 = numba.types.Array(numba.uint16, 2, "C", readonly=True)
_I2 = numba.types.Array(numba.int16, 2, "C", readonly=True)
_F4 = numba.float32[:, ::1]


@numba.njit(
    [numba.void(_U2, numba.float64, numba.float64, _F4), numba.void(_I2, numba.float64, numba.float64, _F4)],
    cache=True,
    nogil=True,
)
def add_registered(frame, shift_y_px, shift_x_px, sum_out):
    """Add a frame, read bilinearly at the shifted position, to a sum in template coordinates.

    Parameters
    ----------
    frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, detector counts, read
    shift_y_px, shift_x_px : float
        Template pixel (y, x) is read at (y + shift_y_px, x + shift_x_px); beyond the field the border counts.
    sum_out : float32 ndarray, shape (n_lines, n_pixels), C order, counts, read and overwritten
    """
    n_lines, n_pixels = frame.shape
    whole_y = np.int64(np.floor(shift_y_px))
    whole_x = np.int64(np.floor(shift_x_px))
    part_y = np.float32(shift_y_px - whole_y)
    part_x = np.float32(shift_x_px - whole_x)
    rest_y = np.float32(1.0) - part_y
    rest_x = np.float32(1.0) - part_x
    for y in range(n_lines):
        upper = frame[np.uint64(min(max(y + whole_y, 0), n_lines - 1))]
        lower = frame[np.uint64(min(max(y + whole_y + 1, 0), n_lines - 1))]
        out = sum_out[y]
        first = min(max(-whole_x, 0), n_pixels)
        end = max(min(n_pixels, n_pixels - 1 - whole_x), first)
        for x in range(first, end):
            left = np.uint64(x + whole_x)
            right = left + np.uint64(1)
            out[x] += rest_y * (rest_x * upper[left] + part_x * upper[right]) + part_y * (
                rest_x * lower[left] + part_x * lower[right]
            )
        edge_left = np.float32(rest_y * upper[0] + part_y * lower[0])
        last = np.uint64(n_pixels - 1)
        edge_right = np.float32(rest_y * upper[last] + part_y * lower[last])
        for x in range(first):
            out[x] += edge_left
        for x in range(end, n_pixels):
            out[x] += edge_right


@numba.njit([numba.void(_U2, _U2, _F4, _F4), numba.void(_I2, _I2, _F4, _F4)], cache=True, nogil=True)
def add_photon_statistics(frame, previous, sum_out, squared_difference_out):
    """Add a pair of successive frames to the sums that photon transfer needs.

    Parameters
    ----------
    frame, previous : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, detector counts, read
    sum_out : float32 ndarray, shape (n_lines, n_pixels), C order, counts, read and overwritten
        Sum of ``(frame + previous) / 2``.
    squared_difference_out : float32 ndarray, shape (n_lines, n_pixels), C order, counts^2, read and overwritten
        Sum of ``(frame - previous)^2 / 2``: the variance of one frame, free of slow changes.
    """
    half = np.float32(0.5)
    for y in range(frame.shape[0]):
        now = frame[y]
        before = previous[y]
        total = sum_out[y]
        squared = squared_difference_out[y]
        for x in range(now.shape[0]):
            a = np.float32(now[x])
            b = np.float32(before[x])
            total[x] += half * (a + b)
            squared[x] += half * (a - b) * (a - b)
