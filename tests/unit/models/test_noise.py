"""Noise and decay are recovered in the presence of activity, drift and missing samples."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binom, norm

from rt_engine.models.noise import estimate_noise, innovation_sigma, lower_half_scale, noise_correlation


def ar1(rng, n, gamma, rate, sigma):
    spikes = rng.poisson(rate, n).astype(float)
    calcium = np.zeros(n)
    for t in range(1, n):
        calcium[t] = gamma * calcium[t - 1] + spikes[t]
    return calcium + sigma * rng.standard_normal(n)


def ar1_fast(rng, n, gamma, rate, sigma):
    return lfilter([1.0], [1.0, -gamma], rng.poisson(rate, n)) + sigma * rng.standard_normal(n)


@pytest.mark.parametrize("tau_s", [0.1, 0.4, 1.2])
@pytest.mark.parametrize("rate_hz", [0.5, 5.0])
@pytest.mark.parametrize("sigma", [0.2, 0.5])
def test_gamma_and_sigma_without_the_bias_of_lag_zero(tau_s, rate_hz, sigma):
    # Bounds of the specification: gamma within 0.005 (0.033 at low signal), sigma 0.997 to 1.007, and chance.
    gamma, n_records = np.exp(-1 / (tau_s * 30)), 24
    found = [
        estimate_noise(ar1_fast(np.random.default_rng(s), 9000, gamma, rate_hz / 30, sigma), 30.0, tau_s)
        for s in range(n_records)
    ]
    gammas = np.array([f.gamma for f in found])
    ratios = np.array([f.sigma for f in found]) / sigma
    low_signal = rate_hz < 1 and sigma > 0.2
    assert abs(gammas.mean() - gamma) <= (0.033 if low_signal else 0.005) + 3 * gammas.std() / np.sqrt(n_records)
    chance = 3 * ratios.std() / np.sqrt(n_records)
    assert 0.997 - chance <= ratios.mean() <= 1.007 + chance
    assert chance < 0.07


def test_the_spectrum_is_biased_by_activity_as_it_is_known_to_be():
    # Leak of the calcium's spectrum into the upper half of the band: mean of V / (1 + g^2 - 2 g cos 2 pi f).
    gamma, rate, sigma = np.exp(-1 / 12), 5 / 30, 0.2
    frequency = np.linspace(0.25, 0.5, 2001)
    leak = np.mean(rate / (1 + gamma**2 - 2 * gamma * np.cos(2 * np.pi * frequency)))
    found = [estimate_noise(ar1_fast(np.random.default_rng(s), 9000, gamma, rate, sigma), 30.0, 0.4) for s in range(12)]
    assert np.mean([f.sigma_psd for f in found]) == pytest.approx(np.sqrt(sigma**2 + leak), rel=0.02)


def test_fast_activity_makes_spectrum_and_autocovariance_disagree():
    busy = estimate_noise(ar1(np.random.default_rng(0), 9000, np.exp(-1 / 3), 5 / 30, 0.2), 30.0, 0.1)
    assert busy.disputed
    quiet = estimate_noise(ar1(np.random.default_rng(0), 9000, 0.97, 0.2 / 30, 0.2), 30.0, 1.0)
    assert not quiet.disputed


def test_white_noise_has_no_calcium_dynamics_but_at_the_nominal_rate():
    # R_1 of white noise exceeds two standard errors with probability Q(2) = 0.0228.
    n = 1200
    found = [estimate_noise(np.random.default_rng(s).standard_normal(1500), 30.0, 0.4) for s in range(n)]
    low, high = binom.interval(0.99, n, norm.sf(2))
    assert low <= sum(f.has_dynamics for f in found) <= high
    assert np.mean([f.sigma for f in found if not f.has_dynamics]) == pytest.approx(1.0, rel=0.003)
    assert all(f.innovation_variance == 0 for f in found if not f.has_dynamics)


def test_slow_drift_and_missing_samples_do_not_matter():
    rng = np.random.default_rng(1)
    trace = ar1(rng, 9000, 0.9, 0.02, 0.3) + 2 * np.sin(np.arange(9000) * 2 * np.pi * 0.005 / 30)
    trace[rng.random(9000) < 0.05] = np.nan
    found = estimate_noise(trace, 30.0, 0.3)
    assert found.sigma == pytest.approx(0.3, rel=0.05)
    assert found.gamma == pytest.approx(0.9, abs=0.04)


def test_too_few_samples_give_no_answer():
    trace = np.full(5000, np.nan)
    trace[:99] = 1.0
    assert estimate_noise(trace, 30.0, 0.3) is None


def test_lower_half_ignores_what_lies_above_and_far_below():
    x = np.random.default_rng(2).standard_normal((40_000, 2))
    x[::10, 1] += 8.0
    x[5::400, 1] = -9.0
    scale = lower_half_scale(x, np.ones(x.shape, bool))
    np.testing.assert_allclose(scale, 1.0, atol=0.02)
    assert np.isnan(lower_half_scale(x, np.zeros(x.shape, bool))).all()


def test_skewness_of_photons_is_corrected():
    counts = np.random.default_rng(3).poisson(25, (300_000, 1))
    x = (counts - 25 + 1e-9) / 5 + np.random.default_rng(4).uniform(-0.1, 0.1, counts.shape)
    assert lower_half_scale(x, np.ones(x.shape, bool), 0.2)[0] == pytest.approx(1.0, abs=0.02)


def test_innovations_see_the_noise_through_decaying_calcium():
    rng = np.random.default_rng(5)
    trace = np.stack([ar1(rng, 6000, 0.85, rate, 0.2) for rate in (0.0, 0.02)], axis=1)
    sigma = innovation_sigma(trace, np.ones(trace.shape, bool), np.full(2, 0.85))
    np.testing.assert_allclose(sigma, 0.2, rtol=0.04)


@pytest.mark.parametrize("phi", [-0.3, 0.2, 0.5])
def test_memory_of_the_noise_is_found_whatever_the_baseline_does(phi):
    rng = np.random.default_rng(6)
    n_frames, n_rois = 6000, 40
    noise = lfilter([np.sqrt(1 - phi**2)], [1.0, -phi], rng.standard_normal((n_frames, n_rois)), axis=0)
    drift = 5 * np.sin(np.arange(n_frames) / 700)[:, None]
    trace = noise + drift
    trace[rng.random(trace.shape) < 0.02] = np.nan
    found = noise_correlation(trace, np.ones(trace.shape, bool))
    assert found.mean() == pytest.approx(phi, abs=0.02)
    np.testing.assert_allclose(found, phi, atol=0.11)
    sigma = innovation_sigma(trace - drift, np.ones(trace.shape, bool), np.full(n_rois, 0.8), correlation=found)
    assert np.nanmean(sigma) == pytest.approx(1.0, abs=0.02)


def test_cells_whose_noise_differs_keep_their_differences():
    rng = np.random.default_rng(8)
    phi = np.repeat([0.0, 0.4], 20)
    noise = [lfilter([np.sqrt(1 - p**2)], [1.0, -p], rng.standard_normal(6000)) for p in phi]
    found = noise_correlation(np.stack(noise, axis=1), np.ones((6000, 40), bool))
    np.testing.assert_allclose(found, phi, atol=0.11)


def test_white_noise_has_no_memory():
    trace = np.random.default_rng(7).standard_normal((3000, 300))
    assert not noise_correlation(trace, np.ones(trace.shape, bool)).any()
    alone = [noise_correlation(trace[:, [n]], np.ones((3000, 1), bool))[0] != 0 for n in range(300)]
    # Two standard errors, of which those below half a step are rounded to none.
    assert np.count_nonzero(alone) <= binom.ppf(0.999, 300, 2 * norm.sf(2))
    assert not noise_correlation(trace[:2], np.ones((2, 300), bool)).any()
