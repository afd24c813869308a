"""Template, filter and threshold have the properties that theory gives them."""

import numpy as np
import pytest
from scipy.integrate import dblquad
from scipy.signal import lfilter
from scipy.stats import multivariate_normal, norm

from rt_engine.models.detection import (
    event_threshold,
    expected_detection,
    matched_filter,
    spike_template,
    upcrossing_rate,
)

RISE_S, TAU_S, RATE_HZ = 0.006, 0.17, 30.0


def test_template_is_the_kernel_averaged_over_phase_of_spike_and_scan():
    t_peak = np.log(TAU_S / RISE_S) * RISE_S * TAU_S / (TAU_S - RISE_S)
    peak = np.exp(-t_peak / TAU_S) - np.exp(-t_peak / RISE_S)

    def kernel(frames):
        t = frames / RATE_HZ
        return (np.exp(-t / TAU_S) - np.exp(-t / RISE_S)) / peak if t > 0 else 0.0

    template = spike_template(RISE_S, TAU_S, RATE_HZ, 4)
    for k in range(4):
        high = (lambda u: 1.0) if k else (lambda u: u)
        mean, _ = dblquad(lambda p, u, k=k: kernel(k + u - p), 0, 1, lambda u: 0.0, high)
        assert template[k] == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize(("hold", "gain"), [(0, 0.35), (1, 0.90), (2, 1.09), (3, 1.16)])
def test_gain_of_jgcamp8m_is_that_of_the_independent_computation(hold, gain):
    assert matched_filter(RISE_S, TAU_S, RATE_HZ, hold, 15).gain == pytest.approx(gain, abs=0.007)


def test_filter_has_unit_variance_no_nuisance_and_the_gain_it_says():
    found = matched_filter(RISE_S, TAU_S, RATE_HZ, 1, 15)
    gamma = np.exp(-1 / (TAU_S * RATE_HZ))
    assert found.taps @ found.taps == pytest.approx(1.0)
    assert found.taps.sum() == pytest.approx(0.0, abs=1e-12)
    assert found.taps @ gamma ** np.arange(17) == pytest.approx(0.0, abs=1e-12)
    template = np.concatenate([np.zeros(15), spike_template(RISE_S, TAU_S, RATE_HZ, 2)])
    assert found.taps @ template == pytest.approx(found.gain)
    noise = np.random.default_rng(0).standard_normal(200_000)
    z = np.convolve(noise, found.taps[::-1], "valid")
    assert z.std() == pytest.approx(1.0, abs=0.01)
    assert np.corrcoef(z[1:], z[:-1])[0, 1] == pytest.approx(found.rho, abs=0.01)


def test_no_other_filter_blind_to_the_nuisance_sees_more():
    found = matched_filter(RISE_S, TAU_S, RATE_HZ, 1, 15)
    gamma = np.exp(-1 / (TAU_S * RATE_HZ))
    nuisance = np.stack([np.ones(17), gamma ** np.arange(17)], axis=1)
    template = np.concatenate([np.zeros(15), spike_template(RISE_S, TAU_S, RATE_HZ, 2)])
    rng = np.random.default_rng(1)
    for _ in range(300):
        other = found.taps + rng.standard_normal(17) * rng.uniform(0, 1)
        other -= nuisance @ np.linalg.lstsq(nuisance, other, rcond=None)[0]
        assert other @ template / np.linalg.norm(other) <= found.gain + 1e-12


def first_order_noise(phi, n, seed):
    return lfilter([np.sqrt(1 - phi**2)], [1.0, -phi], np.random.default_rng(seed).standard_normal(n))


