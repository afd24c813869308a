"""Noise and decay of calcium traces, from recordings in which the cells were active."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import welch
from scipy.stats import chi2

FloatArray = NDArray[np.float64]

MIN_FRAMES = 100
DETREND_HZ = 0.02
CORRELATION_STEP = 0.05  # of the noise's correlation
DISPUTED = 0.2  # relative difference of the two estimates of the noise
_GIVE_BACK_STEPS = 6
_HALF_NORMAL_SKEW = 0.2  # E[x^2 | x < 0]^(1/2) falls by this times the skewness (first Edgeworth term)

_WINSOR_AT = 2.5  # standard deviations beyond which a value counts as one at that distance
_WINSOR_MEAN_SQUARE = float(chi2.cdf(_WINSOR_AT**2, 3) + _WINSOR_AT**2 * chi2.sf(_WINSOR_AT**2, 1))
_WINSOR_STEPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseEstimate:
    """What the autocovariance of one trace says.

    Attributes
    ----------
    gamma : float
        Decay of calcium per frame; NaN if the trace shows no calcium dynamics.
    sigma : float
        Standard deviation of the noise per frame, in units of the trace.
    innovation_variance : float
        Variance of the drive of an AR(1) calcium; 0 without dynamics.
    sigma_psd : float
        The same noise from the upper half of the spectrum; NaN from fewer frames than a spectrum needs.
    """

    gamma: float
    sigma: float
    innovation_variance: float
    sigma_psd: float

    @property
    def disputed(self) -> bool:
        """True if spectrum and autocovariance differ by more than 20 %: activity or drift is in one of them."""
        return bool(abs(self.sigma_psd - self.sigma) > DISPUTED * self.sigma)

    @property
    def has_dynamics(self) -> bool:
        """False if the trace cannot be told from noise without memory."""
        return bool(np.isfinite(self.gamma))


def high_pass(trace: FloatArray, frame_rate_hz: float, cutoff_hz: float = DETREND_HZ) -> FloatArray:
    """Trace without what is slower than `cutoff_hz`; NaN are dropped and the rest joined."""
    kept = trace[np.isfinite(trace)]
    basis = _slow_basis(len(kept), _n_slow(len(kept), frame_rate_hz, cutoff_hz))
    return np.asarray(kept - basis @ (basis.T @ kept))


def _n_slow(n: int, frame_rate_hz: float, cutoff_hz: float) -> int:
    """Number of functions of time slower than the cut-off: constant, line, cosines."""
    return 2 + int(2 * n * cutoff_hz / frame_rate_hz)


@lru_cache(maxsize=2)
def _slow_basis(n: int, n_slow: int) -> FloatArray:
    """Orthonormal constant, line and cosines, shape (n, n_slow)."""
    frames = np.arange(n) / n - 0.5
    columns = [np.ones(n), frames] + [np.cos(np.pi * k * (frames + 0.5)) for k in range(1, n_slow - 1)]
    return np.asarray(np.linalg.qr(np.stack(columns, axis=1))[0])


def estimate_noise(trace: FloatArray, frame_rate_hz: float, tau_s: float) -> NoiseEstimate | None:
    """Decay and noise of one trace, from lags above 0 only.

    Parameters
    ----------
    trace : float64 ndarray, shape (n_frames,)
        dF/F; NaN where a sample is missing, saturated or moved.
    frame_rate_hz : float
    tau_s : float
        Rough decay time, which sets how many lags are used.

    Returns
    -------
    NoiseEstimate or None
        None from fewer than `MIN_FRAMES` samples.

    Notes
    -----
    gamma = sum R_k R_{k+1} / sum R_k^2 over k = 1 .. L - 1, L = max(3, 2 tau fr); sigma^2 = R_0 - R_1 / gamma;
    V = R_1 (1 - gamma^2) / gamma. The usual estimator subtracts a noise variance from R_0 that activity has inflated.
    R_1 below 2 R_0 / sqrt(T) is what white noise gives: no calcium dynamics. The high-pass takes from every R_k what
    the model has below its cut-off; this is given back, with the model found so, until both agree.
    """
    if np.isfinite(trace).sum() < MIN_FRAMES:
        return None
    x = high_pass(trace, frame_rate_hz)
    n = len(x)
    n_lags = min(max(3, round(2 * tau_s * frame_rate_hz)), n // 4)
    r = np.array([x[k:] @ x[: n - k] / n for k in range(n_lags + 1)])
    sigma_psd = _spectral_sigma(x)
    n_slow = _n_slow(n, frame_rate_hz, DETREND_HZ)
    if r[1] + n_slow / n * r[0] < 2 / np.sqrt(n) * r[0]:
        sigma = np.sqrt(r[0] * n / (n - n_slow))
        return NoiseEstimate(gamma=np.nan, sigma=float(sigma), innovation_variance=0.0, sigma_psd=sigma_psd)
    frequency = np.arange(n_slow) / (2 * n)
    cosines = np.cos(2 * np.pi * frequency * np.arange(n_lags + 1)[:, None])
    taken: FloatArray | float = 0.0
    gamma = variance = drive = 0.0
    for _ in range(_GIVE_BACK_STEPS):
        whole = r + taken
        gamma = float(np.clip(whole[1:-1] @ whole[2:] / (whole[1:-1] @ whole[1:-1]), 1e-3, 0.9999))
        variance = float(max(whole[0] - whole[1] / gamma, 1e-4 * whole[0]))
        drive = float(whole[1] * (1 - gamma**2) / gamma)
        density = drive / (1 + gamma**2 - 2 * gamma * np.cos(2 * np.pi * frequency)) + variance
        taken = np.minimum(cosines @ density / n, r[0])
    return NoiseEstimate(gamma=gamma, sigma=float(np.sqrt(variance)), innovation_variance=drive, sigma_psd=sigma_psd)


def _spectral_sigma(x: FloatArray) -> float:
    """Square root of the mean one-sided density between 0.25 and 0.5 of the sampling rate, halved."""
    frequency, density = welch(x, nperseg=min(256, len(x)))
    return float(np.sqrt(density[frequency > 0.25].mean() / 2))


def lower_half_scale(
    x: FloatArray | NDArray[np.float32], quiet: NDArray[np.bool_], skewness: FloatArray | float = 0.0
) -> FloatArray:
    """Standard deviation about 0 of each column from its negative values, which activity does not reach.

    Parameters
    ----------
    x : float ndarray, shape (n_frames, n_rois)
    quiet : bool ndarray, shape (n_frames, n_rois)
        Which values count.
    skewness : float or float64 ndarray, shape (n_rois,)
        Of the noise: the lower half of a skewed law is narrower than the whole.

    Returns
    -------
    float64 ndarray, shape (n_rois,)
        NaN where fewer than 20 values are negative.

    Notes
    -----
    Root mean square of x given x < 0, with what lies beyond 2.5 standard deviations counted as lying there, and the
    factor that makes this right for a normal law: the wake of a spike that was not told can be far below.
    """
    used = quiet & (x < 0)
    n_used = used.sum(axis=0)
    squares = np.where(used, np.square(x, dtype=np.float64), 0.0)
    scale = np.sqrt(squares.sum(axis=0) / np.maximum(n_used, 1))
    for _ in range(_WINSOR_STEPS):
        clipped = np.minimum(squares, (_WINSOR_AT * scale) ** 2).sum(axis=0) / np.maximum(n_used, 1)
        scale = np.sqrt(clipped / _WINSOR_MEAN_SQUARE)
    return np.where(n_used >= 20, scale * (1 + _HALF_NORMAL_SKEW * np.asarray(skewness)), np.nan)


def innovation_sigma(
    dff: FloatArray | NDArray[np.float32],
    quiet: NDArray[np.bool_],
    gamma: FloatArray,
    skewness: FloatArray | float = 0.0,
    correlation: FloatArray | float = 0.0,
) -> FloatArray:
    """Noise of each trace from x_t - gamma x_{t-1}, in which calcium that decays is gone.

    Parameters
    ----------
    dff : float ndarray, shape (n_frames, n_rois)
        NaN where there is no sample.
    quiet : bool ndarray, shape (n_frames, n_rois)
        Frames away from known events.
    gamma : float64 ndarray, shape (n_rois,)
    skewness : float or float64 ndarray, shape (n_rois,)
        Of the noise; photon counts are skewed upwards.
    correlation : float or float64 ndarray, shape (n_rois,)
        Of successive samples of the noise.

    Returns
    -------
    float64 ndarray, shape (n_rois,)
        NaN where there are too few quiet frames.

    Notes
    -----
    What remains of spikes not told is positive, so only the part below the median is used.
    """
    step = (dff[1:] - gamma * dff[:-1]).astype(np.float64)
    used = quiet[1:] & quiet[:-1] & np.isfinite(step)
    n_used = used.sum(axis=0)
    ordered = np.sort(np.where(used, step, np.inf), axis=0)
    middle = np.take_along_axis(ordered, (np.maximum(n_used, 1) // 2)[None], axis=0)[0]
    centred = step - np.where(np.isfinite(middle), middle, 0.0)
    norm = np.sqrt(1 + gamma**2 - 2 * gamma * correlation)
    sigma = lower_half_scale(centred, used) / norm
    return np.asarray(sigma * (1 + _HALF_NORMAL_SKEW * skewness * (1 - gamma**3) / norm**3))


def noise_correlation(dff: FloatArray | NDArray[np.float32], quiet: NDArray[np.bool_]) -> FloatArray:
    """Correlation of successive samples of the noise of each trace, taken for noise of the first order.

    Parameters
    ----------
    dff : float ndarray, shape (n_frames, n_rois)
        NaN where there is no sample.
    quiet : bool ndarray, shape (n_frames, n_rois)
        Frames away from known events.

    Returns
    -------
    float64 ndarray, shape (n_rois,)
        A multiple of 0.05 from -0.5 to 0.9, so that cells share filters.

    Notes
    -----
    Differences d_t = x_t - x_{t-1}, which do not see the baseline: E[d_t d_{t+1}] / E[d_t^2] = -(1 - phi) / 2. For
    white noise the ratio has the variance (1 - 3 / 4 + 1 / 4) / T (Bartlett), so phi the standard error sqrt(2 / T).
    What makes noise remember (scanner, amplifier, resampling) is shared by the cells: each is shrunk to their median by
    as much as errors explain of the differences. A filter fitted to the chances of one baseline would find its own
    noise smaller than it is, and tell 6 % too many false events. A median within two standard errors of 0 is 0.
    """
    step = np.diff(np.asarray(dff, np.float64), axis=0)
    there = quiet[1:] & quiet[:-1] & np.isfinite(step)
    pairs = there[1:] & there[:-1]
    n_pairs = pairs.sum(axis=0)
    square = np.where(pairs, 0.5 * (step[1:] ** 2 + step[:-1] ** 2), 0.0).sum(axis=0)
    product = np.where(pairs, step[1:] * step[:-1], 0.0).sum(axis=0)
    phi = 1 + 2 * np.divide(product, square, out=np.full(len(square), -0.5), where=square > 0)
    known = n_pairs > 0
    if not known.any():
        return np.zeros(len(phi))
    variance = 2 / n_pairs[known].mean()
    median = np.median(phi[known])
    if median**2 < 4 * variance * (1.0 if known.sum() == 1 else 0.5 * np.pi / known.sum()):
        median = 0.0
    excess = max(0.0, float(np.mean((phi[known] - median) ** 2)) - variance) if known.sum() > 1 else 0.0
    phi = np.where(known, median + excess / (excess + variance) * (phi - median), median)
    return np.asarray(np.clip(np.round(phi / CORRELATION_STEP) * CORRELATION_STEP, -0.5, 0.9))
