"""Contestants of the frame benchmark: what all cells cost a frame, beside reading the frame once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from rt_engine.bench.deconvolution import AR1, HOLD_FRAMES, RATE_HZ, noisy_traces, online
from rt_engine.bench.rounds import Contestant
from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.drive_constants import DriveConstants
from rt_engine.interfaces.network_weights import N_HIDDEN, N_MIDDLE, random_weights
from rt_engine.kernels.compile_options import NO_ALLOCATION
from rt_engine.kernels.drive_smoother import drive_step, empty_drive_state
from rt_engine.kernels.matched_filter import apply_filter, empty_ring, push_samples
from rt_engine.models.detection import frames_before
from rt_engine.models.drive_fit import fit_drive
from rt_engine.models.indicators import indicator
from rt_engine.models.stage_run import RunSettings, calibration_of
from rt_engine.models.trace_calibration import calibrate_from_priors
from rt_engine.pipeline.drive import drive_model
from rt_engine.pipeline.traces import TraceStage

FRAME_SHAPE = (512, 512)
INDICATOR = "jGCaMP8m"
_COUNTS = 1000.0
_N_BASELINE = 300
FALSE_ALARMS_PER_MIN = 0.5
WITH_NETWORK = "trace stage, with network"


@njit(types.uint64(types.Array(types.uint16, 1, "C")), **NO_ALLOCATION)
def sum_of_pixels(pixels: NDArray[np.uint16]) -> np.uint64:
    """One pass over the memory of a frame.

    Parameters
    ----------
    pixels : uint16 ndarray, shape (n_pixels,), counts, read

    Returns
    -------
    uint64
    """
    total = np.uint64(0)
    for i in range(pixels.shape[0]):
        total += np.uint64(pixels[i])
    return total


def memory_pass() -> Contestant:
    """Reading 512 x 512 uint16 pixels once, each time those of another frame."""
    frames = np.random.default_rng(0).integers(0, 4096, (16, FRAME_SHAPE[0] * FRAME_SHAPE[1]), np.uint16)

    def run() -> None:
        for _ in range(4):
            for pixels in frames:
                sum_of_pixels(pixels)

    return Contestant("memory pass", 4 * len(frames), run)


def _calibration(n_rois: int, f_roi: NDArray[np.float32], f_np: NDArray[np.float32]) -> Calibration:
    prior = indicator(INDICATOR)
    settings = RunSettings(RATE_HZ, prior, HOLD_FRAMES, frames_before(prior.tau_s, RATE_HZ), FALSE_ALARMS_PER_MIN)
    found = calibrate_from_priors(
        f_roi,
        f_np,
        np.ones((_N_BASELINE, n_rois), np.uint8),
        frame_rate_hz=RATE_HZ,
        indicator=prior,
        hold_frames=HOLD_FRAMES,
        false_alarms_per_min=FALSE_ALARMS_PER_MIN,
        neuropil_coefficient=0.7,
    )
    return calibration_of(found, settings, _N_BASELINE)


def _drive_constants(dff: NDArray[np.float32]) -> DriveConstants:
    return fit_drive(
        dff,
        np.ones(dff.shape, np.bool_),
        frame_rate_hz=RATE_HZ,
        prior=indicator(INDICATOR),
        hold_frames=HOLD_FRAMES,
        false_alarms_per_min=FALSE_ALARMS_PER_MIN,
    ).constants


def _stage(name: str, stage: TraceStage, f_roi: NDArray[np.float32], f_np: NDArray[np.float32]) -> Contestant:
    """Normalise, push, deconvolve, decide and track the baseline, with every call of Python between them."""
    valid, censored = np.ones(f_roi.shape[1], np.uint8), np.zeros(f_roi.shape[1], np.uint8)

    def run() -> None:
        for t in range(len(f_roi)):
            stage.process(t, 0, f_roi[t], f_np[t], valid, censored)

    stage.warm_up()
    run()
    return Contestant(name, len(f_roi), run)


def contestants(n_rois: int, n_frames: int) -> list[Contestant]:
    """Memory pass, deconvolution, smoother, filter bank and the whole stage with each of its decisions, per frame."""
    dff = noisy_traces(AR1, n_frames + _N_BASELINE, n_rois, seed=5)
    f_roi = (_COUNTS * (1 + dff)).astype(np.float32)
    f_np = np.full_like(f_roi, _COUNTS)
    calibration = _calibration(n_rois, f_roi[:_N_BASELINE], f_np[:_N_BASELINE])
    drive = _drive_constants(dff[:_N_BASELINE])
    matched, combined = TraceStage(calibration), TraceStage(replace(calibration, drive=drive))
    voted = TraceStage(replace(calibration, drive=drive, network=random_weights(N_HIDDEN, N_MIDDLE, 0, 0.3)))
    samples = f_roi[_N_BASELINE:], f_np[_N_BASELINE:]
    deconvolution = online("deconvolution", AR1, n_rois, n_frames, 0.5, seed=6)
    return [
        memory_pass(),
        deconvolution._replace(n_units=n_frames),
        _smoother(drive, dff[_N_BASELINE:]),
        _filter_bank(matched, dff[_N_BASELINE:], np.ones(n_rois, np.uint8)),
        _stage("trace stage, matched filter", matched, *samples),
        _stage("trace stage, combined", combined, *samples),
        _stage(WITH_NETWORK, voted, *samples),
    ]


def _smoother(drive: DriveConstants, dff: NDArray[np.float32]) -> Contestant:
    model = drive_model(drive, np.arange(dff.shape[1], dtype=np.uint32))
    state = empty_drive_state(dff.shape[1], HOLD_FRAMES + 1, model.smoother)
    usable = np.ones(dff.shape[1], np.uint8)

    def run() -> None:
        for row in dff:
            drive_step(row, usable, state)

    run()
    return Contestant("drive smoother", len(dff), run)


def _filter_bank(stage: TraceStage, dff: NDArray[np.float32], code: NDArray[np.uint8]) -> Contestant:
    n_taps, n_rois = stage.n_taps, dff.shape[1]
    ring = empty_ring(n_taps, n_rois)
    taps, gamma = np.ones((n_taps, n_rois), np.float32), np.full(n_rois, AR1.slow, np.float32)
    z, energy, mean_before = (np.zeros(n_rois, np.float32) for _ in range(3))

    def run() -> None:
        for t, row in enumerate(dff):
            push_samples(row, code, t % n_taps, ring)
            apply_filter((t + 1) % n_taps, n_taps - 1 - HOLD_FRAMES, taps, gamma, ring, z, energy, mean_before)

    run()
    return Contestant("filter bank", len(dff), run)
