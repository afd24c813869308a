"""What is said of a calibration is so: intervals cover, silence is called silence, drift is told."""

from dataclasses import fields, replace

import numpy as np
import pytest
from naive.planted_traces import planted_traces
from scipy.stats import binom

from rt_engine.interfaces.trace_uncertainty import TraceUncertainty
from rt_engine.models.indicators import indicator
from rt_engine.models.neuropil_fit import fit_neuropil
from rt_engine.models.trace_calibration import calibrate_traces
from rt_engine.models.trace_uncertainty import describe_traces

N_CELLS, N_FRAMES = 50, 3600


def describe(planted, prior, rate_hz=30.0):
    common = {
        "frame_rate_hz": rate_hz,
        "indicator": prior,
        "hold_frames": prior.default_hold_frames(rate_hz),
        "false_alarms_per_min": 0.5,
    }
    traces = planted.f_roi, planted.f_np, planted.valid
    found = calibrate_traces(*traces, neuropil_coefficient=0.7, **common)
    ring_pixels = np.full(planted.f_roi.shape[1], 400)
    neuropil = fit_neuropil(planted.f_roi, planted.f_np, planted.valid == 1, ring_pixels, rate_hz)
    decision = {"taps": found.filter_taps, "threshold": found.threshold.astype(float)}
    known = describe_traces(found, *traces, **decision, neuropil=neuropil, **common)
    return found, known.uncertainty, known.expected_detection


def errors(seed, name, rate_hz, activity_hz):
    """Error of every constant in its standard errors; cells drawn around a population drawn around the library."""
    rng = np.random.default_rng(seed)
    prior = indicator(name)
    tau_s = prior.tau_s * np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.15, N_CELLS))
    amplitude = prior.amplitude_dff * np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.25, N_CELLS))
    planted = planted_traces(
        seed,
        n_rois=N_CELLS,
        n_frames=N_FRAMES,
        frame_rate_hz=rate_hz,
        amplitude_over_sigma=np.exp(rng.uniform(np.log(3), np.log(10), N_CELLS)),
        rate_hz=np.exp(rng.uniform(*np.log(activity_hz), N_CELLS)),
        tau_rise_s=prior.tau_rise_s,
        tau_s=tau_s,
        amplitude_dff=amplitude,
    )
    found, known, _ = describe(planted, prior, rate_hz)
    dimmed = 1 - 0.02 * N_FRAMES / rate_hz / 60
    r = found.neuropil_coefficient.astype(float)
    # F_c is corrected about the ring's own median, which chance and drift move.
    f0 = planted.f0_counts * dimmed * (1 - r) + r * np.median(planted.f_np, axis=0)
    photons = np.sqrt(dimmed * (1 + r**2 / 4)) * planted.sigma_dff * planted.f0_counts / f0
    haze = 0.7 / ((1 + dimmed) / 2)
    return {
        "sigma": (found.sigma_dff - photons) / known.sigma_se_dff,
        "tau": (found.tau_s - tau_s) / known.tau_se_s,
        "amplitude": (found.amplitude_dff - amplitude) / known.amplitude_se_dff,
        "f0": (found.f0_counts - f0) / known.f0_se_counts,
        "neuropil": (known.neuropil_fit - haze) / known.neuropil_fit_se,
    }


@pytest.fixture(scope="module")
def many():
    laws = [("jGCaMP8m", 30.0, (0.05, 0.5)), ("GCaMP6f", 30.0, (0.05, 0.5)), ("GCaMP6s", 15.0, (0.05, 0.3))]
    parts = [errors(seed, *law) for seed in (0, 1) for law in laws]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.mark.parametrize("name", ["sigma", "tau", "amplitude", "f0", "neuropil"])
def test_a_standard_error_covers_two_thirds_of_the_cells(many, name):
    covered = np.mean(np.abs(many[name]) <= 1)
    assert covered >= 0.60
    # That of r holds 0.03 for activity too small to be told from noise, and there is hardly any in these traces.
    assert covered <= (0.90 if name == "neuropil" else 0.76)
    assert np.mean(np.abs(many[name]) <= 2.5) >= 0.93


