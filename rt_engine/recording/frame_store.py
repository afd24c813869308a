"""A compressed copy of the frames in Zarr, beside the journal: for viewers that want any frame at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import ConfigError, RecordingError
from rt_engine.interfaces.messages import FrameHeader

STORE_FOLDER = "frames.zarr"
_CHUNK_BYTES = 4 << 20
_THREADS = 1
"""Compressing must leave cores to the loop."""


class FrameStore:
    """Appends whole frames to one Zarr (version 3) array for each plane and channel, ``p<plane>_c<channel>``.

    Row i of ``p<plane>_c<channel>.frames`` (int64, little-endian, one number a frame) is the frame number of row i of
    the array. Frames in strips are put together; one of which lines are missing is left out.

    Parameters
    ----------
    folder : Path
        Session folder.

    Raises
    ------
    ConfigError
        The library that writes it is not installed.

    Notes
    -----
    The journal stays the source of truth: a chunk is written when all its frames have come, so that a killed recorder
    leaves a store without its last frames, whose numbers may stand in the list all the same.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import acquire_zarr
        except ImportError as error:
            raise ConfigError(
                "`frame_store: zarr` needs a package that is not installed (acquire-zarr)",
                'pip install "spikeloop[zarr]"',
                key="recording.frame_store",
            ) from error
        self._zarr = acquire_zarr
        self._folder = folder / STORE_FOLDER
        self._arrays: dict[tuple[int, int], _Array] = {}

    def add(self, header: FrameHeader, payload: bytes | memoryview) -> None:
        """Take one frame, or strip of one; `payload` is copied.

        Raises
        ------
        RecordingError
            It cannot be written.
        """
        key = header.plane, header.channel
        try:
            if key not in self._arrays:
                self._arrays[key] = _Array(self._zarr, self._folder, header)
            self._arrays[key].add(header, payload)
        except (RuntimeError, OSError) as error:
            raise RecordingError(f"{self._folder}: frames cannot be written: {error}") from error

    def close(self) -> None:
        """Write what waits, and the lengths; may be repeated.

        Raises
        ------
        RecordingError
            It cannot be written.
        """
        arrays, self._arrays = self._arrays, {}
        try:
            for array in arrays.values():
                array.close()
        except (RuntimeError, OSError) as error:
            raise RecordingError(f"{self._folder}: frames cannot be written: {error}") from error


class _Array:
    """Frames of one plane and channel."""

    def __init__(self, zarr: Any, folder: Path, header: FrameHeader) -> None:
        shape = header.lines_per_frame, header.pixels_per_line
        self._frame: NDArray[Any] = np.zeros(shape, np.dtype("<" + header.dtype))
        self._number, self._n_lines = -1, 0
        name = f"p{header.plane}_c{header.channel}"
        kinds = zarr.DimensionType
        sizes = (
            ("t", kinds.TIME, 0, max(1, _CHUNK_BYTES // self._frame.nbytes)),
            ("y", kinds.SPACE, shape[0], shape[0]),
            ("x", kinds.SPACE, shape[1], shape[1]),
        )
        dimensions = [
            zarr.Dimension(name=axis, kind=kind, array_size_px=size, chunk_size_px=chunk, shard_size_chunks=1)
            for axis, kind, size, chunk in sizes
        ]
        compression = zarr.CompressionSettings(
            compressor=zarr.Compressor.BLOSC1, codec=zarr.CompressionCodec.BLOSC_LZ4, level=1, shuffle=1
        )
        array = zarr.ArraySettings(data_type=self._frame.dtype, dimensions=dimensions, compression=compression)
        folder.mkdir(exist_ok=True)
        self._stream = zarr.ZarrStream(
            zarr.StreamSettings(store_path=str(folder / name), arrays=[array], max_threads=_THREADS)
        )
        self._numbers: BinaryIO = (folder / f"{name}.frames").open("xb", buffering=0)

    def add(self, header: FrameHeader, payload: bytes | memoryview) -> None:
        """Lines that do not fit the first frame are in the journal alone."""
        if (header.lines_per_frame, header.pixels_per_line) != self._frame.shape:
            return
        if len(payload) != header.n_lines * self._frame.strides[0]:
            return
        if header.frame != self._number:
            self._number, self._n_lines = header.frame, 0
        rows = self._frame[header.line0 : header.line0 + header.n_lines]
        rows[:] = np.frombuffer(payload, self._frame.dtype).reshape(rows.shape)
        self._n_lines += header.n_lines
        if self._n_lines == len(self._frame):
            self._stream.append(self._frame)
            self._numbers.write(header.frame.to_bytes(8, "little", signed=True))

    def close(self) -> None:
        self._numbers.close()
        self._stream.close()
