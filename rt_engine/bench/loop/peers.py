"""The same loop from other people's parts: OpenCV's template matching, a CSR matrix, one OASIS a cell."""

from __future__ import annotations

import gc
import multiprocessing
import struct
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray
from scipy.sparse import csr_array

from rt_engine.bench.loop.field import PlantedLoop
from rt_engine.bench.loop.pace import Pacer
from rt_engine.bench.loop.reference import await_answers, receive_stamps
from rt_engine.interfaces.calibration import Calibration, load_calibration, save_calibration
from rt_engine.interfaces.errors import ServiceError, SpikeloopError

WINDOW_FRAMES = 100
"""oasis-deconv has no online form: the last so many samples of a cell are deconvolved anew at each frame."""
MAX_SHIFT_PX = 10
_STAMP = struct.Struct("<qq")
_WAIT_MS = 60_000
_END = b"end"


class PeerEngine:
    """Registers, reads, deconvolves and decides one frame with other people's code, on one thread.

    Parameters
    ----------
    calibration : Calibration

    Raises
    ------
    SpikeloopError
        OpenCV or oasis-deconv is not installed.
    """

    def __init__(self, calibration: Calibration) -> None:
        try:
            self._cv2 = import_module("cv2")
            self._oasis = import_module("oasis.oasis_methods").oasisAR1_f32
        except ImportError as error:
            raise SpikeloopError(f"{error.name} is not installed", 'pip install "spikeloop[bench]"') from error
        self._cv2.setNumThreads(1)
        template = calibration.template
        self._shape = template.shape
        edge = MAX_SHIFT_PX
        self._template = np.ascontiguousarray(template[edge:-edge, edge:-edge])
        self._matrix = _means(calibration)
        self._n = calibration.n_rois
        self._f0 = calibration.f0_counts
        self._neuropil = calibration.neuropil_coefficient
        self._gamma = np.exp(-1.0 / (calibration.tau_s * calibration.frame_rate_hz)).astype(np.float64)
        self._traces = np.zeros((self._n, WINDOW_FRAMES), np.float32)
        self._limit = 0.5 * calibration.amplitude_dff

    def process(self, frame: NDArray[np.uint16]) -> int:
        """Number of cells that are told to have fired."""
        cv2 = self._cv2
        image = frame.astype(np.float32)
        match = cv2.matchTemplate(image, self._template, cv2.TM_CCOEFF_NORMED)
        _, _, _, (x, y) = cv2.minMaxLoc(match)
        part_y, part_x = _tops(match, y, x)
        shift_y, shift_x = y + part_y - MAX_SHIFT_PX, x + part_x - MAX_SHIFT_PX
        move = np.array([[1, 0, -shift_x], [0, 1, -shift_y]], np.float32)
        image = cv2.warpAffine(image, move, self._shape[::-1], flags=cv2.INTER_LINEAR)
        means = self._matrix @ image.reshape(-1)
        dff = (means[: self._n] - self._neuropil * means[self._n :]) / self._f0
        traces = self._traces
        traces[:, :-1] = traces[:, 1:]
        traces[:, -1] = dff - np.median(dff)
        n_fired = 0
        for cell in range(self._n):
            _, spikes = self._oasis(traces[cell], self._gamma[cell], 0.0, 0.0)
            n_fired += bool(spikes[-2] > self._limit[cell])
        return n_fired


def _means(calibration: Calibration) -> csr_array:
    """Rows that average over every footprint, then over every ring, float32."""
    start = np.concatenate([calibration.roi_start, calibration.roi_start[-1] + calibration.neuropil_start[1:]])
    pixels = np.concatenate([calibration.roi_pixels, calibration.neuropil_pixels]).astype(np.int32)
    values = np.repeat(1.0 / np.diff(start), np.diff(start)).astype(np.float32)
    return csr_array((values, pixels, start.astype(np.int32)), shape=(len(start) - 1, calibration.template.size))


def _tops(match: NDArray[np.float32], y: int, x: int) -> tuple[float, float]:
    parts = []
    for axis, place in enumerate((y, x)):
        if not 0 < place < match.shape[axis] - 1:
            parts.append(0.0)
            continue
        before, here, after = (match[(y + k, x) if axis == 0 else (y, x + k)] for k in (-1, 0, 1))
        curvature = 2 * here - before - after
        parts.append(float(0.5 * (after - before) / curvature) if curvature > 0 else 0.0)
    return parts[0], parts[1]


def _infer(path: str, frames_port: int, decisions_port: int) -> None:
    """Middle process: a frame in, the peers' engine, its number and time out."""
    engine = PeerEngine(load_calibration(Path(path)))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    frames, decisions = context.socket(zmq.SUB), context.socket(zmq.PUB)
    frames.connect(f"tcp://127.0.0.1:{frames_port}")
    frames.subscribe(b"")
    decisions.bind(f"tcp://127.0.0.1:{decisions_port}")
    gc.freeze()
    gc.disable()
    while True:
        header, pixels = frames.recv_multipart()
        if header == _END:
            decisions.send(header)
            break
        engine.process(np.frombuffer(pixels, np.uint16).reshape(engine._shape))
        decisions.send(header)
    context.destroy(linger=500)


class PeerChain:
    """Driver of the peers' chain: the sockets and messages of the reference hop, with their code in the middle.

    Parameters
    ----------
    planted : PlantedLoop
    ports : tuple of int
        Three free ports.
    """

    def __init__(self, planted: PlantedLoop, ports: tuple[int, int, int]) -> None:
        frames_port, decisions_port, answers_port = ports
        self._planted, self._frame = planted, 0
        self._folder = tempfile.TemporaryDirectory(prefix="spikeloop-peers-")
        path = Path(self._folder.name) / "calibration.h5"
        save_calibration(path, planted.calibration)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._frames, self._answers = self._context.socket(zmq.PUB), self._context.socket(zmq.PULL)
        self._frames.bind(f"tcp://127.0.0.1:{frames_port}")
        self._answers.bind(f"tcp://127.0.0.1:{answers_port}")
        spawn = multiprocessing.get_context("spawn")
        self._processes: list[Any] = [
            spawn.Process(target=_infer, args=(str(path), frames_port, decisions_port), daemon=True),
            spawn.Process(target=receive_stamps, args=(decisions_port, answers_port), daemon=True),
        ]
        for process in self._processes:
            process.start()
        await_answers(self._answers, lambda: self._send(), "the processes of the peers' chain")

    def _send(self) -> int:
        t_ready_ns = time.perf_counter_ns()
        frames = self._planted.frames
        pixels = frames[self._frame % len(frames)].data.cast("B")
        self._frames.send_multipart([_STAMP.pack(self._frame, t_ready_ns), pixels])
        self._frame += 1
        return t_ready_ns

    def run(self, n_frames: int, rate_hz: float | None) -> NDArray[np.int64]:
        """As `ReferenceHop.run`.

        Raises
        ------
        ServiceError
            No answer.
        """
        took_ns = np.zeros(n_frames, np.int64)
        pacer = Pacer(rate_hz)
        for number in range(n_frames):
            pacer.wait()
            t_ready_ns = self._send()
            if not self._answers.poll(_WAIT_MS):
                raise ServiceError("the peers' chain has lost a frame")
            took_ns[number] = _STAMP.unpack(self._answers.recv())[1] - t_ready_ns
        return took_ns

    def close(self) -> None:
        """End both processes."""
        self._frames.send_multipart([_END, b""])
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join(5)
        self._context.destroy(linger=0)
        self._folder.cleanup()
