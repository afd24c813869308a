"""Whole frames of a session, put together from strips where they came in strips."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.messages import FrameHeader
from rt_engine.recording.reader import Session


@overload
def whole_frames(
    session: Session, plane: int, channel: int, *, with_lines: Literal[True]
) -> Iterator[tuple[FrameHeader, NDArray[Any]]]: ...


@overload
def whole_frames(
    session: Session, plane: int, channel: int, *, with_lines: Literal[False] = False
) -> Iterator[FrameHeader]: ...


def whole_frames(session: Session, plane: int, channel: int, *, with_lines: bool = False) -> Iterator[Any]:
    """Frames of which no line is missing; flyback frames are left out.

    Parameters
    ----------
    session : Session
    plane, channel : int
    with_lines : bool
        Also yield the pixels.

    Yields
    ------
    header : FrameHeader
        Of the message that completed the frame.
    lines : uint16 or int16 ndarray, shape (lines_per_frame, pixels_per_line), counts
        With `with_lines`; valid until the next is asked for.

    Raises
    ------
    RecordingError
        A file cannot be opened.
    """
    frame, next_line = -1, 0
    whole = np.zeros((0, 0), np.uint16)
    for header, lines in session.frames(plane, channel):
        if header.is_discarded:
            continue
        if header.n_lines == header.lines_per_frame:
            yield (header, lines) if with_lines else header
            continue
        shape = header.lines_per_frame, header.pixels_per_line
        if whole.shape != shape or whole.dtype != lines.dtype:
            whole = np.zeros(shape, lines.dtype)
        if header.frame != frame:
            frame, next_line = header.frame, 0
        if header.line0 != next_line:
            next_line = -1
            continue
        next_line += header.n_lines
        whole[header.line0 : next_line] = lines
        if next_line == header.lines_per_frame:
            yield (header, whole) if with_lines else header
