"""The filter that finds a spike best, the threshold that errs as rarely as asked."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from rt_engine.pipeline.template_bank import blind_filters, spike_template

FloatArray = NDArray[np.float64]


class MatchedFilter(NamedTuple):
    """A filter, and what it makes of signal and noise.

    ``taps`` : float64 ndarray, shape (n_taps,), newest sample last, unit variance under noise of unit variance.
    ``gain`` : mean output for one spike of unit peak amplitude. ``rho`` : correlation of successive outputs under
    noise. ``cubes`` : sum of cubed taps: skewness of the output for noise of unit skewness.
    """

    taps: FloatArray
    gain: float
    rho: float
    cubes: float


def frames_before(tau_s: float, frame_rate_hz: float) -> int:
    """Samples before the spike that the filter uses to learn baseline and tail.

    Three decay times: the gain has then nearly all it can have. Earlier spikes cannot spoil the window, because the
    stage opens a new one after each event. Between 4 frames and one second, at most 64 frames.
    """
    wanted = round(3 * tau_s * frame_rate_hz)
    return int(np.clip(wanted, 4, min(64, max(6, round(frame_rate_hz)))))


def matched_filter(
    tau_rise_s: float,
    tau_s: float,
    frame_rate_hz: float,
    hold_frames: int,
    n_before: int,
    noise_correlation: float = 0.0,
) -> MatchedFilter:
    """Best linear detector of a spike `hold_frames` ago that is blind to baseline and to the tail of earlier spikes.

    Parameters
    ----------
    tau_rise_s, tau_s, frame_rate_hz : float
    hold_frames : int
        Samples after the frame of the spike.
    n_before : int
        Samples before it.
    noise_correlation : float
        Of successive samples of the noise, which is taken to be of the first order; 0: white.

    Returns
    -------
    MatchedFilter
        With ``n_before + 1 + hold_frames`` taps.

    Notes
    -----
    N = [1, gamma^k], M as in `blind_filters`, h = M s / sqrt(s'M s), gain = sqrt(s'M s): the Neyman-Pearson detector in
    Gaussian noise with unknown nuisance N. rho = h_1'C h_0.
    """
    template = np.concatenate([np.zeros(n_before), spike_template(tau_rise_s, tau_s, frame_rate_hz, hold_frames + 1)])
    gamma = np.exp(-1 / (tau_s * frame_rate_hz))
    visible = blind_filters(template[None], gamma ** np.arange(len(template)), noise_correlation)[0]
    gain = float(np.sqrt(template @ visible))
    taps = visible / gain
    overlap = np.correlate(taps, taps, "full")
    lags = np.abs(np.arange(1 - len(taps), len(taps)) - 1)
    rho = overlap @ np.where(lags == 0, 1.0, float(noise_correlation) ** lags)
    return MatchedFilter(taps, gain, float(rho), float(np.sum(taps**3)))


def upcrossing_rate(threshold: FloatArray | float, rho: FloatArray | float) -> FloatArray:
    """Probability per frame that Gaussian noise of unit variance and lag-1 correlation `rho` rises to `threshold`.

    Notes
    -----
    P(z_{t-1} < kappa <= z_t) = int_kappa^inf phi(z) Phi((kappa - rho z) / sqrt(1 - rho^2)) dz, by Gauss-Legendre.
    """
    nodes, weights = np.polynomial.legendre.leggauss(64)
    kappa, r = np.broadcast_arrays(np.asarray(threshold, np.float64), np.asarray(rho, np.float64))
    z = kappa[..., None] + 4.0 * (nodes + 1)
    density = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    below = ndtr((kappa[..., None] - r[..., None] * z) / np.sqrt(1 - r[..., None] ** 2))
    return np.asarray(4.0 * np.sum(weights * density * below, axis=-1))


def event_threshold(
    false_alarms_per_min: float,
    frame_rate_hz: float,
    rho: FloatArray | float,
    *,
    relative_error: FloatArray | float = 0.0,
    skewness: FloatArray | float = 0.0,
) -> FloatArray:
    """The z at which noise raises events at the rate asked for.

    Parameters
    ----------
    false_alarms_per_min : float
        Per cell.
    frame_rate_hz : float
    rho : float or float64 ndarray, shape (n_rois,)
        Lag-1 correlation of z under noise.
    relative_error : float or float64 ndarray, shape (n_rois,)
        Standard error of the noise scale that z is divided by, relative: a threshold on a scale that is itself
        uncertain must be higher for the mean rate to be nominal.
    skewness : float or float64 ndarray, shape (n_rois,)
        Of z under noise; photon counts are skewed upwards.

    Returns
    -------
    float64 ndarray

    Notes
    -----
    Bisection of the mean of `upcrossing_rate` over a log-normal scale error, then the second-order Cornish-Fisher
    shift skewness (kappa^2 - 1) / 6.
    """
    rho, error, skew = np.broadcast_arrays(
        *(np.atleast_1d(np.asarray(a, np.float64)) for a in (rho, relative_error, skewness))
    )
    wanted = false_alarms_per_min / (60.0 * frame_rate_hz)
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    weights = weights / weights.sum()
    scale = np.exp(error[..., None] * nodes)
    low, high = np.zeros(rho.shape), np.full(rho.shape, 12.0)
    for _ in range(40):
        middle = 0.5 * (low + high)
        rate = np.sum(weights * upcrossing_rate(middle[..., None] * scale, rho[..., None]), axis=-1)
        too_often = rate > wanted
        low, high = np.where(too_often, middle, low), np.where(too_often, high, middle)
    kappa = 0.5 * (low + high)
    return np.asarray(kappa + skew * (kappa**2 - 1) / 6)


def false_event_rates(
    kappa: FloatArray, frame_rate_hz: float, rho: FloatArray, relative_error: FloatArray
) -> FloatArray:
    """Events a minute that symmetric noise raises at thresholds: what `event_threshold` inverts.

    Parameters
    ----------
    kappa : float64 ndarray, shape (n_thresholds,)
    frame_rate_hz : float
    rho, relative_error : float64 ndarray, shape (n_rois,)
        As of `event_threshold`.

    Returns
    -------
    float64 ndarray, shape (n_thresholds, n_rois)
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    scale = np.exp(relative_error[:, None] * nodes)
    out = np.empty((len(kappa), len(rho)))
    for row, height in enumerate(kappa):
        out[row] = upcrossing_rate(height * scale, rho[:, None]) @ (weights / weights.sum())
    return 60.0 * frame_rate_hz * out


def expected_detection(
    threshold: FloatArray | float, gain: FloatArray | float, amplitude_over_sigma: FloatArray | float
) -> FloatArray:
    """Probability that an isolated spike reaches the threshold, Q(kappa - gain A / sigma)."""
    above = np.asarray(gain, np.float64) * amplitude_over_sigma - threshold
    return np.asarray(ndtr(above))
