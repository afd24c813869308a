"""Priority, cores and timer as this computer gives them, found by asking for them in a process that then ends."""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import zmq

from rt_engine.interfaces.findings import Finding, Verdict, passed
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.service_config import SchedulingConfig
from rt_engine.services.scheduling import IN_THE_LOOP, apply_scheduling, leave_the_loop

_PART = "scheduling"
_WAITS = 40
_WAIT_MS = 1
_COARSE_MS = 4.0
"""A wait of 1 ms that lasts longer is one of the coarse timer of Windows, which ticks every 15.6 ms."""
_REAL_TIME = 1
"""The lowest priority above all ordinary programs: whoever may have it may have the others, as far as can be asked."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What a process of the loop was given.

    Attributes
    ----------
    refused : tuple of str
        Of the wishes of the rig file, one sentence each.
    may_be_high, may_be_real_time : bool
        What it could wish for.
    wait_ms : float
        How long a wait of 1 ms takes, as the loop waits: median.
    """

    refused: tuple[str, ...]
    may_be_high: bool
    may_be_real_time: bool
    wait_ms: float


def look(wanted: SchedulingConfig) -> Placement:
    """Ask for everything, in this process, which is to end soon after.

    Parameters
    ----------
    wanted : SchedulingConfig
    """
    refused = tuple(text for service in IN_THE_LOOP for text in apply_scheduling(wanted, service))
    wait_ms = _wait_ms()
    leave_the_loop()
    high, real_time = (
        not apply_scheduling(one, IN_THE_LOOP[0])
        for one in (SchedulingConfig(high_priority=True), SchedulingConfig(realtime_priority=_REAL_TIME))
    )
    return Placement(tuple(dict.fromkeys(refused)), high, real_time, wait_ms)


def _wait_ms() -> float:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    took_ms = []
    try:
        nobody = context.socket(zmq.PULL)
        for _ in range(_WAITS):
            begun_ns = time.perf_counter_ns()
            nobody.poll(_WAIT_MS)
            took_ms.append((time.perf_counter_ns() - begun_ns) / 1e6)
    finally:
        context.destroy(linger=0)
    return statistics.median(took_ms)


def scheduling(rig: RigConfig) -> list[Finding]:
    """What a process of the loop is given of what the rig file wishes; nothing stays of it here.

    Parameters
    ----------
    rig : RigConfig
    """
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            return judge(rig.scheduling, pool.submit(look, rig.scheduling).result())
    except (BrokenProcessPool, OSError) as error:
        meaning = "what a run would be given is not known"
        return [Finding(Verdict.WARN, _PART, f"could not be tried: {error}", meaning, "run the doctor once more")]


def judge(wanted: SchedulingConfig, got: Placement, system: str = sys.platform) -> list[Finding]:
    """Findings of what a process was given.

    Parameters
    ----------
    wanted : SchedulingConfig
    got : Placement
    system : str
        As `sys.platform`.
    """
    meaning = "other programs can delay the loop more than the rig file wants; a run goes on without it"
    found = [Finding(Verdict.WARN, _PART, text, meaning, _remedy(text, system)) for text in got.refused]
    rights = [("high priority", got.may_be_high)]
    if system == "linux":
        rights.append(("real-time priority", got.may_be_real_time))
    asks = wanted.high_priority or wanted.realtime_priority is not None or bool(wanted.cores)
    text = ", ".join(f"{name} {'can be had' if may else 'is refused to this user'}" for name, may in rights)
    found.append(passed(_PART, text if asks else f"{text}; the rig file asks for nothing"))
    text = f"a wait of {_WAIT_MS} ms takes {got.wait_ms:.2f} ms"
    if got.wait_ms <= _COARSE_MS:
        return [*found, passed("timer", text)]
    remedy = "set `scheduling: {high_priority: true}` in the rig file" if system == "win32" else "close other programs"
    return [*found, Finding(Verdict.WARN, "timer", text, "every wait of the loop is as coarse", remedy)]


def _remedy(text: str, system: str) -> str:
    if "cores" in text:
        return "correct `scheduling.cores`, or leave it out"
    if system == "linux":
        right = "rtprio 80" if "realtime_priority" in text else "nice -10"
        return f"add `@realtime - {right}` to /etc/security/limits.conf, and yourself to that group; log in anew"
    if system == "darwin":
        return "only root may raise a priority on macOS: leave `scheduling` out there"
    return "leave `realtime_priority` out on Windows; `high_priority` does what can be done"
