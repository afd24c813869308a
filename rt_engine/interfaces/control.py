"""Control contract: MessagePack maps over ROUTER/DEALER, one reply for each request."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from rt_engine.interfaces.errors import ConfigError, MessageError, SpikeloopError

CONTROL_VERSION = 1
COMMANDS = (
    *("describe", "status", "arm", "disarm", "start", "stop", "pause", "trip", "reset"),
    *("set_protocol", "set_threshold", "calibrate", "rois_edit", "mark", "shutdown"),
)
"""Commands that any client may send; services among themselves use a few more."""

ANYONE = ("describe", "status", "trip")
"""What every role may ask for; nobody may be kept from a stop."""
_OF_SOURCE = (*ANYONE, "mark", "behaviour")
_OF_OPERATOR = (*COMMANDS, "behaviour", "press")


class Role(StrEnum):
    """Who asks."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    SOURCE = "source"
    SERVICE = "service"


def require_allowed(role: Role, cmd: str) -> None:
    """Refuse what a role may not ask for.

    Raises
    ------
    ConfigError
        Naming the role that could.
    """
    if role is Role.VIEWER and cmd not in ANYONE:
        raise ConfigError(f"a viewer may not {cmd}", "ask as an operator")
    if role is Role.SOURCE and cmd not in _OF_SOURCE:
        raise ConfigError(f"a source may not {cmd}", "ask as an operator")


def require_public(role: Role, cmd: str) -> None:
    """Refuse commands that services alone give each other, to whoever has shown by a key that he is none.

    Raises
    ------
    ConfigError
        It is none of the public commands.
    """
    if role is not Role.SERVICE and cmd not in _OF_OPERATOR:
        raise ConfigError(f"{cmd!r} is not a command for clients", f"known: {', '.join(COMMANDS)}")


class Request(msgspec.Struct, kw_only=True):
    """One command with its arguments."""

    v: int = CONTROL_VERSION
    id: str
    role: Role
    cmd: str
    args: dict[str, Any] = msgspec.field(default_factory=dict)


class Failure(msgspec.Struct, kw_only=True):
    """Why a command was not carried out, and what to do."""

    type: str
    message: str
    remedy: str = ""


class Reply(msgspec.Struct, kw_only=True, omit_defaults=False):
    """Answer to the request of the same `id`."""

    v: int = CONTROL_VERSION
    id: str
    ok: bool
    result: dict[str, Any] | None = None
    error: Failure | None = None


_REQUEST = msgspec.msgpack.Decoder(Request)
_REPLY = msgspec.msgpack.Decoder(Reply)
_ENCODER = msgspec.msgpack.Encoder()


def encode_control(message: Request | Reply) -> bytes:
    """Request or reply as a MessagePack map."""
    return _ENCODER.encode(message)


def decode_request(data: bytes) -> Request:
    """Validated request.

    Raises
    ------
    MessageError
        The bytes are no request, nested too deeply, or of another version.
    """
    try:
        request = _REQUEST.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageError(f"control request: {error}") from error
    if request.v != CONTROL_VERSION and request.cmd != "trip":  # a stop is understood from whomever
        raise MessageError(f"control request: version {request.v}, this program speaks {CONTROL_VERSION}")
    return request


def decode_reply(data: bytes) -> Reply:
    """Validated reply.

    Raises
    ------
    MessageError
        The bytes are no reply, or nested too deeply.
    """
    try:
        return _REPLY.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageError(f"control reply: {error}") from error


UNUSABLE = (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError)
"""What arguments of the wrong kind come to in the middle of a command."""


def failure_of_arguments(request: Request, error: Exception) -> Reply:
    """Reply to a command that could not be carried out with what came with it: whoever asks ends no service by it."""
    where, trace = "", error.__traceback__
    while trace is not None:
        where, trace = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}", trace.tb_next
    text = f"{request.cmd[:50]!r} cannot be carried out with these arguments"
    why = f"{type(error).__name__}: {str(error)[:200]} ({where})"
    return failure(request.id, MessageError(f"{text}: {why}", "docs/reference/wire.md says what commands take"))


def failure(request_id: str, error: SpikeloopError) -> Reply:
    """Reply that carries an error."""
    return Reply(
        id=request_id, ok=False, error=Failure(type=type(error).__name__, message=error.message, remedy=error.remedy)
    )
