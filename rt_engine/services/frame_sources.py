"""Where recorded frames come from: a movie file or a session folder, read alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.microscopes.movie_file import MovieRequest, open_movie
from drivers.microscopes.session_replay import frames_per_volume
from rt_engine.interfaces.errors import MovieError
from rt_engine.interfaces.messages import FrameHeader
from rt_engine.recording.reader import open_session


@dataclass(frozen=True, slots=True)
class FrameSource:
    """Frames that can be iterated again and again, and what is known of them.

    `frame_rate_hz`, `um_per_px`, `adc_max` and `offset_counts` are None where unknown.
    """

    path: Path
    n_frames: int
    n_lines: int
    pixels_per_line: int
    frame_rate_hz: float | None
    um_per_px: float | None
    adc_max: int | None
    offset_counts: float | None
    open_frames: Callable[[], Iterator[NDArray[Any]]]


def planes_of_movie(path: Path, request: MovieRequest) -> tuple[int, ...]:
    """All planes of a movie file.

    Raises
    ------
    MovieError
        The file cannot be used.
    """
    with open_movie(path, **asdict(request)) as movie:
        return tuple(range(movie.n_planes))


def movie_source(path: Path, request: MovieRequest, n_frames: int | None = None) -> FrameSource:
    """Frames of one plane and channel of a movie file; at most the first `n_frames`.

    Raises
    ------
    MovieError
        The file cannot be used.
    """
    asked = asdict(request)
    with open_movie(path, **asked) as movie:
        count = movie.n_frames if n_frames is None else min(n_frames, movie.n_frames)

        def frames() -> Iterator[NDArray[Any]]:
            with open_movie(path, **asked) as again:
                for index in range(count):
                    yield again.read(index)

        return FrameSource(
            path=path,
            n_frames=count,
            n_lines=movie.n_lines,
            pixels_per_line=movie.pixels_per_line,
            frame_rate_hz=movie.require_frame_rate(),
            um_per_px=movie.um_per_px,
            adc_max=movie.adc_max,
            offset_counts=None,
            open_frames=frames,
        )


def session_source(folder: Path, channel: int, *, plane: int = 0, until_frame: int | None = None) -> FrameSource:
    """Whole frames of a session's journal, up to and including `until_frame`.

    Raises
    ------
    MovieError
        The session holds no whole frames of this plane and channel.
    """
    n_frames, first, strips = 0, None, _Strips()
    for header in _frame_headers(folder, plane, channel):
        if until_frame is not None and header.frame > until_frame:
            break
        first = first or header
        n_frames += strips.complete(header)
    if first is None or n_frames == 0:
        raise MovieError(
            f"holds no frames of channel {channel}, plane {plane}", "record with frames: all", file=str(folder)
        )

    per_volume = frames_per_volume(_frame_headers(folder, plane, channel))

    def frames() -> Iterator[NDArray[Any]]:
        left = n_frames
        strips = _Strips()
        whole: NDArray[Any] | None = None
        for header, lines in open_session(folder).frames(plane, channel):
            if header.n_lines != header.lines_per_frame:
                if whole is None:
                    whole = np.zeros((header.lines_per_frame, header.pixels_per_line), lines.dtype)
                whole[header.line0 : header.line0 + header.n_lines] = lines
            if not strips.complete(header):
                continue
            yield lines if whole is None else whole.copy()
            left -= 1
            if left == 0:
                return

    return FrameSource(
        path=folder,
        n_frames=n_frames,
        n_lines=first.lines_per_frame,
        pixels_per_line=first.pixels_per_line,
        frame_rate_hz=1e9 / first.frame_period_ns / per_volume if first.frame_period_ns else None,
        um_per_px=_um_per_px(folder),
        adc_max=first.adc_max,
        offset_counts=first.offset,
        open_frames=frames,
    )


class _Strips:
    """Which messages complete a frame of which no line is missing; flyback frames are left out."""

    def __init__(self) -> None:
        self._frame = -1
        self._next_line = 0

    def complete(self, header: FrameHeader) -> bool:
        """True if all lines of the frame have come with this message, in order."""
        if header.is_discarded:
            return False
        if header.frame != self._frame:
            self._frame, self._next_line = header.frame, 0
        in_order = header.line0 == self._next_line
        self._next_line = header.line0 + header.n_lines if in_order else -1
        return self._next_line == header.lines_per_frame


def _frame_headers(folder: Path, plane: int, channel: int) -> Iterator[FrameHeader]:
    topic = f"frame.{plane}.{channel}"
    for message in open_session(folder).messages(topic):
        header = message.header
        if message.topic == topic and isinstance(header, FrameHeader):
            yield header


def _um_per_px(folder: Path) -> float | None:
    microscope = open_session(folder).config().get("rig", {}).get("microscope", {})
    value = microscope.get("um_per_px")
    return None if value is None else float(value)
