"""The recent past as a movie of fixed memory: registered frames, binned in time, pooled to the size of a cell."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.kernels.resample import add_registered


class BinRing:
    """Keeps the last bins; the oldest is overwritten.

    Parameters
    ----------
    shape : (int, int)
        Lines and pixels of a frame.
    pool : int
        Pixels averaged along each axis.
    bin_frames : int
        Frames averaged in a bin.
    n_bins : int

    Attributes
    ----------
    n_filled : int
        Bins held.
    """

    def __init__(self, shape: tuple[int, int], pool: int, bin_frames: int, n_bins: int) -> None:
        self._pool, self._bin_frames = pool, bin_frames
        self._ring = np.zeros((n_bins, shape[0] // pool, shape[1] // pool), np.float32)
        self._image = np.zeros(shape, np.float32)
        self._n_passed = self._n_in_bin = self._next = 0
        self.n_filled = 0

    def add(self, frame: NDArray[Any] | None, shift_y_px: float = 0.0, shift_x_px: float = 0.0) -> bool:
        """One frame passes, None where it cannot be used; true when it completes a bin that holds anything.

        Parameters
        ----------
        frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, counts, read
        shift_y_px, shift_x_px : float
            As of `RigidRegistration`.
        """
        self._n_passed += 1
        if frame is not None:
            add_registered(frame, shift_y_px, shift_x_px, self._image)
            self._n_in_bin += 1
        if self._n_passed < self._bin_frames:
            return False
        complete = self._n_in_bin > 0
        if complete:
            self._keep()
        self._n_passed = self._n_in_bin = 0
        return complete

    def _keep(self) -> None:
        _, lines, pixels = self._ring.shape
        pool = self._pool
        blocks = self._image[: lines * pool, : pixels * pool].reshape(lines, pool, pixels, pool)
        np.mean(blocks, axis=(1, 3), out=self._ring[self._next])
        self._ring[self._next] /= np.float32(self._n_in_bin)
        self._image.fill(0.0)
        self._next = (self._next + 1) % len(self._ring)
        self.n_filled = min(self.n_filled + 1, len(self._ring))

    def movie(self) -> NDArray[np.float32]:
        """Copy of the bins, oldest first, shape (n_filled, n_lines // pool, n_pixels // pool), counts."""
        if self.n_filled < len(self._ring):
            return self._ring[: self.n_filled].copy()
        return np.concatenate([self._ring[self._next :], self._ring[: self._next]])

    def pooled(self, pixels: NDArray[np.uint32], pixels_per_line: int) -> NDArray[np.uint32]:
        """Mask of a frame as one of this movie: blocks that it covers by half, all that it touches if there is none."""
        y, x = pixels // pixels_per_line // self._pool, pixels % pixels_per_line // self._pool
        inside = (y < self._ring.shape[1]) & (x < self._ring.shape[2])
        block, n = np.unique((y * self._ring.shape[2] + x)[inside], return_counts=True)
        half = n >= 0.5 * self._pool**2
        return np.asarray(block[half] if half.any() else block, np.uint32)

    def spread(self, pixels: NDArray[np.uint32], pixels_per_line: int) -> NDArray[np.uint32]:
        """Mask of this movie as one of a frame, ascending."""
        steps = np.arange(self._pool)
        y = (pixels // self._ring.shape[2] * self._pool)[:, None, None] + steps[:, None]
        x = (pixels % self._ring.shape[2] * self._pool)[:, None, None] + steps
        return np.sort((y * pixels_per_line + x).ravel()).astype(np.uint32)
