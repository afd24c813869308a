"""Telemetry service: what the rig tells the world, and what behaviour tasks ask of it, off the path to light."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq

from rt_engine.interfaces.clock import NS_PER_MS
from rt_engine.interfaces.errors import MessageError, ServiceError
from rt_engine.interfaces.messages import Header, HealthHeader, LogHeader, decode
from rt_engine.interfaces.rig_config import ReplayMicroscope
from rt_engine.services.base import Service
from rt_engine.services.log_file import FILE_NAME, LogFile
from rt_engine.transport.sockets import connect, take_parts

if TYPE_CHECKING:
    from rt_engine.services.metrics import RigMetrics
    from rt_engine.services.mqtt_desk import MqttDesk

_BATCH = 256
"""Messages taken in one turn, so that a flood keeps nothing else waiting."""
_FOR_MQTT = ("state", "stim", "session", "rois", "spikes.")
_FOR_METRICS = ("state", "stim", "spikes.", "session")


class TelemetryService(Service):
    """Listens to health and log; with sections `mqtt` or `metrics` in the rig file to what else goes there.

    A replay tells nobody: what it decides has been decided long ago.
    """

    source = "telemetry"
    port = "telemetry"
    poll_ms = 100

    def open(self) -> None:
        """Subscribe, and begin to look for the broker."""
        self.newest: dict[str, HealthHeader] = {}
        ports = self.rig.ports
        self._sub = connect(self.context, zmq.SUB, ports.endpoint("acquisition"))
        for name in ("stimulation", "recording", "supervisor"):
            self._sub.connect(ports.endpoint(name))
        for plane in self.rig.planes_inferred:
            self._sub.connect(ports.inference_endpoint(plane))
        self.poller.register(self._sub, zmq.POLLIN)
        self.commands["status"] = self._status
        self._mqtt: MqttDesk | None = None
        self._metrics: RigMetrics | None = None
        self._log_file = LogFile(self.setup.path())
        topics = {"health", "log"}
        if not isinstance(self.rig.microscope, ReplayMicroscope):
            topics |= self._open_mqtt() | self._open_metrics()
        for topic in topics:
            self._sub.subscribe(topic.encode())

    def _open_mqtt(self) -> set[str]:
        """Topics that MQTT needs."""
        if self.rig.mqtt is None:
            return set()
        from rt_engine.services.mqtt_desk import MqttDesk

        self._mqtt = MqttDesk(self.setup, self.rig.mqtt, self.context, self.clock, self.log, self.refusals.note)
        for socket in self._mqtt.sockets:
            self.poller.register(socket, zmq.POLLIN)
        return set(_FOR_MQTT)

    def _open_metrics(self) -> set[str]:
        """Topics that Prometheus needs; a port that is taken is no reason to have no session."""
        if self.rig.metrics is None:
            return set()
        from rt_engine.services.metrics import RigMetrics

        metrics = RigMetrics()
        try:
            metrics.serve(self.rig.metrics.port)
        except ServiceError as error:
            self.log("warning", str(error))
            return set()
        self._metrics = metrics
        return set(_FOR_METRICS)

    def step(self, ready: dict[Any, int]) -> None:
        """Commands first, then waiting messages, then what is due."""
        if self._mqtt is not None:
            self._mqtt.serve()
        for _ in range(_BATCH):
            parts = take_parts(self._sub)
            if parts is None:
                break
            self._take([part.bytes for part in parts])
        if self._mqtt is not None:
            self._mqtt.tick()
            self.queue = self._mqtt.waiting

    def finish(self) -> None:
        """Say goodbye to the broker, and close everything."""
        if not hasattr(self, "_sub"):
            return
        if self._mqtt is not None:
            self._mqtt.close()
        if self._metrics is not None:
            self._metrics.close()
        self._log_file.close()
        self._sub.close()

    def _take(self, parts: list[bytes]) -> None:
        topic = parts[0].decode(errors="replace")
        try:
            header = decode(topic, parts[1] if len(parts) > 1 else b"")
        except MessageError:
            self.dropped += 1
            return
        if self._mqtt is not None:
            self._mqtt.take(topic, header, parts[2] if len(parts) > 2 else b"")
        self._keep(header)

    def told(self, header: HealthHeader | LogHeader) -> None:
        """Into the log file and the figures also what this service says."""
        if hasattr(self, "_log_file"):
            self._keep(header)

    def _keep(self, header: Header) -> None:
        """Fold in one message of the rig, ours too."""
        if isinstance(header, HealthHeader):
            self.newest[header.source] = header
        elif isinstance(header, LogHeader):
            self._write(header)
        if self._metrics is not None:
            self._metrics.take(header)

    def _write(self, header: LogHeader) -> None:
        t_ns = self.setup.t_wall_ns + header.t_sent_ns - self.setup.t_monotonic_ns
        lost = self._log_file.lost
        self._log_file.write(header, t_ns // NS_PER_MS)
        if self._log_file.lost > lost:
            self.dropped += 1
            if lost == 0:
                self.log("warning", f"{FILE_NAME} cannot be written; the journal has what is said")

    def _status(self, args: dict[str, Any]) -> dict[str, Any]:
        return {name: health.state for name, health in self.newest.items()}
