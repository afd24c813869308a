"""`spikeloop ctl`: one command to a running rig."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, add_key, computer, new_command, not_negative
from rt_engine.interfaces.errors import ConfigError


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop ctl`."""
    parser = new_command(
        commands, "ctl", "Command a running rig.", 'spikeloop ctl reset "fibre replaced", or: spikeloop ctl status'
    )
    known = (
        *("status", "arm", "disarm", "pause", "start", "mark", "stop", "trip", "reset", "describe"),
        *("rois_edit", "set_threshold", "set_protocol", "press"),
    )
    parser.add_argument("cmd", metavar="CMD", choices=known, help=", ".join(known))
    parser.add_argument(
        "text",
        metavar="ARGS",
        nargs="*",
        help="reset: the reason; trip: why; arm: who; mark: a note; press: a virtual line; "
        "set_protocol: a name (disarms); "
        "set_threshold: false events per cell and minute, or ROI=Z …; "
        "rois_edit: add N | reject N (a candidate), remove ROI …, merge ROI ROI …, tag NAME ROI …",
    )
    parser.add_argument("--dry", action="store_true", help="set_threshold: tell the consequence, change nothing")
    parser.add_argument("--plane", type=not_negative, metavar="N", help="rois_edit, set_threshold: of several planes")
    parser.add_argument("--rig", metavar="RIG", default="virtual_rig", help="rig whose ports are used")
    parser.add_argument(
        "--connect", type=computer, metavar="HOST", help="computer of the rig (default: as in the rig file)"
    )
    add_key(parser)
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """One command to a running rig."""
    result = ask_rig(arguments, arguments.cmd, _arguments_of(arguments))
    sys.stdout.write(json.dumps(result, indent=1, default=str) + "\n")
    return write_json(arguments, result)


def ask_rig(arguments: argparse.Namespace, cmd: str, args: dict[str, Any]) -> dict[str, Any]:
    """Result of one command, asked of the rig that `--rig`, `--connect` and `--key` name.

    Raises
    ------
    ConfigError
        The rig file or the key cannot be used.
    ServiceError
        Nobody answers, or the command was refused.
    """
    import zmq

    from rt_engine.interfaces.control import Role
    from rt_engine.interfaces.rig_config import load_rig
    from rt_engine.interfaces.shipped import find_rig
    from rt_engine.transport.client_keys import secure_from_command
    from rt_engine.transport.control import ControlClient

    rig = load_rig(find_rig(arguments.rig))
    ports = rig.ports if arguments.connect is None else rig.ports.model_copy(update={"host": arguments.connect})
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    secure_from_command(context, arguments.key, rig.keys)
    port = "stimulation_control" if cmd == "trip" else "control"
    client = ControlClient(context, ports.endpoint(port), Role.OPERATOR)
    try:
        return client.request(cmd, args)
    finally:
        client.close()
        context.destroy(linger=0)


def _arguments_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Arguments of the command that was typed.

    Raises
    ------
    ConfigError
        One is missing.
    """
    from rt_engine.interfaces.clock import MonotonicClock

    text = " ".join(arguments.text)
    names = {"trip": "text", "reset": "reason", "arm": "operator", "disarm": "reason", "mark": "note", "press": "line"}
    names["set_protocol"] = "name"
    args: dict[str, Any] = {names[arguments.cmd]: text} if arguments.cmd in names and text else {}
    if arguments.cmd == "rois_edit":
        args = _edit(arguments.text)
    elif arguments.cmd == "set_threshold":
        args = _thresholds(arguments.text) | {"dry": arguments.dry}
    if arguments.plane is not None:
        args["plane"] = arguments.plane
    if arguments.cmd == "reset" and not text:
        raise ConfigError("a reset needs a reason", 'spikeloop ctl reset "why light may be allowed again"')
    if arguments.cmd == "arm" and not text:
        raise ConfigError("arming needs the name of the operator", "spikeloop ctl arm NAME")
    if arguments.cmd == "set_protocol" and not text:
        raise ConfigError(
            "which protocol?", "spikeloop ctl set_protocol NAME, a shipped one or a file of the run's folder"
        )
    if arguments.cmd == "trip" and arguments.connect is None:  # another computer has another clock
        args["t_asked_ns"] = MonotonicClock().now_ns()
    return args


def _edit(words: list[str]) -> dict[str, Any]:
    """Arguments of `rois_edit`.

    Raises
    ------
    ConfigError
        Naming what is missing.
    """
    action, *rest = words or [""]
    if action in ("add", "reject") and len(rest) == 1:
        return {"action": action, "candidate_id": _whole(rest[0])}
    if action in ("remove", "merge") and rest:
        return {"action": action, "roi_ids": [_whole(word) for word in rest]}
    if action == "tag" and len(rest) >= 2:
        return {"action": action, "tag": rest[0], "roi_ids": [_whole(word) for word in rest[1:]]}
    raise ConfigError(
        f"rois_edit cannot do {' '.join(words)!r}", "add N, reject N, remove ROI …, merge ROI ROI …, or tag NAME ROI …"
    )


def _thresholds(words: list[str]) -> dict[str, Any]:
    """Arguments of `set_threshold`.

    Raises
    ------
    ConfigError
        Naming what is no number.
    """
    try:
        if len(words) == 1 and "=" not in words[0]:
            return {"false_alarms_per_min": float(words[0])}
        pairs = [word.split("=", 1) for word in words]
        if pairs:
            return {"thresholds": {roi: float(z) for roi, z in pairs}}
    except ValueError:
        pass
    raise ConfigError(
        f"set_threshold cannot use {' '.join(words)!r}", "one rate (0.5), or thresholds by cell (12=4.5 17=5)"
    )


def _whole(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise ConfigError(f"{word!r} is no number", "give the id that topic rois, or candidates, tells") from None
