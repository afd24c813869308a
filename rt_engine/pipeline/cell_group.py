"""Cells that are decided together: those whose last lines lie in the same strip, or all of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.drive_constants import DriveConstants
from rt_engine.interfaces.threshold_law import ThresholdLaw
from rt_engine.interfaces.trace_uncertainty import TraceUncertainty
from rt_engine.kernels.sample_codes import EXPECTED_MISSING
from rt_engine.pipeline.extraction import RoiExtraction
from rt_engine.pipeline.traces import TraceStage

USUAL_SHIFT_LINES = 4
"""Lines below a cell's last one that are waited for; a larger shift down waits for one strip more."""
_Constants = DriveConstants | TraceUncertainty | ThresholdLaw
_OF_BASELINE = "baseline_shift_px"
_IMAGES = frozenset({"template", "correlation_image", "registration_template"})
_PACKED = frozenset({"roi_start", "roi_pixels", "roi_weight", "neuropil_start", "neuropil_pixels"})


class CellGroup:
    """Extraction and traces of some cells of a plane, read from the lines that they can lie on.

    Parameters
    ----------
    calibration : Calibration
        Of the whole plane.
    rows : int64 ndarray, shape (n_rois,)
        Cells of the group, ascending.
    max_shift_px : float
        The lines that the group reads reach so far beyond its masks.
    first_row : int, optional
        For cells found during the run, which `calibration` is all of: their rows in the plane follow each other from
        here on. They are read from their own lines.

    Attributes
    ----------
    rows : int64 ndarray, shape (n_rois,)
    place : slice or int64 ndarray
        The rows as an index; a slice where they follow each other.
    line0, end_line : int
        Lines of the frame that the group may read; `line0` is even.
    last_line_needed : int
        Last line of the template that any of its values depends on.
    n_missing : int
        Frames that passed since the last one that was decided.
    removed : bool ndarray, shape (n_rois,)
        Cells that a person took out: they have no samples and raise no events. See `remove`.
    added : Calibration or None
        Of cells found during the run; None for those that were known.
    extraction : RoiExtraction
    traces : TraceStage
    """

    def __init__(
        self, calibration: Calibration, rows: NDArray[np.int64], max_shift_px: float, *, first_row: int | None = None
    ) -> None:
        self.stand_at(rows if first_row is None else first_row + rows)
        self.added = None if first_row is None else calibration
        lines = _lines_of(calibration, rows)
        margin = int(np.ceil(max_shift_px)) + 2
        whole = len(rows) == calibration.n_rois and first_row is None
        self.line0 = 0 if whole else max(0, int(lines.min()) - margin) // 2 * 2
        self.end_line = calibration.n_lines if whole else min(calibration.n_lines, int(lines.max()) + margin)
        of_group = calibration if whole else cells_of(calibration, rows, self.line0, self.end_line)
        self.extraction = RoiExtraction(of_group, few=first_row is not None)
        self.traces = TraceStage(of_group)
        self.last_line_needed = self.line0 + int(self.extraction.last_line_needed.max(initial=-1))
        self.n_missing = 0
        self.removed = np.zeros(len(rows), np.bool_)
        self._n_removed = 0
        self._roi_id = of_group.roi_id
        self._removed_id: set[int] = set()

    def stand_at(self, rows: NDArray[np.int64]) -> None:
        """Rows of the plane that the cells have."""
        self.rows = rows
        follow = len(rows) > 0 and bool((np.diff(rows) == 1).all())
        self.place = slice(int(rows[0]), int(rows[-1]) + 1) if follow else rows

    def remove(self, row: int) -> None:
        """Take out the cell at a row of the plane, if it is of this group; its light is still told from others'."""
        self.removed |= self.rows == row
        self._note_removed()

    def _note_removed(self) -> None:
        self._n_removed = int(self.removed.sum())
        self._removed_id = {int(roi) for roi in self._roi_id[self.removed]}

    def adopt(self, parts: Sequence[CellGroup]) -> None:
        """Go on where several groups were whose cells, one group after the other, are those of this one."""
        self.traces.adopt([part.traces for part in parts])
        self.n_missing = parts[0].n_missing
        self.removed = np.concatenate([part.removed for part in parts])
        self._note_removed()

    def warm_up(self, blank: NDArray[Any]) -> None:
        """Run every kernel once on an empty frame; forgets it."""
        self.extraction.process(blank[self.line0 : self.end_line], 0.25, -0.25)
        self.traces.warm_up()

    def read(self, frame: NDArray[Any], shift_y_px: float, shift_x_px: float, blanked: Sequence[Sequence[int]]) -> None:
        """Fluorescence of all cells of the group.

        Parameters
        ----------
        frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, counts, read
            Of the whole plane; lines that are not there yet are not looked at.
        shift_y_px, shift_x_px : float
            As in `RoiExtraction`.
        blanked : sequence of (line0, n_lines)
            Lines of the frame that are lost.
        """
        shifted = [(first - self.line0, n) for first, n in blanked] if self.line0 else blanked
        self.extraction.process(frame[self.line0 : self.end_line], shift_y_px, shift_x_px, shifted)
        if blanked:
            np.copyto(self.extraction.valid, EXPECTED_MISSING, where=self.extraction.blanked.view(np.bool_))

    def decide(self, frame_number: int, jumped: bool) -> int:
        """Number of events of the values read last; states advance over `n_missing` frames first.

        What is not needed for that is left to ``traces.settle()``.
        """
        extraction = self.extraction
        if jumped:
            extraction.valid[:] = 0
        if self._n_removed:
            np.copyto(extraction.valid, EXPECTED_MISSING, where=self.removed)
        n_events = self.traces.decide(
            frame_number, self.n_missing, extraction.f_roi, extraction.f_np, extraction.valid, extraction.censored
        )
        self.n_missing = 0
        return self._without_removed(n_events) if self._n_removed else n_events

    def _without_removed(self, n_events: int) -> int:
        """Drop what was under way in a cell when it was taken out."""
        events, kept = self.traces.events, 0
        for event in range(n_events):
            if int(events[event]["roi_id"]) not in self._removed_id:
                events[kept] = events[event]
                kept += 1
        return kept


