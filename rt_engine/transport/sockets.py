"""ZeroMQ sockets as spikeloop uses them: bounded queues, bounded messages, no lingering, keys where there are any."""

from __future__ import annotations

from collections.abc import Sequence

import zmq

from rt_engine.interfaces.control import Role
from rt_engine.interfaces.errors import ConfigError, ServiceError
from rt_engine.transport.security import ANY_KEY, is_loopback, prepare_bind, prepare_connect

QUEUE_BYTES = 128 * 1024 * 1024
"""Bytes that one send or receive queue of frames may hold."""

MAX_CONTROL_BYTES = 16 * 1024 * 1024
"""Longest request or reply; whoever sends more is disconnected."""
MAX_MESSAGE_BYTES = 256 * 1024 * 1024
"""Longest part of any other message."""
_ABSENT_MS = 2000
"""Silence of another computer after which a connection is given up and made anew, so that a cable that is back is used
at once and not when TCP next tries."""
_HANDSHAKE_MS = 5000
_CONTROL = (zmq.ROUTER, zmq.DEALER)
_WAITS, _MORE, _NOBLOCK = int(zmq.POLLIN), int(zmq.SNDMORE), int(zmq.NOBLOCK)
Part = bytes | memoryview | zmq.Frame


def queue_length(message_bytes: int) -> int:
    """Messages of `message_bytes` that fit into one bounded queue, at least 64."""
    return max(64, QUEUE_BYTES // max(1, message_bytes))


def send_parts(socket: zmq.Socket[bytes], parts: Sequence[Part], *, waits: bool = True) -> None:
    """Send one message: `send_multipart` for the loop, in a third of its time, for its flags are no enumerations.

    Raises
    ------
    zmq.Again
        There is no room, and it was not to be waited for.
    """
    flags = 0 if waits else _NOBLOCK
    for part in parts[:-1]:
        socket.send(part, flags | _MORE)
    socket.send(parts[-1], flags)


def take_parts(socket: zmq.Socket[bytes]) -> list[zmq.Frame] | None:
    """The next message, None if nothing waits: `poll` and `recv_multipart` for the loop, in a third of their time."""
    return await_parts(socket) if is_waiting(socket) else None


def await_parts(socket: zmq.Socket[bytes]) -> list[zmq.Frame]:
    """The next message; waits for it."""
    part = socket.recv(copy=False)
    parts = [part]
    while part.more:
        part = socket.recv(copy=False)
        parts.append(part)
    return parts


def is_waiting(socket: zmq.Socket[bytes]) -> bool:
    """True if there is a message; never waits."""
    return bool(socket.getsockopt(zmq.EVENTS) & _WAITS)  # type: ignore[operator]  # of an option that is a number


def bind(
    context: zmq.Context[zmq.Socket[bytes]],
    kind: int,
    endpoint: str,
    queue: int = 1000,
    *,
    affinity: int = 0,
    admits: frozenset[Role] = ANY_KEY,
) -> zmq.Socket[bytes]:
    """Socket bound to `endpoint` with both queues bounded to `queue` messages.

    `affinity` has a bit for each of the context's own threads that may serve it; 0 is any. Where there are keys, those
    of other roles than `admits` are turned away.

    Raises
    ------
    ConfigError
        There are no keys, and the endpoint is beyond loopback.
    ServiceError
        The port is taken.
    """
    socket = _socket(context, kind, queue, endpoint)
    socket.setsockopt(zmq.AFFINITY, affinity)
    try:
        prepare_bind(context, socket, endpoint, admits)
        socket.bind(endpoint)
    except ConfigError:
        socket.close()
        raise
    except zmq.ZMQError as error:
        socket.close()
        raise ServiceError(
            f"port {endpoint} cannot be used: {error.strerror or error}",
            "another run may be alive on this computer; stop it, or set other ports in the rig file (key ports)",
        ) from error
    return socket


def connect(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, endpoint: str, queue: int = 1000, *, affinity: int = 0
) -> zmq.Socket[bytes]:
    """Socket connected to `endpoint` with both queues bounded to `queue` messages; `affinity` as for `bind`."""
    socket = _socket(context, kind, queue, endpoint)
    socket.setsockopt(zmq.AFFINITY, affinity)
    prepare_connect(context, socket)
    socket.connect(endpoint)
    return socket


def connect_impatient(context: zmq.Context[zmq.Socket[bytes]], endpoint: str, queue: int = 100) -> zmq.Socket[bytes]:
    """DEALER that sends only to a peer that is there: no command waits for a rig that starts an hour later."""
    socket = _socket(context, zmq.DEALER, queue, endpoint)
    socket.setsockopt(zmq.IMMEDIATE, 1)
    prepare_connect(context, socket)
    socket.connect(endpoint)
    return socket


def _socket(context: zmq.Context[zmq.Socket[bytes]], kind: int, queue: int, endpoint: str) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, queue)
    socket.setsockopt(zmq.RCVHWM, queue)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_CONTROL_BYTES if kind in _CONTROL else MAX_MESSAGE_BYTES)
    if not is_loopback(endpoint):
        socket.setsockopt(zmq.HEARTBEAT_IVL, _ABSENT_MS // 4)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _ABSENT_MS)
        socket.setsockopt(zmq.CONNECT_TIMEOUT, _ABSENT_MS)
        socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
    return socket
