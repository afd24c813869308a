"""The bank tells counts, lags and probabilities as dense algebra does, from samples that are there."""

import numpy as np
import pytest
from naive.filter_bank import ar1_covariance, bank_posterior, blind_inverse

from rt_engine.kernels.filter_bank import BankCells, ask_bank, empty_result
from rt_engine.kernels.matched_filter import empty_ring, push_samples
from rt_engine.models.indicators import indicator
from rt_engine.models.template_bank import N_COUNTS, bank_shapes, poisson_log_prior

RATE_HZ = 30.0
PRIOR = indicator("GCaMP6f")
N_BEFORE, N_LAGS, HOLD = 8, 6, 3
N_TAPS = N_BEFORE + N_LAGS


def shapes_of(phi=0.0, n_before=N_BEFORE, n_lags=N_LAGS):
    tau = np.array([PRIOR.tau_s, 2 * PRIOR.tau_s])
    return bank_shapes(PRIOR.tau_rise_s, tau, np.full(2, phi), RATE_HZ, n_before, n_lags)


def cells_of(n, sigma=1.0, amplitude=6.0, gate=-np.inf, rate_hz=1.0):
    return BankCells(
        shape=np.arange(n) % 2,
        gate=np.full(n, gate),
        noise_dff=np.full(n, sigma),
        amplitude_dff=np.full(n, amplitude * sigma),
        log_prior=poisson_log_prior(np.full(n, rate_hz), RATE_HZ),
    )


def ask(x, shapes, cells, code=None, hold=HOLD, z=None, n_earlier=3):
    """`x` : (n_taps, n_rois), oldest first."""
    n_taps, n = x.shape
    code = np.ones(x.shape, np.uint8) if code is None else code
    ring = empty_ring(n_taps, n)
    for k in range(n_earlier):  # so that the oldest does not stand in row 0
        push_samples(np.full(n, 99, np.float32), np.ones(n, np.uint8), k, ring)
    for k in range(n_taps):
        push_samples(x[k].astype(np.float32), code[k], (n_earlier + k) % n_taps, ring)
    result = empty_result(n)
    z = np.zeros(n, np.float32) if z is None else z
    work, lags = np.full((6, n_taps), np.nan), np.full((2, shapes.energy.shape[1]), np.nan)
    ask_bank(n_earlier % n_taps, hold, z, shapes, cells, ring, work, lags, result)
    return result


def naive(x, present, shapes, cells, n, hold=HOLD):
    i = cells.shape[n]
    covariance = ar1_covariance(len(x), shapes.phi[i])
    nuisance = np.stack([np.ones(len(x)), np.exp(-np.arange(len(x)) / ((1 + i) * PRIOR.tau_s * RATE_HZ))], axis=1)
    sigma = cells.noise_dff[n]
    return bank_posterior(
        x.astype(np.float32).astype(float) / sigma, present, shapes.template[i], nuisance, covariance,
        cells.amplitude_dff[n] / sigma, cells.log_prior[n], hold,
    )  # fmt: skip


def planted(shapes, n, lag, count, cells, rng, phi=0.0):
    """Noise with `count` spikes `lag` frames ago."""
    noise = np.linalg.cholesky(ar1_covariance(shapes.template.shape[2], phi)) @ rng.standard_normal(
        (shapes.template.shape[2], n)
    )
    return cells.noise_dff * noise + count * cells.amplitude_dff * shapes.template[cells.shape, lag].T


