"""What a decision by cost finds and tells falsely in every cell: no formula gives it, so the decision is run."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.drive_constants import DriveConstants
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.trace_uncertainty import TraceUncertainty
from rt_engine.kernels.sample_codes import GOOD
from rt_engine.models.detection_probability import N_AFTER, spike_response
from rt_engine.models.drive_calibration import DriveCalibration
from rt_engine.models.probability_table import probability_tables
from rt_engine.models.stage_run import TraceCalibration
from rt_engine.models.trace_calibration import PhotonCounting, third_moment
from rt_engine.pipeline.drive import DriveStage

FloatArray = NDArray[np.float64]

N_COPIES = 400  # of every cell, each with one spike: standard error of a detection below 0.025
WARM_FRAMES = 100  # until the smoother's gains have settled
NOISE_FRAMES = 135  # of noise that every copy is then watched for: half an hour in all at 30 Hz
_LEAST_SKEWNESS = 0.02  # of the gamma law, which is as good as normal then
_SEED = 2


def require_reachable(false_event_cost: float, hold_frames: int, key: str) -> None:
    """Refuse a cost at which no spike, however large, would be told.

    Raises
    ------
    ConfigError
        The probability never reaches C / (1 + C) at this hold.
    """
    wanted = false_event_cost / (1 + false_event_cost)
    largest = float(probability_tables(hold_frames)[1][1].max())
    if wanted > largest:
        raise ConfigError(
            f"a cost of {false_event_cost:g} wants a probability of {wanted:.3f}, but with a hold of {hold_frames} "
            f"frame(s) {largest:.3f} is the largest told",
            f"give at most {np.floor(100 * largest / (1 - largest)) / 100:g}, or wait longer",
            key=key,
        )


def price_of_cost(
    traces: TraceCalibration,
    drive: DriveCalibration,
    known: TraceUncertainty,
    *,
    photons: PhotonCounting,
    frame_rate_hz: float,
    hold_frames: int,
) -> dict[str, Any]:
    """Detection and false events to expect of a decision by probability, as fields of `Calibration`.

    Parameters
    ----------
    traces : TraceCalibration
    drive : DriveCalibration
        With constants that decide by probability.
    known : TraceUncertainty
        Its `detection_low` and `detection_high` are found anew, for amplitudes one standard error off.
    photons : PhotonCounting
        How skewed the noise is follows from it.
    frame_rate_hz : float
    hold_frames : int

    Notes
    -----
    White noise of the size that z was measured to have, with the skewness of photons (a shifted gamma law), isolated
    spikes of random phase; photon noise grows with the signal, its variance by 1 + dF/F. Each cell is run `N_COPIES`
    times side by side.
    """
    noise_dff = traces.sigma_dff / np.sqrt(np.sum(drive.taps.astype(np.float64) ** 2, axis=0))
    skewness = third_moment(traces, photons) / (traces.sigma_dff * traces.f0_counts).astype(np.float64) ** 3
    stage_of = _StageOf(_copies(drive.constants), hold_frames, noise_dff, skewness)
    spike = traces.tau_rise_s, traces.tau_s, frame_rate_hz
    low, expected, high = (
        _told(stage_of, np.maximum(traces.amplitude_dff + step * known.amplitude_se_dff, 0.0), *spike)
        for step in (-1, 0, 1)
    )
    minutes = N_COPIES * NOISE_FRAMES / frame_rate_hz / 60
    false = _events(stage_of, np.zeros((NOISE_FRAMES, 1), np.float32), WARM_FRAMES).sum(axis=1) / minutes
    return {
        "expected_detection": expected.astype(np.float32),
        "false_events_per_min": false.astype(np.float32),
        "uncertainty": replace(known, detection_low=low.astype(np.float32), detection_high=high.astype(np.float32)),
    }


class _StageOf(NamedTuple):
    """``constants`` of all copies; ``noise_dff``, ``skewness`` of every cell, shape (n_rois,)."""

    constants: DriveConstants
    hold_frames: int
    noise_dff: FloatArray
    skewness: FloatArray


def _copies(constants: DriveConstants) -> DriveConstants:
    """Every cell `N_COPIES` times, one after the other."""
    of_cells = [field.name for field in fields(constants) if getattr(constants, field.name).ndim == 1]
    return replace(constants, **{name: np.repeat(getattr(constants, name), N_COPIES) for name in of_cells})


def _told(
    stage_of: _StageOf,
    amplitude_dff: NDArray[np.floating],
    tau_rise_s: NDArray[np.float32],
    tau_s: NDArray[np.float32],
    frame_rate_hz: float,
) -> FloatArray:
    """Share of isolated spikes that are told from one frame before the decision's own on, shape (n_rois,)."""
    hold_frames, n_rois = stage_of.hold_frames, len(amplitude_dff)
    rng = np.random.default_rng(_SEED)
    phase = rng.random((n_rois, N_COPIES)) - rng.random((n_rois, N_COPIES))  # of the spike, less that of the scan
    t_s = (np.arange(-1, hold_frames + N_AFTER + 1)[:, None, None] + phase) / frame_rate_hz
    rise, decay = (tau[:, None].astype(np.float64) for tau in (tau_rise_s, tau_s))
    pulse = amplitude_dff[:, None] * spike_response(t_s, rise, decay)
    events = _events(stage_of, pulse.reshape(len(pulse), -1).astype(np.float32), WARM_FRAMES + hold_frames)
    return np.asarray(np.mean(events > 0, axis=1))


def _events(stage_of: _StageOf, signal: NDArray[np.float32], first: int) -> NDArray[np.int64]:
    """Events decided from frame `first` on, shape (n_rois, N_COPIES); `signal` is dF/F after `WARM_FRAMES` of rest."""
    n_cells = len(stage_of.noise_dff) * N_COPIES
    ones, roi_id = np.ones(n_cells, np.float32), np.arange(n_cells, dtype=np.uint32)
    stage = DriveStage(stage_of.constants, roi_id, ones, stage_of.hold_frames)
    usable, code = np.ones(n_cells, np.uint8), np.full(n_cells, GOOD, np.uint8)
    rate, z, probability = (np.empty(n_cells, np.float32) for _ in range(3))
    events = np.zeros(n_cells, EVENT_DTYPE)
    rng = np.random.default_rng(_SEED + 1)
    skewness = np.copysign(np.maximum(np.abs(stage_of.skewness), _LEAST_SKEWNESS), stage_of.skewness)
    shape = np.repeat((4 / skewness**2), N_COPIES).astype(np.float32)
    size = np.repeat(stage_of.noise_dff * skewness / 2, N_COPIES).astype(np.float32)
    found = np.zeros(n_cells, np.int64)
    for frame in range(WARM_FRAMES + len(signal)):
        lit = signal[frame - WARM_FRAMES] if frame >= WARM_FRAMES else np.float32(0)
        noise = size * (rng.standard_gamma(shape, dtype=np.float32) - shape)
        dff = (lit + np.sqrt(1 + lit) * noise).astype(np.float32)
        n = stage.process(frame, 0, dff, ones, usable, code, rate, z, probability, events)
        if frame >= first:
            found[events["roi_id"][:n]] += 1
    return found.reshape(-1, N_COPIES)
