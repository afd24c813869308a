"""Movies in files: TIFF (ImageJ, OME, ScanImage, BigTIFF) and .npy, read frame by frame."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from drivers.microscopes.tiff_metadata import TiffMetadata, read_tiff_metadata
from rt_engine.interfaces.errors import MovieError

SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".npy")
_TORN_REMEDY = "copy it again; the file was cut off while it was written or copied"
_KINDS = "uint8, uint16 or int16 counts"
_READ_ERRORS = (OSError, ValueError, IndexError, KeyError, RuntimeError, struct.error, tifffile.TiffFileError)


class Movie:
    """Frames of one channel of a file; a context manager that closes the file.

    Attributes
    ----------
    path : Path
    n_frames, n_lines, pixels_per_line, n_channels, channel : int
    dtype : str
        ``"u2"`` or ``"i2"``; uint8 files are widened to ``"u2"``.
    frame_rate_hz, um_per_px : float or None
        None where the file does not say and the caller did not either.
    adc_max : int or None
        Largest count the detector can give.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        read_raw: Callable[[int], NDArray[Any]],
        close: Callable[[], None],
        *,
        metadata: TiffMetadata,
        n_channels: int = 1,
        channel: int = 0,
        frame_rate_hz: float | None = None,
    ) -> None:
        self.path = path
        self.n_frames, self.n_lines, self.pixels_per_line = shape
        self.dtype = "i2" if dtype.kind == "i" else "u2"
        self.n_channels = n_channels
        self.channel = channel
        self.frame_rate_hz = frame_rate_hz if frame_rate_hz is not None else metadata.frame_rate_hz
        self.um_per_px = metadata.um_per_px
        self.adc_max = 255 if dtype.itemsize == 1 else metadata.adc_max
        self._read_raw = read_raw
        self._close = close

    def read(self, index: int) -> NDArray[Any]:
        """One frame: uint16 or int16 ndarray, shape (n_lines, pixels_per_line), C order, native byte order.

        Raises
        ------
        IndexError
            No such frame.
        MovieError
            The frame cannot be decoded.
        """
        if not 0 <= index < self.n_frames:
            raise IndexError(f"{self.path}: frame {index} of {self.n_frames}")
        try:
            with _quiet_tifffile():
                raw = self._read_raw(index)
        except _READ_ERRORS as error:
            raise MovieError(f"frame {index} cannot be read: {error}", _TORN_REMEDY, file=str(self.path)) from error
        if raw.shape != (self.n_lines, self.pixels_per_line):
            raise MovieError(
                f"frame {index} is {' x '.join(map(str, raw.shape))} px, the first is "
                f"{self.n_lines} x {self.pixels_per_line} px",
                "all frames must have one size",
                file=str(self.path),
            )
        return np.ascontiguousarray(raw, dtype=self.dtype)

    def frames(self, start: int = 0) -> Iterator[NDArray[Any]]:
        """All frames from `start` on, in order, each as from `read`."""
        for index in range(start, self.n_frames):
            yield self.read(index)

    def require_frame_rate(self) -> float:
        """Frames per second.

        Raises
        ------
        MovieError
            The file does not say and none was given.
        """
        if self.frame_rate_hz is None:
            raise MovieError(
                "the file does not say its frame rate", "give it with --frame-rate-hz", file=str(self.path)
            )
        return self.frame_rate_hz

    def close(self) -> None:
        """Release the file; may be repeated."""
        self._close()

    def __enter__(self) -> Movie:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_movie(path: Path | str, *, frame_rate_hz: float | None = None, channel: int = 0) -> Movie:
    """Open a movie without loading it.

    Parameters
    ----------
    path : Path or str
        ``.tif``, ``.tiff``, ``.btf``, ``.tf8`` or ``.npy`` (shape (n_frames, n_lines, n_pixels)).
    frame_rate_hz : float, optional
        Overrides what the file says.
    channel : int
        From 0.

    Raises
    ------
    MovieError
        Missing, torn or empty file, colour, unsupported numbers, volumes, or no such channel.
    """
    path = Path(path)
    if not path.is_file():
        raise MovieError("there is no such file", "check the path", file=str(path))
    if path.suffix.lower() not in SUFFIXES:
        raise MovieError(f"{path.suffix or 'no suffix'} is not a movie", f"known: {' '.join(SUFFIXES)}", file=str(path))
    if path.stat().st_size == 0:
        raise MovieError("the file is empty (0 bytes)", _TORN_REMEDY, file=str(path))
    if channel < 0:
        raise MovieError(f"there is no channel {channel}", "channels count from 0", file=str(path))
    if path.suffix.lower() == ".npy":
        return _open_npy(path, frame_rate_hz, channel)
    return _open_tiff(path, frame_rate_hz, channel)


def _open_npy(path: Path, frame_rate_hz: float | None, channel: int) -> Movie:
    try:
        data = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MovieError(f"cannot be read as .npy: {error}", _TORN_REMEDY, file=str(path)) from error
    if data.ndim != 3:
        raise MovieError(f"has {data.ndim} axes", "save it as (n_frames, n_lines, n_pixels)", file=str(path))
    _require_counts(path, data.dtype)
    _require_channel(path, channel, 1)
    if 0 in data.shape:
        raise MovieError("holds no frames", "", file=str(path))

    def read_raw(index: int) -> NDArray[Any]:
        frame: NDArray[Any] = data[index]
        return frame

    return Movie(
        path, data.shape, data.dtype, read_raw, _nothing, metadata=TiffMetadata(), frame_rate_hz=frame_rate_hz
    )  # fmt: skip


