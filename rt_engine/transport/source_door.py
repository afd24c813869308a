"""Where a program of another computer delivers frames: a bound socket that only keys of role ``source`` may use."""

from __future__ import annotations

import zmq

from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.errors import SpikeloopError
from rt_engine.transport.security import SOURCES, peer_name, secure_rig
from rt_engine.transport.sockets import bind

LOOK_AGAIN_NS = NS_PER_S
"""A key that is revoked while its program is connected is refused within this time."""


class SourceDoor:
    """SUB socket that programs connect to.

    Parameters
    ----------
    context : zmq.Context
        Of this socket alone: it is given the rig's keys.
    endpoint : str
        ``tcp://host:port`` of this computer.
    queue : int
        Messages that may wait.
    keys : str or None
        Folder of the rig's keys; without it the endpoint has to be on loopback, and whoever is there may send.
    clock : Clock

    Attributes
    ----------
    socket : zmq.Socket
        Closed by whoever reads it.

    Raises
    ------
    ConfigError
        The keys cannot be read, or there are none and others could reach the endpoint.
    ServiceError
        The port is taken.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, queue: int, keys: str | None, clock: Clock
    ) -> None:
        self._clock = clock
        self._guard = secure_rig(context, keys)
        self._known: dict[str, tuple[bool, int]] = {}
        try:
            self.socket = bind(context, zmq.SUB, endpoint, queue, admits=SOURCES)
        except SpikeloopError:
            self.close()
            raise

    def refusal(self, part: zmq.Frame) -> str:
        """Why a message may not be taken; empty if it may. The key's file is read again once a second."""
        if self._guard is None:
            return ""
        name, now_ns = peer_name(part) or "", self._clock.now_ns()
        may, due_ns = self._known.get(name, (False, now_ns))
        if now_ns >= due_ns:
            may = self._guard.role_of(name) in SOURCES
            self._known[name] = (may, now_ns + LOOK_AGAIN_NS)
        return "" if may else f"the key {name!r} of {part.get('Peer-Address')} may send no frames any more"

    def refused(self) -> list[str]:
        """Who was turned away at the door since the last call, with address and reason."""
        return [] if self._guard is None else self._guard.take()

    def close(self) -> None:
        """End the thread that asks for keys."""
        if self._guard is not None:
            self._guard.close()
