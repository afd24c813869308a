"""The engine: one plane's frame becomes events and activity. Owns every array; nothing is made while it runs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.pipeline.cell_group import CellGroup, groups_of_strips
from rt_engine.pipeline.event_times import EventTimes
from rt_engine.pipeline.gathering import Gathering
from rt_engine.pipeline.near_search import SURE_FRAMES
from rt_engine.pipeline.registration import RigidRegistration
from rt_engine.pipeline.strips import StripRegistration
from rt_engine.pipeline.template_adaptation import TemplateAdaptation

ACTIVITY_FIELDS = ("fluorescence", "neuropil", "dff", "calcium", "spike", "z", "probability", "valid")
"""Fields of topic `activity`, in the order of the payload."""


class Engine:
    """Register, extract, and turn traces into events, for one plane.

    Parameters
    ----------
    calibration : Calibration
    max_shift_px : float
        Largest displacement looked for.
    clock : Clock
        For `stage_ns`.
    strip_lines : int, optional
        Lines of the strips that frames come in. With it every cell is decided when the lines that it needs are there;
        without it, when the frame is.
    frames_per_volume : int
        The lines of a frame take this part of the time from one frame of the plane to the next.
    spare_rois : int
        Rows for cells that are found while the engine runs.
    adapts_template : bool
        Let the template follow the look of the field; see `maintain`.

    Attributes
    ----------
    n_rois : int
        Rows in use: cells of the calibration, then those taken since.
    activity : float32 ndarray, shape (len(ACTIVITY_FIELDS), n_rois)
        The last frame's values, overwritten by `fill_activity`; another array after `take`.
    events : EVENT_DTYPE ndarray, shape (n_rois + spare rows left,)
        The first `n` of them are of the lines processed last, `n` being what `process` returned.
    reference : uint16 or int16 ndarray, shape (n_lines, pixels_per_line), C order, counts, or None
        Of a calibration with a structural channel: its lines of the frame that is processed next; None where they did
        not come: cells are then read where those of the frame before were. To be set before `process_lines`.
    stage_ns : dict of str to int
        Time spent in each stage of the last frame.
    """

    def __init__(
        self,
        calibration: Calibration,
        max_shift_px: float,
        clock: Clock,
        strip_lines: int | None = None,
        frames_per_volume: int = 1,
        spare_rois: int = 0,
        adapts_template: bool = False,
    ) -> None:
        self.calibration = calibration
        self._clock = clock
        self._max_shift_px = max_shift_px
        self._strip_lines = strip_lines
        anchor = self._registration_template()
        self._registration = self._make_registration(anchor)
        self._adaptation: TemplateAdaptation | None = None
        if adapts_template:
            self._adaptation = TemplateAdaptation(
                anchor, max_shift_px, calibration.frame_rate_hz, calibration.line_phase_px, self._make_registration
            )
        self._lit = False
        self._unverified = False
        self._ends = np.array([calibration.n_lines])
        self._groups = [CellGroup(calibration, np.arange(calibration.n_rois), max_shift_px)]
        if isinstance(self._registration, StripRegistration):
            self._ends = self._registration.ends
            self._groups = groups_of_strips(calibration, self._ends, max_shift_px)
        self._gathering = Gathering(self._ends, max_shift_px)
        self.reference: NDArray[Any] | None = None
        self._strip = 0
        self._n_decided = 0
        self._begun: int | None = None
        self.n_rois, n_rows = calibration.n_rois, calibration.n_rois + spare_rois
        self._activity = np.full(len(ACTIVITY_FIELDS) * n_rows, np.nan, np.float32)
        self.activity = self._activity[: len(ACTIVITY_FIELDS) * self.n_rois].reshape(len(ACTIVITY_FIELDS), -1)
        self.events = np.zeros(n_rows, EVENT_DTYPE)
        self.stage_ns = {"register": 0, "extract": 0, "infer": 0}
        self._times = EventTimes(calibration, frames_per_volume, n_rows)
        for group in self._groups:
            self._times.follow(group, calibration.roi_id[group.rows])
        self._roi_id = np.zeros(n_rows, np.uint32)
        self._roi_id[: self.n_rois] = calibration.roi_id

    def _registration_template(self) -> NDArray[np.float32]:
        """Of the structural channel where there is one."""
        if self.calibration.registration_channel >= 0:
            return self.calibration.registration_template
        return self.calibration.template

    def _make_registration(self, template: NDArray[np.float32]) -> RigidRegistration | StripRegistration:
        line_phase_px = self.calibration.line_phase_px
        if self._strip_lines is None:
            return RigidRegistration(template, self._max_shift_px, line_phase_px, verifies_coarsely=True)
        return StripRegistration(template, self._max_shift_px, self._strip_lines, line_phase_px)

    def take(self, group: CellGroup, roi_id: NDArray[np.uint32]) -> None:
        """Read more cells from the next frame on; nothing changes for the others. Call between two frames.

        Parameters
        ----------
        group : CellGroup
            Its rows follow those in use.
        roi_id : uint32 ndarray, shape (n_new,)
        """
        after = [one.last_line_needed for one in self._groups]
        place = bisect_right(after, group.last_line_needed) if len(self._ends) > 1 else len(self._groups)
        self._groups.insert(place, group)
        self._roi_id[group.rows] = roi_id
        self._times.follow(group, roi_id)
        self.n_rois += len(roi_id)
        self.activity = self._activity[: len(ACTIVITY_FIELDS) * self.n_rois].reshape(len(ACTIVITY_FIELDS), -1)

    def remove(self, row: int) -> None:
        """The cell at a row has no samples and raises no events from the next frame on; the row stays empty."""
        for group in self._groups:
            group.remove(row)

    def set_thresholds(self, threshold: NDArray[np.floating]) -> None:
        """z that an event must reach from the next frame on, shape (n_rois,)."""
        for group in self._groups:
            np.copyto(group.traces.threshold, threshold[group.rows], casting="same_kind")

    @property
    def strip_ends(self) -> NDArray[np.int64]:
        """Line after the last of every strip, or of the frame."""
        return self._ends

    def last_lines_undecided(self) -> NDArray[np.int64]:
        """Last line that each cell which this frame has not decided yet depends on, in the order of decision."""
        left = self._groups[self._n_decided :]
        return np.concatenate(
            [np.zeros(0, np.int64), *(group.line0 + group.extraction.last_line_needed for group in left)]
        )

    @property
    def shift_yx_px(self) -> tuple[float, float]:
        """Displacement of the last frame's content against the template, pixels."""
        return self._registration.shift_y_px, self._registration.shift_x_px

    @property
    def quality(self) -> float:
        """Registration quality of the last frame."""
        return self._registration.quality

    def warm_up(self) -> None:
        """Run every kernel once, so that no live frame waits for a compiler or a cache."""
        blank = np.zeros((self.calibration.n_lines, self.calibration.pixels_per_line), np.uint16)
        for frame in (blank, blank.view(np.int16)):
            for strip in range(len(self._ends)):
                self._register(frame, strip)
            for group in self._groups:
                group.warm_up(frame)
        self._warm_near_search(blank)
        self._registration = self._make_registration(self._registration_template())
        self._unverified = False

    def _warm_near_search(self, blank: NDArray[np.uint16]) -> None:
        """The search near the last shift runs only once the template has been seen for a while."""
        seen = np.rint(self._registration_template()).clip(0, np.iinfo(np.uint16).max)
        np.copyto(blank, seen, casting="unsafe")
        for _ in range(SURE_FRAMES + 1):
            for strip in range(len(self._ends)):
                self._register(blank, strip)
            self.settle()

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
        self.begin(frame_number, n_gap)
        return self.process_lines(frame, frame_number, self.calibration.n_lines, t_scan_ns, blanked)

    def begin(self, frame_number: int, n_gap: int) -> None:
        """A new frame is being scanned; cells that the one before it left undecided have no sample of that.

        Parameters
        ----------
        frame_number : int
            The source's counter.
        n_gap : int
            Frames missing just before this one.
        """
        self.settle()
        if self._adaptation is not None:
            self._take_template(frame_number, self._adaptation)
        self._lit = False
        undecided = 1 if self._begun is not None else 0
        for position, group in enumerate(self._groups):
            group.n_missing += n_gap + (undecided if position >= self._n_decided else 0)
        self._gathering.swap(self._groups, frame_number)
        self._begun = frame_number
        self._strip = self._n_decided = 0
        for stage in self.stage_ns:
            self.stage_ns[stage] = 0

    def process_lines(
        self,
        frame: NDArray[Any],
        frame_number: int,
        end_line: int,
        t_scan_ns: int,
        blanked: Sequence[Sequence[int]] = (),
    ) -> int:
        """Number of events that the lines scanned so far decide, beyond those decided before.

        Parameters
        ----------
        frame : uint16 or int16 ndarray, shape (n_lines, pixels_per_line), C order, counts, read
            Lines up to `end_line` are of this frame.
        frame_number : int
            As given to `begin`.
        end_line : int
            First line that has not been scanned.
        t_scan_ns : int
            When the line before it had been scanned.
        blanked : sequence of (line0, n_lines)
            Lines of the frame scanned under stimulation light so far.
        """
        t0_ns = self._clock.now_ns()
        self._lit = self._lit or bool(blanked)
        image = frame if self.calibration.registration_channel < 0 else self.reference
        while self._strip < len(self._ends) and self._ends[self._strip] <= end_line:
            if image is not None and not self._is_lit(self._strip, blanked):
                # Light of our own would look like motion: such lines are read where those before them were.
                self._register(image, self._strip)
            self._strip += 1
        self.stage_ns["register"] += self._clock.now_ns() - t0_ns
        whole = end_line >= self.calibration.n_lines
        self._times.note(frame_number, end_line, t_scan_ns)
        n_events = 0
        below = int(np.ceil(max(self._registration.shift_y_px, 0.0))) + 1
        while self._n_decided < len(self._groups):
            group = self._groups[self._n_decided]
            if not whole and group.last_line_needed + below >= end_line:
                break
            n_events += self._decide(group, frame, frame_number, blanked, n_events)
            self._n_decided += 1
        if whole:
            self._begun = None
        if n_events:
            self._times.stamp(self.events[:n_events])
        return n_events

    def tidy(self) -> None:
        """Do what may take milliseconds: call between two frames, when nothing waits."""
        self._gathering.build()

    def maintain(self, frame: NDArray[Any], frame_number: int) -> None:
        """Take in the look of a whole frame for the template. Call after its decisions are out.

        Frames that moved, or in which light of our own fell, are left out.

        Parameters
        ----------
        frame : uint16 or int16 ndarray, shape (n_lines, pixels_per_line), C order, counts, read
            As given to `process`.
        frame_number : int
        """
        image = frame if self.calibration.registration_channel < 0 else self.reference
        if self._adaptation is None or image is None or self._lit or self._registration.jumped:
            return
        self._adaptation.look(image, frame_number, *self.shift_yx_px)

    def _take_template(self, frame_number: int, adaptation: TemplateAdaptation) -> None:
        registration = adaptation.take(frame_number)
        if registration is not None:
            registration.follow(self._registration)
            self._registration = registration

    def _is_lit(self, strip: int, blanked: Sequence[Sequence[int]]) -> bool:
        """True if light of our own fell on lines that the strip is registered by."""
        if not isinstance(self._registration, StripRegistration):
            return bool(blanked)
        first, end = self._registration.starts[strip], self._registration.ends[strip]
        return any(line0 < end and line0 + n_lines > first for line0, n_lines in blanked)

    def _register(self, frame: NDArray[Any], strip: int) -> None:
        if isinstance(self._registration, StripRegistration):
            self._registration.process(frame, strip)
        else:
            self._registration.locate(frame)
            self._unverified = True

    def settle(self) -> None:
        """Do what the frame decided last leaves to do: baselines, what `activity` tells, and the look at all lags.

        To be called when its events are out; the next frame does it otherwise.
        """
        if self._unverified and isinstance(self._registration, RigidRegistration):
            self._registration.verify()
        self._unverified = False
        for group in self._groups:
            group.traces.settle()

    def _decide(
        self, group: CellGroup, frame: NDArray[Any], frame_number: int, blanked: Sequence[Sequence[int]], n_before: int
    ) -> int:
        t0_ns = self._clock.now_ns()
        jumped = self._read(group, frame, blanked)
        t1_ns = self._clock.now_ns()
        n_events = group.decide(frame_number, jumped)
        self.events[n_before : n_before + n_events] = group.traces.events[:n_events]
        t2_ns = self._clock.now_ns()
        self.stage_ns["extract"] += t1_ns - t0_ns
        self.stage_ns["infer"] += t2_ns - t1_ns
        return n_events

    def _read(self, group: CellGroup, frame: NDArray[Any], blanked: Sequence[Sequence[int]]) -> bool:
        """Fluorescence of a group; true if the frame moved too much for any."""
        registration = self._registration
        group.read(frame, registration.shift_y_px, registration.shift_x_px, blanked)
        return registration.jumped

    def fill_activity(self) -> NDArray[np.float32]:
        """Copy the last frame's traces into `activity`, off the path to a decision."""
        self.settle()
        for group in self._groups:
            for row, field in enumerate(ACTIVITY_FIELDS):
                self.activity[row, group.place] = getattr(group.traces, field)
        return self.activity

    def cell_figures(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Neuropil coefficient and `floor_hits` of every cell as they are now, shape (n_rois,) each."""
        coefficient, hits = np.full(self.n_rois, np.nan), np.zeros(self.n_rois, np.int64)
        for group in self._groups:
            coefficient[group.rows] = group.traces.neuropil_coefficient
            hits[group.rows] = group.traces.floor_hits
        return coefficient, hits

    def neuropil_changes(self) -> list[tuple[int, float]]:
        """Cells whose neuropil coefficient has moved since they were told last: roi_id and r now."""
        return [
            (int(self._roi_id[group.rows[row]]), float(group.traces.neuropil_coefficient[row]))
            for group in self._groups
            if group.traces.neuropil_update is not None
            for row in group.traces.neuropil_update.take_report(group.traces.neuropil_coefficient)
        ]
