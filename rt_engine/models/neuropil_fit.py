"""How much of the neuropil around a cell is seen in its footprint: the coefficient r of every cell, with its error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, truncnorm

FloatArray = NDArray[np.float64]

PRIOR_MEAN, PRIOR_SD = 0.7, 0.15
MIN_RING_PIXELS = 50
"""A smaller ring says nothing: r is the prior's."""
MIN_FRAMES = 100
UPPER_SD, LOWER_SD = 1.0, -3.0
"""Residuals between these are the envelope; activity only lifts them, so little of it is allowed above."""
N_ROUNDS, N_INNER = 25, 6
STEP_ENOUGH = 2e-4
BLOCK_S = 2.0
"""Residuals of one block may depend on each other when the error is estimated."""
MODEL_SD = 0.03
"""What the estimate is wrong by with perfect data: activity too small to be told from noise."""
SMALLEST_RELIABILITY = 0.2
"""Part of the ring's variance that must be neuropil and not noise; below it r is the prior's."""
_KEPT_MEAN = float(truncnorm.mean(LOWER_SD, UPPER_SD))
_KEPT_SD = float(truncnorm.std(LOWER_SD, UPPER_SD))
_KEPT_PART = float(norm.cdf(UPPER_SD) - norm.cdf(LOWER_SD))
_TRIMMING = _KEPT_PART / (
    _KEPT_PART - norm.pdf(UPPER_SD) * (UPPER_SD - _KEPT_MEAN) + norm.pdf(LOWER_SD) * (LOWER_SD - _KEPT_MEAN)
)
"""A frame that a change of the slope moves over the limits is lost: the error is so many times that of plain least
squares on the frames kept (asymptotic variance of an estimator with influence e - E e between the limits)."""


class NeuropilFit(NamedTuple):
    """Coefficients of all cells.

    Attributes
    ----------
    coefficient, standard_error : float64 ndarray, shape (n_rois,)
        After shrinkage to the prior; the bound against a negative baseline is applied later.
    raw, raw_error : float64 ndarray, shape (n_rois,)
        The estimate alone; NaN where there is none.
    from_prior : bool ndarray, shape (n_rois,)
        The ring says nothing about this cell.
    correlation : float64 ndarray, shape (n_rois,)
        Between ring and footprint, for quality control.
    """

    coefficient: FloatArray
    standard_error: FloatArray
    raw: FloatArray
    raw_error: FloatArray
    from_prior: NDArray[np.bool_]
    correlation: FloatArray


