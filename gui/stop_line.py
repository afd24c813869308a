"""STOP: a trip sent straight from the window's own thread to the stimulation service, past everything else."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import Enum

import zmq

from gui.endpoints import Endpoints
from rt_engine.interfaces.clock import NS_PER_MS, Clock
from rt_engine.interfaces.control import Request, Role, decode_reply, encode_control
from rt_engine.interfaces.errors import MessageError
from rt_engine.transport.sockets import connect_impatient

CONFIRM_WITHIN_NS = 500 * NS_PER_MS


class StopState(Enum):
    """How far a STOP has come."""

    IDLE = "idle"
    SENT = "sent"
    CONFIRMED = "confirmed"
    UNCONFIRMED = "unconfirmed"


@dataclass(slots=True)
class _Way:
    socket: zmq.Socket[bytes]
    name: str


class StopLine:
    """Sends `trip` to the stimulation service's own port, and to the supervisor as a second way.

    Call it from one thread only. Neither method waits.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoints: Endpoints, clock: Clock) -> None:
        self._clock, self._is_local = clock, endpoints.is_local
        names = ("stimulation_control", "control")
        self._ways = [_Way(connect_impatient(context, endpoints.of(name)), name) for name in names]
        self._asked: set[str] = set()
        self._t_sent_ns = 0
        self.state = StopState.IDLE
        self.took_ms = float("nan")

    def stop(self, text: str) -> int:
        """Send the trip; returns over how many ways it left this computer."""
        self._asked.clear()
        self._t_sent_ns, self.state, self.took_ms = self._clock.now_ns(), StopState.SENT, float("nan")
        # Another computer has another clock: only here the rig can tell how long it took from the press to the dark.
        args = {"text": text} | ({"t_asked_ns": self._t_sent_ns} if self._is_local else {})
        for way in self._ways:
            request = Request(id=uuid.uuid4().hex, role=Role.OPERATOR, cmd="trip", args=args)
            try:
                way.socket.send(encode_control(request), zmq.NOBLOCK)
            except zmq.Again:
                continue
            self._asked.add(request.id)
        if not self._asked:
            self.state = StopState.UNCONFIRMED
        return len(self._asked)

    def check(self) -> StopState:
        """Take what was answered; call it in every turn."""
        for way in self._ways:
            while way.socket.poll(0):
                self._take(way.socket.recv())
        if self.state is StopState.SENT and self._clock.now_ns() - self._t_sent_ns > CONFIRM_WITHIN_NS:
            self.state = StopState.UNCONFIRMED
        return self.state

    def _take(self, data: bytes) -> None:
        try:
            reply = decode_reply(data)
        except MessageError:
            return
        if reply.id not in self._asked or not reply.ok or self.state is StopState.CONFIRMED:
            return
        self.state = StopState.CONFIRMED
        self.took_ms = (self._clock.now_ns() - self._t_sent_ns) / NS_PER_MS

    def close(self) -> None:
        """Close the sockets."""
        for way in self._ways:
            way.socket.close()
