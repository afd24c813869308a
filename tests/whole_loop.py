"""Inference and stimulation, from the frame to the command, in one process, on a clock that is set by hand."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import yaml
import zmq

from rt_engine.bench.loop.bench_rig import PROTOCOL, bench_rig
from rt_engine.bench.loop.field import PlantedLoop
from rt_engine.interfaces.calibration import save_calibration
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S
from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.messages import FrameHeader, HealthHeader
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.service_config import FrameWay, Ports
from rt_engine.services.inference import InferenceService
from rt_engine.services.setup import Setup
from rt_engine.services.stimulation import StimulationService
from rt_engine.services.straight_ways import frame_sender
from rt_engine.transport.free_ports import free_ports
from rt_engine.transport.publisher import Publisher
from rt_engine.transport.source_publisher import IO_THREADS, SourcePublisher

DEADLINE_S = 120.0
PERIOD_NS = 33 * NS_PER_MS


class WholeLoop:
    """Source, engine, protocol, interlock and a virtual output; nobody records, and nobody listens but they.

    Parameters
    ----------
    planted : PlantedLoop
    folder : Path
    frames_by : FrameWay

    Attributes
    ----------
    n_commands : int
        Pulses delivered so far.
    """

    def __init__(self, planted: PlantedLoop, folder: Path, frames_by: FrameWay) -> None:
        self._planted, self._way = planted, frames_by
        self._side_px = planted.frames.shape[1]
        names = list(Ports().all_ports())
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        rig = RigConfig.model_validate(bench_rig(self._side_px, ports, keeps_frames=False, frames_by=frames_by))
        values = rig.model_dump(mode="json")
        self._setup, other = (
            Setup(name, values, "s", str(folder), 0, 0, dry_run=False, lossless=False, recorded=False)
            for name in ("inference", "stimulation")
        )
        self._now_ns, self._frame = 10 * NS_PER_S, 0
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(IO_THREADS)
        self._source = SourcePublisher(
            self._context, rig.ports.endpoint("acquisition"), None, engine_endpoint=rig.ports.endpoint("engine_frames"),
            source="acquisition", session="s", clock=self, straight=frame_sender(self._setup),
        )  # fmt: skip
        self._recorder = Publisher(
            self._context, rig.ports.endpoint("recording"), None, source="recording", session="s", clock=self
        )
        self.inference = InferenceService(self._setup, self)
        self.inference.open()
        self.stimulation = StimulationService(other, self)
        self.stimulation.open()
        self._begin(folder)

    def now_ns(self) -> int:
        """The clock of everybody here."""
        return self._now_ns

    @property
    def n_commands(self) -> int:
        """Pulses delivered so far."""
        return int(self.stimulation.commands["status"]({})["counts"].get("delivered", 0))

    @property
    def n_decided(self) -> int:
        """Frames decided so far."""
        return self.inference._book.counts[Fate.DECIDED]

    def work(self, n_frames: int) -> None:
        """So many frames one by one, each as far as its decision and what follows from it."""
        for _ in range(n_frames):
            before = self.n_decided
            self._send()
            self._until(lambda before=before: self.n_decided > before, "a decision")

    def _begin(self, folder: Path) -> None:
        calibration, protocol = folder / "calibration.h5", folder / "protocol.yaml"
        save_calibration(calibration, self._planted.calibration)
        protocol.write_text(yaml.safe_dump(PROTOCOL), encoding="utf-8")
        self.inference.commands["calibrate"]({"path": str(calibration)})
        status = self.stimulation.commands["status"]
        self._until(lambda: bool(status({})["has_rois"]), "cells", sends=True)
        straight = self._way is FrameWay.SHARED_MEMORY
        self._until(lambda: self.inference._intake._ways.is_straight is straight, "the way of frames", sends=True)
        self.stimulation.commands["set_protocol"]({"path": str(protocol)})
        self.inference.commands["go_live"]({"from_frame": self._frame})
        self._until(lambda: bool(status({})["can_arm"]), "the interlock", sends=True)
        self.stimulation.commands["arm"]({"automatic": True})

    def _until(self, done: Any, what: str, *, sends: bool = False) -> None:
        give_up_s = time.monotonic() + DEADLINE_S
        while not done():
            if sends:
                self._send()
                time.sleep(0.002)
            self.inference.step({})
            self.inference._health_if_due()
            self.stimulation.step({})
            self.stimulation._health_if_due()
            if time.monotonic() > give_up_s:
                raise TimeoutError(f"{what}: {self.stimulation.commands['status']({})}")

    def _send(self) -> None:
        self._now_ns += PERIOD_NS
        header = FrameHeader(
            **self._source.stamp("frame.0.0"), plane=0, channel=0, frame=self._frame, volume=None, line0=0,
            n_lines=self._side_px, lines_per_frame=self._side_px, pixels_per_line=self._side_px, dtype="u2",
            adc_max=None, offset=None, frame_period_ns=PERIOD_NS, line_period_ns=None,
            t_scan_ns=self._now_ns - NS_PER_MS, t_scan_uncertainty_ns=0, t_device_s=None, flags=0,
        )  # fmt: skip
        pixels = self._planted.frames[self._frame % len(self._planted.frames)]
        self._source.send("frame.0.0", header, pixels.data.cast("B"))
        self._frame += 1
        if self._frame % 10 == 1:
            for publisher in (self._source, self._recorder):
                health = HealthHeader(
                    **publisher.stamp("health"), state="running", dropped=0, gaps=0, late=0, queue=0, rss_bytes=0,
                    latency_ms={},
                )  # fmt: skip
                publisher.send("health", health)

    def close(self) -> None:
        """Close both services and all sockets."""
        for service in (self.inference, self.stimulation):
            service.finish()
            service.publisher.close(linger_ms=0)
            service._supervisor.close()
            service.context.destroy(linger=0)
        for publisher in (self._source, self._recorder):
            publisher.close(linger_ms=0)
        self._context.destroy(linger=0)
