"""From traces of candidates to footprints: non-negative regression of the movie, then binary masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label

N_SWEEPS = 4
MAX_SHARED = 0.5
"""Part of a mask that may be given up because a neighbour covers it too."""
OUTLINE_SIGMA_PX = 1.2
"""Outlines are rounded over this length: a dim cell's best set of pixels is ragged with noise, its outline is not."""


def refine_footprints(
    movie: NDArray[np.float32], traces: NDArray[np.float32], centres_yx_px: NDArray[np.int64], half_px: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Non-negative footprints that explain a movie from given traces: hierarchical alternating least squares.

    Parameters
    ----------
    movie : float32 ndarray, shape (n_bins, n_lines, n_pixels), counts, read
        Haze may be in it: traces are centred, and what they do not explain stays out.
    traces : float32 ndarray, shape (n_cells, n_bins), read
    centres_yx_px : int64 ndarray, shape (n_cells, 2)
    half_px : int
        Windows are ``2 * half_px + 1`` wide and moved inwards at the border.

    Returns
    -------
    footprints : float32 ndarray, shape (n_cells, window, window)
    corners : int64 ndarray, shape (n_cells, 2)
        Line and pixel of each window's first pixel.
    """
    n_cells = len(traces)
    size = (min(2 * half_px + 1, movie.shape[1]), min(2 * half_px + 1, movie.shape[2]))
    limits = np.array([movie.shape[1] - size[0], movie.shape[2] - size[1]])
    corners = np.clip(centres_yx_px - half_px, 0, limits)
    centred = traces - traces.mean(axis=1, keepdims=True)
    gram = centred @ centred.T
    projected = np.empty((n_cells, *size), np.float32)
    for k, (y, x) in enumerate(corners):
        window = movie[:, y : y + size[0], x : x + size[1]].reshape(len(movie), -1)
        projected[k] = (centred[k] @ window).reshape(size)
    footprints = np.maximum(projected / np.maximum(np.diag(gram), 1e-12)[:, None, None], 0.0).astype(np.float32)
    neighbours = [_neighbours(corners, k, size) for k in range(n_cells)]
    for _ in range(N_SWEEPS):
        for k in range(n_cells):
            if gram[k, k] <= 0.0:
                continue
            explained = gram[k, k] * footprints[k]
            for j in neighbours[k]:
                mine, theirs = _overlap(corners[k], corners[j], size)
                explained[mine] += gram[k, j] * footprints[j][theirs]
            footprints[k] = np.maximum(footprints[k] + (projected[k] - explained) / gram[k, k], 0.0)
    return footprints, corners


def _neighbours(corners: NDArray[np.int64], k: int, size: tuple[int, int]) -> NDArray[np.int64]:
    distance = np.abs(corners - corners[k])
    near = (distance[:, 0] < size[0]) & (distance[:, 1] < size[1])
    near[k] = False
    return np.flatnonzero(near)


def _overlap(
    mine: NDArray[np.int64], theirs: NDArray[np.int64], size: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The common part of two windows, in the coordinates of each."""
    first = np.maximum(mine, theirs)
    end = np.minimum(mine, theirs) + np.array(size)

    def part(corner: NDArray[np.int64]) -> tuple[slice, slice]:
        low, high = first - corner, end - corner
        return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))

    return part(mine), part(theirs)


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
    rounded: NDArray[np.bool_] = gaussian_filter(largest, OUTLINE_SIGMA_PX) > 0.5
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


def rois_from_labels(labels: NDArray[np.integer]) -> list[NDArray[np.uint32]]:
    """Footprints from a label image.

    Parameters
    ----------
    labels : integer ndarray, shape (n_lines, n_pixels)
        0 is background; every other value is a cell.

    Returns
    -------
    list of uint32 ndarray
        Flat pixel indices of each cell, ascending, in the order of the label values.
    """
    flat = np.asarray(labels).ravel()
    order = np.argsort(flat, kind="stable")
    values, start = np.unique(flat[order], return_index=True)
    parts = np.split(order.astype(np.uint32), start[1:])
    return [part for value, part in zip(values, parts, strict=True) if value != 0]
