"""dF/F and the running baseline do what their definitions say."""

import numpy as np
import pytest
from naive.trace_kernels import CENSORED, EXPECTED, GOOD, MISSING
from naive.trace_kernels import normalise as naive_normalise
from naive.trace_kernels import track_quantile as naive_quantile

from rt_engine.kernels.baseline import BaselineParameters, normalise, track_quantile

Q = 0.1


def parameters(n, r=0.7, median=50.0, step=0.01, lift=0.0, lowest=1.0):
    full = [np.full(n, v) for v in (r, median, step * Q, step * (1 - Q), lift, lowest)]
    return BaselineParameters(*full)


def test_equals_naive_over_random_and_edge_data():
    rng = np.random.default_rng(0)
    n = 400
    f_roi = rng.normal(100, 30, n).astype(np.float32)
    f_np = rng.normal(50, 20, n).astype(np.float32)
    f_roi[:5], f_np[5:10] = np.nan, np.inf
    valid = rng.choice([MISSING, GOOD, GOOD, EXPECTED], n).astype(np.uint8)
    censored = (rng.random(n) < 0.1).astype(np.uint8)
    quantile = rng.normal(80, 20, n)
    f0, dff, code = np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(n, np.uint8)
    normalise(f_roi, f_np, valid, censored, parameters(n, lift=12.0), quantile, f0, dff, code)
    for i in range(n):
        expected = naive_normalise(
            float(f_roi[i]), float(f_np[i]), valid[i], censored[i], 0.7, 50.0, max(quantile[i] + 12.0, 1.0)
        )
        assert code[i] == expected[1]
        assert dff[i] == pytest.approx(expected[0], rel=1e-4, abs=1e-5, nan_ok=True)
    before = quantile.copy()
    hold_off = rng.integers(-2, 3, n)
    track_quantile(dff, f0, code, hold_off, parameters(n), quantile)
    for i in range(n):
        f_c = np.float32(dff[i]) * np.float32(f0[i]) + np.float32(f0[i])
        learns = code[i] == GOOD and hold_off[i] <= 0
        assert quantile[i] == pytest.approx(naive_quantile(f_c, before[i], 0.01, Q) if learns else before[i], abs=1e-12)


def test_settles_at_the_quantile_with_the_spread_of_theory():
    rng = np.random.default_rng(1)
    n, step = 500, 0.02
    quantile = np.full(n, 99.0)
    f0, dff, code = np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(n, np.uint8)
    model = parameters(n, r=0.0, step=step, lift=1.2815515655446004)
    ones, none = np.ones(n, np.uint8), np.zeros(n, np.uint8)
    for _ in range(6000):
        f_roi = rng.normal(100, 1, n).astype(np.float32)
        normalise(f_roi, f_roi, ones, none, model, quantile, f0, dff, code)
        track_quantile(dff, f0, code, np.zeros(n, np.int64), model, quantile)
    theory = np.sqrt(step * Q * (1 - Q) / (2 * 0.1754983))
    assert f0.mean() == pytest.approx(100.0, abs=0.1)  # bias below 0.1 sigma
    assert f0.std() == pytest.approx(theory, rel=0.15)


def test_censored_samples_and_events_teach_nothing():
    n = 3
    code = np.array([CENSORED, GOOD, MISSING], np.uint8)
    quantile = np.full(n, 10.0)
    high = np.full(n, 5.0, np.float32)
    track_quantile(high, high, code, np.array([0, 4, 0]), parameters(n), quantile)
    assert (quantile == 10.0).all()


def test_baseline_never_falls_below_its_floor():
    n = 2
    f0, dff, code = np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(n, np.uint8)
    one = np.ones(n, np.float32)
    normalise(one, one, np.ones(n, np.uint8), np.zeros(n, np.uint8), parameters(n), np.full(n, -50.0), f0, dff, code)
    assert (f0 == 1.0).all()
