"""Messages of the source for inference, each once and in order, whichever of the two ways it comes."""

from __future__ import annotations

from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.transport.frame_inbox import Arrival, FrameInbox
from rt_engine.transport.straight_frames import StraightInbox

_MEETING_NS = NS_PER_S
"""Messages that were on their way when the straight way opened are awaited for so long."""


class FrameWays:
    """Joins socket and straight way.

    The source sends every message to both until told otherwise, the straight way first. So the straight way is followed
    from where its first message is met on the socket, and nothing is lost, doubled or overtaken. When it ends, what was
    not on it comes from the socket.

    Parameters
    ----------
    inbox : FrameInbox
    straight : StraightInbox or None
    clock : Clock

    Attributes
    ----------
    is_straight : bool
        Messages come straight.
    """

    def __init__(self, inbox: FrameInbox, straight: StraightInbox | None, clock: Clock) -> None:
        self._inbox, self._straight, self._clock = inbox, straight, clock
        self._message: Arrival | None = None
        self._first: Arrival | None = None
        self._meet_by_ns = 0
        self._last: dict[tuple[str, str], tuple[str, int]] = {}
        self.is_straight = False

    def waiting(self) -> bool:
        """True if there is a message."""
        heads = self._message is not None or self._first is not None
        return heads or self._inbox.waiting() or (self._straight is not None and self._straight.waiting())

    def take(self) -> Arrival | None:
        """The next message; None if nothing waits.

        Raises
        ------
        MessageError
            It cannot be used; it has been taken.
        """
        if self._straight is None:
            return self._inbox.take()
        while (arrival := self._next(self._straight)) is not None:
            if self._is_new(arrival):
                return arrival
        return None

    def _next(self, straight: StraightInbox) -> Arrival | None:
        # The socket first: what is there has been on the straight way before, if it is on it at all.
        if self._message is None:
            self._message = self._inbox.take()
        if self._first is None:
            self._first = straight.take()
            self._meet_by_ns = self._clock.now_ns() + _MEETING_NS
        if not straight.is_open:
            self._first, self.is_straight = None, False
        message, first = self._message, self._first
        if first is None:
            self._message = None
            return message
        if not self.is_straight:
            if not self._meet(message, first):
                self._message = None
                return message
            self.is_straight = True
            straight.follow()
        self._first = None
        return first

    def _meet(self, message: Arrival | None, first: Arrival) -> bool:
        """True if all that came before the first message of the straight way has been taken."""
        if message is None:
            return self._clock.now_ns() >= self._meet_by_ns
        one, other = message.header, first.header
        same = (message.topic, one.source, one.boot_id) == (first.topic, other.source, other.boot_id)
        return same and one.seq >= other.seq

    def _is_new(self, arrival: Arrival) -> bool:
        """False for a message that has come the other way already."""
        header = arrival.header
        key = arrival.topic, header.source
        boot_id, seq = self._last.get(key, ("", -1))
        if header.boot_id == boot_id and header.seq <= seq:
            return False
        self._last[key] = header.boot_id, header.seq
        return True
