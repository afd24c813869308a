"""A behaviour task that has run away keeps nobody from stopping, and the rig does not do all it says."""

from __future__ import annotations

import json
from typing import Any

from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.mqtt_config import MqttConfig
from rt_engine.services.mqtt_commands import MAX_PER_S, MqttCommands
from rt_engine.transport.mqtt_outbox import MqttOutbox

ROOT = "spikeloop/v1/rig"


def test_commands_of_one_second_are_bounded_but_for_a_stop() -> None:
    asked: list[dict[str, Any]] = []
    tripped: list[dict[str, Any]] = []
    said: list[str] = []
    commands = MqttCommands(
        MqttConfig(host="127.0.0.1", accept=("mark",)),
        ROOT,
        MqttOutbox(),
        ask=lambda cmd, args, told: asked.append(args),
        trip=lambda cmd, args, told: tripped.append(args),
        stamp=lambda: {"session": "s", "t_unix_ms": 0},
        wall_ms=lambda: 0,
        refused=said.append,
    )

    def send(kind: str, n: int, now_ns: int, **fields: Any) -> None:
        for i in range(n):
            told = {"v": 1, "id": f"{kind}{now_ns}-{i}", **fields}
            commands.take(f"{ROOT}/cmd/task/{kind}", json.dumps(told).encode(), False, now_ns)

    send("mark", MAX_PER_S + 50, 5 * NS_PER_S, note="lick")
    assert len(asked) == MAX_PER_S
    assert commands.refused == 50
    assert set(said) == {f"refused 'mark' of task over MQTT: more than {MAX_PER_S} commands within a second"}
    send("trip", 3, 5 * NS_PER_S + 1)
    assert len(tripped) == 3
    send("mark", 10, 6 * NS_PER_S, note="lick")
    assert len(asked) == MAX_PER_S + 10
