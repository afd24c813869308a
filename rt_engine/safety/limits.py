"""Limits of one output as the integers that the interlock compares, and the rule that a protocol may only tighten."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import ValidationError

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.messages import Mode
from rt_engine.interfaces.output_config import ExclusionZone, Limits
from rt_engine.interfaces.yaml_files import config_error

MAX_RATE_N = 10_000


class Violation(NamedTuple):
    """A quantity (unit in its name) that is beyond its limit."""

    quantity: str
    value: float
    limit: float

    def text(self) -> str:
        """The reason a person reads."""
        return f"{self.quantity} {self.value:g} is beyond its limit {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Bounds:
    """One output's `Limits`, rounded down to integers.

    `max_rate_n` pulses may start in any `rate_window_ns` (the whole number of pulses in a second, or one pulse in
    1/rate where the rate is below 1 Hz); `max_on_us` is the light-on time allowed in any `duty_window_ns`;
    `min_gap_ns` is dark time, from the end of a pulse to the start of the next; `target_gap_ns` the same for one place.
    Power is for each target. `phases` are the modes of the engine in which there may be light.
    """

    max_power_uw: int
    max_width_us: int
    max_rate_n: int
    rate_window_ns: int
    max_on_us: int
    duty_window_ns: int
    max_target_nj: int
    energy_window_ns: int
    max_total_nj: int
    min_gap_ns: int
    target_gap_ns: int
    max_age_ns: int
    max_refused: int
    phases: frozenset[Mode]
    zones: tuple[ExclusionZone, ...]


def _floor(value: float) -> int:
    """Largest integer not above `value`, forgiving the last binary digit of a decimal number."""
    return math.floor(round(value, 6))


def bounds_of(limits: Limits) -> Bounds:
    """Integers of a limits section.

    Parameters
    ----------
    limits : Limits
        As in the rig file.

    Returns
    -------
    Bounds
        Rounded towards less light.
    """
    return Bounds(
        max_power_uw=_floor(limits.max_power_mw * 1e3),
        max_width_us=_floor(limits.max_width_ms * 1e3),
        max_rate_n=max(1, min(_floor(limits.max_rate_hz), MAX_RATE_N)),
        rate_window_ns=math.ceil(max(1.0, 1 / limits.max_rate_hz) * 1e9),
        max_on_us=_floor(limits.max_duty * limits.duty_window_s * 1e6),
        duty_window_ns=math.ceil(limits.duty_window_s * 1e9),
        max_target_nj=_floor(limits.max_energy_per_target_mj * 1e6),
        energy_window_ns=math.ceil(limits.energy_window_s * 1e9),
        max_total_nj=_floor(limits.max_total_energy_mj * 1e6),
        min_gap_ns=math.ceil(round(limits.min_gap_ms * 1e6, 6)),
        target_gap_ns=math.ceil(round(limits.target_refractory_ms * 1e6, 6)),
        max_age_ns=_floor(limits.max_decision_age_ms * 1e6),
        max_refused=limits.max_refused_per_min,
        phases=frozenset(map(Mode, limits.allowed_phases)),
        zones=limits.exclusion_zones,
    )


def untied(limits: Limits) -> Limits:
    """Limits where the source is not tied to a clock: a loop asks faster than any there, and has not run away."""
    return limits.model_copy(update={"max_refused_per_min": _MOST_REFUSALS})


_MOST_REFUSALS = 100_000
_LOOSER_IF_SMALLER = frozenset({"min_gap_ms", "target_refractory_ms", "energy_window_s"})
_FIXED = frozenset({"duty_window_s"})


def tighten(output: str, limits: Limits, tighter: Mapping[str, Any]) -> Limits:
    """Limits of a rig with some of them made stricter by a protocol.

    Parameters
    ----------
    output : str
        Name of the output, for the message.
    limits : Limits
        The rig's.
    tighter : mapping of str to value
        Keys of `Limits`; exclusion zones are added to the rig's. `duty_window_s` cannot be changed: a duty in a
        shorter window does not bound the duty in a longer one, nor the other way round.

    Returns
    -------
    Limits

    Raises
    ------
    ConfigError
        An unknown key, a value of the wrong kind, or one that allows more than the rig does.
    """
    where = f"limits.{output}."
    zones = (*limits.exclusion_zones, *tighter.get("exclusion_zones", ()))
    try:
        wanted = Limits.model_validate({**limits.model_dump(), **tighter, "exclusion_zones": zones})
    except ValidationError as error:
        raise config_error(f"protocol, {where[:-1]}", error) from error
    for key in tighter:
        if key == "exclusion_zones":
            continue
        new, old = getattr(wanted, key), getattr(limits, key)
        if key == "allowed_phases":
            if more := set(new) - set(old):
                raise ConfigError(f"{sorted(more)} are not allowed by the rig", "leave them out", key=where + key)
            continue
        if key in _FIXED:
            looser = new != old
        else:
            looser = new < old if key in _LOOSER_IF_SMALLER else new > old
        if looser:
            raise ConfigError(
                f"{new:g} is looser than the rig's {old:g}", "a protocol may only tighten", key=where + key
            )
    return wanted
