"""`spikeloop run`: a rig, from baseline to report."""

from __future__ import annotations

import argparse

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, new_command, positive

_BASELINE_S = 120.0


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop run`."""
    parser = new_command(
        commands, "run", "Run a rig: baseline, calibration, live.", "spikeloop run virtual_rig --duration 60 --dry-run"
    )
    parser.add_argument("rig", metavar="RIG", help="rig file, or the name of a shipped one")
    parser.add_argument("--protocol", metavar="P", help="protocol file or name (default: the rig's)")
    parser.add_argument("--calibration", metavar="C", help="calibration file; without it a baseline is recorded first")
    parser.add_argument("--baseline", type=positive, default=_BASELINE_S, metavar="S", help="seconds (default 120)")
    parser.add_argument(
        "--duration", type=positive, metavar="S", help="seconds from going live (default: until Ctrl-C)"
    )
    parser.add_argument("--subject", metavar="ID", help="whose dose is counted")
    parser.add_argument("--output", metavar="DIR", help="session folder (default sessions/<UTC time>-<rig>)")
    parser.add_argument("--dry-run", action="store_true", help="decide everything, fire nothing")
    parser.add_argument("--no-gui", action="store_true", help="live text instead of the window")
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """A rig, from baseline to report."""
    from rt_engine.commands.start_run import run_rig
    from rt_engine.interfaces.rig_config import load_rig
    from rt_engine.interfaces.shipped import find_rig

    rig = load_rig(find_rig(arguments.rig))
    if arguments.subject is not None:
        rig = rig.model_copy(update={"subject": arguments.subject})
    summary = run_rig(
        rig,
        kind="run",
        output=arguments.output,
        protocol=arguments.protocol or rig.protocol,
        calibration=arguments.calibration,
        baseline_s=arguments.baseline,
        duration_s=arguments.duration,
        window_of=None if arguments.no_gui else arguments.rig,
        dry_run=arguments.dry_run,
    )
    return write_json(arguments, summary)
