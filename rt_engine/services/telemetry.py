"""Telemetry service: for now it only keeps the newest health of every service and says that it lives itself."""

from __future__ import annotations

from typing import Any

import zmq

from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.messages import HealthHeader, decode_as
from rt_engine.services.base import Service
from rt_engine.transport.sockets import connect


class TelemetryService(Service):
    """Listens to the health of the others, off the path from light to light."""

    source = "telemetry"
    port = "telemetry"
    poll_ms = 100

    def open(self) -> None:
        """Subscribe to everybody's health."""
        self.newest: dict[str, HealthHeader] = {}
        self._sub = connect(self.context, zmq.SUB, self.rig.ports.endpoint("acquisition"))
        for name in ("stimulation", "recording"):
            self._sub.connect(self.rig.ports.endpoint(name))
        for plane in self.rig.planes_inferred:
            self._sub.connect(self.rig.ports.inference_endpoint(plane))
        self._sub.subscribe(b"health")
        self.poller.register(self._sub, zmq.POLLIN)
        self.commands["status"] = self._status

    def step(self, ready: dict[Any, int]) -> None:
        """Take in waiting health messages."""
        while self._sub.poll(0):
            topic, header, *_ = self._sub.recv_multipart()
            try:
                health = decode_as(HealthHeader, topic.decode(), header)
            except MessageError:
                self.dropped += 1
                continue
            self.newest[health.source] = health

    def finish(self) -> None:
        """Nothing to bring to rest."""

    def _status(self, args: dict[str, Any]) -> dict[str, Any]:
        return {name: health.state for name, health in self.newest.items()}
