"""The telemetry service between a real broker and a behaviour task that is none of our code."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from mqtt_rig import ROOT_TOPIC, MqttRig, Task, refuse, until
from wire_samples import STAMP, rois, spikes, state, stim

from rt_engine.interfaces.control import Role
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import LogHeader
from rt_engine.services.embedded_broker import EmbeddedBroker
from rt_engine.transport.free_ports import free_ports

ACCEPT: dict[str, Any] = {"accept": ["mark", "trial", "request"], "max_request_age_ms": 10_000}


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(free_ports(1)[0]) as broker:
        yield broker


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_the_embedded_broker_lets_in_this_computer_alone(broker: EmbeddedBroker) -> None:
    assert broker._process.pid is not None
    open_at = [one.laddr for one in psutil.Process(broker._process.pid).net_connections() if one.status == "LISTEN"]
    assert [(one.ip, one.port) for one in open_at] == [("127.0.0.1", broker.port)]


def test_a_task_sees_what_the_rig_does_and_that_it_ended_in_order(broker: EmbeddedBroker) -> None:
    with Task(broker.port) as task:
        with MqttRig({"port": broker.port}) as rig:
            rig.until(lambda: bool(task.on("heartbeat")), "a heartbeat")
            events = np.zeros(3, EVENT_DTYPE)
            events["roi_id"] = [10, 10, 12]
            rig.publish(*rois(3))
            rig.publish(*spikes(7, events=events))
            rig.publish(*stim("d1"))
            trip = {"t_ns": 5, "signal": "heartbeat", "text": "engine silent"}
            rig.publish(*state(interlock="tripped", trips=[trip]))
            fields = {"topic": "reward/valve#", "t_scan_ns": 5_000_000_000}
            rig.publish("log", LogHeader(**STAMP, level="mqtt", text="open", fields=fields))
            rig.publish("log", LogHeader(**STAMP, level="info", text="not for everybody", fields={}))
            rig.until(lambda: bool(task.on("message/reward/valve_")), "the protocol's message")
            rig.until(lambda: any(one["events"] == 3 for one in task.on("rates")), "the rates")
            rig.until(lambda: bool(task.on("trip")) and bool(task.on("stim")), "trip and stim")
        rig.until(lambda: task.on("status")[-1]["state"] == "offline", "goodbye")
    (rates,) = [one for one in task.on("rates") if one["events"] == 3]
    assert rates["by_cell"] == {"10": 2, "12": 1}
    assert (rates["n_cells"], rates["active_cells"], rates["v"]) == (3, 2, 1)
    assert task.on("stim")[0]["decision_id"] == "d1"
    assert task.on("trip")[0]["text"] == "engine silent"
    assert task.on("state")[-1]["interlock"] == "tripped"
    assert task.on("log") == []
    with Task(broker.port, "late") as late, MqttRig({"port": broker.port}) as again:
        again.until(lambda: bool(late.on("state")), "what is retained")
        assert late.on("status")[0]["state"] == "offline"


def test_commands_are_carried_out_once_and_answered(broker: EmbeddedBroker) -> None:
    mqtt = {"port": broker.port, **ACCEPT}
    with Task(broker.port, "mouse_1") as task, MqttRig(mqtt, lambda request: {"awaited": True}) as rig:
        rig.until(lambda: rig.said("info", "connected"), "the broker")
        for _ in range(3):
            task.send("request", {"id": "r1", "name": "reward", "sent_unix_ms": now_ms()})
        task.send("trial", {"id": "t1", "trial": 3, "kind": "go", "sent_unix_ms": now_ms()})
        task.send("mark", {"id": "m1", "note": "lick"})
        task.send("trip", {"id": "x1", "text": "mouse fell"})
        rig.until(lambda: bool(task.replies("r1")) and bool(task.replies("x1")), "replies")
        n_replies = len(task.replies("r1"))
        task.send("request", {"id": "r1", "name": "reward", "sent_unix_ms": now_ms()})
        rig.until(lambda: len(task.replies("r1")) == n_replies + 1, "the same reply again")
    assert [(one.cmd, one.args["command"], one.args["client"], one.role) for one in rig.asked] == [
        ("behaviour", kind, "mouse_1", Role.SERVICE) for kind in ("request", "trial", "mark")
    ]
    assert all(reply == task.replies("r1")[0] for reply in task.replies("r1"))
    assert task.replies("r1")[0]["result"] == {"awaited": True}
    (trip,) = rig.trips
    assert (trip.cmd, trip.args["text"], trip.role) == ("trip", "mouse_1: mouse fell", Role.VIEWER)


WRONG: dict[str, tuple[str, Any, str]] = {
    "not json": ("mark", b"\xff\x00", ""),
    "deeply nested": ("mark", b"[" * 15_000, ""),
    "too long": ("mark", {"id": "1", "note": "x" * 20_000}, "at most"),
    "unknown key": ("mark", {"id": "1", "note": "x", "power_mw": 5}, "power_mw"),
    "no id": ("mark", {"note": "x"}, "id"),
    "unknown command": ("fire", {"id": "1"}, "known: mark"),
    "another version": ("mark", {"v": 2, "id": "1", "note": "x"}, "version 2"),
    "old request": ("request", {"id": "1", "name": "reward", "sent_unix_ms": 1}, "not carried out late"),
    "request of the future": ("request", {"id": "1", "name": "reward", "sent_unix_ms": 2**42}, "clocks"),
    "request without time": ("request", {"id": "1", "name": "reward"}, "sent_unix_ms"),
}


def test_what_is_wrong_is_refused_and_does_nothing(broker: EmbeddedBroker) -> None:
    with Task(broker.port) as task, MqttRig({"port": broker.port, **ACCEPT}) as rig:
        rig.until(lambda: rig.said("info", "connected"), "the broker")
        for name, (kind, payload, _) in WRONG.items():
            task.send(kind, {**payload, "id": name} if isinstance(payload, dict) and "id" in payload else payload)
        rig.until(lambda: len(task.on("reply/task")) == len(WRONG), "refusals")
        errors = [reply["error"] for reply in task.on("reply/task")]
        assert rig.asked == []
        assert rig.trips == []
    said = [f"{error['message']} {error['remedy']}" for error in errors]
    for name, (_, _, text) in WRONG.items():
        assert any(text in one for one in said), name


def test_a_command_that_the_broker_kept_is_refused(broker: EmbeddedBroker) -> None:
    """It would be carried out again by every session to come."""
    with Task(broker.port) as task:
        task.send("request", {"id": "kept", "name": "reward", "sent_unix_ms": now_ms()}, retain=True)
        until(lambda: bool(task.on("cmd/task/request")), "the broker has it")
        with MqttRig({"port": broker.port, **ACCEPT}) as rig:
            rig.until(lambda: bool(task.replies("kept")), "a refusal")
        task.send("request", b"", retain=True)
    assert "retained" in task.replies("kept")[0]["error"]["message"]
    assert rig.asked == []


def test_what_the_rig_does_not_accept_is_refused_but_a_trip_never(broker: EmbeddedBroker) -> None:
    with Task(broker.port) as task, MqttRig({"port": broker.port}) as rig:
        rig.until(lambda: rig.said("info", "connected"), "the broker")
        task.send("mark", {"id": "m", "note": "x"})
        task.send("request", {"id": "r", "name": "reward", "sent_unix_ms": now_ms()})
        task.send("trip", {"id": "t"})
        rig.until(lambda: bool(task.replies("t")) and bool(task.replies("r")), "replies")
    assert not task.replies("m")[0]["ok"]
    assert "mqtt.accept" in task.replies("r")[0]["error"]["message"]
    assert task.replies("t")[0]["ok"]
    assert rig.asked == []


def test_a_refusal_of_the_run_comes_back_in_its_words(broker: EmbeddedBroker) -> None:
    with Task(broker.port) as task, MqttRig({"port": broker.port, **ACCEPT}, refuse) as rig:
        rig.until(lambda: rig.said("info", "connected"), "the broker")
        task.send("request", {"id": "r", "name": "reward", "sent_unix_ms": now_ms()})
        rig.until(lambda: bool(task.replies("r")), "a reply")
    assert task.replies("r")[0]["error"]["message"] == "no rule of the protocol waits for it"


def test_an_absent_broker_is_said_once_and_found_when_it_comes() -> None:
    (port,) = free_ports(1)
    with MqttRig({"port": port}) as rig:
        rig.until(lambda: rig.said("warning", "run goes on"), "one warning")
        rig.publish(*stim("while away"))
        with EmbeddedBroker(port), Task(port) as task:
            rig.until(lambda: bool(task.on("stim")), "what happened meanwhile")
            assert task.on("stim")[0]["decision_id"] == "while away"
        rig.until(lambda: len([one for one in rig.logs if one[0] == "warning"]) == 2, "the loss is said")
    assert [level for level, _ in rig.logs] == ["warning", "info", "warning"]


def test_a_dead_rig_is_told_by_its_last_will(broker: EmbeddedBroker) -> None:
    code = f"""
