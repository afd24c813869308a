"""The online deconvolution equals the batch solution at every prefix, in fixed memory."""

import numpy as np
import pytest
from naive.oasis_ar1 import calcium_of, jumps_of
from numpy.testing import assert_allclose
from oasis.oasis_methods import oasisAR1
from sklearn.isotonic import IsotonicRegression

from rt_engine.kernels.oasis_ar1 import BLOCK, OasisParameters, empty_state, oasis_step
from rt_engine.kernels.pool_history import shift_starts


def parameters(gamma, penalty=0.0, s_min=0.0):
    gamma = np.atleast_1d(np.asarray(gamma, float))
    return OasisParameters(gamma, np.full(len(gamma), float(penalty)), np.full(len(gamma), float(s_min)))


def run(y, model, hold=0, n_pools=16, gaps=None, dtype=np.float64):
    """Calcium and jump after every frame; NaN means no sample."""
    n_frames, n_rois = y.shape
    state = empty_state(n_rois, n_pools)
    calcium, jump = (np.full((n_frames, n_rois), np.nan, dtype) for _ in range(2))  # overwritten, whatever was there
    for t in range(n_frames):
        usable = np.isfinite(y[t]).astype(np.uint8)
        n_gap = 0 if gaps is None else int(gaps[t])
        oasis_step(y[t].astype(dtype), usable, n_gap, hold, model, state, calcium[t], jump[t])
    return calcium, jump, state


def traces(seed, n_frames=150, n_rois=6, sigma=0.3):
    rng = np.random.default_rng(seed)
    gamma = rng.uniform(0.6, 0.97, n_rois)
    spikes = rng.random((n_frames, n_rois)) < 0.05
    calcium = np.zeros((n_frames, n_rois))
    for t in range(n_frames):
        calcium[t] = gamma * calcium[t - 1] + spikes[t] if t else spikes[t]
    return calcium + sigma * rng.standard_normal(calcium.shape), gamma, calcium


@pytest.mark.parametrize(("penalty", "s_min"), [(0, 0), (0.2, 0), (0, 0.5), (0.1, 0.3)])
def test_every_prefix_equals_oasis_deconv(penalty, s_min):
    y, gamma, _ = traces(0)
    calcium, jump, state = run(y, parameters(gamma, penalty, s_min), hold=2)
    assert state.floor_hits.sum() == 0
    for t in range(2, len(y), 3):
        for i in range(y.shape[1]):
            c, s = oasisAR1(y[: t + 1, i].copy(), gamma[i], lam=penalty, s_min=s_min)
            assert calcium[t, i] == pytest.approx(c[-1], abs=1e-12)
            assert jump[t, i] == pytest.approx(max(s[-3], 0.0), abs=1e-12)


@pytest.mark.parametrize("penalty", [0.0, 0.3])
def test_equals_weighted_isotonic_regression(penalty):
    # x_t = c_t / gamma^t must not fall; the penalty is a shift of the data.
    y, gamma, _ = traces(1, n_frames=60)
    calcium, _, _ = run(y, parameters(gamma, penalty))
    for i, g in enumerate(gamma):
        power = g ** np.arange(len(y))
        shifted = y[:, i] - penalty * (1 - g)
        shifted[-1] = y[-1, i] - penalty
        fit = IsotonicRegression(y_min=0).fit_transform(np.arange(len(y)), shifted / power, sample_weight=power**2)
        assert calcium[-1, i] == pytest.approx(fit[-1] * power[-1], abs=1e-9)


@pytest.mark.parametrize("s_min", [0.0, 0.5])
def test_missing_samples_equal_naive_and_oasis_deconv(s_min):
    y, gamma, _ = traces(2)
    rng = np.random.default_rng(3)
    y[rng.random(y.shape) < 0.2] = np.nan
    y[0] = 0.0
    calcium, jump, state = run(y, parameters(gamma, 0.0, s_min), hold=1)
    assert state.floor_hits.sum() == 0
    for t in range(3, len(y), 5):
        for i, g in enumerate(gamma):
            c = calcium_of(y[: t + 1, i], g, 0.0, s_min)
            assert calcium[t, i] == pytest.approx(c[-1], abs=1e-12)
            assert jump[t, i] == pytest.approx(jumps_of(c, g)[-2], abs=1e-12)
            batch, _ = oasisAR1(y[: t + 1, i].copy(), g, s_min=s_min)
            here = np.isfinite(batch)
            assert_allclose(c[here], batch[here], atol=1e-12)


