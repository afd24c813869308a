"""Sections of a rig file that say where light comes from, and what it may never do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rt_engine.interfaces.ni_config import NiDaqSettings
from rt_engine.interfaces.pattern_config import PatternTtlSettings
from rt_engine.interfaces.plugin_config import PluginOutputSettings
from rt_engine.interfaces.pulse_box_config import PulseBoxSettings
from rt_engine.interfaces.strict import Strict


class ExclusionZone(Strict):
    """A disc of the template that light may never target."""

    y_px: float
    x_px: float
    radius_px: float = Field(gt=0)


class Limits(Strict):
    """Bounds of one output. Every one is required: there is no safe default for an animal.

    `target_refractory_ms`: dark time of one place of the template between two requests. `max_refused_per_min`: more
    requests beyond a limit than this within a minute are a loop that has run away, and trip. `allowed_phases`: what the
    engine must be doing; a paused one never allows light.
    """

    max_power_mw: float = Field(gt=0)
    max_width_ms: float = Field(gt=0)
    max_rate_hz: float = Field(gt=0)
    max_duty: float = Field(gt=0, le=1)
    duty_window_s: float = Field(gt=0)
    max_energy_per_target_mj: float = Field(gt=0)
    energy_window_s: float = Field(gt=0)
    max_total_energy_mj: float = Field(gt=0)
    min_gap_ms: float = Field(ge=0)
    target_refractory_ms: float = Field(ge=0)
    max_decision_age_ms: float = Field(gt=0)
    max_refused_per_min: int = Field(ge=0, le=100_000)
    allowed_phases: tuple[Literal["baseline", "calibrating", "live"], ...]
    exclusion_zones: tuple[ExclusionZone, ...]


class SessionLimits(Strict):
    """Bounds of one session, over all outputs together; a restart in the middle does not begin a new one."""

    max_energy_mj: float = Field(gt=0)
    max_pulses: int = Field(gt=0)


LONGEST_WATCHDOG_MS = 100.0
"""Longest time for which a real output may stay able to fire without being fed."""


class VirtualOutput(Strict):
    """Light that exists only on the wire: the virtual sample answers it, nothing else does.

    `watchdog_ms`: dark when the decision loop has not fed it for so long. A real output allows at most 100 ms; this one
    may be laxer, because a busy desktop computer is no danger to anybody.
    """

    driver: Literal["virtual"]
    watchdog_ms: float = Field(gt=0, le=60_000)
    limits: Limits


def _require_measured(limits: Limits, measured_mw: float | None) -> None:
    """What the limits allow must have been measured: nothing is extrapolated."""
    if measured_mw is not None and limits.max_power_mw > measured_mw:
        raise ValueError(f"limits.max_power_mw {limits.max_power_mw:g} is more than was measured, {measured_mw:g} mW")


class NiDaqOutput(NiDaqSettings):
    """Light behind an NI card, with its limits; see `NiDaqSettings`."""

    limits: Limits

    @model_validator(mode="after")
    def _power_was_measured(self) -> NiDaqOutput:
        _require_measured(self.limits, self.highest_mw)
        return self


class PulseBoxOutput(PulseBoxSettings):
    """Light behind a serial pulse box, with its limits; see `PulseBoxSettings`."""

    limits: Limits

    @model_validator(mode="after")
    def _power_was_measured(self) -> PulseBoxOutput:
        _require_measured(self.limits, self.highest_mw)
        return self


class PatternTtlOutput(PatternTtlSettings):
    """Light behind an NI card and a pattern, with its limits; see `PatternTtlSettings`."""

    limits: Limits

    @model_validator(mode="after")
    def _light_is_known_and_in_time(self) -> PatternTtlOutput:
        _require_measured(self.limits, self.highest_mw)
        if self.settle_ms >= self.limits.max_decision_age_ms:
            text = f"select.settle_ms {self.settle_ms:g}: after it a decision is older than limits.max_decision_age_ms"
            raise ValueError(f"{text} {self.limits.max_decision_age_ms:g} allows")
        return self

    @property
    def beam_alone(self) -> NiDaqOutput:
        """The same light without its patterns: what a bench measures while a person has loaded one."""
        shared = {name: getattr(self, name) for name in NiDaqOutput.model_fields if name != "driver"}
        return NiDaqOutput.model_construct(driver="ni_daq", **shared)


class PluginOutput(PluginOutputSettings):
    """Light by a driver of another package, with its limits; see `PluginOutputSettings`."""

    limits: Limits

    @model_validator(mode="after")
    def _power_was_measured(self) -> PluginOutput:
        _require_measured(self.limits, self.highest_mw)
        return self


MeasurableOutput = NiDaqOutput | PulseBoxOutput
"""Outputs whose power `calibrate-power` can measure."""
RealOutput = NiDaqOutput | PulseBoxOutput | PatternTtlOutput | PluginOutput
OutputConfig = Annotated[
    VirtualOutput | NiDaqOutput | PulseBoxOutput | PatternTtlOutput | PluginOutput, Field(discriminator="driver")
]
