"""`spikeloop serve`: one service of a rig, on another computer than the run's."""

from __future__ import annotations

import argparse
import sys

from rt_engine.commands.parsers import Commands, new_command


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop serve`."""
    parser = new_command(
        commands,
        "serve",
        "Carry one service of a rig on this computer; the run is started elsewhere.",
        "spikeloop serve my_rig.yaml --service acquisition",
    )
    parser.add_argument("rig", metavar="RIG", help="the rig file, the same as where the run is started")
    parser.add_argument(
        "--service", required=True, metavar="NAME", help="as under ports.hosts: acquisition, inference, stimulation …"
    )
    parser.add_argument("--output", metavar="DIR", default="sessions", help="where session folders go (sessions)")
    parser.add_argument("--once", action="store_true", help="end after one run")


def execute(arguments: argparse.Namespace) -> int:
    """Wait for runs and serve them until Ctrl-C.

    Raises
    ------
    ConfigError
        The rig file cannot be used, or puts this service nowhere else.
    """
    import signal
    from pathlib import Path

    from rt_engine.interfaces.rig_config import load_rig
    from rt_engine.interfaces.shipped import find_rig
    from rt_engine.services.keeper import Keeper

    def say(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    rig = load_rig(find_rig(arguments.rig))
    keeper = Keeper(rig, arguments.service, Path(arguments.output), say)
    signal.signal(signal.SIGINT, lambda number, frame: keeper.stopping.set())
    try:
        keeper.run(1 if arguments.once else None)
    finally:
        keeper.close()
    return 0
