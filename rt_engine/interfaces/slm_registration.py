"""Where on an SLM (or a pair of galvos) a place of the image is: an affine map, with the spots that show it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from math import atan2, hypot, isfinite, pi
from typing import NamedTuple

from pydantic import Field, model_validator

from rt_engine.interfaces.file_schema import schema_of_file
from rt_engine.interfaces.strict import Strict

MIN_SPOTS = 4
"""Three give a map of any three spots whatever: nothing would be left to judge it by."""


MARGIN = 0.05


class Spot(NamedTuple):
    """A spot that was lit at a place of the SLM, and where it was found in the image (template, pixels)."""

    slm_x: float
    slm_y: float
    y_px: float
    x_px: float


class SlmRegistration(Strict):
    """A measurement: `slm = matrix @ (y_px, x_px, 1)`, rows x and y of the SLM in its own units.

    `residuals_px` is for each spot by how much a map of all the others misses it in the image. A file with one above
    `max_residual_px` is refused, whenever it is read.
    """

    date: date
    person: str = Field(min_length=1)
    max_residual_px: float = Field(gt=0)
    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]
    spots: tuple[Spot, ...] = Field(min_length=MIN_SPOTS)
    residuals_px: tuple[float, ...]

    @model_validator(mode="after")
    def _holds(self) -> SlmRegistration:
        if len(self.residuals_px) != len(self.spots):
            raise ValueError(f"{len(self.spots)} spots and {len(self.residuals_px)} residuals are no pairs")
        if abs(self._determinant()) < 1e-12:
            raise ValueError("matrix: it maps the image onto a line")
        for i, (spot, residual_px) in enumerate(zip(self.spots, self.residuals_px, strict=True), 1):
            y_px, x_px = self.yx_px(spot.slm_x, spot.slm_y)
            missed_px = max(residual_px, hypot(y_px - spot.y_px, x_px - spot.x_px))
            if missed_px > self.max_residual_px:
                text = f"spot {i} is missed by {missed_px:.2f} px, max_residual_px is {self.max_residual_px:g}"
                raise ValueError(text)
        return self

    def slm_xy(self, y_px: float, x_px: float) -> tuple[float, float]:
        """Place on the SLM for a place of the image."""
        (a, b, c), (d, e, f) = self.matrix
        return a * y_px + b * x_px + c, d * y_px + e * x_px + f

    def yx_px(self, slm_x: float, slm_y: float) -> tuple[float, float]:
        """Place in the image for a place on the SLM."""
        (a, b, c), (d, e, f) = self.matrix
        determinant = self._determinant()
        return (e * (slm_x - c) - b * (slm_y - f)) / determinant, (a * (slm_y - f) - d * (slm_x - c)) / determinant

    def covers(self, y_px: float, x_px: float) -> bool:
        """True if a place of the image lies among the spots, or beside them by `MARGIN` of their reach at most."""
        if not (isfinite(y_px) and isfinite(x_px)):
            return False
        places = [(spot.y_px, spot.x_px) for spot in self.spots]
        y0, x0 = (sum(axis) / len(places) for axis in zip(*places, strict=True))
        wider = [(y0 + (1 + MARGIN) * (y - y0), x0 + (1 + MARGIN) * (x - x0)) for y, x in places]
        return _in_hull(y_px, x_px, wider)

    def _determinant(self) -> float:
        (a, b, _), (d, e, _) = self.matrix
        return a * e - b * d


def _in_hull(y: float, x: float, places: Sequence[tuple[float, float]]) -> bool:
    """True if a place lies in the convex hull: seen from it, no half of the horizon is free of `places`."""
    directions = sorted(atan2(py - y, px - x) for py, px in places)
    gaps = [later - earlier for earlier, later in pairwise((*directions, directions[0] + 2 * pi))]
    return max(gaps) <= pi


def registration_schema() -> str:
    """JSON Schema of a registration file, for editors; committed as ``hardware_configs/registration.schema.json``."""
    return schema_of_file(SlmRegistration, "Where on the SLM a place of the image is")
