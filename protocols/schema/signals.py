"""Section `signals`: named numbers that are followed in time."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from protocols.schema.cells import Name
from rt_engine.interfaces.strict import Strict


class ActivityField(StrEnum):
    """Fields of the wire's `activity` that a signal may be made of."""

    FLUORESCENCE = "fluorescence"
    DFF = "dff"
    CALCIUM = "calcium"
    SPIKE = "spike"
    Z = "z"
    PROBABILITY = "probability"


class Statistic(StrEnum):
    """How the cells of a group become one number."""

    MEAN = "mean"
    MAX = "max"
    FRACTION_ABOVE = "fraction_above"


class RateSignal(Strict):
    """Events (or spikes) per second and cell of a group, over the last `window_ms`; unknown until it has passed."""

    of: Literal["rate"]
    cells: Name
    window_ms: float = Field(gt=0, le=600_000)
    count: Literal["events", "spikes"] = "events"
    min_probability: float = Field(0.0, ge=0, le=1)


class ActivitySignal(Strict):
    """One number of a group's activity, smoothed by an exponential of `smooth_ms` (0: not at all)."""

    of: Literal["activity"]
    cells: Name
    field: ActivityField = ActivityField.DFF
    statistic: Statistic = Statistic.MEAN
    level: float | None = Field(None, allow_inf_nan=False, description="of `fraction_above`")
    smooth_ms: float = Field(0.0, ge=0, le=600_000)

    @model_validator(mode="after")
    def _level(self) -> ActivitySignal:
        if (self.statistic is Statistic.FRACTION_ABOVE) != (self.level is not None):
            raise ValueError("level is required for fraction_above, and only there")
        return self


class ProjectionSignal(Strict):
    """Weighted sum of the activity of a group's cells, minus `offset`: how far the population is along a direction."""

    of: Literal["projection"]
    cells: Name
    field: ActivityField = ActivityField.DFF
    weights: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = Field(
        min_length=1, description="one for each cell, in the order of the group"
    )
    offset: float = Field(0.0, allow_inf_nan=False)
    smooth_ms: float = Field(0.0, ge=0, le=600_000)


SignalConfig = Annotated[RateSignal | ActivitySignal | ProjectionSignal, Field(discriminator="of")]
