"""The engine has a frame before anybody who looks, who all get it whole and in order, whatever comes meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pytest
import zmq
from wire_samples import frame, health

from rt_engine.interfaces.clock import NS_PER_S, MonotonicClock
from rt_engine.interfaces.messages import decode
from rt_engine.transport.free_ports import free_ports
from rt_engine.transport.source_publisher import (
    IO_THREADS,
    LONGEST_QUEUES,
    FrameQueues,
    SourcePublisher,
    frame_queues,
)

DEADLINE_MS = 20_000
FOREVER_NS = 3600 * NS_PER_S


class Ears:
    """A source with an engine, one who looks, and a recorder at its sockets."""

    def __init__(self, head_start_ns: int, lossless: bool = False, queues: FrameQueues = LONGEST_QUEUES) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(IO_THREADS)
        engine, looker, inlet = (f"tcp://127.0.0.1:{port}" for port in free_ports(3))
        self.recorder = self.context.socket(zmq.PULL)
        self.recorder.bind(inlet)
        self.source = SourcePublisher(
            self.context, looker, inlet, engine_endpoint=engine, source="acquisition", session="s",
            clock=MonotonicClock(), lossless=lossless, head_start_ns=head_start_ns, queues=queues,
        )  # fmt: skip
        self.engine, self.looker = (self._subscribe(endpoint) for endpoint in (engine, looker))

    def _subscribe(self, endpoint: str) -> zmq.Socket[bytes]:
        socket = self.context.socket(zmq.SUB)
        socket.connect(endpoint)
        socket.subscribe(b"")
        while not socket.poll(10):
            self.health()
        return socket

    def health(self) -> None:
        """Something that is no frame."""
        topic, header, _ = health()
        self.source.send(topic, header)

    def frame(self, number: int, shape: tuple[int, int] = (300, 400)) -> None:
        """A frame, by default large enough to be shared by all sockets."""
        pixels = np.full(shape, number, np.uint16)
        topic, header, _ = frame(number, pixels)
        self.source.send(topic, header, pixels.data.cast("B"))
        pixels[:] = 0  # the caller's memory is free again

    @staticmethod
    def frames(socket: zmq.Socket[bytes], n: int) -> list[int]:
        """Numbers, as the pixels say, of the next `n` frames; fewer if they do not come."""
        numbers: list[int] = []
        while len(numbers) < n and socket.poll(DEADLINE_MS):
            topic, _, *payload = socket.recv_multipart()
            if topic == b"frame.0.0":
                values = np.unique(np.frombuffer(payload[0], np.uint16))
                assert len(values) == 1
                numbers.append(int(values[0]))
        return numbers

    def close(self) -> None:
        self.source.close(linger_ms=5000)
        self.context.destroy(linger=0)


def _waits_for_a_frame(socket: zmq.Socket[bytes]) -> bool:
    while socket.poll(0):
        if socket.recv_multipart()[0] == b"frame.0.0":
            return True
    return False


@pytest.fixture
def patient() -> Iterator[Ears]:
    ears = Ears(FOREVER_NS)
    yield ears
    ears.close()


def test_the_engine_has_the_frame_while_the_others_wait_for_it(patient: Ears) -> None:
    patient.frame(1)
    assert patient.frames(patient.engine, 1) == [1]
    assert not _waits_for_a_frame(patient.looker)
    assert not _waits_for_a_frame(patient.recorder)
    patient.source.flush()
    assert patient.frames(patient.looker, 1) == patient.frames(patient.recorder, 1) == [1]


def test_a_small_frame_is_not_overwritten_while_the_others_wait_for_it(patient: Ears) -> None:
    for number in (1, 2):
        patient.frame(number, (8, 16))
    patient.source.flush()
    assert patient.frames(patient.looker, 2) == patient.frames(patient.recorder, 2) == [1, 2]


def test_what_is_no_frame_does_not_wait_for_frames(patient: Ears) -> None:
    patient.frame(1)
    while patient.looker.poll(0):
        patient.looker.recv_multipart()
    patient.health()
    assert patient.looker.poll(DEADLINE_MS)
    assert patient.looker.recv_multipart()[0] == b"health"


@pytest.mark.parametrize("head_start_ns", [0, 300_000])
@pytest.mark.parametrize("lossless", [False, True])
def test_everybody_gets_all_frames_in_order(head_start_ns: int, lossless: bool) -> None:
    ears = Ears(head_start_ns, lossless)
    try:
        for number in range(1, 61):
            ears.frame(number)
            if number % 7 == 0:
                ears.health()
        heard: dict[str, Any] = {name: ears.frames(getattr(ears, name), 60) for name in ("engine", "looker")}
        heard["recorder"] = ears.frames(ears.recorder, 60)
        assert all(numbers == list(range(1, 61)) for numbers in heard.values()), heard
        assert ears.source.recorder_dropped == 0
    finally:
        ears.close()


def test_what_is_held_back_at_the_end_is_given_away_before_the_sockets_close(patient: Ears) -> None:
    for number in range(1, 6):
        patient.frame(number)
    begun_s = time.monotonic()
    patient.source.close(linger_ms=5000)
    assert time.monotonic() - begun_s < DEADLINE_MS / 1000
    assert patient.frames(patient.recorder, 5) == [1, 2, 3, 4, 5]


def test_a_recorder_that_keeps_no_frame_gets_their_headers_alone(patient: Ears) -> None:
    """Half a megabyte a frame is not carried to where it would be thrown away; all others get it whole."""
    patient.frame(1)
    patient.source.flush()
    patient.source.records_pixels = False
    patient.frame(2)
    patient.source.flush()
    whole, bare = (message for message in _recorded(patient, 2))
    assert len(whole[2]) == 2 * 300 * 400
    assert decode("frame.0.0", bare[1]).frame == 2
    assert bare[2] == b""
    assert patient.frames(patient.looker, 2) == [1, 2]


def _recorded(ears: Ears, n: int) -> list[list[bytes]]:
    """The next `n` messages of frames that the recorder gets."""
    messages: list[list[bytes]] = []
    while len(messages) < n and ears.recorder.poll(DEADLINE_MS):
        parts = ears.recorder.recv_multipart()
        if parts[0].startswith(b"frame."):
            messages.append(parts)
    return messages


def test_frames_reach_the_recorder_after_hundreds_of_small_messages(patient: Ears) -> None:
    """As after a long start, in which only `health` was told."""
    for _ in range(400):
        patient.health()
        patient.recorder.recv_multipart()
    patient.frame(1, (512, 512))
    patient.source.flush()
    assert len(_recorded(patient, 1)[0][2]) == 2 * 512 * 512


SHALLOW = FrameQueues(lookers=16, engine=16, recorder=64)
SIDE = 512
FRAME_MIB = 2 * SIDE * SIDE / (1 << 20)


def test_who_takes_nothing_costs_a_bounded_memory_and_nobody_else_a_frame() -> None:
    """A program that looks stands still; the recorder takes everything meanwhile."""
    ears = Ears(0, queues=SHALLOW)
    try:
        for socket in (ears.engine, ears.looker):  # what they hold is in this process too
            socket.close()
        still = ears.context.socket(zmq.SUB)
        still.setsockopt(zmq.RCVHWM, 1)
        still.connect(ears.source._pub.getsockopt_string(zmq.LAST_ENDPOINT))
        still.subscribe(b"")
        while not still.poll(10):
            ears.health()
        taken: list[int] = []
        before = psutil.Process().memory_info().rss
        grown = 0
        for number in range(120):
            ears.frame(number % 100, (SIDE, SIDE))
            ears.source.flush()
            taken += ears.frames(ears.recorder, 1)
            grown = max(grown, psutil.Process().memory_info().rss - before)
        assert taken == [number % 100 for number in range(120)]
        assert grown / (1 << 20) < 80 * FRAME_MIB, "a queue of 16 and what TCP holds; without a bound it is 120"
    finally:
        ears.close()


def test_a_start_of_a_minute_costs_the_recorder_neither_a_word_nor_a_frame() -> None:
    """The recorder is there only after hundreds of messages, and then frames come: its queues are as they were made."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(IO_THREADS)
    engine, looker, inlet = (f"tcp://127.0.0.1:{port}" for port in free_ports(3))
    source = SourcePublisher(
        context, looker, inlet, engine_endpoint=engine, source="acquisition", session="s", clock=MonotonicClock(),
        queues=SHALLOW, head_start_ns=0,
    )  # fmt: skip
    try:
        topic, header, _ = health()
        for _ in range(600):  # ten a second
            source.send(topic, header)
        recorder = context.socket(zmq.PULL)
        recorder.bind(inlet)
        found = {b"health": 0, b"frame.0.0": 0}
        for number in range(300):
            pixels = np.full((256, 256), number, np.uint16)
            topic, header, _ = frame(number, pixels)
            source.send(topic, header, pixels.data.cast("B"))
            source.flush()
            while sum(found.values()) < 601 + number and recorder.poll(DEADLINE_MS):
                found[recorder.recv_multipart()[0]] += 1
        assert found == {b"health": 600, b"frame.0.0": 300}
        assert source.recorder_dropped == 0
    finally:
        source.close()
        context.destroy(linger=0)


def test_queues_hold_a_bounded_number_of_bytes_where_the_size_is_known_in_time() -> None:
    for message_bytes in (2 * 16 * 512, 512 * 1024, 1 << 21, 1 << 23):
        queues = frame_queues(message_bytes, lossless=False)
        assert queues.lookers == queues.engine
        assert 64 <= queues.lookers <= queues.recorder <= 1000
        assert queues.lookers * message_bytes <= max(128 << 20, 64 * message_bytes)
        assert queues.recorder * message_bytes <= max(512 << 20, 64 * message_bytes)
    assert frame_queues(None, lossless=False).lookers == 128
    assert frame_queues(1 << 21, lossless=True) == LONGEST_QUEUES
