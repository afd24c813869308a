"""A recording run through the very stage that will be live, and the noise of what it gives in quiet windows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.drive_constants import DriveConstants
from rt_engine.models.indicators import Indicator
from rt_engine.models.mask_loss import MARGIN_FRAMES, Mask, clear_windows, scale_left
from rt_engine.models.noise import lower_half_scale
from rt_engine.pipeline.traces import TraceStage

FloatArray = NDArray[np.float64]

MASK_Z = 3.0  # what reaches this is taken for activity when noise is measured
QUIET_DECAYS = 6.0  # decay times after activity until a frame is quiet again
SCALE_SPREAD = 0.03  # how much the excess of noise in the filter's band differs between cells, relative


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TraceCalibration:
    """Fields of `Calibration` that come from traces; float32 ndarrays, shape (n_rois,), the taps (n_taps, n_rois)."""

    neuropil_coefficient: NDArray[np.float32]
    neuropil_median_counts: NDArray[np.float32]
    f0_counts: NDArray[np.float32]
    sigma_dff: NDArray[np.float32]
    tau_rise_s: NDArray[np.float32]
    tau_s: NDArray[np.float32]
    amplitude_dff: NDArray[np.float32]
    rate_hz: NDArray[np.float32]
    filter_taps: NDArray[np.float32]
    filter_gain: NDArray[np.float32]
    threshold: NDArray[np.float32]
    expected_detection: NDArray[np.float32]
    noise_correlation: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))


class RunSettings(NamedTuple):
    """What a run needs beside the constants of the cells."""

    frame_rate_hz: float
    prior: Indicator
    hold_frames: int
    n_before: int
    false_alarms_per_min: float


class StageRun(NamedTuple):
    """One run of the stage over the recording: arrays of shape (n_frames, n_rois), and the events."""

    dff: NDArray[np.float32]
    f0: NDArray[np.float32]
    z: NDArray[np.float32]
    event_frame: NDArray[np.int64]
    event_roi: NDArray[np.int64]


def calibration_of(current: TraceCalibration, settings: RunSettings, n_frames: int) -> Calibration:
    """Calibration of traces alone: no template, no pixels; `n_frames` is what it was made from."""
    n_rois = len(current.f0_counts)
    none, image = np.zeros(n_rois + 1, np.int64), np.zeros((1, 1), np.float32)
    fields = {name: getattr(current, name) for name in TraceCalibration.__dataclass_fields__}
    return Calibration(
        frame_rate_hz=settings.frame_rate_hz,
        n_lines=1,
        pixels_per_line=1,
        um_per_px=float("nan"),
        indicator=settings.prior.name,
        hold_frames=settings.hold_frames,
        n_baseline_frames=n_frames,
        offset_counts=0.0,
        adc_max_counts=float("nan"),
        false_alarms_per_min=settings.false_alarms_per_min,
        template=image,
        correlation_image=image,
        roi_id=np.arange(n_rois, dtype=np.uint32),
        roi_start=none,
        roi_pixels=np.zeros(0, np.uint32),
        neuropil_start=none,
        neuropil_pixels=np.zeros(0, np.uint32),
        quality=np.ones(n_rois, np.float32),
        **fields,
    )


def run_stage(
    current: TraceCalibration,
    f_roi: NDArray[np.float32],
    f_np: NDArray[np.float32],
    good: NDArray[np.bool_],
    settings: RunSettings,
    drive: DriveConstants | None = None,
    *,
    track_baseline: bool = True,
) -> StageRun:
    """Run a recording through the stage.

    Parameters
    ----------
    current : TraceCalibration
    f_roi, f_np : float32 ndarray, shape (n_frames, n_rois), counts, offset subtracted, read
    good : bool ndarray, shape (n_frames, n_rois), read
    settings : RunSettings
    drive : DriveConstants, optional
        With it the combined decision is run, else the matched filter.
    track_baseline : bool
        As of `TraceStage`.
    """
    stage = TraceStage(replace(calibration_of(current, settings, 0), drive=drive), track_baseline=track_baseline)
    n_frames, n_rois = f_roi.shape
    dff, f0, z = (np.empty((n_frames, n_rois), np.float32) for _ in range(3))
    none = np.zeros(n_rois, np.uint8)
    valid = good.astype(np.uint8)
    valid[valid == 0] = 2  # whatever was lost in the recording, every other frame is used
    frames, rois = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for t in range(n_frames):
        n = stage.process(t, 0, f_roi[t], f_np[t], valid[t], none)
        dff[t], f0[t], z[t] = stage.dff, stage.f0, stage.z
        if n:
            frames.append(stage.events["event_frame"][:n].copy())
            rois.append(stage.events["roi_id"][:n].astype(np.int64))
    return StageRun(dff, f0, z, np.concatenate(frames), np.concatenate(rois))


def quiet_frames(
    run: StageRun, good: NDArray[np.bool_], tau_s: NDArray[np.float32], settings: RunSettings
) -> NDArray[np.bool_]:
    """Good frames away from all activity told."""
    n_frames, n_rois = good.shape
    edges = np.zeros((n_frames + 1, n_rois), np.int32)
    after = _frames_after(tau_s, settings)[run.event_roi]
    np.add.at(edges, (np.maximum(run.event_frame - MARGIN_FRAMES, 0), run.event_roi), 1)
    np.add.at(edges, (np.minimum(run.event_frame + settings.hold_frames + after, n_frames), run.event_roi), -1)
    return np.asarray(good & (np.cumsum(edges[:-1], axis=0) == 0), np.bool_)


def _frames_after(tau_s: NDArray[np.float32], settings: RunSettings) -> NDArray[np.int64]:
    """Frames after an event's decision until a cell is quiet again, shape (n_rois,)."""
    return np.asarray(np.ceil(QUIET_DECAYS * tau_s * settings.frame_rate_hz), np.int64)


