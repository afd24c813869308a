"""Priority and cores are wishes: had where the system allows them, by all threads, and told where it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import psutil
import pytest
from pydantic import ValidationError

from rt_engine.interfaces.service_config import SchedulingConfig
from rt_engine.services import scheduling

linux = pytest.mark.skipif(sys.platform != "linux", reason="priorities and cores as Linux has them")
PLACE = """
import json, os, sys, threading
from rt_engine.interfaces.service_config import SchedulingConfig
from rt_engine.services.scheduling import apply_scheduling, leave_the_loop
if sys.argv[3] == "as nobody":
    os.nice(-os.nice(0))  # who asks may have been started at a high priority
    os.setgid(65534), os.setuid(65534)
forever = threading.Event()
before = threading.Thread(target=forever.wait, daemon=True)
before.start()
refused = apply_scheduling(SchedulingConfig.model_validate_json(sys.argv[1]), sys.argv[2])
if sys.argv[3] == "leaves":
    leave_the_loop()
after = threading.Thread(target=forever.wait, daemon=True)
after.start()
threads = [int(one) for one in os.listdir("/proc/self/task")]
print(json.dumps({
    "refused": refused,
    "nice": [os.getpriority(os.PRIO_PROCESS, one) for one in threads],
    "policy": [os.sched_getscheduler(one) for one in threads],
    "cores": [sorted(os.sched_getaffinity(one)) for one in threads],
}))
"""
TRY = {
    "nice": "import os; os.setpriority(os.PRIO_PROCESS, 0, -10)",
    "real time": "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))",
}
NICE, REAL_TIME = SchedulingConfig(high_priority=True), SchedulingConfig(realtime_priority=10)


def placed(config: SchedulingConfig, service: str = "inference", how: str = "") -> dict[str, Any]:
    """What a process of its own has come to, thread by thread; one was there before, one came after."""
    arguments = [sys.executable, "-c", PLACE, config.model_dump_json(), service, how]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=True)
    got: dict[str, Any] = json.loads(done.stdout)
    assert len(got["nice"]) >= 3
    return got


def allowed(what: str) -> bool:
    """Whether the system gives it to whoever asks without us."""
    return subprocess.run([sys.executable, "-c", TRY[what]], capture_output=True, check=False).returncode == 0


@linux
def test_a_service_of_the_loop_is_pinned_to_its_cores_with_all_threads_and_others_are_not() -> None:
    last, everywhere = max(os.sched_getaffinity(0)), sorted(os.sched_getaffinity(0))
    config = SchedulingConfig(cores={"inference": (last,)})
    got = placed(config)
    assert got["refused"] == []
    assert all(one == [last] for one in got["cores"])
    assert all(one == everywhere for one in placed(config, "stimulation")["cores"])


@linux
def test_a_core_that_does_not_exist_is_told_and_nothing_else_happens() -> None:
    got = placed(SchedulingConfig(cores={"inference": (4000,)}))
    assert all(one == sorted(os.sched_getaffinity(0)) for one in got["cores"])
    (refused,) = got["refused"]
    assert "scheduling.cores [4000]" in refused
    assert f"cores 0 to {(psutil.cpu_count() or 1) - 1}" in refused


@linux
def test_a_priority_that_the_system_gives_is_had_by_every_thread() -> None:
    for what, config, key, value in (
        ("nice", NICE, "nice", -10),
        ("real time", REAL_TIME, "policy", os.SCHED_FIFO),
    ):
        if not allowed(what):
            continue  # told by the next test
        got = placed(config)
        assert got["refused"] == []
        assert set(got[key]) == {value}, what
    assert placed(NICE, "recording")["nice"] == placed(SchedulingConfig())["nice"]


@linux
def test_a_priority_that_the_system_refuses_is_told_in_words() -> None:
    is_root = os.getuid() == 0
    for what, config, words in (
        ("nice", NICE, "high_priority was refused"),
        ("real time", REAL_TIME, "realtime_priority was refused"),
    ):
        if not is_root and allowed(what):
            continue  # told by the test before
        (refused,) = placed(config, how="as nobody" if is_root else "")["refused"]
        assert words in refused
        assert "limits.conf" in refused


@linux
def test_who_leaves_the_loop_is_ordinary_with_all_threads() -> None:
    last, everywhere = max(os.sched_getaffinity(0)), sorted(os.sched_getaffinity(0))
    wanted = SchedulingConfig(
        high_priority=allowed("nice"),
        realtime_priority=10 if allowed("real time") else None,
        cores={"inference": (last,)},
    )
    got = placed(wanted, how="leaves")
    assert got["refused"] == []
    assert set(got["policy"]) == {os.SCHED_OTHER}
    assert min(got["nice"]) >= 0
    assert all(one == everywhere for one in got["cores"])


class Winmm:
    """The timer of Windows: asked for so many ms, answers 0 or what went wrong."""

    def __init__(self, answer: int) -> None:
        self.answer, self.asked_ms = answer, 0

    def timeBeginPeriod(self, period_ms: int) -> int:
        self.asked_ms = period_ms
        return self.answer


def test_windows_is_asked_for_a_timer_of_1_ms_and_its_refusal_is_told() -> None:
    gives, refuses = Winmm(0), Winmm(97)
    assert scheduling._refine_timer(gives) == []
    assert gives.asked_ms == 1
    (refused,) = scheduling._refine_timer(refuses)
    assert "16 ms" in refused


@pytest.mark.skipif(sys.platform != "win32", reason="the priority class and the timer of Windows")
def test_windows_gives_its_high_class_and_its_timer() -> None:
    body = PLACE.split("refused =")[0].split("forever")[0].replace("os.setgid(65534), os.setuid(65534)", "pass") + (
        "import psutil\n"
        "refused = apply_scheduling(SchedulingConfig(high_priority=True), 'inference')\n"
        "high = psutil.Process().nice()\n"
        "leave_the_loop()\n"
        "print(json.dumps([refused, int(high), int(psutil.Process().nice())]))\n"
    )
    done = subprocess.run([sys.executable, "-c", body, "", "", ""], capture_output=True, text=True, check=True)
    high, normal = int(psutil.HIGH_PRIORITY_CLASS), int(psutil.NORMAL_PRIORITY_CLASS)
    assert json.loads(done.stdout) == [[], high, normal]


def test_a_service_beyond_the_loop_has_no_cores() -> None:
    with pytest.raises(ValidationError, match="recording"):
        SchedulingConfig.model_validate({"cores": {"recording": [0]}})
