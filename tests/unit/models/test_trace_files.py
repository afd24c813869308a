"""Trace files: what is accepted, and one clear error for what is not."""

import numpy as np
import pytest

from rt_engine.cli import main
from rt_engine.interfaces.errors import ConfigError
from rt_engine.models.trace_files import read_traces
from rt_engine.models.trace_inference import TraceKind

GOOD = {"traces": np.zeros((2, 50), np.float32), "frame_rate_hz": np.float64(30)}


def write(path, **content):
    np.savez(path, **content)
    return path


def test_one_rate_or_one_a_row(tmp_path):
    one = read_traces(write(tmp_path / "a.npz", **GOOD))
    assert one.frame_rate_hz.tolist() == [30.0, 30.0]
    assert one.neuropil is None
    assert one.kind is None
    each = read_traces(
        write(tmp_path / "b.npz", **GOOD | {"frame_rate_hz": np.array([10.0, 20.0]), "kind": np.array("counts")})
    )
    assert each.frame_rate_hz.tolist() == [10.0, 20.0]
    assert each.kind is TraceKind.COUNTS


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"traces": np.zeros(5)}, "traces"),
        ({"traces": np.array([["a"]])}, "traces"),
        ({"frame_rate_hz": np.zeros(3)}, "frame_rate_hz"),
        ({"frame_rate_hz": np.float64(0)}, "frame_rate_hz"),
        ({"frame_rate_hz": np.float64("nan")}, "frame_rate_hz"),
        ({"neuropil": np.zeros((2, 3))}, "neuropil"),
        ({"kind": np.array("volts")}, "kind"),
    ],
)
def test_errors_name_file_and_key(tmp_path, change, named):
    path = write(tmp_path / "a.npz", **GOOD | change)
    with pytest.raises(ConfigError, match=named) as caught:
        read_traces(path)
    assert str(path) in str(caught.value)


def test_what_is_no_npz_is_said_so(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"not a zip")
    for name in ("a.npz", "missing.npz", "b.nwb"):
        with pytest.raises(ConfigError):
            read_traces(tmp_path / name)
    with pytest.raises(ConfigError, match="frame_rate_hz"):
        read_traces(write(tmp_path / "c.npz", traces=GOOD["traces"]))


def test_command_writes_what_the_contract_says(tmp_path):
    y = 0.1 * np.random.default_rng(0).standard_normal((3, 200))
    y[:, 100:103] += 2.0
    source = write(tmp_path / "in.npz", traces=y.astype(np.float32), frame_rate_hz=30.0)
    out = tmp_path / "spikes.npz"
    assert main(["infer", str(source), "-o", str(out), "--indicator", "gcamp6f", "--hold", "2"]) == 0
    with np.load(out) as file:
        assert file["spike_rate"].dtype == file["probability"].dtype == np.float32
        assert file["spike_rate"].shape == (3, 200)
        assert int(file["hold_frames"]) == 2
        assert {"roi_index", "event_frame", "decided_frame", "n_spikes", "probability"} <= set(
            file["events"].dtype.names
        )
        assert len(file["events"]) >= 3
    assert main(["infer", str(source), "-o", str(out), "--indicator", "GCaMP99"]) == 2
    assert main(["infer", str(tmp_path / "none.npz"), "-o", str(out), "--indicator", "GCaMP6f"]) == 2
