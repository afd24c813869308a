"""Kernels of ROI extraction: row prefix sums and run-length spans read at a shifted position.

Bilinear resampling commutes with the sum over a mask, so the masks are shifted instead of the frame: four sums at
integer shifts, blended, are exactly the sum over the resampled frame.
"""

from __future__ import annotations

import numba
import numpy as np

_U2 = numba.types.Array(numba.uint16, 2, "C", readonly=True)
_I2 = numba.types.Array(numba.int16, 2, "C", readonly=True)
_U4 = numba.uint32[:, ::1]


@numba.njit([numba.int64(_U2, _U4), numba.int64(_I2, _U4)], cache=True, nogil=True)
def row_prefix_sums(frame, prefix_out):
    """Running sum of every line, modulo 2^32; returns the largest count of the frame.

    Parameters
    ----------
    frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, detector counts, read
    prefix_out : uint32 ndarray, shape (n_lines + 1, n_pixels + 2), C order
        ``prefix_out[y, x]`` becomes ``frame[y, :x].sum()``; last line and last column are padding and not touched.

    Returns
    -------
    int
        Largest count.
    """
    largest = np.int32(frame[0, 0])
    for y in range(frame.shape[0]):
        line = frame[y]
        out = prefix_out[y]
        running = np.uint32(0)
        line_largest = np.int32(line[0])
        out[0] = running
        for x in range(line.shape[0]):
            value = np.int32(line[x])
            line_largest = max(line_largest, value)
            running = np.uint32(running + np.uint32(value))
            out[np.uint64(x + 1)] = running
        largest = max(largest, line_largest)
    return largest


@numba.njit(
    [
        numba.void(
            numba.types.Array(numba.uint32, 2, "C", readonly=True),
            numba.types.Array(numba.int32, 2, "C", readonly=True),
            numba.types.Array(numba.int64, 1, "C", readonly=True),
            numba.float64,
            numba.float64,
            numba.float64,
            numba.float32[::1],
            numba.int64[::1],
        )
    ],
    cache=True,
    nogil=True,
)
def mean_over_spans(prefix, spans, span_start, shift_y_px, shift_x_px, offset_counts, mean_out, n_inside_out):
    """Mean of every mask at its shifted position, over its pixels that lie inside the field.

    Parameters
    ----------
    prefix : uint32 ndarray, shape (n_lines + 1, n_pixels + 2), C order, counts, read
        From `row_prefix_sums`.
    spans : int32 ndarray, shape (n_spans, 3), C order, pixels, read
        Runs of mask pixels: line, first pixel, pixel after the last.
    span_start : int64 ndarray, shape (n_masks + 1,), read
        Spans of mask i: ``spans[span_start[i]:span_start[i + 1]]``.
    shift_y_px, shift_x_px : float
        Mask pixel (y, x) is read at (y + shift_y_px, x + shift_x_px).
    offset_counts : float
        Subtracted from the mean.
    mean_out : float32 ndarray, shape (n_masks,), counts, overwritten
        0 for a mask with no pixel inside.
    n_inside_out : int64 ndarray, shape (n_masks,), overwritten
        Pixels of the mask whose four neighbours (those with weight) lie inside the field.
    """
    n_lines = prefix.shape[0] - 1
    n_pixels = prefix.shape[1] - 2
    whole_y = np.int64(np.floor(shift_y_px))
    whole_x = np.int64(np.floor(shift_x_px))
    part_y = shift_y_px - whole_y
    part_x = shift_x_px - whole_x
    last_line = n_lines - 1 - (1 if part_y > 0.0 else 0)
    end_pixel = n_pixels - (1 if part_x > 0.0 else 0)
    for mask in range(mean_out.shape[0]):
        sum_00 = np.int64(0)
        sum_01 = np.int64(0)
        sum_10 = np.int64(0)
        sum_11 = np.int64(0)
        n_inside = np.int64(0)
        for span in range(span_start[mask], span_start[mask + 1]):
            run = spans[np.uint64(span)]
            y = run[0] + whole_y
            first = max(run[1] + whole_x, 0)
            end = min(run[2] + whole_x, end_pixel)
            if y < 0 or y > last_line or end <= first:
                continue
            upper = prefix[np.uint64(y)]
            lower = prefix[np.uint64(y + 1)]
            a = np.uint64(first)
            b = np.uint64(end)
            one = np.uint64(1)
            sum_00 += np.int32(np.uint32(upper[b] - upper[a]))
            sum_01 += np.int32(np.uint32(upper[b + one] - upper[a + one]))
            sum_10 += np.int32(np.uint32(lower[b] - lower[a]))
            sum_11 += np.int32(np.uint32(lower[b + one] - lower[a + one]))
            n_inside += end - first
        n_inside_out[mask] = n_inside
        if n_inside == 0:
            mean_out[mask] = 0.0
            continue
        upper_sum = (1.0 - part_x) * sum_00
        lower_sum = (1.0 - part_x) * sum_10
        if part_x > 0.0:
            upper_sum += part_x * sum_01
            lower_sum += part_x * sum_11
        blended = (1.0 - part_y) * upper_sum
        if part_y > 0.0:
            blended += part_y * lower_sum
        mean_out[mask] = blended / n_inside - offset_counts


_COUNT = (
    numba.types.Array(numba.int32, 2, "C", readonly=True),
    numba.types.Array(numba.int64, 1, "C", readonly=True),
    numba.int64,
    numba.int64,
    numba.int64,
    numba.int64[::1],
)


@numba.njit([numba.void(_U2, *_COUNT), numba.void(_I2, *_COUNT)], cache=True, nogil=True)
def count_saturated(frame, spans, span_start, shift_y_px, shift_x_px, saturation_counts, n_saturated_out):
    """Pixels of every mask at or above a count, at a whole-pixel shift.

    Parameters
    ----------
    frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, detector counts, read
    spans, span_start
        As in `mean_over_spans`, read.
    shift_y_px, shift_x_px : int
        Whole-pixel shift.
    saturation_counts : int
        Smallest count that is saturated.
    n_saturated_out : int64 ndarray, shape (n_masks,), overwritten
    """
    for mask in range(n_saturated_out.shape[0]):
        n_saturated = 0
        for span in range(span_start[mask], span_start[mask + 1]):
            run = spans[np.uint64(span)]
            y = run[0] + shift_y_px
            if y < 0 or y >= frame.shape[0]:
                continue
            line = frame[np.uint64(y)]
            for x in range(max(run[1] + shift_x_px, 0), min(run[2] + shift_x_px, frame.shape[1])):
                if line[np.uint64(x)] >= saturation_counts:
                    n_saturated += 1
        n_saturated_out[mask] = n_saturated
