"""The dose of one subject under one output, in memory that survives the process: a small file mapped into it."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import SafetyError

_MAGIC = b"SLDOSE1\0"
_HEADER = struct.Struct("<8sQ")
SCALARS = (
    "total_nj",
    "pulses",
    "window_on_us",
    "end_wall_ns",
    "n_rows",
    "energy_window_ns",
    "duty_window_ns",
    "total_on_us",
    "train_ns",
    "template",
    "elsewhere_nj",
    "cumulative_elsewhere_nj",
)
"""Single numbers in the file, in order, int64."""
_N_SCALARS = 16


class DoseFile:
    """Integers of a ledger, in a file (survives the death of the process at any moment) or in memory.

    Parameters
    ----------
    path : Path or None
        File, made if it is missing; None keeps the numbers in memory.
    capacity : int
        Rows of the target table.

    Attributes
    ----------
    scalars : int64 ndarray, shape (16,)
        See `SCALARS`.
    keys, window_nj, cumulative_nj : int64 ndarray, shape (capacity,)
        Place in the template, energy in the sliding window, and energy since the ledger began.

    Raises
    ------
    SafetyError
        The file cannot be made, or is not a dose file of this size.

    Notes
    -----
    The file is written whole under another name and renamed, so it is never half made. Later changes are single
    aligned 8-byte stores into the mapping: a killed process loses none. What a power cut may lose is bounded by how
    often the caller calls `sync`.
    """

    def __init__(self, path: Path | None, capacity: int) -> None:
        size = _HEADER.size + 8 * (_N_SCALARS + 3 * capacity)
        self._map: mmap.mmap | None = None
        self._fd: int | None = None
        if path is None:
            buffer: mmap.mmap | bytearray = bytearray(size)
        else:
            buffer = self._map = _open_map(path, capacity, size)
            self._fd = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        self._numbers: NDArray[np.int64] | None = np.frombuffer(buffer, np.int64, offset=_HEADER.size)
        self.scalars = self._numbers[:_N_SCALARS]
        self.keys, self.window_nj, self.cumulative_nj = self._numbers[_N_SCALARS:].reshape(3, capacity)
        if self._numbers[:_N_SCALARS].min() < 0 or self.scalars[4] > capacity or self.cumulative_nj.min() < 0:
            raise SafetyError(
                f"the dose file {path} is damaged", "find out what the subject received before deleting it"
            )

    def sync(self) -> None:
        """Push the numbers to the disk; may take long, but lets other threads run meanwhile.

        Raises
        ------
        SafetyError
            The disk is full or gone.
        """
        if self._map is None or self._fd is None:
            return
        try:
            if os.name == "nt":
                self._map.flush()
            os.fsync(self._fd)  # of the pages of the mapping too; `flush` would keep the interpreter lock
        except OSError as error:
            raise SafetyError(f"the dose file cannot be written: {error.strerror}") from error

    def __del__(self) -> None:
        """Give the descriptor back."""
        fd, self._fd = getattr(self, "_fd", None), None
        if fd is not None:
            os.close(fd)


def _open_map(path: Path, capacity: int, size: int) -> mmap.mmap:
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(path.suffix + ".new")
            with open(fresh, "wb") as file:
                file.write(_HEADER.pack(_MAGIC, capacity).ljust(size, b"\0"))
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, path)
        with open(path, "r+b") as file:
            head = file.read(_HEADER.size)
            if len(head) < _HEADER.size or _HEADER.unpack(head) != (_MAGIC, capacity) or path.stat().st_size != size:
                raise SafetyError(
                    f"{path} is not a dose file of {capacity} places, or is torn",
                    "find out what the subject received before deleting it",
                )
            return mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise SafetyError(f"the dose file {path} cannot be opened: {error.strerror}") from error
