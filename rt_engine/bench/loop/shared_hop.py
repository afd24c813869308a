"""The hop with the frame in shared memory: written once, read in place; the message only says that it is there."""

from __future__ import annotations

import gc
import multiprocessing
import struct
import time
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from rt_engine.bench.loop.pace import Pacer
from rt_engine.bench.loop.reference import FRAME_BYTES, await_answers, receive_stamps
from rt_engine.interfaces.errors import ServiceError

N_SLOTS = 64
_STAMP = struct.Struct("<qq")
_WAIT_MS = 10_000
_END = b"end"
_HEAD_BYTES = 8 * N_SLOTS


def _views(memory: SharedMemory) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Sequence number of every slot, and the slots, shape (N_SLOTS, FRAME_BYTES)."""
    whole: NDArray[np.uint8] = np.ndarray((memory.size,), np.uint8, memory.buf)
    slots = whole[_HEAD_BYTES : _HEAD_BYTES + N_SLOTS * FRAME_BYTES].reshape(N_SLOTS, FRAME_BYTES)
    return whole[:_HEAD_BYTES].view(np.int64), slots


def _forward(name: str, frames_port: int, decisions_port: int) -> None:
    """Middle process: reads the frame where it is, as the engine would, and passes number and time on."""
    memory = SharedMemory(name)
    sequence, slots = _views(memory)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    frames, decisions = context.socket(zmq.SUB), context.socket(zmq.PUB)
    frames.connect(f"tcp://127.0.0.1:{frames_port}")
    frames.subscribe(b"")
    decisions.bind(f"tcp://127.0.0.1:{decisions_port}")
    gc.freeze()
    gc.disable()
    while True:
        header = frames.recv()
        if header == _END:
            decisions.send(header)
            break
        number = _STAMP.unpack(header)[0]
        slot = number % N_SLOTS
        if sequence[slot] != number or slots[slot, -1] > 255:
            continue  # overwritten: the reader is a whole ring behind
        decisions.send(header)
    context.destroy(linger=500)
    del sequence, slots
    memory.close()


class SharedHop:
    """Driver of the hop through shared memory; its two other processes live until `close`.

    Parameters
    ----------
    ports : tuple of int
        Three free ports.
    """

    def __init__(self, ports: tuple[int, int, int]) -> None:
        frames_port, decisions_port, answers_port = ports
        self._memory = SharedMemory(create=True, size=_HEAD_BYTES + N_SLOTS * FRAME_BYTES)
        self._sequence, self._slots = _views(self._memory)
        self._sequence[:] = -1
        self._number = 0
        self._payload = np.random.default_rng(0).integers(0, 256, FRAME_BYTES, np.uint8)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._frames, self._answers = self._context.socket(zmq.PUB), self._context.socket(zmq.PULL)
        self._frames.bind(f"tcp://127.0.0.1:{frames_port}")
        self._answers.bind(f"tcp://127.0.0.1:{answers_port}")
        spawn = multiprocessing.get_context("spawn")
        self._processes: list[Any] = [
            spawn.Process(target=_forward, args=(self._memory.name, frames_port, decisions_port), daemon=True),
            spawn.Process(target=receive_stamps, args=(decisions_port, answers_port), daemon=True),
        ]
        for process in self._processes:
            process.start()
        await_answers(self._answers, self._send, "the processes of the hop through shared memory")

    def _send(self) -> int:
        t_ready_ns = time.perf_counter_ns()
        number, slot = self._number, self._number % N_SLOTS
        self._sequence[slot] = -1
        self._slots[slot] = self._payload
        self._sequence[slot] = number
        self._frames.send(_STAMP.pack(number, t_ready_ns))
        self._number += 1
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
                raise ServiceError("the hop through shared memory has lost a frame")
            took_ns[number] = _STAMP.unpack(self._answers.recv())[1] - t_ready_ns
        return took_ns

    def close(self) -> None:
        """End both processes; the memory goes with them."""
        self._frames.send(_END)
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join(5)
        self._context.destroy(linger=0)
        del self._sequence, self._slots
        self._memory.close()
        self._memory.unlink()
