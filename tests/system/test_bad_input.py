"""Bad input is refused in one line that names the file, the key or the device, and what to do."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from system_rig import small_rig, spikeloop, write_rig

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.output_config import Limits
from rt_engine.interfaces.rig_config import load_rig

NO_TRACEBACK = "Traceback"


def _refused(*arguments: str | Path, names: tuple[str, ...]) -> None:
    done = spikeloop(*arguments)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    for name in names:
        assert name in lines[0]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"microscope__frame_rate": 30}, ("rig.yaml", "frame_rate", "not a known key")),
        ({"inference__hold_frames": "two"}, ("rig.yaml", "inference.hold_frames", "integer")),
        ({"microscope__frame_rate_hz": -1}, ("rig.yaml", "frame_rate_hz", "greater than 0")),
        ({"outputs__led__driver": "laser"}, ("rig.yaml", "outputs.led.driver", "virtual")),
        ({"ports__control": 80}, ("rig.yaml", "ports.control", "1024")),
        ({"inference__indicator": "GCaMP99"}, ("GCaMP99", "jGCaMP8m")),
        ({"inference__network": "auto"}, ("auto", "no such file of weights", "synthetic+real")),
        ({"schema_version": 7}, ("rig.yaml", "schema_version")),
    ],
)
def test_a_wrong_key_or_value_names_file_key_and_what_is_allowed(
    tmp_path: Path, change: dict[str, Any], names: tuple[str, ...]
) -> None:
    _refused("run", write_rig(tmp_path, small_rig(**change)), "--output", tmp_path / "s", names=names)
    assert not list(tmp_path.glob("s/session_*"))


def _rig_without_limit(folder: Path, limit: str) -> Path:
    rig = small_rig()
    del rig["outputs"]["led"]["limits"][limit]
    return write_rig(folder, rig)


@pytest.mark.parametrize("limit", sorted(Limits.model_fields))
def test_every_limit_is_required(tmp_path: Path, limit: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_rig(_rig_without_limit(tmp_path, limit))
    assert refused.value.key == f"outputs.led.limits.{limit}"
    for name in ("rig.yaml", refused.value.key, "required"):
        assert name in str(refused.value)
    assert refused.value.exit_code == 2


def test_a_missing_limit_is_refused_by_the_command(tmp_path: Path) -> None:
    path = _rig_without_limit(tmp_path, "max_width_ms")
    _refused("run", path, names=("rig.yaml", "outputs.led.limits.max_width_ms", "required"))


def test_a_rig_or_protocol_that_is_not_there_lists_what_is(tmp_path: Path) -> None:
    _refused("run", "no_such_rig", names=("no_such_rig", "virtual_rig", "stream"))
    rig = write_rig(tmp_path, small_rig())
    _refused("run", rig, "--protocol", "nonsense", names=("nonsense", "spike_triggered"))


def test_a_protocol_beyond_the_limits_is_refused_before_anything_starts(tmp_path: Path) -> None:
    rig = write_rig(tmp_path, small_rig(outputs__led__limits__max_power_mw=1.0))
    _refused("run", rig, names=("spike_triggered.yaml", "actions.pulse.power_mw", "max_power_mw"))


@pytest.mark.parametrize("arguments", [("run",), ("run", "virtual_rig", "--duration", "-3"), ("dance",), ()])
def test_wrong_usage_is_one_line_and_exit_code_two(arguments: tuple[str, ...]) -> None:
    _refused(*arguments, names=("--help",))


def _movie(path: Path, shape: tuple[int, ...], dtype: str = "uint16", **keywords: Any) -> Path:
    tifffile.imwrite(path, np.random.default_rng(1).integers(0, 200, shape).astype(dtype), **keywords)
    return path


def test_movies_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    good = _movie(tmp_path / "good.tif", (60, 64, 64))
    torn = tmp_path / "torn.tif"
    torn.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (tmp_path / "empty.tif").write_bytes(b"")
    _movie(tmp_path / "rgb.tif", (64, 64, 3), "uint8", photometric="rgb")
    to = ("-o", tmp_path / "c.h5")
    _refused("calibrate", good, *to, names=("good.tif", "--frame-rate-hz"))
    for name in ("torn.tif", "empty.tif", "rgb.tif", "missing.tif"):
        _refused("calibrate", tmp_path / name, "--frame-rate-hz", "30", *to, names=(name,))
        _refused("replay", tmp_path / name, "--frame-rate-hz", "30", "--output", tmp_path / "r", names=(name,))
    _refused("calibrate", good, "--frame-rate-hz", "30", "--channel", "3", *to, names=("good.tif", "channel"))
    assert not (tmp_path / "c.h5").exists()


def test_a_calibration_of_another_size_is_refused(tmp_path: Path, small_calibration: Path) -> None:
    movie = _movie(tmp_path / "other.tif", (60, 64, 96))
    _refused(
        *("replay", movie, "--frame-rate-hz", "30", "--calibration", small_calibration, "--speed", "max"),
        *("--output", tmp_path / "r"),
        names=("64 x 96", "128 x 128", "calibrate again"),
    )


def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_bytes(b"nothing")
    rig = write_rig(tmp_path, small_rig())
    _refused("run", rig, "--calibration", tmp_path / "x.h5", names=("x.h5", "calibrate"))


def test_a_folder_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    rig = write_rig(tmp_path, small_rig())
    _refused("run", rig, "--output", tmp_path / "file" / "session", names=("file", "cannot be written", "--output"))


def test_a_nearly_full_disk_is_said_at_the_start(tmp_path: Path) -> None:
    rig = write_rig(tmp_path, small_rig(recording={"frames": "all", "min_free_mb": 1e9}))
    _refused("run", rig, "--output", tmp_path / "s", names=("MB are free", "min_free_mb"))


def test_a_port_in_use_is_named_at_the_start(tmp_path: Path) -> None:
    rig = small_rig()
    for name in ("control", "inference"):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", rig["ports"][name]))
            taken.listen()
            done = spikeloop("run", write_rig(tmp_path, rig), "--output", tmp_path / f"s-{name}")
        assert done.returncode == 1
        assert str(rig["ports"][name]) in done.stderr
        assert NO_TRACEBACK not in done.stderr


def test_ctl_without_a_run_says_so(tmp_path: Path) -> None:
    done = spikeloop("ctl", "status", "--rig", write_rig(tmp_path, small_rig()))
    assert done.returncode == 1
    assert "is a run alive" in done.stderr
