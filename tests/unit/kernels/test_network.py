"""The streaming network: the definition of its plain twin, whatever stands beside a cell, and its bounds."""

import numpy as np
import pytest
from naive import network as naive
from naive.network import untrained

from rt_engine.interfaces.network_weights import HOLDS
from rt_engine.kernels.drive_smoother import BASELINE_FIELD, BLOCK, CALCIUM_FIELDS, drive_step, empty_drive_state
from rt_engine.kernels.network import N_LAGS, empty_network_state, network_layers, network_step
from rt_engine.models.drive_fit import _smoother
from rt_engine.models.indicators import indicator

PRIOR = indicator("GCaMP6f")


class Run:
    """Smoother and network, frame by frame."""

    def __init__(self, weights, rows):
        self.n = len(rows)
        rng = np.random.default_rng(3)
        sigma = rng.uniform(0.05, 0.2, 200)[rows]
        self.conditions = rng.standard_normal((6, 200)).astype(np.float32)[:, rows].copy()
        self.per_noise = (1 / rng.uniform(0.02, 0.1, (6, 200))).astype(np.float32)[:, rows].copy()
        self.smoother = empty_drive_state(self.n, N_LAGS, _smoother(sigma, PRIOR.tau_rise_s, PRIOR.tau_s, 0.1, 30.0))
        self.layers = network_layers(weights)
        self.state = empty_network_state(self.layers, self.conditions)
        self.vote = np.ones((2, self.n), np.float32)
        self.bounds = rng.uniform(0.1, 1.5, (2, 200)).astype(np.float32)[:, rows].copy()

    def step(self, y, usable, at=3):
        drive_step(y, usable, self.smoother)
        network_step(
            at,
            y,
            usable,
            self.smoother.cells,
            self.smoother.drive,
            self.per_noise,
            self.bounds,
            self.layers,
            self.state,
            self.vote,
        )
        return self.vote.copy(), self.state.told[:, : self.n].copy()


def samples(n_frames, n=200, seed=1):
    rng = np.random.default_rng(seed)
    y = (0.1 * rng.standard_normal((n_frames, n)) + (rng.random((n_frames, n)) < 0.05)).astype(np.float32)
    usable = (rng.random((n_frames, n)) > 0.1).astype(np.uint8)
    y[usable == 0] = np.nan
    return y, usable


@pytest.mark.parametrize(("n_hidden", "n_middle"), [(1, 1), (5, 6), (16, 8)])
def test_is_the_plain_twin(n_hidden, n_middle):
    weights, rows = untrained(n_hidden, n_middle), np.arange(70)
    y, usable = samples(25)
    run = Run(weights, rows)
    held = np.zeros((70, n_hidden))
    for t in range(25):
        _, told = run.step(y[t, :70], usable[t, :70])
        for i in (0, 1, 63, 64, 69):
            block, place = divmod(i, BLOCK)
            u, v, b = (run.smoother.cells[block, f + place] for f in (*CALCIUM_FIELDS, BASELINE_FIELD))
            x = naive.inputs(
                run.smoother.drive[:, i], run.per_noise[:, i], u - v, float(y[t, i]) - b, usable[t, i] == 1,
                run.conditions[:, i],
            )  # fmt: skip
            held[i], expected = naive.step(x, held[i], weights)
            np.testing.assert_allclose(told[:, i], expected, rtol=1e-4, atol=2e-5)


def test_a_cell_gets_the_same_bits_whatever_stands_beside_it():
    weights, rows = untrained(), np.random.default_rng(0).permutation(200)[:77]
    y, usable = samples(20)
    whole, some = Run(weights, np.arange(200)), Run(weights, rows)
    for t in range(20):
        vote, told = whole.step(y[t], usable[t])
        vote_of_some, told_of_some = some.step(y[t, rows].copy(), usable[t, rows].copy())
        assert vote[:, rows].tobytes() == vote_of_some.tobytes()
        assert told[:, rows].tobytes() == told_of_some.tobytes()


def test_the_vote_is_that_of_the_hold_and_bounded():
    weights = untrained(size=3.0)
    y, usable = samples(20)
    votes = {}
    for at in range(len(HOLDS)):
        run = Run(weights, np.arange(200))
        for t in range(20):
            votes[at], told = run.step(y[t], usable[t], at)
        heads = told[[at, len(HOLDS) + at]]
        np.testing.assert_allclose(np.log(votes[at]), run.bounds * np.tanh(heads), atol=1e-3)
    share = np.abs(np.log(votes[3])) / run.bounds
    assert share.max() == pytest.approx(1.0, abs=1e-3)
    assert (share < 0.99).any()
    assert votes[0].tobytes() != votes[4].tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_what_is_no_number_is_forgotten(value):
    run = Run(untrained(), np.arange(70))
    y, usable = samples(3)
    for t in range(3):
        drive_step(y[t, :70].copy(), usable[t, :70], run.smoother)
        if t == 1:
            run.smoother.drive[3, 5] = value
        network_step(
            3, y[t, :70].copy(), usable[t, :70], run.smoother.cells, run.smoother.drive, run.per_noise, run.bounds,
            run.layers, run.state, run.vote,
        )  # fmt: skip
        assert np.isfinite(run.vote).all()
        assert np.isfinite(run.state.told).all()


def test_it_remembers_and_a_state_made_anew_does_not():
    weights = untrained()
    y, usable = samples(30)
    old, new = Run(weights, np.arange(70)), Run(weights, np.arange(70))
    for t in range(29):
        old.step(y[t, :70], usable[t, :70])
        drive_step(y[t, :70].copy(), usable[t, :70], new.smoother)
    assert old.step(y[29, :70], usable[29, :70])[1].tobytes() != new.step(y[29, :70], usable[29, :70])[1].tobytes()


def test_is_the_network_that_torch_trains():
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install spikeloop[train]")
    from rt_engine.models.network_model import CausalNetwork, export_weights
    from rt_engine.models.network_training import heads_of

    torch.manual_seed(4)
    network = CausalNetwork()
    with torch.no_grad():
        network.output.weight.mul_(10)
    weights = export_weights(network, "{}")
    run = Run(weights, np.arange(70))
    y, usable = samples(60)
    seen, told = [], []
    for t in range(60):
        told.append(run.step(y[t, :70], usable[t, :70])[1])
        fields = run.state.seen.reshape(len(run.state.seen), -1, BLOCK)
        seen.append(np.concatenate(list(fields), axis=1)[weights.n_hidden :, :70].copy())
    seen, told = np.stack(seen), np.stack(told)
    for i in (0, 69):
        expected = heads_of(network, np.ascontiguousarray(seen[:, :, i]))
        np.testing.assert_allclose(told[:, :, i], expected, atol=2e-3 * np.abs(expected).max())
