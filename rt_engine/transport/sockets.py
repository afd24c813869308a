"""ZeroMQ sockets as spikeloop uses them: bounded queues, no lingering, raw messages."""

from __future__ import annotations

import zmq

from rt_engine.interfaces.errors import ServiceError

QUEUE_BYTES = 128 * 1024 * 1024
"""Bytes that one send or receive queue of frames may hold."""

MAX_CONTROL_BYTES = 16 * 1024 * 1024
"""Longest request or reply."""


def queue_length(message_bytes: int) -> int:
    """Messages of `message_bytes` that fit into one bounded queue, at least 64."""
    return max(64, QUEUE_BYTES // max(1, message_bytes))


def bind(context: zmq.Context[zmq.Socket[bytes]], kind: int, endpoint: str, queue: int = 1000) -> zmq.Socket[bytes]:
    """Socket bound to `endpoint` with both queues bounded to `queue` messages.

    Raises
    ------
    ServiceError
        The port is taken.
    """
    socket = _socket(context, kind, queue)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        raise ServiceError(
            f"port {endpoint} cannot be used: {error.strerror or error}",
            "another run may be alive on this computer; stop it, or set other ports in the rig file (key ports)",
        ) from error
    return socket


def connect(context: zmq.Context[zmq.Socket[bytes]], kind: int, endpoint: str, queue: int = 1000) -> zmq.Socket[bytes]:
    """Socket connected to `endpoint` with both queues bounded to `queue` messages."""
    socket = _socket(context, kind, queue)
    socket.connect(endpoint)
    return socket


def connect_impatient(context: zmq.Context[zmq.Socket[bytes]], endpoint: str, queue: int = 100) -> zmq.Socket[bytes]:
    """DEALER that sends only to a peer that is there: no command waits for a rig that starts an hour later."""
    socket = _socket(context, zmq.DEALER, queue)
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_CONTROL_BYTES)
    socket.connect(endpoint)
    return socket


def _socket(context: zmq.Context[zmq.Socket[bytes]], kind: int, queue: int) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, queue)
    socket.setsockopt(zmq.RCVHWM, queue)
    return socket
