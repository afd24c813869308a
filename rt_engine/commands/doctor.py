"""`spikeloop doctor`: what is well with a rig, what is not, and what to do about it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, new_command

if TYPE_CHECKING:
    from pathlib import Path

    from rt_engine.interfaces.findings import Finding
    from rt_engine.interfaces.rig_config import RigConfig


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop doctor`."""
    parser = new_command(
        commands,
        "doctor",
        "Look at the computer and at every part of a rig; opens no output.",
        "spikeloop doctor virtual_rig",
    )
    parser.add_argument("rig", metavar="RIG", help="rig file, or the name of a shipped one")
    parser.add_argument("--output", metavar="DIR", default="sessions", help="where sessions go (default ./sessions)")
    parser.add_argument("--fire", action="store_true", help="fire real pulses, each output after typed consent")
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Look, say, and exit with 1 if anything has failed."""
    import dataclasses
    from pathlib import Path

    from rich.console import Console

    from rt_engine.bench.loop import self_test
    from rt_engine.interfaces.findings import Verdict
    from rt_engine.interfaces.rig_config import load_rig
    from rt_engine.interfaces.shipped import find_rig
    from rt_engine.services.doctor import computer, frame_way, input_parts, real_time, rig_parts
    from rt_engine.services.doctor.view import closing, show

    path = find_rig(arguments.rig)
    rig = load_rig(path)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{rig.name} ({path}); the loop is tried out, which takes about half a minute")
    findings = [
        *computer.packages(),
        computer.memory(),
        *computer.disk(Path(arguments.output), computer.frame_bytes_per_s(rig)),
        computer.clock(),
        computer.ports(rig),
        *frame_way.frame_way(rig),
        real_time.hop(),
        real_time.evenness(rig),
        self_test.measure_loop(rig),
        *real_time.settings(rig, Path(arguments.output)),
        *rig_parts.microscope(rig),
        *rig_parts.outputs(rig, arguments.rig),
        *rig_parts.marks(rig),
        *input_parts.inputs(rig),
        *rig_parts.protocol(rig),
    ]
    show(findings, console)
    if arguments.fire:
        fired = _fire(rig, Path(arguments.output) / "doctor")
        show(fired, console)
        findings += fired
    console.print(closing(findings))
    write_json(arguments, {"rig": rig.name, "findings": [dataclasses.asdict(one) for one in findings]})
    return 1 if any(one.verdict is Verdict.FAIL for one in findings) else 0


def _fire(rig: RigConfig, folder: Path) -> list[Finding]:
    """Every real output, after somebody has typed consent for it."""
    from rt_engine.interfaces.findings import Finding, Verdict
    from rt_engine.interfaces.output_config import RealOutput
    from rt_engine.services.doctor.fire import CONSENT, fire_test, question

    found = []
    for name, config in rig.outputs.items():
        if not isinstance(config, RealOutput):
            continue
        sys.stdout.write(question(name, config))
        sys.stdout.flush()
        if sys.stdin.readline().strip() == CONSENT:
            found += fire_test(rig, name, config, folder)
        else:
            found.append(Finding(Verdict.WARN, f"output {name}", "not fired: no consent was typed"))
    return found
