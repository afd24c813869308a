"""Who passes a gate without keys, what is told of who does not, and that what it remembers is bounded."""

from __future__ import annotations

import pytest
import zmq

from rt_engine.interfaces.control import Request, Role
from rt_engine.interfaces.errors import ConfigError, MessageError
from rt_engine.transport import gate
from rt_engine.transport.gate import SECRET, Gate


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


@pytest.mark.parametrize("cmd", ["arm", "shutdown", "reset", "fire"])
def test_a_viewer_who_is_refused_is_told_of_also_without_keys(cmd: str) -> None:
    one = Gate(None)
    with pytest.raises(ConfigError, match="a viewer may not"):
        one.admit(Request(id="1", role=Role.VIEWER, cmd=cmd), zmq.Frame())
    assert [text.startswith(f"refused '{cmd}' (a viewer without key") for text in one.refusals.take()] == [True]


def test_a_request_that_comes_again_is_told_of() -> None:
    one = Gate(None)
    knock(one, "1")
    with pytest.raises(MessageError):
        knock(one, "1")
    assert ["carried out before" in text for text in one.refusals.take()] == [True]


@pytest.mark.parametrize("cmd", ["announce", "shutdown", "arm", "behaviour"])
def test_who_says_that_he_is_a_service_has_to_know_the_secret_of_the_run(cmd: str) -> None:
    one = Gate(None, secret="of this run")
    for i, given in enumerate(({}, {SECRET: ""}, {SECRET: "of another"}, {SECRET: 7})):
        claim = Request(id=str(i), role=Role.SERVICE, cmd=cmd, args={"service": "inference", **given})
        with pytest.raises(ConfigError, match="only a service of this run"):
            one.admit(claim, zmq.Frame())
    assert len(one.refusals.take()) == 1, "the same four times"
    true = Request(id="5", role=Role.SERVICE, cmd=cmd, args={"service": "inference", SECRET: "of this run"})
    assert one.admit(true, zmq.Frame()).args == {"service": "inference"}, "the secret goes no further"


def test_a_keeper_joins_before_it_can_know_the_secret() -> None:
    one = Gate(None, secret="of this run")
    one.admit(Request(id="1", role=Role.SERVICE, cmd="join", args={"service": "acquisition"}), zmq.Frame())
