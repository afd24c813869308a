"""Masks of one plane as the calibration has them, and as the kernels want them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rt_engine.kernels.extraction import SpanMasks
from rt_engine.kernels.weighted_extraction import LONGEST_SPAN_PX, WeightedMasks

LARGEST_WEIGHT = 255
N_BACKGROUND = 2
"""Background components of every group of overlapping cells: bleaching and haze differ between places."""
MIN_OWN_PIXELS = 0.6
"""Part of a mask added during a run that must belong to no known cell: what overlaps more cannot be told apart without
changing how the known cell is read."""


class MaskFields(Protocol):
    """The fields of `Calibration` that extraction and demixing need."""

    @property
    def n_lines(self) -> int: ...
    @property
    def pixels_per_line(self) -> int: ...
    @property
    def offset_counts(self) -> float: ...
    @property
    def adc_max_counts(self) -> float: ...
    @property
    def line_phase_px(self) -> float: ...
    @property
    def roi_start(self) -> NDArray[np.int64]: ...
    @property
    def roi_pixels(self) -> NDArray[np.uint32]: ...
    @property
    def roi_weight(self) -> NDArray[np.uint8]: ...
    @property
    def neuropil_start(self) -> NDArray[np.int64]: ...
    @property
    def neuropil_pixels(self) -> NDArray[np.uint32]: ...
    @property
    def background_loading(self) -> NDArray[np.float32]: ...
    @property
    def reference_roi_counts(self) -> NDArray[np.float32]: ...
    @property
    def reference_np_counts(self) -> NDArray[np.float32]: ...
    @property
    def rest_counts(self) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlaneMasks:
    """Masks of one plane before there is a whole `Calibration`; fields as there."""

    n_lines: int
    pixels_per_line: int
    offset_counts: float
    adc_max_counts: float
    roi_start: NDArray[np.int64]
    roi_pixels: NDArray[np.uint32]
    roi_weight: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    neuropil_start: NDArray[np.int64]
    neuropil_pixels: NDArray[np.uint32]
    background_loading: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, N_BACKGROUND), np.float32))
    reference_roi_counts: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    reference_np_counts: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    rest_counts: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    line_phase_px: float = 0.0


def weights_of(masks: MaskFields) -> NDArray[np.int64]:
    """Weight of every entry of `roi_pixels`; 1 where the calibration holds none, shape (n_entries,)."""
    if len(masks.roi_weight) == 0:
        return np.ones(len(masks.roi_pixels), np.int64)
    return masks.roi_weight.astype(np.int64)


def is_weighted(masks: MaskFields) -> NDArray[np.bool_]:
    """Which cells have weights that differ between their pixels, shape (n_rois,)."""
    weight = weights_of(masks)
    out = np.zeros(len(masks.roi_start) - 1, np.bool_)
    for i in range(len(out)):
        own = weight[masks.roi_start[i] : masks.roi_start[i + 1]]
        out[i] = len(own) > 0 and int(own.min()) != int(own.max())
    return out


def spans_of_masks(
    start: NDArray[np.int64], pixels: NDArray[np.uint32], pixels_per_line: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Run-length form of masks.

    Parameters
    ----------
    start : int64 ndarray, shape (n_masks + 1,)
    pixels : uint32 ndarray
        Flat indices of mask i: ``pixels[start[i]:start[i + 1]]``, ascending.
    pixels_per_line : int

    Returns
    -------
    spans : int32 ndarray, shape (n_spans, 3)
        Line, first pixel, pixel after the last.
    span_start : int64 ndarray, shape (n_masks + 1,)
    """
    flat = pixels.astype(np.int64)
    line, column = flat // pixels_per_line, flat % pixels_per_line
    breaks = np.ones(len(flat) + 1, bool)
    if len(flat):
        breaks[1:-1] = (np.diff(flat) != 1) | (np.diff(line) != 0)
        breaks[start[:-1][start[:-1] < len(flat)]] = True
    first = np.flatnonzero(breaks[:-1])
    last = np.flatnonzero(breaks[1:])
    spans = np.stack([line[first], column[first], column[last] + 1], axis=1).astype(np.int32)
    return np.ascontiguousarray(spans), np.searchsorted(first, start).astype(np.int64)


