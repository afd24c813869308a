"""A program that is no part of spikeloop as the microscope: it publishes `frame` messages, we subscribe."""

from __future__ import annotations

from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.devices import FrameGeometry, FrameInfo
from rt_engine.interfaces.errors import DeviceError, MessageError
from rt_engine.interfaces.messages import FrameHeader, decode_as
from rt_engine.interfaces.rig_config import StreamMicroscope as StreamConfig
from rt_engine.transport.loss import SequenceTracker
from rt_engine.transport.sockets import connect

_DTYPES = {"u2": np.dtype("<u2"), "i2": np.dtype("<i2")}
_QUEUE = 512


class StreamMicroscope:
    """Fulfils `interfaces.devices.Microscope` over a SUB socket.

    Size, type and rate come from the first good message; what does not fit them later is dropped and counted in
    `rejected`, with the last reason in `why`. Messages missing by `seq` are counted in `sequence`.
    """

    def __init__(self, config: StreamConfig) -> None:
        self._config = config
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._first: tuple[FrameHeader, memoryview] | None = None
        self.geometry: FrameGeometry | None = None
        self.sequence = SequenceTracker()
        self.rejected = 0
        self.why = ""

    def open(self) -> FrameGeometry | None:
        """Connect, and wait 0.1 s for the first message, which tells size and rate."""
        if self._socket is None:
            self._context = zmq.Context()
            self._socket = connect(self._context, zmq.SUB, self._config.endpoint, _QUEUE)
            self._socket.subscribe(b"frame.")
        if self.geometry is None:
            self._first = self._receive(100)
            if self._first is not None:
                self.geometry = self._geometry_of(self._first[0])
        return self.geometry

    def start(self) -> None:
        """Nothing to do: the program outside decides when it sends."""

    def read(self, buffer: NDArray[Any], timeout_s: float) -> FrameInfo | None:
        """Copy the next lines into `buffer`, at their place in the frame."""
        message, self._first = self._first, None
        message = message or self._receive(int(timeout_s * 1000))
        if message is None:
            return None
        header, payload = message
        rows = buffer[header.line0 : header.line0 + header.n_lines]
        rows[:] = np.frombuffer(payload, _DTYPES[header.dtype]).reshape(rows.shape)
        return FrameInfo(
            frame=header.frame,
            t_scan_ns=header.t_scan_ns,
            plane=header.plane,
            channel=header.channel,
            volume=header.volume,
            line0=header.line0,
            n_lines=header.n_lines,
            t_scan_uncertainty_ns=header.t_scan_uncertainty_ns,
            t_device_s=header.t_device_s,
            flags=header.flags,
            blanked=tuple((int(first), int(n)) for first, n in header.blanked),
        )

    def stop(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Disconnect."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._context is not None:
            self._context.destroy(linger=0)
            self._context = None

    def _receive(self, timeout_ms: int) -> tuple[FrameHeader, memoryview] | None:
        if self._socket is None:
            raise DeviceError("stream", "read before open")
        while self._socket.poll(timeout_ms):
            parts = self._socket.recv_multipart(copy=False)
            if len(parts) != 3:
                self._reject("a frame message has three parts: topic, header, payload")
                continue
            try:
                header = decode_as(FrameHeader, bytes(parts[0].buffer).decode(errors="replace"), parts[1].buffer)
            except MessageError as error:
                self._reject(error.message)
                continue
            self.sequence.see(header.source, header.boot_id, f"{header.plane}.{header.channel}", header.seq)
            reason = self._misfit(header, parts[2].buffer.nbytes)
            if reason:
                self._reject(f"frame {header.frame}: {reason}")
                continue
            return header, parts[2].buffer
        return None

    def _misfit(self, header: FrameHeader, n_bytes: int) -> str:
        """Why these lines cannot be used; empty if they can."""
        if header.dtype not in _DTYPES:
            return f"dtype {header.dtype!r} is not u2 or i2"
        if n_bytes != header.n_lines * header.pixels_per_line * 2:
            return f"{n_bytes} bytes are not {header.n_lines} x {header.pixels_per_line} pixels of {header.dtype}"
        if not (header.line0 >= 0 and header.n_lines > 0 and header.line0 + header.n_lines <= header.lines_per_frame):
            return f"lines {header.line0}+{header.n_lines} are not within {header.lines_per_frame}"
        known = self.geometry
        if known is None:
            return "" if header.frame_period_ns else "frame_period_ns is required from a stream"
        if (header.lines_per_frame, header.pixels_per_line) != (known.n_lines, known.pixels_per_line):
            return (
                f"{header.lines_per_frame} x {header.pixels_per_line} px, but this run began with "
                f"{known.n_lines} x {known.pixels_per_line} px"
            )
        if header.dtype != known.dtype:
            return f"dtype {header.dtype}, but this run began with {known.dtype}"
        return ""

    def _reject(self, why: str) -> None:
        self.rejected += 1
        self.why = why

    def _geometry_of(self, header: FrameHeader) -> FrameGeometry:
        return FrameGeometry(
            n_lines=header.lines_per_frame,
            pixels_per_line=header.pixels_per_line,
            dtype=header.dtype,
            frame_rate_hz=NS_PER_S / (header.frame_period_ns or NS_PER_S),
            adc_max=header.adc_max,
            offset=header.offset,
            um_per_px=self._config.um_per_px,
            channels=(header.channel,),
            line_period_ns=header.line_period_ns,
        )
