"""Cells given by the user as a label image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from rt_engine.interfaces.errors import CalibrationError


def read_labels(path: Path, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Label image of the field: 0 background, one number for each cell; shape (n_lines, pixels_per_line).

    Raises
    ------
    CalibrationError
        The file cannot be read, is not of integers, of another size, or empty.
    """
    try:
        labels = np.load(path, allow_pickle=False) if path.suffix == ".npy" else tifffile.imread(path)
    except (OSError, EOFError, ValueError, tifffile.TiffFileError) as error:
        raise CalibrationError(f"cannot be read: {error}", "give a TIFF or .npy label image", file=str(path)) from error
    if labels.dtype.kind not in "ui":
        raise CalibrationError(f"holds {labels.dtype}", "labels are whole numbers, 0 is background", file=str(path))
    if labels.shape != shape:
        raise CalibrationError(f"is {labels.shape}, the movie is {shape}", "give labels of this field", file=str(path))
    if not labels.any():
        raise CalibrationError("holds no cell", "every pixel is 0", file=str(path))
    return labels.astype(np.int64)
