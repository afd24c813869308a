"""Commands of behaviour tasks: judged, carried out once, answered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S
from rt_engine.interfaces.control import Failure, Reply
from rt_engine.interfaces.errors import ConfigError, MessageError, SpikeloopError
from rt_engine.interfaces.mqtt_config import CommandKind, MqttConfig
from rt_engine.interfaces.mqtt_schema import (
    AnyCommand,
    CommandReply,
    RequestCommand,
    TrialCommand,
    TripCommand,
    decode_command,
    encode_published,
    id_of,
    sender_and_kind,
)
from rt_engine.transport.mqtt_outbox import MqttOutbox, Outgoing

REMEMBERED = 20_000
"""Commands whose ids are known, so that the same one again has no second effect."""
MAX_PER_S = 200
"""More commands of one second than this are refused: a task that has run away."""

Ask = Callable[[str, dict[str, Any], Callable[[Reply], None]], None]


class MqttCommands:
    """Takes what came over MQTT; hands what may pass to the supervisor, a trip to the stimulation service.

    Parameters
    ----------
    config : MqttConfig
    root : str
        What every topic begins with.
    outbox : MqttOutbox
        Replies go there.
    ask, trip : callable
        Take a command, its arguments, and who is to be told the reply.
    stamp : callable
        Common keys of a reply.
    wall_ms : callable
        Wall time now, milliseconds since 1970.
    refused : callable
        Is told who was refused what, for the log.
    """

    def __init__(
        self,
        config: MqttConfig,
        root: str,
        outbox: MqttOutbox,
        *,
        ask: Ask,
        trip: Ask,
        stamp: Callable[[], dict[str, Any]],
        wall_ms: Callable[[], int],
        refused: Callable[[str], None],
    ) -> None:
        self._config, self._root, self._outbox = config, root, outbox
        self._ask, self._trip, self._stamp, self._wall_ms = ask, trip, stamp, wall_ms
        self._tell_refused = refused
        self._known: OrderedDict[tuple[str, str], bytes | None] = OrderedDict()
        self._second = 0
        self._n_this_second = 0
        self.refused = 0

    def take(self, topic: str, payload: bytes, retained: bool, now_ns: int) -> None:
        """One message; whatever is wrong with it is answered where there is anybody to answer."""
        try:
            client, kind_name = sender_and_kind(topic, self._root)
        except MessageError as error:
            self.refused += 1
            self._tell_refused(f"refused a message over MQTT: {error.message[:200]}")
            return
        try:
            if retained:
                raise MessageError("a retained command is refused", "publish commands without the retain flag")
            kind, command = decode_command(kind_name, payload)
        except MessageError as error:
            self._refuse(client, kind_name, id_of(payload), error)
            return
        if self._is_known(client, command.id):
            return
        try:
            self._require_allowed(kind, now_ns)
            args, deadline_ns = self._judged(command, now_ns)
        except SpikeloopError as error:
            self._refuse(client, kind_name, command.id, error)
            return
        self._remember(client, command.id, None)
        if isinstance(command, TripCommand):
            text = f"{client}: {command.text or 'stopped over MQTT'}"
            self._trip("trip", {"text": text, "t_asked_ns": now_ns}, lambda reply: self._reply(client, command, reply))
            return
        args |= {"command": kind.value, "client": client, "deadline_ns": deadline_ns}
        self._ask("behaviour", args, lambda reply: self._reply(client, command, reply))

    def _is_known(self, client: str, command_id: str) -> bool:
        """True if it has been taken before; its reply, once there is one, is given again."""
        key = client, command_id
        if key not in self._known:
            return False
        answered = self._known[key]
        if answered is not None:
            self._outbox.put_event(Outgoing(f"reply/{client}", answered, qos=1))
        return True

    def _remember(self, client: str, command_id: str, answered: bytes | None) -> None:
        self._known[client, command_id] = answered
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _require_allowed(self, kind: CommandKind, now_ns: int) -> None:
        if kind is CommandKind.TRIP:
            return
        if kind not in self._config.accept:
            raise ConfigError(
                f"this rig does not accept {kind.value!r} over MQTT", f"add {kind.value} to its list", key="mqtt.accept"
            )
        second = now_ns // NS_PER_S
        if second != self._second:
            self._second, self._n_this_second = second, 0
        self._n_this_second += 1
        if self._n_this_second > MAX_PER_S:
            raise MessageError(f"more than {MAX_PER_S} commands within a second", "send fewer, or again later")

    def _judged(self, command: AnyCommand, now_ns: int) -> tuple[dict[str, Any], int]:
        """Its arguments, and until when it may take effect (0: always)."""
        args = {key: value for key, value in _fields(command).items() if key not in ("v", "id")}
        if not isinstance(command, RequestCommand | TrialCommand):
            return args, 0
        age_ms = self._wall_ms() - command.sent_unix_ms
        bound_ms = self._config.max_request_age_ms
        fresh = -bound_ms <= age_ms <= bound_ms
        if isinstance(command, RequestCommand) and not fresh:
            raise MessageError(
                f"the request is {age_ms:.0f} ms old, {bound_ms:g} ms are allowed: it is not carried out late",
                "send it again; the clocks of both computers must agree (NTP)",
            )
        left_ns = round((bound_ms - max(age_ms, 0)) * NS_PER_MS) if fresh else -1
        return args, now_ns + left_ns

    def _refuse(self, client: str, kind_name: str, command_id: str, error: SpikeloopError) -> None:
        self.refused += 1
        self._tell_refused(f"refused {kind_name[:50]!r} of {client} over MQTT: {error.message[:200]}")
        failed = Failure(type=type(error).__name__, message=error.message, remedy=error.remedy)
        self._say(client, CommandReply(**self._stamp(), id=command_id, ok=False, error=failed))

    def _reply(self, client: str, command: AnyCommand, reply: Reply) -> None:
        told = CommandReply(**self._stamp(), id=command.id, ok=reply.ok, result=reply.result, error=reply.error)
        self._remember(client, command.id, encode_published(told))
        self._say(client, told)

    def _say(self, client: str, reply: CommandReply) -> None:
        self._outbox.put_event(Outgoing(f"reply/{client}", encode_published(reply), qos=1))


def _fields(command: AnyCommand) -> dict[str, Any]:
    return {name: getattr(command, name) for name in command.__struct_fields__}
