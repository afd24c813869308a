"""Malformed messages at every door: nothing crashes, nothing grows, nothing is done.

A few thousand by default; ``SPIKELOOP_FUZZ=1000000 pytest -m statistics tests/property/test_socket_fuzz.py`` for more.
"""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from wire_samples import activity, candidates, frame, health, log, rois, session, spikes, state, stim

from rt_engine.interfaces.control import Request, Role, encode_control
from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.messages import HEADERS, decode, encode
from rt_engine.interfaces.mqtt_config import CommandKind, MqttConfig
from rt_engine.services.mqtt_commands import MqttCommands
from rt_engine.services.telemetry_digest import TelemetryDigest
from rt_engine.transport.control import answer
from rt_engine.transport.mqtt_outbox import MqttOutbox

N_SHORT = 4_000
ROOT = "spikeloop/v1/rig"
GOOD = [
    *(frame(), spikes(1), rois(), candidates(), state(), session(), health(), stim(), log()),
    activity(1, np.zeros((2, 3), np.float32)),
]
SEEDS: list[bytes] = [
    *(encode(header) for _, header, _ in GOOD),
    encode_control(Request(id="1", role=Role.OPERATOR, cmd="arm", args={"operator": "me"})),
    b'{"v":1,"id":"a","note":"x"}',
    b'{"v":1,"id":"a","name":"reward","sent_unix_ms":1}',
    msgspec.msgpack.encode({"v": 1, "id": "x", "role": "operator", "cmd": "fire", "args": {"a": [1] * 20}}),
]
TOPICS = [*HEADERS, "spikes.0", "frame.0.0", "", "frame", "spikes.\0", "nothing", "a" * 300]


def mutated(random: np.random.Generator) -> bytes:
    """A message that was right before bytes of it were changed, cut out, doubled, or drawn anew."""
    data = bytearray(SEEDS[random.integers(len(SEEDS))])
    for _ in range(random.integers(1, 5)):
        at = int(random.integers(len(data) + 1))
        match random.integers(6):
            case 0:
                data[at : at + 1] = bytes([random.integers(256)])
            case 1:
                del data[at : at + int(random.integers(1, 20))]
            case 2:
                data[at:at] = random.bytes(int(random.integers(1, 20)))
            case 3:
                data[at:at] = data[at : at + int(random.integers(1, 40))]
            case 4:
                data[:] = random.bytes(int(random.integers(0, 200)))
            case _:
                data[at:at] = bytes([[0xC1, 0xDD, 0xDF, 0xC6, 0xC9, 0x91, 0x81, 0x5B, 0x7B][random.integers(9)]]) * 200
    return bytes(data)


class Doors:
    """Everything that takes bytes from outside, and what came of it."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.outbox = MqttOutbox()
        self.digest = TelemetryDigest(self.outbox, "s", 0, lambda t_ns: t_ns // 10**6)
        config = MqttConfig(accept=(CommandKind.MARK, CommandKind.TRIAL, CommandKind.REQUEST))
        self.commands = MqttCommands(
            *(config, ROOT, self.outbox),
            ask=lambda cmd, args, on_reply: self.done.append((cmd, args)),
            trip=lambda cmd, args, on_reply: self.done.append((cmd, args)),
            stamp=lambda: {"session": "s", "t_unix_ms": 0},
            wall_ms=lambda: 10**12,
        )
        self.t_ns = 0

    def wire(self, random: np.random.Generator, data: bytes) -> None:
        """Header of a topic; and what telemetry makes of it if it decodes."""
        topic = TOPICS[random.integers(len(TOPICS))]
        try:
            header = decode(topic, data)
        except MessageError:
            return
        self.digest.take(topic, header, random.bytes(int(random.integers(0, 100))), self.t_ns)

    def control(self, random: np.random.Generator, data: bytes) -> None:
        """Request; a handler that would notice."""
        reply = answer([data] * int(random.integers(1, 3)), self._handle)
        encode_control(reply)

    def mqtt(self, random: np.random.Generator, data: bytes) -> None:
        """Command of a behaviour task, on a topic that may be none."""
        kinds = [*CommandKind, "fire", "", "mark/x", "#"]
        topic = (
            f"{ROOT}/cmd/{['task', '', '..', 'a' * 65, 'é'][random.integers(5)]}/{kinds[random.integers(len(kinds))]}"
        )
        self.commands.take(topic, data, bool(random.integers(2)), self.t_ns)
        if len(self.outbox) > 100:
            while (message := self.outbox.first()) is not None:
                self.outbox.sent(message)

    def _handle(self, request: Request) -> dict[str, Any]:
        self.done.append((request.cmd, request.args))
        return {}


def fuzz(doors: Doors, seed: int, n: int) -> None:
    """`n` messages at doors in turn."""
    random = np.random.default_rng(seed)
    ways: list[Callable[[np.random.Generator, bytes], None]] = [doors.wire, doors.control, doors.mqtt]
    for i in range(n):
        doors.t_ns += 10_000_000
        ways[i % len(ways)](random, mutated(random))
        if i % 1000 == 0:
            doors.digest.tick(doors.t_ns)


def _is_harmless(done: tuple[str, dict[str, Any]]) -> bool:
    """What a mutation left valid is what it would have been anyway: nothing about light, but a stop."""
    cmd, args = done
    return cmd == "trip" or (cmd == "behaviour" and args["command"] in ("mark", "trial"))


@pytest.fixture
def doors() -> Doors:
    return Doors()


def test_malformed_messages_do_nothing(doors: Doors) -> None:
    fuzz(doors, 1, N_SHORT)
    from_mqtt = [one for one in doors.done if one[0] in ("behaviour", "trip")]
    assert all(_is_harmless(one) for one in from_mqtt), from_mqtt


def test_the_search_would_notice(doors: Doors) -> None:
    """A message that is right gets through, so that what did not was malformed."""
    answer([SEEDS[10]], doors._handle)
    doors.commands.take(f"{ROOT}/cmd/task/mark", SEEDS[11], False, 0)
    assert [cmd for cmd, _ in doors.done] == ["arm", "behaviour"]


@pytest.mark.statistics
@pytest.mark.timeout(7200)
def test_a_million_malformed_messages_leave_no_trace(doors: Doors) -> None:
    n = int(os.environ.get("SPIKELOOP_FUZZ", "1000000"))
    fuzz(doors, 2, 120_000)
    doors.done.clear()
    gc.collect()
    tracemalloc.start()
    fuzz(doors, 3, 2_000)
    doors.done.clear()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    fuzz(doors, 4, 20_000)
    doors.done.clear()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    fuzz(doors, 5, n)
    bad = [one for one in doors.done if one[0] in ("behaviour", "trip") and not _is_harmless(one)]
    print(f"{n + 142_000} messages; {grown} bytes more after 20,000 of them; {len(doors.done)} were still valid")
    assert bad == []
    assert grown < 200_000
