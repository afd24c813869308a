"""Section `cells`: named groups of cells, and of places without a cell."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from rt_engine.interfaces.strict import Strict

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
"""Names that a protocol gives to its groups, signals, triggers, actions, phases and arms."""


class CellValue(StrEnum):
    """What the calibration knows of a cell."""

    EXPECTED_DETECTION = "expected_detection"
    SNR = "snr"
    AMPLITUDE = "amplitude"
    TAU_S = "tau_s"
    QUALITY = "quality"
    THRESHOLD = "threshold"
    Y_PX = "y_px"
    X_PX = "x_px"


class _Group(Strict):
    but_not: tuple[Name, ...] = Field((), description="groups whose members are left out")


class AllCells(_Group):
    """Every cell of the calibration."""

    select: Literal["all"]


class CellsById(_Group):
    """Cells named by their `roi_id`."""

    select: Literal["ids"]
    ids: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)


class CellsByTag(_Group):
    """Cells that carry a tag."""

    select: Literal["tag"]
    tag: str = Field(min_length=1)


class BestCells(_Group):
    """The n cells whose spikes are most surely detected (expected detection, then SNR, then the lower id)."""

    select: Literal["best"]
    n: int = Field(ge=1, le=5000)


class MostExcitableCells(_Group):
    """The n cells that need the least power for a response, by the map that an `excitability_map` session wrote."""

    select: Literal["most_excitable"]
    n: int = Field(ge=1, le=5000)
    map: str = Field(min_length=1, description="excitability.json of that session, or its folder")


class CellRule(Strict):
    """Bounds of one value of the calibration."""

    value: CellValue
    at_least: float | None = Field(None, allow_inf_nan=False)
    at_most: float | None = Field(None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _bounded(self) -> CellRule:
        if self.at_least is None and self.at_most is None:
            raise ValueError("at_least or at_most is required")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least:g} is above at_most {self.at_most:g}: no cell can be meant")
        return self


class CellsByRule(_Group):
    """Cells whose calibration values keep to every rule; an unknown value keeps to none."""

    select: Literal["rule"]
    where: tuple[CellRule, ...] = Field(min_length=1)


class ControlSites(_Group):
    """Places far from every known cell: for light that hits nobody. They can be targets, never triggers."""

    select: Literal["control_sites"]
    n: int = Field(ge=1, le=128)
    min_distance_um: float = Field(30.0, gt=0, le=1000, description="to the nearest known cell")


CellSelection = Annotated[
    AllCells | CellsById | CellsByTag | BestCells | MostExcitableCells | CellsByRule | ControlSites,
    Field(discriminator="select"),
]