def test_lost_frames_are_the_same_as_frames_without_samples():
    y, gamma, _ = traces(4)
    lost = np.zeros(len(y), bool)
    lost[[20, 21, 22, 60, 100, 101]] = True
    holes = y.copy()
    holes[lost] = np.nan
    whole, _, _ = run(holes, parameters(gamma))
    gaps = np.diff(np.flatnonzero(~lost), prepend=-1) - 1
    joined, _, _ = run(y[~lost], parameters(gamma), gaps=gaps)
    assert_allclose(joined, whole[~lost], atol=1e-12)


def test_zero_floor_hits_certify_the_answer_of_unbounded_memory():
    y, gamma, _ = traces(5, n_frames=1500, sigma=0.5)
    few, _, state = run(y, parameters(gamma), n_pools=4)
    many, _, unbounded = run(y, parameters(gamma), n_pools=1500)
    assert unbounded.floor_hits.sum() == 0
    assert (state.floor_hits == 0).any()
    assert (state.floor_hits > 0).any()
    for i in range(y.shape[1]):
        if state.floor_hits[i] == 0:
            assert np.array_equal(few[:, i], many[:, i])
    sixteen, _, state = run(y, parameters(gamma))
    assert state.floor_hits.sum() == 0
    assert np.array_equal(sixteen, many)


def test_scale_equivariance():
    y, gamma, _ = traces(6)
    one, jump, _ = run(y, parameters(gamma, 0.1, 0.3), hold=1)
    four, jump4, _ = run(4 * y, parameters(gamma, 0.4, 1.2), hold=1)
    assert_allclose(four, 4 * one, atol=1e-12)
    assert_allclose(jump4, 4 * jump, atol=1e-12)


def test_noise_free_spikes_are_recovered_exactly_after_the_hold():
    y, gamma, calcium = traces(7, sigma=0.0)
    estimate, jump, _ = run(y, parameters(gamma), hold=1)
    assert_allclose(estimate, calcium, atol=1e-9)
    later = np.argmax(calcium > 0, axis=0) + 1
    for i, g in enumerate(gamma):
        assert_allclose(jump[later[i] + 1 :, i], jumps_of(calcium[:, i], g)[later[i] : -1], atol=1e-9)


def test_never_negative():
    y, gamma, _ = traces(8, sigma=3.0)
    calcium, jump, _ = run(y, parameters(gamma, 0.1), hold=1)
    assert calcium.min() >= 0
    assert jump.min() >= 0


def test_float32_traces_agree_to_their_precision():
    y, gamma, _ = traces(9)
    y = y.astype(np.float32).astype(np.float64)
    double, _, _ = run(y, parameters(gamma))
    single, _, _ = run(y, parameters(gamma), dtype=np.float32)
    assert_allclose(single, double, atol=1e-6)


def test_constant_and_empty_input():
    calcium, jump, _ = run(np.zeros((50, 2)), parameters([0.9, 0.5]), hold=1)
    assert not calcium.any()
    assert not jump.any()
    calcium, _, state = run(np.full((50, 2), np.nan), parameters([0.9, 0.5]))
    assert not calcium.any()
    assert not state.depth.any()


def test_other_types_are_refused():
    model, state = parameters([0.9]), empty_state(1)
    whole = np.zeros(1, np.int64)
    with pytest.raises(TypeError):
        oasis_step(whole, np.ones(1, np.uint8), 0, 0, model, state, whole, whole)


@pytest.mark.parametrize("penalty", [0.0, 0.3])
def test_optimality_conditions_hold(penalty):
    # g_t = sum_{u >= t} gamma^(u - t) (c_u - y_u) + lambda is the derivative by s_t: >= 0, and 0 where s_t > 0.
    n_frames = 60
    y, gamma = traces(10, n_frames=n_frames)[0], np.linspace(0.93, 0.99, 6)
    jumps = np.zeros_like(y)
    for hold in range(n_frames - 1):
        calcium, jump, _ = run(y, parameters(gamma, penalty), hold=hold)
        jumps[n_frames - 1 - hold] = jump[-1]
    for i, g in enumerate(gamma):
        c = np.zeros(n_frames)
        c[-1] = calcium[-1, i]
        for t in range(n_frames - 1, 0, -1):
            c[t - 1] = (c[t] - jumps[t, i]) / g
        residual = c - y[:, i]
        slope = np.array([residual[t:] @ g ** np.arange(n_frames - t) for t in range(n_frames)]) + penalty
        scale = g ** -np.arange(n_frames)[::-1]  # of rounding, when calcium is run backwards
        assert (slope >= -1e-12 * scale[0]).all()
        assert np.abs(slope * (jumps[:, i] > 0)).max() <= 1e-12 * scale[0]


