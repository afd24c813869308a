"""One session from start to report: baseline, calibration, live, ordered stop."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
import types
from functools import partial
from pathlib import Path
from typing import Any

from rt_engine.interfaces.clock import NS_PER_S, MonotonicClock
from rt_engine.interfaces.errors import ServiceError, SpikeloopError
from rt_engine.interfaces.messages import Header, LogHeader, SessionHeader
from rt_engine.interfaces.stream_config import StreamMicroscope
from rt_engine.services.arming import arm_or_say_why
from rt_engine.services.baseline_phase import BaselinePhase, plane_rate_hz
from rt_engine.services.client_commands import ClientCommands
from rt_engine.services.run_plan import RunPlan
from rt_engine.services.run_view import RunView
from rt_engine.services.session_folder import file_digest, keep_protocol, write_config
from rt_engine.services.session_record import resolved_config, time_base
from rt_engine.services.setup import Setup, inference_services
from rt_engine.services.slow_start import SlowStart
from rt_engine.services.snapshot import SnapshotKeeper
from rt_engine.services.straight_ways import shared_memory_in_vain
from rt_engine.services.supervisor import Supervisor

_SESSION_PERIOD_NS = NS_PER_S
_NOTICE_FRAMES = 5
_LATE_END_S = 10.0
_ARMABLE_S = 20.0
"""Patience until the interlock can be armed; a slow source gets the time of three frames."""
_CONCLUDE_S = 120.0


class _StoppedByUser(Exception):
    """Ctrl-C or `ctl stop` before the end."""


class SessionRun:
    """Runs a plan; `run` returns the summary that stands in `summary.json`."""

    def __init__(self, plan: RunPlan, view: RunView) -> None:
        self._plan = plan
        self._view = view
        self._clock = MonotonicClock()
        self._stop = threading.Event()
        self._phase = "starting"
        self._session_due_ns = 0
        self._keeper = SnapshotKeeper()
        self._failure: SpikeloopError | None = None
        self._telemetry_lost = False
        self._t_wall_ns = time.time_ns()
        self._t_monotonic_ns = self._clock.now_ns()
        self._session = plan.folder.name
        self._concluded: dict[str, Any] = {}
        self._config = resolved_config(plan, self._session)
        self._time_base = time_base(plan.replay, self._t_wall_ns, self._t_monotonic_ns)
        self._engines = inference_services(plan.rig)

    def run(self) -> dict[str, Any]:
        """Run to the end, and write summary and report.

        Raises
        ------
        SpikeloopError
            What ended the run before its time; the session folder holds what was recorded.
        """
        write_config(self._plan.folder, self._config)
        keep_protocol(self._plan.folder, self._plan.protocol)
        setup = Setup(
            service="",
            rig=self._plan.rig.model_dump(mode="json"),
            session=self._session,
            folder=str(self._plan.folder),
            t_wall_ns=self._t_wall_ns,
            t_monotonic_ns=self._t_monotonic_ns,
            dry_run=self._plan.dry_run,
            lossless=self._plan.lossless,
        )
        previous = signal.signal(signal.SIGINT, self._on_interrupt)
        ended = "failure"
        supervisor = Supervisor(setup, ClientCommands(self).handle, self._on_message)
        self._supervisor = supervisor
        try:
            ended = self._phases()
        except _StoppedByUser:
            ended = "stopped"
        except SpikeloopError as error:
            self._failure = error
            self._view.end_live()
            self._view.say(f"failed: {error}", "red")
        finally:
            self._view.end_progress()
            self._view.end_live()
            try:
                self._end(supervisor)
            finally:
                supervisor.close()
                signal.signal(signal.SIGINT, previous)
        return self._conclude(ended)

    def _phases(self) -> str:
        self._view.say(f"session folder: {self._plan.folder}")
        if in_vain := shared_memory_in_vain(self._plan.rig, lossless=self._plan.lossless):
            self._view.say(in_vain, "yellow")
        n_planes = len(self._engines)
        self._view.say(
            "starting the five services …" if n_planes == 1 else f"starting the services, {n_planes} planes …"
        )
        for one in self._supervisor.far.awaited():
            self._view.say(
                f"  waiting for {one.name} on {one.address} (there: spikeloop serve RIG --service {one.name})"
            )
        self._slow_start = SlowStart(self._clock, self._view.say)
        self._supervisor.start(on_wait=self._while_starting)
        self._enter("waiting")
        geometry = self._await_geometry()
        calibration = self._plan.folder / "calibration.h5"
        if self._plan.calibration is not None:
            shutil.copyfile(self._plan.calibration, calibration)
            self._supervisor.request("recording", "no_baseline")
        else:
            baseline = BaselinePhase(self._plan, self._view, self._supervisor, self._keeper, self._turn)
            self._enter("baseline")
            baseline.record(geometry)
            self._enter("calibrating")
            baseline.calibrate(geometry, calibration)
        self._config["calibration_sha256"] = file_digest(calibration)
        write_config(self._plan.folder, self._config)
        return self._live(geometry, calibration)

    def _await_geometry(self) -> dict[str, Any]:
        facts = self._supervisor.facts["acquisition"]
        microscope = self._plan.rig.microscope
        if "geometry" not in facts and isinstance(microscope, StreamMicroscope):
            self._view.say(f"waiting for the first frame at {microscope.where} …")
        while "geometry" not in facts:
            self._turn()
        geometry: dict[str, Any] = facts["geometry"]
        return geometry

    def _live(self, geometry: dict[str, Any], calibration: Path) -> str:
        size = [geometry["n_lines"], geometry["pixels_per_line"]]
        request = self._supervisor.request
        facts = {
            "path": str(calibration),
            "size": size,
            "frame_rate_hz": plane_rate_hz(geometry),
            "frames_per_volume": geometry["frames_per_volume"],
            "um_per_px": geometry["um_per_px"],
            "strip_lines": geometry["strip_lines"],
        }
        request("stimulation", "source", {"frame_rate_hz": plane_rate_hz(geometry)})
        engines = self._engines.values()
        n_rois = sum(int(request(engine, "calibrate", facts, timeout_s=120)["n_rois"]) for engine in engines)
        self._keeper.snapshot.n_rois = n_rois
        if self._plan.protocol is not None:
            self._await(lambda: request("stimulation", "status")["has_rois"], 20.0, "the cells to be known")
            request("stimulation", "set_protocol", {"path": str(self._plan.protocol)})
        duration_s, rate_hz = self._plan.duration_s, plane_rate_hz(geometry)
        n_frames = None if duration_s is None else max(1, round(duration_s * rate_hz))
        self._keeper.begin_live(self._clock.now_ns(), duration_s)
        source = {
            "n_frames": n_frames,
            "pause_after": True,
            "notice_frames": _NOTICE_FRAMES,
            "records_pixels": self._plan.rig.recording.frames != "none",
        }
        if self._plan.lossless:
            # The source stands still: inference must know where live begins before the first frame leaves it.
            for engine in engines:
                request(engine, "go_live", {"from_frame": 0})
            request("acquisition", "segment", source)
        else:
            first = request("acquisition", "segment", source)["first_frame"]
            for engine in engines:
                request(engine, "go_live", {"from_frame": first})
        self._enter("live")
        self._view.say(
            f"live: {n_rois} cells"
            + (f" in {len(engines)} planes" if len(engines) > 1 else "")
            + (f", {duration_s:g} s" if duration_s else ", until Ctrl-C")
            + self._arm(rate_hz)
        )
        return self._watch(duration_s, rate_hz)

    def _arm(self, rate_hz: float) -> str:
        """Arm where nothing but virtual light can follow; say what holds otherwise."""
        if self._plan.protocol is None:
            return "; no protocol, no light"
        if self._plan.replay is not None:
            return f"; {self._plan.replay.light}"
        if not self._plan.rig.all_outputs_virtual:
            return "; disarmed: arm with `spikeloop ctl arm`"
        patience_s = max(_ARMABLE_S, 3 / rate_hz)
        ask = partial(self._supervisor.request, "stimulation")
        if (why := arm_or_say_why(ask, self._turn, self._clock, patience_s)) is not None:
            return f"; disarmed, no light: {why}; then arm with `spikeloop ctl arm`"
        return "; armed (every output is virtual)" + (" — dry run, nothing is fired" if self._plan.dry_run else "")

    def _watch(self, duration_s: float | None, rate_hz: float) -> str:
        supervisor = self._supervisor
        while True:
            try:
                self._turn()
            except _StoppedByUser:
                return "stopped"
            state = supervisor.state("acquisition")
            last_frames = supervisor.facts["acquisition"].get("last_frames", [])
            if state in ("segment_done", "ended") and self._keeper.has_seen(last_frames):
                return "duration" if state == "segment_done" else "source"
            if duration_s is not None and not self._plan.lossless and not self._plan.rig.trial_gated:
                late_s = (self._clock.now_ns() - self._keeper.live_since_ns) / NS_PER_S - duration_s
                if late_s > _LATE_END_S + 0.1 * duration_s + (_NOTICE_FRAMES + 1) / rate_hz:
                    self._view.say("the source has not delivered all frames in time; ending", "yellow")
                    return "duration"
            self._view.show(self._keeper.refresh(self._clock.now_ns()))

    def _turn(self) -> None:
        """One turn of the supervisor: messages, clients, `session` once a second, failures, stop."""
        self._supervisor.pump(0.05)
        now_ns = self._clock.now_ns()
        if now_ns >= self._session_due_ns:
            self._publish_session()
        self._supervisor.raise_if_failed()
        self._say_lost_telemetry()
        for level, text in self._keeper.take_logs():
            self._view.say(f"  {level}: {text}", "yellow" if level == "warning" else "")
        if self._stop.is_set():
            raise _StoppedByUser

    def _while_starting(self) -> None:
        self._slow_start.look(
            [name for name in self._supervisor.services if self._supervisor.state(name) == "starting"]
        )
        if self._stop.is_set():
            raise _StoppedByUser

    def _say_lost_telemetry(self) -> None:
        if not self._telemetry_lost and "telemetry" in self._supervisor.died():
            self._telemetry_lost = True
            self._view.say("  warning: the telemetry service has ended; the run goes on without it", "yellow")

    def _await(self, done: Any, timeout_s: float, what: str) -> None:
        deadline_ns = self._clock.now_ns() + int(timeout_s * NS_PER_S)
        while not done():
            self._turn()
            if self._clock.now_ns() > deadline_ns:
                raise ServiceError(f"waited {timeout_s:g} s for {what}", "look at the messages of the engine")

    def _end(self, supervisor: Supervisor) -> None:
        failed_live = self._failure is not None and self._phase == "live"
        self._enter("stopping")
        self._view.say("stopping …")
        if "stimulation" not in supervisor.died() and self._supervisor_knows("stimulation"):
            try:
                if failed_live:
                    supervisor.request("stimulation", "trip", {"text": str(self._failure)}, timeout_s=5)
                supervisor.request("stimulation", "disarm", {"reason": "end of run"}, timeout_s=5)
                self._concluded = supervisor.request("stimulation", "conclude", timeout_s=_CONCLUDE_S)
                supervisor.fetch_light_log(self._plan.folder)
            except SpikeloopError as error:
                self._view.say(f"  warning: stimulation did not answer: {error}", "yellow")
        forced = supervisor.stop()
        if forced:
            self._view.say(f"  warning: had to be ended by force: {', '.join(forced)}", "yellow")

    def _supervisor_knows(self, service: str) -> bool:
        return service in self._supervisor.facts

    def _conclude(self, ended: str) -> dict[str, Any]:
        if self._keeper.live_since_ns == 0:
            raise self._failure or ServiceError(
                "stopped before going live", "what was recorded is in the session folder"
            )
        from rt_engine.services.conclusion import conclude
        from rt_engine.services.protocol_results import write_results

        failure = str(self._failure) if self._failure else None
        facts = {"ended": ended, "failure": failure, "kind": self._plan.kind, "dry_run": self._plan.dry_run}
        facts |= write_results(self._plan.folder, self._concluded)
        summary = conclude(self._plan.folder, facts, self._view)
        if self._failure is not None:
            raise self._failure
        return summary

    def _enter(self, phase: str) -> None:
        self._phase = phase
        self._keeper.snapshot.phase = phase
        self._publish_session()

    def _publish_session(self) -> None:
        self._session_due_ns = self._clock.now_ns() + _SESSION_PERIOD_NS
        publisher = self._supervisor.publisher
        header = SessionHeader(
            **publisher.stamp("session"),
            **self._time_base,
            state=self._phase,
            rig=self._plan.rig.name,
            protocol=self._plan.protocol.stem if self._plan.protocol else None,
            versions=self._config["versions"],
            git_hash=self._config["git_hash"],
            seeds=self._config["seeds"],
            subject=self._plan.subject,
            config=self._config,
        )
        publisher.send("session", header)

    def _on_interrupt(self, number: int, frame: types.FrameType | None) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._stop.set()

    def _on_message(self, topic: str, header: Header, payload: list[bytes]) -> None:
        self._keeper.take(topic, header, payload)

    @property
    def phase(self) -> str:
        """As on topic `session`."""
        return self._phase

    @property
    def engines(self) -> dict[int, str]:
        """Plane to the service that infers it."""
        return self._engines

    def enter(self, phase: str) -> None:
        """Another phase, asked for by a client."""
        self._view.say(f"{phase}, by command")
        self._enter(phase)

    def end(self) -> None:
        """The user wants the session to end."""
        self._stop.set()

    def note(self, level: str, text: str, fields: dict[str, Any]) -> None:
        """Publish and record a sentence."""
        publisher = self._supervisor.publisher
        publisher.send("log", LogHeader(**publisher.stamp("log"), level=level, text=text, fields=fields))
        self._view.say(f"  {level}: {text}")

    def request(self, service: str, cmd: str, args: dict[str, Any]) -> dict[str, Any]:
        """Result of a command of a client to a service."""
        return self._supervisor.request(service, cmd, args, timeout_s=5)

    def status(self) -> dict[str, Any]:
        """What `status` tells."""
        snapshot = self._keeper.refresh(self._clock.now_ns())
        return {
            "session": self._session,
            "t_ns": self._clock.now_ns(),
            "folder": str(self._plan.folder.resolve()),
            "phase": self._phase,
            "services": {name: self._supervisor.state(name) for name in self._supervisor.facts},
            "pids": self._supervisor.pids(),
            "frames": snapshot.frames,
            "frames_lost": snapshot.frames_lost,
            "planes": {str(plane): {"frames": n} for plane, n in sorted(snapshot.plane_frames.items())},
            "events": snapshot.events,
            "n_rois": snapshot.n_rois,
            "interlock": snapshot.interlock,
            "trip": snapshot.trip,
            "stim": snapshot.stim,
            "latency_ms": snapshot.latency_ms,
        }


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write indented JSON."""
    path.write_text(json.dumps(data, indent=1, sort_keys=False, default=float), encoding="utf-8")
