"""From weighted footprints to binary masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label

MAX_SHARED = 0.5
"""Part of a mask that may be given up because a neighbour covers it too."""
OUTLINE_SIGMA = 0.08
"""Outlines are rounded over this part of a diameter: a dim cell's best set of pixels is ragged with noise, its outline
is not."""


def best_binary_mask(
    footprint: NDArray[np.float32], noise: NDArray[np.float32], centre_yx_px: tuple[float, float], max_radius_px: float
) -> NDArray[np.bool_]:
    """The pixels whose plain mean shows the cell with the best signal-to-noise ratio.

    Parameters
    ----------
    footprint : float32 ndarray, shape (n_lines, n_pixels), counts per unit of trace, read
    noise : float32 ndarray, shape (n_lines, n_pixels), counts, read
        Standard deviation of every pixel.
    centre_yx_px : (float, float)
        Pixels farther from it than `max_radius_px` stay out.
    max_radius_px : float

    Returns
    -------
    bool ndarray, shape (n_lines, n_pixels)
        The largest connected part of the best set.

    Notes
    -----
    For a mask S the ratio is ``sum_S a / sqrt(sum_S noise^2)``; sets that take the pixels in the order of
    ``a / noise^2`` contain the best one.
    """
    smooth = gaussian_filter(footprint, 0.8)
    y, x = np.indices(smooth.shape)
    smooth[np.hypot(y - centre_yx_px[0], x - centre_yx_px[1]) > max_radius_px] = 0.0
    variance = noise.astype(np.float64) ** 2
    order = np.argsort(-(smooth / variance), axis=None)
    ratio = np.cumsum(smooth.ravel()[order]) / np.sqrt(np.cumsum(variance.ravel()[order]))
    mask = np.zeros(smooth.size, bool)
    mask[order[: int(np.argmax(ratio)) + 1]] = True
    mask &= smooth.ravel() > 0.0
    labels, n_parts = label(mask.reshape(smooth.shape))
    if n_parts == 0:
        return np.zeros(smooth.shape, bool)
    weight = np.bincount(labels.ravel(), smooth.ravel())
    weight[0] = 0.0
    largest = (labels == int(np.argmax(weight))).astype(np.float32)
    rounded: NDArray[np.bool_] = gaussian_filter(largest, OUTLINE_SIGMA * max_radius_px / 0.9) > 0.5
    return rounded if rounded.any() else largest > 0


def separate(masks: list[NDArray[np.uint32]], n_pixels: int) -> list[NDArray[np.uint32]]:
    """Masks without the pixels that several of them cover, where enough is left; else as they are.

    Parameters
    ----------
    masks : list of uint32 ndarray
        Flat pixel indices, ascending.
    n_pixels : int
        Pixels of the field.
    """
    covered = np.zeros(n_pixels, np.uint16)
    for mask in masks:
        covered[mask] += 1
    out = []
    for mask in masks:
        own = mask[covered[mask] == 1]
        out.append(own if len(own) >= (1.0 - MAX_SHARED) * len(mask) else mask)
    return out
