"""How decisions come to stimulation: straight from the engine of this computer, else as everybody hears them."""

from __future__ import annotations

import socket

import zmq

from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.messages import SpikesHeader
from rt_engine.services.setup import Setup
from rt_engine.services.straight_ways import goes_straight
from rt_engine.transport.direct import DirectReceiver
from rt_engine.transport.sockets import take_parts

_TOPIC = b"spikes."


class SpikesInlet:
    """Messages for stimulation out of its SUB socket, and `spikes` out of the direct way while that is open.

    Parameters
    ----------
    setup : Setup
    sub : zmq.Socket
        Connected to the engine; this class subscribes it to ``spikes.`` while there is no direct way.
    poller : zmq.Poller
        That of the service.
    clock : Clock
    """

    def __init__(self, setup: Setup, sub: zmq.Socket[bytes], poller: zmq.Poller, clock: Clock) -> None:
        self._sub, self._poller = sub, poller
        self._direct: DirectReceiver | None = None
        self._polled: socket.socket | None = None
        self._is_straight = False
        self._last: dict[int, tuple[str, int]] = {}
        sub.subscribe(_TOPIC)
        if goes_straight(setup):
            self._direct = DirectReceiver(setup.rig_config().ports.endpoint("decisions"), setup.session, clock)

    def take(self) -> list[bytes] | None:
        """The next message; None if nothing waits. Decisions come before all else."""
        message = self._direct.take() if self._direct is not None else None
        if message is not None:
            return list(message)
        parts = take_parts(self._sub)
        return None if parts is None else [part.bytes for part in parts]

    def is_new(self, header: SpikesHeader) -> bool:
        """False for a decision that has come the other way already."""
        boot_id, seq = self._last.get(header.plane, ("", -1))
        if header.boot_id == boot_id and header.seq <= seq:
            return False
        self._last[header.plane] = header.boot_id, header.seq
        return True

    def attend(self) -> None:
        """Look after the connection; called in every turn, after the messages."""
        if self._direct is not None:
            self._direct.attend()
            self._follow(self._direct.socket, self._direct.is_open)

    def go_round(self) -> None:
        """From now on hear `spikes` in one order with `activity`, as a protocol that uses both needs them."""
        if self._direct is not None:
            self._direct.close()
            self._follow(None, False)
            self._direct = None

    def close(self) -> None:
        """Hang up."""
        self.go_round()
        self._sub.close()

    def _follow(self, now: socket.socket | None, is_straight: bool) -> None:
        if now is not self._polled:
            if self._polled is not None:
                self._poller.unregister(self._polled)
            if now is not None:
                self._poller.register(now, zmq.POLLIN)
            self._polled = now
        if is_straight is not self._is_straight:
            self._is_straight = is_straight
            if is_straight:
                self._sub.unsubscribe(_TOPIC)
            else:
                self._sub.subscribe(_TOPIC)
