"""Acquisition service: the microscope's lines become `frame` messages."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from drivers.microscopes.stream import StreamMicroscope
from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.devices import AnswersLight, FrameGeometry, FrameInfo, Microscope
from rt_engine.interfaces.errors import MessageError, SourceEnded
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.messages import (
    AckHeader,
    FrameHeader,
    LightHeader,
    SpikesHeader,
    TruthHeader,
    decode,
)
from rt_engine.interfaces.rig_config import (
    ReplayMicroscope,
    RigConfig,
)
from rt_engine.interfaces.rig_config import (
    StreamMicroscope as StreamConfig,
)
from rt_engine.services.base import Service
from rt_engine.services.input_lines import InputLines
from rt_engine.transport.sockets import connect

AHEAD_FRAMES = 32
"""Frames that a lossless source may be ahead of inference and recorder."""
_READ_S = 0.005
_SAMPLE_PERIOD_NS = 5 * NS_PER_S


def make_microscope(rig: RigConfig, clock: Clock) -> Microscope:
    """Driver of the rig's microscope; imports only the one that is asked for."""
    config = rig.microscope
    if isinstance(config, StreamConfig):
        return StreamMicroscope(config)
    if isinstance(config, ReplayMicroscope):
        from drivers.microscopes.movie_file import is_movie_folder, open_movie
        from drivers.microscopes.replay import ReplayMicroscope as MovieReplay

        if Path(config.path).is_dir() and not is_movie_folder(config.path):
            from drivers.microscopes.session_replay import SessionReplay

            return SessionReplay(config, clock)
        asked = config.model_dump(include={"frame_rate_hz", "channel", "plane", "axes", "frame_shape"})
        return MovieReplay(config, clock, lambda path: open_movie(path, **asked))
    from drivers.microscopes.virtual import VirtualMicroscope

    return VirtualMicroscope(config, clock)


