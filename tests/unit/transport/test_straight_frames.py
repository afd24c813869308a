"""Frames in shared memory: each once, in order, with its own pixels, whoever stops, dies or comes back meanwhile."""

from __future__ import annotations

import multiprocessing
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
import zmq
from free_ports import free_ports
from wire_samples import frame, health

from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.messages import FrameHeader
from rt_engine.transport.frame_inbox import Arrival, FrameInbox
from rt_engine.transport.frame_ring import FrameRing, RingReader, RingShape
from rt_engine.transport.frame_ways import FrameWays
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


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


def _in_a_row(frames: list[int]) -> bool:
    return frames == list(range(frames[0], frames[0] + len(frames)))


def test_every_frame_comes_once_and_in_order_while_the_ways_are_changed(pair: Pair) -> None:
    pair.engine.wants_straight = False
    until(lambda: bool(pair.run(1) or pair.engine.frames))
    pair.engine.wants_straight = True
    pair.join()
    n_health = pair.engine.n_health
    for _ in range(40):
        pair.source.health()
        pair.run(1)
    pair.ends_at(pair.source.number - 1)
    assert _in_a_row(pair.engine.frames)
    assert pair.engine.n_health == n_health + 40
    assert pair.source.straight.dropped == 0
    assert not pair.engine.refused


def test_the_source_does_without_messages_once_it_is_followed(pair: Pair) -> None:
    pair.join()
    with pair.engine.context.socket(zmq.SUB) as other:
        other.connect(pair.at.engine)
        other.subscribe(b"")
        assert not other.poll(200)  # it has time to subscribe
        pair.run(20)
        assert not other.poll(200)


def test_a_frame_in_hand_is_not_overwritten(pair: Pair) -> None:
    pair.join()
    pair.ends_at(pair.source.number - 1)
    for _ in range(2 * N_SLOTS):
        pair.source.frame()
        pair.engine.look()


def test_a_frame_that_waits_while_the_next_is_taken_is_not_overwritten(pair: Pair) -> None:
    """As functional lines do whose structural ones have been lost."""
    pair.join()
    pair.ends_at(pair.source.number - 1)
    numbers = [pair.source.frame() for _ in range(2)]
    until(pair.engine.take)
    waiting = pair.engine.newest
    until(pair.engine.take)
    assert pair.engine.frames[-2:] == numbers
    for _ in range(2 * N_SLOTS):
        pair.source.frame()
    pair.engine.look()
    pair.engine.newest = waiting
    pair.engine.look()
    pair.engine.newest = waiting = None


def test_an_engine_that_stands_still_holds_nobody_up_and_every_loss_has_a_number(pair: Pair) -> None:
    pair.join()
    pair.ends_at(pair.source.number - 1)
    first = pair.source.number
    for _ in range(2 * N_SLOTS):
        pair.source.frame()
    lost = pair.source.straight.dropped
    assert lost > 0
    assert pair.source.publisher.n_dropped == lost
    pair.engine.turn()
    pair.run(3)
    pair.ends_at(pair.source.number - 1)
    taken = [number for number in pair.engine.frames if number >= first]
    assert len(taken) + lost == pair.source.number - first
    assert taken == sorted(set(taken))
    assert pair.source.straight.dropped == lost


def test_a_source_that_comes_back_is_heard(pair: Pair) -> None:
    for _ in range(2):
        pair.join()
        pair.source.close()
        until(lambda: bool(pair.engine.turn()) or not pair.engine.ways.is_straight)
        pair.source = Source(pair.at)
    pair.join()
    pair.is_well()


def test_an_engine_that_comes_back_is_served(pair: Pair) -> None:
    for _ in range(2):
        pair.join()
        pair.engine.close()
        pair.source.frame()
        pair.engine = Engine(pair.at)
    pair.join()
    pair.is_well()


def test_frames_that_grow_get_a_larger_ring_and_none_is_lost(pair: Pair) -> None:
    pair.join()
    for _ in range(5):
        pair.source.frame((80, 100))
        pair.engine.turn()
    until(lambda: bool(pair.source.frame((80, 100)) and pair.engine.turn()) or pair.engine.straight.is_open)
    until(lambda: bool(pair.source.frame((80, 100)) and pair.engine.turn()) or pair.engine.ways.is_straight)
    pair.ends_at(pair.source.number - 1)
    assert _in_a_row(pair.engine.frames)


