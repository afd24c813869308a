"""What a replay is of, and in what it differs from its recording."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.calibration_planes import load_plane
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.output_config import VirtualOutput, virtual_shutter
from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig
from rt_engine.interfaces.virtual_inputs import VirtualLine
from rt_engine.models.detection import event_threshold
from rt_engine.recording.device_versions import device_versions, versions_in_words
from rt_engine.recording.journal_holes import first_hole
from rt_engine.recording.kept_frames import kept_frames
from rt_engine.recording.reader import open_session, read_config
from rt_engine.safety.limits import untied
from rt_engine.services.replay_interlock import silence_bounds_ns
from rt_engine.services.replay_origin import first_session_header, other_code, other_machine, protocols_loaded
from rt_engine.services.session_folder import file_digest, kept_protocol

_CELLS = ("roi_id", "roi_start", "roi_pixels", "roi_weight", "neuropil_start", "neuropil_pixels")


class StartsFrom(StrEnum):
    """What of a recording goes through the engine once more: its pixels, or the traces that were read from them."""

    FRAMES = "frames"
    TRACES = "traces"


@dataclass(frozen=True, slots=True)
class ReplayOf:
    """What is replayed.

    Attributes
    ----------
    source : str
        Path of the session or movie.
    session : str or None
        Id of the session; None for a movie.
    t_wall_ns, t_monotonic_ns : int
        A wall time and the time of the recording at that moment.
    differs : tuple of str
        In what the replay is not the experiment that was done; with anything in it, it tells what would have happened.
    notes : tuple of str
        What else may make a difference: other versions of the code.
    starts_from : StartsFrom
    traces_from_frame : int or None
        Frame (or volume) from which on the recorded traces stand in for pixels that were not kept.
    first_missing_frame : int or None
        First frame (or volume) whose pixels were not kept, where the replay goes without such frames.
    hole : str or None
        The first hole in the journal, in words.
    """

    source: str
    session: str | None
    t_wall_ns: int
    t_monotonic_ns: int
    differs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    starts_from: StartsFrom = StartsFrom.FRAMES
    traces_from_frame: int | None = None
    first_missing_frame: int | None = None
    hole: str | None = None

    @property
    def light(self) -> str:
        """When the interlock is armed."""
        return "armed as the recording was" if self.session is not None else "armed with the first live frame"

    @property
    def said(self) -> str | None:
        """Words to the person who starts it; None where there is nothing to say."""
        if self.first_missing_frame is not None:
            return f"frame {self.first_missing_frame} and those after it were not all kept: the replay lacks them"
        if self.traces_from_frame is not None:
            where = f"frame {self.traces_from_frame} and those after it were not all kept"
            return f"{where}: from there on the replay goes on from the recorded traces"
        if self.starts_from is StartsFrom.FRAMES:
            return None
        return "starts from the recorded traces, not from frames: no pixel is looked at"

    @property
    def sayings(self) -> tuple[str, ...]:
        """All that is said when it begins: in what it is not the experiment, and what else may make a difference."""
        first: tuple[str, ...] = () if self.said is None else (self.said,)
        if self.hole is not None:
            first += (f"{self.hole}: what the replay decides after them need not be what was recorded",)
        told = (f"what would have happened: {'; '.join(self.differs)}",) if self.differs else ()
        return first + told + tuple(f"  note: {note}" for note in self.notes)

    def described(self) -> dict[str, Any]:
        """As ``config.yaml`` tells it."""
        return {
            "of": self.session,
            "source": self.source,
            "what_would_have_happened": bool(self.differs),
            "differs": list(self.differs),
            "notes": list(self.notes),
            "starts_from": self.starts_from.value,
            "traces_from_frame": self.traces_from_frame,
            "first_missing_frame": self.first_missing_frame,
            "hole": self.hole,
        }


def replay_of_movie(path: Path) -> ReplayOf:
    """A movie has no times but those of its frames, counted from 0."""
    return ReplayOf(source=str(path), session=None, t_wall_ns=time.time_ns(), t_monotonic_ns=0)


def start_of_session(rig: RigConfig, asked: str | None) -> StartsFrom:
    """Frames where the rig of the recording kept them all, else traces; or what was asked for."""
    if asked is not None:
        return StartsFrom(asked)
    kept = rig.recording
    return StartsFrom.FRAMES if kept.frames == "all" and kept.every_nth_frame == 1 else StartsFrom.TRACES


@dataclass(frozen=True, slots=True)
class PixelPlan:
    """What of a session goes through the engine; see `ReplayOf`."""

    starts_from: StartsFrom
    traces_from_frame: int | None = None
    first_missing_frame: int | None = None


def pixel_plan(
    folder: Path,
    rig: RigConfig,
    asked: str | None,
    calibration: Path,
    planes: tuple[int, ...],
    channels: tuple[int, ...],
) -> PixelPlan:
    """Frames as far as they go, then the traces that were read from those that were not kept.

    Where frames were asked for, or the calibration has other cells than the traces are of, the replay goes without
    what was not kept.

    Raises
    ------
    RecordingError
        There is no journal.
    ConfigError
        It is to start from traces, and the calibration has other cells.
    """
    starts_from = start_of_session(rig, asked)
    if starts_from is StartsFrom.TRACES:
        require_same_cells(folder, calibration, planes)
    if starts_from is StartsFrom.TRACES or start_of_session(rig, None) is StartsFrom.TRACES:
        return PixelPlan(starts_from)
    kept = kept_frames(open_session(folder), planes, channels)
    if kept.first_without is None or kept.first_live is None:
        return PixelPlan(starts_from)
    if asked == StartsFrom.FRAMES or not has_same_cells(folder, calibration, planes):
        return PixelPlan(starts_from, first_missing_frame=kept.first_without)
    if kept.first_without <= kept.first_live:
        return PixelPlan(StartsFrom.TRACES)
    return PixelPlan(starts_from, traces_from_frame=kept.first_without)


def has_same_cells(folder: Path, calibration: Path, planes: tuple[int, ...]) -> bool:
    """True if a calibration has the very cells whose traces a session recorded."""
    own = folder / "calibration.h5"
    if not own.is_file():
        return False
    pairs = ((load_plane(own, plane), load_plane(calibration, plane)) for plane in planes)
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for one, other in pairs for name in _CELLS)


def require_same_cells(folder: Path, calibration: Path, planes: tuple[int, ...]) -> None:
    """Traces are of the cells of the session and of no others.

    Raises
    ------
    ConfigError
        The calibration has other cells, or the session has none.
    """
    own = folder / "calibration.h5"
    if not own.is_file():
        raise ConfigError("holds no calibration.h5", "traces mean nothing without their cells", file=str(folder))
    if not has_same_cells(folder, calibration, planes):
        raise ConfigError(
            "has other cells than those whose traces were recorded",
            "replay with the session's own calibration, or one that differs in constants and thresholds alone",
            file=str(calibration),
        )


def replay_of_session(
    folder: Path,
    calibration: Path,
    protocol: Path | None,
    differs: tuple[str, ...],
    pixels: PixelPlan | None = None,
    planes: tuple[int, ...] = (0,),
) -> ReplayOf:
    """A session, and what is not as it was.

    Parameters
    ----------
    folder : Path
        Of the recorded session.
    calibration : Path
        That the replay uses.
    protocol : Path or None
        That the replay uses.
    differs : tuple of str
        What differs besides.
    pixels : PixelPlan, optional
        Default: all frames.
    planes : tuple of int
        That are replayed.

    Raises
    ------
    RecordingError
        There is no journal.
    ConfigError
        The journal does not say when it was recorded.
    """
    header = first_session_header(folder)
    own = folder / "calibration.h5"
    if not _same(calibration, own):
        differs = (*differs, f"another calibration: {calibration.name}")
    if pixels is not None and pixels.first_missing_frame is not None:
        differs = (*differs, f"frame {pixels.first_missing_frame} and others after it missing")
    kept, notes, config = kept_protocol(folder), other_code(header), read_config(open_session(folder))
    notes += other_machine(config)
    if devices := device_versions(open_session(folder)):
        notes.append(f"recorded with {versions_in_words(devices)}; a replay opens none of them")
    is_other = kept is not None and not (protocol is not None and _same(protocol, kept))
    if len(loaded := protocols_loaded(folder)) > 1 and not is_other:
        went_on = [name for name, _ in loaded]
        if all(has_text for _, has_text in loaded[1:]):
            notes.append(f"the protocol is changed where the session changed it: {', then '.join(went_on)}")
        else:
            told = f"protocol {went_on[0]} all through, where the session went on to {', '.join(went_on[1:])}"
            differs = (*differs, told)
    for key, file in (("calibration_sha256", own), ("protocol_sha256", kept)):
        hashed = config.get(key)
        if hashed is not None and file is not None and file.is_file() and hashed != file_digest(file):
            notes.append(f"{file.name} has been changed since the session")
            differs = (*differs, f"a {file.name} that is not the one recorded with")
    if _rig_of(header.config) not in (None, _rig_of(config)):
        notes.append("the rig in config.yaml has been changed since the session")
        differs = (*differs, "a rig that is not the one recorded with")
    if kept is not None and is_other:
        names = ", then ".join(name for name, _ in loaded) if len(loaded) > 1 else kept.stem
        differs = (*differs, f"another protocol: {protocol.stem if protocol else 'none'} instead of {names}")
    elif kept is None and protocol is not None and header.protocol != protocol.stem:
        differs = (*differs, f"another protocol: {protocol.stem} instead of {header.protocol or 'none'}")
    hole = first_hole(open_session(folder), planes)
    return ReplayOf(
        hole=None if hole is None else str(hole),
        source=str(folder),
        session=header.session,
        t_wall_ns=header.t_wall_ns,
        t_monotonic_ns=header.t_monotonic_ns,
        differs=differs,
        notes=tuple(notes),
        **{} if pixels is None else asdict(pixels),
    )


def session_rig(rig: RigConfig, microscope: ReplayMicroscope, planes: tuple[int, ...]) -> RigConfig:
    """The rig of the replay of a session: that of the recording, with another microscope, and no real output."""
    own = rig.microscope
    was_tied = getattr(own, "pace", None) != "max"
    if not was_tied:
        outputs = {name: one.model_copy(update={"limits": untied(one.limits)}) for name, one in rig.outputs.items()}
        rig = rig.model_copy(update={"outputs": outputs})
    if microscope.first_frame_of_traces is not None:
        nothing = rig.recording.model_copy(update={"frames": "none"})
        rig = rig.model_copy(update={"recording": nothing})
    live_ns, _ = silence_bounds_ns(rig, lossless=not was_tied)
    known = {"um_per_px": microscope.um_per_px or getattr(own, "um_per_px", None), "live_silence_s": live_ns / 1e9}
    return movie_rig(rig, microscope.model_copy(update=known), planes)


def movie_rig(rig: RigConfig, microscope: ReplayMicroscope, planes: tuple[int, ...]) -> RigConfig:
    """A rig with a recording for its microscope, outputs that are virtual, and inputs that touch no card."""
    outputs = {
        name: VirtualOutput(
            driver="virtual", watchdog_ms=one.watchdog_ms, limits=one.limits, shutter=virtual_shutter(one)
        )
        for name, one in rig.outputs.items()
    }
    inputs = {
        name: one if isinstance(one, VirtualLine) else VirtualLine(driver="virtual", level="low")
        for name, one in rig.inputs.items()
    }
    update = {"name": "replay", "microscope": microscope, "outputs": outputs, "planes": planes}
    update |= {"inputs": inputs, "frame_clock": None}
    return rig.model_copy(update=update)


def with_false_alarms(calibration: Calibration, false_alarms_per_min: float) -> Calibration:
    """The calibration with thresholds for another rate of false events.

    Parameters
    ----------
    calibration : Calibration
    false_alarms_per_min : float
        Per cell.

    Raises
    ------
    ConfigError
        The calibration decides by cost.

    Notes
    -----
    Every threshold moves by what `models.detection.event_threshold` moves for Gaussian noise of the same correlation,
    so that what the calibration knew of skewness and uncertainty is kept. `expected_detection` stays, so that a
    protocol ranks the cells as it did.
    """
    if calibration.by_cost:
        raise ConfigError(
            f"the calibration decides by {calibration.rule}",
            "replay with one that was made for a rate",
            key="--false-alarms-per-min",
        )
    taps = calibration.filter_taps.astype(np.float64)
    power = np.maximum(np.sum(taps**2, axis=0), np.finfo(np.float64).tiny)
    rho = np.clip(np.sum(taps[1:] * taps[:-1], axis=0) / power, 0.0, 0.999)
    old, new = (
        event_threshold(rate, calibration.frame_rate_hz, rho)
        for rate in (calibration.false_alarms_per_min, false_alarms_per_min)
    )

    def moved(threshold: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.maximum(threshold + (new - old), 0.0), threshold.dtype)

    drive = calibration.drive
    return replace(
        calibration,
        false_alarms_per_min=false_alarms_per_min,
        threshold=moved(calibration.threshold),
        drive=None if drive is None else replace(drive, threshold=moved(drive.threshold)),
    )


def _same(a: Path, b: Path) -> bool:
    return b.is_file() and a.is_file() and file_digest(a) == file_digest(b)


def _rig_of(config: dict[str, Any]) -> Any:
    return config.get("rig")
