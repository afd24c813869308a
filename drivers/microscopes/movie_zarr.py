"""Movies in Zarr folders, version 2 and 3, OME-Zarr included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drivers.microscopes.movie_axes import guess_axes, lay_out
from drivers.microscopes.movie_chunks import ChunkedFrames, frames_per_chunk
from drivers.microscopes.movie_frames import READ_ERRORS, Movie, MovieMetadata, MovieRequest, positive, require_counts
from drivers.microscopes.movie_hdf5 import RATE_KEYS
from rt_engine.interfaces.errors import MovieError

_TORN_REMEDY = "copy the whole folder again; parts of it are missing or damaged"
_SECONDS = {"second": 1.0, "millisecond": 1e-3, "microsecond": 1e-6, "minute": 60.0}
_MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3}


def open_zarr(path: Path, inside: str | None, request: MovieRequest) -> Movie:
    """Open an array of a Zarr folder without loading it.

    Parameters
    ----------
    path : Path
    inside : str or None
        Path of the array in the folder; None where there is only one that can be a movie, or the folder is OME-Zarr.
    request : MovieRequest

    Raises
    ------
    MovieError
        Zarr is not installed, the folder is damaged, no movie or several in it, other numbers or axes, or no such
        plane or channel.
    """
    try:
        import zarr
    except ImportError as error:
        raise MovieError("needs the zarr package", "pip install 'spikeloop[zarr]'", file=str(path)) from error
    try:
        node = zarr.open(store=str(path), mode="r")
        scales = _multiscales(dict(node.attrs))
        if isinstance(node, zarr.Group):
            data, parents = _array_of(path, node, inside, scales), [node]
        else:
            data, parents = node, []
        there, chunks = data.nchunks_initialized, data.nchunks
        if there < chunks:
            raise MovieError(f"holds {there} of its {chunks} chunks", _TORN_REMEDY, file=str(path))
        return _movie(path, data, parents, scales, request)
    except MovieError:
        raise
    except READ_ERRORS as error:
        raise MovieError(f"cannot be read as Zarr: {error}", _TORN_REMEDY, file=str(path)) from error


def _movie(path: Path, data: Any, parents: list[Any], scales: dict[str, Any], request: MovieRequest) -> Movie:
    require_counts(path, data.dtype)
    axes = request.axes or _axes(data, scales) or guess_axes(path, data.ndim)
    layout = lay_out(path, axes, tuple(data.shape), request)
    frames = ChunkedFrames(data, layout, frames_per_chunk(layout, data.shards or data.chunks))
    rate_hz, um_per_px = _scale(scales)
    for node in (data, *parents):
        for key in RATE_KEYS:
            rate_hz = rate_hz or positive(dict(node.attrs).get(key))
    return Movie(
        path, layout.shape, data.dtype, frames.read, _nothing,
        request=request, metadata=MovieMetadata(frame_rate_hz=rate_hz, um_per_px=um_per_px),
        n_channels=layout.n_channels, n_planes=layout.n_planes,
    )  # fmt: skip


def _array_of(path: Path, group: Any, inside: str | None, scales: dict[str, Any]) -> Any:
    """The array that was asked for, that OME-Zarr calls the full resolution, or the only one of 3 to 5 axes."""
    arrays = {name: node for name, node in group.members(max_depth=None) if hasattr(node, "ndim") and node.ndim >= 3}
    names = sorted(arrays)
    if inside is None and scales.get("datasets"):
        inside = str(scales["datasets"][0]["path"])
    if inside is None and len(names) == 1:
        inside = names[0]
    if inside is None:
        found = ", ".join(names[:6]) or "none"
        remedy = f"choose one: {path}:/{names[0]}" if names else "give a folder with frames"
        raise MovieError(f"holds {len(names)} arrays that can be a movie: {found}", remedy, file=str(path))
    if inside.strip("/") not in arrays:
        raise MovieError(f"there is no array {inside}", f"it has {', '.join(names[:6]) or 'none'}", file=str(path))
    return arrays[inside.strip("/")]


def _multiscales(attributes: dict[str, Any]) -> dict[str, Any]:
    """First image of an OME-Zarr group; empty for any other."""
    ome = attributes.get("ome")
    found = (ome if isinstance(ome, dict) else attributes).get("multiscales")
    return dict(found[0]) if isinstance(found, list) and found and isinstance(found[0], dict) else {}


def _axes(data: Any, scales: dict[str, Any]) -> str | None:
    named = [axis["name"] if isinstance(axis, dict) else str(axis) for axis in scales.get("axes", [])]
    named = named or list(getattr(data.metadata, "dimension_names", None) or [])
    if len(named) != data.ndim or not all(named):
        return None
    return "".join(str(name)[:1].upper() for name in named)


def _scale(scales: dict[str, Any]) -> tuple[float | None, float | None]:
    """Frame rate and pixel size of an OME-Zarr image, None where the unit is not stated."""
    steps: list[float] = []
    for transform in [t for d in scales.get("datasets", [])[:1] for t in d.get("coordinateTransformations", [])]:
        steps = transform.get("scale", steps)
    rate_hz = um_per_px = None
    for axis, step in zip(scales.get("axes", []), steps, strict=False):
        if not isinstance(axis, dict):
            continue
        name, unit = axis.get("name"), axis.get("unit")
        if name == "t" and unit in _SECONDS and positive(step):
            rate_hz = 1.0 / (step * _SECONDS[unit])
        if name == "x" and unit in _MICROMETRES and positive(step):
            um_per_px = step * _MICROMETRES[unit]
    return rate_hz, um_per_px


def _nothing() -> None:
    """Chunks are files that are opened and closed as they are read."""
