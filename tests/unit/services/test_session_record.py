"""What a session says of itself at its start is enough to make it again: seeds, drivers, digests, versions, machine."""

from __future__ import annotations

import hashlib
import subprocess
from importlib import metadata
from pathlib import Path

import psutil
import pytest
import yaml

from rt_engine.interfaces.rig_config import load_rig
from rt_engine.interfaces.shipped import find_rig
from rt_engine.services.run_plan import RunPlan
from rt_engine.services.session_folder import processor
from rt_engine.services.session_record import resolved_config

ROOT = Path(__file__).parents[3]
PROTOCOL = ROOT / "protocols" / "library" / "spike_triggered.yaml"


def plan(folder: Path, protocol: Path | None) -> RunPlan:
    rig = load_rig(find_rig("virtual_rig"))
    rig = type(rig).model_validate(rig.model_dump() | {"inputs": {"lever": {"driver": "virtual"}}})
    return RunPlan(rig, "run", folder, protocol, None, 20.0, None, None, dry_run=False, subject="m1")


def test_seeds_drivers_and_digests_stand_in_it(tmp_path: Path) -> None:
    protocol = tmp_path / "mine.yaml"
    said = yaml.safe_load(PROTOCOL.read_text(encoding="utf-8"))
    said["design"] = said.get("design", {}) | {"seed": 4711}
    protocol.write_text(yaml.safe_dump(said), encoding="utf-8")
    found = resolved_config(plan(tmp_path, protocol), "s1")
    assert found["seeds"]["protocol"] == 4711
    assert found["seeds"]["sample"] == found["rig"]["microscope"]["sample"]["seed"]
    assert found["drivers"] == {"microscope": "virtual", "led": "virtual", "lever": "virtual"}
    assert found["protocol_sha256"] == hashlib.sha256(protocol.read_bytes()).hexdigest()
    assert yaml.safe_load(yaml.safe_dump(found)) == found


def test_without_a_protocol_there_is_no_seed_of_one(tmp_path: Path) -> None:
    found = resolved_config(plan(tmp_path, None), "s1")
    assert set(found["seeds"]) == {"sample"}
    assert found["protocol_sha256"] is None


def test_versions_machine_and_clock_are_those_of_this_computer(tmp_path: Path) -> None:
    found = resolved_config(plan(tmp_path, None), "s1")
    assert found["versions"]["numba"] == metadata.version("numba")
    assert found["driver_packages"]["pyserial"] == metadata.version("pyserial")
    assert found["machine"]["cores"] == psutil.cpu_count()
    assert found["machine"]["processor"] == processor() != ""
    assert found["clock"]["monotonic"] is True
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    if head.returncode != 0:
        pytest.skip("no git checkout")
    assert found["git_hash"].removesuffix("-dirty") == head.stdout.strip()
