"""Priority, cores and timer of the processes in the loop: what the rig file asks for, as far as this machine lets it.

Nothing here is ever required. What cannot be had is said in one sentence with its remedy, and the service goes on.
On Linux policy, nice value and cores belong to a thread, and a thread or process inherits them from the one that
makes it: so they are set for every thread there is, before a service makes its own.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

import psutil

from rt_engine.interfaces.service_config import SchedulingConfig

IN_THE_LOOP = ("acquisition", "inference", "stimulation")
"""Services between the last line and the light; the others stay as they are."""
ONE_THREAD = {
    name: "1"
    for name in (
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
        *("NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    )
}
"""Environment of every service: a library that splits its work waits for the slowest part of it in every frame."""
_HIGH_NICE = -10
_TIMER_MS = 1
_TASKS = Path("/proc/self/task")


def apply_scheduling(wanted: SchedulingConfig, service: str) -> list[str]:
    """Place this process as the rig wants it, with all its threads and those to come; returns what could not be had.

    Parameters
    ----------
    wanted : SchedulingConfig
    service : str
        Its kind, without the plane.

    Returns
    -------
    list of str
        One sentence each, for the operator.
    """
    if service not in IN_THE_LOOP:
        return []
    refused = []
    if wanted.high_priority or wanted.realtime_priority is not None:
        refused += _refine_timer()
    if wanted.high_priority and not _raise_priority():
        refused.append("high_priority was refused: give the user a negative nice limit (/etc/security/limits.conf)")
    if wanted.realtime_priority is not None:
        refused += _to_real_time(wanted.realtime_priority)
    for name, cores in wanted.cores.items():
        if name == service:
            refused += _pin(cores)
    return [f"{service}: scheduling.{text}" for text in refused]


def leave_the_loop() -> None:
    """An ordinary process on all cores again, for what a service of the loop starts and nobody waits for.

    To give up a priority needs no right. A nice value that somebody has given the whole run stays.
    """
    process = psutil.Process()
    if sys.platform == "linux":
        for thread in _threads():
            os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
            if os.getpriority(os.PRIO_PROCESS, thread) < 0:
                os.setpriority(os.PRIO_PROCESS, thread, 0)
            os.sched_setaffinity(thread, range(psutil.cpu_count() or 1))
    elif sys.platform == "win32":
        process.nice(psutil.NORMAL_PRIORITY_CLASS)
        process.cpu_affinity([])
    elif process.nice() < 0:
        process.nice(0)


def _threads() -> list[int]:
    """Of this process, on Linux."""
    return [int(one.name) for one in _TASKS.iterdir()]


def _refine_timer(winmm: Any = None) -> list[str]:
    """On Windows waits of 1 ms for the life of the process, which else last up to 16 ms; nothing elsewhere."""
    if sys.platform == "win32" and winmm is None:
        winmm = ctypes.windll.winmm
    if winmm is None or winmm.timeBeginPeriod(_TIMER_MS) == 0:
        return []
    return ["high_priority: Windows refuses a timer of 1 ms, so waits may last 16 ms"]


def _raise_priority() -> bool:
    try:
        if sys.platform == "linux":
            for thread in _threads():
                os.setpriority(os.PRIO_PROCESS, thread, _HIGH_NICE)
        else:
            psutil.Process().nice(getattr(psutil, "HIGH_PRIORITY_CLASS", _HIGH_NICE))
    except (psutil.AccessDenied, PermissionError):
        return False
    return True


def _to_real_time(priority: int) -> list[str]:
    if sys.platform != "linux":
        return ["realtime_priority is for Linux; high_priority does what can be done here"]
    try:
        for thread in _threads():
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return ["realtime_priority was refused: give the user an rtprio limit (/etc/security/limits.conf)"]
    return []


def _pin(cores: tuple[int, ...]) -> list[str]:
    process = psutil.Process()
    if not hasattr(process, "cpu_affinity"):
        return ["cores: this system pins no process to a core"]
    try:
        for thread in _threads() if sys.platform == "linux" else ():
            os.sched_setaffinity(thread, cores)
        process.cpu_affinity(list(cores))
    except (ValueError, OSError) as error:
        return [f"cores {list(cores)}: {error}; there are cores 0 to {(psutil.cpu_count() or 1) - 1}"]
    return []
