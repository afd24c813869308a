"""Cells that CaImAn found: the spatial components A of its HDF5 results."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.roi_mask import RoiMask

_GROUPS = ("estimates", "/")


def holds_caiman(file: h5py.File) -> bool:
    """True if the file has CaImAn's sparse A."""
    return _estimates(file) is not None


def read_caiman(path: Path, file: h5py.File, shape: tuple[int, int], remarks: list[str]) -> list[RoiMask]:
    """Weighted masks of the accepted components (`idx_components`), or of all where none were judged.

    Parameters
    ----------
    path : Path
        For the words of a refusal.
    file : h5py.File
    shape : (int, int)
        Lines and pixels of the movie.
    remarks : list of str
        Gets what a person should be told; appended to.

    Notes
    -----
    A is a sparse matrix in compressed columns, one column a component, with the pixels of the field in Fortran order
    (line number fastest).

    Raises
    ------
    CalibrationError
        The matrix is incomplete, of a volume, or of a field of another size.
    """
    group = _estimates(file)
    if group is None:
        raise CalibrationError("holds no components", "give CaImAn's results", file=str(path))
    try:
        stored = group["A"]
        data, rows, starts = (np.asarray(stored[name][()]) for name in ("data", "indices", "indptr"))
        n_pixels, n_components = (int(size) for size in stored["shape"][()])
    except (KeyError, ValueError, TypeError) as error:
        raise CalibrationError(f"its A is incomplete: {error}", "save the results again", file=str(path)) from error
    dims = _dims(file, group)
    if len(dims) == 3:
        raise CalibrationError("holds components of a volume", "give those of one plane", file=str(path))
    if (dims and dims != shape) or n_pixels != shape[0] * shape[1]:
        size = " x ".join(map(str, dims)) if dims else f"{n_pixels}"
        raise CalibrationError(
            f"components are of {size} px, the movie is {shape[0]} x {shape[1]} px", "give those of this field",
            file=str(path),
        )  # fmt: skip
    if len(starts) != n_components + 1 or starts[-1] != len(data) or len(rows) != len(data):
        raise CalibrationError("its A is incomplete", "save the results again", file=str(path))
    accepted = _accepted(group, n_components)
    if len(accepted) < n_components:
        remarks.append(f"{len(accepted)} of {n_components} components are accepted by CaImAn")
    return [_mask(rows, data, int(starts[k]), int(starts[k + 1]), shape[0], str(k)) for k in accepted]


def _mask(
    rows: NDArray[np.int64], data: NDArray[np.float64], start: int, stop: int, n_lines: int, name: str
) -> RoiMask:
    flat, weight = rows[start:stop].astype(np.int64), data[start:stop].astype(np.float32)
    keep = weight > 0
    return RoiMask(flat[keep] % n_lines, flat[keep] // n_lines, weight[keep], name)


def _estimates(file: h5py.File) -> h5py.Group | None:
    for name in _GROUPS:
        group = file.get(name)
        if isinstance(group, h5py.Group) and isinstance(group.get("A"), h5py.Group) and "indptr" in group["A"]:
            return group
    return None


def _dims(file: h5py.File, group: h5py.Group) -> tuple[int, ...]:
    for node in (group.get("dims"), file.get("params/data/dims"), file.get("dims")):
        if isinstance(node, h5py.Dataset) and node.dtype.kind in "ui" and node.ndim == 1:
            return tuple(int(size) for size in node[()])
    return ()


def _accepted(group: h5py.Group, n_components: int) -> NDArray[np.int64]:
    node = group.get("idx_components")
    if isinstance(node, h5py.Dataset) and node.dtype.kind in "ui" and node.ndim == 1:
        chosen = np.asarray(node[()], np.int64)
        return chosen[(chosen >= 0) & (chosen < n_components)]
    return np.arange(n_components)
