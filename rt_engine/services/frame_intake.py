"""How frames come to inference: in time of this computer, with the structural lines that belong to them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import zmq
from numpy.typing import NDArray

from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.messages import FrameHeader, HealthHeader
from rt_engine.services.base import Service
from rt_engine.services.straight_ways import frame_receiver
from rt_engine.services.structural_lines import FRAME_DTYPES, StructuralLines
from rt_engine.transport.frame_inbox import Arrival, FrameInbox
from rt_engine.transport.frame_ways import FrameWays
from rt_engine.transport.loss import SequenceTracker
from rt_engine.transport.sockets import connect, queue_length

OnLines = Callable[[FrameHeader, memoryview, int, NDArray[Any] | None], None]


class FrameIntake:
    """Messages of the source that are for one plane.

    Parameters
    ----------
    service : Service
        Inference: its rig, clock, context, poller and log are used.
    plane : int
    on_lines : callable
        Takes header, pixels, time of arrival in nanoseconds and, where there is a structural channel, the image to
        register the lines by (None if it did not come).
    on_state : callable
        Takes the state that the source tells in its health.
    refuse : callable
        Takes why a message is of no use.

    Attributes
    ----------
    is_ready : bool
        The source has been heard, and its clock is known.
    """

    def __init__(
        self,
        service: Service,
        plane: int,
        on_lines: OnLines,
        on_state: Callable[[str], None],
        refuse: Callable[[str], None],
    ) -> None:
        self._service, rig = service, service.rig
        self._channel, self._structural_channel = rig.functional_channel, rig.registration_channel
        endpoint = rig.ports.endpoint("engine_frames")
        self._socket = connect(service.context, zmq.SUB, endpoint, queue_length(512 * 1024))
        for channel in {self._channel, self._structural_channel} - {None}:
            self._socket.subscribe(f"frame.{plane}.{channel}".encode())
        self._socket.subscribe(b"health")
        service.poller.register(self._socket, zmq.POLLIN)
        self._poller = service.poller
        self._straight = frame_receiver(service.setup, service.clock)
        self._polled: socket.socket | None = None
        self._wants_straight = self._was_straight = False
        self._ways = FrameWays(FrameInbox(self._socket, service.clock), self._straight, service.clock)
        self._structural = StructuralLines(
            lambda frame, n: service.log("warning", f"frame {frame} came without its structural channel ({n} so far)")
        )
        self._sequence = SequenceTracker()
        self._clocks = service.listen_to_clocks("acquisition")
        self._on_lines, self._on_state, self._refuse = on_lines, on_state, refuse
        self._is_heard = False

    @property
    def is_ready(self) -> bool:
        """True once the source has been heard, and its clock is known."""
        return self._is_heard and (self._clocks is None or self._clocks.knows_all)

    def waiting(self) -> bool:
        """True if there is a message."""
        return self._ways.waiting()

    def go_straight(self) -> None:
        """From now on take frames out of shared memory, where there is any.

        Not before the engine is ready: while it is made, frames wait for seconds, and messages have the longer queue.
        """
        self._wants_straight = True

    def serve(self, n_messages: int) -> None:
        """Hand out what has come, at most so many messages."""
        if self._clocks is not None:
            self._clocks.serve()
        for _ in range(n_messages):
            try:
                arrival = self._ways.take()
            except MessageError as error:
                self._refuse(error.message)
                continue
            if arrival is None:
                break
            self._receive(arrival)
        if self._straight is not None and self._wants_straight:
            self._straight.attend()
            self._poll(self._straight.socket)
            self._say_way()

    def _say_way(self) -> None:
        if self._ways.is_straight is self._was_straight:
            return
        self._was_straight = self._ways.is_straight
        way = "through shared memory" if self._was_straight else "as messages"
        self._service.log("info", f"frames come {way}")

    def _poll(self, now: socket.socket | None) -> None:
        if now is self._polled:
            return
        if self._polled is not None:
            self._poller.unregister(self._polled)
        if now is not None:
            self._poller.register(now, zmq.POLLIN)
        self._polled = now

    def close(self) -> None:
        """Close the sockets."""
        self._structural = StructuralLines(lambda frame, n: None)  # the old one may hold a frame in shared memory
        self._poll(None)
        if self._straight is not None:
            self._straight.close()
        self._socket.close()
        if self._clocks is not None:
            self._clocks.close()

    def _receive(self, arrival: Arrival) -> None:
        header = arrival.header
        if isinstance(header, HealthHeader):
            self._is_heard = True
            self._on_state(header.state)
            return
        if not isinstance(header, FrameHeader) or header.channel not in (self._channel, self._structural_channel):
            return
        self._sequence.see(header.source, header.boot_id, arrival.topic, header.seq)
        if self._clocks is not None and self._clocks.localize(header) is None:
            self._refuse(f"frame {header.frame}: the clock of the source's computer is not known yet")
            return
        if arrival.payload is None or header.dtype not in FRAME_DTYPES:
            self._refuse(f"frame {header.frame}: payload does not fit its header")
            return
        message = header, arrival.payload, arrival.t_received_ns
        if self._structural_channel is None:
            self._on_lines(*message, None)
            return
        is_structural = header.channel == self._structural_channel
        for image, ready in self._structural.pair(is_structural=is_structural, message=message):
            self._on_lines(*ready, image)