def boxes_of_masks(start: NDArray[np.int64], pixels: NDArray[np.uint32], pixels_per_line: int) -> NDArray[np.int32]:
    """First and last line, first and last pixel, and number of pixels of every mask, shape (n_masks, 5); 0 if empty."""
    line, column = np.divmod(pixels.astype(np.int64), pixels_per_line)
    boxes = np.zeros((len(start) - 1, 5), np.int32)
    for i in range(len(boxes)):
        y, x = line[start[i] : start[i + 1]], column[start[i] : start[i + 1]]
        if len(y):
            boxes[i] = y.min(), y.max(), x.min(), x.max(), len(y)
    return boxes


def span_masks(start: NDArray[np.int64], pixels: NDArray[np.uint32], pixels_per_line: int) -> SpanMasks:
    """Binary masks as the span kernel wants them; parameters as in `spans_of_masks`."""
    spans, span_start = spans_of_masks(start, pixels, pixels_per_line)
    line, first, end = (spans[:, k].astype(np.int64) for k in range(3))
    places = np.stack([line * (pixels_per_line + 2) + first, end - first], axis=1).astype(np.int32)
    return SpanMasks(spans, span_start, boxes_of_masks(start, pixels, pixels_per_line), np.ascontiguousarray(places))


def weighted_masks(masks: MaskFields, roi: NDArray[np.int64]) -> WeightedMasks:
    """Some cells of a plane in the form of the weighted kernel; long runs are cut.

    Parameters
    ----------
    masks : MaskFields
    roi : int64 ndarray, shape (n_masks,)
        Their rows.
    """
    weight = weights_of(masks)
    spans, span_start, weight_start, weights = [], [0], [], []
    n_weights = 0
    for row in roi:
        entries = slice(int(masks.roi_start[row]), int(masks.roi_start[row + 1]))
        own = masks.roi_pixels[entries]
        runs, _ = spans_of_masks(np.array([0, len(own)]), own, masks.pixels_per_line)
        for line, first, end in runs.tolist():
            for begin in range(first, end, LONGEST_SPAN_PX):
                stop = min(begin + LONGEST_SPAN_PX, end)
                spans.append((line, begin, stop))
                weight_start.append(n_weights)
                n_weights += stop - begin
        span_start.append(len(spans))
        weights.append(weight[entries])
    return WeightedMasks(
        spans=np.array(spans, np.int32).reshape(-1, 3),
        span_start=np.array(span_start, np.int64),
        weight_start=np.array(weight_start, np.int64),
        weights=np.concatenate([np.zeros(0, np.uint8), *weights]).astype(np.uint8),
        roi=np.ascontiguousarray(roi, np.int64),
    )


def rings_as_masks(masks: MaskFields) -> PlaneMasks:
    """The rings in the place of the footprints."""
    return PlaneMasks(
        n_lines=masks.n_lines,
        pixels_per_line=masks.pixels_per_line,
        offset_counts=masks.offset_counts,
        adc_max_counts=masks.adc_max_counts,
        roi_start=masks.neuropil_start,
        roi_pixels=masks.neuropil_pixels,
        neuropil_start=masks.neuropil_start,
        neuropil_pixels=masks.neuropil_pixels,
    )


def line_range(spans: NDArray[np.int32], span_start: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last line of every mask; 0 and -1 for an empty one."""
    n_masks = len(span_start) - 1
    first, last = np.zeros(n_masks, np.int64), np.full(n_masks, -1, np.int64)
    for i in range(n_masks):
        lines = spans[span_start[i] : span_start[i + 1], 0]
        if len(lines):
            first[i], last[i] = lines.min(), lines.max()
    return first, last
