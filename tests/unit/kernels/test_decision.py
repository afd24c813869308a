"""z, probability and events follow their definitions; losses mute a cell only as long as they must."""

import numpy as np
import pytest
from naive.trace_kernels import CENSORED, EXPECTED, GOOD, MISSING, frame_probability, noise_of_window

from rt_engine.interfaces.events import EVENT_DTYPE, EventFlag
from rt_engine.kernels.decision import DecisionParameters, DecisionState, decide, standardise
from rt_engine.kernels.matched_filter import empty_ring

N_TAPS, N_BEFORE, HOLD = 12, 10, 1


def parameters(n):
    rng = np.random.default_rng(9)
    single = [rng.uniform(low, high, n).astype(np.float32) for low, high in ((0.1, 0.3), (80, 120), (0.5, 0.9))]
    gain = rng.uniform(2, 8, n).astype(np.float32)
    return DecisionParameters(
        *single,
        gain=gain,
        threshold=np.full(n, 3.5, np.float32),
        prior=np.full(n, 0.02, np.float32),
        gamma=np.full(n, 0.8, np.float32),
        hold_off_frames=np.full(n, 12),
        roi_id=np.arange(100, 100 + n, dtype=np.uint32),
    )


def full_ring(n):
    ring = empty_ring(N_TAPS, n)
    ring.code[:] = GOOD
    ring.n_missing[:] = 0
    ring.age[:] = N_TAPS
    return ring


def test_z_is_divided_by_the_noise_of_photons():
    n = 200
    rng = np.random.default_rng(0)
    model, ring = parameters(n), full_ring(n)
    raw = rng.normal(0, 1, n).astype(np.float32)
    mean = rng.normal(0.3, 0.5, n).astype(np.float32)
    f0 = rng.uniform(60, 140, n).astype(np.float32)
    z = raw.copy()
    standardise(N_BEFORE, np.ones(n, np.float32), mean, f0, np.full(n, GOOD, np.uint8), ring, model, z)
    for i in range(n):
        noise = noise_of_window(model.sigma_dff[i], model.f0_counts[i], f0[i], mean[i], N_BEFORE)
        assert z[i] == pytest.approx(raw[i] / noise, rel=1e-5)


@pytest.mark.parametrize(
    ("code", "energy", "unexplained", "age", "decided"),
    [
        (GOOD, 1.0, 0, N_TAPS, True),
        (CENSORED, 1.0, 0, N_TAPS, True),
        (MISSING, 1.0, 0, N_TAPS, False),
        (EXPECTED, 1.0, 0, N_TAPS, False),
        (GOOD, 0.51, 0, N_TAPS, True),
        (GOOD, 0.49, 0, N_TAPS, False),
        (GOOD, 0.25, 0, 6, True),
        (GOOD, 0.15, 0, 6, False),
        (GOOD, 1.0, 1, N_TAPS, True),
        (GOOD, 1.0, 2, N_TAPS, False),
    ],
)
def test_there_is_a_decision_only_where_enough_is_known(code, energy, unexplained, age, decided):
    ring = full_ring(1)
    ring.n_unexplained[:], ring.age[:] = unexplained, age
    z = np.ones(1, np.float32)
    one = np.ones(1, np.float32)
    codes = np.full(1, code, np.uint8)
    standardise(N_BEFORE, energy * one, 0 * one, 100 * one, codes, ring, parameters(1), z)
    assert np.isfinite(z[0]) == decided


def decide_once(z, ring, model, state, flags=0):
    n = len(z)
    probability, events = np.zeros(n, np.float32), np.zeros(n, EVENT_DTYPE)
    count = decide(50, 0, HOLD, flags, z, np.ones(n, np.float32), ring, model, state, probability, events)
    return probability, events[:count]


def test_probability_equals_naive():
    n = 60
    rng = np.random.default_rng(1)
    model, ring = parameters(n), full_ring(n)
    state = DecisionState(np.zeros(n, np.int64), np.zeros(n, np.float32))
    before, now = rng.uniform(-2, 3.4, (2, n)).astype(np.float32)
    decide_once(before, ring, model, state)
    probability, events = decide_once(now, ring, model, state)
    assert len(events) == 0
    for i in range(n):
        expected = frame_probability(float(now[i]), float(before[i]), float(model.gain[i]), 0.02)
        assert probability[i] == pytest.approx(expected, rel=2e-3)


def test_event_carries_time_size_and_flags():
    model, ring = parameters(3), full_ring(3)
    ring.dff[-1] = [0.9, 2.0, 0.0]  # newest sample
    ring.dff[-2] = [1.0, 0.0, 0.0]
    ring.code[-1, 1] = CENSORED
    state = DecisionState(np.zeros(3, np.int64), np.zeros(3, np.float32))
    z = np.array([2.2 * model.gain[0], 3.51, 3.49], np.float32)
    z[0] = max(z[0], 4.0)
    _, events = decide_once(z, ring, model, state, flags=int(EventFlag.PROVISIONAL))
    assert events["roi_id"].tolist() == [100, 101]
    assert events["event_frame"].tolist() == [49, 50]  # the step up was one frame ago; now
    assert events["flags"].tolist() == [4, 4 | 1]
    np.testing.assert_allclose(events["amplitude"], z[:2] / model.gain[:2] * model.amplitude_dff[:2], rtol=1e-6)
    assert events["n_spikes"].tolist() == [max(1, round(float(z[i] / model.gain[i]))) for i in range(2)]
    assert ((events["probability"] > 0) & (events["probability"] <= 1)).all()
    assert (events["t_event_ns"] == 0).all()
    assert ring.age.tolist() == [0, 0, N_TAPS]  # the window is opened anew
    assert state.hold_off.tolist() == [12, 12, -1]


def test_no_decision_no_event_and_the_prior_stays_where_the_window_is_merely_young():
    model, ring = parameters(2), full_ring(2)
    ring.n_unexplained[1] = 3
    state = DecisionState(np.zeros(2, np.int64), np.ones(2, np.float32))
    probability, events = decide_once(np.full(2, np.nan, np.float32), ring, model, state)
    assert len(events) == 0
    assert probability[0] == np.float32(0.02)
    assert np.isnan(probability[1])
    assert not state.evidence_before.any()
