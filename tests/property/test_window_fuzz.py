"""Whatever comes over the wire, the window lives, and says what it could not use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
import wire_samples as wire
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYQTGRAPH_QT_LIB", "PyQt6")

from system_rig import PORTS

from gui.endpoints import Endpoints
from gui.launch import Parts, build
from gui.settings import Settings
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import decode
from rt_engine.interfaces.service_config import Ports
from rt_engine.transport.free_ports import free_ports

_EVENTS = np.zeros(2, EVENT_DTYPE)
_EVENTS["roi_id"] = (10, 999)
GOOD = (
    wire.session(),
    wire.rois(3),
    wire.candidates(),
    wire.frame(1),
    wire.activity(1, np.ones((8, 3))),
    wire.spikes(1, _EVENTS),
    wire.state(),
    wire.session(config={"rig": {"stop_line": {"line": "button", "closed": "low"}}}),
    wire.state(
        interlock="tripped",
        preconditions={"stop_line_closed": False},
        trips=[{"t_ns": 1, "signal": "stop_line", "value": "open", "limit": "closed", "dark_after_ns": 10**6}],
    ),
    wire.health(),
    wire.stim(),
    wire.log(),
)
NASTY: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**31, 2**53, 2**63 - 1, -(2**63), 2**64 - 1, 10**6]),
    st.sampled_from([float("nan"), float("inf"), float("-inf"), 1e308, -0.0, 1e-320]),
    st.text(max_size=20),
    st.just("x" * 100_000),
    st.just("<b>&amp;\x00\n"),
    st.lists(st.integers(-(2**63), 2**63), max_size=5),
    st.just([[1], [2.5, float("nan")], "a"]),
    st.dictionaries(st.text(max_size=5), st.one_of(st.none(), st.floats(), st.text(max_size=5)), max_size=3),
)


def mutated(draw: st.DrawFn) -> list[bytes]:
    """A good message with some of its keys replaced or gone, and its payload cut, grown or replaced."""
    topic, header, payload = draw(st.sampled_from(GOOD))
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(header))
    for key in draw(st.lists(st.sampled_from(sorted(fields)), max_size=4)):
        if draw(st.booleans()):
            fields[key] = draw(NASTY)
        else:
            fields.pop(key, None)
    change = draw(st.sampled_from(["same", "cut", "grown", "noise", "none"]))
    if change == "cut":
        payload = payload[: len(payload) // 2]
    elif change == "grown":
        payload = payload + b"\xff" * 7
    elif change == "noise":
        payload = np.random.default_rng(draw(st.integers(0, 2**32))).bytes(len(payload))
    body = msgspec.msgpack.encode(fields)
    body = draw(st.sampled_from([body, body, body, body[:-3], b"", b"\xc1"]))
    where = draw(st.sampled_from([topic.encode(), topic.encode(), topic.encode(), b"frame.0.0", b"\xff\xfe", b"new"]))
    parts = [where, body, payload]
    return parts[: draw(st.sampled_from([3, 3, 3, 2, 1]))] if change != "none" else parts[:2]


MESSAGES = st.composite(mutated)()


@pytest.fixture
def parts(qapp: Any) -> Iterator[Parts]:
    """A window without a rig."""
    ports = Ports(**dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    made = build(Endpoints("127.0.0.1", ports), Settings(None))
    made.window.pacer.stop()
    made.window.resize(1280, 720)
    made.window.show()
    yield made
    made.close()


def give(parts: Parts, message: list[bytes]) -> None:
    """The message, as if the thread that listens had taken it."""
    parts.window.desk.live.take_parts([memoryview(one) for one in message])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(MESSAGES, min_size=1, max_size=12))
def test_no_message_breaks_a_view(parts: Parts, messages: list[list[bytes]]) -> None:
    window = parts.window
    for good in GOOD:
        give(parts, wire.wire_parts(good))
    for message in messages:
        give(parts, message)
    for view in (window.field, *window.pages, window.bar):
        view.refresh()
    for view in (window.field, window.pages[0], window.pages[3], window.cells):
        view.grab()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(message=MESSAGES)
def test_a_message_is_used_or_counted(parts: Parts, message: list[bytes]) -> None:
    live = parts.window.desk.live
    before = live.n_messages + live.n_malformed
    give(parts, message)
    assert live.n_messages + live.n_malformed == before + 1


def test_memory_is_bounded_whatever_is_sent(parts: Parts) -> None:
    live = parts.window.desk.live
    for number in range(3000):
        give(parts, wire.wire_parts(wire.log("x" * 5000)))
        give(parts, wire.wire_parts(wire.health(source=f"s{number}")))
        give(parts, wire.wire_parts(wire.stim(reason=chr(65 + number % 26) * (number % 500))))
        topic, header, payload = wire.frame(1, plane=number)
        give(parts, wire.wire_parts((topic, header, payload)))
    assert len(live.logs) <= 500
    assert max(len(one.text) for one in live.logs) <= 500
    assert len(live.health.heartbeats) <= 64
    assert len(live.frames.pictures) <= 64
    assert len(live.decisions.reasons) <= 100


def test_what_cannot_be_used_is_said_at_the_foot_of_the_window(parts: Parts, qtbot: Any) -> None:
    """Through real sockets: a stranger publishes rubbish on the port of the stimulation service."""
    window, context = parts.window, zmq.Context()
    socket = context.socket(zmq.PUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.bind(window.desk.endpoints.of("stimulation"))
    window.pacer.start()
    try:

        def told() -> bool:
            socket.send_multipart([b"state", b"\xc1rubbish"])
            socket.send_multipart([b"log"])
            socket.send_multipart(wire.wire_parts(wire.log("still here")))
            return "malformed" in window.pace.text() and any(one.text == "still here" for one in window.desk.live.logs)

        qtbot.waitUntil(told, timeout=60_000)
    finally:
        window.pacer.stop()
        socket.close()
        context.term()


def test_the_good_messages_are_good() -> None:
    """Else everything above would test refusals alone."""
    assert MonotonicClock().now_ns() > 0
    for message in GOOD:
        topic, body, _ = wire.wire_parts(message)
        assert decode(topic.decode(), body) == message[1]
