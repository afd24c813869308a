"""A service of the loop runs where the rig wants it with all its threads; what it starts beside the loop does not."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq
from system_rig import small_rig

from rt_engine.interfaces.errors import ServiceError
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.service_config import SchedulingConfig
from rt_engine.services.finder_link import FinderLink, FinderSetup
from rt_engine.services.scheduling import apply_scheduling
from rt_engine.services.setup import Setup
from rt_engine.services.supervisor import Supervisor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads and their cores as Linux has them")
DEADLINE_S = 120.0
SPAWN = multiprocessing.get_context("spawn")


def cores_of_threads(pid: int) -> list[list[int]]:
    """Sorted cores of every thread of a process."""
    return [sorted(os.sched_getaffinity(int(one))) for one in os.listdir(f"/proc/{pid}/task")]


def setup_of(rig: dict[str, Any], folder: Path, service: str = "") -> Setup:
    values = RigConfig.model_validate(rig).model_dump(mode="json")
    now = {"t_wall_ns": time.time_ns(), "t_monotonic_ns": time.perf_counter_ns()}
    return Setup(service, values, "s", str(folder), **now, dry_run=False, lossless=False)


def test_threads_that_a_service_makes_are_placed_too_and_refusals_reach_the_record(tmp_path: Path) -> None:
    """The sockets' threads carry the messages; those of acquisition carry frames to the others."""
    last = max(os.sched_getaffinity(0))
    rig = small_rig()
    rig["scheduling"] = {"cores": {"acquisition": [last], "stimulation": [4000]}}
    said: list[str] = []
    supervisor = Supervisor(
        setup_of(rig, tmp_path),
        lambda request: {},
        lambda topic, header, payload: said.append(header.text) if topic == "log" else None,
        services=("stimulation", "acquisition"),
    )
    try:
        with pytest.raises(ServiceError, match="waited"):
            supervisor.start(timeout_s=0.1)  # without a recorder they are never all ready
        deadline_s = time.monotonic() + DEADLINE_S
        while any(supervisor.state(one) == "starting" for one in supervisor.services):
            assert time.monotonic() < deadline_s
            supervisor.pump(0.1)
        cores = cores_of_threads(supervisor.pids()["acquisition"])
        assert len(cores) >= 4
        assert [one for one in cores if one != [last]] == []
        assert len(cores_of_threads(supervisor.pids()["stimulation"])) >= 3
        assert any("stimulation: scheduling.cores [4000]" in text for text in said)
    finally:
        supervisor.close()


def _begin(connection: Any, last: int) -> None:
    """A process in the place of inference, on one core, which starts a finder."""
    apply_scheduling(SchedulingConfig(cores={"inference": (last,)}), "inference")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    link = FinderLink(context, FinderSetup("", "tcp://127.0.0.1:9", 0, 0, "", None, 8.0, waits=False))
    connection.send(psutil.Process(link._process.pid).pid)
    connection.recv()
    link._process.kill()
    link._process.join()
    link.socket.close(linger=0)
    context.destroy(linger=0)


def test_the_finder_does_not_search_at_the_side_of_inference() -> None:
    everywhere = sorted(os.sched_getaffinity(0))
    if len(everywhere) < 2:
        pytest.skip("one core is everywhere")
    near, far = SPAWN.Pipe()
    inference = SPAWN.Process(target=_begin, args=(far, everywhere[-1]))
    inference.start()
    try:
        assert near.poll(DEADLINE_S)
        finder = near.recv()
        deadline_s = time.monotonic() + DEADLINE_S
        seen: list[list[int]] = []
        while time.monotonic() < deadline_s and everywhere not in seen:
            try:
                seen = cores_of_threads(finder)
            except (FileNotFoundError, ProcessLookupError):
                break  # it has given up the file that is not there
            time.sleep(0.01)
        assert everywhere in seen
        assert cores_of_threads(inference.pid or 0)[0] == everywhere[-1:]
    finally:
        near.send("end")
        inference.join(30)
        inference.kill()
