"""Movies of bare numbers: .npy arrays and suite2p's binary, memory-mapped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.microscopes.movie_axes import guess_axes, lay_out
from drivers.microscopes.movie_frames import (
    TORN_REMEDY,
    Movie,
    MovieMetadata,
    MovieRequest,
    positive,
    require_counts,
)
from drivers.microscopes.object_npy import ObjectNpyError, read_object_npy
from rt_engine.interfaces.errors import MovieError
from rt_engine.interfaces.numpy_files import why_unreadable

_OPS = "ops.npy"


def open_npy(path: Path, request: MovieRequest) -> Movie:
    """Map an array; three axes are (n_frames, n_lines, n_pixels), others must be stated.

    Raises
    ------
    MovieError
        Torn, other numbers or axes, or no such plane or channel.
    """
    try:
        data = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MovieError(f"cannot be read as .npy: {why_unreadable(error)}", TORN_REMEDY, file=str(path)) from error
    return _movie_of_array(path, data, request, MovieMetadata())


def open_binary(path: Path, request: MovieRequest) -> Movie:
    """Map suite2p's int16 binary; its size and frame rate come from `frame_shape` or from ``ops.npy`` beside it.

    Raises
    ------
    MovieError
        The size is unknown, the file is torn, or there is no such channel.
    """
    if request.channel:
        raise MovieError("holds one channel", "the second channel is data_chan2.bin", file=str(path), key="--channel")
    facts: dict[str, Any] = {}
    if (path.parent / _OPS).is_file() and (request.frame_shape is None or request.frame_rate_hz is None):
        facts = _read_ops(path.parent / _OPS)
    lines, pixels = request.frame_shape or (positive(facts.get("Ly")), positive(facts.get("Lx")))
    if not lines or not pixels:
        raise MovieError(
            f"is bare numbers and there is no {_OPS} with Ly and Lx beside it",
            "give the size with --shape LINESxPIXELS",
            file=str(path),
        )
    shape = (int(lines), int(pixels))
    frame_bytes = 2 * shape[0] * shape[1]
    n_bytes = path.stat().st_size
    if n_bytes % frame_bytes:
        raise MovieError(
            f"holds {n_bytes} bytes, which is no whole number of int16 frames of {shape[0]} x {shape[1]} px",
            "check --shape, or copy it again",
            file=str(path),
        )
    data = np.memmap(path, "<i2", "r", shape=(n_bytes // frame_bytes, *shape))
    return _movie_of_array(path, data, request, MovieMetadata(frame_rate_hz=positive(facts.get("fs"))))


def _read_ops(path: Path) -> dict[str, Any]:
    try:
        ops = read_object_npy(path)
    except ObjectNpyError as error:
        raise MovieError(
            f"cannot be read: {error}", "give --shape LINESxPIXELS and --frame-rate-hz", file=str(path)
        ) from error
    return ops if isinstance(ops, dict) else {}


def _movie_of_array(path: Path, data: NDArray[Any], request: MovieRequest, metadata: MovieMetadata) -> Movie:
    axes = request.axes or guess_axes(path, data.ndim)
    require_counts(path, data.dtype)
    layout = lay_out(path, axes, data.shape, request)

    def read_raw(index: int) -> NDArray[Any]:
        return layout.upright(data[layout.index(index)])

    return Movie(
        path, layout.shape, data.dtype, read_raw, _nothing,
        request=request, metadata=metadata, n_channels=layout.n_channels, n_planes=layout.n_planes,
    )  # fmt: skip


def _nothing() -> None:
    """A memory-mapped array is released with its last reference."""
