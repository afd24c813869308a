"""Acquisition service: the microscope's lines become `frame` messages."""

from __future__ import annotations

import dataclasses
import gc
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from drivers.microscopes.stream import StreamMicroscope
from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.devices import AnswersLight, CountsRejected, FrameGeometry, FrameInfo
from rt_engine.interfaces.errors import DeviceError, MessageError, SourceEnded, SpikeloopError
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.inputs import LineEdge
from rt_engine.interfaces.messages import (
    AckHeader,
    FrameHeader,
    LightHeader,
    SpikesHeader,
    decode,
)
from rt_engine.services.base import Service
from rt_engine.services.device_versions import DeviceVersions
from rt_engine.services.frame_clock import FrameClockMatch
from rt_engine.services.input_clocks import InputClockTeller
from rt_engine.services.input_lines import InputLines
from rt_engine.services.microscopes import make_microscope, message_bytes
from rt_engine.services.plane_watch import PlaneWatch
from rt_engine.services.source_lead import SourceLead
from rt_engine.services.source_stream import SourceStream
from rt_engine.services.straight_ways import frame_sender
from rt_engine.services.trial_pause import TrialPause
from rt_engine.services.truth_desk import TruthDesk
from rt_engine.transport.sockets import connect, take_parts
from rt_engine.transport.source_publisher import IO_THREADS, SourcePublisher, frame_queues

AHEAD_FRAMES = 32
"""Frames that a lossless source may be ahead of inference and recorder."""
_READ_S = 0.005


