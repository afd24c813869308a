"""What waits for the MQTT broker: bounded, whether it is there or not."""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

MAX_EVENTS = 2000


class Outgoing(NamedTuple):
    """One message for the broker.

    Attributes
    ----------
    topic : str
        Below the root of the rig.
    payload : bytes
    qos : int
    retain : bool
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


class MqttOutbox:
    """Written by the service's loop, read by the link's thread.

    Of what is as it is now (`put_latest`) only the newest of each topic waits; of what happened (`put_event`) the
    newest `MAX_EVENTS`, in order. What is pushed out is counted in `dropped`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: deque[Outgoing] = deque()
        self._latest: dict[str, Outgoing] = {}
        self._retained: dict[str, Outgoing] = {}
        self.dropped = 0

    def __len__(self) -> int:
        with self._lock:
            return len(self._events) + len(self._latest)

    def put_latest(self, message: Outgoing) -> None:
        """A value that replaces an older one of its topic."""
        with self._lock:
            self._latest[message.topic] = message
            if message.retain:
                self._retained[message.topic] = message

    def put_event(self, message: Outgoing) -> None:
        """Something that happened."""
        with self._lock:
            if len(self._events) >= MAX_EVENTS:
                self._events.popleft()
                self.dropped += 1
            self._events.append(message)

    def refill_retained(self) -> None:
        """A broker that is new, or has forgotten, is to be told again what it shall retain."""
        with self._lock:
            self._latest = self._retained | self._latest

    def first(self) -> Outgoing | None:
        """What is to be sent next; it stays until `sent` says that it has gone."""
        with self._lock:
            if self._events:
                return self._events[0]
            return next(iter(self._latest.values()), None)

    def sent(self, message: Outgoing) -> None:
        """Forget `message`, unless a newer one has taken its place meanwhile."""
        with self._lock:
            if self._events and self._events[0] is message:
                self._events.popleft()
            elif self._latest.get(message.topic) is message:
                del self._latest[message.topic]
