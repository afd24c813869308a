"""Calibration of the combined decision: false events at the rate asked for, detection as told."""

import numpy as np
import pytest
from naive.planted_traces import planted_traces
from scipy.stats import poisson

from rt_engine.models.detection import frames_before
from rt_engine.models.detection_probability import isolated_detection
from rt_engine.models.drive_calibration import calibrate_drive
from rt_engine.models.indicators import indicator
from rt_engine.models.stage_run import RunSettings, run_stage
from rt_engine.models.trace_calibration import PhotonCounting, calibrate_traces

RATE_HZ, HOLD, PER_MIN = 30.0, 1, 0.5
PRIOR = indicator("jGCaMP8m")
KERNEL = {"tau_rise_s": PRIOR.tau_rise_s, "tau_s": PRIOR.tau_s, "amplitude_dff": PRIOR.amplitude_dff}
SETTINGS = RunSettings(RATE_HZ, PRIOR, HOLD, frames_before(PRIOR.tau_s, RATE_HZ), PER_MIN)
N_ROIS = 80


@pytest.fixture(scope="module")
def calibrated():
    planted = planted_traces(
        40, n_rois=N_ROIS, rate_hz=0.2, amplitude_over_sigma=np.geomspace(2.5, 8, N_ROIS), **KERNEL
    )
    one_px = np.ones(N_ROIS, np.int64)
    law = {"frame_rate_hz": RATE_HZ, "indicator": PRIOR, "hold_frames": HOLD, "false_alarms_per_min": PER_MIN}
    law |= {"photons": PhotonCounting(20.0, one_px, 4 * one_px)}
    recording = planted.f_roi, planted.f_np, planted.valid
    traces = calibrate_traces(*recording, neuropil_coefficient=0.7, **law)
    return planted, traces, calibrate_drive(traces, *recording, **law)


def test_false_events_of_the_same_cells_when_silent_are_nominal(calibrated):
    planted, traces, drive = calibrated
    snr = KERNEL["amplitude_dff"] / planted.sigma_dff
    silent = planted_traces(41, n_rois=N_ROIS, n_frames=5400, rate_hz=0, amplitude_over_sigma=snr, **KERNEL)
    run = run_stage(traces, silent.f_roi, silent.f_np, silent.valid == 1, SETTINGS, drive.constants)
    low, high = poisson.interval(0.99, PER_MIN * 3 * N_ROIS)
    assert low <= len(run.event_frame) <= high


def test_isolated_spikes_are_detected_as_often_as_told(calibrated):
    planted, traces, drive = calibrated
    snr = KERNEL["amplitude_dff"] / planted.sigma_dff
    test = planted_traces(42, n_rois=N_ROIS, n_frames=5400, rate_hz=0, amplitude_over_sigma=snr, **KERNEL)
    every_s, photons = 4.0, test.f0_counts / 20.0
    spikes_s = np.arange(2.0, 178.0, every_s) + np.random.default_rng(43).random(44) / RATE_HZ
    t_s = np.arange(5400) / RATE_HZ
    top_s = np.log(PRIOR.tau_s / PRIOR.tau_rise_s) * PRIOR.tau_s * PRIOR.tau_rise_s / (PRIOR.tau_s - PRIOR.tau_rise_s)
    peak = np.exp(-top_s / PRIOR.tau_s) - np.exp(-top_s / PRIOR.tau_rise_s)
    calcium = np.zeros((5400, N_ROIS))
    for n, phase_s in enumerate(np.random.default_rng(44).random(N_ROIS) / RATE_HZ):
        since = (t_s + phase_s)[:, None] - spikes_s
        later = np.maximum(since, 0.0)  # at 0 the two cancel
        lit = np.exp(-later / PRIOR.tau_s) - np.exp(-later / PRIOR.tau_rise_s)
        calcium[:, n] = PRIOR.amplitude_dff / peak * lit.sum(axis=1)
    light = np.random.default_rng(45).poisson(photons * calcium)
    f_roi = (test.f_roi + 20.0 * light).astype(np.float32)
    run = run_stage(traces, f_roi, test.f_np, test.valid == 1, SETTINGS, drive.constants)
    frame = np.floor(spikes_s * RATE_HZ).astype(int)
    hit = [np.any(np.abs(run.event_frame[run.event_roi == n] - at) <= 3) for n in range(N_ROIS) for at in frame]
    told = isolated_detection(
        drive.taps, drive.constants.threshold, tau_rise_s=traces.tau_rise_s.astype(float),
        tau_s=np.full(N_ROIS, PRIOR.tau_s), amplitude_dff=np.full(N_ROIS, PRIOR.amplitude_dff),
        sigma_dff=traces.sigma_dff.astype(float),
        frame_rate_hz=RATE_HZ, hold_frames=HOLD,
    )  # fmt: skip
    found = np.mean(np.reshape(hit, (N_ROIS, -1)), axis=1)
    assert 0.1 < told.min() < 0.6
    assert told.max() > 0.95
    for half in (slice(None, N_ROIS // 2), slice(N_ROIS // 2, None)):
        assert np.mean(found[half]) == pytest.approx(np.mean(told[half]), abs=0.06)