import threading, zmq
from rt_engine.interfaces.mqtt_config import MqttConfig
from rt_engine.transport.mqtt_link import MqttLink
from rt_engine.transport.mqtt_outbox import MqttOutbox, Outgoing
said = threading.Event()
words = [Outgoing("status", b'{{"state": "%s"}}' % one, 1, True) for one in (b"online", b"offline", b"lost")]
MqttLink(zmq.Context(), MqttConfig(port={broker.port}), "{ROOT_TOPIC}", "dying", MqttOutbox(),
         online=words[0], offline=words[1], lost=words[2], said=lambda *_: said.set()).start()
said.wait(60)
print("up", flush=True)
threading.Event().wait(600)
"""
    with Task(broker.port) as task:
        rig = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert rig.stdout is not None
        assert rig.stdout.readline() == "up\n"
        rig.kill()
        rig.communicate()
        until(lambda: task.on("status")[-1:] == [{"state": "lost"}], "the last will")


def test_json_is_all_that_leaves(broker: EmbeddedBroker) -> None:
    with Task(broker.port) as task, MqttRig({"port": broker.port}) as rig:
        rig.until(lambda: bool(task.on("heartbeat")), "a heartbeat")
        rig.publish(*state(effect={"difference": float("nan")}))
        rig.until(lambda: any(one["effect"] for one in task.on("state")), "a state with an effect")
    (told,) = [one for one in task.on("state") if one["effect"]]
    assert told["effect"] == {"difference": None}
    json.dumps(told, allow_nan=False)


def test_the_behaviour_task_of_the_documentation_works(broker: EmbeddedBroker) -> None:
    program = Path(__file__).parents[3] / "docs" / "how-to" / "behaviour_task.py"
    with MqttRig({"port": broker.port, **ACCEPT}) as rig:
        rig.until(lambda: rig.said("info", "connected"), "the broker")
        line = [sys.executable, str(program), "127.0.0.1", str(broker.port), "virtual_rig"]
        task = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        rig.until(lambda: task.poll() is not None, "the end of the task")
        said, _ = task.communicate()
    assert task.returncode == 0
    assert [one.args["command"] for one in rig.asked] == ["trial", "request"] * 3 + ["mark"]
    assert said.count("taken") == 3
    assert "status" in said
