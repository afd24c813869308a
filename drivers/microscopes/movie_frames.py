"""A movie as its user sees it: frames of one plane and channel, read one by one, whatever the file is."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.microscopes.scanfields import ScanField
from rt_engine.interfaces.errors import MovieError

TORN_REMEDY = "copy it again; the file was cut off while it was written or copied"
READ_ERRORS = (OSError, ValueError, IndexError, KeyError, RuntimeError, TypeError, struct.error)
"""What the readers of file formats raise over bytes they cannot make sense of."""


@dataclass(frozen=True, slots=True)
class MovieRequest:
    """What the user says about a movie beside its path.

    Attributes
    ----------
    frame_rate_hz : float or None
        Of one plane; overrides what the file says.
    channel, plane : int
        From 0.
    axes : str or None
        Order of the axes as stored, slowest first, of the letters T Z C Y X; None takes what the file says.
    frame_shape : (int, int) or None
        Lines and pixels a line, for files that hold bare numbers.
    """

    frame_rate_hz: float | None = None
    channel: int = 0
    plane: int = 0
    axes: str | None = None
    frame_shape: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class MovieMetadata:
    """What a file says of its frames; None where it does not say.

    Attributes
    ----------
    frame_rate_hz : float or None
        Of one plane.
    um_per_px : float or None
    adc_max : int or None
        Largest count the detector can give.
    n_interleaved : int
        Channels in turn, in files whose images carry no axes.
    frames_per_volume, n_planes : int
        Images of one volume (those taken while the focus flies back included), and how many of them are planes.
    fields : tuple of ScanField
        Regions that are stacked in each image, and are planes of the movie; none where an image is one region.
    zoom : float or None
        Factor as the vendor counts it.
    """

    frame_rate_hz: float | None = None
    um_per_px: float | None = None
    adc_max: int | None = None
    n_interleaved: int = 1
    frames_per_volume: int = 1
    n_planes: int = 1
    fields: tuple[ScanField, ...] = ()
    zoom: float | None = None


class Movie:
    """Frames of one plane and channel of a file; a context manager that closes the file.

    Attributes
    ----------
    path : Path
    n_frames, n_lines, pixels_per_line, n_channels, n_planes, channel, plane : int
    dtype : str
        ``"u2"`` or ``"i2"``; uint8 files are widened to ``"u2"``.
    frame_rate_hz, um_per_px, zoom : float or None
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
        request: MovieRequest,
        metadata: MovieMetadata,
        n_channels: int = 1,
        n_planes: int = 1,
    ) -> None:
        self.path = path
        self.n_frames, self.n_lines, self.pixels_per_line = shape
        self.dtype = "i2" if dtype.kind == "i" else "u2"
        self.n_channels, self.n_planes = n_channels, n_planes
        self.channel, self.plane = request.channel, request.plane
        self.frame_rate_hz = request.frame_rate_hz if request.frame_rate_hz is not None else metadata.frame_rate_hz
        self.um_per_px, self.zoom = metadata.um_per_px, metadata.zoom
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
            raw = self._read_raw(index)
        except READ_ERRORS as error:
            raise MovieError(f"frame {index} cannot be read: {error}", TORN_REMEDY, file=str(self.path)) from error
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


def require_counts(path: Path, dtype: np.dtype[Any]) -> None:
    """Only detector counts are movies: noise, saturation and the thresholds that follow are in counts.

    Raises
    ------
    MovieError
        Not uint8, uint16 or int16.
    """
    if dtype.kind not in "ui" or dtype.itemsize > 2 or (dtype.kind == "i" and dtype.itemsize == 1):
        raise MovieError(
            f"holds {dtype.name} numbers",
            "save the raw detector counts as uint8, uint16 or int16 (whole numbers, neither scaled nor dF/F)",
            file=str(path),
        )


def positive(value: object) -> float | None:
    """A positive finite number, or None."""
    if isinstance(value, np.generic | np.ndarray):
        if value.size != 1:
            return None
        value = value.item()
    if not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0.0 < number < float("inf") else None
