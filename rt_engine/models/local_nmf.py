"""Greedy discovery of cells: a seed, a rank-one non-negative fit in its window, subtraction, the next seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label

from rt_engine.models.seeds import ACTIVE_Z, difference_of_gaussians, min_score, score_image, z_movie

MIN_DISTANCE = 0.5
"""Between seeds, in diameters."""
MAX_SIMILARITY = 0.5
"""Cosine of two footprints above which the later one is what the earlier left behind (movement, saturation of the
indicator): centres 0.7 diameters apart give about 0.25."""
MIN_PEAK_Z = 4.5
N_ITERATIONS = 4
MIN_FOOTPRINT = 0.25
"""Part of the footprint's peak below which a pixel does not belong to it."""


@dataclass(slots=True)
class Candidate:
    """One component found, at the resolution of the search.

    Attributes
    ----------
    y_px, x_px : int
        Seed.
    corner : (int, int)
        Line and pixel of the window's first pixel.
    footprint : float32 ndarray, shape (n_window_lines, n_window_pixels)
        Non-negative.
    trace : float32 ndarray, shape (n_bins,)
        Non-negative.
    deflation : float32 ndarray, shape (n_window_lines, n_window_pixels)
        Regression of every pixel of the window on `full_trace`: what is taken out of the movie.
    full_trace : float32 ndarray, shape (n_bins,)
        Of both signs.
    score, peak_z : float
    """

    y_px: int
    x_px: int
    corner: tuple[int, int]
    footprint: NDArray[np.float32]
    trace: NDArray[np.float32]
    deflation: NDArray[np.float32]
    full_trace: NDArray[np.float32]
    score: float
    peak_z: float


