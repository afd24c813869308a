"""The doctor asks for priority, cores and timer as a run does, says what it was given, and keeps nothing of it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from system_rig import small_rig

from rt_engine.interfaces.findings import Finding, Verdict
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.service_config import SchedulingConfig
from rt_engine.services.doctor.placement import Placement, judge, scheduling

ALL = Placement((), may_be_high=True, may_be_real_time=True, wait_ms=1.1)
NOTHING = SchedulingConfig()


def rig_with(**wishes: object) -> RigConfig:
    return RigConfig.model_validate(small_rig() | {"scheduling": wishes})


def bad(found: list[Finding]) -> list[Finding]:
    return [one for one in found if one.verdict is not Verdict.PASS]


def test_a_core_that_is_not_there_is_found_and_this_process_stays_as_it_is() -> None:
    if sys.platform == "darwin":
        pytest.skip("macOS pins no process to a core")
    (finding,) = bad(scheduling(rig_with(cores={"inference": [4000]})))
    assert "inference: scheduling.cores [4000]" in finding.text
    assert "scheduling.cores" in finding.remedy


@pytest.mark.skipif(sys.platform != "linux", reason="real-time priority is of Linux")
def test_real_time_priority_that_works_is_not_warned_of_whatever_the_limits_say() -> None:
    """Root has it though its limit reads 0."""
    ask = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))"
    may = subprocess.run([sys.executable, "-c", ask], capture_output=True, check=False).returncode == 0
    before = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
    found = scheduling(rig_with(realtime_priority=1))
    assert (os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)) == before
    told = [one for one in found if one.part == "scheduling"]
    assert any(("real-time priority can be had" if may else "is refused to this user") in one.text for one in told)
    assert bool(bad(told)) is not may


def test_a_rig_that_wishes_nothing_is_warned_of_nothing() -> None:
    none = Placement((), may_be_high=False, may_be_real_time=False, wait_ms=1.1)
    found = judge(NOTHING, none, "linux")
    assert not bad(found)
    assert "real-time priority is refused to this user; the rig file asks for nothing" in found[0].text


@pytest.mark.parametrize(("system", "text", "remedy"), [
    ("linux", "acquisition: scheduling.realtime_priority was refused", "rtprio 80"),
    ("linux", "acquisition: scheduling.high_priority was refused", "nice -10"),
    ("darwin", "acquisition: scheduling.high_priority was refused", "root"),
    ("win32", "inference: scheduling.realtime_priority is for Linux", "high_priority"),
    ("win32", "inference: scheduling.cores [9]: invalid", "scheduling.cores"),
])  # fmt: skip
def test_what_is_refused_is_a_warning_with_the_remedy_of_its_system(system: str, text: str, remedy: str) -> None:
    (finding,) = bad(judge(SchedulingConfig(high_priority=True), Placement((text,), True, True, 1.1), system))
    assert (finding.verdict, finding.text) == (Verdict.WARN, text)
    assert remedy in finding.remedy
    assert finding.meaning


def test_the_coarse_timer_of_windows_is_found_and_real_time_is_not_spoken_of_there() -> None:
    coarse = Placement((), may_be_high=True, may_be_real_time=False, wait_ms=15.6)
    found = judge(NOTHING, coarse, "win32")
    (finding,) = bad(found)
    assert (finding.part, finding.verdict) == ("timer", Verdict.WARN)
    assert "high_priority: true" in finding.remedy
    assert not any("real-time" in one.text for one in found)
    assert not bad(judge(NOTHING, ALL, "win32"))
