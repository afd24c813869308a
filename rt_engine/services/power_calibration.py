"""Power at the sample, measured: pulses of a known share of time, and what a meter or a photodiode tells of them."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.errors import ConfigError, SafetyError
from rt_engine.interfaces.messages import Outcome
from rt_engine.interfaces.ni_config import NiAnalog
from rt_engine.interfaces.output_config import Limits, MeasurableOutput, NiDaqOutput, PulseBoxOutput
from rt_engine.interfaces.power_table import MeasuredPower, PowerTable
from rt_engine.interfaces.yaml_files import config_error
from rt_engine.services.bench_light import BenchLight
from rt_engine.services.interlock_setup import make_output
from rt_engine.services.power_meters import AnchorMeter, DiodeMeter, Flicker, Lit, Meter, TypedMeter

ON_S = 8.0
"""How long one step is lit: a thermal meter needs seconds to settle."""
_TRIES = 3
_NOT_MEASURED = "not measured: volts stand for milliwatts"


class Bench(NamedTuple):
    """Where the log of every pulse goes, and the time it is measured in."""

    folder: Path
    clock: Clock
    sleep: Callable[[float], None]


def flicker(limits: Limits) -> Flicker:
    """As much light as width, rate, gap and duty of the limits allow."""
    width_ms, window_ms = limits.max_width_ms, limits.duty_window_s * 1000
    spare_ms = limits.max_duty * window_ms - width_ms
    period_ms = max(
        1000.0 / limits.max_rate_hz,
        width_ms + limits.min_gap_ms,
        window_ms * width_ms / spare_ms if spare_ms > 0 else 2 * window_ms,
        width_ms + limits.target_refractory_ms,
    )
    return Flicker(width_ms, float(-(-period_ms // 1) + 1))


def steps_of(config: MeasurableOutput, n_steps: int) -> list[float]:
    """What is commanded, in turn: volts of an analogue output from 0 to its `max_v`, else on."""
    if isinstance(config, NiDaqOutput) and isinstance(config.pulse, NiAnalog):
        return [round(config.pulse.max_v * i / (n_steps - 1), 4) for i in range(n_steps)]
    return [1.0]


def in_volts(config: MeasurableOutput) -> MeasurableOutput:
    """The output as it is before its power is known: a command of 1 mW is a volt, or on.

    Limits in milliwatts say nothing yet; width, rate, gap and duty hold as they stand. On a bench no scanner runs.
    """
    today = datetime.date.today()
    limits = config.limits.model_copy(
        update={"max_energy_per_target_mj": 1e9, "max_total_energy_mj": 1e9, "exclusion_zones": ()}
    )
    if isinstance(config, NiDaqOutput) and isinstance(config.pulse, NiAnalog):
        top = config.pulse.max_v
        table = PowerTable(date=today, person=_NOT_MEASURED, volts=(0.0, top), power_mw=(0.0, top))
        update: dict[str, Any] = {"pulse": config.pulse.model_copy(update={"power": table}), "max_beam_mw": top}
    else:
        on = MeasuredPower(date=today, person=_NOT_MEASURED, power_mw=1.0)
        top = 1.0
        if isinstance(config, PulseBoxOutput):
            update = {"power": on}
        else:
            update = {"pulse": config.pulse.model_copy(update={"power": on}), "max_beam_mw": 1.0}
    if isinstance(config, NiDaqOutput):
        update["scan_gate"] = None
    update["limits"] = limits.model_copy(update={"max_power_mw": top})
    return config.model_copy(update=update)


def measure(
    name: str,
    config: MeasurableOutput,
    steps: Sequence[float],
    meter: Meter,
    bench: Bench,
    tell: Callable[[float, float], None] = lambda step, power_mw: None,
) -> tuple[float, ...]:
    """Light each step in turn, up to the first that reaches what the beam may carry, and have its power told.

    Parameters
    ----------
    name : str
    config : MeasurableOutput
    steps : sequence of float
        From `steps_of`.
    meter : Meter
    bench : Bench
    tell : callable
        Told each step and its power, mW, when it is known.

    Returns
    -------
    tuple of float
        Power in each pulse, mW; shorter than `steps` where the last ones were not lit.

    Raises
    ------
    SafetyError
        The output could not be lit.
    DeviceError
        A photodiode cannot tell.
    """
    train, lit_in = flicker(config.limits), in_volts(config)
    pulses = max(1, int(ON_S * 1000 / train.period_ms))
    highest_mw = getattr(config, "max_beam_mw", math.inf)
    output = make_output(name, lit_in, bench.clock, lambda light: None)
    powers: list[float] = []
    with BenchLight(name, output, lit_in.limits, bench.clock, bench.folder, bench.sleep) as light:
        for step in steps:
            lit = _lit_whole(light, name, step, train, pulses if step > 0 else 0, meter)
            powers.append(meter.power_mw(lit))
            light.rest()
            tell(step, powers[-1])
            if powers[-1] >= highest_mw:
                break
    return tuple(powers)


def _lit_whole(light: BenchLight, name: str, step: float, train: Flicker, pulses: int, meter: Meter) -> Lit:
    """Light one step; anew where a computer that is too busy has tripped in the middle of it.

    Raises
    ------
    SafetyError
        It has tripped every time.
    """
    for left in reversed(range(_TRIES)):
        meter.begin(step)
        try:
            return _lit(light, name, step, train, pulses, meter.look)
        except SafetyError:
            if left == 0:
                raise
    raise SafetyError(f"{name}: step {step:g} was not lit")


def _lit(light: BenchLight, name: str, step: float, train: Flicker, pulses: int, look: Callable[[], None]) -> Lit:
    """Light one step, and say when."""
    commands_ns = []
    for _ in range(pulses):
        decision = light.pulse(step, train.width_ms)
        if decision.outcome is not Outcome.DELIVERED or decision.t_command_ns is None:
            raise SafetyError(f"{name}: a pulse was {decision.outcome}: {decision.reason}")
        commands_ns.append(decision.t_command_ns)
        light.run_for(train.period_ms / 1000)
        look()
    return Lit(step, train, tuple(commands_ns))


class ByDiode(NamedTuple):
    """What a photodiode told: power of each step and its standard error, mW, and what a volt of it is."""

    powers_mw: tuple[float, ...]
    errors_mw: tuple[float, ...]
    mw_per_v: float


def measure_by_diode(
    name: str,
    config: MeasurableOutput,
    steps: Sequence[float],
    diode: DiodeMeter,
    typed: TypedMeter,
    bench: Bench,
    tell: Callable[[float, float], None] = lambda step, power_mw: None,
) -> ByDiode:
    """As `measure`, by a photodiode.

    Where it is not known what a volt of it is, a person reads the power meter twice: at a low step before, and at the
    strongest afterwards; both have to agree.

    Parameters
    ----------
    name : str
    config : MeasurableOutput
    steps : sequence of float
    diode : DiodeMeter
    typed : TypedMeter
    bench : Bench
    tell : callable
        As of `measure`.

    Raises
    ------
    ConfigError
        A source with one power, whose single reading would only repeat what was typed.
    DeviceError
        The photodiode sees no light, is at the end of its range, or does not follow the power meter.
    SafetyError
        The output could not be lit.
    """
    anchored = diode.mw_per_v is None
    if anchored:
        if len(steps) == 1:
            remedy = "leave --photodiode out and type the reading, or give the input its `mw_per_v`"
            raise ConfigError(f"{name} has one power: a photodiode would only repeat what you type", remedy)
        measure(name, config, [steps[len(steps) // 3]], AnchorMeter(diode, typed), bench)
    diode.readings.clear()
    lit = measure(name, config, steps, diode, bench, tell)
    readings = tuple(diode.readings)
    diode.require_seen()
    if anchored:
        measure(name, config, [steps[len(lit) - 1]], AnchorMeter(diode, typed), bench)
    mw_per_v = diode.mw_per_v or 0.0
    powers_mw = tuple(max(0.0, one.volts * mw_per_v) for one in readings)
    return ByDiode(powers_mw, tuple(one.error_v * mw_per_v for one in readings), mw_per_v)


def table_of(
    config: MeasurableOutput, steps: Sequence[float], powers_mw: Sequence[float], person: str
) -> dict[str, Any]:
    """What was measured, as the rig file takes it.

    Raises
    ------
    ConfigError
        It does not rise from step to step.
    """
    today = datetime.date.today()
    rounded = [round(power, 4) for power in powers_mw]
    if len(steps) == 1:
        return {"date": today, "person": person, "power_mw": rounded[0]}
    table = {"date": today, "person": person, "volts": list(steps[: len(rounded)]), "power_mw": rounded}
    try:
        PowerTable.model_validate(table)
    except ValidationError as error:
        wrong = config_error("", error)
        remedy = "measure again below the maximum of the modulator (lower `max_v`), with fewer steps or a better meter"
        raise ConfigError(f"this is no table: {wrong.message}", remedy) from error
    return table
