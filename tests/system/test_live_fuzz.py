"""Malformed messages at every socket of a run that is live: it goes on, nothing grows, nothing is done.

``SPIKELOOP_FUZZ=1000000 pytest -s -m realtime tests/system/test_live_fuzz.py``. What the decoders make of such bytes is
`tests/property/test_socket_fuzz.py`.

What grows with the messages is told from what fills once (ids of the newest requests, pages of 2 MiB that a large
array is given when it is first written) by its slope: the median of what is added between one look and the next, of
which steps change few. What grows with time is taken off; it is seen while nobody talks. A process that kept a
quarter of what comes through one control port would be found.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import zmq
from malformed import CONTROL_SEEDS, HEADER_SEEDS, TOPICS, mutated, with_junk
from mqtt_rig import Task
from system_rig import RunningRig, Start, small_rig

from rt_engine.interfaces.control import Reply, Role, decode_reply
from rt_engine.services.embedded_broker import EmbeddedBroker
from rt_engine.transport.free_ports import free_ports
from rt_engine.transport.key_store import ClientKey, KeyStore, read_client_key
from rt_engine.transport.security import prepare_connect, secure_client

N = int(os.environ.get("SPIKELOOP_FUZZ", "50000"))
N_LOCKED = int(os.environ.get("SPIKELOOP_FUZZ_LOCKED", str(N // 5)))
pytestmark = [pytest.mark.realtime, pytest.mark.timeout(7200)]
CONTROL_PORTS = ("control", "stimulation_control")
REMEMBERED = 20_000
"""Ids of requests that a control port remembers; so many are sent before anything is measured."""
LONG_BYTES = 20_000
"""At the end of every eighth message, so that whoever keeps them soon needs more than a heap has left over."""
LOOKS = 20
REST_S = 10.0
SEEDS = HEADER_SEEDS + CONTROL_SEEDS


@dataclass(frozen=True)
class Target:
    """A run, and how one may talk to it."""

    run: RunningRig
    ports: dict[str, int]
    n: int
    key: ClientKey | None = None
    task: Task | None = None
    more_ports: tuple[int, ...] = ()


class Stranger:
    """Somebody on this computer who talks to all sockets of a rig.

    Attributes
    ----------
    sent : int
    control_bytes : int
        Of all messages to the two control ports.
    carried_out : list of Reply
        Successes of requests whose arguments made no sense.
    """

    def __init__(self, target: Target, seed: int) -> None:
        self.sent, self.control_bytes, self.carried_out = 0, 0, list[Reply]()
        self._target, self._ports, self._random = target, target.ports, np.random.default_rng(seed)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        if target.key is not None:
            secure_client(self._context, target.key)
        self._keyless: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._doors: list[Callable[[], None]] = []
        for name in CONTROL_PORTS:
            self._doors.append(self._control(self._socket(zmq.DEALER, name)))
        if target.key is None:  # with keys it takes nothing of clients, and a sender would wait for ever
            self._doors += 2 * [self._wire(self._socket(zmq.PUSH, "recorder_inlet"))]
        for name in sorted(set(self._ports) - {*CONTROL_PORTS, "recorder_inlet"}):
            self._doors.append(self._listener(self._socket(zmq.XSUB, name)))
        if target.task is not None:
            self._doors.append(self._over_mqtt(target.task))

    def send(self, n: int) -> None:
        """`n` messages, at all doors in turn; and now and then bytes that are no ZeroMQ at all."""
        for i in range(n):
            self._doors[i % len(self._doors)]()
            if i % 2000 == 0:
                self._knock()
            self.sent += 1

    def fill(self) -> None:
        """As many requests as the control ports remember."""
        for _ in range(REMEMBERED):
            for talk in self._doors[: len(CONTROL_PORTS)]:
                talk()

    def close(self) -> None:
        """Close all sockets."""
        self._context.destroy(linger=0)
        self._keyless.destroy(linger=0)

    def _socket(self, kind: int, name: str) -> zmq.Socket[bytes]:
        made: zmq.Socket[bytes] = self._context.socket(kind)
        made.setsockopt(zmq.SNDTIMEO, 60_000)
        prepare_connect(self._context, made)
        made.connect(f"tcp://127.0.0.1:{self._ports[name]}")
        return made

    def _message(self) -> bytes:
        data = mutated(self._random, SEEDS, fewest=0)
        return data if self._random.integers(8) else data + self._random.bytes(LONG_BYTES)

    def _control(self, door: zmq.Socket[bytes]) -> Callable[[], None]:
        def talk() -> None:
            if self._random.integers(3) == 0:
                parts = [with_junk(self._random)]
            else:
                parts = [self._message() for _ in range(1 + int(self._random.integers(10) == 0))]
            door.send_multipart(parts)
            self.control_bytes += sum(map(len, parts))
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

    def _over_mqtt(self, task: Task) -> Callable[[], None]:
        kinds = ("mark", "trial", "request", "", "fire", "x" * 200)

        def talk() -> None:
            task.send(kinds[self._random.integers(len(kinds))], self._message()[:20_000])

        return talk

    def _knock(self) -> None:
        if self._target.key is not None:
            with self._keyless.socket(zmq.DEALER) as keyless:
                keyless.setsockopt(zmq.LINGER, 0)
                keyless.connect(f"tcp://127.0.0.1:{self._ports['control']}")
                with contextlib.suppress(zmq.Again):  # turned away before it could speak
                    keyless.send(self._message(), zmq.NOBLOCK)
        for port in (*self._ports.values(), *self._target.more_ports):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as wire:
                wire.sendall(self._random.bytes(int(self._random.integers(1, 300))))


@pytest.fixture
def plain(start: Start, small_calibration: Path) -> Target:
    """A rig as it stands after the installation: no keys, on loopback."""
    rig = small_rig(microscope__pace="real_time")
    made = start(rig, "--calibration", small_calibration, "--protocol", "spike_triggered", "--dry-run", "--no-gui")
    made.live()
    return Target(made, rig["ports"], N)


@pytest.fixture
def locked(start: Start, small_calibration: Path, tmp_path: Path) -> Iterator[Target]:
    """A rig with keys, MQTT and Prometheus; who talks to it has the key of a viewer, and is a behaviour task."""
    key = read_client_key(KeyStore(tmp_path / "keys").new_client("viewer", Role.VIEWER))
    mqtt, metrics = free_ports(2)
    with EmbeddedBroker(mqtt):
        rig = small_rig(name="virtual_rig", keys="keys", microscope__pace="real_time")
        rig["mqtt"] = {"port": mqtt, "accept": ["mark", "trial", "request"]}
        rig["metrics"] = {"port": metrics}
        made = start(rig, "--calibration", small_calibration, "--protocol", "spike_triggered", "--dry-run", "--no-gui")
        made.live()
        with Task(mqtt) as task:
            yield Target(made, rig["ports"], N_LOCKED, key, task, (metrics,))
            if made.process.poll() is None:
                made.ctl("stop")
                made.wait()


class Memory:
    """Resident bytes of every process of a run, look after look.

    The search for new cells is left out: it binds no port, and what it does with frames makes steps of megabytes.
    """

    def __init__(self, run: RunningRig, pids: dict[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._processes["supervisor"] = psutil.Process(run.process.pid)
        self._looks: list[tuple[float, float, dict[str, int]]] = []

    def look(self, x: float) -> None:
        """At `x` messages, or seconds."""
        now = {name: process.memory_info().rss for name, process in self._processes.items()}
        self._looks.append((x, time.monotonic(), now))

    def slopes(self) -> dict[str, float]:
        """Bytes per unit of x, by process: medians from look to look. Begins anew."""
        looks, self._looks = self._looks, []
        steps = list(itertools.pairwise(looks))
        return {
            name: float(np.median([(b[2][name] - a[2][name]) / (b[0] - a[0]) for a, b in steps]))
            for name in self._processes
        }

    def took_s(self) -> float:
        """Between the first look and the last."""
        return self._looks[-1][1] - self._looks[0][1]


@pytest.mark.parametrize("name", ["plain", "locked"])
def test_a_live_run_outlives_a_million_malformed_messages(name: str, request: pytest.FixtureRequest) -> None:
    target: Target = request.getfixturevalue(name)
    rig, n = target.run, target.n
    rig.ctl("disarm")
    before = rig.ctl("status")
    stranger, memory = Stranger(target, 7), Memory(rig, before["pids"])
    try:
        stranger.fill()
        for _ in range(LOOKS + 1):
            memory.look(time.monotonic())
            time.sleep(REST_S / LOOKS)
        at_rest = memory.slopes()
        stranger.send(n // 5)
        stranger.control_bytes = 0
        memory.look(stranger.sent)
        for _ in range(LOOKS):
            stranger.send(n * 4 // 5 // LOOKS)
            after = rig.wait_for("an answer", lambda status: True)
            memory.look(stranger.sent)
        per_message_s = memory.took_s() / (n * 4 // 5)
        grown = {name: slope - max(at_rest[name], 0.0) * per_message_s for name, slope in memory.slopes().items()}
    finally:
        stranger.close()
    bound = stranger.control_bytes / len(CONTROL_PORTS) / (n * 4 // 5) / 4
    told = {name: f"{slope:.1f}" for name, slope in grown.items()}
    print(f"{stranger.sent} messages, {1 / per_message_s:.0f} a second; bytes per message (bound {bound:.1f}): {told}")
    assert stranger.carried_out == []
    assert after["pids"] == before["pids"]
    assert after["phase"] == "live"
    assert after["interlock"] == "disarmed"
    assert after["services"] == before["services"]
    frames = after["frames"]
    rig.wait_for("more frames", lambda status: status["frames"] > frames + 30)
    rig.ctl("stop")
    assert rig.wait() == 0, rig.output()
    assert max(grown.values()) < bound, (grown, bound)
    done = [line for line in rig.output().splitlines() if "refused" not in line]
    assert not [line for line in done if "mark:" in line or "armed by" in line]
