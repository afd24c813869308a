"""`spikeloop diff`: where two sessions first differ."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, new_command, not_negative


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop diff`."""
    parser = new_command(
        commands,
        "diff",
        "Where two sessions first differ, and why; exit code 1 if they do.",
        "spikeloop diff sessions/monday sessions/monday-replay",
    )
    parser.add_argument("a", metavar="A", help="session folder")
    parser.add_argument("b", metavar="B", help="session folder")
    parser.add_argument("--plane", type=not_negative, metavar="N", help="from 0 (default: all)")
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Where two sessions first differ."""
    from rt_engine.recording.reader import open_session
    from rt_engine.recording.session_diff import compare

    found = compare(open_session(Path(arguments.a)), open_session(Path(arguments.b)), arguments.plane)
    sys.stdout.write("\n".join(found.lines()) + "\n")
    write_json(arguments, asdict(found) | {"same": found.same})
    return 0 if found.same else 1
