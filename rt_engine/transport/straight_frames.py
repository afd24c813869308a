"""The straight way of frames: pixels in shared memory, headers on a TCP stream, no thread in between.

The engine connects and names the session; the source makes a ring, tells its name, and from then on sends every message
both ways, until the engine has seen where the two streams meet (`frame_ways`) and says so in the ring.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import deque

from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.errors import MessageError, ServiceError
from rt_engine.interfaces.messages import FrameHeader, decode
from rt_engine.transport.direct import HELLO, DirectReceiver, Peer, listen_at, packed
from rt_engine.transport.frame_inbox import Arrival, require_fit
from rt_engine.transport.frame_ring import RING_BYTES, FrameRing, RingReader, RingShape

_RING = b"ring"
_SHAPE = struct.Struct("<QI")
_PLACE = struct.Struct("<IQQ")
"""Slot, number of the message, bytes of pixels."""
_GREETING_S = 2.0
_MOST_STRANGERS = 8
_TRY_AGAIN_S = 10.0
_MOST_LENT = 2
"""Frames of one topic that may be in use at the same time."""


class FrameSender:
    """The source's end. It never waits: what finds no free slot is dropped and counted, whole.

    Parameters
    ----------
    endpoint : str
        ``tcp://host:port`` of this computer.
    session : str
        Who connects has to know it.
    ring_bytes : int
        Frames that may wait, together.
    n_wanted : int
        Messages of pixels that shall be able to wait, where there is room for them.

    Attributes
    ----------
    dropped : int
        Messages that the engine did not get because it stood still for too long.
    why_not : str
        Why there is no shared memory; empty if there is, or nobody has asked for it. It is tried again now and then.

    Raises
    ------
    ServiceError
        The port is taken.
    """

    def __init__(self, endpoint: str, session: str, ring_bytes: int = RING_BYTES, n_wanted: int = 0) -> None:
        self._hello = packed((HELLO, session.encode()))
        self._ring_bytes, self._n_wanted = ring_bytes, n_wanted
        self._try_again_s = 0.0
        self._strangers: list[tuple[socket.socket, float]] = []
        self._peer: Peer | None = None
        self._ring: FrameRing | None = None
        self._made: FrameRing | None = None
        self._maker: threading.Thread | None = None
        self._frame_bytes = self._number = self.dropped = 0
        self.why_not = ""
        self._listener = listen_at(endpoint)

    def send(self, topic: bytes, header: bytes, pixels: memoryview | None) -> bool:
        """Send one message to the engine; true if it needs to be sent no other way.

        Parameters
        ----------
        topic, header : bytes
        pixels : memoryview or None
            Bytes; copied before this returns.
        """
        n_bytes = 0 if pixels is None else len(pixels)
        if n_bytes > self._frame_bytes:
            self._frame_bytes = n_bytes
            if self._ring is not None:
                self._hang_up()  # the engine comes back, to a ring that is large enough
        if self._peer is None or self._ring is None:
            self._attend()
        peer, ring = self._peer, self._ring
        if peer is None or ring is None:
            return False
        self._number += 1
        ring.settle()
        is_followed, place, slot = ring.is_followed, b"", None
        if pixels is not None:
            slot = ring.put(self._number, pixels)
            if slot is None:
                return self._drop(is_followed)
            place = _PLACE.pack(slot, self._number, n_bytes)
        if not peer.send(packed((topic, header, place))):
            if slot is not None:
                ring.take_back(slot)
            return self._drop(is_followed)
        if peer.is_gone:
            self._hang_up()
            return False
        self._let_in()  # who is turned away must not fill the queue in which an engine that comes back will wait
        return is_followed

    def close(self) -> None:
        """Hang up; nothing stays behind."""
        if self._maker is not None:
            self._maker.join()
        self._hang_up()
        for stranger, _ in self._strangers:
            stranger.close()
        self._listener.close()

    def _drop(self, is_followed: bool) -> bool:
        if is_followed:
            self.dropped += 1
        else:
            self._hang_up()  # the two streams differ now, and cannot be joined
        return is_followed

    def _hang_up(self) -> None:
        if self._peer is not None:
            self._peer.close()
        for ring in (self._ring, self._made):
            if ring is not None:
                ring.close()
        self._peer = self._ring = self._made = None

    def _let_in(self) -> None:
        """The engine, if it has come; everybody else is turned away."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while len(self._strangers) < _MOST_STRANGERS:
                made, _ = self._listener.accept()
                made.setblocking(False)
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._strangers.append((made, time.monotonic() + _GREETING_S))
        if self._strangers:
            self._strangers = [one for one in self._strangers if not self._admit(*one)]

    def _attend(self) -> None:
        """Let in an engine that has come, and make a ring for it."""
        self._let_in()
        if self._peer is None or not self._frame_bytes or time.monotonic() < self._try_again_s:
            return
        if self._maker is None:
            self._maker = threading.Thread(target=self._make, daemon=True, name="make-frame-ring")
            self._maker.start()
        elif not self._maker.is_alive():
            self._maker = None
            self._announce()

    def _admit(self, stranger: socket.socket, give_up_s: float) -> bool:
        """True if nothing more is to be waited for from who has connected."""
        try:
            said = stranger.recv(len(self._hello), socket.MSG_PEEK)
            if said == self._hello and self._peer is None:
                stranger.recv(len(self._hello))
                self._peer = Peer(stranger)
                self._peer.send(self._hello)
                return True
            is_waiting = bool(said) and self._hello.startswith(said)
        except BlockingIOError:
            is_waiting = True
        except OSError:
            is_waiting = False
        if is_waiting and time.monotonic() < give_up_s:
            return False
        stranger.close()
        return True

    def _make(self) -> None:
        """The thread: touching so much memory takes some ten milliseconds."""
        try:
            self._made = FrameRing(RingShape.for_frames(self._frame_bytes, self._ring_bytes, self._n_wanted))
            self.why_not = ""
        except ServiceError as error:
            self._try_again_s = time.monotonic() + _TRY_AGAIN_S
            self.why_not = error.message

    def _announce(self) -> None:
        made, self._made = self._made, None
        if made is None or self._peer is None or made.shape.slot_bytes < self._frame_bytes:
            if made is not None:
                made.close()
            return
        self._ring = made
        self._peer.send(packed((_RING, made.name.encode(), _SHAPE.pack(*made.shape))))


