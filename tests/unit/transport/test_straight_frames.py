"""Frames in shared memory: each once, in order, with its own pixels, whoever stops, dies or comes back meanwhile."""

from __future__ import annotations

import multiprocessing
import shutil
import socket
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import pytest
import zmq
from straight_pair import DEADLINE_S, N_SLOTS, Endpoints, Engine, Pair, Source, until

from rt_engine.interfaces.errors import MessageError
from rt_engine.transport.frame_ring import FrameRing, RingReader, RingShape


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
