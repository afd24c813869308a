"""How frames will come is told, where the rig file asks for what it cannot have, and where too few may wait."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from system_rig import small_rig

from rt_engine.interfaces.findings import Finding, Verdict
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.services.doctor.frame_way import frame_way
from rt_engine.services.straight_ways import shared_memory_in_vain


def rig(*, n_lines: int = 128, asked: bool = False, **changes: Any) -> RigConfig:
    made = small_rig(microscope__pace="real_time", microscope__n_lines=n_lines, microscope__pixels_per_line=n_lines)
    made["inference"] |= {"frames_by": "shared_memory"} if asked else {}
    for section, value in changes.items():
        made[section] = (made.get(section) or {}) | value if isinstance(value, dict) else value
    return RigConfig.model_validate(made)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Free bytes of the folder of shared memory; to be changed."""
    told = {"free": 8 << 30}
    usage = shutil.disk_usage(".")
    name = "rt_engine.services.doctor.frame_way"
    monkeypatch.setattr(f"{name}.sys.platform", "linux")
    monkeypatch.setattr(f"{name}.shutil.disk_usage", lambda path: usage._replace(free=told["free"]))
    return told


def only(found: list[Finding], verdict: Verdict) -> Finding:
    (one,) = [finding for finding in found if finding.verdict is verdict]
    return one


def test_a_rig_that_can_share_frames_does(room: dict[str, int]) -> None:
    (found,) = frame_way(rig())
    assert found.verdict is Verdict.PASS
    assert "through shared memory" in found.text


def test_a_full_folder_is_told_with_its_remedy(room: dict[str, int]) -> None:
    room["free"] = 64 << 20
    found = only(frame_way(rig()), Verdict.WARN)
    assert "has 64 MiB free" in found.text
    assert "--shm-size" in found.remedy


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"microscope": {"pace": "max"}}, "pace: max"),
        ({"keys": "keys"}, "keys"),
        ({"ports": {"hosts": {"inference": "10.0.0.2"}}, "keys": "keys"}, "keys"),
    ],
)
def test_what_is_written_out_and_cannot_be_had_is_said_and_the_default_is_not(
    room: dict[str, int], changes: dict[str, Any], why: str
) -> None:
    found = only(frame_way(rig(asked=True, **changes)), Verdict.WARN)
    assert "frames_by: shared_memory is not used here" in found.text
    assert why in found.text
    assert [one.verdict for one in frame_way(rig(**changes))] == [Verdict.PASS]
    lossless = why == "pace: max"
    assert why in shared_memory_in_vain(rig(asked=True, **changes), lossless=lossless)
    assert shared_memory_in_vain(rig(**changes), lossless=lossless) == ""
    assert shared_memory_in_vain(rig(asked=True), lossless=False) == ""


def test_a_backlog_that_does_not_fit_is_told(room: dict[str, int]) -> None:
    assert [one.verdict for one in frame_way(rig(n_lines=1024))] == [Verdict.PASS]
    long = only(frame_way(rig(n_lines=1024, inference={"max_backlog_frames": 1000})), Verdict.WARN)
    assert "256 messages may wait, 1008 are wanted" in long.text
    assert "max_backlog_frames" in long.remedy
    by_messages = {"frames_by": "messages", "max_backlog_frames": 100}
    assert "64 messages may wait" in only(frame_way(rig(n_lines=1024, inference=by_messages)), Verdict.WARN).text
