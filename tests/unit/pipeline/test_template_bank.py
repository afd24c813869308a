"""Templates and filters of the bank: the best linear detectors that are blind to their nuisances."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive.filter_bank import whitened_projection

from rt_engine.models.detection import matched_filter
from rt_engine.models.indicators import indicator
from rt_engine.models.stage_run import RunSettings, TraceCalibration, calibration_of
from rt_engine.pipeline.template_bank import spike_template, template_bank

RATE_HZ = 30.0
N_BEFORE, HOLD = 15, 5
N_LAGS, N_TAPS = HOLD + 1, N_BEFORE + 1 + HOLD


def calibration(name="GCaMP6f", times=(1.0,)):
    """One cell for every decay time in units of the indicator's."""
    prior = indicator(name)
    n = len(times)
    filters = [matched_filter(prior.tau_rise_s, t * prior.tau_s, RATE_HZ, HOLD, N_BEFORE).taps for t in times]

    def full(value):
        return np.full(n, value, np.float32)

    found = TraceCalibration(
        neuropil_coefficient=full(0),
        neuropil_median_counts=full(0),
        f0_counts=full(100),
        sigma_dff=full(0.1),
        tau_rise_s=full(prior.tau_rise_s),
        tau_s=(prior.tau_s * np.array(times)).astype(np.float32),
        amplitude_dff=full(0.3),
        rate_hz=full(0.5),
        filter_taps=np.stack(filters, axis=1).astype(np.float32),
        filter_gain=full(4),
        threshold=full(3.5),
        expected_detection=full(0.9),
    )
    return calibration_of(found, RunSettings(RATE_HZ, prior, HOLD, N_BEFORE, 0.1), 5000)


@pytest.mark.parametrize("name", ["GCaMP6f", "GCaMP6s", "jGCaMP8m"])
def test_signal_to_noise_is_amplitude_times_root_of_the_energy(name):
    rng = np.random.default_rng(0)
    bank, size = template_bank(calibration(name)), 4.0
    noise = rng.standard_normal((400_000, N_TAPS))
    for lag in range(N_LAGS):
        with_spike = (noise + size * bank.template[0, lag]) @ bank.filter[0, :, lag]
        without = noise @ bank.filter[0, :, lag]
        found = (with_spike.mean() - without.mean()) / without.std()
        assert found == pytest.approx(size * np.sqrt(bank.energy[0, lag]), rel=0.02)


@given(seed=st.integers(0, 2**32 - 1), lag=st.integers(0, N_LAGS - 1))
@settings(max_examples=80, deadline=None)
def test_no_other_filter_that_is_blind_to_the_nuisances_does_better(seed, lag):
    rng = np.random.default_rng(seed)
    bank = template_bank(calibration())
    nuisance = np.stack([np.ones(N_TAPS), bank.tail[0]], axis=1)
    h = rng.standard_normal(N_TAPS) * rng.uniform(0, 1) + bank.filter[0, :, lag]
    h -= nuisance @ np.linalg.lstsq(nuisance, h, rcond=None)[0]
    s = bank.template[0, lag]
    assert (h @ s) ** 2 <= bank.energy[0, lag] * (h @ h) * (1 + 1e-9)


def test_filters_do_not_see_baseline_and_tail():
    bank = template_bank(calibration())
    np.testing.assert_allclose(bank.filter[0].sum(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(bank.tail[0] @ bank.filter[0], 0.0, atol=1e-12)
    assert bank.tail[0, 5] == pytest.approx(np.exp(-5 / (indicator("GCaMP6f").tau_s * RATE_HZ)), rel=1e-6)


def test_template_is_the_spike_so_many_frames_ago():
    prior, bank = indicator("GCaMP6f"), template_bank(calibration())
    response = spike_template(prior.tau_rise_s, prior.tau_s, RATE_HZ, 4)
    np.testing.assert_allclose(bank.template[0, 3, -4:], response, rtol=1e-6)
    assert not bank.template[0, 3, :-4].any()


def test_the_oldest_lag_is_the_filter_of_the_calibration():
    made = calibration(times=(0.7, 1.0, 1.6))
    bank = template_bank(made)
    for i, shape in enumerate(bank.shape):
        unit = bank.filter[shape, :, -1] / np.sqrt(bank.energy[shape, -1])
        np.testing.assert_allclose(unit, made.filter_taps[:, i], atol=1e-6)


def test_cells_of_the_same_kernel_share_templates():
    bank = template_bank(calibration(times=(1.6, 1.0, 1.6, 1.6)))
    assert len(bank.template) == 2
    assert bank.shape[0] == bank.shape[2] == bank.shape[3] != bank.shape[1]


def test_cells_of_coloured_noise_have_whitened_filters_of_their_own():
    phi = np.array([0.0, 0.3, -0.2], np.float32)
    bank = template_bank(replace(calibration(times=(1.0, 1.0, 1.0)), noise_correlation=phi))
    assert len(bank.template) == 3
    for n, correlation in enumerate(phi.astype(float)):
        here = bank.shape[n]
        m = whitened_projection(np.stack([np.ones(N_TAPS), bank.tail[here]], axis=1), correlation)
        np.testing.assert_allclose(bank.filter[here].T, bank.template[here] @ m, atol=1e-9)
        wanted = np.einsum("jk,kl,jl->j", bank.template[here], m, bank.template[here])
        np.testing.assert_allclose(bank.energy[here], wanted, atol=1e-9)


def test_prior_is_the_rate_of_events_shared_among_sizes():
    made = replace(calibration(times=(1.0, 1.0)), rate_hz=np.array([0.3, 0.0], np.float32))
    log_prior = template_bank(made).log_prior
    assert np.exp(log_prior[0, 1:]).sum() == pytest.approx(0.3 / RATE_HZ, rel=1e-6)
    assert np.exp(log_prior[0, 0]) == pytest.approx(1 - N_LAGS * 0.3 / RATE_HZ, rel=1e-6)
    assert (np.diff(log_prior[0]) < 0).all()
    assert np.isfinite(log_prior[1]).all()
