"""`spikeloop ctl`: one command to a running rig."""

from __future__ import annotations

import argparse
import json
import sys

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, new_command
from rt_engine.interfaces.errors import ConfigError


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop ctl`."""
    parser = new_command(
        commands, "ctl", "Command a running rig.", 'spikeloop ctl reset "fibre replaced", or: spikeloop ctl status'
    )
<<<<<<< ours
    known = ("status", "arm", "disarm", "pause", "start", "mark", "stop", "trip", "reset", "press", "describe")
    parser.add_argument("cmd", metavar="CMD", choices=known, help=", ".join(known))
    what = "reset, trip: why; arm: who; mark: a note; press: a virtual line"
    parser.add_argument("text", metavar="ARGS", nargs="*", help=what)
    parser.add_argument("--rig", metavar="RIG", default="virtual_rig", help="rig whose ports are used")
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """One command to a running rig."""
    import zmq

    from rt_engine.interfaces.clock import MonotonicClock
    from rt_engine.interfaces.control import Role
    from rt_engine.interfaces.rig_config import load_rig
    from rt_engine.interfaces.shipped import find_rig
    from rt_engine.transport.control import ControlClient

    ports = load_rig(find_rig(arguments.rig)).ports
    text = " ".join(arguments.text)
<<<<<<< ours
    names = {"trip": "text", "reset": "reason", "arm": "operator", "disarm": "reason", "mark": "note", "press": "line"}
    args: dict[str, str | int] = {names[arguments.cmd]: text} if arguments.cmd in names and text else {}
    if arguments.cmd == "reset" and not text:
        raise ConfigError("a reset needs a reason", 'spikeloop ctl reset "why light may be allowed again"')
    if arguments.cmd == "arm" and not text:
        raise ConfigError("arming needs the name of the operator", "spikeloop ctl arm NAME")
    if arguments.cmd == "trip":
        args["t_asked_ns"] = MonotonicClock().now_ns()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    port = "stimulation_control" if arguments.cmd == "trip" else "control"
    client = ControlClient(context, ports.endpoint(port), Role.OPERATOR)
    try:
        result = client.request(arguments.cmd, args)
    finally:
        client.close()
        context.destroy(linger=0)
    sys.stdout.write(json.dumps(result, indent=1, default=str) + "\n")
    return write_json(arguments, result)
