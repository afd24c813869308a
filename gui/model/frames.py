"""The newest picture of every plane and channel, put together from whole frames or strips."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.messages import FrameHeader

MAX_SIDE_PX = 8192
MAX_PICTURES = 64
_DTYPES = {"u2": np.dtype("<u2"), "i2": np.dtype("<i2")}


@dataclass(slots=True)
class Picture:
    """The newest whole frame of one plane and channel.

    Attributes
    ----------
    image : uint16 or int16 ndarray, shape (n_lines, n_pixels), counts
        Read only.
    frame : int
        Its number.
    frame_period_ns : int or None
    adc_max : int or None
        Largest count of the detector.
    flags : int
        `events.FrameFlag`.
    t_heard_ns : int
        When it came here, this computer's clock.
    n_whole : int
        Whole frames so far; a view compares it to know whether there is something new.
    """

    image: NDArray[Any]
    frame: int
    frame_period_ns: int | None
    adc_max: int | None
    flags: int
    t_heard_ns: int
    n_whole: int


@dataclass(slots=True)
class _Assembly:
    lines: NDArray[Any]
    frame: int = -1
    next_line: int = 0


@dataclass(slots=True)
class FrameStore:
    """Takes `frame` messages; keeps one picture a plane and channel."""

    pictures: dict[tuple[int, int], Picture] = field(default_factory=dict)
    _assemblies: dict[tuple[int, int], _Assembly] = field(default_factory=dict)

    def take(self, header: FrameHeader, payload: memoryview, t_heard_ns: int) -> None:
        """Take one message.

        Raises
        ------
        MessageError
            Header and payload do not fit each other, or the size is absurd.
        """
        lines = _lines_of(header, payload)
        key = (header.plane, header.channel)
        if key not in self.pictures and len(self.pictures) >= MAX_PICTURES:
            raise MessageError(f"more than {MAX_PICTURES} planes and channels")
        if header.n_lines == header.lines_per_frame:
            self._show(key, header, lines, t_heard_ns)
            return
        shape = (header.lines_per_frame, header.pixels_per_line)
        part = self._assemblies.get(key)
        if part is None or part.lines.shape != shape or part.lines.dtype != lines.dtype:
            part = self._assemblies[key] = _Assembly(np.zeros(shape, lines.dtype))
        if header.frame != part.frame:
            part.frame, part.next_line = header.frame, 0
        part.lines[header.line0 : header.line0 + header.n_lines] = lines
        if header.line0 == part.next_line:
            part.next_line += header.n_lines
        if part.next_line == header.lines_per_frame:
            part.next_line = 0
            self._show(key, header, part.lines.copy(), t_heard_ns)

    def _show(self, key: tuple[int, int], header: FrameHeader, image: NDArray[Any], t_heard_ns: int) -> None:
        before = self.pictures.get(key)
        self.pictures[key] = Picture(
            image,
            header.frame,
            header.frame_period_ns,
            header.adc_max,
            header.flags,
            t_heard_ns,
            before.n_whole + 1 if before else 1,
        )


def _lines_of(header: FrameHeader, payload: memoryview) -> NDArray[Any]:
    dtype = _DTYPES.get(header.dtype)
    if dtype is None:
        raise MessageError(f"frame {header.frame}: dtype {header.dtype[:20]!r} is not u2 or i2")
    if not (0 < header.pixels_per_line <= MAX_SIDE_PX and 0 < header.lines_per_frame <= MAX_SIDE_PX):
        raise MessageError(f"frame of {header.lines_per_frame} x {header.pixels_per_line} px")
    if not (header.n_lines > 0 and 0 <= header.line0 <= header.lines_per_frame - header.n_lines):
        raise MessageError(f"frame {header.frame}: lines {header.line0} + {header.n_lines} of {header.lines_per_frame}")
    if payload.nbytes != header.n_lines * header.pixels_per_line * 2:
        raise MessageError(f"frame {header.frame}: {payload.nbytes} bytes do not fit its header")
    return np.frombuffer(payload, dtype).reshape(header.n_lines, header.pixels_per_line)
