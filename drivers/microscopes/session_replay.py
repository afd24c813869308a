"""Replay of a recorded session: its frames with their own numbers, flags and gaps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from drivers.microscopes.pacing import Pacer
from drivers.microscopes.trace_replay import dark_lines
from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.devices import FrameGeometry, FrameInfo
from rt_engine.interfaces.errors import DeviceError, MovieError, SourceEnded
from rt_engine.interfaces.messages import FrameHeader, Mode, SpikesHeader
from rt_engine.interfaces.rig_config import ReplayMicroscope as ReplayConfig
from rt_engine.recording.reader import open_session
from rt_engine.recording.recorded_times import first_skipped

Lines = tuple[FrameHeader, NDArray[Any]]


class SessionReplay:
    """Fulfils `interfaces.devices.Microscope` with the frames of a session that were decided live, and between those.

    Parameters
    ----------
    config : rig_config.ReplayMicroscope
        `path` is the session folder.
    clock : Clock
    wait : callable
        Sleeps that many seconds.
    planes : tuple of int
        Planes to deliver, None: the configured one.
    structural_channel : int, optional
        A second channel to deliver.

    Notes
    -----
    At real time a frame is there as long after the first as it was scanned after it, so gaps keep their length. Frames
    keep the times that they were recorded with. With ``from_traces``, or from `traces_from_frame` on, their pixels
    are 0: see `trace_replay.dark_lines`.
    """

    def __init__(
        self,
        config: ReplayConfig,
        clock: Clock,
        wait: Callable[[float], None] = time.sleep,
        *,
        planes: tuple[int, ...] | None = None,
        structural_channel: int | None = None,
    ) -> None:
        self._config = config
        self._channels = (config.channel,) if structural_channel is None else (config.channel, structural_channel)
        self._planes = planes or (config.plane,)
        self._pacer = Pacer(clock, config.speed, wait)
        self._lines: Iterator[Lines] = iter(())
        self._next: Lines | None = None
        self._running = False

    def open(self) -> FrameGeometry:
        """Find the first live frame.

        Raises
        ------
        MovieError
            The session holds no frames, or never went live.
        RecordingError
            There is no journal.
        """
        first, last = self._live()
        self._lines = self._within(first, last)
        self._next = next(self._lines, None)
        if self._next is None:
            raise MovieError("holds no live frames", "replay it with --from traces", file=self._config.path)
        header = self._next[0]
        if not header.frame_period_ns:
            raise MovieError("does not say its frame rate", "give it with --frame-rate-hz", file=self._config.path)
        return FrameGeometry(
            n_lines=header.lines_per_frame,
            pixels_per_line=header.pixels_per_line,
            dtype=header.dtype,
            frame_rate_hz=NS_PER_S / header.frame_period_ns,
            adc_max=header.adc_max,
            offset=header.offset,
            um_per_px=self._config.um_per_px,
            frames_per_volume=frames_per_volume(header for header, _ in self._within(first, last)),
            channels=(header.channel,),
            line_period_ns=header.line_period_ns,
            strip_lines=header.n_lines,
        )

    def start(self) -> None:
        """The next frame is due one frame period from now."""
        if self._next is not None:
            header = self._next[0]
            self._pacer.start(header.t_scan_ns - (header.frame_period_ns or 0))
        self._running = True

    def read(self, buffer: NDArray[Any], timeout_s: float) -> FrameInfo | None:
        """Copy the next lines into `buffer` when they are due.

        Raises
        ------
        SourceEnded
            The last frame has been delivered.
        DeviceError
            `open` and `start` were not called.
        """
        if not self._running:
            raise DeviceError("replay", "read before open and start")
        if self._next is None:
            raise SourceEnded(f"{self._config.path}: all frames have been delivered")
        header, lines = self._next
        if not self._pacer.wait_until(header.t_scan_ns, timeout_s):
            return None
        np.copyto(buffer[header.line0 : header.line0 + header.n_lines], lines)
        self._next = next(self._lines, None)
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
            blanked=tuple((first, n) for first, n in header.blanked),
        )

    def stop(self) -> None:
        """Stop delivering; `start` goes on where it stopped."""
        self._running = False

    def close(self) -> None:
        """Release the files; may be repeated."""
        self._running = False
        self._lines, self._next = iter(()), None

    def _live(self) -> tuple[int, int]:
        """The first live frame, decided or skipped, and the last; volumes where the source gave them."""
        first: int | None = None
        topics = [f"spikes.{plane}" for plane in self._planes]
        session = open_session(Path(self._config.path))
        for message in session.messages(*topics):
            header = message.header
            if isinstance(header, SpikesHeader) and header.mode is Mode.LIVE:
                last = header.frame if header.volume is None else header.volume
                first = last if first is None else first
        if first is None:
            raise MovieError(
                "never went live", "calibrate from it, or replay a session that did", file=self._config.path
            )
        skipped = first_skipped(session, self._planes)
        return first if skipped is None else min(first, skipped), last

    def _within(self, first: int, last: int) -> Iterator[Lines]:
        session, switch = open_session(Path(self._config.path)), self._config.traces_from_frame
        if self._config.from_traces:
            yield from dark_lines(session, self._planes, self._channels)
            return
        newest: FrameHeader | None = None
        for header, lines in session.frames(self._planes, self._channels):
            index = header.frame if header.volume is None else header.volume
            if first <= index <= last and (switch is None or index < switch):
                newest = header
                yield header, lines
        if switch is None or newest is None:
            return
        for dark, zeros in dark_lines(session, self._planes, self._channels, from_index=switch):
            same = {"frame_period_ns": newest.frame_period_ns, "dtype": newest.dtype}
            yield msgspec.structs.replace(dark, **same), zeros.view(f"<{newest.dtype}")


def frames_per_volume(headers: Iterable[FrameHeader]) -> int:
    """How far the frame counter moves from one frame of a plane to its next; 1 where no volumes are given."""
    first: FrameHeader | None = None
    for header in headers:
        if header.volume is None:
            return 1
        if header.is_discarded:
            continue
        first = first or header
        if header.plane == first.plane and header.volume > (first.volume or 0):
            return max(1, round((header.frame - first.frame) / (header.volume - (first.volume or 0))))
    return 1
