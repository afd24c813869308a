"""What a gate remembers of requests is bounded, in number and in length."""

from __future__ import annotations

import pytest
import zmq

from rt_engine.interfaces.control import Request, Role
from rt_engine.interfaces.errors import MessageError
from rt_engine.transport import gate
from rt_engine.transport.gate import Gate


def knock(one: Gate, request_id: str, cmd: str = "mark") -> None:
    one.admit(Request(id=request_id, role=Role.OPERATOR, cmd=cmd), zmq.Frame())


def test_the_newest_requests_are_known_and_older_ones_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_REMEMBERED", 5)
    one = Gate(None)
    for i in range(100):
        knock(one, str(i))
    assert len(one._seen) == 5
    for i in range(95, 100):
        with pytest.raises(MessageError, match="carried out before"):
            knock(one, str(i))


def test_an_id_of_any_length_is_not_kept() -> None:
    one = Gate(None)
    knock(one, "x" * 128)
    with pytest.raises(MessageError, match="128 at most"):
        knock(one, "x" * 129)
    assert len(one._seen) == 1
