"""Cells as targets of patterns: where they are in the image, and where that is on the SLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.rig_config import config_error, read_yaml
from rt_engine.interfaces.slm_registration import SlmRegistration


class TargetCell(NamedTuple):
    """A cell of a pattern: on the SLM, and in the image (template, pixels)."""

    roi_id: int
    slm_x: float
    slm_y: float
    y_px: float
    x_px: float


def load_registration(path: Path) -> SlmRegistration:
    """A registration as `register-slm` has written it.

    Raises
    ------
    ConfigError
        It cannot be read, or misses its own spots.
    """
    try:
        return SlmRegistration.model_validate(read_yaml(path))
    except ValidationError as error:
        raise config_error(str(path), error) from error


def targets_of(cells: Sequence[int], calibration: Calibration, registration: SlmRegistration) -> list[TargetCell]:
    """Where the cells of one pattern are.

    Parameters
    ----------
    cells : sequence of int
        Their `roi_id`.
    calibration : Calibration
    registration : SlmRegistration

    Raises
    ------
    CalibrationError
        There is no such cell, or it lies where no spot has shown what the map is.
    """
    index = {int(roi_id): i for i, roi_id in enumerate(calibration.roi_id)}
    missing = [cell for cell in cells if cell not in index]
    if missing:
        known = f"{min(index)} to {max(index)}" if index else "none"
        raise CalibrationError(f"there is no cell {', '.join(map(str, missing))}", f"cells of this plane: {known}")
    places = calibration.centroids_yx_px()[[index[cell] for cell in cells]]
    for cell, (y_px, x_px) in zip(cells, places, strict=True):
        if not registration.covers(y_px, x_px):
            text = f"cell {cell} at ({y_px:.1f}, {x_px:.1f}) lies outside the spots of the registration"
            raise CalibrationError(text, "register again with spots around the whole image")
    found = []
    for cell, (y_px, x_px) in zip(cells, places, strict=True):
        slm_x, slm_y = registration.slm_xy(y_px, x_px)
        found.append(TargetCell(cell, round(slm_x, 3), round(slm_y, 3), round(float(y_px), 2), round(float(x_px), 2)))
    return found
