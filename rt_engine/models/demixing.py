"""What demixing must know, from the baseline: footprints with weights where cells are close, background, rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rt_engine.interfaces.roi_mask import RoiMask
from rt_engine.pipeline.demixing import SOMA_HAZE, Demixing
from rt_engine.pipeline.masks import LARGEST_WEIGHT, N_BACKGROUND, PlaneMasks
from rt_engine.pipeline.overlap import Overlap, find_overlap

REACH_PX = 2
"""Cells whose masks are nearer than twice this may overlap: the outline of a mask says where a cell is brightest."""
N_ROUNDS = 4
N_SWEEPS = 3
LEAST_WEIGHT = 0.2
"""Pixels below this part of a footprint's 95th percentile are no part of it."""
LEAST_Z = 3.0
"""Nor are those that are not this many times their noise."""
LEAST_KEPT = 0.6
"""A footprint must keep this part of its mask's area, or the recording says too little: the mask stays."""
MIN_FRAMES = 20


def weigh_close_footprints(
    movie: NDArray[np.float32], footprints: list[NDArray[np.uint32]], rings: list[NDArray[np.uint32]]
) -> tuple[list[NDArray[np.uint32]], list[NDArray[np.uint8]]]:
    """Footprints with weights for cells that are near each other; the masks of all others stay as they are.

    Parameters
    ----------
    movie : float32 ndarray, shape (n_bins, n_lines, n_pixels), counts, read
        Registered baseline, binned in time.
    footprints, rings : list of uint32 ndarray
        Flat pixel indices of every cell and its ring, ascending.

    Returns
    -------
    footprints : list of uint32 ndarray
        Ascending; those of near cells may share pixels.
    weights : list of uint8 ndarray
        1 to 255; all 255 where the mask stays.

    Notes
    -----
    In every group of near cells the movie, less the haze of the rings, is factorised into non-negative footprints
    inside the masks grown by 2 px, and traces (alternating least squares; footprints by HALS).
    """
    n_pixels = movie.shape[1] * movie.shape[2]
    flat = movie.reshape(len(movie), n_pixels)
    grown = [_grown(footprint, movie.shape[1], movie.shape[2]) for footprint in footprints]
    out = list(footprints)
    weights = [np.full(len(footprint), LARGEST_WEIGHT, np.uint8) for footprint in footprints]
    for group in _near(grown, n_pixels):
        support = np.unique(np.concatenate([grown[k] for k in group]))
        around = np.concatenate([rings[k] for k in group])
        light = flat[:, support] - flat[:, support].mean(axis=0)
        if len(around):
            haze = flat[:, np.unique(around)].mean(axis=1)
            light -= np.float32(SOMA_HAZE) * (haze - haze.mean())[:, None]
        inside = np.stack([np.isin(support, grown[k]) for k in group])
        start = np.stack([np.isin(support, footprints[k]) for k in group])
        for k, image in zip(group, _factorised(light.astype(np.float64), inside, start), strict=True):
            kept = image > 0
            if kept.sum() >= LEAST_KEPT * len(footprints[k]):
                out[k] = support[kept]
                scaled = np.rint(LARGEST_WEIGHT * image[kept] / image.max())
                weights[k] = np.clip(scaled, 1, LARGEST_WEIGHT).astype(np.uint8)
    return out, weights


def roi_weights(roi: RoiMask, footprint: NDArray[np.uint32], pixels_per_line: int) -> NDArray[np.uint8]:
    """Weights of a cell that the user gave, at the pixels of its footprint, 1 to 255.

    Parameters
    ----------
    roi : RoiMask
    footprint : uint32 ndarray
        Its `core_pixels`.
    pixels_per_line : int
    """
    flat = roi.y * pixels_per_line + roi.x
    order = np.argsort(flat, kind="stable")
    weight = roi.weight[order][np.searchsorted(flat[order], footprint)]
    scaled = np.rint(LARGEST_WEIGHT * weight / weight.max(initial=1e-30))
    return np.asarray(np.clip(scaled, 1, LARGEST_WEIGHT), np.uint8)


def _grown(footprint: NDArray[np.uint32], n_lines: int, pixels_per_line: int) -> NDArray[np.uint32]:
    """All pixels of the field within `REACH_PX` of a footprint."""
    y, x = np.divmod(footprint.astype(np.int64), pixels_per_line)
    steps = range(-REACH_PX, REACH_PX + 1)
    offsets = np.array([(dy, dx) for dy in steps for dx in steps if dy * dy + dx * dx <= REACH_PX * REACH_PX])
    y = (y[:, None] + offsets[:, 0]).ravel()
    x = (x[:, None] + offsets[:, 1]).ravel()
    inside = (y >= 0) & (y < n_lines) & (x >= 0) & (x < pixels_per_line)
    return np.unique(y[inside] * pixels_per_line + x[inside]).astype(np.uint32)


