"""Commands to the rig and their acknowledgement, beside the window's own loop."""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import zmq

from gui.endpoints import Endpoints
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S, Clock
from rt_engine.interfaces.control import Request, Role, decode_reply, encode_control
from rt_engine.interfaces.errors import MessageError
from rt_engine.transport.sockets import connect_impatient

_POLL_MS = 15
_NOT_CONNECTED = "no rig is connected"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one command.

    Attributes
    ----------
    cmd : str
    ok : bool
    result : dict
        Of the program that carried it out.
    message, remedy : str
        Why not, and what to do.
    took_ms : float
        From sending to the answer.
    """

    cmd: str
    ok: bool
    result: dict[str, Any] = field(default_factory=dict)
    message: str = ""
    remedy: str = ""
    took_ms: float = 0.0

    def text(self) -> str:
        """One line for people."""
        if self.ok:
            return f"{self.cmd}: done"
        return f"{self.cmd}: {self.message}" + (f" — {self.remedy}" if self.remedy else "")


OnAnswer = Callable[[Answer], None]


@dataclass(slots=True)
class _Pending:
    cmd: str
    on_answer: OnAnswer
    t_sent_ns: int
    timeout_ns: int


class CommandLink:
    """A thread that sends commands one by one; `deliver` hands the answers out in the thread that calls it."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoints: Endpoints, clock: Clock) -> None:
        self._context, self._endpoints, self._clock = context, endpoints, clock
        self._outgoing: queue.SimpleQueue[tuple[str, dict[str, Any], OnAnswer, float]] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[OnAnswer, Answer]] = queue.SimpleQueue()
        self._pending: dict[str, _Pending] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="spikeloop-window-commands", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def send(self, cmd: str, args: dict[str, Any], on_answer: OnAnswer, timeout_s: float = 8.0) -> None:
        """Queue one command for the supervisor; `on_answer` is called by `deliver`, exactly once."""
        self._outgoing.put((cmd, args, on_answer, timeout_s))

    def deliver(self) -> int:
        """Call what waits for the answers that have come; returns their number."""
        n = 0
        while not self._answers.empty():
            on_answer, answer = self._answers.get()
            on_answer(answer)
            n += 1
        return n

    def _work(self) -> None:
        socket = connect_impatient(self._context, self._endpoints.of("control"))
        try:
            while not self._stopping.is_set():
                if socket.poll(_POLL_MS):
                    self._take_reply(socket.recv())
                while not self._outgoing.empty():
                    self._send_one(socket, *self._outgoing.get())
                self._give_up_late()
        finally:
            socket.close()

    def _send_one(
        self, socket: zmq.Socket[bytes], cmd: str, args: dict[str, Any], on_answer: OnAnswer, timeout_s: float
    ) -> None:
        request = Request(id=uuid.uuid4().hex, role=Role.OPERATOR, cmd=cmd, args=args)
        try:
            socket.send(encode_control(request), zmq.NOBLOCK)
        except zmq.Again:
            self._answers.put((on_answer, Answer(cmd, False, message=_NOT_CONNECTED, remedy="start a run first")))
            return
        self._pending[request.id] = _Pending(cmd, on_answer, self._clock.now_ns(), int(timeout_s * NS_PER_S))

    def _take_reply(self, data: bytes) -> None:
        try:
            reply = decode_reply(data)
        except MessageError:
            return
        pending = self._pending.pop(reply.id, None)
        if pending is None:
            return
        took_ms = (self._clock.now_ns() - pending.t_sent_ns) / NS_PER_MS
        error = reply.error
        answer = Answer(
            pending.cmd,
            reply.ok,
            reply.result or {},
            error.message if error else "",
            error.remedy if error else "",
            took_ms,
        )
        self._answers.put((pending.on_answer, answer))

    def _give_up_late(self) -> None:
        now_ns = self._clock.now_ns()
        for request_id, pending in list(self._pending.items()):
            if now_ns - pending.t_sent_ns > pending.timeout_ns:
                del self._pending[request_id]
                text = f"no answer in {pending.timeout_ns / NS_PER_S:g} s"
                self._answers.put(
                    (pending.on_answer, Answer(pending.cmd, False, message=text, remedy="look at the loop's health"))
                )