def groups_of_strips(calibration: Calibration, ends: NDArray[np.int64], max_shift_px: float) -> list[CellGroup]:
    """Groups by the strip that the last line needed lies in; cells that are demixed together stay together."""
    needed = RoiExtraction(calibration).last_line_needed + USUAL_SHIFT_LINES
    strip = np.minimum(np.searchsorted(ends, needed, side="right"), len(ends) - 1)
    return [CellGroup(calibration, np.flatnonzero(strip == of), max_shift_px) for of in np.unique(strip)]


def cells_of(calibration: Calibration, rows: NDArray[np.int64], line0: int, end_line: int) -> Calibration:
    """Calibration of some cells, on some lines of the field.

    Parameters
    ----------
    calibration : Calibration
    rows : int64 ndarray, shape (n_rois,)
        Cells that are kept; their masks must lie on the lines kept.
    line0, end_line : int
        Lines ``line0`` up to but without `end_line`.
    """
    changes: dict[str, Any] = {"n_lines": end_line - line0}
    for field in fields(calibration):
        value = getattr(calibration, field.name)
        if field.name in _IMAGES:
            changes[field.name] = value[line0:end_line]
        elif isinstance(value, _Constants):
            changes[field.name] = _group_of(value, rows)
        elif (
            field.name == _OF_BASELINE or field.name in _PACKED or not isinstance(value, np.ndarray) or value.size == 0
        ):
            continue
        elif field.name == "filter_taps":
            changes[field.name] = np.ascontiguousarray(value[:, rows])
        elif field.name == "inseparable_roi_id":
            kept = np.isin(value, calibration.roi_id[rows]).all(axis=1)
            changes[field.name] = value[kept]
        elif len(value) == calibration.n_rois:
            changes[field.name] = value[rows]
    for kind in ("roi", "neuropil"):
        start = getattr(calibration, f"{kind}_start")
        sizes = np.diff(start)[rows]
        entries = np.concatenate([np.arange(start[row], start[row + 1]) for row in rows]).astype(np.int64)
        pixels = getattr(calibration, f"{kind}_pixels")[entries]
        changes[f"{kind}_start"] = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        changes[f"{kind}_pixels"] = (pixels - line0 * calibration.pixels_per_line).astype(np.uint32)
        if kind == "roi" and calibration.roi_weight.size:
            changes["roi_weight"] = calibration.roi_weight[entries]
    return replace(calibration, **changes)


def _group_of(group: _Constants, rows: NDArray[np.int64]) -> _Constants:
    """Of some cells; what has two axes is a table that all share, or, in `ThresholdLaw`, has the cells last."""
    split: dict[str, Any] = {}
    for field in fields(group):
        value = getattr(group, field.name)
        if value.ndim == 1 or isinstance(group, ThresholdLaw):
            split[field.name] = np.ascontiguousarray(value[..., rows])
    return replace(group, **split)


def _lines_of(calibration: Calibration, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lines of all pixels that the cells are read from, and one beyond, for what lies between lines."""
    parts = [np.zeros(1, np.int64)] if len(rows) == 0 else []
    for kind in ("roi", "neuropil"):
        start, pixels = getattr(calibration, f"{kind}_start"), getattr(calibration, f"{kind}_pixels")
        parts += [pixels[start[row] : start[row + 1]].astype(np.int64) for row in rows]
    return np.concatenate(parts) // calibration.pixels_per_line
