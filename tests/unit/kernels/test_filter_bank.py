"""The bank tells counts, lags, sizes and probabilities as dense algebra does, from samples that are there."""

import numpy as np
import pytest
from naive.filter_bank import bank_posterior, blind_projection
from naive.trace_kernels import CENSORED, EXPECTED, GOOD, MISSING

from rt_engine.kernels.filter_bank import TemplateBank, ask_bank
from rt_engine.kernels.matched_filter import empty_ring, push_samples
from rt_engine.models.indicators import indicator
from rt_engine.pipeline.template_bank import spike_template

RATE_HZ = 30.0
PRIOR = indicator("GCaMP6f")
N_BEFORE, N_LAGS = 10, 6
N_TAPS = N_BEFORE + N_LAGS
SHARES = np.array([0.6, 0.25, 0.15])
COUNTS = np.array([1, 2, 3])


def bank_of(n, amplitude=6.0, rate_hz=1.0):
    """`n` cells, every other with twice the decay."""
    tau = PRIOR.tau_s * np.array([1, 2])
    template = np.zeros((2, N_LAGS, N_TAPS))
    tail = np.exp(-np.arange(N_TAPS) / (tau[:, None] * RATE_HZ))
    filters = np.zeros_like(template)
    for i in range(2):
        response = spike_template(PRIOR.tau_rise_s, tau[i], RATE_HZ, N_LAGS)
        for lag in range(N_LAGS):
            template[i, lag, N_TAPS - 1 - lag :] = response[: lag + 1]
        filters[i] = template[i] @ blind_projection(nuisance_of(tail[i]))
    return TemplateBank(
        template=template,
        filter=np.ascontiguousarray(filters.transpose(0, 2, 1)),
        energy=np.sum(template * filters, axis=2),
        tail=tail,
        shape=np.arange(n) % 2,
        amplitude_dff=np.full(n, amplitude),
        log_prior=np.log(np.tile([1 - N_LAGS * rate_hz / RATE_HZ, *(rate_hz / RATE_HZ * SHARES)], (n, 1))),
        scratch=np.full((7, N_TAPS), np.nan),
    )


def nuisance_of(tail):
    return np.stack([np.ones(len(tail)), tail], axis=1)


def ask(x, bank, code=None, noise=1.0, age=N_TAPS, z=None, n_earlier=3):
    """Columns: spikes, lag, probability, height. `x` : (n_taps, n_rois), oldest first; `z` : that of x if not given."""
    n = x.shape[1]
    code = np.full(x.shape, GOOD, np.uint8) if code is None else code
    ring = empty_ring(N_TAPS, n)
    for k in range(n_earlier):  # so that the oldest does not stand in row 0
        push_samples(np.full(n, 99, np.float32), np.full(n, GOOD, np.uint8), k, ring)
    for k in range(N_TAPS):
        push_samples(x[k].astype(np.float32), code[k], (n_earlier + k) % N_TAPS, ring)
    ring.age[:] = age
    present = np.isin(code, [GOOD, CENSORED]) & (np.arange(N_TAPS) >= N_TAPS - age)[:, None]
    if z is None:
        z = [z_of(x[:, i].astype(np.float32), present[:, i], bank, bank.shape[i]) / noise for i in range(n)]
    return np.array([ask_bank(i, n_earlier % N_TAPS, z[i], ring, bank) for i in range(n)])


def z_of(x, present, bank, shape):
    """Of the oldest lag, in units of x."""
    rows = np.flatnonzero(present)
    if len(rows) < 3:
        return 0.0
    filtered = blind_projection(nuisance_of(bank.tail[shape])[rows]) @ bank.template[shape, -1, rows]
    return filtered @ x[rows].astype(float) / np.linalg.norm(filtered)


def planted(bank, n, lag, count, rng):
    """White noise with `count` spikes `lag` frames ago."""
    signal = np.take_along_axis(bank.template[bank.shape], np.broadcast_to(lag, n)[:, None, None], axis=1)[:, 0].T
    return rng.standard_normal((N_TAPS, n)) + count * bank.amplitude_dff * signal


