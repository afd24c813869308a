"""All of MQTT in the telemetry service: the link, the digest that goes out, the commands that come in."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable

import zmq

from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S, Clock
from rt_engine.interfaces.control import Role
from rt_engine.interfaces.messages import Header
from rt_engine.interfaces.mqtt_config import MqttConfig
from rt_engine.interfaces.mqtt_schema import Status, encode_published, root_topic
from rt_engine.services.mqtt_commands import MqttCommands
from rt_engine.services.setup import Setup
from rt_engine.services.telemetry_digest import TelemetryDigest
from rt_engine.transport.asking import Asker
from rt_engine.transport.mqtt_link import LinkState, MqttLink
from rt_engine.transport.mqtt_outbox import MqttOutbox, Outgoing
from rt_engine.transport.sockets import connect_impatient

_LINK_AFTER_NS = NS_PER_S
"""The first news of the broker waits until those who read the log are connected."""
_STATUS = "status"


class MqttDesk:
    """Belongs to the loop of the telemetry service.

    Parameters
    ----------
    setup : Setup
    config : MqttConfig
    context : zmq.Context
    clock : Clock
    log : callable
        Takes level and text, for the operator.
    refused : callable
        Takes who was refused what, for the log.

    Attributes
    ----------
    sockets : tuple of zmq.Socket
        To be polled; `serve` reads them.
    """

    def __init__(
        self,
        setup: Setup,
        config: MqttConfig,
        context: zmq.Context[zmq.Socket[bytes]],
        clock: Clock,
        log: Callable[[str, str], None],
        refused: Callable[[str], None],
    ) -> None:
        self._setup, self._clock, self._log = setup, clock, log
        rig = setup.rig_config()
        root = root_topic(config.prefix, rig.name)
        self._news: queue.SimpleQueue[tuple[LinkState, str]] = queue.SimpleQueue()
        self._outbox = MqttOutbox()
        self._digest = TelemetryDigest(self._outbox, setup.session, clock.now_ns(), self._wall_ms)
        self._incoming: zmq.Socket[bytes] = context.socket(zmq.PULL)
        self._incoming.bind(MqttLink.commands_endpoint)
        self._askers = [
            Asker(connect_impatient(context, rig.ports.endpoint(name)), role, clock, secret)
            for name, role, secret in (
                ("control", Role.SERVICE, setup.secret),
                ("stimulation_control", Role.VIEWER, ""),
            )
        ]
        self.sockets = (self._incoming, *(asker.socket for asker in self._askers))
        self._commands = MqttCommands(
            config,
            root,
            self._outbox,
            ask=self._askers[0].ask,
            trip=self._askers[1].ask,
            stamp=lambda: {"session": setup.session, "t_unix_ms": self._wall_ms(clock.now_ns())},
            wall_ms=lambda: time.time_ns() // NS_PER_MS,
            refused=refused,
        )
        self._link = MqttLink(
            context,
            config,
            root,
            f"spikeloop-{rig.name}",
            self._outbox,
            online=self._status("online"),
            offline=self._status("offline"),
            lost=self._status("lost"),
            said=lambda state, text: self._news.put((state, text)),
        )
        self._link_due_ns: int | None = clock.now_ns() + _LINK_AFTER_NS

    @property
    def waiting(self) -> int:
        """Messages that wait for the broker."""
        return len(self._outbox)

    def serve(self) -> None:
        """Take commands, and the replies to those that were handed on."""
        while self._incoming.poll(0):
            topic, payload, retained = self._incoming.recv_multipart()
            self._commands.take(topic.decode(errors="replace"), payload, retained == b"1", self._clock.now_ns())
        for asker in self._askers:
            asker.serve()
        self._digest.mqtt_refused = self._commands.refused + self._link.refused_commands

    def take(self, topic: str, header: Header, payload: bytes) -> None:
        """Fold in one message of the rig."""
        self._digest.take(topic, header, payload, self._clock.now_ns())

    def tick(self) -> None:
        """Publish what is due; tell the operator what became of the link."""
        now_ns = self._clock.now_ns()
        if self._link_due_ns is not None and now_ns >= self._link_due_ns:
            self._link_due_ns = None
            self._link.start()
        self._digest.tick(now_ns)
        self._link.wake()
        while not self._news.empty():
            state, text = self._news.get()
            self._log("info" if state is LinkState.CONNECTED else "warning", text)

    def close(self) -> None:
        """End the link in order."""
        self._link.close()
        self._incoming.close()
        for asker in self._askers:
            asker.close()

    def _wall_ms(self, t_ns: int) -> int:
        return (self._setup.t_wall_ns + t_ns - self._setup.t_monotonic_ns) // NS_PER_MS

    def _status(self, state: str) -> Outgoing:
        told = Status(session=self._setup.session, t_unix_ms=self._wall_ms(self._clock.now_ns()), state=state)
        return Outgoing(_STATUS, encode_published(told), qos=1, retain=True)
