"""What a calibration of traces is worth: standard errors, dynamics, drift, and the detection to expect."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.threshold_law import N_PEAKS
from rt_engine.interfaces.trace_uncertainty import TraceUncertainty
from rt_engine.models.baseline_error import MIN_QUIET_FRAMES, baseline_path, f0_at_start, f0_error
from rt_engine.models.detection import frames_before
from rt_engine.models.detection_probability import isolated_peaks
from rt_engine.models.indicators import Indicator
from rt_engine.models.kinetics_fit import (
    CERTAIN_Z,
    IsolatedEvents,
    LogPosterior,
    amplitude_posterior,
    decay_posterior,
    event_size_error,
    event_sizes,
    isolated_events,
)
from rt_engine.models.neuropil_fit import NeuropilFit
from rt_engine.models.noise import NoiseEstimate, estimate_noise
from rt_engine.models.stage_run import QUIET_DECAYS, RunSettings, StageRun, TraceCalibration, quiet_frames, run_stage

FloatArray = NDArray[np.float64]

SIGMA_SPREAD = 1.2  # of `noise.innovation_sigma`: relative standard error times root of the number of frames


class Described(NamedTuple):
    """``uncertainty``; ``expected_detection`` : float32 ndarray, shape (n_rois,); ``peaks`` of `ThresholdLaw`."""

    uncertainty: TraceUncertainty
    expected_detection: NDArray[np.float32]
    peaks: FloatArray


def describe_traces(
    traces: TraceCalibration,
    f_roi: NDArray[np.float32],
    f_np: NDArray[np.float32],
    valid: NDArray[np.uint8],
    *,
    frame_rate_hz: float,
    indicator: Indicator,
    hold_frames: int,
    false_alarms_per_min: float,
    taps: NDArray[np.float32],
    threshold: FloatArray,
    neuropil: NeuropilFit,
) -> Described:
    """Say how well the constants of every cell are known, from the recording that they were made from.

    Parameters
    ----------
    traces : TraceCalibration
        From `trace_calibration.calibrate_traces` of the same recording.
    f_roi, f_np : float32 ndarray, shape (n_frames, n_rois), counts, offset subtracted, read
    valid : uint8 ndarray, shape (n_frames, n_rois), read
    frame_rate_hz : float
    indicator : Indicator
    hold_frames : int
    false_alarms_per_min : float
        Per cell.
    taps : float32 ndarray, shape (n_taps, n_rois)
        The decision as a filter of dF/F in noise standard deviations, newest sample last, and
    threshold : float64 ndarray, shape (n_rois,)
        what its output must reach.
    neuropil : NeuropilFit

    Returns
    -------
    Described
    """
    settings = RunSettings(
        frame_rate_hz, indicator, hold_frames, frames_before(indicator.tau_s, frame_rate_hz), false_alarms_per_min
    )
    good = (valid == 1) & np.isfinite(f_roi) & np.isfinite(f_np)
    start = replace(traces, f0_counts=f0_at_start(traces, f_roi, f_np, good, frame_rate_hz))
    run = run_stage(start, f_roi, f_np, good, settings)
    quiet = quiet_frames(run, good, traces.tau_s, settings)
    path = baseline_path(traces, run, quiet, frame_rate_hz)
    n_quiet = np.maximum(quiet.sum(axis=0), MIN_QUIET_FRAMES)
    noise_error = SIGMA_SPREAD / np.sqrt(n_quiet)
    f0_se = f0_error(traces, path, noise_error, good, frame_rate_hz)
    tau, amplitude, n_events = _kinetics(traces, run, settings)
    noise = [estimate_noise(run.dff[:, n].astype(np.float64), frame_rate_hz, float(traces.tau_s[n])) for n in
             range(f_roi.shape[1])]  # fmt: skip
    # Sizes are in units of F0, so what is wrong with F0 is wrong with them.
    of_f0 = f0_se / traces.f0_counts
    sigma_error = traces.sigma_dff * np.hypot(noise_error, of_f0)
    amplitude_error = traces.amplitude_dff * np.hypot(amplitude.log_sd, of_f0)
    peaks = [
        _peaks(traces, np.maximum(traces.amplitude_dff + step * amplitude_error, 0), settings, taps)
        for step in (-1, 0, 1)
    ]
    low, expected, high = (np.mean(of_step >= threshold, axis=0) for of_step in peaks)
    quantiles = np.quantile(peaks[1], np.linspace(0, 1, N_PEAKS), axis=0)
    uncertainty = TraceUncertainty(
        sigma_se_dff=sigma_error.astype(np.float32),
        tau_se_s=(traces.tau_s * tau.log_sd).astype(np.float32),
        amplitude_se_dff=amplitude_error.astype(np.float32),
        f0_se_counts=f0_se.astype(np.float32),
        neuropil_fit=neuropil.coefficient.astype(np.float32),
        neuropil_fit_se=neuropil.standard_error.astype(np.float32),
        has_dynamics=np.array([one is not None and one.has_dynamics for one in noise], bool),
        noise_disputed=np.array([one is not None and one.disputed for one in noise], bool),
        sigma_spectrum_dff=_float32(noise, "sigma_psd"),
        sigma_covariance_dff=_float32(noise, "sigma"),
        f0_slope_per_min=path.slope_per_min.astype(np.float32),
        f0_change=path.change.astype(np.float32),
        valid_fraction=good.mean(axis=0).astype(np.float32),
        n_isolated_events=n_events,
        detection_low=low.astype(np.float32),
        detection_high=high.astype(np.float32),
    )
    return Described(uncertainty, expected.astype(np.float32), quantiles)


def _float32(noise: list[NoiseEstimate | None], name: str) -> NDArray[np.float32]:
    return np.array([np.nan if one is None else getattr(one, name) for one in noise], np.float32)


def _peaks(
    traces: TraceCalibration, amplitude_dff: FloatArray, settings: RunSettings, taps: NDArray[np.float32]
) -> FloatArray:
    return isolated_peaks(
        taps,
        tau_rise_s=traces.tau_rise_s.astype(np.float64),
        tau_s=traces.tau_s.astype(np.float64),
        amplitude_dff=amplitude_dff,
        sigma_dff=traces.sigma_dff.astype(np.float64),
        frame_rate_hz=settings.frame_rate_hz,
        hold_frames=settings.hold_frames,
    )


def _kinetics(
    traces: TraceCalibration, run: StageRun, settings: RunSettings
) -> tuple[LogPosterior, LogPosterior, NDArray[np.int64]]:
    """Posteriors of decay and amplitude from the isolated events that noise cannot make, and how many there are."""
    prior, rate = settings.prior, settings.frame_rate_hz
    sigma = traces.sigma_dff.astype(np.float64)
    n_after = int(np.ceil(QUIET_DECAYS * prior.tau_s * rate))
    events = isolated_events(run.dff, run.event_frame, run.event_roi, n_after)
    size, error = event_sizes(events, sigma, prior.tau_rise_s, prior.tau_s, rate)
    certain = size >= CERTAIN_Z * error
    events = IsolatedEvents(events.roi[certain], events.windows[certain])
    smallest = CERTAIN_Z * event_size_error(prior.tau_rise_s, prior.tau_s, rate, events.windows.shape[1]) * sigma
    tau = decay_posterior(events, sigma, prior.tau_rise_s, prior.tau_s, rate)
    amplitude = amplitude_posterior(events, size[certain], error[certain], smallest, prior.amplitude_dff)
    return tau, amplitude, np.bincount(events.roi, minlength=len(sigma)).astype(np.int64)
