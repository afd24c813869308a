"""Find active cells in a registered, time-binned movie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, gaussian_filter, uniform_filter

from rt_engine.models.footprints import best_binary_mask, refine_footprints, separate
from rt_engine.models.local_nmf import Candidate, discover
from rt_engine.models.seeds import best_diameter_px, correlation_image, noise_sd

SOMA_UM = 12.0
"""Diameter looked for when the pixel size is known."""
CANDIDATE_DIAMETERS_PX = (6.0, 8.5, 12.0, 17.0)
"""Diameters tried when it is not."""
POOLING_DIAMETER_PX = 10.0
"""From this diameter on the search runs on pixels pooled two by two."""
MAX_CELLS = 2000
MIN_AREA, MAX_AREA = 0.35, 3.0
"""Limits of a cell's area, relative to a disc of the expected diameter."""
MIN_QUALITY = 0.38
MIN_SHAPE_BRIGHT = 0.3
SHAPE_PER_SCORE, SCORE_WITHOUT_SHAPE = 0.03, 5.0
"""A component must look like a soma the more clearly the more it stands out of the noise, which blurs dim ones: its
shape (see `_shape`) must reach 0.03 for every unit of score above 5, up to 0.3."""
_BOX_SD = 2 * (2.0 / 12.0) ** 0.5
"""Half width of two boxes in a row, in standard deviations of the bell they make: width = SD sqrt(12 / 2)."""
MERGE_OVERLAP, MERGE_CORRELATION = 0.4, 0.7
"""Masks that share this part of the smaller one and whose traces correlate so are one cell ..."""
DUPLICATE_OVERLAP = 0.75
"""... and those that share this part are, whatever their traces."""


@dataclass(frozen=True, slots=True, eq=False)
class FoundCells:
    """Result of `find_cells`.

    Attributes
    ----------
    footprints : list of uint32 ndarray
        Flat pixel indices of each cell, ascending; best cell first.
    quality : float32 ndarray, shape (n_cells,)
        0 to 1.
    correlation_image : float32 ndarray, shape (n_lines, n_pixels)
    diameter_px : float
        Expected diameter that was used.
    """

    footprints: list[NDArray[np.uint32]]
    quality: NDArray[np.float32]
    correlation_image: NDArray[np.float32]
    diameter_px: float


def find_cells(
    movie: NDArray[np.float32],
    *,
    um_per_px: float | None,
    progress: Callable[[float], None],
    max_cells: int = MAX_CELLS,
) -> FoundCells:
    """Cells that were active.

    Parameters
    ----------
    movie : float32 ndarray, shape (n_bins, n_lines, n_pixels), C order, counts
        Registered and binned in time to about the decay of the indicator; overwritten (high-passed).
    um_per_px : float or None
        Pixel size; None lets the data choose the cell size.
    progress : callable
        Gets the fraction done.
    max_cells : int

    Notes
    -----
    Greedy rank-one non-negative factorisation in local windows (Pnevmatikakis et al. 2016, Neuron, Methods, greedy
    initialisation), seeded where the movie, filtered to the size of a cell and in units of its noise, has most energy
    in bins above 3 standard deviations; footprints are then refined together at full resolution (HALS). We differ in
    the seed score, which lets rare strong and frequent weak events compete, and in ending with binary masks.
    """
    _remove_haze(movie, _haze_px(um_per_px))
    progress(0.2)
    local_correlation = correlation_image(movie)
    progress(0.3)
    diameter_px = _diameter_px(movie, um_per_px)
    progress(0.35)
    pool = 2 if diameter_px >= POOLING_DIAMETER_PX else 1
    small = _pooled(movie, pool)
    candidates = discover(small, diameter_px / pool, max_cells, lambda done: progress(0.35 + 0.5 * done))
    masks, quality = _masks(movie, candidates, diameter_px, pool)
    progress(1.0)
    return FoundCells(masks, quality, local_correlation, diameter_px)


def _haze_px(um_per_px: float | None) -> float:
    """Scale of the local mean that is subtracted: wider than a cell, narrower than neuropil correlations."""
    return (1.5 * SOMA_UM / um_per_px) if um_per_px else 1.5 * CANDIDATE_DIAMETERS_PX[-1]


def _remove_haze(movie: NDArray[np.float32], scale_px: float) -> None:
    """Subtract the mean over time and a wide local mean of every image, in place."""
    movie -= movie.mean(axis=0)
    width = 2 * round(scale_px / _BOX_SD) + 1
    for image in movie:
        image -= uniform_filter(uniform_filter(image, width), width)


