"""The file that Scanbox shares with one reader: sixteen int16 words, then a frame of each channel."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 32
FREE, STOPPED = -1, -2
_WORDS = struct.Struct("<6h")
_SEMAPHORE = struct.Struct("<h")


class SlotHeader(NamedTuple):
    """First words of the file: the frame's number (or that there is none), its size, and whether planes are scanned."""

    number: int
    n_lines: int
    n_pixels: int
    ttl: int
    is_volume: int
    period: int


class Slot:
    """The file, mapped. One side writes a frame where the number is negative, the other makes it negative again.

    Parameters
    ----------
    path : Path

    Raises
    ------
    OSError
        It is not there, is empty, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE)
            found = os.fstat(file.fileno())
        self._is = (found.st_ino, found.st_size)
        self.size = len(self._map)

    def header(self) -> SlotHeader:
        """What stands there now."""
        return SlotHeader(*_WORDS.unpack_from(self._map))

    def number(self) -> int:
        """The first word alone."""
        return int(_SEMAPHORE.unpack_from(self._map)[0])

    def set_number(self, number: int) -> None:
        """Write the first word, at once: `pack_into` would show a nought for a moment."""
        self._map[: _SEMAPHORE.size] = _SEMAPHORE.pack(number)

    def holds_nothing(self, header: SlotHeader) -> bool:
        """Whether the file is as it was made, full of noughts: no frame has been written into it."""
        return header.n_lines <= 0 or header.n_pixels <= 0

    def holds(self, header: SlotHeader, n_channels: int) -> bool:
        """Whether a frame of this size, of every channel, fits into the file."""
        pixels = header.n_lines * header.n_pixels
        return HEADER_BYTES + 2 * pixels * n_channels <= self.size

    def copy(self, header: SlotHeader, channel: int, out: NDArray[np.uint16], *, column_major: bool) -> None:
        """Pixels of a channel into `out` (shape (n_lines, n_pixels), overwritten), as they stand there."""
        n = header.n_lines * header.n_pixels
        words = np.frombuffer(self._map, "<u2", n, HEADER_BYTES + 2 * n * channel)
        if column_major:
            np.copyto(out, words.reshape(header.n_pixels, header.n_lines).T)
        else:
            np.copyto(out, words.reshape(header.n_lines, header.n_pixels))

    def put(self, header: SlotHeader, pictures: list[NDArray[np.uint16]], *, column_major: bool) -> None:
        """Write a frame as Scanbox does: the words, the channels, and last the number."""
        self._map[_SEMAPHORE.size : _WORDS.size] = _WORDS.pack(*header)[_SEMAPHORE.size :]
        for channel, picture in enumerate(pictures):
            data = (picture.T if column_major else picture).astype("<u2").tobytes()
            at = HEADER_BYTES + len(data) * channel
            self._map[at : at + len(data)] = data
        self.set_number(header.number)

    def is_replaced(self) -> bool:
        """True if another file stands under the name meanwhile."""
        try:
            found = os.stat(self.path)
        except OSError:
            return False
        return (found.st_ino, found.st_size) != self._is

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()
