"""The streaming filter equals the dense projection at every frame, samples missing or not."""

import numpy as np
import pytest
from naive.trace_kernels import CENSORED, EXPECTED, GOOD, MISSING, projected_filter

from rt_engine.kernels.matched_filter import apply_filter, empty_ring, push_samples
from rt_engine.models.detection import matched_filter
from rt_engine.pipeline.template_bank import spike_template

RATE_HZ, TAU_RISE_S, TAU_S, N_BEFORE, HOLD = 30.0, 0.02, 0.15, 9, 2
N_TAPS = N_BEFORE + 1 + HOLD
GAMMA = np.exp(-1 / (TAU_S * RATE_HZ))
TEMPLATE = np.concatenate([np.zeros(N_BEFORE), spike_template(TAU_RISE_S, TAU_S, RATE_HZ, HOLD + 1)])
FILTER = matched_filter(TAU_RISE_S, TAU_S, RATE_HZ, HOLD, N_BEFORE)


def stream(x, code):
    """(z, energy, mean before) of every frame, and the ring at the end."""
    n_frames, n_rois = x.shape
    taps = np.repeat(FILTER.taps[:, None], n_rois, 1).astype(np.float32)
    gamma = np.full(n_rois, GAMMA, np.float32)
    ring = empty_ring(N_TAPS, n_rois)
    out = np.zeros((3, n_frames, n_rois), np.float32)
    row = 0
    for t in range(n_frames):
        push_samples(x[t], code[t], row, ring)
        row = (row + 1) % N_TAPS
        apply_filter(row, N_BEFORE, taps, gamma, ring, *out[:, t])
    return out, ring


def data(seed, n_frames=120, n_rois=4):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n_frames, n_rois)).astype(np.float32), np.full((n_frames, n_rois), GOOD, np.uint8), rng


def test_streaming_equals_batch_convolution():
    x, code, _ = data(0)
    (z, energy, mean), _ = stream(x, code)
    for t in range(N_TAPS - 1, len(x)):
        window = x[t - N_TAPS + 1 : t + 1].astype(float)
        np.testing.assert_allclose(z[t], FILTER.taps @ window, atol=2e-6)
        np.testing.assert_allclose(mean[t], window[:N_BEFORE].mean(axis=0), atol=1e-6)
    assert (energy[N_TAPS:] == 1).all()


@pytest.mark.parametrize("absent", [MISSING, EXPECTED])
def test_missing_samples_equal_the_dense_projection(absent):
    x, code, rng = data(1)
    code[rng.random(code.shape) < 0.15] = absent
    code[40:46, 0] = absent
    code[rng.random(code.shape) < 0.05] = CENSORED
    x[code == absent] = np.nan
    (z, energy, _), ring = stream(x, code)
    for t in range(N_TAPS - 1, len(x)):
        for n in range(x.shape[1]):
            window = slice(t - N_TAPS + 1, t + 1)
            present = np.isin(code[window, n], (GOOD, CENSORED))
            expected, share = projected_filter(TEMPLATE, GAMMA, np.nan_to_num(x[window, n]), present)
            assert energy[t, n] == pytest.approx(share, abs=1e-4)
            if share > 0.05:
                assert z[t, n] == pytest.approx(expected, abs=2e-4)
    np.testing.assert_array_equal(ring.n_missing, (code[-N_TAPS:] == absent).sum(axis=0))
    np.testing.assert_array_equal(ring.n_unexplained, (code[-N_TAPS:] == MISSING).sum(axis=0))


def test_a_young_window_uses_only_the_samples_since_it_was_opened():
    x, code, _ = data(2)
    _, ring = stream(x, code)
    row = len(x) % N_TAPS
    ring.age[:] = 7
    n_rois = x.shape[1]
    z, energy, mean = np.zeros((3, n_rois), np.float32)
    taps = np.repeat(FILTER.taps[:, None], n_rois, 1).astype(np.float32)
    apply_filter(row, N_BEFORE, taps, np.full(n_rois, GAMMA, np.float32), ring, z, energy, mean)
    present = np.arange(N_TAPS) >= N_TAPS - 7
    for n in range(n_rois):
        expected, share = projected_filter(TEMPLATE, GAMMA, x[-N_TAPS:, n], present)
        assert z[n] == pytest.approx(expected, abs=2e-4)
        assert energy[n] == pytest.approx(share, abs=1e-4)
        assert mean[n] == pytest.approx(x[-7 : -HOLD - 1, n].mean(), abs=1e-5)


def test_a_window_opened_anew_grows_by_one_sample_a_frame_until_it_is_full():
    x, code, _ = data(6)
    _, ring = stream(x[:60], code[:60])
    ring.age[:] = 0
    n_rois = x.shape[1]
    z, energy, mean = np.zeros((3, n_rois), np.float32)
    taps = np.repeat(FILTER.taps[:, None], n_rois, 1).astype(np.float32)
    for n_samples in range(1, N_TAPS + 3):
        t = 59 + n_samples
        push_samples(x[t], code[t], t % N_TAPS, ring)
        apply_filter((t + 1) % N_TAPS, N_BEFORE, taps, np.full(n_rois, GAMMA, np.float32), ring, z, energy, mean)
        present = np.arange(N_TAPS) >= N_TAPS - n_samples
        for n in range(n_rois):
            _, share = projected_filter(TEMPLATE, GAMMA, x[t - N_TAPS + 1 : t + 1, n], present)
            assert energy[n] == pytest.approx(share, abs=1e-4)
    assert (ring.age == N_TAPS).all()


@pytest.mark.parametrize("holes", [False, True])
def test_blind_to_baseline_and_to_the_tail_of_earlier_spikes(holes):
    x, code, rng = data(3)
    if holes:
        code[rng.random(code.shape) < 0.1] = EXPECTED
    (z, energy, _), _ = stream(x, code)
    tail = (5.0 * GAMMA ** np.arange(len(x)) + 3.0).astype(np.float32)
    (lifted, _, _), _ = stream(x + tail[:, None], code)
    seen = energy > 0.2
    seen[: N_TAPS - 1] = False
    np.testing.assert_allclose(lifted[seen], z[seen], atol=3e-4)


def test_variance_is_one_with_and_without_missing_samples():
    x, code, rng = data(4, n_frames=30000, n_rois=2)
    code[rng.random(len(code)) < 0.1, 1] = EXPECTED
    (z, energy, _), _ = stream(x, code)
    assert z[N_TAPS:, 0].std() == pytest.approx(1.0, abs=0.015)
    assert z[N_TAPS:, 1][energy[N_TAPS:, 1] > 0.5].std() == pytest.approx(1.0, abs=0.015)


def test_nothing_to_see_is_no_energy():
    x, code, _ = data(5, n_frames=20)
    code[:] = MISSING
    (z, energy, mean), _ = stream(x, code)
    assert not z.any()
    assert not energy.any()
    assert not mean.any()
