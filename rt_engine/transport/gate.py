"""What stands before a command: whose key it came with, and whether it has been here before."""

from __future__ import annotations

import hmac
from collections import OrderedDict

import msgspec
import zmq

from rt_engine.interfaces.control import Request, Role, require_allowed, require_public
from rt_engine.interfaces.errors import ConfigError, MessageError, SpikeloopError
from rt_engine.transport.refusals import Refusals
from rt_engine.transport.security import Guard, peer_address, peer_name

SECRET = "secret"
"""Argument in which a service shows the secret of its run; it is taken out before anybody else sees it."""
_BEFORE_THE_SECRET = ("join", "keep", "left")
"""Of the keeper of a service on another computer: the secret comes with the answer to the first."""
_REMEMBERED = 20_000
_LONGEST_ID = 128
_MAY_COME_AGAIN = ("trip", "announce", "keep", "status", "describe")
"""A stop that comes again stops again, a look changes nothing, services announce without an id, and other computers
say several times a second that they are there."""


class Gate:
    """Lets a request pass with the role that its sender's key has, once.

    Parameters
    ----------
    guard : Guard or None
        None where sockets are plain: on loopback a role is what the client says.
    refusals : Refusals, optional
        Where it is noted who was refused; those of the guard, where there is one.
    secret : str
        Of this run: where sockets are plain, who says that he is a service has to know it. Empty: he is believed.

    Attributes
    ----------
    refusals : Refusals
    """

    def __init__(self, guard: Guard | None, refusals: Refusals | None = None, secret: str = "") -> None:
        self._guard, self._secret = guard, secret
        self.refusals = guard.refusals if guard is not None else (refusals or Refusals())
        self._seen: OrderedDict[str, None] = OrderedDict()

    def is_service(self, part: zmq.Frame) -> bool:
        """True if a message may come from one of our own services."""
        if self._guard is None:
            return True
        name = peer_name(part)
        return name is not None and self._guard.role_of(name) is Role.SERVICE

    def admit(self, request: Request, part: zmq.Frame) -> Request:
        """The request with its true role.

        Raises
        ------
        ConfigError
            The role may not ask this, its key has been revoked, or it says that it is a service and is none.
        MessageError
            The same request has been carried out before.
        """
        try:
            admitted = self._with_true_role(request, part)
            self._require_new(admitted)
        except SpikeloopError as error:
            self.refusals.note(f"refused {request.cmd[:50]!r} ({self._who(request, part)}): {error.message[:200]}")
            raise
        return admitted

    def _who(self, request: Request, part: zmq.Frame) -> str:
        name = f"a {request.role} without key" if self._guard is None else f"key {peer_name(part)!r}"
        return f"{name}, {peer_address(part)}"

    def _with_true_role(self, request: Request, part: zmq.Frame) -> Request:
        if self._guard is None:
            if request.role is Role.SERVICE and request.cmd not in _BEFORE_THE_SECRET:
                self._require_secret(request)
            require_allowed(request.role, request.cmd)
            return request
        request.args.pop(SECRET, None)
        name = peer_name(part)
        role = None if name is None else self._guard.role_of(name)
        if role is None:
            raise ConfigError(f"the key {name!r} has been revoked", "ask for a new one: spikeloop keys new")
        require_allowed(role, request.cmd)
        require_public(role, request.cmd)
        return msgspec.structs.replace(request, role=role)

    def _require_secret(self, request: Request) -> None:
        given = str(request.args.pop(SECRET, ""))
        if self._secret and not hmac.compare_digest(given.encode(), self._secret.encode()):
            raise ConfigError("only a service of this run may ask as one", "ask as an operator")

    def _require_new(self, request: Request) -> None:
        if len(request.id) > _LONGEST_ID:
            raise MessageError(f"an id of {len(request.id)} characters", f"{_LONGEST_ID} at most; a UUID will do")
        if request.cmd in _MAY_COME_AGAIN:
            return
        if request.id in self._seen:
            raise MessageError(f"the request {request.id[:64]!r} has been carried out before", "give each its own id")
        self._seen[request.id] = None
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
