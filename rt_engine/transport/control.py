"""Control: requests and replies over ROUTER and DEALER sockets."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable
from typing import Any

import zmq

from rt_engine.interfaces.clock import NS_PER_MS, Clock, MonotonicClock
from rt_engine.interfaces.control import (
    UNUSABLE,
    Reply,
    Request,
    Role,
    decode_reply,
    decode_request,
    encode_control,
    failure,
    failure_of_arguments,
)
from rt_engine.interfaces.errors import MessageError, ServiceError, SpikeloopError
from rt_engine.transport.gate import Gate
from rt_engine.transport.refusals import Refusals
from rt_engine.transport.security import Guard
from rt_engine.transport.sockets import bind, connect, take_parts

_BATCH = 64
"""Requests answered in one turn, so that a flood of them keeps nothing else waiting."""
_PROBE_S = 1.0
Handler = Callable[[Request], dict[str, Any]]


class ControlServer:
    """A ROUTER that answers every request with the result of `handler`, or with the error it raised.

    Each request is carried out once, and with the role of the key it came with (`gate`).
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        handler: Handler,
        guard: Guard | None = None,
        refusals: Refusals | None = None,
        secret: str = "",
    ) -> None:
        self.socket = bind(context, zmq.ROUTER, endpoint)
        self._handler = handler
        self._gate = Gate(guard, refusals, secret)

    def serve(self) -> int:
        """Answer waiting requests, at most a batch of them; returns their number."""
        served = 0
        while served < _BATCH and (parts := take_parts(self.socket)) is not None:
            sender, *body = parts
            self.socket.send_multipart([sender.bytes, encode_control(self._answer(body))])
            served += 1
        return served

    def _answer(self, body: list[zmq.Frame]) -> Reply:
        return answer([part.bytes for part in body], lambda request: self._handler(self._gate.admit(request, body[0])))

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def answer(body: list[bytes], handler: Handler) -> Reply:
    """Reply to one request; errors of our tree, and what wrong arguments come to, become error replies."""
    request = None
    try:
        if len(body) != 1:
            raise MessageError("a control message has one part")
        request = decode_request(body[0])
        return Reply(id=request.id, ok=True, result=handler(request))
    except SpikeloopError as error:
        return failure("" if request is None else request.id, error)
    except UNUSABLE as error:
        if request is None:
            raise
        return failure_of_arguments(request, error)


class ControlClient:
    """A DEALER that sends one request at a time and waits for its reply."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        role: Role,
        clock: Clock | None = None,
    ) -> None:
        self._socket = connect(context, zmq.DEALER, endpoint)
        self._endpoint = endpoint
        self._role = role
        self._clock = clock or MonotonicClock()

    def request(self, cmd: str, args: dict[str, Any] | None = None, timeout_s: float = 5.0) -> dict[str, Any]:
        """Result of one command.

        Raises
        ------
        ServiceError
            Nobody answered within `timeout_s`, or the command was refused.
        """
        request = Request(id=uuid.uuid4().hex, role=self._role, cmd=cmd, args=args or {})
        self._socket.send(encode_control(request))
        deadline_ns = self._clock.now_ns() + int(timeout_s * 1000) * NS_PER_MS
        while (left_ms := (deadline_ns - self._clock.now_ns()) // NS_PER_MS) > 0:
            if not self._socket.poll(int(left_ms)):
                break
            reply = decode_reply(self._socket.recv())
            if reply.id != request.id:
                continue
            if reply.error is not None:
                raise ServiceError(reply.error.message, reply.error.remedy)
            return reply.result or {}
        raise self._silence(timeout_s)

    def _silence(self, timeout_s: float) -> ServiceError:
        """Why there may have been no answer: nobody is there, or whoever is does not know us."""
        text = f"no answer from {self._endpoint} in {timeout_s:g} s"
        try:
            _knock(self._endpoint)
        except ConnectionRefusedError:
            return ServiceError(
                f"{text}: nothing listens there",
                "is a run alive there? --rig names its rig file, --connect its computer",
            )
        except OSError as error:
            why = "it does not answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
            return ServiceError(
                f"{text}: no way to that computer ({why})",
                "is it on, is the address right (--connect, ports.host), and does a firewall let its ports through?",
            )
        return ServiceError(
            f"{text}, though something listens there",
            "a rig with keys turns away who has none, a revoked or another's: --rig, or --key; its log names them",
        )

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _knock(endpoint: str) -> None:
    """Open a connection and close it again.

    Raises
    ------
    OSError
        There is none to be had.
    """
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), _PROBE_S):
        pass
