"""The neuropil coefficient is recovered where plain regression fails, with an honest error, and within its bound."""

from __future__ import annotations

import numpy as np
import pytest
from naive.neuropil import RATE_HZ, least_squares, planted
from numpy.typing import NDArray

from rt_engine.models.indicators import indicator
from rt_engine.models.neuropil_fit import MODEL_SD, PRIOR_SD, NeuropilFit, choose_neuropil, fit_neuropil, noise_variance
from rt_engine.models.stage_run import RunSettings, run_stage
from rt_engine.models.trace_calibration import bounded_neuropil_coefficient, calibrate_traces

RING = 350


def fit(f_roi: NDArray, f_np: NDArray, good: NDArray | None = None, ring: int = RING) -> NeuropilFit:
    ring_pixels = np.full(f_roi.shape[1], ring)
    good = np.ones(f_roi.shape, bool) if good is None else good
    return fit_neuropil(f_roi.astype(np.float32), f_np.astype(np.float32), good, ring_pixels, RATE_HZ)


@pytest.mark.parametrize(("ring_noise", "plain"), [(0.01, 1.19), (0.05, 1.15), (0.1, 1.03)])
def test_shared_drive_misleads_plain_regression_and_not_the_envelope(ring_noise: float, plain: float) -> None:
    """The table of the specification: r = 0.7, least squares 1.19, 1.15, 1.03; error of the envelope at most 0.06."""
    f_roi, f_np = planted(1, ring_noise=ring_noise, correlated=True)
    assert least_squares(f_roi, f_np).mean() == pytest.approx(plain, abs=0.08)
    found = fit(f_roi, f_np)
    assert np.sqrt(np.mean((found.raw - 0.7) ** 2)) <= 0.06
    assert np.sqrt(np.mean((found.coefficient - 0.7) ** 2)) <= 0.06
    assert np.abs(found.raw.mean() - 0.7) <= 0.045


@pytest.mark.parametrize("r", [0.3, 0.7])
@pytest.mark.parametrize("ring_noise", [0.01, 0.05, 0.1])
def test_without_shared_drive_the_estimate_is_unbiased(ring_noise: float, r: float) -> None:
    f_roi, f_np = planted(2, ring_noise=ring_noise, correlated=False, r=r, n_cells=40)
    found = fit(f_roi, f_np)
    assert found.raw.mean() == pytest.approx(r, abs=0.012)


def test_the_error_is_that_of_the_estimate() -> None:
    f_roi, f_np = planted(3, ring_noise=0.05, correlated=False, n_cells=200, noise=0.2)
    found = fit(f_roi, f_np)
    spread = float(np.std(found.raw))
    assert float(np.sqrt(np.mean(found.raw_error**2))) == pytest.approx(spread, rel=0.3)


def test_a_poor_recording_is_drawn_to_the_prior_by_its_error() -> None:
    f_roi, f_np = planted(4, ring_noise=0.05, correlated=False, r=0.2, n_frames=150, noise=1.0)
    found = fit(f_roi, f_np)
    trust = PRIOR_SD**2 / (PRIOR_SD**2 + found.raw_error**2 + MODEL_SD**2)
    np.testing.assert_allclose(found.coefficient, 0.7 + trust * (found.raw - 0.7), rtol=1e-9)
    np.testing.assert_allclose(found.standard_error, PRIOR_SD * np.sqrt(1 - trust), rtol=1e-9)
    assert np.all(trust < 0.7)


@pytest.mark.parametrize("case", ["small ring", "empty ring", "few frames", "noise alone", "nothing"])
def test_a_ring_that_says_nothing_leaves_the_prior_and_says_so(case: str) -> None:
    f_roi, f_np = planted(5, ring_noise=0.05, correlated=True, n_cells=3)
    good = np.ones(f_roi.shape, bool)
    if case == "empty ring":
        f_np = np.zeros_like(f_np)
    elif case == "few frames":
        good[90:] = False
    elif case == "noise alone":
        f_np = np.random.default_rng(0).normal(2, 0.1, f_np.shape)
    elif case == "nothing":
        good[:] = False
    found = fit(f_roi, f_np, good, ring=49 if case == "small ring" else RING)
    assert found.from_prior.all()
    np.testing.assert_array_equal(found.coefficient, 0.7)
    np.testing.assert_array_equal(found.standard_error, PRIOR_SD)
    assert np.isnan(found.raw).all()


