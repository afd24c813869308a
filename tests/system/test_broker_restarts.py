"""Commands through a broker that is killed again and again: none lost, none doubled in effect."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mqtt_rig import MqttRig, Task, until
from system_rig import Start, small_rig

from rt_engine.interfaces.clock import NS_PER_MS
from rt_engine.recording import open_session
from rt_engine.services.embedded_broker import EmbeddedBroker
from rt_engine.transport.free_ports import free_ports

IN_FLIGHT = 150
AGAIN_S = 3.0
RESTARTS = 4
PATIENCE_S = float(os.environ.get("SPIKELOOP_PATIENCE_S", "1500"))


class _Sender:
    """Sends numbered marks, now and then a request, each again and again until it is answered, as tasks are told to."""

    def __init__(self, task: Task, n: int, request_every: int = 0) -> None:
        self._task, self._n, self._next, self._every = task, n, 0, request_every
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
                self._send(name)
        return len(self.answered) == self._n

    def _send(self, name: str) -> None:
        if self._every and int(name[1:]) % self._every == 0:
            # One that was refused as late has had no effect: it may be asked for again, as of now.
            asked = {"id": name, "name": "lick", "sent_unix_ms": time.time_ns() // NS_PER_MS}
            self._task.send("request", asked)
        else:
            self._task.send("mark", {"id": name, "note": name})


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


PROTOCOL = """
schema_version: 2
name: licks
description: The task asks for light.
cells:
  watched: {select: all}
triggers:
  lick: {when: key, key: lick}
actions:
  pulse: {do: pulse, output: led, targets: watched, power_mw: 1.0, width_ms: 1.0}
phases:
  watch:
    reactions:
      - {trigger: lick, do: [pulse], trial: true}
design:
  seed: 1
  arms:
    stim: {kind: stim, share: 1.0}
limits: {}
"""
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin")


class _Mosquitto:
    """The broker of real rigs, plain and on loopback; `restart` kills it as a power cut would."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self._conf, self._log = folder / "mosquitto.conf", folder / "mosquitto.log"
        self._conf.write_text(f"set_tcp_nodelay true\nlistener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self._process = self._begin()

    def _begin(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            process = subprocess.Popen([str(MOSQUITTO), "-c", str(self._conf)], stdout=log, stderr=log)

        def is_up() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return True
            return process.poll() is not None

        until(is_up, "mosquitto")
        return process

    def restart(self) -> None:
        self.end()
        self._process = self._begin()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.mark.realtime
@pytest.mark.timeout(1800)
@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed (apt-get install mosquitto)")
def test_a_real_run_takes_marks_and_requests_once_each_through_restarts_of_mosquitto(
    start: Start, small_calibration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Effects are counted in the journal: supervisor, stimulation and recorder are the real ones."""
    n, every, restarts = int(os.environ.get("SPIKELOOP_MQTT_RUN_MESSAGES", "1000")), 5, 3
    broker, protocol = _Mosquitto(tmp_path), tmp_path / "licks.yaml"
    protocol.write_text(PROTOCOL, encoding="utf-8")
    try:
        accept = {"accept": ["mark", "request"], "max_request_age_ms": 5000.0}
        rig = small_rig(name="virtual_rig", microscope__pace="real_time")
        rig["mqtt"] = {"port": broker.port, **accept}
        run = start(rig, "--calibration", small_calibration, "--protocol", protocol, "--no-gui")
        run.live()
        with Task(broker.port) as task:
            sender, done, began_s = _Sender(task, n, every), 0, time.monotonic()
            while not sender.turn():
                time.sleep(0.002)
                if done < restarts and len(sender.answered) > (done + 1) * n // (restarts + 1):
                    done += 1
                    broker.restart()
                if time.monotonic() - began_s > PATIENCE_S:
                    raise TimeoutError(f"{len(sender.answered)} of {n} answered, {done} restarts:\n{run.output()}")
            took_s = time.monotonic() - began_s
        run.ctl("stop")
        assert run.wait() == 0, run.output()
    finally:
        broker.end()
    notes = Counter(
        message.header.text
        for message in open_session(run.session).messages("log")
        if message.header.level == "mark"  # type: ignore[attr-defined]
    )
    with capsys.disabled():
        print(f"{n} commands to a run, sent {sender.n_sent} times, {done} restarts, {took_s:.0f} s")
    assert done == restarts
    asked = {f"m{i}" for i in range(0, n, every)}
    assert notes.pop("request lick") == len(asked)
    assert notes == Counter({f"m{i}": 1 for i in range(n) if f"m{i}" not in asked})
