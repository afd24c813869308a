"""ScanImage's side of `scanimage/wire.py`: what `spikeloop_frames.m` does, for tests and to try a rig without MATLAB.

``python -m drivers.microscopes.simulators.scanimage --port 5995 --seconds 60`` sends a drifting pattern of cells.
"""

from __future__ import annotations

import argparse
import socket
import time
import uuid
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from drivers.microscopes.scanimage.wire import FrameNote, pack
from drivers.microscopes.simulators.pictures import stamped

_MOST_UNSENT_BYTES = 16 << 20


class SimulatedScanImage:
    """Sends frames and never waits: what the other side does not take in time is left out and counted.

    Attributes
    ----------
    skipped : int
        Frames that were left out so far.
    """

    def __init__(self, port: int, frame_rate_hz: float = 30.0, channels: tuple[int, ...] = (1,)) -> None:
        self._address, self._rate_hz, self._channels = ("127.0.0.1", port), frame_rate_hz, channels
        self._boot, self._seq = uuid.uuid4().hex, 0
        self._link: socket.socket | None = None
        self._unsent = b""
        self.skipped = 0

    def connect(self) -> bool:
        """Try once to reach the other side."""
        if self._link is None:
            with suppress(OSError):
                self._link = socket.create_connection(self._address, timeout=1.0)
                self._link.setblocking(False)
        return self._link is not None

    def send(self, frame: int, t_s: float, pixels: NDArray[np.int16], **more: object) -> bool:
        """One frame, shape (n_channels, n_lines, n_pixels); False if it was left out."""
        if not self.connect() or not self.flush() or len(self._unsent) > _MOST_UNSENT_BYTES:
            self.skipped += 1
            return False
        values = {
            **{"boot": self._boot, "seq": self._seq, "frame": frame, "t_s": t_s, "channels": list(self._channels)},
            **{"n_lines": pixels.shape[1], "n_pixels": pixels.shape[2], "frame_rate_hz": self._rate_hz},
            "skipped": self.skipped,
        }
        note = FrameNote(**(values | more))
        self._seq += 1
        self._unsent += pack(note, pixels)
        self.flush()
        return True

    def flush(self) -> bool:
        """Send what is left of the last frame as far as it goes; True if nothing is left."""
        while self._unsent and self._link is not None:
            try:
                n_bytes = self._link.send(self._unsent)
            except BlockingIOError:
                return False
            except OSError:
                self.close()
                return True
            self._unsent = self._unsent[n_bytes:]
        return True

    def close(self) -> None:
        """Hang up."""
        link, self._link, self._unsent = self._link, None, b""
        if link is not None:
            link.close()


def main(arguments: list[str] | None = None) -> None:
    """Send cells that flicker, for so many seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=5995)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate-hz", type=float, default=30.0)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--stamped", action="store_true", help="pictures that tell their number, instead of cells")
    given = parser.parse_args(arguments)
    random, source = np.random.default_rng(1), SimulatedScanImage(given.port, given.rate_hz)
    cells = np.kron(random.random((given.size // 16,) * 2) > 0.8, np.ones((16, 16))) * 60 + 15
    begun_s = time.perf_counter()
    for frame in range(1, round(given.seconds * given.rate_hz) + 1):
        if given.stamped:
            pixels = stamped((given.size, given.size), frame).astype(np.int16)
        else:
            bright = np.kron(1 + 3 * (random.random((given.size // 16,) * 2) > 0.99), np.ones((16, 16)))
            pixels = random.poisson(cells * bright).astype(np.int16)
        while time.perf_counter() - begun_s < frame / given.rate_hz:
            source.flush()
            time.sleep(0.001)
        source.send(frame, frame / given.rate_hz, pixels[None])
    source.close()


if __name__ == "__main__":
    main()
