"""Cells as targets of patterns: where they are in the image, and where that is on the SLM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.slm_registration import SlmRegistration
from rt_engine.interfaces.yaml_files import config_error, read_yaml


class TargetCell(NamedTuple):
    """A cell of a pattern: on the SLM, and in the image (template, pixels)."""

    roi_id: int
    slm_x: float
    slm_y: float
    y_px: float
    x_px: float
    plane: int = 0


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


def targets_of(
    cells: Sequence[int], planes: Mapping[int, Calibration], registration: SlmRegistration
) -> list[TargetCell]:
    """Where the cells of one pattern are.

    Parameters
    ----------
    cells : sequence of int
        Their `roi_id`, of any plane.
    planes : mapping of int to Calibration
        Of each plane.
    registration : SlmRegistration

    Raises
    ------
    CalibrationError
        There is no such cell, or it lies where no spot has shown what the map is.
    """
    there: dict[int, tuple[int, float, float]] = {}
    for plane, one in planes.items():
        for roi_id, (y_px, x_px) in zip(one.roi_id, one.centroids_yx_px(), strict=True):
            there[int(roi_id)] = plane, float(y_px), float(x_px)
    missing = [cell for cell in cells if cell not in there]
    if missing:
        spans = [f"{min(one.roi_id)} to {max(one.roi_id)} in plane {p}" for p, one in planes.items() if len(one.roi_id)]
        remedy = f"there are {', '.join(spans) or 'none'}"
        raise CalibrationError(f"there is no cell {', '.join(map(str, missing))}", remedy)
    for cell in cells:
        _, y_px, x_px = there[cell]
        if not registration.covers(y_px, x_px):
            text = f"cell {cell} at ({y_px:.1f}, {x_px:.1f}) lies outside the spots of the registration"
            raise CalibrationError(text, "register again with spots around the whole image")
    found = []
    for cell in cells:
        plane, y_px, x_px = there[cell]
        slm_x, slm_y = registration.slm_xy(y_px, x_px)
        found.append(TargetCell(cell, round(slm_x, 3), round(slm_y, 3), round(y_px, 2), round(x_px, 2), plane))
    return found
