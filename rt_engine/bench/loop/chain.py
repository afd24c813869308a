"""The product under measurement: its real services in their own processes, driven frame by frame from here."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import yaml
import zmq

from rt_engine.bench.loop.bench_rig import PROTOCOL, bench_rig
from rt_engine.bench.loop.chain_plan import ChainPlan
from rt_engine.bench.loop.chain_source import ChainSource
from rt_engine.bench.loop.field import PlantedLoop
from rt_engine.bench.loop.harm import Harm
from rt_engine.bench.loop.intervals import COMMANDS, DECISIONS, Intervals, RoundTimes
from rt_engine.bench.loop.pace import Pacer
from rt_engine.bench.loop.watcher import watch, window
from rt_engine.interfaces.calibration import save_calibration
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.errors import ServiceError
from rt_engine.interfaces.messages import LogHeader, SpikesHeader
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.service_config import Ports, SchedulingConfig
from rt_engine.services.setup import Setup
from rt_engine.services.supervisor import Supervisor
from rt_engine.transport.free_ports import free_ports
from rt_engine.transport.sockets import await_parts, is_waiting
from rt_engine.transport.source_publisher import IO_THREADS

_WAIT_MS = 20_000
_NO_COMMAND_MS = 100
"""Longer than any command takes; a frame that triggers nothing costs so much of the round, and is left out."""
_LIVE_S = 60.0
_SETTLE_FRAMES = 30
_NETWORK = "synthetic+real"


class ProductChain:
    """Inference, stimulation and, if wanted, recording and watchers; this process is microscope and supervisor.

    Parameters
    ----------
    plan : ChainPlan
    planted : PlantedLoop
    folder : Path
        Empty; becomes a session folder.
    scheduling : SchedulingConfig, optional
        Priorities and cores of the services.
    """

    def __init__(
        self, plan: ChainPlan, planted: PlantedLoop, folder: Path, scheduling: SchedulingConfig | None = None
    ) -> None:
        self.plan, self.planted = plan, planted
        folder.mkdir(parents=True)
        names = list(Ports().all_ports())
        self._side_px = planted.frames.shape[1]
        rig = RigConfig.model_validate(
            bench_rig(
                self._side_px,
                dict(zip(names, free_ports(len(names)), strict=True)),
                plan.keeps_frames,
                plan.searches,
                scheduling,
                plan.frames_by,
                _NETWORK if plan.network else None,
            )
        )
        clock = MonotonicClock()
        setup = Setup(
            service="",
            rig=rig.model_dump(mode="json"),
            session=plan.name,
            folder=str(folder),
            t_wall_ns=time.time_ns(),
            t_monotonic_ns=clock.now_ns(),
            dry_run=False,
            lossless=False,
            recorded=plan.recorded,
        )
        with contextlib.ExitStack() as self._stack:
            self._build(rig, setup, clock, folder)
            self._stack = self._stack.pop_all()

    def _build(self, rig: RigConfig, setup: Setup, clock: MonotonicClock, folder: Path) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(IO_THREADS)
        self._stack.callback(self._context.destroy, linger=0)
        self._open_sockets(rig.ports, setup, clock)
        services = ["inference", "stimulation"]
        services = ["recording"] * self.plan.recorded + services
        self._supervisor = Supervisor(setup, lambda request: {}, self._on_message, services=services)
        self._stack.callback(self._supervisor.close)
        self._said: list[str] = []
        self._frame = self._first_frame = self._n_recorders = 0
        self._folder = folder
        self._harm: Harm | None = None
        self._live_from: int | None = None
        self._start(folder)
        # Windows come and go while a rig runs: they subscribe after the services have.
        self._endpoints = [rig.ports.endpoint(n) for n in ("acquisition", "inference", "stimulation", "recording")]
        self._watchers = [self._start_watcher() for _ in range(self.plan.n_watchers)]
        if self.plan.has_window:
            self._stack.enter_context(window(rig, folder))

    def _open_sockets(self, ports: Ports, setup: Setup, clock: MonotonicClock) -> None:
        self._source = ChainSource(self._context, ports, setup, clock, self.planted, recorded=self.plan.recorded)
        self._stack.callback(self._source.close)
        self._answers = self._context.socket(zmq.SUB)
        self._stack.callback(self._answers.close)
        self._answers.setsockopt(zmq.RCVHWM, 100_000)
        self._answers.connect(ports.endpoint("inference"))
        self._answers.connect(ports.endpoint("stimulation"))
        # One small message wakes this process for each frame, as the output of the reference hop does.
        self._answers.subscribe(b"spikes." if self.plan.awaits_decision else b"stim")
        if self.plan.hears_commands:
            self._answers.subscribe(b"stim")
        self._times = RoundTimes()
        self._in_round = False

    def _start_watcher(self) -> BaseProcess:
        process = multiprocessing.get_context("spawn").Process(target=watch, args=(self._endpoints,), daemon=True)
        process.start()
        self._stack.callback(process.join, 5)
        self._stack.callback(process.kill)
        return process

    def do_harm(self, harm: Harm) -> None:
        """To one process of this chain, until `heal`.

        Parameters
        ----------
        harm : Harm
        """
        self._harm = harm
        process = psutil.Process(self.pids()["recording"] if harm.is_of_recorder else self.watcher_pids()[0])
        if harm.kills:
            process.kill()
        else:
            process.suspend()

    def heal(self) -> None:
        """As it was before the harm."""
        harm, self._harm = self._harm, None
        if harm is None:
            return
        if not harm.kills:
            psutil.Process(self.pids()["recording"] if harm.is_of_recorder else self.watcher_pids()[0]).resume()
        elif harm.is_of_recorder:
            self._start_recorder_anew()
        else:
            self._watchers[0].join(5)
            self._watchers[0] = self._start_watcher()

    def _start_recorder_anew(self) -> None:
        """In a folder of its own: it overwrites no journal."""
        self._n_recorders += 1
        folder = self._folder / f"recorder-{self._n_recorders}"
        folder.mkdir()
        self._supervisor.begin("recording", str(folder))
        give_up_s = time.monotonic() + _LIVE_S
        while self._supervisor.state("recording") != "ready":
            self._fail_after(give_up_s, "the recorder")
        self._supervisor.request("recording", "no_baseline")

    def _start(self, folder: Path) -> None:
        path, protocol = folder / "calibration.h5", folder / "protocol.yaml"
        save_calibration(path, self.planted.calibration)
        protocol.write_text(yaml.safe_dump(PROTOCOL), encoding="utf-8")
        supervisor = self._supervisor
        supervisor.start(on_wait=self._source.tell_health)
        for _ in range(_SETTLE_FRAMES):
            self._send_frame(time.perf_counter_ns())
            supervisor.pump(0.01)
        if self.plan.recorded:
            # Frames of a baseline are kept whatever the rig file says; there is none here.
            supervisor.request("recording", "no_baseline")
            self._source.records_pixels(self.plan.keeps_frames)
        supervisor.request("inference", "calibrate", {"path": str(path)}, timeout_s=180)
        give_up_s = time.monotonic() + _LIVE_S
        while not supervisor.request("stimulation", "status")["has_rois"]:
            self._fail_after(give_up_s, "the cells to be known")
        supervisor.request("stimulation", "set_protocol", {"path": str(protocol)})

    def go_live(self) -> None:
        """From paused to live and armed, with cells that have seen enough frames to decide."""
        supervisor = self._supervisor
        supervisor.request("inference", "go_live", {"from_frame": self._frame})
        self._live_from = self._frame if self._live_from is None else self._live_from
        give_up_s = time.monotonic() + _LIVE_S
        for _ in range(_SETTLE_FRAMES):
            self._send_frame(time.perf_counter_ns())
            supervisor.pump(0.003)
        while not self._arm():
            self._send_frame(time.perf_counter_ns())
            self._fail_after(give_up_s, "the interlock")
        if self.plan.has_window:
            # It may have opened since the cells were told.
            supervisor.request("inference", "describe", {})
        while self._answers.poll(200):
            self._answers.recv_multipart()

    def _arm(self) -> bool:
        """Armed, after a reset where the interlock has tripped; false if it may not be yet."""
        request = self._supervisor.request
        status = request("stimulation", "status")
        if status["interlock"] == "tripped":
            request("stimulation", "reset", {"reason": "the benchmark goes on"})
        elif status["can_arm"]:
            request("stimulation", "arm", {"automatic": True})
            return True
        return False

    def is_armed(self) -> bool:
        """False after a trip: this process, or the engine, has stood still for a second."""
        return bool(self._supervisor.request("stimulation", "status")["interlock"] == "armed")

    def pause(self) -> None:
        """Disarmed, and silent until `go_live`."""
        supervisor = self._supervisor
        supervisor.request("stimulation", "disarm", {"reason": "end of a round"})
        supervisor.request("inference", "mode", {"mode": "paused"})
        self._send_frame(time.perf_counter_ns())
        supervisor.pump(0.05)

    def _fail_after(self, give_up_s: float, what: str) -> None:
        self._source.tell_health()
        self._supervisor.pump(0.02)
        self._supervisor.raise_if_failed()
        if time.monotonic() > give_up_s:
            raise ServiceError(f"{self.plan.name}: waited too long for {what}: {'; '.join(self._said[-3:])}")

    def _on_message(self, topic: str, header: Any, payload: list[bytes]) -> None:
        if isinstance(header, LogHeader):
            self._said.append(header.text)
        elif isinstance(header, SpikesHeader) and header.frame >= self._first_frame and self._hears_spikes():
            self._times.decided(header, None)

    def _hears_spikes(self) -> bool:
        """True while a round runs whose decisions do not come by themselves."""
        return self._in_round and not self.plan.awaits_decision

    def run(self, n_frames: int, rate_hz: float | None) -> Intervals:
        """Whole frames one by one, each after the answer to the one before, and not before it is due.

        Parameters
        ----------
        n_frames : int
        rate_hz : float or None

        Raises
        ------
        ServiceError
            No answer.
        """
        times = self._begin()
        pacer = Pacer(rate_hz)
        begin_s = time.perf_counter()
        for _ in range(n_frames):
            self._source.tell_health()
            pacer.wait()
            t_ready_ns = time.perf_counter_ns()
            self._send_frame(t_ready_ns)
            self._await_answer(times, self._frame - 1)
        return self._finish(time.perf_counter() - begin_s)

    def run_stream(self, n_frames: int, n_ahead: int) -> Intervals:
        """As fast as it goes, with at most `n_ahead` frames under way.

        Parameters
        ----------
        n_frames, n_ahead : int
        """
        times = self._begin()
        begin_s = time.perf_counter()
        for _ in range(n_frames):
            self._source.tell_health()
            while self._frame - times.last_frame > n_ahead:
                self._await_answer(times, self._frame - n_ahead)
            self._send_frame(time.perf_counter_ns())
        self._await_answer(times, self._frame - 1)
        return self._finish(time.perf_counter() - begin_s)

    def losses(self) -> dict[str, Any]:
        """What inference says of all frames so far, and how many were sent since the chain went live first."""
        status = self._supervisor.request("inference", "status")
        sent = 0 if self._live_from is None else self._frame - self._live_from
        return {"sent": sent, "fates": status["fates"], "unaccounted": status["frames_unaccounted"]}

    def pids(self) -> dict[str, int]:
        """Process id of every service."""
        return self._supervisor.pids()

    def watcher_pids(self) -> list[int]:
        """Process ids of the subscribers of everything."""
        return [process.pid for process in self._watchers if process.pid is not None]

    def run_strips(self, n_frames: int, rate_hz: float) -> Intervals:
        """Strips in the pace of the scan.

        Parameters
        ----------
        n_frames : int
        rate_hz : float
            Of frames.
        """
        strip_lines = self.plan.strip_lines or self._side_px
        times = self._begin()
        n_strips = self._side_px // strip_lines
        pacer = Pacer(rate_hz * n_strips)
        begin_s = time.perf_counter()
        for _ in range(n_frames):
            self._source.tell_health()
            for strip in range(n_strips):
                pacer.wait()
                self._source.send_lines(self._frame, strip * strip_lines, strip_lines, time.perf_counter_ns())
                self._await_answer(times, self._frame)
            self._frame += 1
        return self._finish(time.perf_counter() - begin_s)

    def _begin(self) -> RoundTimes:
        self._supervisor.pump(0.0)
        self._first_frame = self._frame
        self._times, self._in_round = RoundTimes(self._frame - 1), True
        return self._times

    def _finish(self, duration_s: float) -> Intervals:
        """Take in what the supervisor has heard meanwhile."""
        self._supervisor.pump(0.2)
        while self.plan.hears_commands and self._answers.poll(50):
            self._take_answer(self._times)
        self._in_round = False
        return self._times.intervals(duration_s)

    def _await_answer(self, times: RoundTimes, frame: int) -> None:
        """Until the decision on `frame` has come, or the command that follows from it; it may also end without one."""
        while True:
            wait_ms = _WAIT_MS if self.plan.awaits_decision else _NO_COMMAND_MS
            if not is_waiting(self._answers) and not self._answers.poll(wait_ms):
                if self.plan.awaits_decision:
                    self._supervisor.pump(0.1)
                    self._supervisor.raise_if_failed()
                    raise ServiceError(f"{self.plan.name}: frame {self._frame} was not answered: {self._said[-3:]}")
                times.n_without_command += 1
                times.last_frame = max(times.last_frame, frame)
                return
            if self._take_answer(times) or times.last_frame >= frame:
                return

    def _take_answer(self, times: RoundTimes) -> bool:
        """Note one message; true if it is a decision that is awaited."""
        topic, data, *_ = (part.bytes for part in await_parts(self._answers))
        now_ns = time.perf_counter_ns()
        if topic != b"stim":
            times.decided(DECISIONS.decode(data), now_ns)
            return True
        stim = COMMANDS.decode(data)
        if stim.phase == "done":
            times.commanded(stim)
            if not self.plan.awaits_decision:
                times.last_frame = stim.frame
        return False

    def _send_frame(self, t_ready_ns: int) -> None:
        self._source.send_lines(self._frame, 0, self._side_px, t_ready_ns)
        self._frame += 1

    def close(self) -> None:
        """End all processes in order."""
        try:
            self._supervisor.stop()
        finally:
            self._stack.close()
