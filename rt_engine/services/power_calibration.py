"""Power at the sample, measured: pulses of a known share of time, and what a power meter reads of them."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from rt_engine.interfaces.clock import NS_PER_MS, Clock
from rt_engine.interfaces.errors import ConfigError, SafetyError
from rt_engine.interfaces.messages import Outcome
from rt_engine.interfaces.ni_config import NiAnalog
from rt_engine.interfaces.output_config import Limits, MeasurableOutput, NiDaqOutput, PulseBoxOutput
from rt_engine.interfaces.power_table import MeasuredPower, PowerTable
from rt_engine.interfaces.rig_config import config_error
from rt_engine.services.bench_light import BenchLight
from rt_engine.services.interlock_setup import make_output

ON_S = 8.0
"""How long one step is lit: a thermal meter needs seconds to settle."""
_NOT_MEASURED = "not measured: volts stand for milliwatts"


class Flicker(NamedTuple):
    """The strongest train that the limits of an output allow for as long as one likes."""

    width_ms: float
    period_ms: float

    @property
    def duty(self) -> float:
        """Share of time with light."""
        return self.width_ms / self.period_ms


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

    Limits in milliwatts say nothing yet; width, rate, gap and duty hold as they stand.
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
    update["limits"] = limits.model_copy(update={"max_power_mw": top})
    return config.model_copy(update=update)


def measure(
    name: str,
    config: MeasurableOutput,
    steps: Sequence[float],
    announce: Callable[[float], None],
    read_mw: Callable[[float], float],
    folder: Path,
    clock: Clock,
    sleep: Callable[[float], None],
) -> list[float]:
    """Light each step, ask what the meter read, and compute the power while there is light.

    Parameters
    ----------
    name : str
    config : MeasurableOutput
    steps : sequence of float
        From `steps_of`.
    announce : callable
        Told the step that is being lit: the meter is to be looked at.
    read_mw : callable
        Told the step; returns the average power that the meter showed meanwhile, mW.
    folder : Path
        Where the log of every pulse is written.
    clock : Clock
    sleep : callable

    Returns
    -------
    list of float
        Power in each pulse, mW.

    Raises
    ------
    SafetyError
        The output could not be lit.
    """
    bench, train = in_volts(config), flicker(config.limits)
    pulses = max(1, int(ON_S * 1000 / train.period_ms))
    output = make_output(name, bench, clock, lambda light: None)
    powers = []
    with BenchLight(name, output, bench.limits, clock, folder, sleep) as light:
        for step in steps:
            announce(step)
            duty = _flicker_for(light, name, step, train, pulses) if step > 0 else train.duty
            powers.append(read_mw(step) / duty)
            light.rest()
    return powers


def _flicker_for(light: BenchLight, name: str, step: float, train: Flicker, pulses: int) -> float:
    """Light one step; the share of time with light as it really was, for a busy computer is late."""
    commands_ns = []
    for _ in range(pulses):
        decision = light.pulse(step, train.width_ms)
        if decision.outcome is not Outcome.DELIVERED or decision.t_command_ns is None:
            raise SafetyError(f"{name}: a pulse was {decision.outcome}: {decision.reason}")
        commands_ns.append(decision.t_command_ns)
        light.run_for(train.period_ms / 1000)
    if pulses == 1:
        return train.duty
    return train.width_ms * NS_PER_MS * (pulses - 1) / (commands_ns[-1] - commands_ns[0])


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
    table = {"date": today, "person": person, "volts": list(steps), "power_mw": rounded}
    try:
        PowerTable.model_validate(table)
    except ValidationError as error:
        wrong = config_error("", error)
        remedy = "measure again below the maximum of the modulator (lower `max_v`), with fewer steps or a better meter"
        raise ConfigError(f"this is no table: {wrong.message}", remedy) from error
    return table


def draw(table: dict[str, Any], path: Path, title: str) -> None:
    """The curve, as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(table["volts"], table["power_mw"], "o-")
    axes.set_xlabel("command (V)")
    axes.set_ylabel("power at the sample (mW)")
    axes.set_title(f"{title}, {table['date']}, {table['person']}")
    figure.savefig(path, dpi=120)
