"""Counts to pixels through one table of colours, and the item that shows them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from pyqtgraph.Qt import QtCore, QtGui

from gui.model.cells import Cells
from gui.views.cell_outlines import CellOutlines

COLOUR_MAPS = ("grey", "viridis", "magma", "cividis", "inverted")
_N_COUNTS = 1 << 16
_LARGEST_FINE_PX = 300


def map_colours(name: str, n: int = 256) -> NDArray[np.uint32]:
    """A colour map as ``0xffrrggbb``, shape (n,)."""
    if name in ("grey", "inverted"):
        ramp = np.linspace(0, 255, n).astype(np.uint32)
        ramp = ramp[::-1] if name == "inverted" else ramp
        return (0xFF000000 | ramp << 16 | ramp << 8 | ramp).astype(np.uint32)
    table = pg.colormap.get(name).getLookupTable(nPts=n).astype(np.uint32)
    return (0xFF000000 | table[:, 0] << 16 | table[:, 1] << 8 | table[:, 2]).astype(np.uint32)


class PictureItem(pg.GraphicsObject):
    """One frame with its cells. A count becomes a pixel by one look-up, whatever levels and colours are set.

    Attributes
    ----------
    outlines : CellOutlines
        Mixed into the picture before it is drawn: one opaque image costs far less than two.
    has_outlines : bool
        True if the picture that was painted last shows cells.
    """

    def __init__(self) -> None:
        super().__init__()
        self.outlines = CellOutlines()
        self._size_px, self._step = (1, 1), 1
        self._pixels: NDArray[np.uint32] = np.zeros((1, 1), np.uint32)
        self._shown: NDArray[np.uint32] = np.zeros((1, 1), np.uint32)
        self._image: Any = None
        self._table: NDArray[np.uint32] = np.zeros(_N_COUNTS, np.uint32)
        self._set: Any = None
        self._is_new = self.has_outlines = False

    @property
    def size_px(self) -> tuple[int, int]:
        """Lines and pixels of the frame that is shown."""
        return self._size_px

    def set_table(self, low: float, high: float, colours: str, *, signed: bool) -> None:
        """Levels (counts) and colour map; cheap if nothing has changed."""
        wanted = (low, high, colours, signed)
        if wanted == self._set:
            return
        self._set = wanted
        counts = np.arange(_N_COUNTS, dtype=np.float32)
        if signed:
            counts = counts.astype(np.uint16).view(np.int16).astype(np.float32)
        scaled = (counts - low) * (255.0 / max(high - low, 1e-6))
        self._table = map_colours(colours)[np.clip(scaled, 0, 255).astype(np.uint8)]

    def show(self, image: NDArray[Any], px_per_dot: float = 1.0) -> None:
        """Show counts, uint16 or int16, shape (n_lines, n_pixels); `px_per_dot` pixels fall on one of the screen."""
        step = max(1, min(int(px_per_dot), min(image.shape)))
        if image.shape != self._size_px or step != self._step:
            self.prepareGeometryChange()
            self._size_px, self._step = image.shape, step
            coarse = image[::step, ::step].shape
            self._pixels = np.zeros(coarse, np.uint32)
            self._shown = np.zeros([side * self._fine for side in coarse], np.uint32)
            lines, columns = self._shown.shape
            self._image = QtGui.QImage(self._shown.data, columns, lines, 4 * columns, QtGui.QImage.Format.Format_RGB32)
        np.take(self._table, image.view(np.uint16)[::step, ::step], out=self._pixels, mode="clip")
        self._renew()

    def show_cells(self, cells: Cells | None, edges: NDArray[np.uint32], filled: dict[int, int]) -> None:
        """Show outlines and fills, colours as of `CellOutlines.colour`."""
        self.outlines.set_cells(cells, self._step, self._fine)
        self.outlines.colour(edges, filled)
        self._renew()

    @property
    def _fine(self) -> int:
        """Small fields are drawn at twice their resolution, so that outlines are thin."""
        return 2 if max(self._size_px) <= _LARGEST_FINE_PX else 1

    def _renew(self) -> None:
        self._is_new = True
        self.update()

    def _mix(self) -> None:
        """The picture, and the cells over it."""
        lines, columns = self._pixels.shape
        fine = self._shown.reshape(lines, self._shown.shape[0] // lines, columns, self._shown.shape[1] // columns)
        fine[...] = self._pixels[:, None, :, None]
        self.has_outlines = self.outlines.mix_into(self._shown)
        self._is_new = False

    def boundingRect(self) -> Any:
        """Its place: pixel (y, x) covers [x, x + 1) by [y, y + 1)."""
        return QtCore.QRectF(0, 0, self._size_px[1], self._size_px[0])

    def paint(self, painter: Any, *args: Any) -> None:
        """Draw the picture."""
        if self._image is None:
            return
        if self._is_new:
            self._mix()
        lines, columns = self._pixels.shape
        painter.drawImage(QtCore.QRectF(0, 0, columns * self._step, lines * self._step), self._image)


def auto_levels(image: NDArray[Any]) -> tuple[float, float]:
    """Levels that show a frame well: its 1st and 99.7th percentile, on a grid of its pixels."""
    step = max(1, int(np.sqrt(image.size / 20_000)))
    sample = image[::step, ::step]
    low, high = np.percentile(sample, (1.0, 99.7))
    return float(low), float(max(high, low + 1))
