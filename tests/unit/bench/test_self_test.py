"""What the doctor says of the loop follows from its times and the rig's deadline; the loop runs on real parts."""

from __future__ import annotations

import numpy as np
import pytest
from system_rig import small_rig

from rt_engine.bench.loop.self_test import judge_loop, measure_loop, plan_of
from rt_engine.interfaces.clock import NS_PER_MS
from rt_engine.interfaces.findings import Verdict
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.service_config import FrameWay

DEADLINE_MS = 50


def _times(median_ms: float, last_ms: float) -> np.ndarray:
    times_ms = np.full(100, median_ms)
    times_ms[-3:] = last_ms
    return (times_ms * NS_PER_MS).astype(np.int64)


@pytest.mark.parametrize(
    ("median_ms", "last_ms", "verdict"),
    [
        (2.0, 4.0, Verdict.PASS),
        (2.0, 24.0, Verdict.PASS),
        (2.0, 26.0, Verdict.WARN),
        (49.0, 60.0, Verdict.WARN),
        (51.0, 52.0, Verdict.FAIL),
    ],
)
def test_the_loop_is_judged_by_the_deadline_of_the_rig(median_ms: float, last_ms: float, verdict: Verdict) -> None:
    finding = judge_loop(_times(median_ms, last_ms), _times(0.3, 0.4), DEADLINE_MS * NS_PER_MS, "the field")
    assert finding.verdict is verdict
    assert f"{median_ms:.2f} ms" in finding.text
    assert "the bare way takes 0.30 ms (the field)" in finding.text
    assert bool(finding.remedy) is (verdict is not Verdict.PASS)


def test_a_loop_that_never_comes_to_a_command_fails() -> None:
    finding = judge_loop(np.zeros(0, np.int64), _times(0.3, 0.4), DEADLINE_MS * NS_PER_MS, "the field")
    assert finding.verdict is Verdict.FAIL


def test_the_loop_is_tried_out_the_way_that_the_rig_runs_it() -> None:
    plain = RigConfig.model_validate(small_rig())
    plan = plan_of(plain, 128)
    assert (plan.strip_lines, plan.awaits_decision, plan.network) == (None, False, False)
    assert plan.frames_by is FrameWay.SHARED_MEMORY
    own = small_rig(inference__frames_by="messages", inference__network="synthetic", microscope__strip_lines=16)
    plan = plan_of(RigConfig.model_validate(own), 128)
    assert plan.frames_by is FrameWay.MESSAGES
    assert plan.network
    assert (plan.strip_lines, plan.awaits_decision, plan.hears_commands) == (16, True, True)
    assert plan_of(RigConfig.model_validate(own), 120).strip_lines is None  # they do not divide it


@pytest.mark.realtime
@pytest.mark.parametrize("strip_lines", [None, 16])
def test_strips_and_messages_are_measured(strip_lines: int | None) -> None:
    own = small_rig(microscope__pace="real_time", inference__frames_by="messages", microscope__strip_lines=strip_lines)
    finding = measure_loop(RigConfig.model_validate(own))
    assert "strips of 16 lines in messages" in finding.text or strip_lines is None, finding
    assert float(finding.text.partition("scan_to_command ")[2].split()[0]) > 0


@pytest.mark.realtime
def test_the_self_test_runs_the_real_loop_and_touches_no_device_of_the_rig() -> None:
    rig = RigConfig.model_validate(small_rig(microscope__pace="real_time", microscope__frame_rate_hz=60.0))
    finding = measure_loop(rig)
    assert "128 x 128 px at 60 Hz" in finding.text, finding
    assert "scan_to_command" in finding.text
