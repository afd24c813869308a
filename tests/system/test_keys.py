"""A whole rig with keys: it runs as ever, and each may do what its key allows."""

from __future__ import annotations

from pathlib import Path

import pytest
from system_rig import Start, small_rig, spikeloop, summary_of

from rt_engine.interfaces.control import Role
from rt_engine.transport.key_store import KeyStore

pytestmark = pytest.mark.realtime


def test_a_rig_with_keys_runs_and_obeys_operators_alone(start: Start, small_calibration: Path, tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    keys = {role: store.new_client(f"the_{role}", role) for role in (Role.VIEWER, Role.OPERATOR)}
    rig = small_rig(keys="keys", microscope__pace="real_time")
    run = start(rig, "--calibration", small_calibration, "--no-gui")
    run.live()
    plain = tmp_path / "plain.yaml"
    plain.write_text(run.rig.read_text(encoding="utf-8").replace("keys: keys", "keys: null"), encoding="utf-8")
    viewer = ("--rig", plain, "--key", keys[Role.VIEWER])
    assert spikeloop("ctl", "status", *viewer).returncode == 0
    refused = spikeloop("ctl", "pause", *viewer)
    assert refused.returncode == 1
    assert "a viewer may not pause" in refused.stderr
    stranger = spikeloop("ctl", "status", "--rig", plain)
    assert stranger.returncode == 1
    assert "no answer" in stranger.stderr
    assert spikeloop("ctl", "mark", "lick", "--rig", plain, "--key", keys[Role.OPERATOR]).returncode == 0
    assert spikeloop("ctl", "trip", "enough", *viewer).returncode == 0
    run.wait_for("the trip", lambda status: status["interlock"] == "tripped")
    assert spikeloop("ctl", "stop", "--rig", plain, "--key", keys[Role.OPERATOR]).returncode == 0
    assert run.wait() == 0, run.output()
    assert "refused 'pause' (key 'the_viewer', 127.0.0.1)" in run.output()
    assert summary_of(run.session)["frames_lost"] == 0