def reaches(run: StageRun, threshold: FloatArray) -> NDArray[np.bool_]:
    """Which events exceed a threshold within two frames of the decision."""
    frame, roi = run.event_frame, run.event_roi
    peak = np.full(len(frame), -np.inf)
    for lag in range(4):
        at = np.minimum(frame + lag, len(run.z) - 1)
        peak = np.fmax(peak, run.z[at, roi])
    return np.asarray(peak >= threshold[roi], np.bool_)


def z_scale(
    current: TraceCalibration,
    run: StageRun,
    good: NDArray[np.bool_],
    rho: FloatArray,
    skewness: FloatArray,
    settings: RunSettings,
    *,
    taps: NDArray[np.floating],
    centred: bool = False,
) -> tuple[FloatArray, FloatArray]:
    """Standard deviation of z under noise and its relative standard error, shape (n_rois,).

    From the lower half of z, about its known mean 0, in windows without activity; what is missing because noise that
    reached `MASK_Z` was left out too is given back; each cell's value is shrunk to the median of all by its error.
    `taps`, shape (n_taps, n_rois), is the filter that z comes from; `centred`, whether its median has been taken off.
    """
    n_taps = current.filter_taps.shape[0]
    busy = ~quiet_frames(run, good, current.tau_s, settings)
    clear = clear_windows(busy, n_taps) & np.isfinite(run.z)
    n_after = _frames_after(current.tau_s, settings)
    masks = [Mask(MASK_Z, settings.hold_frames, int(n), n_taps, centred) for n in n_after]
    scale = lower_half_scale(run.z, clear, skewness) / scale_left(np.asarray(taps, np.float64), masks)
    # Var of the mean square of half of n correlated normal values, correlation falling as rho^k.
    independent = clear.sum(axis=0) / 2 * (1 - rho**2) / (1 + rho**2)
    error = 1 / np.sqrt(2 * np.maximum(independent, 5.0))
    scale = scale * (1 + error**2 / 2)  # the root of a mean square of few values is too small on average
    known = np.isfinite(scale)
    centre = float(np.median(scale[known])) if known.any() else 1.0
    trust = np.where(known, SCALE_SPREAD**2 / (SCALE_SPREAD**2 + error**2), 0.0)
    shrunk = centre + trust * (np.where(known, scale, centre) - centre)
    # What is not taken from the cell's own z leaves the error of its sigma, and its own excess, uncorrected.
    sigma_error = 1.2 / np.sqrt(np.maximum((~busy).sum(axis=0), 20))
    left = np.hypot((1 - trust) * np.hypot(sigma_error, SCALE_SPREAD), trust * error)
    return np.maximum(shrunk, 0.5), left
