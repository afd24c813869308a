"""Free ports for a run that shares its computer with others of its kind."""

from __future__ import annotations

import random
import socket

from rt_engine.interfaces.errors import ServiceError
from rt_engine.interfaces.rig_config import MAX_PLANES, RigConfig

_LOOPBACK = "127.0.0.1"
_FIRST, _LAST = 12_000, 31_000
"""Below what systems hand out by themselves, so that no connection of another program takes one meanwhile."""
_TRIES = 200


def with_own_ports(rig: RigConfig) -> RigConfig:
    """The rig on free ports of this computer's loopback, without keys: nobody else is meant to reach it.

    Raises
    ------
    ServiceError
        There is no room.
    """
    names = [name for name in rig.ports.all_ports() if name != "inference"]
    first = _free_block(len(names) + MAX_PLANES)
    own = {name: first + i for i, name in enumerate(names)} | {"inference": first + len(names)}
    ports = rig.ports.model_copy(update={**own, "host": _LOOPBACK, "hosts": {}})
    return rig.model_copy(update={"ports": ports, "keys": None})


def _free_block(n: int) -> int:
    """First of `n` ports in a row that are free; where to look is drawn by the system, so that two do not agree."""
    draw = random.SystemRandom()
    for _ in range(_TRIES):
        first = draw.randrange(_FIRST, _LAST - n)
        if all(_is_free(port) for port in range(first, first + n)):
            return first
    raise ServiceError(f"no {n} free ports in a row between {_FIRST} and {_LAST}", "end some programs")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True