@pytest.mark.parametrize("n_rois", [1, BLOCK - 1, BLOCK, BLOCK + 1])
@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_cells_do_not_influence_each_other(n_rois, penalty):
    y, gamma, _ = traces(11, n_frames=40, n_rois=n_rois)
    together, jump, _ = run(y, parameters(gamma, penalty, 0.2), hold=1)
    for i in {0, n_rois // 2, n_rois - 1}:
        alone, alone_jump, _ = run(y[:, [i]], parameters(gamma[i], penalty, 0.2), hold=1)
        assert np.array_equal(alone[:, 0], together[:, i])
        assert np.array_equal(alone_jump[:, 0], jump[:, i])


@pytest.mark.parametrize("s_min", [0.0, 0.1])
@pytest.mark.parametrize("hold", [0, 1, 7, 8, 13, 15, 16, 40, 58])
def test_growth_is_a_jump_in_every_frame(hold, s_min):
    y = 1.2 ** np.arange(60)[:, None]
    model = parameters(0.9, s_min=s_min)
    _, jump, state = run(y, model, hold=hold, n_pools=64)
    assert state.floor_hits.sum() == 0
    jumps = y[1:, 0] - 0.9 * y[:-1, 0]
    first = np.argmax(jumps >= s_min)  # before it, jumps are too small
    if 58 - hold > first:
        assert jump[-1, 0] == pytest.approx(jumps[58 - hold], rel=1e-12)
    _, jump, _ = run(y, model, hold=hold)
    assert jump[-1, 0] == pytest.approx(jumps[58 - hold] if hold < 16 else 0.0, rel=1e-12)  # dropped: not told


def test_a_violated_floor_is_counted_once():
    y = np.concatenate([1.3 ** np.arange(40), -1e6 * 0.95 ** np.arange(20)])[:, None]  # falls on: no pool begins
    calcium, _, state = run(y, parameters(0.9))
    assert state.floor_hits.tolist() == [1]
    assert not calcium[40:].any()


def test_a_jump_of_just_the_smallest_size_stands():
    # Exact in binary: calcium 1, then 1/2, and a sample 1/8 above the 1/4 that follows.
    y = np.array([[1.0], [0.5], [0.375]])
    for s_min, jump in ((0.125, 0.125), (0.126, 0.0)):
        _, told, _ = run(y, parameters(0.5, s_min=s_min))
        assert told[-1, 0] == jump


def test_the_first_sample_has_no_pool_below():
    _, _, state = run(np.ones((1, 3)), parameters([0.9, 0.8, 0.7]))
    assert not state.depth.any()


@pytest.mark.parametrize("hold", [0, 1, 3])
@pytest.mark.parametrize("s_min", [0.0, 0.4])
def test_every_jump_is_the_one_of_the_twin_where_calcium_falls_below_nothing(hold, s_min):
    y, gamma, _ = traces(12, sigma=0.5)
    y -= 0.5  # many pools that lie below zero or below the smallest jump
    y[:3, ::2] = [[-1.0], [0.2], [0.7]]
    y[:3, 1::2] = [[1.0], [0.2], [0.1]]
    _, jump, state = run(y, parameters(gamma, 0.0, s_min), hold=hold)
    assert state.floor_hits.sum() == 0
    for i, g in enumerate(gamma):
        for t in range(hold, len(y)):
            expected = jumps_of(calcium_of(y[: t + 1, i], g, 0.0, s_min), g)[t - hold]
            assert jump[t, i] == pytest.approx(expected, abs=1e-12)


def test_a_penalty_is_the_cells_own():
    y, gamma, _ = traces(13)
    penalties = np.array([0.3, 0.0, 0.1, 0.0, 0.0, 0.0])
    model = parameters(gamma)._replace(penalty=penalties)
    together, jump, _ = run(y, model, hold=1)
    for i, penalty in enumerate(penalties):
        alone, alone_jump, _ = run(y[:, [i]], parameters(gamma[i], penalty), hold=1)
        assert np.array_equal(alone[:, 0], together[:, i])
        assert np.array_equal(alone_jump[:, 0], jump[:, i])


@pytest.mark.parametrize("n_frames", [0, 1, 5, 63, 64, 1000])
def test_in_a_gap_the_beginnings_of_pools_grow_older_and_are_forgotten_after_64_frames(n_frames):
    beginnings = [0b1011, 1 << 62, (1 << 63) | 1, 0]
    starts = np.array(beginnings, np.uint64)
    shift_starts(n_frames, starts)
    assert starts.tolist() == [(one << n_frames) % 2**64 for one in beginnings]