@pytest.mark.parametrize("lost", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("age", [N_TAPS, 12])
def test_posterior_is_that_of_dense_algebra(lost, age):
    rng = np.random.default_rng([round(10 * lost), age])
    n, noise = 60, 0.26
    bank = bank_of(n, amplitude=3.0)
    in_noise = planted(bank, n, 3, rng.integers(0, 4, n), rng) + rng.uniform(-1, 1, n)
    bank = bank._replace(amplitude_dff=bank.amplitude_dff * noise)
    x = (in_noise * noise).astype(np.float32)
    present = rng.random(x.shape) >= lost
    x[~present] = np.nan
    code = np.where(present, rng.choice([GOOD, CENSORED], x.shape), rng.choice([MISSING, EXPECTED], x.shape))
    found = ask(x, bank, code.astype(np.uint8), noise, age)
    present[: N_TAPS - age] = False
    for i in range(n):
        shape = bank.shape[i]
        expected = bank_posterior(
            x[:, i].astype(float) / noise, present[:, i], bank.template[shape], nuisance_of(bank.tail[shape]),
            3.0, bank.log_prior[i, 1:],
        )  # fmt: skip
        assert found[i, 1] == expected[1]
        np.testing.assert_allclose(found[i, [0, 2]], [expected[0], expected[2]], rtol=2e-4, atol=1e-5)
        assert found[i, 3] == pytest.approx(expected[3] * noise, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("x", [0.0, 3.0, 1e6, -1e6])
def test_constant_windows_are_no_spike_and_overflow_nothing(x):
    found = ask(np.full((N_TAPS, 2), x), bank_of(2), z=[1.0, 0.0])
    assert (found[:, 2] <= N_LAGS / RATE_HZ + 1e-12).all()
    assert np.isfinite(found).all()


def test_the_largest_of_signals_overflows_nothing():
    bank = bank_of(2)
    found = ask(1e6 * bank.template[:, 3].T, bank)
    np.testing.assert_allclose(found[:, :3], [[3, 3, 1]] * 2, rtol=1e-6)


@pytest.mark.parametrize("age", [N_TAPS, 2])
def test_a_window_without_samples_tells_the_prior(age):
    code = np.full((N_TAPS, 2), EXPECTED if age == N_TAPS else GOOD, np.uint8)
    found = ask(np.zeros((N_TAPS, 2)), bank_of(2), code, age=age)
    np.testing.assert_allclose(found[:, 0], SHARES @ COUNTS)
    np.testing.assert_allclose(found[:, 2], N_LAGS / RATE_HZ)
    assert not found[:, 3].any()


def test_baseline_and_tail_of_earlier_spikes_move_nothing():
    rng = np.random.default_rng(1)
    n = 40
    bank = bank_of(n, amplitude=2.0)
    x = planted(bank, n, 3, 1, rng)
    code = np.full(x.shape, GOOD, np.uint8)
    code[[2, 9], : n // 2] = MISSING
    before = ask(x, bank, code)
    after = ask(x + rng.uniform(-9, 9, n) + bank.tail[bank.shape].T * rng.uniform(-9, 9, n), bank, code)
    np.testing.assert_allclose(after, before, rtol=2e-3, atol=1e-4)


def test_count_is_unbiased_and_the_lag_right_for_one_two_and_three_spikes():
    # The lags 0 and 1 see too little of the spike to be told apart.
    rng = np.random.default_rng(2)
    n = 4000
    bank = bank_of(n, amplitude=8.0)
    for count in COUNTS:
        for lag in (3, 4, 5):
            found = ask(planted(bank, n, lag, count, rng), bank)
            assert found[:, 0].mean() == pytest.approx(count, rel=0.03)
            assert np.mean(found[:, 1] == lag) > 0.9
            at_lag = found[found[:, 1] == lag, 3]
            assert at_lag.mean() == pytest.approx(8.0 * count, rel=0.03)


def test_probability_and_count_are_what_happens():
    # Windows drawn from the bank's own prior: of those told p, a share p has a spike.
    rng = np.random.default_rng(3)
    n = 40_000
    bank = bank_of(n, amplitude=3.0, rate_hz=1.5)
    prior = np.exp(bank.log_prior[0, 1:])
    hypothesis = rng.choice(1 + 3 * N_LAGS, n, p=[1 - N_LAGS * prior.sum(), *np.tile(prior, N_LAGS)])
    lag, count = np.divmod(hypothesis - 1, 3)
    there = hypothesis > 0
    count = np.where(there, count + 1, 0)
    n_spikes, _, probability, _ = ask(planted(bank, n, np.where(there, lag, 0), count, rng), bank).T
    for low, high in ((0.02, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 0.9), (0.9, 1.0)):
        inside = (probability >= low) & (probability < high)
        assert inside.sum() > 100
        assert abs(there[inside].mean() - probability[inside].mean()) < 4 * np.sqrt(0.25 / inside.sum())
    for low, high in ((1.0, 1.3), (1.3, 1.8), (1.8, 2.3), (2.3, 3.0)):
        inside = there & (n_spikes >= low) & (n_spikes < high)
        assert inside.sum() > 100
        assert abs(count[inside].mean() - n_spikes[inside].mean()) < 4 * np.sqrt(1.0 / inside.sum())
