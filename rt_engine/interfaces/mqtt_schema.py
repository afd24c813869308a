"""MQTT contract, version 1: topics, and payloads as JSON objects.

Every topic begins with ``<prefix>/v1/<rig>``. Readers ignore unknown keys of what the rig sends; the rig refuses
unknown keys of what it is sent. Times `t_unix_ms` are wall time, milliseconds since 1970. See docs/reference/mqtt.md.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

import msgspec

from rt_engine.interfaces.control import Failure
from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.mqtt_config import CommandKind

SCHEMA_VERSION = 1
MAX_COMMAND_BYTES = 16 * 1024
_CLIENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Note = Annotated[str, msgspec.Meta(max_length=2000)]
UnixMs = Annotated[int, msgspec.Meta(ge=0, le=2**52)]


def root_topic(prefix: str, rig: str) -> str:
    """What every topic of a rig begins with."""
    return f"{prefix}/v{SCHEMA_VERSION}/{rig}"


class Published(msgspec.Struct, kw_only=True):
    """Keys of everything that the rig publishes."""

    v: int = SCHEMA_VERSION
    session: str
    t_unix_ms: int


class Status(Published, kw_only=True):
    """``status``, retained: ``online``, ``offline`` (ended in order) or ``lost`` (last will)."""

    state: str


class SessionFacts(Published, kw_only=True):
    """``session``, retained: which session, and how far it is."""

    rig: str
    phase: str
    protocol: str | None
    subject: str | None
    started_utc: str


class Heartbeat(Published, kw_only=True):
    """``heartbeat``, once a second; its age is the surest sign of life."""

    uptime_s: float
    interlock: str
    services: dict[str, str]


class InterlockState(Published, kw_only=True):
    """``state``, retained: interlock and protocol as they are now."""

    interlock: str
    inhibited: bool
    n_trips: int
    trip: dict[str, Any] | None
    preconditions: dict[str, bool]
    remedies: dict[str, str]
    protocol: str | None
    protocol_phase: str | None
    trial: int
    arm: str | None
    counts: dict[str, int]
    effect: dict[str, float] | None


class Dose(Published, kw_only=True):
    """``dose``, retained: totals and used fractions of the limits, by output; and of the session."""

    outputs: dict[str, dict[str, Any]]
    session_dose: dict[str, Any]


class Rates(Published, kw_only=True):
    """``rates``, once a second: events of the last second. `by_cell`: `roi_id` to events, the most active ones."""

    window_s: float
    n_cells: int
    events: int
    rate_hz: float | None
    active_cells: int
    frames: int
    by_cell: dict[str, int]


class Latency(Published, kw_only=True):
    """``latency``, every five seconds: service to interval to p50, p99, p999, max in milliseconds."""

    services: dict[str, dict[str, dict[str, float]]]


class Losses(Published, kw_only=True):
    """``losses``, once a second: what every service dropped, missed or was late with; and of MQTT itself: messages that
    were not published, commands that were refused."""

    services: dict[str, dict[str, int]]
    fates: dict[str, int]
    mqtt_dropped: int
    mqtt_refused: int


class Stim(Published, kw_only=True):
    """``stim``: what became of one decision. A train that was cut comes twice, with the same `decision_id`."""

    decision_id: str
    outcome: str
    reason: str | None
    rule: str
    arm: str
    plane: int
    frame: int
    roi_ids: list[int]
    target_ids: list[int]
    output: str | None
    pulses: int | None
    width_us: int | None
    power_uw: list[int] | None
    energy_nj: list[int] | None
    scan_to_command_ms: float | None
    t_command_unix_ms: int | None


class Trip(Published, kw_only=True):
    """``trip``: the interlock has tripped."""

    signal: str
    text: str
    value: str
    limit: str
    dark_after_ms: float | None


class Mark(Published, kw_only=True):
    """``mark``: a named moment, of a protocol, a person, or a behaviour task."""

    text: str
    source: str


class Message(Published, kw_only=True):
    """``message/<topic>``: what a protocol says with the action `message`."""

    text: str
    t_scan_unix_ms: int | None


class LogLine(Published, kw_only=True):
    """``log``: warnings and errors, as sentences."""

    level: str
    source: str
    text: str


class CommandReply(Published, kw_only=True):
    """``reply/<client>``: what became of the command with this `id`."""

    id: str
    ok: bool
    result: dict[str, Any] | None = None
    error: Failure | None = None


class Command(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Keys of everything that the rig is sent. The same `id` again is answered again, and carried out once."""

    v: int = SCHEMA_VERSION
    id: Id