class AcquisitionService(Service):
    """Reads the microscope in segments (baseline, live) that the supervisor orders."""

    source = "acquisition"
    port = "acquisition"

    def open(self) -> None:
        """Connect the microscope, and whatever answers it."""
        self._microscope = make_microscope(self.rig, self.clock)
        self._geometry: FrameGeometry | None = None
        self._buffer: NDArray[Any] = np.zeros((0, 0), np.uint16)
        self._running = False
        self._started = False
        self._left: int | None = None
        self._pause_after = False
        self._segment_frame: int | None = None
        self._next_frame = 0
        self._n_delivered = 0
        self._acked = {"inference": -1, "recording": -1}
        self._last_sent = -1
        self._sample_due_ns = 0
        self._rejected_said = 0
        self._lines = InputLines(self.rig, self.clock, self.publisher)
        self.commands |= {
            "segment": self._segment,
            "pause": self._pause,
            "start": self._resume,
            "press": self._lines.press,
            "status": self._status,
        }
        ports = self.rig.ports
        self._feedback = connect(self.context, zmq.SUB, ports.endpoint("stimulation"))
        self._feedback.connect(ports.endpoint("inference"))
        self._feedback.connect(ports.endpoint("recording"))
        topics = ["light", "health"] + (["spikes.", "ack."] if self.setup.lossless else [])
        for topic in topics:
            self._feedback.subscribe(topic.encode())
        self.poller.register(self._feedback, zmq.POLLIN)
        self._heard: set[str] = set()
        self._find_geometry()

    def is_ready(self) -> bool:
        """True once light and acknowledgements can be heard."""
        return self._heard >= {"stimulation", "inference.0", "recording"}

    def step(self, ready: dict[Any, int]) -> None:
        """Take in light and acknowledgements, then deliver at most one message of lines."""
        self._take_feedback()
        self._lines.step()
        if self._geometry is None:
            self._find_geometry()
        if not self._running or self._geometry is None:
            self.poll_ms = 20
            return
        if self.setup.lossless and self._last_sent - min(self._acked.values()) >= AHEAD_FRAMES:
            self.poll_ms = 20
            return
        self.poll_ms = 0
        try:
            info = self._microscope.read(self._buffer, _READ_S)
        except SourceEnded:
            self._running = False
            self.announce("ended", last_frame=self._last_sent)
            return
        if info is not None:
            self._publish(info, self._geometry)
        self._say_rejected()

    def finish(self) -> None:
        """Stop and release the microscope."""
        if hasattr(self, "_microscope"):
            self._microscope.stop()
            self._microscope.close()
        if hasattr(self, "_feedback"):
            self._feedback.close()

    def _find_geometry(self) -> None:
        geometry = self._microscope.open()
        if geometry is None:
            return
        self._geometry = geometry
        self._buffer = np.zeros((geometry.n_lines, geometry.pixels_per_line), np.dtype("<" + geometry.dtype))
        self.announce(self.state, geometry=dataclasses.asdict(geometry))

    def _segment(self, args: dict[str, Any]) -> dict[str, Any]:
        """Count `n_frames` from the next frame (from a few frames on, while running), then pause or go on."""
        n_frames = args.get("n_frames")
        self._left = None if n_frames is None else int(n_frames)
        self._pause_after = bool(args.get("pause_after", False))
        if not self._started:
            self._microscope.start()
            self._started = True
        self._segment_frame = self._next_frame + (int(args.get("notice_frames", 0)) if self._running else 0)
        self._running = True
        self.announce("running")
        return {"first_frame": self._segment_frame}

    def _pause(self, args: dict[str, Any]) -> dict[str, Any]:
        """Let the source pause by design, until `start`."""
        if self._running:
            self._running = False
            self.announce("paused", last_frame=self._last_sent)
        return {"last_frame": self._last_sent}

    def _resume(self, args: dict[str, Any]) -> dict[str, Any]:
        """Go on after `pause`."""
        if self.state == "paused":
            self._running = True
            self.announce("running")
        return {"last_frame": self._last_sent}

    def _status(self, args: dict[str, Any]) -> dict[str, Any]:
        geometry = dataclasses.asdict(self._geometry) if self._geometry else None
        return {"state": self.state, "frames": self._n_delivered, "geometry": geometry}

    def _publish(self, info: FrameInfo, geometry: FrameGeometry) -> None:
        topic = f"frame.{info.plane}.{info.channel}"
        n_lines = info.n_lines or geometry.n_lines
        header = FrameHeader(
            **self.publisher.stamp(topic),
            plane=info.plane,
            channel=info.channel,
            frame=info.frame,
            volume=info.volume,
            line0=info.line0,
            n_lines=n_lines,
            lines_per_frame=geometry.n_lines,
            pixels_per_line=geometry.pixels_per_line,
            dtype=geometry.dtype,
            adc_max=geometry.adc_max,
            offset=geometry.offset,
            frame_period_ns=round(NS_PER_S / geometry.frame_rate_hz),
            line_period_ns=geometry.line_period_ns,
            t_scan_ns=info.t_scan_ns,
            t_scan_uncertainty_ns=info.t_scan_uncertainty_ns,
            t_device_s=info.t_device_s,
            flags=info.flags | (FrameFlag.LOST_BEFORE if self._n_delivered and info.frame > self._next_frame else 0),
            blanked=[list(span) for span in info.blanked],
        )
        if self._n_delivered == 0 and self._last_sent < 0:
            self._acked = dict.fromkeys(self._acked, info.frame - 1)
            self._last_sent = info.frame - 1
        self.publisher.send(topic, header, self._buffer[info.line0 : info.line0 + n_lines].data.cast("B"))
        if isinstance(self._microscope, AnswersLight):
            self._publish_truth(self._microscope, info)
        if info.line0 + n_lines < geometry.n_lines:
            return
        self._n_delivered += 1
        self._last_sent = info.frame
        self._next_frame = info.frame + 1
        self._count_down(info.frame)

    def _count_down(self, frame: int) -> None:
        if self._left is None or self._segment_frame is None or frame < self._segment_frame:
            return
        self._left -= 1
        if self._left > 0:
            return
        self._left = None
        if self._pause_after:
            self._running = False
        self.announce("segment_done", last_frame=frame)

    def _publish_truth(self, sample: AnswersLight, info: FrameInfo) -> None:
        truth = sample.take_truth()
        header = TruthHeader(
            **self.publisher.stamp("truth"), kind="frame", plane=info.plane, frame=info.frame, sample=None, **truth
        )
        self.publisher.send("truth", header)
        now_ns = self.clock.now_ns()
        if now_ns >= self._sample_due_ns:
            self._sample_due_ns = now_ns + _SAMPLE_PERIOD_NS
            header = TruthHeader(
                **self.publisher.stamp("truth"),
                kind="sample",
                plane=info.plane,
                frame=info.frame,
                shift_y_px=0.0,
                shift_x_px=0.0,
                spike_cell=[],
                t_spike_ns=[],
                spike_frame=[],
                evoked=[],
                t_light_ns=[],
                sample=sample.describe_sample(),
            )
            self.publisher.send("truth", header)

    def _take_feedback(self) -> None:
        while self._feedback.poll(0):
            topic, *parts = self._feedback.recv_multipart()
            try:
                header = decode(topic.decode(errors="replace"), parts[0] if parts else b"")
            except MessageError:
                self.dropped += 1
                continue
            self._heard.add(header.source)
            if isinstance(header, LightHeader) and isinstance(self._microscope, AnswersLight):
                self._microscope.receive_light(header.t_on_ns, header.width_us, header.power_uw, header.targets_yx_px)
            elif isinstance(header, SpikesHeader):
                self._acked["inference"] = max(self._acked["inference"], header.frame)
            elif isinstance(header, AckHeader):
                self._acked["recording"] = max(self._acked["recording"], header.frame)

    def _say_rejected(self) -> None:
        if not isinstance(self._microscope, StreamMicroscope):
            return
        self.gaps = self._microscope.sequence.missing
        if self._microscope.rejected > self._rejected_said:
            self.dropped += self._microscope.rejected - self._rejected_said
            self._rejected_said = self._microscope.rejected
            self.log("warning", f"lines refused: {self._microscope.why}", rejected=self._rejected_said)
