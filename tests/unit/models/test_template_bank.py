"""Templates and filters of the bank: the best linear detector, blind to its nuisances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive.filter_bank import ar1_covariance
from scipy.stats import poisson

from rt_engine.models.detection import matched_filter, spike_template
from rt_engine.models.indicators import indicator
from rt_engine.models.template_bank import N_COUNTS, bank_shapes, poisson_log_prior

RATE_HZ = 30.0
N_BEFORE, N_LAGS = 15, 6
N_TAPS = N_BEFORE + N_LAGS


def shapes_of(name="GCaMP6f", phi=0.4):
    prior = indicator(name)
    return bank_shapes(prior.tau_rise_s, np.array([prior.tau_s]), np.array([phi]), RATE_HZ, N_BEFORE, N_LAGS)


@pytest.mark.parametrize("name", ["GCaMP6f", "GCaMP6s", "jGCaMP8m"])
@pytest.mark.parametrize("phi", [0.0, 0.4])
def test_signal_to_noise_is_amplitude_times_root_of_the_energy(name, phi):
    rng = np.random.default_rng(0)
    shapes, size = shapes_of(name, phi), 4.0
    noise = rng.standard_normal((400_000, N_TAPS)) @ np.linalg.cholesky(ar1_covariance(N_TAPS, phi)).T
    for lag in range(N_LAGS):
        with_spike = (noise + size * shapes.template[0, lag]) @ shapes.filter[0, lag]
        without = noise @ shapes.filter[0, lag]
        found = (with_spike.mean() - without.mean()) / without.std()
        assert found == pytest.approx(size * np.sqrt(shapes.energy[0, lag]), rel=0.02)


@given(seed=st.integers(0, 2**32 - 1), lag=st.integers(0, N_LAGS - 1), phi=st.sampled_from([0.0, 0.4, -0.3]))
@settings(max_examples=80, deadline=None)
def test_no_other_filter_that_is_blind_to_the_nuisances_does_better(seed, lag, phi):
    rng = np.random.default_rng(seed)
    shapes = shapes_of(phi=phi)
    covariance, nuisance = ar1_covariance(N_TAPS, phi), shapes.nuisance[0].T
    h = rng.standard_normal(N_TAPS) * rng.uniform(0, 1) + shapes.filter[0, lag]
    h -= nuisance @ np.linalg.lstsq(nuisance, h, rcond=None)[0]
    s = shapes.template[0, lag]
    assert (h @ s) ** 2 <= shapes.energy[0, lag] * (h @ covariance @ h) * (1 + 1e-9)


@pytest.mark.parametrize("phi", [0.0, 0.4])
def test_filters_do_not_see_baseline_and_tail(phi):
    shapes = shapes_of(phi=phi)
    np.testing.assert_allclose(shapes.filter[0] @ shapes.nuisance[0].T, 0.0, atol=1e-12)
    assert shapes.nuisance[0, 0].tolist() == [1.0] * N_TAPS
    assert shapes.nuisance[0, 1, 5] == pytest.approx(np.exp(-5 / (indicator("GCaMP6f").tau_s * RATE_HZ)))


def test_template_is_the_spike_so_many_frames_ago():
    prior, shapes = indicator("GCaMP6f"), shapes_of()
    response = spike_template(prior.tau_rise_s, prior.tau_s, RATE_HZ, 4)
    assert shapes.template[0, 3, -4:].tolist() == response.tolist()
    assert not shapes.template[0, 3, :-4].any()


def test_in_white_noise_the_oldest_lag_is_the_matched_filter():
    prior, shapes = indicator("GCaMP6f"), shapes_of(phi=0.0)
    one = matched_filter(prior.tau_rise_s, prior.tau_s, RATE_HZ, N_LAGS - 1, N_BEFORE)
    np.testing.assert_allclose(shapes.filter[0, -1] / np.sqrt(shapes.energy[0, -1]), one.taps, atol=1e-12)


def test_prior_is_poisson():
    found = np.exp(poisson_log_prior(np.array([0.5, 3.0]), RATE_HZ))
    counts = np.arange(1, N_COUNTS + 1)
    np.testing.assert_allclose(found, [poisson.pmf(counts, r / RATE_HZ) for r in (0.5, 3.0)], rtol=1e-12)
