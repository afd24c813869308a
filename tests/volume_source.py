"""A microscope outside spikeloop that scans several planes and channels, as a test tells it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np
import zmq

LINES = 128


class VolumeSource:
    """Publishes volumes: for each plane one frame of every channel.

    Parameters
    ----------
    port : int
    planes, channels : sequence of int
    numbers_volumes : bool
        Give `volume`; without it only the frame counter tells, which runs through all planes.
    """

    def __init__(
        self, port: int, planes: Sequence[int], channels: Sequence[int] = (0,), *, numbers_volumes: bool = True
    ) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.PUB)
        self.socket.bind(f"tcp://127.0.0.1:{port}")
        self.planes, self.channels, self.numbers_volumes = tuple(planes), tuple(channels), numbers_volumes
        self.random = np.random.default_rng(1)
        self.cells = {
            plane: np.kron(self.random.random((16, 16)) > 0.93, np.ones((8, 8))) * 40 for plane in self.planes
        }
        self.volume = 0
        self.seq: dict[str, int] = {}

    def send_volume(self, period_s: float = 0.02) -> None:
        """Send the next volume, one frame of all channels every `period_s`."""
        for position, plane in enumerate(self.planes):
            frame = self.volume * len(self.planes) + position
            for channel in self.channels:
                self.send(plane, channel, frame, self.volume if self.numbers_volumes else None, period_s)
            time.sleep(period_s)
        self.volume += 1

    def send(self, plane: int, channel: int, frame: int, volume: int | None, period_s: float) -> None:
        """One frame; cells flare at random, in channel 0 nothing is seen."""
        bright = 1 + 3 * (self.random.random((16, 16)) > 0.97)
        shown = self.cells[plane] * np.kron(bright, np.ones((8, 8))) if channel else 0.0
        light = np.full((LINES, LINES), 10.0) + shown
        now_ns = time.perf_counter_ns()
        topic = f"frame.{plane}.{channel}"
        seq = self.seq[topic] = self.seq.get(topic, -1) + 1
        header: dict[str, Any] = {
            **{"v": 1, "session": "", "source": "test", "host": "h", "boot_id": "b", "seq": seq},
            **{"t_sent_ns": now_ns, "plane": plane, "channel": channel, "frame": frame, "volume": volume},
            **{"line0": 0, "n_lines": LINES, "lines_per_frame": LINES, "pixels_per_line": LINES, "dtype": "u2"},
            **{"adc_max": 65535, "offset": 0.0, "frame_period_ns": round(1e9 * period_s), "line_period_ns": None},
            **{"t_scan_ns": now_ns, "t_scan_uncertainty_ns": None, "t_device_s": None, "flags": 0, "blanked": []},
        }
        pixels = self.random.poisson(light).astype("<u2")
        self.socket.send_multipart([topic.encode(), msgpack.packb(header), pixels.tobytes()])

    def close(self) -> None:
        """Fall silent."""
        self.socket.close()
        self.context.destroy(linger=0)
