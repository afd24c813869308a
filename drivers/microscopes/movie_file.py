"""Movies in files, read frame by frame: TIFF, HDF5, NWB, Zarr, .npy and suite2p's binary."""

from __future__ import annotations

import re
from pathlib import Path

from drivers.microscopes.movie_frames import TORN_REMEDY, Movie, MovieRequest
from rt_engine.interfaces.errors import MovieError

_TIFF = (".tif", ".tiff", ".btf", ".tf8")
_HDF5 = (".h5", ".hdf5", ".nwb")
SUFFIXES = (*_TIFF, *_HDF5, ".zarr", ".npy", ".bin")
_INSIDE = re.compile(r"(?P<file>.+?\.(?:h5|hdf5|nwb|zarr)):(?P<inside>/.+)", re.IGNORECASE)

__all__ = ["SUFFIXES", "Movie", "MovieRequest", "is_movie_folder", "open_movie", "split_inside"]


def open_movie(
    path: Path | str,
    *,
    frame_rate_hz: float | None = None,
    channel: int = 0,
    plane: int = 0,
    axes: str | None = None,
    frame_shape: tuple[int, int] | None = None,
) -> Movie:
    """Open a movie without loading it.

    Parameters
    ----------
    path : Path or str
        TIFF (plain, ImageJ, OME, ScanImage, BigTIFF), ``.h5``, ``.hdf5``, ``.nwb``, a Zarr folder, ``.npy`` (shape
        (n_frames, n_lines, n_pixels)), or suite2p's ``.bin``; ``FILE.h5:/path/inside`` names a dataset in a file that
        holds several.
    frame_rate_hz, channel, plane, axes, frame_shape
        See `MovieRequest`.

    Raises
    ------
    MovieError
        Missing, torn or empty file, colour, unsupported numbers, unknown axes, or no such plane or channel.
    """
    request = MovieRequest(frame_rate_hz, channel, plane, axes, frame_shape)
    path, inside = split_inside(path)
    _require_file(path)
    if request.channel < 0 or request.plane < 0:
        what, asked = ("channel", request.channel) if request.channel < 0 else ("plane", request.plane)
        raise MovieError(f"there is no {what} {asked}", f"{what}s count from 0", file=str(path))
    suffix = path.suffix.lower()
    if request.frame_shape is not None and suffix != ".bin":
        raise MovieError("says its own size", "--shape is for .bin files", file=str(path), key="--shape")
    if is_movie_folder(path):
        from drivers.microscopes.movie_zarr import open_zarr

        return open_zarr(path, inside, request)
    if suffix in _HDF5:
        from drivers.microscopes.movie_hdf5 import open_hdf5

        return open_hdf5(path, inside, request)
    if suffix in (".npy", ".bin"):
        from drivers.microscopes.movie_array import open_binary, open_npy

        return open_npy(path, request) if suffix == ".npy" else open_binary(path, request)
    from drivers.microscopes.movie_tiff import open_tiff

    return open_tiff(path, request)


def split_inside(path: Path | str) -> tuple[Path, str | None]:
    """``FILE.h5:/path`` as the file and the path in it; None where only a file is named."""
    found = None if Path(path).exists() else _INSIDE.fullmatch(str(path))
    return (Path(found["file"]), found["inside"]) if found else (Path(path), None)


def is_movie_folder(path: Path | str) -> bool:
    """True if a folder is a movie (Zarr) and no session."""
    path, _ = split_inside(path)
    markers = (".zarray", ".zgroup", "zarr.json")
    return path.is_dir() and (path.suffix.lower() == ".zarr" or any((path / name).is_file() for name in markers))


def _require_file(path: Path) -> None:
    if is_movie_folder(path):
        return
    if path.is_dir():
        raise MovieError("is a folder, and no Zarr movie", f"known: {' '.join(SUFFIXES)}", file=str(path))
    if not path.is_file():
        raise MovieError("there is no such file", "check the path", file=str(path))
    if path.suffix.lower() not in SUFFIXES:
        raise MovieError(f"{path.suffix or 'no suffix'} is not a movie", f"known: {' '.join(SUFFIXES)}", file=str(path))
    if path.stat().st_size == 0:
        raise MovieError("the file is empty (0 bytes)", TORN_REMEDY, file=str(path))
