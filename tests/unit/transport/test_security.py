"""Who may come in, with which role, and that those who may not are named in the log."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from mqtt_rig import until

from rt_engine.interfaces.control import ANYONE, COMMANDS, Request, Role, encode_control
from rt_engine.interfaces.errors import ConfigError, ServiceError
from rt_engine.transport.control import ControlClient, ControlServer
from rt_engine.transport.free_ports import free_ports
from rt_engine.transport.gate import Gate
from rt_engine.transport.key_store import ClientKey, KeyStore, read_client_key
from rt_engine.transport.security import SERVICES, Guard, is_loopback, secure_client, secure_rig
from rt_engine.transport.sockets import MAX_CONTROL_BYTES, bind, connect

KEYLESS_GREETING = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL" + b"\0" * 48
PATIENCE_S = 60.0
IMPATIENCE_S = 0.5


class Rig:
    """A control port and a publisher with keys, answered by a thread."""

    def __init__(self, folder: Path) -> None:
        self.store = KeyStore(folder)
        self.keys = {role: read_client_key(self.store.new_client(f"the_{role}", role)) for role in _CLIENTS}
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        guard = secure_rig(self.context, str(folder))
        assert guard is not None
        self.guard: Guard = guard
        control, results = free_ports(2)
        self.control, self.results = f"tcp://127.0.0.1:{control}", f"tcp://127.0.0.1:{results}"
        self.port = control
        self.carried_out: list[tuple[Role, str]] = []
        self.server = ControlServer(self.context, self.control, self._carry_out, guard)
        self.pub = bind(self.context, zmq.PUB, self.results)
        self.refused: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _carry_out(self, request: Request) -> dict[str, Any]:
        self.carried_out.append((request.role, request.cmd))
        return {}

    def _serve(self) -> None:
        while not self._stop.is_set():
            self.server.socket.poll(5)
            self.server.serve()
            self.pub.send_multipart([b"log", b"x"])

    def said(self, text: str) -> bool:
        """True if the log would have it."""
        self.refused += self.guard.take()
        return any(text in one for one in self.refused)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.server.close()
        self.pub.close()
        self.guard.close()
        self.context.destroy(linger=0)


_CLIENTS = (Role.VIEWER, Role.OPERATOR, Role.SOURCE)


@pytest.fixture(scope="module")
def doors_open(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where nobody is let in at all, that is said once and not waited for in every test."""
    rig = Rig(tmp_path_factory.mktemp("first") / "keys")
    try:
        with client(rig, rig.keys[Role.VIEWER]) as viewer:
            viewer.request("status", timeout_s=PATIENCE_S)
    finally:
        rig.close()


@pytest.fixture
def rig(tmp_path: Path, doors_open: None) -> Iterator[Rig]:
    rig = Rig(tmp_path / "keys")
    yield rig
    rig.close()


