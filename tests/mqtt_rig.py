"""The telemetry service in real, between a broker and stand-ins for the services it talks to."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import yaml
import zmq

from rt_engine.interfaces.control import Request
from rt_engine.interfaces.errors import SpikeloopError
from rt_engine.interfaces.messages import Header, encode
from rt_engine.interfaces.mqtt_schema import root_topic
from rt_engine.services.setup import Setup
from rt_engine.services.telemetry import TelemetryService
from rt_engine.transport.control import ControlServer
from rt_engine.transport.free_ports import free_port_block
from rt_engine.transport.sockets import bind

ROOT = Path(__file__).resolve().parents[1]
ROOT_TOPIC = root_topic("spikeloop", "virtual_rig")
DEADLINE_S = 60.0
_PORTS = (
    *("control", "acquisition", "inference", "stimulation", "stimulation_control"),
    *("recording", "telemetry", "supervisor", "recorder_inlet", "engine_frames", "decisions", "shared_frames"),
)


def until(done: Callable[[], bool], what: str, pump: Callable[[], object] = lambda: None) -> None:
    """Wait until `done`, turning `pump` meanwhile."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not done():
        pump()
        if time.monotonic() > deadline_s:
            raise TimeoutError(what)
        time.sleep(0.002)


class MqttRig:
    """Runs while the `with` block does. `asked` and `trips` are what the supervisor and stimulation would have got."""

    def __init__(self, mqtt: dict[str, Any], answer: Callable[[Request], dict[str, Any]] = lambda request: {}) -> None:
        rig = yaml.safe_load((ROOT / "hardware_configs" / "virtual_rig.yaml").read_text(encoding="utf-8"))
        first = free_port_block(len(_PORTS))
        rig["ports"] = {name: first + i for i, name in enumerate(_PORTS)}
        rig["mqtt"] = mqtt
        self._answer = answer
        self.asked: list[Request] = []
        self.trips: list[Request] = []
        self.announced: list[dict[str, Any]] = []
        self.logs: list[tuple[str, str]] = []
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        setup = Setup(
            service="telemetry",
            rig=rig,
            session="s1",
            folder="unused",
            t_wall_ns=time.time_ns(),
            t_monotonic_ns=time.perf_counter_ns(),
            dry_run=True,
            lossless=False,
            recorded=False,
        )
        ports = setup.rig_config().ports
        self._control = ControlServer(self._context, ports.endpoint("control"), self._take)
        self._stimulation = ControlServer(self._context, ports.endpoint("stimulation_control"), self._take_trip)
        self._pub = bind(self._context, zmq.PUB, ports.endpoint("stimulation"))
        self.service = TelemetryService(setup)
        self._log = self.service.log
        self.service.log = lambda level, text, **fields: self.logs.append((level, text))  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self.service.run)

    def __enter__(self) -> MqttRig:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.service.stopping.set()
        while self._thread.is_alive():
            self.pump()
            self._thread.join(0.01)
        self._control.close()
        self._stimulation.close()
        self._pub.close()
        self._context.destroy(linger=0)

    def pump(self) -> None:
        """Answer what the service asks."""
        self._control.serve()
        self._stimulation.serve()

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Wait for `done`, answering meanwhile."""
        until(done, what, self.pump)

    def said(self, level: str, text: str) -> bool:
        """True if the operator was told so."""
        return any(level == one and text in said for one, said in self.logs)

    def publish(self, topic: str, header: Header, payload: bytes = b"") -> None:
        """A message of the rig."""
        self._pub.send_multipart([topic.encode(), encode(header), payload])

    def _take(self, request: Request) -> dict[str, Any]:
        if request.cmd == "announce":
            self.announced.append(request.args)
            return {}
        self.asked.append(request)
        return self._answer(request)

    def _take_trip(self, request: Request) -> dict[str, Any]:
        self.trips.append(request)
        return {}


class Task:
    """A behaviour task: an MQTT client that is none of ours, and keeps everything it hears."""

    def __init__(self, port: int, name: str = "task", settle: Callable[[paho.Client], None] = lambda c: None) -> None:
        self.heard: list[tuple[str, dict[str, Any], bool]] = []
        self.name = name
        self._read = 0
        self._subscribed = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"{name}-{uuid.uuid4().hex[:8]}")
        settle(self._client)
        self._client.on_socket_open = lambda client, data, raw: raw.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        self._client.on_connect = lambda client, *_: client.subscribe(f"{ROOT_TOPIC}/#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(min_delay=1, max_delay=1)
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()

    def __enter__(self) -> Task:
        if not self._subscribed.wait(DEADLINE_S):
            raise TimeoutError("the broker does not let the task subscribe")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def send(self, kind: str, payload: dict[str, Any] | bytes, *, retain: bool = False) -> None:
        """One command, of quality 1."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self._client.publish(f"{ROOT_TOPIC}/cmd/{self.name}/{kind}", data, qos=1, retain=retain)

    def on(self, topic: str) -> list[dict[str, Any]]:
        """Everything heard on a topic below the root."""
        return [payload for heard, payload, _ in list(self.heard) if heard == f"{ROOT_TOPIC}/{topic}"]

    def on_new(self, topic: str) -> list[dict[str, Any]]:
        """What was heard on a topic since the last call; what came on others meanwhile is passed over."""
        heard = self.heard[self._read :]
        self._read += len(heard)
        return [payload for one, payload, _ in heard if one == f"{ROOT_TOPIC}/{topic}"]

    def replies(self, command_id: str) -> list[dict[str, Any]]:
        """Replies to one command."""
        return [reply for reply in self.on(f"reply/{self.name}") if reply["id"] == command_id]

    def _on_message(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        try:
            payload = json.loads(message.payload)
        except (ValueError, RecursionError):
            return
        self.heard.append((message.topic, payload, message.retain))


class _Request(SpikeloopError):
    """Refused by the stand-in."""


def refuse(request: Request) -> dict[str, Any]:
    """An answer that says no."""
    raise _Request("no rule of the protocol waits for it", "write one")
