"""Find active cells in a registered, time-binned movie: constrained non-negative factorisation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from rt_engine.models.cnmf import (
    Components,
    components_from_traces,
    update_background,
    update_footprints,
    update_traces,
)
from rt_engine.models.component_quality import NOTHING, QUALITY_NUMBERS, ComponentQuality, Dropped, component_quality
from rt_engine.models.footprints import best_binary_mask, separate
from rt_engine.models.local_nmf import Candidate, discover
from rt_engine.models.merging import merge_components
from rt_engine.models.regional_background import RegionalBackground
from rt_engine.models.seeds import best_diameter_px, correlation_image, noise_sd

SOMA_UM = 12.0
"""Diameter looked for when the pixel size is known."""
CANDIDATE_DIAMETERS_PX = (6.0, 8.5, 12.0, 17.0)
"""Diameters tried when it is not."""
POOLING_DIAMETER_PX = 10.0
"""From this diameter on the search runs on pixels pooled two by two."""
REGION_DIAMETERS = 4.0
"""Spacing of the background's regions, in cell diameters: wider than a cell, narrower than neuropil is correlated."""
MAX_CELLS = 2000
MAX_RADIUS = 0.9
"""Pixels farther from the centre than this many diameters belong to another cell."""
N_ROUNDS = 2
"""Rounds of footprints, traces, background and merging; more change next to nothing."""
NOISE_BINS = 125
"""Bins from which the noise of a pixel is taken for the masks."""
WEIGHT_SMOOTHING_PX = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class FoundCells:
    """Result of `find_cells`.

    Attributes
    ----------
    footprints : list of uint32 ndarray
        Flat pixel indices of each cell's binary mask, ascending, pixels that two cells share given up; best cell first.
    weighted_pixels : list of uint32 ndarray
        The same cells, shared pixels kept: flat indices, ascending.
    weights : list of uint8 ndarray
        Relative light of the cell in each of these pixels, 1 to 255.
    quality : float32 ndarray, shape (n_cells,)
        0 to 1.
    quality_numbers : float32 ndarray, shape (n_cells, 5)
        Columns as `QUALITY_NUMBERS`.
    correlation_image : float32 ndarray, shape (n_lines, n_pixels)
    diameter_px : float
        Expected diameter that was used.
    n_candidates : int
        Components that were judged or merged.
    n_merged : int
        Components that went into another one.
    dropped : dict
        How many were dropped for which reason.
    """

    footprints: list[NDArray[np.uint32]]
    weighted_pixels: list[NDArray[np.uint32]]
    weights: list[NDArray[np.uint8]]
    quality: NDArray[np.float32]
    quality_numbers: NDArray[np.float32]
    correlation_image: NDArray[np.float32]
    diameter_px: float
    n_candidates: int = 0
    n_merged: int = 0
    dropped: dict[Dropped, int] = field(default_factory=dict)

    def summary(self) -> str:
        """One line for people: how many cells, and what became of the other candidates."""
        parts = [f"{count} {reason}" for reason, count in sorted(self.dropped.items(), key=lambda item: -item[1])]
        if self.n_merged:
            parts.insert(0, f"{self.n_merged} merged into another")
        rest = f" (of {self.n_candidates} candidates: {'; '.join(parts)})" if parts else ""
        return f"{len(self.footprints)} cells{rest}"