class StraightInbox:
    """The engine's end: messages one by one, pixels where they are.

    The pixels of a message are valid until the next but one of its topic is taken: lines may wait for their partner of
    the structural channel until the next ones come.

    Parameters
    ----------
    endpoint : str
    session : str
    clock : Clock
    """

    def __init__(self, endpoint: str, session: str, clock: Clock) -> None:
        self._receiver = DirectReceiver(endpoint, session, clock, greets=True)
        self._clock = clock
        self._ring: RingReader | None = None
        self._lent: dict[bytes, deque[int]] = {}
        self._left: list[RingReader] = []
        self._topics: dict[bytes, str] = {}

    @property
    def socket(self) -> socket.socket | None:
        """To be polled; None while nobody is there."""
        return self._receiver.socket

    @property
    def is_open(self) -> bool:
        """True while the source sends frames here."""
        return self._ring is not None

    def attend(self) -> None:
        """Connect if it is time to; to be called now and then."""
        self._receiver.attend()
        if self._left:
            self._left = [ring for ring in self._left if not ring.close()]

    def waiting(self) -> bool:
        """True if there is a message."""
        return self._receiver.waiting()

    def follow(self) -> None:
        """Tell the source that this way is enough."""
        if self._ring is not None:
            self._ring.follow()

    def take(self) -> Arrival | None:
        """The next message; None if nothing waits.

        Raises
        ------
        MessageError
            It cannot be used; it has been taken.
        """
        while (message := self._receiver.take()) is not None:
            topic, header, place = message
            if topic == _RING:
                self._attach(header, place)
            elif self._ring is not None:
                return self._arrival(self._ring, topic, header, place)
        if self._ring is not None and self._receiver.socket is None:
            self._let_go()
        return None

    def close(self) -> None:
        """Hang up, and let go of the memory."""
        self._receiver.close()
        self._let_go()

    def _arrival(self, ring: RingReader, topic: bytes, header: bytes, place: bytes) -> Arrival:
        t_received_ns = self._clock.now_ns()
        lent = self._lent.setdefault(topic, deque())
        if len(lent) == _MOST_LENT:
            ring.give_back(lent.popleft())
        pixels = None
        if len(place) == _PLACE.size:
            slot, number, n_bytes = _PLACE.unpack(place)
            lent.append(slot)  # and given back in its turn, of whatever use this message is
            pixels = ring.view(slot, number, n_bytes)
        name = self._topics.get(topic)
        if name is None:
            self._topics[topic] = name = topic.decode(errors="replace")
        decoded = decode(name, header)
        if isinstance(decoded, FrameHeader) and pixels is not None:
            require_fit(decoded, len(pixels))
        return Arrival(name, decoded, pixels, t_received_ns)

    def _attach(self, name: bytes, shape: bytes) -> None:
        try:
            if self._ring is not None or len(shape) != _SHAPE.size:
                raise MessageError("a ring of frames where none is due")
            self._ring = RingReader(name.decode(errors="replace"), RingShape(*_SHAPE.unpack(shape)))
        except MessageError:
            self.close()
            raise

    def _let_go(self) -> None:
        ring, self._ring = self._ring, None
        self._lent.clear()
        if ring is not None and not ring.close():
            self._left.append(ring)  # somebody still looks at a frame; `attend` tries again