@contextlib.contextmanager
def client(rig: Rig, key: ClientKey | None, claims: Role = Role.SERVICE) -> Iterator[ControlClient]:
    """A client that claims a role whatever its key says."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    if key is not None:
        secure_client(context, key)
    made = ControlClient(context, rig.control, claims)
    yield made
    made.close()
    context.destroy(linger=0)


def changed(key: ClientKey, **changes: str) -> ClientKey:
    return ClientKey(**{name: getattr(key, name) for name in key.__struct_fields__} | changes)


def test_the_role_is_the_key_s_and_not_what_the_client_says(rig: Rig) -> None:
    for role in _CLIENTS:
        with client(rig, rig.keys[role], Role.SERVICE) as one:
            one.request("status", timeout_s=PATIENCE_S)
    assert rig.carried_out == [(role, "status") for role in _CLIENTS]


@pytest.mark.parametrize("cmd", [*COMMANDS, "announce", "segment", "mode", "key", "behaviour", "source"])
def test_a_viewer_may_look_and_stop(rig: Rig, cmd: str) -> None:
    with client(rig, rig.keys[Role.VIEWER]) as viewer:
        if cmd in ANYONE:
            viewer.request(cmd, timeout_s=PATIENCE_S)
            assert rig.carried_out == [(Role.VIEWER, cmd)]
            return
        with pytest.raises(ServiceError, match="a viewer may not"):
            viewer.request(cmd, timeout_s=PATIENCE_S)
    assert rig.carried_out == []
    assert rig.said(f"refused {cmd!r} (key 'the_viewer', 127.0.0.1)")


@pytest.mark.parametrize("cmd", COMMANDS)
def test_a_source_may_also_mark(rig: Rig, cmd: str) -> None:
    with client(rig, rig.keys[Role.SOURCE]) as source:
        if cmd in (*ANYONE, "mark"):
            source.request(cmd, timeout_s=PATIENCE_S)
            assert rig.carried_out == [(Role.SOURCE, cmd)]
            return
        with pytest.raises(ServiceError, match="a source may not"):
            source.request(cmd, timeout_s=PATIENCE_S)
    assert rig.carried_out == []


@pytest.mark.parametrize("cmd", ["announce", "segment", "go_live", "key", "source", "conclude"])
def test_an_operator_is_no_service(rig: Rig, cmd: str) -> None:
    with client(rig, rig.keys[Role.OPERATOR]) as operator:
        operator.request("arm", timeout_s=PATIENCE_S)
        with pytest.raises(ServiceError, match="not a command for clients"):
            operator.request(cmd, timeout_s=PATIENCE_S)
    assert rig.carried_out == [(Role.OPERATOR, "arm")]


STRANGERS: dict[str, tuple[Callable[[Rig], ClientKey | None], str]] = {
    "no key": (lambda rig: None, "without a key"),
    "unknown key": (lambda rig: _stranger(rig), "is not known"),
    "another rig's key": (lambda rig: changed(rig.keys[Role.OPERATOR], rig=_stranger(rig).public), "another rig"),
    "revoked key": (lambda rig: _revoked(rig), "was revoked"),
}


def _stranger(rig: Rig) -> ClientKey:
    public, secret = (one.decode() for one in zmq.curve_keypair())
    return changed(rig.keys[Role.OPERATOR], public=public, secret=secret)


def _revoked(rig: Rig) -> ClientKey:
    rig.store.revoke("the_operator")
    return rig.keys[Role.OPERATOR]


@pytest.mark.parametrize("name", STRANGERS)
def test_strangers_are_not_heard_and_named_in_the_log(rig: Rig, name: str) -> None:
    make, reason = STRANGERS[name]
    with client(rig, make(rig)) as stranger:
        with pytest.raises(ServiceError, match="no answer"):
            stranger.request("arm", timeout_s=IMPATIENCE_S)
        until(lambda: rig.said(reason), reason)
    # ZeroMQ itself turns away who comes without a key, or for another rig: his address may be gone before it is read.
    turned_away_early = name in ("no key", "another rig's key")
    assert rig.said("refused 127.0.0.1") or (turned_away_early and rig.said("refused somebody"))
    assert rig.carried_out == []


def test_a_stranger_s_refusal_is_not_laid_on_who_came_in_meanwhile(rig: Rig) -> None:
    """ZeroMQ tells that a greeting failed, and not whose: with two at the door it may have been either."""
    with socket.create_connection(("127.0.0.1", rig.port), source_address=("127.0.0.9", 0)) as keyless:
        with client(rig, rig.keys[Role.OPERATOR]) as good:
            good.request("status", timeout_s=PATIENCE_S)
            keyless.sendall(KEYLESS_GREETING)
            until(lambda: rig.said("without a key"), "a word of the keyless")
            assert rig.said("one of 127.0.0.1, 127.0.0.9")
    until(lambda: _greeted_keyless(rig, "127.0.0.8") and rig.said("refused 127.0.0.8:"), "no suspicion of who has left")


def _greeted_keyless(rig: Rig, address: str) -> bool:
    """One who waits until his address has been read; that he came is told before he fails."""
    with socket.create_connection(("127.0.0.1", rig.port), source_address=(address, 0)) as one:
        time.sleep(0.05)
        one.sendall(KEYLESS_GREETING)
        one.settimeout(PATIENCE_S)
        while one.recv(1000):
            pass
    return True


def test_a_key_that_is_revoked_while_it_is_connected_commands_no_more(rig: Rig) -> None:
    with client(rig, rig.keys[Role.OPERATOR]) as operator:
        operator.request("arm", timeout_s=PATIENCE_S)
        rig.store.revoke("the_operator")
        with pytest.raises(ServiceError, match="has been revoked"):
            operator.request("disarm", timeout_s=PATIENCE_S)
    assert rig.carried_out == [(Role.OPERATOR, "arm")]


def test_results_are_for_those_with_a_key(rig: Rig) -> None:
    def hears(key: ClientKey | None, patience_ms: int) -> bool:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        if key is not None:
            secure_client(context, key)
        subscriber = connect(context, zmq.SUB, rig.results)
        subscriber.subscribe(b"")
        heard = bool(subscriber.poll(patience_ms))
        subscriber.close()
        context.destroy(linger=0)
        return heard

    assert hears(rig.keys[Role.VIEWER], 60_000)
    assert not hears(None, 500)
    assert not hears(_stranger(rig), 500)


@pytest.mark.parametrize("cmd", ["arm", "mark", "trip", "status"])
def test_a_replayed_command_is_refused_but_a_stop_stops_again(rig: Rig, cmd: str) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    secure_client(context, rig.keys[Role.OPERATOR])
    recorded = encode_control(Request(id="recorded", role=Role.OPERATOR, cmd=cmd))
    dealer = connect(context, zmq.DEALER, rig.control)
    replies = []
    for _ in range(3):
        dealer.send(recorded)
        assert dealer.poll(60_000)
        replies.append(dealer.recv())
    dealer.close()
    context.destroy(linger=0)
    assert len(rig.carried_out) == (3 if cmd in ANYONE else 1)
    if cmd not in ANYONE:
        assert b"carried out before" in replies[1]


def test_bytes_that_are_no_zeromq_do_nothing(rig: Rig) -> None:
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 200, b"\xff\0\0\0\0\0\0\0\x01\x7f\x03" + b"\0" * 100, b""):
        with socket.create_connection(("127.0.0.1", rig.port)) as raw:
            raw.sendall(data)
    with client(rig, rig.keys[Role.VIEWER]) as viewer:
        viewer.request("status", timeout_s=PATIENCE_S)
    assert rig.carried_out == [(Role.VIEWER, "status")]


def test_messages_of_any_parts_do_nothing_and_keep_nobody_waiting(rig: Rig) -> None:
    """Of a viewer: what happens to be right among them is refused all the same."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    secure_client(context, rig.keys[Role.VIEWER])
    dealer = connect(context, zmq.DEALER, rig.control, 5000)
    random = np.random.default_rng(1)
    right = encode_control(Request(id="x", role=Role.SERVICE, cmd="shutdown"))
    for _ in range(3000):
        parts = [random.bytes(int(random.integers(0, 60))) for _ in range(random.integers(1, 5))]
        if random.integers(2):
            cut = int(random.integers(0, len(right)))
            parts[0] = right[:cut] + parts[0] + right[cut + 1 :]
        dealer.send_multipart(parts)
    with client(rig, rig.keys[Role.VIEWER]) as viewer:
        viewer.request("status", timeout_s=PATIENCE_S)
    dealer.close()
    context.destroy(linger=0)
    assert [cmd for _, cmd in rig.carried_out] == ["status"]


