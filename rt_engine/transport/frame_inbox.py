"""Frames off the wire into memory that is there already."""

from __future__ import annotations

from typing import NamedTuple

import zmq

from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.messages import FrameHeader, Header, decode
from rt_engine.transport.sockets import is_waiting


class Arrival(NamedTuple):
    """One message.

    Attributes
    ----------
    topic : str
    header : Header
    payload : memoryview or None
        Bytes of a frame, in the inbox's own memory: valid until the next message of its topic is
        taken. None without a payload.
    t_received_ns : int
    """

    topic: str
    header: Header
    payload: memoryview | None
    t_received_ns: int


def pixel_bytes(header: FrameHeader) -> int:
    """Bytes of the pixels that a header tells of."""
    return 2 * header.n_lines * header.pixels_per_line


def require_fit(header: FrameHeader, received: int) -> None:
    """Refuse pixels that are not as many as their header says.

    Raises
    ------
    MessageError
        They are fewer or more.
    """
    n_bytes = pixel_bytes(header)
    if received != n_bytes:
        raise MessageError(f"frame {header.frame}: payload of {received} bytes does not fit its header ({n_bytes})")


class FrameInbox:
    """Takes messages from a socket without waiting; payloads of a topic land in one buffer, made for its first frame.

    Parameters
    ----------
    socket : zmq.Socket
        A subscriber.
    clock : Clock

    Notes
    -----
    A payload longer than its header says is cut off by the socket; its true length is compared, so it is refused.
    """

    def __init__(self, socket: zmq.Socket[bytes], clock: Clock) -> None:
        self._socket = socket
        self._clock = clock
        self._buffers: dict[str, memoryview] = {}
        self._topics: dict[bytes, str] = {}

    def waiting(self) -> bool:
        """True if there is a message."""
        return is_waiting(self._socket)

    def take(self) -> Arrival | None:
        """The next message; None if nothing waits.

        Raises
        ------
        MessageError
            It cannot be used; it has been taken off the socket.
        """
        if not is_waiting(self._socket):
            return None
        topic_bytes = self._socket.recv()
        t_received_ns = self._clock.now_ns()
        header: Header | None = None
        try:
            if not self._socket.rcvmore:
                raise MessageError("a message without a header")
            topic = self._topic(topic_bytes)
            header = decode(topic, self._socket.recv())
            payload = self._payload(topic, header) if self._socket.rcvmore else None
        finally:
            while self._socket.rcvmore:
                self._socket.recv_into(bytearray())
        return Arrival(topic, header, payload, t_received_ns)

    def _topic(self, topic: bytes) -> str:
        known = self._topics.get(topic)
        if known is None:
            known = topic.decode(errors="replace")
            if len(self._topics) < 64:
                self._topics[topic] = known
        return known

    def _payload(self, topic: str, header: Header) -> memoryview:
        if not isinstance(header, FrameHeader):
            return memoryview(self._socket.recv())
        n_bytes = pixel_bytes(header)
        buffer = self._buffers.get(topic)
        if buffer is None or len(buffer) < n_bytes:
            self._buffers[topic] = buffer = memoryview(bytearray(n_bytes))
        received = self._socket.recv_into(buffer, nbytes=n_bytes) if n_bytes else 0
        require_fit(header, received)
        return buffer[:n_bytes]
