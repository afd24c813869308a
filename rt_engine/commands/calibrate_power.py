"""`spikeloop calibrate-power`: milliwatts at the sample for every command, by a power meter or a photodiode."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from rt_engine.commands.parsers import Commands, count, new_command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rt_engine.interfaces.output_config import MeasurableOutput
    from rt_engine.interfaces.rig_config import RigConfig
    from rt_engine.services.power_calibration import Bench, ByDiode
    from rt_engine.services.power_meters import Flicker, TypedMeter


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop calibrate-power`."""
    parser = new_command(
        commands,
        "calibrate-power",
        "Measure the power at the sample step by step: a person types what a power meter shows, or a photodiode tells.",
        "spikeloop calibrate-power my_rig.yaml laser --person ME -o laser.power.yaml",
    )
    parser.add_argument("rig", metavar="RIG", help="rig file, or the name of a shipped one")
    parser.add_argument("output_name", metavar="OUTPUT", help="which output of it")
    parser.add_argument("--person", metavar="NAME", required=True, help="who measures; stands in the table")
    parser.add_argument("--steps", type=count, default=9, metavar="N", help="steps from 0 V to max_v (default 9)")
    parser.add_argument("--photodiode", metavar="INPUT", help="input (driver ni_analog) of a photodiode in the beam")
    parser.add_argument("-o", "--output", metavar="FILE", help="table to write (default OUTPUT.power.yaml)")


def execute(arguments: argparse.Namespace) -> int:
    """Consent, light, readings, table, picture."""
    import time
    from pathlib import Path

    import yaml

    from rt_engine.interfaces.clock import MonotonicClock
    from rt_engine.interfaces.rig_config import load_rig
    from rt_engine.interfaces.shipped import find_rig
    from rt_engine.services import power_calibration as power
    from rt_engine.services.power_meters import TypedMeter

    rig = load_rig(find_rig(arguments.rig))
    config = _output_of(rig, arguments.output_name)
    path = Path(arguments.output or f"{arguments.output_name}.power.yaml")
    steps, train = power.steps_of(config, max(3, arguments.steps)), power.flicker(config.limits)
    if arguments.photodiode:
        _require_photodiode(rig, arguments.photodiode, train)
    light = f"{train.width_ms:g} ms of light every {train.period_ms:g}"
    _consent(arguments.output_name, f"{len(steps)} steps, {power.ON_S:g} s each, {light}")
    typed = TypedMeter(_announce, _read_mw)
    bench = power.Bench(path.absolute().parent / "power-calibration", MonotonicClock(), time.sleep)
    told: ByDiode | None = None
    if arguments.photodiode:
        told = _by_photodiode(rig, arguments, config, steps, typed, bench)
    powers = told.powers_mw if told else power.measure(arguments.output_name, config, steps, typed, bench, _tell)
    table = power.table_of(config, steps, powers, arguments.person)
    path.write_text(yaml.safe_dump(table, sort_keys=False), encoding="utf-8")
    _conclude(arguments, config, table, path, told)
    return 0


def _by_photodiode(
    rig: RigConfig,
    arguments: argparse.Namespace,
    config: MeasurableOutput,
    steps: Sequence[float],
    typed: TypedMeter,
    bench: Bench,
) -> ByDiode:
    """The readings of the photodiode, with what a volt of it is."""
    from typing import cast

    from rt_engine.interfaces.inputs import SampleInput
    from rt_engine.interfaces.ni_config import NiAnalogInput
    from rt_engine.services.input_drivers import make_input
    from rt_engine.services.power_calibration import measure_by_diode
    from rt_engine.services.power_meters import DiodeMeter

    wired = cast(NiAnalogInput, rig.inputs[arguments.photodiode])
    device = cast(SampleInput, make_input(arguments.photodiode, wired, bench.clock))
    if wired.mw_per_v is None:
        sys.stdout.write("What a volt of the photodiode is, is not known: you read the power meter twice.\n")
    diode = DiodeMeter(device, wired.range_v, wired.mw_per_v)
    try:
        return measure_by_diode(arguments.output_name, config, steps, diode, typed, bench, _tell)
    finally:
        diode.close()


