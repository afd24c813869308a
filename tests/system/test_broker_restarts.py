"""Commands through a broker that is killed again and again: none lost, none doubled in effect."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Any

import pytest
from free_ports import free_ports
from mqtt_rig import MqttRig, Task

from rt_engine.services.embedded_broker import EmbeddedBroker

IN_FLIGHT = 150
AGAIN_S = 3.0
RESTARTS = 4
PATIENCE_S = float(os.environ.get("SPIKELOOP_PATIENCE_S", "1500"))


class _Sender:
    """Sends numbered marks, each again and again until it is answered, as the reference tells tasks to."""

    def __init__(self, task: Task, n: int) -> None:
        self._task, self._n, self._next = task, n, 0
        self._open: dict[str, float] = {}
        self.n_sent = 0
        self.answered: set[str] = set()

    def turn(self) -> bool:
        """One turn; True when all have been answered."""
        for reply in self._task.on_new(f"reply/{self._task.name}"):
            if reply["ok"] and reply["id"] in self._open:
                del self._open[reply["id"]]
                self.answered.add(reply["id"])
        while len(self._open) < IN_FLIGHT and self._next < self._n:
            self._open[f"m{self._next}"] = 0.0
            self._next += 1
        now_s = time.monotonic()
        for name, sent_s in self._open.items():
            if now_s - sent_s > AGAIN_S:
                self._open[name] = now_s
                self.n_sent += 1
                self._task.send("mark", {"id": name, "note": name})
        return len(self.answered) == self._n


@pytest.mark.realtime
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of sockets whose broker was killed
def test_ten_thousand_commands_take_effect_once_each(capsys: pytest.CaptureFixture[str]) -> None:
    n = int(os.environ.get("SPIKELOOP_MQTT_MESSAGES", "10000"))
    (port,) = free_ports(1)
    mqtt: dict[str, Any] = {"port": port, "accept": ["mark"]}
    broker = EmbeddedBroker(port).__enter__()
    try:
        with Task(port) as task, MqttRig(mqtt) as rig:
            rig.until(lambda: rig.said("info", "connected"), "the broker")
            sender, killed, began_s = _Sender(task, n), 0, time.monotonic()
            while not sender.turn():
                rig.pump()
                time.sleep(0.002)
                if killed < RESTARTS and len(sender.answered) > (killed + 1) * n // (RESTARTS + 1):
                    killed += 1
                    broker.kill()
                    broker.__exit__(None, None, None)
                    broker = EmbeddedBroker(port).__enter__()
                if time.monotonic() - began_s > PATIENCE_S:
                    raise TimeoutError(f"{len(sender.answered)} of {n} answered, {killed} brokers killed, {rig.logs}")
            took_s = time.monotonic() - began_s
    finally:
        broker.__exit__(None, None, None)
    effects = Counter(request.args["note"] for request in rig.asked)
    with capsys.disabled():
        print(f"{n} commands, sent {sender.n_sent} times, {killed} brokers killed, {took_s:.0f} s")
    assert killed == RESTARTS
    assert effects == Counter({f"m{i}": 1 for i in range(n)})
