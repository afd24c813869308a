"""The scorer: exact cases by hand, and the shared scorer where it is present."""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from rt_engine.models.ground_truth import Recording, View, load_recordings, view
from rt_engine.models.spike_scoring import Prediction, correlation, n_matched, score, summarise

DATA = Path(os.environ.get("SPIKELOOP_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


def planted(seed=0, dt_s=1 / 30, n=3600, name="n"):
    rng = np.random.default_rng(seed)
    spikes = np.sort(rng.uniform(1, n * dt_s - 1, n // 30))
    t = np.arange(n) * dt_s
    dff = rng.standard_normal(n).astype(np.float32)
    record = Recording("x", name, 0, 0, "GCaMP6f", True, 1 / dt_s, t, dff, spikes, None, None)
    return view(record, 30.0)


def counts(v):
    return np.histogram(v.recording.spikes_s, np.append(v.t_s, v.t_s[-1] + v.dt_s))[0].astype(float)


def metrics(v, rate=None, lag_s=0.0, events=None):
    return score([v], [Prediction(rate, lag_s, events)])[0].metrics


def test_the_truth_scores_one():
    v = planted()
    found = metrics(v, counts(v), 0.0, np.c_[v.recording.spikes_s, v.recording.spikes_s + 0.05])
    assert found["corr_cascade"] > 0.97
    assert found["F1_spike"] == 1
    assert found["F1_latency@200"] == 1
    assert found["delay_ms"] == pytest.approx(50)
    assert found["fp_per_min"] == 0
    assert found["bias"] == 0


def test_a_report_before_its_spike_is_wrong_and_one_too_late_is_missed():
    v = planted()
    s = v.recording.spikes_s
    assert metrics(v, None, 0.0, np.c_[s, s - 0.01])["F1_latency@200"] < 0.25
    late = metrics(v, None, 0.0, np.c_[s + 0.15, s + 0.2])
    assert late["F1_spike"] < 0.4
    assert late["F1_latency@500"] > 0.9


def test_nothing_told_scores_nothing():
    v = planted()
    found = metrics(v, np.zeros(len(v.t_s)), 0.0, np.zeros((0, 3)))
    assert found["corr_cascade"] == 0
    assert found["F1_event"] == 0


def test_a_lag_costs_the_online_correlation_alone():
    v = planted()
    prompt, late = metrics(v, counts(v)), metrics(v, counts(v), 0.2)
    assert late["corr_cascade"] == prompt["corr_cascade"]
    assert late["corr_online"] < 0.3


def test_matching_is_one_to_one():
    assert n_matched(np.array([1.0, 1.05]), np.array([1.0]), -0.1, 0.1) == [(0, 0)]


def test_a_constant_has_no_correlation():
    assert correlation(np.ones(5), np.arange(5.0)) == 0


def test_few_spikes_are_not_scored():
    v = planted()
    silent = v._replace(recording=v.recording._replace(spikes_s=np.array([1.0])))
    assert score([silent], [Prediction(counts(v), 0.0, None)]) == []


def shared_scorer():
    path = DATA / "score.py"
    if not path.is_file() or not (DATA / "ground_truth").is_dir():
        pytest.skip(f"needs score.py and ground_truth in {DATA} (set SPIKELOOP_DATA)")
    spec = importlib.util.spec_from_file_location("shared_score", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["shared_score"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("dataset", "fs", "nu"), [("DS14", 30.0, None), ("DS06", 30.0, 4.0), ("DS01", 7.5, 2.0), ("DS03", 30.0, None)]
)
def test_agrees_with_the_shared_scorer(dataset, fs, nu):
    shared = shared_scorer()
    path = DATA / "ground_truth" / f"{dataset}.npz"
    ours = [view(r, fs, nu) for r in load_recordings(path)]
    theirs = [shared.view(r, fs, nu) for r in shared.load(str(path))]
    rng = np.random.default_rng(0)
    predictions, expected = [], []
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.y, b.y)
        rate = np.maximum(np.diff(a.y, prepend=a.y[0]), 0)
        rate[rng.random(len(rate)) < 0.02] = np.nan
        t = a.t_s[rate > np.nanquantile(rate, 0.95)]
        events = np.c_[t, t + 0.07, rng.integers(1, 4, len(t))]
        predictions.append(Prediction(rate, 0.1, events))
        expected.append(shared.Pred(rate, 0.1, events))
    rows, truth = score(ours, predictions), shared.score(theirs, expected)
    assert len(rows) == len(truth) > 0
    for row, other in zip(rows, truth, strict=True):
        assert (row.dataset, row.neuron) == (other["dataset"], other["neuron"])
        for name in set(other) - {"dataset", "neuron", "dur"}:
            assert row.metrics[name] == pytest.approx(other[name], abs=1e-6, nan_ok=True), name
    table, other = summarise(rows), shared.summarize(truth)
    for name, values in other.items():
        for metric, value in values.items():
            assert table[name][metric] == pytest.approx(value, abs=1e-6, nan_ok=True)


def test_a_slower_camera_averages():
    t = np.arange(3000) / 300
    record = Recording("x", "n", 0, 0, "GCaMP6f", True, 300.0, t, np.arange(3000.0), np.zeros(0), None, None)
    slow = view(record, 30.0)
    assert isinstance(slow, View)
    assert slow.y[0] == pytest.approx(4.5)
    assert slow.dt_s == pytest.approx(1 / 30)
