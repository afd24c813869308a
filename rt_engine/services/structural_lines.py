"""Lines of the structural channel of a plane: frames are registered by them, cells read from the other channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.messages import FrameHeader

FRAME_DTYPES = {"u2": np.dtype("<u2"), "i2": np.dtype("<i2")}
Lines = tuple[FrameHeader, memoryview, int]
"""Header, pixels and time of arrival, nanoseconds, of one message."""


class StructuralLines:
    """Keeps the newest frame of the channel, as far as it has come.

    Parameters
    ----------
    say_alone : callable
        Takes the frame whose structural lines did not come, and how many messages were without them so far; called
        the first time, the second, the fourth, and so on.

    Attributes
    ----------
    image : uint16 or int16 ndarray, shape (n_lines, pixels_per_line), counts, or None
        Of the newest frame; lines that have not come are of an older one. None before there is any, or if lines of the
        newest frame are missing.
    n_alone : int
        Lines of the functional channel that were read where those before them were, because their partner did not come.
    """

    def __init__(self, say_alone: Callable[[int, int], None]) -> None:
        self._say_alone = say_alone
        self._waiting: Lines | None = None
        self.image: NDArray[Any] | None = None
        self.n_alone = 0
        self._assembly: NDArray[Any] = np.zeros((0, 0), np.uint16)
        self._frame = -1
        self._end_line = 0

    def pair(self, *, is_structural: bool, message: Lines) -> Iterator[tuple[NDArray[Any] | None, Lines]]:
        """Functional lines that can go on, each with the image to register it by.

        They go on with their structural ones; those whose partner does not come before the next go on without an image.
        """
        header, payload, _ = message
        waiting = self._waiting
        if is_structural:
            shape = header.n_lines, header.pixels_per_line
            self.take(header, np.frombuffer(payload, FRAME_DTYPES[header.dtype]).reshape(shape))
            if waiting is not None and self.covers(waiting[0]):
                self._waiting = None
                yield self.image, waiting
            return
        if waiting is not None:
            self._waiting = None
            self.n_alone += 1
            if self.n_alone & (self.n_alone - 1) == 0:
                self._say_alone(waiting[0].frame, self.n_alone)
            yield None, waiting
        if self.covers(header):
            yield self.image, message
        else:
            self._waiting = message

    def take(self, header: FrameHeader, lines: NDArray[Any]) -> None:
        """Take in one message; after lines that are missing, the frame is of no use."""
        if header.n_lines == header.lines_per_frame:
            self.image, self._frame, self._end_line = lines, header.frame, header.n_lines
            return
        if header.frame != self._frame:
            self._frame, self._end_line = header.frame, 0
        shape = (header.lines_per_frame, header.pixels_per_line)
        if header.line0 != self._end_line or header.line0 + header.n_lines > shape[0]:
            self._end_line = -1
            return
        if self._assembly.shape != shape or self._assembly.dtype != lines.dtype:
            self._assembly = np.zeros(shape, lines.dtype)
        self._end_line = header.line0 + header.n_lines
        self._assembly[header.line0 : self._end_line] = lines
        self.image = self._assembly

    def covers(self, header: FrameHeader) -> bool:
        """True if the lines that belong to those of a functional message are there."""
        return self._frame == header.frame and self._end_line >= header.line0 + header.n_lines