class AcquisitionService(Service):
    """Reads the microscope in segments (baseline, live) that the supervisor orders."""

    source = "acquisition"
    port = "acquisition"
    held_bytes = 32 << 20  # for frames of 512 KiB that wait for a slow subscriber; at full speed up to 16 MiB do
    io_threads = IO_THREADS
    publisher: SourcePublisher

    def make_publisher(self) -> SourcePublisher:
        """Frames go to the engine first."""
        ports = self.rig.ports
        return SourcePublisher(
            self.context,
            self.publishes_at(),
            ports.endpoint("recorder_inlet") if self.setup.recorded else None,
            engine_endpoint=ports.endpoint("engine_frames"),
            source=self.source,
            session=self.setup.session,
            clock=self.clock,
            queues=frame_queues(message_bytes(self.rig), lossless=self.setup.lossless),
            lossless=self.setup.lossless,
            interrupted=self.stopping.is_set,
            straight=frame_sender(self.setup),
        )

    def announce(self, state: str, error: SpikeloopError | None = None, **facts: Any) -> None:
        """As every service; what was sent before is with everybody before a change of state is."""
        self.publisher.flush()
        super().announce(state, error, **facts)

    def open(self) -> None:
        """Connect the microscope, and whatever answers it."""
        self._microscope = make_microscope(self.rig, self.clock)
        gates = {name: getattr(one, "scan_gate", None) for name, one in self.rig.outputs.items()}
        self._held_to_ms = {name: gate.after_ms for name, gate in gates.items() if gate is not None}
        self._geometry: FrameGeometry | None = None
        self._trials: TrialPause | None = None
        self._buffer: NDArray[Any] = np.zeros((0, 0), np.uint16)
        self._running = False
        self._started = False
        self._left: int | None = None
        self._pause_after = False
        self._segment_index: int | None = None
        self._n_delivered = 0
        planes = self.rig.planes_inferred
        self._counted = (planes[-1], self.rig.functional_channel)
        self._streams: dict[tuple[int, int], SourceStream] = {}
        self._lead = SourceLead(planes, AHEAD_FRAMES)
        patience_ns, structural = round(self.rig.max_idle_s * NS_PER_S), self.rig.registration_channel
        self._watch = PlaneWatch(planes, self.rig.functional_channel, patience_ns, structural)
        self._last_frames: dict[int, int] = {}
        self._truth = TruthDesk(self.publisher, self.clock)
        self._rejects = self._microscope if isinstance(self._microscope, CountsRejected) else None
        self._rejected = self._rejected_said = self._say_due_ns = 0
        self._why_said, self._said_way = "", False
        self._frame_clock = FrameClockMatch()
        self._lines = InputLines(self.rig, self.clock, self.publisher, self.log, self._see_edge)
        self._input_clocks = InputClockTeller(self.clock, self.log)
        self._versions = DeviceVersions(self.log)
        for name, device in self._lines.devices.items():
            self._versions.tell(name, device)
        self.commands |= {
            "segment": self._segment,
            "pause": self._pause,
            "start": self._resume,
            "press": self._lines.press,
            "status": self._status,
        }
        ports = self.rig.ports
        self._feedback = connect(self.context, zmq.SUB, ports.endpoint("stimulation"))
        self._feedback.connect(ports.endpoint("recording"))
        for plane in planes:
            self._feedback.connect(ports.inference_endpoint(plane))
        topics = ["light", "health"] + (["spikes.", "ack."] if self.setup.lossless else [])
        for topic in topics:
            self._feedback.subscribe(topic.encode())
        self.poller.register(self._feedback, zmq.POLLIN)
        self._clocks = self.listen_to_clocks("stimulation")
        self._heard: set[str] = set()
        self._find_geometry()

    def is_ready(self) -> bool:
        """True once light and acknowledgements can be heard, and light can be timed."""
        if self._clocks is not None and not self._clocks.knows_all:
            return False
        engines = {f"inference.{plane}" for plane in self.rig.planes_inferred}
        return self._heard >= {"stimulation", "recording"} | engines

    def step(self, ready: dict[Any, int]) -> None:
        """Take in light and acknowledgements, then deliver at most one message of lines."""
        if self._clocks is not None:
            self._clocks.serve()
        self._take_feedback()
        self._lines.step()
        self._input_clocks.step(self._lines.devices)
        self._say_way()
        if self._geometry is None:
            self._find_geometry()
            self._say_rejected()
        if not self._running or self._geometry is None:
            self.poll_ms = 20
            return
        if self.setup.lossless and not self._lead.allows_more():
            self.poll_ms = 20
            return
        self.poll_ms = 0
        try:
            info = self._microscope.read(self._buffer, _READ_S)
        except SourceEnded:
            self._running = False
            self.announce("ended", **self._last())
            return
        self._note_trials(info is not None)
        if info is not None:
            self._publish(info, self._geometry)
        self._require_all_planes()
        self._say_rejected()

    def _note_trials(self, has_frame: bool) -> None:
        """Say that a source that works in trials has paused, or goes on: the engine inhibits light meanwhile."""
        if self._trials is None or self.state not in ("running", "paused"):
            return
        if self._trials.see(has_frame, self.clock.now_ns()):
            self.announce("paused" if self._trials.is_paused else "running", **self._last())

    def _wait_anew(self) -> None:
        if self._trials is not None:
            self._trials.forget()

    def finish(self) -> None:
        """Stop and release the microscope."""
        if hasattr(self, "_microscope"):
            self._microscope.stop()
            self._microscope.close()
        if hasattr(self, "_lines"):
            self._input_clocks.tell(self._lines.devices)
            self._lines.close()
        if hasattr(self, "_feedback"):
            self._feedback.close()
        if hasattr(self, "_clocks") and self._clocks is not None:
            self._clocks.close()

    def _find_geometry(self) -> None:
        geometry = self._microscope.open()
        if geometry is None:
            return
        self._geometry = geometry
        self._versions.tell("microscope", self._microscope)
        if self.rig.trial_gated:
            self._trials = TrialPause(round(NS_PER_S / geometry.frame_rate_hz))
        self._watch.bear(round(2 * geometry.frames_per_volume / geometry.frame_rate_hz * NS_PER_S))
        self._buffer = np.zeros((geometry.n_lines, geometry.pixels_per_line), np.dtype("<" + geometry.dtype))
        if (words := self.publisher.most_waiting_in_words(self._buffer.nbytes)) is not None:
            self.log("warning", words)
        found = dataclasses.asdict(geometry)
        self.log("info", f"microscope: {geometry.in_words()}", geometry=found)
        self.announce(self.state, geometry=found)

    def _segment(self, args: dict[str, Any]) -> dict[str, Any]:
        """Count `n_frames` of a plane from the next frame (from a few on, while running), then pause or go on."""
        self.publisher.records_pixels = bool(args.get("records_pixels", True))
        n_frames = args.get("n_frames")
        self._left = None if n_frames is None else int(n_frames)
        self._pause_after = bool(args.get("pause_after", False))
        if not self._started:
            gc.collect()
            gc.freeze()  # a collection has next to nothing to look at; vendors' drivers may make rings of objects
            self._microscope.start()
            self._started = True
        counted = self._streams.get(self._counted)
        index = None if counted is None else counted.counter.index
        next_index = 0 if index is None else index + 1
        self._segment_index = next_index + (int(args.get("notice_frames", 0)) if self._running else 0)
        self._running = True
        self._wait_anew()
        self.announce("running")
        return {"first_frame": self._segment_index}

    def _pause(self, args: dict[str, Any]) -> dict[str, Any]:
        """Let the source pause by design, until `start`."""
        if self._running:
            self._running = False
            self.announce("paused", **self._last())
        return self._last()

    def _resume(self, args: dict[str, Any]) -> dict[str, Any]:
        """Go on after `pause`."""
        if self.state == "paused" and not self._running:
            self._running = True
            self._wait_anew()
            self.announce("running")
        return self._last()

    def _status(self, args: dict[str, Any]) -> dict[str, Any]:
        geometry = dataclasses.asdict(self._geometry) if self._geometry else None
        return {"state": self.state, "frames": self._n_delivered, "geometry": geometry}

    def _publish(self, info: FrameInfo, geometry: FrameGeometry) -> None:
        topic = f"frame.{info.plane}.{info.channel}"
        n_lines = info.n_lines or geometry.n_lines
        stream = self._streams.setdefault((info.plane, info.channel), SourceStream())
        stream.see(info, is_whole=info.line0 + n_lines >= geometry.n_lines)
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
            flags=info.flags | (FrameFlag.LOST_BEFORE if stream.lost_before else 0),
            blanked=[list(span) for span in info.blanked],
        )
        self.publisher.send(topic, header, self._buffer[info.line0 : info.line0 + n_lines].data.cast("B"))
        is_sample = info.channel == self.rig.functional_channel and not info.flags & FrameFlag.DISCARD
        if stream.is_whole and is_sample and isinstance(self._microscope, AnswersLight):
            self._truth.tell(self._microscope, info)
        if not info.flags & FrameFlag.DISCARD:
            note = self._watch.see(info.plane, info.channel, self.clock.now_ns())
            if note:
                self.log("info", note)
        if not stream.is_whole:
            return
        self._n_delivered += 1
        if info.channel != self.rig.functional_channel:
            return
        self._last_frames[info.plane] = info.frame
        self._match_frame_clock(info)
        if self.setup.lossless:
            self._lead.sent(info.plane, info.frame)
        if (info.plane, info.channel) == self._counted and not stream.is_flyback:
            self._count_down(stream.counter.index or 0)

    def _see_edge(self, name: str, edge: LineEdge) -> None:
        if name == self.rig.frame_clock and edge.is_high:
            self._frame_clock.see_edge(edge.t_edge_ns)

    def _match_frame_clock(self, info: FrameInfo) -> None:
        """A frame that the microscope's clock knows and software does not is said, and counted as lost."""
        if (of := self._geometry) is not None:
            period_ns = round(NS_PER_S / of.frame_rate_hz)
            lines_ns = of.n_lines * of.line_period_ns if of.line_period_ns else period_ns
            self._lines.follow("frames", info.t_scan_ns - lines_ns)
        if self.rig.frame_clock is None:
            return
        per_edge = self._geometry.frames_per_edge if self._geometry else 1
        more = self._frame_clock.see_frame((info.frame - 1) // per_edge, info.t_scan_ns)
        if more:
            self.dropped += more
            text = f"the frame clock has seen {more} more frames than software"
            self.log("error", text, hidden=self._frame_clock.hidden)

    def _require_all_planes(self) -> None:
        """Refuse to go on where a plane that is to be inferred does not come at all.

        Raises
        ------
        DeviceError
            It has not come though others have.
        """
        missing = self._watch.missing(self.clock.now_ns())
        if missing:
            raise DeviceError(
                "microscope",
                f"delivers nothing of plane {', '.join(map(str, missing))}, channel {self.rig.functional_channel} "
                f"(plane.channel seen: {self._watch.seen()})",
                "set `planes` and `channel` in the rig file to those that carry the indicator",
            )

    def _last(self) -> dict[str, Any]:
        """The last frame of every plane inferred, ``[plane, frame]``."""
        planes = self.rig.planes_inferred
        return {"last_frames": [[plane, self._last_frames[plane]] for plane in planes if plane in self._last_frames]}

    def _count_down(self, index: int) -> None:
        if self._left is None or self._segment_index is None or index < self._segment_index:
            return
        self._left -= 1
        if self._left > 0:
            return
        self._left = None
        if self._pause_after:
            self._running = False
        self.announce("segment_done", **self._last())

    def _take_feedback(self) -> None:
        while (waiting := take_parts(self._feedback)) is not None:
            topic, *parts = (part.bytes for part in waiting)
            try:
                header = decode(topic.decode(errors="replace"), parts[0] if parts else b"")
            except MessageError:
                self.dropped += 1
                continue
            self._heard.add(header.source)
            if isinstance(header, LightHeader) and self._clocks is not None and self._clocks.localize(header) is None:
                self.dropped += 1
            elif isinstance(header, LightHeader):
                self._lines.follow("light", header.t_on_ns)
                if isinstance(self._microscope, AnswersLight):
                    self._microscope.receive_light(
                        header.t_on_ns,
                        header.width_us,
                        header.power_uw,
                        header.targets_yx_px,
                        header.target_planes,
                        self._held_to_ms.get(header.output),
                    )
            elif isinstance(header, SpikesHeader):
                self._lead.decided(header.plane, header.frame)
            elif isinstance(header, AckHeader):
                if header.source.startswith("inference"):
                    self._lead.decided(header.plane, header.frame)
                else:
                    self._lead.written(header.plane, header.frame)

    def _say_way(self) -> None:
        if self.publisher.why_not_straight and not self._said_way:
            self._said_way = True
            self.log("warning", f"frames go to the engine as messages: {self.publisher.why_not_straight}")

    def _say_rejected(self) -> None:
        """Count what the driver could not deliver, and say why: each new reason at once, the same once a second."""
        if isinstance(self._microscope, StreamMicroscope):
            self.gaps = self._microscope.sequence.missing
            for text in self._microscope.refused():
                self.log("warning", text)
        if self._rejects is None:
            return
        rejected, why, now_ns = self._rejects.rejected, self._rejects.why, self.clock.now_ns()
        self.dropped += rejected - self._rejected
        self._rejected = rejected
        if why and (why != self._why_said or (rejected > self._rejected_said and now_ns >= self._say_due_ns)):
            self._rejected_said, self._why_said, self._say_due_ns = rejected, why, now_ns + NS_PER_S
            self.log("warning", f"not taken from the microscope: {why}", rejected=rejected)
