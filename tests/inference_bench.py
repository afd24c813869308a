"""The real inference service in this process, its source and its listener, on a clock that is set by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
from safety_rig import FakeClock

from rt_engine.bench.loop.bench_rig import bench_rig
from rt_engine.bench.loop.field import PlantedLoop, plant_loop
from rt_engine.interfaces.calibration import save_calibration
from rt_engine.interfaces.clock import NS_PER_MS
from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.messages import FateHeader, FrameHeader, RoisHeader, SpikesHeader, decode
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.service_config import FrameWay, Ports
from rt_engine.services.inference import InferenceService
from rt_engine.services.setup import Setup
from rt_engine.services.straight_ways import frame_sender
from rt_engine.transport.free_ports import free_ports
from rt_engine.transport.source_publisher import IO_THREADS, SourcePublisher

SIDE_PX, N_CELLS = 96, 16
PERIOD_NS = 33 * NS_PER_MS
DEADLINE_S = 240.0


def planted_field() -> PlantedLoop:
    """Frames with cells that fire, and their calibration."""
    return plant_loop(N_CELLS, SIDE_PX, 60, 3)


class InferenceBench:
    """One inference service, live from frame `next` on.

    `keys` are keys of the rig's section `inference`. With `strip_lines` the frames before `next` come in strips of so
    many lines.
    """

    def __init__(
        self, planted: PlantedLoop, folder: Path, frames_by: FrameWay, strip_lines: int | None = None, **keys: Any
    ) -> None:
        self.planted, self.frames_by = planted, frames_by
        self.strip_lines = strip_lines or SIDE_PX
        names = list(Ports().all_ports())
        rig = bench_rig(SIDE_PX, dict(zip(names, free_ports(len(names)), strict=True)), keeps_frames=False)
        rig["inference"] |= {"deadline_ms": 40.0, "max_backlog_frames": 4, "frames_by": frames_by.value} | keys
        setup = Setup("inference", RigConfig.model_validate(rig).model_dump(mode="json"), "s", str(folder), 0, 0,
                      dry_run=False, lossless=False, recorded=False)  # fmt: skip
        self.rig = setup.rig_config()
        self.clock = FakeClock()
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(IO_THREADS)
        ports = self.rig.ports
        self.source = SourcePublisher(
            self.context, ports.endpoint("acquisition"), None, engine_endpoint=ports.endpoint("engine_frames"),
            source="acquisition", session="s", clock=self.clock, straight=frame_sender(setup),
        )  # fmt: skip
        self.service = InferenceService(setup, self.clock)
        self.service.open()
        self.listener = self.context.socket(zmq.SUB)
        self.listener.connect(ports.inference_endpoint(0))
        for topic in (b"spikes.", b"fate.", b"rois"):
            self.listener.subscribe(topic)
        self.heard: list[Any] = []
        self.payloads: list[bytes] = []
        self.calibration = folder / "calibration.h5"
        save_calibration(self.calibration, planted.calibration)
        if strip_lines is not None:
            self._first_contact()  # an engine for strips is made once strips have been seen
        self.service.commands["calibrate"]({"path": str(self.calibration)})
        self._connect()

    def _first_contact(self) -> None:
        self.next = 0
        self._until(lambda: bool(self.service._strips.longest_lines), self._send_next)

    def _connect(self) -> None:
        """Until frames come through, and `spikes` come back."""
        self.next = getattr(self, "next", 0)
        self._until(lambda: bool(self.heard) and self._is_joined(), self._send_next)
        self.service.commands["go_live"]({"from_frame": self.next})

    def _send_next(self) -> None:
        for line0 in range(0, SIDE_PX, self.strip_lines):
            self.send(self.next, line0=line0, n_lines=self.strip_lines)
        self.next += 1
        time.sleep(0.01)

    def _is_joined(self) -> bool:
        """True once frames come the way that is under test."""
        return self.service._intake._ways.is_straight is (self.frames_by is FrameWay.SHARED_MEMORY)

    def pixels(self, frame: int) -> Any:
        """What the scanner sees."""
        return self.planted.frames[frame % len(self.planted.frames)]

    def send(self, frame: int, *, line0: int = 0, n_lines: int = SIDE_PX, flags: int = 0, age_ms: float = 1.0,
             cut: int = 0, blanked: list[list[int]] | None = None) -> None:  # fmt: skip
        """One message of lines, scanned `age_ms` ago; `cut` bytes are missing at its end."""
        header = FrameHeader(
            **self.source.stamp("frame.0.0"), plane=0, channel=0, frame=frame, volume=None, line0=line0,
            n_lines=n_lines, lines_per_frame=SIDE_PX, pixels_per_line=SIDE_PX, dtype="u2", adc_max=None, offset=None,
            frame_period_ns=PERIOD_NS, line_period_ns=None,
            t_scan_ns=self.clock.now_ns() - round(age_ms * NS_PER_MS),
            t_scan_uncertainty_ns=0, t_device_s=None, flags=flags, blanked=blanked or [],
        )  # fmt: skip
        pixels = self.pixels(frame)[line0 : line0 + n_lines].tobytes()
        self.source.send("frame.0.0", header, pixels[: len(pixels) - cut])

    def turn(self) -> None:
        """Let the service work off what has come."""
        self.service.step({})
        while self.listener.poll(1):
            topic, data, *payload = self.listener.recv_multipart()
            self.heard.append(decode(topic.decode(), data))
            self.payloads.append(payload[0] if payload else b"")

    def until(self, done: Callable[[], bool]) -> None:
        """Turn until `done` says yes."""
        self._until(done, lambda: None)

    def _until(self, done: Callable[[], bool], act: Callable[[], None]) -> None:
        give_up_s = time.monotonic() + DEADLINE_S
        while not done():
            act()
            self.turn()
            assert time.monotonic() < give_up_s, self.service.commands["status"]({})

    def counts(self) -> dict[Fate, int]:
        """Fates so far."""
        return self.service._book.counts

    def told(self, fate: Fate) -> list[tuple[int, int]]:
        """First number and how many of every message about a fate."""
        return [(h.first, h.n) for h in self.heard if isinstance(h, FateHeader) and h.fate is fate]

    def decisions(self) -> list[tuple[SpikesHeader, bytes]]:
        """Live `spikes` so far."""
        pairs = zip(self.heard, self.payloads, strict=True)
        return [(h, data) for h, data in pairs if isinstance(h, SpikesHeader) and h.mode == "live"]

    def rois(self) -> tuple[RoisHeader, bytes]:
        """The newest `rois` message with footprints."""
        seen: list[tuple[RoisHeader, bytes]] = []
        self.service.commands["describe"]({})

        def has_come() -> bool:
            pairs = zip(self.heard, self.payloads, strict=True)
            seen[:] = [(h, data) for h, data in pairs if isinstance(h, RoisHeader) and data]
            return bool(seen)

        self.until(has_come)
        return seen[-1]

    def close(self) -> None:
        """End service, source and listener."""
        self.service.finish()
        self.service.publisher.close(linger_ms=0)
        self.service._supervisor.close()
        self.service.context.destroy(linger=0)
        self.listener.close()
        self.source.close(linger_ms=0)
        self.context.destroy(linger=0)
