"""What CURVE costs: a frame of 512 x 512 and a small message, back and forth, with keys and without, interleaved."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zmq

from rt_engine.interfaces.control import Role
from rt_engine.transport.free_ports import free_ports
from rt_engine.transport.key_store import KeyStore
from rt_engine.transport.security import secure_rig
from rt_engine.transport.sockets import bind, connect

pytestmark = pytest.mark.benchmark
SIZES = {"command of 200 bytes": 200, "frame of 512 KiB": 512 * 1024}


class _Echo:
    """A pair of sockets in two contexts, the far one answered by a thread."""

    def __init__(self, folder: str | None) -> None:
        self._contexts: list[zmq.Context[zmq.Socket[bytes]]] = [zmq.Context(), zmq.Context()]
        self._guards = [secure_rig(context, folder) for context in self._contexts]
        endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
        self._far = bind(self._contexts[0], zmq.PAIR, endpoint)
        self.near = connect(self._contexts[1], zmq.PAIR, endpoint)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while data := self._far.recv():
            self._far.send(data[:8])

    def round_trip_us(self, data: bytes) -> float:
        began = time.perf_counter_ns()
        self.near.send(data)
        self.near.recv()
        return (time.perf_counter_ns() - began) / 1000

    def close(self) -> None:
        self.near.send(b"")
        self._thread.join()
        for made, guard, context in zip((self._far, self.near), self._guards, self._contexts, strict=True):
            made.close()
            if guard is not None:
                guard.close()
            context.destroy(linger=0)


def test_a_frame_with_keys_costs_more_and_a_command_hardly(tmp_path: Path) -> None:
    KeyStore(tmp_path).new_client("anna", Role.VIEWER)
    plain, secured = _Echo(None), _Echo(str(tmp_path))
    medians_us = {}
    for name, size in SIZES.items():
        data = bytes(size)
        times_us = np.array([[one.round_trip_us(data) for one in (plain, secured)] for _ in range(400)])[50:]
        medians_us[name] = np.median(times_us, axis=0)
        print(f"{name}: {medians_us[name][0]:.0f} us plain, {medians_us[name][1]:.0f} us with keys")
    plain.close()
    secured.close()
    small, frame = (medians_us[name] for name in SIZES)
    assert small[1] < 3 * small[0]
    assert frame[1] > frame[0]
