"""How likely the stage tells an isolated spike: the filter's output in the frames in which it may."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

N_DRAWS = 4000
N_AFTER = 2  # frames after the decision's own in which the spike may still be told


def isolated_detection(
    taps: NDArray[np.float32],
    threshold: FloatArray,
    *,
    tau_rise_s: FloatArray,
    tau_s: FloatArray,
    amplitude_dff: FloatArray,
    sigma_dff: FloatArray,
    frame_rate_hz: float,
    hold_frames: int,
) -> FloatArray:
    """Probability that one isolated spike raises an event, shape (n_rois,).

    Parameters
    ----------
    taps, tau_rise_s, tau_s, amplitude_dff, sigma_dff, frame_rate_hz, hold_frames
        See `isolated_peaks`.
    threshold : float64 ndarray, shape (n_rois,)
        Output at which an event is told.
    """
    peaks = isolated_peaks(
        taps,
        tau_rise_s=tau_rise_s,
        tau_s=tau_s,
        amplitude_dff=amplitude_dff,
        sigma_dff=sigma_dff,
        frame_rate_hz=frame_rate_hz,
        hold_frames=hold_frames,
    )
    return np.asarray(np.mean(peaks >= threshold, axis=0))


def isolated_peaks(
    taps: NDArray[np.float32],
    *,
    tau_rise_s: FloatArray,
    tau_s: FloatArray,
    amplitude_dff: FloatArray,
    sigma_dff: FloatArray,
    frame_rate_hz: float,
    hold_frames: int,
) -> FloatArray:
    """Largest output of the decision in the frames that may tell an isolated spike.

    Parameters
    ----------
    taps : float32 ndarray, shape (n_taps, n_rois)
        Filters of dF/F in noise standard deviations, newest sample last.
    tau_rise_s, tau_s : float64 ndarray, shape (n_rois,)
    amplitude_dff, sigma_dff : float64 ndarray, shape (n_rois,)
        Peak of one spike, noise at rest.
    frame_rate_hz : float
    hold_frames : int

    Returns
    -------
    float64 ndarray, shape (N_DRAWS, n_rois)

    Notes
    -----
    Q(kappa - gain A / sigma) is the probability in one frame, for a spike of mean phase. But the event is told in
    whichever frame from one before the decision's to `N_AFTER` after it reaches the threshold first, spikes come at
    any phase of their frame, and photon noise grows with the signal, its variance by 1 + dF/F. These are draws of
    phase and noise, the same for all cells: the part above a threshold has a standard error below 0.008.
    """
    n_taps, n_rois = taps.shape
    n_frames = n_taps + 1 + N_AFTER
    at_spike = n_taps - hold_frames  # window of the decision's own frame is [1, n_taps]
    rng = np.random.default_rng(0)
    phase = (np.arange(N_DRAWS) + rng.random(N_DRAWS)) / N_DRAWS - rng.random(N_DRAWS)
    noise = rng.standard_normal((N_DRAWS, n_frames)).astype(np.float32)
    t_s = (np.arange(n_frames) - at_spike + phase[:, None]) / frame_rate_hz
    out = np.empty((N_DRAWS, n_rois))
    for n in range(n_rois):
        h = taps[:, n].astype(np.float64)
        pulse = amplitude_dff[n] * spike_response(t_s, float(tau_rise_s[n]), float(tau_s[n]))
        # Noise that is not white makes the taps' norm differ from 1, but not the output's.
        both = pulse / sigma_dff[n] + noise * (np.sqrt(1 + pulse) / np.sqrt(h @ h))
        z = np.stack([both[:, k : k + n_taps] @ h for k in range(n_frames - n_taps + 1)])
        out[:, n] = z.max(axis=0)
    return out


def spike_response(t_s: FloatArray, tau_rise_s: FloatArray | float, tau_s: FloatArray | float) -> FloatArray:
    """Response to one spike of unit peak at time 0."""
    top_s = np.log(tau_s / tau_rise_s) * tau_s * tau_rise_s / (tau_s - tau_rise_s)
    height = np.exp(-top_s / tau_s) - np.exp(-top_s / tau_rise_s)
    t = np.maximum(t_s, 0.0)
    return np.asarray((np.exp(-t / tau_s) - np.exp(-t / tau_rise_s)) / height)
