"""`score` over a small folder of ground truth: by data set, by indicator, from dF/F and from raw fluorescence."""

import json
from argparse import Namespace

import numpy as np
import pytest

from rt_engine.interfaces.errors import ConfigError
from rt_engine.models.indicators import indicator
from rt_engine.services.accuracy_job import run_score

RATE_HZ, DURATION_S = 30.0, 60.0


def write(path, dataset, name, n_neurons, raw):
    """Neurons with a spike every second or so; raw counts with a ring that brightens both."""
    rng = np.random.default_rng([n_neurons, len(dataset)])
    prior, n = indicator(name), round(RATE_HZ * DURATION_S)
    t = np.arange(n) / RATE_HZ
    content, records = {}, []
    for i in range(n_neurons):
        spikes = np.sort(rng.uniform(2, DURATION_S - 2, 40))
        clean = sum(prior.amplitude_dff * np.where(t > s, prior.kernel(np.maximum(t - s, 0)), 0) for s in spikes)
        dff = clean + prior.amplitude_dff / 8 * rng.standard_normal(n)
        content |= {f"dff_{i}": dff.astype(np.float32), f"spk_{i}": spikes}
        if raw:
            haze = 1 + 0.2 * np.sin(t)
            content |= {
                f"F_{i}": (900 * (1 + dff) + 700 * haze).astype(np.float32),
                f"Fneu_{i}": (1000 * haze).astype(np.float32),
            }
        records.append({"neuron": f"n{i}", "trial": 0, "fs": RATE_HZ, "dt": 1 / RATE_HZ, "n": n, "raw": raw})
    meta = {"dataset": dataset, "indicator": name, "latency_valid": True, "records": records}
    np.savez(path / f"{dataset}.npz", meta=json.dumps(meta), **content)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    path = tmp_path_factory.mktemp("truth")
    write(path, "A", "jGCaMP8m", 3, raw=True)
    write(path, "B", "jGCaMP8m", 2, raw=False)
    write(path, "C", "GCaMP6f", 1, raw=False)
    return path


def asked(truth, tmp_path, **changed):
    usual = {
        "truth": str(truth),
        "method": "combined",
        "hold": 3,
        "fs": 30.0,
        "nu": None,
        "raw": False,
        "pred": None,
        "weights": None,
    }
    return Namespace(**(usual | {"output": str(tmp_path / "score.png")} | changed))


def test_medians_by_indicator_are_those_of_its_neurons(truth, tmp_path):
    found = run_score(asked(truth, tmp_path))
    assert {name: row["n"] for name, row in found["by_indicator"].items()} == {"GCaMP6f": 1, "jGCaMP8m": 5}
    of_8m = [n["corr_cascade"] for n in found["neurons"] if n["dataset"] in "AB"]
    assert found["by_indicator"]["jGCaMP8m"]["corr_cascade"] == pytest.approx(np.median(of_8m))
    assert found["by_indicator"]["GCaMP6f"]["F1_event"] == found["table"]["C"]["F1_event"]
    assert (tmp_path / "score.png").stat().st_size > 0


def test_raw_fluorescence_is_scored_where_there_is_some_and_neuropil_is_taken_off(truth, tmp_path):
    found = run_score(asked(truth, tmp_path, raw=True))
    assert [row["dataset"] for row in found["neurons"]] == ["A"] * 3
    assert found["table"]["A"]["corr_cascade"] > 0.8
    assert "raw" in found["label"]


def test_what_cannot_be_scored_raw_is_said(truth, tmp_path):
    with pytest.raises(ConfigError, match="--nu"):
        run_score(asked(truth, tmp_path, raw=True, nu=4.0))
    write(tmp_path, "D", "GCaMP6f", 1, raw=False)
    with pytest.raises(ConfigError, match="no raw fluorescence"):
        run_score(asked(tmp_path, tmp_path, raw=True))
