"""The real stimulation service in its own process, between an engine and a recorder that a test commands."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
import zmq
from system_rig import small_rig

from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.control import Role, decode_request
from rt_engine.interfaces.errors import ServiceError
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import (
    HealthHeader,
    LightHeader,
    Mode,
    RoiDescription,
    RoisHeader,
    SpikesHeader,
    StateHeader,
    StimHeader,
    SyncHeader,
    decode,
)
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.safety.wal import WalRecord, read_wal
from rt_engine.transport.control import ControlClient
from rt_engine.transport.publisher import Publisher
from rt_engine.transport.sockets import bind, connect

TESTS = Path(__file__).parent
BEAT_S = 0.01
DEADLINE_S = 120.0
TARGETS_YX = ((20, 20), (20, 80), (80, 20), (80, 80))


def protocol(**action: Any) -> dict[str, Any]:
    """Every event of cell 0 lights cells 1 to 3; nothing is withheld, nothing suppressed."""
    pulse: dict[str, Any] = {"do": "pulse", "output": "led", "targets": "lit", "power_mw": 8.0, "width_ms": 5.0}
    return {
        "schema_version": 2,
        "name": "every_event",
        "description": "for tests",
        "source": "none",
        "cells": {"watched": {"select": "ids", "ids": [0]}, "lit": {"select": "ids", "ids": [1, 2, 3]}},
        "triggers": {"spike": {"when": "event", "cells": "watched", "refractory_ms": 0.0}},
        "actions": {"light": pulse | action},
        "phases": {"watch": {"reactions": [{"trigger": "spike", "do": ["light"], "trial": True}]}},
        "design": {"seed": 1, "arms": {"stim": {"kind": "stim", "share": 1.0}}},
    }


class StimulationBench:
    """Peers of the stimulation service; `pump` lets them do their work, in this thread.

    Attributes
    ----------
    mode : Mode
        What the engine says it is doing.
    beating, recording : bool
        Whether the engine and the recorder speak.
    lights, stims, states : list of (t_received_ns, header)
        What the service has published.
    """

    def __init__(self, folder: Path, rig: dict[str, Any] | None = None, **action: Any) -> None:
        self.folder, self.clock = folder, MonotonicClock()
        self.session = folder / "session"
        self.session.mkdir()
        self.rig = RigConfig.model_validate(rig or small_rig(microscope__pace="real_time"))
        self.ports = self.rig.ports
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.clock_file = folder / "clock"
        self.protocol_path = folder / "protocol.yaml"
        self.protocol_path.write_text(yaml.safe_dump(protocol(**action)), encoding="utf-8")
        self._supervisor = bind(self.context, zmq.ROUTER, self.ports.endpoint("control"))
        self.inlet: zmq.Socket[bytes] | None = bind(self.context, zmq.PULL, self.ports.endpoint("recorder_inlet"))
        self._engine = self._publisher("inference", "inference.0")
        self._recorder = self._publisher("recording", "recording")
        self._acquisition = self._publisher("acquisition", "acquisition")
        endpoint = self.ports.endpoint("stimulation_control")
        self.control = ControlClient(self.context, endpoint, Role.OPERATOR)
        self._run_control = ControlClient(self.context, endpoint, Role.SERVICE)
        self._listener = connect(self.context, zmq.SUB, self.ports.endpoint("stimulation"), 100_000)
        for topic in ("light", "stim", "state"):
            self._listener.subscribe(topic.encode())
        self.mode, self.beating, self.recording = Mode.LIVE, True, True
        self.line: str | None = None
        self.uncertainty_ns: int | None = None
        self.announced: list[str] = []
        self.lights: list[tuple[int, LightHeader]] = []
        self.stims: list[tuple[int, StimHeader]] = []
        self.states: list[tuple[int, StateHeader]] = []
        self.frame = 0
        self._beat_due_ns = self._health_due_ns = 0
        self.process: subprocess.Popen[str] | None = None

    def _publisher(self, port: str, source: str) -> Publisher:
        return Publisher(
            self.context,
            self.ports.endpoint(port),
            None,
            source=source,
            session="bench",
            clock=self.clock,
            queue=100_000,
        )

    def start(self) -> subprocess.Popen[str]:
        """Start the service, as a supervisor does, also again."""
        setup = {
            "service": "stimulation",
            "rig": self.rig.model_dump(mode="json"),
            "session": "bench",
            "folder": str(self.session),
            "t_wall_ns": time.time_ns(),
            "t_monotonic_ns": self.clock.now_ns(),
            "dry_run": False,
            "lossless": False,
        }
        path = self.folder / "setup.json"
        path.write_text(json.dumps(setup), encoding="utf-8")
        while self._supervisor.poll(0):  # of the one before
            self._supervisor.recv_multipart()
        self.announced.clear()
        command = [sys.executable, str(TESTS / "stimulation_child.py"), str(path), str(self.clock_file)]
        self.process = subprocess.Popen(command, text=True, cwd=TESTS.parent)
        self.pump(lambda: "ready" in self.announced)
        return self.process

    def arm(self) -> dict[str, Any]:
        """Tell the cells, load the protocol and arm, as a run does; nothing before the service is heard."""
        self.pump(lambda: bool(self.states))
        self.send_rois()
        self.pump(lambda: self.ask("status")["has_rois"])
        self.ask("set_protocol", {"path": str(self.protocol_path)})
        self.pump(lambda: self.ask("status")["can_arm"])
        return self.ask("arm", {"automatic": True})

    def ask(self, cmd: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
        """Result of one command to the service's own port, given all the time it needs.

        A protocol is set by the supervisor, which alone may name any file; all else by an operator.
        """
        self._work()
        client = self._run_control if cmd == "set_protocol" else self.control
        return client.request(cmd, args, timeout_s=30.0)

    def pump(self, until: Callable[[], bool] | float) -> None:
        """Let the peers work for so many seconds, or until something holds."""
        end_s = time.monotonic() + (until if isinstance(until, float) else DEADLINE_S)
        while time.monotonic() < end_s:
            self._work()
            if callable(until) and until():
                return
            if callable(until) and self.process is not None and self.process.poll() is not None:
                raise RuntimeError(f"the service has ended (exit code {self.process.returncode})")
            time.sleep(0.001)
        if callable(until):
            raise TimeoutError(f"did not come; announced {self.announced}, last state {self.states[-1:]}")

    def events(self, *, roi_id: int = 0, n: int = 1, age_ns: int = 2_000_000, **fields: Any) -> None:
        """One `spikes` message with events, scanned `age_ns` ago; `fields` change the events."""
        now_ns = self.clock.now_ns()
        events = np.zeros(n, EVENT_DTYPE)
        events["roi_id"], events["probability"], events["n_spikes"] = roi_id, 0.9, 1.0
        events["t_event_ns"], events["event_frame"] = now_ns - age_ns, self.frame
        for name, value in fields.items():
            events[name] = value
        self.spikes(events, t_scan_ns=now_ns - age_ns)

    def spikes(self, events: np.ndarray[Any, Any] | None = None, **changes: Any) -> None:
        """One `spikes` message."""
        now_ns = self.clock.now_ns()
        self.frame += 1
        values: dict[str, Any] = {
            **{"plane": 0, "frame": self.frame, "line0": 0, "n_lines": 128, "hold_frames": 1, "mode": self.mode},
            **{"t_scan_ns": now_ns, "t_received_ns": now_ns, "t_decided_ns": now_ns},
            "n_events": 0 if events is None else len(events),
            "t_scan_uncertainty_ns": self.uncertainty_ns,
        }
        header = SpikesHeader(**self._engine.stamp("spikes.0"), **(values | changes))
        self._engine.send("spikes.0", header, b"" if events is None else events.tobytes())

    def raw(self, *parts: bytes) -> None:
        """Bytes as they are, from the engine."""
        self._engine._pub.send_multipart(list(parts))

    def reboot_engine(self) -> None:
        """Messages of the engine are from now on those of another process."""
        self._engine._boot_id, self._engine._seq = "another", {}

    def send_rois(self, template_id: str = "template", rev: int = 1, threshold: float = 1.0) -> None:
        """Four cells of 9 pixels."""
        pixels, start = [], [0]
        for y, x in TARGETS_YX:
            pixels += [(y + dy) * 128 + x + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            start.append(len(pixels))
        rois = [
            RoiDescription(
                roi_id=i, roi_index=i, parent_id=None, kind="soma", plane=0, tags=[], quality=1.0, snr=5.0, tau_s=0.2,
                amplitude=0.1, expected_detection=0.9, threshold=threshold,
            )
            for i in range(len(TARGETS_YX))
        ]  # fmt: skip
        header = RoisHeader(
            **self._engine.stamp("rois"), rev=rev, template_id=template_id, plane=0, lines_per_frame=128,
            pixels_per_line=128, rois=rois, footprint_start=start,
        )  # fmt: skip
        self._engine.send("rois", header, np.array(pixels, "<u4").tobytes())

    def press(self, line: str, edge: str) -> int:
        """An edge of a digital line; returns its time."""
        now_ns = self.clock.now_ns()
        self.line = "high" if edge == "rising" else "low"
        self._sync(line, "edge", edge, now_ns)
        return now_ns

    def wal(self) -> list[WalRecord]:
        """Every whole record of all logs, in order."""
        return [record for path in sorted(self.session.glob("stim_*.wal")) for record in read_wal(path).records]

    def interlock(self) -> str:
        """State of the interlock, asked now."""
        return str(self.ask("status")["interlock"])

    def close(self) -> None:
        """End the service, and close everything."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.control.request("shutdown", timeout_s=20)
                self.process.wait(60)
            except (ServiceError, subprocess.TimeoutExpired):
                self.process.kill()
                self.process.wait()
        self.control.close()
        self._run_control.close()
        self.context.destroy(linger=0)

    def _sync(self, line: str, kind: str, edge: str, t_ns: int) -> None:
        header = SyncHeader(
            **self._acquisition.stamp("sync"), line=line, kind=kind, t_edge_ns=t_ns, edge=edge, t_first_ns=None,
            sample_rate_hz=None, dtype=None,
        )  # fmt: skip
        self._acquisition.send("sync", header)

    def _work(self) -> None:
        now_ns = self.clock.now_ns()
        if self.beating and now_ns >= self._beat_due_ns:
            self._beat_due_ns = now_ns + int(BEAT_S * 1e9)
            self.spikes()
        if now_ns >= self._health_due_ns:
            self._health_due_ns = now_ns + 100_000_000
            if self.recording:
                self._health(self._recorder)
            self._health(self._engine)
            if self.line is not None and self.rig.stop_line is not None:
                self._sync(self.rig.stop_line.line, "level", self.line, now_ns)
        while self._supervisor.poll(0):
            self.announced.append(str(decode_request(self._supervisor.recv_multipart()[1]).args.get("state")))
        while self.inlet is not None and self.inlet.poll(0):
            self.inlet.recv_multipart()
        while self._listener.poll(0):
            topic, data, *_ = self._listener.recv_multipart()
            self._keep(decode(topic.decode(), data))

    def _keep(self, header: Any) -> None:
        now_ns = self.clock.now_ns()
        for kind, kept in ((LightHeader, self.lights), (StimHeader, self.stims), (StateHeader, self.states)):
            if isinstance(header, kind):
                kept.append((now_ns, header))  # type: ignore[attr-defined]

    def _health(self, publisher: Publisher) -> None:
        header = HealthHeader(
            **publisher.stamp("health"), state="running", dropped=0, gaps=0, late=0, queue=0, rss_bytes=0, latency_ms={}
        )
        publisher.send("health", header)
