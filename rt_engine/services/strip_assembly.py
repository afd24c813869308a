"""Strips of the frame that is being scanned, put together as they come."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.messages import FrameHeader

_NO_MORE_LINES = 1 << 30
"""As the next line of a frame of which none is waited for."""


class StripAssembly:
    """One frame, as far as it has been scanned. Lines are taken in order; after lines that are missing it is given up.

    Attributes
    ----------
    image : uint16 or int16 ndarray, shape (n_lines, pixels_per_line), C order, counts
        Lines that have not come are of an older frame.
    longest_lines : int or None
        Lines of the longest strip so far; None before the first.
    frame : int or None
        The frame begun last, by the source's counter.
    index : int
        The same frame, as its plane counts.
    blanked : list of [line0, n_lines]
        Lines of it that were scanned under light of our own.
    """

    def __init__(self) -> None:
        self.image: NDArray[Any] = np.zeros((0, 0), np.uint16)
        self.longest_lines: int | None = None
        self.frame: int | None = None
        self.index = 0
        self.blanked: list[list[int]] = []
        self._next_line = _NO_MORE_LINES

    def fit(self, header: FrameHeader, lines: NDArray[Any]) -> None:
        """Make room for frames of the size that a header tells."""
        shape = (header.lines_per_frame, header.pixels_per_line)
        if self.image.shape != shape or self.image.dtype != lines.dtype:
            self.image = np.zeros(shape, lines.dtype)
        self.longest_lines = max(self.longest_lines or 0, header.n_lines)

    def begin(self, header: FrameHeader, index: int) -> None:
        """A new frame; its lines are not waited for unless `await_lines` says so."""
        self.frame, self.index, self._next_line = header.frame, index, _NO_MORE_LINES
        self.blanked.clear()

    def await_lines(self) -> None:
        """The lines of the frame begun are wanted, from the first on."""
        self._next_line = 0

    def gap_before(self, header: FrameHeader) -> str:
        """Which lines are missing before those of a message; empty if none are, or none are waited for."""
        if header.line0 <= self._next_line:
            return ""
        return f"lines {self._next_line} to {header.line0 - 1} are missing"

    def expects(self, header: FrameHeader) -> bool:
        """True if the lines of a message follow those before them."""
        return header.line0 == self._next_line

    def put(self, header: FrameHeader, lines: NDArray[Any]) -> bool:
        """Copy lines to their place; true if they are the last of their frame."""
        end_line = header.line0 + header.n_lines
        self.image[header.line0 : end_line] = lines
        return end_line == header.lines_per_frame

    def take(self, header: FrameHeader, lines: NDArray[Any]) -> bool:
        """Take in lines that were expected; true if the frame is whole now."""
        own = [[header.line0, header.n_lines]] if header.is_lit else []
        self.blanked += header.blanked or own
        whole = self.put(header, lines)
        self._next_line = _NO_MORE_LINES if whole else header.line0 + header.n_lines
        return whole

    def give_up(self) -> int | None:
        """Wait for no more lines of the frame begun last; the first that was still wanted, None if none was."""
        line, self._next_line = self._next_line, _NO_MORE_LINES
        return line if line < _NO_MORE_LINES else None
