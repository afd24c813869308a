"""How much of the ring's light is in the cell's, from recordings in which both are active."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from rt_engine.models.noise import MIN_FRAMES, high_pass, lower_half_scale

FloatArray = NDArray[np.float64]

PRIOR, PRIOR_SD = 0.7, 0.15
N_ROUNDS = 8
N_BLOCKS = 12
DROP_ABOVE = (1.0, 1.5, 2.0)  # noise standard deviations above the line from which a frame counts as active
MIN_MEMORY_Z = 4.0  # standard errors of the ring's lag-1 covariance below which its light is all noise


class NeuropilFit(NamedTuple):
    """``coefficient``, ``standard_error`` : float64 ndarray, shape (n_rois,)."""

    coefficient: FloatArray
    standard_error: FloatArray


def fit_neuropil(
    f_roi: NDArray[np.float32], f_np: NDArray[np.float32], good: NDArray[np.bool_], frame_rate_hz: float
) -> NeuropilFit:
    """Coefficient r of F_roi = F_cell + r F_np of every cell, under the prior 0.7 +- 0.15.

    Parameters
    ----------
    f_roi, f_np : float32 ndarray, shape (n_frames, n_rois), counts, read
    good : bool ndarray, shape (n_frames, n_rois), read
    frame_rate_hz : float

    Returns
    -------
    NeuropilFit

    Notes
    -----
    Cell and neuropil share their drive, so least squares is biased upwards; frames whose residual is above the line by
    `DROP_ABOVE` noise standard deviations are left out, again and again: the middle one gives r, half the difference
    of the other two is what activity may have left in it or the cut have taken from it. What is slower than 0.02 Hz is
    left out too: bleaching is common to both. The ring's own noise would flatten the line: the ring one frame earlier
    and later, whose noise is another, is the instrument, r = sum w (y - mean y) / sum w (x - mean x) with
    w = x_{t-1} + x_{t+1}. To this the standard error adds that of leaving out blocks of time.
    """
    n_rois = f_roi.shape[1]
    coefficient, error = np.full(n_rois, PRIOR), np.full(n_rois, PRIOR_SD)
    for n in range(n_rois):
        used = good[:, n]
        if used.sum() < MIN_FRAMES:
            continue
        x = high_pass(f_np[used, n].astype(np.float64), frame_rate_hz)
        y = high_pass(f_roi[used, n].astype(np.float64), frame_rate_hz)
        covariance = float(x[1:] @ x[:-1])
        if covariance * np.sqrt(len(x)) <= MIN_MEMORY_Z * float(x @ x):
            continue
        slope, slope_error = _best_line(x, y, float(f_roi[used, n].mean()))
        weight, prior_weight = slope_error**-2, PRIOR_SD**-2
        coefficient[n] = (slope * weight + PRIOR * prior_weight) / (weight + prior_weight)
        error[n] = (weight + prior_weight) ** -0.5
    return NeuropilFit(coefficient, error)


def _best_line(x: FloatArray, y: FloatArray, level: float) -> tuple[float, float]:
    low, middle, high = (_lower_line(x, y, level, cut) for cut in DROP_ABOVE)
    return middle[0], float(np.hypot(middle[1] / (1 - _feedback(DROP_ABOVE[1])), (high[0] - low[0]) / 2))


def _feedback(cut: float) -> float:
    """How much of an error of the line comes back through the frames that it cuts off, for normal residuals."""
    hazard = float(norm.pdf(cut) / norm.cdf(cut))
    return hazard * (cut + hazard)


def _lower_line(x: FloatArray, y: FloatArray, level: float, cut: float) -> tuple[float, float]:
    """Slope of y over x where y is not lifted by activity, and its jackknife standard error over blocks of time.

    `level` is the mean that y was freed of: photon noise has a variance proportional to it plus y, without which more
    bright than dark frames would be taken for active.
    """
    w = np.zeros_like(x)
    w[1:-1] = x[:-2] + x[2:]
    kept = np.ones(len(x), bool)
    slope = 0.0
    for _ in range(N_ROUNDS):
        sums = _sums(w[kept], x[kept], y[kept])
        slope = float(_slope(sums))
        residual = y - slope * x - (sums[2] - slope * sums[1]) / sums[0]
        residual /= np.sqrt(np.maximum(1 + slope * x / level, 0.1)) if level > 0 else 1.0
        scale = float(lower_half_scale(residual[:, None], np.ones((len(x), 1), bool))[0])
        if not np.isfinite(scale) or scale <= 0:
            break
        kept = residual < cut * scale
    parts = np.array([_sums(w[i], x[i], y[i]) for i in np.array_split(np.flatnonzero(kept), N_BLOCKS)]).T
    without = _slope(parts.sum(axis=1, keepdims=True) - parts)
    error = np.sqrt((N_BLOCKS - 1) * without.var())
    return slope, max(float(error), 1e-9)


def _sums(w: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    return np.array([len(w), x.sum(), y.sum(), w.sum(), w @ x, w @ y])


def _slope(sums: FloatArray) -> FloatArray:
    n, sx, sy, sw, swx, swy = sums
    shared = swx - sw * sx / n
    return np.asarray((swy - sw * sy / n) / np.where(np.abs(shared) > 0, shared, np.inf))