@pytest.mark.parametrize("phi", [-0.3, 0.2, 0.5])
def test_in_coloured_noise_the_filter_has_unit_variance_and_sees_a_spike_as_it_says(phi):
    found, white = (matched_filter(RISE_S, TAU_S, RATE_HZ, 1, 15, correlation) for correlation in (phi, 0.0))
    noise = first_order_noise(phi, 1_000_000, 3)
    z, plain = (np.convolve(noise, one.taps[::-1], "valid") for one in (found, white))
    template = np.concatenate([np.zeros(15), spike_template(RISE_S, TAU_S, RATE_HZ, 2)])
    assert z.std() == pytest.approx(1.0, abs=0.006)
    assert np.corrcoef(z[1:], z[:-1])[0, 1] == pytest.approx(found.rho, abs=0.006)
    assert found.taps @ template / z.std() == pytest.approx(found.gain, rel=0.02)
    assert found.gain > 1.005 * (white.taps @ template / plain.std())
    gamma = np.exp(-1 / (TAU_S * RATE_HZ))
    np.testing.assert_allclose([found.taps.sum(), found.taps @ gamma ** np.arange(17)], 0.0, atol=1e-12)


@pytest.mark.parametrize("phi", [-0.3, 0.5])
def test_in_coloured_noise_no_other_filter_blind_to_the_nuisance_sees_more(phi):
    found = matched_filter(RISE_S, TAU_S, RATE_HZ, 1, 15, phi)
    covariance = phi ** np.abs(np.subtract.outer(np.arange(17), np.arange(17)))
    nuisance = np.stack([np.ones(17), np.exp(-1 / (TAU_S * RATE_HZ)) ** np.arange(17)], axis=1)
    template = np.concatenate([np.zeros(15), spike_template(RISE_S, TAU_S, RATE_HZ, 2)])
    rng = np.random.default_rng(1)
    for _ in range(300):
        other = found.taps + rng.standard_normal(17) * rng.uniform(0, 1)
        other -= nuisance @ np.linalg.lstsq(nuisance, other, rcond=None)[0]
        assert other @ template / np.sqrt(other @ covariance @ other) <= found.gain + 1e-12


@pytest.mark.parametrize("rho", [-0.3, 0.0, 0.4, 0.8])
@pytest.mark.parametrize("kappa", [1.0, 2.0, 3.0])
def test_upcrossing_rate_is_the_bivariate_normal_integral(kappa, rho):
    both = multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([-kappa, -kappa])
    assert upcrossing_rate(kappa, rho) == pytest.approx(norm.sf(kappa) - both, rel=2e-3)


@pytest.mark.parametrize("per_min", [0.01, 0.5, 10.0])
def test_threshold_inverts_the_rate(per_min):
    kappa = event_threshold(per_min, RATE_HZ, np.array([0.1, 0.6]))
    np.testing.assert_allclose(upcrossing_rate(kappa, np.array([0.1, 0.6])) * 60 * RATE_HZ, per_min, rtol=1e-6)


def test_uncertain_noise_raises_the_threshold_until_the_mean_rate_is_nominal():
    rng = np.random.default_rng(2)
    error = 0.1
    kappa = event_threshold(0.5, RATE_HZ, 0.3, relative_error=error)
    assert kappa > event_threshold(0.5, RATE_HZ, 0.3)
    rates = upcrossing_rate(kappa * np.exp(error * rng.standard_normal(20_000)), 0.3) * 60 * RATE_HZ
    assert rates.mean() == pytest.approx(0.5, rel=0.06)


def test_skewed_noise_raises_the_threshold_to_the_tail_of_photons():
    # z of a Poisson count of mean 1 / s^2 has skewness s.
    mean = 400
    counts = np.random.default_rng(3).poisson(mean, 4_000_000)
    z = (counts - mean) / np.sqrt(mean)
    kappa = event_threshold(60 * 0.001, 1.0, 0.0, skewness=1 / np.sqrt(mean))
    plain = event_threshold(60 * 0.001, 1.0, 0.0)
    assert (z > kappa).mean() == pytest.approx(0.001, rel=0.12)
    assert (z > plain).mean() > 1.2 * 0.001


def test_expected_detection_is_the_normal_tail():
    np.testing.assert_allclose(
        expected_detection(3.5, 0.9, np.array([2, 4, 8])), norm.sf(3.5 - 0.9 * np.array([2, 4, 8]))
    )
