"""The finder takes seconds to begin; what it is told until then reaches it all the same."""

from __future__ import annotations

import time

import msgspec
import pytest
import zmq

from rt_engine.services import finder_link
from rt_engine.services.finder_link import FinderLink, FinderSetup


def echo(setup: FinderSetup) -> None:
    """In the place of the search: is late, says so, and sends back what it is told."""
    time.sleep(0.3)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.PAIR)
    socket.connect(setup.endpoint)
    socket.send(msgspec.msgpack.encode({"kind": "ready"}))
    while (told := msgspec.msgpack.decode(socket.recv()))["kind"] != "stop":
        socket.send(msgspec.msgpack.encode({"kind": "told", "of": told}))
    context.destroy(linger=0)


def test_what_is_sent_before_the_process_is_there_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder_link, "begin_finder", echo)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    setup = FinderSetup("", "", 0, 0, "", None, 8.0, waits=False)
    link = FinderLink(context, setup)
    link.send("watch", candidate_id=1)
    link.send("watch", candidate_id=2)
    found: list[int] = []
    deadline_s = time.monotonic() + 60
    while len(found) < 3 and time.monotonic() < deadline_s:
        link.socket.poll(100)
        messages = link.take()
        if any(message["kind"] == "ready" for message in messages):
            link.send("forget", candidate_id=3)
        found += [message["of"]["candidate_id"] for message in messages if message["kind"] == "told"]
    link.close()
    context.destroy(linger=0)
    assert found == [1, 2, 3]
    assert not link.alive
