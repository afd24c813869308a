"""What waits for a peer that takes nothing is bounded in bytes, whatever the size of frames and traces."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import zmq
from free_ports import free_ports
from wire_samples import activity, frame, log, rois

from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.transport import sockets
from rt_engine.transport.publisher import Publisher
from rt_engine.transport.source_publisher import IO_THREADS, SourcePublisher

KIB = 1024
TAKEN = 4
"""Messages that the peer's own queue and its connection may take beyond the sender's."""


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    monkeypatch.setattr(sockets, "QUEUE_BYTES", 100 * 128 * KIB)
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context(IO_THREADS)
    yield made
    made.destroy(linger=0)


def stalled_recorder(context: zmq.Context[zmq.Socket[bytes]]) -> tuple[zmq.Socket[bytes], str]:
    """A recorder that is there and takes nothing."""
    recorder = context.socket(zmq.PULL)
    recorder.setsockopt(zmq.RCVHWM, 1)
    recorder.setsockopt(zmq.RCVBUF, 4 * KIB)
    endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    recorder.bind(endpoint)
    return recorder, endpoint


def publisher(context: zmq.Context[zmq.Socket[bytes]], inlet: str) -> Publisher:
    pub = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    return Publisher(context, pub, inlet, source="inference.0", session="s", clock=MonotonicClock())


def test_traces_of_many_cells_are_bounded_by_their_bytes(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    recorder, inlet = stalled_recorder(context)
    out = publisher(context, inlet)
    topic, header, _ = activity(0, np.zeros((8, 4), np.float32))
    for _ in range(300):
        out.send(topic, header, bytes(128 * KIB))
    kept = 300 - out.recorder_dropped
    assert 100 <= kept <= 100 + TAKEN
    out.close(linger_ms=0)
    recorder.close()


def test_small_messages_and_one_large_table_of_cells_leave_room_for_a_thousand(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    recorder, inlet = stalled_recorder(context)
    out = publisher(context, inlet)
    topic, header, _ = rois()
    out.send(topic, header, bytes(2048 * KIB))
    topic, header, _ = log()
    for _ in range(900):
        out.send(topic, header)
    assert out.recorder_dropped == 0
    out.close(linger_ms=0)
    recorder.close()


def test_frames_for_an_engine_and_a_recorder_that_stand_still_are_bounded(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    recorder, inlet = stalled_recorder(context)
    looks, goes_to_engine = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    source = SourcePublisher(
        context, looks, inlet, engine_endpoint=goes_to_engine, source="acquisition", session="s",
        clock=MonotonicClock(), head_start_ns=0,
    )  # fmt: skip
    pixels = np.zeros((256, 256), np.uint16)
    for number in range(300):
        topic, header, _ = frame(number, pixels)
        source.send(topic, header, pixels.data.cast("B"))
    source.flush()
    assert 100 <= 300 - source.recorder_dropped <= 100 + TAKEN
    assert source._engine.getsockopt(zmq.SNDHWM) == 100
    source.close(linger_ms=0)
    recorder.close()
