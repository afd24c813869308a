"""Questions to a control port from a loop that may not wait."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import zmq

from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.control import Failure, Reply, Request, Role, decode_reply, encode_control
from rt_engine.interfaces.errors import MessageError
from rt_engine.transport.gate import SECRET
from rt_engine.transport.sockets import take_parts

OnReply = Callable[[Reply], None]


@dataclass(frozen=True, slots=True)
class _Open:
    on_reply: OnReply
    deadline_ns: int


class Asker:
    """A DEALER whose replies are handed out by `serve`. Nothing waits for a peer that is not there.

    Parameters
    ----------
    socket : zmq.Socket
        A DEALER, connected; closed by `close`.
    role : Role
    clock : Clock
    secret : str
        Of the run, for a service that asks as one.
    """

    def __init__(self, socket: zmq.Socket[bytes], role: Role, clock: Clock, secret: str = "") -> None:
        self.socket = socket
        self._secret = {SECRET: secret} if secret else {}
        self._role, self._clock = role, clock
        self._open: dict[str, _Open] = {}

    def ask(self, cmd: str, args: dict[str, Any], on_reply: OnReply, timeout_s: float = 10.0) -> None:
        """Send one request; `on_reply` is called exactly once, at the latest after `timeout_s`."""
        request = Request(id=uuid.uuid4().hex, role=self._role, cmd=cmd, args=args | self._secret)
        try:
            self.socket.send(encode_control(request), zmq.NOBLOCK)
        except zmq.Again:
            on_reply(_failed(request.id, "the run does not take commands at the moment"))
            return
        self._open[request.id] = _Open(on_reply, self._clock.now_ns() + int(timeout_s * NS_PER_S))

    def serve(self) -> None:
        """Hand out the replies that have come, and say what was not answered in time."""
        while (waiting := take_parts(self.socket)) is not None:
            parts = [part.bytes for part in waiting]
            try:
                reply = decode_reply(parts[-1])
            except MessageError:
                continue
            asked = self._open.pop(reply.id, None)
            if asked is not None:
                asked.on_reply(reply)
        now_ns = self._clock.now_ns()
        for request_id in [one for one, asked in self._open.items() if now_ns > asked.deadline_ns]:
            text = "no answer in time; it may still be carried out"
            self._open.pop(request_id).on_reply(_failed(request_id, text))

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def _failed(request_id: str, text: str) -> Reply:
    return Reply(id=request_id, ok=False, error=Failure(type="ServiceError", message=text))
