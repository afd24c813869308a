"""A source and an engine on the straight way of frames, each with all that decides which way is taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np
import zmq
from wire_samples import frame, health

from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.messages import FrameHeader
from rt_engine.transport.frame_inbox import Arrival, FrameInbox
from rt_engine.transport.frame_ways import FrameWays
from rt_engine.transport.free_ports import free_ports
from rt_engine.transport.source_publisher import IO_THREADS, SourcePublisher
from rt_engine.transport.straight_frames import FrameSender, StraightInbox

DEADLINE_S = 30.0
SHAPE = (40, 50)
N_SLOTS = 32


class Endpoints(NamedTuple):
    """Where source and engine meet."""

    looker: str
    engine: str
    straight: str

    @classmethod
    def free(cls) -> Endpoints:
        return cls(*(f"tcp://127.0.0.1:{port}" for port in free_ports(3)))


def pixels_of(number: int, shape: tuple[int, int] = SHAPE) -> np.ndarray[Any, Any]:
    """Every pixel tells frame and place."""
    return (np.arange(shape[0] * shape[1]) * 3 + number * 7919).astype(np.uint16).reshape(shape)


class Source:
    """A source as acquisition has it."""

    def __init__(self, at: Endpoints, session: str = "s") -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(IO_THREADS)
        self.straight = FrameSender(at.straight, session, ring_bytes=N_SLOTS * 2 * SHAPE[0] * SHAPE[1])
        self.publisher = SourcePublisher(
            self.context, at.looker, None, engine_endpoint=at.engine, source="acquisition", session=session,
            clock=MonotonicClock(), straight=self.straight, head_start_ns=0,
        )  # fmt: skip
        self.number = 0

    def frame(self, shape: tuple[int, int] = SHAPE) -> int:
        """Send the next frame, from memory that is used again at once."""
        pixels = pixels_of(self.number, shape)
        header = msgspec.structs.replace(frame(self.number, pixels)[1], **self.publisher.stamp("frame.0.0"))
        self.publisher.send("frame.0.0", header, pixels.data.cast("B"))
        pixels[:] = 0
        self.number += 1
        return self.number - 1

    def health(self) -> None:
        header = msgspec.structs.replace(health()[1], **self.publisher.stamp("health"))
        self.publisher.send("health", header)

    def close(self) -> None:
        self.publisher.close(linger_ms=0)
        self.context.destroy(linger=0)


class Engine:
    """The end that inference has."""

    def __init__(self, at: Endpoints, session: str = "s") -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        sub = self.context.socket(zmq.SUB)
        sub.setsockopt(zmq.RCVHWM, 100_000)
        sub.connect(at.engine)
        sub.subscribe(b"")
        clock = MonotonicClock()
        self.straight = StraightInbox(at.straight, session, clock)
        self.ways = FrameWays(FrameInbox(sub, clock), self.straight, clock)
        self.frames: list[int] = []
        self.n_health = 0
        self.refused: list[str] = []
        self.newest: Arrival | None = None
        self.wants_straight = True

    def turn(self) -> None:
        """What inference does in a turn."""
        while self.take():
            pass
        if self.wants_straight:
            self.straight.attend()

    def take(self) -> bool:
        """Take one message in; false if nothing waits."""
        try:
            arrival = self.ways.take()
        except MessageError as error:
            self.refused.append(error.message)
            return True
        if arrival is None:
            return False
        if not isinstance(arrival.header, FrameHeader):
            self.n_health += 1
            return True
        self.newest = arrival
        self.frames.append(arrival.header.frame)
        self.look()
        return True

    def look(self) -> None:
        """The pixels in hand are those of the frame that its header names."""
        assert self.newest is not None
        assert self.newest.payload is not None
        header: Any = self.newest.header
        seen = np.frombuffer(self.newest.payload, np.uint16).reshape(header.n_lines, header.pixels_per_line)
        np.testing.assert_array_equal(seen, pixels_of(header.frame, seen.shape))

    def close(self) -> None:
        self.newest = None
        self.straight.close()
        self.context.destroy(linger=0)


def until(done: Callable[[], bool]) -> None:
    """Again and again until it says yes."""
    end_s = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < end_s
        time.sleep(0.001)


class Pair:
    """Both, in this process."""

    def __init__(self) -> None:
        self.at = Endpoints.free()
        self.source, self.engine = Source(self.at), Engine(self.at)

    def run(self, n_frames: int) -> None:
        for _ in range(n_frames):
            self.source.frame()
            self.engine.turn()

    def join(self) -> None:
        """Until frames come straight, and by no other way."""

        def joined() -> bool:
            self.source.health()
            self.run(1)
            return self.engine.ways.is_straight

        until(joined)
        self.run(2)

    def ends_at(self, number: int) -> None:
        """Until a frame has come."""

        def come() -> bool:
            self.engine.turn()
            return bool(self.engine.frames) and self.engine.frames[-1] == number

        until(come)

    def is_well(self) -> None:
        """Every frame from now on comes, straight."""
        self.engine.frames.clear()
        first = self.source.number
        self.run(20)
        self.ends_at(self.source.number - 1)
        assert self.engine.frames[-20:] == list(range(first, first + 20))
        assert self.engine.ways.is_straight

    def close(self) -> None:
        self.engine.close()
        self.source.close()