def _pooled(movie: NDArray[np.float32], pool: int) -> NDArray[np.float32]:
    if pool == 1:
        return movie.copy()
    lines, pixels = movie.shape[1] // pool * pool, movie.shape[2] // pool * pool
    out = np.empty((len(movie), lines // pool, pixels // pool), np.float32)
    for index, image in enumerate(movie):
        out[index] = image[:lines, :pixels].reshape(lines // pool, pool, pixels // pool, pool).mean(axis=(1, 3))
    return out


def _diameter_px(movie: NDArray[np.float32], um_per_px: float | None) -> float:
    if um_per_px:
        return max(SOMA_UM / um_per_px, 3.0)
    few = movie[:: max(1, len(movie) // 150)]
    return best_diameter_px(few, tuple(d for d in CANDIDATE_DIAMETERS_PX if d < min(movie.shape[1:]) / 4))


def _masks(
    movie: NDArray[np.float32], candidates: list[Candidate], diameter_px: float, pool: int
) -> tuple[list[NDArray[np.uint32]], NDArray[np.float32]]:
    """Binary masks and qualities of the candidates that look like cells, best first."""
    if not candidates:
        return [], np.zeros(0, np.float32)
    traces = np.stack([candidate.trace for candidate in candidates])
    centres = np.array([_centre_yx_px(candidate, pool) for candidate in candidates], np.int64)
    half = int(np.ceil(0.9 * diameter_px)) + 1
    footprints, corners = refine_footprints(movie, traces, centres, half)
    noise = noise_sd(movie)
    disc = np.pi / 4.0 * diameter_px**2
    kept: list[tuple[NDArray[np.uint32], float, int]] = []
    for k, (y, x) in enumerate(corners):
        local_noise = noise[y : y + footprints.shape[1], x : x + footprints.shape[2]]
        centre = (float(centres[k, 0] - y), float(centres[k, 1] - x))
        mask = best_binary_mask(footprints[k], local_noise, centre, 0.9 * diameter_px)
        if not MIN_AREA * disc <= mask.sum() <= MAX_AREA * disc:
            continue
        rows, columns = np.nonzero(mask)
        flat = ((rows + y) * movie.shape[2] + columns + x).astype(np.uint32)
        shape = _shape(footprints[k], mask)
        least = SHAPE_PER_SCORE * (candidates[k].score - SCORE_WITHOUT_SHAPE)
        quality = float(np.sqrt(shape * (1.0 - np.exp(-candidates[k].peak_z / 8.0))))
        if quality >= MIN_QUALITY and shape >= min(least, MIN_SHAPE_BRIGHT):
            kept.append((flat, quality, k))
    kept = _without_duplicates(sorted(kept, key=lambda item: -item[1]), traces)
    masks = separate([item[0] for item in kept], movie.shape[1] * movie.shape[2])
    return masks, np.array([item[1] for item in kept], np.float32)


def _centre_yx_px(candidate: Candidate, pool: int) -> tuple[int, int]:
    """Centre of mass of a footprint at full resolution; the seed of a ring may lie on its rim."""
    y, x = np.indices(candidate.footprint.shape)
    weight = candidate.footprint / candidate.footprint.sum()
    return (
        int(np.floor((candidate.corner[0] + float((y * weight).sum()) + 0.5) * pool)),
        int(np.floor((candidate.corner[1] + float((x * weight).sum()) + 0.5) * pool)),
    )


def _shape(footprint: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """How much a footprint is like a soma, 0 to 1: round, compact, and standing out of its window.

    Roundness is the area over that of the disc with the same second moment (1 for a disc, holes filled).
    """
    smooth = gaussian_filter(footprint, 0.8)
    y, x = np.nonzero(binary_fill_holes(mask))
    roundness = min(1.0, len(y) / (2.0 * np.pi * (y.var() + x.var() + 1.0 / 6.0)))
    outside = float(smooth[~mask].mean()) if not mask.all() else 0.0
    contrast = max(0.0, 1.0 - outside / float(smooth[mask].mean()))
    compact = float(footprint[mask].sum()) / float(footprint.sum())
    return float(roundness**2 * contrast * compact)


def _without_duplicates(
    kept: list[tuple[NDArray[np.uint32], float, int]], traces: NDArray[np.float32]
) -> list[tuple[NDArray[np.uint32], float, int]]:
    """Of two masks that cover each other, nearly whole or firing together, only the better (first) stays."""
    out: list[tuple[NDArray[np.uint32], float, int]] = []
    owners: dict[int, list[int]] = {}
    for flat, quality, k in kept:
        shared = np.zeros(len(out), np.int64)
        for pixel in flat.tolist():
            for owner in owners.get(pixel, ()):
                shared[owner] += 1
        if any(_same_cell(flat, k, *out[j][::2], int(shared[j]), traces) for j in np.flatnonzero(shared)):
            continue
        for pixel in flat.tolist():
            owners.setdefault(pixel, []).append(len(out))
        out.append((flat, quality, k))
    return out


def _same_cell(
    mine: NDArray[np.uint32], my_trace: int, theirs: NDArray[np.uint32], their_trace: int, shared: int,
    traces: NDArray[np.float32],
) -> bool:  # fmt: skip
    overlap = shared / min(len(mine), len(theirs))
    if overlap > DUPLICATE_OVERLAP:
        return True
    together = float(np.corrcoef(traces[my_trace], traces[their_trace])[0, 1])
    return overlap > MERGE_OVERLAP and together > MERGE_CORRELATION
