"""Read the cells a user brings, whatever program drew them, and check that they fit the movie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from drivers.microscopes.movie_file import split_inside
from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.roi_mask import RoiMask

MIN_PIXELS = 4
"""A smaller ROI is left out: its noise is that of single pixels and a shift of one takes it off its cell."""
MAX_OUTSIDE = 0.5
"""A ROI may reach over the border, by less than this part of its pixels."""
_KINDS = "label image (.tif, .npy), ImageJ .roi or .zip, suite2p stat.npy, CaImAn .hdf5, NWB, or .npz"


@dataclass(frozen=True, slots=True, eq=False)
class ImportedRois:
    """Cells of a file that fit the movie, in its order, and what a person should be told."""

    masks: list[RoiMask]
    remarks: list[str]


def read_rois(path: Path, shape: tuple[int, int], plane: int = 0) -> ImportedRois:
    """Cells from a file, by what it holds.

    Parameters
    ----------
    path : Path
        ``FILE.nwb:/path/inside`` chooses among several tables; a folder is suite2p's.
    shape : (int, int)
        Lines and pixels of the movie.
    plane : int
        For files that hold several.

    Raises
    ------
    CalibrationError
        The file is missing, torn, of an unknown kind, of a field of another size, or holds no cell that can be used.
    """
    path, inside = split_inside(path)
    if path.is_dir():
        path = path / "stat.npy"
    if not path.is_file():
        raise CalibrationError("cannot be read: there is no such file", f"give a {_KINDS}", file=str(path))
    remarks: list[str] = []
    masks = _read(path, inside, shape, plane, remarks)
    return ImportedRois(_checked(path, masks, shape, remarks), remarks)


def _read(path: Path, inside: str | None, shape: tuple[int, int], plane: int, remarks: list[str]) -> list[RoiMask]:
    suffix = path.suffix.lower()
    if suffix in (".roi", ".zip"):
        from rt_engine.services.roi_import.imagej import read_imagej

        return read_imagej(path, plane)
    if suffix in (".h5", ".hdf5", ".nwb"):
        return _read_hdf5(path, inside, shape, remarks)
    from rt_engine.services.roi_import.suite2p import read_exported, read_suite2p

    if suffix == ".npz":
        return read_exported(path)
    if suffix == ".npy" and _holds_objects(path):
        return read_suite2p(path, remarks)
    if suffix in (".npy", ".tif", ".tiff"):
        from rt_engine.services.roi_import.label_image import read_labels

        return read_labels(path, shape)
    raise CalibrationError(f"{suffix or 'no suffix'} holds no ROIs", f"give a {_KINDS}", file=str(path))


def _read_hdf5(path: Path, inside: str | None, shape: tuple[int, int], remarks: list[str]) -> list[RoiMask]:
    from rt_engine.services.roi_import.caiman import holds_caiman, read_caiman
    from rt_engine.services.roi_import.nwb import read_nwb, segmentations

    try:
        with h5py.File(path, "r") as file:
            if segmentations(file):
                return read_nwb(path, file, inside, shape)
            if holds_caiman(file):
                return read_caiman(path, file, shape, remarks)
    except OSError as error:
        raise CalibrationError(f"cannot be read: {error}", "copy it again", file=str(path)) from error
    raise CalibrationError("holds no ROIs", "give CaImAn results or NWB with a PlaneSegmentation", file=str(path))


def _holds_objects(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            return bool(read(file)[2] == np.dtype(object))
    except (OSError, ValueError):
        return False


def _checked(path: Path, masks: list[RoiMask], shape: tuple[int, int], remarks: list[str]) -> list[RoiMask]:
    """Masks within the field; small and repeated ones left out, each said."""
    kept: list[RoiMask] = []
    seen: dict[bytes, str] = {}
    n_clipped = 0
    for whole in masks:
        mask = _within(path, whole, shape)
        n_clipped += mask.n_pixels < whole.n_pixels
        if mask.n_pixels < MIN_PIXELS:
            remarks.append(f"ROI {mask.name} is left out: it has {mask.n_pixels} pixels, {MIN_PIXELS} are needed")
            continue
        pixels = mask.core_pixels(shape[1]).tobytes()
        if pixels in seen:
            remarks.append(f"ROI {mask.name} is left out: it has the same pixels as ROI {seen[pixels]}")
            continue
        seen[pixels] = mask.name
        kept.append(mask)
    if n_clipped:
        remarks.append(f"{n_clipped} ROIs reach over the border and were cut there")
    if not kept:
        raise CalibrationError("holds no cell that can be used", remarks[-1] if remarks else "", file=str(path))
    return kept


def _within(path: Path, mask: RoiMask, shape: tuple[int, int]) -> RoiMask:
    inside = (mask.y >= 0) & (mask.y < shape[0]) & (mask.x >= 0) & (mask.x < shape[1])
    if inside.all():
        return mask
    if 1.0 - inside.mean() >= MAX_OUTSIDE:
        raise CalibrationError(
            f"ROI {mask.name} reaches to line {mask.y.max()}, pixel {mask.x.max()}, "
            f"the movie is {shape[0]} x {shape[1]} px",
            "give ROIs of this field",
            file=str(path),
        )
    return RoiMask(mask.y[inside], mask.x[inside], mask.weight[inside], mask.name)
