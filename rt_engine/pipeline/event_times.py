"""When a spike was: from the frame that it is ascribed to, and from the line that its cell is read from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.pipeline.cell_group import CellGroup

_RING = 128
"""Frames whose time is kept; an event is never ascribed to one so long ago unless frames are missing."""


class EventTimes:
    """Keeps when the last frames were scanned, and which line each cell is read from.

    Parameters
    ----------
    calibration : Calibration
    frames_per_volume : int
        The lines of a frame take this part of the time from one frame of the plane to the next.
    n_rows : int
        Cells, and rows for more.
    """

    def __init__(self, calibration: Calibration, frames_per_volume: int, n_rows: int) -> None:
        self._n_lines = calibration.n_lines
        self._period_ns = round(NS_PER_S / calibration.frame_rate_hz)
        self._line_ns = self._period_ns / frames_per_volume / calibration.n_lines
        self._t_scan_ns = np.zeros(_RING, np.int64)
        self._frame_of = np.full(_RING, -1, np.int64)
        self._before_end_ns = np.zeros(n_rows, np.int64)
        self._row_of: dict[int, int] = {}
        self._newest = -1

    def follow(self, group: CellGroup, roi_id: NDArray[np.unsignedinteger]) -> None:
        """How long before the end of a frame the last line of each cell of a group is scanned.

        Parameters
        ----------
        group : CellGroup
        roi_id : uint32 ndarray, shape (n_rois of the group,)
        """
        after = self._n_lines - 1 - (group.line0 + group.extraction.line_of_roi)
        self._before_end_ns[group.rows] = np.rint(after * self._line_ns).astype(np.int64)
        self._row_of |= {int(roi): int(row) for row, roi in zip(group.rows, roi_id, strict=True)}

    def note(self, frame: int, end_line: int, t_scan_ns: int) -> None:
        """The lines of a frame before `end_line` had been scanned at `t_scan_ns`."""
        slot = frame % _RING
        self._t_scan_ns[slot] = t_scan_ns + round((self._n_lines - end_line) * self._line_ns)
        self._frame_of[slot] = self._newest = frame

    def stamp(self, events: NDArray[np.void]) -> None:
        """Write `t_event_ns`: the end of each event's frame, less the lines scanned after the cell's own.

        Parameters
        ----------
        events : EVENT_DTYPE ndarray, shape (n,)
            Of the frame noted last, or of frames before it.
        """
        frames, rois = events["event_frame"].tolist(), events["roi_id"].tolist()
        events["t_event_ns"] = [
            self._frame_ns(frame) - int(self._before_end_ns[self._row_of[roi]])
            for frame, roi in zip(frames, rois, strict=True)
        ]

    def _frame_ns(self, frame: int) -> int:
        """End of a frame; reckoned from that of the newest where it has been forgotten, or never came."""
        slot = frame % _RING
        if self._frame_of[slot] == frame:
            return int(self._t_scan_ns[slot])
        return int(self._t_scan_ns[self._newest % _RING]) - (self._newest - frame) * self._period_ns
