"""Neuropil: for every cell a ring of pixels around it that belong to no cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

GAP_PX = 2
MIN_RING_PIXELS = 350
MAX_RADIUS_PX = 60
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
_SQUARE = np.ones((3, 3), bool)


def neuropil_rings(
    footprints: list[NDArray[np.uint32]], n_lines: int, pixels_per_line: int
) -> list[NDArray[np.uint32]]:
    """Ring around every cell: 2 px gap, then as wide as 350 pixels need, pixels of any cell left out.

    Parameters
    ----------
    footprints : list of uint32 ndarray
        Flat pixel indices of each cell, ascending.
    n_lines, pixels_per_line : int

    Returns
    -------
    list of uint32 ndarray
        Flat pixel indices of each ring, ascending; fewer than 350 pixels where the field has no more within 60 px.

    Notes
    -----
    Gap and least size as suite2p's defaults (Pachitariu et al. 2017, bioRxiv 061507).
    """
    cells = np.zeros((n_lines, pixels_per_line), bool)
    for footprint in footprints:
        cells.ravel()[footprint] = True
    return [ring_around(footprint, cells) for footprint in footprints]


def ring_around(footprint: NDArray[np.uint32], cells: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Ring of one cell.

    Parameters
    ----------
    footprint : uint32 ndarray
        Flat pixel indices, ascending.
    cells : bool ndarray, shape (n_lines, n_pixels), read
        Pixels of all cells.

    Returns
    -------
    uint32 ndarray
        Empty around a footprint of nothing.
    """
    if not len(footprint):
        return np.zeros(0, np.uint32)
    n_lines, pixels_per_line = cells.shape
    y, x = footprint.astype(np.int64) // pixels_per_line, footprint.astype(np.int64) % pixels_per_line
    y0, y1 = max(int(y.min()) - MAX_RADIUS_PX, 0), min(int(y.max()) + MAX_RADIUS_PX + 1, n_lines)
    x0, x1 = max(int(x.min()) - MAX_RADIUS_PX, 0), min(int(x.max()) + MAX_RADIUS_PX + 1, pixels_per_line)
    own = np.zeros((y1 - y0, x1 - x0), bool)
    own[y - y0, x - x0] = True
    occupied = cells[y0:y1, x0:x1]
    inner = own
    for _ in range(GAP_PX):
        inner = binary_dilation(inner, _SQUARE)
    outer = inner
    ring = np.zeros_like(own)
    for step in range(MAX_RADIUS_PX - GAP_PX):
        outer = binary_dilation(outer, _CROSS if step % 2 else _SQUARE)
        ring = outer & ~inner & ~occupied
        if ring.sum() >= MIN_RING_PIXELS:
            break
    rows, columns = np.nonzero(ring)
    flat: NDArray[np.uint32] = ((rows + y0) * pixels_per_line + columns + x0).astype(np.uint32)
    return flat
