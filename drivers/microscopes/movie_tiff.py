"""TIFF movies: plain, ImageJ, OME, ScanImage, BigTIFF."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from drivers.microscopes.movie_axes import Layout, lay_out
from drivers.microscopes.movie_frames import (
    READ_ERRORS,
    TORN_REMEDY,
    Movie,
    MovieMetadata,
    MovieRequest,
    require_counts,
)
from drivers.microscopes.scanfields import ScanField, plane_names
from drivers.microscopes.tiff_metadata import read_tiff_metadata
from rt_engine.interfaces.errors import MovieError

_TIFF_ERRORS = (*READ_ERRORS, tifffile.TiffFileError)


def open_tiff(path: Path, request: MovieRequest) -> Movie:
    """Open a TIFF without loading it.

    Raises
    ------
    MovieError
        Torn, colour, other numbers, several kinds of image, or no such plane or channel.
    """
    with _quiet_tifffile() as remarks:
        try:
            tiff = tifffile.TiffFile(path)
        except _TIFF_ERRORS as error:
            raise MovieError(f"cannot be read as TIFF: {error}", TORN_REMEDY, file=str(path)) from error
        try:
            movie = _movie(path, tiff, request)
            if any("invalid page offset" in remark for remark in remarks):
                raise MovieError(f"ends after {movie.n_frames} of its frames", TORN_REMEDY, file=str(path))
        except MovieError:
            tiff.close()
            raise
        except _TIFF_ERRORS as error:
            tiff.close()
            raise MovieError(f"cannot be read as TIFF: {error}", TORN_REMEDY, file=str(path)) from error
        return movie


def _movie(path: Path, tiff: tifffile.TiffFile, request: MovieRequest) -> Movie:
    if len(tiff.pages) == 0:
        raise MovieError("holds no images", TORN_REMEDY, file=str(path))
    if len(tiff.series) != 1:
        raise MovieError(
            f"holds {len(tiff.series)} series of images", "export one series of equal images", file=str(path)
        )
    series = tiff.series[0]
    require_counts(path, series.dtype)
    metadata = read_tiff_metadata(tiff)
    field = _field(path, metadata, request)
    images = request if field is None else replace(request, plane=request.plane // len(metadata.fields))
    layout, order = _page_order(path, series.axes, series.shape, metadata, images)
    lines, pixels = series.shape[-2:]
    _require_whole(path, series)
    if series.dataoffset is not None:
        stored = series.dtype.newbyteorder(tiff.byteorder)
        stack = np.memmap(path, stored, "r", series.dataoffset, (series.size // (lines * pixels), lines, pixels))
        read_raw = _stack_reader(stack, order)
    else:
        order = np.asarray([i for i in order if series[i] is not None], np.int64)
        if not len(order):
            raise MovieError(
                f"the images of channel {request.channel} are in a file that is not here",
                "put it beside this one",
                file=str(path),
            )
        read_raw = _page_reader(series, order)
    if field is not None:
        read_raw, lines = _field_reader(read_raw, field), field.n_lines
        metadata = replace(metadata, um_per_px=field.um_per_px or metadata.um_per_px)
    return Movie(
        path, (len(order), lines, pixels), series.dtype, read_raw, tiff.close, request=request,
        metadata=metadata, n_channels=layout.n_channels, n_planes=layout.n_planes * max(1, len(metadata.fields)),
    )  # fmt: skip


def _field(path: Path, metadata: MovieMetadata, request: MovieRequest) -> ScanField | None:
    """The region that is asked for as a plane; None where an image is one region."""
    if not metadata.fields:
        return None
    names = plane_names(metadata.fields, metadata.n_planes)
    if request.plane >= len(names):
        told = "; ".join(f"{i} is {name}" for i, name in enumerate(names))
        raise MovieError(f"there is no plane {request.plane}", f"planes are its ROIs: {told}", file=str(path))
    return metadata.fields[request.plane % len(metadata.fields)]


def _field_reader(read_raw: Callable[[int], NDArray[Any]], field: ScanField) -> Callable[[int], NDArray[Any]]:
    """The lines of one region of each image."""

    def read(index: int) -> NDArray[Any]:
        return read_raw(index)[field.line0 : field.end]

    return read


def _stack_reader(stack: NDArray[Any], order: NDArray[np.int64]) -> Callable[[int], NDArray[Any]]:
    """Images that follow each other without a gap, memory-mapped."""

    def read_raw(index: int) -> NDArray[Any]:
        frame: NDArray[Any] = stack[order[index]]
        return frame

    return read_raw


def _page_reader(series: tifffile.TiffPageSeries, order: NDArray[np.int64]) -> Callable[[int], NDArray[Any]]:
    """Images one by one, wherever they lie and however they are compressed."""

    def read_raw(index: int) -> NDArray[Any]:
        page = series[int(order[index])]
        if page is None:
            raise KeyError("its file is missing")
        try:
            with _quiet_tifffile():
                frame: NDArray[Any] = page.asarray()
        except tifffile.TiffFileError as error:
            raise OSError(str(error)) from error
        return frame

    return read_raw


def _page_order(
    path: Path, axes: str, shape: tuple[int, ...], metadata: MovieMetadata, request: MovieRequest
) -> tuple[Layout, NDArray[np.int64]]:
    """Layout of the images in the series, and the positions of those of the plane and channel, in time."""
    if "S" in axes or not axes.endswith("YX"):
        raise MovieError(f"holds colour images (axes {axes})", "save the raw detector counts, grey", file=str(path))
    leading: tuple[int, ...] = shape[:-2]
    n_images = int(np.prod(leading, dtype=np.int64))
    per_volume = metadata.frames_per_volume * metadata.n_interleaved
    in_turn = "C" not in axes or (metadata.frames_per_volume > 1 and "Z" not in axes)  # tifffile knows no flyback
    if request.axes is None and per_volume > 1 and in_turn:
        leading = (n_images // per_volume, metadata.frames_per_volume, metadata.n_interleaved)
        layout = lay_out(path, "TZCYX", (*leading, *shape[-2:]), request, n_planes=metadata.n_planes)
    else:
        layout = lay_out(path, axes, shape, request)
        if request.axes is not None and not request.axes.upper().endswith("YX"):
            raise MovieError("stores lines and pixels last", "give --axes that end in YX", file=str(path), key="--axes")
    index = np.arange(int(np.prod(leading, dtype=np.int64)), dtype=np.int64).reshape(leading)
    return layout, np.atleast_1d(index[layout.index(slice(None))[:-2]]).ravel()


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
        raise MovieError(f"ends {end - path.stat().st_size} bytes before its last image", TORN_REMEDY, file=str(path))


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
