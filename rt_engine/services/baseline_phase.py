"""Before a session is live: the baseline is recorded, and the cells are calibrated from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rt_engine.interfaces.errors import ServiceError
from rt_engine.interfaces.rig_config import ReplayMicroscope
from rt_engine.services.calibration_job import CalibrationJob, run_calibration_process
from rt_engine.services.run_plan import RunPlan
from rt_engine.services.run_view import RunView
from rt_engine.services.setup import inference_services
from rt_engine.services.snapshot import SnapshotKeeper
from rt_engine.services.supervisor import Supervisor


class BaselinePhase:
    """Baseline and calibration of one session.

    Parameters
    ----------
    plan : RunPlan
    view : RunView
    supervisor : Supervisor
        All services are up.
    keeper : SnapshotKeeper
    turn : callable
        One turn of the session, to be called while something is awaited.
    """

    def __init__(
        self,
        plan: RunPlan,
        view: RunView,
        supervisor: Supervisor,
        keeper: SnapshotKeeper,
        turn: Callable[[], None],
    ) -> None:
        self._plan, self._view, self._supervisor, self._keeper = plan, view, supervisor, keeper
        self._turn = turn
        self._engines = list(inference_services(plan.rig).values())

    def record(self, geometry: Mapping[str, Any]) -> None:
        """Record the baseline of a source with the facts of a `FrameGeometry`."""
        rate_hz = plane_rate_hz(geometry)
        n_frames = max(1, round(self._plan.baseline_s * rate_hz))
        if self._plan.baseline_frames is not None:
            n_frames = min(n_frames, self._plan.baseline_frames)
        self._view.say(f"recording a baseline of {n_frames} frames ({n_frames / rate_hz:.0f} s) …")
        if n_frames < 3000:
            self._view.say("  fewer than 3,000 frames: thresholds will be provisional (wider, and flagged)")
        pause = self._plan.lossless or isinstance(self._plan.rig.microscope, ReplayMicroscope)
        self._supervisor.request("acquisition", "segment", {"n_frames": n_frames, "pause_after": pause})
        while self._supervisor.state("acquisition") not in ("segment_done", "ended"):
            self._turn()
            self._view.progress("baseline", self._keeper.snapshot.frames / n_frames / len(self._engines))
        self._view.progress("baseline", 1.0)
        self._view.end_progress()

    def calibrate(self, geometry: Mapping[str, Any], target: Path) -> None:
        """Calibrate all planes into the file `target`, once all of the baseline is on the disk.

        Raises
        ------
        ServiceError
            Frames of the baseline are not in the journal.
        SpikeloopError
            The calibration failed.
        """
        for engine in self._engines:
            self._supervisor.request(engine, "mode", {"mode": "calibrating"})
        last_frames = self._supervisor.facts["acquisition"]["last_frames"]
        while not self._keeper.has_seen(last_frames):
            self._turn()
        left_out = self._supervisor.request("recording", "rotate").get("frames_left_out", 0)
        if left_out:
            raise ServiceError(
                f"{left_out} frame messages of the baseline are not on the disk, which is full or too slow",
                "a calibration from the rest would find fewer cells: make room, or give --output on another disk",
            )
        inference = self._plan.rig.inference
        job = CalibrationJob(
            source=self._plan.folder,
            target=target,
            last_frame=max(frame for _, frame in last_frames),
            frame_rate_hz=plane_rate_hz(geometry),
            channel=self._plan.rig.functional_channel,
            planes=self._plan.rig.planes_inferred,
            um_per_px=geometry["um_per_px"],
            adc_max=geometry["adc_max"],
            offset_counts=geometry["offset"],
            indicator=inference.indicator,
            hold_frames=inference.hold_frames,
            false_alarms_per_min=inference.false_alarms_per_min,
            false_event_cost=inference.false_event_cost,
            neuropil_coefficient=inference.neuropil_coefficient,
            max_shift_px=inference.max_shift_px,
            registration_channel=self._plan.rig.registration_channel,
        )
        self._view.say("calibrating …")
        run_calibration_process(job, self._view.progress, self._turn, self._view.say)
        self._view.end_progress()


def plane_rate_hz(geometry: Mapping[str, Any]) -> float:
    """How often each plane is scanned, from the facts of a `FrameGeometry`."""
    return float(geometry["frame_rate_hz"]) / int(geometry["frames_per_volume"])
