"""Constants of the drive smoother of every cell, from its own past under the priors of the indicator library."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rt_engine.kernels.drive_decision import DriveDecisionParameters
from rt_engine.kernels.drive_smoother import DriveParameters, drive_run, empty_drive_state
from rt_engine.models.detection import event_threshold, spike_template
from rt_engine.models.indicators import Indicator
from rt_engine.models.noise import lower_half_scale
from rt_engine.pipeline.drive import DriveModel

FloatArray = NDArray[np.float64]

DECAY_FACTORS = (1.0, 2.0, 4.0)  # of the library's decay of one spike: trains decay more slowly
DRIVE_RATIOS = (0.02, 0.1, 0.5)  # variance of the drive of a frame at 30 Hz over that of the noise
BASELINE_STEP = 0.02  # of the noise: random walk of the baseline per frame at 30 Hz
N_FITTED = 6  # frames of the template that the kernel of two exponentials is fitted to
REFRACTORY_S = 0.1
HOLD_OFF_DECAYS = 3.0  # decay times of one spike for which the baseline stands still after an event
MIN_FRAMES = 16
SCALE_PRIOR_FRAMES = 150.0  # quiet frames that the theoretical noise of the drive is worth
_MAD_TO_SIGMA = 1.4826022185056018
SMALLEST_SIGMA = 1e-4  # dF/F


def drive_kernel(tau_rise_s: float, tau_s: float, frame_rate_hz: float) -> tuple[float, float, float, float]:
    """What u and v keep per frame, and what one spike of unit peak adds to them, spike and scan phase averaged.

    Returns
    -------
    decay, rise, step_decay, step_rise : float
    """
    template = spike_template(tau_rise_s, tau_s, frame_rate_hz, N_FITTED)
    decay, rise = np.exp(-1 / (tau_s * frame_rate_hz)), np.exp(-1 / (tau_rise_s * frame_rate_hz))
    frames = np.arange(N_FITTED)
    columns = np.stack([decay**frames, -(rise**frames)], axis=1)
    step_decay, step_rise = np.linalg.lstsq(columns, template, rcond=None)[0]
    return float(decay), float(rise), float(step_decay), float(step_rise)


def step_sigma(dff: NDArray[np.float32], usable: NDArray[np.bool_]) -> FloatArray:
    """Noise of a frame from the median absolute deviation of first differences, shape (n_rois,)."""
    sigma = np.empty(dff.shape[1])
    for n in range(dff.shape[1]):
        step = np.diff(dff[usable[:, n], n].astype(np.float64))
        sigma[n] = _MAD_TO_SIGMA * np.median(np.abs(step - np.median(step))) / np.sqrt(2) if len(step) else 0.0
    return np.maximum(sigma, SMALLEST_SIGMA)


def fit_drive(
    dff: NDArray[np.float32],
    usable: NDArray[np.bool_],
    *,
    frame_rate_hz: float,
    prior: Indicator,
    hold_frames: int,
    false_alarms_per_min: float,
) -> DriveModel:
    """Fit every cell by itself.

    Parameters
    ----------
    dff : float32 ndarray, shape (n_frames, n_rois), read
    usable : bool ndarray, shape (n_frames, n_rois), read
    frame_rate_hz : float
    prior : Indicator
    hold_frames : int
    false_alarms_per_min : float
        Per cell.

    Returns
    -------
    DriveModel

    Notes
    -----
    Decay time and variance of the drive are those of the largest marginal likelihood on a grid; the noise of the
    smoothed drive is that of white noise through the filter, moved by the lower half of the drive itself.
    """
    sigma = step_sigma(dff, usable)
    y = np.ascontiguousarray(dff, np.float32)
    flags = np.ascontiguousarray(usable, np.uint8)
    n_rois = y.shape[1]
    best = np.full(n_rois, -np.inf)
    chosen, kernel_of = np.zeros(n_rois, np.int64), []
    drive = np.zeros_like(y)
    kept = np.zeros_like(y)
    for factor in DECAY_FACTORS:
        for ratio in DRIVE_RATIOS:
            parameters = _smoother(sigma, prior, prior.tau_s * factor, ratio, frame_rate_hz)
            state = empty_drive_state(n_rois, hold_frames + 1, parameters)
            drive_run(y, flags, hold_frames, parameters, state, drive)
            better = state.evidence > best
            best[better] = state.evidence[better]
            chosen[better] = len(kernel_of)
            kept[:, better] = drive[:, better]
            kernel_of.append((parameters, *_response(prior, prior.tau_s * factor, ratio, frame_rate_hz, hold_frames)))
    smoother = DriveParameters(
        *(np.array([getattr(kernel_of[c][0], f)[n] for n, c in enumerate(chosen)]) for f in DriveParameters._fields)
    )
    noise, rho, gain = (np.array([kernel_of[c][k] for c in chosen]) for k in (1, 2, 3))
    noise_dff = _noise_of_drive(kept, usable, noise * sigma)
    amplitude = np.full(n_rois, prior.amplitude_dff)
    threshold = event_threshold(false_alarms_per_min, frame_rate_hz, rho)
    decision = DriveDecisionParameters(
        noise_dff=noise_dff,
        threshold=threshold,
        amplitude_dff=amplitude * gain,
        gain=amplitude * gain / noise_dff,
        prior=np.full(n_rois, 0.3 / frame_rate_hz),
        refractory_frames=np.full(n_rois, int(REFRACTORY_S * frame_rate_hz + 1e-6), np.int64),
        hold_off_frames=np.full(n_rois, int(np.ceil(HOLD_OFF_DECAYS * prior.tau_s * frame_rate_hz)), np.int64),
        calibration=np.array([0.0, 1.0]),
        roi_id=np.arange(n_rois, dtype=np.uint32),
    )
    return DriveModel(smoother, decision)


def _smoother(
    sigma: FloatArray, prior: Indicator, tau_s: float, ratio: float, frame_rate_hz: float
) -> DriveParameters:
    decay, rise, step_decay, step_rise = drive_kernel(prior.tau_rise_s, tau_s, frame_rate_hz)
    ones = np.ones(len(sigma))
    return DriveParameters(
        decay=decay * ones,
        rise=rise * ones,
        step_decay=step_decay * ones,
        step_rise=step_rise * ones,
        noise_variance=sigma**2,
        drive_variance=ratio * sigma**2,
        baseline_variance=BASELINE_STEP**2 * (30.0 / frame_rate_hz) * sigma**2,
    )


def _response(
    prior: Indicator, tau_s: float, ratio: float, frame_rate_hz: float, hold_frames: int
) -> tuple[float, float, float]:
    """Of the settled filter for noise of unit variance: noise of the drive, its lag-1 correlation, gain of a spike."""
    parameters = _smoother(np.ones(2), prior, tau_s, ratio, frame_rate_hz)
    state = empty_drive_state(2, hold_frames + 1, parameters)
    n_settle, n_after = 400, 400
    y = np.zeros((n_settle + n_after, 2), np.float32)
    template = spike_template(prior.tau_rise_s, tau_s, frame_rate_hz, n_after)
    y[n_settle, 0] = 1.0
    y[n_settle:, 1] = template
    out = np.zeros_like(y)
    drive_run(y, np.ones(y.shape, np.uint8), hold_frames, parameters, state, out)
    impulse = out[n_settle:, 0].astype(np.float64)
    variance = float(impulse @ impulse)
    return np.sqrt(variance), float(impulse[1:] @ impulse[:-1]) / variance, float(out[n_settle + hold_frames, 1])


def _noise_of_drive(drive: NDArray[np.float32], usable: NDArray[np.bool_], theory: FloatArray) -> FloatArray:
    """Theory moved towards what the lower half of the drive says, by how much there is of it."""
    measured = lower_half_scale(drive, usable)
    n_used = (usable & (drive < 0)).sum(axis=0)
    trust = np.where(np.isfinite(measured) & (measured > 0), n_used / (n_used + SCALE_PRIOR_FRAMES), 0.0)
    log_ratio = np.log(np.where(trust > 0, measured, theory) / theory)
    return np.asarray(theory * np.exp(trust * log_ratio))
