"""Stimulation service: `spikes` → protocol → interlock → output, and every step of it on topic `stim`."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import zmq

from drivers.outputs.virtual import LightFields
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S
from rt_engine.interfaces.control import Request, Role, require_allowed
from rt_engine.interfaces.errors import MessageError, SafetyError
from rt_engine.interfaces.messages import (
    ActivityHeader,
    HealthHeader,
    LightHeader,
    RoisHeader,
    SpikesHeader,
    StateHeader,
    SyncHeader,
    decode,
)
from rt_engine.interfaces.rig_config import ReplayMicroscope, StopLine
from rt_engine.pipeline.histogram import LatencyHistogram
from rt_engine.safety.interlock import InterlockState, Precondition
from rt_engine.safety.watchdog import live_silence_ns
from rt_engine.services.base import Service
from rt_engine.services.client_commands import named_protocol
from rt_engine.services.device_versions import DeviceVersions
from rt_engine.services.disk_sync import DiskSync
from rt_engine.services.frame_join import MOST_WAIT_NS, FrameJoin
from rt_engine.services.host_clocks import localize_events
from rt_engine.services.interlock_setup import open_safety
from rt_engine.services.marks import decision_mark
from rt_engine.services.protocol_driver import ProtocolDriver
from rt_engine.services.spikes_inlet import SpikesInlet
from rt_engine.transport.control import ControlServer
from rt_engine.transport.sockets import connect

_SILENCE_NS = 2 * NS_PER_S
"""Silence of the recorder, or of the reader of the stop line, that is borne."""
_BATCH = 64
_LONGEST_TEXT = 500
"""Messages taken in one turn, so that a flood keeps neither a command nor a watchdog waiting."""
_POLL_MS = 5
_SYNC_ARMED_NS = 10 * NS_PER_S
"""How often log and ledger are forced to the disk while armed: what a power cut may cost; a dead process costs none."""


class StimulationService(Service):
    """The only service that holds outputs. Comes up disarmed, and tripped where the session has a log already."""

    source = "stimulation"
    port = "stimulation"
    poll_ms = _POLL_MS

    def open(self) -> None:
        """Open the log, the ledger and the outputs, all dark; subscribe to the engine and the recorder."""
        self._heard: set[str] = set()
        self._recorder_ns = 0
        self._state_due_ns = self._sync_due_ns = 0
        self._published = ("", False, 0)
        self._line_ns = 0
        self._is_concluded = False
        self._rois_from: dict[int, str] = {}
        self._templates: dict[int, str] = {}
        self._lost_records = 0
        self._n_trips = 0
        self._trip_to_dark = LatencyHistogram()
        self._replays = isinstance(self.rig.microscope, ReplayMicroscope)
        self._safety = open_safety(self.setup, self.clock, self._emit, self.log)
        self._interlock, self._outputs = self._safety.interlock, self._safety.outputs
        self._disk = DiskSync(self._sync)
        self._mark = decision_mark(self.setup, self.log)
        self._driver = ProtocolDriver(self.rig, self._interlock, self.publisher, self.log, self._mark.toggle)
        self._join = FrameJoin(self.rig.planes_inferred, None if self.setup.lossless else MOST_WAIT_NS)
        ports = self.rig.ports
        self._sub = connect(self.context, zmq.SUB, ports.endpoint("recording"), 10_000)
        for plane in self.rig.planes_inferred:
            self._sub.connect(ports.inference_endpoint(plane))
        if self.rig.inputs:
            self._sub.connect(ports.endpoint("acquisition"))
        for topic in ("rois", "health", "sync"):
            self._sub.subscribe(topic.encode())
        self._inlet = SpikesInlet(self.setup, self._sub, self.poller, self.clock)
        self.poller.register(self._sub, zmq.POLLIN)
        control = ports.endpoint("stimulation_control")
        self._server = ControlServer(self.context, control, self.handle, self.guard, self.refusals, self.setup.secret)
        self.poller.register(self._server.socket, zmq.POLLIN)
        self.commands |= {
            "arm": self._arm,
            "disarm": self._disarm,
            "trip": self._trip,
            "reset": self._reset,
            "set_protocol": self._set_protocol,
            "status": self._status,
            "source": self._source,
            "key": self._key,
            "conclude": self._conclude,
        }
        engines = [f"inference.{plane}" for plane in self.rig.planes_inferred]
        self._clocks = self.listen_to_clocks(*engines, "acquisition", "telemetry")
        self._hear_activity()
        self._versions = DeviceVersions(self.log)
        self._self_test()

    def _self_test(self) -> None:
        self._interlock.self_test()
        for name, output in self._outputs.items():
            self._versions.tell(name, output)

    def is_ready(self) -> bool:
        """True once engine and recorder have been heard, and the clocks of other computers are known."""
        if self._clocks is not None and not self._clocks.knows_all:
            return False
        return self._heard >= {"recording", *(f"inference.{plane}" for plane in self.rig.planes_inferred)}

    def latency_ms(self) -> dict[str, dict[str, float]]:
        """Intervals of the decisions so far."""
        if not hasattr(self, "_driver"):
            return {}
        return self._driver.latency_ms() | {"trip_to_dark": self._trip_to_dark.summary_ms()}

    def handle(self, request: Request) -> dict[str, Any]:
        """Carry out one command; `trip` is accepted from every role."""
        require_allowed(request.role, request.cmd)
        if request.cmd == "set_protocol" and request.role is not Role.SERVICE:
            request.args["path"] = str(named_protocol(request.args))
        return super().handle(request)

    def step(self, ready: dict[Any, int]) -> None:
        """Commands first, for a stop waits for nobody; then the engine; then look after the interlock."""
        self._server.serve()
        if self._clocks is not None:
            self._clocks.serve()
        for _ in range(_BATCH):
            message = self._inlet.take()
            if message is None:
                break
            topic, *parts = message
            self._take(topic.decode(errors="replace"), parts)
        self._decide_joined()
        self._inlet.attend()
        now_ns = self.clock.now_ns()
        before = self._published
        self._watch_recorder(now_ns)
        # Once a run has ended nobody can arm, and its inputs are let go of before this service.
        stop = None if self._is_concluded else self._safety.stop_line
        if stop is not None and now_ns - self._line_ns > _SILENCE_NS:
            self._interlock.stop_line(False, now_ns, f"{stop.line} (not read any more)")
        self._interlock.tend(now_ns)
        self._after_tending()
        if self._coarse_state() != before or now_ns >= self._state_due_ns:
            self._publish_state(now_ns)
        if now_ns >= self._sync_due_ns:
            self._sync_due_ns = now_ns + (_SYNC_ARMED_NS if self._interlock.is_armed else NS_PER_S)
            self._interlock.maintain()
            self._disk.ask()
        self.poll_ms = self._wait_ms()

    def _watch_recorder(self, now_ns: int) -> None:
        """The recorder is lost if it is silent, or if what we tell it does not reach it any more."""
        if self.publisher.recorder_dropped > self._lost_records:
            self._lost_records, self._recorder_ns = self.publisher.recorder_dropped, 0
            if self._interlock.is_armed:
                self._interlock.trip(
                    Precondition.RECORDING_LIVE,
                    self._lost_records,
                    0,
                    "the queue to the recorder is full: records are lost",
                )
        recorder_alive = now_ns - self._recorder_ns < _SILENCE_NS
        self._interlock.set_precondition(Precondition.RECORDING_LIVE, recorder_alive)

    def _after_tending(self) -> None:
        """Tell what became of trains that were cut, how soon a trip was dark, and what the disk said."""
        for cut in self._interlock.take_cut_trains():
            self._driver.publish_cut(cut)
        if self._interlock.n_trips != self._n_trips:
            self._n_trips = self._interlock.n_trips
            self._trip_to_dark.record(self._interlock.trips[-1].dark_after_ns)
        if self._disk.failure is not None:
            failure, self._disk.failure = self._disk.failure, None
            self._interlock.trip("stimulation_log", "failed", "reaches the disk", str(failure))

    def _coarse_state(self) -> tuple[str, bool, int]:
        """What makes a `state` worth sending at once; a pulse alone does not."""
        lock = self._interlock
        return ("armed" if lock.is_armed else lock.state.value), lock.inhibited, lock.n_trips

    def _wait_ms(self) -> int:
        """Until the next pulse of a train, and not for long."""
        due = [one for one in (output.next_due_ns for output in self._outputs.values()) if one is not None]
        if not due:
            return _POLL_MS
        return max(0, min(_POLL_MS, (min(due) - self.clock.now_ns()) // NS_PER_MS))

    def finish(self) -> None:
        """Dark, disarmed, closed."""
        if not hasattr(self, "_interlock"):
            return
        self._interlock.disarm("service ends")
        self._after_tending()
        for output in self._outputs.values():
            output.close()
        if hasattr(self, "_mark"):
            self._mark.close()
        self._disk.close()
        self._safety.wal.close()
        if hasattr(self, "_server"):
            self._publish_state(self.clock.now_ns())
            self._server.close()
            self._inlet.close()
        if hasattr(self, "_clocks") and self._clocks is not None:
            self._clocks.close()

    def _sync(self) -> None:
        """Force log and ledger to the disk; on the thread of `DiskSync`."""
        self._safety.wal.sync()
        self._safety.ledger.sync()

    def _take(self, topic: str, parts: list[bytes]) -> None:
        try:
            header = decode(topic, parts[0] if parts else b"")
        except MessageError:
            self.dropped += 1
            return
        payload = parts[1:]
        self._heard.add(header.source)
        if self._clocks is not None and isinstance(header, SpikesHeader | ActivityHeader | SyncHeader):
            shift = self._clocks.localize(header)
            if shift is None:  # an age that nobody can tell is no age: neither a heartbeat nor a decision
                self.dropped += 1
                return
            if payload and isinstance(header, SpikesHeader):
                payload[0] = localize_events(payload[0], shift)
        match header:
            case HealthHeader(source="recording"):
                self._recorder_ns = self.clock.now_ns() if header.state != "failed" else 0
            case RoisHeader() if payload:
                self._take_rois(header, payload[0])
            case SpikesHeader() if self._inlet.is_new(header):
                if header.boot_id != self._rois_from.get(header.plane):
                    self._interlock.set_precondition(Precondition.CALIBRATION_MATCHES, False)
                if not self._replays:
                    self._interlock.heartbeat(header.t_decided_ns, header.mode, header.plane)
                self._join.put(header, payload[0] if payload else b"", self.clock.now_ns())
                self._decide_joined()
            case ActivityHeader():
                self._join.put(header, payload[0] if payload else b"", self.clock.now_ns())
                self._decide_joined()
            case SyncHeader():
                stop = self._safety.stop_line
                if stop is not None and header.line == stop.line:
                    self._take_line(header, stop)
                if header.kind == "edge":
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

    def _emit(self, light: LightFields) -> None:
        self.publisher.send("light", LightHeader(**self.publisher.stamp("light"), **light))

    def _take_rois(self, header: RoisHeader, payload: bytes) -> None:
        """Cells of a plane; an engine that has told none is not the one that was calibrated."""
        if not self._driver.take_rois(header, payload):
            self.dropped += 1
            return
        self._join.set_lines(header.plane, header.lines_per_frame)
        self._rois_from[header.plane] = header.boot_id
        self._templates[header.plane] = header.template_id
        if self._driver.has_rois:
            self._interlock.set_template("/".join(one for _, one in sorted(self._templates.items())))
            self._interlock.set_precondition(Precondition.CALIBRATION_MATCHES, True)

    def _take_line(self, header: SyncHeader, stop: StopLine) -> None:
        level = {"rising": "high", "falling": "low"}.get(str(header.edge), str(header.edge))
        self._line_ns = self.clock.now_ns()
        t_ns = self._line_ns if header.t_edge_ns is None else header.t_edge_ns
        self._interlock.stop_line(level == stop.closed, t_ns, header.line)

    def _publish_state(self, now_ns: int) -> None:
        self._state_due_ns = now_ns + NS_PER_S
        self._published = self._coarse_state()
        header = StateHeader(
            **self.publisher.stamp("state"),
            **self._interlock.snapshot(),
            **self._driver.state(),
        )
        self.publisher.send("state", header)

    def _arm(self, args: dict[str, Any]) -> dict[str, Any]:
        operator = str(args.get("operator") or "")
        automatic = bool(args.get("automatic", False))
        if self._is_concluded:
            raise SafetyError("the run has ended", "start another")
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

    def _conclude(self, args: dict[str, Any]) -> dict[str, Any]:
        """The end of a run: effects of the session; from here on there is no light."""
        if self._interlock.is_armed:
            self._interlock.disarm("end of run")
        self._is_concluded = True
        return self._driver.conclude()

    def _trip(self, args: dict[str, Any]) -> dict[str, Any]:
        text = str(args.get("text") or "stopped by command")[:_LONGEST_TEXT]
        asked_ns = args.get("t_asked_ns")
        self._interlock.trip("command", "trip", "-", text, t_cause_ns=asked_ns if isinstance(asked_ns, int) else None)
        return self._status({})

    def _reset(self, args: dict[str, Any]) -> dict[str, Any]:
        reason = str(args.get("reason") or "")
        self._interlock.reset(reason)
        self.log("info", f"interlock reset: {reason}")
        if not self._interlock.preconditions()[Precondition.OUTPUTS_TESTED]:
            self._self_test()
        return self._status({})

    def _source(self, args: dict[str, Any]) -> dict[str, Any]:
        """Learn how often frames come: the silence of a live engine is judged by it."""
        period_ns = round(NS_PER_S / float(args["frame_rate_hz"]))
        if not self.setup.lossless and not self._replays:
            self._safety.heartbeat.set_live_bound(live_silence_ns(period_ns))
        return {"live_bound_ms": self._safety.heartbeat.live_bound_ns / NS_PER_MS}

    def _set_protocol(self, args: dict[str, Any]) -> dict[str, Any]:
        """Load a protocol for the cells of the present calibration; disarms."""
        loaded = self._driver.load(Path(str(args["path"])))
        self._hear_activity()
        if self._driver.lines and not self.rig.inputs:
            self._sub.connect(self.rig.ports.endpoint("acquisition"))
        gc.collect()
        gc.freeze()  # what is there by now stays: no collection looks through it again while there is light to give
        return loaded

    def _hear_activity(self) -> None:
        if self._driver.uses_activity:
            self._inlet.go_round()
            self._sub.subscribe(b"activity.")
            self._join.awaits_activity = True

    def _key(self, args: dict[str, Any]) -> dict[str, Any]:
        """A mark that a person gave, or a request; protocols may react to it, until its deadline if it has one."""
        deadline_ns = int(args.get("deadline_ns") or 0)
        if deadline_ns and self._clocks is not None:
            shift = self._clocks.shift_of("telemetry")
            deadline_ns = 1 if shift is None else deadline_ns + shift.earliest_ns
        if deadline_ns and self.clock.now_ns() > deadline_ns:
            return {"awaited": False, "late": True}
        awaited = self._driver.take_key(str(args.get("key") or ""))
        return {"awaited": awaited, "keys": self._driver.keys, "interlock": self._coarse_state()[0]}

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
