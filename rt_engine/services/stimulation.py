"""Stimulation service: `spikes` → protocol → interlock → output, and every step of it on topic `stim`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import zmq

from drivers.outputs.virtual import LightFields, VirtualOutput
from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.control import Request, Role
from rt_engine.interfaces.devices import Output
from rt_engine.interfaces.errors import ConfigError, MessageError, SafetyError
from rt_engine.interfaces.messages import (
    ActivityHeader,
    HealthHeader,
    LightHeader,
    Phase,
    RoisHeader,
    SpikesHeader,
    StateHeader,
    SyncHeader,
    decode,
)
from rt_engine.interfaces.rig_config import ReplayMicroscope
from rt_engine.interfaces.stimulation import Decision, PulseRequest
from rt_engine.safety.interlock import Interlock, InterlockState, Precondition
from rt_engine.safety.ledger import DoseLedger
from rt_engine.safety.plane_heartbeats import PlaneHeartbeats
from rt_engine.safety.wal import WriteAheadLog, next_wal_path
from rt_engine.safety.watchdog import HeartbeatMonitor
from rt_engine.services.base import Service
from rt_engine.services.frame_join import MOST_WAIT_NS, FrameJoin
from rt_engine.services.protocol_driver import ProtocolDriver
from rt_engine.services.replay_interlock import interlock_clock, make_interlock, silence_bounds_ns
from rt_engine.transport.control import ControlServer
from rt_engine.transport.sockets import connect

_RECORDER_SILENCE_NS = 2 * NS_PER_S
_SYNC_ARMED_NS = 10 * NS_PER_S
"""How often log and ledger are forced to the disk while armed: what a power cut may cost; a dead process costs none."""
_ANYONE = ("trip", "status", "describe")
_SUBJECT = re.compile(r"^[A-Za-z0-9_.-]+$")


class StimulationService(Service):
    """The only service that holds outputs. Comes up disarmed, and tripped where the session has a log already."""

    source = "stimulation"
    port = "stimulation"
    poll_ms = 5

    def open(self) -> None:
        """Open the log, the ledger and the outputs, all dark; subscribe to the engine and the recorder."""
        self._heard: set[str] = set()
        self._recorder_ns = 0
        self._state_due_ns = self._sync_due_ns = 0
        self._replays = isinstance(self.rig.microscope, ReplayMicroscope)
        self._interlock = self._make_interlock()
        self._driver = ProtocolDriver(self.rig, self._interlock, self.publisher, self.log)
        self._join = FrameJoin(self.rig.planes_inferred, None if self.setup.lossless else MOST_WAIT_NS)
        ports = self.rig.ports
        self._sub = connect(self.context, zmq.SUB, ports.endpoint("recording"), 10_000)
        for plane in self.rig.planes_inferred:
            self._sub.connect(ports.inference_endpoint(plane))
        for topic in ("spikes.", "rois", "health"):
            self._sub.subscribe(topic.encode())
        self.poller.register(self._sub, zmq.POLLIN)
        self._server = ControlServer(self.context, ports.endpoint("stimulation_control"), self.handle)
        self.poller.register(self._server.socket, zmq.POLLIN)
        self.commands |= {
            "arm": self._arm,
            "disarm": self._disarm,
            "trip": self._trip,
            "reset": self._reset,
            "set_protocol": self._set_protocol,
            "status": self._status,
            "key": self._key,
            "conclude": lambda args: self._driver.conclude(),
        }
        self._interlock.self_test()

    def is_ready(self) -> bool:
        """True once engine and recorder have been heard."""
        return self._heard >= {"recording", *(f"inference.{plane}" for plane in self.rig.planes_inferred)}

    def latency_ms(self) -> dict[str, dict[str, float]]:
        """Intervals of the decisions so far."""
        return self._driver.latency_ms() if hasattr(self, "_driver") else {}

    def handle(self, request: Request) -> dict[str, Any]:
        """Carry out one command; `trip` is accepted from every role."""
        if request.role is Role.VIEWER and request.cmd not in _ANYONE:
            raise ConfigError(f"a viewer may not {request.cmd}", "ask as an operator")
        return super().handle(request)

    def step(self, ready: dict[Any, int]) -> None:
        """React to the engine, then look after the interlock."""
        while self._sub.poll(0):
            topic, data, *payload = self._sub.recv_multipart()
            self._take(topic.decode(errors="replace"), data, payload)
        self._decide_joined()
        self._server.serve()
        now_ns = self.clock.now_ns()
        before = self._interlock.state
        recorder_alive = now_ns - self._recorder_ns < _RECORDER_SILENCE_NS
        self._interlock.set_precondition(Precondition.RECORDING_LIVE, recorder_alive)
        self._interlock.check(now_ns)
        if self._interlock.state is not before or now_ns >= self._state_due_ns:
            self._publish_state(now_ns)
        if now_ns >= self._sync_due_ns:
            armed = self._interlock.state is InterlockState.ARMED
            self._sync_due_ns = now_ns + (_SYNC_ARMED_NS if armed else NS_PER_S)
            self._interlock.maintain(sync=True)

    def finish(self) -> None:
        """Dark, disarmed, closed."""
        if not hasattr(self, "_interlock"):
            return
        self._interlock.disarm("service ends")
        for output in self._outputs.values():
            output.close()
        self._interlock.maintain(sync=True)
        self._wal.close()
        if hasattr(self, "_server"):
            self._publish_state(self.clock.now_ns())
            self._server.close()
            self._sub.close()

    def _make_interlock(self) -> Interlock:
        rig, clock = self.rig, interlock_clock(self.rig, self.clock)
        now_ns = clock.now_ns()
        limits = {name: output.limits for name, output in rig.outputs.items()}
        self._outputs: dict[str, Output] = {name: VirtualOutput(name, clock, self._emit) for name in rig.outputs}
        um_per_px = getattr(rig.microscope, "um_per_px", None)
        self._ledger = DoseLedger(limits, now_ns, self._dose_folder(), grid_px=5.0 / um_per_px if um_per_px else 6.0)
        path = next_wal_path(self.setup.path())
        restarted = path.name != "stim_000.wal"
        self._wal = WriteAheadLog(path)
        bounds_ns, planes = silence_bounds_ns(rig, lossless=self.setup.lossless), rig.planes_inferred
        one_plane = HeartbeatMonitor(*bounds_ns)
        heartbeat = PlaneHeartbeats(*bounds_ns, planes) if len(planes) > 1 else one_plane
        return make_interlock(rig, clock, self.log)(
            limits,
            self._outputs,
            clock,
            self._ledger,
            self._wal,
            heartbeat,
            dry_run=self.setup.dry_run,
            restarted=restarted,
            id_prefix=f"{self.setup.session}-{path.stem[-3:]}",
            on_intent=self._on_intent,
        )

    def _dose_folder(self) -> Path | None:
        """Where this subject's dose is kept across sessions; in the session folder without a subject."""
        if self.setup.dry_run or self._replays:
            return None
        subject = self.rig.subject
        if subject is None:
            return self.setup.path()
        if not _SUBJECT.match(subject):
            raise ConfigError(f"subject {subject!r} may hold letters, digits, '.', '_' and '-' only", key="subject")
        folder = Path.home() / ".spikeloop" / "dose" / subject
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _take(self, topic: str, data: bytes, payload: list[bytes]) -> None:
        try:
            header = decode(topic, data)
        except MessageError:
            self.dropped += 1
            return
        self._heard.add(header.source)
        match header:
            case HealthHeader(source="recording"):
                self._recorder_ns = self.clock.now_ns() if header.state != "failed" else 0
            case RoisHeader() if payload:
                self._join.set_lines(header.plane, header.lines_per_frame)
                self._driver.take_rois(header, payload[0])
                self._interlock.set_precondition(Precondition.CALIBRATION_MATCHES, self._driver.has_rois)
            case SpikesHeader():
                if not self._replays:
                    self._interlock.heartbeat(header.t_decided_ns, header.mode, header.plane)
                self._join.put(header, payload[0] if payload else b"", self.clock.now_ns())
                self._decide_joined()
            case ActivityHeader():
                self._join.put(header, payload[0] if payload else b"", self.clock.now_ns())
                self._decide_joined()
            case SyncHeader():
                self._driver.take_sync(header)

    def _decide_joined(self) -> None:
        """Decide on the messages whose turn it is, over all planes."""
        for header, payload in self._join.take(self.clock.now_ns()):
            if isinstance(header, SpikesHeader):
                if self._replays:  # the time of the recording comes in its order, whichever engine is faster now
                    self._interlock.heartbeat(header.t_decided_ns, header.mode, header.plane)
                self.dropped += not self._driver.take_spikes(header, payload)
            else:
                self.dropped += not self._driver.take_activity(header, payload)
        self.late = self._join.overtaken

    def _on_intent(self, request: PulseRequest, decision: Decision) -> None:
        self._driver.publish(request, decision, Phase.INTENT)

    def _emit(self, light: LightFields) -> None:
        self.publisher.send("light", LightHeader(**self.publisher.stamp("light"), **light))

    def _publish_state(self, now_ns: int) -> None:
        self._state_due_ns = now_ns + NS_PER_S
        header = StateHeader(
            **self.publisher.stamp("state"),
            **self._interlock.snapshot(),
            **self._driver.state(),
        )
        self.publisher.send("state", header)

    def _arm(self, args: dict[str, Any]) -> dict[str, Any]:
        operator = str(args.get("operator") or "")
        automatic = bool(args.get("automatic", False))
        if not automatic and not operator:
            raise SafetyError("arming needs the name of the operator", "spikeloop ctl arm NAME")
        self._driver.follow_rois()
        if not automatic:
            self._interlock.set_precondition(Precondition.OPERATOR, True)
        self._interlock.arm(automatic=automatic)
        if not automatic:
            self.log("info", f"armed by {operator}")
        return self._status({})

    def _disarm(self, args: dict[str, Any]) -> dict[str, Any]:
        self._interlock.disarm(str(args.get("reason") or "by command"))
        return self._status({})

    def _trip(self, args: dict[str, Any]) -> dict[str, Any]:
        text = str(args.get("text") or "stopped by command")
        self._interlock.trip("command", "trip", "-", text)
        return self._status({})

    def _reset(self, args: dict[str, Any]) -> dict[str, Any]:
        reason = str(args.get("reason") or "")
        self._interlock.reset(reason)
        self.log("info", f"interlock reset: {reason}")
        if not self._interlock.preconditions()[Precondition.OUTPUTS_TESTED]:
            self._interlock.self_test()
        return self._status({})

    def _set_protocol(self, args: dict[str, Any]) -> dict[str, Any]:
        """Load a protocol for the cells of the present calibration; disarms."""
        loaded = self._driver.load(Path(str(args["path"])))
        if self._driver.uses_activity:
            self._sub.subscribe(b"activity.")
            self._join.awaits_activity = True
        if self._driver.lines:
            self._sub.connect(self.rig.ports.endpoint("acquisition"))
            self._sub.subscribe(b"sync")
        return loaded

    def _key(self, args: dict[str, Any]) -> dict[str, Any]:
        """A mark that a person gave; protocols may react to it."""
        self._driver.take_key(str(args.get("key") or ""))
        return {}

    def _status(self, args: dict[str, Any]) -> dict[str, Any]:
        snapshot = self._interlock.snapshot()
        missing = [name for name, ok in snapshot["preconditions"].items() if not ok and name != Precondition.OPERATOR]
        return {
            "interlock": snapshot["interlock"],
            "can_arm": not missing and self._interlock.state is not InterlockState.TRIPPED,
            "has_rois": self._driver.has_rois,
            "preconditions": snapshot["preconditions"],
            "trips": snapshot["trips"],
            "counts": snapshot["counts"],
            "protocol": self._driver.name,
        }
