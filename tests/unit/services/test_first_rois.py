"""The first masks of a calibration can be used while it still runs, and are gone when it is done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from rt_engine.interfaces.errors import CalibrationError
from rt_engine.services.first_rois import FirstRois


def test_the_label_image_holds_every_mask_until_it_is_removed(tmp_path: Path) -> None:
    said: list[str] = []
    first = FirstRois(tmp_path / "today.h5", (4, 5), said.append)
    first.write([np.array([0, 1], np.uint32), np.array([7, 8, 12], np.uint32)])
    assert first.path == tmp_path / "today.first-rois.tif"
    assert tifffile.imread(first.path).ravel().tolist() == [1, 1, 0, 0, 0, 0, 0, 2, 2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]
    assert len(said) == 1
    assert said[0].startswith("first 2 ROIs after")
    assert str(first.path) in said[0]
    first.remove()
    first.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_there_before_is_not_removed(tmp_path: Path) -> None:
    first = FirstRois(tmp_path / "today.h5", (4, 5), lambda text: None)
    first.path.write_bytes(b"mine")
    first.remove()
    assert first.path.read_bytes() == b"mine"


def test_a_folder_that_is_not_there_is_an_error_of_the_calibration(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="cannot be written"):
        FirstRois(tmp_path / "none" / "today.h5", (4, 5), lambda text: None).write([])
