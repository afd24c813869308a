"""Rows of the pixel benchmark: planted cells that the search finds, and how well."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment

from rt_engine.bench.rounds import Row, Spread
from rt_engine.models.cells import FoundCells, find_cells

SIZE_PX, UM_PER_PX, N_BINS, BIN_FRAMES, RATE_HZ, TAU_S = 512, 0.8, 375, 8, 30.0, 0.1
GAIN_COUNTS, OFFSET_COUNTS, BACKGROUND_PHOTONS = 40.0, 100.0, 0.5
RADIUS_PX = 7.5
SAME_CELL = 0.5
"""Correlation of mask and planted footprint from which a cell counts as found."""
MIN_A_OVER_SIGMA, MIN_SPIKES = 4.0, 5


class Planted(NamedTuple):
    """``movie`` : float32 ndarray, shape (N_BINS, 512, 512), counts; ``footprints`` : list of (flat pixels, weights);
    ``a_over_sigma``, ``n_spikes`` : ndarray, shape (n_cells,).
    """

    movie: NDArray[np.float32]
    footprints: list[tuple[NDArray[np.int64], NDArray[np.float64]]]
    a_over_sigma: NDArray[np.float64]
    n_spikes: NDArray[np.int64]


def cells_rows(n_rounds: int) -> list[Row]:
    """F1 and footprint correlation of one field of 200 and one of 1,000 cells; `n_rounds` is not used."""
    rows = []
    for n_cells, seed in ((200, 11), (1000, 12)):
        planted = planted_movie(n_cells, seed)
        found = find_cells(planted.movie, um_per_px=UM_PER_PX, progress=lambda done: None)
        f1, correlation = score(found, planted)
        rows.append(Row(f"cells found of {n_cells}, F1", "", Spread(f1, f1, f1), (">=", 0.85)))
        alike = Spread(correlation, correlation, correlation)
        rows.append(Row(f"cells found of {n_cells}, footprint correlation", "", alike, (">=", 0.8)))
    return rows


def planted_movie(n_cells: int, seed: int) -> Planted:
    """Rings of indicator at random places on haze that fluctuates, 3,000 frames in bins of 8, photon noise."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((21, 21)) - 10
    distance = np.hypot(y, x)
    ring = (1 / (1 + np.exp((distance - RADIUS_PX) / 0.7))) * np.where(distance < 0.55 * RADIUS_PX, 0.25, 1.0)
    centres = _apart(n_cells, rng)
    a_over_sigma = np.exp(rng.normal(np.log(4.0), 0.5, n_cells))
    amplitude = 0.6
    # A / sigma of the mean over n pixels of F photons each is A sqrt(n F).
    photons = (a_over_sigma / amplitude) ** 2 / ring.sum()
    rate_hz = np.exp(rng.uniform(np.log(0.05), np.log(2.0), n_cells))
    n_frames = N_BINS * BIN_FRAMES
    spikes = rng.random((n_cells, n_frames)) < rate_hz[:, None] / RATE_HZ
    traces = np.zeros((n_cells, n_frames))
    keep, calcium = np.exp(-1 / (TAU_S * RATE_HZ)), np.zeros(n_cells)
    for frame in range(n_frames):
        calcium = keep * calcium + amplitude * spikes[:, frame]
        traces[:, frame] = calcium
    binned = traces.reshape(n_cells, N_BINS, BIN_FRAMES).mean(axis=2)
    texture = np.clip(1 + 0.25 * rng.standard_normal((SIZE_PX, SIZE_PX)), 0.2, None)
    haze = BACKGROUND_PHOTONS * gaussian_filter(texture, 1.5)
    movie = np.empty((N_BINS, SIZE_PX, SIZE_PX), np.float32)
    slow = [np.kron(rng.standard_normal((4, 4)), np.ones((SIZE_PX // 4, SIZE_PX // 4))) for _ in range(2)]
    waves = [gaussian_filter(image, 60.0) for image in slow]
    for index in range(N_BINS):
        image = haze * (1 + 0.3 * sum(wave * np.sin(index / (5.0 + k)) for k, wave in enumerate(waves)))
        for (cy, cx), light, trace in zip(centres, photons, binned[:, index], strict=True):
            image[cy - 10 : cy + 11, cx - 10 : cx + 11] += light * (1 + trace) * ring
        counted = rng.poisson(np.maximum(image, 0.0) * BIN_FRAMES) / BIN_FRAMES
        movie[index] = GAIN_COUNTS * counted + OFFSET_COUNTS
    inside = ring > 0.02
    footprints = [((cy + y[inside]) * SIZE_PX + cx + x[inside], ring[inside]) for cy, cx in centres]
    return Planted(movie, footprints, a_over_sigma, spikes.sum(axis=1))


def score(found: FoundCells, planted: Planted) -> tuple[float, float]:
    """F1 of the cells that must be found, and the median correlation of weighted footprints of all that are found.

    Dim planted cells that are found are no error; found cells that were never planted are.
    """
    similarity = np.zeros((len(found.footprints), len(planted.footprints)))
    weighted = np.zeros_like(similarity)
    truth = np.zeros(SIZE_PX**2)
    for k, (pixels, weights) in enumerate(planted.footprints):
        truth[pixels] = weights
        for i, mask in enumerate(found.footprints):
            if truth[mask].any():
                similarity[i, k] = _correlation(truth, mask, np.ones(len(mask)), weights)
                own = found.weighted_pixels[i]
                weighted[i, k] = _correlation(truth, own, found.weights[i].astype(np.float64), weights)
        truth[pixels] = 0.0
    rows, columns = linear_sum_assignment(-similarity)
    hit = similarity[rows, columns] >= SAME_CELL
    is_found = np.zeros(len(planted.footprints), np.bool_)
    is_found[columns[hit]] = True
    must = (planted.a_over_sigma >= MIN_A_OVER_SIGMA) & (planted.n_spikes >= MIN_SPIKES)
    n_false = len(found.footprints) - int(hit.sum())
    n_right, n_missed = int((must & is_found).sum()), int((must & ~is_found).sum())
    return 2 * n_right / (2 * n_right + n_missed + n_false), float(np.median(weighted[rows[hit], columns[hit]]))


def _correlation(
    truth: NDArray[np.float64],
    pixels: NDArray[np.uint32],
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> float:
    """Pearson correlation over all pixels of the field."""
    n = len(truth)
    mean_one, mean_other = values.sum() / n, weights.sum() / n
    together = float(truth[pixels] @ values) / n - mean_one * mean_other
    variances = (values @ values / n - mean_one**2) * (weights @ weights / n - mean_other**2)
    return float(together / np.sqrt(variances))


def _apart(n_cells: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Centres at least 11 px from each other."""
    centres: list[NDArray[np.int64]] = []
    while len(centres) < n_cells:
        one = rng.integers(12, SIZE_PX - 12, 2)
        if all(np.hypot(*(one - other)) >= 11 for other in centres):
            centres.append(one)
    return np.array(centres)
