"""From the traces of a baseline recording to everything the trace stage needs: noise, kernels, filters, thresholds."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rt_engine.models.detection import event_threshold, expected_detection, frames_before, matched_filter
from rt_engine.models.indicators import Indicator
from rt_engine.models.indicators import indicator as find_indicator
from rt_engine.models.kinetics_fit import (
    CERTAIN_Z,
    IsolatedEvents,
    event_size_error,
    event_sizes,
    fit_amplitude,
    fit_decay,
    isolated_events,
)
from rt_engine.models.noise import innovation_sigma, noise_correlation
from rt_engine.models.stage_run import (
    MASK_Z,
    QUIET_DECAYS,
    RunSettings,
    StageRun,
    TraceCalibration,
    quiet_frames,
    reaches,
    run_stage,
    z_scale,
)

FloatArray = NDArray[np.float64]

__all__ = [
    "PhotonCounting",
    "TraceCalibration",
    "bounded_neuropil_coefficient",
    "calibrate_from_priors",
    "calibrate_traces",
]

N_PASSES = 3
MIN_QUIET_FRAMES = 100
BASELINE_WINDOW_S = 60.0
LOW_QUANTILE, _LOW_QUANTILE_PHI = 0.25, -0.6744897501960817
DECAY_STEP = 1.03  # decay times are rounded to this ratio, so that cells share filters
RATE_PRIOR_EVENTS, RATE_PRIOR_S = 0.5, 2.5


class PhotonCounting(NamedTuple):
    """What turns mean counts into photons: counts per photon, and pixels of every ROI and ring, shape (n_rois,)."""

    gain_counts: float
    n_roi_px: NDArray[np.float64]
    n_ring_px: NDArray[np.int64]


def calibrate_traces(
    f_roi: NDArray[np.float32],
    f_np: NDArray[np.float32],
    valid: NDArray[np.uint8],
    *,
    frame_rate_hz: float,
    indicator: Indicator | str,
    hold_frames: int,
    false_alarms_per_min: float,
    neuropil_coefficient: float | FloatArray,
    photons: PhotonCounting | None = None,
    whitens: bool = False,
) -> TraceCalibration:
    """Calibrate every cell from a recording in which the cells may be active.

    Parameters
    ----------
    f_roi, f_np : float32 ndarray, shape (n_frames, n_rois), mean counts, offset subtracted, read
    valid : uint8 ndarray, shape (n_frames, n_rois), read
        0 where a sample is missing.
    frame_rate_hz : float
    indicator : Indicator or str
        Source of the prior kernel and amplitude.
    hold_frames : int
        Frames between spike and decision.
    false_alarms_per_min : float
        Per cell.
    neuropil_coefficient : float or float64 ndarray, shape (n_rois,)
        r wanted; lowered for cells that it would make negative.
    photons : PhotonCounting, optional
        How skewed the noise is follows from it; without, it is taken for symmetric.
    whitens : bool
        Measure the correlation of successive samples of the noise, for a matched filter that is to decide by itself.

    Returns
    -------
    TraceCalibration

    Raises
    ------
    ConfigError
        The indicator's name is unknown.

    Notes
    -----
    The recording is run through the very stage that will be live, several times: what it tells as events is left out
    when noise is measured next. The last run measures the scale of z itself, so whatever the model does not know
    (residual neuropil, motion, filtered noise) is in the threshold. A short recording answers from priors, and its
    thresholds are raised by what the noise scale may be wrong.
    """
    prior = find_indicator(indicator) if isinstance(indicator, str) else indicator
    settings = RunSettings(
        frame_rate_hz, prior, hold_frames, frames_before(prior.tau_s, frame_rate_hz), false_alarms_per_min
    )
    f_roi = np.ascontiguousarray(f_roi, np.float32)
    f_np = np.ascontiguousarray(f_np, np.float32)
    good = (valid == 1) & np.isfinite(f_roi) & np.isfinite(f_np)
    start = _first_guess(f_roi, f_np, good, settings, neuropil_coefficient)
    current = start
    for _ in range(N_PASSES):
        run = run_stage(current, f_roi, f_np, good, settings)
        current = _learn(current, run, f_roi, f_np, good, settings, photons, whitens=whitens)
    run = run_stage(current, f_roi, f_np, good, settings)
    return _finish(current, run, good, settings, photons)


def calibrate_from_priors(
    f_roi: NDArray[np.float32],
    f_np: NDArray[np.float32],
    valid: NDArray[np.uint8],
    *,
    frame_rate_hz: float,
    indicator: Indicator | str,
    hold_frames: int,
    false_alarms_per_min: float,
    neuropil_coefficient: float | FloatArray,
) -> TraceCalibration:
    """Baseline, noise and neuropil of every cell by itself, kernel and amplitude of the library; see
    `calibrate_traces`.
    """
    prior = find_indicator(indicator) if isinstance(indicator, str) else indicator
    settings = RunSettings(
        frame_rate_hz, prior, hold_frames, frames_before(prior.tau_s, frame_rate_hz), false_alarms_per_min
    )
    good = (valid == 1) & np.isfinite(f_roi) & np.isfinite(f_np)
    return _first_guess(f_roi, f_np, good, settings, neuropil_coefficient)


def bounded_neuropil_coefficient(
    f_roi: NDArray[np.float32], f_np: NDArray[np.float32], good: NDArray[np.bool_], wanted: float | FloatArray
) -> FloatArray:
    """The coefficient wanted, at most 0.95 P5(F_roi) / P95(F_np) of each cell, at least 0.

    Beyond that bound the baseline could become negative and dF/F change its sign (Huang et al., eLife 2021, Fig. 2).
    """
    low = _percentile(f_roi, good, 5)
    high = _percentile(f_np, good, 95)
    bound = np.where(high > 0, 0.95 * low / np.where(high > 0, high, 1.0), wanted)
    return np.clip(bound, 0.0, wanted)


def _percentile(values: NDArray[np.float32], good: NDArray[np.bool_], q: float) -> FloatArray:
    """Percentile of the good values of every column; 0 where there is none."""
    n_good = good.sum(axis=0)
    ordered = np.sort(np.where(good, values, np.inf), axis=0)
    at = np.round(q / 100 * np.maximum(n_good - 1, 0)).astype(np.int64)
    picked = np.take_along_axis(ordered, at[None], axis=0)[0].astype(np.float64)
    return np.where(n_good > 0, np.where(np.isfinite(picked), picked, 0.0), 0.0)


def _corrected(current: TraceCalibration, f_roi: NDArray[np.float32], f_np: NDArray[np.float32]) -> NDArray[np.float32]:
    r, median = current.neuropil_coefficient, current.neuropil_median_counts
    return np.asarray(f_roi - r * (f_np - median), np.float32)


def _first_guess(
    f_roi: NDArray[np.float32],
    f_np: NDArray[np.float32],
    good: NDArray[np.bool_],
    settings: RunSettings,
    neuropil_coefficient: float | FloatArray,
) -> TraceCalibration:
    """Constants from priors, baseline and noise from quantiles that activity hardly moves."""
    n_rois = f_roi.shape[1]
    prior = settings.prior
    r = bounded_neuropil_coefficient(f_roi, f_np, good, neuropil_coefficient)
    median = _percentile(f_np, good, 50)
    f_c = f_roi - r * (f_np - median)
    gamma = np.full(n_rois, np.exp(-1 / (prior.tau_s * settings.frame_rate_hz)))
    noise_counts = innovation_sigma(np.where(good, f_c, np.nan), good, gamma)
    n_first = max(MIN_QUIET_FRAMES, round(BASELINE_WINDOW_S * settings.frame_rate_hz))
    low = _percentile(f_c[:n_first].astype(np.float32), good[:n_first], 100 * LOW_QUANTILE)
    noise_counts = np.where(np.isfinite(noise_counts) & (noise_counts > 0), noise_counts, 0.1 * np.abs(low) + 1e-6)
    f0 = np.maximum(low - _LOW_QUANTILE_PHI * noise_counts, 1e-3 + noise_counts)
    ones = np.ones(n_rois, np.float32)
    guess = TraceCalibration(
        neuropil_coefficient=r.astype(np.float32),
        neuropil_median_counts=median.astype(np.float32),
        f0_counts=f0.astype(np.float32),
        sigma_dff=(noise_counts / f0).astype(np.float32),
        tau_rise_s=ones * np.float32(prior.tau_rise_s),
        tau_s=ones * np.float32(prior.tau_s),
        amplitude_dff=ones * np.float32(prior.amplitude_dff),
        rate_hz=ones * np.float32(RATE_PRIOR_EVENTS / RATE_PRIOR_S),
        filter_taps=np.zeros((settings.n_before + 1 + settings.hold_frames, n_rois), np.float32),
        filter_gain=ones,
        threshold=ones * np.float32(MASK_Z),
        expected_detection=ones,
    )
    return _with_filters(guess, settings)[0]


def _with_filters(current: TraceCalibration, settings: RunSettings) -> tuple[TraceCalibration, FloatArray, FloatArray]:
    """Filters for the present constants, with their lag-1 correlation and sum of cubed taps, shape (n_rois,)."""
    tau = current.tau_s.astype(np.float64)
    prior_tau = settings.prior.tau_s
    bins = np.round(np.log(tau / prior_tau) / np.log(DECAY_STEP)).astype(np.int64)
    rounded = prior_tau * DECAY_STEP**bins
    taps = np.zeros_like(current.filter_taps)
    gain, rho, cubes = (np.zeros(len(tau)) for _ in range(3))
    phi = current.noise_correlation if len(current.noise_correlation) else np.zeros(len(tau))
    for step, correlation in sorted(set(zip(bins.tolist(), phi.tolist(), strict=True))):
        tau_s = prior_tau * DECAY_STEP**step
        found = matched_filter(
            settings.prior.tau_rise_s,
            tau_s,
            settings.frame_rate_hz,
            settings.hold_frames,
            settings.n_before,
            correlation,
        )
        here = (bins == step) & (phi == correlation)
        taps[:, here] = found.taps[:, None].astype(np.float32)
        gain[here], rho[here], cubes[here] = found.gain, found.rho, found.cubes
    gain *= current.amplitude_dff / current.sigma_dff
    changed = replace(current, tau_s=rounded.astype(np.float32), filter_taps=taps, filter_gain=gain.astype(np.float32))
    return changed, rho, cubes


def _learn(
    current: TraceCalibration,
    run: StageRun,
    f_roi: NDArray[np.float32],
    f_np: NDArray[np.float32],
    good: NDArray[np.bool_],
    settings: RunSettings,
    photons: PhotonCounting | None,
    *,
    whitens: bool,
) -> TraceCalibration:
    """Constants from one run: noise and baseline of quiet frames, kernel and size of isolated events."""
    prior, rate = settings.prior, settings.frame_rate_hz
    quiet = quiet_frames(run, good, current.tau_s, settings)
    enough = quiet.sum(axis=0) >= MIN_QUIET_FRAMES
    quiet = np.where(enough, quiet, good)
    gamma = np.exp(-1 / (current.tau_s.astype(np.float64) * rate))
    at_start = run.f0[0].astype(np.float64)
    skewness = third_moment(current, photons) / (current.sigma_dff * current.f0_counts).astype(np.float64) ** 3
    dff = run.dff * np.sqrt(run.f0 / at_start)
    phi = noise_correlation(dff, quiet) if whitens else np.zeros(len(gamma))
    sigma = innovation_sigma(dff, quiet, gamma, skewness, phi)
    sigma = np.where(np.isfinite(sigma) & (sigma > 0), sigma, current.sigma_dff)
    n_first = max(MIN_QUIET_FRAMES, round(BASELINE_WINDOW_S * rate))
    f_c = _corrected(current, f_roi, f_np)
    low = _percentile(f_c[:n_first], quiet[:n_first], 100 * LOW_QUANTILE)
    many = quiet[:n_first].sum(axis=0) >= MIN_QUIET_FRAMES // 2
    noise_counts = sigma * at_start
    f0 = np.where(many, np.maximum(low - _LOW_QUANTILE_PHI * noise_counts, noise_counts), at_start)
    n_after = int(np.ceil(QUIET_DECAYS * prior.tau_s * rate))
    isolated = isolated_events(run.dff, run.event_frame, run.event_roi, n_after)
    tau, amplitude = _kinetics(isolated, sigma, settings)
    changed = replace(
        current,
        f0_counts=f0.astype(np.float32),
        sigma_dff=(noise_counts / f0).astype(np.float32),
        tau_s=tau.astype(np.float32),
        amplitude_dff=amplitude.astype(np.float32),
        noise_correlation=phi.astype(np.float32),
    )
    return _with_filters(changed, settings)[0]


def _kinetics(events: IsolatedEvents, sigma: FloatArray, settings: RunSettings) -> tuple[FloatArray, FloatArray]:
    """Decay time and amplitude of every cell from those isolated events that noise cannot make."""
    prior, rate = settings.prior, settings.frame_rate_hz
    size, error = event_sizes(events, sigma, prior.tau_rise_s, prior.tau_s, rate)
    certain = size >= CERTAIN_Z * error
    events = IsolatedEvents(events.roi[certain], events.windows[certain])
    tau = fit_decay(events, sigma, prior.tau_rise_s, prior.tau_s, rate)
    unit_error = event_size_error(prior.tau_rise_s, prior.tau_s, rate, events.windows.shape[1])
    smallest = CERTAIN_Z * unit_error * sigma
    return tau, fit_amplitude(events, size[certain], error[certain], smallest, prior.amplitude_dff)


def third_moment(current: TraceCalibration, photons: PhotonCounting | None) -> FloatArray:
    """Third central moment of the noise of F_roi - r F_np at rest, counts^3, shape (n_rois,); 0 without a gain.

    The mean of n pixels with G counts a photon and mean F has variance G F / n and third moment G^2 F / n^2; detector
    noise has none. At rest F_roi is F0, which the median of the neuropil is part of.
    """
    if photons is None or not photons.gain_counts > 0:
        return np.zeros(len(current.f0_counts))
    of_roi = current.f0_counts.astype(np.float64) / photons.n_roi_px**2
    ring = np.maximum(current.neuropil_median_counts.astype(np.float64), 0.0)
    of_ring = current.neuropil_coefficient.astype(np.float64) ** 3 * ring / np.maximum(photons.n_ring_px, 1) ** 2
    return np.asarray(photons.gain_counts**2 * (of_roi - of_ring))


def _finish(
    current: TraceCalibration,
    run: StageRun,
    good: NDArray[np.bool_],
    settings: RunSettings,
    photons: PhotonCounting | None,
) -> TraceCalibration:
    """Scale of z, thresholds, and the baseline at the end of the recording."""
    n_frames, n_rois = run.z.shape
    rate = settings.frame_rate_hz
    current, rho, cubes = _with_filters(current, settings)
    skewness = cubes * third_moment(current, photons) / (current.sigma_dff * current.f0_counts).astype(np.float64) ** 3
    scale, relative_error = z_scale(current, run, good, rho, skewness, settings, taps=current.filter_taps)
    f0_end = run.f0[-1].astype(np.float64)
    sigma = current.sigma_dff * np.sqrt(current.f0_counts / f0_end)
    gain = current.filter_gain * (current.sigma_dff / sigma) / scale
    threshold = event_threshold(
        settings.false_alarms_per_min, rate, rho, relative_error=relative_error, skewness=skewness
    )
    told = np.bincount(run.event_roi[reaches(run, threshold * scale)], minlength=n_rois)
    false = settings.false_alarms_per_min * n_frames / rate / 60
    events = np.maximum(told - false, 0) + RATE_PRIOR_EVENTS
    return replace(
        current,
        f0_counts=f0_end.astype(np.float32),
        sigma_dff=sigma.astype(np.float32),
        rate_hz=(events / (n_frames / rate + RATE_PRIOR_S)).astype(np.float32),
        filter_taps=(current.filter_taps / scale).astype(np.float32),
        filter_gain=gain.astype(np.float32),
        threshold=threshold.astype(np.float32),
        expected_detection=expected_detection(threshold, gain, 1.0).astype(np.float32),
    )
