"""Calibration as a job of its own process, so that the rig goes on while it works."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.calibration_planes import number_cells, save_planes
from rt_engine.interfaces.errors import CalibrationError, SpikeloopError

if TYPE_CHECKING:
    from rt_engine.models.carry_over import Heritage

Progress = Callable[[str, float], None]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CalibrationJob:
    """From `source` (session folder or movie) to the file `target`; None where the source shall say."""

    source: Path
    target: Path
    frame_rate_hz: float | None
    channel: int
    um_per_px: float | None
    adc_max: int | None
    offset_counts: float | None
    indicator: str
    hold_frames: int | None
    false_alarms_per_min: float | None
    neuropil_coefficient: float | None
    max_shift_px: float
    rois: Path | None = None
    planes: tuple[int, ...] = (0,)
    axes: str | None = None
    frame_shape: tuple[int, int] | None = None
    last_frame: int | None = None
    n_frames: int | None = None
    registration_channel: int | None = None
    false_event_cost: float | None = None


def run_calibration(job: CalibrationJob, progress: Progress, say: Say = lambda text: None) -> list[Calibration]:
    """Calibrate every plane in this process, and write the file; `say` as in `make_calibration`.

    Raises
    ------
    CalibrationError, MovieError
        The recording cannot be used.
    """
    calibrations = [make_calibration(job, progress, say, plane=plane) for plane in job.planes]
    write_calibration(job.target, calibrations)
    return calibrations


def write_calibration(path: Path, calibrations: list[Calibration]) -> None:
    """Write the file.

    Raises
    ------
    CalibrationError
        It cannot be written.
    """
    try:
        save_planes(path, calibrations)
    except OSError as error:
        raise CalibrationError(f"cannot be written: {error}", "give another path", file=str(path)) from error


def make_calibration(
    job: CalibrationJob,
    progress: Progress,
    say: Say = lambda text: None,
    heritage: Heritage | None = None,
    *,
    plane: int = 0,
) -> Calibration:
    """Calibrate one plane in this process; `say` gets what a person should know: of the cells imported, of the
    first masks and where they are meanwhile, of the candidates that were dropped and why.

    Where the job has several planes, the cells are numbered so that no two planes share one.

    Raises
    ------
    CalibrationError, MovieError
        The recording cannot be used, or is of another field, zoom or indicator than `heritage`.
    """
    from drivers.microscopes.movie_file import MovieRequest, is_movie_folder
    from rt_engine.models.calibrate import calibrate
    from rt_engine.services.first_rois import FirstRois
    from rt_engine.services.frame_sources import FrameSource, movie_source, session_source
    from rt_engine.services.roi_import.read import read_rois

    progress, say, target = _of_plane(job, plane, progress, say)

    def source_of(channel: int) -> FrameSource:
        if job.source.is_dir() and not is_movie_folder(job.source):
            return session_source(job.source, channel, plane=plane, until_frame=job.last_frame)
        asked = MovieRequest(job.frame_rate_hz, channel, plane, job.axes, job.frame_shape)
        return movie_source(job.source, asked, job.n_frames)

    source = source_of(job.channel)
    structural = None if job.registration_channel is None else source_of(job.registration_channel)
    if structural is not None and structural.n_frames != source.n_frames:
        raise CalibrationError(
            f"{source.n_frames} frames of channel {job.channel}, {structural.n_frames} of channel "
            f"{job.registration_channel}",
            "record both channels whole, or register by the channel that is read",
            file=str(job.source),
        )
    rate_hz = job.frame_rate_hz or source.frame_rate_hz
    if rate_hz is None:
        raise CalibrationError("the frame rate is unknown", "give it with --frame-rate-hz", file=str(job.source))
    if heritage is not None:
        heritage.old.require_fits(
            source.n_lines,
            source.pixels_per_line,
            str(job.source),
            um_per_px=job.um_per_px or source.um_per_px,
            indicator=job.indicator,
            plane=plane,
            channel=job.channel,
        )
    imported = None
    if job.rois is not None:
        imported = read_rois(job.rois, (source.n_lines, source.pixels_per_line), plane)
        for remark in imported.remarks:
            say(remark)
    first = FirstRois(target, (source.n_lines, source.pixels_per_line), say)
    work = functools.partial(
        calibrate,
        source.open_frames,
        frame_rate_hz=rate_hz,
        indicator=job.indicator,
        n_frames=source.n_frames,
        hold_frames=job.hold_frames,
        false_alarms_per_min=job.false_alarms_per_min,
        false_event_cost=job.false_event_cost,
        neuropil_coefficient=job.neuropil_coefficient,
        um_per_px=job.um_per_px or source.um_per_px,
        offset_counts=job.offset_counts if job.offset_counts is not None else source.offset_counts,
        adc_max=job.adc_max or source.adc_max,
        rois=imported.masks if imported else None,
        heritage=heritage,
        max_shift_px=job.max_shift_px,
        progress=progress,
        say=say,
        first_rois=first.write,
        plane=plane,
        channel=job.channel,
        open_structural=structural.open_frames if structural else None,
        registration_channel=-1 if job.registration_channel is None else job.registration_channel,
    )
    try:
        calibration = work()
    finally:
        first.remove()
    return number_cells(calibration) if len(job.planes) > 1 and heritage is None else calibration


def _of_plane(job: CalibrationJob, plane: int, progress: Progress, say: Say) -> tuple[Progress, Say, Path]:
    """Progress and words that name the plane, and a file name for what lies beside the calibration meanwhile."""
    if len(job.planes) == 1:
        return progress, say, job.target
    return (
        lambda stage, fraction: progress(f"plane {plane}: {stage}", fraction),
        lambda text: say(f"plane {plane}: {text}"),
        job.target.with_name(f"{job.target.stem}.plane{plane}{job.target.suffix}"),
    )


def run_calibration_process(
    job: CalibrationJob, progress: Progress, turn: Callable[[], None], say: Say = lambda text: None
) -> None:
    """Calibrate in a process of its own; `turn` is called all the while, and may raise to end it.

    Raises
    ------
    CalibrationError
        In the words of the other process.
    """
    spawn = multiprocessing.get_context("spawn")
    receiving, sending = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_work, args=(job, sending), name="spikeloop-calibration", daemon=True)
    process.start()
    sending.close()
    try:
        while True:
            turn()
            while receiving.poll(0):
                message = _receive(receiving)
                if message is None:
                    break
                kind, text, value = message
                if kind == "progress":
                    progress(text, value)
                elif kind == "say":
                    say(text)
                elif kind == "done":
                    return
                else:
                    raise CalibrationError(text)
            if not process.is_alive() and not receiving.poll(0):
                raise CalibrationError(f"the calibration process ended with code {process.exitcode}")
    finally:
        if process.is_alive():
            process.join(5)
        if process.is_alive():
            process.kill()
            process.join(5)
        receiving.close()


def _receive(receiving: Connection) -> tuple[str, str, float] | None:
    try:
        kind, text, value = receiving.recv()
    except EOFError:
        return None
    return str(kind), str(text), float(value)


def _work(job: CalibrationJob, sending: Connection) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run_calibration(
            job,
            lambda stage, fraction: sending.send(("progress", stage, fraction)),
            lambda text: sending.send(("say", text, 0.0)),
        )
        sending.send(("done", "", 1.0))
    except SpikeloopError as error:
        sending.send(("failed", str(error), 0.0))
    finally:
        sending.close()
