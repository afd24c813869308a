"""What demixing must know, from the baseline: footprints with weights where cells overlap, background, rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.sparse import csr_array

from rt_engine.interfaces.roi_mask import RoiMask
from rt_engine.pipeline.demixing import SOMA_HAZE, Demixing
from rt_engine.pipeline.masks import LARGEST_WEIGHT, N_BACKGROUND, PlaneMasks
from rt_engine.pipeline.overlap import Overlap, find_overlap

LEAST_COSINE = 0.02
"""Footprints that share less than this are read by their masks: the light of one in the other is below its noise."""
MIN_FRAMES = 20


def footprints_to_read(
    masks: list[NDArray[np.uint32]],
    weighted_pixels: list[NDArray[np.uint32]],
    weights: list[NDArray[np.uint8]],
    n_pixels: int,
) -> tuple[list[NDArray[np.uint32]], list[NDArray[np.uint8]]]:
    """Footprints with weights where cells overlap, binary masks where they do not, which are faster to read.

    Parameters
    ----------
    masks : list of uint32 ndarray
        Flat pixel indices of every cell's binary mask, ascending.
    weighted_pixels, weights : list of uint32 and uint8 ndarray
        The same cells with all their pixels, ascending, and the weight of each, 1 to 255.
    n_pixels : int
        Pixels of the field.

    Returns
    -------
    footprints : list of uint32 ndarray
    weights : list of uint8 ndarray
        All 255 in a binary mask.
    """
    start = np.concatenate([[0], np.cumsum([len(pixels) for pixels in weighted_pixels])])
    unit = [weight / np.sqrt(np.sum(weight.astype(np.float64) ** 2)) for weight in weights]
    table = csr_array(
        (np.concatenate([np.zeros(0), *unit]), np.concatenate([np.zeros(0, int), *weighted_pixels]), start),
        shape=(len(masks), n_pixels),
    )
    cosine = (table @ table.T).tocoo()
    near = (cosine.coords[0] != cosine.coords[1]) & (cosine.data > LEAST_COSINE)
    overlaps = np.zeros(len(masks), bool)
    overlaps[cosine.coords[0][near]] = True
    binary = [np.full(len(mask), LARGEST_WEIGHT, np.uint8) for mask in masks]
    return (
        [weighted_pixels[k] if overlaps[k] else masks[k] for k in range(len(masks))],
        [weights[k] if overlaps[k] else binary[k] for k in range(len(masks))],
    )


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
