"""`spikeloop gui`: the window alone, on this computer or another one."""

from __future__ import annotations

import argparse
import os

from rt_engine.commands.parsers import Commands, add_key, computer, new_command


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop gui`."""
    parser = new_command(
        commands, "gui", "The live window of a rig that runs, or will run.", "spikeloop gui --rig virtual_rig"
    )
    parser.add_argument("--connect", type=computer, metavar="HOST", help="computer of the rig (default: this one)")
    parser.add_argument("--rig", metavar="RIG", default="virtual_rig", help="rig whose ports are used")
    parser.add_argument("--review", metavar="SESSION", help="open a recorded session, finished or crashed, to look at")
    add_key(parser)
    parser.add_argument("--settings", metavar="FILE", help="what the window remembers (default: of this user)")
    parser.add_argument("--only-one", action="store_true", help="do nothing if this rig has a window here already")


def execute(arguments: argparse.Namespace) -> int:
    """Show the window until it is closed.

    Raises
    ------
    ConfigError
        The extra `gui` is not installed, or the rig file cannot be used.
    """
    from pathlib import Path

    from rt_engine.commands.window_process import has_display, why_no_window
    from rt_engine.interfaces.errors import ConfigError
    from rt_engine.interfaces.rig_config import load_rig
    from rt_engine.interfaces.shipped import find_rig

    rig = load_rig(find_rig(arguments.rig))
    reason = why_no_window()
    if reason:
        raise ConfigError(f"no window: {reason}")
    if not has_display() and "QT_QPA_PLATFORM" not in os.environ:
        raise ConfigError("no window: there is no display", "log in at the screen, or forward one (ssh -X)")

    from gui.endpoints import Endpoints
    from gui.launch import main

    return main(
        Endpoints(arguments.connect or rig.ports.host, rig.ports, rig.planes_inferred),
        Path(arguments.settings) if arguments.settings else None,
        rig=arguments.rig,
        review=Path(arguments.review) if arguments.review else None,
        only_one=arguments.only_one,
        key_file=arguments.key,
        keys_folder=rig.keys,
    )
