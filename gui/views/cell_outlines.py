"""Outlines and flashes of a thousand cells, as pixels that are mixed into the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gui.model.cells import Cells


class CellOutlines:
    """Every cell's outline in a colour of its own; some cells filled."""

    def __init__(self) -> None:
        self._labels: NDArray[np.uint16] = np.zeros((1, 1), np.uint16)
        self._edge: NDArray[np.int64] = np.zeros(0, np.int64)
        self._edge_row: NDArray[np.intp] = np.zeros(0, np.intp)
        self._inside: NDArray[np.int64] = np.zeros(0, np.int64)
        self._inside_start: NDArray[np.intp] = np.zeros(1, np.intp)
        self._at: NDArray[np.int64] = np.zeros(0, np.int64)
        self._colour: NDArray[np.uint32] = np.zeros(0, np.uint32)
        self._cells: Cells | None = None
        self._sampling = (1, 1)

    @property
    def shape_px(self) -> tuple[int, int]:
        """Lines and pixels of the picture that the outlines fit."""
        return self._labels.shape

    def set_cells(self, cells: Cells | None, step: int, fine: int) -> None:
        """Take the footprints, on every `step`-th pixel, or on `fine` x `fine` for one; at once if they are shown."""
        if cells is self._cells and (step, fine) == self._sampling:
            return
        self._cells, self._sampling = cells, (step, fine)
        labels = cells.labels if cells is not None else np.zeros((1, 1), np.uint16)
        self._labels = labels = labels[::step, ::step].repeat(fine, 0).repeat(fine, 1)
        padded = np.pad(labels, 1)
        centre = padded[1:-1, 1:-1]
        same = centre == padded[:-2, 1:-1]
        for other in (padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
            same &= centre == other
        flat = labels.ravel()
        self._edge = np.flatnonzero((flat > 0) & ~same.ravel())
        self._edge_row = flat[self._edge].astype(np.intp) - 1
        inside = np.flatnonzero(flat)
        self._inside = inside[np.argsort(flat[inside], kind="stable")]
        n_rois = cells.n_rois if cells is not None else 0
        self._inside_start = np.searchsorted(flat[self._inside], np.arange(1, n_rois + 2))
        self._at, self._colour = self._edge[:0], np.zeros(0, np.uint32)

    def colour(self, edges: NDArray[np.uint32], filled: dict[int, int]) -> None:
        """Colour the outlines (premultiplied ``0xaarrggbb``, one a cell), and fill some rows."""
        at, colours = [], []
        for row, colour in filled.items():
            if 0 <= row < len(self._inside_start) - 1:
                inside = self._inside[self._inside_start[row] : self._inside_start[row + 1]]
                at.append(inside)
                colours.append(np.full(len(inside), colour, np.uint32))
        if len(edges):
            at.append(self._edge)
            colours.append(edges[np.minimum(self._edge_row, len(edges) - 1)])
        self._at = np.concatenate([self._edge[:0], *at])
        self._colour = np.concatenate([np.zeros(0, np.uint32), *colours])

    def mix_into(self, pixels: NDArray[np.uint32]) -> bool:
        """Lay the colours over pixels ``0xffrrggbb`` of the same shape, in place; where two meet, the outline stays.

        Returns
        -------
        bool
            True if there was anything to lay over.
        """
        if pixels.shape != self.shape_px or not len(self._at):
            return False
        flat = pixels.reshape(-1)
        below, kept = flat[self._at], 255 - (self._colour >> 24)
        red_blue = ((below & 0xFF00FF) * kept >> 8) & 0xFF00FF
        green = ((below >> 8 & 0xFF) * kept) & 0xFF00
        flat[self._at] = 0xFF000000 | (self._colour & 0xFFFFFF) + red_blue + green
        return True


def premultiplied(rgb: int, alpha: float) -> int:
    """``0xrrggbb`` at an opacity, as outlines want it."""
    a = round(255 * alpha)
    red, green, blue = (rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255)
    return a << 24 | red * a // 255 << 16 | green * a // 255 << 8 | blue * a // 255
