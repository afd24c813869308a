"""A program that is no part of spikeloop as the microscope: it publishes `frame` messages, we subscribe."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from drivers.microscopes.stream_times import StreamTimes
from rt_engine.interfaces.clock import NS_PER_S, Clock, MonotonicClock
from rt_engine.interfaces.devices import FrameGeometry, FrameInfo
from rt_engine.interfaces.errors import DeviceError, MessageError
from rt_engine.interfaces.messages import FrameHeader, decode_as
from rt_engine.interfaces.stream_config import StreamMicroscope as StreamConfig
from rt_engine.transport.loss import SequenceTracker
from rt_engine.transport.sockets import connect
from rt_engine.transport.source_door import SourceDoor

_DTYPES = {"u2": np.dtype("<u2"), "i2": np.dtype("<i2")}
_QUEUE = 512
_VOLUME_STANDS = 64
"""Frames of a plane after which a volume that has not moved on is taken for none."""
_COUNTS_WATCHED = 32
"""Of the frame counter, to see whether it is the plane's own: a plane of a volume is scanned in every n-th."""
_MOST_OTHERS = 200
"""Messages of other planes and channels after which it is said that those wanted do not come."""


class StreamMicroscope:
    """Fulfils `interfaces.devices.Microscope` over a SUB socket.

    Size, type and rate come from the first good message of the first plane and its channel, and where it tells a
    volume also from that plane's next; what does not fit them later is dropped and counted in `rejected`, with the last
    reason in `why`. Messages missing by `seq` are counted in `sequence`. Where the program is started anew (another
    `boot_id`) and counts from its beginning, frames and volumes go on after the last, and one number is left out.

    Parameters
    ----------
    config : rig_config.StreamMicroscope
    planes : tuple of int
        Planes that are inferred. Others are passed on all the same.
    channel : int
        The one that carries the indicator. Others are passed on all the same.
    keys : str, optional
        Folder of the rig's keys, for `config.listen`.
    clock : Clock, optional
    """

    def __init__(
        self,
        config: StreamConfig,
        planes: tuple[int, ...] = (0,),
        channel: int = 0,
        *,
        keys: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._config = config
        self._keys, self._clock = keys, clock or MonotonicClock()
        self._times = StreamTimes(config, self._clock)
        self._door: SourceDoor | None = None
        self._planes, self._channel = planes, channel
        self._seen: Counter[tuple[int, int]] = Counter()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._first: FrameHeader | None = None
        self._counts = 1
        self._has_volumes = True
        self._kept_of_plane = 0
        self._kept: deque[tuple[FrameHeader, memoryview]] = deque()
        self._boot = ""
        self._base = self._volume_base = 0
        self._last_frame = self._last_volume = -1
        self.geometry: FrameGeometry | None = None
        self.sequence = SequenceTracker()
        self.rejected = 0
        self.why = ""

    def open(self) -> FrameGeometry | None:
        """Connect, and wait 0.1 s for the messages that tell size and rate.

        Raises
        ------
        DeviceError
            Messages come, but none of the planes and the channel that are inferred.
        """
        if self._socket is None:
            self._context = zmq.Context()
            if self._config.listen is None:
                self._socket = connect(self._context, zmq.SUB, self._config.endpoint, _QUEUE)
            else:
                self._door = SourceDoor(self._context, self._config.listen, _QUEUE, self._keys, self._clock)
                self._socket = self._door.socket
            self._socket.subscribe(b"frame.")
        give_up_s = time.monotonic() + 0.1
        while self.geometry is None and (left_s := give_up_s - time.monotonic()) > 0:
            message = self._receive(max(1, int(1000 * left_s)))
            if message is None:
                break
            self._learn(*message)
        return self.geometry

    def _learn(self, header: FrameHeader, payload: memoryview) -> None:
        """Take in one message from before the geometry is known; lines of the first volumes are delivered later."""
        self._seen[header.plane, header.channel] += 1
        if (header.plane, header.channel) != (self._planes[0], self._channel):
            if self._first is None and self._seen.total() > _MOST_OTHERS:
                places = ", ".join(f"{plane}.{channel}" for plane, channel in sorted(self._seen))
                raise DeviceError(
                    "stream",
                    f"{self._config.endpoint} sends frames of plane.channel {places}, none of "
                    f"{self._planes[0]}.{self._channel}",
                    "set `planes` and `channel` in the rig file to those that carry the indicator",
                )
            if self._first is not None:
                self._kept.append((header, payload))
            return
        self._kept.append((header, payload))
        self._kept_of_plane += header.line0 == 0
        first = self._first = self._first or header
        if self._kept_of_plane > _VOLUME_STANDS:
            self._has_volumes = False
        if first.volume is None or not self._has_volumes:
            self._learn_unnumbered(first, header)
        elif header.volume is not None and header.volume > first.volume:
            stride = round((header.frame - first.frame) / (header.volume - first.volume))
            self.geometry = self._geometry_of(first, max(1, stride))

    def _learn_unnumbered(self, first: FrameHeader, header: FrameHeader) -> None:
        """Without volumes the frame counter is the plane's own, or, if it always leaves out as many, that of all."""
        if len(self._planes) == 1:
            self.geometry = self._geometry_of(first, 1)
        elif header.frame - first.frame >= _COUNTS_WATCHED:
            frames = [kept.frame for kept, _ in self._kept if kept.plane == first.plane]
            self._counts = math.gcd(*(frame - first.frame for frame in frames))
            self.geometry = self._geometry_of(first, self._counts)

    def _volume_of(self, header: FrameHeader) -> int | None:
        if self._has_volumes and header.volume is not None:
            return self._volume_base + header.volume
        if self._counts == 1 or self._first is None:
            return None
        return max(0, (self._base + header.frame - self._first.frame) // self._counts)

    def _carry_on(self, header: FrameHeader) -> tuple[int, int | None]:
        """Number and volume of a frame, of which none comes twice."""
        if header.boot_id != self._boot:
            per_volume = 1 if self.geometry is None else self.geometry.frames_per_volume
            if self._boot and self._base + header.frame <= self._last_frame:
                self._base = -(-(self._last_frame + 2 - header.frame) // per_volume) * per_volume
            if self._boot and header.volume is not None and self._volume_base + header.volume <= self._last_volume:
                self._volume_base = self._last_volume + 2 - header.volume
            self._boot = header.boot_id
        frame, volume = self._base + header.frame, self._volume_of(header)
        self._last_frame = max(self._last_frame, frame)
        self._last_volume = max(self._last_volume, -1 if volume is None else volume)
        return frame, volume

    def start(self) -> None:
        """Nothing to do: the program outside decides when it sends."""

    def read(self, buffer: NDArray[Any], timeout_s: float) -> FrameInfo | None:
        """Copy the next lines into `buffer`, at their place in the frame."""
        message = self._kept.popleft() if self._kept else self._receive(int(timeout_s * 1000))
        if message is None:
            return None
        header, payload = message
        rows = buffer[header.line0 : header.line0 + header.n_lines]
        rows[:] = np.frombuffer(payload, _DTYPES[header.dtype]).reshape(rows.shape)
        frame, volume = self._carry_on(header)
        return FrameInfo(
            frame=frame,
            t_scan_ns=header.t_scan_ns,
            plane=header.plane,
            channel=header.channel,
            volume=volume,
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
        if self._door is not None:
            self._door.close()
            self._door = None
        if self._context is not None:
            self._context.destroy(linger=0)
            self._context = None

    def refused(self) -> list[str]:
        """Who was turned away since the last call, as sentences for the log."""
        return [] if self._door is None else self._door.refused()

    def _receive(self, timeout_ms: int) -> tuple[FrameHeader, memoryview] | None:
        if self._socket is None:
            raise DeviceError("stream", "read before open")
        while self._socket.poll(timeout_ms):
            parts = self._socket.recv_multipart(copy=False)
            if len(parts) != 3:
                self._reject("a frame message has three parts: topic, header, payload")
                continue
            refusal = "" if self._door is None else self._door.refusal(parts[0])
            if refusal:
                self._reject(refusal)
                continue
            try:
                header = decode_as(FrameHeader, bytes(parts[0].buffer).decode(errors="replace"), parts[1].buffer)
            except MessageError as error:
                self._reject(error.message)
                continue
            self.sequence.see(header.source, header.boot_id, f"{header.plane}.{header.channel}", header.seq)
            reason = self._misfit(header, parts[2].buffer.nbytes) or self._times.misfit(header)
            if reason:
                self._reject(f"frame {header.frame}: {reason}")
                continue
            return self._times.translated(header), parts[2].buffer
        return None

    def _misfit(self, header: FrameHeader, n_bytes: int) -> str:
        """Why these lines cannot be used; empty if they can."""
        if header.dtype not in _DTYPES:
            return f"dtype {header.dtype!r} is not u2 or i2"
        if n_bytes != header.n_lines * header.pixels_per_line * 2:
            return f"{n_bytes} bytes are not {header.n_lines} x {header.pixels_per_line} pixels of {header.dtype}"
        if not (header.line0 >= 0 and header.n_lines > 0 and header.line0 + header.n_lines <= header.lines_per_frame):
            return f"lines {header.line0}+{header.n_lines} are not within {header.lines_per_frame}"
        if min(header.plane, header.channel, header.frame) < 0:
            return f"plane {header.plane}, channel {header.channel}, frame {header.frame}: none may be negative"
        known = self.geometry or (self._geometry_of(self._first, 1) if self._first else None)
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

    def _geometry_of(self, header: FrameHeader, frames_per_volume: int) -> FrameGeometry:
        return FrameGeometry(
            n_lines=header.lines_per_frame,
            pixels_per_line=header.pixels_per_line,
            dtype=header.dtype,
            frame_rate_hz=NS_PER_S / (header.frame_period_ns or NS_PER_S),
            adc_max=header.adc_max,
            offset=header.offset,
            um_per_px=self._config.um_per_px,
            frames_per_volume=frames_per_volume,
            channels=(header.channel,),
            line_period_ns=header.line_period_ns,
            strip_lines=header.n_lines,
        )
