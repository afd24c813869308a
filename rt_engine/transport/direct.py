"""A straight way from one program to the next on the same computer: one TCP stream and no thread in between.

A message on a ZeroMQ socket wakes three threads before its reader has it (the sender's, the receiver's, the reader);
on a computer that is busy each of them waits for its turn. Here the sender writes and the reader is woken.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Sequence

from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.errors import ServiceError

_HEAD = struct.Struct("<III")
"""Length of topic, header and payload."""
HELLO = b"hello"
_MOST_BYTES = 16 * 1024 * 1024
_RETRY_NS = NS_PER_S // 10
_GREETING_NS = 2 * NS_PER_S
_CHUNK_BYTES = 256 * 1024
_MOST_PEERS = 8

Message = tuple[bytes, bytes, bytes]


def _address(endpoint: str) -> tuple[str, int]:
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return host, int(port)


def listen_at(endpoint: str) -> socket.socket:
    """A socket that others connect to and that nothing waits for.

    Raises
    ------
    ServiceError
        The port is taken.
    """
    try:
        listener = socket.create_server(_address(endpoint))
    except OSError as error:
        raise ServiceError(
            f"port {endpoint} cannot be used: {error.strerror}",
            "another run may be alive on this computer; stop it, or set other ports in the rig file (key ports)",
        ) from error
    listener.setblocking(False)
    return listener


class DirectSender:
    """Gives every message to whoever is connected; never waits.

    Parameters
    ----------
    endpoint : str
        ``tcp://host:port`` of this computer.
    session : str
        Said first to everybody who connects.

    Attributes
    ----------
    dropped : int
        Messages that somebody did not get because he reads too slowly.

    Raises
    ------
    ServiceError
        The port is taken.
    """

    def __init__(self, endpoint: str, session: str) -> None:
        self._session = session.encode()
        self._peers: list[Peer] = []
        self.dropped = 0
        self._listener = listen_at(endpoint)

    def admit(self) -> None:
        """Let in who has come since, and turn away whom there is no room for; to be called now and then."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            made, _ = self._listener.accept()
            if len(self._peers) == _MOST_PEERS:
                made.close()
                return
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(made)
            peer.send(packed((HELLO, self._session)))
            self._peers.append(peer)

    def send(self, parts: Sequence[bytes]) -> bool:
        """Send topic, header and payload to all; false if nobody is connected."""
        if not self._peers:
            return False
        data = packed(parts)
        for peer in self._peers:
            self.dropped += not peer.send(data)
        if any(peer.is_gone for peer in self._peers):
            self._peers = [peer for peer in self._peers if not peer.is_gone]
        return bool(self._peers)

    def close(self) -> None:
        """Close all."""
        for peer in self._peers:
            peer.close()
        self._peers.clear()
        self._listener.close()


class Peer:
    """One reader; the rest of a message that did not fit into his buffer waits, whole messages after it are dropped."""

    def __init__(self, made: socket.socket) -> None:
        self._socket = made
        self._rest = b""
        self.is_gone = False

    def send(self, data: bytes) -> bool:
        """Send a message that `packed` has made; false if it was dropped."""
        try:
            if self._rest:
                self._rest = self._rest[self._socket.send(self._rest) :]
            if self._rest:
                return False
            self._rest = data[self._socket.send(data) :]
        except BlockingIOError:
            return False
        except OSError:
            self.close()
        return True

    def close(self) -> None:
        """Hang up."""
        self.is_gone = True
        self._socket.close()


def packed(parts: Sequence[bytes]) -> bytes:
    """Topic, header and payload as they stand in the stream."""
    topic, header, payload = (*parts, b"")[:3]
    return b"".join((_HEAD.pack(len(topic), len(header), len(payload)), topic, header, payload))


class DirectReceiver:
    """Reads what a `DirectSender` of the same session sends; connects by itself, and again when the other is gone.

    Parameters
    ----------
    endpoint : str
    session : str
        A sender of another session is not listened to.
    clock : Clock
    greets : bool
        Name the session to the sender, who waits for that.

    Attributes
    ----------
    socket : socket.socket or None
        To be polled; None while nobody is there.
    """

    def __init__(self, endpoint: str, session: str, clock: Clock, *, greets: bool = False) -> None:
        self._address = _address(endpoint)
        self._session = session.encode()
        self._clock = clock
        self._retry_ns = self._greet_by_ns = 0
        self._waiting = bytearray()
        self._chunk = memoryview(bytearray(_CHUNK_BYTES))
        self._is_known = False
        self._greeting = packed((HELLO, self._session)) if greets else b""
        self._unsaid = b""
        self.socket: socket.socket | None = None

    @property
    def is_open(self) -> bool:
        """True while a sender of this session is connected."""
        return self._is_known

    def attend(self) -> None:
        """Connect if it is time to, without waiting; to be called now and then."""
        now_ns = self._clock.now_ns()
        if self.socket is not None:
            if not self._is_known and now_ns > self._greet_by_ns:
                self.close()
            elif self._unsaid:
                self._greet(self.socket)
            return
        if now_ns < self._retry_ns:
            return
        self._retry_ns = now_ns + _RETRY_NS
        self.socket = made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.connect_ex(self._address)  # what comes of it shows when it is read
        self._greet_by_ns = now_ns + _GREETING_NS
        self._unsaid = self._greeting

    def waiting(self) -> bool:
        """True if something has come that has not been taken."""
        if self._waiting:
            return True
        with contextlib.suppress(OSError):
            return self.socket is not None and bool(self.socket.recv(1, socket.MSG_PEEK))
        return False

    def _greet(self, to: socket.socket) -> None:
        try:
            self._unsaid = self._unsaid[to.send(self._unsaid) :]
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # else still connecting
                self.close()

    def take(self) -> Message | None:
        """The next whole message; None if there is none, or the sender has gone (`socket` is None then)."""
        while (message := self._next()) is None or message[0] == HELLO:
            if message is not None:
                self._is_known = message[1] == self._session
                if not self._is_known:
                    self.close()
                    return None
            elif not self._read():
                return None
        return message

    def _next(self) -> Message | None:
        waiting = self._waiting
        if len(waiting) < _HEAD.size:
            return None
        n_topic, n_header, n_payload = _HEAD.unpack_from(waiting)
        if n_topic + n_header + n_payload > _MOST_BYTES or not (self._is_known or n_topic == len(HELLO)):
            self.close()
            return None
        first = _HEAD.size + n_topic
        second, end = first + n_header, first + n_header + n_payload
        if len(waiting) < end:
            return None
        message = bytes(waiting[_HEAD.size : first]), bytes(waiting[first:second]), bytes(waiting[second:end])
        del waiting[:end]
        return message

    def _read(self) -> bool:
        """Take in what has come; false if nothing has."""
        if self.socket is None:
            return False
        try:
            n_bytes = self.socket.recv_into(self._chunk)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.ENOTCONN and not self._is_known:
                return False  # still connecting
            n_bytes = 0
        if not n_bytes:
            self.close()
            return False
        self._waiting += self._chunk[:n_bytes]
        return True

    def close(self) -> None:
        """Hang up; `attend` connects again later."""
        if self.socket is not None:
            self.socket.close()
        self.socket, self._is_known = None, False
        self._waiting.clear()
        self._retry_ns = self._clock.now_ns() + _RETRY_NS
