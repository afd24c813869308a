"""Components that are one cell become one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rt_engine.models.cnmf import Components, neighbours, overlap, shared_light

SAME_FOOTPRINT = 0.5
"""Cosine of two footprints above which they are one cell whatever their traces: the sample moved, or the indicator
saturated. Of two cells 0.6 diameters apart the cosine is below 0.4."""
TOUCHING_CORRELATION = 0.7
"""Components that share pixels and whose traces correlate so are one cell ..."""
NEAR_CORRELATION = 0.4
NEAR = 0.5
"""... as are those that correlate so and whose centres are nearer than this part of a diameter."""


def merge_components(
    cells: Components, centres_yx_px: NDArray[np.int64], diameter_px: float
) -> tuple[Components, NDArray[np.int64]]:
    """Merge until nothing is left to merge.

    Parameters
    ----------
    cells : Components
    centres_yx_px : int64 ndarray, shape (n_cells, 2)
    diameter_px : float

    Returns
    -------
    cells : Components
        Each group of components is replaced by the strongest of it with the sum of their traces; footprints are to be
        fitted anew.
    centres_yx_px : int64 ndarray, shape (n_left, 2)
    """
    length = np.sqrt(np.einsum("kyx,kyx->k", cells.footprints, cells.footprints)).astype(np.float64)
    strength = length * np.sqrt(np.einsum("kt,kt->k", cells.traces, cells.traces))
    leader = np.arange(len(cells))
    for k in range(len(cells)):
        for j in neighbours(cells.corners, k, cells.size):
            if j > k and same_cell(cells, centres_yx_px, length, k, int(j), diameter_px):
                one, other = int(leader[k]), int(leader[j])
                kept = one if strength[one] >= strength[other] else other
                leader[(leader == one) | (leader == other)] = kept
    for part in np.flatnonzero(leader != np.arange(len(cells))):
        whole = int(leader[part])
        cells.traces[whole] += cells.traces[part] * np.float32(length[part] / max(length[whole], 1e-12))
    keep = np.flatnonzero(leader == np.arange(len(cells)))
    return cells.take(keep), centres_yx_px[keep]


def same_cell(
    cells: Components, centres_yx_px: NDArray[np.int64], length: NDArray[np.float64], k: int, j: int, diameter_px: float
) -> bool:
    """True if components k and j are one cell; `length` is the root of the squares of each footprint."""
    if length[k] <= 0.0 or length[j] <= 0.0:
        return False
    if shared_light(cells, k, j) > SAME_FOOTPRINT * length[k] * length[j]:
        return True
    mine, theirs = overlap(cells.corners[k], cells.corners[j], cells.size)
    if not np.any((cells.footprints[k][mine] > 0.0) & (cells.footprints[j][theirs] > 0.0)):
        return False
    together = _correlation(cells.unclipped[k], cells.unclipped[j])
    distance = float(np.hypot(*(centres_yx_px[k] - centres_yx_px[j])))
    return together > TOUCHING_CORRELATION or (together > NEAR_CORRELATION and distance < NEAR * diameter_px)


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    a, b = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0.0 else 0.0
