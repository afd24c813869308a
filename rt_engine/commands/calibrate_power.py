"""`spikeloop calibrate-power`: milliwatts at the sample for every command, measured with a power meter."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from rt_engine.commands.parsers import Commands, count, new_command

if TYPE_CHECKING:
    from rt_engine.interfaces.output_config import MeasurableOutput
    from rt_engine.interfaces.rig_config import RigConfig


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop calibrate-power`."""
    parser = new_command(
        commands,
        "calibrate-power",
        "Measure the power at the sample with a power meter, step by step; a person types each reading.",
        "spikeloop calibrate-power my_rig.yaml laser --person ME -o laser.power.yaml",
    )
    parser.add_argument("rig", metavar="RIG", help="rig file, or the name of a shipped one")
    parser.add_argument("output_name", metavar="OUTPUT", help="which output of it")
    parser.add_argument("--person", metavar="NAME", required=True, help="who measures; stands in the table")
    parser.add_argument("--steps", type=count, default=9, metavar="N", help="steps from 0 V to max_v (default 9)")
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

    config = _output_of(load_rig(find_rig(arguments.rig)), arguments.output_name)
    path = Path(arguments.output or f"{arguments.output_name}.power.yaml")
    steps, train = power.steps_of(config, max(3, arguments.steps)), power.flicker(config.limits)
    light = f"{train.width_ms:g} ms of light every {train.period_ms:g}"
    _consent(arguments.output_name, f"{len(steps)} steps, {power.ON_S:g} s each, {light}")
    powers = power.measure(
        arguments.output_name,
        config,
        steps,
        _announce,
        _read_mw,
        path.absolute().parent / "power-calibration",
        MonotonicClock(),
        time.sleep,
    )
    table = power.table_of(config, steps, powers, arguments.person)
    path.write_text(yaml.safe_dump(table, sort_keys=False), encoding="utf-8")
    sys.stdout.write(f"{path}: up to {max(powers):.4g} mW. In the rig file:  power: {path.name}\n")
    if len(steps) > 1:
        power.draw(table, path.with_suffix(".png"), f"{arguments.output_name} of {arguments.rig}")
    return 0


def _output_of(rig: RigConfig, name: str) -> MeasurableOutput:
    from rt_engine.interfaces.errors import ConfigError
    from rt_engine.interfaces.output_config import MeasurableOutput

    config = rig.outputs.get(name)
    if isinstance(config, MeasurableOutput):
        return config
    real = ", ".join(one for one, kind in rig.outputs.items() if isinstance(kind, MeasurableOutput)) or "none"
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
