"""Scores of weights that left data sets out: each set by the weights that never saw it."""

import dataclasses
import json

import numpy as np
import pytest
from naive.network import untrained

from rt_engine.bench.network_folds import calibration_error, save_figure, score_held_out, weights_by_set
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.network_weights import find_weights, save_weights


def write(path, *left_out):
    weights = dataclasses.replace(untrained(), card=json.dumps({"left_out": left_out}))
    save_weights(path, weights)
    return weights


def test_every_set_gets_the_weights_that_left_it_out_and_two_are_refused(tmp_path):
    one, two = write(tmp_path / "a.npz", "DS01", "DS03"), write(tmp_path / "b.npz", "DS06")
    found = weights_by_set([tmp_path / "a.npz", tmp_path / "b.npz"])
    assert {name: weights.digest for name, weights in found.items()} == {
        "DS01": one.digest, "DS03": one.digest, "DS06": two.digest,
    }  # fmt: skip
    write(tmp_path / "c.npz", "DS03")
    with pytest.raises(ConfigError, match="DS03 is left out by others too"):
        weights_by_set([tmp_path / "a.npz", tmp_path / "c.npz"])


def test_the_error_of_calibration_is_what_is_told_less_what_is_true():
    rng = np.random.default_rng(0)
    told = rng.random(200_000).astype(np.float32)
    assert calibration_error(told, rng.random(len(told)) < told) < 0.01
    assert calibration_error(told, rng.random(len(told)) < told / 2) == pytest.approx(0.25, abs=0.01)


def test_a_recording_is_scored_and_drawn(tmp_path):
    """A planted neuron: events so large that every method finds them."""
    rng = np.random.default_rng(1)
    n, rate_hz = 900, 30.0
    spikes_s = np.arange(2.0, 29.0, 1.5) + 0.01
    t = np.arange(n) / rate_hz
    late = t[:, None] - spikes_s
    dff = np.where(late > 0, np.exp(-np.maximum(late, 0) / 0.4) * (1 - np.exp(-np.maximum(late, 0) / 0.04)), 0).sum(1)
    record = {"neuron": "a", "trial": 0, "fs": rate_hz, "dt": 1 / rate_hz, "n": n, "raw": False}
    meta = {"dataset": "DS01", "indicator": "GCaMP6f", "latency_valid": True, "records": [record]}
    noisy = (dff + 0.02 * rng.standard_normal(n)).astype(np.float32)
    np.savez(tmp_path / "DS01.npz", meta=json.dumps(meta), dff_0=noisy, spk_0=spikes_s)
    told = score_held_out(tmp_path, {"DS01": find_weights("synthetic"), "DS03": untrained()}, 3, None)
    assert told["table"]["DS01"]["F1_event"] > 0.7
    assert set(told["ece"]) == {"DS01"}
    assert told["ece"]["DS01"] < 0.1
    assert abs(told["bias"]["DS01"]) < 2
    save_figure(tmp_path / "folds.png", {"as recorded": [("with network", "#3c8fd6", told["table"])]})
    assert (tmp_path / "folds.png").read_bytes()[:4] == b"\x89PNG"
