"""Stimulation hears every decision once, whichever way it comes, and goes back to the other way when one is gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import zmq
from system_rig import small_rig
from wire_samples import rois, spikes, wire_parts

from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.messages import SpikesHeader, decode
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.services.setup import Setup
from rt_engine.services.spikes_inlet import SpikesInlet
from rt_engine.services.straight_ways import goes_straight
from rt_engine.transport.direct import DirectSender
from rt_engine.transport.free_ports import free_ports

DEADLINE_S = 30.0


def decision(number: int, seq: int, boot_id: str = "b") -> tuple[str, Any, bytes]:
    """One `spikes` message of an engine."""
    topic, header, payload = spikes(number)
    return topic, msgspec.structs.replace(header, seq=seq, boot_id=boot_id), payload


def setup(lossless: bool = False, **changes: Any) -> Setup:
    rig = RigConfig.model_validate(small_rig(microscope__pace="real_time", **changes))
    return Setup("stimulation", rig.model_dump(mode="json"), "s", "", 0, 0, dry_run=False, lossless=lossless)


class Engine:
    """PUB socket and straight way of an engine, and the inlet that listens to it."""

    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.pub = self.context.socket(zmq.PUB)
        endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
        self.pub.bind(endpoint)
        sub = self.context.socket(zmq.SUB)
        sub.connect(endpoint)
        sub.subscribe(b"rois")
        made = setup()
        self.endpoint = made.rig_config().ports.endpoint("decisions")
        self.poller = zmq.Poller()
        self.poller.register(sub, zmq.POLLIN)
        self.inlet = SpikesInlet(made, sub, self.poller, MonotonicClock())
        self.direct: DirectSender | None = None
        self.heard: list[int] = []
        self.n_rois = 0
        self.number = 0

    def open_direct(self) -> None:
        self.direct = DirectSender(self.endpoint, "s")

    def say(self) -> int:
        """One decision both ways, as inference does; its number."""
        self.number += 1
        parts = wire_parts(decision(self.number, self.number))
        if self.direct is not None:
            self.direct.admit()
            self.direct.send(parts)
        self.pub.send_multipart(parts)
        return self.number

    def turn(self) -> None:
        """What the service does in a turn."""
        self.poller.poll(2)
        while (message := self.inlet.take()) is not None:
            header = decode(message[0].decode(), message[1])
            if not isinstance(header, SpikesHeader):
                self.n_rois += 1
            elif self.inlet.is_new(header):
                self.heard.append(header.frame)
        self.inlet.attend()

    def until(self, done: Callable[[], bool]) -> None:
        end_s = time.monotonic() + DEADLINE_S
        while not done():
            self.turn()
            assert time.monotonic() < end_s

    def hears(self) -> None:
        """Speak until a decision is heard."""
        n = len(self.heard)
        end_s = time.monotonic() + DEADLINE_S
        while len(self.heard) == n:
            self.say()
            self.turn()
            assert time.monotonic() < end_s

    def is_straight(self) -> bool:
        assert self.inlet._direct is not None
        return self.inlet._direct.is_open

    def close(self) -> None:
        self.inlet.close()
        if self.direct is not None:
            self.direct.close()
        self.context.destroy(linger=0)


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.close()


def test_without_a_straight_way_it_hears_what_everybody_hears(engine: Engine) -> None:
    engine.hears()
    assert not engine.is_straight()


def test_with_it_every_decision_comes_once_and_in_order_while_other_topics_go_on(engine: Engine) -> None:
    engine.hears()
    engine.open_direct()

    def opened() -> bool:
        engine.say()
        return engine.is_straight()

    engine.until(opened)
    for _ in range(50):
        last = engine.say()
    engine.pub.send_multipart(wire_parts(rois()))
    engine.until(lambda: last in engine.heard and engine.n_rois > 0)
    assert engine.heard == sorted(set(engine.heard))
    assert engine.heard[-50:] == list(range(last - 49, last + 1))


def test_it_goes_back_when_the_straight_way_is_gone(engine: Engine) -> None:
    engine.open_direct()
    engine.until(lambda: engine.direct is not None and (engine.direct.admit() or engine.is_straight()))
    assert engine.direct is not None
    engine.direct.close()
    engine.direct = None
    engine.until(lambda: not engine.is_straight())
    engine.hears()


def test_a_protocol_that_needs_one_order_is_given_it(engine: Engine) -> None:
    engine.open_direct()
    engine.until(lambda: engine.direct is not None and (engine.direct.admit() or engine.is_straight()))
    engine.inlet.go_round()
    engine.hears()
    assert engine.heard == sorted(set(engine.heard))


def test_the_engine_started_again_is_new_though_it_counts_from_the_beginning(engine: Engine) -> None:
    first, again = decision(1, 9)[1], decision(1, 0, "another")[1]
    assert [engine.inlet.is_new(one) for one in (first, first, again, again)] == [True, False, True, False]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"lossless": True}, False),
        ({"keys": "folder"}, False),
        ({"ports__host": "192.168.1.20"}, False),
        ({"microscope__n_planes": 2}, False),
    ],
)
def test_the_straight_way_is_for_live_runs_of_one_plane_on_one_computer_without_keys(
    changes: dict[str, Any], expected: bool
) -> None:
    if "ports__host" in changes:
        changes = changes | {"keys": "folder"}
    assert goes_straight(setup(**changes)) is expected
