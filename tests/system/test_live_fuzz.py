"""Malformed messages at every socket of a run that is live: it goes on, nothing grows, nothing is done.

``SPIKELOOP_FUZZ=1000000 pytest -s -m realtime tests/system/test_live_fuzz.py``. What the decoders make of such bytes is
`tests/property/test_socket_fuzz.py`.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zmq
from malformed import CONTROL_SEEDS, HEADER_SEEDS, TOPICS, mutated, with_junk
from system_rig import RunningRig, Start, small_rig

from rt_engine.interfaces.control import Reply, decode_reply

N = int(os.environ.get("SPIKELOOP_FUZZ", "50000"))
pytestmark = [pytest.mark.realtime, pytest.mark.timeout(7200)]
LEAK_BYTES = 100
"""For each message a leak would be at least so large: a Python object with its place in a table."""
SLACK_BYTES = 24_000_000
SEEDS = HEADER_SEEDS + CONTROL_SEEDS


class Stranger:
    """Somebody on this computer who talks to all sockets of a rig.

    Attributes
    ----------
    sent : int
    carried_out : list of Reply
        Successes of requests whose arguments made no sense.
    """

    def __init__(self, ports: dict[str, int], seed: int) -> None:
        self.sent, self.carried_out = 0, list[Reply]()
        self._ports, self._random = ports, np.random.default_rng(seed)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._doors: list[Callable[[], None]] = []
        for name in ("control", "stimulation_control"):
            self._doors.append(self._control(self._socket(zmq.DEALER, name)))
        self._doors += 2 * [self._wire(self._socket(zmq.PUSH, "recorder_inlet"))]
        for name in sorted(set(ports) - {"control", "stimulation_control", "recorder_inlet"}):
            self._doors.append(self._listener(self._socket(zmq.XSUB, name)))

    def send(self, n: int) -> None:
        """`n` messages, at all doors in turn; and now and then bytes that are no ZeroMQ at all."""
        for i in range(n):
            self._doors[i % len(self._doors)]()
            if i % 2000 == 0:
                self._knock()
            self.sent += 1

    def close(self) -> None:
        """Close all sockets."""
        self._context.destroy(linger=0)

    def _socket(self, kind: int, name: str) -> zmq.Socket[bytes]:
        made: zmq.Socket[bytes] = self._context.socket(kind)
        made.setsockopt(zmq.SNDTIMEO, 60_000)
        made.connect(f"tcp://127.0.0.1:{self._ports[name]}")
        return made

    def _message(self) -> bytes:
        return mutated(self._random, SEEDS, fewest=0)

    def _control(self, door: zmq.Socket[bytes]) -> Callable[[], None]:
        def talk() -> None:
            if self._random.integers(3) == 0:
                door.send(with_junk(self._random))
            else:
                door.send_multipart([self._message() for _ in range(1 + int(self._random.integers(10) == 0))])
            while door.poll(0):
                reply = decode_reply(door.recv_multipart()[-1])
                if reply.ok and reply.id.startswith("junk"):
                    self.carried_out.append(reply)

        return talk

    def _wire(self, door: zmq.Socket[bytes]) -> Callable[[], None]:
        def talk() -> None:
            topic = TOPICS[self._random.integers(len(TOPICS))].encode()
            if self._random.integers(3) == 0:
                topic = b"frame.%d.0" % self._random.integers(1 << 40)
            parts = [topic, self._message(), self._random.bytes(int(self._random.integers(0, 100)))]
            door.send_multipart(parts[: int(self._random.integers(1, 4))])

        return talk

    def _listener(self, door: zmq.Socket[bytes]) -> Callable[[], None]:
        def talk() -> None:
            data = self._message()
            door.send(b"\1" + data[:50])
            door.send(b"\0" + data[:50])
            door.send(data[:2000] or b"\2")
            while door.poll(0):
                door.recv_multipart()

        return talk

    def _knock(self) -> None:
        for port in self._ports.values():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as wire:
                wire.sendall(self._random.bytes(int(self._random.integers(1, 300))))


@pytest.fixture
def run(start: Start, small_calibration: Path) -> tuple[RunningRig, dict[str, int]]:
    rig = small_rig(microscope__pace="real_time")
    made = start(rig, "--calibration", small_calibration, "--protocol", "spike_triggered", "--dry-run", "--no-gui")
    made.live()
    return made, rig["ports"]


def memory(run: RunningRig) -> dict[int, int]:
    """Resident bytes of every process of a run."""
    return {child.pid: child.memory_info().rss for child in run.children()}


def test_a_live_run_outlives_a_million_malformed_messages(run: tuple[RunningRig, dict[str, int]]) -> None:
    rig, ports = run
    rig.ctl("disarm")
    before = rig.ctl("status")
    stranger = Stranger(ports, 7)
    try:
        stranger.send(N // 5)
        at_first = memory(rig)
        stranger.send(N - N // 5)
        after = rig.wait_for("an answer", lambda status: True)
        at_last = memory(rig)
    finally:
        stranger.close()
    assert stranger.carried_out == []
    assert after["pids"] == before["pids"]
    assert after["phase"] == "live"
    assert after["interlock"] == "disarmed"
    assert after["services"] == before["services"]
    frames = after["frames"]
    rig.wait_for("more frames", lambda status: status["frames"] > frames + 30)
    rig.ctl("stop")
    assert rig.wait() == 0, rig.output()
    names = {pid: name for name, pid in after["pids"].items()}
    grown = {names.get(pid, "helper"): at_last[pid] - at_first[pid] for pid in at_last if pid in at_first}
    print(f"{stranger.sent} messages; bytes more after the first fifth: {grown}")
    assert max(grown.values()) < SLACK_BYTES + LEAK_BYTES * stranger.sent // 10, grown
    assert not [line for line in rig.output().splitlines() if "mark:" in line or "armed by" in line]