@pytest.mark.parametrize("said", [b"", b"\xff" * 64, b"\x05\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00hellox"])
def test_who_does_not_know_the_session_gets_nothing_and_keeps_nobody_out(pair: Pair, said: bytes) -> None:
    address = "127.0.0.1", int(pair.at.straight.rpartition(":")[2])
    with socket.create_connection(address) as stranger:
        stranger.sendall(said)
        pair.join()
        stranger.setblocking(False)
        with pytest.raises(BlockingIOError) if not said else pytest.raises((ConnectionError, EOFError)):
            if not stranger.recv(1):
                raise EOFError


def test_strangers_who_come_later_are_turned_away_and_do_not_fill_the_queue(pair: Pair) -> None:
    pair.join()
    address = "127.0.0.1", int(pair.at.straight.rpartition(":")[2])
    for _ in range(300):  # more than the system lets wait
        with socket.create_connection(address, DEADLINE_S) as stranger:
            stranger.sendall(b"\xff" * 64)
            pair.run(1)
    pair.engine.close()
    pair.source.frame()
    pair.engine = Engine(pair.at)
    pair.join()
    pair.is_well()


def test_an_engine_of_another_session_goes_on_with_messages(pair: Pair) -> None:
    pair.engine.close()
    pair.engine = Engine(pair.at, "another")
    until(lambda: bool(pair.run(1) or pair.engine.frames))
    pair.run(30)
    assert not pair.engine.straight.is_open
    assert _in_a_row(pair.engine.frames)


def test_where_there_is_no_room_frames_go_on_as_messages(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage(".")._replace(free=1000)
    monkeypatch.setattr("rt_engine.transport.frame_ring.sys.platform", "linux")
    monkeypatch.setattr("rt_engine.transport.frame_ring.shutil.disk_usage", lambda path: full)
    until(lambda: bool(pair.run(1)) or bool(pair.source.straight.why_not))
    pair.run(20)
    pair.ends_at(pair.source.number - 1)
    assert _in_a_row(pair.engine.frames)
    assert not pair.engine.ways.is_straight
    assert "MiB free" in pair.source.straight.why_not
    monkeypatch.undo()  # there is room again
    monkeypatch.setattr("rt_engine.transport.straight_frames.time.monotonic", lambda after=time.monotonic: after() + 11)
    pair.join()
    pair.is_well()
    assert pair.source.straight.why_not == ""


def test_a_slot_that_holds_another_frame_is_refused() -> None:
    shape = RingShape.for_frames(100, 1000)
    ring = FrameRing(shape)
    reader = RingReader(ring.name, shape)
    try:
        slot = ring.put(7, memoryview(bytes(100)))
        assert slot is not None
        assert reader.view(slot, 7, 100).nbytes == 100
        for slot_told, number, n_bytes in ((slot, 8, 100), (slot, 7, 101), (shape.n_slots, 7, 100)):
            with pytest.raises(MessageError):
                reader.view(slot_told, number, n_bytes)
    finally:
        assert reader.close()
        ring.close()


def _serve(at: Endpoints, tell: Connection) -> None:
    """A source in a process of its own, until it is killed."""
    source = Source(at)
    told = False
    while True:
        ring = source.straight._ring
        is_followed = ring is not None and ring.is_followed
        source.frame()
        if ring is not None and is_followed and not told:
            tell.send(ring.name)
            told = True
        time.sleep(0.002)


def _listen(at: Endpoints, tell: Connection) -> None:
    """An engine in a process of its own, until it is killed."""
    engine = Engine(at)
    told = False
    while True:
        engine.turn()
        if engine.ways.is_straight and not told:
            tell.send("straight")
            told = True
        time.sleep(0.001)


@pytest.mark.parametrize("killed", ["source", "engine"])
def test_nothing_is_left_behind_by_who_is_killed(killed: str) -> None:
    at = Endpoints.free()
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_serve if killed == "source" else _listen, args=(at, there), daemon=True)
    process.start()
    live: Any = Engine(at) if killed == "source" else Source(at)
    go_on = live.turn if killed == "source" else live.frame
    try:
        until(lambda: here.poll(0) or bool(go_on() and False))
        told = here.recv()
        name = told if killed == "source" else live.straight._ring.name
        go_on()
        process.kill()
        process.join()
        with pytest.raises(FileNotFoundError):
            SharedMemory(name)
        is_over = (lambda: not live.ways.is_straight) if killed == "source" else (lambda: live.straight._ring is None)
        until(lambda: bool(go_on() and False) or is_over())
    finally:
        live.close()
        process.kill()
