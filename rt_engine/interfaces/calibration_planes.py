"""The calibration file of a session: one plane as `calibration` writes it, or several, each in a group of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from rt_engine.interfaces.calibration import (
    Calibration,
    load_calibration,
    read_fields,
    save_calibration,
    write_fields,
)
from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.hdf5_reason import hdf5_reason

PLANES_FORMAT = "spikeloop/calibration-planes/1"
ROI_ID_BLOCK = 1_000_000
"""Cells of plane p are numbered from p times this, so that no two cells of a session share a number, ever."""


def save_planes(path: Path, calibrations: Iterable[Calibration]) -> None:
    """Write one file: of one plane as always, of several with a group ``plane_<p>`` for each.

    Raises
    ------
    CalibrationError
        Two planes have the same number, or cells of the same number.
    """
    planes = _by_plane(path, calibrations)
    if len(planes) == 1:
        save_calibration(path, next(iter(planes.values())))
        return
    with h5py.File(path, "w") as file:
        file.attrs["format"] = PLANES_FORMAT
        for plane, calibration in planes.items():
            write_fields(file.create_group(f"plane_{plane}"), calibration)


def load_planes(path: Path) -> dict[int, Calibration]:
    """All planes of a calibration file, ascending.

    Raises
    ------
    CalibrationError
        The file is missing, torn, of another format, or incomplete.
    """
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") == PLANES_FORMAT:
                groups = [file[name] for name in file if name.startswith("plane_")]
                return _by_plane(path, [read_fields(group, path) for group in groups])
    except FileNotFoundError as error:
        remedy = "give a file that `spikeloop calibrate` has made"
        raise CalibrationError("there is no such file", remedy, file=str(path)) from error
    except OSError as error:
        raise CalibrationError(f"cannot be read: {hdf5_reason(error)}", "calibrate again", file=str(path)) from error
    calibration = load_calibration(path)
    return {calibration.plane: calibration}


def load_plane(path: Path, plane: int) -> Calibration:
    """The calibration of one plane.

    Raises
    ------
    CalibrationError
        As `load_planes`, or the file has no such plane.
    """
    planes = load_planes(path)
    if plane not in planes:
        there = ", ".join(map(str, planes))
        remedy = "calibrate on a recording of all planes of this rig, or set `planes` in the rig file"
        raise CalibrationError(f"holds no plane {plane}, only {there}", remedy, file=str(path))
    return planes[plane]


def number_cells(calibration: Calibration) -> Calibration:
    """The same with its cells numbered in the block of its plane, see `ROI_ID_BLOCK`."""
    step = np.uint32(calibration.plane * ROI_ID_BLOCK)
    return replace(
        calibration, roi_id=calibration.roi_id + step, inseparable_roi_id=calibration.inseparable_roi_id + step
    )


def _by_plane(path: Path, calibrations: Iterable[Calibration]) -> dict[int, Calibration]:
    planes: dict[int, Calibration] = {}
    taken: dict[int, int] = {}
    for calibration in sorted(calibrations, key=lambda one: one.plane):
        if calibration.plane in planes:
            raise CalibrationError(f"holds plane {calibration.plane} twice", "calibrate again", file=str(path))
        planes[calibration.plane] = calibration
        for roi_id in calibration.roi_id:
            other = taken.setdefault(int(roi_id), calibration.plane)
            if other != calibration.plane:
                raise CalibrationError(
                    f"planes {other} and {calibration.plane} both have a cell {roi_id}",
                    "calibrate again",
                    file=str(path),
                )
    if not planes:
        raise CalibrationError("holds no plane", "calibrate again", file=str(path))
    return planes
