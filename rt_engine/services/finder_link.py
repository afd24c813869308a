"""Inference's side of the finder: starts it, hears its candidates, never waits for it."""

from __future__ import annotations

import contextlib
import multiprocessing
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import zmq

from rt_engine.services.scheduling import leave_the_loop
from rt_engine.transport.sockets import bind, is_waiting

_END_S = 2.0


@dataclass(frozen=True, slots=True)
class FinderSetup:
    """What the process needs; plain values. `endpoint` is where inference listens, `frames` where frames come from."""

    endpoint: str
    frames: str
    plane: int
    channel: int
    calibration: str
    neuropil_coefficient: float | None
    max_shift_px: float
    waits: bool
    keys: str | None = None


def begin_finder(setup: FinderSetup) -> None:
    """Entry point of the process; only here the search itself is imported.

    It was made by inference and is placed as inference is, at whose side it must not work.
    """
    leave_the_loop()
    from rt_engine.services.finder import run_finder

    run_finder(setup)


class FinderLink:
    """One finder process.

    Parameters
    ----------
    context : zmq.Context
    setup : FinderSetup
        `endpoint` is filled in here.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], setup: FinderSetup) -> None:
        self.socket = bind(context, zmq.PAIR, "tcp://127.0.0.1:*")
        endpoint = self.socket.getsockopt(zmq.LAST_ENDPOINT)
        text = endpoint.decode().rstrip("\0") if isinstance(endpoint, bytes) else str(endpoint)
        spawn = multiprocessing.get_context("spawn")
        self._process = spawn.Process(
            target=begin_finder, args=(replace(setup, endpoint=text),), name="spikeloop-finder"
        )
        self._process.start()
        self._held: list[bytes] = []
        self._is_ready = False

    def take(self) -> list[dict[str, Any]]:
        """Messages that wait; returns at once."""
        messages: list[dict[str, Any]] = []
        while is_waiting(self.socket):
            messages.append(msgspec.msgpack.decode(self.socket.recv()))
        if not self._is_ready and any(message["kind"] == "ready" for message in messages):
            self._is_ready = True
            for command in self._held:
                self._send(command)
            self._held.clear()
        return messages

    def send(self, kind: str, **facts: Any) -> None:
        """One command, held back until the process is there (a socket without a peer takes none).

        Lost if the finder is gone or a thousand behind, which costs a candidate and no frame.
        """
        command = msgspec.msgpack.encode({"kind": kind, **facts})
        if self._is_ready:
            self._send(command)
        else:
            self._held.append(command)

    def _send(self, command: bytes) -> None:
        with contextlib.suppress(zmq.Again):
            self.socket.send(command, zmq.NOBLOCK)

    @property
    def alive(self) -> bool:
        """True while the process lives."""
        return self._process.is_alive()

    def close(self) -> None:
        """End the process, by force if it is in the middle of a search, and close the socket."""
        self.send("stop")
        self._process.join(_END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(_END_S)
        self.socket.close(linger=0)
