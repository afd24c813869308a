"""Messages of the loop leave and arrive whole, in order, and nobody waits who does not want to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import zmq
from mqtt_rig import until

from rt_engine.transport.sockets import await_parts, is_waiting, send_parts, take_parts

Pair = tuple[zmq.Socket[bytes], zmq.Socket[bytes]]
_MORE_THAN_FIT = 1_000_000


@pytest.fixture
def pair() -> Iterator[Pair]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sender, receiver = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    sender.setsockopt(zmq.SNDHWM, 1)
    port = receiver.bind_to_random_port("tcp://127.0.0.1")
    sender.connect(f"tcp://127.0.0.1:{port}")
    yield sender, receiver
    context.destroy(linger=0)


def taken(receiver: zmq.Socket[bytes]) -> list[bytes]:
    until(lambda: is_waiting(receiver), "a message")
    parts = take_parts(receiver)
    assert parts is not None
    return [part.bytes for part in parts]


def test_messages_arrive_as_they_were_sent_and_one_by_one(pair: Pair) -> None:
    sender, receiver = pair
    assert not is_waiting(receiver)
    assert take_parts(receiver) is None
    for kind in (bytes, memoryview, zmq.Frame):
        for message in ([b"topic", b"header", b"payload"], [b"alone"], [b"", b""], [b"a", b"", bytes(100_000)]):
            send_parts(sender, [kind(part) for part in message])
            assert taken(receiver) == message
    assert take_parts(receiver) is None


def test_who_awaits_a_message_gets_the_next(pair: Pair) -> None:
    sender, receiver = pair
    for number in (b"1", b"2"):
        send_parts(sender, [b"topic", number])
    assert [await_parts(receiver)[1].bytes for _ in range(2)] == [b"1", b"2"]


def test_where_there_is_no_room_nothing_is_sent_and_nothing_waited_for() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sender = context.socket(zmq.PUSH)
    try:
        with pytest.raises(zmq.Again):  # there is nobody
            send_parts(sender, [b"topic", b"header"], waits=False)
        receiver = context.socket(zmq.PULL)
        sender.connect(f"tcp://127.0.0.1:{receiver.bind_to_random_port('tcp://127.0.0.1')}")
        send_parts(sender, [b"topic", b"whole"])
        assert [part.bytes for part in await_parts(receiver)] == [b"topic", b"whole"]
        assert not receiver.poll(100)
    finally:
        context.destroy(linger=0)


def test_a_full_queue_takes_no_part_of_a_message(pair: Pair) -> None:
    sender, receiver = pair
    receiver.setsockopt(zmq.RCVHWM, 1)
    n_sent = 0

    def send_until_it_is_full() -> None:
        nonlocal n_sent
        while n_sent < _MORE_THAN_FIT:
            send_parts(sender, [b"topic", n_sent.to_bytes(4, "little"), bytes(10_000)], waits=False)
            n_sent += 1

    with pytest.raises(zmq.Again):
        send_until_it_is_full()
    assert [int.from_bytes(taken(receiver)[1], "little") for _ in range(n_sent)] == list(range(n_sent))
