"""Ranges that synthetic training traces are drawn from: a file, every entry with its source."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError, model_validator

from rt_engine.interfaces.strict import Strict
from rt_engine.interfaces.yaml_files import config_error, read_yaml

SHIPPED_RANGES = Path(__file__).with_name("randomisation.yaml")


class Law(StrEnum):
    """How a value is drawn from its range."""

    UNIFORM = "uniform"
    LOG = "log"
    WHOLE = "whole"


class Range(Strict):
    """One entry: `chance` is the part of the traces that have it, the others have 0."""

    low: float
    high: float
    law: Law
    source: str = Field(min_length=1)
    chance: float = Field(1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if self.high < self.low or (self.law is Law.LOG and self.low <= 0):
            raise ValueError("must ascend from low to high, above 0 with law: log")
        return self

    def draw(self, rng: np.random.Generator, size: int | None = None) -> Any:
        """One value, or an array of `size`; 0 where the chance says so."""
        if self.law is Law.LOG:
            value = np.exp(rng.uniform(np.log(self.low), np.log(self.high), size))
        elif self.law is Law.WHOLE:
            value = rng.integers(int(self.low), int(self.high) + 1, size)
        else:
            value = rng.uniform(self.low, self.high, size)
        return value * (rng.random(size) < self.chance) if self.chance < 1 else value

    def narrowed(self, factor: float) -> Range:
        """The range about its middle, so many times as wide."""
        if self.law is Law.LOG:
            middle, half = np.sqrt(self.low * self.high), (self.high / self.low) ** (factor / 2)
            return self.model_copy(update={"low": float(middle / half), "high": float(middle * half)})
        middle, half = (self.low + self.high) / 2, (self.high - self.low) * factor / 2
        return self.model_copy(update={"low": middle - half, "high": middle + half})


class RecordingRanges(Strict):
    """Microscope, noise and whatever is no calcium."""

    frame_rate_hz: Range
    noise: Range
    noise_correlation: Range
    heavy_tails: Range
    lost_samples: Range
    saturated: Range
    motion_per_s: Range
    motion_dff: Range
    neuropil_dff: Range
    neuropil_s: Range
    drift_dff: Range
    bleaching: Range
    bleaching_s: Range


class IndicatorRanges(Strict):
    """Factors on the library's numbers; `hill` is added."""

    tau_calcium: Range
    tau_off: Range
    tau_on: Range
    k_d: Range
    hill: Range
    rest_calcium: Range
    amplitude: Range


class SpikeRanges(Strict):
    """How cells fire."""

    rate_hz: Range
    modulation_s: Range
    modulation_depth: Range
    burst_fraction: Range
    burst_spikes: Range
    burst_isi_s: Range


class Randomisation(Strict):
    """All ranges of a file."""

    schema_version: int = Field(ge=1, le=1)
    recording: RecordingRanges
    indicator: IndicatorRanges
    spikes: SpikeRanges

    def narrowed(self, factor: float) -> Randomisation:
        """The indicator's ranges so many times as wide, for ablations."""
        parts = {name: getattr(self.indicator, name).narrowed(factor) for name in IndicatorRanges.model_fields}
        return self.model_copy(update={"indicator": IndicatorRanges(**parts)})


def load_randomisation(path: Path = SHIPPED_RANGES) -> Randomisation:
    """Ranges of a file.

    Raises
    ------
    ConfigError
        It cannot be read, or an entry is wrong; names it.
    """
    try:
        return Randomisation.model_validate(read_yaml(path))
    except ValidationError as error:
        raise config_error(str(path), error) from error
