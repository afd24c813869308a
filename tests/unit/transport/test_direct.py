"""The straight way carries whole messages in order, to nobody of another session, and never makes the sender wait."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest
import zmq

from rt_engine.interfaces.clock import NS_PER_S, MonotonicClock
from rt_engine.interfaces.errors import ServiceError
from rt_engine.transport.direct import DirectReceiver, DirectSender, Peer
from rt_engine.transport.free_ports import free_ports

DEADLINE_S = 30.0


@pytest.fixture
def endpoint() -> str:
    return f"tcp://127.0.0.1:{free_ports(1)[0]}"


@pytest.fixture
def pair(endpoint: str) -> Iterator[tuple[DirectSender, DirectReceiver]]:
    sender, receiver = DirectSender(endpoint, "s"), DirectReceiver(endpoint, "s", MonotonicClock())
    _until(lambda: _is_open(sender, receiver))
    yield sender, receiver
    sender.close()
    receiver.close()


def _until(done: Callable[[], bool]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < end_s
        time.sleep(0.002)


def _is_open(sender: DirectSender, receiver: DirectReceiver) -> bool:
    receiver.attend()
    sender.admit()
    assert receiver.take() is None
    return receiver.is_open


def _all(receiver: DirectReceiver, n: int) -> list[tuple[bytes, bytes, bytes]]:
    heard: list[tuple[bytes, bytes, bytes]] = []

    def enough() -> bool:
        while (message := receiver.take()) is not None:
            heard.append(message)
        return len(heard) >= n

    _until(enough)
    return heard


def test_messages_of_every_length_come_whole_and_in_order(pair: tuple[DirectSender, DirectReceiver]) -> None:
    sender, receiver = pair
    sent = [(b"spikes.0", bytes([n]) * 40 * n, bytes([n]) * (977 * n)) for n in range(60)]
    for message in sent:
        sender.send(message)
    assert _all(receiver, len(sent)) == sent
    assert sender.dropped == 0


def test_only_a_few_are_let_in_and_none_fills_the_queue(endpoint: str) -> None:
    sender = DirectSender(endpoint, "s")
    address = "127.0.0.1", int(endpoint.rpartition(":")[2])
    strangers = []
    try:
        for _ in range(200):  # more than the system lets wait
            strangers.append(socket.create_connection(address, DEADLINE_S))
            sender.admit()
        sender.send((b"spikes.0", b"h", b""))
        heard = [b"spikes.0" in _rest(stranger) for stranger in strangers]
    finally:
        for stranger in strangers:
            stranger.close()
        sender.close()
    assert heard == [True] * 8 + [False] * 192


def _rest(stranger: socket.socket) -> bytes:
    """What it gets until nothing more comes, or it is hung up on."""
    stranger.settimeout(0.2)
    got = b""
    try:
        while data := stranger.recv(1000):
            got += data
    except TimeoutError:
        pass
    return got


def test_a_message_wakes_who_polls(pair: tuple[DirectSender, DirectReceiver]) -> None:
    sender, receiver = pair
    poller = zmq.Poller()
    poller.register(receiver.socket, zmq.POLLIN)
    assert not poller.poll(0)
    sender.send((b"spikes.0", b"h", b""))
    assert poller.poll(DEADLINE_S * 1000)
    assert receiver.take() == (b"spikes.0", b"h", b"")


def test_who_does_not_read_costs_the_sender_nothing_but_dropped_messages_and_later_gets_whole_ones(
    pair: tuple[DirectSender, DirectReceiver],
) -> None:
    sender, receiver = pair
    payload = b"x" * 1_000_000
    n = 0
    while sender.dropped == 0:
        n += 1
        sender.send((b"spikes.0", n.to_bytes(4, "big"), payload))
        assert n < 1000
    heard: list[int] = []

    def drained() -> bool:
        while (message := receiver.take()) is not None:
            assert len(message[2]) in (0, len(payload))
            heard.append(int.from_bytes(message[1], "big"))
        sender.send((b"spikes.0", (0).to_bytes(4, "big"), b""))
        return 0 in heard

    _until(drained)
    in_order = [one for one in heard if one]
    assert in_order == list(range(1, len(in_order) + 1))
    assert len(in_order) < n


def test_a_sender_of_another_session_is_not_listened_to(endpoint: str) -> None:
    now = [0]

    class Clock:
        def now_ns(self) -> int:
            return now[0]

    sender, receiver = DirectSender(endpoint, "another"), DirectReceiver(endpoint, "s", Clock())
    try:
        for _ in range(50):
            receiver.attend()
            sender.admit()
            sender.send((b"spikes.0", b"h", b"p"))
            assert receiver.take() is None
            assert not receiver.is_open
            now[0] += NS_PER_S // 50
            time.sleep(0.002)
    finally:
        receiver.close()
        sender.close()


def test_it_is_found_again_after_the_other_was_gone(endpoint: str) -> None:
    receiver = DirectReceiver(endpoint, "s", MonotonicClock())
    receiver.attend()  # nobody is there yet
    for number in range(2):
        sender = DirectSender(endpoint, "s")
        _until(lambda sender=sender: _is_open(sender, receiver))  # type: ignore[misc]
        sender.send((b"spikes.0", bytes([number]), b""))
        assert _all(receiver, 1) == [(b"spikes.0", bytes([number]), b"")]
        sender.close()
        _until(lambda: receiver.take() is None and not receiver.is_open)
    receiver.close()


def test_noise_is_hung_up_on(endpoint: str) -> None:
    port = int(endpoint.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)) as server:
        receiver = DirectReceiver(endpoint, "s", MonotonicClock())
        receiver.attend()
        other, _ = server.accept()
        other.sendall(b"\xff" * 64)
        _until(lambda: receiver.take() is None and receiver.socket is None)
        other.close()


def test_a_port_that_is_taken_is_said(endpoint: str) -> None:
    sender = DirectSender(endpoint, "s")
    with pytest.raises(ServiceError, match="cannot be used"):
        DirectSender(endpoint, "s")
    sender.close()


class _Narrow:
    """A socket that takes a few bytes at a time, as one does whose reader is slow."""

    def __init__(self, *room: int) -> None:
        self._room = list(room)
        self.taken = b""

    def send(self, data: bytes) -> int:
        n = self._room.pop(0)
        self.taken += data[:n]
        return n


def test_no_message_begins_inside_another() -> None:
    narrow = _Narrow(3, 1, 2, 4)
    peer = Peer(narrow)  # type: ignore[arg-type]
    assert peer.send(b"first!")  # three bytes of it are left over
    assert not peer.send(b"lost")  # one of them goes out, so this one is dropped whole
    assert peer.send(b"last")
    assert narrow.taken == b"first!last"
