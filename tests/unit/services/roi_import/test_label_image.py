"""Cells given by hand are taken as drawn, or refused with the file and the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from rt_engine.interfaces.errors import CalibrationError
from rt_engine.services.roi_import.label_image import read_labels

SHAPE = (3, 4)
LABELS = np.array([[0, 0, 7, 7], [0, 2, 2, 0], [60_000, 0, 0, 0]])


def write(path: Path, labels: np.ndarray[Any, Any]) -> Path:
    if path.suffix == ".npy":
        np.save(path, labels)
    else:
        tifffile.imwrite(path, labels)
    return path


@pytest.mark.parametrize("name", ["rois.npy", "rois.tif"])
@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_every_kind_of_file_gives_the_labels_as_drawn(tmp_path: Path, name: str, dtype: str) -> None:
    masks = read_labels(write(tmp_path / name, LABELS.astype(dtype)), SHAPE)
    drawn = np.zeros(SHAPE, np.int64)
    for mask in masks:
        drawn[mask.y, mask.x] = int(mask.name)
        assert np.all(mask.weight == 1.0)
    assert np.array_equal(drawn, LABELS)
    assert [mask.name for mask in masks] == ["2", "7", "60000"]


@pytest.mark.parametrize("name", ["rois.npy", "rois.tif"])
@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (LABELS.astype("float32"), "holds float32"),
        (LABELS.astype("uint16").T, r"is \(4, 3\), the movie is \(3, 4\)"),
        (np.ones((2, 3, 4), "uint8"), r"is \(2, 3, 4\)"),
        (np.zeros(SHAPE, "uint8"), "holds no cell"),
    ],
)
def test_what_is_no_label_image_of_this_field_is_refused(
    tmp_path: Path, name: str, labels: np.ndarray[Any, Any], reason: str
) -> None:
    path = write(tmp_path / name, labels)
    with pytest.raises(CalibrationError, match=reason) as refused:
        read_labels(path, SHAPE)
    assert str(path) in str(refused.value)
    assert refused.value.remedy


@pytest.mark.parametrize("name", ["rois.npy", "rois.tif"])
def test_a_file_that_is_missing_or_something_else_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(CalibrationError, match="cannot be read"):
        read_labels(path, SHAPE)
    path.write_bytes(b"this is no image")
    with pytest.raises(CalibrationError, match="cannot be read"):
        read_labels(path, SHAPE)


def test_an_empty_npy_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.npy"
    path.write_bytes(b"")
    with pytest.raises(CalibrationError, match=r"empty\.npy.*cannot be read"):
        read_labels(path, (4, 4))
