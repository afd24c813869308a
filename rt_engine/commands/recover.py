"""`spikeloop recover`: a crashed session made whole."""

from __future__ import annotations

import argparse
from pathlib import Path

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, new_command


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop recover`."""
    parser = new_command(
        commands, "recover", "Make a crashed session whole.", "spikeloop recover sessions/20260101T120000-rig"
    )
    parser.add_argument("session", metavar="SESSION")
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """A crashed session made whole."""
    from rt_engine.recording.reader import open_session
    from rt_engine.recording.recover import recover as make_whole
    from rt_engine.recording.wal_merge import StimulationLog
    from rt_engine.safety.wal import read_wal
    from rt_engine.services.conclusion import conclude_recovered
    from rt_engine.services.run_view import RunView

    path, view = Path(arguments.session), RunView()
    logs = []
    for file in sorted(open_session(path).folder.glob("stim_*.wal")):
        content = read_wal(file)
        logs.append(StimulationLog(file.name, content.records, content.torn))
    result = make_whole(path, view.progress, logs)
    view.end_progress()
    view.say(str(result))
    conclude_recovered(open_session(path).folder, result.folder, view)
    view.say(f"report, replay and export read {result.folder}")
    return write_json(arguments, result.as_dict())
