"""Drivers of other packages: named in the rig file, found by entry point."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from rt_engine.interfaces.file_schema import OrFile
from rt_engine.interfaces.power_table import MeasuredPower
from rt_engine.interfaces.strict import Strict


class PluginSettings(Strict):
    """A driver that another installed package offers under `name`; `settings` are handed to it as they stand."""

    driver: Literal["plugin"]
    name: str = Field(min_length=1)
    settings: dict[str, Any] = {}


class PluginMicroscope(PluginSettings):
    """A microscope of another package (entry point group ``spikeloop.microscopes``)."""

    um_per_px: float | None = Field(None, gt=0)


class PluginInput(PluginSettings):
    """An input of another package (entry point group ``spikeloop.inputs``); `kind` is what it has to tell."""

    kind: Literal["edges", "level", "samples"]


class PluginOutputSettings(PluginSettings):
    """An output of another package (entry point group ``spikeloop.outputs``).

    `power` is the highest at the sample, as measured; null is uncalibrated. Below it the driver has to know its own.
    `longest_wait_ms`: by how much its light may begin after the command at the latest, whatever becomes of this
    program; the driver may not say that it takes longer.
    """

    watchdog_ms: float = Field(gt=0, le=100)
    longest_wait_ms: float = Field(0.0, ge=0, le=10_000)
    power: Annotated[MeasuredPower | None, OrFile()]
    measured_by: str | None = None

    @property
    def highest_mw(self) -> float | None:
        """The highest power that was measured; None where none was."""
        return None if self.power is None else self.power.power_mw
