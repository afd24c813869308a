"""The how-to works as it is written, and `score` runs on a folder of ground truth."""

import json
import re
import shlex
from pathlib import Path

import numpy as np

from rt_engine.cli import main

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "infer.md"


def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    exec(re.search(r"```python\n(.*?)```", text, re.S).group(1), {})
    command = re.search(r"^spikeloop (infer .*)$", text, re.M).group(1)
    assert main(shlex.split(command)) == 0
    with np.load(tmp_path / "spikes.npz") as file:
        for spike in (200, 500, 700):
            assert np.abs(file["events"]["event_frame"] - spike).min() <= 2


def test_score_makes_table_figure_and_json(tmp_path):
    rng = np.random.default_rng(0)
    n, rate_hz = 1200, 30.0
    content, records = {}, []
    for i in range(2):
        spikes = np.sort(rng.uniform(2, 38, 25))
        t = np.arange(n) / rate_hz
        trace = 0.03 * rng.standard_normal(n)
        for s in spikes:
            trace += np.where(t >= s, 0.5 * np.exp(-np.maximum(t - s, 0) / 0.2), 0)
        content |= {f"dff_{i}": trace.astype(np.float32), f"spk_{i}": spikes}
        records.append({"neuron": f"n{i}", "trial": 0, "n": n, "dt": 1 / rate_hz, "fs": rate_hz, "raw": False})
    meta = {"dataset": "T1", "indicator": "GCaMP6f", "latency_valid": True, "records": records}
    folder = tmp_path / "truth"
    folder.mkdir()
    np.savez(folder / "T1.npz", meta=json.dumps(meta), **content)
    figure, out = tmp_path / "score.png", tmp_path / "score.json"
    assert main(["score", str(folder), "-o", str(figure), "--json", str(out)]) == 0
    assert figure.read_bytes()[:4] == b"\x89PNG"
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert len(figures["neurons"]) == 2
    assert figures["table"]["T1"]["corr_cascade"] > 0.6
    truth = np.histogram(content["spk_0"], np.arange(n + 1) / rate_hz)[0].astype(float)
    np.savez(tmp_path / "pred.npz", rate_T1_0=truth, rate_T1_1=truth, lag=0.0)
    assert (
        main(["score", str(folder), "--pred", str(tmp_path / "pred.npz"), "-o", str(figure), "--json", str(out)]) == 0
    )
    by_neuron = {row["neuron"]: row for row in json.loads(out.read_text(encoding="utf-8"))["neurons"]}
    assert by_neuron["n0"]["corr_cascade"] > 0.95 > by_neuron["n1"]["corr_cascade"]
    assert main(["score", str(tmp_path / "pred.npz")]) == 2
