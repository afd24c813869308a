"""False events in noise that remembers its last value, by method: `python tests/benchmarks/coloured_noise.py`.

Prints how many events are told and how many were asked for, through `infer_traces` (3,000 frames of baseline, then 3
minutes) and through the calibration of the live engine (3,600 frames, then 2 minutes). Nothing fires.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from rt_engine.models.detection import frames_before
from rt_engine.models.drive_calibration import calibrate_drive
from rt_engine.models.indicators import indicator
from rt_engine.models.stage_run import RunSettings, run_stage
from rt_engine.models.trace_calibration import calibrate_traces
from rt_engine.models.trace_inference import InferenceSettings, Method, infer_traces

RATE_HZ, PER_MIN, SIGMA_DFF = 30.0, 1.0, 0.1
CORRELATIONS = (0.0, 0.1, 0.3)


def noise(phi: float, n_frames: int, n_rois: int) -> NDArray[np.float32]:
    """dF/F of cells that never fire, shape (n_frames, n_rois)."""
    white = np.random.default_rng(3).standard_normal((n_frames, n_rois))
    return np.asarray(SIGMA_DFF * lfilter([np.sqrt(1 - phi**2)], [1.0, -phi], white, axis=0), np.float32)


def told_by_infer(method: Method, phi: float, n_rois: int = 1000) -> tuple[int, float]:
    """Events of `infer_traces` after the baseline, and how many were asked for."""
    n_baseline, n_test = 3000, round(180 * RATE_HZ)
    settings = InferenceSettings(
        indicator=indicator("GCaMP6f"), method=method, hold_frames=3, baseline_s=n_baseline / RATE_HZ,
        false_alarms_per_min=PER_MIN,
    )  # fmt: skip
    traces = np.ascontiguousarray(noise(phi, n_baseline + n_test, n_rois).T)
    events = infer_traces(traces, np.full(n_rois, RATE_HZ), settings).events
    return int((events["decided_frame"] >= n_baseline).sum()), PER_MIN * 3 * n_rois


def told_live(name: str, hold_frames: int, phi: float, n_rois: int = 300) -> tuple[int, float]:
    """Events of the combined decision as `calibrate` sets it, and how many were asked for."""
    prior, n_frames = indicator(name), 3600
    settings = RunSettings(RATE_HZ, prior, hold_frames, frames_before(prior.tau_s, RATE_HZ), PER_MIN)
    f = (1000 * (1 + noise(phi, 2 * n_frames, n_rois))).astype(np.float32)
    none, there = np.zeros_like(f), np.ones(f.shape, np.uint8)
    baseline = f[:n_frames], none[:n_frames], there[:n_frames]
    traces = calibrate_traces(
        *baseline, frame_rate_hz=RATE_HZ, indicator=prior, hold_frames=hold_frames, false_alarms_per_min=PER_MIN,
        neuropil_coefficient=0.0,
    )  # fmt: skip
    drive = calibrate_drive(
        traces, *baseline, frame_rate_hz=RATE_HZ, indicator=prior, hold_frames=hold_frames,
        false_alarms_per_min=PER_MIN,
    )  # fmt: skip
    run = run_stage(traces, f[n_frames:], none[n_frames:], there[n_frames:] == 1, settings, drive.constants)
    return len(run.event_frame), PER_MIN * n_frames / RATE_HZ / 60 * n_rois


def main() -> None:
    """Print the table."""
    for phi in CORRELATIONS:
        for method in (Method.MATCHED_FILTER, Method.COMBINED):
            print(f"infer {method.value:15s} phi {phi:.1f}: {'{} of {:.0f}'.format(*told_by_infer(method, phi))}")
        for name, hold_frames in (("GCaMP6f", 3), ("jGCaMP8m", 1)):
            print(f"live {name:16s} phi {phi:.1f}: {'{} of {:.0f}'.format(*told_live(name, hold_frames, phi))}")


if __name__ == "__main__":
    main()