def fit_neuropil(
    f_roi: NDArray[np.float32],
    f_np: NDArray[np.float32],
    good: NDArray[np.bool_],
    ring_pixels: NDArray[np.int64],
    frame_rate_hz: float,
    prior_mean: float = PRIOR_MEAN,
) -> NeuropilFit:
    """Neuropil coefficient of every cell from a recording in which cells and neuropil may be driven together.

    Parameters
    ----------
    f_roi, f_np : float32 ndarray, shape (n_frames, n_rois), counts, read
    good : bool ndarray, shape (n_frames, n_rois), read
        False where a sample is missing, censored or moved.
    ring_pixels : int64 ndarray, shape (n_rois,), read
    frame_rate_hz : float
    prior_mean : float
        The prior is N(prior_mean, 0.15^2).

    Notes
    -----
    Plain regression is wrong because calcium rises with the neuropil. Activity only adds light, so the line is fitted
    to the lower envelope: repeatedly, frames whose residual lies between -3 and +1 standard deviations of the noise,
    both known from the frames kept (mean and spread of a truncated normal). Noise of the ring flattens the line; its
    variance, from the structure function at lags 1 and 2, is taken out. The error is that of residuals which may
    depend on each other within 2 s, plus 0.03 for what the model leaves out.
    """
    y = np.where(good, f_roi, 0.0).astype(np.float64)
    x = np.where(good, f_np, 0.0).astype(np.float64)
    n_good = good.sum(axis=0)
    count = np.maximum(n_good, 1)
    y = np.where(good, y - y.sum(axis=0) / count, 0.0)
    x = np.where(good, x - x.sum(axis=0) / count, 0.0)
    variance_x, variance_y = (x * x).sum(axis=0) / count, (y * y).sum(axis=0) / count
    covariance = (x * y).sum(axis=0) / count
    usable = (n_good >= MIN_FRAMES) & (ring_pixels >= MIN_RING_PIXELS) & (variance_x > 0) & (variance_y > 0)
    slope, kept, residual = _envelope(y, x, good, np.where(usable, covariance / _positive(variance_x), 0.0))
    n_kept = np.maximum(kept.sum(axis=0), 1)
    centred = np.where(kept, x - np.where(kept, x, 0.0).sum(axis=0) / n_kept, 0.0)
    spread = (centred * centred).sum(axis=0) / n_kept
    reliability = 1.0 - noise_variance(x, good) / _positive(spread)
    usable &= (reliability >= SMALLEST_RELIABILITY) & (n_kept >= MIN_FRAMES // 2)
    factor = 1.0 / np.clip(reliability, SMALLEST_RELIABILITY, 1.0)
    raw = np.where(usable, slope * factor, np.nan)
    raw_error = np.where(usable, factor * _error(centred, residual, kept, frame_rate_hz), np.nan)
    total = np.hypot(raw_error, MODEL_SD)
    trust = np.where(usable, PRIOR_SD**2 / (PRIOR_SD**2 + np.where(usable, total, 1.0) ** 2), 0.0)
    return NeuropilFit(
        coefficient=prior_mean + trust * (np.where(usable, raw, prior_mean) - prior_mean),
        standard_error=PRIOR_SD * np.sqrt(1.0 - trust),
        raw=raw,
        raw_error=raw_error,
        from_prior=~usable,
        correlation=covariance / np.sqrt(_positive(variance_x) * _positive(variance_y)),
    )


def choose_neuropil(
    f_roi: NDArray[np.float32],
    f_np: NDArray[np.float32],
    good: NDArray[np.bool_],
    ring_pixels: NDArray[np.int64],
    frame_rate_hz: float,
    fixed: float | None,
) -> NeuropilFit:
    """The fit, or the value that the user fixed for all cells; parameters as in `fit_neuropil`."""
    fit = fit_neuropil(f_roi, f_np, good, ring_pixels, frame_rate_hz)
    if fixed is None:
        return fit
    n = len(ring_pixels)
    return fit._replace(
        coefficient=np.full(n, fixed), standard_error=np.zeros(n), from_prior=ring_pixels < MIN_RING_PIXELS
    )


def noise_variance(x: FloatArray, good: NDArray[np.bool_]) -> FloatArray:
    """Variance of what is new in every frame, shape (n_rois,).

    The mean squared difference over k frames is 2 sigma^2 plus what the signal has moved, which grows with k at least
    in proportion: 2 D(1) - D(2) leaves 2 sigma^2, or less. Medians keep transients out.
    """
    half = []
    for lag in (1, 2):
        step = np.where(good[lag:] & good[:-lag], np.abs(x[lag:] - x[:-lag]), np.nan)
        known = np.isfinite(step).any(axis=0)
        middle = np.zeros(x.shape[1])
        middle[known] = np.nanmedian(step[:, known], axis=0)
        half.append((middle / 0.6744897501960817) ** 2)
    return np.clip(half[0] - 0.5 * half[1], 0.0, None)


def _positive(values: FloatArray) -> FloatArray:
    return np.where(values > 0.0, values, 1.0)


def _envelope(
    y: FloatArray, x: FloatArray, good: NDArray[np.bool_], slope: FloatArray
) -> tuple[FloatArray, NDArray[np.bool_], FloatArray]:
    """Slope of the lower envelope, the frames it rests on, and their residuals (mean 0)."""
    residual = y - slope * x
    centre, sd = _lower_half(residual, good)
    kept = good
    for _ in range(N_ROUNDS):
        residual = y - slope * x
        for _ in range(N_INNER):
            kept = good & (residual < centre + UPPER_SD * sd) & (residual > centre + LOWER_SD * sd)
            n = np.maximum(kept.sum(axis=0), 1)
            mean = np.where(kept, residual, 0.0).sum(axis=0) / n
            wide = np.sqrt(np.where(kept, (residual - mean) ** 2, 0.0).sum(axis=0) / n)
            sd = np.clip(wide / _KEPT_SD, 0.7 * sd, 1.3 * sd)
            centre = mean - _KEPT_MEAN * sd
        mean_x = np.where(kept, x, 0.0).sum(axis=0) / n
        centred = np.where(kept, x - mean_x, 0.0)
        new = slope + (centred * residual).sum(axis=0) / _positive((centred * centred).sum(axis=0))
        moved = float(np.max(np.abs(new - slope), initial=0.0))
        slope = new
        if moved < STEP_ENOUGH:
            break
    mean = np.where(kept, y - slope * x, 0.0).sum(axis=0) / np.maximum(kept.sum(axis=0), 1)
    return slope, kept, np.where(kept, y - slope * x - mean, 0.0)


def _lower_half(residual: FloatArray, good: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """A first centre (lower quartile) and noise SD (from the quartile and the 5th percentile)."""
    ordered = np.sort(np.where(good, residual, np.inf), axis=0)
    n = good.sum(axis=0)

    def quantile(q: float) -> FloatArray:
        at = np.round(q * np.maximum(n - 1, 0)).astype(np.int64)
        found = np.take_along_axis(ordered, at[None], axis=0)[0]
        return np.where(np.isfinite(found), found, 0.0)

    low, quartile = quantile(0.05), quantile(0.25)
    sd = np.maximum((quartile - low) / (1.6448536 - 0.6744898), 1e-12)
    return quartile + 0.6744898 * sd, sd


def _error(centred: FloatArray, residual: FloatArray, kept: NDArray[np.bool_], frame_rate_hz: float) -> FloatArray:
    """Standard error of a slope whose residuals depend on each other within a block (cluster-robust)."""
    block = max(1, round(BLOCK_S * frame_rate_hz))
    score = np.where(kept, centred * residual, 0.0)
    sums = np.add.reduceat(score, np.arange(0, len(score), block), axis=0)
    error: FloatArray = _TRIMMING * np.sqrt((sums**2).sum(axis=0)) / _positive((centred * centred).sum(axis=0))
    return error
