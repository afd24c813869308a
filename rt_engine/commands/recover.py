"""`spikeloop recover`: a crashed session made whole."""

from __future__ import annotations

import argparse
from pathlib import Path

from rt_engine.commands.parsers import Commands, new_command


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop recover`."""
    parser = new_command(
        commands, "recover", "Make a crashed session whole.", "spikeloop recover sessions/20260101T120000-rig"
    )
    parser.add_argument("session", metavar="SESSION")


def execute(arguments: argparse.Namespace) -> int:
    """A crashed session made whole."""
    from rt_engine.recording.recover import recover as make_whole
    from rt_engine.safety.wal import read_wal
    from rt_engine.services.run_view import RunView

    folder, view = Path(arguments.session), RunView()
    logs = [read_wal(path) for path in sorted(folder.glob("stim_*.wal"))]
    result = make_whole(folder, view.progress, [record for log in logs for record in log.records])
    view.end_progress()
    view.say(str(result))
    return 0
