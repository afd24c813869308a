"""Counts to pixels through one table of colours, and the item that shows them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from pyqtgraph.Qt import QtCore, QtGui

COLOUR_MAPS = ("grey", "viridis", "magma", "cividis", "inverted")
_N_COUNTS = 1 << 16


def map_colours(name: str, n: int = 256) -> NDArray[np.uint32]:
    """A colour map as ``0xffrrggbb``, shape (n,)."""
    if name in ("grey", "inverted"):
        ramp = np.linspace(0, 255, n).astype(np.uint32)
        ramp = ramp[::-1] if name == "inverted" else ramp
        return (0xFF000000 | ramp << 16 | ramp << 8 | ramp).astype(np.uint32)
    table = pg.colormap.get(name).getLookupTable(nPts=n).astype(np.uint32)
    return (0xFF000000 | table[:, 0] << 16 | table[:, 1] << 8 | table[:, 2]).astype(np.uint32)


class PictureItem(pg.GraphicsObject):
    """One frame. A count becomes a pixel by one look-up, whatever levels and colours are set."""

    def __init__(self) -> None:
        super().__init__()
        self._image: Any = None
        self._pixels: NDArray[np.uint32] = np.zeros((1, 1), np.uint32)
        self._table: NDArray[np.uint32] = np.zeros(_N_COUNTS, np.uint32)
        self._set: Any = None

    @property
    def size_px(self) -> tuple[int, int]:
        """Lines and pixels of what is shown."""
        return self._pixels.shape

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

    def show(self, image: NDArray[Any]) -> None:
        """Show counts, uint16 or int16, shape (n_lines, n_pixels)."""
        if image.shape != self._pixels.shape:
            self.prepareGeometryChange()
            self._pixels = np.zeros(image.shape, np.uint32)
            self._image = None
        np.take(self._table, image.view(np.uint16), out=self._pixels, mode="clip")
        if self._image is None:
            lines, columns = image.shape
            self._image = QtGui.QImage(self._pixels.data, columns, lines, 4 * columns, QtGui.QImage.Format.Format_RGB32)
        self.update()

    def boundingRect(self) -> Any:
        """Its place: pixel (y, x) covers [x, x + 1) by [y, y + 1)."""
        return QtCore.QRectF(0, 0, self._pixels.shape[1], self._pixels.shape[0])

    def paint(self, painter: Any, *args: Any) -> None:
        """Draw the picture."""
        if self._image is not None:
            painter.drawImage(self.boundingRect(), self._image)


def auto_levels(image: NDArray[Any]) -> tuple[float, float]:
    """Levels that show a frame well: its 1st and 99.7th percentile, on a grid of its pixels."""
    step = max(1, int(np.sqrt(image.size / 20_000)))
    sample = image[::step, ::step]
    low, high = np.percentile(sample, (1.0, 99.7))
    return float(low), float(max(high, low + 1))
