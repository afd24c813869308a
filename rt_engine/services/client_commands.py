"""Commands from outside, `spikeloop ctl` or the window: who may ask what, and who carries it out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from protocols.load import find_protocol
from rt_engine.interfaces.control import ANYONE, Request, require_allowed
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.messages import Mode
from rt_engine.services.behaviour import carry_out
from rt_engine.services.commands_by_plane import by_plane

_OF_STIMULATION = ("arm", "disarm", "trip", "reset", "set_protocol")
_OF_ACQUISITION = ("press",)
_OF_INFERENCE = ("rois_edit", "set_threshold")
_KNOWN = (*ANYONE, "mark", "pause", "start", "stop", "shutdown", *_OF_STIMULATION[:2], "reset", "set_protocol", "press")
MAX_NOTE_CHARACTERS = 2000
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,100}")


class Run(Protocol):
    """What a running session lets clients do to it."""

    @property
    def phase(self) -> str:
        """``live``, ``paused``, or what comes before and after."""
        ...

    @property
    def engines(self) -> dict[int, str]:
        """Plane to the service that infers it."""
        ...

    def status(self) -> dict[str, Any]:
        """Everything that `status` tells."""
        ...

    def enter(self, phase: str) -> None:
        """Another phase of the session has begun."""
        ...

    def end(self) -> None:
        """The user wants the session to end."""
        ...

    def note(self, level: str, text: str, fields: dict[str, Any]) -> None:
        """Publish and record a sentence."""
        ...

    def request(self, service: str, cmd: str, args: dict[str, Any]) -> dict[str, Any]:
        """Result of a command to a service."""
        ...


def named_protocol(args: dict[str, Any]) -> Path:
    """The protocol that a client asks for by name: a shipped one, or a file where the run was started, nowhere else.

    Raises
    ------
    ConfigError
        It is no name, or there is no such protocol.
    """
    name = str(args.get("path") or args.get("name") or "")
    if not _PLAIN_NAME.fullmatch(name):
        raise ConfigError(f"{name[:100]!r} is not the name of a protocol", "letters, digits, '_', '.' and '-'")
    return find_protocol(name)


class ClientCommands:
    """Carries out one request at a time.

    Parameters
    ----------
    run : Run
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._own: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "status": self._status,
            "describe": self._describe,
            "mark": self._mark,
            "pause": self._pause,
            "start": self._start,
            "stop": self._stop,
            "shutdown": self._stop,
            "behaviour": lambda args: carry_out(self._run, args),
        }

    def handle(self, request: Request) -> dict[str, Any]:
        """Result of one command.

        Raises
        ------
        ConfigError
            The role may not ask this, or there is no such command.
        ServiceError
            The service that should carry it out refused, or did not answer.
        """
        cmd = request.cmd
        require_allowed(request.role, cmd)
        if cmd in self._own:
            return self._own[cmd](request.args)
        if cmd == "calibrate":
            raise ConfigError(
                "a session keeps the calibration that it began with",
                "`spikeloop calibrate SESSION -o NEW.h5` works on what is recorded so far; then end this run and start "
                "one with --calibration NEW.h5",
                key=cmd,
            )
        args = request.args | {"role": request.role}
        if cmd == "set_protocol":
            args["path"] = str(named_protocol(request.args))
        if cmd in _OF_STIMULATION:
            return self._run.request("stimulation", cmd, args)
        if cmd in _OF_ACQUISITION:
            return self._run.request("acquisition", cmd, args)
        if cmd in _OF_INFERENCE:
            return self._of_cells(cmd, args)
        raise ConfigError(f"{cmd!r} is not a command of a running rig", f"known: {', '.join(_KNOWN)}")

    def _of_cells(self, cmd: str, args: dict[str, Any]) -> dict[str, Any]:
        engines = self._run.engines
        asked = by_plane(cmd, args, engines)
        if not args.get("dry") and args.get("action") != "reject":
            # Nobody is armed while what he was armed for changes.
            self._run.request("stimulation", "disarm", {"reason": cmd})
        results = {plane: self._run.request(engines[plane], cmd, own) for plane, own in asked.items()}
        return (
            next(iter(results.values())) if len(results) == 1 else {"planes": {str(p): r for p, r in results.items()}}
        )

    def _status(self, args: dict[str, Any]) -> dict[str, Any]:
        return self._run.status()

    def _describe(self, args: dict[str, Any]) -> dict[str, Any]:
        """Status; and every engine sends its cells with their footprints, for those who came late."""
        for service in self._run.engines.values():
            self._run.request(service, "describe", {})
        return self._run.status()

    def _mark(self, args: dict[str, Any]) -> dict[str, Any]:
        note = str(args.get("note") or "").strip()
        if len(note) > MAX_NOTE_CHARACTERS:
            raise ConfigError(f"has {len(note)} characters", f"{MAX_NOTE_CHARACTERS} at most", key="note")
        fields = {"operator": str(args.get("operator") or "")[:100], "phase": self._run.phase}
        self._run.note("mark", note, fields)
        if note and self._run.phase == "live":
            self._run.request("stimulation", "key", {"key": note})
        return {"note": note}

    def _pause(self, args: dict[str, Any]) -> dict[str, Any]:
        """Frames go on and are recorded; nothing is decided, so no light follows."""
        if self._run.phase not in ("live", "paused"):
            raise ConfigError(f"the run is {self._run.phase}, not live", "pause once it is live")
        self._everywhere(Mode.PAUSED)
        self._run.enter("paused")
        return {"state": "paused"}

    def _start(self, args: dict[str, Any]) -> dict[str, Any]:
        """Decide again after a pause."""
        if self._run.phase != "paused":
            raise ConfigError(f"the run is {self._run.phase}, not paused", "`start` goes on after `pause`")
        self._everywhere(Mode.LIVE)
        self._run.enter("live")
        return {"state": "live"}

    def _everywhere(self, mode: Mode) -> None:
        for service in self._run.engines.values():
            self._run.request(service, "mode", {"mode": mode.value})

    def _stop(self, args: dict[str, Any]) -> dict[str, Any]:
        self._run.end()
        return {"state": "stopping"}