def _near(grown: list[NDArray[np.uint32]], n_pixels: int) -> list[NDArray[np.int64]]:
    """Groups of two and more cells whose grown masks share pixels, directly or through others."""
    if not grown:
        return []
    owner = np.repeat(np.arange(len(grown)), [len(pixels) for pixels in grown])
    cover = coo_array((np.ones(len(owner)), (owner, np.concatenate(grown))), shape=(len(grown), n_pixels)).tocsr()
    _, part = connected_components(cover @ cover.T, directed=False)
    return [np.flatnonzero(part == k) for k in np.flatnonzero(np.bincount(part) > 1)]


def _factorised(
    light: NDArray[np.float64], inside: NDArray[np.bool_], start: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Non-negative footprints within `inside`, shape (n_cells, n_pixels); 0 where a pixel is not clearly part of it."""
    images = start.astype(np.float64)
    for _ in range(N_ROUNDS):
        gram = images @ images.T
        gram[np.diag_indices(len(gram))] += 1e-6 * np.trace(gram) + 1e-12
        traces = np.linalg.solve(gram, images @ light.T)
        covariance, projected = traces @ traces.T, traces @ light
        for _ in range(N_SWEEPS):
            for k in range(len(images)):
                if covariance[k, k] > 0:
                    rest = projected[k] - covariance[k] @ images
                    images[k] = np.where(inside[k], np.maximum(images[k] + rest / covariance[k, k], 0.0), 0.0)
    residual = light - traces.T @ images
    noise = np.sqrt((residual**2).mean(axis=0))
    for k in range(len(images)):
        if not images[k].any():
            continue
        error = noise / np.sqrt(max(float(covariance[k, k]), 1e-30))
        least = np.maximum(LEAST_WEIGHT * np.percentile(images[k][images[k] > 0], 95), LEAST_Z * error)
        images[k] = np.where(images[k] >= least, images[k], 0.0)
    return images


def demix_baseline(
    masks: PlaneMasks, f_roi: NDArray[np.float32], f_np: NDArray[np.float32], valid: NDArray[np.uint8]
) -> tuple[PlaneMasks, Overlap]:
    """Learn background and rest from the traces of the baseline, then demix these traces in place.

    Parameters
    ----------
    masks : PlaneMasks
        Without background.
    f_roi, f_np : float32 ndarray, shape (n_frames, n_rois), mean counts, offset subtracted
        `f_roi` is overwritten.
    valid : uint8 ndarray, shape (n_frames, n_rois), overwritten
        1 where there is a sample; set to 0 where a neighbour has none.

    Returns
    -------
    masks : PlaneMasks
        With background: extraction with them gives these very traces.
    overlap : Overlap
    """
    overlap = find_overlap(masks)
    good = (valid == 1) & np.isfinite(f_roi) & np.isfinite(f_np)
    reference_roi, reference_np = (_median(values, good) for values in (f_roi, f_np))
    loading = np.zeros((len(masks.roi_start) - 1, N_BACKGROUND), np.float32)
    rest = np.zeros(len(loading), np.float32)
    for group, factor in zip(overlap.groups, overlap.factors, strict=True):
        loading[group] = _background(f_np[:, group] - reference_np[group], good[:, group])
        lower = np.tril(factor)
        still = overlap.norm[group] * (reference_roi[group] - SOMA_HAZE * reference_np[group])
        rest[group] = nnls(lower.T, np.linalg.solve(lower, still))[0]
    masks = replace(
        masks, background_loading=loading, reference_roi_counts=reference_roi, reference_np_counts=reference_np,
        rest_counts=rest,
    )  # fmt: skip
    demixing = Demixing(masks, overlap)
    blanked = np.zeros(len(loading), np.uint8)
    for frame in range(len(f_roi)):
        demixing.process(f_roi[frame], f_np[frame], valid[frame], blanked)
    return masks, overlap


def _median(values: NDArray[np.float32], good: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Median of the good values of every column; 0 where there is none."""
    out = np.zeros(values.shape[1], np.float32)
    for k in np.flatnonzero(good.any(axis=0)):
        out[k] = np.median(values[good[:, k], k])
    return out


def _background(haze: NDArray[np.float32], good: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The two largest principal components of the rings of a group: their loadings, shape (n_cells, 2)."""
    n_cells = haze.shape[1]
    out = np.zeros((n_cells, N_BACKGROUND), np.float32)
    out[:, 0] = 1.0
    common = good.all(axis=1)
    if common.sum() < MIN_FRAMES or not np.any(haze[common]):
        return out
    together = haze[common].astype(np.float64)
    _, vectors = np.linalg.eigh(together.T @ together)
    largest = vectors[:, ::-1][:, :N_BACKGROUND]
    out[:, : largest.shape[1]] = largest * np.sqrt(n_cells)
    return out
