"""The network in the engine: it votes where the rig says so, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from naive.network import untrained
from numba.core import event
from numpy.typing import NDArray
from small_field import N_BASELINE

from rt_engine.interfaces.calibration import Calibration, load_calibration, save_calibration
from rt_engine.interfaces.calibration_bytes import pack_cells, unpack_cells
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.kernels.drive_smoother import DriveParameters, drive_run, empty_drive_state
from rt_engine.models.drive_fit import fit_drive
from rt_engine.models.indicators import indicator
from rt_engine.pipeline.drive import DriveStage
from rt_engine.pipeline.engine import ACTIVITY_FIELDS, Engine
from rt_engine.pipeline.network import bounds_of_trust, lag_filters

PROBABILITY = ACTIVITY_FIELDS.index("probability")


def run(calibration: Calibration, frames: NDArray[np.uint16]) -> tuple[NDArray[np.float32], list[tuple[int, int]]]:
    """Activity of every frame, and (cell, frame) of every event."""
    engine = Engine(calibration, 4.0, MonotonicClock())
    engine.warm_up()
    activity, events = [], []
    with event.install_recorder("numba:compile") as recorder:
        for number, frame in enumerate(frames):
            n = engine.process(frame, number, number * 33_333_333, 0)
            events += [(int(e["roi_id"]), int(e["event_frame"])) for e in engine.events[:n]]
            engine.fill_activity()
            activity.append(engine.activity.copy())
    assert not recorder.buffer
    return np.stack(activity), events


def test_it_moves_probabilities_and_leaves_the_events_of_a_threshold(
    calibration: Calibration, frames: NDArray[np.uint16]
) -> None:
    live = frames[N_BASELINE:]
    plain, events = run(calibration, live)
    voted, same_events = run(replace(calibration, network=untrained(size=1.0)), live)
    known = np.isfinite(plain[:, PROBABILITY])
    assert known.any()
    assert np.isfinite(voted[:, PROBABILITY]).tolist() == known.tolist()
    moved = np.abs(np.log(voted[:, PROBABILITY][known] / plain[:, PROBABILITY][known]))
    assert 0.1 < moved.max() <= 1.125 + 1e-3
    assert events
    assert same_events == events
    unmoved = [k for k, name in enumerate(ACTIVITY_FIELDS) if name not in {"probability", "spike"}]
    assert plain[:, unmoved].tobytes() == voted[:, unmoved].tobytes()


def test_weights_are_of_the_rig_and_in_no_calibration_file(calibration: Calibration, tmp_path: Path) -> None:
    weights = untrained()
    with_weights = replace(calibration, network=weights)
    save_calibration(tmp_path / "calibration.h5", with_weights)
    assert load_calibration(tmp_path / "calibration.h5").network is None
    assert unpack_cells(pack_cells(calibration), with_weights).network is weights


def test_without_the_drive_there_is_nothing_to_vote_on(calibration: Calibration) -> None:
    with pytest.raises(CalibrationError, match="matched filter: no network can vote"):
        Engine(replace(calibration, drive=None, network=untrained()), 4.0, MonotonicClock())


def test_noise_and_response_of_a_lag_are_those_of_the_settled_filter() -> None:
    """The fit of the drive knows the noise from a run of its own; the response is what a planted spike gives."""
    decay, rise = np.exp(-1 / 12.0), np.exp(-1 / 1.5)
    parameters = DriveParameters(*(np.full(2, v) for v in (decay, rise, 1.2, 1.1, 0.01, 0.001, 9e-6)))
    noise, response = lag_filters(parameters)
    frames = np.arange(40)
    y = np.zeros((300 + len(frames), 2), np.float32)
    y[300:] = (1.2 * decay**frames - 1.1 * rise**frames)[:, None]
    for place, lag in enumerate((0, 1, 2, 3, 5)):
        out = np.zeros_like(y)
        drive_run(y, np.ones(y.shape, np.uint8), lag, empty_drive_state(2, 6, parameters), out)
        np.testing.assert_allclose(response[place], out[300 + lag], rtol=5e-3, atol=1e-4)
    white = np.random.default_rng(0).normal(0, 0.1, (9000, 2)).astype(np.float32)
    for place, lag in ((0, 0), (3, 3)):
        out = np.zeros_like(white)
        drive_run(white, np.ones(white.shape, np.uint8), lag, empty_drive_state(2, 6, parameters), out)
        np.testing.assert_allclose(out[500:].std(axis=0), noise[place], rtol=0.06)


def test_the_rate_is_voted_on_at_high_noise_alone_and_the_odds_always() -> None:
    """75 % of exp(1.5); of the rate, at 2.7 % per root hertz, half of 75 % of exp(0.5). sigma = nu root rate / 100."""
    noise = np.array([0.5, 1.5, 2.7, 4.0, 20.0])
    for rate_hz in (8.0, 30.0, 120.0):
        y = np.random.default_rng(0).standard_normal((400, 5)).astype(np.float32)
        fit = fit_drive(
            y, np.ones(y.shape, np.bool_), prior=indicator("GCaMP6f"), frame_rate_hz=rate_hz, hold_frames=3,
            false_alarms_per_min=None, sigma_dff=noise / 100 * np.sqrt(rate_hz),
        )  # fmt: skip
        odds, rate = bounds_of_trust(fit.constants, rate_hz)
        np.testing.assert_allclose(odds, 1.125)
        assert (np.diff(rate) > 0).all()
        np.testing.assert_allclose(rate[2], 0.375 / 2, rtol=1e-5)
        assert rate[0] < 0.001
        assert 0.34 < rate[3] < rate[4] <= 0.375


def test_cells_that_are_gathered_go_on_to_the_same_bits() -> None:
    rng = np.random.default_rng(1)
    dff = rng.normal(0, 0.1, (200, 90)).astype(np.float32)
    law = {"frame_rate_hz": 30.0, "hold_frames": 3, "false_alarms_per_min": 0.5}
    weights = untrained(size=1.0)

    def stage_of(rows: slice) -> DriveStage:
        own = np.ascontiguousarray(dff[:, rows])
        fit = fit_drive(own, np.ones(own.shape, np.bool_), prior=indicator("GCaMP6f"), **law)
        n = own.shape[1]
        return DriveStage(fit.constants, np.arange(n, dtype=np.uint32), np.ones(n, np.float32), 3, weights, 30.0)

    def step(stage: DriveStage, t: int, rows: slice) -> NDArray[np.float32]:
        own = np.ascontiguousarray(dff[t, rows])
        n, good = len(own), np.ones(len(own), np.uint8)
        rate, z, probability = np.zeros((3, n), np.float32)
        stage.process(t, 0, own, np.ones(n, np.float32), good, good, rate, z, probability, np.zeros(n, EVENT_DTYPE))
        return probability

    whole, parts = stage_of(slice(0, 90)), [slice(0, 70), slice(70, 73), slice(73, 90)]
    several = [stage_of(rows) for rows in parts]
    for t in range(50):
        step(whole, t, slice(0, 90))
        for stage, rows in zip(several, parts, strict=True):
            step(stage, t, rows)
    gathered = stage_of(slice(0, 90))
    gathered.adopt(several)
    for t in range(50, 60):
        told = [step(stage, t, slice(0, 90)) for stage in (whole, gathered)]
        assert told[0].tobytes() == told[1].tobytes()
    fresh = stage_of(slice(0, 90))
    assert step(fresh, 60, slice(0, 90)).tobytes() != step(whole, 60, slice(0, 90)).tobytes()
