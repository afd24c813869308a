"""Inference service: frames in, `spikes` out first, `activity` second."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S, Clock
from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.events import EVENT_DTYPE, EventFlag
from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.messages import FrameHeader, Mode
from rt_engine.pipeline.engine import Engine
from rt_engine.pipeline.histogram import LatencyHistogram
from rt_engine.services.base import Service
from rt_engine.services.cell_desk import CellDesk
from rt_engine.services.engine_loading import load_engine, other_rate
from rt_engine.services.engine_output import EngineOutput
from rt_engine.services.frame_book import FrameBook
from rt_engine.services.frame_budget import FrameBudget
from rt_engine.services.frame_intake import FrameIntake
from rt_engine.services.marks import frame_mark
from rt_engine.services.replay_pace import replay_pace
from rt_engine.services.setup import Setup
from rt_engine.services.straight_ways import goes_straight
from rt_engine.services.strip_assembly import StripAssembly
from rt_engine.services.structural_lines import FRAME_DTYPES
from rt_engine.transport.direct import DirectSender
from rt_engine.transport.loss import FrameOrder
from rt_engine.transport.plane_counter import PlaneCounter

_NO_EVENTS = np.zeros(0, EVENT_DTYPE)
_BATCH = 16
_ADMITS_NS = 10 * NS_PER_MS
"""How often somebody who wants decisions straight is looked for."""
_LONGEST_GAP = 10_000
"""Frames that states advance over after a pause; after so many nothing is left of what was before."""


class InferenceService(Service):
    """The frame loop of one plane."""

    port = "inference"

    def __init__(self, setup: Setup, clock: Clock | None = None) -> None:
        self.plane = setup.plane()
        self.source = f"inference.{self.plane}"
        super().__init__(setup, clock)

    def publishes_at(self) -> str:
        """Every plane has a port of its own."""
        return self.rig.ports.inference_endpoint(self.plane)

    def open(self) -> None:
        """Listen to the frames of this plane and of the channel that carries the indicator."""
        self.commands |= {
            "mode": self._set_mode,
            "calibrate": self._calibrate,
            "go_live": self._go_live,
            "status": self._status,
            "describe": self._describe_rois,
        }
        self._intake = FrameIntake(self, self.plane, self._take_lines, self._note_source, self._refuse)
        self._desk = CellDesk(self, self.plane)
        self.commands |= {"rois_edit": self._desk.rois_edit, "set_threshold": self._desk.set_threshold}
        self._direct: DirectSender | None = None
        if goes_straight(self.setup):
            self._direct = DirectSender(self.rig.ports.endpoint("decisions"), self.setup.session)
        self._out = EngineOutput(self.publisher, self.plane, self._direct)
        self._book = FrameBook(self._out.fate)
        self._budget = FrameBudget(
            self.rig.deadline_ns,
            self.rig.inference.max_backlog_frames,
            lossless=self.setup.lossless,
            book=self._book,
            log=self.log,
        )
        self._live_from: int | None = None
        self._engine: Engine | None = None
        self._strips = StripAssembly()
        self._neuropil_due_ns = self._admit_due_ns = self._taken_ns = 0
        self._skipped = 0
        self._bad = 0
        self._newest: FrameHeader | None = None
        self._source_paused = False
        self._mark = frame_mark(self.setup, self.plane, self.log)
        self._order = PlaneCounter()
        self._replay = replay_pace(self.rig, self.plane)
        self._intervals = {"scan_to_receive": LatencyHistogram(), "receive_to_decision": LatencyHistogram()}

    def is_ready(self) -> bool:
        """True once the source has been heard, and its clock is known."""
        return self._intake.is_ready

    def latency_ms(self) -> dict[str, dict[str, float]]:
        """Intervals of the live frames so far."""
        return {name: histogram.summary_ms() for name, histogram in self._intervals.items()}

    def fates(self) -> dict[str, int]:
        """How many frames met which fate."""
        return {fate.value: n for fate, n in self._book.counts.items() if n} if hasattr(self, "_book") else {}

    def step(self, ready: dict[Any, int]) -> None:
        """Work off the frames that wait."""
        self._intake.serve(_BATCH)
        self._out.tell()
        if self._direct is not None and self.clock.now_ns() >= self._admit_due_ns:
            self._admit_due_ns = self.clock.now_ns() + _ADMITS_NS
            self._direct.admit()
        self._desk.tick()
        if self._engine is not None:
            self._engine.tidy()
        if self._engine is not None and self.clock.now_ns() >= self._neuropil_due_ns:
            self._neuropil_due_ns = self.clock.now_ns() + NS_PER_S
            for roi_id, coefficient in self._engine.neuropil_changes():
                self.log("info", f"neuropil coefficient of roi {roi_id} is now {coefficient:.3f}")

    def finish(self) -> None:
        """End the finder, close the socket."""
        if hasattr(self, "_book"):
            self._give_up_strips("the run ended")
        if hasattr(self, "_desk"):
            self._desk.close()
        if hasattr(self, "_out"):
            self._out.close()
        self._engine = None  # it may look at a frame in shared memory
        if hasattr(self, "_intake"):
            self._intake.close()
        if hasattr(self, "_mark"):
            self._mark.close()

    def _note_source(self, state: str) -> None:
        """A source that has paused by design is said to be so, with one more `spikes` message; its frames end that."""
        if state == "paused" and self._out.mode is Mode.LIVE and self._newest is not None:
            self._out.mode, self._source_paused = Mode.PAUSED, True
            now_ns = self.clock.now_ns()
            self._spikes(self._newest, now_ns, now_ns, _NO_EVENTS)

    def _end_pause(self, header: FrameHeader) -> None:
        """Live again; for the filters the time of the pause has passed without a sample."""
        self._out.mode, self._source_paused = Mode.LIVE, False
        if self._newest is not None and header.frame_period_ns:
            self._skipped += min((header.t_scan_ns - self._newest.t_scan_ns) // header.frame_period_ns, _LONGEST_GAP)

    def _take_lines(
        self, header: FrameHeader, payload: memoryview, t_received_ns: int, reference: NDArray[Any] | None
    ) -> None:
        """Whole frames go on as they are; strips are gathered, and decided as far as they have come."""
        self._taken_ns = self.clock.now_ns()
        if self._engine is not None:
            self._engine.reference = reference
        if self._source_paused:
            self._end_pause(header)
        if header.volume is not None and header.is_discarded:
            # Volumes count the samples of a plane, and the flyback is none.
            self._spikes(header, t_received_ns, t_received_ns, _NO_EVENTS)
            return
        lines = np.frombuffer(payload, FRAME_DTYPES[header.dtype]).reshape(header.n_lines, header.pixels_per_line)
        if header.n_lines == header.lines_per_frame:
            self._take_frame(header, lines, t_received_ns)
            return
        end_line = header.line0 + header.n_lines
        if end_line > header.lines_per_frame:
            self._refuse(f"frame {header.frame}: lines up to {end_line} of {header.lines_per_frame}")
            return
        self._strips.fit(header, lines)
        if self._out.mode is Mode.LIVE or self._live_from is not None:
            self._take_strip(header, lines, t_received_ns)
        elif self._strips.put(header, lines):
            self._take_frame(header, self._strips.image, t_received_ns)
        else:
            self._spikes(header, t_received_ns, t_received_ns, _NO_EVENTS)

    def _see(self, header: FrameHeader) -> tuple[int, int] | None:
        """Index of a new frame and how many are missing before it; None for one that came before."""
        order, missing = self._order.see(header.frame, header.volume)
        index = header.frame if header.volume is None else header.volume
        self.gaps = self._order.sequence.lost
        if order is not FrameOrder.NEW:
            self.late += 1
            self._book.note(Fate.DUPLICATED if order is FrameOrder.DUPLICATE else Fate.OUT_OF_ORDER, index)
            return None
        self._book.saw(index)
        if missing:
            self._book.note(Fate.MISSING, index - missing, missing)
        if self._live_from is not None and index >= self._live_from:
            self._begin_live(header.frame)
            missing = 0
        return index, missing

    def _may_process(self, header: FrameHeader, index: int, missing: int) -> bool:
        """False if the frame is to be left out; its time passes for the cells without a sample."""
        engine, shape = self._engine, (header.lines_per_frame, header.pixels_per_line)
        if self._out.mode is not Mode.LIVE or engine is None:
            self._book.note(Fate.UNUSED, index)
            if self._out.mode is Mode.PAUSED:
                # The time of a paused frame passes for the cells, without a sample.
                self._skipped += missing + 1
            return False
        if header.is_discarded:
            self._book.note(Fate.DISCARDED, index)
        elif shape != engine.calibration.template.shape:
            self._refuse(f"frame {header.frame}: {shape[0]} x {shape[1]} px do not fit the calibration", index)
        elif self._overloaded(header):
            self.dropped += 1
            self._book.note(Fate.SKIPPED, index, 1, f"{self.queue} frames behind")
        else:
            return True
        self._skipped += missing + 1
        return False

    def _take_strip(self, header: FrameHeader, lines: NDArray[Any], t_received_ns: int) -> None:
        """Decide what the lines so far can decide. After lines that are missing, the frame is given up."""
        strips = self._strips
        if header.frame != strips.frame and not self._begin_strips(header):
            return
        engine = self._engine
        if engine is None or self._out.mode is not Mode.LIVE or header.is_discarded:
            self._spikes(header, t_received_ns, t_received_ns, _NO_EVENTS)
            return
        if not strips.expects(header):
            gap = strips.gap_before(header)
            if gap:
                self._give_up_strips(gap)
            return
        if self._replay is not None and self._replay.skips(header):
            self._give_up_strips("the recording decided no more of it")  # as when it was paused in the middle
            return
        whole = strips.take(header, lines)
        end_line = header.line0 + header.n_lines
        n_events = engine.process_lines(strips.image, strips.index, end_line, header.t_scan_ns, strips.blanked)
        self._publish_decision(header, engine, n_events, t_received_ns, whole=whole)
        if whole:
            self._note_blanked(strips.index, strips.blanked)
            engine.maintain(strips.image, strips.index)
        self._budget.note_cost(self.clock.now_ns() - self._taken_ns, whole=whole)

    def _begin_strips(self, header: FrameHeader) -> bool:
        """Note the first strip of a frame; false if the frame came before."""
        self._give_up_strips("the next frame has come")
        seen = self._see(header)
        if seen is None:
            return False
        index, missing = seen
        self._strips.begin(header, index)
        if self._may_process(header, index, missing) and self._engine is not None:
            self._strips.await_lines()
            self._desk.apply_due(index, self._engine)
            self._engine.begin(index, missing + self._skipped)
            self._skipped = 0
        return True

    def _give_up_strips(self, why: str) -> None:
        """A frame that is not whole by now is refused; what was decided of it stays."""
        line = self._strips.give_up()
        if line is not None:
            self._refuse(f"frame {self._strips.frame}, from line {line} on: {why}", self._strips.index)

    def _take_frame(self, header: FrameHeader, frame: NDArray[Any], t_received_ns: int) -> None:
        self._give_up_strips("the next frame has come")
        seen = self._see(header)
        if seen is None:
            return
        index, missing = seen
        engine = self._engine
        if not self._may_process(header, index, missing) or engine is None:
            if self._out.mode is not Mode.LIVE or header.is_discarded:
                self._spikes(header, t_received_ns, t_received_ns, _NO_EVENTS)
            return
        missing += self._skipped
        self._skipped = 0
        blanked = header.blanked
        if header.is_lit and not blanked:
            blanked = [[0, header.lines_per_frame]]
        self._desk.apply_due(index, engine)
        n_events = engine.process(frame, index, header.t_scan_ns, missing, blanked)
        self._publish_decision(header, engine, n_events, t_received_ns, whole=True)
        self._note_blanked(index, blanked)
        engine.maintain(frame, index)
        self._budget.note_cost(self.clock.now_ns() - self._taken_ns, whole=True)

    def _note_blanked(self, index: int, blanked: list[list[int]]) -> None:
        if blanked:
            self._book.note(Fate.BLANKED, index, 1, f"lines {blanked}")

    def _publish_decision(
        self, header: FrameHeader, engine: Engine, n_events: int, t_received_ns: int, *, whole: bool
    ) -> None:
        """Spikes of the lines decided; after the last of them the activity of the frame."""
        events = engine.events[:n_events]
        if n_events and engine.calibration.provisional:
            events["flags"] |= np.uint32(EventFlag.PROVISIONAL)
        if n_events and header.volume is not None:
            events["event_frame"] = self._order.frames_of(events["event_frame"])
        t_decided_ns = self.clock.now_ns()
        t_late_ns = self._spikes(header, t_received_ns, t_decided_ns, events)
        # From here on nobody waits.
        if t_late_ns is not None:
            self._budget.note_late(self._order.index or 0, header, t_late_ns)
        if whole:
            self._book.note(Fate.DECIDED, self._order.index or 0)
            self._out.activity(header, engine, self._desk.rev)
            self._mark.toggle()
        if self._replay is None:
            self._intervals["scan_to_receive"].record(t_received_ns - header.t_scan_ns)
        self._intervals["receive_to_decision"].record(t_decided_ns - t_received_ns)

    def _spikes(self, header: FrameHeader, t_received_ns: int, t_decided_ns: int, events: NDArray[Any]) -> int | None:
        """Send the events; when they were decided, if that is late."""
        self._newest = header
        late = self._budget.is_late(header, t_decided_ns)
        if self._replay is not None:
            t_received_ns, t_decided_ns, late = self._replay.decided(header)
        self._out.spikes(header, t_received_ns, t_decided_ns, events, late=late)
        return t_decided_ns if late else None

    def _overloaded(self, header: FrameHeader) -> bool:
        """True if a frame is skipped for newer ones, or was skipped in the recording being replayed."""
        if self._replay is not None and self._replay.skips(header):
            self._out.acknowledge(header)
        else:
            others_wait = self._intake.waiting()
            skips = self._budget.skips(header, self._taken_ns, self._order.frames_per_index, others_wait=others_wait)
            self.queue = self._budget.n_behind
            if not skips:
                self._budget.say_skipped(header.frame)
                return False
        self._budget.note_skipped(header.frame)
        return True

    def _refuse(self, why: str, index: int | None = None) -> None:
        self._bad += 1
        if index is not None:
            self._book.note(Fate.REFUSED, index, 1, why)
        self.dropped += 1
        if self._bad & (self._bad - 1) == 0:
            self.log("warning", f"{why} ({self._bad} refused so far)")

    def _set_mode(self, args: dict[str, Any]) -> dict[str, Any]:
        self._out.mode = Mode(args["mode"])
        return {"mode": self._out.mode}

    def _calibrate(self, args: dict[str, Any]) -> dict[str, Any]:
        """Load a calibration, build the engine, warm it; `go_live` lets it begin."""
        engine, calibration = load_engine(self.rig, self.plane, args, self.clock, self._strips.longest_lines)
        warning = other_rate(calibration, args.get("frame_rate_hz"))
        if warning is not None:
            self.log("warning", warning)
        self._engine = engine
        self._out.hold_frames = calibration.hold_frames
        self._desk.open(calibration, Path(args["path"]))
        gc.collect()  # a fraction of a second, so now and not when the first live frame is waiting
        self._intake.go_straight()
        return {"n_rois": calibration.n_rois, "rev": self._desk.rev}

    def _go_live(self, args: dict[str, Any]) -> dict[str, Any]:
        if self._engine is None:
            raise CalibrationError("no calibration has been loaded", "send `calibrate` first")
        self._live_from = int(args["from_frame"])
        return {"from_frame": self._live_from}

    def _begin_live(self, frame: int) -> None:
        self._live_from = None
        self._out.mode = Mode.LIVE
        gc.freeze()
        gc.disable()
        self.announce("live", first_frame=frame)

    def _describe_rois(self, args: dict[str, Any]) -> dict[str, Any]:
        self._desk.publish_rois(with_footprints=True)
        self._desk.publish_candidates()
        return self._describe(args) | {"rois_rev": self._desk.rev}

    def _status(self, args: dict[str, Any]) -> dict[str, Any]:
        return {
            "mode": self._out.mode,
            "frames_lost": self._order.sequence.lost,
            "frames_duplicated": self._order.sequence.duplicated,
            "frames_out_of_order": self._order.sequence.out_of_order,
            "messages_refused": self._bad,
            "fates": self.fates(),
            "frames_unaccounted": self._book.n_unaccounted,
            "n_rois": self._engine.n_rois if self._engine else 0,
        }
