"""Cells given by the user as a label image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.numpy_files import why_unreadable
from rt_engine.interfaces.roi_mask import RoiMask


def read_labels(path: Path, shape: tuple[int, int]) -> list[RoiMask]:
    """Masks of a label image of the field: 0 background, one number for each cell; in order of the numbers.

    Raises
    ------
    CalibrationError
        The file cannot be read, is not of integers, of another size, or empty.
    """
    try:
        labels = np.load(path, allow_pickle=False) if path.suffix == ".npy" else tifffile.imread(path)
    except (OSError, EOFError, ValueError, tifffile.TiffFileError) as error:
        raise CalibrationError(
            f"cannot be read: {why_unreadable(error)}", "give a TIFF or .npy label image", file=str(path)
        ) from error
    if labels.dtype.kind not in "ui":
        raise CalibrationError(f"holds {labels.dtype}", "labels are whole numbers, 0 is background", file=str(path))
    if labels.shape != shape:
        raise CalibrationError(f"is {labels.shape}, the movie is {shape}", "give labels of this field", file=str(path))
    y, x = np.nonzero(labels)
    if not len(y):
        raise CalibrationError("holds no cell", "every pixel is 0", file=str(path))
    numbers = labels[y, x].astype(np.int64)
    order = np.argsort(numbers, kind="stable")
    found, first = np.unique(numbers[order], return_index=True)
    return [
        RoiMask(y[at], x[at], np.ones(len(at), np.float32), str(number))
        for number, at in zip(found, np.split(order, first[1:]), strict=True)
    ]
