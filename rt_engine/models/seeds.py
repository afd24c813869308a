"""Where active cells may be: the binned movie filtered to the size of a cell, in units of its noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

CENTRE_SIGMA = 0.25
"""Gaussian centre of the filter, in cell diameters: nearly the matched filter of a filled or ring-shaped soma."""
SURROUND_SIGMA = 0.75
ACTIVE_Z = 3.0
"""A bin counts as active above this."""
STRONG_SEED = 0.25
"""Seeds below this part of the best score have no say in the size of cells."""
_MAD_TO_SD = 0.9539
"""Median of |difference of two standard normal numbers|."""
_QUARTILE_TO_SD = 0.6745


def difference_of_gaussians(images: NDArray[np.float32], diameter_px: float) -> NDArray[np.float32]:
    """Images filtered with a Gaussian centre minus a Gaussian surround; last two axes are (y, x), pixels."""
    out = np.empty_like(images)
    for index in np.ndindex(images.shape[:-2]):
        centre = gaussian_filter(images[index], CENTRE_SIGMA * diameter_px, truncate=3.0)
        out[index] = centre - gaussian_filter(images[index], SURROUND_SIGMA * diameter_px, truncate=2.5)
    return out


def noise_sd(movie: NDArray[np.float32]) -> NDArray[np.float32]:
    """Noise of every pixel, hardly touched by activity, which only adds: the larger of two robust estimates.

    Parameters
    ----------
    movie : float32 ndarray, shape (n_bins, n_lines, n_pixels), read

    Returns
    -------
    float32 ndarray, shape (n_lines, n_pixels)
        Standard deviation; at least a thousandth of its median over pixels.

    Notes
    -----
    Differences of successive bins see the fast noise, the lower quartile's distance from the median also the slow
    fluctuations of neuropil, which would otherwise pass for activity.
    """
    return _median_and_noise(movie)[1]


def _median_and_noise(movie: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Median in time of every pixel, and its noise as `noise_sd` defines it."""
    sd = np.empty(movie.shape[1:], np.float32)
    median = np.empty(movie.shape[1:], np.float32)
    n_bins = len(movie)
    for y in range(movie.shape[1]):
        # Time contiguous: selecting an order statistic down the columns would be several times slower.
        line = np.ascontiguousarray(movie[:, y].T)
        step = np.abs(np.diff(line, axis=1))
        step.partition((n_bins - 1) // 2, axis=1)
        line.partition((n_bins // 4, n_bins // 2), axis=1)
        median[y] = line[:, n_bins // 2]
        slow = (median[y] - line[:, n_bins // 4]) / _QUARTILE_TO_SD
        sd[y] = np.maximum(step[:, (n_bins - 1) // 2] / _MAD_TO_SD, slow)
    floor = 1e-3 * float(np.median(sd))
    return median, np.maximum(sd, np.float32(floor if floor > 0.0 else 1.0))


def z_movie(movie: NDArray[np.float32], diameter_px: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Filtered movie minus its median in time, in noise standard deviations, and that standard deviation.

    Parameters
    ----------
    movie : float32 ndarray, shape (n_bins, n_lines, n_pixels), read
    diameter_px : float

    Returns
    -------
    z : float32 ndarray, shape (n_bins, n_lines, n_pixels)
    sd : float32 ndarray, shape (n_lines, n_pixels)
    """
    filtered = difference_of_gaussians(movie, diameter_px)
    median, sd = _median_and_noise(filtered)
    filtered -= median
    filtered /= sd
    return filtered, sd


def score_image(z: NDArray[np.float32]) -> NDArray[np.float32]:
    """Root of the summed squares of active bins: many weak events weigh as much as one strong one."""
    score: NDArray[np.float32] = np.sqrt(np.einsum("tyx,tyx->yx", z, np.where(z > ACTIVE_Z, z, np.float32(0.0))))
    return score


def min_score(n_bins: int) -> float:
    """Score that noise does not reach: mean plus 6 standard deviations of the summed squares of Gaussian noise.

    Per bin, with z beyond 3: mean 3 phi(3) + Q(3) = 0.0146, variance (27 + 9) phi(3) + 3 Q(3) = 0.164.
    """
    return float(np.sqrt(0.0146 * n_bins + 6.0 * np.sqrt(0.164 * n_bins)))


def best_diameter_px(movie: NDArray[np.float32], candidates_px: tuple[float, ...], n_seeds: int = 30) -> float:
    """The cell size that the strongest seeds prefer, for recordings of unknown magnification.

    Every seed, a local maximum of the best score over all sizes, votes for the size that sees it best.
    """
    scores = np.stack([score_image(z_movie(movie, diameter_px)[0]) for diameter_px in candidates_px])
    best = scores.max(axis=0)
    least = max(min_score(len(movie)), STRONG_SEED * float(best.max()))
    peak = (best == maximum_filter(best, size=int(candidates_px[-1]))) & (best > least)
    y, x = np.nonzero(peak)
    if not len(y):
        return candidates_px[len(candidates_px) // 2]
    strongest = np.argsort(-best[y, x])[:n_seeds]
    votes = np.argmax(scores[:, y[strongest], x[strongest]], axis=0)
    return candidates_px[int(np.median(votes))]


def correlation_image(movie: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean correlation of every pixel with its right, lower and both diagonal neighbours, and they with it.

    Parameters
    ----------
    movie : float32 ndarray, shape (n_bins, n_lines, n_pixels), read

    Returns
    -------
    float32 ndarray, shape (n_lines, n_pixels)
    """
    total = np.zeros(movie.shape[1:], np.float32)
    count = np.zeros(movie.shape[1:], np.float32)
    mean = movie.mean(axis=0)
    variance = np.zeros(mean.shape, np.float32)
    for image in movie:
        variance += (image - mean) ** 2
    sd: NDArray[np.float32] = np.sqrt(variance / np.float32(len(movie)))
    sd[sd <= 0.0] = np.float32(np.inf)
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (slice(0, mean.shape[0] - dy), slice(max(-dx, 0), mean.shape[1] - max(dx, 0)))
        there = (slice(dy, mean.shape[0]), slice(max(dx, 0), mean.shape[1] - max(-dx, 0)))
        covariance = np.zeros(mean[here].shape, np.float32)
        for image in movie:
            covariance += (image[here] - mean[here]) * (image[there] - mean[there])
        correlation = np.asarray(covariance / (len(movie) * sd[here] * sd[there]), np.float32)
        for part in (here, there):
            total[part] += correlation
            count[part] += 1.0
    return np.asarray(total / np.maximum(count, 1.0), np.float32)
