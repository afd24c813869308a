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

import msgspec
import numpy as np
import pytest
import zmq
from system_rig import RunningRig, Start, small_rig
from wire_samples import frame, health, log, rois, session, spikes, state, stim

from rt_engine.interfaces.control import COMMANDS, Reply, Request, Role, encode_control
from rt_engine.interfaces.messages import HEADERS, encode

N = int(os.environ.get("SPIKELOOP_FUZZ", "50000"))
pytestmark = [pytest.mark.realtime, pytest.mark.timeout(7200)]
LEAK_BYTES = 100
"""For each message a leak would be at least so large: a Python object with its place in a table."""
SLACK_BYTES = 24_000_000
_OWN = ("announce", "join", "keep", "left", "take_file", "give_file", "fire", "", "x" * 300)
SEEDS: list[bytes] = [
    *(encode(header) for _, header, _ in (frame(), spikes(1), rois(), state(), session(), health(), stim(), log())),
    *(encode_control(Request(id="1", role=Role.VIEWER, cmd=cmd)) for cmd in COMMANDS if cmd != "trip"),
    *(encode_control(Request(id="2", role=Role.OPERATOR, cmd=cmd, args={"service": "x"})) for cmd in _OWN),
    encode_control(Reply(id="never asked", ok=True, result={"a": [1] * 100})),
    msgspec.msgpack.encode({"v": 1, "id": "y" * 10_000, "role": "viewer", "cmd": "arm", "args": {}}),
]


def mutated(random: np.random.Generator) -> bytes:
    """A message with bytes changed, cut out, doubled or put in; sometimes as it was, sometimes nothing like it."""
    data = bytearray(SEEDS[random.integers(len(SEEDS))])
    for _ in range(random.integers(0, 4)):
        at = int(random.integers(len(data) + 1))
        match random.integers(5):
            case 0:
                data[at : at + 1] = bytes([random.integers(256)])
            case 1:
                del data[at : at + int(random.integers(1, 20))]
            case 2:
                data[at:at] = random.bytes(int(random.integers(1, 20)))
            case 3:
                data[at:at] = data[at : at + int(random.integers(1, 40))]
            case _:
                data[:] = random.bytes(int(random.integers(0, 200)))
    return bytes(data)


class Stranger:
    """Somebody on this computer who talks to all sockets of a rig.

    Attributes
    ----------
    sent : int
    """

    def __init__(self, ports: dict[str, int], seed: int) -> None:
        self.sent = 0
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

    def _control(self, door: zmq.Socket[bytes]) -> Callable[[], None]:
        def talk() -> None:
            door.send_multipart([mutated(self._random) for _ in range(1 + int(self._random.integers(10) == 0))])
            while door.poll(0):
                door.recv_multipart()

        return talk

    def _wire(self, door: zmq.Socket[bytes]) -> Callable[[], None]:
        names = [*HEADERS, "frame.0.0", "spikes.0", "spikes.\0", "nothing", "a" * 300]

        def talk() -> None:
            topic = names[self._random.integers(len(names))].encode()
            if self._random.integers(3) == 0:
                topic = b"frame.%d.0" % self._random.integers(1 << 40)
            parts = [topic, mutated(self._random), self._random.bytes(int(self._random.integers(0, 100)))]
            door.send_multipart(parts[: int(self._random.integers(1, 4))])

        return talk

    def _listener(self, door: zmq.Socket[bytes]) -> Callable[[], None]:
        def talk() -> None:
            data = mutated(self._random)
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
    assert after["pids"] == before["pids"]
    assert after["phase"] == "live"
    assert after["interlock"] == "disarmed"
    assert after["services"] == before["services"]
    frames = after["frames"]
    rig.wait_for("more frames", lambda status: status["frames"] > frames + 30)
    rig.ctl("stop")
    assert rig.wait() == 0, rig.output()
    grown = {pid: at_last[pid] - at_first.get(pid, 0) for pid in at_last if pid in at_first}
    print(f"{stranger.sent} messages; grown by {sorted(grown.values())} bytes after the first fifth")
    assert max(grown.values()) < SLACK_BYTES + LEAK_BYTES * stranger.sent // 10
    assert not [line for line in rig.output().splitlines() if "mark:" in line or "armed by" in line]