def discover(
    movie: NDArray[np.float32], diameter_px: float, max_cells: int, progress: Callable[[float], None]
) -> list[Candidate]:
    """Components in descending order of score.

    Parameters
    ----------
    movie : float32 ndarray, shape (n_bins, n_lines, n_pixels)
        Free of haze (spatially high-passed); what is found is subtracted from it in place.
    diameter_px : float
        Expected diameter at this resolution.
    max_cells : int
    progress : callable
        Gets the fraction done.
    """
    z, filter_noise = z_movie(movie, diameter_px)
    score = score_image(z)
    least = min_score(len(movie))
    margin = max(2, round(0.25 * diameter_px))
    half = int(np.ceil(diameter_px)) + 1
    apart = max(1, round(MIN_DISTANCE * diameter_px))
    border = np.zeros(score.shape, bool)
    border[margin:-margin, margin:-margin] = True
    score[~border] = 0.0
    found: list[Candidate] = []
    first_score = max(float(score.max()), least)
    for _ in range(4 * max_cells):
        y, x = np.unravel_index(int(np.argmax(score)), score.shape)
        if score[y, x] < least or len(found) >= max_cells:
            break
        progress(min(1.0, np.log(first_score / float(score[y, x])) / np.log(first_score / least + 1e-9)))
        candidate = _fit(movie, z, score, int(y), int(x), half)
        if candidate is None:
            score[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = 0.0
            border[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = False
            continue
        if not any(_similarity(candidate, other) > MAX_SIMILARITY for other in found):
            found.append(candidate)
        _subtract(movie, z, filter_noise, candidate, diameter_px)
        outer = _window(score.shape, candidate.y_px, candidate.x_px, 2 * half)
        score[outer] = np.where(border[outer], score_image(z[:, outer[0], outer[1]]), 0.0)
        here = _window(score.shape, candidate.y_px, candidate.x_px, apart)
        border[here] = False
        score[here] = 0.0
    progress(1.0)
    return found


def _window(shape: tuple[int, ...], y: int, x: int, half: int) -> tuple[slice, slice]:
    return (
        slice(max(y - half, 0), min(y + half + 1, shape[-2])),
        slice(max(x - half, 0), min(x + half + 1, shape[-1])),
    )


def _fit(
    movie: NDArray[np.float32], z: NDArray[np.float32], score: NDArray[np.float32], y: int, x: int, half: int
) -> Candidate | None:
    """Alternate footprint and trace, both non-negative, from the active bins of the seed; None if nothing is left."""
    rows, columns = _window(score.shape, y, x, half)
    seed_z = z[:, y, x]
    peak_z = float(seed_z.max())
    if peak_z < MIN_PEAK_Z:
        return None
    local = np.ascontiguousarray(movie[:, rows, columns]).reshape(len(movie), -1)
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    seed = (y - rows.start, x - columns.start)
    trace = np.where(seed_z > ACTIVE_Z, seed_z, np.float32(0.0))
    footprint = np.zeros(shape, np.float32)
    for _ in range(N_ITERATIONS):
        weight = float(trace @ trace)
        if weight <= 0.0:
            return None
        footprint = connected_footprint((trace @ local / weight).reshape(shape), seed)
        flat = footprint.ravel()
        energy = float(flat @ flat)
        if energy <= 0.0:
            return None
        full = local @ flat / energy
        full -= np.median(full)
        sd = float(np.median(np.abs(np.diff(full)))) / 0.9539
        trace = np.where(full > 2.0 * sd, full, np.float32(0.0)).astype(np.float32)
    if not trace.any():
        return None
    deflation = (full @ local / float(full @ full)).reshape(shape)
    return Candidate(
        y, x, (rows.start, columns.start), footprint, trace, deflation, full, float(score[y, x]), peak_z
    )  # fmt: skip


def connected_footprint(image: NDArray[np.float32], seed: tuple[int, int]) -> NDArray[np.float32]:
    """Non-negative part of an image that is connected with the place of the seed, after a light smoothing."""
    smooth = gaussian_filter(image, 0.7)
    lines, pixels = image.shape
    near = smooth[max(seed[0] - 2, 0) : seed[0] + 3, max(seed[1] - 2, 0) : seed[1] + 3]
    peak = float(np.percentile(smooth[smooth > 0.0], 97)) if np.any(smooth > 0.0) else 0.0
    level = MIN_FOOTPRINT * max(float(near.max()), min(peak, 2.0 * float(near.max())))
    labels, _ = label(smooth > max(level, 0.0))
    around = labels[
        max(seed[0] - 2, 0) : min(seed[0] + 3, lines), max(seed[1] - 2, 0) : min(seed[1] + 3, pixels)
    ]  # fmt: skip
    inside = np.unique(around[around > 0])
    if not len(inside):
        return np.zeros_like(image)
    return np.where(np.isin(labels, inside), np.maximum(image, np.float32(0.0)), np.float32(0.0))


def _similarity(one: Candidate, other: Candidate) -> float:
    """Cosine of two footprints in the field."""
    reach = max(one.footprint.shape)
    if abs(one.y_px - other.y_px) > reach or abs(one.x_px - other.x_px) > reach:
        return 0.0
    first = np.maximum(one.corner, other.corner)
    end = np.minimum(
        np.add(one.corner, one.footprint.shape), np.add(other.corner, other.footprint.shape)
    )  # fmt: skip
    if np.any(end <= first):
        return 0.0
    parts = [
        c.footprint[first[0] - c.corner[0] : end[0] - c.corner[0], first[1] - c.corner[1] : end[1] - c.corner[1]]
        for c in (one, other)
    ]
    norm = float(np.linalg.norm(one.footprint) * np.linalg.norm(other.footprint))
    return float(np.sum(parts[0] * parts[1])) / norm


def _subtract(
    movie: NDArray[np.float32],
    z: NDArray[np.float32],
    filter_noise: NDArray[np.float32],
    candidate: Candidate,
    diameter_px: float,
) -> None:
    """Take all that follows a component's trace out of its window, and out of the z movie around it.

    Taking out the footprint alone would leave rims that come back as cells of their own.
    """
    lines, pixels = candidate.footprint.shape
    top, left = candidate.corner
    movie[:, top : top + lines, left : left + pixels] -= candidate.full_trace[:, None, None] * candidate.deflation
    pad = int(np.ceil(diameter_px))
    y0, x0 = max(top - pad, 0), max(left - pad, 0)
    y1, x1 = min(top + lines + pad, z.shape[1]), min(left + pixels + pad, z.shape[2])
    image = np.zeros((y1 - y0, x1 - x0), np.float32)
    image[top - y0 : top - y0 + lines, left - x0 : left - x0 + pixels] = candidate.deflation
    filtered = difference_of_gaussians(image, diameter_px) / filter_noise[y0:y1, x0:x1]
    z[:, y0:y1, x0:x1] -= candidate.full_trace[:, None, None] * filtered
