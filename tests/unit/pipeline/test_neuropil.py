"""The coefficient follows slow change at its pace, holds still where nothing changes, and can be switched off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from naive.neuropil import RATE_HZ, OneCell, planted
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.kernels.neuropil_update import CoefficientState, track_coefficient
from rt_engine.models.indicators import indicator
from rt_engine.models.stage_run import RunSettings, calibration_of
from rt_engine.models.trace_calibration import calibrate_from_priors
from rt_engine.pipeline.neuropil import PACE_PER_MIN, NeuropilUpdate
from rt_engine.pipeline.traces import TraceStage

N_CELLS = 6
PACE = np.array([1 / (600 * RATE_HZ), 60 * RATE_HZ, 0.01 / 60 / RATE_HZ])


def empty_state(n: int) -> CoefficientState:
    return CoefficientState(*(np.zeros(n) for _ in range(7)), np.full(n, np.nan), np.full(n, np.nan))


@pytest.mark.parametrize("seed", range(3))
def test_the_kernel_does_what_its_twin_does(seed: int) -> None:
    f_roi, f_np = planted(seed, ring_noise=0.05, correlated=True, n_frames=1500, n_cells=4)
    rng = np.random.default_rng(seed)
    f_np[300:310, 0] = 2.0
    f_roi[400] = np.float64(rng.normal(20, 1, 4))
    code = (rng.random(f_roi.shape) < 0.95).astype(np.uint8)
    hold_off = np.where(rng.random(f_roi.shape) < 0.1, 3, 0)
    pace = (1 / 500, 40.0, 1e-3)
    r, state = np.full(4, 0.6), empty_state(4)
    twins = [OneCell(0.6, 0.1, 2.9, pace) for _ in range(4)]
    for y, x, c, h in zip(f_roi.astype(np.float32), f_np.astype(np.float32), code, hold_off, strict=True):
        track_coefficient(y, x, c, h, np.full(4, 0.1), np.full(4, 2.9), np.array(pace), state, r)
        expected = [twin.step(float(y[k]), float(x[k]), bool(c[k] == 1 and h[k] <= 0)) for k, twin in enumerate(twins)]
        np.testing.assert_allclose(r, expected, rtol=1e-9)
    assert np.all(r != 0.6)


def calibration(f_roi: NDArray, f_np: NDArray, **changes: object) -> Calibration:
    prior = indicator("jGCaMP8m")
    made = calibrate_from_priors(
        f_roi, f_np, np.ones(f_roi.shape, np.uint8), frame_rate_hz=RATE_HZ, indicator=prior, hold_frames=1,
        false_alarms_per_min=0.5, neuropil_coefficient=0.7,
    )  # fmt: skip
    settings = RunSettings(RATE_HZ, prior, 1, made.filter_taps.shape[0] - 2, 0.5)
    return replace(calibration_of(made, settings, len(f_roi)), **changes)  # type: ignore[arg-type]


def run(of: Calibration, f_roi: NDArray, f_np: NDArray) -> NDArray[np.float64]:
    """Coefficients after every minute, shape (n_minutes, n_rois), out of the trace stage."""
    stage = TraceStage(of)
    stage.warm_up()
    ones, none = np.ones(f_roi.shape[1], np.uint8), np.zeros(f_roi.shape[1], np.uint8)
    out = []
    for frame, (y, x) in enumerate(zip(f_roi, f_np, strict=True)):
        stage.process(frame, 0, y, x, ones, none)
        if (frame + 1) % round(60 * RATE_HZ) == 0:
            out.append(stage.neuropil_coefficient.copy())
    return np.array(out)


def recording(n_minutes: int, drift: float, correlated: bool = False) -> tuple[NDArray, NDArray]:
    """Counts; r of 0.7 in the first minute and a half, then moving by `drift` to the end."""
    f_roi, f_np = planted(3, ring_noise=0.02, correlated=correlated, n_frames=n_minutes * 1800, n_cells=N_CELLS)
    course = np.interp(np.arange(len(f_roi)), [2700, len(f_roi)], [0.0, drift])[:, None]
    return (100 * (f_roi + course * (f_np - 2))).astype(np.float32), (100 * f_np).astype(np.float32)


def test_slow_change_is_followed_at_the_stated_pace_and_no_faster() -> None:
    f_roi, f_np = recording(25, -0.2)
    of = calibration(f_roi[:2700], f_np[:2700], updates_neuropil=True)
    course = run(of, f_roi, f_np)
    assert np.abs(np.diff(course, axis=0)).max() <= PACE_PER_MIN * (1 + 1e-9)
    # A ramp is followed with the delay of the memory: 600 s, times 1.6 because frames that a change of r moves over
    # the limits are lost. The truth ends at 0.5, 16 minutes of the ramp before it at 0.64.
    assert course[-1].mean() == pytest.approx(0.64, abs=0.04)


def test_where_nothing_changes_it_stays() -> None:
    for correlated in (False, True):
        f_roi, f_np = recording(15, 0.0, correlated)
        course = run(calibration(f_roi[:2700], f_np[:2700], updates_neuropil=True), f_roi, f_np)
        assert np.sqrt(np.mean((course[-1] - 0.7) ** 2)) < 0.06


def test_switched_off_nothing_moves_and_a_prior_is_left_alone() -> None:
    f_roi, f_np = recording(3, -0.2)
    off = calibration(f_roi[:2700], f_np[:2700])
    assert not off.updates_neuropil
    np.testing.assert_array_equal(run(off, f_roi, f_np), np.float32(0.7))
    prior = np.array([1, 0, 0, 0, 0, 0], np.uint8)
    course = run(replace(off, updates_neuropil=True, neuropil_from_prior=prior), f_roi, f_np)
    assert np.all(course[:, 0] == np.float32(0.7))
    assert np.all(course[-1, 1:] != np.float32(0.7))


def test_a_second_run_gives_the_same_bits() -> None:
    f_roi, f_np = recording(3, -0.2)
    of = calibration(f_roi[:2700], f_np[:2700], updates_neuropil=True)
    assert run(of, f_roi, f_np).tobytes() == run(of, f_roi, f_np).tobytes()


def test_a_change_is_told_once() -> None:
    f_roi, f_np = recording(2, 0.0)
    update = NeuropilUpdate(calibration(f_roi, f_np, updates_neuropil=True))
    coefficient = np.full(N_CELLS, np.float64(np.float32(0.7)))
    assert update.take_report(coefficient).tolist() == []
    coefficient[2] -= 0.021
    coefficient[3] += 0.019
    assert update.take_report(coefficient).tolist() == [2]
    assert update.take_report(coefficient).tolist() == []
