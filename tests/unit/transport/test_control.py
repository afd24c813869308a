"""Every request gets one reply, also a bad one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
import zmq

from rt_engine.interfaces.control import Request, Role, encode_control
from rt_engine.interfaces.errors import ConfigError, ServiceError
from rt_engine.interfaces.messages import LogHeader
from rt_engine.transport.control import ControlClient, ControlServer, answer
from rt_engine.transport.free_ports import free_ports
from rt_engine.transport.publisher import Publisher
from rt_engine.transport.sockets import bind


def _handler(request: Request) -> dict[str, Any]:
    if request.cmd == "fail":
        raise ConfigError("no", "do otherwise", file="rig.yaml", key="a.b")
    return {"cmd": request.cmd, "role": request.role, "args": request.args}


@pytest.fixture
def context() -> Iterator[Any]:
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def endpoint(context: Any) -> Iterator[str]:
    """Endpoint of a server that answers in a thread."""
    address = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    server = ControlServer(context, address, _handler)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            if server.socket.poll(20):
                server.serve()

    thread = threading.Thread(target=serve)
    thread.start()
    yield address
    stop.set()
    thread.join()
    server.close()


def test_a_command_comes_back_with_its_result(context: Any, endpoint: str) -> None:
    client = ControlClient(context, endpoint, Role.OPERATOR)
    assert client.request("arm", {"operator": "me"}, 20) == {
        "cmd": "arm",
        "role": "operator",
        "args": {"operator": "me"},
    }
    client.close()


def test_an_error_comes_back_with_its_remedy(context: Any, endpoint: str) -> None:
    client = ControlClient(context, endpoint, Role.OPERATOR)
    with pytest.raises(ServiceError, match=r"rig.yaml: a.b: no. do otherwise"):
        client.request("fail", timeout_s=20)
    client.close()


def test_garbage_is_answered_with_an_error_and_the_server_lives_on(context: Any, endpoint: str) -> None:
    socket = context.socket(zmq.DEALER)
    socket.connect(endpoint)
    for body in (b"", b"\xc1", msgpack.packb([1, 2]), msgpack.packb({"cmd": "arm"})):
        socket.send(body)
        assert socket.poll(20_000)
        reply = msgpack.unpackb(socket.recv())
        assert reply["ok"] is False
        assert reply["error"]["type"] == "MessageError"
    socket.close()
    client = ControlClient(context, endpoint, Role.VIEWER)
    assert client.request("status", timeout_s=20)["cmd"] == "status"
    client.close()


def test_nobody_there_is_said_not_waited_for(context: Any) -> None:
    client = ControlClient(context, "tcp://127.0.0.1:9", Role.OPERATOR)
    with pytest.raises(ServiceError, match="is a run alive"):
        client.request("status", timeout_s=0.05)
    client.close()


def test_a_taken_port_is_named_with_its_remedy(context: Any) -> None:
    first = context.socket(zmq.PUB)
    port = first.bind_to_random_port("tcp://127.0.0.1")
    with pytest.raises(ServiceError, match=rf"{port}.*ports"):
        bind(context, zmq.PUB, f"tcp://127.0.0.1:{port}")
    first.close()


def test_what_the_recorder_cannot_take_is_counted_never_waited_for(context: Any) -> None:
    class Frozen:
        def now_ns(self) -> int:
            return 0

    port, free = free_ports(2)
    publisher = Publisher(
        context, f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{free}", source="s", session="", clock=Frozen(), queue=5
    )
    for _ in range(20):
        publisher.send("log", LogHeader(**publisher.stamp("log"), level="info", text="", fields={}))
    assert publisher.recorder_dropped == 15
    assert publisher.stamp("log")["seq"] == 20
    publisher.close(linger_ms=0)


@pytest.mark.parametrize("error", [TypeError("unhashable"), KeyError("x"), OverflowError("inf"), RecursionError()])
def test_arguments_that_a_handler_trips_over_are_answered_and_the_place_is_named(error: Exception) -> None:
    def handler(request: Request) -> dict[str, Any]:
        raise error

    reply = answer([encode_control(Request(id="7", role=Role.OPERATOR, cmd="rois_edit"))], handler)
    assert (reply.id, reply.ok) == ("7", False)
    assert reply.error is not None
    assert "'rois_edit' cannot be carried out with these arguments" in reply.error.message
    assert "(test_control.py:" in reply.error.message
