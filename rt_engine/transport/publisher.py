"""One PUB socket a service, and the service's own bounded path to the recorder."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable
from typing import TypedDict

import zmq

from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.messages import Header, encode
from rt_engine.transport.sockets import Part, bind, connect, send_parts

Payload = bytes | memoryview
Parts = list[Part]
_SHARED_BYTES = 64 * 1024
"""From here on a payload is copied once for all sockets, and counted by those that still need it."""


class Stamp(TypedDict):
    """The keys that every header begins with."""

    session: str
    source: str
    host: str
    boot_id: str
    seq: int
    t_sent_ns: int


class Publisher:
    """Numbers, encodes and sends the messages of one service.

    Subscribers that are too slow lose messages (they see it in `seq`). The recorder has a queue of its own:
    what does not fit there is counted in `recorder_dropped`, or waited for where `lossless` is set.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        recorder_endpoint: str | None,
        *,
        source: str,
        session: str,
        clock: Clock,
        queue: int = 1000,
        lossless: bool = False,
        interrupted: Callable[[], bool] = lambda: False,
        affinity: int = 0,
        recorder_queue: int | None = None,
    ) -> None:
        self._pub = bind(context, zmq.PUB, endpoint, queue, affinity=affinity)
        self._recorder = None
        if recorder_endpoint:
            self._recorder = connect(context, zmq.PUSH, recorder_endpoint, recorder_queue or queue, affinity=affinity)
        self._source = source
        self._session = session
        self._clock = clock
        self._host = socket.gethostname()
        self._boot_id = uuid.uuid4().hex[:12]
        self._seq: dict[str, int] = {}
        self._lossless = lossless
        self._interrupted = interrupted
        self.recorder_dropped = 0

    @property
    def n_dropped(self) -> int:
        """Messages that somebody who is to have all did not get, for want of room."""
        return self.recorder_dropped

    def stamp(self, topic: str) -> Stamp:
        """Common keys of the next message on `topic`; each call takes one sequence number."""
        seq = self._seq.get(topic, 0)
        self._seq[topic] = seq + 1
        return {
            "session": self._session,
            "source": self._source,
            "host": self._host,
            "boot_id": self._boot_id,
            "seq": seq,
            "t_sent_ns": self._clock.now_ns(),
        }

    def send(self, topic: str, header: Header, payload: Payload | None = None, *, record: bool = True) -> None:
        """Publish one message and hand it to the recorder. `payload` is copied before this returns."""
        self.pass_on(self.parts(topic, encode(header), payload), record=record)

    @staticmethod
    def parts(topic: str, header: bytes, payload: Payload | None) -> Parts:
        """A message that no longer needs the caller's memory; a long payload is copied once for all sockets."""
        parts: Parts = [topic.encode(), header]
        if payload is not None:
            parts.append(bytes(payload) if len(payload) < _SHARED_BYTES else zmq.Frame(payload, copy=True))
        return parts

    def pass_on(self, parts: Parts, *, record: bool = True) -> None:
        """Publish a message that `parts` has made, and hand it to the recorder."""
        send_parts(self._pub, parts)
        if record and self._recorder is not None:
            self._send_to_recorder(parts)

    def _send_to_recorder(self, parts: Parts) -> None:
        if self._recorder is not None:
            self._push(self._recorder, parts)

    def _push(self, recorder: zmq.Socket[bytes], parts: Parts) -> None:
        """To the recorder, over a socket that is bounded: counted if it does not fit, or waited for."""
        while True:
            try:
                send_parts(recorder, parts, waits=False)
                return
            except zmq.Again:
                if not self._lossless or self._interrupted():
                    self.recorder_dropped += 1
                    return
                recorder.poll(100, zmq.POLLOUT)

    def close(self, linger_ms: int = 1000) -> None:
        """Close both sockets, giving queued messages `linger_ms` to leave."""
        self._pub.close(linger=linger_ms)
        if self._recorder is not None:
            self._recorder.close(linger=linger_ms)
