"""Kernels for frames that hold saturated pixels: how much of a mask they are, and the mean without them.

Only lines that hold one are looked at, so a frame costs what its saturation costs.
"""

from __future__ import annotations

import numba
import numpy as np

_FRAMES = (
    numba.types.Array(numba.uint16, 2, "C", readonly=True),
    numba.types.Array(numba.int16, 2, "C", readonly=True),
)
_MASKS = (
    numba.types.Array(numba.int32, 1, "C", readonly=True),
    numba.types.Array(numba.int32, 2, "C", readonly=True),
    numba.types.Array(numba.int64, 1, "C", readonly=True),
    numba.float64,
    numba.float64,
    numba.int64,
)


@numba.njit([numba.void(frame, *_MASKS, numba.float64[::1]) for frame in _FRAMES], cache=True, nogil=True)
def saturated_weight(frame, line_largest, spans, span_start, shift_y_px, shift_x_px, saturation_counts, weight_out):
    """How many of the pixels read are saturated, of those inside the field, one read between others by its parts.

    Parameters
    ----------
    frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, detector counts, read
    line_largest : int32 ndarray, shape (n_lines,), counts, read
        From `line_maxima`.
    spans, span_start
        As in `mean_over_spans`, read.
    shift_y_px, shift_x_px : float
        Mask pixel (y, x) is read at (y + shift_y_px, x + shift_x_px).
    saturation_counts : int
        Smallest count that is saturated.
    weight_out : float64 ndarray, shape (n_masks,), pixels, overwritten
    """
    whole_y = np.int64(np.floor(shift_y_px))
    whole_x = np.int64(np.floor(shift_x_px))
    part_y = shift_y_px - whole_y
    part_x = shift_x_px - whole_x
    step_y = 1 if part_y > 0.0 else 0
    step_x = 1 if part_x > 0.0 else 0
    for mask in range(weight_out.shape[0]):
        weight = 0.0
        for span in range(span_start[mask], span_start[mask + 1]):
            run = spans[np.uint64(span)]
            y = run[0] + whole_y
            if y < 0 or y + step_y >= frame.shape[0]:
                continue
            for further in range(1 + step_y):
                if line_largest[y + further] < saturation_counts:
                    continue
                line = frame[np.uint64(y + further)]
                n_left = 0
                n_right = 0
                for x in range(max(run[1] + whole_x, 0), min(run[2] + whole_x, frame.shape[1] - step_x)):
                    n_left += line[np.uint64(x)] >= saturation_counts
                    n_right += line[np.uint64(x + step_x)] >= saturation_counts
                of_line = part_y if further else 1.0 - part_y
                weight += of_line * ((1.0 - part_x) * n_left + part_x * n_right)
        weight_out[mask] = weight


@numba.njit(
    [numba.void(frame, *_MASKS, numba.float64, numba.float32[::1], numba.int64[::1]) for frame in _FRAMES],
    cache=True,
    nogil=True,
)
def leave_out_saturated(
    frame,
    line_largest,
    spans,
    span_start,
    shift_y_px,
    shift_x_px,
    saturation_counts,
    offset_counts,
    mean_out,
    n_inside_out,
):
    """Take every mask pixel that reads a saturated one, with any weight, out of a mean.

    Parameters
    ----------
    frame, line_largest, spans, span_start, shift_y_px, shift_x_px, saturation_counts
        As in `saturated_weight`.
    offset_counts : float
        That was subtracted from the mean.
    mean_out : float32 ndarray, shape (n_masks,), counts, read and overwritten
        Mean over the pixels inside the field; afterwards over those of them that are not saturated, 0 if there is none.
    n_inside_out : int64 ndarray, shape (n_masks,), read and overwritten
        Pixels of the mean.
    """
    whole_y = np.int64(np.floor(shift_y_px))
    whole_x = np.int64(np.floor(shift_x_px))
    part_y = shift_y_px - whole_y
    part_x = shift_x_px - whole_x
    step_y = 1 if part_y > 0.0 else 0
    step_x = 1 if part_x > 0.0 else 0
    for mask in range(mean_out.shape[0]):
        n_out = 0
        sum_out = 0.0
        for span in range(span_start[mask], span_start[mask + 1]):
            run = spans[np.uint64(span)]
            y = run[0] + whole_y
            if y < 0 or y + step_y >= frame.shape[0]:
                continue
            if line_largest[y] < saturation_counts and line_largest[y + step_y] < saturation_counts:
                continue
            upper = frame[np.uint64(y)]
            lower = frame[np.uint64(y + step_y)]
            for x in range(max(run[1] + whole_x, 0), min(run[2] + whole_x, frame.shape[1] - step_x)):
                a, b = upper[np.uint64(x)], upper[np.uint64(x + step_x)]
                c, d = lower[np.uint64(x)], lower[np.uint64(x + step_x)]
                if max(max(a, b), max(c, d)) >= saturation_counts:
                    n_out += 1
                    sum_out += (1.0 - part_y) * ((1.0 - part_x) * a + part_x * b)
                    sum_out += part_y * ((1.0 - part_x) * c + part_x * d)
        if n_out == 0:
            continue
        n_left = n_inside_out[mask] - n_out
        if n_left > 0:
            whole = (np.float64(mean_out[mask]) + offset_counts) * n_inside_out[mask]
            mean_out[mask] = (whole - sum_out) / n_left - offset_counts
        else:
            mean_out[mask] = 0.0
        n_inside_out[mask] = n_left
