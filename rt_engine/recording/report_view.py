"""What the sections of the report ask of a session: times from going live, example cells, trials by arm."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.recording.activity_table import ActivityTable
from rt_engine.recording.commanded_light import Decision
from rt_engine.recording.event_triggered import TriggeredAverage, triggered_average
from rt_engine.recording.report_figures import Trace
from rt_engine.recording.session_tables import PlaneTable
from rt_engine.recording.summary import Analysis, frame_period_s

F64 = NDArray[np.float64]

N_EXAMPLES = 5
LONGEST_WINDOW_S = 60.0
OUTCOMES = ("delivered", "withheld", "sham", "dry_run")
"""Of trials that took place; what was refused, late or failed is a trial of no arm."""


class ArmResponse(NamedTuple):
    """Trials of one arm: their outcome, and the average of their target cells."""

    outcome: str
    average: TriggeredAverage


class ReportView:
    """One plane of an analysed session.

    Parameters
    ----------
    analysis : Analysis
    activity : ActivityTable
        Of the plane, filled in the same pass.
    plane : int

    Attributes
    ----------
    decisions : list of Decision
        Of all planes: light aimed at one plane may follow events of another. Without those whose trigger is lost.
    """

    def __init__(self, analysis: Analysis, activity: ActivityTable, plane: int) -> None:
        self.analysis = analysis
        self.activity = activity
        tables = analysis.tables
        self.plane = plane
        self.table = tables.planes.get(self.plane, PlaneTable())
        self.period_s = frame_period_s(tables, analysis.calibration) or 1.0
        self.period_is_known = frame_period_s(tables, analysis.calibration) is not None
        self.row_of_id = self._rows()
        self.n_cells = max(len(self.row_of_id), self.activity.dff.shape[1])
        self.decisions = [one for one in tables.decisions.values() if one.has_trigger]

    @property
    def of_plane(self) -> str:
        """The plane in words for a title; empty where the session has only one."""
        return f", plane {self.plane}" if len(self.analysis.tables.planes) > 1 else ""

    @property
    def calibration(self) -> Calibration | None:
        """Calibration of the plane, if it can be read."""
        return self.analysis.calibrations.get(self.plane)

    @property
    def span_s(self) -> tuple[float, float]:
        """Live part of the session, seconds from going live; one frame of a session that never did."""
        return (0.0, max(1, self.table.n_counts_live) * self.period_s)

    def seconds(self, frames: F64) -> F64:
        """Frame numbers as seconds from going live."""
        return np.asarray((frames - (self.table.first_live or 0)) * self.period_s)

    def event_times_s(self) -> tuple[F64, NDArray[np.int64]]:
        """Times of the spikes of all live events, seconds from going live, and the rows of their cells (-1 unknown)."""
        events = self.table.events
        rows = np.array([self.row_of_id.get(int(i), -1) for i in events["roi_id"]], np.int64)
        return self.seconds(self.table.middle_of(events["event_frame"])), rows

    def trigger_frames(self, decision: Decision) -> float:
        """Time of a decision's command (of the decision itself, where none was sent), in frames."""
        first = decision.first
        t_ns = first.t_decided_ns if decision.t_command_ns is None else decision.t_command_ns
        return first.frame + 1 + (t_ns - first.t_scan_ns) / 1e9 / self.period_s

    def light_times_s(self, row: int | None = None) -> F64:
        """Light delivered, seconds from going live; only on the cell of `row` if given."""
        frames = [
            self.trigger_frames(d)
            for d in self.decisions
            if d.outcome == "delivered" and (row is None or row in self.target_rows(d))
        ]
        return self.seconds(np.array(frames, np.float64))

    def target_rows(self, decision: Decision) -> list[int]:
        """Columns of the activity table that light was, or would have been, aimed at."""
        ids = decision.first.target_ids
        rows = (self.row_of_id.get(int(roi_id), -1) for roi_id in ids)
        return [row for row in rows if 0 <= row < self.activity.dff.shape[1]]

    def responses(self) -> dict[str, ArmResponse]:
        """Average of the target cells around the trigger, by arm, live trials only; controls come last.

        Where no arm was drawn, the outcome stands for it.
        """
        arms: dict[tuple[int, str, str], list[tuple[float, list[int]]]] = {}
        for decision in self.decisions if self.period_is_known else ():
            if decision.outcome in OUTCOMES:
                order = OUTCOMES.index(decision.outcome) if decision.outcome != "dry_run" else -1
                key = order, decision.first.arm or decision.outcome, decision.outcome
                arms.setdefault(key, []).append((self.trigger_frames(decision), self.target_rows(decision)))
        found: dict[str, ArmResponse] = {}
        for (_, arm, outcome), trials in sorted(arms.items()):
            average = triggered_average(self.activity.frame, self.activity.dff, trials, self.period_s)
            if average is not None:
                found[arm if arm not in found else f"{arm}, {outcome}"] = ArmResponse(outcome, average)
        return found

    def examples(self) -> tuple[list[Trace], tuple[float, float]]:
        """The most active cells, and the window shown: the busiest minute of a longer session."""
        n_rois = self.activity.dff.shape[1]
        t_event_s, event_row = self.event_times_s()
        live = (event_row >= 0) & (event_row < n_rois)
        n_events = np.bincount(event_row[live], minlength=n_rois)
        dff = self.activity.dff[self.activity.frame >= (self.table.first_live or 0)]
        if not n_rois or not len(dff):
            return [], (0.0, 0.0)
        chosen = np.sort(np.lexsort((-_spread(dff), -n_events))[:N_EXAMPLES])
        window = self._busiest(t_event_s[np.isin(event_row, chosen)])
        t_s = self.seconds(self.activity.frame.astype(np.float64) + 1)
        shown = (t_s >= window[0]) & (t_s <= window[1])
        roi_id = {row: roi_id for roi_id, row in self.row_of_id.items()}
        traces = []
        for row in chosen:
            own = (event_row == row) & (t_event_s >= window[0]) & (t_event_s <= window[1])
            on_cell, everywhere = self.light_times_s(int(row)), self.light_times_s()
            light = on_cell if len(on_cell) else everywhere
            traces.append(
                Trace(
                    name=f"cell {roi_id.get(int(row), row)}: {n_events[row]} events",
                    t_s=t_s[shown],
                    dff=self.activity.dff[shown, row].astype(np.float64),
                    calcium=self.activity.calcium[shown, row].astype(np.float64),
                    t_event_s=t_event_s[own],
                    t_light_s=light[(light >= window[0]) & (light <= window[1])],
                    is_target=len(on_cell) > 0,
                )
            )
        return traces, window

    def _busiest(self, t_event_s: F64) -> tuple[float, float]:
        end_s = self.span_s[1]
        if end_s <= LONGEST_WINDOW_S or not len(t_event_s):
            return 0.0, min(end_s, LONGEST_WINDOW_S)
        starts = np.arange(0.0, end_s - LONGEST_WINDOW_S + 1.0, 5.0)
        t_s = np.sort(t_event_s)
        counts = np.searchsorted(t_s, starts + LONGEST_WINDOW_S) - np.searchsorted(t_s, starts)
        start = float(starts[counts.argmax()])
        return start, min(start + LONGEST_WINDOW_S, end_s)

    def _rows(self) -> dict[int, int]:
        rois = self.analysis.tables.rois.get(self.plane)
        if rois is not None and rois.rois:
            return {roi.roi_id: roi.roi_index for roi in rois.rois}
        if self.calibration is not None:
            return {int(roi_id): row for row, roi_id in enumerate(self.calibration.roi_id)}
        return {}


def _spread(dff: NDArray[np.float32]) -> F64:
    """Standard deviation of every column over its valid samples, 0 without any."""
    valid = np.isfinite(dff)
    n = np.maximum(valid.sum(axis=0), 1)
    clean = np.where(valid, dff, 0.0)
    mean = clean.sum(axis=0) / n
    return np.asarray(np.sqrt(np.where(valid, (clean - mean) ** 2, 0.0).sum(axis=0) / n), np.float64)
