"""A microscope outside spikeloop, its movie a script of accidents from a seed: gaps, jumps, noise, glare, strips."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import tifffile
import zmq
from numpy.typing import NDArray

from rt_engine.interfaces.messages import FrameHeader, encode

RATE_HZ = 30.0
N_STRIPS = 4


def accident(random: Random, frame: NDArray[Any], calm: bool) -> tuple[int, NDArray[Any]]:
    """How many frames are never sent, and what becomes of this one."""
    chance = 1.0 if calm else random.random()
    if chance < 0.02:
        return random.randint(1, 15), frame
    if chance < 0.03:
        return 0, np.array([random.randrange(4000) for _ in range(frame.size)], frame.dtype).reshape(frame.shape)
    if chance < 0.04:
        glare, line = frame.copy(), random.randrange(frame.shape[0] - 20)
        glare[line : line + 20] = 4095
        return 0, glare
    return 0, frame


def main() -> None:
    """Send for ever; arguments: port, movie, seed."""
    port, movie, seed = int(sys.argv[1]), tifffile.imread(Path(sys.argv[2])).astype("<u2"), int(sys.argv[3])
    random, shift, number = Random(seed), (0, 0), 0
    n_strips = N_STRIPS if seed % 2 else 1
    n_lines = movie.shape[1] // n_strips
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    out = context.socket(zmq.PUB)
    out.bind(f"tcp://127.0.0.1:{port}")
    due_s = time.perf_counter()
    seq = 0
    while True:
        if random.random() < 0.01:
            shift = random.randint(-5, 5), random.randint(-5, 5)
        skipped, frame = accident(random, movie[number % len(movie)], calm=number < 60)
        number += skipped
        frame = np.roll(frame, shift, (0, 1))
        for line0 in range(0, frame.shape[0], n_lines):
            time.sleep(max(0.0, due_s + (number + (line0 + n_lines) / frame.shape[0]) / RATE_HZ - time.perf_counter()))
            now_ns = time.perf_counter_ns()
            header = FrameHeader(
                source="script", host=socket.gethostname(), boot_id=str(seed), seq=seq, t_sent_ns=now_ns, plane=0,
                channel=0, frame=number, volume=None, line0=line0, n_lines=n_lines, lines_per_frame=frame.shape[0],
                pixels_per_line=frame.shape[1], dtype="u2", adc_max=4095, offset=100.0,
                frame_period_ns=round(1e9 / RATE_HZ), line_period_ns=None, t_scan_ns=now_ns, t_scan_uncertainty_ns=0,
                t_device_s=None, flags=0,
            )  # fmt: skip
            out.send_multipart([b"frame.0.0", encode(header), frame[line0 : line0 + n_lines].tobytes()])
            seq += 1
        number += 1


if __name__ == "__main__":
    main()
