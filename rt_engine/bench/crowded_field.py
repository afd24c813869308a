"""Masks of a crowded field for the benchmarks of extraction and demixing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rt_engine.pipeline.masks import LARGEST_WEIGHT, PlaneMasks

FRAME_SHAPE = (512, 512)
SOMA_RADIUS_PX = 5.7
RING_RADII_PX = (8.0, 12.7)
SHIFT_YX_PX = (0.3, 0.7)


def crowded_field(
    n_cells: int, side_px: int, seed: int, *, weighted: bool = False, demixed: bool = False
) -> PlaneMasks:
    """Discs of 100 pixels with rings of about 300 at random places, so that many overlap.

    Parameters
    ----------
    n_cells : int
    side_px : int
        They lie in a square of this size.
    seed : int
    weighted : bool
        Weights that fall towards the rim; else binary masks.
    demixed : bool
        With a background, so that overlapping cells are taken apart.
    """
    rng = np.random.default_rng(seed)
    y, x = np.indices((27, 27)) - 13
    distance = np.hypot(y, x)
    soma, ring = distance < SOMA_RADIUS_PX, (distance >= RING_RADII_PX[0]) & (distance < RING_RADII_PX[1])
    centres = rng.integers(14, side_px - 14, (n_cells, 2))
    weight = np.full(int(soma.sum()), LARGEST_WEIGHT)
    if weighted:
        weight = np.rint(LARGEST_WEIGHT / (1 + np.exp((distance[soma] - 4.5) / 0.6)))
    loading = np.column_stack([np.ones(n_cells), (centres[:, 0] - centres[:, 0].mean()) / side_px])
    n = n_cells if demixed else 0
    return PlaneMasks(
        n_lines=FRAME_SHAPE[0],
        pixels_per_line=FRAME_SHAPE[1],
        offset_counts=100.0,
        adc_max_counts=float("nan"),
        roi_start=np.arange(n_cells + 1, dtype=np.int64) * int(soma.sum()),
        roi_pixels=_at(centres, y[soma], x[soma]),
        roi_weight=np.tile(np.clip(weight, 1, LARGEST_WEIGHT).astype(np.uint8), n_cells),
        neuropil_start=np.arange(n_cells + 1, dtype=np.int64) * int(ring.sum()),
        neuropil_pixels=_at(centres, y[ring], x[ring]),
        background_loading=loading[:n].astype(np.float32),
        reference_roi_counts=np.full(n, 1900.0, np.float32),
        reference_np_counts=np.full(n, 1900.0, np.float32),
        rest_counts=np.full(n, 600.0, np.float32),
    )


def _at(centres: NDArray[np.int64], y: NDArray[np.int64], x: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Flat indices of one shape at many places."""
    flat = (centres[:, :1] + y) * FRAME_SHAPE[1] + centres[:, 1:] + x
    return np.ascontiguousarray(flat.ravel().astype(np.uint32))


def random_frames(n_frames: int, seed: int) -> NDArray[np.uint16]:
    """Counts up to 4,095, shape (n_frames, 512, 512)."""
    return np.random.default_rng(seed).integers(0, 4096, (n_frames, *FRAME_SHAPE), np.uint16)
