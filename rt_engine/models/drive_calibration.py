"""Constants of the combined decision from a baseline recording, thresholds at the rate of false events asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.drive_constants import DriveConstants
from rt_engine.interfaces.threshold_law import KAPPA_STEP, N_KAPPA
from rt_engine.models.detection import event_threshold, false_event_rates, frames_before
from rt_engine.models.drive_fit import DriveFit, fit_drive
from rt_engine.models.indicators import Indicator
from rt_engine.models.stage_run import (
    MASK_Z,
    RunSettings,
    StageRun,
    TraceCalibration,
    quiet_frames,
    run_stage,
    z_scale,
)
from rt_engine.models.trace_calibration import PhotonCounting, third_moment

FloatArray = NDArray[np.float64]

N_SCALES = 2
"""Times that the scale of z is measured."""

MIN_PAIRS = 300
SMALLEST_MEMORY = 0.01
"""Of the lag-1 correlation of z: 2 % of events; what the masks take of white noise changes it by 0.004."""

SMALLEST_RATE_PER_MIN = 1e-30
"""Rates below are no numbers any more, and no difference to anybody."""


class DriveCalibration(NamedTuple):
    """``constants``; ``taps`` : float32 ndarray, shape (n_taps, n_rois), newest sample last: the decision as a filter
    of dF/F in noise standard deviations; ``skewness`` and ``log_rate`` of `ThresholdLaw`.
    """

    constants: DriveConstants
    taps: NDArray[np.float32]
    skewness: FloatArray
    log_rate: FloatArray


def calibrate_drive(
    traces: TraceCalibration,
    f_roi: NDArray[np.float32],
    f_np: NDArray[np.float32],
    valid: NDArray[np.uint8],
    *,
    frame_rate_hz: float,
    indicator: Indicator,
    hold_frames: int,
    false_alarms_per_min: float,
    photons: PhotonCounting | None = None,
    false_event_cost: float | None = None,
) -> DriveCalibration:
    """Calibrate smoother and decision of every cell.

    Parameters
    ----------
    traces : TraceCalibration
        From `trace_calibration.calibrate_traces` of the same recording.
    f_roi, f_np : float32 ndarray, shape (n_frames, n_rois), mean counts, offset subtracted, read
    valid : uint8 ndarray, shape (n_frames, n_rois), read
        0 where a sample is missing.
    frame_rate_hz : float
    indicator : Indicator
    hold_frames : int
    false_alarms_per_min : float
        Per cell.
    photons : PhotonCounting, optional
        How skewed the noise is follows from it.
    false_event_cost : float, optional
        Decides instead of the rate: see `drive_fit.fit_drive`.

    Returns
    -------
    DriveCalibration

    Notes
    -----
    As for the matched filter: the recording is run through the live stage, and the scale of z is measured where nothing
    happens, so that whatever the model does not know is in the threshold.
    """
    settings = RunSettings(
        frame_rate_hz, indicator, hold_frames, frames_before(indicator.tau_s, frame_rate_hz), false_alarms_per_min
    )
    good = (valid == 1) & np.isfinite(f_roi) & np.isfinite(f_np)
    sigma = traces.sigma_dff.astype(np.float64)
    run = run_stage(traces, f_roi, f_np, good, settings)
    stable = (run.dff * np.sqrt(run.f0 / traces.f0_counts)).astype(np.float32)
    found = fit_drive(
        stable, good, frame_rate_hz=frame_rate_hz, prior=indicator, hold_frames=hold_frames,
        false_alarms_per_min=None if false_event_cost else false_alarms_per_min,
        false_event_cost=false_event_cost, sigma_dff=sigma,
    )  # fmt: skip
    run = run_stage(traces, f_roi, f_np, good, settings, found.constants)
    cubes = np.sum(found.taps**3, axis=0) / np.sum(found.taps**2, axis=0) ** 1.5
    skewness = cubes * third_moment(traces, photons) / (sigma * traces.f0_counts) ** 3
    return measure_noise(found, run, traces, good, settings, skewness, keeps_threshold=false_event_cost is not None)


def measure_noise(
    found: DriveFit,
    run: StageRun,
    traces: TraceCalibration,
    good: NDArray[np.bool_],
    settings: RunSettings,
    skewness: FloatArray,
    *,
    keeps_threshold: bool = False,
) -> DriveCalibration:
    """Divide z by the standard deviation that it has where nothing happens, and set thresholds by that.

    Parameters
    ----------
    found : DriveFit
    run : StageRun
        Of the live stage with `found`'s constants.
    traces : TraceCalibration
        That stage's.
    good : bool ndarray, shape (n_frames, n_rois), read
    settings : RunSettings
    skewness : float64 ndarray, shape (n_rois,)
        Of z under noise.
    keeps_threshold : bool
        Events are told by their probability.

    Returns
    -------
    DriveCalibration

    Notes
    -----
    What is taken for activity is known in standard deviations of z, so the measurement is repeated with the scale
    found, `N_SCALES` times in all: noise with memory (phi 0.3) makes z 1.4 times as wide as white noise would, and one
    pass, which masks at 3 of the narrow ones, finds 1.37 and 20 % too many events.
    """
    # What a spike leaves in the smoother lasts as long as the decay it was given.
    decay_s = -1 / (settings.frame_rate_hz * np.log(found.constants.decay))
    lasting = replace(traces, tau_s=np.maximum(traces.tau_s, decay_s).astype(np.float32))
    scale, relative_error = np.ones(run.z.shape[1]), np.zeros(run.z.shape[1])
    rho = found.rho
    for _ in range(N_SCALES):
        scaled = run._replace(z=np.asarray(run.z / scale, np.float32))
        quiet, centred = _without_activity(lasting, scaled, good, skewness, settings)
        excess, relative_error = z_scale(
            lasting, centred, good, rho, skewness, settings, taps=found.taps, centred=True
        )  # fmt: skip
        scale, rho = scale * excess, _correlation(centred.z, quiet, found.rho)
    threshold = event_threshold(
        settings.false_alarms_per_min, settings.frame_rate_hz, rho, relative_error=relative_error, skewness=skewness
    )
    constants = replace(found.constants, noise_dff=found.constants.noise_dff * scale, gain=found.constants.gain / scale)
    if not keeps_threshold:
        constants = replace(constants, threshold=threshold)
    taps = (found.taps / scale).astype(np.float32)
    rates = false_event_rates(
        KAPPA_STEP * np.arange(N_KAPPA, dtype=np.float64), settings.frame_rate_hz, rho, relative_error
    )
    return DriveCalibration(constants, taps, skewness, np.log(np.maximum(rates, SMALLEST_RATE_PER_MIN)))


def _without_activity(
    lasting: TraceCalibration,
    run: StageRun,
    good: NDArray[np.bool_],
    skewness: FloatArray,
    settings: RunSettings,
) -> tuple[NDArray[np.bool_], StageRun]:
    """Quiet frames, and the run about its centre, with every frame above `MASK_Z` for activity: an event is its first
    one only.
    """
    frame, roi = np.nonzero(run.z >= MASK_Z)
    active = run._replace(event_frame=np.maximum(frame - settings.hold_frames, 0), event_roi=roi)
    # Activity lifts the baseline that the smoother follows: its noise lies about a mean below 0. The median of a skewed
    # law is a sixth of its skewness below its mean.
    quiet = quiet_frames(active, good & np.isfinite(run.z), lasting.tau_s, settings)
    return quiet, active._replace(z=run.z - (_medians(run.z, quiet) + skewness / 6).astype(np.float32))


def _correlation(z: NDArray[np.float32], quiet: NDArray[np.bool_], of_white: FloatArray) -> FloatArray:
    """Lag-1 correlation of z under noise: that of white noise and what the cells have more or less, their median."""
    pairs = quiet[1:] & quiet[:-1]
    square = np.where(pairs, 0.5 * (z[1:] ** 2 + z[:-1] ** 2), 0.0).sum(axis=0)
    product = np.where(pairs, z[1:] * z[:-1], 0.0).sum(axis=0)
    known = pairs.sum(axis=0) >= MIN_PAIRS
    if not known.any():
        return of_white
    more = float(np.median(product[known] / square[known] - of_white[known]))
    return np.clip(of_white + more, -0.99, 0.99) if abs(more) >= SMALLEST_MEMORY else of_white


def _medians(z: NDArray[np.float32], quiet: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Median of every cell's quiet frames, shape (n_rois,); 0 without any."""
    return np.array([np.median(z[q, n]) if q.any() else 0.0 for n, q in enumerate(quiet.T)], np.float32)
