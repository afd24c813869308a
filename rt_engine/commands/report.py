"""`spikeloop report`: the report of a session, written again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rt_engine.commands.parsers import Commands, new_command


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop report`."""
    parser = new_command(
        commands, "report", "Write report.html of a session.", "spikeloop report sessions/20260101T120000-rig"
    )
    parser.add_argument("session", metavar="SESSION")


def execute(arguments: argparse.Namespace) -> int:
    """The report of a session, written again."""
    from rt_engine.recording.reader import open_session
    from rt_engine.recording.report import write_report
    from rt_engine.services.conclusion import facts_again
    from rt_engine.services.protocol_results import effects_of

    session = open_session(Path(arguments.session))
    facts = None
    if not (session.folder / "summary.json").is_file():
        facts, concluded = facts_again(session)
        facts |= {"effects": effects_of(concluded)}
    sys.stdout.write(f"report: {write_report(Path(arguments.session), facts)}\n")
    return 0
