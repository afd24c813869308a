"""Prairie View's side of `prairieview/`: script commands on a port, a ring of raw samples, and writing into memory.

``python -m drivers.microscopes.simulators.prairie_view --seconds 60`` scans in real time on port 1236.
"""

from __future__ import annotations

import argparse
import socket
import threading
import time
from collections import deque
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from drivers.microscopes.prairieview.samples import Layout
from drivers.microscopes.simulators.foreign_memory import write_into
from drivers.microscopes.simulators.pictures import stamped

OFFSET = 8192


class SimulatedPrairieView:
    """Answers one program at a time.

    Parameters
    ----------
    port : int
    layout : Layout
    rate_hz : float
    password : str

    Attributes
    ----------
    is_streaming : bool
        True once a program has asked for raw data.
    has_dropped : bool
        What ``-dd`` answers.
    is_hanging : bool
        True: commands are not answered.
    most_samples : int or None
        Fewer than a reader asks for.
    overflown : int
        Frames that the ring could not hold; Prairie View does not tell.
    """

    def __init__(self, port: int, layout: Layout, rate_hz: float = 30.0, password: str = "") -> None:
        self.layout, self._rate_hz, self._password = layout, rate_hz, password
        self.is_streaming = self.has_dropped = self.is_hanging = False
        self.most_samples: int | None = None
        self.overflown = 0
        self.asked: list[str] = []
        self._ring: deque[NDArray[np.int16]] = deque()
        self._ring_frames = 3
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port))
        self._peer: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name="prairie view")
        self._thread.start()

    def scan(self, stamp: int, part: float = 1.0) -> None:
        """One frame of every channel, or the first part of it."""
        layout = self.layout
        shape = (layout.n_lines, layout.n_pixels)
        pictures = np.array([stamped(shape, stamp, channel) for channel in range(layout.n_channels)])
        pixels = pictures.transpose(1, 2, 0).astype(np.int16)
        pixels[1::2] = pixels[1::2, ::-1].copy()
        samples = np.repeat(pixels[:, :, None, :] + OFFSET, layout.samples_per_pixel, axis=2).ravel()
        samples = samples[: round(part * len(samples))]
        with self._lock:
            if not self.is_streaming:
                return
            if len(self._ring) >= self._ring_frames:
                self.overflown += 1
            else:
                self._ring.append(samples)

    def close(self) -> None:
        """Prairie View ends."""
        for link in (self._listener, self._peer):
            if link is not None:
                with suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)
                link.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._peer = peer
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with peer, suppress(OSError):
                self._talk(peer)
            with self._lock:
                self.is_streaming = False
                self._ring.clear()

    def _talk(self, peer: socket.socket) -> None:
        rest, is_let_in = b"", not self._password
        while data := peer.recv(4096):
            rest += data
            while b"\r\n" in rest:
                line, _, rest = rest.partition(b"\r\n")
                words = [word for word in line.decode().split("\x01") if word]
                if not is_let_in:
                    if not words or words.pop(0) != self._password:
                        return
                    is_let_in = True
                if words[:1] == ["-x"]:
                    return
                while self.is_hanging:
                    time.sleep(0.005)
                peer.sendall(b"ACK\r\n")
                value = self._carry_out(words)
                peer.sendall(b"" if value is None else value.encode() + b"\r\n")
                peer.sendall(b"DONE\r\n")

    def _carry_out(self, words: list[str]) -> str | None:
        self.asked.append(" ".join(words))
        match words:
            case ["-srd", "true", frames]:
                with self._lock:
                    self.is_streaming, self._ring_frames = True, int(frames)
                    self._ring.clear()
            case ["-srd", "false"]:
                self.is_streaming = False
            case ["-rrd", process_id, address, most]:
                return str(self._read_into(int(process_id), int(address), int(most)))
            case ["-dd"]:
                return str(self.has_dropped)
            case ["-spp"]:
                return str(self.layout.samples_per_pixel)
            case ["-gts", *key]:
                return self._state(" ".join(key))
        return None

    def _state(self, key: str) -> str:
        known = {
            "linesPerFrame": str(self.layout.n_lines),
            "pixelsPerLine": str(self.layout.n_pixels),
            "framePeriod": f"{1 / self._rate_hz:.9f}",
            "micronsPerPixel XAxis": "0.8",
        }
        return known.get(key, "")

    def _read_into(self, process_id: int, address: int, most: int) -> int:
        """Copy what is there, as far as it fits; how much."""
        most = min(most, self.most_samples or most)
        parts: list[NDArray[np.int16]] = []
        with self._lock:
            while self._ring and most > 0:
                samples = self._ring.popleft()
                if len(samples) > most:
                    self._ring.appendleft(samples[most:])
                parts.append(samples[:most])
                most -= len(parts[-1])
        data = b"".join(part.astype("<i2").tobytes() for part in parts)
        if data:
            write_into(process_id, address, data)
        return len(data) // 2


def main(arguments: list[str] | None = None) -> None:
    """Scan in real time, from when a program asks for raw data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=1236)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate-hz", type=float, default=30.0)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--samples-per-pixel", type=int, default=2)
    given = parser.parse_args(arguments)
    layout = Layout(given.size, given.size, given.samples_per_pixel, 1)
    side = SimulatedPrairieView(given.port, layout, given.rate_hz)
    begun_s = time.perf_counter()
    for frame in range(round(given.seconds * given.rate_hz)):
        time.sleep(max(0.0, begun_s + (frame + 1) / given.rate_hz - time.perf_counter()))
        side.scan(frame)
    side.close()


if __name__ == "__main__":
    main()
