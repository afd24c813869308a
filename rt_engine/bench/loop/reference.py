"""The reference hop: three processes, a frame of 512 KiB and a small message over TCP, and nothing computed."""

from __future__ import annotations

import gc
import multiprocessing
import struct
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from rt_engine.bench.loop.pace import Pacer
from rt_engine.interfaces.errors import ServiceError

FRAME_BYTES = 512 * 1024
_STAMP = struct.Struct("<qq")
_START_S = 60.0
_WAIT_MS = 10_000
_END = b"end"


def _forward(frames_port: int, decisions_port: int) -> None:
    """Middle process: a frame in, its number and time out."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    frames, decisions = context.socket(zmq.SUB), context.socket(zmq.PUB)
    frames.connect(f"tcp://127.0.0.1:{frames_port}")
    frames.subscribe(b"")
    decisions.bind(f"tcp://127.0.0.1:{decisions_port}")
    gc.freeze()
    gc.disable()
    while True:
        header, _ = frames.recv_multipart()
        decisions.send(header)
        if header == _END:
            break
    context.destroy(linger=500)


def receive_stamps(decisions_port: int, answers_port: int) -> None:
    """Output process: when did the small message come?"""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    decisions, answers = context.socket(zmq.SUB), context.socket(zmq.PUSH)
    decisions.connect(f"tcp://127.0.0.1:{decisions_port}")
    decisions.subscribe(b"")
    answers.connect(f"tcp://127.0.0.1:{answers_port}")
    gc.freeze()
    gc.disable()
    while True:
        header = decisions.recv()
        now_ns = time.perf_counter_ns()
        if header == _END:
            break
        answers.send(_STAMP.pack(_STAMP.unpack(header)[0], now_ns))
    context.destroy(linger=500)


def await_answers(answers: zmq.Socket[bytes], send: Callable[[], Any], who: str) -> None:
    """Send until answers come, then take in all of them.

    Raises
    ------
    ServiceError
        None came.
    """
    give_up_s = time.monotonic() + _START_S
    while True:
        send()
        if answers.poll(50):
            break
        if time.monotonic() > give_up_s:
            raise ServiceError(f"{who} do not answer")
    while answers.poll(500):
        answers.recv()


class ReferenceHop:
    """Driver of the reference; its two other processes live until `close`.

    Parameters
    ----------
    ports : sequence of int
        Three free ports.
    """

    def __init__(self, ports: tuple[int, int, int]) -> None:
        frames_port, decisions_port, answers_port = ports
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._frames, self._answers = self._context.socket(zmq.PUB), self._context.socket(zmq.PULL)
        self._frames.bind(f"tcp://127.0.0.1:{frames_port}")
        self._answers.bind(f"tcp://127.0.0.1:{answers_port}")
        spawn = multiprocessing.get_context("spawn")
        self._processes: list[BaseProcess] = [
            spawn.Process(target=_forward, args=(frames_port, decisions_port), daemon=True),
            spawn.Process(target=receive_stamps, args=(decisions_port, answers_port), daemon=True),
        ]
        for process in self._processes:
            process.start()
        self._payload = np.random.default_rng(0).integers(0, 4096, FRAME_BYTES // 2, np.uint16)
        await_answers(self._answers, lambda: self._send(0), "the processes of the reference hop")

    def _send(self, number: int) -> int:
        t_ready_ns = time.perf_counter_ns()
        self._frames.send_multipart([_STAMP.pack(number, t_ready_ns), self._payload.data.cast("B")])
        return t_ready_ns

    def run(self, n_frames: int, rate_hz: float | None) -> NDArray[np.int64]:
        """Time from the frame in the driver's memory to the small message at the output, ns, shape (n_frames,).

        Parameters
        ----------
        n_frames : int
        rate_hz : float or None
            None: the next frame leaves when the answer to the one before has come.

        Raises
        ------
        ServiceError
            No answer.
        """
        took_ns = np.zeros(n_frames, np.int64)
        pacer = Pacer(rate_hz)
        for number in range(n_frames):
            pacer.wait()
            t_ready_ns = self._send(number)
            if not self._answers.poll(_WAIT_MS):
                raise ServiceError("the reference hop has lost a frame")
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
