"""Outlines and flashes of a thousand cells at the price of one small picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from pyqtgraph.Qt import QtCore, QtGui

from gui.model.cells import Cells

_LARGEST_FINE_PX = 300
"""Fields up to this size are drawn at twice their resolution, so that outlines are thin."""


class CellsItem(pg.GraphicsObject):
    """Every cell's outline in a colour of its own; some cells filled."""

    def __init__(self) -> None:
        super().__init__()
        self._shape_px = (1, 1)
        self._buffer: NDArray[np.uint32] = np.zeros((1, 1), np.uint32)
        self._image: Any = None
        self._edge: NDArray[np.int64] = np.zeros(0, np.int64)
        self._edge_row: NDArray[np.intp] = np.zeros(0, np.intp)
        self._inside: NDArray[np.int64] = np.zeros(0, np.int64)
        self._inside_start: NDArray[np.intp] = np.zeros(1, np.intp)
        self._shown: Cells | None = None

    def set_cells(self, cells: Cells | None) -> None:
        """Take the footprints; returns at once if they are those shown."""
        if cells is self._shown:
            return
        self._shown = cells
        self.prepareGeometryChange()
        labels = cells.labels if cells is not None else np.zeros((1, 1), np.uint16)
        self._shape_px = labels.shape
        if max(labels.shape) <= _LARGEST_FINE_PX:
            labels = labels.repeat(2, 0).repeat(2, 1)
        padded = np.pad(labels, 1)
        centre = padded[1:-1, 1:-1]
        same = centre == padded[:-2, 1:-1]
        for other in (padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
            same &= centre == other
        flat = labels.ravel()
        self._edge = np.flatnonzero((flat > 0) & ~same.ravel())
        self._edge_row = flat[self._edge].astype(np.intp) - 1
        inside = np.flatnonzero(flat)
        order = np.argsort(flat[inside], kind="stable")
        self._inside = inside[order]
        n_rois = cells.n_rois if cells is not None else 0
        self._inside_start = np.searchsorted(flat[self._inside], np.arange(1, n_rois + 2))
        self._buffer = np.zeros(labels.shape, np.uint32)
        self._image = QtGui.QImage(
            self._buffer.data,
            labels.shape[1],
            labels.shape[0],
            4 * labels.shape[1],
            QtGui.QImage.Format.Format_ARGB32_Premultiplied,
        )
        self.update()

    def paint_cells(self, edges: NDArray[np.uint32], filled: dict[int, int]) -> None:
        """Colour the outlines (premultiplied ``0xaarrggbb``, one a cell), and fill some rows."""
        flat = self._buffer.reshape(-1)
        flat.fill(0)
        for row, colour in filled.items():
            if 0 <= row < len(self._inside_start) - 1:
                flat[self._inside[self._inside_start[row] : self._inside_start[row + 1]]] = colour
        if len(edges):
            flat[self._edge] = edges[np.minimum(self._edge_row, len(edges) - 1)]
        self.update()

    def boundingRect(self) -> Any:
        """The whole field."""
        return QtCore.QRectF(0, 0, self._shape_px[1], self._shape_px[0])

    def paint(self, painter: Any, *args: Any) -> None:
        """Draw outlines and fills."""
        if self._image is not None:
            painter.drawImage(self.boundingRect(), self._image)


def premultiplied(rgb: int, alpha: float) -> int:
    """``0xrrggbb`` at an opacity, as the picture of outlines wants it."""
    a = round(255 * alpha)
    red, green, blue = (rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255)
    return a << 24 | red * a // 255 << 16 | green * a // 255 << 8 | blue * a // 255
