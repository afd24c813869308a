"""Which numbers of an array are frame i of a plane and channel: the order of axes, stated or refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from drivers.microscopes.movie_frames import MovieRequest
from rt_engine.interfaces.errors import MovieError

AXES = "TZCYX"
_HELP = "say it with --axes, slowest first: T time, Z plane, C channel, Y line, X pixel, for example TZYX"


@dataclass(frozen=True, slots=True)
class Layout:
    """Frames of one plane and channel in an array.

    Attributes
    ----------
    n_frames, n_lines, pixels_per_line, n_channels, n_planes : int
    time_axis : int or None
        None where the array is a single image.
    fixed : dict of int to int
        Position on every axis that is neither time nor line nor pixel.
    n_axes : int
    transposed : bool
        True where pixels of a column are neighbours: X is stored before Y.
    """

    n_frames: int
    n_lines: int
    pixels_per_line: int
    n_channels: int
    n_planes: int
    time_axis: int | None
    fixed: dict[int, int]
    n_axes: int
    transposed: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_frames, n_lines, pixels_per_line)."""
        return self.n_frames, self.n_lines, self.pixels_per_line

    def index(self, frame: int | slice) -> tuple[int | slice, ...]:
        """Index of a frame, or of a run of frames, in the array."""
        at = dict(self.fixed) | ({} if self.time_axis is None else {self.time_axis: frame})
        return tuple(at.get(axis, slice(None)) for axis in range(self.n_axes))

    def upright(self, image: NDArray[Any]) -> NDArray[Any]:
        """What `index` of one frame gave, as (line, pixel)."""
        return image.T if self.transposed else image


def lay_out(
    path: Path, axes: str, shape: tuple[int, ...], request: MovieRequest, *, n_planes: int | None = None
) -> Layout:
    """Find the requested plane and channel.

    Parameters
    ----------
    path : Path
        For the words of a refusal.
    axes : str
        A letter for each axis, slowest first. A letter that is none of ``TZCYX`` and an only Z count as time.
    shape : tuple of int
    request : MovieRequest
    n_planes : int, optional
        Planes that may be asked for, where the Z axis holds more (images of the flyback).

    Raises
    ------
    MovieError
        Colour, axes that are ambiguous or do not fit, nothing in it, or no such plane or channel.
    """
    axes = _stated(path, axes, shape, request)
    if 0 in shape:
        raise MovieError("holds no frames", "", file=str(path))
    if "S" in axes:
        raise MovieError(f"holds colour images (axes {axes})", "save the raw detector counts, grey", file=str(path))
    if axes.count("Y") != 1 or axes.count("X") != 1:
        raise MovieError(f"holds no images of lines and pixels (axes {axes})", _HELP, file=str(path))
    time_axis = _time_axis(path, axes, shape) if n_planes is None else axes.index("T")
    sizes = {letter: 1 for letter in "ZC"}
    fixed = {}
    for axis, letter in enumerate(axes):
        if axis == time_axis or letter in "YX":
            continue
        fixed[axis] = {"Z": request.plane, "C": request.channel}.get(letter, 0)
        if letter in sizes:
            sizes[letter] = shape[axis]
    _require_there(path, "channel", request.channel, sizes["C"])
    _require_there(path, "plane", request.plane, sizes["Z"] if n_planes is None else n_planes)
    return Layout(
        n_frames=1 if time_axis is None else shape[time_axis],
        n_lines=shape[axes.index("Y")],
        pixels_per_line=shape[axes.index("X")],
        n_channels=sizes["C"],
        n_planes=sizes["Z"] if n_planes is None else n_planes,
        time_axis=time_axis,
        fixed=fixed,
        n_axes=len(axes),
        transposed=axes.index("X") < axes.index("Y"),
    )


def guess_axes(path: Path, n_axes: int) -> str:
    """Axes of an array that says nothing: three are time, line, pixel; more are refused rather than guessed.

    Raises
    ------
    MovieError
        Not three axes.
    """
    if n_axes == 3:
        return "TYX"
    remedy = _HELP if n_axes > 3 else "save it as (n_frames, n_lines, n_pixels)"
    raise MovieError(f"has {n_axes} axes and does not say what they are", remedy, file=str(path))


def _stated(path: Path, axes: str, shape: tuple[int, ...], request: MovieRequest) -> str:
    if request.axes is None:
        return axes
    stated = request.axes.upper()
    if set(stated) - set(AXES) or len(set(stated)) != len(stated):
        raise MovieError(f"{request.axes!r} is no order of axes", _HELP, file=str(path), key="--axes")
    if len(stated) != len(shape):
        raise MovieError(
            f"{request.axes!r} names {len(stated)} axes, the file has {len(shape)}: {' x '.join(map(str, shape))}",
            _HELP,
            file=str(path),
            key="--axes",
        )
    return stated


def _time_axis(path: Path, axes: str, shape: tuple[int, ...]) -> int | None:
    if axes.count("T") == 1:
        others = [a for a, n in zip(axes, shape, strict=True) if a not in AXES and n > 1]
        if shape[axes.index("T")] > 1 or not _candidates(axes, shape):
            if others:
                raise MovieError(f"holds more than time (axes {axes}, shape {shape})", _HELP, file=str(path))
            return axes.index("T")
    found = _candidates(axes, shape)
    if len(found) > 1:
        raise MovieError(f"does not say which axis is time (axes {axes}, shape {shape})", _HELP, file=str(path))
    return found[0] if found else None


def _candidates(axes: str, shape: tuple[int, ...]) -> list[int]:
    """Axes longer than one that may be time where none says so."""
    return [i for i, (a, n) in enumerate(zip(axes, shape, strict=True)) if a not in "TCYX" and n > 1]


def _require_there(path: Path, what: str, asked: int, there: int) -> None:
    if not 0 <= asked < there:
        raise MovieError(f"there is no {what} {asked}, the file has {there}", f"{what}s count from 0", file=str(path))
