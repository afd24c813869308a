"""What inference does differently in a replay: it tells the times of the recording, and skips what was skipped."""

from __future__ import annotations

from rt_engine.interfaces.messages import FrameHeader
from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig
from rt_engine.recording.recorded_times import Decided, RecordedTimes, recorded_times


class ReplayPace:
    """Times and omissions of a replay.

    Parameters
    ----------
    times : RecordedTimes or None
        None for a movie: there, lines are received and decided the moment they are scanned.
    """

    def __init__(self, times: RecordedTimes | None) -> None:
        self._times = times

    def skips(self, header: FrameHeader) -> bool:
        """True if the engine of the recording did not decide these lines."""
        return self._times is not None and self._times.decision(header.plane, header.frame, header.line0) is None

    def decided(self, header: FrameHeader) -> Decided:
        """When these lines were received and decided, and whether that was late, in the recording."""
        known = None if self._times is None else self._times.decision(header.plane, header.frame, header.line0)
        return known or Decided(header.t_scan_ns, header.t_scan_ns, late=False)


def replay_pace(rig: RigConfig, plane: int) -> ReplayPace | None:
    """The pace of one plane of a replay; None for every other microscope.

    Raises
    ------
    RecordingError
        The recorded session cannot be read.
    """
    microscope = rig.microscope
    if not isinstance(microscope, ReplayMicroscope):
        return None
    return ReplayPace(recorded_times(microscope.path, (plane,)))
