"""Sections of a rig file that say where light comes from, and what it may never do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rt_engine.interfaces.ni_config import NiDaqSettings
from rt_engine.interfaces.pattern_config import PatternTtlSettings
from rt_engine.interfaces.plugin_config import PluginOutputSettings
from rt_engine.interfaces.pulse_box_config import PulseBoxSettings
from rt_engine.interfaces.scan_gate_config import VirtualScanGate
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


class VirtualShutter(Strict):
    """One that opens ahead of the light: light comes `lead_ms` after the command, and the next after `lag_ms`."""

    lead_ms: float = Field(gt=0, le=10_000)
    lag_ms: float = Field(ge=0, le=1000)


class VirtualOutput(Strict):
    """Light that exists only on the wire: the virtual sample answers it, nothing else does.

    `watchdog_ms`: dark when the decision loop has not fed it for so long. A real output allows at most 100 ms; this one
    may be laxer, because a busy desktop computer is no danger to anybody. `scan_gate`: light in some lines of the
    virtual microscope's frames only.
    """

    driver: Literal["virtual"]
    watchdog_ms: float = Field(gt=0, le=60_000)
    shutter: VirtualShutter | None = None
    scan_gate: VirtualScanGate | None = None
    measured_by: str | None = Field(None, description="the input (virtual_edges, follows: light) that sees each pulse")
    limits: Limits

    @property
    def longest_wait_ms(self) -> float:
        """By how much light may begin after the command; without the loop, which recalls it, there is none at all."""
        lead_ms = self.shutter.lead_ms if self.shutter else 0.0
        return self.scan_gate.give_up_ms if self.scan_gate else lead_ms

    @model_validator(mode="after")
    def _light_is_in_time(self) -> VirtualOutput:
        gate, lead_ms = self.scan_gate, self.shutter.lead_ms if self.shutter else 0.0
        if gate is not None and lead_ms and gate.after_ms <= lead_ms:
            raise ValueError(f"scan_gate.after_ms {gate.after_ms:g} leaves no time for shutter.lead_ms")
        _require_in_time(self, self.limits)
        return self


def _require_measured(limits: Limits, measured_mw: float | None) -> None:
    """What the limits allow must have been measured: nothing is extrapolated."""
    if measured_mw is not None and limits.max_power_mw > measured_mw:
        raise ValueError(f"limits.max_power_mw {limits.max_power_mw:g} is more than was measured, {measured_mw:g} mW")


def _require_in_time(output: NiDaqSettings | VirtualOutput | PluginOutputSettings, limits: Limits) -> None:
    """Light that waits (for a pattern, a shutter, the scanner) must be young enough when it comes."""
    wait_ms, age_ms = output.longest_wait_ms, limits.max_decision_age_ms
    gate, shutter = getattr(output, "scan_gate", None), getattr(output, "shutter", None)
    if wait_ms >= age_ms:
        waits = {"longest_wait_ms": wait_ms} if isinstance(output, PluginOutputSettings) else {}
        waits |= {"select.settle_ms": getattr(output, "settle_ms", 0.0)}
        waits |= {"shutter.lead_ms": shutter.lead_ms} if shutter else {}
        if gate is not None:
            ends_with_watchdog = isinstance(output, NiDaqSettings)
            waits |= {"scan_gate.give_up_ms" + (" and watchdog_ms" if ends_with_watchdog else ""): wait_ms}
        told = ", ".join(f"{name} {ms:g}" for name, ms in waits.items() if ms)
        raise ValueError(f"{told}: after it a decision is older than limits.max_decision_age_ms {age_ms:g} allows")
    if shutter is not None and limits.min_gap_ms <= shutter.lag_ms > 0:
        text = f"limits.min_gap_ms {limits.min_gap_ms:g}: the shutter still lags from the train before"
        raise ValueError(f"{text}, shutter.lag_ms {shutter.lag_ms:g}")
    if gate is not None and limits.max_width_ms > gate.window_ms:
        text = f"limits.max_width_ms {limits.max_width_ms:g} is longer than scan_gate.window_ms {gate.window_ms:g}"
        raise ValueError(text)


class NiDaqOutput(NiDaqSettings):
    """Light behind an NI card, with its limits; see `NiDaqSettings`."""

    limits: Limits

    @model_validator(mode="after")
    def _power_was_measured(self) -> NiDaqOutput:
        _require_measured(self.limits, self.highest_mw)
        _require_in_time(self, self.limits)
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
        _require_in_time(self, self.limits)
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
    def _light_is_known_and_in_time(self) -> PluginOutput:
        _require_measured(self.limits, self.highest_mw)
        _require_in_time(self, self.limits)
        return self


MeasurableOutput = NiDaqOutput | PulseBoxOutput
"""Outputs whose power `calibrate-power` can measure."""
RealOutput = NiDaqOutput | PulseBoxOutput | PatternTtlOutput | PluginOutput
OutputConfig = Annotated[
    VirtualOutput | NiDaqOutput | PulseBoxOutput | PatternTtlOutput | PluginOutput, Field(discriminator="driver")
]


def limits_at_command(output: VirtualOutput | RealOutput) -> Limits:
    """The limits by which a command is judged.

    Light that waits (for a pattern, a shutter, the scanner) comes later than its command: its decision has to be
    younger by so much.
    """
    left_ms = output.limits.max_decision_age_ms - output.longest_wait_ms
    return output.limits.model_copy(update={"max_decision_age_ms": left_ms})


def virtual_shutter(output: VirtualOutput | RealOutput) -> VirtualShutter | None:
    """What makes a virtual output judged like this one, where its light may come later than its command."""
    wait_ms = output.longest_wait_ms
    return VirtualShutter(lead_ms=wait_ms, lag_ms=0.0) if wait_ms else None
