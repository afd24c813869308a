"""Traces of all cells from topic `activity`, in bounded memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.messages import ActivityHeader, Header
from rt_engine.recording.reader import JournalMessage

_BUDGET_BYTES = 256 << 20
_FIRST_ROWS = 1024
_KEPT = ("dff", "calcium")


class ActivityTable:
    """Observer of one plane: keeps dF/F and denoised calcium; where memory is short, of every n-th message only.

    Parameters
    ----------
    plane : int
    budget_bytes : int
        Bound of the memory held, bytes.

    Attributes
    ----------
    stride : int
        1 as long as every message is kept.
    """

    def __init__(self, plane: int = 0, budget_bytes: int = _BUDGET_BYTES) -> None:
        self._plane = plane
        self._budget_bytes = budget_bytes
        self._n_rows = 0
        self._n_seen = 0
        self._frame = np.zeros(_FIRST_ROWS, np.int64)
        self._values = np.zeros((_FIRST_ROWS, len(_KEPT), 0), np.float32)
        self.stride = 1

    @property
    def frame(self) -> NDArray[np.int64]:
        """Frame number of every row, shape (n_rows,)."""
        return self._frame[: self._n_rows]

    @property
    def dff(self) -> NDArray[np.float32]:
        """dF/F, shape (n_rows, n_rois), by `roi_index`; NaN where invalid."""
        return self._values[: self._n_rows, 0]

    @property
    def calcium(self) -> NDArray[np.float32]:
        """Denoised calcium in dF/F, shape (n_rows, n_rois), by `roi_index`; NaN where invalid."""
        return self._values[: self._n_rows, 1]

    def see(self, message: JournalMessage, header: Header) -> None:
        """Keep the traces of one message."""
        if not isinstance(header, ActivityHeader) or header.plane != self._plane:
            return
        if header.n_rois < 1 or len(message.payload) != 4 * len(header.fields) * header.n_rois:
            return
        self._n_seen += 1
        if (self._n_seen - 1) % self.stride:
            return
        values = np.frombuffer(message.payload, "<f4").reshape(len(header.fields), header.n_rois)
        self._make_room(header.n_rois)
        self._frame[self._n_rows] = header.frame
        row = self._values[self._n_rows]
        row[:] = np.nan
        for kept, name in enumerate(_KEPT):
            if name in header.fields:
                row[kept, : header.n_rois] = values[header.fields.index(name)]
        self._n_rows += 1

    def bound(self, budget_bytes: int) -> None:
        """Another bound, from the next time on that room is needed."""
        self._budget_bytes = budget_bytes

    def _make_room(self, n_rois: int) -> None:
        capacity, n_kept, width = self._values.shape
        if n_rois > width:
            wider = np.full((capacity, n_kept, n_rois), np.nan, np.float32)
            wider[: self._n_rows, :, :width] = self._values[: self._n_rows]
            self._values = wider
            width = n_rois
        if self._n_rows < capacity:
            return
        if 2 * capacity * n_kept * width * 4 <= self._budget_bytes:
            self._values = np.concatenate([self._values, np.empty_like(self._values)])
            self._frame = np.concatenate([self._frame, np.empty_like(self._frame)])
            return
        kept = self._values[::2]
        self._values[: len(kept)] = kept.copy()
        self._frame[: len(kept)] = self._frame[::2].copy()
        self._n_rows = len(kept)
        self.stride *= 2


class ActivityTables:
    """Observer of all planes: a table for each, made when the plane is first seen; they share the memory.

    Parameters
    ----------
    budget_bytes : int
        Bound of the memory held by all, bytes.
    """

    def __init__(self, budget_bytes: int = _BUDGET_BYTES) -> None:
        self._budget_bytes = budget_bytes
        self._tables: dict[int, ActivityTable] = {}

    def of(self, plane: int) -> ActivityTable:
        """Table of a plane, empty where it has said nothing."""
        if plane not in self._tables:
            self._tables[plane] = ActivityTable(plane)
            for table in self._tables.values():
                table.bound(self._budget_bytes // len(self._tables))
        return self._tables[plane]

    def see(self, message: JournalMessage, header: Header) -> None:
        """Keep the traces of one message."""
        if isinstance(header, ActivityHeader):
            self.of(header.plane).see(message, header)
