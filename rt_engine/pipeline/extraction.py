"""ROI extraction: fluorescence of every cell and its ring at the shifted position, overlaps taken apart.

No frame is ever resampled: the masks move.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.kernels.extraction import line_maxima, mean_over_pixels, mean_over_spans, row_prefix_sums
from rt_engine.kernels.line_phase import mean_over_lines_apart
from rt_engine.kernels.saturation import leave_out_saturated, saturated_weight
from rt_engine.kernels.weighted_extraction import weighted_mean
from rt_engine.pipeline.demixing import Demixing
from rt_engine.pipeline.masks import (
    MaskFields,
    is_weighted,
    line_range,
    rings_as_masks,
    span_masks,
    spans_of_masks,
    weighted_masks,
    weights_of,
)
from rt_engine.pipeline.overlap import find_overlap

MIN_INSIDE = 0.9
"""Part of a footprint that must lie inside the field ..."""
MIN_INSIDE_OVERLAPPING = 0.95
"""... and of one that overlaps with others: what is missing of it is taken for light of its neighbours."""
SATURATED_ADC = 0.98
SATURATED_PIXELS = 0.01
NO_SATURATION = np.iinfo(np.int32).max
N_TRIALS = 5


class RoiExtraction:
    """Means over all masks of one frame; owns its arrays, which every `process` overwrites.

    Parameters
    ----------
    masks : MaskFields
        A `Calibration`, or `PlaneMasks`. Overlapping cells are taken apart if it holds their background.
    few : bool
        So few masks that prefix sums cannot pay: nothing is timed.

    Attributes
    ----------
    f_roi, f_np : float32 ndarray, shape (n_rois,), counts above the offset
        Means over footprint (weighted where it has weights) and ring at the shifted position; saturated pixels are left
        out of the ring; a ring without pixels gives 0.
    valid : uint8 ndarray, shape (n_rois,)
        0 where the footprint is empty or less than 90 % of it (95 % where it overlaps with another) is inside the
        field, no ring pixel is left, lines were blanked, or an overlapping neighbour has no sample.
    blanked : uint8 ndarray, shape (n_rois,)
        1 where a line of the footprint or the ring, or of an overlapping neighbour, was blanked.
    censored : uint8 ndarray, shape (n_rois,)
        1 where more than 1 % of the footprint is at or above 0.98 of the largest count: the value is a lower bound.
    line_of_roi : int64 ndarray, shape (n_rois,)
        Last line of each footprint in the template.
    last_line_needed : int64 ndarray, shape (n_rois,)
        Last line of the template that the value depends on: footprint, ring, and those of the cell's group.
    reads_prefix_sums : bool
        Binary masks are read from prefix sums and not from the frame; chosen by trial, both give the same bits.

    Notes
    -----
    Where the prefix sums pay depends on the number of masks and on the machine, so both ways are timed once. The
    sums are integers: the choice changes nothing but the time.
    """

    def __init__(self, masks: MaskFields, *, few: bool = False) -> None:
        n_rois = len(masks.roi_start) - 1
        self._width = masks.pixels_per_line
        self._offset_counts = float(masks.offset_counts)
        self._saturation_counts = (
            int(np.ceil(SATURATED_ADC * masks.adc_max_counts)) if masks.adc_max_counts > 0 else NO_SATURATION
        )
        self._prefix = np.zeros((masks.n_lines + 1, masks.pixels_per_line + 2), np.uint32)
        self._flat_prefix = self._prefix.reshape(-1)
        self._line_largest = np.zeros(masks.n_lines, np.int32)
        self._support, self._support_start = spans_of_masks(masks.roi_start, masks.roi_pixels, self._width)
        self._prepare_footprints(masks)
        has_ring = np.diff(masks.neuropil_start) > 0
        self._enough_ring = has_ring.astype(np.int64)
        first_line, self.line_of_roi = line_range(self._support, self._support_start)
        ring_first, ring_last = line_range(self._rings.spans, self._rings.span_start)
        self._first_line = np.where(has_ring, np.minimum(first_line, ring_first), first_line)
        self._last_line = np.where(has_ring, np.maximum(self.line_of_roi, ring_last), self.line_of_roi)
        self._roi_inside = np.zeros(n_rois, np.int64)
        self._np_inside = np.zeros(n_rois, np.int64)
        self._saturated = np.zeros(n_rois)
        self.f_roi = np.zeros(n_rois, np.float32)
        self.f_np = np.zeros(n_rois, np.float32)
        self.valid = np.ones(n_rois, np.uint8)
        self._is_valid, self._has_ring = self.valid.view(np.bool_), np.zeros(n_rois, np.bool_)
        self.blanked = np.zeros(n_rois, np.uint8)
        self.censored = np.zeros(n_rois, np.uint8)
        self._prepare_demixing(masks)
        self._line_phase_px = float(masks.line_phase_px)
        if self._line_phase_px != 0.0:
            every = np.arange(n_rois)
            self._apart = weighted_masks(masks, every), weighted_masks(rings_as_masks(masks), every)
            self._apart[0].weights[np.repeat(~is_weighted(masks), np.diff(masks.roi_start))] = 1
        self.reads_prefix_sums = False
        if not few:
            self._choose_path(np.zeros((masks.n_lines, masks.pixels_per_line), np.uint16))

    def _prepare_footprints(self, masks: MaskFields) -> None:
        """Spans of the binary footprints, gathers of the weighted ones, and how much of each must be inside."""
        weighted = is_weighted(masks)
        rows = np.flatnonzero(weighted)
        # From the top of the field to its bottom, so that the lines of a frame pass through the cache once.
        first_pixel = masks.roi_pixels[masks.roi_start[rows]]
        self._weighted = weighted_masks(masks, rows[np.argsort(first_pixel, kind="stable")])
        n_pixels = np.diff(masks.roi_start)
        binary_start = np.concatenate([[0], np.cumsum(np.where(weighted, 0, n_pixels))]).astype(np.int64)
        binary_pixels = masks.roi_pixels[np.repeat(~weighted, n_pixels)]
        self._binary = span_masks(binary_start, binary_pixels, self._width)
        self._rings = span_masks(masks.neuropil_start, masks.neuropil_pixels, self._width)
        owner = np.repeat(np.arange(len(n_pixels)), n_pixels)
        total = np.where(weighted, np.bincount(owner, weights_of(masks), len(n_pixels)), n_pixels)
        # An empty footprint needs a pixel that it cannot have.
        # What is inside is a whole number.
        self._enough, self._enough_overlapping = (
            np.where(n_pixels > 0, np.ceil(part * total), 1.0).astype(np.int64)
            for part in (MIN_INSIDE, MIN_INSIDE_OVERLAPPING)
        )
        self._roi_saturated = SATURATED_PIXELS * n_pixels

    def _prepare_demixing(self, masks: MaskFields) -> None:
        self._demixing: Demixing | None = None
        self.last_line_needed = self._last_line.copy()
        if len(masks.background_loading) == 0:
            return
        overlap = find_overlap(masks)
        for group in overlap.groups:
            self._enough[group] = self._enough_overlapping[group]
            self.last_line_needed[group] = self._last_line[group].max()
        for leader, row in overlap.inseparable():
            self._enough[row] = self._enough[leader]
            self.last_line_needed[row] = self.last_line_needed[leader]
        if overlap.groups or overlap.inseparable():
            self._demixing = Demixing(masks, overlap)

    def _choose_path(self, blank: NDArray[np.uint16]) -> None:
        """Time both ways to read binary masks on an empty frame."""
        best_ns = {}
        for reads_prefix_sums in (False, True):
            self.reads_prefix_sums = reads_prefix_sums
            times_ns = []
            for _ in range(N_TRIALS):
                t_start_ns = time.perf_counter_ns()
                self._read(blank, 0.5, 0.5)
                times_ns.append(time.perf_counter_ns() - t_start_ns)
            best_ns[reads_prefix_sums] = min(times_ns)
        self.reads_prefix_sums = best_ns[True] <= best_ns[False]

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
        largest = self._read(frame, shift_y_px, shift_x_px)
        self.censored.fill(0)
        if largest >= self._saturation_counts:
            self._censor(frame, shift_y_px, shift_x_px)
        np.greater_equal(self._roi_inside, self._enough, out=self._is_valid)
        np.greater_equal(self._np_inside, self._enough_ring, out=self._has_ring)
        np.logical_and(self._is_valid, self._has_ring, out=self._is_valid)
        self.blanked.fill(0)
        for line0, n_lines in blanked:
            self._blank(line0, n_lines, shift_y_px)
        if self._demixing is not None:
            self._demixing.process(self.f_roi, self.f_np, self.valid, self.blanked)

    def _read(self, frame: NDArray[Any], shift_y_px: float, shift_x_px: float) -> int:
        """Means of all masks as they stand; returns the largest count of the frame."""
        y, x, offset = shift_y_px, shift_x_px, self._offset_counts
        roi, ring = (self.f_roi, self._roi_inside), (self.f_np, self._np_inside)
        if self._line_phase_px != 0.0:
            mean_over_lines_apart(frame, self._apart[0], y, x, self._line_phase_px, offset, *roi)
            mean_over_lines_apart(frame, self._apart[1], y, x, self._line_phase_px, offset, *ring)
            return int(line_maxima(frame, self._line_largest))
        if self.reads_prefix_sums:
            largest = row_prefix_sums(frame, self._prefix, self._line_largest)
            mean_over_spans(self._prefix, self._flat_prefix, self._binary, y, x, offset, *roi)
            mean_over_spans(self._prefix, self._flat_prefix, self._rings, y, x, offset, *ring)
        else:
            largest = line_maxima(frame, self._line_largest)
            mean_over_pixels(frame, self._binary.spans, self._binary.span_start, y, x, offset, *roi)
            mean_over_pixels(frame, self._rings.spans, self._rings.span_start, y, x, offset, *ring)
        if len(self._weighted.roi):
            weighted_mean(frame, self._weighted, y, x, offset, *roi)
        return int(largest)

    def _blank(self, line0: int, n_lines: int, shift_y_px: float) -> None:
        first = self._first_line + np.floor(shift_y_px)
        last = self._last_line + np.ceil(shift_y_px)
        lost = (first < line0 + n_lines) & (last >= line0)
        self.blanked[lost] = 1
        self.valid[lost] = 0

    def _censor(self, frame: NDArray[Any], shift_y_px: float, shift_x_px: float) -> None:
        saturated_weight(
            frame, self._line_largest, self._support, self._support_start, shift_y_px, shift_x_px,
            self._saturation_counts, self._saturated,
        )  # fmt: skip
        np.greater(self._saturated, self._roi_saturated, out=self.censored, casting="unsafe")
        leave_out_saturated(
            frame, self._line_largest, self._rings.spans, self._rings.span_start, shift_y_px, shift_x_px,
            self._saturation_counts, self._offset_counts, self.f_np, self._np_inside,
        )  # fmt: skip
