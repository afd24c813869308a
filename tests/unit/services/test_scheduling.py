"""Priority and cores are wishes: had where the system allows them, told where it does not."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest
from pydantic import ValidationError

from rt_engine.interfaces.service_config import SchedulingConfig

linux = pytest.mark.skipif(sys.platform != "linux", reason="priorities and cores as Linux has them")
BODY = """
import os, sys, psutil
from rt_engine.interfaces.service_config import SchedulingConfig
from rt_engine.services.scheduling import apply_scheduling
refused = apply_scheduling(SchedulingConfig.model_validate_json(sys.argv[1]), sys.argv[2])
print(psutil.Process().nice(), os.sched_getscheduler(0), sorted(os.sched_getaffinity(0)), refused, sep="|")
"""


def placed(config: SchedulingConfig, service: str = "inference") -> list[str]:
    """Nice value, policy, cores and refusals of a process of its own."""
    arguments = [sys.executable, "-c", BODY, config.model_dump_json(), service]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.strip().split("|")


@linux
def test_a_service_of_the_loop_is_pinned_to_its_cores_and_others_are_not() -> None:
    last = max(os.sched_getaffinity(0))
    config = SchedulingConfig(cores={"inference": (last,)})
    assert placed(config)[2:] == [str([last]), "[]"]
    everywhere = str(sorted(os.sched_getaffinity(0)))
    assert placed(config, "stimulation")[2:] == [everywhere, "[]"]


@linux
def test_a_core_that_does_not_exist_is_told_and_nothing_else_happens() -> None:
    cores, refused = placed(SchedulingConfig(cores={"inference": (4000,)}))[2:]
    assert cores == str(sorted(os.sched_getaffinity(0)))
    assert "scheduling.cores [4000]" in refused
    assert f"cores 0 to {(psutil.cpu_count() or 1) - 1}" in refused


@linux
def test_priorities_are_had_or_refused_in_words() -> None:
    before = psutil.Process().nice()
    nice, policy, _, refused = placed(SchedulingConfig(high_priority=True, realtime_priority=10))
    assert int(nice) == -10 or "high_priority was refused" in refused
    assert int(policy) == os.SCHED_FIFO or "realtime_priority was refused" in refused
    assert placed(SchedulingConfig(high_priority=True), "recording")[0] == str(before)


def test_a_service_beyond_the_loop_has_no_cores() -> None:
    with pytest.raises(ValidationError, match="recording"):
        SchedulingConfig.model_validate({"cores": {"recording": [0]}})
