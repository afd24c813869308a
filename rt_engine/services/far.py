"""Services on other computers, as the supervisor sees them: who has come, who is silent, how their clocks stand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.control import Request, Role
from rt_engine.interfaces.errors import ConfigError, MessageError, ServiceError
from rt_engine.interfaces.messages import ClockHeader
from rt_engine.services.revocations import Revocations
from rt_engine.services.setup import Setup, far_services
from rt_engine.transport.clock_offset import Offset
from rt_engine.transport.publisher import Publisher

COMMANDS = ("join", "keep", "left")
KEEP_PERIOD_NS = NS_PER_S // 4
"""How often the keeper of a far service says that it is there, and measures the clock."""
SILENT_NS = 3 * NS_PER_S
"""Silence of a keeper that is said; the interlock judges by the messages of the services, and sooner."""
LOST_NS = 60 * NS_PER_S
"""Silence after which either side gives the other up. Until then a link that comes back goes on as before."""
_GONE = -1
Say = Callable[[str, str], None]


class FarService:
    """Stands in the supervisor's table where a local service has its process.

    Attributes
    ----------
    exitcode : int or None
        As its keeper has told; -1 where it was given up; None while it lives.
    pid : int
        0: what it is on its own computer means nothing here.
    """

    pid = 0

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        self.exitcode: int | None = None
        self.joined = False
        self.heard_ns = 0
        self.is_silent = False

    def is_alive(self) -> bool:
        """True while its keeper has not said otherwise."""
        return self.joined and self.exitcode is None

    def kill(self) -> None:
        """Give it up: its keeper ends it when it learns that this session is over."""
        self.exitcode = _GONE

    def join(self, timeout_s: float | None = None) -> None:
        """Nothing is waited for: its end is told by its keeper."""


class FarServices:
    """Answers the keepers (`services.keeper`), publishes topic `clock`.

    Parameters
    ----------
    setup : Setup
        Of the session.
    clock : Clock
    publisher : Publisher
        Of the supervisor.
    say : callable
        Told a level and a sentence.
    """

    def __init__(self, setup: Setup, clock: Clock, publisher: Publisher, say: Say) -> None:
        self._setup, self._clock, self._publisher, self._say = setup, clock, publisher, say
        far = far_services(setup.rig_config())
        self.services = {name: FarService(name, address) for name, address in far.items()}
        self._revocations = Revocations(setup.rig_config().keys, clock, say)

    def handle(self, request: Request) -> dict[str, Any]:
        """Answer one of `COMMANDS`.

        Raises
        ------
        ConfigError
            The sender is none of our services, or asks for what is not wanted from elsewhere.
        MessageError
            Its figures make no sense.
        ServiceError
            The service has been here already, and is over.
        """
        if request.role is not Role.SERVICE:
            raise ConfigError(f"{request.cmd!r} is for services of the rig", "show the rig's own key")
        name = str(request.args.get("service"))[:100]
        far = self.services.get(name)
        if far is None:
            wanted = ", ".join(self.services) or "none"
            raise ConfigError(f"{name!r} is not awaited from another computer (awaited: {wanted})", "key ports.hosts")
        if request.cmd == "join":
            return self._join(far, request.args)
        if not far.joined:
            raise ServiceError(f"{name} has not joined this session", "join it")
        if request.args.get("session") != self._setup.session:
            raise ServiceError(f"this session is {self._setup.session}, not that of {name}", "join it")
        if request.cmd == "left":
            return self._left(far, request.args)
        return self._keep(far, request.args)

    def awaited(self) -> list[FarService]:
        """Those that have not come yet."""
        return [one for one in self.services.values() if not one.joined]

    def tend(self) -> None:
        """Say who is silent, and give up who has been for too long."""
        now_ns = self._clock.now_ns()
        for one in self.services.values():
            if not one.is_alive():
                continue
            silent_ns = now_ns - one.heard_ns
            if silent_ns > SILENT_NS and not one.is_silent:
                one.is_silent = True
                self._say("error", f"no word from {one.address} ({one.name}) for {silent_ns / NS_PER_S:.1f} s")
            if silent_ns > LOST_NS:
                one.exitcode = _GONE

    def _join(self, far: FarService, args: dict[str, Any]) -> dict[str, Any]:
        if far.joined:
            raise ServiceError(f"{far.name} has joined this session already", "wait for the next run")
        far.joined, far.heard_ns = True, self._clock.now_ns()
        self._say("info", f"{far.name} runs on {far.address}")
        self._revocations.take(args, far.address)
        return self._revocations.told() | {
            "setup": dataclasses.asdict(dataclasses.replace(self._setup, service=far.name, far=True))
        }

    def _left(self, far: FarService, args: dict[str, Any]) -> dict[str, Any]:
        code = args.get("exit_code")
        far.exitcode = code if isinstance(code, int) else _GONE
        return {}

    def _keep(self, far: FarService, args: dict[str, Any]) -> dict[str, Any]:
        now_ns = self._clock.now_ns()
        if far.is_silent:
            far.is_silent = False
            silent_s = (now_ns - far.heard_ns) / NS_PER_S
            self._say("warning", f"{far.address} ({far.name}) is back after {silent_s:.1f} s")
        far.heard_ns = now_ns
        if "offset_ns" in args:
            offset = Offset(*(_whole_ns(args, key) for key in Offset._fields))
            stamp = self._publisher.stamp("clock")
            self._publisher.send("clock", ClockHeader(**stamp, peer=far.address, **offset._asdict()))
        self._revocations.take(args, far.address)
        return self._revocations.told() | {"t_ns": now_ns}


def _whole_ns(args: dict[str, Any], key: str) -> int:
    value = args.get(key)
    if not isinstance(value, int) or abs(value) >= 1 << 62:
        raise MessageError(f"{key} of a clock is not in whole nanoseconds: {str(value)[:50]}")
    return value
