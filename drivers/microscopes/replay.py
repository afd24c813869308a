"""Replay: the frames of a movie or of a recorded session, delivered as a microscope would."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from drivers.microscopes.pacing import Pacer
from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.devices import FrameGeometry, FrameInfo
from rt_engine.interfaces.errors import DeviceError, SourceEnded
from rt_engine.interfaces.rig_config import ReplayMicroscope as ReplayConfig


class MovieLike(Protocol):
    """What replay needs of a movie; `drivers.microscopes.movie_file.Movie` is one, a recorded session another."""

    n_frames: int
    n_lines: int
    pixels_per_line: int
    dtype: str
    frame_rate_hz: float | None
    um_per_px: float | None
    adc_max: int | None

    def require_frame_rate(self) -> float:
        """Frames per second; raises MovieError if unknown."""
        ...

    def read(self, index: int) -> NDArray[Any]:
        """Frame `index`; raises MovieError."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class ReplayMicroscope:
    """Frames of a file, paced by the clock: frame i is there at (i + 1) / rate after `start`.

    Parameters
    ----------
    config : rig_config.ReplayMicroscope
        `speed` 1 is real time, 2 twice as fast, ``"max"`` as fast as frames are read.
    clock : Clock
    opener : callable
        From the configured path to an open movie; raises MovieError.
    planes : tuple of int
        Planes that the movie's frames are of, in turn; None: of the configured one.
    start_frame : int
        First frame delivered; frames keep their number in the file.
    wait : callable
        Sleeps that many seconds.

    Notes
    -----
    `t_scan_ns` is when the last line would have been scanned had the movie begun at 0, whatever the speed: two replays
    tell the same times.
    """

    def __init__(
        self,
        config: ReplayConfig,
        clock: Clock,
        opener: Callable[[str], MovieLike],
        *,
        planes: tuple[int, ...] | None = None,
        start_frame: int = 0,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = config
        self._opener = opener
        self._planes = planes or (config.plane,)
        self._pacer = Pacer(clock, config.speed, wait)
        self._movie: MovieLike | None = None
        self._next_frame = start_frame
        self._line0 = 0
        self._period_ns = 0.0
        self._running = False

    def open(self) -> FrameGeometry:
        """Open the file.

        Raises
        ------
        MovieError
            It cannot be read, or its frame rate is unknown.
        """
        self.close()
        movie = self._opener(self._config.path)
        self._movie = movie
        n_planes = len(self._planes)
        stated_hz = self._config.frame_rate_hz
        rate_hz = movie.require_frame_rate() if stated_hz is None else stated_hz * n_planes
        self._period_ns = NS_PER_S / rate_hz
        return FrameGeometry(
            n_lines=movie.n_lines,
            pixels_per_line=movie.pixels_per_line,
            dtype=movie.dtype,
            frame_rate_hz=rate_hz,
            adc_max=movie.adc_max,
            um_per_px=self._config.um_per_px or movie.um_per_px,
            frames_per_volume=n_planes,
            channels=(self._config.channel,),
            strip_lines=self._config.strip_lines,
        )

    def start(self) -> None:
        """Begin at `start_frame`, or go on after the last frame delivered."""
        self._pacer.start(self._next_frame * self._period_ns)
        self._running = True

    def read(self, buffer: NDArray[Any], timeout_s: float) -> FrameInfo | None:
        """Copy the next frame, or strip of one, into `buffer` (shape (n_lines, pixels_per_line)) when it is due.

        Raises
        ------
        SourceEnded
            The last frame has been delivered.
        DeviceError
            `open` and `start` were not called.
        MovieError
            The frame cannot be decoded.
        """
        if self._movie is None or not self._running:
            raise DeviceError("replay", "read before open and start")
        if self._next_frame >= self._movie.n_frames:
            raise SourceEnded(f"{self._config.path}: all {self._movie.n_frames} frames have been delivered")
        n_lines = self._movie.n_lines
        first, end = self._line0, min(self._line0 + (self._config.strip_lines or n_lines), n_lines)
        recorded_ns = (self._next_frame + end / n_lines) * self._period_ns
        if not self._pacer.wait_until(recorded_ns, timeout_s):
            return None
        frame = self._next_frame
        if first == 0:
            np.copyto(buffer, self._movie.read(frame))
        volume, position = divmod(frame, len(self._planes))
        self._line0 = end
        if end == n_lines:
            self._line0, self._next_frame = 0, frame + 1
        return FrameInfo(
            frame=frame,
            t_scan_ns=round(recorded_ns),
            plane=self._planes[position],
            channel=self._config.channel,
            volume=volume if len(self._planes) > 1 else None,
            line0=first,
            n_lines=end - first,
        )

    def stop(self) -> None:
        """Stop delivering; `start` goes on where it stopped."""
        self._running = False

    def close(self) -> None:
        """Release the file; may be repeated."""
        self._running = False
        if self._movie is not None:
            self._movie.close()
            self._movie = None
