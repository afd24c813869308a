"""z, probability and events follow their definitions; losses mute a cell only as long as they must."""

import numpy as np
import pytest
from naive.filter_bank import bank_posterior, blind_projection
from naive.trace_kernels import CENSORED, EXPECTED, GOOD, MISSING, frame_probability, noise_of_window

from rt_engine.interfaces.events import EVENT_DTYPE, EventFlag
from rt_engine.kernels.decision import DecisionParameters, DecisionState, decide, standardise
from rt_engine.kernels.filter_bank import TemplateBank
from rt_engine.kernels.matched_filter import empty_ring

N_TAPS, N_BEFORE, HOLD = 12, 10, 1
AMPLITUDE_DFF = np.linspace(0.5, 0.9, 60)


def parameters(n):
    rng = np.random.default_rng(9)
    single = [rng.uniform(low, high, n).astype(np.float32) for low, high in ((0.1, 0.3), (80, 120))]
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


def empty_state(n):
    return DecisionState(np.zeros(n, np.int64), np.zeros(n, np.float32))


def bank(n):
    """Spikes that rise within a frame and decay by 0.8 a frame, now or one frame ago."""
    template = np.zeros((1, HOLD + 1, N_TAPS))
    template[0, 0, -1] = 0.5
    template[0, 1, -2:] = 0.5, 0.9
    tail = 0.8 ** np.arange(N_TAPS)
    filters = template @ blind_projection(np.stack([np.ones(N_TAPS), tail], axis=1))
    return TemplateBank(
        template=template,
        filter=np.ascontiguousarray(filters.transpose(0, 2, 1)),
        energy=np.sum(template * filters, axis=2),
        tail=tail[None],
        shape=np.zeros(n, np.int64),
        amplitude_dff=AMPLITUDE_DFF[:n],
        log_prior=np.log(np.tile([1 - (HOLD + 1) * 0.02, 0.012, 0.005, 0.003], (n, 1))),
        scratch=np.zeros((7, N_TAPS)),
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
    one = np.ones(n, np.float32)
    count = decide(50, 0, flags, z, one, ring, bank(n), model, state, probability, events)
    return probability, events[:count]


def test_probability_equals_naive():
    n = 60
    rng = np.random.default_rng(1)
    model, ring = parameters(n), full_ring(n)
    state = empty_state(n)
    before, now = rng.uniform(-2, 3.4, (2, n)).astype(np.float32)
    decide_once(before, ring, model, state)
    probability, events = decide_once(now, ring, model, state)
    assert len(events) == 0
    for i in range(n):
        expected = frame_probability(float(now[i]), float(before[i]), float(model.gain[i]), 0.02)
        assert probability[i] == pytest.approx(expected, rel=2e-3)


def test_event_carries_what_the_bank_tells_of_it():
    n, noise = 60, 0.15
    rng = np.random.default_rng(2)
    model, ring, state = parameters(n), full_ring(n), empty_state(n)
    templates = bank(n)
    lag, count = rng.integers(0, 2, n), rng.integers(1, 4, n)
    signal = count * AMPLITUDE_DFF[:n] * templates.template[0, lag].T
    ring.dff[:] = signal + noise * rng.standard_normal((N_TAPS, n))
    model.threshold[:] = -np.inf
    z = (templates.filter[0, :, -1] @ ring.dff / np.sqrt(templates.energy[0, -1]) / noise).astype(np.float32)
    _, events = decide_once(z, ring, model, state, flags=int(EventFlag.PROVISIONAL))
    assert events["roi_id"].tolist() == model.roi_id.tolist()
    assert (events["flags"] == EventFlag.PROVISIONAL).all()
    assert events["z"].tolist() == z.tolist()
    assert (events["t_event_ns"] == 0).all()
    nuisance = np.stack([np.ones(N_TAPS), templates.tail[0]], axis=1)
    for i in range(n):
        n_spikes, at, probability, height = bank_posterior(
            ring.dff[:, i].astype(float) / noise, np.ones(N_TAPS, bool), templates.template[0], nuisance,
            float(AMPLITUDE_DFF[i]) / noise, templates.log_prior[i, 1:],
        )  # fmt: skip
        assert events["event_frame"][i] == 50 - at
        assert events["n_spikes"][i] == pytest.approx(n_spikes, rel=1e-3)
        assert events["probability"][i] == pytest.approx(probability, rel=1e-3)
        assert events["amplitude"][i] == pytest.approx(height * noise, rel=1e-3)
    assert set(events["event_frame"].tolist()) == {49, 50}


def test_only_what_reaches_the_threshold_is_an_event_and_opens_the_window_anew():
    model, ring, state = parameters(3), full_ring(3), empty_state(3)
    ring.dff[-2:] = [[0, 0.5, 0], [2.0, 0.9, 0]]
    ring.code[-1, 1] = CENSORED
    _, events = decide_once(np.array([3.5, 3.51, 3.49], np.float32), ring, model, state)
    assert events["roi_id"].tolist() == [100, 101]
    assert events["flags"].tolist() == [0, 1]
    assert ring.age.tolist() == [0, 0, N_TAPS]
    assert state.hold_off.tolist() == [12, 12, -1]


def test_no_decision_no_event_and_the_prior_stays_where_the_window_is_merely_young():
    model, ring = parameters(2), full_ring(2)
    ring.n_unexplained[1] = 3
    state = empty_state(2)
    state.evidence_before[:] = 1.0
    probability, events = decide_once(np.full(2, np.nan, np.float32), ring, model, state)
    assert len(events) == 0
    assert probability[0] == np.float32(0.02)
    assert np.isnan(probability[1])
    assert not state.evidence_before.any()