def find_cells(
    movie: NDArray[np.float32],
    *,
    um_per_px: float | None,
    progress: Callable[[float], None],
    first: Callable[[FoundCells], None] = lambda cells: None,
    max_cells: int = MAX_CELLS,
) -> FoundCells:
    """Cells that were active.

    Parameters
    ----------
    movie : float32 ndarray, shape (n_bins, n_lines, n_pixels), C order, counts
        Registered and binned in time to about the decay of the indicator; overwritten (mean and background taken out).
    um_per_px : float or None
        Pixel size; None lets the data choose the cell size.
    progress : callable
        Gets the fraction done.
    first : callable
        Gets the cells as they are after one round, judged as the final ones are: masks that can already be used.
    max_cells : int

    Notes
    -----
    Model ``Y = A C + B f + noise``, footprints A, traces C and background weights B non-negative (Pnevmatikakis et al.
    2016, Neuron 89:285). Start: greedy rank-one fits in local windows, seeded where the movie, filtered to the size of
    a cell and in units of its noise, has most energy in bins above 3 standard deviations. Then spatial and temporal
    HALS and the background in turn, merging, and limits on the numbers of `ComponentQuality`. We differ in the
    background (weights per pixel times blended regions), in the seed score, which lets rare strong and frequent weak
    events compete, and in the traces, which are silent but for bins above 2 noise SD.
    """
    shape = (movie.shape[1], movie.shape[2])
    mean = movie.mean(axis=0)
    movie -= mean
    background = first_background(movie, mean, um_per_px)
    progress(0.15)
    local_correlation = correlation_image(movie)
    progress(0.2)
    diameter_px = _diameter_px(movie, um_per_px)
    progress(0.25)
    pool = 2 if diameter_px >= POOLING_DIAMETER_PX else 1
    found = discover(_pooled(movie, pool), diameter_px / pool, max_cells, lambda done: progress(0.25 + 0.45 * done))
    if not found:
        return FoundCells([], [], [], *_no_numbers(), local_correlation, diameter_px)
    centres = np.array([_centre_yx_px(candidate, pool) for candidate in found], np.int64)
    traces = np.stack([candidate.trace for candidate in found])
    cells = components_from_traces(shape, traces, centres, int(np.ceil(MAX_RADIUS * diameter_px)) + 1)
    del found
    noise = gaussian_filter(noise_sd(movie[:: max(1, len(movie) // NOISE_BINS)]), 0.5 * diameter_px)
    n_candidates = len(cells)
    for done in range(N_ROUNDS):
        update_footprints(movie, cells, centres)
        update_traces(movie, cells)
        if done == 0:
            first(judged(movie, cells, noise, diameter_px, local_correlation, n_candidates))
        cells, centres = merge_components(cells, centres, diameter_px)
        update_background(movie, cells, background)
        progress(0.7 + 0.2 * (done + 1) / N_ROUNDS)
    update_footprints(movie, cells, centres)
    update_traces(movie, cells)
    out = judged(movie, cells, noise, diameter_px, local_correlation, n_candidates)
    progress(1.0)
    return out


def _no_numbers() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return np.zeros(0, np.float32), np.zeros((0, len(QUALITY_NUMBERS)), np.float32)


def first_background(
    movie: NDArray[np.float32], mean: NDArray[np.float32], um_per_px: float | None
) -> RegionalBackground:
    """Fit the background before any cell is known, and take it out of the movie."""
    diameter_px = SOMA_UM / um_per_px if um_per_px else CANDIDATE_DIAMETERS_PX[0]
    background = RegionalBackground((mean.shape[0], mean.shape[1]), REGION_DIAMETERS * diameter_px)
    dark = mean - np.percentile(mean, 0.1)
    background.set_weight(dark / max(float(dark.mean()), 1e-12))
    for _ in range(2):
        background.fit_traces(movie)
        background.fit_weight(movie)
    background.remove_from(movie)
    return background


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


def _centre_yx_px(candidate: Candidate, pool: int) -> tuple[int, int]:
    """Centre of mass of a footprint at full resolution; the seed of a ring may lie on its rim."""
    y, x = np.indices(candidate.footprint.shape)
    weight = candidate.footprint / candidate.footprint.sum()
    return (
        int(np.floor((candidate.corner[0] + float((y * weight).sum()) + 0.5) * pool)),
        int(np.floor((candidate.corner[1] + float((x * weight).sum()) + 0.5) * pool)),
    )


def judged(
    movie: NDArray[np.float32],
    cells: Components,
    noise: NDArray[np.float32],
    diameter_px: float,
    local_correlation: NDArray[np.float32],
    n_candidates: int,
    first: int = 0,
) -> FoundCells:
    """Components that are cells, best first, as binary masks and as weighted footprints; those before `first` are not
    looked at.
    """
    dropped: Counter[Dropped] = Counter()
    kept: list[tuple[float, int, NDArray[np.bool_], ComponentQuality]] = []
    for k in range(first, len(cells)):
        mask = _binary_mask(cells, k, noise, diameter_px)
        numbers = component_quality(movie, cells, k, mask, diameter_px) if mask.any() else NOTHING
        reason = numbers.dropped(len(movie))
        if reason is not None:
            dropped[reason] += 1
        else:
            kept.append((numbers.overall(len(movie)), k, mask, numbers))
    kept.sort(key=lambda item: (-item[0], item[1]))
    n_pixels = movie.shape[2]
    binary = [_flat(mask, cells.corners[k], n_pixels) for _, k, mask, _ in kept]
    weighted = [_weighted_footprint(cells, k, mask, n_pixels) for _, k, mask, _ in kept]
    numbers_of_all = [[getattr(numbers, name) for name in QUALITY_NUMBERS] for *_, numbers in kept]
    return FoundCells(
        footprints=separate(binary, movie.shape[1] * n_pixels),
        weighted_pixels=[pixels for pixels, _ in weighted],
        weights=[weights for _, weights in weighted],
        quality=np.array([item[0] for item in kept], np.float32),
        quality_numbers=np.array(numbers_of_all, np.float32).reshape(-1, len(QUALITY_NUMBERS)),
        correlation_image=local_correlation,
        diameter_px=diameter_px,
        n_candidates=n_candidates,
        n_merged=n_candidates - len(cells),
        dropped=dict(dropped),
    )


def _binary_mask(cells: Components, k: int, noise: NDArray[np.float32], diameter_px: float) -> NDArray[np.bool_]:
    footprint = cells.footprints[k]
    light = float(footprint.sum())
    if light <= 0.0:
        return np.zeros(footprint.shape, bool)
    (y, x), (rows, columns) = cells.corners[k], np.indices(footprint.shape)
    centre = float((footprint * rows).sum()) / light, float((footprint * columns).sum()) / light
    local_noise = noise[y : y + footprint.shape[0], x : x + footprint.shape[1]]
    return best_binary_mask(footprint, local_noise, centre, MAX_RADIUS * diameter_px)


def _flat(mask: NDArray[np.bool_], corner: NDArray[np.int64], pixels_per_line: int) -> NDArray[np.uint32]:
    rows, columns = np.nonzero(mask)
    flat: NDArray[np.uint32] = ((rows + corner[0]) * pixels_per_line + columns + corner[1]).astype(np.uint32)
    return flat


def _weighted_footprint(
    cells: Components, k: int, mask: NDArray[np.bool_], pixels_per_line: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    smooth = gaussian_filter(cells.footprints[k], WEIGHT_SMOOTHING_PX)
    relative = smooth / float(smooth.max())
    inside = (cells.footprints[k] > 0.0) | mask
    weights = np.clip(np.round(255.0 * relative[inside]), 1, 255).astype(np.uint8)
    return _flat(inside, cells.corners[k], pixels_per_line), weights
