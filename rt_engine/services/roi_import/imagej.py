"""Cells drawn in ImageJ: a ``.roi`` file, or the ``.zip`` of its ROI manager."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import roifile
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.roi_mask import RoiMask

_AREAS = (
    roifile.ROI_TYPE.POLYGON,
    roifile.ROI_TYPE.RECT,
    roifile.ROI_TYPE.OVAL,
    roifile.ROI_TYPE.FREEHAND,
    roifile.ROI_TYPE.TRACED,
)
_ERRORS = (OSError, ValueError, IndexError, KeyError, TypeError, struct.error, zipfile.BadZipFile)


def read_imagej(path: Path, plane: int) -> list[RoiMask]:
    """Masks of the areas drawn: a pixel belongs to one whose outline holds the pixel's centre.

    Parameters
    ----------
    path : Path
    plane : int
        Where ROIs were drawn on several slices of a hyperstack, only those of this one (from 0) are taken. The frame
        that was on show when a ROI was drawn says nothing.

    Raises
    ------
    CalibrationError
        The file cannot be read, or holds a line or a point.
    """
    try:
        found = roifile.roiread(path)
        drawn = found if isinstance(found, list) else [found]
        masks = [(int(roi.z_position), _mask(path, roi, number)) for number, roi in enumerate(drawn, start=1)]
    except _ERRORS as error:
        raise CalibrationError(
            f"cannot be read as ImageJ ROIs: {error}", "save them again from the ROI manager", file=str(path)
        ) from error
    slices = {z for z, _ in masks if z > 0}
    if len(slices) > 1:
        masks = [(z, mask) for z, mask in masks if z in (0, plane + 1)]
    return [mask for _, mask in masks]


def _mask(path: Path, roi: roifile.ImagejRoi, number: int) -> RoiMask:
    name = roi.name or str(number)
    if roi.roitype not in _AREAS:
        raise CalibrationError(
            f"{name!r} is a {roi.roitype.name.lower()}, not an area", "draw an outline around the cell", file=str(path)
        )
    if roi.roitype == roifile.ROI_TYPE.OVAL:
        y, x = _oval(roi)
    else:
        y, x = _inside([np.asarray(part, np.float64) for part in roi.coordinates(multi=True)])
    return RoiMask(y, x, np.ones(len(y), np.float32), name)


def _oval(roi: roifile.ImagejRoi) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    height, width = roi.bottom - roi.top, roi.right - roi.left
    y, x = np.mgrid[: max(height, 0), : max(width, 0)]
    inside = ((y + 0.5) * 2 / height - 1) ** 2 + ((x + 0.5) * 2 / width - 1) ** 2 <= 1 if height and width else y > 0
    return y[inside] + roi.top, x[inside] + roi.left


def _inside(outlines: list[NDArray[np.float64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels whose centre is in an odd number of outlines, so that an outline within another is a hole."""
    corners = np.concatenate([part for part in outlines if len(part)] or [np.zeros((1, 2))])
    x0, y0 = np.floor(corners.min(axis=0)).astype(np.int64)
    x1, y1 = np.ceil(corners.max(axis=0)).astype(np.int64)
    y, x = np.mgrid[y0 : y1 + 1, x0 : x1 + 1]
    centres = np.column_stack((x.ravel() + 0.5, y.ravel() + 0.5))
    count = np.zeros(len(centres), np.int64)
    for part in outlines:
        if len(part) >= 3:
            count += Outline(np.vstack((part, part[:1])), closed=True).contains_points(centres)
    odd = count % 2 == 1
    return y.ravel()[odd], x.ravel()[odd]
