"""Priority, cores and timer of the processes in the loop: what the rig file asks for, as far as this machine lets it.

Nothing here is ever required. What cannot be had is said in one sentence with its remedy, and the service goes on.
"""

from __future__ import annotations

import ctypes
import os
import sys

import psutil

from rt_engine.interfaces.service_config import SchedulingConfig

IN_THE_LOOP = ("acquisition", "inference", "stimulation")
"""Services between the last line and the light; the others stay as they are."""
_HIGH_NICE = -10
_TIMER_MS = 1


def apply_scheduling(wanted: SchedulingConfig, service: str) -> list[str]:
    """Place this process as the rig wants it; returns what could not be had.

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
    if sys.platform == "win32" and (wanted.high_priority or wanted.realtime_priority is not None):
        ctypes.windll.winmm.timeBeginPeriod(_TIMER_MS)  # for the life of the process; else a wait lasts up to 16 ms
    if wanted.high_priority and not _raise_priority():
        refused.append("high_priority was refused: give the user a negative nice limit (/etc/security/limits.conf)")
    if wanted.realtime_priority is not None:
        refused += _to_real_time(wanted.realtime_priority)
    for name, cores in wanted.cores.items():
        if name == service:
            refused += _pin(cores)
    return [f"{service}: scheduling.{text}" for text in refused]


def _raise_priority() -> bool:
    process = psutil.Process()
    try:
        process.nice(getattr(psutil, "HIGH_PRIORITY_CLASS", _HIGH_NICE))
    except (psutil.AccessDenied, PermissionError):
        return False
    return True


def _to_real_time(priority: int) -> list[str]:
    if sys.platform != "linux":
        return ["realtime_priority is for Linux; high_priority does what can be done here"]
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return ["realtime_priority was refused: give the user an rtprio limit (/etc/security/limits.conf)"]
    return []


def _pin(cores: tuple[int, ...]) -> list[str]:
    process = psutil.Process()
    if not hasattr(process, "cpu_affinity"):
        return ["cores: this system pins no process to a core"]
    try:
        process.cpu_affinity(list(cores))
    except (ValueError, OSError) as error:
        return [f"cores {list(cores)}: {error}; there are cores 0 to {(psutil.cpu_count() or 1) - 1}"]
    return []
