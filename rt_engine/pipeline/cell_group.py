"""Cells that are decided together: those whose last lines lie in the same strip, or all of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.drive_constants import DriveConstants
from rt_engine.kernels.sample_codes import EXPECTED_MISSING
from rt_engine.pipeline.extraction import RoiExtraction
from rt_engine.pipeline.traces import TraceStage

USUAL_SHIFT_LINES = 4
"""Lines below a cell's last one that are waited for; a larger shift down waits for one strip more."""
_IMAGES = frozenset({"template", "correlation_image"})
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

    Attributes
    ----------
    rows : int64 ndarray, shape (n_rois,)
    line0, end_line : int
        Lines of the frame that the group may read; `line0` is even.
    last_line_needed : int
        Last line of the template that any of its values depends on.
    n_missing : int
        Frames that passed since the last one that was decided.
    extraction : RoiExtraction
    traces : TraceStage
    """

    def __init__(self, calibration: Calibration, rows: NDArray[np.int64], max_shift_px: float) -> None:
        self.rows = rows
        lines = _lines_of(calibration, rows)
        margin = int(np.ceil(max_shift_px)) + 2
        whole = len(rows) == calibration.n_rois
        self.line0 = 0 if whole else max(0, int(lines.min()) - margin) // 2 * 2
        self.end_line = calibration.n_lines if whole else min(calibration.n_lines, int(lines.max()) + margin)
        of_group = calibration if whole else cells_of(calibration, rows, self.line0, self.end_line)
        self.extraction = RoiExtraction(of_group)
        self.traces = TraceStage(of_group)
        self.last_line_needed = self.line0 + int(self.extraction.last_line_needed.max(initial=-1))
        self.n_missing = 0

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
        valid = self.extraction.valid
        np.copyto(valid, EXPECTED_MISSING, where=self.extraction.blanked.view(np.bool_))

    def decide(self, frame_number: int, jumped: bool) -> int:
        """Number of events of the values read last; states advance over `n_missing` frames first.

        What is not needed for that is left to ``traces.settle()``.
        """
        extraction = self.extraction
        if jumped:
            extraction.valid[:] = 0
        n_events = self.traces.decide(
            frame_number, self.n_missing, extraction.f_roi, extraction.f_np, extraction.valid, extraction.censored
        )
        self.n_missing = 0
        return n_events


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
        elif isinstance(value, DriveConstants):
            changes[field.name] = _drive_of(value, rows)
        elif field.name in _PACKED or not isinstance(value, np.ndarray) or value.size == 0:
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


def _drive_of(drive: DriveConstants, rows: NDArray[np.int64]) -> DriveConstants:
    """Constants of some cells; tables have two axes and are shared."""
    values = {field.name: getattr(drive, field.name) for field in fields(drive)}
    return replace(drive, **{name: value[rows] for name, value in values.items() if value.ndim == 1})


def _lines_of(calibration: Calibration, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lines of all pixels that the cells are read from, and one beyond, for what lies between lines."""
    parts = [np.zeros(1, np.int64)] if len(rows) == 0 else []
    for kind in ("roi", "neuropil"):
        start, pixels = getattr(calibration, f"{kind}_start"), getattr(calibration, f"{kind}_pixels")
        parts += [pixels[start[row] : start[row + 1]].astype(np.int64) for row in rows]
    return np.concatenate(parts) // calibration.pixels_per_line
