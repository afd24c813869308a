"""The coefficient of the neuropil is found where cell and ring are noisy, drift, and share their drive."""

import numpy as np
import pytest
from scipy.signal import lfilter

from rt_engine.models.neuropil_fit import PRIOR, PRIOR_SD, fit_neuropil

RATE_HZ = 30.0


def field(seed, r, rate_hz=0.3, shared=0.0, n_rois=40, n_frames=3600, photons=60.0):
    """Cells whose firing follows the neuropil with log gain `shared`, in their haze of r times the ring's light."""
    rng = np.random.default_rng(seed)
    a, g = np.exp(-1 / (0.8 * RATE_HZ)), np.exp(-1 / (0.12 * RATE_HZ))
    common = lfilter([np.sqrt(1 - a * a)], [1, -a], rng.standard_normal((n_frames, n_rois)), axis=0)
    spikes = rng.poisson(rate_hz / RATE_HZ * np.exp(shared * common - shared**2 / 2))
    dff = 0.7 * lfilter([1.0], [1, -g], spikes, axis=0)
    haze = photons * 0.1 * common
    f_roi = rng.poisson(np.maximum(photons * (1 + dff) + r * haze, 0.01)).astype(np.float32)
    ring = photons + haze
    f_np = (ring + np.sqrt(photons / 4) * rng.standard_normal(ring.shape)).astype(np.float32)
    return 20 * f_roi, 20 * f_np, np.ones(f_roi.shape, bool)


def z_of(fit, r):
    """Errors in standard errors of the data alone: the prior taken out again."""
    precision = fit.standard_error**-2 - PRIOR_SD**-2
    own = (fit.coefficient * fit.standard_error**-2 - PRIOR * PRIOR_SD**-2) / precision
    return (own - r) * np.sqrt(precision), own


def test_it_is_unbiased_although_the_ring_is_noisy_and_its_error_is_honest():
    laws = [(r, rate_hz) for r in (0.4, 0.7, 0.95) for rate_hz in (0.0, 0.3)]
    found = [z_of(fit_neuropil(*field(1, *law), RATE_HZ), law[0]) for law in laws]
    for (r, _), (_, own) in zip(laws, found, strict=True):
        assert own.mean() == pytest.approx(r, abs=0.035)
    assert 0.60 <= np.mean([np.abs(z) <= 1 for z, _ in found]) <= 0.76


def test_a_shared_drive_misleads_it_far_less_than_least_squares():
    f_roi, f_np, good = field(2, 0.7, rate_hz=0.5, shared=0.7)
    least_squares = np.mean([np.polyfit(f_np[:, n], f_roi[:, n], 1)[0] for n in range(40)]) * 1.25  # ring noise undone
    _, own = z_of(fit_neuropil(f_roi, f_np, good, RATE_HZ), 0.7)
    assert least_squares > 0.8
    assert own.mean() == pytest.approx(0.7, abs=0.06)


def test_common_bleaching_is_no_coupling():
    f_roi, f_np, good = field(3, 0.5)
    ramp = np.linspace(1, 0.7, len(f_roi), dtype=np.float32)[:, None]
    _, own = z_of(fit_neuropil(f_roi * ramp, f_np * ramp, good, RATE_HZ), 0.5)
    assert own.mean() == pytest.approx(0.5, abs=0.05)


def test_rings_without_signal_or_samples_leave_the_prior():
    rng = np.random.default_rng(4)
    f_roi, f_np = (rng.normal(100, 5, (600, 3)).astype(np.float32) for _ in range(2))
    good = np.ones(f_roi.shape, bool)
    f_np[:, 1] = 0
    good[50:, 2] = False
    fit = fit_neuropil(f_roi, f_np, good, RATE_HZ)
    np.testing.assert_allclose(fit.coefficient, PRIOR)
    np.testing.assert_allclose(fit.standard_error, PRIOR_SD)
