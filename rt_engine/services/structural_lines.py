"""Lines of the structural channel of a plane: frames are registered by them, cells read from the other channel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.messages import FrameHeader


class StructuralLines:
    """Keeps the newest frame of the channel, as far as it has come.

    Attributes
    ----------
    image : uint16 or int16 ndarray, shape (n_lines, pixels_per_line), counts, or None
        Of the newest frame; lines that have not come are of an older one. None before there is any, or if lines of the
        newest frame are missing.
    n_alone : int
        Lines of the functional channel that were read where those before them were, because their partner did not come.
    """

    def __init__(self) -> None:
        self.image: NDArray[Any] | None = None
        self.n_alone = 0
        self._assembly: NDArray[Any] = np.zeros((0, 0), np.uint16)
        self._frame = -1
        self._end_line = 0

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
