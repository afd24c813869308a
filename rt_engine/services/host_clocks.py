"""Times of other computers in the time of this one, for whoever judges ages."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import zmq

from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import (
    ActivityHeader,
    ClockHeader,
    FrameHeader,
    Header,
    LightHeader,
    SpikesHeader,
    SyncHeader,
    decode,
)
from rt_engine.interfaces.service_config import Ports
from rt_engine.transport.clock_offset import Offset
from rt_engine.transport.sockets import connect, take_parts


class Shift(NamedTuple):
    """``mine = theirs + ns``, wrong by at most `uncertainty_ns`."""

    ns: int
    uncertainty_ns: int

    @property
    def earliest_ns(self) -> int:
        """Shift to the earliest moment that a time of theirs can have been."""
        return self.ns - self.uncertainty_ns


class HostClocks:
    """What the supervisor says on topic `clock`, as shifts between any other computer of the rig and one of them.

    Parameters
    ----------
    ports : Ports
    mine : str
        Address of the computer whose time is wanted.
    clock : Clock
        Of that computer.

    Notes
    -----
    All offsets are to the clock of the supervisor's computer. Between two others the uncertainties add.
    """

    def __init__(self, ports: Ports, mine: str, clock: Clock) -> None:
        self._ports, self._mine, self._clock = ports, mine, clock
        self._offsets: dict[str, Offset] = {ports.host: Offset(0, 0, 0)}

    def learn(self, header: ClockHeader) -> None:
        """Take in what was measured of one computer."""
        if header.peer != self._ports.host and header.t_measured_ns is not None and header.uncertainty_ns >= 0:
            self._offsets[header.peer] = Offset(header.offset_ns, header.uncertainty_ns, header.t_measured_ns)

    def shift_of(self, service: str) -> Shift | None:
        """From the clock of a service, by its name on the wire, to mine; None while one of the two is not known."""
        address = self._ports.host_of(service)
        if address == self._mine:
            return Shift(0, 0)
        theirs, mine = self._offsets.get(address), self._offsets.get(self._mine)
        if theirs is None or mine is None:
            return None
        now_ns = self._clock.now_ns() + mine.offset_ns
        uncertainty_ns = sum(self._uncertainty(one, now_ns) for one in (theirs, mine))
        return Shift(theirs.offset_ns - mine.offset_ns, uncertainty_ns)

    def _uncertainty(self, offset: Offset, now_ns: int) -> int:
        return 0 if offset is self._offsets[self._ports.host] else offset.uncertainty_at(now_ns)


class ClockListener:
    """Hears topic `clock`, and puts messages of other computers into the time of this one.

    Parameters
    ----------
    context : zmq.Context
    ports : Ports
    me : str
        Name of this service on the wire.
    clock : Clock
    upstream : tuple of str
        Services whose times are judged here.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], ports: Ports, me: str, clock: Clock, upstream: tuple[str, ...]
    ) -> None:
        self._clocks = HostClocks(ports, ports.host_of(me), clock)
        self._upstream = upstream
        self.socket = connect(context, zmq.SUB, ports.endpoint("supervisor"))
        self.socket.subscribe(b"clock")
        self.n_untold = 0

    @property
    def knows_all(self) -> bool:
        """True once the clock of everybody upstream can be told."""
        return all(self._clocks.shift_of(one) is not None for one in self._upstream)

    def serve(self) -> None:
        """Take in what was measured."""
        while (waiting := take_parts(self.socket)) is not None:
            topic, *parts = (part.bytes for part in waiting)
            try:
                header = decode(topic.decode(errors="replace"), parts[0] if parts else b"")
            except MessageError:
                continue
            if isinstance(header, ClockHeader):
                self._clocks.learn(header)

    def shift_of(self, service: str) -> Shift | None:
        """As `HostClocks.shift_of`."""
        return self._clocks.shift_of(service)

    def localize(self, header: Header) -> Shift | None:
        """Put the times of a header into mine; None, counted, if its sender's clock is not known."""
        shift = self._clocks.shift_of(header.source)
        if shift is None:
            self.n_untold += 1
        elif shift.ns or shift.uncertainty_ns:
            localize(header, shift)
        return shift

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def localize(header: Header, shift: Shift) -> None:
    """Put the times of a header into the receiver's clock, in place.

    Parameters
    ----------
    header : Header
        `t_scan_ns` becomes the best estimate, and the uncertainty is added to `t_scan_uncertainty_ns`. Times that are
        judged and have no uncertainty of their own become the earliest moment that they can have been: an age is
        the longest that it can be, and one that is negative even so is wrong.
    shift : Shift
    """
    match header:
        case FrameHeader():
            header.t_scan_ns += shift.ns
            header.t_scan_uncertainty_ns = (header.t_scan_uncertainty_ns or 0) + shift.uncertainty_ns
        case SpikesHeader():
            header.t_scan_ns += shift.ns
            header.t_scan_uncertainty_ns = (header.t_scan_uncertainty_ns or 0) + shift.uncertainty_ns
            header.t_received_ns += shift.earliest_ns
            header.t_decided_ns += shift.earliest_ns
        case ActivityHeader():
            header.t_scan_ns += shift.earliest_ns
        case LightHeader():
            header.t_on_ns += shift.ns
        case SyncHeader():
            header.t_edge_ns = None if header.t_edge_ns is None else header.t_edge_ns + shift.ns
            header.t_first_ns = None if header.t_first_ns is None else header.t_first_ns + shift.ns


def localize_events(payload: bytes, shift: Shift) -> bytes:
    """Events of a `spikes` message with their times in the receiver's clock; unfit bytes as they are.

    Parameters
    ----------
    payload : bytes
        Records of `EVENT_DTYPE`.
    shift : Shift
    """
    if not shift.ns or not payload or len(payload) % EVENT_DTYPE.itemsize:
        return payload
    events = np.frombuffer(payload, EVENT_DTYPE).copy()
    events["t_event_ns"] += shift.ns
    return events.tobytes()