def _require_photodiode(rig: RigConfig, name: str, train: Flicker) -> None:
    from rt_engine.interfaces.errors import ConfigError
    from rt_engine.interfaces.ni_config import NiAnalogInput
    from rt_engine.services.power_meters import require_fast

    wired = rig.inputs.get(name)
    if not isinstance(wired, NiAnalogInput):
        known = ", ".join(one for one, kind in rig.inputs.items() if isinstance(kind, NiAnalogInput)) or "none"
        raise ConfigError(f"no input {name!r} with driver ni_analog in this rig", f"those there are: {known}")
    require_fast(name, wired.sample_rate_hz, train)


def _conclude(
    arguments: argparse.Namespace, config: MeasurableOutput, table: dict[str, object], path: Path, told: ByDiode | None
) -> None:
    """What was found, what to write into the rig file, and the picture."""
    from rt_engine.interfaces.ni_config import NiAnalog
    from rt_engine.interfaces.output_config import NiDaqOutput
    from rt_engine.services.power_picture import draw

    if told:
        sys.stdout.write(f"a volt of {arguments.photodiode} is {told.mw_per_v:.4g} mW: `mw_per_v` of that input\n")
    pulse = config.pulse if isinstance(config, NiDaqOutput) else None
    if not isinstance(pulse, NiAnalog) or not isinstance(config, NiDaqOutput):
        sys.stdout.write(f"{path}: {table['power_mw']} mW. In the rig file:  power: {path.name}\n")
        return
    powers, volts = table["power_mw"], table["volts"]
    if isinstance(powers, list) and isinstance(volts, list):
        if volts[-1] < pulse.max_v:
            sys.stdout.write(f"ended at {volts[-1]:g} V: beyond it is more than max_beam_mw {config.max_beam_mw:g}\n")
        sys.stdout.write(f"{path}: up to {max(powers):.4g} mW. In the rig file:  power: {path.name}\n")
    draw(
        table,
        path.with_suffix(".png"),
        f"{arguments.output_name} of {arguments.rig}",
        errors_mw=told.errors_mw if told else None,
        max_v=pulse.max_v,
        max_beam_mw=config.max_beam_mw,
    )


def _output_of(rig: RigConfig, name: str) -> MeasurableOutput:
    from rt_engine.interfaces.errors import ConfigError
    from rt_engine.interfaces.output_config import MeasurableOutput, PatternTtlOutput

    config = rig.outputs.get(name)
    if isinstance(config, PatternTtlOutput):
        return config.beam_alone
    if isinstance(config, MeasurableOutput):
        return config
    can = MeasurableOutput | PatternTtlOutput
    real = ", ".join(one for one, kind in rig.outputs.items() if isinstance(kind, can)) or "none"
    raise ConfigError(f"no output {name!r} in this rig that can be measured", f"those that can: {real}")


def _consent(name: str, what: str) -> None:
    from rt_engine.interfaces.errors import SafetyError
    from rt_engine.services.doctor.fire import CONSENT

    sys.stdout.write(
        f"{name} will emit light: {what}.\nNo eye and no animal in the beam, the meter under the objective?\n"
    )
    sys.stdout.write(f"Type {CONSENT} to go on: ")
    sys.stdout.flush()
    if sys.stdin.readline().strip() != CONSENT:
        raise SafetyError("nothing was lit: no consent was typed")


def _tell(step: float, power_mw: float) -> None:
    sys.stdout.write(f"step {step:g}: {power_mw:.4g} mW in a pulse\n")
    sys.stdout.flush()


def _announce(step: float) -> None:
    sys.stdout.write(f"step {step:g} is lit now: look at the average power on the meter\n")
    sys.stdout.flush()


def _read_mw(step: float) -> float:
    from rt_engine.interfaces.errors import ServiceError

    while True:
        sys.stdout.write(f"step {step:g}: what it read, mW: ")
        sys.stdout.flush()
        text = sys.stdin.readline()
        if not text:
            raise ServiceError("the readings ended before the last step", "type one for each step")
        try:
            return max(0.0, float(text.replace(",", ".")))
        except ValueError:
            sys.stdout.write("a number, please. ")
