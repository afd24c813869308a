"""Cells in NWB: a PlaneSegmentation table with pixel or image masks."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.roi_mask import RoiMask


def segmentations(file: h5py.File) -> list[str]:
    """Paths of the PlaneSegmentation tables in a file."""
    found: list[str] = []

    def look(name: str, node: h5py.Group | h5py.Dataset) -> None:
        kind = node.attrs.get("neurodata_type", "")
        if isinstance(node, h5py.Group) and (kind.decode() if isinstance(kind, bytes) else kind) == "PlaneSegmentation":
            found.append("/" + name)

    file.visititems(look)
    return found


def read_nwb(path: Path, file: h5py.File, inside: str | None, shape: tuple[int, int]) -> list[RoiMask]:
    """Masks of one table, weights as stored.

    Parameters
    ----------
    path : Path
        For the words of a refusal.
    file : h5py.File
    inside : str or None
        Path of the table; None where there is only one.
    shape : (int, int)
        Lines and pixels of the movie.

    Notes
    -----
    Image masks are (roi, x, y) by the schema; a mask that fits the movie only the other way round is (roi, y, x).

    Raises
    ------
    CalibrationError
        Several tables and none chosen, voxels, no masks, or image masks of another size.
    """
    tables = segmentations(file)
    if inside is None and len(tables) > 1:
        raise CalibrationError(
            f"holds {len(tables)} segmentations: {', '.join(tables)}", f"choose one: {path}:{tables[0]}", file=str(path)
        )
    chosen = inside or tables[0]
    table = file.get(chosen)
    if chosen not in tables or not isinstance(table, h5py.Group):
        raise CalibrationError(f"there is no segmentation {chosen}", f"it has {', '.join(tables)}", file=str(path))
    names = [str(number) for number in np.ravel(table["id"][()])] if "id" in table else None
    try:
        if "pixel_mask" in table and len(table["pixel_mask"]):
            return _of_pixels(table, names)
        if "image_mask" in table:
            return _of_images(path, table["image_mask"], shape, names)
    except (KeyError, ValueError, IndexError, OSError) as error:
        raise CalibrationError(f"{chosen} is incomplete: {error}", "write it again", file=str(path)) from error
    if "voxel_mask" in table:
        raise CalibrationError(f"{chosen} holds voxels", "give the masks of one plane", file=str(path))
    raise CalibrationError(f"{chosen} holds no masks", "it needs pixel_mask or image_mask", file=str(path))


def _of_pixels(table: h5py.Group, names: list[str] | None) -> list[RoiMask]:
    pixels = table["pixel_mask"][()]
    ends = table["pixel_mask_index"][()].astype(np.int64)
    masks = []
    for k, (start, stop) in enumerate(zip(np.r_[0, ends[:-1]], ends, strict=True)):
        part = pixels[start:stop]
        part = part[part["weight"] > 0]
        y, x = part["y"].astype(np.int64), part["x"].astype(np.int64)
        masks.append(RoiMask(y, x, part["weight"].astype(np.float32), names[k] if names else str(k)))
    return masks


def _of_images(path: Path, images: h5py.Dataset, shape: tuple[int, int], names: list[str] | None) -> list[RoiMask]:
    stored = images.shape[1:]
    if stored not in (shape, shape[::-1]):
        raise CalibrationError(
            f"image masks are {' x '.join(map(str, stored))} px, the movie is {shape[0]} x {shape[1]} px",
            "give masks of this field",
            file=str(path),
        )
    masks = []
    for k in range(images.shape[0]):
        image = np.nan_to_num(images[k].astype(np.float32))
        image = image.T if stored == shape[::-1] else image
        y, x = np.nonzero(image > 0)
        masks.append(RoiMask(y, x, image[y, x], names[k] if names else str(k)))
    return masks
