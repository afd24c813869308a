"""ROI extraction: mean fluorescence of every cell and its ring at the shifted position, without resampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rt_engine.kernels.extraction import count_saturated, mean_over_spans, row_prefix_sums

MIN_INSIDE = 0.9
"""Part of a footprint that must lie inside the field."""
SATURATED_ADC = 0.98
SATURATED_PIXELS = 0.01
NO_SATURATION = np.iinfo(np.int32).max


class MaskFields(Protocol):
    """The fields of `Calibration` that extraction needs."""

    @property
    def n_lines(self) -> int: ...
    @property
    def pixels_per_line(self) -> int: ...
    @property
    def offset_counts(self) -> float: ...
    @property
    def adc_max_counts(self) -> float: ...
    @property
    def roi_start(self) -> NDArray[np.int64]: ...
    @property
    def roi_pixels(self) -> NDArray[np.uint32]: ...
    @property
    def neuropil_start(self) -> NDArray[np.int64]: ...
    @property
    def neuropil_pixels(self) -> NDArray[np.uint32]: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlaneMasks:
    """Masks of one plane before there is a whole `Calibration`; fields as there."""

    n_lines: int
    pixels_per_line: int
    offset_counts: float
    adc_max_counts: float
    roi_start: NDArray[np.int64]
    roi_pixels: NDArray[np.uint32]
    neuropil_start: NDArray[np.int64]
    neuropil_pixels: NDArray[np.uint32]


class RoiExtraction:
    """Means over all masks of one frame; owns its arrays, which every `process` overwrites.

    Parameters
    ----------
    masks : MaskFields
        A `Calibration`, or `PlaneMasks`.

    Attributes
    ----------
    f_roi, f_np : float32 ndarray, shape (n_rois,), counts above the offset
        Means over footprint and ring at the shifted position; a ring without pixels gives 0.
    valid : uint8 ndarray, shape (n_rois,)
        0 where less than 90 % of the footprint is inside the field, no ring pixel is, or lines were blanked.
    blanked : uint8 ndarray, shape (n_rois,)
        1 where a line of the footprint or the ring was blanked.
    censored : uint8 ndarray, shape (n_rois,)
        1 where more than 1 % of the footprint is at or above 0.98 of the largest count: the value is a lower bound.
    line_of_roi : int64 ndarray, shape (n_rois,)
        Last line of each footprint in the template.
    """

    def __init__(self, masks: MaskFields) -> None:
        n_rois = len(masks.roi_start) - 1
        self._width = masks.pixels_per_line
        self._offset_counts = float(masks.offset_counts)
        self._saturation_counts = (
            int(np.ceil(SATURATED_ADC * masks.adc_max_counts)) if masks.adc_max_counts > 0 else NO_SATURATION
        )
        self._prefix = np.zeros((masks.n_lines + 1, masks.pixels_per_line + 2), np.uint32)
        self._roi_spans, self._roi_span_start = spans_of_masks(masks.roi_start, masks.roi_pixels, self._width)
        self._np_spans, self._np_span_start = spans_of_masks(masks.neuropil_start, masks.neuropil_pixels, self._width)
        roi_size = np.diff(masks.roi_start)
        self._roi_enough = MIN_INSIDE * roi_size
        self._roi_saturated = SATURATED_PIXELS * roi_size
        self._np_size = np.diff(masks.neuropil_start)
        first_line, self.line_of_roi = _line_range(self._roi_spans, self._roi_span_start)
        ring_first, ring_last = _line_range(self._np_spans, self._np_span_start)
        has_ring = self._np_size > 0
        self._first_line = np.where(has_ring, np.minimum(first_line, ring_first), first_line)
        self._last_line = np.where(has_ring, np.maximum(self.line_of_roi, ring_last), self.line_of_roi)
        self._roi_inside = np.zeros(n_rois, np.int64)
        self._np_inside = np.zeros(n_rois, np.int64)
        self._n_saturated = np.zeros(n_rois, np.int64)
        self.f_roi = np.zeros(n_rois, np.float32)
        self.f_np = np.zeros(n_rois, np.float32)
        self.valid = np.ones(n_rois, np.uint8)
        self.blanked = np.zeros(n_rois, np.uint8)
        self.censored = np.zeros(n_rois, np.uint8)

    def process(
        self, frame: NDArray[Any], shift_y_px: float, shift_x_px: float, blanked: Sequence[Sequence[int]] = ()
    ) -> None:
        """Read all masks of one frame.

        Parameters
        ----------
        frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, detector counts, read
        shift_y_px, shift_x_px : float
            Template pixel (y, x) is read at (y + shift_y_px, x + shift_x_px).
        blanked : sequence of (line0, n_lines)
            Lines of this frame that are lost, e.g. to stimulation light.
        """
        largest = row_prefix_sums(frame, self._prefix)
        mean_over_spans(
            self._prefix, self._roi_spans, self._roi_span_start, shift_y_px, shift_x_px, self._offset_counts,
            self.f_roi, self._roi_inside,
        )  # fmt: skip
        mean_over_spans(
            self._prefix, self._np_spans, self._np_span_start, shift_y_px, shift_x_px, self._offset_counts,
            self.f_np, self._np_inside,
        )  # fmt: skip
        np.greater_equal(self._roi_inside, self._roi_enough, out=self.valid, casting="unsafe")
        self.valid[(self._np_inside == 0) & (self._np_size > 0)] = 0
        self.blanked.fill(0)
        for line0, n_lines in blanked:
            self._blank(line0, n_lines, shift_y_px)
        self.censored.fill(0)
        if largest >= self._saturation_counts:
            self._censor(frame, shift_y_px, shift_x_px)

    def _blank(self, line0: int, n_lines: int, shift_y_px: float) -> None:
        first = self._first_line + np.floor(shift_y_px)
        last = self._last_line + np.ceil(shift_y_px)
        lost = (first < line0 + n_lines) & (last >= line0)
        self.blanked[lost] = 1
        self.valid[lost] = 0

    def _censor(self, frame: NDArray[Any], shift_y_px: float, shift_x_px: float) -> None:
        count_saturated(
            frame, self._roi_spans, self._roi_span_start, round(shift_y_px), round(shift_x_px),
            self._saturation_counts, self._n_saturated,
        )  # fmt: skip
        np.greater(self._n_saturated, self._roi_saturated, out=self.censored, casting="unsafe")


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


def _line_range(spans: NDArray[np.int32], span_start: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last line of every mask; 0 and -1 for an empty one."""
    n_masks = len(span_start) - 1
    first, last = np.zeros(n_masks, np.int64), np.full(n_masks, -1, np.int64)
    for i in range(n_masks):
        lines = spans[span_start[i] : span_start[i + 1], 0]
        if len(lines):
            first[i], last[i] = lines.min(), lines.max()
    return first, last
