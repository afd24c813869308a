"""What CURVE costs a streaming program: a frame of 512 x 512 from its `send` to our `read`, with keys and without."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from mqtt_rig import until
from wire_samples import frame, wire_parts

from drivers.microscopes.stream import StreamMicroscope
from rt_engine.interfaces.control import Role
from rt_engine.interfaces.stream_config import StreamMicroscope as Config
from rt_engine.transport.free_ports import free_ports
from rt_engine.transport.key_store import KeyStore, read_client_key
from rt_engine.transport.security import secure_client
from rt_engine.transport.sockets import bind, connect

pytestmark = pytest.mark.benchmark
SIDE_PX = 512
N, N_FIRST = 400, 50


class _Link:
    """A program and a driver in one thread, so that nothing but the way is timed."""

    def __init__(self, keys: Path | None) -> None:
        endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        if keys is None:
            self._socket = bind(self._context, zmq.PUB, endpoint)
            config = Config(driver="stream", endpoint=endpoint)
        else:
            secure_client(self._context, read_client_key(keys / "pc.key"))
            self._socket = connect(self._context, zmq.PUB, endpoint)
            config = Config(driver="stream", listen=endpoint)
        self._microscope = StreamMicroscope(config, keys=None if keys is None else str(keys))
        self._image = np.zeros((SIDE_PX, SIDE_PX), "<u2")
        self._buffer = np.zeros((SIDE_PX, SIDE_PX), np.uint16)
        self._number = 0
        until(self._is_heard, "the first frame")

    def _message(self) -> list[bytes]:
        self._number += 1
        shape: dict[str, Any] = {"n_lines": SIDE_PX, "lines_per_frame": SIDE_PX, "pixels_per_line": SIDE_PX}
        shape |= {"frame_period_ns": 10**7, "t_scan_ns": time.perf_counter_ns()}
        return wire_parts(frame(self._number, self._image, **shape))

    def _is_heard(self) -> bool:
        self._socket.send_multipart(self._message())
        return self._microscope.open() is not None

    def way_us(self) -> float:
        while self._microscope.read(self._buffer, 0.0) is not None:
            pass
        message = self._message()
        began_ns = time.perf_counter_ns()
        self._socket.send_multipart(message)
        if self._microscope.read(self._buffer, 10.0) is None:
            raise TimeoutError("a frame was lost")
        return (time.perf_counter_ns() - began_ns) / 1000

    def close(self) -> None:
        self._microscope.close()
        self._context.destroy(linger=0)


def test_a_streamed_frame_with_keys_costs_more(tmp_path: Path) -> None:
    KeyStore(tmp_path).new_client("pc", Role.SOURCE)
    links = [_Link(None), _Link(tmp_path)]
    times_us = np.array([[link.way_us() for link in links] for _ in range(N)])[N_FIRST:]
    plain, secured = np.median(times_us, axis=0)
    high = np.percentile(times_us, 99, axis=0)
    print(f"frame of 512 KiB: {plain:.0f} us plain, {secured:.0f} us with keys; p99 {high[0]:.0f} and {high[1]:.0f}")
    for link in links:
        link.close()
    assert secured > plain
