"""An engine from a calibration file, refused with reasons where the two do not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.calibration_planes import load_plane
from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.network_weights import find_weights
from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig
from rt_engine.pipeline.engine import Engine
from rt_engine.pipeline.trace_engine import TraceEngine
from rt_engine.recording.reader import open_session
from rt_engine.recording.recorded_traces import RecordedTraces

_RATE_TOLERANCE = 0.05


def load_engine(
    rig: RigConfig, plane: int, args: dict[str, Any], clock: Clock, strip_lines: int | None
) -> tuple[Engine, Calibration]:
    """A warm engine for one plane.

    Parameters
    ----------
    rig : RigConfig
    plane : int
    args : dict
        Of the command `calibrate`: ``path``, and what is known of the frames.
    clock : Clock
    strip_lines : int or None
        Lines of the longest strip that has come. A source that waits for the engine has sent none yet, but tells.

    Raises
    ------
    CalibrationError
        The file is not usable for these frames, or holds no cells.
    RecordingError
        The traces of a session that is replayed from them cannot be read.
    """
    path = Path(args["path"])
    network = None if rig.inference.network is None else find_weights(rig.inference.network)
    calibration = replace(
        load_plane(path, plane), updates_neuropil=rig.inference.neuropil_update, network=network
    )  # fmt: skip
    size = args.get("size")
    if size is not None:
        um_per_px, n_lines, n_pixels = args.get("um_per_px"), int(size[0]), int(size[1])
        channel = rig.functional_channel
        calibration.require_fits(n_lines, n_pixels, str(path), um_per_px=um_per_px, channel=channel)
    calibration.require_registration(rig.registration_channel, str(path))
    if calibration.n_rois == 0:
        raise CalibrationError("holds no cells", "calibrate on a recording with active cells", file=str(path))
    longest = max(strip_lines or 0, args.get("strip_lines") or 0)
    strips = longest if 0 < longest < calibration.n_lines else None
    engine = _make_engine(rig, plane, calibration, clock, strips, int(args.get("frames_per_volume", 1)))
    engine.warm_up()
    return engine, calibration


def _make_engine(
    rig: RigConfig, plane: int, calibration: Calibration, clock: Clock, strip_lines: int | None, n_planes: int
) -> Engine:
    config, microscope = rig.inference, rig.microscope
    common = calibration, config.max_shift_px, clock, strip_lines, n_planes, config.spare_rois
    first = microscope.first_frame_of_traces if isinstance(microscope, ReplayMicroscope) else None
    if isinstance(microscope, ReplayMicroscope) and first is not None:
        traces = RecordedTraces(open_session(microscope.path), plane)
        return TraceEngine(traces, *common, adapts_template=config.template_adaptation and first > 0, from_frame=first)
    return Engine(*common, adapts_template=config.template_adaptation)


def other_rate(calibration: Calibration, frame_rate_hz: float | None) -> str | None:
    """What to warn of if frames come at another rate than the calibration was made for; None if they do not."""
    if frame_rate_hz is None or abs(frame_rate_hz / calibration.frame_rate_hz - 1) < _RATE_TOLERANCE:
        return None
    return (
        f"frames come at {frame_rate_hz:.4g} Hz, the calibration was made at {calibration.frame_rate_hz:.4g} Hz: "
        "kernels and thresholds do not fit, calibrate again"
    )
