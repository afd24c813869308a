"""The first masks of a calibration that still runs: a label image beside the file to come, usable with `--rois`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from rt_engine.interfaces.errors import CalibrationError


class FirstRois:
    """Writes the label image when the cells are known, and removes it when the calibration is there or has failed.

    Parameters
    ----------
    target : Path
        File of the calibration to come.
    shape : (int, int)
        Lines and pixels.
    say : callable
        Gets when the masks are there, and where.
    """

    def __init__(self, target: Path, shape: tuple[int, int], say: Callable[[str], None]) -> None:
        self.path = target.with_name(f"{target.stem}.first-rois.tif")
        self._shape = shape
        self._say = say
        self._begun_s = time.monotonic()
        self._written = False

    def write(self, footprints: list[NDArray[np.uint32]]) -> None:
        """Write the masks; later ones lie above earlier ones where they share pixels.

        Parameters
        ----------
        footprints : list of uint32 ndarray
            Flat pixel indices of each cell.

        Raises
        ------
        CalibrationError
            The file cannot be written.
        """
        labels = np.zeros(self._shape, np.uint16)
        for index, pixels in enumerate(footprints):
            labels.ravel()[pixels] = index + 1
        try:
            tifffile.imwrite(self.path, labels)
        except OSError as error:
            raise CalibrationError(f"cannot be written: {error}", "give another path", file=str(self.path)) from error
        self._written = True
        seconds = time.monotonic() - self._begun_s
        self._say(f"first {len(footprints)} ROIs after {seconds:.1f} s, until the calibration is done in {self.path}")

    def remove(self) -> None:
        """Remove the label image, if there is one."""
        if self._written:
            self.path.unlink(missing_ok=True)
            self._written = False
