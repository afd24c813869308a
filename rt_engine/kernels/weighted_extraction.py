"""Kernel of weighted extraction: masks with a weight at every pixel, gathered at a shifted position.

Weights are whole numbers of 1 to 255 and so are the sums: exact in any order, which lets the compiler use the vector
unit and still gives the same bits on every machine.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

LONGEST_SPAN_PX = 128
"""128 pixels of 65,535 counts and weight 255 stay within 31 bits."""


class WeightedMasks(NamedTuple):
    """Masks with weights, read.

    ``spans`` int32 (n_spans, 3): line, first pixel, pixel after the last, at most 128 pixels; ``span_start`` int64
    (n_masks + 1,); ``weight_start`` int64 (n_spans,): where the weights of a span begin in ``weights`` uint8;
    ``roi`` int64 (n_masks,): row of the results.
    """

    spans: NDArray[np.int32]
    span_start: NDArray[np.int64]
    weight_start: NDArray[np.int64]
    weights: NDArray[np.uint8]
    roi: NDArray[np.int64]


_U1 = numba.types.Array(numba.uint8, 1, "C")
_I8 = numba.types.Array(numba.int64, 1, "C")
_MASKS = numba.types.NamedTuple((numba.types.Array(numba.int32, 2, "C"), _I8, _I8, _U1, _I8), WeightedMasks)
_REST = (_MASKS, numba.float64, numba.float64, numba.float64, numba.float32[::1], _I8)


@numba.njit(
    [
        numba.void(numba.types.Array(numba.uint16, 2, "C", readonly=True), *_REST),
        numba.void(numba.types.Array(numba.int16, 2, "C", readonly=True), *_REST),
    ],
    cache=True,
    nogil=True,
)
def weighted_mean(frame, masks, shift_y_px, shift_x_px, offset_counts, mean_out, weight_inside_out):
    """Weighted mean of every mask at its shifted position, over its pixels that lie inside the field.

    Parameters
    ----------
    frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, detector counts, read
    masks : WeightedMasks, read
    shift_y_px, shift_x_px : float
        Mask pixel (y, x) is read at (y + shift_y_px, x + shift_x_px).
    offset_counts : float
        Subtracted from the mean.
    mean_out : float32 ndarray, shape (n_rois,), counts
        Overwritten in the rows `masks.roi`; 0 for a mask with no pixel inside.
    weight_inside_out : int64 ndarray, shape (n_rois,)
        Overwritten in the same rows: sum of the weights whose pixels lie inside the field.
    """
    whole_y = np.int64(np.floor(shift_y_px))
    whole_x = np.int64(np.floor(shift_x_px))
    part_y = shift_y_px - whole_y
    part_x = shift_x_px - whole_x
    step_y = 1 if part_y > 0.0 else 0
    step_x = 1 if part_x > 0.0 else 0
    last_line = frame.shape[0] - 1 - step_y
    end_pixel = frame.shape[1] - step_x
    for mask in range(masks.roi.shape[0]):
        sum_00 = np.int64(0)
        sum_01 = np.int64(0)
        sum_10 = np.int64(0)
        sum_11 = np.int64(0)
        inside = np.int64(0)
        for span in range(masks.span_start[mask], masks.span_start[mask + 1]):
            run = masks.spans[np.uint64(span)]
            y = run[0] + whole_y
            first = max(run[1] + whole_x, 0)
            end = min(run[2] + whole_x, end_pixel)
            if y < 0 or y > last_line or end <= first:
                continue
            n_run = end - first
            w0 = masks.weight_start[span] + first - run[1] - whole_x
            weights = masks.weights[w0 : w0 + n_run]
            upper = frame[np.uint64(y), first : end + step_x]
            lower = frame[np.uint64(y + step_y), first : end + step_x]
            part_00 = np.int32(0)
            part_01 = np.int32(0)
            part_10 = np.int32(0)
            part_11 = np.int32(0)
            total = np.int32(0)
            for i in range(np.uint64(n_run)):
                weight = np.int32(weights[i])
                part_00 += np.int32(weight * np.int32(upper[i]))
                part_01 += np.int32(weight * np.int32(upper[i + np.uint64(step_x)]))
                part_10 += np.int32(weight * np.int32(lower[i]))
                part_11 += np.int32(weight * np.int32(lower[i + np.uint64(step_x)]))
                total += weight
            sum_00 += part_00
            sum_01 += part_01
            sum_10 += part_10
            sum_11 += part_11
            inside += total
        roi = masks.roi[mask]
        weight_inside_out[roi] = inside
        if inside == 0:
            mean_out[roi] = 0.0
            continue
        upper_sum = (1.0 - part_x) * sum_00 + part_x * sum_01
        lower_sum = (1.0 - part_x) * sum_10 + part_x * sum_11
        mean_out[roi] = ((1.0 - part_y) * upper_sum + part_y * lower_sum) / inside - offset_counts
