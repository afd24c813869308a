"""`spikeloop export`: a session as NWB."""

from __future__ import annotations

import argparse
from pathlib import Path

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, new_command


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop export`."""
    parser = new_command(
        commands,
        "export",
        "A session as an NWB file.",
        "spikeloop export sessions/20260101T120000-rig -o session.nwb",
    )
    parser.add_argument("session", metavar="SESSION")
    parser.add_argument("-o", "--output", metavar="X", required=True, help="file to write (.nwb)")
    parser.add_argument(
        "--frames",
        choices=("internal", "external", "none"),
        default="internal",
        help="inside the file (default), in a TIFF beside it, or left out",
    )
    parser.add_argument("--compress", action="store_true", help="gzip the frames: smaller, and slower to write")
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """A session as an NWB file."""
    from rt_engine.interfaces.errors import ConfigError
    from rt_engine.recording.reader import open_session
    from rt_engine.services.run_view import RunView

    target = Path(arguments.output)
    if target.suffix != ".nwb":
        raise ConfigError("must end in .nwb", key="-o", file=str(target))
    if not target.parent.is_dir():
        raise ConfigError("there is no such folder", "make it first", file=str(target.parent))
    try:
        from rt_engine.recording.nwb_export import Frames, NwbPlan, export_nwb
    except ImportError as error:
        raise ConfigError(
            f"NWB needs a package that is not installed ({error.name})", 'pip install "spikeloop[nwb]"'
        ) from error
    view = RunView()
    session = open_session(Path(arguments.session))
    plan = NwbPlan(target, Frames(arguments.frames), arguments.compress)
    counts = export_nwb(session, plan, view.progress)
    view.end_progress()
    if not session.is_complete:
        view.say(
            "the session is not complete: the file holds what is left, its notes say what is missing",
            "yellow",
        )
    if not counts.pop("subject"):
        view.say("no subject is known: archives want --subject at the run and `animal` in the rig file", "yellow")
    view.say(f"{target}: " + ", ".join(f"{n:,} {what}" for what, n in counts.items()))
    return write_json(arguments, counts)