class MarkCommand(Command, kw_only=True):
    """``cmd/<client>/mark``: a named moment for the record; nothing reacts to it."""

    note: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
    sent_unix_ms: UnixMs | None = None


class TrialCommand(Command, kw_only=True):
    """``cmd/<client>/trial``: a trial of the behaviour task begins; a protocol may wait for key ``trial_start``."""

    trial: Annotated[int, msgspec.Meta(ge=0, le=2**31)]
    kind: Note = ""
    sent_unix_ms: UnixMs


class RequestCommand(Command, kw_only=True):
    """``cmd/<client>/request``: the protocol is told key `name`; whether light follows is its and the interlock's."""

    name: Name
    sent_unix_ms: UnixMs


class TripCommand(Command, kw_only=True):
    """``cmd/<client>/trip``: dark, at once."""

    text: Note = ""


AnyCommand = MarkCommand | TrialCommand | RequestCommand | TripCommand
_KINDS: dict[CommandKind, type[AnyCommand]] = {
    CommandKind.MARK: MarkCommand,
    CommandKind.TRIAL: TrialCommand,
    CommandKind.REQUEST: RequestCommand,
    CommandKind.TRIP: TripCommand,
}
_DECODERS = {kind: msgspec.json.Decoder(struct) for kind, struct in _KINDS.items()}
_ENCODER = msgspec.json.Encoder()
_LOOSE_ID = msgspec.json.Decoder(dict[str, Any])

P = TypeVar("P", bound=Published)


def encode_published(payload: Published) -> bytes:
    """JSON object; a number that is none becomes null."""
    return _ENCODER.encode(payload)


def sender_and_kind(topic: str, root: str) -> tuple[str, str]:
    """Client and kind of a command topic, ``<root>/cmd/<client>/<kind>``.

    Raises
    ------
    MessageError
        The topic is no command, or the client's name could not stand in a topic or a file.
    """
    parts = topic.removeprefix(f"{root}/cmd/").split("/")
    if not topic.startswith(f"{root}/cmd/") or len(parts) != 2 or not _CLIENT.fullmatch(parts[0]):
        raise MessageError(f"topic {topic[:200]!r} is no command", f"publish to {root}/cmd/CLIENT/mark, or trial …")
    return parts[0], parts[1]


def decode_command(kind: str, data: bytes) -> tuple[CommandKind, AnyCommand]:
    """A validated command.

    Raises
    ------
    MessageError
        Unknown kind, too long, no JSON, a missing, mistyped or unknown key, or another version.
    """
    known = ", ".join(CommandKind)
    if kind not in tuple(CommandKind):
        raise MessageError(f"there is no command {kind[:64]!r}", f"known: {known}")
    if len(data) > MAX_COMMAND_BYTES:
        raise MessageError(f"the command has {len(data)} bytes", f"{MAX_COMMAND_BYTES} at most")
    try:
        command = _DECODERS[CommandKind(kind)].decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"{kind}: {error}", "see docs/reference/mqtt.md") from error
    if command.v != SCHEMA_VERSION:
        raise MessageError(f"{kind}: schema version {command.v}, this program speaks {SCHEMA_VERSION}")
    return CommandKind(kind), command


def id_of(data: bytes) -> str:
    """`id` of a command that could not be used, for its reply; empty where there is none."""
    if len(data) > MAX_COMMAND_BYTES:
        return ""
    try:
        found = _LOOSE_ID.decode(data).get("id")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return found[:64] if isinstance(found, str) else ""
