"""The engine: one plane's frame becomes events and activity. Owns every array; nothing is made while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.kernels.sample_codes import EXPECTED_MISSING
from rt_engine.pipeline.extraction import RoiExtraction
from rt_engine.pipeline.registration import RigidRegistration
from rt_engine.pipeline.traces import TraceStage

ACTIVITY_FIELDS = ("fluorescence", "neuropil", "dff", "calcium", "spike", "z", "probability", "valid")
"""Fields of topic `activity`, in the order of the payload."""
_T_RING = 128


class Engine:
    """Register, extract, and turn traces into events, for one plane.

    Parameters
    ----------
    calibration : Calibration
    max_shift_px : float
        Largest displacement looked for.
    clock : Clock
        For `stage_ns`.

    Attributes
    ----------
    activity : float32 ndarray, shape (len(ACTIVITY_FIELDS), n_rois)
        The last frame's values, overwritten by `fill_activity`.
    stage_ns : dict of str to int
        Time spent in each stage of the last frame.
    """

    def __init__(self, calibration: Calibration, max_shift_px: float, clock: Clock) -> None:
        self.calibration = calibration
        self._clock = clock
        self._registration = RigidRegistration(calibration.template, max_shift_px)
        self._extraction = RoiExtraction(calibration)
        self._traces = TraceStage(calibration)
        self.activity = np.full((len(ACTIVITY_FIELDS), calibration.n_rois), np.nan, np.float32)
        self.stage_ns = {"register": 0, "extract": 0, "infer": 0}
        self._period_ns = round(NS_PER_S / calibration.frame_rate_hz)
        self._t_scan_ns = np.zeros(_T_RING, np.int64)
        self._frame_of = np.full(_T_RING, -1, np.int64)
        line_ns = self._period_ns / calibration.n_lines
        lines_after = calibration.n_lines - 1 - np.asarray(self._extraction.line_of_roi, np.int64)
        self._before_end_ns = np.rint(lines_after * line_ns).astype(np.int64)
        self._row_of = {int(roi): row for row, roi in enumerate(calibration.roi_id)}

    @property
    def shift_yx_px(self) -> tuple[float, float]:
        """Displacement of the last frame's content against the template, pixels."""
        return self._registration.shift_y_px, self._registration.shift_x_px

    @property
    def quality(self) -> float:
        """Registration quality of the last frame."""
        return self._registration.quality

    @property
    def events(self) -> NDArray[Any]:
        """Event records; the first `n` of them are of the last frame, `n` being what `process` returned."""
        return self._traces.events

    def warm_up(self) -> None:
        """Run every kernel once, so that no live frame waits for a compiler or a cache."""
        blank = np.zeros((self.calibration.n_lines, self.calibration.pixels_per_line), np.uint16)
        for frame in (blank, blank.view(np.int16)):
            self._registration.process(frame)
            self._extraction.process(frame, 0.25, -0.25)
        self._traces.warm_up()
        self._registration = RigidRegistration(self.calibration.template, self._registration.max_shift_px)

    def process(
        self,
        frame: NDArray[Any],
        frame_number: int,
        t_scan_ns: int,
        n_gap: int,
        blanked: Sequence[Sequence[int]] = (),
    ) -> int:
        """Number of events that this frame decides.

        Parameters
        ----------
        frame : uint16 or int16 ndarray, shape (n_lines, pixels_per_line), C order, counts, read
        frame_number : int
            The source's counter.
        t_scan_ns : int
            When the last line had been scanned.
        n_gap : int
            Frames missing just before this one; states advance over them.
        blanked : sequence of (line0, n_lines)
            Lines scanned under stimulation light.
        """
        t0_ns = self._clock.now_ns()
        registration, extraction = self._registration, self._extraction
        if not blanked:
            # Light of our own would look like motion: such a frame is read where the one before it was.
            registration.process(frame)
        t1_ns = self._clock.now_ns()
        extraction.process(frame, registration.shift_y_px, registration.shift_x_px, blanked)
        np.copyto(extraction.valid, EXPECTED_MISSING, where=extraction.blanked.view(np.bool_))
        if registration.jumped:
            extraction.valid[:] = 0
        t2_ns = self._clock.now_ns()
        n_events = self._traces.process(
            frame_number,
            n_gap,
            extraction.f_roi,
            extraction.f_np,
            extraction.valid,
            extraction.censored,
        )
        slot = frame_number % _T_RING
        self._t_scan_ns[slot] = t_scan_ns
        self._frame_of[slot] = frame_number
        if n_events:
            self._stamp_events(n_events, frame_number, t_scan_ns)
        t3_ns = self._clock.now_ns()
        self.stage_ns["register"] = t1_ns - t0_ns
        self.stage_ns["extract"] = t2_ns - t1_ns
        self.stage_ns["infer"] = t3_ns - t2_ns
        return n_events

    def fill_activity(self) -> NDArray[np.float32]:
        """Copy the last frame's traces into `activity`, off the path to a decision."""
        for row, field in enumerate(ACTIVITY_FIELDS):
            self.activity[row] = getattr(self._traces, field)
        return self.activity

    def _stamp_events(self, n_events: int, frame_number: int, t_scan_ns: int) -> None:
        """When each spike was: the end of its frame, less the lines scanned after the cell's own."""
        for event in self._traces.events[:n_events]:
            of_event = int(event["event_frame"])
            slot = of_event % _T_RING
            if self._frame_of[slot] == of_event:
                t_frame_ns = int(self._t_scan_ns[slot])
            else:
                t_frame_ns = t_scan_ns - (frame_number - of_event) * self._period_ns
            event["t_event_ns"] = t_frame_ns - int(self._before_end_ns[self._row_of[int(event["roi_id"])]])
