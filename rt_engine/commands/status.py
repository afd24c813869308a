"""`spikeloop status`: how a running rig is, in a few lines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, add_key, computer, new_command

_SESSIONS = "sessions"
"""Where a run without `--output` puts its session."""
_INTERVALS = ("scan_to_receive", "receive_to_decision", "decision_to_command", "scan_to_command")


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop status`."""
    parser = new_command(commands, "status", "How a running rig is, in a few lines.", "spikeloop status")
    parser.add_argument("--rig", metavar="RIG", default="virtual_rig", help="rig whose ports are used")
    parser.add_argument(
        "--connect", type=computer, metavar="HOST", help="computer of the rig (default: as in the rig file)"
    )
    add_key(parser)
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """0: it runs and nothing has tripped; 1: it does not answer, or is tripped.

    Raises
    ------
    ServiceError
        It does not answer; a session below the current folder that seems to have died is named.
    """
    from rt_engine.commands.ctl import ask_rig
    from rt_engine.interfaces.errors import ServiceError

    try:
        status = ask_rig(arguments, "status", {})
    except ServiceError as error:
        torn = unfinished(Path(_SESSIONS))
        if torn is None:
            raise
        remedy = f"{error.remedy} {torn} has no summary: if nobody runs it, spikeloop recover {torn}"
        raise ServiceError(error.message, remedy) from error
    sys.stdout.write("\n".join(status_lines(status)) + "\n")
    write_json(arguments, status)
    return 1 if status.get("interlock") == "tripped" else 0


def unfinished(sessions: Path) -> Path | None:
    """The newest session folder, if its run has not written a summary."""
    folders = [one for one in sessions.glob("*") if any(one.glob("session_*.mcap"))]
    if not folders:
        return None
    newest = max(folders, key=lambda one: one.stat().st_mtime)
    return None if (newest / "summary.json").exists() else newest


def status_lines(status: Mapping[str, Any]) -> list[str]:
    """The answer to `status` for people; what is wrong is marked with ``!``."""
    lock = str(status.get("interlock"))
    lines = [
        f"session     {status.get('session')}  {status.get('phase')}",
        f"folder      {status.get('folder')}",
        f"frames      {status.get('frames')}, {status.get('frames_lost')} lost",
        f"cells       {status.get('n_rois')}, {status.get('events')} events",
        f"interlock   {lock}" + (f"  ! {status.get('trip')}" if lock == "tripped" else ""),
    ]
    stim = status.get("stim") or {}
    lines.append("light       " + (", ".join(f"{n} {outcome}" for outcome, n in sorted(stim.items())) or "none"))
    for name, state in sorted((status.get("services") or {}).items()):
        pid = (status.get("pids") or {}).get(name)
        mark = "  !" if state == "failed" else ""
        lines.append(f"  {name:14} {state}{f' (process {pid})' if pid else ''}{mark}")
    latency_ms = status.get("latency_ms") or {}
    for interval in _INTERVALS:
        if (figures := latency_ms.get(interval)) is not None and "p50" in figures:
            lines.append(f"  {interval:20} p50 {figures['p50']:.2f} ms, p99 {figures['p99']:.2f} ms")
    return lines