@pytest.mark.parametrize("phi", [0.0, 0.5, -0.3])
@pytest.mark.parametrize("lost", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("hold", [0, 3, 5])
def test_posterior_is_that_of_dense_algebra(phi, lost, hold):
    rng = np.random.default_rng([round(10 * lost), hold])
    shapes, n = shapes_of(phi), 60
    cells = cells_of(n, sigma=0.2, amplitude=3.0)
    x = planted(shapes, n, 3, rng.integers(0, 4, n), cells, rng, phi) + rng.uniform(-1, 1, n)
    present = rng.random(x.shape) >= lost
    x[~present] = np.nan
    result = ask(x, shapes, cells, np.where(present, 1, rng.integers(0, 2, x.shape) * 2).astype(np.uint8), hold)
    told = 0
    for i in range(n):
        expected = naive(x[:, i], present[:, i], shapes, cells, i, hold)
        assert bool(result.told[i]) == (expected is not None)
        if expected is None:
            continue
        told += 1
        count, lag, probability, evidence = expected
        assert result.lag[i] == lag
        np.testing.assert_allclose(
            [result.n_spikes[i], result.probability[i], result.log_evidence[i]], [count, probability, evidence],
            rtol=2e-4, atol=1e-5,
        )  # fmt: skip
    assert told > n // 10


@pytest.mark.parametrize("x", [0.0, 3.0, 1e6, -1e6])
def test_constant_windows_are_no_spike_and_overflow_nothing(x):
    shapes, cells = shapes_of(), cells_of(2)
    result = ask(np.full((N_TAPS, 2), x), shapes, cells)
    assert result.told.all()
    assert (result.probability < 0.01).all()
    assert (result.n_spikes < 0.2).all()


def test_a_window_without_samples_tells_nothing():
    shapes, cells = shapes_of(), cells_of(2)
    for code in (0, 2):
        assert not ask(np.zeros((N_TAPS, 2)), shapes, cells, np.full((N_TAPS, 2), code, np.uint8)).told.any()


def test_only_what_passes_the_gate_is_asked():
    shapes, cells = shapes_of(), cells_of(4, gate=2.0)
    z = np.array([1.9, 2.0, np.nan, 5.0], np.float32)
    result = ask(np.zeros((N_TAPS, 4)), shapes, cells, z=z)
    assert result.told.tolist() == [0, 1, 0, 1]
    assert result.n_spikes[[0, 2]].tolist() == [0, 0]


@pytest.mark.parametrize("phi", [0.0, 0.5])
def test_baseline_and_tail_of_earlier_spikes_move_nothing(phi):
    rng = np.random.default_rng(1)
    shapes, n = shapes_of(phi), 40
    cells = cells_of(n, amplitude=2.0)
    x = planted(shapes, n, 3, 1, cells, rng, phi)
    tail = np.stack([shapes.nuisance[i, 1] for i in cells.shape], axis=1)
    code = np.ones(x.shape, np.uint8)
    code[[2, 9], : n // 2] = 0
    before = ask(x, shapes, cells, code)
    after = ask(x + rng.uniform(-9, 9, n) + tail * rng.uniform(-9, 9, n), shapes, cells, code)
    for name in ("n_spikes", "probability", "log_evidence"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=2e-3, atol=1e-4)


def test_count_is_unbiased_and_the_lag_right_for_one_two_and_three_spikes():
    # A / sigma 6; the lags 0 and 1 see too little of the spike to be told apart.
    rng = np.random.default_rng(2)
    shapes, n = shapes_of(n_before=15), 4000
    cells = cells_of(n, rate_hz=3.0)
    for count in (1, 2, 3):
        for lag in (3, 4, 5):
            result = ask(planted(shapes, n, lag, count, cells, rng), shapes, cells)
            mean = result.n_spikes.mean()
            assert abs(mean - count) < 0.05 * count
            assert np.mean(result.lag == lag) > 0.9
    assert N_COUNTS == 3


def test_probability_is_what_happens():
    # Windows drawn from the bank's own prior: of those told p, a share p has a spike there.
    rng = np.random.default_rng(3)
    shapes, n = shapes_of(), 60_000
    cells = cells_of(n, amplitude=3.0, rate_hz=1.5)
    prior = np.exp(cells.log_prior[0])
    hypothesis = rng.choice(1 + N_LAGS * N_COUNTS, n, p=[1 - N_LAGS * prior.sum(), *np.tile(prior, N_LAGS)])
    lag, count = np.divmod(hypothesis - 1, N_COUNTS)
    count = np.where(hypothesis > 0, count + 1, 0)
    x = rng.standard_normal((N_TAPS, n)) + count * cells.amplitude_dff * shapes.template[cells.shape, lag].T
    result = ask(x, shapes, cells)
    there = (hypothesis > 0) & (lag == HOLD)
    for low, high in ((0.02, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 0.9), (0.9, 1.0)):
        inside = (result.probability >= low) & (result.probability < high)
        error = 4 * np.sqrt(0.25 / inside.sum())
        assert inside.sum() > 100
        assert abs(there[inside].mean() - result.probability[inside].mean()) < error
    assert abs(result.n_spikes.mean() - count.mean()) < 4 * count.std() / np.sqrt(n)


def test_less_than_half_of_the_template_is_no_decision():
    shapes, cells = shapes_of(), cells_of(1)
    s = shapes.template[0, HOLD]
    nuisance = shapes.nuisance[0].T
    full = s @ blind_inverse(np.eye(N_TAPS), nuisance) @ s
    said = []
    for n_lost in range(8):
        keep = np.arange(N_TAPS - n_lost)
        left = s[keep] @ blind_inverse(np.eye(len(keep)), nuisance[keep]) @ s[keep]
        code = np.ones((N_TAPS, 1), np.uint8)
        code[N_TAPS - n_lost :] = 0
        told = bool(ask(np.zeros((N_TAPS, 1)), shapes, cells, code).told[0])
        assert told == (left >= 0.5 * full)
        said.append(told)
    assert True in said
    assert False in said
