"""Kernels for bidirectional scanning, where odd lines are scanned backwards and lie beside the even ones.

The line phase p is the shift of odd lines: ``frame[y, x + p]`` of an odd line shows what would be at x without it.
"""

from __future__ import annotations

import numba
import numpy as np

from rt_engine.kernels.weighted_extraction import WeightedMasks

_FRAMES = (
    numba.types.Array(numba.uint16, 2, "C", readonly=True),
    numba.types.Array(numba.int16, 2, "C", readonly=True),
)
_I8 = numba.types.Array(numba.int64, 1, "C")
_MASKS = numba.types.NamedTuple(
    (numba.types.Array(numba.int32, 2, "C"), _I8, _I8, numba.types.Array(numba.uint8, 1, "C"), _I8), WeightedMasks
)


@numba.njit(
    [numba.float64(frame, numba.int64, numba.float64, numba.float32[:, ::1]) for frame in _FRAMES],
    cache=True,
    nogil=True,
)
def bin_lines_apart(frame, bin_px, line_phase_px, binned_out):
    """As `registration.bin_and_centre`, with odd lines read at their line phase, between pixels by parts.

    Parameters
    ----------
    frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, detector counts, read
        Line 0 is an even one.
    bin_px : int
        1 or 2; lines and pixels that fill no block are left out.
    line_phase_px : float
        Beyond the ends of a line its last pixel is repeated.
    binned_out : float32 ndarray, shape (>= n_lines // bin_px, >= n_pixels // bin_px), C order, counts
        The top left part is overwritten, the padding beyond it is not touched.

    Returns
    -------
    float
        The mean that was subtracted, counts per block.
    """
    n_rows = frame.shape[0] // bin_px
    n_columns = frame.shape[1] // bin_px
    last = frame.shape[1] - 1
    whole = np.int64(np.floor(line_phase_px))
    part = np.float32(line_phase_px - whole)
    total = 0.0
    for row in range(n_rows):
        out = binned_out[row]
        out[:n_columns] = np.float32(0.0)
        for y in range(row * bin_px, (row + 1) * bin_px):
            line = frame[y]
            shift = whole if y % 2 else 0
            weight = part if y % 2 else np.float32(0.0)
            for x in range(n_columns * bin_px):
                left = np.float32(line[min(max(x + shift, 0), last)])
                right = np.float32(line[min(max(x + shift + 1, 0), last)])
                out[x // bin_px] += (np.float32(1.0) - weight) * left + weight * right
        row_sum = 0.0
        for column in range(n_columns):
            row_sum += out[column]
        total += row_sum
    mean = total / (n_rows * n_columns)
    for row in range(n_rows):
        for column in range(n_columns):
            binned_out[row, column] -= np.float32(mean)
    return mean


@numba.njit(
    [numba.void(frame, _MASKS, *(numba.float64,) * 4, numba.float32[::1], numba.int64[::1]) for frame in _FRAMES],
    cache=True,
    nogil=True,
)
def mean_over_lines_apart(frame, masks, shift_y_px, shift_x_px, line_phase_px, offset_counts, mean_out, inside_out):
    """Mean of every mask at its shifted position, whose parts on odd lines are moved by the line phase as well.

    Parameters
    ----------
    frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, detector counts, read
        Line 0 is an even one.
    masks : WeightedMasks, read
    shift_y_px, shift_x_px : float
        Mask pixel (y, x) is read at (y + shift_y_px, x + shift_x_px).
    line_phase_px : float
        Added to the position along x on odd lines of the frame.
    offset_counts : float
        Subtracted from the mean.
    mean_out : float32 ndarray, shape (n_rois,), counts
        Overwritten in the rows `masks.roi`; 0 for a mask with no pixel inside.
    inside_out : int64 ndarray, shape (n_rois,)
        Overwritten in the same rows: sum of the weights whose pixels lie inside the field.
    """
    whole_y = np.int64(np.floor(shift_y_px))
    part_y = shift_y_px - whole_y
    n_lines_read = 2 if part_y > 0.0 else 1
    for mask in range(masks.roi.shape[0]):
        total = 0.0
        inside = np.int64(0)
        for span in range(masks.span_start[mask], masks.span_start[mask + 1]):
            run = masks.spans[span]
            y = run[0] + whole_y
            if y < 0 or y + n_lines_read > frame.shape[0]:
                continue
            first = np.int64(run[1])
            end = np.int64(run[2])
            for further in range(n_lines_read):
                at = shift_x_px + (line_phase_px if (y + further) % 2 else 0.0)
                whole_x = np.int64(np.floor(at))
                first = max(first, -whole_x)
                end = min(end, frame.shape[1] - (1 if at > whole_x else 0) - whole_x)
            if end <= first:
                continue
            w0 = masks.weight_start[span] - run[1]
            for x in range(first, end):
                inside += masks.weights[w0 + x]
            for further in range(n_lines_read):
                line = frame[y + further]
                at = shift_x_px + (line_phase_px if (y + further) % 2 else 0.0)
                whole_x = np.int64(np.floor(at))
                part_x = at - whole_x
                step_x = 1 if part_x > 0.0 else 0
                left_sum = np.int64(0)
                right_sum = np.int64(0)
                for x in range(first, end):
                    weight = np.int64(masks.weights[w0 + x])
                    left_sum += weight * line[x + whole_x]
                    right_sum += weight * line[x + whole_x + step_x]
                of_line = part_y if further else 1.0 - part_y
                total += of_line * ((1.0 - part_x) * left_sum + part_x * right_sum)
        roi = masks.roi[mask]
        inside_out[roi] = inside
        mean_out[roi] = total / inside - offset_counts if inside > 0 else 0.0