def _open_tiff(path: Path, frame_rate_hz: float | None, channel: int) -> Movie:
    with _quiet_tifffile() as remarks:
        try:
            tiff = tifffile.TiffFile(path)
        except _READ_ERRORS as error:
            raise MovieError(f"cannot be read as TIFF: {error}", _TORN_REMEDY, file=str(path)) from error
        try:
            movie = _movie_of_tiff(path, tiff, frame_rate_hz, channel)
            if any("invalid page offset" in remark for remark in remarks):
                raise MovieError(f"ends after {movie.n_frames} of its frames", _TORN_REMEDY, file=str(path))
        except MovieError:
            tiff.close()
            raise
        except _READ_ERRORS as error:
            tiff.close()
            raise MovieError(f"cannot be read as TIFF: {error}", _TORN_REMEDY, file=str(path)) from error
        return movie


def _movie_of_tiff(path: Path, tiff: tifffile.TiffFile, frame_rate_hz: float | None, channel: int) -> Movie:
    if len(tiff.pages) == 0:
        raise MovieError("holds no images", _TORN_REMEDY, file=str(path))
    if len(tiff.series) != 1:
        raise MovieError(
            f"holds {len(tiff.series)} series of images", "export one series of equal images", file=str(path)
        )
    series = tiff.series[0]
    _require_counts(path, series.dtype)
    metadata = read_tiff_metadata(tiff)
    order, n_channels = _page_order(path, series.axes, series.shape, metadata, channel)
    lines, pixels = series.shape[-2:]
    _require_whole(path, series)
    if series.dataoffset is not None:
        stored = series.dtype.newbyteorder(tiff.byteorder)
        shape = (series.size // (lines * pixels), lines, pixels)
        stack = np.memmap(path, stored, "r", series.dataoffset, shape)

        def read_raw(index: int) -> NDArray[Any]:
            frame: NDArray[Any] = stack[order[index]]
            return frame

    else:
        available = [i for i in order if series[i] is not None]
        if not available:
            raise MovieError(
                f"the images of channel {channel} are in a file that is not here",
                "put it beside this one",
                file=str(path),
            )
        order = np.asarray(available)

        def read_raw(index: int) -> NDArray[Any]:
            page = series[int(order[index])]
            if page is None:
                raise KeyError("its file is missing")
            frame: NDArray[Any] = page.asarray()
            return frame

    return Movie(
        path, (len(order), lines, pixels), series.dtype, read_raw, tiff.close,
        metadata=metadata, n_channels=n_channels, channel=channel, frame_rate_hz=frame_rate_hz,
    )  # fmt: skip


def _page_order(
    path: Path, axes: str, shape: tuple[int, ...], metadata: TiffMetadata, channel: int
) -> tuple[NDArray[np.int64], int]:
    """Positions of the channel's images in the series, in time, and the number of channels."""
    if "S" in axes or not axes.endswith("YX"):
        raise MovieError(f"holds colour images (axes {axes})", "save the raw detector counts, grey", file=str(path))
    leading, sizes = axes[:-2], shape[:-2]
    if metadata.n_planes > 1 or sum(size > 1 for axis, size in zip(leading, sizes, strict=True) if axis != "C") > 1:
        raise MovieError(f"holds volumes (axes {axes}, shape {shape})", "export one plane", file=str(path))
    index = np.arange(int(np.prod(sizes, dtype=np.int64))).reshape(sizes)
    if "C" in leading:
        n_channels = shape[leading.index("C")]
        _require_channel(path, channel, n_channels)
        return np.moveaxis(index, leading.index("C"), 0)[channel].ravel(), n_channels
    n_channels = metadata.n_interleaved
    _require_channel(path, channel, n_channels)
    flat = index.ravel()
    return flat[: len(flat) - len(flat) % n_channels][channel::n_channels], n_channels


def _require_counts(path: Path, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "ui" or dtype.itemsize > 2 or (dtype.kind == "i" and dtype.itemsize == 1):
        raise MovieError(f"holds {dtype.name} numbers", f"save the raw {_KINDS}", file=str(path))


def _require_channel(path: Path, channel: int, n_channels: int) -> None:
    if channel >= n_channels:
        raise MovieError(
            f"there is no channel {channel}, the file has {n_channels}", "channels count from 0", file=str(path)
        )


def _require_whole(path: Path, series: tifffile.TiffPageSeries) -> None:
    """Refuse a file that ends before its last image."""
    if series.dataoffset is not None:
        end = series.dataoffset + series.nbytes
    else:
        pages = [page for page in (series[0], series[len(series) - 1]) if page is not None]
        pages = [page for page in pages if page.parent.filehandle.path == str(path.absolute())]
        ends = [o + b for page in pages for o, b in zip(page.dataoffsets, page.databytecounts, strict=False)]
        end = max(ends, default=0)
    if end > path.stat().st_size:
        raise MovieError(f"ends {end - path.stat().st_size} bytes before its last image", _TORN_REMEDY, file=str(path))


def _nothing() -> None:
    """A memory-mapped array is released with its last reference."""


@contextmanager
def _quiet_tifffile() -> Iterator[list[str]]:
    """Keep tifffile's remarks off the terminal and collect them; what matters is raised as MovieError."""
    remarks: list[str] = []

    def collect(record: logging.LogRecord) -> bool:
        remarks.append(record.getMessage())
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(collect)
    try:
        yield remarks
    finally:
        logger.removeFilter(collect)
