"""Frames out of arrays stored in compressed chunks, each chunk unpacked once where frames are read in order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.microscopes.movie_axes import Layout

BLOCK_BYTES = 128 * 1024 * 1024
"""Frames kept unpacked; where a chunk holds more, it is unpacked for every frame, which is slow but bounded."""


class ChunkedFrames:
    """Reads frames of `layout` from `data`, an h5py or zarr array, a block of whole chunks at a time.

    Parameters
    ----------
    data : object
        Has `dtype`, and gives an ndarray when indexed with integers and slices.
    layout : Layout
    chunk_frames : int
        Frames that are stored together.
    """

    def __init__(self, data: Any, layout: Layout, chunk_frames: int) -> None:
        frame_bytes = layout.n_lines * layout.pixels_per_line * data.dtype.itemsize
        self._data = data
        self._layout = layout
        self._n_block = chunk_frames if chunk_frames * frame_bytes <= BLOCK_BYTES else 1
        self._start = -1
        self._block: NDArray[Any] = np.empty(0)

    def read(self, index: int) -> NDArray[Any]:
        """Frame `index`, shape (n_lines, pixels_per_line); a view that the next call may replace."""
        layout = self._layout
        if layout.time_axis is None:
            return layout.upright(np.asarray(self._data[layout.index(0)]))
        start = index - index % self._n_block
        if start != self._start:
            stop = min(start + self._n_block, layout.n_frames)
            block = np.asarray(self._data[layout.index(slice(start, stop))])
            left = [axis for axis in range(layout.n_axes) if axis not in layout.fixed]
            self._block = np.moveaxis(block, left.index(layout.time_axis), 0)
            self._start = start
        return layout.upright(self._block[index - start])


def frames_per_chunk(layout: Layout, chunks: tuple[int, ...] | None) -> int:
    """Frames stored together; 1 for an array in one piece (`chunks` None)."""
    if chunks is None or layout.time_axis is None:
        return 1
    return int(chunks[layout.time_axis])
