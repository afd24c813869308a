"""A program that is no part of spikeloop sends frames of moving light, good and bad, as the test says."""

from __future__ import annotations

import time
from typing import Any

import msgpack
import numpy as np
import zmq
from system_rig import DEADLINE_S, RunningRig, small_rig


def stream_rig(port: int) -> dict[str, Any]:
    """The small rig whose microscope is a program at a port."""
    rig = small_rig()
    # On a busy computer too every frame is decided: what is skipped under overload has tests of its own.
    rig["inference"] |= {"max_backlog_frames": 1000, "deadline_ms": 60_000.0}
    rig["microscope"] = {"driver": "stream", "endpoint": f"tcp://127.0.0.1:{port}"}
    return rig


class StreamSource:
    """Sends frames as the test says."""

    def __init__(self, port: int) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.PUB)
        self.socket.bind(f"tcp://127.0.0.1:{port}")
        self.random = np.random.default_rng(1)
        self.cells = np.kron(self.random.random((16, 16)) > 0.7, np.ones((8, 8))) * 40 + 10
        self.seq = 0

    def send(self, frame: int, payload: bytes | None = None, **changes: Any) -> None:
        bright = 1 + 3 * (self.random.random((16, 16)) > 0.97)
        pixels = self.random.poisson(self.cells * np.kron(bright, np.ones((8, 8)))).astype("<u2")
        now_ns = time.perf_counter_ns()
        header = {
            **{"v": 1, "session": "", "source": "test", "host": "h", "boot_id": "b", "seq": self.seq},
            **{"t_sent_ns": now_ns, "plane": 0, "channel": 0, "frame": frame, "volume": None},
            **{"line0": 0, "n_lines": 128, "lines_per_frame": 128, "pixels_per_line": 128, "dtype": "u2"},
            **{"adc_max": 65535, "offset": 0.0, "frame_period_ns": 10_000_000, "line_period_ns": None},
            **{"t_scan_ns": now_ns, "t_scan_uncertainty_ns": None, "t_device_s": None, "flags": 0, "blanked": []},
        } | changes
        body = pixels.tobytes() if payload is None else payload
        self.socket.send_multipart([b"frame.0.0", msgpack.packb(header), body])
        self.seq += 1
        time.sleep(0.01 * header["n_lines"] / header["lines_per_frame"])

    def send_strips(self, frame: int, n_strips: int = 4, lit: int | None = None) -> None:
        """One frame, strip by strip; square number `lit` of the bright ones is six times as bright."""
        bright = 1 + 3 * (self.random.random((16, 16)) > 0.97)
        if lit is not None:
            bright[tuple(np.argwhere(self.cells[::8, ::8] > 10)[lit])] = 6
        pixels = self.random.poisson(self.cells * np.kron(bright, np.ones((8, 8)))).astype("<u2")
        n_lines = 128 // n_strips
        for line0 in range(0, 128, n_lines):
            self.send(frame, pixels[line0 : line0 + n_lines].tobytes(), line0=line0, n_lines=n_lines)

    def close(self) -> None:
        self.socket.close()
        self.context.destroy(linger=0)


def until_live(run: RunningRig, source: StreamSource, *, strips: bool = False) -> int:
    """Feed frames until the run is live; the next frame number."""
    send = source.send_strips if strips else source.send
    run.wait_for("the services", lambda status: status["phase"] == "waiting")
    frame, deadline_s = 0, time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        for _ in range(100):
            send(frame)
            frame += 1
        status = run.ctl("status")
        if status["phase"] == "live" and status["frames"] > 50:
            return frame
    raise TimeoutError(run.output())
