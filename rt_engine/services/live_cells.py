"""The cells of a plane as they are read now: those of the calibration, what was added since, what was taken out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.calibration_bytes import unpack_cells
from rt_engine.interfaces.messages import EditAction, RoiDescription
from rt_engine.interfaces.threshold_law import ThresholdLaw, joined_laws, unknown_law
from rt_engine.pipeline.cell_group import CellGroup
from rt_engine.pipeline.engine import Engine

REMOVED = "removed"
"""`kind` of a cell that was taken out: its row stays and is empty."""


@dataclass(slots=True, eq=False, kw_only=True)
class CellEdit:
    """One change, ready to be made between two frames; fields as of `messages.EditHeader`.

    `group` reads the added cells, built before; `cells` describes them; `from_frame` is None until it is known.
    """

    action: EditAction
    added: list[int]
    removed: list[int]
    tagged: list[int]
    tag: str | None = None
    n_known: int = 0
    false_alarms_per_min: float | None = None
    payload: bytes | None = None
    from_frame: int | None = None
    group: CellGroup | None = None
    cells: Calibration | None = None

    def fields(self) -> dict[str, Any]:
        """What the header tells."""
        names = ("action", "added", "removed", "tagged", "tag", "n_known", "false_alarms_per_min")
        return {name: getattr(self, name) for name in names}


class LiveCells:
    """Tables of the cells; what is done to them waits here for the next frame.

    Parameters
    ----------
    calibration : Calibration
    max_shift_px : float
    spare_rois : int
        Rows for cells that are added.

    Attributes
    ----------
    calibration : Calibration
        What the run began with.
    roi_id : list of int
        Of every row in use.
    threshold, detection : float64 ndarray, shape (n_rows,)
        z of an event, and the probability that an isolated spike reaches it.
    law : ThresholdLaw
        Of all rows; NaN where it is unknown.
    false_alarms_per_min : float
        What the thresholds stand for now.
    pending : deque of CellEdit
    """

    def __init__(self, calibration: Calibration, max_shift_px: float, spare_rois: int) -> None:
        self.calibration = calibration
        self._max_shift_px = max_shift_px
        self._spare_rois = spare_rois
        self.roi_id = [int(roi) for roi in calibration.roi_id]
        self.threshold = _thresholds(calibration)
        self.detection = calibration.expected_detection.astype(np.float64)
        self.law = _law(calibration)
        self.false_alarms_per_min = float(calibration.false_alarms_per_min)
        self.pending: deque[CellEdit] = deque()
        self._tables: list[tuple[Calibration, int]] = [(calibration, row) for row in range(calibration.n_rois)]
        self._removed: set[int] = set()
        self._tags: dict[int, list[str]] = {}
        self._parent: dict[int, int] = {}
        self._told: list[RoiDescription] | None = None
        self._next_row = calibration.n_rois
        self._next_id = max(self.roi_id, default=0) + 1

    @property
    def n_spare(self) -> int:
        """Rows left; those that wait for the next frame are used already."""
        return self.calibration.n_rois + self._spare_rois - self._next_row

    def is_read(self, roi_id: int) -> bool:
        """True for a cell that is there and has not been taken out."""
        return roi_id in self.roi_id and roi_id not in self._removed

    def pixels(self, roi_id: int) -> NDArray[np.uint32]:
        """Footprint of a cell, flat, ascending."""
        calibration, row = self._tables[self.roi_id.index(roi_id)]
        return calibration.roi_pixels[calibration.roi_start[row] : calibration.roi_start[row + 1]]

    def new_ids(self, n: int) -> list[int]:
        """Identities that no cell of the session has had."""
        first, self._next_id = self._next_id, self._next_id + n
        return list(range(first, first + n))

    def prepare(self, edit: CellEdit) -> None:
        """Queue an edit for the next frame; whoever reads its cells is built now.

        Raises
        ------
        MessageError
            The payload holds no cells.
        """
        if edit.action in (EditAction.ADD, EditAction.MERGE):
            cells = unpack_cells(edit.payload or b"", self.calibration)
            cells.roi_id[:] = edit.added
            rows = np.arange(cells.n_rois)
            edit.cells = cells
            edit.group = CellGroup(cells, rows, self._max_shift_px, first_row=self._next_row)
            edit.group.warm_up(np.zeros((cells.n_lines, cells.pixels_per_line), np.uint16))
            self._next_row += cells.n_rois
            self._next_id = max(self._next_id, max(edit.added) + 1)
        self.pending.append(edit)

    def due(self, frame: int) -> bool:
        """True if an edit holds from this frame on."""
        first = self.pending[0].from_frame if self.pending else 0
        return bool(self.pending) and (first is None or first <= frame)

    def apply(self, frame: int, engine: Engine) -> CellEdit:
        """Make the oldest edit, from this frame on; a matter of microseconds."""
        edit = self.pending.popleft()
        edit.from_frame = frame
        if edit.group is not None and edit.cells is not None:
            engine.take(edit.group, edit.cells.roi_id)
            self._append(edit.cells)
        for roi_id in edit.removed:
            engine.remove(self.roi_id.index(roi_id))
            self._removed.add(roi_id)
        if edit.action is EditAction.MERGE:
            self._parent |= {new: edit.removed[0] for new in edit.added}
        for roi_id in edit.tagged:
            self._retag(roi_id, edit.tag)
        if edit.action is EditAction.THRESHOLD:
            self._take_thresholds(np.frombuffer(edit.payload or b"", "<f8"), edit.false_alarms_per_min)
            engine.set_thresholds(self.threshold)
        self._told = None
        return edit

    def describe(self, engine: Engine | None = None) -> list[RoiDescription]:
        """All rows as topic `rois` tells them; `snr` is A/sigma. Of the engine, what has changed since it was told."""
        if self._told is None:
            self._told = [self._described(row) for row in range(len(self.roi_id))]
        if engine is not None:
            coefficient, hits = engine.cell_figures()
            before = [(row.neuropil_coefficient, row.floor_hits) for row in self._told]
            for row, now in enumerate(zip(coefficient.tolist(), hits.tolist(), strict=True)):
                if now != before[row]:
                    self._told[row].neuropil_coefficient, self._told[row].floor_hits = now
        return self._told

    def footprints(self) -> tuple[list[int], bytes]:
        """Start of every cell in the payload of `rois`, and the payload; empty for cells taken out."""
        none = np.zeros(0, np.uint32)
        parts = [self.pixels(roi) if roi not in self._removed else none for roi in self.roi_id]
        starts = np.cumsum([0, *(len(part) for part in parts)])
        return starts.tolist(), np.concatenate([none, *parts]).astype("<u4").tobytes()

    def _append(self, cells: Calibration) -> None:
        self._tables += [(cells, row) for row in range(cells.n_rois)]
        self.roi_id += [int(roi) for roi in cells.roi_id]
        self.threshold = np.concatenate([self.threshold, _thresholds(cells)])
        self.detection = np.concatenate([self.detection, cells.expected_detection])
        self.law = joined_laws(self.law, _law(cells))

    def _take_thresholds(self, threshold: NDArray[np.float64], false_alarms_per_min: float | None) -> None:
        self.threshold[: len(threshold)] = threshold
        if false_alarms_per_min is not None:
            self.false_alarms_per_min = false_alarms_per_min
        detection = self.law.detection(self.threshold)
        self.detection = np.where(np.isfinite(self.law.skewness), detection, self.detection)

    def _retag(self, roi_id: int, tag: str | None) -> None:
        """Give a cell a tag, or take it away where it has it."""
        tags = self._tags.setdefault(roi_id, [])
        if tag in tags:
            tags.remove(tag)
        elif tag is not None:
            tags.append(tag)

    def _described(self, row: int) -> RoiDescription:
        calibration, at = self._tables[row]
        roi_id = self.roi_id[row]
        return RoiDescription(
            roi_id=roi_id,
            roi_index=row,
            parent_id=self._parent.get(roi_id),
            kind=REMOVED if roi_id in self._removed else "soma",
            plane=calibration.plane,
            tags=list(self._tags.get(roi_id, ())),
            quality=float(calibration.quality[at]),
            snr=float(calibration.amplitude_dff[at] / calibration.sigma_dff[at]),
            tau_s=float(calibration.tau_s[at]),
            amplitude=float(calibration.amplitude_dff[at]),
            expected_detection=float(self.detection[row]),
            threshold=float(self.threshold[row]),
            neuropil_coefficient=float(calibration.neuropil_coefficient[at]),
        )


def _thresholds(calibration: Calibration) -> NDArray[np.float64]:
    own = calibration.threshold if calibration.drive is None else calibration.drive.threshold
    return own.astype(np.float64)


def _law(calibration: Calibration) -> ThresholdLaw:
    return calibration.threshold_law or unknown_law(calibration.n_rois)
