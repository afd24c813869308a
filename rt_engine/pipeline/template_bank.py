"""What a spike looks like in the trace, and the bank of templates of the cells of a calibration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.kernels.decision import BURST_SHARES
from rt_engine.kernels.filter_bank import TemplateBank
from rt_engine.pipeline.plain_functions import exp, log

FloatArray = NDArray[np.float64]

SMALLEST_PRIOR = 1e-9  # of an event in a frame: a cell may have been given a rate of 0
SMALLEST_NONE = 1e-3  # probability of no event in any frame of the bank


def _mean_decay(frames: FloatArray, rate: float) -> FloatArray:
    """Mean of exp(-rate x) over x = frames + u - p, x >= 0, with u and p uniform in a frame."""
    start = 1 / rate - (1 - exp(-rate)) / rate**2
    later = exp(-rate * np.maximum(frames, 1)) * ((exp(0.5 * rate) - exp(-0.5 * rate)) / rate) ** 2
    return np.where(frames >= 1, later, np.where(frames == 0, start, 0.0))


def spike_template(tau_rise_s: float, tau_s: float, frame_rate_hz: float, n_frames: int) -> FloatArray:
    """Mean dF/F of one spike of unit peak, from the frame of the spike on.

    Parameters
    ----------
    tau_rise_s, tau_s : float
        Of k(t) = (exp(-t / tau_s) - exp(-t / tau_rise_s)) / peak.
    frame_rate_hz : float
    n_frames : int

    Returns
    -------
    float64 ndarray, shape (n_frames,)

    Notes
    -----
    Neither when in its frame the spike came nor when the cell was scanned is known: both are averaged over the frame,
    in closed form.
    """
    frames = np.arange(n_frames, dtype=np.float64)
    t_peak = log(tau_s / tau_rise_s) * tau_rise_s * tau_s / (tau_s - tau_rise_s)
    peak = exp(-t_peak / tau_s) - exp(-t_peak / tau_rise_s)
    decay = _mean_decay(frames, 1 / (tau_s * frame_rate_hz))
    rise = _mean_decay(frames, 1 / (tau_rise_s * frame_rate_hz))
    return np.asarray((decay - rise) / peak)


def blind_filters(templates: FloatArray, tail: FloatArray, noise_correlation: float) -> FloatArray:
    """Filters that find templates best in noise of the first order and are blind to baseline and tail.

    Parameters
    ----------
    templates : float64 ndarray, shape (n_templates, n_taps)
    tail : float64 ndarray, shape (n_taps,)
        Calcium of earlier spikes.
    noise_correlation : float
        phi of successive samples; 0: white noise.

    Returns
    -------
    float64 ndarray, shape (n_templates, n_taps)
        M s of each, of variance s'M s under noise of variance 1.

    Notes
    -----
    M = C^-1 - C^-1 N (N'C^-1 N)^-1 N'C^-1 with N = [1, tail] and C_ij = phi^|i - j|. C^-1 = W'W, where W takes phi of
    the sample before from every sample: W makes the noise white, there N is projected away, and W' leads back to the
    samples. No linear algebra of a library, whose last bits depend on the processor.
    """
    phi = float(noise_correlation)
    spread = float(np.sqrt(1.0 - phi * phi))

    def whitened(x: FloatArray) -> FloatArray:
        white = x.copy()
        white[..., 1:] = (x[..., 1:] - phi * x[..., :-1]) / spread
        return white

    def without(x: FloatArray, direction: FloatArray) -> FloatArray:
        share = np.sum(x * direction, axis=-1, keepdims=True) / np.sum(direction * direction)
        return np.asarray(x - share * direction)

    one = whitened(np.ones(len(tail)))
    other = without(whitened(tail), one)
    visible = without(without(whitened(templates), one), other)
    back = visible.copy()
    back[:, 1:] /= spread
    back[:, :-1] -= phi / spread * visible[:, 1:]
    return back


def template_bank(calibration: Calibration) -> TemplateBank:
    """Bank of the cells of a calibration, on the window of its filters.

    Parameters
    ----------
    calibration : Calibration

    Returns
    -------
    TemplateBank
        Lags 0 to `hold_frames`; cells of the same kernel and correlation of the noise share templates.

    Notes
    -----
    Filters M s as in `blind_filters`. A / sigma sqrt(s'M s) is the signal-to-noise ratio that no linear filter blind to
    N beats. Where samples are missing from a window the noise of the others is taken for white.
    """
    n_taps, n_lags = calibration.filter_taps.shape[0], calibration.hold_frames + 1
    rate_hz = calibration.frame_rate_hz
    correlation = calibration.noise_correlation if len(calibration.noise_correlation) else np.zeros(calibration.n_rois)
    kernels, shape = np.unique(
        np.stack([calibration.tau_rise_s, calibration.tau_s, correlation], axis=1).astype(np.float64),
        axis=0,
        return_inverse=True,
    )
    template = np.zeros((len(kernels), n_lags, n_taps))
    filters = np.zeros_like(template)
    tail = exp(-np.arange(n_taps) / (kernels[:, 1:2] * rate_hz))
    for i, (tau_rise_s, tau_s, phi) in enumerate(kernels):
        response = spike_template(tau_rise_s, tau_s, rate_hz, n_lags)
        for lag in range(n_lags):
            template[i, lag, n_taps - 1 - lag :] = response[: lag + 1]
        filters[i] = blind_filters(template[i], tail[i], phi)
    prior = np.maximum(calibration.rate_hz.astype(np.float64) / rate_hz, SMALLEST_PRIOR)
    none = np.maximum(1 - n_lags * prior, SMALLEST_NONE)
    return TemplateBank(
        template=template,
        filter=np.ascontiguousarray(filters.transpose(0, 2, 1)),
        energy=np.sum(template * filters, axis=2),
        tail=tail,
        shape=np.ascontiguousarray(shape.reshape(-1), np.int64),
        amplitude_dff=calibration.amplitude_dff.astype(np.float64),
        log_prior=log(np.concatenate([none[:, None], prior[:, None] * np.array(BURST_SHARES)], axis=1)),
        scratch=np.zeros((4 + len(BURST_SHARES), n_taps)),
    )
