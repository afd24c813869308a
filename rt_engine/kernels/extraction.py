"""Kernels of ROI extraction: sums over run-length masks read at a shifted position.

Bilinear resampling commutes with the sum over a mask, so the masks are shifted instead of the frame: four sums at
integer shifts, blended, are exactly the sum over the resampled frame. The sums are integers, so it does not matter in
which order they are taken: by row prefix sums or pixel by pixel, the mean is the same to the last bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from rt_engine.kernels.compile_options import NO_ALLOCATION
from rt_engine.kernels.count_lanes import (
    N_COUNTS,
    add_counts,
    add_difference,
    first_of,
    larger_counts,
    largest_count,
    last_everywhere,
    load_counts,
    load_pair,
    no_counts,
    no_pair,
    running_counts,
    second_of,
    store_counts,
)

_U2 = numba.types.Array(numba.uint16, 2, "C", readonly=True)
_I2 = numba.types.Array(numba.int16, 2, "C", readonly=True)
_U4 = numba.uint32[:, ::1]
_SPANS = numba.types.Array(numba.int32, 2, "C", readonly=True)
_START = numba.types.Array(numba.int64, 1, "C", readonly=True)
_LINES = numba.types.Array(numba.int32, 1, "C", readonly=True)
_F4 = numba.float32[::1]
_I8 = numba.int64[::1]
_LARGEST = numba.int32[::1]
_SHIFT = (numba.float64, numba.float64)


@numba.njit([numba.int64(_U2, _U4, _LARGEST), numba.int64(_I2, _U4, _LARGEST)], **NO_ALLOCATION)
def row_prefix_sums(frame, prefix_out, largest_out):
    """Running sum of every line, modulo 2^32, and its largest count; returns the largest of the frame.

    Parameters
    ----------
    frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, detector counts, read
    prefix_out : uint32 ndarray, shape (n_lines + 1, n_pixels + 2), C order
        ``prefix_out[y, x]`` becomes ``frame[y, :x].sum()``; last line and last column are padding and not touched.
    largest_out : int32 ndarray, shape (n_lines,), counts, overwritten
        As from `line_maxima`.

    Returns
    -------
    int
        Largest count.
    """
    n_pixels = frame.shape[1]
    in_lanes = n_pixels // N_COUNTS * N_COUNTS
    largest = np.int32(frame[0, 0])
    for y in range(frame.shape[0]):
        line = frame[y]
        out = prefix_out[y]
        out[0] = np.uint32(0)
        line_largest = np.int32(line[0])
        if in_lanes > 0:
            before = no_counts()
            most = load_counts(line, np.uint64(0))
            for x in range(0, in_lanes, N_COUNTS):
                counts = load_counts(line, np.uint64(x))
                most = larger_counts(most, counts)
                sums = running_counts(counts)
                store_counts(out, np.uint64(x + 1), add_counts(before, sums))
                before = add_counts(before, last_everywhere(sums))
            line_largest = largest_count(most)
        running = out[in_lanes]
        for x in range(in_lanes, n_pixels):
            count = np.int32(line[np.uint64(x)])
            line_largest = max(line_largest, count)
            running = np.uint32(running + np.uint32(count))
            out[np.uint64(x + 1)] = running
        largest_out[y] = line_largest
        largest = max(largest, line_largest)
    return largest


@numba.njit([numba.int64(_U2, _LARGEST), numba.int64(_I2, _LARGEST)], **NO_ALLOCATION)
def line_maxima(frame, largest_out):
    """Largest count of every line; returns that of the frame.

    Parameters
    ----------
    frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, detector counts, read
    largest_out : int32 ndarray, shape (n_lines,), counts, overwritten

    Returns
    -------
    int
        Largest count.
    """
    largest = np.int32(frame[0, 0])
    for y in range(frame.shape[0]):
        line = frame[y]
        line_largest = np.int32(line[0])
        for x in range(line.shape[0]):
            line_largest = max(line_largest, np.int32(line[x]))
        largest_out[y] = line_largest
        largest = max(largest, line_largest)
    return largest


@numba.njit(**NO_ALLOCATION)
def _blended(sum_00, sum_01, sum_10, sum_11, part_y, part_x):
    """Sum at a shift between pixels from those at the four whole-pixel shifts around it."""
    upper_sum = (1.0 - part_x) * sum_00
    lower_sum = (1.0 - part_x) * sum_10
    if part_x > 0.0:
        upper_sum += part_x * sum_01
        lower_sum += part_x * sum_11
    blended = (1.0 - part_y) * upper_sum
    if part_y > 0.0:
        blended += part_y * lower_sum
    return blended


class SpanMasks(NamedTuple):
    """Masks as runs along the lines, read.

    ``spans`` int32 (n_spans, 3): line, first pixel, pixel after the last; ``span_start`` int64 (n_masks + 1,): spans of
    mask i are ``spans[span_start[i]:span_start[i + 1]]``; ``boxes`` int32 (n_masks, 5): first and last line, first and
    last pixel of every mask, and its number of pixels; ``places`` int32 (n_spans, 2): where a span begins in the flat
    prefix, and its length.
    """

    spans: NDArray[np.int32]
    span_start: NDArray[np.int64]
    boxes: NDArray[np.int32]
    places: NDArray[np.int32]


_TABLE = numba.types.Array(numba.int32, 2, "C")
_MASKS = numba.types.NamedTuple((_TABLE, numba.types.Array(numba.int64, 1, "C"), _TABLE, _TABLE), SpanMasks)
LARGEST_FAST_MASK = 32767
"""Pixels of 16 bits whose sum, and that of as many negative ones, is known from its lowest 32 bits."""


@numba.njit(
    [
        numba.void(
            numba.types.Array(numba.uint32, 2, "C", readonly=True), numba.types.Array(numba.uint32, 1, "C"), _MASKS,
            *_SHIFT, numba.float64, _F4, _I8
        )
    ],
    **NO_ALLOCATION,
)  # fmt: skip
def mean_over_spans(prefix, flat_prefix, masks, shift_y_px, shift_x_px, offset_counts, mean_out, n_inside_out):
    """Mean of every mask at its shifted position, over its pixels that lie inside the field.

    Parameters
    ----------
    prefix : uint32 ndarray, shape (n_lines + 1, n_pixels + 2), C order, counts, read
        From `row_prefix_sums`.
    flat_prefix : uint32 ndarray, shape (prefix.size,), read
        The same memory.
    masks : SpanMasks, read
    shift_y_px, shift_x_px : float
        Mask pixel (y, x) is read at (y + shift_y_px, x + shift_x_px).
    offset_counts : float
        Subtracted from the mean.
    mean_out : float32 ndarray, shape (n_masks,), counts, overwritten
        0 for a mask with no pixel inside.
    n_inside_out : int64 ndarray, shape (n_masks,), overwritten
        Pixels of the mask whose four neighbours (those with weight) lie inside the field.
    """
    whole_y = np.int64(np.floor(shift_y_px))
    whole_x = np.int64(np.floor(shift_x_px))
    part_y = shift_y_px - whole_y
    part_x = shift_x_px - whole_x
    last_line = prefix.shape[0] - 2 - (1 if part_y > 0.0 else 0)
    end_pixel = prefix.shape[1] - 2 - (1 if part_x > 0.0 else 0)
    stride = np.int64(prefix.shape[1])
    below = np.uint64(stride)
    spans, span_start, boxes, places = masks.spans, masks.span_start, masks.boxes, masks.places
    for mask in range(mean_out.shape[0]):
        box = boxes[mask]
        within = box[0] + whole_y >= 0 and box[1] + whole_y <= last_line
        within = within and box[2] + whole_x >= 0 and box[3] + whole_x < end_pixel
        if within and 0 < box[4] <= LARGEST_FAST_MASK:
            upper, lower = no_pair(), no_pair()
            base = whole_y * stride + whole_x
            for i in range(np.uint64(span_start[mask]), np.uint64(span_start[mask + 1])):
                a = np.uint64(places[i, 0] + base)
                b = a + np.uint64(places[i, 1])
                upper = add_difference(upper, load_pair(flat_prefix, b), load_pair(flat_prefix, a))
                lower = add_difference(lower, load_pair(flat_prefix, b + below), load_pair(flat_prefix, a + below))
            blended = _blended(
                np.int64(first_of(upper)), np.int64(second_of(upper)), np.int64(first_of(lower)),
                np.int64(second_of(lower)), part_y, part_x,
            )  # fmt: skip
            n_inside_out[mask] = box[4]
            mean_out[mask] = blended / np.int64(box[4]) - offset_counts
            continue
        sum_00 = np.int64(0)
        sum_01 = np.int64(0)
        sum_10 = np.int64(0)
        sum_11 = np.int64(0)
        n_inside = np.int64(0)
        for i in range(span_start[mask], span_start[mask + 1]):
            y = spans[i, 0] + whole_y
            first = max(spans[i, 1] + whole_x, 0)
            end = min(spans[i, 2] + whole_x, end_pixel)
            if y < 0 or y > last_line or end <= first:
                continue
            sum_00 += np.int32(prefix[y, end] - prefix[y, first])
            sum_01 += np.int32(prefix[y, end + 1] - prefix[y, first + 1])
            sum_10 += np.int32(prefix[y + 1, end] - prefix[y + 1, first])
            sum_11 += np.int32(prefix[y + 1, end + 1] - prefix[y + 1, first + 1])
            n_inside += end - first
        n_inside_out[mask] = n_inside
        if n_inside == 0:
            mean_out[mask] = 0.0
            continue
        mean_out[mask] = _blended(sum_00, sum_01, sum_10, sum_11, part_y, part_x) / n_inside - offset_counts


_DIRECT = (_SPANS, _START, *_SHIFT, numba.float64, _F4, _I8)


@numba.njit([numba.void(_U2, *_DIRECT), numba.void(_I2, *_DIRECT)], **NO_ALLOCATION)
def mean_over_pixels(frame, spans, span_start, shift_y_px, shift_x_px, offset_counts, mean_out, n_inside_out):
    """The same as `mean_over_spans`, bit for bit, from the frame itself: faster where masks are few.

    Parameters
    ----------
    frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, detector counts, read
    spans, span_start
        As in `SpanMasks`.
    shift_y_px, shift_x_px, offset_counts, mean_out, n_inside_out
        As in `mean_over_spans`.
    """
    whole_y = np.int64(np.floor(shift_y_px))
    whole_x = np.int64(np.floor(shift_x_px))
    part_y = shift_y_px - whole_y
    part_x = shift_x_px - whole_x
    step_y = 1 if part_y > 0.0 else 0
    step_x = 1 if part_x > 0.0 else 0
    last_line = frame.shape[0] - 1 - step_y
    end_pixel = frame.shape[1] - step_x
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
            upper = frame[np.uint64(y)]
            lower = frame[np.uint64(y + step_y)]
            upper_sum = np.int32(0)
            lower_sum = np.int32(0)
            for x in range(first, end):
                upper_sum += np.int32(upper[np.uint64(x)])
                lower_sum += np.int32(lower[np.uint64(x)])
            a = np.uint64(first)
            # The run one pixel further on drops its first pixel and takes the next one.
            b = np.uint64(end if step_x else first)
            sum_00 += upper_sum
            sum_01 += upper_sum - np.int64(upper[a]) + np.int64(upper[b])
            sum_10 += lower_sum
            sum_11 += lower_sum - np.int64(lower[a]) + np.int64(lower[b])
            n_inside += end - first
        n_inside_out[mask] = n_inside
        if n_inside == 0:
            mean_out[mask] = 0.0
            continue
        mean_out[mask] = _blended(sum_00, sum_01, sum_10, sum_11, part_y, part_x) / n_inside - offset_counts
