"""What a behaviour task tells or asks a session. No output is here: a request is a key that a rule awaits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.mqtt_config import CommandKind

if TYPE_CHECKING:
    from rt_engine.services.client_commands import Run

TRIAL_KEY = "trial_start"
"""Key that a protocol waits for to react to trial starts of the behaviour task."""
_LONGEST_NOTE = 2000
REQUEST_NOTE = "request "
"""How the note of a request in the journal begins; its name follows."""


def carry_out(run: Run, args: dict[str, Any]) -> dict[str, Any]:
    """Result of one command of a behaviour task.

    Parameters
    ----------
    run : Run
    args : dict
        `command` and `client`; of a mark `note`, of a trial `trial` and `kind`, of a request `name`;
        `sent_unix_ms` and `deadline_ns` where they were given.

    Raises
    ------
    ConfigError
        The kind is unknown, the session is not live, or no rule of the protocol waits for the request.
    """
    kind = args.get("command")
    if kind == CommandKind.MARK:
        _note(run, args, str(args.get("note"))[:_LONGEST_NOTE])
        return {}
    if kind == CommandKind.TRIAL:
        _note(run, args, f"trial {args.get('trial')} {args.get('kind') or ''}".rstrip())
        if run.phase != "live":
            return {"awaited": False}
        told = _press(run, TRIAL_KEY, args)
        return {"awaited": bool(told.get("awaited")) and not told.get("late")}
    if kind == CommandKind.REQUEST:
        return _request(run, args)
    raise ConfigError(f"{kind!r} is nothing that a behaviour task may send", f"known: {', '.join(CommandKind)}")


def _request(run: Run, args: dict[str, Any]) -> dict[str, Any]:
    name = str(args.get("name"))
    if run.phase != "live":
        raise ConfigError(f"the run is {run.phase}, not live", "ask again once it is live")
    told = _press(run, name, args)
    if told.get("late"):
        raise ConfigError(f"the request {name!r} came too late", "it is not carried out; send it again")
    if not told.get("awaited"):
        waits_for = ", ".join(told.get("keys") or ()) or "none"
        raise ConfigError(f"no rule of the protocol waits for {name!r}", f"keys it waits for: {waits_for}")
    _note(run, args, f"{REQUEST_NOTE}{name}")
    return {"awaited": True, "interlock": told.get("interlock")}


def _press(run: Run, key: str, args: dict[str, Any]) -> dict[str, Any]:
    deadline_ns = args.get("deadline_ns") or 0
    if not isinstance(deadline_ns, int):
        raise ConfigError(f"{str(deadline_ns)[:50]!r} is no time in nanoseconds", key="deadline_ns")
    return run.request("stimulation", "key", {"key": key, "deadline_ns": deadline_ns})


def _note(run: Run, args: dict[str, Any], text: str) -> None:
    fields = {"operator": f"mqtt:{args.get('client')}", "phase": run.phase, "kind": args.get("command")}
    fields |= {key: args[key] for key in ("trial", "sent_unix_ms") if isinstance(args.get(key), int | float | str)}
    run.note("mark", text, fields)
