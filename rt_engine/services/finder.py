"""The finder: a process beside the frame loop that looks for cells which the calibration does not know.

It hears the same frames as inference, at low priority, and drops what it cannot follow. What it finds it tells to
inference by one socket; nothing in the frame loop ever waits for it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import queue
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import zmq
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.calibration_bytes import pack_cells
from rt_engine.interfaces.calibration_planes import load_plane
from rt_engine.interfaces.clock import NS_PER_S, MonotonicClock
from rt_engine.interfaces.errors import MessageError, SpikeloopError
from rt_engine.interfaces.messages import FrameHeader, decode
from rt_engine.models.bin_ring import BinRing
from rt_engine.models.calibrate import MAX_BIN_S
from rt_engine.models.candidate_watch import SAME, CandidateWatch, Watched, overlap
from rt_engine.models.cells import POOLING_DIAMETER_PX, SOMA_UM
from rt_engine.models.indicators import indicator
from rt_engine.models.new_cells import NewCell, find_new_cells
from rt_engine.pipeline.line_phase import straightened
from rt_engine.pipeline.registration import RigidRegistration
from rt_engine.services.finder_link import FinderSetup
from rt_engine.transport.security import secure_rig
from rt_engine.transport.sockets import connect

N_BINS, MIN_BINS = 400, 100
SEARCH_PERIOD_S = 30.0
MAX_WATCHED = 32
STALE_S = 2.0
"""Frames older than this when they are taken from the socket are dropped: the finder is behind."""
_QUEUE = 64
_DTYPES = {"u2": np.dtype("<u2"), "i2": np.dtype("<i2")}
_Result = tuple[str, Any, Any]


def run_finder(setup: FinderSetup) -> None:
    """Work until told to stop, or until the process that started it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = psutil.Process()
    # A system may forbid it: the finder works all the same.
    with contextlib.suppress(psutil.Error, OSError):
        process.nice(getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", 10))
    threading.Thread(target=_follow_parent, daemon=True, name="follow-parent").start()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    guard = secure_rig(context, setup.keys)
    try:
        _Loop(setup, context).run()
    finally:
        if guard is not None:
            guard.close()
        context.destroy(linger=0)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(3)


class _Loop:
    """Frames in, candidates out; long work is done by a thread of its own, so that frames keep being taken."""

    def __init__(self, setup: FinderSetup, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._setup = setup
        self._clock = MonotonicClock()
        self._link = connect(context, zmq.PAIR, setup.endpoint)
        self._frames = connect(context, zmq.SUB, setup.frames, _QUEUE)
        self._frames.subscribe(f"frame.{setup.plane}.{setup.channel}".encode())
        self._poller = zmq.Poller()
        self._poller.register(self._link, zmq.POLLIN)
        self._poller.register(self._frames, zmq.POLLIN)
        self._plane = _Plane(load_plane(Path(setup.calibration), setup.plane), setup)
        self._tasks: queue.SimpleQueue[Callable[[], _Result] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[_Result] = queue.SimpleQueue()
        self._busy = False
        self._running = True

    def run(self) -> None:
        worker = threading.Thread(target=self._work, daemon=True, name="search")
        worker.start()
        self._send({"kind": "ready"})
        while self._running:
            ready = dict(self._poller.poll(100))
            if self._link in ready:
                self._take_command()
            if self._frames in ready:
                self._take_lines()
            self._take_results()
            if not self._busy and (task := self._plane.next_task()) is not None:
                self._busy = True
                self._tasks.put(task)
            if self._plane.changed:
                self._plane.changed = False
                self._send({"kind": "candidates", **self._plane.describe()})
        self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                self._results.put(task())
            except (ValueError, ArithmeticError, np.linalg.LinAlgError, SpikeloopError) as error:
                # A search that failed costs that search; the next one begins anew, and a person is told.
                self._results.put(("failed", None, f"{type(error).__name__}: {error}"))

    def _take_results(self) -> None:
        while not self._results.empty():
            self._busy = False
            kind, of, found = self._results.get()
            if kind == "failed":
                self._send({"kind": "log", "text": f"the search for new cells failed: {found}"})
            else:
                self._plane.take_result(kind, of, found)

    def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(zmq.Again):
            self._link.send(msgspec.msgpack.encode(message), zmq.NOBLOCK)

    def _take_command(self) -> None:
        command = msgspec.msgpack.decode(self._link.recv())
        if command["kind"] == "stop":
            self._running = False
        else:
            self._plane.obey(command)

    def _take_lines(self) -> None:
        parts = self._frames.recv_multipart(copy=False)
        try:
            header = decode(bytes(parts[0].buffer).decode(errors="replace"), parts[1].buffer)
        except MessageError:
            return
        if not isinstance(header, FrameHeader) or len(parts) != 3 or header.dtype not in _DTYPES:
            return
        if (header.plane, header.channel) != (self._setup.plane, self._setup.channel):
            return
        behind = self._clock.now_ns() - header.t_scan_ns > STALE_S * NS_PER_S
        if parts[2].buffer.nbytes == header.n_lines * header.pixels_per_line * 2 and (self._setup.waits or not behind):
            lines = np.frombuffer(parts[2].buffer, _DTYPES[header.dtype])
            self._plane.take_lines(header, lines.reshape(header.n_lines, header.pixels_per_line))


class _Plane:
    """What the finder knows of its plane."""

    def __init__(self, calibration: Calibration, setup: FinderSetup) -> None:
        self._calibration = calibration
        shape = calibration.n_lines, calibration.pixels_per_line
        um_per_px = calibration.um_per_px
        known = np.diff(calibration.roi_start)
        usual_px = 2.0 * np.sqrt(float(np.median(known)) / np.pi)
        self._diameter_px = SOMA_UM / um_per_px if um_per_px == um_per_px else usual_px
        self._pool = 2 if self._diameter_px >= POOLING_DIAMETER_PX else 1
        rate_hz = calibration.frame_rate_hz
        bin_frames = max(1, round(rate_hz * min(indicator(calibration.indicator).tau_s, MAX_BIN_S)))
        self._ring = BinRing(shape, self._pool, bin_frames, N_BINS)
        self._known = [
            calibration.roi_pixels[calibration.roi_start[k] : calibration.roi_start[k + 1]]
            for k in range(calibration.n_rois)
        ]
        self._refused: list[NDArray[np.uint32]] = []
        self._registration = RigidRegistration(calibration.template, setup.max_shift_px, calibration.line_phase_px)
        self._watch = CandidateWatch(calibration, setup.neuropil_coefficient)
        self._assembly = np.zeros(shape, np.uint16)
        self._next_line = 0
        self._blanked: list[list[int]] = []
        self._search_frames = SEARCH_PERIOD_S * rate_hz
        self._n_since_search = 0
        self._newest = self._last_frame = -1
        self._searched_frame: int | None = None
        self._next_id = 1
        self._rooms = MAX_WATCHED
        self.changed = False

    def take_lines(self, header: FrameHeader, lines: NDArray[Any]) -> None:
        """Gather strips; a frame with missing lines is left out."""
        if (header.lines_per_frame, header.pixels_per_line) != self._assembly.shape or header.frame < self._newest:
            return
        if header.line0 == 0:
            self._next_line, self._blanked = 0, []
        if header.line0 != self._next_line:
            return
        self._newest = header.frame
        own = [[header.line0, header.n_lines]] if header.is_lit else []
        self._blanked += header.blanked or own
        self._next_line = header.line0 + header.n_lines
        if header.n_lines < header.lines_per_frame:
            if self._assembly.dtype != lines.dtype:
                self._assembly = np.zeros(self._assembly.shape, lines.dtype)
            self._assembly[header.line0 : self._next_line] = lines
            lines = self._assembly
        if self._next_line == header.lines_per_frame and not header.is_discarded:
            self._take_frame(lines, header.frame if header.volume is None else header.volume)

    def _take_frame(self, frame: NDArray[Any], number: int) -> None:
        registration = self._registration
        if not self._blanked:
            registration.process(frame)
        shift = registration.shift_y_px, registration.shift_x_px
        usable = not self._blanked and not registration.jumped
        straight = next(straightened(lambda: iter((frame,)), self._calibration.line_phase_px)())
        self._ring.add(straight if usable else None, *shift)
        self._watch.process(frame, number, shift, self._blanked, registration.jumped)
        self._last_frame = number
        self._n_since_search += 1

    def next_task(self) -> Callable[[], _Result] | None:
        """Work for the thread: constants of a candidate, or a search."""
        due = self._watch.due()
        if due:
            one = due[0]
            snapshot = Watched(one.candidate_id, one.pixels, one.ring, one.quality, one.replaces)
            snapshot.first, snapshot.last = one.first, one.last
            snapshot.f_roi, snapshot.f_np, snapshot.valid = one.f_roi.copy(), one.f_np.copy(), one.valid.copy()
            return lambda: ("constants", snapshot, self._watch.constants(snapshot))
        if self._n_since_search < self._search_frames or self._ring.n_filled < MIN_BINS or self._rooms <= 0:
            return None
        self._n_since_search = 0
        movie, at = self._ring.movie(), self._last_frame
        width = self._calibration.pixels_per_line
        known = [self._ring.pooled(pixels, width) for pixels in self._known]
        return lambda: ("found", at, find_new_cells(movie, known, self._diameter_px / self._pool))

    def take_result(self, kind: str, of: Any, found: Any) -> None:
        """What the thread has made: `constants` of a candidate, or what was `found` up to a frame."""
        self.changed = True
        if kind == "constants":
            for one in self._watch.watched:
                if one.candidate_id == of.candidate_id:
                    one.constants, one.n_used = found, of.n_frames
            return
        self._searched_frame = int(of)
        for cell in found:
            self._consider(cell)

    def _consider(self, cell: NewCell) -> None:
        whole = self._ring.spread(cell.pixels, self._calibration.pixels_per_line)
        pixels = self._watch.own_pixels(whole)
        if pixels is None or any(overlap(pixels, refused) >= SAME for refused in self._refused):
            return
        known = self._watch.like(pixels)
        if known is not None:
            known.quality = max(known.quality, cell.quality)
        elif len(self._watch.watched) < self._rooms:
            self._watch.add(self._next_id, pixels, cell.quality)
            self._next_id += 1

    def obey(self, command: dict[str, Any]) -> None:
        """A command of inference: `watch` a mask, `forget` a candidate (refused), it was `taken`, or rows left."""
        self.changed = True
        if command["kind"] == "watch":
            pixels = np.frombuffer(command["pixels"], np.uint32)
            self._watch.add(command["candidate_id"], pixels, 1.0, tuple(command["replaces"]))
            return
        self._rooms = min(MAX_WATCHED, int(command["spare"]))
        one = self._watch.drop(command["candidate_id"])
        if one is None:
            return
        if command["kind"] == "taken":
            self._known.append(one.pixels)
            self._watch.known.ravel()[one.pixels] = True
        else:
            self._refused.append(one.pixels)

    def describe(self) -> dict[str, Any]:
        """All candidates, for inference."""
        return {
            "searched_frame": self._searched_frame,
            "candidates": [
                {
                    "candidate_id": one.candidate_id,
                    "pixels": one.pixels.tobytes(),
                    "quality": one.quality,
                    "n_frames": one.n_frames,
                    "replaces": list(one.replaces),
                    "cells": None if one.constants is None else pack_cells(one.constants),
                    "numbers": {} if one.constants is None else _numbers(one.constants),
                }
                for one in self._watch.watched
            ],
        }


def _numbers(cell: Calibration) -> dict[str, float]:
    """What a person decides by."""
    return {
        "snr": float(cell.amplitude_dff[0] / cell.sigma_dff[0]),
        "tau_s": float(cell.tau_s[0]),
        "amplitude": float(cell.amplitude_dff[0]),
        "expected_detection": float(cell.expected_detection[0]),
        "threshold": float(cell.threshold[0]),
    }