def test_a_message_that_is_too_long_is_not_taken(rig: Rig) -> None:
    with client(rig, rig.keys[Role.OPERATOR]) as operator:
        with pytest.raises(ServiceError, match="no answer"):
            operator.request("mark", {"note": b"x" * (MAX_CONTROL_BYTES + 1)}, timeout_s=IMPATIENCE_S)
        operator.request("status", timeout_s=PATIENCE_S)  # it would come after the other
    assert [cmd for _, cmd in rig.carried_out] == ["status"]


def test_without_keys_nothing_is_bound_beyond_loopback() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    for endpoint in ("tcp://0.0.0.0:5570", "tcp://*:5570", "tcp://192.168.1.5:5570", "tcp://[::]:5570"):
        assert not is_loopback(endpoint)
        with pytest.raises(ConfigError, match="needs keys"):
            bind(context, zmq.PUB, endpoint)
    context.destroy(linger=0)


def test_the_same_refusal_does_not_fill_the_log(rig: Rig) -> None:
    for _ in range(1000):
        rig.guard.note("refused 10.0.0.1: without a key")
    assert rig.guard.take() == [
        "refused 10.0.0.1: without a key",
        *(f"refused 10.0.0.1: without a key ({n} times)" for n in (10, 100, 1000)),
    ]


def _own_key(rig: Rig) -> ClientKey:
    own = rig.store.rig_key()
    return ClientKey("rig", Role.SERVICE, own.public, own.secret, own.public)


def test_nobody_but_services_answers_for_a_service(rig: Rig) -> None:
    """Else whoever may look could answer in the place of the interlock."""
    endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    router, gate = bind(rig.context, zmq.ROUTER, endpoint), Gate(rig.guard)
    said = {}
    for key in (*rig.keys.values(), _own_key(rig)):
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        secure_client(context, key)
        dealer = connect(context, zmq.DEALER, endpoint)
        dealer.send(b"a reply")
        assert router.poll(60_000)
        _, part = router.recv_multipart(copy=False)
        said[key.role] = gate.is_service(part)
        dealer.close()
        context.destroy(linger=0)
    router.close()
    assert said == dict.fromkeys(_CLIENTS, False) | {Role.SERVICE: True}


@pytest.mark.parametrize("role", _CLIENTS)
def test_only_services_reach_the_recorder_s_inlet(rig: Rig, role: Role) -> None:
    """Else whoever may look could write into the journal."""

    def arrives(key: ClientKey) -> bool:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        secure_client(context, key)
        sender = connect(context, zmq.PUSH, endpoint)
        sender.send(b"log")
        try:
            until(lambda: inlet.poll(0) or rig.said("which may not send here"), "an answer")
            return bool(inlet.poll(0))
        finally:
            sender.close()
            context.destroy(linger=0)

    endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    inlet = bind(rig.context, zmq.PULL, endpoint, admits=SERVICES)
    try:
        assert arrives(_own_key(rig))
        inlet.recv()
        assert not arrives(rig.keys[role])
        assert rig.said(f"the key 'the_{role}' is of role {role}")
    finally:
        inlet.close()
