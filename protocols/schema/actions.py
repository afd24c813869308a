"""Section `actions`: named commands. Power is at the sample, for each target; `period_ms` from rise to rise."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from protocols.schema.cells import Name
from rt_engine.interfaces.stimulation import MAX_PULSES
from rt_engine.interfaces.strict import Strict

PowerMw = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class OneOf(Strict):
    """One member of these groups a trial, each as often as the others: drawn in shuffled rounds."""

    one_of: tuple[Name, ...] = Field(min_length=1)


Targets = Name | Literal["triggering"] | OneOf
"""A group, the cells that made the trigger, or one member after another."""


class _Light(Strict):
    output: str = Field(min_length=1)
    targets: Targets
    width_ms: float = Field(ge=0.001, allow_inf_nan=False)
    period_ms: float | None = Field(None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _period(self) -> _Light:
        if self.period_ms is not None and self.period_ms < self.width_ms:
            raise ValueError(f"period_ms {self.period_ms:g} is shorter than width_ms {self.width_ms:g}")
        return self


class Pulse(_Light):
    """A pulse, or a train of equal pulses. Several powers: one a trial, in shuffled rounds (a power series)."""

    do: Literal["pulse"]
    power_mw: PowerMw | tuple[PowerMw, ...]
    pulses: int = Field(1, ge=1, le=MAX_PULSES)

    @model_validator(mode="after")
    def _train(self) -> Pulse:
        if self.pulses > 1 and self.period_ms is None:
            raise ValueError("period_ms is required for more than one pulse")
        if self.power_mw == ():
            raise ValueError("power_mw needs at least one power")
        return self

    def powers_mw(self) -> tuple[float, ...]:
        """Every power that may be used."""
        return self.power_mw if isinstance(self.power_mw, tuple) else (self.power_mw,)


class Ramp(_Light):
    """Pulses whose power changes in equal steps; each is judged by the interlock on its own."""

    do: Literal["ramp"]
    from_mw: PowerMw
    to_mw: PowerMw
    pulses: int = Field(ge=2, le=MAX_PULSES)
    period_ms: float = Field(gt=0, allow_inf_nan=False)


class Clamp(_Light):
    """Pulses every `period_ms` whose power follows the error of a signal, until the phase ends.

    Power is `bias_mw + gain_mw * e + integral_mw_per_s * integral of e`, with e = (set point - signal) / set point,
    between 0 and `max_mw`; below `min_mw` there is no pulse. The integral stands still while the power is at a bound.
    """

    do: Literal["clamp"]
    signal: Name
    set_point: float = Field(gt=0, allow_inf_nan=False)
    gain_mw: float = Field(ge=0, allow_inf_nan=False)
    integral_mw_per_s: float = Field(0.0, ge=0, allow_inf_nan=False)
    bias_mw: float = Field(0.0, ge=0, allow_inf_nan=False)
    min_mw: float = Field(0.1, gt=0, allow_inf_nan=False)
    max_mw: PowerMw
    period_ms: float = Field(gt=0, allow_inf_nan=False)
    inverted: bool = Field(False, description="light lowers the signal: power rises when it is above the set point")

    @model_validator(mode="after")
    def _bounds(self) -> Clamp:
        if self.min_mw > self.max_mw:
            raise ValueError(f"min_mw {self.min_mw:g} is above max_mw {self.max_mw:g}")
        if self.gain_mw == self.integral_mw_per_s == 0:
            raise ValueError("gain_mw or integral_mw_per_s must be above 0")
        return self


class Mark(Strict):
    """A named moment in the record."""

    do: Literal["mark"]
    mark: str = Field(min_length=1)


class Message(Strict):
    """A message to MQTT, by way of the telemetry service."""

    do: Literal["message"]
    topic: str = Field(pattern=r"^[^#+\s]+$")
    text: str = ""


LightAction = Pulse | Ramp | Clamp
ActionConfig = Annotated[Pulse | Ramp | Clamp | Mark | Message, Field(discriminator="do")]
