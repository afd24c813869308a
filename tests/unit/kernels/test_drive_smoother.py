"""The recursive smoother equals dense Gaussian conditioning, with samples missing too."""

import numpy as np
import pytest
from naive.drive import smoothed_drive

from rt_engine.kernels.drive_smoother import (
    BLOCK,
    FIRST_BASELINE_SPREAD,
    DriveParameters,
    drive_run,
    drive_step,
    empty_drive_state,
)

MODELS = np.array(
    [[0.9, 0.3, 1.1, 0.8, 0.04, 0.1, 1e-3], [0.97, 0.8, 1.3, 1.2, 1.0, 0.02, 1e-2], [0.6, 1e-4, 1.0, 0.0, 0.2, 1.0, 0]]
)


def parameters_of(models):
    return DriveParameters(*np.ascontiguousarray(models.T))


def run(y, usable, model, lag, n_lags=None):
    state = empty_drive_state(y.shape[1], n_lags or lag + 1, model)
    out = np.zeros_like(y)
    drive_run(y, usable, lag, state, out)
    return out, state


@pytest.mark.parametrize("lag", [0, 1, 3, 5])
@pytest.mark.parametrize("kind", ["random", "constant", "huge", "gaps", "late start"])
def test_equals_dense_conditioning_at_every_prefix(lag, kind):
    rng = np.random.default_rng(lag)
    y = rng.standard_normal((40, 3)).astype(np.float32)
    usable = np.ones(y.shape, np.uint8)
    if kind == "constant":
        y[:] = 0.7
    if kind == "huge":
        y *= 1e3
    if kind == "gaps":
        usable = (rng.random(y.shape) > 0.3).astype(np.uint8)
    if kind == "late start":
        usable[:20] = 0
    y[usable == 0] = np.nan
    out, state = run(y, usable, parameters_of(MODELS), lag)
    for n, model in enumerate(MODELS):
        filled = np.nan_to_num(y[:, n].astype(float))
        expected, evidence = smoothed_drive(
            filled, usable[:, n], lag, *model, first_u=model[5], first_b=FIRST_BASELINE_SPREAD**2 * model[4]
        )
        np.testing.assert_allclose(out[lag:, n], expected[lag:], rtol=2e-6, atol=1e-6 * np.abs(filled).max())
        assert state.evidence[n] == pytest.approx(evidence, rel=1e-9)


def test_a_recording_is_its_frames_bit_for_bit():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((60, 3)).astype(np.float32)
    usable = (rng.random(y.shape) > 0.1).astype(np.uint8)
    model = parameters_of(MODELS)
    out, whole = run(y, usable, model, 2)
    state = empty_drive_state(3, 3, model)
    for t in range(len(y)):
        drive_step(y[t], usable[t], state)
        assert state.drive[2].astype(np.float32).tobytes() == out[t].tobytes()
    assert state.cells.tobytes() == whole.cells.tobytes()
    assert state.drive.tobytes() == whole.drive.tobytes()


@pytest.mark.parametrize("n_rois", [1, 7, 8, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
def test_cells_do_not_influence_each_other_by_a_bit(n_rois):
    rng = np.random.default_rng(n_rois)
    models = MODELS[rng.integers(0, 3, n_rois)] * rng.uniform(0.9, 1.0, (n_rois, 7))
    y = rng.standard_normal((30, n_rois)).astype(np.float32)
    usable = (rng.random(y.shape) > 0.2).astype(np.uint8)
    together, state = run(y, usable, parameters_of(models), 3)
    order = rng.permutation(n_rois)
    permuted, other = run(
        np.ascontiguousarray(y[:, order]), np.ascontiguousarray(usable[:, order]), parameters_of(models[order]), 3
    )
    assert permuted.tobytes() == together[:, order].tobytes()
    assert other.evidence.tobytes() == state.evidence[order].tobytes()
    for n in {0, n_rois // 2, n_rois - 1}:
        alone, _ = run(y[:, [n]], usable[:, [n]], parameters_of(models[[n]]), 3)
        assert alone.tobytes() == together[:, [n]].tobytes()


def test_the_lags_kept_do_not_change_the_answer():
    y = np.random.default_rng(1).standard_normal((50, 3)).astype(np.float32)
    usable = np.ones(y.shape, np.uint8)
    few, _ = run(y, usable, parameters_of(MODELS), 1)
    many, _ = run(y, usable, parameters_of(MODELS), 1, n_lags=6)
    assert few.tobytes() == many.tobytes()


def test_twice_the_trace_is_twice_the_drive():
    y = np.random.default_rng(2).standard_normal((50, 3)).astype(np.float32)
    usable = np.ones(y.shape, np.uint8)
    louder = MODELS.copy()
    louder[:, 4:] *= 4
    one, _ = run(y, usable, parameters_of(MODELS), 2)
    two, _ = run(2 * y, usable, parameters_of(louder), 2)
    np.testing.assert_array_equal(two, 2 * one)


def test_waiting_longer_never_knows_less():
    # The mean squared error of the drive falls with the lag, on traces drawn from the model itself.
    rng = np.random.default_rng(3)
    n_frames, n_rois = 400, 200
    decay, rise, step, noise, drive = 0.9, 0.5, 1.2, 0.3, 0.2
    w = rng.standard_normal((n_frames, n_rois)) * np.sqrt(drive)
    u, v = np.zeros((2, n_rois))
    y = np.zeros((n_frames, n_rois), np.float32)
    for t in range(n_frames):
        u, v = decay * u + step * w[t], rise * v + step * w[t]
        y[t] = u - v + rng.standard_normal(n_rois) * np.sqrt(noise)
    model = parameters_of(np.tile([decay, rise, step, step, noise, drive, 1e-9], (n_rois, 1)))
    error = []
    for lag in (0, 1, 2, 4):
        out, _ = run(y, np.ones(y.shape, np.uint8), model, lag)
        error.append(np.mean((out[50:] - w[50 - lag : n_frames - lag]) ** 2))
    assert (np.diff(error) < 0).all()
