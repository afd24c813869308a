"""What one run shall do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig, VirtualMicroscope
from rt_engine.services.replay_plan import ReplayOf


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What one run shall do. The baseline, at most `baseline_frames`, is recorded only where `calibration` is None."""

    rig: RigConfig
    kind: str
    folder: Path
    protocol: Path | None
    calibration: Path | None
    baseline_s: float
    baseline_frames: int | None
    duration_s: float | None
    dry_run: bool
    subject: str | None
    replay: ReplayOf | None = None

    @property
    def lossless(self) -> bool:
        """True if the source waits for inference and recorder."""
        microscope = self.rig.microscope
        if isinstance(microscope, VirtualMicroscope):
            return microscope.pace == "max"
        return isinstance(microscope, ReplayMicroscope)
