"""The cells of one plane: where they are, and what calibration says of each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gui.model.frames import MAX_SIDE_PX
from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.messages import RoiDescription, RoisHeader

MAX_ROIS = 20_000
MAX_FOOTPRINT_PX = 50_000_000
_NEAR_PX = 12.0
_REMOVED = "removed"
FIGURES = (
    *("quality", "snr", "tau_s", "amplitude", "expected_detection", "threshold"),
    *("neuropil_coefficient", "floor_hits"),
)
"""Fields of `RoiDescription` that are numbers of the cell."""


@dataclass(slots=True)
class Cells:
    """Cells of one plane. Rows are in the order of topic `rois`.

    Attributes
    ----------
    rev : int
        Revision of footprints and rows; -1 as long as no footprints are known.
    roi_id : int64 ndarray, shape (n_rois,)
    row_of : dict of int to int
        roi_id -> row of every cell that is read; those that were taken out keep their row, and are not in here.
    centroid_yx_px : float64 ndarray, shape (n_rois, 2)
        NaN for cells without pixels.
    labels : uint16 ndarray, shape (n_lines, n_pixels)
        Row + 1 of the cell at each pixel, 0 for none.
    figures : dict of str to float64 ndarray, shape (n_rois,)
        `FIGURES`, as last told.
    tags : list of tuple of str
    n_updates : int
        Messages taken; changes with every one.
    """

    rev: int
    roi_id: NDArray[np.int64]
    row_of: dict[int, int]
    centroid_yx_px: NDArray[np.float64]
    labels: NDArray[np.uint16]
    figures: dict[str, NDArray[np.float64]]
    tags: list[tuple[str, ...]]
    n_updates: int = 0

    @property
    def n_rois(self) -> int:
        """Number of rows, those of cells that were taken out among them."""
        return len(self.roi_id)

    @property
    def read(self) -> list[int]:
        """roi_id of every cell that is read, in the order of the rows."""
        return list(self.row_of)

    def describe(self, rois: list[RoiDescription]) -> None:
        """Take the newest figures; the rows must be these cells.

        Raises
        ------
        MessageError
            They are other cells.
        """
        if [roi.roi_id for roi in rois] != self.roi_id.tolist():
            raise MessageError("rois: other cells under the same rev")
        self.figures = _figures(rois)
        self.tags = [tuple(roi.tags) for roi in rois]
        self.n_updates += 1

    def at(self, y_px: float, x_px: float) -> int | None:
        """roi_id of the cell at a place, or of the nearest one within a few pixels."""
        if not self.row_of or not (np.isfinite(y_px) and np.isfinite(x_px)):
            return None
        line, pixel = int(y_px), int(x_px)
        if 0 <= line < self.labels.shape[0] and 0 <= pixel < self.labels.shape[1] and self.labels[line, pixel]:
            return int(self.roi_id[self.labels[line, pixel] - 1])
        distance_px = np.hypot(*(self.centroid_yx_px - (y_px, x_px)).T)
        row = int(np.nanargmin(distance_px))
        return int(self.roi_id[row]) if distance_px[row] <= _NEAR_PX else None


def cells_from(header: RoisHeader, payload: memoryview) -> Cells:
    """Cells of a `rois` message that carries footprints.

    Raises
    ------
    MessageError
        Its parts do not fit each other, or are absurd.
    """
    n_rois, shape = len(header.rois), (header.lines_per_frame, header.pixels_per_line)
    if n_rois > MAX_ROIS or not (0 < shape[0] <= MAX_SIDE_PX and 0 < shape[1] <= MAX_SIDE_PX):
        raise MessageError(f"rois: {n_rois} cells in {shape[0]} x {shape[1]} px")
    if payload.nbytes % 4 or payload.nbytes // 4 > MAX_FOOTPRINT_PX:
        raise MessageError(f"rois: {payload.nbytes} bytes of footprints")
    pixels = np.frombuffer(payload, "<u4")
    if max(header.footprint_start, default=0) > len(pixels) or min(header.footprint_start, default=0) < 0:
        raise MessageError("rois: footprint_start leads beyond the footprints")
    start = np.asarray(header.footprint_start, np.int64)
    is_read = np.array([roi.kind != _REMOVED for roi in header.rois], np.bool_)
    n_px = np.diff(start)
    if len(start) != n_rois + 1 or start[0] != 0 or (n_px < is_read).any() or start[-1] != len(pixels):
        raise MessageError("rois: footprint_start does not fit the footprints")
    if len(pixels) and int(pixels.max()) >= shape[0] * shape[1]:
        raise MessageError("rois: a footprint lies outside of the frame")
    roi_id = [roi.roi_id for roi in header.rois]
    if len(set(roi_id)) != n_rois or max(roi_id, default=0) > 2**32 or min(roi_id, default=0) < 0:
        raise MessageError("rois: roi_id is no unique number")
    labels = np.zeros(shape[0] * shape[1], np.uint16)
    labels[pixels] = np.repeat(np.arange(1, n_rois + 1, dtype=np.uint16), np.diff(start))
    return Cells(
        rev=header.rev,
        roi_id=np.asarray(roi_id, np.int64),
        row_of={one: row for row, one in enumerate(roi_id) if is_read[row]},
        centroid_yx_px=_centroids(pixels, start, shape[1]),
        labels=labels.reshape(shape),
        figures=_figures(header.rois),
        tags=[tuple(roi.tags) for roi in header.rois],
    )


def _centroids(pixels: NDArray[np.uint32], start: NDArray[np.int64], n_pixels: int) -> NDArray[np.float64]:
    """Mean place of every footprint; the centre of pixel (y, x) lies at (y + 0.5, x + 0.5)."""
    n_rois, counts = len(start) - 1, np.diff(start)
    row = np.repeat(np.arange(n_rois), counts)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(row, place, n_rois) / counts for place in (pixels // n_pixels, pixels % n_pixels)]
    return np.stack(means, 1) + 0.5


def _figures(rois: list[RoiDescription]) -> dict[str, NDArray[np.float64]]:
    """NaN where a cell does not tell."""
    return {name: np.array([_number(getattr(roi, name)) for roi in rois], np.float64) for name in FIGURES}


def _number(value: float | None) -> float:
    """A whole number may be larger than any float: it is no figure of a cell."""
    return float(value) if value is not None and abs(value) < 1e300 else math.nan
