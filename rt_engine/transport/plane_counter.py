"""Frames of one plane and channel, counted where a source scans several planes in turn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rt_engine.transport.loss import FrameOrder, FrameSequence


class PlaneCounter:
    """Order and losses of the frames of one plane and channel. The flyback is not to be shown to it.

    A plane's frames are numbered by their volume where the source gives one, for then the frame counter runs through
    all planes and the flyback; else by the frame counter itself. This number is the `index`.

    Attributes
    ----------
    index : int or None
        Of the newest frame; None before the first.
    counts_volumes : bool
        True once the source has given a volume.
    frames_per_index : int
        How far the frame counter moves from one frame of the plane to the next; 1 until two volumes have been seen.
    sequence : FrameSequence
        Losses and repetitions, by `index`.
    """

    def __init__(self) -> None:
        self.index: int | None = None
        self.frames_per_index = 1
        self.sequence = FrameSequence()
        self.counts_volumes = False
        self._frame = 0

    def see(self, frame: int, volume: int | None) -> tuple[FrameOrder, int]:
        """Order of a frame, and how many frames of this plane are missing just before it."""
        self.counts_volumes = self.counts_volumes or volume is not None
        index = frame if volume is None else volume
        order, missing = self.sequence.see(index)
        if order is FrameOrder.NEW:
            if volume is not None and self.index is not None and frame > self._frame:
                self.frames_per_index = max(1, round((frame - self._frame) / (index - self.index)))
            self.index, self._frame = index, frame
        return order, missing

    def frames_of(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers, by the frame counter, of frames at or before the newest; same shape as `index`."""
        return self._frame - ((self.index or 0) - index) * self.frames_per_index