def test_missing_frames_are_not_used() -> None:
    f_roi, f_np = planted(6, ring_noise=0.05, correlated=True)
    good = np.random.default_rng(1).random(f_roi.shape) < 0.8
    spoiled_roi, spoiled_np = np.where(good, f_roi, 1e4), np.where(good, f_np, np.nan)
    np.testing.assert_array_equal(fit(spoiled_roi, spoiled_np, good).raw, fit(f_roi, f_np, good).raw)


def test_ring_noise_is_what_is_new_in_every_frame() -> None:
    rng = np.random.default_rng(7)
    slow = np.sin(np.arange(6000)[:, None] / np.array([40.0, 90.0, 200.0]))
    x = slow + rng.normal(0, 0.3, slow.shape)
    np.testing.assert_allclose(noise_variance(x, np.ones(x.shape, bool)), 0.09, rtol=0.12)


def test_a_fixed_coefficient_is_that_for_every_cell() -> None:
    f_roi, f_np = planted(8, ring_noise=0.05, correlated=True, n_cells=4)
    good = np.ones(f_roi.shape, bool)
    found = choose_neuropil(f_roi.astype(np.float32), f_np.astype(np.float32), good, np.full(4, RING), RATE_HZ, 0.7)
    np.testing.assert_array_equal(found.coefficient, 0.7)
    np.testing.assert_array_equal(found.standard_error, 0.0)


def test_the_bound_keeps_the_baseline_positive_cell_by_cell() -> None:
    f_roi = np.tile(np.linspace(10, 20, 101, dtype=np.float32)[:, None], (1, 2))
    f_np = np.tile(np.linspace(10, 50, 101, dtype=np.float32)[:, None], (1, 2))
    bounded = bounded_neuropil_coefficient(f_roi, f_np, np.ones(f_roi.shape, bool), np.array([0.9, 0.1]))
    np.testing.assert_allclose(bounded, [0.95 * 10.5 / 48.0, 0.1])


@pytest.mark.parametrize("k", [0.2, -0.3])
def test_more_neuropil_in_the_footprint_and_in_r_changes_no_corrected_trace(k: float) -> None:
    f_roi, f_np = (100 * a.astype(np.float32) for a in planted(9, ring_noise=0.02, correlated=True, n_cells=4))
    median = np.median(f_np, axis=0)
    valid = np.ones(f_roi.shape, np.uint8)
    results = []
    for more in (0.0, k):
        made = calibrate_traces(
            (f_roi + more * (f_np - median)).astype(np.float32), f_np, valid, frame_rate_hz=RATE_HZ,
            indicator="jGCaMP8m", hold_frames=1, false_alarms_per_min=0.5,
            neuropil_coefficient=np.full(4, 0.4 + more),
        )  # fmt: skip
        np.testing.assert_allclose(made.neuropil_coefficient, 0.4 + more, rtol=1e-6)
        results.append(made)
    np.testing.assert_allclose(results[0].f0_counts, results[1].f0_counts, rtol=1e-3)
    np.testing.assert_allclose(results[0].sigma_dff, results[1].sigma_dff, rtol=1e-2)
    np.testing.assert_allclose(results[0].threshold, results[1].threshold, rtol=1e-2)


def test_a_silent_cell_in_active_neuropil_gives_the_nominal_rate_of_false_events() -> None:
    """Negative control: neuropil driven by the population, no spike of its own; 12 cells of 8 minutes each."""
    n_cells, n_baseline, n_live = 12, 3000, 14400
    _, f_np = planted(10, ring_noise=0.02, correlated=True, n_cells=n_cells, n_frames=n_baseline + n_live)
    noise = np.random.default_rng(11).normal(0, 0.08, f_np.shape)
    f_roi = 100 * (1.5 + 0.7 * f_np + noise).astype(np.float32)
    f_np = (100 * f_np).astype(np.float32)
    valid = np.ones(f_roi.shape, np.uint8)
    found = fit(f_roi[:n_baseline], f_np[:n_baseline])
    made = calibrate_traces(
        f_roi[:n_baseline], f_np[:n_baseline], valid[:n_baseline], frame_rate_hz=RATE_HZ, indicator="jGCaMP8m",
        hold_frames=1, false_alarms_per_min=0.5, neuropil_coefficient=found.coefficient,
    )  # fmt: skip
    settings = RunSettings(RATE_HZ, indicator("jGCaMP8m"), 1, made.filter_taps.shape[0] - 2, 0.5)
    run = run_stage(made, f_roi[n_baseline:], f_np[n_baseline:], valid[n_baseline:] == 1, settings)
    per_minute = len(run.event_frame) / n_cells / (n_live / RATE_HZ / 60)
    # 48 false events expected: four standard deviations, and the error of the thresholds.
    assert 0.2 <= per_minute <= 0.9