def test_silent_cells_have_no_dynamics_and_rest_on_the_population():
    prior = indicator("jGCaMP8m")
    n = 150
    silent = planted_traces(3, n_rois=n, n_frames=1800, rate_hz=0, amplitude_over_sigma=5, neuropil=0, drift_per_min=0)
    found, known, _ = describe(silent, prior)
    assert known.has_dynamics.sum() <= binom.ppf(0.999, n, 0.0228)
    assert np.mean(known.noise_disputed) < 0.02
    without = known.n_isolated_events == 0
    assert without.mean() > 0.9
    # The library's own spread, and what cells differ: nothing was learned.
    np.testing.assert_allclose((known.tau_se_s / found.tau_s)[without], np.hypot(0.3, 0.15), rtol=0.15)


def test_activity_is_called_dynamics_and_disputes_the_spectrum():
    prior = indicator("jGCaMP8m")
    law = {"tau_rise_s": prior.tau_rise_s, "tau_s": prior.tau_s, "amplitude_dff": prior.amplitude_dff}
    _, known, _ = describe(planted_traces(4, n_rois=30, rate_hz=1.0, amplitude_over_sigma=8, **law), prior)
    assert known.has_dynamics.all()
    assert known.noise_disputed.mean() > 0.9
    assert np.all(known.sigma_spectrum_dff > known.sigma_covariance_dff)


def test_bleaching_is_told_and_is_in_the_errors():
    prior = indicator("jGCaMP8m")
    law = {"n_rois": 30, "rate_hz": 0.1, "neuropil": 0.0, "n_frames": 7200, "drift_per_min": 0.1}
    planted = planted_traces(5, amplitude_over_sigma=6, **law)
    planted.f_np[:] = 0.0
    found, known, _ = describe(planted, prior)
    np.testing.assert_allclose(known.f0_change, -0.4, atol=0.05)
    np.testing.assert_allclose(known.f0_slope_per_min, -0.1 / 0.8, atol=0.02)
    # Fewer photons: at 0.6 of the light noise is stronger by 1 / sqrt(0.6). F0 lags on so steep a ramp, and says so.
    truth = planted.sigma_dff / np.sqrt(0.6)
    assert np.mean(np.abs(found.sigma_dff - truth) <= 1.5 * known.sigma_se_dff) >= 0.9
    assert np.median(found.sigma_dff / truth) > 0.85


def test_lost_samples_are_counted_and_dead_rows_get_answers():
    prior = indicator("jGCaMP8m")
    planted = planted_traces(6, n_rois=4, n_frames=900)
    planted.valid[::4, 0] = 0
    planted.valid[:, 1] = 0
    planted.f_roi[:, 2] = 0.0
    planted.f_np[:, 3] = np.nan
    _, known, expected = describe(planted, prior)
    assert known.valid_fraction.tolist() == pytest.approx([0.75, 0, 1, 0])
    assert not known.has_dynamics[1]
    may_be_nan = {"sigma_spectrum_dff", "sigma_covariance_dff"}
    for field in fields(TraceUncertainty):
        values = getattr(known, field.name)
        assert values.shape == (4,)
        assert np.isfinite(values).all() or field.name in may_be_nan, field.name
    assert np.isfinite(expected).all()


def test_twice_the_recording_is_better_known():
    prior = indicator("jGCaMP8m")
    planted = planted_traces(7, n_rois=30, n_frames=7200, rate_hz=0.2, amplitude_over_sigma=7, drift_per_min=0)
    half = replace(planted, **{name: getattr(planted, name)[:3600] for name in ("f_roi", "f_np", "valid")})
    _, long, _ = describe(planted, prior)
    _, short, _ = describe(half, prior)
    for name in ("sigma_se_dff", "amplitude_se_dff", "tau_se_s", "neuropil_fit_se"):
        assert np.median(getattr(long, name)) < np.median(getattr(short, name)), name
    assert np.all(long.detection_low <= long.detection_high)
