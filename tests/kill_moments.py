"""Moments in the life of a run at which one of its processes is killed."""

from __future__ import annotations

import os
import random
import time
from enum import StrEnum
from pathlib import Path

import psutil
import zmq
from kill_witness import Witness
from system_rig import DEADLINE_S, RunningRig

from rt_engine.interfaces.control import Role
from rt_engine.interfaces.errors import ServiceError
from rt_engine.transport.control import ControlClient

BASELINE_S = 5.0
FILE_MB = 0.5
"""At 1 MB/s of frames a file of the journal is ended and another begun every half second."""
_FLUSHED_BYTES = 110_000
"""The file grows by about 0.1 s of frames at a time, so this close to its bound the next growth may end it."""


class Moment(StrEnum):
    """Where in the life of a run."""

    STARTING = "starting"
    BASELINE = "baseline"
    CALIBRATING = "calibrating"
    ARMING = "arming"
    LIVE = "live"
    ROTATION = "rotation"
    STOPPING = "stopping"


ORDER = (
    *(Moment.LIVE, Moment.ROTATION, Moment.BASELINE, Moment.STOPPING, Moment.ARMING),
    *(Moment.LIVE, Moment.CALIBRATING, Moment.ROTATION, Moment.STARTING, Moment.STOPPING),
)
"""Of ten trials, two each of what takes longest or is most delicate."""

NEEDS_BASELINE = (Moment.BASELINE, Moment.CALIBRATING)


class Control:
    """The control socket of a run, asked without a process of our own for every question."""

    def __init__(self, run: RunningRig, ports: dict[str, int]) -> None:
        self._run = run
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._client = ControlClient(self._context, f"tcp://127.0.0.1:{ports['control']}", Role.OPERATOR)

    def pids(self) -> dict[str, int]:
        """Process of every service, and of the supervisor, as soon as there are any."""
        until_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < until_s:
            if self._run.process.poll() is not None:
                raise RuntimeError(self._run.output())
            try:
                pids: dict[str, int] = self._client.request("status", timeout_s=2.0)["pids"]
            except ServiceError:
                continue
            if pids and all(pids.values()):
                return pids | {"supervisor": self._run.process.pid}
            time.sleep(0.02)
        raise TimeoutError(self._run.output())

    def stop(self) -> None:
        """End the run in order."""
        self._client.request("stop", timeout_s=60.0)

    def close(self) -> None:
        """Close the socket."""
        self._client.close()
        self._context.destroy(linger=0)


def wait_for(moment: Moment, run: RunningRig, witness: Witness, control: Control, chance: random.Random) -> None:
    """Come back at a random instant of `moment`."""
    if moment is Moment.STARTING:
        time.sleep(chance.uniform(0.0, 6.0))
        return
    phase = moment.value if moment in NEEDS_BASELINE else "live"
    witness.await_phase(phase, deadline_s=DEADLINE_S)
    if moment is Moment.BASELINE:
        time.sleep(chance.uniform(0.0, BASELINE_S))
    elif moment is Moment.CALIBRATING:
        time.sleep(chance.uniform(0.0, 2.0))
    elif moment is Moment.ARMING:
        time.sleep(chance.uniform(0.0, 0.5))
    elif moment is Moment.LIVE:
        time.sleep(chance.expovariate(0.5))
    elif moment is Moment.ROTATION:
        time.sleep(chance.uniform(0.5, 2.0))
        _await_full_file(run.session)
        time.sleep(chance.uniform(0.0, 0.25))
    else:
        time.sleep(chance.uniform(0.5, 2.0))
        control.stop()
        witness.await_phase("stopping", deadline_s=DEADLINE_S)
        time.sleep(chance.expovariate(4.0))


def _await_full_file(folder: Path) -> None:
    """Until the present file of the journal is about to be ended."""
    until_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < until_s:
        newest = max(folder.glob("session_*.mcap"), default=None)
        if newest is not None and os.stat(newest).st_size > FILE_MB * 1e6 - _FLUSHED_BYTES:
            return
        time.sleep(0.001)
    raise TimeoutError(f"no file of the journal in {folder} grows to {FILE_MB} MB")


def kill(pid: int) -> bool:
    """Kill -9; False if it was gone already."""
    try:
        psutil.Process(pid).kill()
    except psutil.NoSuchProcess:
        return False
    return True


def family(run: RunningRig) -> list[psutil.Process]:
    """The run and every process that it has begun, at any depth."""
    try:
        parent = psutil.Process(run.process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
