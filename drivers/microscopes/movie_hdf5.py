"""Movies in HDF5 and NWB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from drivers.microscopes.movie_axes import guess_axes, lay_out
from drivers.microscopes.movie_chunks import ChunkedFrames, frames_per_chunk
from drivers.microscopes.movie_frames import (
    READ_ERRORS,
    TORN_REMEDY,
    Movie,
    MovieMetadata,
    MovieRequest,
    positive,
    require_counts,
)
from rt_engine.interfaces.errors import MovieError

RATE_KEYS = ("frame_rate_hz", "frame_rate", "fps", "fs", "fr", "rate")
_SERIES_TYPES = ("TwoPhotonSeries", "OnePhotonSeries")
_NWB_AXES = {3: "TXY", 4: "TXYZ"}
"""The schema of ImageSeries: (frame, x, y[, z])."""


def open_hdf5(path: Path, inside: str | None, request: MovieRequest) -> Movie:
    """Open a dataset of a HDF5 or NWB file without loading it.

    Parameters
    ----------
    path : Path
    inside : str or None
        Path of the dataset or series in the file; None where there is only one that can be a movie.
    request : MovieRequest

    Raises
    ------
    MovieError
        Torn, no movie or several in it, other numbers or axes, or no such plane or channel.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise MovieError(f"cannot be read as HDF5: {error}", TORN_REMEDY, file=str(path)) from error
    try:
        series = _series(file)
        if inside is None and series:
            inside = _only(path, series, "imaging series")
        elif inside is None:
            inside = _only(path, _movie_datasets(file), "dataset of 3 or 4 axes")
        node = file.get(inside)
        if isinstance(node, h5py.Group) and _type_of(node) in _SERIES_TYPES:
            return _movie_of_series(path, file, node, request)
        if not isinstance(node, h5py.Dataset):
            raise MovieError(
                f"there is no dataset {inside}", f"it has {_listed(_movie_datasets(file))}", file=str(path)
            )
        if isinstance(node.parent, h5py.Group) and _type_of(node.parent) in _SERIES_TYPES:
            return _movie_of_series(path, file, node.parent, request)
        return _movie(path, file, node, _axes(path, node, request), _metadata(node, file), request)
    except MovieError:
        file.close()
        raise
    except READ_ERRORS as error:
        file.close()
        raise MovieError(f"cannot be read as HDF5: {error}", TORN_REMEDY, file=str(path)) from error


def _movie(
    path: Path, file: h5py.File, data: h5py.Dataset, axes: str, metadata: MovieMetadata, request: MovieRequest
) -> Movie:
    require_counts(path, data.dtype)
    layout = lay_out(path, axes, data.shape, request)
    frames = ChunkedFrames(data, layout, frames_per_chunk(layout, data.chunks))
    return Movie(
        path, layout.shape, data.dtype, frames.read, file.close,
        request=request, metadata=metadata, n_channels=layout.n_channels, n_planes=layout.n_planes,
    )  # fmt: skip


def _movie_of_series(path: Path, file: h5py.File, series: h5py.Group, request: MovieRequest) -> Movie:
    data = series.get("data")
    if "external_file" in series:
        names = [_text(name) for name in np.ravel(series["external_file"][()])]
        raise MovieError("keeps its frames in another file", f"give {' or '.join(names)}", file=str(path))
    if not isinstance(data, h5py.Dataset):
        raise MovieError(f"{series.name} holds no frames", "", file=str(path))
    axes = request.axes or _NWB_AXES.get(data.ndim) or guess_axes(path, data.ndim)
    plane = series.get("imaging_plane")
    rate_hz = _series_rate_hz(series)
    if rate_hz is None and isinstance(plane, h5py.Group) and "imaging_rate" in plane:
        rate_hz = positive(plane["imaging_rate"][()])
    return _movie(path, file, data, axes, MovieMetadata(frame_rate_hz=rate_hz), request)


def _series_rate_hz(series: h5py.Group) -> float | None:
    start = series.get("starting_time")
    if isinstance(start, h5py.Dataset):
        return positive(start.attrs.get("rate"))
    stamps = series.get("timestamps")
    if isinstance(stamps, h5py.Dataset) and stamps.size > 1:
        step_s = positive(float(np.median(np.diff(stamps[:10_000]))))
        return 1.0 / step_s if step_s else None
    return None


def _metadata(data: h5py.Dataset, file: h5py.File) -> MovieMetadata:
    """Frame rate from an attribute of the dataset, its group or the file, or from a number beside the dataset."""
    for node in (data, data.parent, file):
        for key in RATE_KEYS:
            rate_hz = positive(node.attrs.get(key))
            if rate_hz is None and isinstance(node, h5py.Group) and isinstance(node.get(key), h5py.Dataset):
                rate_hz = positive(node[key][()]) if node[key].size == 1 else None
            if rate_hz is not None:
                return MovieMetadata(frame_rate_hz=rate_hz)
    return MovieMetadata()


def _axes(path: Path, data: h5py.Dataset, request: MovieRequest) -> str:
    if request.axes is not None:
        return request.axes
    labels = "".join(dimension.label[:1].upper() for dimension in data.dims)
    stated = _text(data.attrs.get("axes", "")).replace(",", "").upper()
    for axes in (labels, stated):
        if len(axes) == data.ndim:
            return axes
    return guess_axes(path, data.ndim)


def _series(file: h5py.File) -> list[str]:
    return _found(file, lambda node: isinstance(node, h5py.Group) and _type_of(node) in _SERIES_TYPES)


def _movie_datasets(file: h5py.File) -> list[str]:
    return _found(
        file, lambda node: isinstance(node, h5py.Dataset) and node.ndim in (3, 4) and node.dtype.kind in "uif"
    )


def _found(file: h5py.File, wanted: Callable[[Any], bool]) -> list[str]:
    names: list[str] = []

    def look(name: str, node: Any) -> None:
        if wanted(node):
            names.append("/" + name)

    file.visititems(look)
    return names


def _only(path: Path, names: list[str], what: str) -> str:
    if len(names) == 1:
        return names[0]
    if not names:
        raise MovieError(f"holds no {what}", "give a file with frames", file=str(path))
    raise MovieError(f"holds {len(names)} {what}s: {_listed(names)}", f"choose one: {path}:{names[0]}", file=str(path))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:6]) + (" …" if len(names) > 6 else "") if names else "none"


def _type_of(node: h5py.Group) -> str:
    return _text(node.attrs.get("neurodata_type", ""))


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
