"""Whoever decides on a frame has its events before anything else of the frame is computed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import zmq
from wire_samples import frame

from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import FrameHeader
from rt_engine.services.engine_output import EngineOutput
from rt_engine.transport.direct import DirectReceiver, DirectSender
from rt_engine.transport.free_ports import free_ports
from rt_engine.transport.publisher import Publisher

DEADLINE_S = 30.0


class Engine:
    """Output of an engine, one who subscribes to it, and one who may listen on the straight way."""

    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        everybody, straight = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
        publisher = Publisher(self.context, everybody, None, source="inference.0", session="s", clock=MonotonicClock())
        self.direct = DirectSender(straight, "s")
        self.out = EngineOutput(publisher, 0, self.direct)
        self.close_publisher = publisher.close
        self.ear = self.context.socket(zmq.SUB)
        self.ear.connect(everybody)
        self.ear.subscribe(b"spikes.")
        self.listener = DirectReceiver(straight, "s", MonotonicClock())
        until(self.is_heard)

    def decide(self) -> None:
        header = frame(1)[1]
        assert isinstance(header, FrameHeader)
        self.out.spikes(header, 0, 0, np.zeros(0, EVENT_DTYPE))

    def is_heard(self) -> bool:
        self.decide()
        self.out.tell()
        return bool(self.ear.poll(5))

    def listen(self) -> None:
        until(self._is_connected)

    def _is_connected(self) -> bool:
        self.listener.attend()
        self.direct.admit()
        self.listener.take()
        return self.listener.is_open

    def silence(self) -> None:
        """Nothing is left to be told, and all that was has been heard."""
        self.out.tell()
        while self.ear.poll(50):
            self.ear.recv_multipart()

    def close(self) -> None:
        self.listener.close()
        self.out.close()
        self.close_publisher(0)
        self.context.destroy(linger=0)


def until(done: Callable[[], bool]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < end_s


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.close()


def test_where_nobody_listens_on_the_straight_way_everybody_is_told_at_once(engine: Engine) -> None:
    """A protocol that reads `activity` hears decisions like everybody: they must not wait for it."""
    engine.silence()
    engine.decide()
    assert engine.ear.poll(DEADLINE_S * 1000)


def test_who_listens_on_the_straight_way_is_served_first_and_everybody_with_the_rest(engine: Engine) -> None:
    engine.listen()
    engine.silence()
    engine.decide()
    until(lambda: engine.listener.take() is not None)
    assert not engine.ear.poll(50)
    engine.out.tell()
    assert engine.ear.poll(DEADLINE_S * 1000)


def test_when_the_listener_has_gone_everybody_is_told_at_once_again(engine: Engine) -> None:
    engine.listen()
    engine.listener.close()

    def is_noticed() -> bool:
        engine.silence()
        engine.decide()
        return bool(engine.ear.poll(100))

    until(is_noticed)
